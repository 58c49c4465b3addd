"""Golden files: expected text that one command rewrites, `make golden` (pytest with ARCHCALC_REWRITE=1)."""

import os
from pathlib import Path

GOLDEN = Path(__file__).parent.parent / "golden"


def check_golden(name: str, text: str) -> None:
    """Raise AssertionError unless `tests/golden/NAME` has exactly this text."""
    path = GOLDEN / name
    if os.environ.get("ARCHCALC_REWRITE"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text, f"{path.name} differs; `make golden` rewrites it"
