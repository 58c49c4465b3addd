"""The table of `archcalc fit`: the largest batch or images that fit, and what would help."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from archcalc.render.table import Column, Table, size_text
from archcalc.render.tables.figure_columns import data
from archcalc.render.tables.memory import alone_text, conditions, facts, interval
from archcalc.render.tables.summaries import about_text

if TYPE_CHECKING:
    from archcalc.analysis.fit import Fit, Space
    from archcalc.analysis.needed_memory import Needs

SCHEMA = 1  # of the JSON; raised when a key changes its meaning or goes
COLUMNS = (Column("what", "", text=True, data=False, of="change"), *data(("change",)),
           Column("guaranteed", "Guaranteed"), Column("likely", "Likely"), Column("bound", "At most"),
           *data(("lacking_bytes",)))  # fmt: skip
REPLAYED = "guaranteed", "likely"  # on the CPU they are the same as the bound
NOTES = (
    "Guaranteed: PyTorch's allocator, replayed, fits it and all smaller ones tried, with workspaces of cuDNN larger "
    "than any recorded, on one H100; another card can take more.",
    "Likely: with usual workspaces.",
    "At most: one more requests more than the memory.",
)


def fit_table(
    needs: Needs, space: Space, found: Mapping[str, Fit], shape: Callable[[int], Sequence[int]] | None = None
) -> Table:
    """Make the table of what fits as asked (the change "") and with each change: batches, or images of a `shape`."""
    facts_ = {**facts(needs), "schema": SCHEMA, "vary": "size" if shape else "batch"}
    if shape is None:
        needs = replace(needs, batch=0)
    own = f"the largest {'images' if shape else 'batch'} in {interval(space.least, space.most)}"
    return Table(
        " · ".join(filter(None, [needs.graph.name, about_text(needs.graph.about)])),
        [column._replace(shown=column.shown and (space.cuda or column.key not in REPLAYED)) for column in COLUMNS],
        [_row(change, fit, shape) for change, fit in found.items()],
        "rows",
        facts_ | {"batch": needs.batch or None, "memory_bytes_least": space.least, "memory_bytes_most": space.most},
        f"{own} · {conditions(needs)}",
        summary=[*_summary(found), *_alone(needs, found)],
        notes=NOTES if space.cuda else (),
        remarks=needs.graph.about.notes,
        label=f"{needs.graph.name}, what fits",
    )


def _alone(needs: Needs, found: Mapping[str, Fit]) -> Iterator[tuple[str, str]]:
    """Say so if an answer is one image, with which PyTorch does not train the network."""
    amounts = [needs.batch] if needs.batch else [amount for fit in found.values() for amount in fit[:3]]
    if needs.needs_two and 1 in amounts:
        yield "batch 1", alone_text(needs)


def _summary(found: Mapping[str, Fit]) -> Iterator[tuple[str, str]]:
    lacking = {change: size_text(fit.lacking) for change, fit in found.items() if not fit.bound}
    if "" in lacking:
        texts = (f"{count} more{f' with {change}' * bool(change)}" for change, count in lacking.items())
        yield "nothing fits", f"the smallest needs {', '.join(texts)}"
    elif found[""].lacking:
        yield "nothing is guaranteed", f"with {size_text(found[''].lacking)} more the smallest would be"


def _row(change: str, fit: Fit, shape: Callable[[int], Sequence[int]] | None) -> dict[str, Any]:
    """Return a row; a batch of 0, or no shape, means that none fits."""
    amounts: dict[str, Any] = {"guaranteed": fit.guaranteed, "likely": fit.likely, "bound": fit.bound}
    if shape:
        amounts = {key: list(shape(number)) if number else None for key, number in amounts.items()}
    what = f"with {change}" if change else "as asked"
    return {"what": what, "change": change or None, **amounts, "lacking_bytes": fit.lacking}
