"""The command that draws a network: `graph`."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import click

from archcalc.analysis.report import analyze
from archcalc.catalog import load_with
from archcalc.cli.options import NetworkName, mode_option, spec_options, written_as
from archcalc.cli.output import say, write

if TYPE_CHECKING:
    from archcalc.render.diagrams.layout import Diagram

RENDERERS = {
    "mermaid": "archcalc.render.diagrams.mermaid",
    "dot": "archcalc.render.diagrams.dot",
    "svg": "archcalc.render.diagrams.dot",
}
SUFFIXES = {".mmd": "mermaid", ".mermaid": "mermaid", ".dot": "dot", ".gv": "dot", ".svg": "svg"}


@click.command()
@click.argument("name", type=NetworkName())
@click.option("--depth", type=click.IntRange(min=1), help="One box a block, down to this depth of its name.")
@click.option("--all", "everything", is_flag=True, help="One box a layer, those that write nothing too.")
@click.option("--unfold", is_flag=True, help="Draw each repeat of what is alike.")
@spec_options
@mode_option
@written_as(SUFFIXES, "mermaid")
def graph(
    name: str, depth: int | None, everything: bool, unfold: bool, settings: dict[str, str],
    shape: tuple[int, ...] | None, mode: str, form: str, output: Path | None, force: bool,
) -> None:  # fmt: skip
    """Draw a network: blocks as clusters, shapes on the arrows, repeats folded.

    Without --depth blocks are opened as far as the picture stays readable, of those that are alike the first; params
    and MACs of the others stand in their boxes, for one image. GitHub draws mermaid in Markdown; SVG needs Graphviz.

    \b
    archcalc graph resnet50
    archcalc graph googlenet --depth 2 --mode train -o googlenet.svg
    """
    from archcalc.render.diagrams.layout import diagram

    if depth and everything:
        raise click.UsageError("--depth merges layers and --all shows each; give one of them")
    picture = diagram(analyze(load_with(name, settings, shape), mode=mode), depth, everything, unfold)
    render: Callable[[Diagram], str] = getattr(import_module(RENDERERS[form]), f"render_{form}")
    if output is None:
        say(render(picture))
    else:
        write(output, render(picture), force)
