"""What a spec's plan did as it ran: every run of every step, with its names and shapes, by the block it ran in.

The source is written from both: the plan says how things are written, the runs which of them happen.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from typing import Any

from archcalc.errors import Place, Source
from archcalc.language.expand import Expansion
from archcalc.language.expression import Expression, tree_of
from archcalc.language.naming import Scope
from archcalc.language.plan import Call, Chain, Label, Plan, Side, Use
from archcalc.language.source import Scalar
from archcalc.language.spec import Block, Spec
from archcalc.language.values import Evaluate, Names, Reference
from archcalc.ops import Shape

UNBOUNDED = 2**62  # steps that may still be spent: the spec has been expanded within its bounds


class Run:
    """One run of a step: where it stands in the plan, what it was given and what it made."""

    __slots__ = ("callee", "inner", "names", "output", "outside", "owner", "plan", "start", "x", "y")

    def __init__(self, plan: Plan, names: Names, x: Shape, start: int) -> None:
        self.plan = plan
        self.names = names
        self.x = x  # the input's shape
        self.start = start  # how many nodes there were before
        self.inner: list[Run] = []
        self.y = -1  # the node whose output is its own
        self.output: Shape = ()
        self.owner: Run = self  # the run of the block it belongs to
        self.outside: Run | None = None  # the owner of what became a block of its own
        self.callee: Piece | None = None  # of a call of a block

    def settle(self) -> Names:
        """The names as this step sees them."""
        self.names.shape = self.x
        return self.names

    def below(self) -> Iterator[Run]:
        """All runs inside it, blocks that it calls included."""
        for run in self.inner:
            yield run
            yield from run.below()


class Piece:
    """A part of the plan that becomes a class or function: a block with the blocks that its parameters name."""

    def __init__(self, key: tuple[Any, ...], label: str, body: Plan, block: Block | None = None) -> None:
        self.key = key
        self.label = label
        self.body = body
        self.block = block
        self.runs: list[Run] = []
        self.references: frozenset[str] = frozenset()  # parameters that name blocks or operators
        self.given: set[str] = set()  # parameters that some call gives
        self.needs: dict[str, None] = {}  # labels of steps outside, whose outputs it uses
        self.sides = False


class Trace(Expansion):
    """Expands a spec and remembers how."""

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.open: list[Run] = []
        self.pieces: dict[tuple[Any, ...], Piece] = {}
        self.labels_used: set[str] = set()
        self.nested_sides = False
        self.titles = _titles(spec)

    def run(self, plan: Plan, x: int, names: Names, scope: Scope, fresh: bool) -> int:
        """As the expansion does it, remembered."""
        run = Run(plan, names, self.made[x].output, len(self.made))
        if self.open:
            self.open[-1].inner.append(run)
        self.open.append(run)
        run.y = super().run(plan, x, names, scope, fresh)
        run.output = self.made[run.y].output
        if len(self.open) > 1:
            self.open.pop()
        return run.y

    def main(self, network: str) -> Piece:
        """The network's own piece, once the graph has been expanded."""
        self.budget.left = UNBOUNDED
        top = self.open[0]
        piece = Piece((), network, top.plan)
        piece.runs.append(top)
        self.walk(top, [(top, piece)])
        return self.unwrapped(piece)

    def unwrapped(self, piece: Piece) -> Piece:
        """The block that is all of the network, where that has no parameters."""
        run = piece.runs[0]
        while len(run.inner) == 1 and run.callee and not run.callee.block.parameters and len(run.callee.runs) == 1:  # type: ignore[union-attr]  # a callee is a block
            run = run.inner[0]
            piece.body, piece.runs = run.plan, [run]
        return piece

    def walk(self, run: Run, around: list[tuple[Run, Piece]]) -> None:
        """Give each run its owner, each block its runs and what it needs from outside."""
        run.owner = around[-1][0]
        if isinstance(run.plan, Use):
            self._needed(run, run.plan.label, around)
        if isinstance(run.plan, Side):
            self.nested_sides |= len(around) > 1
            for _, piece in around:
                piece.sides = True
        called = isinstance(run.plan, Call) and bool(run.inner)
        if called:
            run.callee = self.piece(run)
            around = [*around, (run.inner[0], run.callee)]
        for inner in run.inner:
            self.walk(inner, around)

    def _needed(self, run: Run, label: str, around: list[tuple[Run, Piece]]) -> None:
        self.labels_used.add(label)
        for owner, piece in reversed(around):
            if run.y >= owner.start:
                return
            piece.needs[label] = None

    def piece(self, call: Run) -> Piece:
        """What a call of a block calls, with this run added."""
        body = call.inner[0]
        block = next(block for block in self.spec.blocks.values() if block.body is body.plan)
        named = {name: text for name, _ in block.parameters if (text := _referred(body.names[name]))}
        key = (block.name, *named.items(), len(body.x))
        piece = self.pieces.get(key)
        if piece is None:
            piece = self.pieces[key] = Piece(key, self.titles.get(block.name, block.name), block.body, block)
            piece.references = frozenset(named)
        piece.runs.append(body)
        plan = call.plan
        assert isinstance(plan, Call)
        piece.given |= {name for (name, _), _ in zip(block.parameters, plan.positional, strict=False)}
        piece.given |= {argument.keyword for argument in plan.named}
        return piece


def _titles(spec: Spec) -> dict[str, str]:
    """Better names of blocks: steps as `fire2: fire(…)` say that what the param `fire` names is a fire."""
    steps = spec.layers.steps if isinstance(spec.layers, Chain) else ()
    labels = [(step.name, step.body.name) for step in steps if isinstance(step, Label) and isinstance(step.body, Call)]
    words = {word for label, word in labels if label.rstrip("0123456789") == word != label} & set(spec.params)
    trees = {word: tree_of(spec.params[word]) for word in words - set(spec.blocks)}
    return {tree.id: word for word, tree in trees.items() if isinstance(tree, ast.Name)}


def _referred(value: Any) -> str:
    """The blocks and operators that a value names; "" where it names none."""
    if isinstance(value, Reference):
        return value.name
    return " ".join(filter(None, map(_referred, value))) if isinstance(value, tuple) else ""


_NOWHERE = Scalar("0", Place(Source("<source>", [""]), 1, 1))


def compiled(tree: ast.expr) -> Evaluate:
    """The function that computes a part of a spec's expression; it raises SpecError."""
    return Expression(_NOWHERE).value(tree)


def rounds(runs: Sequence[Run]) -> list[Run]:
    """The runs inside these, all of them."""
    return [inner for run in runs for inner in run.inner]
