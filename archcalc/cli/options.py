"""Options and arguments that several commands share, and functions that read them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from archcalc.analysis.conventions import CONVENTIONS
from archcalc.analysis.cost import DTYPES
from archcalc.analysis.figures import STEP
from archcalc.analysis.optimizers import OPTIMIZERS
from archcalc.analysis.recipe import USUAL
from archcalc.analysis.report import MAX_BATCH, MODES, Report, analyze
from archcalc.catalog import matching, networks, spelled
from archcalc.cli import paper_options
from archcalc.cli.commands import after_parsing
from archcalc.cli.completion import begun, complete_families, completed
from archcalc.cli.output import NO_PAGER, writable
from archcalc.cli.progress import LINE
from archcalc.errors import ArchcalcError, Refusal, choose, shorten
from archcalc.graph.graph import Graph
from archcalc.importers.sources import TORCH
from archcalc.render.formats import SUFFIXES
from archcalc.spec.binding import GivenInput
from archcalc.spec.input_text import read_inputs

if TYPE_CHECKING:
    from pathlib import Path

_Function = TypeVar("_Function", bound=Callable[..., Any])


ROWS = "a row and its network; write e.g. 'Ours=resnet50'"  # of a paper's table


class NetworkName(click.ParamType):  # type: ignore[type-arg]  # generic only in newer versions of click
    """The name of a network in any spelling, the path of a file, `-`, or a source, with completion in the shell."""

    name = "network"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name as the catalog spells it; for one network also that of a pattern that only it matches."""
        if ctx is None or ctx.resilient_parsing:
            return value
        if param is None or param.nargs != 1:
            return spelled(value)
        name, *more = matching([value], lambda error: None)
        if more:
            hint = f"{ctx.info_name} takes one; archcalc compare '{shorten(value)}' shows all"
            raise ArchcalcError(f"{len(more) + 1} networks match {shorten(value)!r}; {hint}")
        return spelled(name)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        known = [*networks(broken=lambda error: None), TORCH]
        return begun(incomplete, known) or [CompletionItem(incomplete, type="file")]


def read_shapes(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> GivenInput | None:
    """Read the shape of the only input, or shapes as `NAME=SHAPE`."""
    try:
        return read_inputs(values)
    except Refusal as error:
        raise click.BadParameter(str(error)) from None


def run_on_values(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    """Run imported modules on real tensors while the command runs."""
    if value:
        after_parsing(ctx, _run_modules)


def _run_modules(ctx: click.Context) -> None:
    """Run modules on real tensors until the command ends. Raises UsageError without a `torch:` source."""
    names = [name for given in ctx.params.values() for name in (given if isinstance(given, tuple) else [given])]
    if not any(isinstance(name, str) and name.startswith(TORCH) for name in names):
        raise click.UsageError("--run is for torch: sources, whose code it runs on real tensors; omit it")
    from archcalc.importers.opening import on_values

    ctx.with_resource(on_values())


def refuse_scale(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    """Raise UsageError for the option by which Ultralytics selects a scale."""
    if value is not None:
        raise click.UsageError(f"write the scale after the file: FILE:{shorten(value)}, e.g. yolo11.yaml:n")


def read_settings(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """Read `name=value` pairs. Raises BadParameter for other texts, and for a name with two values."""
    settings: dict[str, str] = {}
    example = "a setting; write name=value, e.g. classes=10"
    for value in values:
        name, equals, text = value.partition("=")
        if not equals or not text.strip():
            raise click.BadParameter(f"{value[:60]!r} is not {ROWS if '--network' in param.opts else example}")
        if settings.setdefault(name.strip(), text) != text:
            raise click.BadParameter(f"{shorten(name.strip())} has two values; write it once")
    return settings


def read_names(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...]:
    """Read `size,batch` as names, without repeats."""
    names = tuple(dict.fromkeys(name for part in (value or "").split(",") if (name := part.strip())))
    if value is not None and not names:
        raise click.BadParameter("it is empty; write names with commas between them", ctx, param)
    return names


def read_columns(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...]:
    """Read `params,macs` as names of columns, in any case."""
    return read_names(ctx, param, value and value.lower())


def one_of(what: str, known: Iterable[str], short: Mapping[str, str] | None = None) -> Callable[..., Any]:
    """Return a callback that reads one of these names in any case, or a short form; a wrong one raises an error."""
    names = {name: name for name in known}
    every = names | dict(short or {})
    return lambda ctx, param, value: every.get(value.lower()) or choose(what, value, names)


def known_suffix(path: Path, suffixes: Iterable[str], otherwise: str = "") -> str:
    """Return the suffix of the file of -o in lower case. Raises BadParameter if it is unknown."""
    if path.suffix.lower() not in suffixes:
        listed = ", ".join(suffixes)
        problem = f"the suffix of {shorten(str(path))!r} is not one of {listed}{otherwise}"
        raise click.BadParameter(problem, param_hint="'-o' / '--output'")
    return path.suffix.lower()


def given(name: str) -> bool:
    """Whether the user gave this option on the command line."""
    return click.get_current_context().get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def written(names: Iterable[str]) -> Iterator[str]:
    """Yield those of some options that the user gave on the command line, as they are written: `--weight-decay`."""
    named = {param.name: param.opts[0] for param in click.get_current_context().command.params}
    return (named[name] for name in names if given(name))


def require_training(figures: Iterable[str], mode: str) -> None:
    """Raise UsageError for figures of a training step unless the mode is training."""
    for figure in figures:
        if figure in STEP and not MODES[mode]:
            raise click.UsageError(f"{figure} is a figure of training; add --mode train")


def refuse_training(options: Iterable[str], mode: str) -> None:
    """Raise UsageError if one of these options is given and the mode is not training."""
    for option in () if MODES[mode] else written(options):
        raise click.UsageError(f"{option} applies to training; use --mode train")


def analyzed(
    graph: Graph, *, batch: int, dtype: str, mode: str, convention: str, strict: bool = False, **recipe: Any
) -> Report:
    """Analyze a network as `network_options` say. Raises UsageError for options of training at inference.

    If `strict`, raises ArchcalcError for operators without a rule.
    """
    refuse_training(STEP_OPTIONS, mode)
    LINE.working(f"analyzing {graph.name}")
    report = analyze(graph, batch, dtype, mode, convention, USUAL._replace(**recipe))
    if strict and report.without_rule:
        from archcalc.render.table import without_rule_text

        raise ArchcalcError(f"{graph.name} has {without_rule_text(report.without_rule)}; omit --strict to see the rest")
    return report


def together(*options: Callable[[Any], Any]) -> Callable[[_Function], _Function]:
    """Combine several options to one decorator; help lists them in this order."""

    def decorate(function: _Function) -> _Function:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


# Options that change a network.
spec_options = together(
    click.option("--set", "settings", multiple=True, callback=read_settings, metavar="NAME=VALUE",
                 help="Set a param of the spec, e.g. classes=10. Can be repeated."),
    click.option("--input", "shape", multiple=True, callback=read_shapes, metavar="CxHxW",
                 help="Input shape, e.g. 3x299x299 or C=64,L=16000; 299 or 299x299 keeps the channels."
                      " Of several inputs NAME=CxHxW; of a torch: source also with a dtype, ids=int64:128."),
    click.option("--scale", hidden=True, expose_value=False, callback=refuse_scale),
    click.option("--run", is_flag=True, expose_value=False, callback=run_on_values,
                 help="Run a torch: source on real tensors, so that its code can look at values."),
)  # fmt: skip
mode_option = click.option("--mode", type=click.Choice(list(MODES)), default="infer", show_default=True,
                           help="train includes side outputs and dropout.")  # fmt: skip
batch_option = click.option("--batch", type=click.IntRange(1, MAX_BATCH), default=1, show_default=True,
                            help="Images per batch.")  # fmt: skip
dtype_option = click.option("--dtype", type=click.Choice(list(DTYPES)), default="float32", show_default=True)
# Options that change its figures.
figure_options = together(
    spec_options,
    batch_option,
    dtype_option,
    mode_option,
)
# What a training step computes.
STEP_OPTIONS = "optimizer", "weight_decay", "frozen"
step_options = together(
    click.option("--optimizer", default=USUAL.optimizer, show_default=True, metavar="NAME",
                 callback=one_of("optimizer", OPTIMIZERS), shell_complete=completed(OPTIMIZERS),
                 help=f"For training; one of {', '.join(OPTIMIZERS)}."),
    click.option("--weight-decay", is_flag=True, help="Train with weight decay."),
    click.option("--freeze", "frozen", multiple=True, metavar="PART",
                 help="Do not train this layer or block, e.g. stem. Can be repeated."),
)  # fmt: skip
# All of these, for commands that show FLOPs.
network_options = together(
    figure_options,
    click.option("--convention", default="all", show_default=True, metavar="NAME",
                 callback=one_of("convention", CONVENTIONS), shell_complete=completed(CONVENTIONS),
                 help=f"What FLOPs count; one of {', '.join(CONVENTIONS)}. `archcalc conventions` explains each."),
    step_options,
)  # fmt: skip
depth_option = click.option("--depth", type=click.IntRange(min=1), metavar="N",
                            help="Merge layers whose names start with the same N parts.")  # fmt: skip
brief_option = click.option("--brief", is_flag=True, help="Show only the first table, by blocks: it fits on a screen.")
published_option = click.option("--no-published", "published", is_flag=True,
                                callback=lambda ctx, param, value: not value,
                                help="Omit published figures, and do not read them.")  # fmt: skip
# Options that change the rows and parts of its table.
row_options = together(
    depth_option,
    click.option("--all", "everything", is_flag=True, help="Show every layer, also those that write nothing."),
    click.option("--fold-bn", is_flag=True, help="Fold batch normalization into the layer before it."),
    brief_option,
    published_option,
)
family_option = click.option("--family", metavar="NAME", help="Add the networks of this family, e.g. resnet.",
                             shell_complete=complete_families)  # fmt: skip
relative_option = click.option("--relative-to", "against", metavar="NETWORK",
                               help="Show ratios to this one of the networks.")  # fmt: skip
pager_option = click.option("--no-pager", is_flag=True, expose_value=False,
                            callback=lambda ctx, param, value: ctx.meta.update({NO_PAGER: value}),
                            help="Print a long text on a terminal at once, without PAGER.")  # fmt: skip
strict_option = click.option("--strict", is_flag=True, help="Fail if a figure is unknown: an operator has no rule.")
force_option = click.option("--force", is_flag=True, is_eager=True, help="Overwrite a file that already exists.")


def read_file(ctx: click.Context, param: click.Parameter, path: str | None) -> Path | None:
    """Return the file to write; None is the standard output."""
    if path is None or path == "-":
        return None
    from pathlib import Path

    return Path(path)


file_option = click.option("-o", "--output", type=click.Path(), metavar="FILE", callback=read_file, is_eager=True,
                           help="Write to this file; - is the standard output.")  # fmt: skip
# --force and -o are read before --format, which depends on both


def written_as(suffixes: Mapping[str, str], default: str, more: str = "") -> Callable[[_Function], _Function]:
    """Create the options --format, -o and --force. `suffixes` maps suffixes of files to formats.

    A file that cannot be written, or has an unknown suffix, is an error before any work starts.
    """

    def read(ctx: click.Context, param: click.Parameter, value: str | None) -> str:
        path: Path | None = ctx.params.get("output")
        if path is None:
            return value or default
        writable(path, ctx.params["force"])
        return value or suffixes[known_suffix(path, suffixes, "; change it, or use --format")]

    return together(
        click.option("--format", "form", type=click.Choice(list(dict.fromkeys(suffixes.values()))),
                     help=f"Default: by the suffix of FILE ({', '.join(suffixes)}), otherwise {default}.{more}",
                     callback=read),
        file_option,
        force_option,
        pager_option,
    )  # fmt: skip


output_options = together(written_as(SUFFIXES, "table"), *paper_options.OPTIONS)
