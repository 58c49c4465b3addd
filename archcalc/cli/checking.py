"""The command `check`: find errors in specs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import click

from archcalc.catalog import specs_in
from archcalc.cli.commands import command
from archcalc.cli.options import spec_options, written
from archcalc.cli.output import run_each, say, tell
from archcalc.errors import ArchcalcError, SpecError, counted, printable
from archcalc.spec.binding import GivenInput


class Checked(NamedTuple):
    """What checking a file found: its networks, remarks on each, and errors."""

    file: str
    networks: Sequence[str]
    remarks: Sequence[str]
    errors: Sequence[ArchcalcError]


@command()
@click.argument("paths", nargs=-1, type=click.Path(), metavar="[FILE]...")
@click.option("--lock", type=click.Path(path_type=Path), metavar="FILE", help="Compare with a file of `archcalc lock`.")
@spec_options
def check(paths: tuple[str, ...], lock: Path | None, settings: dict[str, str], shape: GivenInput | None) -> None:
    """Read specs, expand every network in them, and report all errors and unused parts.

    FILE may be a folder, whose specs are all checked; - for the standard input; an ONNX, Darknet, YOLO, Caffe or Keras
    file; or a torch: source. --lock compares each network of a lock with what it is now, under the conditions of the
    lock, and checks its budgets. The exit code is 2 if a file has an error, 1 if something is unused, looks wrong or
    differs from the lock.

    \b
    archcalc check my.yaml
    archcalc check specs/vgg.yaml --input 3x64x64
    archcalc check specs other.yaml
    archcalc check --lock archcalc.lock
    """
    from archcalc.cli.locking import check_lock

    if not (paths or lock):
        raise click.UsageError("name a spec, or use --lock")
    for option in written(("settings", "shape")) if not paths else ():
        raise click.UsageError(f"a lock has its own conditions; omit {option}, or name the spec to check with it")
    found = list(dict.fromkeys(file for path in paths for file in _files(path)))
    done, stopped = run_each(found, partial(checked, settings=settings, shape=shape))
    for own in done:
        _report(own)
    wrong, doubtful = sum(bool(own.errors) for own in done), sum(bool(own.remarks) for own in done)
    if len(done) > 1:
        say(f"{len(done)} files: {wrong} with errors, {doubtful} with remarks\n")
    if stopped or wrong:
        sys.exit(130 if stopped else 2)
    sys.exit(max(doubtful > 0, check_lock(lock, [file for file in found if file != "-"]) if lock else 0))


def _files(path: str) -> list[str]:
    """Return a file, or the specs in a folder. Raises ArchcalcError if it has none."""
    if not Path(path).is_dir():
        return [path]
    if not (found := specs_in(path)):
        raise ArchcalcError(f"{path} has no specs; a spec is a file that ends in .yaml")
    return found


def checked(file: str, settings: dict[str, str], shape: GivenInput | None) -> Checked:
    """Check a file; of several errors at the same place only the first is kept."""
    from archcalc.auditing.lint import check_spec

    errors: list[ArchcalcError] = []
    remarks, networks = list[str](), tuple[str, ...]()
    try:
        remarks, networks = check_spec(file, settings, shape, errors.append)
    except ArchcalcError as error:
        errors = [error]
    if errors:
        remarks = []
    places = {str((isinstance(error, SpecError) and error.place) or error): error for error in reversed(errors)}
    return Checked("<text>" if file == "-" else printable(file), networks, remarks, [*places.values()][::-1])


def _report(own: Checked) -> None:
    for error in own.errors:
        tell(f"error: {error}")
    for line in own.remarks:
        tell(line)
    if not own.errors:
        say(f"{own.file}: {counted(len(own.networks), 'network')}: {', '.join(own.networks)}\n")
