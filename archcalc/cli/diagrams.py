"""The command `graph`: draw a network."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import click

from archcalc.analysis.report import analyze
from archcalc.catalog import load_with
from archcalc.cli.commands import command
from archcalc.cli.options import NetworkName, mode_option, spec_options, written_as
from archcalc.cli.output import put
from archcalc.spec.binding import GivenInput

if TYPE_CHECKING:
    from archcalc.render.diagrams.layout import Diagram

RENDERERS = {
    "mermaid": "archcalc.render.diagrams.mermaid",
    "dot": "archcalc.render.diagrams.dot",
    "svg": "archcalc.render.diagrams.dot",
}
SUFFIXES = {".mmd": "mermaid", ".mermaid": "mermaid", ".dot": "dot", ".gv": "dot", ".svg": "svg"}


@command()
@click.argument("name", type=NetworkName())
@click.option("--depth", type=click.IntRange(min=1), metavar="N", help="Draw blocks of N name parts as one box.")
@click.option("--all", "everything", is_flag=True, help="Draw every layer, also those that write nothing.")
@click.option("--unfold", is_flag=True, help="Draw equal neighbours one by one.")
@spec_options
@mode_option
@written_as(SUFFIXES, "mermaid")
def graph(
    name: str, depth: int | None, everything: bool, unfold: bool, settings: dict[str, str],
    shape: GivenInput | None, mode: str, form: str, output: Path | None, force: bool,
) -> None:  # fmt: skip
    """Draw a network: blocks as clusters, shapes on the arrows, equal neighbours once.

    Without --depth blocks are opened as long as the picture stays readable; of similar blocks only the first. Boxes of
    closed blocks show their params and MACs for one image. GitHub draws Mermaid in Markdown; SVG needs Graphviz.

    \b
    archcalc graph resnet50
    archcalc graph googlenet --depth 2 --mode train -o googlenet.svg
    """
    from archcalc.render.diagrams.layout import diagram

    if depth and everything:
        raise click.UsageError("--depth merges layers and --all shows each layer; use one of them")
    picture = diagram(analyze(load_with(name, settings, shape), mode=mode), depth, everything, unfold)
    render: Callable[[Diagram], str] = getattr(import_module(RENDERERS[form]), f"render_{form}")
    put(render(picture), output, force)
