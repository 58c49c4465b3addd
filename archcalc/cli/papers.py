"""`archcalc audit FILE`: check the figures of a paper's table."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from archcalc.auditing.paper_files import TABLES
from archcalc.cli.output import deliver, run_each, tell
from archcalc.cli.table_choice import require_columns
from archcalc.errors import ArchcalcError, shorten, suggest


def is_table(name: str) -> bool:
    """Whether an argument is a file with a table, by its suffix."""
    return name.lower().endswith(TABLES)


def audit_table_file(
    file: str, given: Mapping[str, str], search: bool, only: Sequence[str], form: str, output: Path | None, force: bool
) -> None:
    """Check a table, print the verdicts and exit: with 1 if a figure is contradicted. Raises ArchcalcError."""
    from archcalc.auditing.paper import Auditor
    from archcalc.auditing.paper_rows import read_paper
    from archcalc.render.tables.paper import COLUMNS, paper_table

    require_columns(COLUMNS)
    rows, remarks = read_paper(Path(file), search)
    labels, auditor = {row.label for row in rows}, Auditor(given, search)
    for name, network in given.items():
        if name not in labels:
            hint = suggest(name, labels) or "write the name as the table has it"
            raise ArchcalcError(f"no row is called {shorten(repr(name))}; {hint}")
        auditor.graph(network, None, 0)  # raises if there is no such network
    done, stopped = run_each(rows, auditor.audit, lambda row: row.label)
    audited = [own for found in done for own in found]
    deliver(paper_table(file, audited, only, remarks), form, output, force)
    if stopped:
        tell(f"stopped after {len(done)} of {len(rows)} rows")
    sys.exit(130 if stopped else int(any(own.verdict and own.verdict.verdict == "contradicted" for own in audited)))
