"""Diagrams in DOT, the language of Graphviz."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from html import escape
from itertools import count
from textwrap import wrap

from archcalc.errors import printable
from archcalc.render.diagrams.layout import KINDS, TEXT, Box, Cluster, Diagram
from archcalc.render.pictures.sheets import PLAIN, Look

TITLE = 76  # characters per line
FONTS = {False: "DejaVu Sans,Verdana,sans-serif", True: "STIXGeneral,Times New Roman,serif"}  # by `serif`
NORMAL, SMALL, LARGE = 11, 9, 14  # points
PAD = 0.02  # inches around a diagram with a width
TEXT_HEIGHT = 9.25  # inches of text on a page, the greatest height of a diagram with a width
GREY = "#7a7a7a"  # readable on white and on black
SHADE = "#80808014"  # of clusters; nested clusters are darker
CLUSTER = f'labeljust=l, margin=8, style="rounded,filled", fillcolor="{SHADE}", color="{GREY}"'


def render_dot(diagram: Diagram, look: Look = PLAIN, direction: str = "TB", dpi: int = 0) -> str:
    """Render a diagram as DOT, with a transparent background; 0 dpi: Graphviz' own."""
    numbers, clusters = count(), count()
    letters = (look.letters or NORMAL) / NORMAL
    lines = [f"// {_plain(text)}" for text in (*diagram.title, *diagram.notes)]
    lines += [f"digraph {_quote(diagram.name)} {{", *_style(look, letters, direction, dpi)]
    lines += [line for part in diagram.parts for line in _part(part, "  ", letters, numbers, clusters)]
    lines += _arrows(diagram)
    return "\n".join([*lines, *(_title(diagram, letters) if look.title else ()), "}"]) + "\n"


def size_of(look: Look) -> tuple[float, float]:
    """Return the greatest width and height of a diagram in inches."""
    return look.width or math.inf, look.height or (TEXT_HEIGHT if look.width else math.inf)


def _style(look: Look, letters: float, direction: str, dpi: int) -> Iterator[str]:
    """Yield attributes of the graph, its boxes and its arrows; `letters` is their size by the usual one."""
    font = f'fontname="{FONTS[look.serif]}"'
    most = ",".join(f"{min(inches, 1e4) - 2 * PAD:g}" for inches in size_of(look))
    size = f'size="{most}", margin=0, pad={PAD}, ' if look.width or look.height else ""
    fine = f"dpi={dpi}, " if dpi else ""
    gap, least = (0.35, 1.5) if direction == "TB" else (0.15, 0.5)
    yield (
        f"  graph [{size}{fine}rankdir={direction}, bgcolor=transparent, nodesep=0.25, ranksep={gap}, {font}, "
        f'fontsize={NORMAL * letters:g}, fontcolor="{GREY}"]'
    )
    yield (
        f'  node [shape=box, style="filled,rounded", {font}, fontsize={NORMAL * letters:g}, fontcolor="{TEXT}", '
        f'margin="0.12,0.05", height=0.3, width={least}]'
    )
    yield f'  edge [color="{GREY}", fontcolor="{GREY}", {font}, fontsize={SMALL * letters:g}, arrowsize=0.6]'


def _title(diagram: Diagram, letters: float) -> Iterator[str]:
    """Yield title and notes, shown above the diagram; they come last, since clusters inherit earlier attributes."""
    sizes = {diagram.title[0]: LARGE, **dict.fromkeys(diagram.notes, SMALL)}
    texts = [
        f'<font point-size="{sizes.get(text, NORMAL) * letters:g}">{escape(line)}</font>'
        for text in (*diagram.title, *diagram.notes)
        for line in wrap(_plain(text), TITLE)
    ]
    rest = "".join(f'<br align="left"/>{text}' for text in texts[1:])
    yield f'  labelloc=t; labeljust=l; label=<<b>{texts[0]}</b>{rest}<br align="left"/> <br/>>'


def _part(part: Box | Cluster, indent: str, letters: float, numbers: count[int], clusters: count[int]) -> Iterator[str]:
    if isinstance(part, Box):
        yield f"{indent}n{next(numbers)} [label=<{_html(part, letters)}>, {_colours(part)}]"
        return
    yield f"{indent}subgraph cluster_{next(clusters)} {{"
    label = f"<{_markup(part.text)}>" if part.text else '""'
    yield f"{indent}  graph [label={label}, {CLUSTER}]"
    for inner in part.parts:
        yield from _part(inner, indent + "  ", letters, numbers, clusters)
    yield f"{indent}}}"


def _colours(box: Box) -> str:
    fill, border = KINDS[box.kind]
    return f'fillcolor="{fill}", color="{border}"' + (', style="filled,rounded,dashed"' if box.side else "")


def _html(box: Box, letters: float) -> str:
    """Return the lines of a box: label and number of repeats, operators, and figures in small type."""
    head, *rest = box.text()
    lines = [f"<b>{_markup(head)}</b>" if box.label else _markup(head), *map(_markup, rest)]
    lines += [f'<font point-size="{SMALL * letters:g}">{_markup(text)}</font>' for text in box.figures]
    return "<br/>".join(lines)


def _arrows(diagram: Diagram) -> Iterator[str]:
    """Yield the edges; edges past other boxes or to side outputs get less weight, so that the others are straight."""
    every = diagram.boxes()
    fans = Counter(edge.source for edge in diagram.edges)
    for edge in diagram.edges:
        past = edge.side or (fans[edge.source] > 1 and every[edge.target].kind == "join")
        look = ", style=dashed" if edge.side else ""
        yield f'  n{edge.source} -> n{edge.target} [label=" {edge.text}", weight={1 if past else 4}{look}]'


def _markup(text: str) -> str:
    return escape(_plain(text))


def _quote(text: str) -> str:
    """Quote a string so that Graphviz shows it unchanged."""
    escaped = _plain(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _plain(text: str) -> str:
    return printable(text).replace("\n", " ")
