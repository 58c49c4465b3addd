"""What all pictures share: theme, fonts, title, caption, and the file's bytes."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from archcalc.errors import ArchcalcError, needs
from archcalc.render.table import ratio_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SALT = "archcalc"  # of ids in an SVG, so that equal pictures have equal bytes
SUFFIXES: dict[str, dict[str, Any]] = {  # of formats, with what their files say of themselves: no date
    ".svg": {"Date": None, "Creator": SALT},
    ".png": {"Software": SALT},
    ".pdf": {"CreationDate": None, "Creator": SALT, "Producer": SALT},
}
DPI, FINE = 200, 400  # of a PNG; for print
MARGIN, THIN = 0.15, 0.04  # inches around the picture; without title and caption
SMALL, NORMAL, LARGE = 7.5, 9.0, 13.0  # points
NARROW = 28  # a picture is at least as wide as this many letters M
LEAST = 12  # and its axes, with their names, as high and wide as this many
FONTS = {False: ["DejaVu Sans"], True: ["STIXGeneral", "DejaVu Sans"]}  # by `serif`; matplotlib brings both
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


class Look(NamedTuple):
    """How a picture looks: width and height in inches, letters in points; None: the picture's own."""

    width: float | None = None
    height: float | None = None
    letters: float | None = None
    serif: bool = False
    title: bool = True  # title above and caption below
    dark: bool = False

    def size(self, usual: tuple[float, float]) -> tuple[float, float]:
        """Return width and height; a narrower picture is relatively higher, since its letters are relatively larger."""
        width = self.width or usual[0]
        return width, self.height or usual[1] * math.sqrt(width / usual[0])

    def letter_size(self, width: float) -> float:
        """Return the size of letters: by default 7.2 in one column of a paper, 8.2 over two, 9 on a page."""
        return self.letters or round(min(NORMAL, 6.25 + 0.27 * width), 1)

    def ems(self, width: float) -> float:
        """Return how many letters M side by side are as wide as a picture."""
        return width * 72 / self.letter_size(width)


PLAIN = Look()


class Sheet:
    """A matplotlib figure with its theme. Texts are shown literally: names contain no markup."""

    def __init__(self, usual: tuple[float, float], look: Look) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.theme, self.look = DARK if look.dark else LIGHT, look
        width, height = look.size(usual)
        self.normal, self.ems = look.letter_size(width), look.ems(width)
        self.small, self.large = (self.normal * size / NORMAL for size in (SMALL, LARGE))
        if self.ems < NARROW:
            least = math.ceil(NARROW * self.normal / 7.2) / 10
            raise ArchcalcError(
                f"letters of {self.normal:g} points need a width of {least:g} inches; change --width or --font-size"
            )
        self.dpi = DPI if look.width is None else FINE
        self.margin = MARGIN if look.title else THIN
        self.said = ""
        self.body = width, 0.0, height  # of the part for axes, in inches: right end, lower end, height
        self.figure = Figure((width, height), dpi=self.dpi, layout="constrained")
        self.measure = FigureCanvasAgg(self.figure).get_renderer()
        above = max(self.margin / 2, 0.6 * self.small / 72)  # half a number at the end of a scale
        self.figure.get_layout_engine().set(w_pad=self.margin, h_pad=above, hspace=0.02)

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
                if lines[-1] and self.text_size(longer, size, weight)[0] > room * self.dpi:
                    lines.append(piece)
                else:
                    lines[-1] = longer
        return "\n".join(lines)

    def _pieces(self, word: str, room: float, size: float, weight: str) -> list[str]:
        wide = self.text_size(word, size, weight)[0] / self.dpi
        step = len(word) if wide <= room else max(1, int(len(word) * room / wide * 0.8))
        return [word[i : i + step] for i in range(0, len(word), step)]

    def frame(self, title: str, caption: str) -> None:
        """Write the title above and the caption (with the version) below, and keep axes out of their room.

        Without a title keep both texts in `said`.
        """
        self.title = title
        below = self._below(caption)
        if not self.look.title:
            return
        width, height = self.figure.get_size_inches()
        heading = self.wrap(title, width - 2 * MARGIN, self.large, "bold")
        left = MARGIN / width
        self.figure.text(
            left, 1 - MARGIN / height, heading, va="top", size=self.large, weight="bold", linespacing=WRAPPED,
            gid="title",
        )  # fmt: skip
        self.caption = self.figure.text(
            left, MARGIN / height, below, va="bottom", size=self.small, color=self.theme.faint, linespacing=WRAPPED,
            gid="caption",
        )  # fmt: skip
        top = MARGIN + _height(heading, self.large)
        bottom = MARGIN + _height(below, self.small)
        self.keep_out(bottom=bottom, top=top)

    def keep_out(self, right: float = 0, bottom: float = 0, top: float = 0) -> None:
        """Keep axes out of these margins, in inches."""
        wide, low, high = self.body
        self.body = wide - right, low + bottom, high - bottom - top
        if min(self.body[0], self.body[2]) < LEAST * self.normal / 72:
            raise self.no_room()
        width, height = self.figure.get_size_inches()
        rect = (0, self.body[1] / height, self.body[0] / width, self.body[2] / height)
        self.figure.get_layout_engine().set(rect=rect)

    def recaption(self, caption: str) -> None:
        """Replace the caption by one that is not longer."""
        below = self._below(caption)
        if self.look.title:
            self.caption.set_text(below)

    def _below(self, caption: str) -> str:
        from archcalc import __version__  # the package imports all other modules

        said = f"{caption} · archcalc {__version__}"
        self.said = f"{self.title}. {said}"
        return self.wrap(said, self.figure.get_size_inches()[0] - 2 * MARGIN, self.small)

    def name_axes(self, ax: Axes, x: str, y: str = "") -> None:
        """Write the names of the axes, on several lines if they are long."""
        ax.set_xlabel(self.wrap(x, 0.75 * self.figure.get_size_inches()[0], self.normal))
        ax.set_ylabel(self.wrap(y, 0.6 * self.body[2], self.normal))

    def legend(self, beside: bool, *entries: Any, **options: Any) -> Any:
        """Draw a legend beside the axes or below them, between title and caption."""
        (width, height), (_, low, high) = self.figure.get_size_inches(), self.body
        gap = self.small / 72
        part = (self.margin / width, (low + gap * self.look.title) / height, 1 - 2 * self.margin / width, high / height)
        corner = "upper right" if beside else "lower left"
        legend = self.figure.legend(
            *entries, loc=corner, bbox_to_anchor=part, borderaxespad=0.2, borderpad=0, alignment="left", **options
        )
        box = legend.get_window_extent(self.measure)
        self.keep_out(**{"right": box.width / self.dpi + gap} if beside else {"bottom": box.y1 / self.dpi - low + gap})
        return legend

    def no_room(self) -> ArchcalcError:
        """Return the error of a picture that is too small for its texts."""
        wide, high = self.figure.get_size_inches()
        hint = "a larger --height or a smaller --font-size" + " or --no-title" * self.look.title
        return ArchcalcError(f"{wide:g}×{high:.3g} inches have no room for the texts; use {hint}")

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
def sheet(usual: tuple[float, float], look: Look = PLAIN) -> Iterator[Sheet]:
    """Open an empty sheet, with the usual width and height in inches; on exit restore the settings of matplotlib.

    Raises ArchcalcError if matplotlib is missing, or if the sheet is too small for its texts.
    """
    try:
        import matplotlib
    except ImportError:
        raise ArchcalcError(needs("a picture", "matplotlib", "plot")) from None
    except ValueError as error:  # e.g. an unknown backend in MPLBACKEND
        raise ArchcalcError(f"matplotlib does not start: {str(error).splitlines()[0]}") from None
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # an empty box replaces a character that the font lacks
        warnings.filterwarnings("error", "constrained_layout not applied", UserWarning)
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({"font.family": FONTS[look.serif], "text.hinting": "none"})
        made = Sheet(usual, look)
        matplotlib.rcParams.update(_settings(made))
        made.figure.set_facecolor(made.theme.paper)
        try:
            yield made
        except UserWarning:
            raise made.no_room() from None


def _settings(made: Sheet) -> dict[str, Any]:
    theme, ink, faint = made.theme, made.theme.ink, made.theme.faint
    return {
        "savefig.facecolor": theme.paper, "axes.facecolor": "none",
        "text.color": ink, "axes.labelcolor": ink, "axes.titlecolor": ink, "axes.edgecolor": faint,
        "xtick.color": faint, "ytick.color": faint, "xtick.labelcolor": ink, "ytick.labelcolor": ink,
        "grid.color": theme.grid, "axes.grid": True, "axes.axisbelow": True, "grid.linewidth": 0.6,
        "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.6,
        "xtick.major.width": 0.6, "ytick.major.width": 0.6,
        "font.size": made.normal, "text.parse_math": False, "axes.titlesize": made.normal,
        "axes.labelsize": made.normal, "xtick.labelsize": made.small, "ytick.labelsize": made.small,
        "legend.fontsize": made.small, "legend.title_fontsize": made.small, "legend.frameon": False,
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


def ticks_between(low: float, high: float, most: float = math.inf) -> list[float]:
    """Return 1, 2, 5, 10, … between two values; powers of ten alone if there would be more than `most`."""
    every = [(digit, round(digit * 10.0**power, 9)) for power in range(-9, 10) for digit in (1, 2, 5)]
    found = [(digit, tick) for digit, tick in every if low <= tick <= high]
    return [tick for digit, tick in found if digit == 1 or len(found) <= most]
