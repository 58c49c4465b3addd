"""Options and arguments that several commands share, and how they are read."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from archcalc.analysis import CONVENTIONS, DTYPES, MODES
from archcalc.catalog import catalog
from archcalc.report import FORMATS

_Function = TypeVar("_Function", bound=Callable[..., Any])


class NetworkName(click.ParamType):  # type: ignore[type-arg]  # generic in newer clicks only
    """A network's name or a spec's path, completed in the shell."""

    name = "network"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        """Names of the catalog that begin so."""
        from click.shell_completion import CompletionItem

        names = sorted(catalog(broken=lambda error: None))
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def read_shape(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """`3x224x224` as a shape."""
    if value is None:
        return None
    if not re.fullmatch(r"[1-9][0-9]{0,9}([xX×][1-9][0-9]{0,9}){0,7}", value):
        raise click.BadParameter(f"{value[:60]!r} is not a shape; write channels x height x width, as 3x224x224")
    return tuple(int(part) for part in re.split("[xX×]", value))


def read_settings(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """`name=value` pairs."""
    settings = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not equals or not text.strip():
            raise click.BadParameter(f"{value[:60]!r} is not a setting; write name=value, as classes=10")
        settings[name.strip()] = text
    return settings


def network_options(function: _Function) -> _Function:
    """Options that say of what a network's figures are."""
    options = [
        click.option("--set", "settings", multiple=True, callback=read_settings, metavar="NAME=VALUE",
                     help="Change a param of the spec, as classes=10. Can be given again."),
        click.option("--input", "shape", callback=read_shape, metavar="CxHxW", help="Input shape, as 3x299x299."),
        click.option("--batch", type=click.IntRange(min=1), default=1, show_default=True, help="Images in a batch."),
        click.option("--dtype", type=click.Choice(list(DTYPES)), default="float32", show_default=True),
        click.option("--mode", type=click.Choice(list(MODES)), default="infer", show_default=True,
                     help="train has side outputs and dropout."),
        click.option("--convention", type=click.Choice(list(CONVENTIONS)), default="all", show_default=True,
                     help="What FLOPs count: " + "; ".join(f"{c.name}: {c.text}" for c in CONVENTIONS.values()) + "."),
    ]  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


def output_options(function: _Function) -> _Function:
    """Options that say where the result goes and in which form."""
    options = [
        click.option("--format", "form", type=click.Choice(list(FORMATS)), default="table", show_default=True),
        click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write to a file."),
        click.option("--force", is_flag=True, help="Write over a file that is there."),
    ]
    for option in reversed(options):
        function = option(function)
    return function
