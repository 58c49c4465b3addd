"""The command line: options are parsed, the library is called, the result is printed; nothing is computed here.

Exit codes: 0 done, 1 a check found a difference, 2 the request or the spec is wrong.
"""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from archcalc import __version__
from archcalc.analysis import CONVENTIONS, DTYPES, MODES, analyze
from archcalc.analysis.folding import fold_batchnorm, folds
from archcalc.catalog import catalog, load_with, matching
from archcalc.errors import ArchcalcError, printable, suggest
from archcalc.published import VERDICTS, Verdict, audit
from archcalc.report import FORMATS, Table, render

_Function = TypeVar("_Function", bound=Callable[..., Any])
SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class Commands(click.Group):
    """The group of commands; a misspelt one suggests the nearest."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """The command named by the first argument."""
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            ctx.fail(f"no command {args[0][:60]!r}; {suggest(args[0], self.commands)}")
        return super().resolve_command(ctx, args)


class NetworkName(click.ParamType):  # type: ignore[type-arg]  # generic in newer clicks only
    """A network's name or a spec's path, completed in the shell."""

    name = "network"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        """Names of the catalog that begin so."""
        from click.shell_completion import CompletionItem

        names = sorted(catalog(broken=lambda error: None))
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def read_shape(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """`3x224x224` as a shape."""
    if value is None:
        return None
    if not re.fullmatch(r"[1-9][0-9]{0,9}([xX×][1-9][0-9]{0,9}){0,7}", value):
        raise click.BadParameter(f"{value[:60]!r} is not a shape; write channels x height x width, as 3x224x224")
    return tuple(int(part) for part in re.split("[xX×]", value))


def read_settings(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """`name=value` pairs."""
    settings = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not equals or not text.strip():
            raise click.BadParameter(f"{value[:60]!r} is not a setting; write name=value, as classes=10")
        settings[name.strip()] = text
    return settings


def network_options(function: _Function) -> _Function:
    """Options that say of what a network's figures are."""
    options = [
        click.option("--set", "settings", multiple=True, callback=read_settings, metavar="NAME=VALUE",
                     help="Change a param of the spec, as classes=10. Can be given again."),
        click.option("--input", "shape", callback=read_shape, metavar="CxHxW", help="Input shape, as 3x299x299."),
        click.option("--batch", type=click.IntRange(min=1), default=1, show_default=True, help="Images in a batch."),
        click.option("--dtype", type=click.Choice(list(DTYPES)), default="float32", show_default=True),
        click.option("--mode", type=click.Choice(list(MODES)), default="infer", show_default=True,
                     help="train has side outputs and dropout."),
        click.option("--convention", type=click.Choice(list(CONVENTIONS)), default="all", show_default=True,
                     help="What FLOPs count: " + "; ".join(f"{c.name}: {c.text}" for c in CONVENTIONS.values()) + "."),
    ]  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


def output_options(function: _Function) -> _Function:
    """Options that say where the result goes and in which form."""
    options = [
        click.option("--format", "form", type=click.Choice(list(FORMATS)), default="table", show_default=True),
        click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write to a file."),
        click.option("--force", is_flag=True, help="Write over a file that is there."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


@click.group(cls=Commands, context_settings=SETTINGS)
@click.version_option(__version__, package_name="archcalc")
def cli() -> None:
    """What a neural network costs: exact shapes, parameters, memory and FLOPs.

    \b
    archcalc list                    the networks it knows
    archcalc summarize vgg16         one network, layer by layer
    archcalc summarize my.yaml       your own
    """


@cli.command(short_help="One network, layer by layer.")
@click.argument("name", type=NetworkName())
@network_options
@click.option("--depth", type=click.IntRange(min=1), help="One row a block, down to this depth of its name.")
@click.option("--all", "everything", is_flag=True, help="One row a layer, those that write nothing too.")
@click.option("--fold-bn", is_flag=True, help="Batch normalization folded into the layer before it, as deployed.")
@output_options
def summarize(
    name: str, settings: dict[str, str], shape: tuple[int, ...] | None, batch: int, dtype: str, mode: str,
    convention: str, depth: int | None, everything: bool, fold_bn: bool, form: str, output: Path | None, force: bool,
) -> None:  # fmt: skip
    """Show shapes, parameters, memory and arithmetic of a network, layer by layer.

    NAME is a network of `archcalc list`, or the path of a spec, with `:network` after it if it holds several.
    CSV and JSON hold every layer; the table folds those that write nothing into the row above.

    \b
    archcalc summarize resnet50 --depth 1
    archcalc summarize googlenet --mode train --batch 32
    archcalc summarize vgg16 --set classes=10 --format markdown -o vgg16.md
    """
    from archcalc.report.summary import summarize as summary_table

    if depth and everything:
        raise click.UsageError("--depth merges layers and --all shows each; give one of them")
    if fold_bn and mode == "train":
        raise click.UsageError("--fold-bn is for inference: in training batch normalization cannot be folded")
    graph = load_with(name, settings, shape)
    gone = tuple(folds(graph)) if fold_bn else None
    report = analyze(fold_batchnorm(graph) if fold_bn else graph, batch, dtype, mode, convention)
    deliver(summary_table(report, everything or form in ("csv", "json"), depth, gone), form, output, force)


@cli.command("list", short_help="The networks archcalc knows.")
@click.option("--family", metavar="NAME", help="Only this family, as resnet.")
@output_options
def list_networks(family: str | None, form: str, output: Path | None, force: bool) -> None:
    """List the networks archcalc knows, with their parameters and MACs at inference.

    \b
    archcalc list --family resnet
    archcalc list --format json
    """
    from archcalc.report.listing import listing

    deliver(listing(family, broken=lambda error: click.echo(f"passed over: {error}", err=True)), form, output, force)


@cli.command(short_help="What is known of a network.")
@click.argument("name", type=NetworkName())
@output_options
def show(name: str, form: str, output: Path | None, force: bool) -> None:
    """Show paper, params, training recipe, accuracies and published figures of a network.

    \b
    archcalc show resnet50
    """
    from archcalc.report.about import about_network

    deliver(about_network(load_with(name, {})), form, output, force)


@cli.command("audit", short_help="Published figures, and whether they are right.")
@click.argument("names", nargs=-1, type=NetworkName(), metavar="[NAME]...")
@click.option(
    "--only",
    multiple=True,
    type=click.Choice(VERDICTS),
    metavar="VERDICT",
    help=f"Show these verdicts only: {', '.join(VERDICTS)}. Can be given again.",
)
@output_options
def audit_networks(
    names: tuple[str, ...], only: tuple[str, ...], form: str, output: Path | None, force: bool
) -> None:  # fmt: skip
    """Hold published figures against computed ones: all, or those of the networks named, as resnet50 or 'resnet*'.

    A figure is exact, rounds or truncates to what is printed, is explained by another accounting that is computed, or
    is contradicted. Exit code 1 says that a figure is not reproduced and the spec gives no reason, that it gives one
    for a figure that is, or that a spec could not be read.

    \b
    archcalc audit googlenet
    archcalc audit --only contradicted
    archcalc audit --format json
    """
    from archcalc.report.verdicts import audit_table

    broken: dict[str, ArchcalcError] = {}
    found = {name: audited(name, names, broken) for name in matching(names, lambda e: broken.setdefault(str(e), e))}
    verdicts = {name: judged for name, judged in found.items() if judged is not None}
    deliver(audit_table(verdicts, only), form, output, force)
    for text in broken:
        click.echo(f"passed over: {text}", err=True)
    sys.exit(int(bool(broken) or not all(verdict.holds for judged in verdicts.values() for verdict in judged)))


def audited(name: str, asked: tuple[str, ...], broken: dict[str, ArchcalcError]) -> list[Verdict] | None:
    """The verdicts on a network; one that nobody asked for by name and that cannot be read goes to `broken`."""
    try:
        return audit(load_with(name, {}))
    except ArchcalcError as error:
        if name in asked:
            raise
        broken.setdefault(str(error), error)
        return None


@cli.command("validate", short_help="The figures against PyTorch.")
@click.argument("names", nargs=-1, type=NetworkName(), metavar="[NAME]...")
@click.option("--all", "everything", is_flag=True, help="Every network that archcalc knows.")
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda", "meta"]),
    default="auto",
    show_default=True,
    help="auto is CUDA where it is there, else the CPU; meta has shapes without values.",
)
@click.option("--batch", type=click.IntRange(min=1), default=2, show_default=True, help="Images in the batch.")
@click.option("--dtype", type=click.Choice(list(DTYPES)), default="float32", show_default=True)
@click.option("--fold-bn", is_flag=True, help="With batch normalization folded, and that both compute the same.")
@click.option("--verbose", is_flag=True, help="A row a check, not a network; and what PyTorch's counter ignores.")
@output_options
def validate_networks(
    names: tuple[str, ...], everything: bool, device: str, batch: int, dtype: str, fold_bn: bool, verbose: bool,
    form: str, output: Path | None, force: bool,
) -> None:  # fmt: skip
    """Build networks in PyTorch, run them forward and backward, and compare every layer's figures.

    Output shapes, weights, buffers, MACs and the bytes that backward keeps. NAME may be a pattern, as 'resnet*'. Exit
    code 1 says that a figure differs, or that a network could not be run. Ctrl-C leaves a report of what was done.

    \b
    archcalc validate resnet50
    archcalc validate --all --device meta
    """
    if bool(names) == everything:
        raise click.UsageError("name networks, or give --all")
    from archcalc.report.validation import validation_table

    torch = torch_side()
    done, stopped = run_each(
        matching(names), lambda name: torch.validate_or_say(load_with(name, {}), device, batch, dtype, fold_bn)
    )
    ignored = {made.network: torch.ignored(load_with(made.network, {})) for made in done} if verbose else {}
    deliver(validation_table(done, verbose or form in ("csv", "json"), ignored), form, output, force)
    for validation in done:
        if validation.differences or validation.problem:
            click.echo(f"{validation.network}: {validation.problem or validation.differences[0]}", err=True)
    sys.exit(130 if stopped else int(any(validation.failed for validation in done)))


def torch_side() -> Any:
    """The module that compares networks with PyTorch. Raises ArchcalcError where PyTorch is missing."""
    try:
        from archcalc.pytorch import validate
    except ModuleNotFoundError as error:
        raise ArchcalcError(str(error)) from None
    return sys.modules[validate.__module__]


def run_each(names: list[str], work: Callable[[str], Any]) -> tuple[list[Any], bool]:
    """The results for each name, with a bar and the time left on a terminal; and whether Ctrl-C came between."""
    done: list[Any] = []
    watched = sys.stderr is not None and sys.stderr.isatty()
    bar = click.progressbar(names, file=sys.stderr, show_pos=True, item_show_func=lambda name: name or "")
    try:
        if watched:
            with bar:
                done.extend(map(work, bar))
        else:
            done.extend(map(work, names))
    except KeyboardInterrupt:
        return done, True
    return done, False


@cli.command(short_help="The operators of the spec language.")
@click.argument("name", required=False)
@output_options
def ops(name: str | None, form: str, output: Path | None, force: bool) -> None:
    """List the operators of the spec language, or tell all of one.

    \b
    archcalc ops
    archcalc ops conv
    """
    from archcalc.report.operators import operator_help, operators

    deliver(operator_help(name) if name else operators(), form, output, force)


@cli.command(short_help="What is wrong or unused in a spec.")
@click.argument("file", type=click.Path())
def check(file: str) -> None:
    """Read a spec, expand every network in it, and say what is wrong or left unused.

    \b
    archcalc check specs/vgg.yaml
    """
    from archcalc.check import check_spec

    unused, networks = check_spec(file)
    for line in unused:
        click.echo(line, err=True)
    say(f"{printable(file)}: {len(networks)} network{'s' if len(networks) != 1 else ''}: {', '.join(networks)}\n")
    sys.exit(1 if unused else 0)


def deliver(table: Table, form: str, output: Path | None, force: bool) -> None:
    """Print the table, or write it to a file."""
    if output is None:
        say(render(table, form, *screen()))
    else:
        write(output, render(table, form), force)


def screen() -> tuple[int | None, bool]:
    """Columns to fill (COLUMNS, or the terminal's; None: no limit) and whether colours are wanted."""
    terminal = sys.stdout is not None and sys.stdout.isatty()
    columns = os.environ.get("COLUMNS", "")
    if columns.isascii() and columns.isdigit() and columns.strip("0"):
        width: int | None = int(columns[-5:] if len(columns) < 6 else "99999")
    else:
        width = os.get_terminal_size().columns if terminal else None
    return width, terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def say(text: str) -> None:
    """Print to the standard output; a reader who has seen enough and closed it is no error.

    Raises ArchcalcError where the output takes no more.
    """
    if sys.stdout is None:
        raise ArchcalcError("the standard output is closed")
    try:
        click.echo(text, nl=False)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise ArchcalcError(f"cannot write to the standard output: {error.strerror}") from None


def write(path: Path, text: str, force: bool) -> None:
    """Write a file whole or not at all. Raises ArchcalcError if it is there (unless `force`) or cannot be written."""
    import tempfile  # only -o needs it

    target = Path(os.path.realpath(path))  # what a link points to is written over, not the link
    there = os.path.lexists(path)
    if os.path.isdir(target):
        raise ArchcalcError(f"{path} is a directory; name a file in it")
    if os.path.exists(target) and not os.path.isfile(target):
        raise ArchcalcError(f"{path} is not a regular file; leave -o out to write to the standard output")
    if there and not force:
        raise ArchcalcError(f"{path} is there already; --force writes over it")
    if os.path.exists(target) and not os.access(target, os.W_OK):
        raise ArchcalcError(f"cannot write {path}: it is read-only")
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".archcalc-") as folder:
            fresh = Path(folder) / "fresh"
            fresh.write_bytes(text.encode("utf-8", "backslashreplace"))
            if os.path.exists(target):
                fresh.chmod(target.stat().st_mode)
            os.replace(fresh, target)
    except OSError as error:
        raise ArchcalcError(f"cannot write {path}: {error.strerror}") from None


def main() -> NoReturn:
    """Run the command line; one clear error and exit code 2 for a wrong request."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a sign that the terminal lacks is written out, and no error
            stream.reconfigure(errors="backslashreplace")
    try:
        cli.main(standalone_mode=False)
        code = 0
    except click.exceptions.Exit as stop:
        code = stop.exit_code
    except click.ClickException as error:
        error.show()
        code = 2
    except click.Abort:
        click.echo("stopped", err=True)
        code = 130
    except ArchcalcError as error:
        click.echo(f"error: {error}", err=True)
        code = 2
    except OSError as error:  # the standard output is full, under click's own --help
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        click.echo(f"error: {error.strerror}", err=True)
        code = 2
    sys.exit(code)
