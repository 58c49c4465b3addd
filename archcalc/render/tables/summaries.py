"""The table of `archcalc summarize`: one network."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from archcalc.analysis.at_least import add_known, bounded
from archcalc.analysis.field_figures import by_key
from archcalc.analysis.figures import END, FIGURES, summed
from archcalc.analysis.parts import Sums, blocks, end, sums_of, total, within
from archcalc.analysis.receptive_field import Axes
from archcalc.analysis.report import Layer, Report, Totals
from archcalc.auditing.verdicts import Verdict
from archcalc.graph.graph import About, Graph
from archcalc.graph.groups import grouped
from archcalc.ops import Operator, Shape, format_shape
from archcalc.ops.base import is_bias
from archcalc.ops.imported import Imported
from archcalc.ops.shape import USUAL, in_words
from archcalc.render.table import (
    COUNT,
    Column,
    Table,
    bytes_text,
    cell,
    conditions_text,
    ends_data,
    input_data,
    without_rule_text,
)
from archcalc.render.tables.audit import verdict_table
from archcalc.render.tables.conventions import IMPORTED
from archcalc.render.tables.field_words import field_line, field_text, field_unit
from archcalc.render.tables.figure_columns import data, figure_column

SCHEMA = 2  # of the JSON; raised when a key changes its meaning or goes

COLUMNS = (
    Column("name", "Layer", text=True),
    Column("op", "Operators", rank=6, text=True),
    *data(("inputs",)),
    Column("output", "Output", "C×H×W", rank=1),
    figure_column("activations", 2),
    *data(("activation_bytes", "saved_bytes")),
    Column("formula", "Weights", "formula = values", rank=3, of="weights"),
    *data(("weights", "biases")),
    figure_column("params", 0, "weights + biases"),
    *data(("buffers",)),
    figure_column("macs"),
    figure_column("flops", 4),
    *data(("connections",)),
    Column("field", "Field", "pixels", rank=5, data=False, of="receptive_field"),
    *data(key for key, figure in FIGURES.items() if figure.adds == END and figure.unit != "shape"),
    *data(("depth",)),
)


PASSES = {  # of a training step: titles and units
    "forward_flops": ("Forward", "FLOPs"),
    "backward_input_flops": ("Backward", "input FLOPs"),
    "backward_weight_flops": ("Backward", "weight FLOPs"),
    "optimizer_flops": ("Optimizer", "FLOPs"),
}
# In training, if the table is too wide, the first of these that fit are shown.
IN_TRAINING = ("output", *PASSES, "params", "macs", "activations", "formula", "flops", "field", "op")


def summarize(
    report: Report, everything: bool = False, depth: int | None = None, gone: Sequence[str] | None = None,
    verdicts: Sequence[Verdict] = (),
) -> Table:  # fmt: skip
    """Make the table of a network: one row per layer, or with `depth` one row per block of so many parts of a name.

    Layers that own nothing (no weights, no written values) are merged into the row above unless `everything`. `gone`
    are the batch normalizations that were folded, None without folding; `verdicts` are those on the whole network.
    """
    groups = by_block(report.layers, depth) if depth else merge(report.layers, everything)
    names = _names(groups, depth)
    row_of = {layer.node.name: name for group, name in zip(groups, names, strict=True) for layer in group}
    sums = sums_of(report.distinct)
    rows = [_row(group, name, row_of, sums, depth) for group, name in zip(groups, names, strict=True)]
    least, remarks = bool(report.without_rule), report.graph.about.notes
    rows = [row | {"at_least": bounded(row)} for row in rows] if least else rows
    merged = [layer for group, name in zip(groups, names, strict=True) for layer in _loose(group, name, depth)]
    return Table(
        title=" · ".join(part for part in (report.graph.name, about_text(report.graph.about)) if part),
        columns=[*_columns(report), *data(["at_least"] * least)],
        rows=rows,
        rows_key="layers",
        facts=facts(report) | ({} if gone is None else {"folded_batchnorms": len(gone)}),
        conditions=conditions(report) + ("" if gone is None else " · batch normalization folded"),
        totals={"name": "total", "formula": report.totals.weights}
        | {key: add_known([row[key] for row in rows]) for key in summed()},
        summary=list(summary(report, folded=gone is not None)),
        notes=[*_notes(merged, report), *_field_notes(rows, report.graph), *_folding_notes(gone, report)],
        data=lambda: ends_data(report.graph) | ({"notes": [*remarks]} if remarks else {}) | totals_data(report),
        remarks=remarks,
        hints=["--all shows each layer."] * bool(merged),
        parts=_published(report, verdicts),
    )


def totals_data(report: Report, side: str = "") -> dict[str, Any]:
    """Return the totals for programs; which are lower bounds, and because of which layers, if there are any."""
    totals = report.totals.figures()
    layers = [{"name": name, "function": function} for name, function in report.without_rule.items()]
    unknown = {f"at_least{side}": bounded(totals), f"without_rule{side}": layers} if layers else {}
    return {f"totals{side}": totals, **unknown}


def merge(layers: Sequence[Layer], everything: bool) -> list[list[Layer]]:
    """Group layers into rows: a layer that owns nothing joins the row that ends with its only input."""
    return grouped(layers, lambda layer, row: not everything and _merges(layer, row))


def _merges(layer: Layer, row: Sequence[Layer]) -> bool:
    return owns_nothing(layer) and layer.inputs == (row[-1].node.name,)


def owns_nothing(layer: Layer) -> bool:
    """Whether a layer has no weights, buffers and written values: a view, in place, or without effect at inference."""
    return not (layer.params or layer.buffers or layer.activations)


def by_block(layers: Sequence[Layer], depth: int) -> list[list[Layer]]:
    """Group neighbours with the same first `depth` parts of their names; other layers are merged as in `merge`."""

    def joins(layer: Layer, row: Sequence[Layer]) -> bool:
        loose = layer.node.name.count(".") < depth
        return _head(row[-1], depth) == _head(layer, depth) or (loose and _merges(layer, row))

    return grouped(layers, joins)


def _head(layer: Layer, depth: int) -> list[str]:
    return layer.node.name.split(".")[:depth]


def _names(groups: Sequence[Sequence[Layer]], depth: int | None) -> list[str]:
    """Name each row after its first layer, or after the block if it has all of its layers."""
    if depth:
        return [".".join(_head(group[0], depth)) for group in groups]
    sizes = Counter(block for group in groups for layer in group for block in blocks(layer))
    names = []
    for group in groups:
        name = group[0].node.name
        while len(group) > 1 and "." in name and sizes[name.rpartition(".")[0]] == len(group):
            name = name.rpartition(".")[0]
        names.append(name)
    return names


def _row(group: Sequence[Layer], name: str, row_of: Mapping[str, str], sums: Sums, depth: int | None) -> dict[str, Any]:
    last = _end(group, name, depth)
    sources = dict.fromkeys(row_of[source] for layer in group for source in layer.inputs if row_of[source] != name)
    row: dict[str, Any] = {"name": name, "op": " ".join(operators(group)), "inputs": list(sources)}
    row["output"], row["output_axes"] = list(last.node.output), last.node.output.axes
    row |= {"weights_of": group[0].weights_of} if group[0].weights_of else {}
    row |= sums(group)
    row["saved_bytes"] = total(group, "saved_bytes")
    row["formula"] = _formula(group, row["weights"])
    row |= _field_cells(last.field)
    row["depth"] = last.depth
    return row


@lru_cache(maxsize=256)
def _field_cells(field: Axes | None) -> dict[str, Any]:
    """Return a field's figures and text, computed once for equal fields."""
    figures = by_key(field)
    return {**figures, "field": field_text(figures)}


def _end(group: Sequence[Layer], name: str, depth: int | None) -> Layer:
    """Return the layer whose output a row shows: the first, or for a block the last that is not on a side output."""
    if depth is None:
        return group[0]
    return end([layer for layer in group if within(layer, name)])


def operators(group: Sequence[Layer]) -> list[str]:
    """Return the operators in order of appearance, each with its count if that is above 1."""
    if len(group) == 1:
        return [group[0].node.op.name]
    counts = Counter(layer.node.op.name for layer in group)
    return [name if count == 1 else f"{count}×{name}" for name, count in counts.items()]


def _formula(group: Sequence[Layer], weights: int) -> str:
    """Return `(3·3·3)·64 = 1,728` if one layer has weights; for several only the sum."""
    owners = [layer for layer in group if layer.weights]
    if len(owners) == 1:
        node = owners[0].node
        text = _weight_formula(node.op, node.x, node.output)
        if "·" in text:
            return f"{text} = {weights:,}"
    shared = dict.fromkeys(layer.weights_of for layer in group if layer.weights_of)
    return f"{weights:,}" if owners or len(shared) != 1 else f"those of {next(iter(shared))}"


@lru_cache(maxsize=4096)
def _weight_formula(op: Operator, x: Any, output: Shape) -> str:
    """Return the operator's formula, cached for equal layers: it takes as long as the rest of a row."""
    formula, weights = op.formula(x, output), [name for name in op.weights(x) if not is_bias(name)]
    return " + ".join(formula[name] for name in weights) if len(weights) < 3 else ""


def _columns(report: Report) -> Iterator[Column]:
    """Yield the columns, with the convention of FLOPs, and without C×H×W if no layer has height and width."""
    trains = report.mode == "train"
    passes = [Column(key, title, unit, shown=trains, kind=COUNT) for key, (title, unit) in PASSES.items()]
    for own in (*COLUMNS, *passes):
        column = own._replace(rank=IN_TRAINING.index(own.key) + 1) if trains and own.key in IN_TRAINING else own
        if own.key == "flops":
            column = column._replace(title=f"FLOPs ({report.convention.name})")
        elif own.key == "output":
            column = column._replace(unit=_axes_of(report))
            yield from data(["output_axes"] if _names_axes(report) else ())
            yield from data(["weights_of"] if any(node.shared for node in report.ran.nodes) else ())
        elif own.key == "field":
            column = column._replace(unit=field_unit(report.graph.input))
        yield column
    named = {own.key for own in COLUMNS} | {*PASSES}
    yield from data(key for key in summed() if key not in named)  # programs read every figure of a layer


def _axes_of(report: Report) -> str:
    """Return the axes of all outputs that have positions: `C×H×W`."""
    found = dict.fromkeys([layer.node.output.axes for layer in report.layers if layer.node.output.lengths])
    return in_words([*found]) if found else ""


def _names_axes(report: Report) -> bool:
    """Whether programs read the axes of each output: all but those of vectors and images."""
    return any(layer.node.output.axes not in USUAL for layer in report.layers)


def about_text(about: About) -> str:
    """Return title and paper: `Deep residual networks (He et al. 2015)`."""
    paper = " ".join(str(about.paper[key]) for key in ("authors", "year") if key in about.paper)
    return f"{about.title} ({paper})" if about.title and paper else about.title or paper


def facts(report: Report) -> dict[str, Any]:
    """Return the conditions of a table for JSON and CSV."""
    return {
        "schema": SCHEMA,
        "name": report.graph.name,
        **input_data(report.graph),
        **report.conditions,
        **report.training,
    }


def conditions(report: Report) -> str:
    """Return the conditions of a table for people."""
    training = f" · optimizer: {report.optimizer}" if report.optimizer else ""
    return conditions_text(**report.conditions, inputs=[report.graph.inputs_text]) + training


def summary(report: Report, folded: bool = False) -> Iterable[tuple[str, str]]:
    """Yield the totals as text with units; `folded` says that batch normalization was folded."""
    t = report.totals
    if outputs := ends_data(report.graph).get("outputs"):
        yield "outputs", ", ".join(f"{own['name']} {format_shape(own['shape'])}" for own in outputs)
    more = f"\n{t.params_with_statistics:,} with running statistics" if t.running_statistics else ""
    yield "params", f"{t.params:,} = {t.weights:,} weights + {t.biases:,} biases\n{bytes_text(t.param_bytes)}{more}"
    if t.buffers:
        yield "buffers", f"{_buffers_text(t)} = {bytes_text(t.buffer_bytes)}"
    what = "image" if [node.output.axes for node in report.graph.inputs] == ["CHW"] else "sample"
    of = f"per {what}, forward" if report.batch == 1 else f"for {report.batch} {what}s, forward"
    yield "activations", f"{t.activations:,} values = {bytes_text(t.activation_bytes)} {of}"
    yield "training", _training_text(report, folded)
    if report.mode == "train" and (peak := t.peak_training_bytes):
        yield "memory", f"{bytes_text(peak)} at the peak of training on {report.recipe.device.upper()}"
    yield "MACs", cell(t.macs)
    yield "FLOPs", f"{cell(t.flops)} ({report.convention.name}: {report.convention.text})"
    if report.mode == "train":
        yield "step", _step_text(report)
    yield "connections", cell(t.connections)
    yield "depth", f"{t.depth} weighted layer{'s' if t.depth != 1 else ''} on the longest path"
    yield "field", field_line(t, report.graph.input)
    if t.expected_branches is not None and t.expected_macs is not None:
        share = f" ({t.expected_macs / t.macs:.1%})" if t.macs else ""
        kept = f"{t.expected_branches:g} of {t.droppable_branches} branches in training"
        yield "expected", f"{kept}, depth {t.expected_depth:g}, {t.expected_macs:,.0f} MACs{share}"


def _training_text(report: Report, folded: bool) -> str:
    """Return `2,614,443,520 bytes kept for backward = 2,614.44 MB = 2,493.33 MiB`, and its conditions."""
    kept, misfit = report.totals.saved_bytes, report.graph.misfit
    if layer := report.unknown_memory:
        return f"unknown: archcalc does not know what {layer} keeps"
    if kept is None:
        return "unknown: a side output does not accept this input" + (f" ({misfit.message})" if misfit else "")
    size = f" = {bytes_text(kept)}" if kept >= 10**6 else ""
    remarks = {
        "side outputs included": bool(report.graph.sides),
        "with a gradient for the input": _keeps_before_weights(report.layers),
        "for the folded network, which has no side outputs": folded,
    }
    more = ", ".join(remark for remark, holds in remarks.items() if holds)
    return f"{kept:,} bytes kept for backward{size}" + (f"\n{more}" if more else "")


def _step_text(report: Report) -> str:
    """Return the MACs and FLOPs of a training step, each as a sum."""
    t = report.totals
    macs = (
        f"{cell(t.macs)} forward + {cell(t.backward_input_macs)} for inputs + "
        f"{cell(t.backward_weight_macs)} for weights"
    )
    if report.convention.rules:
        unknown = f"FLOPs unknown: {report.convention.name} counts a forward pass; all, torch and macs count a step"
        return f"{cell(t.step_macs)} MACs = {macs}\n{unknown}"
    flops = f"{cell(t.backward_input_flops)} for inputs + {cell(t.backward_weight_flops)} for weights + "
    flops += f"{cell(t.optimizer_flops)} {report.recipe.optimizer}"
    return f"{cell(t.step_macs)} MACs = {macs}\n{cell(t.step_flops)} FLOPs = {cell(t.forward_flops)} forward + {flops}"


def _keeps_before_weights(layers: Iterable[Layer]) -> bool:
    """Whether a layer before all weights keeps something: without a gradient for the input it might not."""
    trained: set[str] = set()
    for layer in layers:
        if layer.params or not trained.isdisjoint(layer.inputs):
            trained.add(layer.node.name)
        elif layer.saved_bytes:
            return True
    return False


def _buffers_text(t: Totals) -> str:
    """Return the kinds of buffers: `53,120 running statistics + 53 counters`."""
    counters = "counter" if t.batch_counters == 1 else "counters"
    kinds = (
        (t.running_statistics, "running statistics"),
        (t.batch_counters, counters),
        (t.fixed_values, "fixed values"),
    )
    return " + ".join(f"{count:,} {kind}" for count, kind in kinds if count)


def _loose(group: Sequence[Layer], name: str, depth: int | None) -> Iterable[Layer]:
    """Return the layers merged into a row: all after its first, or with `depth` those outside its block."""
    return (layer for layer in group[1:] if depth is None or not within(layer, name))


def _notes(layers: Iterable[Layer], report: Report) -> Iterable[str]:
    merged = dict.fromkeys(layer.node.op.name for layer in layers)
    if merged:
        yield f"Merged into the row above, because they write no new tensor: {', '.join(merged)}."
    if report.without_rule:
        least = bounded(report.totals.figures((*summed(), "depth")))
        yield f"{'≥: at least so much' if least else '–: unknown'}, with {without_rule_text(report.without_rule)}."
        yield from [IMPORTED] * ("flops" in least and bool(report.convention.rules) and report.graph.origin is None)
    if report.mode == "train":
        yield "Training includes side outputs and what dropout writes; MACs and FLOPs are of one pass at inference."


def _field_notes(rows: Sequence[Mapping[str, Any]], graph: Graph) -> Iterable[str]:
    texts = [row["field"] for row in rows]
    first, *others = graph.inputs
    if any(node.output.lengths != first.output.lengths for node in others):
        yield f"Field: the part of {first.name} that is seen; 0 of what reads only other inputs."
    unknown = next((row["name"] for row in rows if row["field"] == "–"), None)
    if unknown and any(isinstance(node.op, Imported) for node in graph.nodes):
        yield f"Field –: unknown or not computed; the first is {unknown}."
    elif unknown:
        yield f"Field –: not computed, because too many positions differ; the first is {unknown}."
    if any("local" in text for text in texts):
        yield "Field, local: without what comes through layers that read all positions (global pooling, statistics)."
    if any(re.search(r"…(?!\d+ fixed)", text) for text in texts):
        yield "Field a…b: the size depends on the position; a is the smallest, b the largest."
    if any("fixed" in text for text in texts):
        yield "Field a…b fixed: every position sees input positions a to b, and otherwise only its local field."


def _folding_notes(gone: Sequence[str] | None, report: Report) -> Iterable[str]:
    """Yield `52 batch normalizations are folded into the layers before them; 1 stays.`"""
    if gone is None:
        return
    left = sum(layer.node.op.name == "batchnorm" for layer in report.layers)
    none = "No batch normalization can be folded" if left else "There is no batch normalization to fold"
    few = {0: none, 1: "1 batch normalization is folded into the layer before it"}
    many = f"{len(gone):,} batch normalizations are folded into the layers before them"
    stay = f"; {left:,} {'stay' if left > 1 else 'stays'}" if left else ""
    yield f"{few.get(len(gone), many)}{stay}."


def _published(report: Report, verdicts: Sequence[Verdict]) -> list[Table]:
    if not verdicts:
        return []
    usual = (report.batch, report.dtype, report.convention.name) == (1, "float32", "all")
    of = "" if usual else "Computed for one image in float32, with FLOPs by convention all:"
    return [verdict_table(verdicts, report.mode, of)]
