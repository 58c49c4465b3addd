"""What all pictures share: theme, fonts, title, caption, and the file's bytes."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from archcalc.errors import ArchcalcError, needs
from archcalc.render.table import ratio_text

SALT = "archcalc"  # of ids in an SVG, so that equal pictures have equal bytes
SUFFIXES: dict[str, dict[str, Any]] = {  # of formats, with what their files say of themselves: no date
    ".svg": {"Date": None, "Creator": SALT},
    ".png": {"Software": SALT},
    ".pdf": {"CreationDate": None, "Creator": SALT, "Producer": SALT},
}
DPI = 200  # of a PNG
MARGIN = 0.15  # inches around the picture
SMALL, NORMAL, LARGE = 7.5, 9.0, 13.0  # points
PREFIXES = (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")
WRAPPED = 1.35  # line height by font size


class Theme(NamedTuple):
    """Colours of background, text and lines, and a palette for colour-blind readers (Okabe & Ito 2008)."""

    paper: str
    ink: str
    faint: str  # captions, ticks
    grid: str
    band: str  # behind every other block
    palette: Sequence[str]
    rest: str  # for everything without its own colour


LIGHT = Theme(
    "#ffffff", "#1a1a1a", "#5c5c5c", "#dddddd", "#f3f3f3",
    ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#b8a800"), "#8a8a8a",
)  # fmt: skip
DARK = Theme(
    "#14161a", "#f0f0f0", "#a8adb5", "#343941", "#1e2127",
    ("#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#3b8fd9", "#f0e442"), "#9a9fa8",
)  # fmt: skip


class Sheet:
    """A matplotlib figure with its theme. Texts are shown literally: names contain no markup."""

    def __init__(self, width: float, height: float, theme: Theme) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.theme = theme
        self.figure = Figure((width, height), dpi=DPI, layout="constrained")
        self.measure = FigureCanvasAgg(self.figure).get_renderer()
        self.figure.get_layout_engine().set(w_pad=MARGIN, h_pad=MARGIN / 2, hspace=0.02)

    def text_size(self, text: str, size: float, weight: str = "normal") -> tuple[float, float]:
        """Measure width and height of one line, in dots."""
        from matplotlib.font_manager import FontProperties

        font = FontProperties(size=size, weight=weight)
        width, height, _ = self.measure.get_text_width_height_descent(text, font, ismath=False)
        return width, height

    def wrap(self, text: str, room: float, size: float, weight: str = "normal") -> str:
        """Wrap a text to lines of at most `room` inches; break longer words."""
        lines = [""]
        for word in text.split():
            for piece in self._pieces(word, room, size, weight):
                longer = f"{lines[-1]} {piece}".strip()
                if lines[-1] and self.text_size(longer, size, weight)[0] > room * DPI:
                    lines.append(piece)
                else:
                    lines[-1] = longer
        return "\n".join(lines)

    def _pieces(self, word: str, room: float, size: float, weight: str) -> list[str]:
        wide = self.text_size(word, size, weight)[0] / DPI
        step = len(word) if wide <= room else max(1, int(len(word) * room / wide * 0.8))
        return [word[i : i + step] for i in range(0, len(word), step)]

    def frame(self, title: str, caption: str) -> None:
        """Write the title above and the caption (with the version) below, and keep axes out of their room."""
        width, height = self.figure.get_size_inches()
        heading = self.wrap(title, width - 2 * MARGIN, LARGE, "bold")
        below = self._below(caption)
        left = MARGIN / width
        self.figure.text(
            left, 1 - MARGIN / height, heading, va="top", size=LARGE, weight="bold", linespacing=WRAPPED, gid="title"
        )
        self.caption = self.figure.text(
            left, MARGIN / height, below, va="bottom", size=SMALL, color=self.theme.faint, linespacing=WRAPPED,
            gid="caption",
        )  # fmt: skip
        top = MARGIN + _height(heading, LARGE)
        bottom = MARGIN + _height(below, SMALL)
        self.figure.get_layout_engine().set(rect=(0, bottom / height, 1, 1 - (top + bottom) / height))

    def recaption(self, caption: str) -> None:
        """Replace the caption by one that is not longer."""
        self.caption.set_text(self._below(caption))

    def _below(self, caption: str) -> str:
        from archcalc import __version__  # the package imports all other modules

        return self.wrap(f"{caption} · archcalc {__version__}", self.figure.get_size_inches()[0] - 2 * MARGIN, SMALL)

    def settle(self) -> None:
        """Fix the layout of the axes, so that positions can be measured and are the same in every format.

        Positions are rounded: the last digits of the solver differ between runs, and so would the files.
        """
        self.figure.draw_without_rendering()
        self.figure.set_layout_engine("none")
        for ax in self.figure.axes:
            ax.set_position([round(float(side), 5) for side in ax.get_position().bounds])

    def save(self, suffix: str) -> bytes:
        """Return the file's bytes; equal pictures have equal bytes."""
        buffer = io.BytesIO()
        self.figure.savefig(buffer, format=suffix.removeprefix("."), metadata=SUFFIXES[suffix])
        return buffer.getvalue()


def _height(text: str, size: float) -> float:
    """Height of the lines of a text, in inches."""
    return (text.count("\n") + 1) * size * WRAPPED / 72


@contextmanager
def sheet(width: float, height: float, dark: bool = False) -> Iterator[Sheet]:
    """Open an empty sheet, with width and height in inches; on exit restore the settings of matplotlib.

    Raises ArchcalcError if matplotlib is missing.
    """
    try:
        import matplotlib
    except ImportError:
        raise ArchcalcError(needs("a picture", "matplotlib", "plot")) from None
    except ValueError as error:  # e.g. an unknown backend in MPLBACKEND
        raise ArchcalcError(f"matplotlib does not start: {str(error).splitlines()[0]}") from None
    theme = DARK if dark else LIGHT
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # an empty box replaces a character that the font lacks
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_settings(theme))
        yield Sheet(width, height, theme)


def _settings(theme: Theme) -> dict[str, Any]:
    ink, faint = theme.ink, theme.faint
    return {
        "figure.facecolor": theme.paper, "savefig.facecolor": theme.paper, "axes.facecolor": "none",
        "text.color": ink, "axes.labelcolor": ink, "axes.titlecolor": ink, "axes.edgecolor": faint,
        "xtick.color": faint, "ytick.color": faint, "xtick.labelcolor": ink, "ytick.labelcolor": ink,
        "grid.color": theme.grid, "axes.grid": True, "axes.axisbelow": True, "grid.linewidth": 0.6,
        "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.6,
        "xtick.major.width": 0.6, "ytick.major.width": 0.6,
        "font.family": "DejaVu Sans", "font.size": NORMAL, "text.hinting": "none", "text.parse_math": False,
        "axes.titlesize": NORMAL, "axes.labelsize": NORMAL, "xtick.labelsize": SMALL, "ytick.labelsize": SMALL,
        "legend.fontsize": SMALL, "legend.title_fontsize": SMALL, "legend.frameon": False,
        "svg.hashsalt": SALT, "svg.fonttype": "path", "pdf.fonttype": 42,
    }  # fmt: skip


def largest(values: Sequence[Any]) -> Any:
    """Return the largest value; None if one of them is None."""
    return None if None in values else max(values)


def prefixed(largest: float) -> tuple[float, str]:
    """Return factor and prefix for figures up to `largest`: 10⁹ G, 10⁶ M, 10³ k."""
    return next(((factor, prefix) for factor, prefix in PREFIXES if largest >= factor * 0.9995), (1, ""))


def short(value: float) -> str:
    """Format with three digits and a prefix: 25.6M, 7.00M; small integers in full."""
    factor, prefix = prefixed(value)
    return f"{value:,}" if value < 10**4 else f"{ratio_text(value / factor)}{prefix}"


def ticks_between(low: float, high: float) -> Iterator[float]:
    """Yield 1, 2, 5, 10, … between two values."""
    for power in range(-9, 10):
        yield from (tick for tick in (round(digit * 10.0**power, 9) for digit in (1, 2, 5)) if low <= tick <= high)
