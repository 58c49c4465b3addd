"""Receptive fields as text for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from archcalc.analysis.field_figures import FIXED, VARIES, WHOLE
from archcalc.analysis.report import Totals

UNKNOWN = "–"


def field_text(figures: Mapping[str, Any]) -> str:
    """Format the figures of `by_key`: `483`, `5×11`, `516…532`, `whole, local 427`; height and width once if equal.

    `0…62 fixed`: every position sees these input positions, and otherwise only its local field.
    """
    if figures["receptive_field"] is None:
        return UNKNOWN
    text = _both([_seen(figures, i) for i in (0, 1)])
    local = _local(figures)
    return f"{text}, local {local}" if local else text


def _seen(figures: Mapping[str, Any], i: int) -> str:
    status = figures["field_status"][i]
    if status == WHOLE:
        return "whole"
    if status == FIXED:
        return "{}…{} fixed".format(*figures["field_fixed"][i])
    return _range(figures["field_min"][i], figures["receptive_field"][i])


def _local(figures: Mapping[str, Any]) -> str:
    """Format the local field if there is a whole or fixed part, too; otherwise ""."""
    axes = zip(figures["field_status"], figures["local_field"] or (None, None), strict=True)
    if not any(status in (WHOLE, FIXED) and local for status, local in axes):
        return ""
    sizes = zip(figures["local_field_min"], figures["local_field"], strict=True)
    return _both([_range(least, most) for least, most in sizes])


def _range(least: int | None, most: int | None) -> str:
    return UNKNOWN if most is None else str(most) if least == most else f"{least}…{most}"


def _both(texts: Sequence[Any]) -> str:
    """Join height and width, or return one if they are equal."""
    height, width = (UNKNOWN if text is None else str(text) for text in texts)
    if height == width:
        return height
    return f"{height}×{width}" if height.isdecimal() and width.isdecimal() else f"{height} × {width}"


def field_line(totals: Totals, image: Sequence[int]) -> str:
    """Describe the network's field: `483 pixels (image 224), stride 32, padding 241 at stage4.2.relu`."""
    figures = totals.field
    if totals.receptive_field is None:
        return f"not computed: too many positions differ, at {totals.receptive_field_at}"
    lengths = tuple(image[1:]) if len(image) == 3 else (1, 1)
    plain = not {WHOLE, FIXED} & {*totals.field_status}
    beyond = plain and any(size > length for size, length in zip(totals.receptive_field, lengths, strict=True))
    everything = totals.field_seen_min == lengths
    parts = [_size(figures, lengths)]
    if beyond and not everything:
        parts[0] += f" (image {_both(lengths)})"
    if plain or _local(figures):
        parts.append(f"stride {_both(totals.field_stride or (None, None))}")
        parts.append(f"padding {_both(totals.effective_padding or (None, None))}")
    line = f"{', '.join(parts)} at {totals.receptive_field_at}"
    if beyond and everything:
        line += f"\nmore than the image ({_both(lengths)}): every output position sees all of it"
    return line


def _size(figures: Mapping[str, Any], lengths: Sequence[int]) -> str:
    """Describe the size of the field, and then the local field if there is a whole or fixed part."""
    kinds, local = {*figures["field_status"]}, _local(figures)
    after = f"; local {local} {_pixels(local)}" if local else ""
    if kinds == {WHOLE}:
        return f"whole input{after}"
    if kinds == {FIXED}:
        spans = _both(["{}…{}".format(*span) for span in figures["field_fixed"]])
        return f"positions {spans} of {_both(lengths)}, the same everywhere{after or ','}"
    if kinds & {WHOLE, FIXED}:
        return f"{_both([_seen(figures, i) for i in (0, 1)])} of the input (height × width){after}"
    text = field_text(figures)
    return f"{text} {_pixels(text)}{_by_position(figures) if VARIES in kinds else ''}"


def _pixels(text: str) -> str:
    return "pixel" if text == "1" else "pixels"


def _by_position(figures: Mapping[str, Any]) -> str:
    periods = figures["field_period"]
    return " by position" + (f" (period {_both(periods)})" if periods else "")
