"""`Table`: plain values to show. Each renderer turns it into one format."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from archcalc.analysis.at_least import AtLeastRatio
from archcalc.graph.graph import About, Graph
from archcalc.ops import format_shape
from archcalc.ops.shape import USUAL, Shape

BYTES, RATIO, CHANGE, COUNT = "bytes", "ratio", "change", "count"  # kinds of numbers that people see in units
MODE_NAMES = {"infer": "inference", "train": "training", "published": "each figure in the mode that its source states"}


class Column(NamedTuple):
    """A column: its key in rows and data, its title and unit, and how to show it."""

    key: str
    title: str
    unit: str = ""
    rank: int = 0  # 0: always shown; of the others the highest is left out first if the table is too wide
    text: bool = False  # align left and wrap if necessary
    firm: bool = False  # a text that wraps only if all others are as narrow as possible
    shown: bool = True  # False: only in JSON, CSV and TSV
    data: bool = True  # False: not in JSON, CSV and TSV, where other columns hold the same as data
    plain: bool = False  # write numbers without commas, e.g. a year
    heading: bool = False  # on a terminal a separate line above the rows that share it
    below: bool = False  # on a terminal a separate line below its row
    kind: str = ""  # one of the kinds of numbers above; "": `cell` formats its values
    of: str = ""  # the key of the data that it shows as text


class Paper(NamedTuple):
    """How LaTeX sets a table: in which environment ("": a tabular alone), and with which label ("": by its name)."""

    environment: str = "table"
    label: str = ""


class Table(NamedTuple):
    """Rows of values by column key, with title, conditions, totals and notes.

    `facts` are the conditions by name, for data; `conditions` are the same as text, and `remarks` stand below them.
    `totals` is the last row, by column key; `summary` are labelled lines below. JSON contains what `data` returns
    (called for JSON alone), and the rows under `rows_key` unless it is empty. `parts` are tables that follow. `label`
    names the table if its facts have no name. `notes` say what figures mean; `hints` say what to type, on a terminal.
    """

    title: str
    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Any]]
    rows_key: str = "rows"
    facts: Mapping[str, Any] = MappingProxyType({})
    conditions: str = ""
    totals: Mapping[str, Any] = MappingProxyType({})
    summary: Sequence[tuple[str, str]] = ()
    notes: Sequence[str] = ()
    data: Callable[[], Mapping[str, Any]] = dict
    parts: Sequence[Table] = ()
    label: str = ""
    remarks: Sequence[str] = ()
    hints: Sequence[str] = ()
    paper: Paper = Paper()

    def called(self) -> str:
        """Return a short name that distinguishes it from other tables."""
        return self.label or str(self.facts.get("name") or self.rows_key)

    def shown(self) -> list[Column]:
        """The columns that people see."""
        return [column for column in self.columns if column.shown]

    def data_keys(self) -> list[str]:
        """The keys of the columns that programs read."""
        return [column.key for column in self.columns if column.data]


def filled(columns: Iterable[Column], rows: Sequence[Mapping[str, Any]]) -> list[Column]:
    """Hide the columns that are empty in all rows; a table without rows keeps its head."""
    found = {key for row in rows for key, value in row.items() if value not in (None, "")}
    return [column._replace(shown=column.shown and (column.key in found or not rows)) for column in columns]


def cell(value: Any, plain: bool = False) -> str:
    """Format a value for people: 1,728 · 64×224×224 · a dash if it is unknown or does not apply."""
    if value is None:
        return "–"
    if isinstance(value, int) and not isinstance(value, bool) and not plain:
        return f"{value:,}"
    if isinstance(value, Shape):
        return value.text
    if isinstance(value, tuple | list):
        return format_shape(value) if all(isinstance(v, int) for v in value) else " ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} {cell(own)}" for key, own in value.items())
    return str(value)


def title_of(graph: Graph) -> str:
    """Return `vgg16 · Very deep convolutional networks (Simonyan & Zisserman 2014)`."""
    return " · ".join(filter(None, (graph.name, about_text(graph.about))))


def about_text(about: About) -> str:
    """Return title and paper: `Deep residual networks (He et al. 2015)`."""
    paper = " ".join(str(about.paper[key]) for key in ("authors", "year") if key in about.paper)
    return f"{about.title} ({paper})" if about.title and paper else about.title or paper


def input_data(graph: Graph) -> dict[str, Any]:
    """Return the shape of a network's first input for programs: sizes, and axes unless it is an image or a vector."""
    return {"input": list(graph.input)} | ({} if graph.input.axes in USUAL else {"input_axes": graph.input.axes})


def ends_data(graph: Graph) -> dict[str, Any]:
    """Return several inputs and several outputs for programs: names, layers, shapes and their axes."""
    given, results = graph.inputs, [graph.nodes[i] for i in graph.results]
    named = [(node.name, node) for node in given if len(given) > 1], [*zip(graph.outputs, results, strict=False)]
    rows = [[{"name": name, "layer": node.name, **_shape(node.output)} for name, node in pairs] for pairs in named]
    return {key: found for key, found in zip(("inputs", "outputs"), rows, strict=True) if found}


def _shape(shape: Shape) -> dict[str, Any]:
    return {"shape": list(shape), "axes": shape.axes}


def axes(value: tuple[int, ...] | None) -> str:
    """Format one number per axis; if all are equal, only one of them."""
    if value is None:
        return "–"
    return format_shape([*{*value}] if len({*value}) == 1 else value)


def bytes_text(count: int) -> str:
    """Format bytes: `60.95 MB = 58.13 MiB`; below 1 MB as `1,234 B`, from 10 GB as `24.00 GB = 22.35 GiB`."""
    if count < 10**6:
        return f"{count:,} B"
    prefix, power = ("M", 2) if count < 10**10 else ("G", 3) if count < 10**13 else ("T", 4)
    return f"{count / 1000**power:,.2f} {prefix}B = {count / 1024**power:,.2f} {prefix}iB"


def size_text(count: int) -> str:
    """Format bytes: `60.95 MB`, below 1 MB `1,234 B`."""
    return bytes_text(count).partition(" = ")[0]


def ratio_text(ratio: float) -> str:
    """Format a ratio with three significant digits: 5.41, 1.00, 0.0235, 1,230."""
    rounded, least = f"{ratio:.2e}", "≥ " * isinstance(ratio, AtLeastRatio)
    return least + f"{float(rounded):,.{max(0, 2 - int(rounded.partition('e')[2]))}f}" if ratio else "0"


def listed(names: Sequence[str]) -> str:
    """Join names: `vgg16, resnet50`; of more than three the first three, and how many more."""
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def without_rule_text(functions: Mapping[str, str]) -> str:
    """Name layers without a rule and their functions: `1 operator without a rule: fft.layer (aten::fft_rfft2)`."""
    many = f"{len(functions):,} operators" if len(functions) > 1 else "1 operator"
    return f"{many} without a rule: {listed([f'{name} ({function})' for name, function in functions.items()])}"


def conditions_text(
    batch: int = 0, dtype: str = "", mode: str = "", convention: str = "", inputs: Iterable[str] = ()
) -> str:
    """Join the given conditions: `input 3×224×224 · batch 2 (all figures) · float32 · inference · FLOPs: all`."""
    shapes = " and ".join(dict.fromkeys(inputs))
    texts = (
        shapes and f"input {shapes}",
        f"batch {batch}" + " (all figures)" * (batch > 1) if batch else "",
        dtype,
        MODE_NAMES.get(mode, mode),
        convention and f"FLOPs: {convention}",
    )
    return " · ".join(filter(None, texts))
