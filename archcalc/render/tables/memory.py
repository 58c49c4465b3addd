"""The tables of `archcalc memory`: what an inference or a training step needs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from archcalc.analysis.memory_trace import KINDS
from archcalc.analysis.recipe import BATCHES, Recipe
from archcalc.render.table import (
    BYTES,
    Column,
    Table,
    bytes_text,
    conditions_text,
    filled,
    input_data,
    listed,
    ratio_text,
    size_text,
    title_of,
)
from archcalc.render.tables.figure_columns import data

if TYPE_CHECKING:
    from archcalc.analysis.fit import Fit
    from archcalc.analysis.needed_memory import Needs, PhaseNeeds

SCHEMA = 1  # of the JSON; raised when a key changes its meaning or goes
MOST = 8  # layers that people see
HEIGHT, WIDTH = 8, 100  # most characters of the curve
BLOCKS, ASCII = " ▁▂▃▄▅▆▇█", " .:#"
MODULES = {
    "build": "archcalc's own build; a hand-written module may hold more",
    "torchvision": "a hand-written module, as torchvision writes them",
}
TRAINED = "optimizer state", "gradient", "kept", "activation gradient"  # kinds that an inference does not have
KEYS = {kind: f"{kind.replace(' ', '_')}_bytes" for kind in KINDS}


def _bytes(key: str, title: str, rank: int = 0) -> Column:
    return Column(key, title, rank=rank, kind=BYTES)


BUDGET = (Column("what", "Held at the peak", text=True, data=False, of="kind"), *data(("kind",)),
          _bytes("bytes", "Memory"), Column("share", "Share", rank=1, data=False, of="bytes"),
          _bytes("inference_bytes", "Inference", 2))  # fmt: skip
PHASES = (Column("phase", "Phase", text=True), Column("step", "Step"),
          Column("batches_text", "Batches", data=False, of="batches"), *data(("batches",)), _bytes("peak", "Peak"),
          _bytes("allocated", "Allocated", 2), _bytes("end", "At the end", 1),
          Column("layer", "Peak at", text=True))  # fmt: skip
LAYERS = (Column("name", "Layer", text=True), _bytes("bytes", "Memory"), Column("share", "Share", data=False),
          _bytes("kept_bytes", "Kept", 1), *data(key for key in KEYS.values() if key != "kept_bytes"),
          Column("milliseconds", "Forward", "ms", 2, data=False, of="forward_seconds"),
          *data(("forward_seconds",)))  # fmt: skip
TERMS = (Column("name", "Beside the tensors", text=True), _bytes("low", "At least"),
         _bytes("usual", "Usual")._replace(shown=False), _bytes("high", "At most"),
         Column("lasts", "Lasts", rank=1, text=True), Column("why", "For", rank=2, text=True))  # fmt: skip


def memory_table(needs: Needs, depth: int | None = None, every: bool = False) -> Table:
    """Make the tables of the budget at the peak, of phases, layers and terms beside the tensors; see `layers_table`."""
    top, budget, inference = needs.top, needs.budget(needs.top), needs.budget(needs.inference)
    rows = [
        _row({"kind": kind, "what": what, "bytes": budget[kind], "inference_bytes": inference[kind]}, top.peak)
        for kind, what in needs.kinds.items()
        if needs.recipe.optimizer or every or kind not in TRAINED
    ]
    return Table(
        title_of(needs.graph),
        _for(needs, BUDGET, "inference_bytes"),
        rows,
        "budget",
        facts(needs),
        conditions(needs),
        totals=_row({"what": "total", "bytes": top.peak, "inference_bytes": needs.inference.peak}, top.peak),
        summary=list(summary(needs)),
        data=partial(outcome, needs),
        remarks=needs.graph.about.notes,
        label=f"{needs.graph.name}, memory",
        parts=[
            _part(PHASES, [*map(_phase_row, needs.phases)], "phases"),
            layers_table(needs, depth, every),
            _part(TERMS, [term._asdict() for term in needs.terms], "beside"),
        ],
    )


def _for(needs: Needs, columns: Sequence[Column], training: str) -> list[Column]:
    """Return the columns; of an inference hide the one about training."""
    return [own._replace(shown=own.shown and (bool(needs.recipe.optimizer) or own.key != training)) for own in columns]


def _part(columns: Sequence[Column], rows: Sequence[Mapping[str, Any]], key: str) -> Table:
    return Table("", filled(columns, rows), rows, key)


def _row(row: Mapping[str, Any], whole: int) -> dict[str, Any]:
    """Add the share of the whole."""
    return {**row, "share": f"{row['bytes'] / whole:.1%}"}


def _phase_row(phase: PhaseNeeds) -> dict[str, Any]:
    return phase._asdict() | {"batches_text": phase.batches and _ends(phase.batches)}


def _ends(batches: Sequence[int] | None) -> str:
    """Format the first and the last batch: `2 to 1,000`, or one if they are equal; "–" for None."""
    return " to ".join(dict.fromkeys(f"{batch:,}" for batch in batches)) if batches else "–"


def facts(needs: Needs) -> dict[str, Any]:
    """Return the conditions for data: those of the recipe too."""
    recipe, report = needs.recipe, needs.report
    own = {"schema": SCHEMA, "name": needs.graph.name, **input_data(needs.graph), "batch": needs.batch}
    own |= {"dtype": recipe.dtype, "mode": report.mode, "device": recipe.device, "gpu": needs.card and needs.card.key}
    return own | recipe_facts(recipe) | {"module": recipe.module}


def recipe_facts(recipe: Recipe) -> dict[str, Any]:
    """Return for data how a network is trained."""
    own: dict[str, Any] = {"optimizer": recipe.optimizer or None, "weight_decay": recipe.weight_decay}
    own |= {"label_smoothing": recipe.smoothing, "accumulate": recipe.accumulate}
    own |= {"amp": recipe.amp, "master_weights": recipe.master_weights}
    return own | {"frozen": list(recipe.frozen), "checkpoint": list(recipe.checkpoint)}


def conditions(needs: Needs) -> str:
    """Return the conditions for people."""
    recipe = needs.recipe
    own = conditions_text(needs.batch, recipe.dtype, needs.report.mode, inputs=[needs.graph.inputs_text])
    return " · ".join([own, *recipe_texts(recipe), recipe.device.upper(), MODULES[recipe.module]])


def recipe_texts(recipe: Recipe) -> list[str]:
    """Return for people how a network is trained."""
    texts = {
        recipe.optimizer: True,
        "weight decay": recipe.weight_decay,
        "label smoothing": recipe.smoothing,
        f"{recipe.accumulate:,} batches per step": recipe.accumulate > 1,
        recipe.precision: True,
        f"frozen: {listed(recipe.frozen)}": bool(recipe.frozen),
        f"checkpointed: {listed(recipe.checkpoint)}": bool(recipe.checkpoint),
    }
    return [text for text, holds in texts.items() if text and holds]


def outcome(needs: Needs) -> dict[str, Any]:
    """Return the figures of the whole for data."""
    top, fit, times = needs.top, needs.fit, needs.times
    return {
        "peak_bytes": top.peak, "peak_phase": top.phase, "peak_step": top.step or None,
        "peak_batches": needs.top_phase.batches, "peak_layer": needs.layer_at(top),
        "inference_peak_bytes": needs.inference.peak, "allocated_bytes": needs.allocated,
        "reserved_bytes": needs.reserved and list(needs.reserved), "gpu_bytes": needs.card and needs.card.memory,
        "gpu_source": needs.card and needs.card.source,
        "fits": fit and fit.fits(needs.batch), "lacking_bytes": fit and fit.lacking,
        "largest_batches": fit and list(fit[:3]),
        "forward_seconds_least": times and times.forward, "step_seconds_least": times and times.step,
        "forward_seconds_by_layer": times and sum(time.seconds for time in times.layers),
    }  # fmt: skip


def summary(needs: Needs) -> Iterator[tuple[str, str]]:
    """Yield the figures of the whole as text with units."""
    top, fit, card = needs.top, needs.fit, needs.card
    step = {0: "", 1: " of the first step"}.get(top.step, f" of step {top.step} and later ones")
    layer = needs.layer_at(top)
    if batches := needs.top_phase.batches:
        step += f", batch{'es' * (batches[0] < batches[1])} {_ends(batches)}"
    yield "peak", f"{_exactly(top.peak)}\nin {top.phase}{step}" + (f", at {layer}" if layer else "")
    if needs.batch == 1 and needs.needs_two:
        yield "batch 1", alone_text(needs)
    if needs.recipe.optimizer:
        yield "inference", _exactly(needs.inference.peak)
    if needs.allocated and needs.reserved:
        yield "allocated", f"{bytes_text(needs.allocated)} by PyTorch's allocator"
        yield "reserved", f"{interval(*needs.reserved)} in segments, whose addresses the driver chooses"
    if card and fit:
        nominal = ", nominal" * (not card.reported)
        yield card.key, f"{bytes_text(card.memory)}{nominal}; {_fits_text(fit, needs.batch)}"
        yield "time", _time_text(needs, card.key)


def alone_text(needs: Needs) -> str:
    """Say why PyTorch trains no single image."""
    return f"PyTorch does not train it: {needs.needs_two} has one value per channel; use two images or more"


def _fits_text(fit: Fit, batch: int) -> str:
    fits, lacking = fit.fits(batch), size_text(fit.lacking)
    text = {True: "it fits", None: "it may fit", False: f"it does not fit: at least {lacking} are lacking"}[fits]
    if fits is None and fit.lacking:
        text += f": at most {lacking} are lacking"
    return f"{text}\nlargest batch: {fit.guaranteed:,} guaranteed, {fit.likely:,} likely, {fit.bound:,} at most"


def _exactly(count: int) -> str:
    return f"{count:,} bytes" + (f" = {bytes_text(count)}" if count >= 10**6 else "")


def interval(*ends: int) -> str:
    """Format bytes from one number to another, or one if they are equal."""
    return " to ".join(dict.fromkeys(map(bytes_text, ends)))


def _time_text(needs: Needs, card: str) -> str:
    if not needs.times:
        return f"unknown: no peak of {card} in {needs.recipe.products} is published"
    forward, step, winograd, layers = needs.times
    each, bounds = sum(time.seconds for time in layers), Counter(time.bound for time in layers if time.bound)
    counts = ", ".join(f"{count} by {bound}" for bound, count in bounds.most_common())
    of_step = f", a training step {ratio_text(step * 1000)} ms" if step else ""
    lines = [f"a forward pass takes at least {ratio_text(forward * 1000)} ms{of_step}, at the card's peaks"]
    lines += ["3×3 convolutions may take less, by Winograd's algorithm"] * winograd
    lines.append(f"{ratio_text(each * 1000)} ms layer by layer, an optimistic estimate of the forward pass;")
    return "\n".join([*lines, f"layers bound: {counts}"])


def layers_table(needs: Needs, depth: int | None = None, every: bool = True) -> Table:
    """Make a table of what layers hold at the peak, or with `depth` blocks; unless `every`, of those that hold most."""
    seconds = dict[str, float]()
    for time in needs.times.layers if needs.times else ():
        part = ".".join(time.node.name.split(".")[:depth])
        seconds[part] = seconds.get(part, 0) + time.seconds
    *rows, rest = [_layer_row(needs, name, kinds, seconds) for name, kinds in needs.held(needs.top, depth).items()]
    shown = rows if every else sorted(rows, key=lambda row: -row["bytes"])[:MOST]
    notes = [f"{len(shown)} of {len(rows)}: those that hold most at the peak."] * (len(shown) < len(rows))
    notes.append("–: what belongs to no layer, such as the optimizer's state.")
    columns = _for(needs, LAYERS, "kept_bytes")
    return _part(columns, [*shown, rest], "layers")._replace(facts=facts(needs), notes=notes)


def _layer_row(needs: Needs, name: str | None, kinds: Counter[str], seconds: Mapping[str, float]) -> dict[str, Any]:
    took = seconds.get(name or "")
    own: dict[str, Any] = {key: kinds[kind] for kind, key in KEYS.items()}
    own |= {"name": name, "bytes": kinds.total(), "forward_seconds": took}
    return _row(own, needs.top.peak) | {"milliseconds": took and ratio_text(took * 1000)}


def curve_table(needs: Needs, width: int | None, ascii: bool) -> Table:
    """Make a table whose lines draw the memory over the step of the peak, in `width` characters at most."""
    curve = needs.curve(min(width or WIDTH, WIDTH))
    marks = ASCII if ascii else BLOCKS
    steps, sums = len(marks) - 1, [sum(point) for point in curve.points]
    heights = [round(total / needs.top.peak * HEIGHT * steps) for total in sums]
    lines = ["".join(marks[min(max(h - i * steps, 0), steps)] for h in heights) for i in reversed(range(HEIGHT))]
    parts = [(name, end - start) for (name, start), (_, end) in pairwise([*curve.starts, ("", len(sums))])]
    cut = {name: f"{name[0]}: {name}" for name, room in parts if 1 < room <= len(name)}
    lines.append("".join(f"|{name if room > len(name) else name[0]}"[:room].ljust(room) for name, room in parts))
    title = f"Memory over the step of the peak, from 0 to {size_text(needs.top.peak)}, allocation by allocation"
    title += later_batches(needs)
    return Table(
        title,
        (Column("line", "", text=True),),
        [{"line": line} for line in lines],
        notes=[", ".join(cut.values())] * bool(cut),
    )


def later_batches(needs: Needs) -> str:
    """Say which batches of a step the curve leaves out; "" if none."""
    return f"; later batches are like batch {BATCHES}" if needs.recipe.accumulate > BATCHES else ""
