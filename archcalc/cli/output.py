"""Write results to the standard output or to files, and show progress."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from archcalc import __version__
from archcalc.cli.paper_options import for_paper
from archcalc.cli.progress import LINE
from archcalc.errors import ArchcalcError
from archcalc.render.choice import Choice
from archcalc.render.formats import render_all
from archcalc.render.stamp import stamped
from archcalc.render.table import Table

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")
CHOICE, NO_PAGER = "archcalc.choice", "archcalc.no_pager"  # in `Context.meta`: see `choice` and `page`
EXISTS = "already exists (use --force to overwrite it)"


def choice() -> Choice:
    """Return what the options of the running command choose of tables; everything if it has no such options."""
    context = click.get_current_context(silent=True)
    return context.meta.get(CHOICE, Choice()) if context else Choice()


def deliver(table: Table, form: str, output: Path | None, force: bool) -> None:
    """Print a table, or write it to a file; add the stamp unless it is printed as a terminal table."""
    deliver_all([table], form, output, force, several=False)


def deliver_all(tables: Sequence[Table], form: str, output: Path | None, force: bool, several: bool = True) -> None:
    """Like `deliver`, for several tables as one document; in JSON a list if `several`."""
    printed = output is None and form == "table"
    text = render_all(tables, form, *screen(), choice=choice()) if printed else document(tables, form, several)
    put(text, output, force)


def put(text: str, output: Path | None, force: bool) -> None:
    """Print a text, with a pager if the terminal is too low for it; or write it to a file."""
    lines = text.count("\n")
    if output:
        write(output, text, force)
    elif not too_long(lines):
        say(text)
    else:
        page(text)
        given = click.get_current_context().params
        source = given.get("form") == "pytorch"
        if given.get("brief") is False and given.get("kind", "summarize") == "summarize" and not source:
            tell(f"{lines} lines; --brief fits on a screen")


def too_long(lines: int) -> bool:
    """Whether the standard output is a terminal with fewer lines."""
    if sys.stdout is None or not sys.stdout.isatty():
        return False
    return 0 < os.get_terminal_size(sys.stdout.fileno()).lines <= lines  # 0: unknown


def page(text: str) -> None:
    """Show a text with PAGER, by default less; print it if PAGER is cat, empty or no command, or with --no-pager."""
    pager = os.environ.get("PAGER", "less").strip()
    none = pager in ("", "cat") or not is_command(pager) or os.environ.get("TERM") == "dumb"
    if none or click.get_current_context().meta.get(NO_PAGER):
        say(text)
    else:
        LINE.clear()
        os.environ.setdefault("LESS", "-FRX")  # as git: colours, and the text stays on the screen
        click.echo_via_pager(text.removesuffix("\n"))


def is_command(text: str) -> bool:
    """Whether a shell can read a text as a command: each quote is closed."""
    import shlex  # only a pager needs it

    try:
        return bool(shlex.split(text))
    except ValueError:
        return False


def document(tables: Sequence[Table], form: str, several: bool) -> str:
    """Render tables with their stamps as one text, as the options of a paper say."""
    tables = for_paper([stamped(table, __version__) for table in tables], choice())
    return render_all(tables, form, several=several, choice=choice())


def tell(text: str) -> None:
    """Print a hint, remark or error to the standard error."""
    LINE.clear()
    click.echo(text, err=True)


def skipped(error: object) -> None:
    """Report a spec that cannot be read and that the user did not name."""
    tell(f"skipped: {error}")


def screen() -> tuple[int | None, bool]:
    """Return the width (COLUMNS, or the terminal's; None: no limit) and whether to use colours.

    Colours are for terminals; NO_COLOR turns them off, FORCE_COLOR on where NO_COLOR is empty.
    """
    terminal = sys.stdout is not None and sys.stdout.isatty()
    columns = os.environ.get("COLUMNS", "")
    if columns.isascii() and columns.isdigit() and columns.strip("0"):
        width: int | None = int(columns[-5:] if len(columns) < 6 else "99999")
    else:
        width = os.get_terminal_size().columns if terminal else None
    wanted = os.environ.get("FORCE_COLOR") or (terminal and os.environ.get("TERM") != "dumb")
    return width, bool(wanted and not os.environ.get("NO_COLOR"))


def say(text: str) -> None:
    """Print to the standard output. A closed pipe is not an error.

    Raises ArchcalcError if writing fails.
    """
    if sys.stdout is None:
        raise ArchcalcError("the standard output is closed")
    LINE.clear()
    try:
        click.echo(text, nl=False, color=True)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise ArchcalcError(f"cannot write to the standard output: {error.strerror}") from None


def writable(path: Path, force: bool) -> Path:
    """Return the file to write for a path; for a link the file that it points to.

    Raises ArchcalcError if it exists (unless `force`) or cannot be written.
    """
    target = type(path)(os.path.realpath(path))
    exists = os.path.exists(target)
    reasons = {
        f"{path} is a directory; name a file in it": os.path.isdir(target),
        f"{path} is not a regular file; use -o - for the standard output":
            exists and not os.path.isfile(target),
        f"{path} {EXISTS}": os.path.lexists(path) and not force,
        f"cannot write {path}: it is read-only": exists and not os.access(target, os.W_OK),
        f"cannot write {path}: {os.strerror(errno.ENOENT)}": not os.path.isdir(target.parent),
        f"cannot write {path}: {os.strerror(errno.EACCES)}": not os.access(target.parent, os.W_OK | os.X_OK),
    }  # fmt: skip
    for reason, holds in reasons.items():
        if holds:
            raise ArchcalcError(reason)
    return target


def write(path: Path, text: str | bytes, force: bool) -> None:
    """Write a file atomically, even if a signal stops the command.

    Raises ArchcalcError like `writable`, if writing fails, or if another program creates the file meanwhile.
    """
    import tempfile  # only -o needs it

    from archcalc.cli.signals import ENDING, uninterrupted

    target = writable(path, force)
    place = replace if force else create
    try:
        with uninterrupted(*ENDING) as came, tempfile.TemporaryDirectory(dir=target.parent, prefix=".archcalc-") as at:
            fresh = type(path)(at) / "fresh"
            fresh.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "backslashreplace"))
            if came:
                raise click.Abort
            place(fresh, target)
    except FileExistsError:
        raise ArchcalcError(f"{path} {EXISTS}") from None
    except OSError as error:
        raise ArchcalcError(f"cannot write {path}: {error.strerror}") from None


def replace(fresh: Path, target: Path) -> None:
    """Replace a file by another one and keep its permissions."""
    if os.path.exists(target):
        fresh.chmod(target.stat().st_mode)
    os.replace(fresh, target)


def create(fresh: Path, target: Path) -> None:
    """Move a file to a path that is free. Raises FileExistsError if it exists: of two programs only one succeeds."""
    try:
        os.link(fresh, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without links: create an empty file to claim the name
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        os.replace(fresh, target)


def run_each(items: Sequence[T], work: Callable[[T], Any], name: Callable[[T], str] = str) -> tuple[list[Any], bool]:
    """Return the results for all items, and whether Ctrl-C stopped it; of several show progress with their names."""
    done: list[Any] = []
    try:
        for number, item in enumerate(items, 1):
            if len(items) > 1:
                LINE.working(f"{number} of {len(items)}: {name(item)}")
            done.append(work(item))
    except KeyboardInterrupt:
        return done, True
    return done, False


def each(items: Sequence[T], work: Callable[[T], Any], name: Callable[[T], str] = str) -> list[Any]:
    """Like `run_each`, but raise Abort at Ctrl-C."""
    done, stopped = run_each(items, work, name)
    if stopped:
        raise click.Abort
    return done
