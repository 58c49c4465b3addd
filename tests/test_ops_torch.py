"""Every operator against PyTorch: shapes, parameters, buffers, multiply-accumulates and what backward keeps.

In every dtype, on the CPU and on meta; there PyTorch keeps statistics as on CUDA.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.operator_cases import (
    CASES,
    ELEMENTWISE,
    LENET_TABLE,
    PADDED,
    READING,
    case_id,
    drawn,
    inputs,
    made,
    shaped,
)
from support.operator_strategies import WRITTEN, build, cases, examples
from support.random_graphs import NO_KERNEL, WIDTHS, runs
from support.torch_warnings import lopsided_padding
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from archcalc.analysis.saved import extra_bytes
from archcalc.ops import Operator
from archcalc.ops.base import Extra, Plain, Saved
from archcalc.ops.convolution import Conv
from archcalc.ops.shape import Ids, Tokens, shape_of
from archcalc.pytorch.layers import Sum
from archcalc.pytorch.measure import counted_kernels, flop_counter
from archcalc.pytorch.meta_kernels import FusedAttention
from archcalc.pytorch.network import module_of

BATCH = 2
HWC = shape_of((3, 5, 4), "HWC")
REGRESSIONS = {
    "an even kernel with padding='same' keeps a padded copy of the input": (
        "conv", (2, 5, 5), {"out_channels": 2, "kernel_size": 2, "padding": "same"},
    ),
    "a connection table keeps its dense weight and the links": (
        "conv", (4, 5, 5), {"out_channels": 5, "kernel_size": 3, "connections": LENET_TABLE},
    ),
    "a product of three keeps the product of the first two": ("multiply", ((2, 3, 3),) * 3, {}),
    "a product of gates is as small as they are": ("multiply", ((2, 1, 1), (2, 1, 1), (2, 3, 3)), {}),
    "dropout of nothing writes nothing": ("dropout", (2, 3, 3), {"p": 0}),
    "dropout of everything keeps a single zero": ("dropout", (2, 3, 3), {"p": 1}),
    "droppath of everything does not divide by zero": ("droppath", (2, 3, 3), {"p": 1}),
    "a shuffle that moves nothing still writes": ("channel_shuffle", (4, 3, 3), {"groups": 4}),
}  # fmt: skip

REFUSED = [
    ("instancenorm", (4, 1, 1), {}, "instancenorm needs more than one position"),
    ("prelu", (4, 5, 5), {"num_parameters": 3}, "num_parameters must be 1 or the channels, 4, not 3"),
    ("glu", (3, 5, 5), {}, "3 channels cannot be halved"),
    ("conv", (3, 5, 5), {"out_channels": 4, "kernel_size": 6}, "kernel 6×6 is larger than the padded input 5×5"),
    ("conv", (3, 5, 5), {"out_channels": 4, "kernel_size": 3, "dilation": (1, 3)}, "kernel 3×7 is larger"),
    ("conv", (3, 5, 5), {"out_channels": 4, "kernel_size": 3, "groups": 2}, "3 input channels cannot be divided"),
    ("conv", (4, 5, 5), {"out_channels": 3, "kernel_size": 3, "groups": 2}, "3 output channels cannot be divided"),
    ("conv", (4, 5, 5), {"out_channels": 3, "kernel_size": 3, "stride": 2, "padding": "same"}, "needs stride 1"),
    ("conv_transpose", (4, 5, 5), {"out_channels": 3, "kernel_size": 3, "groups": 2}, "3 output channels"),
    ("conv_transpose", (4, 5, 5), {"out_channels": 3, "kernel_size": 3, "output_padding": 1}, "must be smaller"),
    ("conv_transpose", (4, 1, 1), {"out_channels": 3, "kernel_size": 3, "padding": 2}, "leaves no output"),
    ("maxpool", (4, 5, 5), {"kernel_size": 3, "padding": 2}, "padding 2 is more than half of the kernel 3"),
    ("maxpool", (4, 9, 9), {"kernel_size": 2, "dilation": 3, "padding": 2}, "padding 2 is more than half"),
    ("maxpool", (4, 5, 5), {"kernel_size": 6}, "kernel 6 is larger than the padded input 5"),
    ("avgpool", (4, 5, 5), {"kernel_size": (2, 7), "stride": 2, "ceil_mode": True}, "kernel 7 is larger"),
    ("avgpool", (4, 1, 3, 3), {"kernel_size": 2, "padding": 1}, "avgpool of a volume needs a kernel within the input"),
    ("lrn", (4,), {"size": 5}, "lrn accepts C×L, C×H×W or C×D×H×W, not 4 features"),
    ("layernorm", (4, 5, 5), {"normalized_shape": (4, 5)}, "4×5×5 does not end with normalized_shape 4×5"),
    ("layernorm", (5,), {"normalized_shape": (4, 5)}, "5 does not end with normalized_shape 4×5"),
    ("groupnorm", (4, 5, 5), {"num_groups": 3}, "4 channels cannot be divided into 3 groups"),
    ("channel_shuffle", (4, 5, 5), {"groups": 3}, "4 channels cannot be divided into 3 groups"),
    ("upsample", (4, 5, 5), {}, "needs either size or scale_factor"),
    ("upsample", (4, 5), {"size": 9, "mode": "bicubic"}, "mode must be 'nearest', 'nearest-exact' or 'linear' on C×L"),
    ("upsample", (4, 5, 5), {"size": 9, "align_corners": True}, "align_corners needs an interpolation"),
    ("upsample", (4, 5, 5), {"scale_factor": 0.1}, "scale_factor leaves no output"),
    ("conv", (3, 5, 5), {"out_channels": 4, "kernel_size": 3, "padding": 5, "padding_mode": "reflect"}, "at most 4"),
    ("conv", (3, 5, 5), {"out_channels": 4, "kernel_size": 3, "padding": 6, "padding_mode": "circular"}, "at most 5"),
    ("pad", (3, 5, 5), {"padding": 5, "mode": "reflect"}, "pad reflect needs padding of at most 4 for 5 positions"),
    ("pad", (3, 5, 5), {"padding": 6, "mode": "circular"}, "pad circular needs padding of at most 5"),
    ("pad", (3, 5, 5), {"padding": -3}, "pad leaves no output"),
    ("pixel_shuffle", (6, 5, 5), {"upscale_factor": 2}, "6 channels cannot be divided by 2²"),
    ("pixel_unshuffle", (3, 4, 5), {"downscale_factor": 2}, "3×4×5 cannot be divided into squares of 2×2"),
    ("chunk", (4, 5, 5), {"chunks": 3, "index": 2}, "has no chunk 2: axis C gives 2, from 0"),
    ("reshape", (4, 5, 5), {"C": 3, "L": -1}, "100 values of 4×5×5 cannot be divided by 3"),
    ("reshape", (4, 5, 5), {"C": 3, "H": 5, "W": 5}, "4×5×5 has 100 values, but 3×5×5 has 75"),
    ("permute", (4, 5, 5), {"axes": "TC"}, "permute takes 4×5×5 .* to 'CHW' or 'HWC', not 'TC'"),
    ("upsample", (4, 5, 5), {"size": 9, "scale_factor": 2}, "needs either size or scale_factor"),
]

REFUSED_HERE_ONLY = [
    (
        "conv",
        (3, 5, 5),
        {"out_channels": 4, "kernel_size": 3, "padding": "causal"},
        "'causal' needs C×L; write",
    ),
    ("conv", (4, 5, 5), {"out_channels": 5, "kernel_size": 3, "connections": LENET_TABLE, "padding": "SAME"}, "zeros"),
    ("permute", (4, 5, 5), {"axes": "WHC"}, "to 'CHW' or 'HWC', not 'WHC'"),
    ("transpose", (4, 5, 5), {}, r"transpose accepts C×L or T×C, not 4×5×5; permute\('HWC'\)"),
    ("tokens", (4,), {}, "tokens accepts C×L, C×H×W, C×D×H×W, T×C, H×W×C or D×H×W×C, not 4 features"),
    ("reshape", (4, 5, 5), {"C": -1, "L": -1}, "only one size can be -1, not C and L"),
    ("reshape", (4, 5, 5), {"T": 100}, "reshape needs a size of C"),
    ("reshape", (4, 5, 5), {"C": 4, "H": 25}, "cannot have the axes C, H together"),
    ("repeat", (4, 5, 5), {"T": 2}, r"has no axis 'T' on 4×5×5 \(C×H×W\)"),
    ("roll", (4,), {"shifts": 1}, "roll accepts C×L, .* not 4 features"),
    ("pixel_shuffle", (4, 5), {"upscale_factor": 2}, r"pixel_shuffle accepts C×H×W, not 4×5 \(C×L\)"),
    ("pixel_shuffle", (4, 5, 5), {"upscale_factor": 1}, "pixel_shuffle by 1 changes nothing; write identity"),
    ("pixel_unshuffle", (4, 5, 5), {"downscale_factor": 1}, "pixel_unshuffle by 1 changes nothing"),
    ("slice", (4, 5, 5), {"start": 9, "stop": None}, "slice of axis C leaves nothing of 4×5×5"),
    ("slice", (4, 5, 5), {"start": 0, "stop": 1, "axis": "T"}, "has no axis 'T' on 4×5×5"),
    ("center_crop", (4, 5, 5), {"size": (3, 6)}, "center_crop to 3×6 does not fit into 4×5×5; pad enlarges"),
    ("crop_like", ((4, 5, 5), (4, 6, 5)), {}, "crop_like to 6×5 does not fit into 4×5×5"),
    ("crop_like", ((4, 5, 5),) * 3, {}, "crop_like needs two branches, not 3"),
    ("crop_like", ((4, 5, 5), (4, 5)), {}, "branches differ in their axes"),
    ("pad", (3, 5, 5), {"padding": -1, "mode": "replicate"}, "pad replicate needs padding of at least 0; write slice"),
    ("pad", HWC, {"padding": 1, "mode": "reflect"}, r"pad reflect accepts channels first, not 3×5×4 \(H×W×C\); write"),
    ("concat", ((4, 5, 5), (4, 5, 6)), {"axis": "H"}, "branches differ"),
    ("concat", ((4, 5), (4, 5)), {"axis": "H"}, "has no axis 'H' on 4×5"),
    ("channel_layernorm", (4,), {}, "channel_layernorm accepts C×L, C×H×W or C×D×H×W; write layernorm for 4"),
    ("rmsnorm", (4, 5, 5), {}, "rmsnorm is over the features of a vector or tokens, not 4×5×5"),
    ("dropout2d", (4, 5), {}, "dropout2d accepts C×H×W, not 4×5"),
    ("clamp", (4, 5, 5), {}, "needs min, max or both"),
    ("swiglu", (3, 5, 5), {}, "3 channels cannot be halved"),
    ("elu", (4, 5, 5), {"alpha": -0.1, "inplace": True}, "needs alpha >= 0, not -0.1"),
    ("conv", (4,), {"out_channels": 3, "kernel_size": 1}, "conv accepts C×L, C×H×W or C×D×H×W, not 4 features"),
    ("pad_shortcut", (4, 5, 5), {"out_channels": 3}, "cannot pad 4 channels to 3"),
    ("conv", (4, 5, 5), {"out_channels": 4, "kernel_size": 3, "connections": LENET_TABLE}, "5 rows for 4 output"),
    ("conv", (3, 5, 5), {"out_channels": 5, "kernel_size": 3, "connections": LENET_TABLE}, "but the last one is 2"),
    ("conv", (5, 5, 5), {"out_channels": 5, "kernel_size": 3, "connections": LENET_TABLE, "groups": 5}, "not both"),
    ("rbf", (4, 5, 5), {"out_features": 3}, "rbf needs a vector, not 4×5×5; write flatten before it"),
    *(
        (name, ((4, 5, 5), x), {}, "branches differ")
        for name in ELEMENTWISE
        for x in [(4, 2, 5), (3, 1, 1), (5,), (4, 5)]
    ),
    ("mean", ((4, 5, 5), (4, 1, 1)), {}, "branches differ"),
    ("concat", ((4, 5, 5), (4, 5, 6)), {}, "branches differ"),
    ("concat", ((4, 5, 5), (4,)), {}, "branches differ"),
    (
        "embedding",
        (4,),
        {"num_embeddings": 3, "embedding_dim": 2},
        r"embedding needs numbers of tokens, such as \{T: 128\}",
    ),
    ("window_attention", (6, 4, 4), {"window_size": 2, "num_heads": 2}, "window_attention accepts H×W×C, not 6×4×4"),
    ("window_attention", Tokens((4, 4, 6)), {"window_size": 2, "num_heads": 4}, "6 features cannot be divided into 4"),
    (
        "cosine_window_attention",
        Tokens((4, 4, 6)),
        {"window_size": 2, "num_heads": 2, "shift": 2},
        "shift must be smaller than window_size",
    ),
    (
        "window_attention",
        Tokens((4, 4, 6)),
        {"window_size": 2, "num_heads": 2, "shift": 1, "grid": True},
        "a grid cannot be shifted",
    ),
    ("embedding", Ids((4,)), {"num_embeddings": 3, "embedding_dim": 2, "padding_idx": 3}, "padding_idx 3 is no row"),
    ("multihead_attention", (4, 5), {"num_heads": 2}, r"multihead_attention accepts T×C, not 4×5 \(C×L\)"),
    ("multihead_attention", Tokens((4, 5)), {"num_heads": 2}, "5 features cannot be divided into 2 heads"),
    ("attention", (Tokens((4, 6)),) * 2, {"num_heads": 2}, "needs three branches, query, key and value, not 2"),
    ("attention", (Tokens((4, 6)),) * 3, {"num_heads": 3, "kv_heads": 2}, "3 heads cannot be divided into 2 groups"),
    (
        "attention",
        (Tokens((4, 6)),) * 3,
        {"num_heads": 3, "kv_heads": 1},
        "the key needs 2 features for 1 heads",
    ),
    ("attention", (Tokens((4, 6)), Tokens((4, 6)), Tokens((5, 6))), {"num_heads": 3}, "key and value differ in shape"),
    ("rotary_embedding", (4, 5, 6), {"num_heads": 2}, "rotary_embedding accepts T×C, not 4×5×6"),
    ("rotary_embedding", Tokens((4, 6)), {"num_heads": 4}, "6 features cannot be divided into 4 heads"),
    ("rotary_embedding", Tokens((4, 6)), {"num_heads": 2}, "3 features of a head cannot be put into pairs"),
    ("matmul", (Tokens((4, 6)),) * 3, {}, "matmul needs two branches, not 3"),
    ("matmul", (Tokens((4, 6)), (6,)), {}, "matmul needs two axes or more, not the 6 features of a vector"),
    ("matmul", (Tokens((4, 6)), (6, 2, 2)), {}, r"branches with the same axes, not 4×6 \(T×C\) and 6×2×2"),
    ("matmul", (Tokens((4, 6)),) * 2, {}, "the inner sizes 6 and 4 differ"),
    ("matmul", (Tokens((4, 6)), Tokens((6, 4))), {"transpose": True}, "the inner sizes 6 and 4 differ"),
    ("matmul", ((2, 4, 6), (2, 4, 6)), {"transpose": True}, "transpose turns T×C, C×L or channels last, not 2×4×6"),
    ("matmul", ((2, 4, 6), (3, 6, 4)), {}, "branches differ before their last two axes"),
    ("cross_attention", (Tokens((4, 6)),), {"num_heads": 3}, "needs two branches, query and memory, not 1"),
    ("leaky_relu", (4, 5, 5), {"negative_slope": -0.1, "inplace": True}, "needs negative_slope >= 0, not -0.1"),
    ("maxpool", (4, 1, 1), {"kernel_size": (1, 2), "dilation": 2, "padding": (0, 1)}, "dilated by 2 steps over"),
]


@dataclass
class Figures:
    """What is compared; `kept` and `extras` are what backward keeps of the inputs and beside them."""

    output: tuple[int, ...]
    weights: list[tuple[str, tuple[int, ...]]]
    buffers: list[tuple[str, tuple[int, ...]]]
    macs: int
    writes_nothing: bool
    kept_inputs: list[bool]
    kept_output: bool
    kept_state: set[str]
    extras: list[int]  # bytes of each storage


def predicted(op: Operator, x: Any, dtype: str, device: str) -> Figures:
    """archcalc's figures for a batch in training."""
    x = shaped(x)
    y = op.output(x)
    saved = op.saved(x, y)
    alias = op.name == "input" or op.writes(x, y, training=True) == 0  # the image counts, though it is only handed on
    return Figures(
        (BATCH, *y), list(op.weights(x).items()), list(op.buffers(x).items()), dense_macs(op, x, y), alias,
        [saved.input or (alias and saved.output)] * len(inputs(op, x)), saved.output or (alias and saved.input),
        set(saved.state), sorted(extra_bytes(extra, BATCH, dtype, device) for extra in saved.extras),
    )  # fmt: skip


def dense_macs(op: Operator, x: Any, y: Any) -> int:
    """Multiply-accumulates of a batch; PyTorch runs a connection table as a dense convolution."""
    macs = op.batch_work(x, y, BATCH).get("mac", 0)
    if isinstance(op, Conv) and op.connections is not None:
        return macs // sum(map(len, op.connections)) * x[0] * op.out_channels
    return macs


def observed(op: Operator, x: Any, dtype: str, device: str) -> Figures:
    """PyTorch's figures for the same. Runs backward as well, which raises if a kept tensor was overwritten."""
    module = module_of(op, shaped(x)).train().to(device, getattr(torch, dtype))
    if isinstance(module, Sum):
        module.inplace = into_its_first(op, x)
    counting = FlopCounterMode(display=False) if device == "meta" else flop_counter()
    with torch.no_grad(), counted_kernels([op]), counting as counter:
        module(*tensors(op, x, dtype, device))
    args, seen = tensors(op, x, dtype, device), []
    with FusedAttention(), saved_tensors_hooks(lambda tensor: seen.append(tensor) or tensor, lambda tensor: tensor):
        out = module(*args)
    sizes = {storage(tensor): tensor.untyped_storage().nbytes() for tensor in seen}
    state = [*module.named_parameters(), *module.named_buffers()]
    known = {storage(tensor) for tensor in [*args, out, *(tensor for _, tensor in state)]}
    out.sum().backward()
    return Figures(
        tuple(out.shape), shapes(module.named_parameters()), shapes(module.named_buffers()),
        counter.get_total_flops() // 2, storage(out) in map(storage, args), [storage(arg) in sizes for arg in args],
        storage(out) in sizes, {name for name, tensor in state if storage(tensor) in sizes},
        sorted(size for where, size in sizes.items() if where not in known),
    )  # fmt: skip


def tensors(op: Operator, x: Any, dtype: str, device: str) -> list[torch.Tensor]:
    """Inputs as an earlier layer would give them: they require a gradient and may be overwritten."""
    options = {"dtype": getattr(torch, dtype), "device": device, "requires_grad": True}
    return [drawn(op, shape, BATCH, torch.randn, **options).clone() for shape in inputs(op, x)]


def storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata  # there is no address on meta


def shapes(named: Any) -> list[tuple[str, tuple[int, ...]]]:
    return [(name, tuple(tensor.shape)) for name, tensor in named]


def compare(op: Operator, x: Any, dtype: str = "float32", device: str = "cpu") -> None:
    """Raise AssertionError unless archcalc and PyTorch agree on every figure."""
    with lopsided_padding():
        ours, torchs = predicted(op, x, dtype, device), observed(op, x, dtype, device)
    unknown = ("kept_inputs", "kept_output", "kept_state", "extras") if op.unknown_memory else ()
    wrong = [
        f"{figure}: archcalc {getattr(ours, figure)}, PyTorch {value}"
        for figure, value in vars(torchs).items()
        if value != getattr(ours, figure) and figure not in unknown
    ]
    if wrong:
        raise AssertionError(f"{op} on {x} in {dtype} on {device}\n" + "\n".join(wrong))


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_hand_picked(case: Any) -> None:
    name, x, args, keywords = case
    op, x, _ = build(name, x, *args, **keywords)
    compare(op, x)


ON_OTHER_AXES = [
    ("conv", (4, 11), (6, 3), {"padding": 1, "stride": 2, "groups": 2}),
    ("conv", (4, 9), (6, 4), {"padding": "same", "dilation": 3}),
    ("conv", (3, 5, 6, 7), (4, (1, 2, 3)), {"padding": (0, 1, 1), "bias": False}),
    ("conv", (2, 4, 5, 6), (4, (2, 3, 4)), {"padding": "same"}),
    ("conv_transpose", (4, 5), (6, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
    ("conv_transpose", (4, 3, 4, 5), (6, (2, 3, 2)), {"stride": (1, 2, 3), "groups": 2}),
    *((name, x, (2,), {"stride": 1, "padding": 1}) for name in ["maxpool", "avgpool"] for x in [(4, 9), (4, 5, 6, 7)]),
    ("maxpool", (4, 7, 8, 9), ((1, 2, 3),), {"ceil_mode": True, "dilation": (2, 1, 2)}),
    *((name, (4, 9), (target,), {}) for name in ["adaptive_avgpool", "adaptive_maxpool"] for target in [1, 4]),
    *((name, (4, 5, 6, 7), (t,), {}) for name in ["adaptive_avgpool", "adaptive_maxpool"] for t in [1, (1, 2, 3)]),
    *((name, x, (), {}) for name in ["global_avgpool", "global_maxpool"] for x in [(4, 9), (4, 3, 4, 5)]),
    ("upsample", (4, 5), (), {"size": 7, "mode": "linear"}),
    ("upsample", (4, 3, 4, 5), (), {"scale_factor": (1, 2, 3)}),
    ("upsample", (4, 3, 4, 5), (), {"scale_factor": 2, "mode": "trilinear"}),
    *((name, x, args, {}) for name, args in [("batchnorm", ()), ("lrn", (3,))] for x in [(6, 9), (6, 3, 4, 5)]),
    *(("conv", x, (5, 2), {"padding": 1, "padding_mode": mode}) for mode in PADDED for x in [(4, 9), (4, 3, 4, 5)]),
    *(("conv", x, (5, 3), {"padding": "SAME", "stride": 2}) for x in [(4, 9), (4, 8), (4, 3, 4, 5)]),
    ("conv", (4, 9), (5, 3), {"padding": "causal", "dilation": 2}),
    *(("pad", x, (1,), {"mode": mode}) for mode in ("constant", *PADDED) for x in [(4, 9), (4, 3, 4, 5)]),
    *(("roll", x, (1,), {}) for x in [(4, 9), (4, 3, 4, 5)]),
    *(("tokens", x, (), {}) for x in [(4, 9), (4, 3, 4, 5)]),
    ("permute", (4, 3, 4, 5), ("DHWC",), {}),
    ("concat", ((4, 9), (4, 3)), ("L",), {}),
    ("concat", ((4, 3, 4, 5), (4, 3, 2, 5)), ("H",), {}),
    ("concat", ((1, 9), (1, 3)), ("L",), {}),
    ("crop_like", ((4, 3, 4, 5), (2, 1, 4, 2)), (), {}),
    *(("multiply", (x, (6, *(1 for _ in x[1:]))), (), {}) for x in [(6, 9), (6, 3, 4, 5)]),
]  # fmt: skip


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("case", ON_OTHER_AXES, ids=case_id)
def test_on_lines_and_in_volumes(case: Any, device: str) -> None:
    name, x, args, keywords = case
    compare(build(name, x, *args, **keywords).op, x, device=device)


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("name", WRITTEN)
def test_every_dtype(name: str, dtype: str, device: str) -> None:
    for _, x, args, keywords in (case for case in CASES if case[0] == name):
        if device == "meta" or runs(name, len(x), dtype):
            compare(build(name, x, *args, **keywords).op, x, dtype, device)


MISSING = [(name, rank, dtype) for name, (ranks, dtypes, _) in NO_KERNEL.items() for rank in ranks for dtype in dtypes]


@pytest.mark.parametrize(("name", "rank", "dtype"), MISSING)
def test_pytorch_still_lacks_the_kernel(name: str, rank: int, dtype: str) -> None:
    """One that runs here by now is to be taken out of NO_KERNEL: then random networks have it too."""
    with pytest.raises(NotImplementedError, match=f'"{NO_KERNEL[name][2]}" not implemented for'):
        compare(build(name, (4,) * rank, 3).op, (4,) * rank, dtype)


ON_CUDA = {
    "batch normalization's statistics are never in half precision": (
        "batchnorm", (5, 4, 3), {}, "float16", 2 * 5 * 4,
    ),
    "float64 stays float64": ("batchnorm", (5, 4, 3), {}, "float64", 2 * 5 * 8),
    "layer normalization's neither": (
        "layernorm", (5, 4, 3), {"normalized_shape": (3,)}, "bfloat16", 2 * BATCH * 5 * 4 * 4,
    ),
    "group normalization's are in the network's dtype": (
        "groupnorm", (6, 4, 3), {"num_groups": 3}, "float16", 2 * BATCH * 3 * 2,
    ),
    "positions are int64": ("maxpool", (5, 4, 4), {"kernel_size": 2}, "float16", BATCH * 5 * 2 * 2 * 8),
    "a mask is one byte a value": ("dropout", (5, 4, 3), {}, "float16", BATCH * 5 * 4 * 3),
    "in place there is noise, not a mask": ("dropout", (5, 4, 3), {"inplace": True}, "float16", BATCH * 5 * 4 * 3 * 2),
    "dropout of everything keeps a zero, not a mask": ("dropout", (5, 4, 3), {"p": 1}, "float32", 4),
}  # fmt: skip


@pytest.mark.parametrize("case", ON_CUDA)
def test_extras_on_cuda(case: str) -> None:
    """By PyTorch's sources: `batch_norm_cuda`, `layer_norm_cuda`, `native_group_norm`, `dropout`; not run on a GPU."""
    name, x, keywords, dtype, expected = ON_CUDA[case]
    op, x, y = build(name, x, **keywords)
    assert sum(extra_bytes(extra, BATCH, dtype, "cuda") for extra in op.saved(x, y).extras) == expected


@pytest.mark.parametrize("name", WRITTEN)
@given(data=st.data())
@examples(60)
def test_random(name: str, data: st.DataObject) -> None:
    op, x, _ = data.draw(cases(name))
    dtype = data.draw(WIDTHS)
    compare(op, x, dtype if runs(name, len(x), dtype) else "float32")


def into_its_first(op: Operator, x: Any) -> bool:
    """Whether a sum has the shape of its first input."""
    shapes = shaped(x)
    return shapes[0] == op.output(shapes)


def in_place(op: Operator, x: Any, training: bool) -> bool:
    """Whether PyTorch changes the first input's memory; every change raises a tensor's version."""
    made = module_of(op, shaped(x)).train(training)
    if isinstance(made, Sum):
        made.inplace = into_its_first(op, x)
    first, *others = tensors(op, x, "float32", "cpu")
    with lopsided_padding():
        made(first, *others)
    return bool(first._version)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_overwrites(case: Any, training: bool) -> None:
    name, x, args, keywords = case
    op = build(name, x, *args, **keywords).op
    sum_of_one = name == "add" and len(x) == 1  # gives its input where it may, as if it had added nothing to it
    able = op.overwrites(training) and (name != "add" or into_its_first(op, x))
    assert in_place(op, x, training) == (able and not sum_of_one)


@pytest.mark.parametrize("name", REGRESSIONS)
def test_regression(name: str) -> None:
    op, x, keywords = REGRESSIONS[name]
    compare(build(op, x, **keywords).op, x)


@pytest.mark.parametrize(("name", "x", "keywords", "message"), REFUSED)
def test_refused_by_both(name: str, x: Any, keywords: Any, message: str) -> None:
    assert refuses(name, x, keywords)
    with pytest.raises(ValueError, match=message):
        build(name, x, **keywords)


@pytest.mark.parametrize(("name", "x", "keywords", "message"), REFUSED_HERE_ONLY)
def test_refused_here(name: str, x: Any, keywords: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(name, x, **keywords)


def test_pytorch_has_no_gradient_of_a_falling_slope_in_place() -> None:
    """Why archcalc refuses what PyTorch takes in the forward pass."""
    y = torch.nn.LeakyReLU(-0.1, inplace=True)(torch.ones(3, requires_grad=True) * 1)
    with pytest.raises(RuntimeError, match="not supported"):
        y.sum().backward()


def test_a_window_over_nothing_but_padding() -> None:
    """Why archcalc refuses what PyTorch takes: its maximum is −∞, at a position outside the input."""
    window = {"stride": 1, "dilation": 2, "padding": (0, 1), "return_indices": True}
    largest, indices = torch.nn.functional.max_pool2d(torch.ones(1, 1, 1, 1), (1, 2), **window)
    assert largest.item() == -torch.inf
    assert indices.item() != 0
    assert build("maxpool", (1, 1, 2), (1, 2), 1, (0, 1), dilation=2).y == (1, 1, 2)


LINE = [
    (length, *rest)
    for length in (1, 2, 3, 4, 5, 7)
    for rest in product((1, 2, 3, 4), (1, 2, 3), (0, 1, 2), (1, 2, 3, 5))
]


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_dilated_pool_is_refused_exactly_where_a_window_sees_nothing(axis: int, ceil_mode: bool) -> None:
    """Both sides of every boundary on a line, along the height and along the width, against PyTorch's own maxima."""
    for length, *geometry in LINE:
        kernel, stride, padding, dilation = (
            (n, rest) if axis == 0 else (rest, n) for n, rest in zip(geometry, (1, 1, 0, 1), strict=True)
        )
        x = (1, length, 1) if axis == 0 else (1, 1, length)
        keywords = {"stride": stride, "padding": padding, "dilation": dilation, "ceil_mode": ceil_mode}
        try:
            fits = bool((torch.nn.functional.max_pool2d(torch.ones(1, *x), kernel, **keywords) > -torch.inf).all())
        except RuntimeError:
            fits = False
        assert accepts("maxpool", x, {"kernel_size": kernel, **keywords}) == fits, (x, kernel, keywords)


def accepts(name: str, x: Any, keywords: dict[str, Any]) -> bool:
    try:
        build(name, x, **keywords)
    except ValueError:
        return False
    return True


def test_every_operator_has_a_case_and_a_strategy() -> None:
    assert {case[0] for case in CASES} == set(WRITTEN) == set(READING)


class Wrong(Plain):
    """A copy that says wrong things of itself."""

    name = "wrong"

    def __init__(self, **lies: Any) -> None:
        self.lies = lies

    def output(self, x: Any) -> Any:
        return self.lies.get("output", x)

    def weights(self, x: Any) -> Any:
        return self.lies.get("weights", {})

    def buffers(self, x: Any) -> Any:
        return self.lies.get("buffers", {})

    def work(self, x: Any, y: Any) -> Any:
        return self.lies.get("work", {})

    def writes(self, x: Any, y: Any, training: bool) -> Any:
        return self.lies.get("writes", 6)

    def saved(self, x: Any, y: Any) -> Saved:
        return Saved(**self.lies.get("saved", {"output": True}))

    def pytorch(self, x: Any) -> str:
        return "nn.Tanh()"


def test_the_comparison_passes_the_truth() -> None:
    compare(Wrong(), (6,))


LIES = [
    ("output", (7,)),
    ("weights", {"weight": (1,)}),
    ("buffers", {"mean": (1,)}),
    ("work", {"mac": 1}),
    ("writes", 0),
    ("saved", {}),
    ("saved", {"input": True, "output": True}),
    ("saved", {"output": True, "state": ("weight",)}),
    ("saved", {"output": True, "extras": (Extra("mask", (6,)),)}),
]


@pytest.mark.parametrize(("figure", "lie"), LIES)
def test_the_comparison_raises(figure: str, lie: Any) -> None:
    with pytest.raises(AssertionError, match="archcalc"):
        compare(Wrong(**{figure: lie}), (6,))


REFUSING = (
    "conv", "conv_transpose", "maxpool", "avgpool", "subsample", "groupnorm", "layernorm", "lrn", "batchnorm",
    "adaptive_avgpool", "upsample", "channel_shuffle",
)  # fmt: skip


@pytest.mark.parametrize("name", REFUSING)
@given(data=st.data())
@examples(150)
def test_refuses_what_torch_refuses(name: str, data: st.DataObject) -> None:
    x, keywords = data.draw(WRITTEN[name])
    refuses(name, x, keywords)


def refuses(name: str, x: Any, keywords: dict[str, Any]) -> bool:
    """Whether both refuse. Raises AssertionError if only one does."""
    ours = torchs = None
    try:
        build(name, x, **keywords)
    except ValueError as error:
        ours = error
    try:
        with lopsided_padding(), torch.no_grad():
            y = module_of(made(name, x, (), keywords), shaped(x))(torch.zeros(BATCH, *x))
        if y.numel() == 0:
            raise ValueError("a transposed convolution may give an empty output; no layer of ours does")
    except (ValueError, RuntimeError, IndexError) as error:
        torchs = error
    if "dilated" in str(ours):  # see test_a_window_over_nothing_but_padding
        return True
    assert (ours is None) == (torchs is None), f"{name} {keywords} on {x}: archcalc {ours!r}, PyTorch {torchs!r}"
    return ours is not None
