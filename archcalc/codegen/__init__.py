"""Write a network as PyTorch source, as a person would write it. This package does not import torch.

`pytorch_source` writes a network of a spec with one class per block; `source` writes any graph layer by layer.
"""

from archcalc.codegen.export import pytorch_source, source

__all__ = ["pytorch_source", "source"]
