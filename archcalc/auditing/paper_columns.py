"""What the columns of a paper's table hold, by their headings, and how their cells may be read.

A unit may stand in the heading (`Params (M)`, `GFLOPs`, `MACs [10⁹]`) or in the cell. Where there is none, a small
number is read as millions and billions, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from archcalc.analysis.figures import FIGURES, SMALL_COUNTS, numbers
from archcalc.printed import BINARY_BYTES, COUNTS, SCALES, Number, read_number

NAMES = ("archcalc", "network", "name", "model", "architecture", "backbone", "method", "variant", "config")  # in order
INPUT = "input"
ROLES: Mapping[str, Sequence[str]] = {
    **{name: (name, f"{name}s", f"{name} name") for name in NAMES},
    "architecture": ("architecture", "architectures", "arch", "builder"),
    INPUT: ("input", "input size", "resolution", "res", "size", "image", "image size", "img size", "crop size"),
    "params": ("param", "params", "parameter", "parameters", "trainable params", "trainable parameters"),
    "macs": ("mac", "macs", "madds", "m adds", "mult add", "mult adds", "multiply adds", "multiply accumulates"),
    "flops": ("flop", "flops", "op", "ops", "operations", "complexity"),
    "activations": ("activation", "activations", "acts"),
    "param_bytes": ("model size", "file size", "size on disk", "param mem"),
}  # fmt: skip
IN_BYTES = {"params": "param_bytes", "activations": "activation_bytes"}  # what bytes in a column of these are
BINARY_COUNTS = COUNTS | {"k": 2**10, "m": 2**20, "g": 2**30, "b": 2**30}
MAX_TEXT = 100  # characters of a heading or figure; expressions take longer than linear
SMALL = 10**5  # a number below is perhaps one of millions
_NEEDLESS = re.compile(r"\b(number|no|num|total|of|the)\b|[^a-z]+")
_SPLIT = re.compile(r"(.*?)(?:[(\[{/,]| in (?=\w+$))(.*?)[)\]}]?")
_COUNTED = r"(?:flops?|macs?|madds?|mult-?adds?|ops|params?|parameters)"
_UNIT = re.compile(
    rf"(thousand|million|billion|[kmg]i?b|[kmgbt])s? ?{_COUNTED}?|[×x·]? ?1(?:0\^?|e)([0-9⁰¹²³⁴-⁹]{{1,2}})"
)
_WITH_UNIT = re.compile(rf"([kmgbt]) ?({_COUNTED})")
_STATED = re.compile(r".*([a-z%]|[×x·]\s*10\^?[0-9⁰¹²³⁴-⁹]+|[0-9]e\+?[0-9]+)", re.IGNORECASE)


class Column(NamedTuple):
    """A column: its heading, what it holds (a key of ROLES or of a figure; "": unknown) and the unit of its numbers."""

    title: str
    role: str
    unit: str = ""

    @property
    def printed(self) -> bool:
        """Whether it prints a figure."""
        return self.role not in ("", INPUT, *NAMES)


class Printed(NamedTuple):
    """One reading of a printed number, and what it takes for granted about the unit."""

    number: Number
    unit: str = ""
    binary: bool = False


def column_of(title: str) -> Column:
    """Read a heading."""
    words = title[:MAX_TEXT].lower().replace("_", " ").strip()
    parts = _SPLIT.fullmatch(words)
    head, tail = (part.strip() for part in parts.groups()) if parts else (words, "")
    found = _UNIT.fullmatch(tail)
    unit = (found[1] or f"e{found[2]}") if found else ""
    if joined := _WITH_UNIT.fullmatch(head):
        unit, head = unit or joined[1], joined[2]
    plain = " ".join(_NEEDLESS.sub(" ", head).split())
    role = next((role for role, known in ROLES.items() if plain in known), "")
    if len(unit) > 1 and unit.endswith("b"):
        unit = unit.upper().replace("I", "i")
        role = "param_bytes" if role == INPUT else IN_BYTES.get(role, role)
    return Column(title, role or _key(words), unit)


def _key(words: str) -> str:
    key = words.replace(" ", "_")
    return key if key in numbers() else ""


def readings(text: str, column: Column) -> list[Printed]:
    """Return the ways to read a cell, the plainest first. Raises Refusal for a text that is not a number."""
    unit, plain = FIGURES[column.role].unit, _plain(text[:MAX_TEXT])
    stated = bool(_STATED.fullmatch(plain)) or not (column.unit or unit in ("bytes", "values", "operations"))
    if stated:
        return [*_ways(plain, unit, "")]
    own = read_number(plain, SCALES.get(unit, COUNTS))
    if column.unit:
        whole = [Printed(own, "without the unit of the heading")] if own.value >= SMALL else []
        return [*_ways(plain + column.unit, unit, ""), *whole]
    guessed = () if not 0 < own.value < SMALL else ("MB", "GB") if unit == "bytes" else ("M", "G")
    return [Printed(own), *(way for one in guessed for way in _ways(plain + one, unit, one))]


def _ways(text: str, unit: str, guessed: str) -> Iterator[Printed]:
    """Yield a number in units of 1,000, and unless it is a bound in those of 1,024."""
    plain = read_number(text, SCALES.get(unit, COUNTS), small=unit in SMALL_COUNTS)
    yield Printed(plain, f"read as {guessed}" * bool(guessed))
    if unit in ("bytes", "values", "operations"):
        binary = read_number(text, BINARY_BYTES if unit == "bytes" else BINARY_COUNTS)
        if binary.value != plain.value and not plain.bound:
            yield Printed(binary, "in units of 1,024", binary=True)


def _plain(text: str) -> str:
    """Return a printed number without footnote marks, spaces between digits, and the name of what is counted.

    A comma before other than three digits is a decimal comma; of several points each is a thousands separator.
    """
    plain = re.sub(r" ?(/|per) ?(image|img|sample)$", "", text.strip(), flags=re.IGNORECASE)
    plain = re.sub(r"[*†‡§]|\[[^\]]*\]|(?<=.)\([^)]*\)$", "", plain).strip()
    plain = re.sub(r"(?<=\d)['’ ](?=\d{3}\b)", "", plain)
    plain = re.sub(r"(?<![\d,.])\d{1,3}(\.\d{3}){2,}(?![\d,.])", lambda number: number[0].replace(".", ""), plain)
    plain = re.sub(r"(?<![\d,.])(\d+),(\d{1,2}|\d{4,})(?![\d,.])", r"\1.\2", plain)  # a decimal comma
    return re.sub(rf"\s*{_COUNTED}\.?$", "", plain, flags=re.IGNORECASE).strip()
