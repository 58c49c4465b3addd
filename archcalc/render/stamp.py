"""Add to a table its conditions and the version of archcalc, so that an exported table states both."""

from __future__ import annotations

from archcalc.render.table import Table, conditions_text

STAMPED = ("batch", "dtype", "mode", "convention")


def stamped(table: Table, version: str) -> Table:
    """Add the version to the table's facts, and version and missing facts to its conditions."""
    known = conditions_text(**{key: table.facts[key] for key in STAMPED if key in table.facts}).split(" · ")
    missing = (text for text in known if text.partition(" (")[0] not in table.conditions)
    texts = filter(None, [table.conditions, *missing, f"archcalc {version}"])
    return table._replace(facts={**table.facts, "archcalc": version}, conditions=" · ".join(texts))
