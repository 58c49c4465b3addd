"""The lines of `archcalc check --lock`: what differs from a lock, and which budgets are exceeded."""

from __future__ import annotations

from collections.abc import Iterator

from archcalc.analysis.at_least import AtLeast, add_known
from archcalc.analysis.figures import FIGURES
from archcalc.comparing.alignment import Change
from archcalc.errors import one_line
from archcalc.lock import Difference, Excess, Findings
from archcalc.render.table import cell
from archcalc.render.tables.compare_parts import change_text

MOST_LINES = 20  # of one network


def finding_lines(found: Findings) -> Iterator[str]:
    """Yield the lines of one network: what is written otherwise, what follows from it, totals, budgets."""
    yield from (one_line(f"{found.name}: {text}") for text in _texts(found))


def _texts(found: Findings) -> Iterator[str]:
    follows = [own for own in found.differences if own.state == "follows"]
    written = [own for own in found.differences if own.state != "follows"]
    yield from map(difference_text, written[:MOST_LINES])
    if len(written) > MOST_LINES:
        yield f"and {len(written) - MOST_LINES:,} more differences"
    if follows:
        figures = (add_known([getattr(own, key) for own in follows]) for key in ("params", "macs"))
        text = f"{len(follows):,} other layers have other shapes or names" + ", as a result" * bool(written)
        yield ", ".join([text, *_figures(*figures)])
    for key, (before, now) in found.totals.items():
        by = "" if found.differences else f", of the same layers; the lock was counted by archcalc {found.counted_by}"
        yield f"total {FIGURES[key].title} {_grouped(before)} → {_grouped(now)}{by}"
    yield from map(excess_text, found.excesses)


def difference_text(own: Difference) -> str:
    """Describe a difference: `stage3.0.body.conv1: stride 2 → 1, +77,070,336 MACs`."""
    changes = [change for change in own.changes if change.what not in ("input", "output")]  # those follow from others
    what = "; ".join(map(_change_text, changes)) or own.state
    if own.layers:
        what += f": {own.layers[0].op}" if len(own.layers) == 1 else f": {len(own.layers):,} layers"
    return ", ".join([f"{own.name}: {what}", *_figures(own.params, own.macs)])


def _figures(params: int | None, macs: int | None) -> list[str]:
    counts = {"params": params, "MACs": macs}
    known = {unit: "unknown difference in" if count is None else f"{count:+,}" for unit, count in counts.items()}
    return [f"{known[unit]} {unit}" for unit, count in counts.items() if count != 0]


def _change_text(change: Change) -> str:
    if change.what in ("name", ""):
        return f"renamed {change.right}" if change.what else f"{change.left} → {change.right}"
    return change_text(change)


def excess_text(own: Excess) -> str:
    """Describe a budget that is exceeded: `params 5,288,548 > 5,000,000 (max_params), by 288,548`."""
    figure = FIGURES[own.key.removeprefix("max_")]
    what = f"{figure.title} {cell(own.value)}" + " bytes" * (figure.unit == "bytes" and own.value is not None)
    if own.value is None or own.value <= own.limit:
        return f"{what}, not known to be at most {own.limit:,} ({own.key})"
    least = "≥ " * isinstance(own.value, AtLeast)
    return f"{what} > {own.limit:,} ({own.key}), by {least}{own.value - own.limit:,}"


def _grouped(text: str) -> str:
    number = text.removeprefix("≥ ")
    return text.replace(number, f"{int(number):,}") if number.isdecimal() else text
