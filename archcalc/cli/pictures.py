"""Pictures: `plot pareto`, `plot profile`, `plot receptive-field` and `plot compare`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from archcalc.analysis.figures import numbers
from archcalc.analysis.report import analyze
from archcalc.catalog import load_with, loaded, matching, spelled, titles
from archcalc.cli import options
from archcalc.cli.commands import Commands
from archcalc.cli.memory_options import recipe_of, recipe_options
from archcalc.cli.output import skipped, tell, writable, write
from archcalc.cli.picture_options import look_options, print_caption
from archcalc.cli.sweeps import engine_options, over_option, require_all, with_recipe
from archcalc.errors import ArchcalcError, choose, shorten
from archcalc.network_names import papers_own
from archcalc.render.pictures import SUFFIXES, Look, Sheet, sheet
from archcalc.render.pictures.comparison import USUAL
from archcalc.spec.binding import GivenInput

MOST_POINTS = 20_000


@click.group(cls=Commands)
def plot() -> None:
    """Draw charts of networks as SVG, PNG or PDF, by the suffix of the file.

    Needs matplotlib: pip install 'archcalc[plot]'.

    \b
    archcalc plot pareto -o pareto.svg
    archcalc plot profile resnet50 -o resnet50.png --dark
    archcalc plot memory resnet50 --batch 32 -o memory.svg
    archcalc plot receptive-field vgg16 resnet50 -o fields.pdf
    archcalc plot compare vgg16 resnet50 densenet121 --width one -o compare.pdf
    archcalc plot sweep vgg16 --over size=64:512:16 --columns macs,size -o sweep.svg
    """


def read_picture(ctx: click.Context, param: click.Parameter, value: Path) -> Path:
    """Check before any work that the file has the suffix of a picture and can be written, and import matplotlib."""
    options.known_suffix(value, SUFFIXES)
    writable(value, ctx.params["force"])
    with sheet((9, 9)):
        return value


def read_points(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, float]:
    """Read `NAME=TOP1` with an accuracy in percent; a name may contain `=`, too."""
    points = {}
    for value in values:
        written, _, top1 = value.rpartition("=")
        if (name := spelled(written)) in points:
            raise click.BadParameter(f"{shorten(name)} has two; write it once")
        try:
            points[name] = float(top1)
        except ValueError:
            points[name] = -1
        if not name or not 0 < points[name] <= 100:
            problem = f"{shorten(value)!r} is not a network and its accuracy in percent; write e.g. mine.yaml=76.3"
            raise click.BadParameter(problem)
    return points


def read_figures(ctx: click.Context, param: click.Parameter, value: str) -> tuple[str, ...]:
    """Read `params,macs` as keys of figures."""
    names = options.read_columns(ctx, param, value)
    for name in names:
        choose("column", name, numbers())
    return names


picture_options = options.together(
    click.option("-o", "--output", type=click.Path(path_type=Path), required=True, metavar="FILE",
                 help=f"Write the picture to this file ({', '.join(SUFFIXES)}).", callback=read_picture),
    look_options,
    click.option("--dark", is_flag=True, help="Draw light on dark, e.g. for dark slides."),
    options.force_option,
)  # fmt: skip


def _draw(
    draw: Callable[[Sheet], Sequence[str] | None], usual: tuple[float, float], output: Path, look: Look, force: bool
) -> None:
    """Draw on an empty sheet, with its usual size in inches, and write the file; print what `draw` has no room for."""
    with sheet(usual, look) as page:
        unnamed = draw(page)
        write(output, page.save(output.suffix.lower()), force)
    print_caption(look, page.said)
    if unnamed:
        tell(f"no room for these names: {', '.join(unnamed)}")


@plot.command(short_help="Draw accuracy against MACs and params.")
@click.argument("names", nargs=-1, type=options.NetworkName(), metavar="[NAME]...")
@click.option("--point", "own", multiple=True, callback=read_points, metavar="NAME=TOP1",
              help="Add a network with your top-1 accuracy in percent, e.g. mine.yaml=76.3."
                   " Can be repeated.")  # fmt: skip
@picture_options
def pareto(names: tuple[str, ...], own: dict[str, float], output: Path, look: Look, force: bool) -> None:
    """Draw published ImageNet accuracy against MACs; the area of a ball is the params (Canziani et al. 2016).

    Without NAME it shows the papers' own networks; NAME is a network, a file with `accuracy:`, or a pattern such as
    'torchvision/*' or '*'. Accuracies are for a single crop of the size of the network's input; the picture names their
    sources. Where a paper has none, such as VGG's, it shows torchvision's network of that name; other networks without
    one are omitted.

    \b
    archcalc plot pareto -o pareto.svg
    archcalc plot pareto --point mine.yaml=76.3 -o pareto.svg
    archcalc plot pareto vgg16 resnet50 mine.yaml --width one -o pareto.pdf
    archcalc plot pareto 'torchvision/*' -o pareto.png --dark
    """
    from archcalc.comparing.accuracy import DATASET, own_point, points_or_torchvisions
    from archcalc.render.pictures import pareto as picture

    chosen = matching(names, broken=skipped)
    points, without = points_or_torchvisions(chosen if names else papers_own(chosen))
    mine = [own_point(name, top1) for name, top1 in own.items()]
    points = [p for p in points if p.name not in {one.name for one in mine}] + mine
    without = [name for name in without if name not in own]
    if without:
        listed = f": {', '.join(without)}" if names else f": {len(without)} networks (name networks to see which)"
        tell(f"omitted, since no top-1 for a single crop is published{listed}")
    if not points:
        raise ArchcalcError(f"nothing to draw: no top-1 on {DATASET} for a single crop; see `archcalc show NAME`")
    _draw(partial(picture.draw, points=points), picture.SIZE, output, look, force)


@plot.command(short_help="Draw params, MACs and activations along depth.")
@click.argument("name", type=options.NetworkName())
@options.figure_options
@options.depth_option
@picture_options
def profile(
    name: str, settings: dict[str, str], shape: GivenInput | None, batch: int, dtype: str, mode: str,
    depth: int | None, output: Path, look: Look, force: bool,
) -> None:  # fmt: skip
    """Draw params, MACs and activations of a network from input to output, with one bar per layer with weights.

    \b
    archcalc plot profile resnet50 -o resnet50.svg
    archcalc plot profile googlenet --depth 1 --batch 32 -o googlenet.png
    """
    from archcalc.render.pictures import profile as picture

    report = analyze(load_with(name, settings, shape), batch, dtype, mode)
    _draw(partial(picture.draw, report=report, depth=depth), picture.SIZE, output, look, force)


@plot.command(short_help="Draw the memory over a training step or an inference.")
@click.argument("name", type=options.NetworkName())
@options.spec_options
@options.batch_option
@recipe_options
@picture_options
def memory(
    name: str, settings: dict[str, str], shape: GivenInput | None, batch: int, output: Path, look: Look,
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
    _draw(partial(picture.draw, needs=needs), picture.SIZE, output, look, force)


@plot.command("sweep", short_help="Draw two figures of many variants, and the best of them.")
@click.argument("name", type=options.NetworkName())
@over_option
@click.option("--columns", "axes", callback=options.read_columns, default="macs,activations", show_default=True,
              metavar="X,Y", help="What to draw: a figure or a name of --over along each axis.")  # fmt: skip
@engine_options
@options.network_options
@picture_options
def variants(
    name: str, over: dict[str, list[Any]], axes: tuple[str, ...], settings: dict[str, str], shape: GivenInput | None,
    output: Path, look: Look, force: bool, **conditions: Any,
) -> None:  # fmt: skip
    """Draw all combinations of some values at two figures; the line shows those that no other beats.

    Colours show the values of the first --over, if they are few.

    \b
    archcalc plot sweep resnet50 --over depths=[2,2,2,2],[3,4,6,3] --over size=96:320:32 -o variants.svg
    archcalc plot sweep vgg16 --over size=64:512:16 --columns macs,size -o vgg16.pdf --width one
    """
    from archcalc.render.pictures import variants as picture
    from archcalc.render.table import conditions_text
    from archcalc.sweeping import sweep

    if len(axes) != 2:
        raise click.UsageError("--columns needs two names, e.g. macs,activations")
    for axis in axes:
        if not all(isinstance(value, int | float) for value in over.get(axis, ())):
            raise click.UsageError(f"{shorten(axis)} has values that are no numbers; draw a figure")
    if (points := math.prod(map(len, over.values()))) > MOST_POINTS:
        raise ArchcalcError(f"{points:,} combinations are too many to draw; at most {MOST_POINTS:,}")
    options.require_training(axes, conditions["mode"])
    text = conditions_text(**{key: conditions[key] for key in ("batch", "dtype", "mode") if key not in over})
    conditions = with_recipe(conditions)
    text += f" · optimizer: {conditions['recipe'].text}" * (conditions["mode"] == "train")
    found = sweep(name, over, [key for key in axes if key not in over], settings, shape, **conditions)
    rows = list(found.rows())
    if all(row[axis] is None for row in rows for axis in axes if axis not in over):
        raise ArchcalcError(f"nothing to draw: {found.problems[0] if found.problems else 'the figures are unknown'}")
    draw = partial(picture.draw, name=found.name, axes=axes, rows=rows, by=next(iter(over)), conditions=text)
    _draw(draw, picture.SIZE, output, look, force)
    require_all(found)


@plot.command("receptive-field", short_help="Draw the receptive field along depth.")
@click.argument("names", nargs=-1, required=True, type=options.NetworkName(), metavar="NAME...")
@options.spec_options
@picture_options
def receptive_field(
    names: tuple[str, ...], settings: dict[str, str], shape: GivenInput | None, output: Path, look: Look,
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
    _draw(partial(picture.draw, reports=reports), picture.SIZE, output, look, force)


@plot.command(short_help="Draw totals of networks side by side.")
@click.argument("names", nargs=-1, type=options.NetworkName(), metavar="NAME...")
@options.family_option
@click.option("--columns", "figures", callback=read_figures, default=",".join(USUAL), show_default=True,
              metavar="NAMES", help=f"Draw a panel for each of these figures: {', '.join(numbers())}.")  # fmt: skip
@options.relative_option
@options.network_options
@picture_options
def compare(
    names: tuple[str, ...], family: str | None, figures: tuple[str, ...], against: str | None, settings: dict[str, str],
    shape: GivenInput | None, output: Path, look: Look, force: bool, **conditions: Any,
) -> None:  # fmt: skip
    """Draw totals of networks side by side, with one panel per figure and one bar per network.

    \b
    archcalc plot compare vgg16 resnet50 densenet121 -o compare.svg
    archcalc plot compare 'resnet*' --relative-to resnet18 --columns macs,flops -o resnets.png
    """
    from archcalc.render.pictures import comparison as picture

    if not names and family is None:
        raise click.UsageError("name networks, e.g. archcalc plot compare resnet50 vgg16, or use --family")
    options.require_training(figures, conditions["mode"])
    if options.given("convention") and not any(figure.endswith("flops") for figure in figures):
        raise click.UsageError("--convention applies to FLOPs; draw them with --columns flops")
    graphs = loaded(names, family, settings, shape, skipped)
    reports = [options.analyzed(graph, **conditions) for graph in graphs]
    base = choose("network", against, {report.graph.name: report for report in reports}) if against else None
    draw = partial(picture.draw, reports=reports, figures=figures, base=base)
    _draw(draw, picture.size(len(reports), len(figures), look), output, look, force)
