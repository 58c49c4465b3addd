"""The rows of a paper's table: the names, the input and the printed figures of each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from archcalc.auditing.paper_columns import INPUT, NAMES, ROLES, Column, Printed, column_of, readings
from archcalc.auditing.paper_files import Cell, read_rows
from archcalc.errors import Refusal, SpecError, shorten, suggest
from archcalc.ops.shape import Sizes

MAX_NAME = 200  # characters of a name
EMPTY = ("", "-", "–", "—", "n/a", "na", "nan", "none", "?")
SIZES = (
    128, 160, 192, 224, 227, 240, 256, 288, 299, 320, 331, 336, 380, 384, 416, 448, 456, 475, 480, 512, 528, 600,
    608, 640, 800, 1024,
)  # fmt: skip  # usual sides of images

_SIDE = "([1-9][0-9]{0,8})"
_INPUT = re.compile(rf"{_SIDE}(?: ?px|²|\^2)?(?: ?[x×,] ?{_SIDE}(?: ?[x×,] ?{_SIDE})?)?")


class PrintedCell:
    """A cell with a figure: its column, text and place, and the ways to read it, none of which is a `problem`."""

    def __init__(self, column: Column, cell: Cell) -> None:
        self.column = column
        self.text, self.place = cell
        self.ways: list[Printed] = []
        self.problem = ""
        try:
            self.ways = readings(self.text, column)
        except Refusal as error:
            self.problem = f"{self.place}: {error}"


class Row:
    """A row with figures."""

    def __init__(self, columns: Sequence[Column], cells: Sequence[Cell]) -> None:
        self.line = cells[0].place.line
        self.by_role = {column.role: cell.text for column, cell in zip(columns, cells, strict=True) if cell.text}
        self.printed = [
            PrintedCell(column, cell)
            for column, cell in zip(columns, cells, strict=True)
            if column.printed and cell.text.lower() not in EMPTY
        ]

    @cached_property
    def names(self) -> dict[str, str]:
        """What may name its network, without citations; of a path to Python code the file's name."""
        texts = {role: re.sub(r"\[[\d, –-]+\]", "", self.by_role.get(role, "")[:MAX_NAME]).strip() for role in NAMES}
        return {role: re.sub(r".*/(?=.*\.py$)|\.py$", "", text) for role, text in texts.items() if text}

    @property
    def label(self) -> str:
        """What it calls its network."""
        return next((self.names[role] for role in (*NAMES[2:], *NAMES) if role in self.names), "")

    def sides(self) -> list[int]:
        """Return the sides of images that its names mention, such as `384px`."""
        words = re.findall(r"(?<![a-z0-9.])(\d{3,4})(?:px|p|x\1)?(?![a-z0-9.])", " ".join(self.names.values()).lower())
        return [side for word in dict.fromkeys(words) if (side := int(word)) in SIZES]

    def input(self, own: Sizes) -> Sizes | None:
        """Return the input that it states, with the channels of a network's own; None if none. Raises Refusal."""
        text = self.by_role.get(INPUT, "").lower()
        if text in EMPTY:
            return None
        numbers = _INPUT.fullmatch(text)
        if numbers is None:
            raise Refusal(f"cannot read the input {shorten(text)!r}; write 224 or 3x224x224")
        sizes = [int(size) for size in numbers.groups() if size]
        if len(sizes) == 3:
            return (sizes[2], *sizes[:2]) if sizes[2] < 5 <= sizes[0] else tuple(sizes)
        return own if len(own) != 3 else (own[0], sizes[0], sizes[-1])


def read_paper(path: Path, search: bool = False) -> tuple[list[Row], list[str]]:
    """Return the rows of a table that have figures, and a remark on columns that are skipped.

    Raises ArchcalcError if it cannot be read; SpecError, with its place, if its header has no figures, or no networks
    (unless `search`).
    """
    header, rows = read_rows(path)
    columns = [column_of(cell.text) for cell in header]
    for i, column in enumerate(columns):
        cells = [PrintedCell(column, row[i]) for row in rows if column.printed and row[i].text.lower() not in EMPTY]
        if cells and all(cell.problem for cell in cells):
            columns[i] = column._replace(role="")
    known = [word for words in ROLES.values() for word in words]
    hints = {
        column.title: "no numbers" if column_of(column.title).role else suggest(column.title, known)
        for column in columns
        if not column.role
    }
    hint = next(filter(None, hints.values()), "write a header such as name,params,flops")
    if not any(column.printed for column in columns):
        missing = any(re.match(r"\d", cell.text) for cell in header[1:])
        raise SpecError("the table has no header" if missing else "no column prints a figure", header[0].place, hint)
    if not search and not any(column.role in NAMES for column in columns):
        raise SpecError("no column names the networks", header[0].place, f"{hint}, or add --search")
    skipped = ", ".join(f"{title} ({hint})" if hint else title for title, hint in hints.items() if title)
    made = [Row(columns, row) for row in rows]
    return [row for row in made if row.printed], [f"Skipped columns: {skipped}."] * bool(skipped)
