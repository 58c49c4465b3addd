"""The command `graph`: draw a network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from archcalc.analysis.report import analyze
from archcalc.catalog import load_with
from archcalc.cli.commands import command
from archcalc.cli.options import NetworkName, mode_option, spec_options, written, written_as
from archcalc.cli.output import put, tell, write
from archcalc.cli.picture_options import PRINTED, look_options, print_caption
from archcalc.render.pictures import Look
from archcalc.spec.binding import GivenInput

if TYPE_CHECKING:
    from archcalc.render.diagrams.layout import Diagram

SUFFIXES = {
    ".mmd": "mermaid", ".mermaid": "mermaid", ".dot": "dot", ".gv": "dot", ".svg": "svg", ".png": "png", ".pdf": "pdf",
}  # fmt: skip
READABLE = 5  # points; smaller letters are too small to print


@command()
@click.argument("name", type=NetworkName())
@click.option("--depth", type=click.IntRange(min=1), metavar="N", help="Draw blocks of N name parts as one box.")
@click.option("--all", "everything", is_flag=True, help="Draw every layer, also those that write nothing.")
@click.option("--unfold", is_flag=True, help="Draw equal neighbours one by one.")
@click.option("--direction", type=click.Choice(["TB", "LR"], case_sensitive=False), default="TB", show_default=True,
              help="From top to bottom, or from left to right.")  # fmt: skip
@spec_options
@mode_option
@written_as(SUFFIXES, "mermaid")
@look_options
def graph(
    name: str, depth: int | None, everything: bool, unfold: bool, direction: str, settings: dict[str, str],
    shape: GivenInput | None, mode: str, form: str, output: Path | None, force: bool, look: Look,
) -> None:  # fmt: skip
    """Draw a network: blocks as clusters, shapes on the arrows, equal neighbours once.

    Without --depth blocks are opened as long as the picture stays readable; of similar blocks only the first. Boxes of
    closed blocks show their params and MACs for one image. GitHub draws Mermaid in Markdown. SVG, PNG and PDF need
    pip install 'archcalc[plot]'; --width and --height are the most that they take.

    \b
    archcalc graph resnet50
    archcalc graph googlenet --depth 2 --mode train -o googlenet.svg
    archcalc graph resnet18 --depth 1 --direction LR --width two -o resnet18.pdf
    """
    from archcalc.render.diagrams.layout import diagram

    if depth and everything:
        raise click.UsageError("--depth merges layers and --all shows each layer; use one of them")
    for option in written(PRINTED) if form == "mermaid" else ():
        raise click.UsageError(f"{option} has no effect on Mermaid; omit it, or use --format svg, png, pdf or dot")
    if form in ("png", "pdf") and output is None:
        raise click.UsageError(f"--format {form} needs -o FILE")
    picture = diagram(analyze(load_with(name, settings, shape), mode=mode), depth, everything, unfold)
    if form == "mermaid":
        from archcalc.render.diagrams.mermaid import render_mermaid

        put(render_mermaid(picture, look, direction), output, force)
    else:
        _draw(picture, look, direction, form, output, force)


def _draw(picture: Diagram, look: Look, direction: str, form: str, output: Path | None, force: bool) -> None:
    """Write a diagram as DOT, or draw it; say if its letters become too small."""
    from archcalc.render.diagrams.dot import NORMAL, SMALL, render_dot, size_of
    from archcalc.render.pictures.graphviz import draw_dot
    from archcalc.render.pictures.sheets import FINE

    text = render_dot(picture, look, direction, FINE if form == "png" and (look.width or look.height) else 0)
    if form == "dot":
        put(text, output, force)
        return
    drawn, natural = draw_dot(text, form)
    if output:
        write(output, drawn, force)
    else:
        put(drawn.decode(), output, force)
    print_caption(look, " · ".join(picture.title))
    scale = min(1, *(most / inches for most, inches in zip(size_of(look), natural, strict=True)))
    smallest = scale * SMALL / NORMAL * (look.letters or NORMAL)
    if smallest < READABLE:
        hint = "use a smaller --depth, another --direction, or a larger --width or --height"
        tell(f"the smallest letters have {smallest:.1f} points; {hint}")
