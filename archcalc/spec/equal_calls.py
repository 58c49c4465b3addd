"""What equal calls share: operators, layers with the shapes of their outputs, and the nodes of whole blocks.

They are kept for one expansion; inside `kept` also for those that follow, of networks in the same file.
"""

from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

from archcalc.errors import Place
from archcalc.graph.graph import Shared
from archcalc.ops import Operator, Shape
from archcalc.spec.functions import Names
from archcalc.spec.network_spec import Spec
from archcalc.spec.node_names import Scope


class Made(NamedTuple):
    """A node without its final name."""

    scope: Scope
    base: str
    number: int
    op: Operator
    inputs: tuple[int, ...]
    x: Any
    output: Shape
    place: Place | None
    side: bool
    shared: Shared | None = None


class Expanded(NamedTuple):
    """The nodes of a block call, which an equal call copies."""

    scope: Scope | None  # its own; None: a plain chain, whose layers are numbered in the scope around it
    first: int  # the index of its first node
    made: Sequence[Made]
    ends: Sequence[int]  # its side outputs
    result: int
    steps: int  # what it took from the budget
    read: dict[str, Any]  # the params that the block and those in it read, with their values

    def fits(self, params: Names, nodes: int, steps: int) -> bool:
        """Whether the params that it read are the same here, and its nodes and steps are within what is left."""
        return (
            len(self.made) <= nodes
            and self.steps <= steps
            and all(
                params[name] is value or (type(value) is not tuple and repr(params[name]) == repr(value))
                for name, value in self.read.items()
            )
        )


class Kept:
    """What the calls of networks with the same blocks and names of params share: a param can hide a block or operator.

    A list as a param is equal only to itself: comparing could take longer.
    """

    def __init__(self, blocks: object = None, names: Set[str] = frozenset()) -> None:
        self.blocks = blocks
        self.names = names
        self.operators: dict[Any, Operator] = {}
        self.layers: dict[Any, tuple[Operator, Shape]] = {}
        self.expanded: dict[Any, Expanded] = {}


_last: ContextVar[list[Kept] | None] = ContextVar("last", default=None)


@contextmanager
def kept() -> Iterator[None]:
    """Share the calls of networks in the same file, if they are expanded one after another."""
    token = _last.set([Kept()])
    try:
        yield
    finally:
        _last.reset(token)


def kept_for(spec: Spec, params: Names) -> Kept:
    """Return what the calls of a spec with these params share."""
    last = _last.get()
    if last is None:
        return Kept()
    if last[0].blocks is not spec.blocks or last[0].names != params.keys():
        last[0] = Kept(spec.blocks, frozenset(params))
    return last[0]
