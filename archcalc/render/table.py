"""What is shown, apart from how: a `Table` of plain values that every renderer lowers in its own way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from archcalc.ops import format_shape

MODE_NAMES = {"infer": "inference", "train": "training", "published": "each figure in the mode it is published of"}


class Column(NamedTuple):
    """A column: its key in rows and data, its title and unit, and how soon it gives way where room is short."""

    key: str
    title: str
    unit: str = ""
    rank: int = 0  # 0 stays; of the others the highest goes first
    text: bool = False  # set flush left, and wrapped if need be
    firm: bool = False  # a text that is wrapped only when the others are as narrow as they can be
    shown: bool = True  # False: data, for JSON and CSV only
    data: bool = True  # False: a form for people, of what other columns hold as data
    plain: bool = False  # a number that is no quantity, as a year: without commas
    heading: bool = False  # on a terminal a line of its own above the rows that share it
    below: bool = False  # on a terminal below its row


@dataclass(frozen=True)
class Table:
    """Rows of values by column key, what they are of, their totals, and what has to be said about them.

    `facts` are the conditions, by name; `totals` the row under the line, by column key; `summary` are labelled lines
    below; `data` goes into JSON as it is, and the rows under `rows_key`, if it has one. `parts` are tables that follow.
    `label` is what it is called, where that is not the name among its facts.
    """

    title: str
    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Any]]
    rows_key: str = "rows"
    facts: Mapping[str, Any] = field(default_factory=dict)
    conditions: str = ""
    totals: Mapping[str, Any] = field(default_factory=dict)
    summary: Sequence[tuple[str, str]] = ()
    notes: Sequence[str] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    parts: Sequence[Table] = ()
    label: str = ""

    def called(self) -> str:
        """A short name that tells it from other tables."""
        return self.label or str(self.facts.get("name") or self.rows_key)

    def shown(self) -> list[Column]:
        """The columns for people."""
        return [column for column in self.columns if column.shown]

    def data_keys(self) -> list[str]:
        """The keys of the columns for programs."""
        return [column.key for column in self.columns if column.data]


def cell(value: Any, plain: bool = False) -> str:
    """A value as people read it: 1,728 · 64×224×224 · a dash for what is unknown or does not apply."""
    if value is None:
        return "–"
    if isinstance(value, int) and not isinstance(value, bool) and not plain:
        return f"{value:,}"
    if isinstance(value, tuple | list):
        return format_shape(value) if all(isinstance(v, int) for v in value) else " ".join(map(str, value))
    return str(value)


def axes(value: tuple[int, int] | None) -> str:
    """Height and width, once where they are equal."""
    if value is None:
        return "–"
    return str(value[0]) if value[0] == value[1] else format_shape(value)


def bytes_text(count: int) -> str:
    """`60.95 MB = 58.13 MiB`; small ones in bytes."""
    if count < 10**6:
        return f"{count:,} B"
    return f"{count / 10**6:,.2f} MB = {count / 2**20:,.2f} MiB"


def ratio_text(ratio: float) -> str:
    """Three significant digits: 5.41, 1.00, 0.0235, 1,230."""
    rounded = f"{ratio:.2e}"
    return f"{float(rounded):,.{max(0, 2 - int(rounded.partition('e')[2]))}f}" if ratio else "0"


def listed(names: Sequence[str]) -> str:
    """`vgg16, resnet50`; of more than three the first, and how many more."""
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def conditions_text(
    batch: int | None = None,
    dtype: str = "",
    mode: str = "",
    convention: str = "",
    inputs: Iterable[Sequence[int]] = (),
) -> str:
    """`input 3×224×224 · batch 2 (all figures) · float32 · inference · FLOPs: all`, of what is given."""
    shapes = " and ".join(dict.fromkeys(map(format_shape, inputs)))
    texts = (
        shapes and f"input {shapes}",
        "" if batch is None else f"batch {batch}" + (" (all figures)" if batch > 1 else ""),
        dtype,
        MODE_NAMES.get(mode, mode),
        convention and f"FLOPs: {convention}",
    )
    return " · ".join(filter(None, texts))
