"""The command `explain`: figures as formulas, with the numbers filled in or of symbols."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from archcalc.catalog import load_with
from archcalc.cli.commands import command
from archcalc.cli.completion import complete_layers
from archcalc.cli.options import (
    STEP_OPTIONS,
    NetworkName,
    analyzed,
    given,
    network_options,
    output_options,
    read_columns,
    written,
)
from archcalc.cli.output import deliver
from archcalc.errors import ArchcalcError
from archcalc.ops import REGISTRY, operator_hint
from archcalc.render.table import Table
from archcalc.spec.binding import GivenInput


def read_names(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...]:
    """Read `size,batch`. Raises BadParameter for no names."""
    names = read_columns(ctx, param, value)
    if value is not None and not names:
        raise click.BadParameter("name params of the spec or axes, e.g. size,batch")
    return names


@command(context_settings={"default_map": {"mode": "train"}})
@click.argument("name", type=NetworkName())
@click.argument("layer", required=False, shell_complete=complete_layers)
@click.option(
    "--symbolic",
    "symbols",
    callback=read_names,
    metavar="NAMES",
    help="Show the network's figures as formulas of these: params of the spec, height, width, size or batch.",
)
@network_options
@output_options
def explain(name: str, layer: str | None, form: str, output: Path | None, force: bool, **options: Any) -> None:
    """Show how each figure of a layer is computed, with the numbers filled in; or the rules of an operator.

    LAYER is a layer, or a group of layers such as stage3, whose figures are sums. With --symbolic the figures of the
    whole network are exact formulas, and it says for which numbers they hold.

    \b
    archcalc explain vgg16 stage3.conv1
    archcalc explain vgg16 stage3 --batch 32
    archcalc explain conv
    archcalc explain resnet50 --symbolic size,batch
    """
    deliver(_table(name, layer, **options), form, output, force)


def _table(
    name: str, layer: str | None, *, symbols: tuple[str, ...], settings: dict[str, str], shape: GivenInput | None,
    mode: str, **conditions: Any,
) -> Table:  # fmt: skip
    if symbols:
        if layer is not None:
            raise click.UsageError("--symbolic is for a whole network; omit the layer")
        for option in written(("dtype", *STEP_OPTIONS)):
            raise click.UsageError(f"{option} changes no figure that --symbolic shows; omit it")
        counting = {"mode": mode if given("mode") else "infer", "convention": conditions["convention"]}
        return _formulas(name, symbols, settings, shape, batch=conditions["batch"], **counting)
    from archcalc.analysis.explanation import explain as explained
    from archcalc.render.tables.explain import explanation
    from archcalc.render.tables.ops import operator_help

    if layer is None and name in REGISTRY:
        return operator_help(name)
    try:
        graph = load_with(name, settings, shape)
    except ArchcalcError:
        if layer is None and not os.path.exists(name) and operator_hint(name, REGISTRY):
            operator_help(name)  # raises with the nearest operator
        raise
    if layer is None:
        first = next((node.name for node in graph.nodes if node.op.weighted), graph.nodes[-1].name)
        raise ArchcalcError(f"name a layer or group of {graph.name}, e.g. archcalc explain {name} {first}")
    mode = "infer" if graph.misfit and not given("mode") else mode
    report = analyzed(graph, mode=mode, **conditions)
    return explanation(report, layer, *explained(report, layer))


def _formulas(
    name: str, symbols: tuple[str, ...], settings: dict[str, str], shape: GivenInput | None, **conditions: Any
) -> Table:
    from archcalc.render.tables.explain import formulas_table
    from archcalc.symbolic import formulas_of

    found = formulas_of(name, symbols, settings, shape, **conditions)
    return formulas_table(found.graph, found.lines, found.limits, found.example.values, **conditions)
