"""Spec text → Graph: `parse_spec` reads, `expand` builds."""

from __future__ import annotations

from archcalc.language.expand import expand
from archcalc.language.source import read_text
from archcalc.language.spec import Spec, parse_spec

__all__ = ["Spec", "expand", "parse_spec", "read_text"]
