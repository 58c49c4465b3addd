"""Names of layers and inputs from those of nodes and values: with dots, as those of blocks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from re import sub

from archcalc.importers.onnx_nodes.file import Call

MOST = 300  # characters of a name


def names_of(calls: Sequence[Call]) -> list[str]:
    """Return a name for each call: its module's if that has one call only, else with its operator behind."""
    paths = [_path(call) for call in calls]
    counts = Counter(paths)
    parents = {path[:at] for path in counts for at, letter in enumerate(path) if letter == "."}
    names = []
    for call, path in zip(calls, paths, strict=True):
        alone = path and counts[path] == 1 and path not in parents
        names.append(path if alone else f"{path}.{call.op.rpartition('.')[2].lower()}".lstrip("."))
    return names


def _path(call: Call) -> str:
    """Return the module of a call: by PyTorch's newer exporter its scope, by the older one `/layer1/layer1.0/Conv`."""
    parts: list[str] = []
    for part in call.name[:MOST].strip("/").split("/")[:-1] if not call.scope else [call.scope[:MOST]]:
        if parts and part.startswith(parts[-1] + "."):
            parts.pop()
        parts.append(part)
    return sub(r"[^\w.\-]+", "_", ".".join(parts)).strip(".")


def plain(name: str) -> str:
    """Return the name of a value with letters, digits, dots, `_` and `-` only."""
    return sub(r"[^\w.\-]", "_", name).strip(".") or "input"
