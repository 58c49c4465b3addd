"""How the figures of one layer are computed: each as a formula with the numbers filled in.

The rules of the layer's operator, and the counting of a report, run once more on integers that remember their
arithmetic (`ops.formula.Term`); so a formula cannot say anything else than the figure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

from archcalc.analysis.at_least import add_known
from archcalc.analysis.conventions import KIND_NAMES
from archcalc.analysis.cost import DTYPES, Run, run_of
from archcalc.analysis.field_figures import by_key
from archcalc.analysis.figures import FIGURES, rule
from archcalc.analysis.memory_plan import in_place, plan_memory, saved_as_run
from archcalc.analysis.parts import end, parts_by_name
from archcalc.analysis.report import MODES, Layer, Report
from archcalc.analysis.saved import extra_bytes
from archcalc.analysis.training_step import gradients
from archcalc.errors import ArchcalcError, shorten, suggest
from archcalc.ops.formula import Term, term, traced
from archcalc.ops.reads import Window
from archcalc.ops.shape import AXES

OWNED = ("params", "param_bytes", "running_statistics", "buffer_bytes")
WRITTEN = ("activations", "activation_bytes", "bytes_moved")
PASSES = {  # the works of a training step, and the figures of each
    "forward": ("forward_flops",),
    "of_input": ("backward_input_macs", "backward_input_flops"),
    "of_weight": ("backward_weight_macs", "backward_weight_flops"),
    "optimizer": ("optimizer_flops",),
}
SUMS = ("params", "param_bytes", "macs", "flops", *[key for keys in PASSES.values() for key in keys], *WRITTEN)
TITLES = {
    "forward": "forward in training: ", "of_input": "gradient of the input: ",
    "of_weight": "gradient of the weights: ", "optimizer": "optimizer: ",
}  # fmt: skip
FIELD = ("receptive_field", "effective_stride", "effective_padding")


class Line(NamedTuple):
    """One figure: its formula, its value (None: unknown), and its key in the registry, if it has one."""

    name: str
    formula: str
    value: Any
    key: str = ""


def explain(report: Report, name: str) -> tuple[Sequence[Layer], list[Line]]:
    """Explain a layer, or the sums over a group such as `stage3`. Returns the layers, too.

    A layer comes before a group of the same name.

    Raises ArchcalcError with the nearest names.
    """
    parts = parts_by_name(report.layers)
    if name not in parts:
        known = [own for own in parts if not own.startswith("op:")]
        ends = [own for own in known if own.endswith(f".{name}")]
        hint = f"did you mean {' or '.join(ends[:3])}?" if ends else suggest(name, known)
        hint = hint or f"`archcalc summarize {report.graph.name} --all` shows all"
        raise ArchcalcError(f"{report.graph.name} has no layer or group {shorten(name)!r}; {hint}")
    layers = [layer for layer in parts[name] if layer.node.name == name] or parts[name]
    if len(layers) > 1:
        return layers, [*_sums(layers, ["saved_bytes"] * MODES[report.mode])]
    return layers, [*_layer(report, next(i for i, layer in enumerate(report.layers) if layer is layers[0]))]


def explain_layers(report: Report) -> list[list[Line]]:
    """Explain every layer, in order."""
    return [[*_layer(report, position)] for position in range(len(report.layers))]


def _layer(report: Report, position: int) -> Iterator[Line]:
    layer = report.layers[position]
    node, run = layer.node, layer.run
    if node.inputs:
        yield Line(f"input from {', '.join(layer.inputs)}", "", node.x)
    yield from _shape(node)
    formulas = node.op.formula(node.x, node.output) if run.work is not None else {}
    for tensor, sizes in node.weights().items():
        yield Line(tensor, formulas.get(tensor, "·".join(map(str, sizes))), prod(sizes))
    for tensor, sizes in node.buffers().items():
        yield Line(tensor, "·".join(map(str, sizes)) or "1", prod(sizes))
    counted, flat = _traced_run(report, position)
    yield from _figures(flat, [key for key in OWNED if rule(key)(run)])
    yield from _work(counted.work, flat, "", ("macs", "flops"))
    if MODES[report.mode]:
        trained = run.weights + run.biases > 0
        differs = run.step.forward != run.work
        for work, keys in PASSES.items():
            if {"forward": differs, "of_input": bool(node.inputs)}.get(work, trained):
                yield from _work(getattr(counted.step, work), flat, TITLES[work], keys)
        yield _kept(report, position)
    yield _line("activations", counted.activations, "activations")
    yield from _figures(flat, WRITTEN[1:])
    yield from _fields(report, position)


def _shape(node: Any) -> Iterator[Line]:
    """Explain the sizes of the output that are computed."""
    sizes = node.op.traced().output(traced(node.x))
    yield Line("output", "", node.output, "output")
    axes: dict[str, list[Any]] = {}
    for letter, size in zip(node.output.axes, map(term, sizes), strict=False):
        axes.setdefault(size.text, [size]).append(AXES[letter])
    for text, (size, *names) in axes.items():
        if text != str(size):
            yield Line(f"output {', '.join(names)}", text, int(size))


def _traced_run(report: Report, position: int) -> tuple[Run, Run]:
    """Count a layer with Terms; in the second result each count is a single number, as a formula of sums reads it."""
    layer, trains = report.layers[position], MODES[report.mode]
    node, conditions = layer.node, layer.run.conditions
    own = node._replace(op=node.op.traced(), x=traced(node.x), output=traced(node.output))
    given = conditions._replace(batch=traced(conditions.batch) if conditions.batch > 1 else 1)
    needed = gradients(report.ran, report.recipe)[position] if trains else None
    counted = run_of(own, given, in_place(report.ran, trains)[position], needed)
    flat = counted._replace(
        step=counted.step._replace(**{key: _single(work) for key, work in counted.step._asdict().items()}),
        work=_single(counted.work),
        **{key: _single(getattr(counted, key)) for key in Run._fields if isinstance(getattr(counted, key), int)},
    )
    return counted, flat


def _single(value: Any) -> Any:
    """Return counts as Terms without the arithmetic that led to them; sums omit 0, None stays."""
    if isinstance(value, Mapping):
        return {key: _single(count) for key, count in value.items()}
    return Term(value, f"{value:,}") if value else value if value is None else 0


def _figures(flat: Run, keys: Sequence[str]) -> Iterator[Line]:
    for key in keys:
        yield _line(_title(key), rule(key)(flat), key)


def _title(key: str) -> str:
    """Return a figure's title, with its unit if that is bytes: `params` counts values."""
    figure = FIGURES[key]
    return figure.title + ", bytes" * (figure.unit == "bytes" and key != "bytes_moved")


def _line(name: str, value: Any, key: str = "") -> Line:
    """Return the line of a Term, or of a number without arithmetic; None is unknown."""
    if not value:
        return Line(name, "" if value is None else "0", value, key)
    return Line(name, value.text if isinstance(value, Term) else f"{value:,}", int(value), key)


def _work(work: Mapping[str, Any] | None, flat: Run, title: str, keys: Sequence[str]) -> Iterator[Line]:
    """Explain the operations of each kind, and the figures that add them up."""
    for kind, count in (work or {}).items():
        if count:
            key = next((key for key in keys if kind == "mac" and "mac" in key), "")
            yield _line(title + KIND_NAMES[kind], count, key)
    yield from _figures(flat, [key for key in keys if "mac" not in key or work is None])


def _kept(report: Report, position: int) -> Line:
    """Explain what backward keeps for a layer and for no earlier one; weights and buffers exist anyway."""
    layer, memory = report.layers[position], plan_memory(report.graph, True)
    title = _title("saved_bytes")
    if layer.saved_bytes is None:
        return Line(title, "", None, "saved_bytes")
    node, batch = layer.node, Term(report.batch) if report.batch > 1 else 1
    saved, extras, own = saved_as_run(node, memory.overwrites[position]), memory.extras[position], DTYPES[report.dtype]
    whole = memory.values[position]
    shape = next((x for x in (node.x, node.output) if not node.op.joins and prod(x) == whole), (whole,))
    values = prod(traced(tuple(shape))) * batch if whole else 0
    sizes = [(values + memory.common[position]) * own]
    sizes += [extra_bytes(extra._replace(shape=traced(tuple(extra.shape))), batch, report.dtype) for extra in extras]
    earlier = "" if whole or memory.common[position] else " (kept by an earlier layer)"
    names = ["input" + earlier] * saved.input + ["output"] * saved.output + [extra.name for extra in extras]
    return _line(f"{title}: {', '.join(names) or 'nothing'}", sum(sizes), "saved_bytes")


def _fields(report: Report, position: int) -> Iterator[Line]:
    """Explain the receptive field of a layer with one input and windows, or of a join; of others the value alone."""
    layer, node = report.layers[position], report.layers[position].node
    figures, before = by_key(layer.field), [by_key(report.fields[i]) for i in node.inputs]
    texts: dict[str, list[Term]] = {}
    if node.op.joins and all(own["receptive_field"] for own in before):
        branches = [own["receptive_field"] for own in before]
        texts["receptive_field"] = [
            Term(max(axis), f"max({', '.join(map(str, axis))})") for axis in zip(*branches, strict=False)
        ]
    elif before and not node.op.joins:
        axes = [before[0][key] or () for key in FIELD]
        rules = [rule for rule in node.op.window(node.x) if isinstance(rule, Window)]
        moves = [_moved(rule, *map(Term, given)) for rule, *given in zip(rules, *axes, strict=False)]
        texts = dict(zip(FIELD, map(list, zip(*moves, strict=True)), strict=False))
    for key in FIELD:
        terms = texts.get(key, [])
        known = [int(own) for own in terms] == list(figures[key] or ())
        formulas = dict.fromkeys(own.text for own in terms) if known else ()
        yield Line(FIGURES[key].title, " × ".join(formulas), figures[key], key)


def _moved(rule: Window, field: Term, stride: Term, padding: Term) -> tuple[Term, Term, Term]:
    kernel, step, before = Term(rule.span), Term(rule.stride), Term(rule.padding)
    return field + (kernel - Term(1)) * stride, stride * step, padding + before * stride


def _sums(layers: Sequence[Layer], more: Sequence[str] = ()) -> Iterator[Line]:
    """Explain the sums over the layers of a group, and what is that of its last layer."""
    last = end(layers)
    yield Line("layers", "", len(layers), "layers")
    yield Line(f"output of {last.node.name}", "", last.node.output, "output")
    for key in (*SUMS, *more):
        counts = [getattr(layer, key) for layer in layers]
        if any(counts) or None in counts:
            text = _sum([count for count in counts if count])
            yield Line(_title(key), text, add_known(counts), key)
    for key in FIELD:
        yield Line(f"{FIGURES[key].title} of {last.node.name}", "", by_key(last.field)[key], key)


def _sum(counts: Sequence[int]) -> str:
    """Write a sum; equal numbers as a product."""
    return " + ".join(f"{n}·{count:,}" if n > 1 else f"{count:,}" for count, n in Counter(counts).items())
