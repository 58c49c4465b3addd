"""Where results go: to the standard output, or whole to a file; and a bar while they are awaited."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from archcalc.errors import ArchcalcError
from archcalc.report import Table, render


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


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C waits until this is done; PyTorch's import, which it would break within, loses it or aborts."""
    pressed: list[object] = []
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda *arguments: pressed.append(arguments))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt
