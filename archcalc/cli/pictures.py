"""Pictures: `plot pareto`, `plot profile`, `plot receptive-field` and `plot compare`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from archcalc.analysis.figures import numbers
from archcalc.analysis.report import analyze
from archcalc.catalog import load_with, loaded, matching, titles
from archcalc.cli import options
from archcalc.cli.commands import Commands
from archcalc.cli.memory_options import recipe_of, recipe_options
from archcalc.cli.output import skipped, tell, writable, write
from archcalc.errors import ArchcalcError, choose
from archcalc.network_names import papers_own
from archcalc.render.pictures import SUFFIXES, Sheet, sheet
from archcalc.render.pictures.comparison import USUAL
from archcalc.spec.binding import GivenInput


@click.group(cls=Commands)
def plot() -> None:
    """Draw charts of networks as SVG, PNG or PDF, by the suffix of the file.

    Needs matplotlib: pip install 'archcalc[plot]'.

    \b
    archcalc plot pareto -o pareto.svg
    archcalc plot profile resnet50 -o resnet50.png --dark
    archcalc plot memory resnet50 --batch 32 -o memory.svg
    archcalc plot receptive-field vgg16 resnet50 -o fields.pdf
    archcalc plot compare vgg16 resnet50 densenet121 -o compare.svg
    """


def read_picture(ctx: click.Context, param: click.Parameter, value: Path) -> Path:
    """Check before any work that the file has the suffix of a picture and can be written, and import matplotlib."""
    options.known_suffix(value, SUFFIXES)
    writable(value, ctx.params["force"])
    with sheet(1, 1):
        return value


def read_figures(ctx: click.Context, param: click.Parameter, value: str) -> list[str]:
    """Read `params,macs` as keys of figures, without repeats."""
    names = list(dict.fromkeys(options.read_columns(ctx, param, value)))
    for name in names:
        choose("column", name, numbers())
    return names or list(USUAL)


picture_options = options.together(
    click.option("-o", "--output", type=click.Path(path_type=Path), required=True, metavar="FILE",
                 help=f"Write the picture to this file ({', '.join(SUFFIXES)}).", callback=read_picture),
    click.option("--dark", is_flag=True, help="Draw light on dark, e.g. for dark slides."),
    options.force_option,
)  # fmt: skip


def _draw(
    draw: Callable[[Sheet], Sequence[str] | None], size: tuple[float, float], output: Path, dark: bool, force: bool
) -> None:
    """Draw on an empty sheet, with size in inches, and write the file; print the names that `draw` has no room for."""
    with sheet(*size, dark) as page:
        unnamed = draw(page)
        write(output, page.save(output.suffix.lower()), force)
    if unnamed:
        tell(f"no room for these names: {', '.join(unnamed)}")


@plot.command(short_help="Draw accuracy against MACs and params.")
@click.argument("names", nargs=-1, type=options.NetworkName(), metavar="[NAME]...")
@picture_options
def pareto(names: tuple[str, ...], output: Path, dark: bool, force: bool) -> None:
    """Draw published ImageNet accuracy against MACs; the area of a ball is the params (Canziani et al. 2016).

    Without NAME it shows the papers' own networks; NAME is a network or a pattern such as 'torchvision/*' or '*'.
    Accuracies are for a single crop of the size of the network's input; the picture names their sources. Networks
    without one are omitted.

    \b
    archcalc plot pareto -o pareto.svg
    archcalc plot pareto 'torchvision/*' -o pareto.png --dark
    """
    from archcalc.comparing.accuracy import DATASET, published_points
    from archcalc.render.pictures import pareto as picture

    chosen = matching(names, broken=skipped)
    points, without = published_points(chosen if names else papers_own(chosen))
    if without:
        listed = f": {', '.join(without)}" if names else f": {len(without)} networks (name networks to see which)"
        tell(f"omitted, since no top-1 for a single crop is published{listed}")
    if not points:
        raise ArchcalcError(f"nothing to draw: no top-1 on {DATASET} for a single crop; see `archcalc show NAME`")
    _draw(partial(picture.draw, points=points), picture.SIZE, output, dark, force)


@plot.command(short_help="Draw params, MACs and activations along depth.")
@click.argument("name", type=options.NetworkName())
@options.figure_options
@options.depth_option
@picture_options
def profile(
    name: str, settings: dict[str, str], shape: GivenInput | None, batch: int, dtype: str, mode: str,
    depth: int | None, output: Path, dark: bool, force: bool,
) -> None:  # fmt: skip
    """Draw params, MACs and activations of a network from input to output, with one bar per layer with weights.

    \b
    archcalc plot profile resnet50 -o resnet50.svg
    archcalc plot profile googlenet --depth 1 --batch 32 -o googlenet.png
    """
    from archcalc.render.pictures import profile as picture

    report = analyze(load_with(name, settings, shape), batch, dtype, mode)
    _draw(partial(picture.draw, report=report, depth=depth), picture.SIZE, output, dark, force)


@plot.command(short_help="Draw the memory over a training step or an inference.")
@click.argument("name", type=options.NetworkName())
@options.spec_options
@options.batch_option
@recipe_options
@picture_options
def memory(
    name: str, settings: dict[str, str], shape: GivenInput | None, batch: int, output: Path, dark: bool,
    force: bool, **recipe: Any,
) -> None:  # fmt: skip
    """Draw the memory over a training step or an inference: tensors by kind, phases, and the peak.

    \b
    archcalc plot memory resnet50 --batch 32 -o memory.svg
    """
    from archcalc.analysis.needed_memory import memory_needs
    from archcalc.render.pictures import memory as picture

    graph = load_with(name, settings, shape)
    needs = memory_needs(graph, recipe_of(graph, **recipe), batch, recipe["card"])
    _draw(partial(picture.draw, needs=needs), picture.SIZE, output, dark, force)


@plot.command("receptive-field", short_help="Draw the receptive field along depth.")
@click.argument("names", nargs=-1, required=True, type=options.NetworkName(), metavar="NAME...")
@options.spec_options
@picture_options
def receptive_field(
    names: tuple[str, ...], settings: dict[str, str], shape: GivenInput | None, output: Path, dark: bool,
    force: bool,
) -> None:  # fmt: skip
    """Draw how much of the input one position sees, layer by layer, and the size of the input.

    \b
    archcalc plot receptive-field vgg16 resnet50 googlenet -o fields.svg
    """
    from archcalc.render.pictures import fields as picture

    found = picture.few(matching(names))
    called = titles(found)
    reports = [analyze(load_with(name, settings, shape, called[name])) for name in found]
    _draw(partial(picture.draw, reports=reports), picture.SIZE, output, dark, force)


@plot.command(short_help="Draw totals of networks side by side.")
@click.argument("names", nargs=-1, type=options.NetworkName(), metavar="NAME...")
@options.family_option
@click.option("--columns", "figures", callback=read_figures, default=",".join(USUAL), show_default=True,
              metavar="NAMES", help=f"Draw a panel for each of these figures: {', '.join(numbers())}.")  # fmt: skip
@click.option("--relative", is_flag=True, help="Draw ratios to the first network.")
@options.network_options
@picture_options
def compare(
    names: tuple[str, ...], family: str | None, figures: list[str], relative: bool, settings: dict[str, str],
    shape: GivenInput | None, output: Path, dark: bool, force: bool, **conditions: Any,
) -> None:  # fmt: skip
    """Draw totals of networks side by side, with one panel per figure and one bar per network.

    \b
    archcalc plot compare vgg16 resnet50 densenet121 -o compare.svg
    archcalc plot compare 'resnet*' --relative --columns macs,flops -o resnets.png
    """
    from archcalc.render.pictures import comparison as picture

    if not names and family is None:
        raise click.UsageError("name networks, e.g. archcalc plot compare resnet50 vgg16, or use --family")
    options.require_training(figures, conditions["mode"])
    if options.given("convention") and not any(figure.endswith("flops") for figure in figures):
        raise click.UsageError("--convention applies to FLOPs; draw them with --columns flops")
    graphs = loaded(names, family, settings, shape, skipped)
    reports = [options.analyzed(graph, **conditions) for graph in graphs]
    draw = partial(picture.draw, reports=reports, figures=figures, relative=relative)
    _draw(draw, picture.size(len(reports), len(figures)), output, dark, force)
