"""Commands that describe a network or an operator: `summarize`, `show` and `ops`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from archcalc.catalog import load_with
from archcalc.cli.commands import command
from archcalc.cli.completion import complete_operators
from archcalc.cli.options import (
    NetworkName,
    analyzed,
    network_options,
    output_options,
    row_options,
    spec_options,
    strict_option,
)
from archcalc.cli.output import choice, deliver
from archcalc.cli.table_choice import table_options
from archcalc.render.formats import FORMATS
from archcalc.render.table import Table
from archcalc.spec.binding import GivenInput
from archcalc.spec.equal_calls import kept

if TYPE_CHECKING:
    from pathlib import Path


@command()
@click.argument("name", type=NetworkName())
@network_options
@row_options
@strict_option
@click.option("--bars", is_flag=True, help="Draw bars beside the figures to show where the cost is.")
@table_options
@output_options
def summarize(name: str, bars: bool, form: str, output: Path | None, force: bool, **options: Any) -> None:
    """Show shapes, parameters, memory and arithmetic of a network, layer by layer.

    NAME is a network of `archcalc list`, or the path of a spec: FILE, or FILE:NETWORK if it contains several; or an
    ONNX, Darknet, YOLO, Caffe or Keras file; or a PyTorch module, torch:FILE_OR_MODULE:NAME. CSV, TSV and JSON contain
    every layer; other formats merge layers that write nothing into the row above.

    \b
    archcalc summarize resnet50 --brief --units si
    archcalc summarize resnet50 --depth 1 --bars
    archcalc summarize torch:./my.py:Net --input 3x224x224
    archcalc summarize googlenet --mode train --batch 32
    archcalc summarize vgg16 --set classes=10 --format markdown -o vgg16.md
    """
    if bars:
        from archcalc.render.tables.bars import BARS, with_bars

        if form != "table":
            raise click.UsageError(f"--bars works only with --format table; omit it with --format {form}")
        if choice().columns and not BARS.intersection(choice().columns):
            raise click.UsageError("--bars shows activations, params and macs; name one of them")
    table = summary_of(name, "", FORMATS[form].every, **options)
    deliver(with_bars(table) if bars else table, form, output, force)


@kept()  # published figures may need the network with other settings
def summary_of(
    name: str, title: str, every: bool, *, settings: dict[str, str], shape: GivenInput | None,
    depth: int | None, everything: bool, fold_bn: bool, brief: bool, published: bool, **conditions: Any,
) -> Table:  # fmt: skip
    """Summarize a network, under the name `title` if given; `every` adds a row for every layer.

    Raises UsageError for options that exclude each other.
    """
    from archcalc.auditing.verdicts import audit
    from archcalc.render.tables.summaries import summarize as summary_table

    if brief and everything:
        raise click.UsageError("--brief shows blocks and --all shows each layer; use one of them")
    depth = depth or int(brief) or None
    if depth and everything:
        raise click.UsageError("--depth merges layers and --all shows each layer; use one of them")
    if fold_bn and conditions["mode"] == "train":
        raise click.UsageError("--fold-bn needs --mode infer: in training batch normalization cannot be folded")
    graph = load_with(name, settings, shape, title)
    gone = None
    if fold_bn:
        from archcalc.graph.batchnorm_folding import fold_batchnorm, folds

        gone, graph = tuple(folds(graph)), fold_batchnorm(graph)
    report = analyzed(graph, **conditions)
    verdicts = audit(report, layers=False) if published and not brief else []
    return summary_table(report, everything or every, depth, gone, verdicts)


@command()
@click.argument("name", type=NetworkName())
@spec_options
@output_options
def show(
    name: str, settings: dict[str, str], shape: GivenInput | None, form: str, output: Path | None, force: bool
) -> None:
    """Show paper, params, training recipe, accuracies and published figures of a network.

    What is published holds for the network as it is: with --set or --input it is left out.

    \b
    archcalc show resnet50
    """
    deliver(facts_of(name, "", settings=settings, shape=shape), form, output, force)


def facts_of(name: str, title: str, settings: dict[str, str], shape: GivenInput | None) -> Table:
    """What is known of a network, called `title` if given."""
    from archcalc.auditing.claims import accuracies_of, recipes_of
    from archcalc.auditing.recipe_cost import with_cost
    from archcalc.auditing.verdicts import audit
    from archcalc.render.tables.show import about_network

    graph = load_with(name, settings, shape, title)
    own = graph.origin
    recipes = [with_cost(graph, recipe) for recipe in recipes_of(own)]
    return about_network(graph, audit(graph, layers=False), accuracies_of(own), recipes)


@command()
@click.argument("name", required=False, shell_complete=complete_operators)
@output_options
def ops(name: str | None, form: str, output: Path | None, force: bool) -> None:
    """List the operators of the spec language, or describe one of them.

    \b
    archcalc ops
    archcalc ops conv
    """
    from archcalc.render.tables.ops import operator_help, operators

    deliver(operator_help(name) if name else operators(), form, output, force)
