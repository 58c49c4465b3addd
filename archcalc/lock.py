"""Compare networks with a lock file: which layers differ, what that costs, and which budgets are exceeded."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from archcalc.analysis.at_least import AtLeast, add_known, change
from archcalc.analysis.report import Report, analyze
from archcalc.catalog import load_with
from archcalc.comparing.alignment import Alignment, Change, align
from archcalc.comparing.pairing import Match
from archcalc.errors import ArchcalcError, Refusal, SpecError
from archcalc.graph.graph import Graph, Node
from archcalc.graph.groups import grouped
from archcalc.lock_file import (
    BUDGETS,
    TOTALS,
    Lock,
    Locked,
    Row,
    axes_of,
    limit,
    locked,
    operator_text,
    read_operator,
    read_shape_text,
    rows_of,
)
from archcalc.ops import REGISTRY, Operator, Shape
from archcalc.ops.imported import Imported
from archcalc.spec.input_text import read_inputs


class Difference(NamedTuple):
    """A layer or block that is not as in the lock, and its figures now less those in the lock; None: unknown."""

    name: str  # in the lock; of an added one its own
    state: str  # added, removed, changed, or follows: other shapes, or another name of a layer without weights
    changes: tuple[Change, ...]
    layers: tuple[Row, ...]  # that are added or removed
    params: int | None
    macs: int | None


class Excess(NamedTuple):
    """A budget that a network exceeds, or may exceed since its figure is not known exactly."""

    key: str
    limit: int
    value: int | None  # None: unknown; AtLeast: a lower bound


class Findings(NamedTuple):
    """How a network differs from its lock."""

    name: str
    differences: tuple[Difference, ...]
    totals: dict[str, tuple[str, str]]  # those that differ, by figure: in the lock, and now
    excesses: tuple[Excess, ...]
    counted_by: str  # the version of archcalc that wrote the lock

    @property
    def failed(self) -> bool:
        """Whether anything differs or exceeds a budget."""
        return bool(self.differences or self.totals or self.excesses)


def again(name: str, own: Locked) -> tuple[Report, Locked]:
    """Load and analyse a network as its lock says. Raises ArchcalcError with its name."""
    batch = own.conditions["batch"]
    conditions: dict[str, Any] = {
        **own.conditions,
        "batch": int(batch) if re.fullmatch("[0-9]{1,18}", batch) else batch,
    }
    try:
        shape = read_inputs(own.shapes)
        report = analyze(load_with(name, own.settings, shape), **conditions)
    except SpecError as error:
        raise ArchcalcError(f"{name}: {error}") from None
    except (ArchcalcError, Refusal) as error:
        hint = "correct the lock, or run this in the folder that it was made in"
        raise ArchcalcError(f"{name}: {error}\n  {hint}") from None
    return report, locked(report, own.settings, shape, own.budgets)


def findings(lock: Lock, name: str) -> Findings:
    """Compare a network with its lock. Raises ArchcalcError if it cannot be loaded."""
    old = lock.networks[name]
    report, new = again(name, old)
    found = tuple(differences(old, report)) if (old.rows, old.outputs) != (new.rows, new.outputs) else ()
    pairs = {key: (old.totals.get(key, "unknown"), new.totals[key]) for key in TOTALS}
    totals = {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}
    return Findings(name, found, totals, tuple(excesses(report, lock.budgets | old.budgets)), lock.archcalc)


def excesses(report: Report, budgets: Mapping[str, str]) -> Iterator[Excess]:
    """Yield the budgets that a network exceeds, or may exceed."""
    for key, text in budgets.items():
        value, most = getattr(report.totals, BUDGETS[key].key), limit(key, text)
        if value is None or value > most or isinstance(value, AtLeast):
            yield Excess(key, int(most), value)


def differences(old: Locked, report: Report) -> Iterator[Difference]:
    """Yield the layers and blocks that differ, and the outputs."""
    rows = rows_of(report)
    before = analyze(graph_of(report.graph.name, old, report.ran), report.batch, report.dtype, report.mode)
    alignment = align(before, report)
    for group in grouped(_ends(alignment, alignment.root), _alone_beside):
        mine = [row for match in group if match.left for row in old.rows[match.left.start : match.left.stop]]
        yours = [row for match in group if match.right for row in rows[match.right.start : match.right.stop]]
        if found := _difference(alignment, group, mine, yours):
            yield found
    ends = [report.ran.nodes[i].name for i in report.ran.ends]
    if old.outputs != ends:
        yield Difference("outputs", "changed", (Change("layers", tuple(old.outputs), tuple(ends)),), (), 0, 0)


def _ends(alignment: Alignment, match: Match) -> Iterator[Match]:
    """Yield pairs of layers, blocks that are only renamed, and blocks without a partner."""
    left, right = match.left, match.right
    renamed = left and right and left.name != right.name and left.form == right.form and alignment.equal(match)
    if not match.parts or renamed or not (left and right):
        yield match
    else:
        for part in match.parts:
            yield from _ends(alignment, part)


def _alone_beside(match: Match, group: Sequence[Match]) -> bool:
    """Whether a layer or block has no partner, like the one before it in the same block."""
    above = [[name and name.rpartition(".")[0] for name in own.names] for own in (match, group[-1])]
    return None in match.names and above[0] == above[1]


def _difference(alignment: Alignment, group: Sequence[Match], old: list[Row], new: list[Row]) -> Difference | None:
    match, names = group[0], [next(name for name in match.names if name) for match in (group[0], group[-1])]
    name = names[0] if len(group) == 1 else f"{names[0]} … {names[1].rpartition('.')[2]}"
    figures = [_more(old, new, key) for key in ("params", "macs")]
    if not (match.left and match.right):
        return Difference(name, "removed" if old else "added", (), tuple(old or new), *figures)
    found = [change for change in alignment.changes(match) if change.what != "operator"]
    if len(found) < len(alignment.changes(match)):
        found.insert(0, Change("", old[0].op, new[0].op))
    if not (match.parts or found):  # the same layer, with other weights, or counted otherwise
        own = [(row.params, row.macs, " ".join(row.more) or "own weights") for row in (old[0], new[0])]
        found = [Change(*pair) for pair in zip(("params", "MACs", ""), *own, strict=True) if pair[1] != pair[2]]
    if match.left.name != match.right.name:
        found.append(Change("name", *match.names))
    follows = {"input", "output"} if any(row.params for row in old) else {"input", "output", "name"}
    state = "changed" if any(change.what not in follows for change in found) else "follows"
    return Difference(name, state, tuple(found), (), *figures) if found else None


def _more(old: list[Row], new: list[Row], key: str) -> int | None:
    before, now = (add_known([getattr(row, key) for row in rows]) for rows in (old, new))
    return 0 if before == now else change(before, now)


def graph_of(name: str, own: Locked, now: Graph) -> Graph:
    """Make the graph of a lock. `now` is the graph to compare with: it has the operators of texts with a digest.

    What no operator gives any more is a function without rules. Raises ArchcalcError for an order that cannot run.
    """
    known = {
        _key(operator_text(node.op, axes_of(node.op, node.x)), _shapes(node), node.output): node for node in now.nodes
    }
    nodes: list[Node] = []
    made: dict[str, int] = {}
    for row in own.rows:
        if row.name in made or not made.keys() >= {*row.inputs}:
            raise ArchcalcError(f"{name} in the lock: {row.name} is there twice, or reads a layer that is not above it")
        inputs, output = tuple([made[source] for source in row.inputs]), read_shape_text(row.output)
        shapes = tuple([nodes[i].output for i in inputs])
        same = known.get(_key(row.op, shapes, output))
        op = same.op if same else _operator(row.op, shapes, output)
        made[row.name] = len(nodes)
        x = same.x if same else _x(op, shapes)  # an import may read a shape by other axes than it was given
        nodes.append(Node(row.name, op, inputs, x, output, None, "side" in row.more))
    ends = [made[end] for end in own.outputs if end in made]
    if not ends:
        raise ArchcalcError(f"{name} in the lock: no layer is its output")
    sides = tuple([end for end in ends if nodes[end].side])
    return Graph(name, tuple(nodes), tuple([end for end in ends if end not in sides]), sides=sides)


def _key(text: str, shapes: Sequence[Shape], output: Shape) -> tuple[Any, ...]:
    return text, tuple(map(tuple, shapes)), tuple(output), output.axes


def _shapes(node: Node) -> Sequence[Shape]:
    return node.x if node.op.joins else [node.x] if node.inputs else []


def _operator(text: str, shapes: Sequence[Shape], output: Shape) -> Operator:
    lengths = len(shapes[0].lengths) if shapes else 0
    source = REGISTRY["input"](output) if text.startswith("input(") else None
    for op in (source, read_operator(text, lengths or 2), read_operator(text, 2)):
        if op and _fits(op, shapes, output):
            return op
    return Imported(function=text, made=output)


def _x(op: Operator, shapes: Sequence[Shape]) -> Any:
    return tuple(shapes) if op.joins else shapes[0] if shapes else Shape()


def _fits(op: Operator, shapes: Sequence[Shape], output: Shape) -> bool:
    """Whether an operator gives this output. One with arguments for other axes raises what no spec can reach."""
    if not op.joins and len(shapes) != op.needs_input:
        return False
    try:
        return bool(op.output(_x(op, shapes)) == output)
    except (ValueError, LookupError, NotImplementedError):
        return False
