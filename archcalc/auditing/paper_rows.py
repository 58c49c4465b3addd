"""The rows of a paper's table: the names, the input and the printed figures of each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from archcalc.auditing.paper_columns import IN_BYTES, INPUT, NAMES, ROLES, Column, Printed, column_of, readings
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
_INPUT = re.compile(rf"{_SIDE}(?: ?px|²|\^2)?(?: ?[x×,] ?{_SIDE}(?: ?[x×,] ?{_SIDE})?)?(?: ?px)?")


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
    """A row with figures; its place is that of its input."""

    def __init__(self, columns: Sequence[Column], cells: Sequence[Cell], printed: Sequence[PrintedCell]) -> None:
        texts = {column.role: cell for column, cell in zip(columns, cells, strict=True) if cell.text}
        self.input, self.place = texts.get(INPUT, Cell("", cells[0].place))
        self.names = {role: name for role in NAMES if role in texts and (name := _name(texts[role].text))}
        self.printed = printed

    @property
    def label(self) -> str:
        """What it calls its network."""
        return next((self.names[role] for role in (*NAMES[2:], *NAMES) if role in self.names), "")

    @cached_property
    def sides(self) -> list[int]:
        """The sides of images that its names mention, such as `384px`."""
        words = re.findall(r"(?<![a-z0-9.])(\d{3,4})(?:px|p|x\1)?(?![a-z0-9.])", " ".join(self.names.values()).lower())
        return [side for word in dict.fromkeys(words) if (side := int(word)) in SIZES]


def _name(text: str) -> str:
    """Return a name without citations; of a path to Python code the file's name."""
    plain = re.sub(r"\[[\d, –-]+\]", "", text[:MAX_NAME]).strip()
    return re.sub(r".*/(?=.*\.py$)|\.py$", "", plain)


def read_input(text: str, own: Sizes) -> Sizes | None:
    """Return the input that a cell states, with the channels of a network's own; None if none. Raises Refusal."""
    if text.lower() in EMPTY:
        return None
    numbers = _INPUT.fullmatch(text.lower().strip("()[] "))
    if numbers is None:
        raise Refusal(f"cannot read the input {shorten(text)!r}; write 224 or 3x224x224")
    sizes = [int(size) for size in numbers.groups() if size]
    if len(sizes) == 3:
        return (sizes[2], *sizes[:2]) if sizes[2] < 5 <= sizes[0] else tuple(sizes)
    return own if len(own) != 3 else (own[0], sizes[0], sizes[-1])


def _suggested(title: str) -> str:
    """Return a hint for a heading that is not known, or ""."""
    if re.search(r"\bmem(ory)?\b", title, re.IGNORECASE):
        return "of what? write activations or model size"
    return suggest(title, [word for words in ROLES.values() for word in words])


def read_paper(path: Path, search: bool = False) -> tuple[list[Row], list[str]]:
    """Return the rows of a table that have figures, and a remark on columns that are skipped.

    Raises ArchcalcError if it cannot be read; SpecError, with its place, if its header has no figures, or no networks
    (unless `search`).
    """
    header, rows = read_rows(path)
    columns = [column_of(cell.text) for cell in header]
    printed: list[list[PrintedCell]] = [[] for _ in rows]
    for i, column in enumerate(columns):
        filled = [row for row in range(len(rows)) if column.printed and rows[row][i].text.lower() not in EMPTY]
        cells = [PrintedCell(column, rows[row][i]) for row in filled]
        if cells and column.role in IN_BYTES and all(cell.problem for cell in cells):
            columns[i] = column._replace(role=IN_BYTES[column.role])
            cells = [PrintedCell(columns[i], rows[row][i]) for row in filled]
        if cells and all(cell.problem for cell in cells):
            columns[i] = column._replace(role="")
            continue
        for row, cell in zip(filled, cells, strict=True):
            printed[row].append(cell)
    if not header[0].text and not any(column.role in NAMES for column in columns):
        columns[0] = Column("", NAMES[2])  # as pandas writes an index
    hints = {
        column.title: "no cell below is a number" if column_of(column.title).role else _suggested(column.title)
        for column in columns
        if not column.role
    }
    title, hint = next(filter(all, hints.items()), ("", "write a header such as name,params,flops"))
    place = next(cell.place for cell in header if title in ("", cell.text))
    if not any(column.printed for column in columns):
        missing = any(re.match(r"\d", cell.text) for cell in header[1:])
        raise SpecError("the table has no header" if missing else "no column prints a figure", place, hint)
    if not search and not any(column.role in NAMES for column in columns):
        raise SpecError("no column names the networks", place, f"{hint}, or add --search")
    skipped = ", ".join(f"{title} ({hint})" if hint else title for title, hint in hints.items() if title)
    made = [Row(columns, row, own) for row, own in zip(rows, printed, strict=True) if own]
    return made, [f"Skipped columns: {skipped}."] * bool(skipped)
