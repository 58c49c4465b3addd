"""A network as PyTorch source that a person could have written; nothing here imports torch.

`pytorch_source` writes a network of a spec, a class for each block; `source` any graph, layer by layer.
"""

from archcalc.codegen.export import pytorch_source, source

__all__ = ["pytorch_source", "source"]
