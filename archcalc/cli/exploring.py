"""The command `explore`: one page with everything about a network, for a browser."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from archcalc.catalog import loaded, named
from archcalc.cli.commands import command
from archcalc.cli.options import NetworkName, analyzed, file_option, force_option, given, known_suffix, network_options
from archcalc.cli.output import each, put, skipped, writable
from archcalc.errors import ArchcalcError
from archcalc.graph.graph import Graph
from archcalc.spec.binding import GivenInput
from archcalc.spec.equal_calls import kept
from archcalc.spec.limits import shared

if TYPE_CHECKING:
    from archcalc.analysis.needed_memory import Needs
    from archcalc.analysis.report import Report
    from archcalc.render.page.contents import Explored

MOST = 8  # networks on a page
MAX_STEPS = 200_000  # of expansion for all of them: all are in memory


@command(context_settings={"default_map": {"mode": "train"}})
@click.argument("names", nargs=-1, type=NetworkName(), metavar="NAME...")
@network_options
@file_option
@force_option
@kept()
def explore(
    names: tuple[str, ...], settings: dict[str, str], shape: GivenInput | None, output: Path | None, force: bool,
    **conditions: Any,
) -> None:  # fmt: skip
    """Write a page to explore networks: one HTML file for a browser, which loads nothing.

    It shows the graph, whose blocks open and close, beside the table; what each layer costs, sees and keeps, as
    formulas; and the memory over a training step. With several networks it also shows where the others differ from the
    first.

    \b
    archcalc explore resnet50 -o resnet50.html
    archcalc explore resnet50 torchvision/resnet50 -o strides.html
    archcalc explore my.yaml --input 3x64x64 --batch 32 -o my.html
    """
    _check(names, output, force)
    found = named(names, None, skipped)
    if len(found) > MOST:
        raise click.UsageError(f"a page shows at most {MOST} networks, not {len(found)}; name fewer")
    with shared(MAX_STEPS, "one page"):
        graphs = list(loaded(found, None, settings, shape, skipped))
        explored = each(graphs, lambda graph: _explored(graph, **conditions), lambda graph: graph.name)
    put(_page(explored), output, force)


def _check(names: tuple[str, ...], output: Path | None, force: bool) -> None:
    """Raise, before any work, for missing names and for a file that cannot be written."""
    if not names:
        raise click.UsageError("name a network, e.g. archcalc explore resnet50 -o resnet50.html")
    if not given("output"):
        raise click.UsageError("name the file to write with -o, e.g. -o page.html; -o - is the standard output")
    if output:
        known_suffix(output, (".html", ".htm"))
        writable(output, force)


def _explored(graph: Graph, *, mode: str, **conditions: Any) -> Explored:
    from archcalc.analysis.explanation import explain_layers
    from archcalc.render.page.contents import Explored

    mode = "infer" if graph.misfit and not given("mode") else mode
    report = analyzed(graph, mode=mode, **conditions)
    return Explored(report, explain_layers(report), _memory(report))


def _memory(report: Report) -> Needs | str:
    """Return what memory the network needs under the conditions of its report, or why that is unknown."""
    from archcalc.analysis.needed_memory import memory_needs

    optimizer = report.recipe.optimizer if report.mode == "train" else ""
    try:
        return memory_needs(report.graph, report.recipe._replace(optimizer=optimizer, dtype=report.dtype), report.batch)
    except ArchcalcError as error:
        return str(error)


def _page(networks: list[Explored]) -> str:
    from archcalc.comparing.alignment import align
    from archcalc.render.page.document import render_page

    first, *others = networks
    return render_page(networks, [align(first.report, other.report) for other in others])
