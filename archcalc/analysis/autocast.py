"""`torch.autocast` to bfloat16: the casts before an operator's calls, and the dtype of each tensor.

PyTorch has a list of functions per device (aten/src/ATen/autocast_mode.cpp and .h): some cast what they read to
bfloat16, some to float32, `cat` to the widest dtype that it reads. All other functions take what they get, and their
result has the widest dtype; but in place it has that of what is overwritten, and in a normalization the input's.

A cast is a call with a gradient of its own. It lives until the function returns, or longer if autograd keeps it; the
cast of a trained weight lives until the autocast context ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

from archcalc.ops.base import Calls, Extra
from archcalc.ops.borders import MIRRORED
from archcalc.ops.calls import NEW, VIEW, Call

COPIES = ("padded", MIRRORED)  # what padding makes
LOSS = "loss"  # among the names of operators
CAST = "cast"  # the name of what a cast makes
FLOAT32, BFLOAT16 = "", "bfloat16"  # dtypes of tensors; "": the network's
WIDEST = "widest"  # another dtype to cast to
PROMOTED, FIRST, WIDER = "promoted", "first", "wider"  # no casts; the result has the widest or first dtype, or float32


class Rule(NamedTuple):
    """What a function of PyTorch casts to, and which of an operator's calls are its own."""

    to: str
    start: int = 0
    stop: int | None = None


ANYWHERE: dict[str, tuple[Rule, ...]] = {
    **dict.fromkeys(("conv", "conv_transpose", "linear", "prelu"), (Rule(BFLOAT16),)),
    "batchnorm": (Rule(FIRST),),
    "rotary_embedding": (Rule(WIDER, 1, 2), Rule(WIDER, 3, 4)),  # its tables are float32
    "rbf": (Rule(WIDER, 1, 2),),  # its prototypes are float32
}
INSIDE = "instancenorm", "channel_layernorm"  # a normalization is one of their calls
AT_END = {"attention": (2, 1), "matmul": (4, 0)}  # after views with heads, before one without; after a transposition
RULES: dict[str, dict[str, tuple[Rule, ...]]] = {
    "cpu": {
        **ANYWHERE,
        **dict.fromkeys(("layernorm", "groupnorm"), (Rule(FIRST),)),
        "concat": (Rule(WIDEST),),
        "lrn": (Rule(FLOAT32, 2, 3),),  # avg_pool3d
        LOSS: (Rule(FLOAT32),),  # cross_entropy_loss
    },
    "cuda": {
        **ANYWHERE,
        **dict.fromkeys(
            ("layernorm", "groupnorm", "softmax", "log_softmax", "softplus", "exp", "upsample"), (Rule(FLOAT32),)
        ),
        "lrn": (Rule(FLOAT32, 5, 6),),  # pow
        "rmsnorm": (Rule(FLOAT32, 3, 4),),  # rsqrt
        "normalize": (Rule(WIDER, 0, 1),),  # linalg_vector_norm
        LOSS: (Rule(FLOAT32, 1, 2), Rule(WIDER, 2, 3)),  # nll_loss; with smoothing sum. log_softmax gets a dtype
    },
}


def with_casts(operator: str, calls: Calls, reads: Sequence[Extra], device: str) -> Calls:
    """Return the calls of an operator that reads these tensors, with casts and dtypes; values get other numbers."""
    made = _Calls(reads, device)
    for (_, part), own in groupby(calls, lambda call: call.part):
        _add_operator(made, part or operator, tuple(own), reads, device)
    return tuple(made.calls)


def _add_operator(made: _Calls, operator: str, calls: Calls, reads: Sequence[Extra], device: str) -> None:
    """Add the calls of an operator, or of a part of one."""
    rules = RULES[device].get(operator, ())
    if operator == "lrn" and device == "cpu" and len(reads[0].shape) == 2:
        rules = ()  # avg_pool2d
    if operator.endswith("pool") and device == "cpu" and len(reads[0].shape) == 4:
        rules = (Rule(FLOAT32),)  # of volumes
    if operator == "conv" and calls[0].makes.name == "links":
        rules = (Rule(BFLOAT16, 3),)  # it fills its weight before
    if operator in ("conv", "pad") and calls[:1] and calls[0].makes.name in COPIES:  # it pads before
        mirrored = (Rule(FLOAT32, 0, 1),) * (device == "cpu" and calls[0].makes.name == MIRRORED)
        rules = (*mirrored, *[Rule(BFLOAT16, len(calls) - 1)] * (operator == "conv"))
    if operator in INSIDE:
        at = next(i for i, call in enumerate(calls) if call.makes.name == "normalized")
        rules = (Rule(FLOAT32 if device == "cuda" and operator == "channel_layernorm" else FIRST, at, at + 1),)
    if operator == LOSS and calls[0].where == VIEW:  # of tokens, which are made a matrix before
        rules = tuple([Rule(to, start + 1, stop and stop + 1) for to, start, stop in rules])
    if operator in AT_END:
        first, last = AT_END[operator]
        rules = (Rule(BFLOAT16, len(calls) - first, len(calls) - last),)
    done = 0
    for to, start, stop in (*rules, Rule(PROMOTED, len(calls))):
        for call in calls[done:start]:
            made.add((call,), PROMOTED)
        made.add(calls[start:stop], to)
        done = len(calls) if stop is None else stop


class _Calls:
    """Calls with casts: the values that they read and make, and by old number the new one."""

    def __init__(self, reads: Sequence[Extra], device: str) -> None:
        self.values, self.numbers, self.device = [*reads], [*range(len(reads))], device
        self.calls: list[Call] = []

    def add(self, function: Calls, to: str) -> None:
        """Add the calls of one function, after casts of what it reads; it holds both until it returns."""
        before = len(self.numbers)
        read = [self.numbers[i] for call in function for i in call.reads if i < before]
        given = self._cast(read, to)
        rest = iter(given)
        for position, call in enumerate(function, 1):
            reads = tuple([next(rest) if i < before else self.numbers[i] for i in call.reads])
            self.numbers.append(len(self.values))
            new = dict(enumerate(self.numbers)) | dict(zip(call.reads, reads, strict=True))
            weight = call.reads[1:2] if to == BFLOAT16 and call.keeps else ()  # its copy
            keeps = dict.fromkeys((*call.keeps, *weight))
            holds = (*[new[i] for i in call.holds], *(read + given if position == len(function) else ()))
            kept, crossed = (tuple([new[i] for i in numbers]) for numbers in (keeps, call.crossed))
            made = call._replace(reads=reads, keeps=kept, crossed=crossed, holds=holds)
            self._append(self._typed(made, to, counts=len(function) > 1))

    def _cast(self, read: Sequence[int], to: str) -> list[int]:
        """Cast values, arguments from the last one to the first; return the numbers of what the function gets."""
        given, positions = [*read], range(len(read))
        if to in (FLOAT32, BFLOAT16, WIDEST):
            dtype = self._widest(read) if to == WIDEST else to
            for i in positions if to == WIDEST else reversed(positions):
                value = self.values[read[i]]
                if value.dtype != dtype:
                    given[i] = self._append(Call((read[i],), value._replace(name=CAST, dtype=dtype)))
        return given

    def _typed(self, call: Call, to: str, counts: bool) -> Call:
        """Return a call with the dtypes of what it makes; a normalization `counts` batches if it has a running mean."""
        widest = FLOAT32 if to == WIDER or (to == FIRST and counts) else self._widest(call.reads)
        as_first = call.reads and (to == FIRST or call.where != NEW)
        own = self.values[call.reads[0]].dtype if as_first else widest
        extras = tuple([self._of(extra, widest if to == FIRST else own) for extra in call.extras])
        copies = tuple([self._of(extra, own) for extra in call.copies])
        scratch = tuple([tuple([self._of(extra, own) for extra in part]) for part in call.scratch])
        return call._replace(makes=self._of(call.makes, own), extras=extras, copies=copies, scratch=scratch)

    def _of(self, extra: Extra, dtype: str) -> Extra:
        """Return a tensor with this dtype, if it has the dtype of other tensors."""
        others = ("", "mask", "sums") if self.device == "cpu" else ("",)
        return extra._replace(dtype=dtype) if extra.dtype in others else extra

    def _append(self, call: Call) -> int:
        """Append a call; return the number of what it makes."""
        self.calls.append(call)
        self.values.append(call.makes)
        return len(self.values) - 1

    def _widest(self, numbers: Iterable[int]) -> str:
        return BFLOAT16 if {self.values[i].dtype for i in numbers} == {BFLOAT16} else FLOAT32
