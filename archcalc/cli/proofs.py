"""Commands that check figures: `audit` (against published figures) and `validate` (against PyTorch)."""

from __future__ import annotations

import gc
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeVar

import click

from archcalc.analysis.report import MAX_BATCH
from archcalc.auditing.verdicts import VERDICTS, audit
from archcalc.catalog import load_with, matching, titles
from archcalc.cli.commands import command
from archcalc.cli.memory_options import TRAINING, recipe_of, training_options
from archcalc.cli.options import NetworkName, dtype_option, given, output_options, read_settings, spec_options, written
from archcalc.cli.output import deliver, each, run_each, skipped, tell
from archcalc.cli.papers import audit_table_file, is_table
from archcalc.cli.signals import uninterrupted
from archcalc.cli.table_choice import require_columns, table_options
from archcalc.errors import ArchcalcError
from archcalc.graph.graph import Graph
from archcalc.importers.opening import ON_VALUES
from archcalc.importers.sources import TorchSource, source_of
from archcalc.render.formats import FORMATS
from archcalc.render.table import Table
from archcalc.spec.binding import GivenInput
from archcalc.spec.equal_calls import kept

_Made = TypeVar("_Made")


@command("audit")
@click.argument("names", nargs=-1, type=NetworkName(), metavar="[NAME]...")
@click.option("--only", multiple=True, type=click.Choice(VERDICTS), metavar="VERDICT",
              help=f"Show only this verdict: {', '.join(VERDICTS)}. Can be repeated.")  # fmt: skip
@click.option(
    "--network",
    "given",
    multiple=True,
    callback=read_settings,
    metavar="ROW=NAME",
    help="The network of a row of the table, e.g. 'Ours=my.yaml'. Can be repeated.",
)
@click.option("--search", is_flag=True, help="Find networks of rows without a known name by their figures.")
@spec_options
@table_options
@output_options
@kept()
def audit_networks(
    names: tuple[str, ...], only: tuple[str, ...], given: dict[str, str], search: bool, settings: dict[str, str],
    shape: GivenInput | None, form: str, output: Path | None, force: bool,
) -> None:  # fmt: skip
    """Check published figures against computed ones. NAME is a network or a pattern such as 'resnet*'; without it: all.

    NAME may also be a file with a paper's table (.csv, .tsv, .md). Each row's network is found by its name; each figure
    says which convention, input and unit gives its digits. The exit code is 1 if a figure is contradicted.

    A figure is exact, matches when rounded (rounds) or cut off (truncates), is within a printed bound, is explained by
    another accounting that is computed, or is contradicted. The table shows how many digits a verdict rests on. The
    exit code is 1 if a figure is contradicted and the spec gives no reason, if the spec gives a reason but the figure
    is not contradicted, if an accounting does not yield its figure, or if a spec cannot be read. What is published
    holds for the network as it is: with --set or --input there is nothing to check.

    \b
    archcalc audit googlenet
    archcalc audit --only contradicted --format json
    archcalc audit paper.csv
    archcalc audit paper.csv --network 'Ours=resnet50'
    """
    from archcalc.render.tables.audit import COLUMNS, audit_table

    if any(map(is_table, names)):
        if len(names) > 1:
            raise click.UsageError("audit one table at a time, without other names")
        for option in written(("settings", "shape")):
            raise click.UsageError(f"{option} is for networks; write the input of a row into a column of the table")
        audit_table_file(names[0], given, search, only, form, output, force)
    for option in written(("given", "search")):
        raise click.UsageError(f"{option} is for a table such as paper.csv")
    require_columns(COLUMNS)
    verdicts, broken = of_each(names, lambda name, title: audit(load_with(name, settings, shape, title)))
    deliver(audit_table(verdicts, only), form, output, force)
    for text in broken:
        skipped(text)
    sys.exit(int(bool(broken) or not all(verdict.holds for judged in verdicts.values() for verdict in judged)))


def of_each(names: Sequence[str], work: Callable[[str, str], _Made]) -> tuple[dict[str, _Made], dict[str, None]]:
    """Return the results of `work(name, title)` by title, and the errors of networks that are not in `names`."""
    made, broken = dict[str, _Made](), dict[str, None]()

    def one(named: tuple[str, str]) -> None:
        name, title = named
        try:
            made[title] = work(name, title)
        except ArchcalcError as error:  # one broken spec does not stop the others
            if name in names:
                raise
            broken[str(error)] = None

    found = titles(matching(names, lambda error: broken.setdefault(str(error))))
    each(list(found.items()), one, itemgetter(1))
    return made, broken


@command("validate")
@click.argument("names", nargs=-1, type=NetworkName(), metavar="[NAME]...")
@click.option("--all", "everything", is_flag=True, help="Validate every network that archcalc knows.")
@spec_options
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda", "meta"]),
    default="auto",
    show_default=True,
    help="auto: CUDA if available, otherwise the CPU; meta: shapes without values.",
)
@click.option("--batch", type=click.IntRange(1, MAX_BATCH), default=2, show_default=True, help="Images per batch.")
@dtype_option
@click.option("--fold-bn", is_flag=True, help="Fold batch normalization; check that both networks compute the same.")
@click.option("--source", is_flag=True, help="Validate the source of export --format pytorch, on meta.")
@click.option(
    "--memory", is_flag=True, help="Validate the memory of inference and three training steps, phase by phase."
)
@training_options
@click.option("--verbose", is_flag=True, help="Show all checks, and the FLOPs that PyTorch's counter omits.")
@table_options
@output_options
def validate_networks(
    names: tuple[str, ...], settings: dict[str, str], shape: GivenInput | None, verbose: bool, form: str,
    output: Path | None, force: bool, **asked: Any,
) -> None:  # fmt: skip
    """Build networks in PyTorch, run them forward and backward, and compare every layer's figures.

    The figures are output shapes, weights, buffers, MACs, bytes written and bytes kept for backward. NAME may be a
    pattern such as 'resnet*'. With --memory they are the bytes of each phase of training; the options from --mode to
    --master-weights describe it. The exit code is 1 if a figure differs or a network cannot run. After Ctrl-C the
    report contains the networks done so far.

    A torch: source is compared as a whole with its own module: params, the MACs of PyTorch's counter, and bytes kept
    for backward. With --source, --memory or --fold-bn archcalc's build of its graph is validated.

    \b
    archcalc validate resnet50
    archcalc validate --all --device meta
    archcalc validate my.yaml --source
    archcalc validate resnet20 --memory --optimizer adam --device cpu
    """
    _check_request(names, **asked)
    torch, start = torch_side(), time.perf_counter()
    graphs, broken = of_each(names, lambda name, title: load_with(name, settings, shape, title))
    prove = _prover(torch, graphs, **asked)
    own = {} if any(asked[key] for key in ("source", "memory", "fold_bn")) else _modules(names, shape, asked["batch"])
    done, stopped = run_each(list(graphs), lambda title: own.get(title, prove)(graphs[title]))
    deliver(_proofs(done, form, verbose, time.perf_counter() - start), form, output, force)
    report_problems(done if output or form != "table" else [])  # otherwise the table shows them
    if stopped:
        tell(f"stopped after {len(done)} of {len(graphs)} networks")
    for text in broken:
        skipped(text)
    sys.exit(130 if stopped else int(bool(broken) or any(made.failed for made in done)))


def _check_request(
    names: tuple[str, ...], *, everything: bool, device: str, fold_bn: bool, source: bool, memory: bool, **_: Any
) -> None:
    """Raise UsageError for options that exclude each other, ArchcalcError for unknown columns."""
    from archcalc.render.tables.validate import CHECK_COLUMNS, NETWORK_COLUMNS, PHASE_COLUMNS

    require_columns(NETWORK_COLUMNS, PHASE_COLUMNS if memory else CHECK_COLUMNS)
    if bool(names) == everything:
        raise click.UsageError("name networks or use --all, not both")
    if source and any(map(given, ("device", "batch", "dtype", "fold_bn", "memory"))):
        raise click.UsageError(
            "--source runs on meta, without values; omit --device, --batch, --dtype, --fold-bn and --memory"
        )
    if memory and fold_bn:
        raise click.UsageError("--memory validates the network as it is trained; omit --fold-bn")
    if memory and device == "meta":
        raise click.UsageError("--memory needs a device with memory; use --device cpu or --device cuda")
    for option in written(() if memory else ("mode", "amp", *TRAINING)):
        raise click.UsageError(f"{option} says how a network is trained; add --memory")


def _prover(
    torch: Any, graphs: Mapping[str, Graph], *, everything: bool, device: str, batch: int, dtype: str, fold_bn: bool,
    source: bool, memory: bool, **training: Any,
) -> Callable[[Graph], Any]:  # fmt: skip
    """Return the function that validates a network as the options ask."""
    if source:
        from archcalc.codegen import pytorch_source

        return partial(torch.source_proof.source_or_say, write=pytorch_source)
    if memory:
        where = {"device": torch.device.pick(device), "dtype": dtype, "card": None}
        recipes = {title: recipe_of(graph, **training, **where) for title, graph in graphs.items()}
        return partial(torch.memory_validation.memory_or_say, recipes=recipes, batch=batch)
    return partial(torch.validation.validate_or_say, device=device, batch=batch, dtype=dtype, folded=fold_bn)


def _modules(names: Sequence[str], shape: GivenInput | None, batch: int) -> dict[str, Callable[[Graph], Any]]:
    """By title, the functions that validate imported modules: against these themselves, on meta or with --run.

    Raises UsageError for options that say otherwise.
    """
    from archcalc.importers.torch.objects import runnable
    from archcalc.pytorch.import_validation import import_or_say

    run = ON_VALUES.get()
    device = "cpu" if run else "meta"
    sources = {title: source_of(name) for name, title in titles(matching(names, skipped)).items()}
    found = {title: source for title, source in sources.items() if isinstance(source, TorchSource)}
    for option in written(("device", "dtype") if found else ()):
        raise click.UsageError(f"a torch: source is validated on {device} in its own dtype; omit {option}")
    return {
        title: partial(import_or_say, made=partial(runnable, own, shape, run), batch=batch, device=device)
        for title, own in found.items()
    }


def _proofs(done: Sequence[Any], form: str, verbose: bool, seconds: float) -> Table:
    from archcalc.render.tables.validate import checks_table, phases_table, validation_table

    if form in ("csv", "tsv"):
        return phases_table(done) if any(made.phases for made in done) else checks_table(done)
    return validation_table(done, verbose or FORMATS[form].every, seconds)


def report_problems(done: Iterable[Any]) -> None:
    """Print for each network that failed why it cannot run, or its first difference."""
    from archcalc.render.tables.validate import difference_text

    for made in done:
        if made.problem or made.differences:
            tell(f"{made.network}: {made.problem or difference_text(made.differences[0])}")


def torch_side() -> Any:
    """Import the package that compares networks with PyTorch. Raises ArchcalcError if PyTorch cannot be imported."""
    try:
        with uninterrupted(signal.SIGINT):  # PyTorch's import would lose Ctrl-C, or abort
            from archcalc import pytorch
        gc.enable()
    except ImportError as error:
        if error.name == "torch":
            raise ArchcalcError(str(error)) from None
        raise ArchcalcError(f"PyTorch is installed, but cannot be imported: {error}") from None
    return pytorch
