"""Diagrams in DOT, the language of Graphviz, and as SVG, which Graphviz draws."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from html import escape
from itertools import count
from textwrap import wrap

from archcalc.errors import ArchcalcError, printable
from archcalc.render.diagrams.layout import KINDS, TEXT, Box, Cluster, Diagram

TITLE = 76  # characters per line
FONT = "Helvetica,Arial,sans-serif"
GREY = "#7a7a7a"  # readable on white and on black
SHADE = "#80808014"  # of clusters; nested clusters are darker
CLUSTER = f'labeljust=l, style="rounded,filled", fillcolor="{SHADE}", color="{GREY}"'
STYLE = f"""\
  node [shape=box, style="filled,rounded", fontname="{FONT}", fontsize=11, fontcolor="{TEXT}", margin="0.12,0.05", \
height=0.3, width=1.5]
  edge [color="{GREY}", fontcolor="{GREY}", fontname="{FONT}", fontsize=9, arrowsize=0.6]
"""


def render_dot(diagram: Diagram) -> str:
    """Render a diagram as DOT, with a transparent background."""
    numbers, clusters = count(), count()
    ground = f'bgcolor=transparent, nodesep=0.25, ranksep=0.35, fontname="{FONT}", fontsize=11, fontcolor="{GREY}"'
    lines = [f"// {_plain(text)}" for text in (*diagram.title, *diagram.notes)]
    lines += [f"digraph {_quote(diagram.name)} {{", f"  graph [{ground}]", STYLE.rstrip()]
    lines += [line for part in diagram.parts for line in _part(part, "  ", numbers, clusters)]
    lines += _arrows(diagram)
    return "\n".join([*lines, *_title(diagram), "}"]) + "\n"


def _title(diagram: Diagram) -> Iterator[str]:
    """Yield title and notes, shown above the diagram; they come last, since clusters inherit earlier attributes."""
    sizes = {diagram.title[0]: 14, **dict.fromkeys(diagram.notes, 9)}
    texts = [
        f'<font point-size="{sizes.get(text, 11)}">{escape(line)}</font>'
        for text in (*diagram.title, *diagram.notes)
        for line in wrap(_plain(text), TITLE)
    ]
    rest = "".join(f'<br align="left"/>{text}' for text in texts[1:])
    yield f'  labelloc=t; labeljust=l; label=<<b>{texts[0]}</b>{rest}<br align="left"/> <br/>>'


def render_svg(diagram: Diagram) -> str:
    """Render a diagram as SVG. Raises ArchcalcError if Graphviz is missing or fails."""
    import shutil  # only SVG needs them
    import subprocess

    program = shutil.which("dot")
    if program is None:
        raise ArchcalcError(
            "SVG needs Graphviz, but there is no program `dot`; install it (apt install graphviz, brew install "
            "graphviz), or use --format mermaid or dot"
        )
    done = subprocess.run([program, "-Tsvg"], input=render_dot(diagram).encode(), capture_output=True, check=False)
    if done.returncode:
        raise ArchcalcError(f"Graphviz failed: {done.stderr.decode(errors='replace').strip() or done.returncode}")
    return done.stdout.decode(errors="replace")


def _part(part: Box | Cluster, indent: str, numbers: count[int], clusters: count[int]) -> Iterator[str]:
    if isinstance(part, Box):
        yield f"{indent}n{next(numbers)} [label=<{_html(part)}>, {_look(part)}]"
        return
    yield f"{indent}subgraph cluster_{next(clusters)} {{"
    label = f"<{_markup(part.text)}>" if part.text else '""'
    yield f"{indent}  graph [label={label}, {CLUSTER}]"
    for inner in part.parts:
        yield from _part(inner, indent + "  ", numbers, clusters)
    yield f"{indent}}}"


def _look(box: Box) -> str:
    fill, border = KINDS[box.kind]
    return f'fillcolor="{fill}", color="{border}"' + (', style="filled,rounded,dashed"' if box.side else "")


def _html(box: Box) -> str:
    """Return the lines of a box: label and number of repeats, operators, and figures in small type."""
    head, *rest = box.text()
    lines = [f"<b>{_markup(head)}</b>" if box.label else _markup(head), *map(_markup, rest)]
    lines += [f'<font point-size="9">{_markup(text)}</font>' for text in box.figures]
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
