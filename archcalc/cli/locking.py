"""The command `lock`, and what `check` does with its file."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from os.path import abspath
from pathlib import Path
from typing import Any

import click

from archcalc import __version__
from archcalc.analysis.report import analyze
from archcalc.catalog import load_with, matching, origin
from archcalc.cli.commands import command
from archcalc.cli.options import NetworkName, figure_options, force_option, written
from archcalc.cli.output import each, put, say, skipped, tell
from archcalc.errors import ArchcalcError, counted, one_line, printable
from archcalc.importers.sources import TORCH
from archcalc.lock import Findings, again, findings
from archcalc.lock_file import Lock, Locked, lock_text, locked, read_lock
from archcalc.spec.binding import GivenInput
from archcalc.spec.equal_calls import kept
from archcalc.spec.yaml import read_text

PRINTED = Path("-")  # as a network, the standard input


@command()
@click.argument("names", nargs=-1, type=NetworkName(), metavar="[NAME]...")
@figure_options
@click.option("-o", "--output", "path", type=click.Path(path_type=Path), default="archcalc.lock", show_default=True,
              metavar="FILE", help="Write to this file; - is the standard output.")  # fmt: skip
@click.option("--update", is_flag=True, help="Keep the file's budgets and other networks; without NAME, lock all of its"
              " networks again, each as it was.")  # fmt: skip
@force_option
@kept()
def lock(
    names: tuple[str, ...], path: Path, update: bool, force: bool, settings: dict[str, str], shape: GivenInput | None,
    **conditions: Any,
) -> None:  # fmt: skip
    """Write the figures and layers of networks to a file, for `archcalc check --lock` to compare with.

    NAME is a network of `archcalc list`, a pattern such as 'resnet*', or the path of a spec or another file. Budgets
    are written into the file by hand, for all networks or below one: `budgets: {max_params: 5M, max_macs: 1G}`.

    \b
    archcalc lock resnet50 my.yaml
    archcalc lock my.yaml --update
    archcalc check --lock archcalc.lock
    """
    old = read_lock(read_text(path), str(path)) if update and path.exists() else Lock("", {}, {})
    chosen = list(dict.fromkeys(matching(names, skipped))) if names else list(old.networks)
    if str(PRINTED) in (name.partition(":")[0] for name in chosen):
        raise ArchcalcError("a lock is compared with files that stay; write the spec to a file, and name that")
    if not chosen:
        raise click.UsageError("name networks, e.g. archcalc lock resnet50, or use --update")
    if not names and (options := [*written(("settings", "shape", *conditions))]):
        raise click.UsageError(f"name the networks that {options[0]} is for")
    if path.exists() and not (update or force):
        hint = "use --update to add or renew these networks, --force to overwrite it"
        raise ArchcalcError(f"{path} already exists ({hint})")

    def entry(name: str) -> Locked:
        if not names:
            return again(name, old.networks[name])[1]
        budgets = old.networks[name].budgets if name in old.networks else {}
        return locked(analyze(load_with(name, settings, shape), **conditions), settings, shape, budgets)

    made = each(chosen, entry)
    lock = Lock(__version__, old.budgets, old.networks | dict(zip(chosen, made, strict=True)))
    put(lock_text(lock), None if path == PRINTED else path, force or update)
    if path != PRINTED:
        say(f"{printable(str(path))}: {counted(len(lock.networks), 'network')} locked\n")


@kept()
def check_lock(path: Path, files: Sequence[str]) -> int:
    """Compare all networks of a lock, and say what differs. Returns 2 if one cannot be loaded, 1 if something differs.

    `files` are specs that must be in it. A source whose code would run is compared only if it is one of them.
    """
    if not path.exists():
        raise ArchcalcError(f"{path} does not exist; write it: archcalc lock NAME... -o {path}")
    lock = read_lock(read_text(path), str(path))
    code = [name for name in lock.networks if name.startswith(TORCH) and name not in files]
    if code:
        raise ArchcalcError(f"{path} has code to run; name it to allow that: archcalc check --lock {path} {code[0]}")
    missing = [file for file in files if file not in lock.networks and abspath(file) not in map(_file, lock.networks)]
    done = each(list(lock.networks), partial(_findings, lock))
    found = [own for own in done if isinstance(own, Findings)]
    from archcalc.render.tables.locks import finding_lines

    for own in done:
        if isinstance(own, Findings):
            say("".join(f"{line}\n" for line in finding_lines(own)))
        else:
            tell(f"error: {own}")
    for file in missing:
        say(one_line(f"{file} is not in {path}; add it: archcalc lock {file} -o {path} --update") + "\n")
    broken = len(done) - len(found)
    failed, count = broken + sum(own.failed for own in found), counted(len(done), "network")
    result = f"{failed} of {count} failed" if failed else f"{count} as locked"
    say(f"{printable(str(path))}: {result}\n")
    if any(own.differences or own.totals for own in found):
        tell(printable(f"if that is meant: archcalc lock -o {path} --update"))
    return 2 if broken else int(bool(failed or missing))


def _findings(lock: Lock, name: str) -> Findings | ArchcalcError:
    try:
        return findings(lock, name)
    except ArchcalcError as error:  # one network that is gone does not stop the others
        return error


def _file(name: str) -> str:
    found = origin(name)
    return found.path if found else ""
