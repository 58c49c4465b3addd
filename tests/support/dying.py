"""What workers run in tests of engines: calls that fail, or kill their worker, as often as a test says."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from archcalc.sweeping import Part, compute_part


def _counted(marks: str) -> int:
    """How often this was called with a folder, in whatever process."""
    count = len(os.listdir(marks))
    Path(marks, str(count)).touch()
    return count


def kills_its_worker_once(marks: str, part: Part) -> Any:
    """Compute a part of a sweep; the first call kills the process instead."""
    if not _counted(marks):
        os.kill(os.getpid(), signal.SIGKILL)
    return compute_part(part)


def fails(marks: str, times: int, item: int) -> int:
    """Return the square of an item, after some failures."""
    if _counted(marks) < times:
        raise OSError("the disk\nis full")
    return item * item
