"""The memory of an optimizer's step: what it keeps for each parameter, and its temporaries, statement by statement.

Each function follows one of torch/optim/*.py: `_single_tensor_NAME` (the plain loop) or `_multi_tensor_NAME`
(foreach), without amsgrad, capturable or maximize. A local variable keeps its tensor until it gets another one, also
from one parameter to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from archcalc.analysis.memory_trace import Size, Trace


class Optimizer(NamedTuple):
    """Copies of each parameter in the state, whether it counts steps, and the functions of its temporaries."""

    copies: int
    counts: bool
    loop: Callable[[Update], None]
    foreach: Callable[[Update], None]


class Update:
    """One step: its parameters' sizes, and the local variables of the function that runs."""

    def __init__(self, trace: Trace, sizes: Sequence[Size], host: bool, first: bool, decay: bool) -> None:
        self.trace, self.sizes, self.host, self.first, self.decay = trace, sizes, host, first, decay
        self.locals: dict[str, list[int]] = {}

    def run(self, name: str, foreach: bool) -> None:
        """Run one step of an optimizer; in the first one it creates its state, with a counter for each parameter."""
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

    def move(self, name: str, to: str) -> None:
        """Assign a variable's tensors to another one."""
        self.clear(to)
        self.locals[to] = self.locals.pop(name)

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


def sgd_loop(update: Update) -> None:
    """Without momentum."""
    for size in update.sizes:
        update.clear("grad")
        if update.decay:
            update.set("grad", size)


def momentum_loop(update: Update, nesterov: bool = False) -> None:
    """With momentum: the buffer is a copy of the first gradient."""
    for size in update.sizes:
        update.clear("grad")
        if update.decay:
            update.set("grad", size)
        if update.first:
            update.state(size)
        else:
            update.number()
        if nesterov:
            update.set("grad", size)
        else:
            update.clear("grad")


def nesterov_loop(update: Update) -> None:
    """With Nesterov's momentum."""
    momentum_loop(update, nesterov=True)


def sgd_foreach(update: Update) -> None:
    """Without momentum."""
    if update.decay:
        update.set("grads", *update.sizes)


def momentum_foreach(update: Update) -> None:
    """With momentum, also Nesterov's."""
    sgd_foreach(update)
    if update.first:
        for size in update.sizes:
            update.state(size)


def adam_loop(update: Update, decoupled: bool = False) -> None:
    """Adam: two averages, and the root of the second one, divided."""
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
        update.move("divided", "denom")


def adamw_loop(update: Update) -> None:
    """Adam with weight decay of its own, in place."""
    adam_loop(update, decoupled=True)


def adam_foreach(update: Update) -> None:
    """Adam."""
    update.number(count=4)
    sgd_foreach(update)
    update.clear("grads")
    update.set("roots", *update.sizes)


def adamw_foreach(update: Update) -> None:
    """Adam with weight decay of its own, in place."""
    update.number(count=4)
    update.set("roots", *update.sizes)


def rmsprop_loop(update: Update) -> None:
    """RMSProp: an average of squares, and its root."""
    for size in update.sizes:
        update.clear("grad")
        update.number()
        if update.decay:
            update.set("grad", size)
        update.number()
        update.set("average", size)
        update.number()


def rmsprop_foreach(update: Update) -> None:
    """RMSProp."""
    update.number(count=4)
    sgd_foreach(update)
    update.set("averages", *update.sizes)


OPTIMIZERS = {
    "sgd": Optimizer(0, False, sgd_loop, sgd_foreach),
    "momentum": Optimizer(0, False, momentum_loop, momentum_foreach),
    "nesterov": Optimizer(0, False, nesterov_loop, momentum_foreach),
    "adam": Optimizer(2, True, adam_loop, adam_foreach),
    "adamw": Optimizer(2, True, adamw_loop, adamw_foreach),
    "rmsprop": Optimizer(1, True, rmsprop_loop, rmsprop_foreach),
}
