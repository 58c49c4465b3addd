"""The memory of an optimizer's step: what it keeps for each parameter, and its temporaries, statement by statement.

Each function follows one of torch/optim/*.py: `_single_tensor_NAME` (the plain loop) or `_multi_tensor_NAME`
(foreach), without amsgrad, capturable or maximize. A local variable keeps its tensor until it gets another one, also
from one parameter to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from archcalc.ops.base import Work, add_work

if TYPE_CHECKING:
    from archcalc.analysis.memory_trace import Size, Trace


class Optimizer(NamedTuple):
    """Tensors that the first step creates for each parameter, whether it counts steps, what each runs, and its work."""

    copies: int
    counts: bool
    loop: Callable[[Update], None]
    foreach: Callable[[Update], None]
    work: Work  # for each trainable value, from the second step on


class Update:
    """One step: its parameters' sizes, and the local variables of the function that runs."""

    def __init__(self, trace: Trace, sizes: Sequence[Size], host: bool, first: bool, decay: bool) -> None:
        self.trace, self.sizes, self.host, self.first, self.decay = trace, sizes, host, first, decay
        self.locals: dict[str, list[int]] = {}

    def run(self, name: str, foreach: bool) -> None:
        """Run one step of an optimizer; the first one creates its state."""
        optimizer = OPTIMIZERS[name]
        for size in self.sizes if self.first else ():
            self.state(*[(4 * self.host, 0)] * optimizer.counts, *[size] * optimizer.copies)
        (optimizer.foreach if foreach else optimizer.loop)(self)
        self.clear(*self.locals)

    def set(self, name: str, *sizes: Size) -> None:
        """Allocate tensors and assign them to a variable; its old ones are freed then."""
        made = [self.trace.make(size, "temporary") for size in sizes]
        self.clear(name)
        self.locals[name] = made

    def clear(self, *names: str) -> None:
        """Free the tensors of variables."""
        for name in names:
            self.trace.drop(*self.locals.pop(name, ()))

    def number(self, variable: str = "", *sizes: Size, count: int = 8) -> None:
        """Call a function with one of Python's numbers in `count` bytes; it may make tensors for a variable."""
        number = self.trace.make((count * self.host, 0), "temporary")
        if variable:
            self.set(variable, *sizes)
        self.trace.drop(number)

    def state(self, *sizes: Size) -> None:
        """Allocate tensors of the optimizer's state."""
        for size in sizes:
            self.trace.make(size, "optimizer state")


def sgd_loop(update: Update, momentum: bool = False, nesterov: bool = False) -> None:
    """The decayed gradient; the momentum buffer begins as its copy."""
    for size in update.sizes:
        update.clear("grad")
        if update.decay:
            update.set("grad", size)
        if momentum and update.first:
            update.state(size)
        elif momentum:
            update.number()
        if nesterov:
            update.set("grad", size)
        elif momentum:
            update.clear("grad")


def sgd_foreach(update: Update, momentum: bool = False) -> None:
    """All decayed gradients at once."""
    if update.decay:
        update.set("grads", *update.sizes)
    if momentum and update.first:
        update.state(*update.sizes)


def adam_loop(update: Update, decoupled: bool = False) -> None:
    """The decayed gradient (AdamW decays in place), and the root of the second moment, which is divided."""
    for size in update.sizes:
        update.clear("grad")
        update.number()
        if update.decay and decoupled:
            update.number()
        elif update.decay:
            update.set("grad", size)
        update.number()
        update.set("root", size)
        update.number("divided", size)
        update.clear("root")
        update.number()
        update.clear("denom")
        update.locals["denom"] = update.locals.pop("divided")


def adam_foreach(update: Update, decoupled: bool = False) -> None:
    """All decayed gradients, which are freed before all roots."""
    update.number(count=4)
    if not decoupled:
        sgd_foreach(update)
    update.clear("grads")
    update.set("roots", *update.sizes)


def rmsprop_loop(update: Update) -> None:
    """The decayed gradient, and the root of the average of squares."""
    for size in update.sizes:
        update.clear("grad")
        update.number()
        if update.decay:
            update.set("grad", size)
        update.number()
        update.set("average", size)
        update.number()


def rmsprop_foreach(update: Update) -> None:
    """All decayed gradients and all roots."""
    update.number(count=4)
    sgd_foreach(update)
    update.set("averages", *update.sizes)


_MOMENTUM = partial(sgd_foreach, momentum=True)
ADAM = {"mul": 5, "add": 5, "div": 2, "sqrt": 1}
OPTIMIZERS = {
    "sgd": Optimizer(0, False, sgd_loop, sgd_foreach, {"mul": 1, "add": 1}),  # p − rate·g
    # b = momentum·b + g; p − rate·b
    "momentum": Optimizer(0, False, partial(sgd_loop, momentum=True), _MOMENTUM, {"mul": 2, "add": 2}),
    # likewise; p − rate·(g + momentum·b)
    "nesterov": Optimizer(0, False, partial(sgd_loop, momentum=True, nesterov=True), _MOMENTUM, {"mul": 3, "add": 3}),
    # m + (1 − β₁)·(g − m); β₂·v + (1 − β₂)·g·g; p − rate·m / (√v/c + ε)
    "adam": Optimizer(2, True, adam_loop, adam_foreach, ADAM),
    "adamw": Optimizer(2, True, partial(adam_loop, decoupled=True), partial(adam_foreach, decoupled=True), ADAM),
    # α·v + (1 − α)·g·g; p − rate·g / (√v + ε)
    "rmsprop": Optimizer(1, True, rmsprop_loop, rmsprop_foreach, {"mul": 4, "add": 3, "div": 1, "sqrt": 1}),
}


def work_per_value(name: str, decay: bool) -> Work:
    """Return the operations for each trainable value; what is computed once per step or parameter is free.

    Weight decay is g + decay·p, but in AdamW p·(1 − rate·decay).
    """
    more = {"mul": 1} if name == "adamw" else {"mul": 1, "add": 1}
    return add_work(OPTIMIZERS[name].work, more if decay else {})
