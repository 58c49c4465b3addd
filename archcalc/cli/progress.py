"""One line on the standard error that says what a command works on: after a second, and only on a terminal."""

from __future__ import annotations

import os
import sys
import threading

from archcalc.errors import one_line

DELAY = 1.0  # seconds without any output


class Line:
    """The line: its text, and whether it is on the screen."""

    def __init__(self) -> None:
        self.text = ""
        self.shown = False
        self.timer: threading.Timer | None = None
        self.lock = threading.Lock()

    def working(self, text: str) -> None:
        """Say what the command works on now; the line appears if that takes long."""
        if sys.stderr is None or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
            return
        with self.lock:
            self.text = one_line(text)
            if self.shown:
                self.draw()
            elif self.timer is None:
                self.timer = threading.Timer(DELAY, self.show)
                self.timer.daemon = True
                self.timer.start()

    def show(self) -> None:
        """Show the line, unless it was cleared meanwhile."""
        with self.lock:
            if self.timer:
                self.shown = True
                self.draw()

    def draw(self) -> None:
        """Write the line over itself, cut to the width of the terminal."""
        from shutil import get_terminal_size  # few commands take so long

        width = get_terminal_size().columns
        sys.stderr.write(f"\r{self.text[: width - 1]}\x1b[K")
        sys.stderr.flush()

    def clear(self) -> None:
        """Remove the line; it can appear again only after `working`."""
        with self.lock:
            if self.timer:
                self.timer.cancel()
            if self.shown:
                sys.stderr.write("\r\x1b[K")
                sys.stderr.flush()
            self.timer, self.shown = None, False


LINE = Line()
