"""Options of all commands that draw pictures: size, letters, and the text around the picture. They give a `Look`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

import click

from archcalc.cli.options import together
from archcalc.cli.output import tell
from archcalc.errors import printable, shorten
from archcalc.render.pictures import Look

COLUMNS = {"one": 3.5, "two": 7.16}  # inches: columns of a page, as in papers of the IEEE
PRINTED = ("width", "height", "letters", "serif")  # what only a drawn picture has


class Number(click.ParamType):  # type: ignore[type-arg]  # generic only in newer versions of click
    """A number between two others, or a name of one."""

    name = "number"

    def __init__(self, low: float, high: float, unit: str, names: Mapping[str, float] | None = None) -> None:
        self.low, self.high, self.unit, self.names = low, high, unit, dict(names or {})

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            number = self.names.get(value.lower()) or float(value)
        except ValueError:
            number = float("nan")
        if not self.low <= number <= self.high:
            listed = "".join(f"{name} ({size:g} {self.unit}), " for name, size in self.names.items())
            wanted = f"{listed}{'or ' if listed else ''}{self.unit} from {self.low:g} to {self.high:g}"
            self.fail(f"{shorten(value)!r} is not possible; write {wanted}", param, ctx)
        return number


_options = together(
    click.option("--width", type=Number(1, 50, "inches", COLUMNS), metavar="one|two|INCHES",
                 help="Width: one column of a paper, two, or inches. Default: the picture's own."),
    click.option("--height", type=Number(1, 50, "inches"), metavar="INCHES", help="Height. Default: by the width."),
    click.option("--font-size", "letters", type=Number(4, 40, "points"), metavar="POINTS",
                 help="Size of letters. Default: by the width."),
    click.option("--font", "serif", type=click.Choice(["sans", "serif"]), default="sans", show_default=True,
                 help="Letters without serifs, or like Times.", callback=lambda ctx, param, font: font == "serif"),
    click.option("--title/--no-title", default=None,
                 help="Title above and notes below the picture. Default: not with --width, where a paper's caption"
                      " says it; the text is printed."),
)  # fmt: skip


def look_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add these options to a command, which gets them, and `dark` if it has that, as `look`."""

    @wraps(function)
    def run(*, width: float | None, height: float | None, letters: float | None, serif: bool, title: bool | None,
            dark: bool = False, **rest: Any) -> Any:  # fmt: skip
        shown = width is None if title is None else title
        return function(look=Look(width, height, letters, serif, shown, dark), **rest)

    return _options(run)


def print_caption(look: Look, said: str) -> None:
    """Print the text that a picture leaves out."""
    if not look.title:
        tell(f"caption: {printable(said)}")
