"""Networks of PyTorch: run a module once, without weights in memory, and take what it calls as a Graph."""

from archcalc.errors import needs

try:
    import torch  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise ModuleNotFoundError(needs("a torch: source", "PyTorch", "torch"), name=error.name) from None

from archcalc.importers.torch.modules import from_torch
from archcalc.importers.torch.on_meta import weights_on_meta

__all__ = ["from_torch", "weights_on_meta"]
