"""The table of checks against PyTorch: what `archcalc validate` shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from archcalc.report.table import Column, Table

if TYPE_CHECKING:
    from archcalc.pytorch.validate import Validation

SCHEMA = 1  # of the JSON; raised when a key changes its meaning or goes
NETWORK_COLUMNS = (
    Column("network", "Network", text=True),
    Column("device", "Device", text=True),
    Column("checks", "Checks"),
    Column("equal", "Equal"),
    Column("differences", "Different"),
    Column("seconds", "Seconds"),
    Column("remark", "Remark", text=True, below=True),
)
CHECK_COLUMNS = (
    Column("network", "Network", text=True, heading=True),
    Column("layer", "Layer", text=True),
    Column("figure", "Figure", text=True),
    Column("expected", "Expected", text=True),
    Column("measured", "Measured", text=True),
    Column("equal", "Equal", text=True),
)


def validation_table(
    validations: Sequence[Validation],
    every: bool = False,
    ignored: Mapping[str, Mapping[str, int]] = MappingProxyType({}),
) -> Table:
    """A row a network, or with `every` a row a check.

    `ignored` are FLOPs that PyTorch's counter leaves out, by network and operator.
    """
    checks = [(validation, check) for validation in validations for check in validation.checks]
    rows = _check_rows(checks) if every else [_network_row(validation) for validation in validations]
    conditions = {"batch": validations[0].batch, "dtype": validations[0].dtype} if validations else {}
    notes = [f"{network}: {_ignored_text(counts)}" for network, counts in ignored.items() if counts]
    return Table(
        "",
        CHECK_COLUMNS if every else NETWORK_COLUMNS,
        rows,
        "checks" if every else "networks",
        {"schema": SCHEMA} | conditions,
        " · ".join([_outcome(validations, checks), *(f"{key} {value}" for key, value in conditions.items())]),
        notes=notes,
    )


def _outcome(validations: Sequence[Validation], checks: Sequence[tuple[Validation, Any]]) -> str:
    """`2 networks, 726 checks: 0 different · 12.3 s`."""
    different = sum(not check.equal for _, check in checks)
    failed = sum(not validation.checks for validation in validations)
    networks = f"{len(validations):,} network{'s' if len(validations) != 1 else ''}"
    seconds = sum(validation.seconds for validation in validations)
    not_run = f", {failed:,} not run" if failed else ""
    return f"{networks}, {len(checks):,} checks: {different:,} different{not_run} · {seconds:.1f} s"


def _ignored_text(counts: Mapping[str, int]) -> str:
    listed = ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items(), key=lambda item: -item[1]))
    return f"PyTorch's counter leaves out, in FLOPs an image: {listed}."


def _network_row(validation: Validation) -> dict[str, Any]:
    figures = Counter(check.figure for check in validation.differences)
    first = validation.differences[0] if figures else None
    return {
        "network": validation.network,
        "device": validation.device,
        "checks": len(validation.checks),
        "equal": len(validation.checks) - len(validation.differences),
        "differences": len(validation.differences),
        "seconds": f"{validation.seconds:.1f}",
        "remark": validation.problem or (str(first) if first else ""),
    }


def _check_rows(checks: Sequence[tuple[Validation, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "network": validation.network,
            "layer": check.layer or None,
            "figure": check.figure,
            "expected": _plain(check.expected),
            "measured": _plain(check.measured),
            "equal": "yes" if check.equal else "no",
        }
        for validation, check in checks
    ]


def _plain(value: Any) -> str:
    """A measured thing as text: shapes as 64×3×3."""
    if isinstance(value, list | dict) and not value:
        return "none"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(shape)}" for name, shape in value.items())
    if isinstance(value, tuple):
        return "×".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else str(value)
