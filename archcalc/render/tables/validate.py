"""The tables of `archcalc validate`: checks against PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from archcalc.render.table import MODE_NAMES, Column, Table, cell, listed
from archcalc.render.tables.figure_columns import data
from archcalc.render.tables.memory import recipe_facts, recipe_texts

if TYPE_CHECKING:
    from archcalc.analysis.measured import Check, PhaseMemory, Validation
    from archcalc.analysis.recipe import Recipe

SCHEMA = 2  # of the JSON; raised when a key changes its meaning or goes
NETWORK_COLUMNS = (
    Column("network", "Network", text=True),
    Column("device", "Device", text=True),
    Column("checks", "Checks"),
    Column("equal", "Equal"),
    Column("differences", "Different"),
    Column("seconds", "Seconds"),
    *data(("uncounted",)),  # FLOPs that PyTorch's counter leaves out
    Column("remark", "Remark", text=True, below=True),
)
CHECK_COLUMNS = (
    Column("network", "Network", text=True, heading=True),
    *data(("device",)),
    Column("layer", "Layer", text=True),
    Column("figure", "Figure", text=True),
    *data(("expected", "measured", "tolerance", "equal")),
    Column("foreseen", "Expected", text=True, data=False, of="expected"),
    Column("found", "Measured", text=True, data=False, of="measured"),
    Column("agrees", "Equal", text=True, data=False, of="equal"),
)
SHOWN_FIGURES = {  # of memory: title, and which of predicted, measured and difference people see
    "peak": ("Peak", ("predicted", "measured", "difference")),
    "end": ("End", ("difference",)),
    "allocations": ("Sum", ("difference",)),
    "allocated": ("Allocated", ("predicted", "measured")),
    "reserved": ("Reserved", ("predicted", "measured")),
}
PHASE_COLUMNS = (
    Column("network", "Network", text=True, heading=True),
    *data(("device",)),
    Column("phase", "Phase", text=True),
    Column("step", "Step"),
    *(
        Column(f"{side}_{figure}", title, side, rank=0 if figure == "peak" else 1, shown=side in shown)
        for figure, (title, shown) in SHOWN_FIGURES.items()
        for side in ("predicted", "measured", "difference")
    ),
    Column("in_kernels", "In kernels", "on top"),
    Column("workspaces", "Workspaces", "at most", data=False),
    *data(("spare_peak", "spare_end", "equal")),
    Column("agrees", "Equal", text=True, data=False, of="equal"),
)


def validation_table(validations: Sequence[Validation], every: bool = False, seconds: float | None = None) -> Table:
    """Make a table with one row per network; below it one row per check that differs, or with `every` per check.

    `every` also lists what PyTorch's counter leaves out. `seconds` is the time of the whole run, including loading.
    """
    notes = [f"{made.network}: {_uncounted_text(made)}" for made in validations if every and made.uncounted]
    checks = phases_table(validations) if any(made.phases for made in validations) else checks_table(validations, every)
    return Table(
        "",
        NETWORK_COLUMNS,
        [_network_row(validation) for validation in validations],
        "networks",
        {"schema": SCHEMA} | _conditions(validations),
        " · ".join(filter(None, [_outcome(validations, seconds), _conditions_text(validations)])),
        notes=notes,
        parts=[checks],
        label=f"{listed([made.network for made in validations])}, validated",
    )


def checks_table(validations: Sequence[Validation], every: bool = True) -> Table:
    """Make a table with one row per check, or per check that differs, and one for a network that could not be run."""
    shown = ((made, made.checks if every else made.differences) for made in validations)
    rows = [_check_row(made, check) for made, checks in shown for check in checks]
    rows += [_problem_row(made) for made in validations if every and not made.checks]
    return Table("", CHECK_COLUMNS, rows, "checks", _conditions(validations))


def phases_table(validations: Sequence[Validation]) -> Table:
    """Make a table of memory with one row per phase of each network that was run."""
    rows = [_phase_row(made, phase) for made in validations for phase in made.phases]
    known = {name for row in rows for name, value in row.items() if value is not None}
    columns = [own._replace(shown=own.shown and own.key in known) for own in PHASE_COLUMNS]
    return Table("", columns, rows, "phases", _conditions(validations))


def _phase_row(made: Validation, phase: PhaseMemory) -> dict[str, Any]:
    equal = not phase.differences()
    row = {"network": made.network, "device": made.device, "phase": phase.phase, "step": phase.step or None}
    row |= {"equal": equal, "agrees": "yes" if equal else "no"}
    row |= {"in_kernels": phase.in_kernels, "workspaces": phase.spare.get("peak") or None}
    for figure, predicted in phase.predicted.items():
        measured = phase.measured[figure]
        row |= {f"predicted_{figure}": predicted, f"measured_{figure}": measured}
        row[f"difference_{figure}"] = measured - predicted
    return row | {f"spare_{figure}": phase.spare.get(figure) for figure in ("peak", "end")}


def _conditions(validations: Sequence[Validation]) -> dict[str, Any]:
    if not validations:
        return {}
    own, recipe = {"batch": validations[0].batch, "dtype": _dtypes(validations)}, _recipe(validations)
    return own | ({"mode": _mode(recipe), **recipe_facts(recipe)} if recipe else {})


def _dtypes(validations: Sequence[Validation]) -> str:
    """Return the dtype, or those of several modules of PyTorch, each of which has its own."""
    return ", ".join(dict.fromkeys(made.dtype for made in validations))


def _recipe(validations: Sequence[Validation]) -> Recipe | None:
    """Return how all networks were trained; each may have checkpointed all its blocks."""
    recipes = {made.recipe for made in validations}
    recipe = validations[0].recipe if validations else None
    return recipe._replace(checkpoint=("blocks",)) if recipe and len(recipes) > 1 else recipe


def _mode(recipe: Recipe) -> str:
    return "train" if recipe.optimizer else "infer"


def _conditions_text(validations: Sequence[Validation]) -> str:
    """Return `batch 2 · dtype float32`, and of memory how the networks were trained."""
    if not validations:
        return ""
    own, recipe = f"batch {validations[0].batch} · dtype {_dtypes(validations)}", _recipe(validations)
    return " · ".join([own, MODE_NAMES[_mode(recipe)], *recipe_texts(recipe)]) if recipe else own


def _outcome(validations: Sequence[Validation], seconds: float | None) -> str:
    """Return `2 networks, 726 checks: 0 different · 12.3 s`."""
    checks = sum(len(made.checks) for made in validations)
    different = sum(len(made.differences) for made in validations)
    failed = sum(not made.checks for made in validations)
    networks = f"{len(validations):,} network{'s' if len(validations) != 1 else ''}"
    not_run = f", {failed:,} not run" if failed else ""
    took = sum(made.seconds for made in validations) if seconds is None else seconds
    return f"{networks}, {checks:,} checks: {different:,} different{not_run} · {took:.1f} s"


def _uncounted_text(validation: Validation) -> str:
    listed = ", ".join(f"{name} {count:,}" for name, count in validation.uncounted.items())
    return f"PyTorch's counter leaves out, in FLOPs of the batch: {listed}."


def _network_row(made: Validation) -> dict[str, Any]:
    different = len(made.differences)
    counts = {"checks": len(made.checks), "equal": len(made.checks) - different, "differences": different}
    said = {"uncounted": dict(made.uncounted), "remark": "; ".join(filter(None, (made.problem, made.remark)))}
    return {"network": made.network, "device": made.device, **counts, "seconds": round(made.seconds, 1), **said}


def _check_row(made: Validation, check: Check) -> dict[str, Any]:
    facts = check._asdict() | {"layer": check.layer or None, "equal": check.equal}
    said = {"foreseen": plain(check.expected), "found": plain(check.measured), "agrees": "yes" if check.equal else "no"}
    return {"network": made.network, "device": made.device, **facts, **said}


def _problem_row(made: Validation) -> dict[str, Any]:
    found = {"figure": "run", "measured": made.problem, "equal": False}
    return {"network": made.network, "device": made.device, **found, "found": made.problem, "agrees": "no"}


def difference_text(check: Check) -> str:
    """Return `stem.conv: macs: expected 14, measured 884,736`."""
    what = f"{check.layer or 'the network'}: {check.figure}"
    return f"{what}: expected {plain(check.expected)}, measured {plain(check.measured)}"


def plain(value: Any) -> str:
    """Format a measured value: shapes as 64×3×3, empty ones as none."""
    if isinstance(value, list | dict) and not value:
        return "none"
    if isinstance(value, dict):
        return ", ".join(f"{name} {plain(shape)}" for name, shape in value.items())
    return f"{value:.2g}" if isinstance(value, float) else cell(value)
