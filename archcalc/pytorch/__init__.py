"""Networks in PyTorch: build, measure, validate. With `importers.torch` the only package that imports torch.

>>> from archcalc import load
>>> from archcalc.pytorch import build, validate
>>> module = build(load("resnet50"))
>>> validate(load("resnet50"), device="meta").differences
()
"""

from archcalc.errors import needs

try:
    import torch  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise ModuleNotFoundError(needs("archcalc.pytorch", "PyTorch", "torch"), name=error.name) from None

from archcalc.analysis.measured import Check, Validation
from archcalc.pytorch.memory_validation import compare_memory
from archcalc.pytorch.network import Network, Training, build
from archcalc.pytorch.source_proof import validate_source
from archcalc.pytorch.validation import validate

__all__ = ["Check", "Network", "Training", "Validation", "build", "compare_memory", "validate", "validate_source"]
