"""The table of `archcalc compare --by`: where two networks differ."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from archcalc.analysis.at_least import bounded, change
from archcalc.analysis.parts import end, total
from archcalc.analysis.report import Layer, Report
from archcalc.comparing.alignment import Alignment, Change
from archcalc.comparing.pairing import Match
from archcalc.errors import shorten
from archcalc.graph.groups import grouped
from archcalc.ops import Shape, format_shape
from archcalc.ops.arguments import show
from archcalc.ops.base import written_call
from archcalc.render.table import CHANGE, COUNT, Column, Table, conditions_text, without_rule_text
from archcalc.render.tables.field_words import field_text
from archcalc.render.tables.figure_columns import data, heading
from archcalc.render.tables.summaries import operators, owns_nothing, totals_data

SCHEMA = 1  # of the JSON; raised when a key changes its meaning or goes
DEPTHS = {"stage": 1, "block": 2, "layer": None}  # number of parts of a name
# Ranks of A, B and their difference; FLOPs are only in data
FIGURES = {"params": (6, 5, 0), "macs": (4, 3, 0), "flops": (0, 0, 0), "activations": (9, 8, 1)}
STATES = {"equal": "equal", "shapes": "other shapes", "a": "only in A", "b": "only in B"}  # and "changed"
MOST_LISTED = 2  # differences that the row of a block lists
MOST_OTHER = 0.5  # blocks with a smaller share of common layers have no listed differences
MOST_SHOWN = 24  # characters of an argument
MOST_IN_LINE = 26  # characters of a difference; a longer text is below its row


class Row(NamedTuple):
    """Neighbouring matches in one row, and how their sides differ: one of STATES, or `changed`."""

    state: str
    matches: tuple[Match, ...]


def alignment_table(alignment: Alignment, by: str, every: bool = False) -> Table:
    """Make the table of parts of two networks, A and B, by `stage`, `block` or `layer`, and of their differences.

    Unless `every`, equal neighbours share a row, and so do neighbours that only one network has. Differences are B − A.
    The rows add up to the totals of both networks.
    """
    left, right = alignment.left, alignment.right
    found = _rows(alignment, DEPTHS[by]) if every else merged(alignment, _rows(alignment, DEPTHS[by], True), by)
    rows = [_cells(alignment, row) for row in found]
    least = bool(left.without_rule or right.without_rule)
    rows = [row | {"at_least": bounded(row)} for row in rows] if least else rows
    inputs = left.graph.inputs_text, right.graph.inputs_text
    return Table(
        title=f"A: {left.graph.name} · B: {right.graph.name}",
        columns=[*_columns(), *data(["at_least"] * least)],
        rows=rows,
        rows_key="parts",
        facts={
            "schema": SCHEMA, "network_a": left.graph.name, "network_b": right.graph.name, "by": by, **left.conditions,
        },
        conditions=conditions_text(left.batch, left.dtype, left.mode, inputs=inputs),
        totals={"part": "total", **_figures(left.layers, right.layers)},
        summary=list(_summary(left, right)),
        notes=list(_notes(alignment, rows)),
        data=lambda: {
            key: value
            for side, report in (("a", left), ("b", right))
            for key, value in totals_data(report, f"_{side}").items()
        },
        label=f"{left.graph.name}, {right.graph.name}, by {by}",
    )  # fmt: skip


def _notes(alignment: Alignment, rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for report in (alignment.left, alignment.right):
        if report.without_rule:
            yield f"{report.graph.name}: {without_rule_text(report.without_rule)}."
    if alignment.left.graph.inputs_text != alignment.right.graph.inputs_text:
        yield "The inputs differ."
    if any(row["part"].startswith("…") for row in rows):
        yield "“… part”: all parts since the row above, up to that part."


def _columns() -> Iterator[Column]:
    yield Column("part", "Part", text=True, data=False, of="part_a")
    yield from data(("part_a", "part_b", "state", "difference"))
    yield Column("brief", "Difference", text=True, data=False, of="difference")
    yield Column("details", "Details", text=True, data=False, below=True)
    for key, title, rank in (("operators", "Operators", 10), ("output", "Output", 7)):
        yield Column(key, title, text=True, rank=rank, data=False)
        yield from data((f"{key}_a", f"{key}_b"))
    for key, (left, right, more) in FIGURES.items():
        yield Column(f"{key}_a", heading(key), "A", left, shown=key != "flops", kind=COUNT)
        yield Column(f"{key}_b", heading(key), "B", right, shown=key != "flops", kind=COUNT)
        yield Column(f"{key}_difference", heading(key), "B − A", more, shown=key != "flops", kind=CHANGE)


def _rows(alignment: Alignment, depth: int | None, whole: bool = False, block: Match | None = None) -> Iterator[Row]:
    return (Row(state(alignment, match), (match,)) for match in alignment.rows(depth, whole, block))


def state(alignment: Alignment, match: Match) -> str:
    """Return how the sides of a match differ: `equal`, only in `shapes`, `changed`, or only in `a` or `b`."""
    if not (match.left and match.right):
        return "a" if match.left else "b"
    if alignment.equal(match):
        return "equal"
    if match.parts:
        return "shapes" if all(state(alignment, part) in ("equal", "shapes") for part in match.parts) else "changed"
    return "changed" if _changes(alignment, match) else "shapes"


def _changes(alignment: Alignment, match: Match) -> list[Change]:
    """Return the changes in what is written, without the shapes that follow from them."""
    return [change for change in alignment.changes(match) if change.what not in ("input", "output")]


def merged(alignment: Alignment, rows: Iterable[Row], by: str) -> Iterator[Row]:
    """Merge neighbouring rows with the same state, and layers that own nothing into the row before them."""
    for group in grouped(rows, lambda row, group: _joins(alignment, group[-1], row, by)):
        yield Row(group[0].state, tuple(match for row in group for match in row.matches))


def _joins(alignment: Alignment, last: Row, row: Row, by: str) -> bool:
    if row.state == "equal":
        return last.state == "equal"
    if last.state != row.state or row.state == "changed" or _parent(last.matches[-1]) != _parent(row.matches[0]):
        return False
    if row.state == "shapes":
        return by == "layer"
    layers = [layer for side in alignment.layers(row.matches[0]) for layer in side]
    return by != "layer" or bool(row.matches[0].parts) or all(map(owns_nothing, layers))


def _parent(match: Match) -> tuple[str, ...]:
    return tuple(name.rpartition(".")[0] for name in match.names if name)


def _cells(alignment: Alignment, row: Row) -> dict[str, Any]:
    sides = [[layer for match in row.matches for layer in alignment.layers(match)[i]] for i in (0, 1)]
    operators, outputs = [_operators(layers) for layers in sides], [_output(layers) for layers in sides]
    names = [" ".join(name for name in _ends(row.matches, i) if name) or None for i in (0, 1)]
    text = difference(alignment, row)
    short = len(text) <= MOST_IN_LINE
    return {
        "part": row_name(row),
        **_by_side("part", names),
        "state": row.state,
        "difference": text,
        "brief": text if short else STATES.get(row.state, "differs"),
        "details": "" if short else text.removeprefix(f"{STATES.get(row.state)}: "),
        "operators": _change(*operators),
        **_by_side("operators", operators),
        "output": _change(*(format_shape(shape) if shape else None for shape in outputs)),
        **_by_side("output", outputs),
        **_figures(*sides),
    }


def _by_side(key: str, values: Sequence[Any]) -> dict[str, Any]:
    return dict(zip((f"{key}_a", f"{key}_b"), values, strict=True))


def _figures(left: Sequence[Layer], right: Sequence[Layer]) -> dict[str, Any]:
    """Return sums over the layers of both sides, and B − A."""
    figures: dict[str, Any] = {}
    for key in FIGURES:
        sums = [total(layers, key) for layers in (left, right)]
        figures |= _by_side(key, sums) | {f"{key}_difference": change(*sums)}
    return figures


def row_name(row: Row, block: Match | None = None) -> str:
    """Name a row: `stage1`, `conv / conv1`; several parts of one network `fc6 … fc8`; other parts up to fc8 `… fc8`.

    With `block`, names are those within it.
    """
    first, last = (_both(match, block) for match in (row.matches[0], row.matches[-1]))
    if len(row.matches) == 1:
        return first
    return f"{first} … {last.rpartition('.')[2]}" if row.state in ("a", "b") else f"… {last}"


def _both(match: Match, block: Match | None) -> str:
    outer = block.names if block else ("", "")
    names = [name.removeprefix(f"{around}.") for name, around in zip(match.names, outer, strict=True) if name]
    return " / ".join(dict.fromkeys(names))


def _ends(matches: Sequence[Match], side: int) -> list[str | None]:
    """Return the names of the first and the last part on a side."""
    names = [match.names[side] for match in matches]
    return names if len(names) == 1 else [names[0], "…", names[-1]]


def _change(left: Any, right: Any) -> str:
    """Return `3 → 5`, or one value if both are equal or one is None."""
    return " → ".join(dict.fromkeys(str(value) for value in (left, right) if value is not None))


def difference(alignment: Alignment, row: Row) -> str:
    """Describe how the sides of a row differ."""
    match, several = row.matches[0], len(row.matches) > 1
    text = STATES.get(row.state, "")
    if row.state == "changed":
        return "; ".join(_inside(alignment, match) if match.parts else map(change_text, _changes(alignment, match)))
    if row.state == "shapes":
        return _shapes(alignment, row) or text
    if row.state in ("a", "b") and any(part.parts for part in row.matches):
        return f"{text}: {len(row.matches)} parts" if several else text
    return f"{text}: {_alone(row.matches)}" if row.state in ("a", "b") else text


def _shapes(alignment: Alignment, row: Row) -> str:
    """Describe the outputs, `56×56 → 28×28`, if all parts differ equally; if none differs, the inputs; otherwise ""."""
    match = row.matches[0]
    ends = {tuple([_output(layers) or Shape() for layers in alignment.layers(match)]) for match in row.matches}
    left, right = ends.pop()
    if not ends and left != right:
        wide = left.axes != right.axes or left.channels != right.channels
        return _change(*(format_shape(shape if wide else shape.lengths) for shape in (left, right)))
    if ends or len(row.matches) > 1:
        return ""
    if match.parts:
        return "; ".join(_inside(alignment, match))
    return change_text(alignment.changes(match)[0]) if _reads_other(match, alignment.changes(match)) else ""


def _reads_other(match: Match, changes: Sequence[Change]) -> bool:
    """Whether a layer differs only in the shape of its input."""
    joins = match.left and match.left.op and match.left.op.joins
    return [change.what for change in changes] == ["input"] and not joins


def _alone(matches: Sequence[Match]) -> str:
    """List the layers of unmatched parts as a spec writes them; the rest is counted."""
    texts = _texts(matches)
    more = len(texts) - MOST_LISTED
    return ", ".join(texts[:MOST_LISTED]) + (f" and {more} more" if more > 0 else "")


def _texts(matches: Sequence[Match]) -> list[str]:
    """Return the layers among unmatched parts as a spec writes them."""
    operators = (piece.op for match in matches for piece in (match.left, match.right) if piece)
    return [written_call(op) for op in operators if op]


def _inside(alignment: Alignment, block: Match) -> list[str]:
    """List the differences within a block, each with its name there."""
    sizes = [len(layers) for layers in alignment.layers(block)]
    if sum(None not in leaf.names for leaf in block.leaves()) < MOST_OTHER * min(sizes):
        return ["other layers, {} → {}".format(*sizes)]
    rows = list(merged(alignment, _rows(alignment, None, True, block), "layer"))
    found = list(_differences(alignment, block, rows))
    return found[:MOST_LISTED] + ([f"and {len(found) - MOST_LISTED} more"] if len(found) > MOST_LISTED else [])


def _differences(alignment: Alignment, block: Match, rows: Sequence[Row]) -> Iterator[str]:
    """Yield the difference of each row in a block; layers that are alone on both sides have moved."""
    alone = {side: [_texts(row.matches) for row in rows if row.state == side] for side in "ab"}
    for row in rows:
        texts = _texts(row.matches) if row.state in ("a", "b") else []
        if texts and texts in alone["a"] and texts in alone["b"]:
            yield from [f"{row_name(row, block)} moved"] if row.state == "a" else []
        elif row.state in ("a", "b"):
            yield f"{row_name(row, block)} {STATES[row.state]}"
        elif row.state == "changed" or _reads_other(row.matches[0], alignment.changes(row.matches[0])):
            yield f"{row_name(row, block)}: {difference(alignment, row)}"


def change_text(change: Change) -> str:
    """Describe a change: `stride 2 → 1`, `avgpool(2) → maxpool(2)`."""
    if change.what == "operator":
        left, right = written_call(change.left), written_call(change.right)
        return f"{left} → {right}" if left != right else f"{left} with other facts"
    left, right = _value(change.left), _value(change.right)
    if (
        left == right and isinstance(change.left, tuple) and len({*change.left, *change.right}) == 1
    ):  # 3 for 3×3×3, and for 3 of one length
        left, right = format_shape(change.left), format_shape(change.right)
    return f"{change.what} {left} → {right}"


def _value(value: Any) -> str:
    if isinstance(value, tuple) and value and all(isinstance(item, str) for item in value):
        return " + ".join(value)  # names of inputs
    if isinstance(value, tuple) and len(value) > 1 and len({*value}) == 1:
        return show(*{*value})
    if isinstance(value, tuple) and all(isinstance(item, int) for item in value):
        return format_shape(value)
    return shorten(show(value), MOST_SHOWN)


def _operators(layers: Sequence[Layer]) -> str | None:
    """Return one operator as a spec writes it, or the number of each."""
    if len(layers) == 1:
        return written_call(layers[0].node.op)
    return " ".join(operators(layers)) or None


def _output(layers: Sequence[Layer]) -> Shape | None:
    return end(layers).node.output if layers else None


def _summary(left: Report, right: Report) -> Iterator[tuple[str, str]]:
    """Yield the figures of both networks that are not sums."""
    yield "depth", _change(left.totals.depth, right.totals.depth)
    fields = [field_text(report.totals.field) for report in (left, right)]
    yield "field", f"{_change(*fields)} pixels" if set(fields) != {"–"} else "not computed: too many positions differ"
