"""Receptive fields as text for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import repeat
from typing import Any

from archcalc.analysis.field_figures import FIXED, VARIES, WHOLE
from archcalc.analysis.receptive_field import image_lengths
from archcalc.analysis.report import Totals
from archcalc.ops.shape import AXES, USUAL, Shape

UNKNOWN = "–"


def field_text(figures: Mapping[str, Any]) -> str:
    """Format the figures of `by_key`: `483`, `5×11`, `516…532`, `whole, local 427`; equal axes once.

    `0…62 fixed`: every position sees these input positions, and otherwise only its local field.
    """
    if figures["receptive_field"] is None:
        return UNKNOWN
    text = _joined(_axes(figures))
    local = _local(figures)
    return f"{text}, local {local}" if local else text


def _axes(figures: Mapping[str, Any]) -> list[str]:
    return [_seen(figures, i) for i in range(len(figures["field_status"]))]


def _seen(figures: Mapping[str, Any], i: int) -> str:
    status = figures["field_status"][i]
    if status == WHOLE:
        return "whole"
    if status == FIXED:
        return "{}…{} fixed".format(*figures["field_fixed"][i])
    return _range(figures["field_min"][i], figures["receptive_field"][i])


def _local(figures: Mapping[str, Any]) -> str:
    """Format the local field if there is a whole or fixed part, too; otherwise ""."""
    axes = zip(figures["field_status"], figures["local_field"] or repeat(None), strict=False)
    if not any(status in (WHOLE, FIXED) and local for status, local in axes):
        return ""
    sizes = zip(figures["local_field_min"], figures["local_field"], strict=True)
    return _joined([_range(least, most) for least, most in sizes])


def _range(least: int | None, most: int | None) -> str:
    return UNKNOWN if most is None else str(most) if least == most else f"{least}…{most}"


def _joined(values: Sequence[Any]) -> str:
    """Join what is said of the axes, or return one if all are equal."""
    texts = [UNKNOWN if value is None else str(value) for value in values]
    if len({*texts}) == 1:
        return texts.pop()
    return ("×" if all(map(str.isdecimal, texts)) else " × ").join(texts)


def field_line(totals: Totals, image: Shape) -> str:
    """Describe the network's field: `483 pixels (image 224), stride 32, padding 241 at stage4.2.relu`."""
    figures = totals.field
    if totals.receptive_field is None:
        return f"not computed: too many positions differ, at {totals.receptive_field_at}"
    lengths, read = image_lengths(image), "image" if image.axes in USUAL else "input"
    plain = not {WHOLE, FIXED} & {*totals.field_status}
    beyond = plain and any(size > length for size, length in zip(totals.receptive_field, lengths, strict=True))
    everything = totals.field_seen_min == lengths
    parts = [_size(figures, image)]
    if beyond and not everything:
        parts[0] += f" ({read} {_joined(lengths)})"
    if plain or _local(figures):
        parts.append(f"stride {_joined(totals.field_stride or (None,))}")
        parts.append(f"padding {_joined(totals.effective_padding or (None,))}")
    line = f"{', '.join(parts)} at {totals.receptive_field_at}"
    if beyond and everything:
        line += f"\nmore than the {read} ({_joined(lengths)}): every output position sees all of it"
    return line


def _size(figures: Mapping[str, Any], image: Shape) -> str:
    """Describe the size of the field, and then the local field if there is a whole or fixed part."""
    kinds, local, lengths = {*figures["field_status"]}, _local(figures), image_lengths(image)
    unit = field_unit(image)
    after = f"; local {local} {unit if local != '1' else unit[:-1]}" if local else ""
    if kinds == {WHOLE}:
        return f"whole input{after}"
    if kinds == {FIXED}:
        spans = _joined(["{}…{}".format(*span) for span in figures["field_fixed"]])
        return f"positions {spans} of {_joined(lengths)}, the same everywhere{after or ','}"
    if kinds & {WHOLE, FIXED}:
        axes = " × ".join(AXES[axis] for axis in image.axes if axis != "C")
        return f"{_joined(_axes(figures))} of the input ({axes}){after}"
    text = field_text(figures)
    return f"{text} {unit if text != '1' else unit[:-1]}{_by_position(figures) if VARIES in kinds else ''}"


def field_unit(*inputs: Shape) -> str:
    """Return what fields are counted in: pixels if all inputs are images, and otherwise positions."""
    return "pixels" if all(shape.axes in USUAL for shape in inputs) else "positions"


def _by_position(figures: Mapping[str, Any]) -> str:
    periods = figures["field_period"]
    return " by position" + (f" (period {_joined(periods)})" if periods else "")
