"""The tools that count FLOPs of a PyTorch module, and how each is called. Nothing here imports archcalc."""

from __future__ import annotations

import importlib
import importlib.metadata
import io
import sys
from collections.abc import Callable
from typing import Any, NamedTuple


class Tool(NamedTuple):
    """How a tool is called, the distribution that has it, and whether it needs values on the CPU."""

    count: Callable[[Any, Any], float | None]
    distribution: str
    on_cpu: bool = True
    times: int = 1  # what the convention makes of its figure


def _torchinfo(module: Any, image: Any) -> float | None:
    from torchinfo import summary

    return summary(module, input_data=image, verbose=0).total_mult_adds


def _fvcore(module: Any, image: Any) -> float | None:
    from fvcore.nn import FlopCountAnalysis

    return FlopCountAnalysis(module, image).unsupported_ops_warnings(False).uncalled_modules_warnings(False).total()


def _fvcore_train(module: Any, image: Any) -> float | None:
    return _fvcore(module.train(), image)


def _fvcore_matmul(module: Any, image: Any) -> float | None:
    from unittest import mock

    with mock.patch("torch.nn.functional.scaled_dot_product_attention", _attention):
        return _fvcore(module, image)


def _attention(query: Any, key: Any, value: Any, *_: Any, **options: Any) -> Any:
    """Attention as a user writes it; its values do not matter here."""
    return (query @ key.transpose(-2, -1)).softmax(-1) @ value


def _mmengine(module: Any, image: Any) -> float | None:
    from mmengine.analysis import FlopAnalyzer

    return FlopAnalyzer(module, (image,)).unsupported_ops_warnings(False).uncalled_modules_warnings(False).total()


def _thop(module: Any, image: Any) -> float | None:
    from thop import profile

    return profile(module, (image,), verbose=False)[0]


def _ptflops(module: Any, image: Any, backend: str = "pytorch") -> float | None:
    from ptflops import get_model_complexity_info

    quiet = {"as_strings": False, "print_per_layer_stat": False, "verbose": False, "ost": io.StringIO()}
    return get_model_complexity_info(module, tuple(image.shape[1:]), backend=backend, **quiet)[0]


def _ptflops_aten(module: Any, image: Any) -> float | None:
    return _ptflops(module, image, "aten")


def _mmcv(module: Any, image: Any) -> float | None:
    from mmcv.cnn import get_model_complexity_info

    shape = tuple(image.shape[1:])
    return get_model_complexity_info(module, shape, print_per_layer_stat=False, as_strings=False)[0]


def _calflops(module: Any, image: Any) -> float | None:
    from calflops import calculate_flops

    quiet = {"output_as_string": False, "print_results": False, "print_detailed": False}
    return calculate_flops(module, args=[image], **quiet)[0]


def _deepspeed(module: Any, image: Any) -> float | None:
    from deepspeed.profiling.flops_profiler import get_model_profile

    return get_model_profile(module, args=[image], print_profile=False, as_string=False)[0]


def _torch(module: Any, image: Any) -> float | None:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        module(image)
    return counter.get_total_flops()


TOOLS = {
    "torchinfo": Tool(_torchinfo, "torchinfo", on_cpu=False),
    "thop": Tool(_thop, "thop", on_cpu=False),
    "ultralytics": Tool(_thop, "ultralytics-thop", on_cpu=False, times=2),  # as `model_info` of ultralytics prints it
    "ptflops-aten": Tool(_ptflops_aten, "ptflops"),
    "torch": Tool(_torch, "torch", on_cpu=False),
    "fvcore": Tool(_fvcore, "fvcore"),
    "fvcore-train": Tool(_fvcore_train, "fvcore"),
    "fvcore-matmul": Tool(_fvcore_matmul, "fvcore"),
    "ptflops": Tool(_ptflops, "ptflops"),
    "mmcv": Tool(_mmcv, "mmcv", on_cpu=False),
    "calflops": Tool(_calflops, "calflops"),
    "deepspeed": Tool(_deepspeed, "deepspeed"),
    "mmengine": Tool(_mmengine, "mmengine"),
}


def version_of(distribution: str) -> str:
    """Return the version of a distribution, also of one that was unpacked."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return str(importlib.import_module(distribution).__version__)


def torchvision_models() -> Any:
    """Import `torchvision.models`. Raises ModuleNotFoundError without torchvision.

    With a CPU build of torch the usual wheel of torchvision cannot load its operators, and the import fails on two
    names. They are defined here without an implementation; no classifier uses them.
    """
    try:
        return importlib.import_module("torchvision.models")
    except RuntimeError as error:
        if "torchvision::nms does not exist" not in str(error):
            raise
    import torch

    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]  # left by the failed import
    library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    torchvision_models.library = library  # keep it alive: its definitions end with it
    return importlib.import_module("torchvision.models")
