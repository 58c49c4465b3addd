"""What a table says of itself wherever it goes: all its conditions, and the version that made it."""

from __future__ import annotations

from dataclasses import replace

from archcalc.render.table import Table, conditions_text

SAID = ("batch", "dtype", "mode", "convention")


def stamped(table: Table, version: str) -> Table:
    """The table with the version among its facts, and with facts and version among the conditions that people read."""
    known = conditions_text(**{key: table.facts[key] for key in SAID if key in table.facts}).split(" · ")
    unsaid = (text for text in known if text.partition(" (")[0] not in table.conditions)
    texts = filter(None, [table.conditions, *unsaid, f"archcalc {version}"])
    return replace(table, facts={**table.facts, "archcalc": version}, conditions=" · ".join(texts))
