"""The command `export`: write tables of many networks, or source code."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import click

from archcalc.auditing.verdicts import audit
from archcalc.catalog import load_with, loaded, matching, named, titles
from archcalc.cli import paper_options
from archcalc.cli.commands import command
from archcalc.cli.comparing import side_by_side
from archcalc.cli.listing import row
from archcalc.cli.networks import facts_of, summary_of
from archcalc.cli.options import (
    STEP_OPTIONS,
    NetworkName,
    analyzed,
    family_option,
    given,
    network_options,
    row_options,
    together,
    written,
    written_as,
)
from archcalc.cli.output import deliver_all, document, each, put, skipped, writable, write
from archcalc.cli.proofs import of_each
from archcalc.cli.table_choice import NAMES, table_options
from archcalc.errors import ArchcalcError
from archcalc.importers.sources import source_of
from archcalc.render import formats
from archcalc.render.formats import FORMATS
from archcalc.render.table import Table
from archcalc.spec.equal_calls import kept

SOURCE = "pytorch"  # the only format that is not a table
SUFFIXES = {**formats.SUFFIXES, ".py": SOURCE}
GRAPH = ("settings", "shape")
CONDITIONS = ("batch", "dtype", "mode", "convention", *STEP_OPTIONS)
ANALYSIS = (*GRAPH, *CONDITIONS)
ROWS = ("depth", "everything", "fold_bn", "brief")
SPEC = re.compile(r"(?:.*/)?([^/]*)\.(?:ya?ml|cfg|prototxt|json)(?::(.+))?")

Options = Mapping[str, Any]


class Kind(NamedTuple):
    """A command whose tables can be exported: its tables, the options that change them, whether each network has one.

    `alone`: a table of a single network makes sense. `needed`: names are required; without it no names means all.
    """

    tables: Callable[[Sequence[str], Options], Sequence[Table]]
    options: tuple[str, ...] = ()
    each: bool = False
    alone: bool = True
    needed: bool = True


def _one_by_one(table: Callable[..., Table], names: Sequence[str], options: Options) -> Sequence[Table]:
    called = titles(names)
    return each(names, lambda name: table(name, called[name], **options))


def _facts(names: Sequence[str], options: Options) -> Sequence[Table]:
    return _one_by_one(facts_of, names, {key: options[key] for key in GRAPH})


@kept()
def _audit(names: Sequence[str], options: Options) -> Sequence[Table]:
    from archcalc.render.tables.audit import audit_table

    settings, shape = options["settings"], options["shape"]
    verdicts, broken = of_each(names, lambda name, title: audit(load_with(name, settings, shape, title)))
    for text in broken:
        skipped(text)
    return [audit_table(verdicts)]


def _list(names: Sequence[str], options: Options) -> Sequence[Table]:
    from archcalc.catalog import listed
    from archcalc.render.tables.list import listing

    own = (row(load_with(name, {}, title=title)) for name, title in titles(names).items())
    return [listing(own if names else listed(row, broken=skipped))]


@kept()
def _comparison(names: Sequence[str], options: Options) -> Sequence[Table]:
    graphs = loaded(names, None, options["settings"], options["shape"], skipped)
    conditions = {key: options[key] for key in CONDITIONS}
    reports = map(partial(analyzed, **conditions), graphs)
    return [side_by_side(reports, None, options["published"], options["every"])]


TABLES = {
    "summarize": Kind(partial(_one_by_one, summary_of), (*ANALYSIS, *ROWS, "published"), each=True),
    "compare": Kind(_comparison, (*ANALYSIS, "published"), alone=False),
    "audit": Kind(_audit, GRAPH, needed=False),
    "list": Kind(_list, alone=False, needed=False),
    "show": Kind(_facts, GRAPH, each=True),
}


@command()
@click.argument("names", nargs=-1, type=NetworkName(), metavar="[NAME]...")
@family_option
@click.option(
    "--table",
    "kind",
    type=click.Choice(list(TABLES)),
    default="summarize",
    show_default=True,
    help="Write the table of this command.",
)
@written_as(SUFFIXES, "markdown", " pytorch writes the source code of a module, not a table.")
@together(*paper_options.OPTIONS)
@click.option(
    "--into",
    type=click.Path(file_okay=False, writable=True, path_type=Path),
    metavar="FOLDER",
    help="Write one file per network to this folder.",
)
@network_options
@row_options
@table_options
def export(
    names: tuple[str, ...], family: str | None, kind: str, form: str, output: Path | None, into: Path | None,
    force: bool, **options: Any,
) -> None:  # fmt: skip
    """Write tables of one or many networks as Markdown, CSV, TSV, JSON, LaTeX, reStructuredText or HTML.

    NAME is a name as in the command of --table, or a pattern such as 'resnet*'; without names, list and audit write all
    networks. For several networks, CSV and TSV contain all rows below each other, JSON is a list, and other formats
    contain one table after another. For one network the result is that of the command itself with -o.

    CSV and TSV put an apostrophe before a text that a spreadsheet would read as a formula (it starts with = + - or @).
    Numbers stay unchanged.

    \b
    archcalc export vgg16 -o vgg16.tex
    archcalc export 'resnet*' --depth 1 --format html --into tables/
    archcalc export --table audit googlenet lenet5 -o audit.csv
    archcalc export resnet50 --format pytorch
    """
    _check_options(kind, form, bool(names or family))
    found = list(dict.fromkeys(named(names, family, skipped)))
    options["every"] = form != SOURCE and FORMATS[form].every
    if into:
        _check_into(kind, form, into)
        _write_each(found or matching((), skipped), partial(_single, kind, form, options), into, form, force)
    elif form == SOURCE:
        if len(found) > 1:
            raise click.UsageError("--format pytorch writes one file per network; use --into FOLDER for several")
        put(_single(kind, form, options, found[0]), output, force)
    else:
        several = TABLES[kind].each and (len(found) > 1 or found != list(names))
        deliver_all(TABLES[kind].tables(found, options), form, output, force, several)


def _check_options(kind: str, form: str, named: bool) -> None:
    """Raise UsageError for an option that would have no effect, and for a table that needs names."""
    if not named and (form == SOURCE or TABLES[kind].needed):
        raise click.UsageError("name networks, e.g. archcalc export vgg16 'resnet*', or use --family")
    used = GRAPH if form == SOURCE else ("kind", *TABLES[kind].options, *NAMES)
    what = "--format pytorch" if form == SOURCE else f"the table of {kind}"
    for option in written(name for name in ("kind", *ANALYSIS, *ROWS, "published", *NAMES) if name not in used):
        raise click.UsageError(f"{option} has no effect on {what}; omit it")


def _check_into(kind: str, form: str, into: Path) -> None:
    if into == Path("-"):
        raise click.UsageError("--into writes one file per network to a folder; omit it for the standard output")
    if given("output"):
        raise click.UsageError("-o writes one file for all networks, --into one file per network; use one of them")
    if form != SOURCE and not TABLES[kind].alone:
        raise click.UsageError(f"{kind} has one table for all networks; use -o FILE")


def _single(kind: str, form: str, options: Options, name: str) -> str:
    """Return the text to write for one network."""
    if form != SOURCE:
        return document(TABLES[kind].tables([name], options), form, several=False)
    from archcalc.codegen import pytorch_source

    return pytorch_source(load_with(name, options["settings"], options["shape"]))


def _write_each(names: Sequence[str], text: Callable[[str], str], folder: Path, form: str, force: bool) -> None:
    """Write one file per network after rendering all. Raises ArchcalcError if two have one path, or like `writable`."""
    suffix = next(suffix for suffix, name in SUFFIXES.items() if name == form)
    targets = {name: folder / (file_name(name) + suffix) for name in names}
    first: dict[str, str] = {}
    for name, path in targets.items():
        other = first.setdefault(path.name.casefold(), name)
        if other != name:
            raise ArchcalcError(f"{other} and {name} would both be written to {path}; export them separately")
    for path in targets.values() if folder.is_dir() else [folder]:
        writable(path, force)
    texts = each(names, text)
    folder.mkdir(exist_ok=True)
    for name, made in zip(names, texts, strict=True):
        write(targets[name], made, force)


def file_name(name: str) -> str:
    """Convert a name or path to a file name without suffix: `torchvision/resnet50` → `torchvision-resnet50`."""
    source = source_of(name)
    name = source.title if source else name
    spec = SPEC.fullmatch(name)
    return re.sub(r"[^\w.+-]+", "-", (spec[2] or spec[1]) if spec else name).strip("-.") or "network"
