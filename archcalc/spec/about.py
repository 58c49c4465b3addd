"""What a spec says of its networks besides their layers: title, family and paper."""

from __future__ import annotations

from typing import Any

from archcalc.errors import Place, SpecError, printable, shorten
from archcalc.graph.graph import About
from archcalc.spec.layers import check_keys
from archcalc.spec.yaml import Mapping, Scalar, Value

PAPER = dict.fromkeys(("authors", "title", "year", "venue", "arxiv", "url"), "")


def text_of(value: Value | None) -> str:
    """A printable text on one line; "" for none. Raises SpecError for anything else."""
    if value is None:
        return ""
    if not isinstance(value, Scalar) or not value.text:
        raise SpecError("a text is needed here", value.place)
    if printable(value.text) != value.text:
        raise SpecError("a text with a control character", value.place, "texts are printed: leave it out")
    return " ".join(value.text.split())


def read_about(root: Mapping, name: str) -> About:
    """Title, family and paper."""
    paper = root.get("paper")
    entries = check_keys(paper, PAPER, "paper").entries if paper is not None else ()
    facts: dict[str, Any] = {key.text: text_of(item) for key, item in entries}
    if "year" in facts:
        facts["year"] = _year(facts["year"], next(item.place for key, item in entries if key.text == "year"))
    return About(text_of(root.get("title")), text_of(root.get("family")) or name, facts)


def _year(text: str, place: Place) -> int:
    if not (text.isascii() and text.isdigit() and len(text) == 4):
        raise SpecError(f"not a year: {shorten(text)}", place)
    return int(text)
