"""Completion in the shell: functions that say which names begin with what is typed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import click

from archcalc.analysis.figures import numbers
from archcalc.catalog import listed, load_with
from archcalc.errors import ArchcalcError
from archcalc.importers.sources import source_of
from archcalc.ops import REGISTRY


def begun(incomplete: str, names: Iterable[str], before: str = "") -> list[Any]:
    """Return the names that begin with what is typed, in any case, each after `before`."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(before + name) for name in sorted(names) if name.lower().startswith(incomplete.lower())]


def completed(names: Iterable[str]) -> Callable[..., list[Any]]:
    """Return a function that completes one of these names."""
    return lambda ctx, param, incomplete: begun(incomplete, names)


complete_operators = completed(REGISTRY)


def complete_families(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
    """Complete the name of a family."""
    rows = listed(lambda graph: {"family": graph.about.family}, broken=lambda error: None)
    return begun(incomplete, {str(row["family"]) for row in rows})


def complete_columns(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
    """Complete the last of several columns, `params,ma`."""
    before, comma, last = incomplete.rpartition(",")
    return begun(last, numbers(), before + comma)


def complete_layers(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
    """Complete a layer or group of the network that is named before it, part by part; a source is not run."""
    name, parts = str(ctx.params.get("name")), incomplete.count(".") + 1
    try:
        nodes = () if source_of(name) else load_with(name, {}).nodes
    except ArchcalcError:
        return []
    return begun(incomplete, {".".join(node.name.split(".")[:parts]) for node in nodes})
