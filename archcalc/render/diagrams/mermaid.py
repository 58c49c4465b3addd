"""Diagrams in Mermaid, which GitHub draws in Markdown files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from itertools import count

from archcalc.errors import printable, shorten
from archcalc.render.diagrams.layout import KINDS, TEXT, Box, Cluster, Diagram
from archcalc.render.pictures.sheets import PLAIN, Look

MAX_EDGES, MAX_LETTERS = 500, 50_000  # the largest diagram that GitHub draws
SETUP = (  # do not wrap the lines of boxes again
    '%%{init: {"flowchart": {"wrappingWidth": 600, "subGraphTitleMargin": {"top": 3, "bottom": 9}}'
)
BESIDE = (  # put titles of clusters beside arrows that come from above
    ', "themeCSS": ".cluster-label foreignObject {overflow: visible} '
    '.cluster-label .nodeLabel {position: relative; right: 110%}"'
)


def render_mermaid(diagram: Diagram, look: Look = PLAIN, direction: str = "TB") -> str:
    """Render a diagram as a flowchart; in Markdown it belongs between ```mermaid and ```."""
    numbers, clusters = count(), count()
    lines = [SETUP + BESIDE * (direction == "TB") + "}}%%", f"flowchart {direction}"]
    lines += [line for part in diagram.parts for line in _part(part, "  ", numbers, clusters)]
    lines += [f'  n{e.source} {"-.->" if e.side else "-->"}|"{e.text}"| n{e.target}' for e in diagram.edges]
    lines += _styles(diagram.boxes(), next(clusters))
    notes = [*diagram.title, *diagram.notes]
    if len(diagram.edges) > MAX_EDGES or sum(map(len, lines)) > MAX_LETTERS:
        notes.append("Too large for GitHub to draw; --depth makes it smaller.")
    header = ["---", f"title: {_title(diagram)}", "---"] if look.title else []
    return "\n".join([*header, *(f"%% {_comment(n)}" for n in notes), *lines]) + "\n"


def _title(diagram: Diagram) -> str:
    """Return the title for the YAML header, where Mermaid shows `&` as an entity and reads tags."""
    text = f"{shorten(printable(diagram.name))} · {diagram.title[-1]}"
    return json.dumps(text.translate(str.maketrans("<>&\n", "‹›＆ ")), ensure_ascii=False)


def _styles(every: Sequence[Box], clusters: int) -> Iterator[str]:
    """Yield colours by kind, dashes for side outputs, and frames that get darker when nested."""
    for kind, (fill, border) in KINDS.items():
        members = [f"n{i}" for i, box in enumerate(every) if box.kind == kind]
        yield from _style(f"{kind}Box", f"fill:{fill},stroke:{border},color:{TEXT}", members)
    yield from _style("sideBox", "stroke-dasharray:4", [f"n{i}" for i, box in enumerate(every) if box.side])
    yield from _style("frame", "fill:#8080801a,stroke:#8a8a8a", [f"c{i}" for i in range(clusters)])


def _style(name: str, look: str, members: Sequence[str]) -> Iterator[str]:
    if members:
        yield f"  classDef {name} {look}"
        yield f"  class {','.join(members)} {name}"


def _part(part: Box | Cluster, indent: str, numbers: count[int], clusters: count[int]) -> Iterator[str]:
    if isinstance(part, Box):
        text = "<br/>".join(map(_escape, [*part.text(), *part.figures]))
        yield f'{indent}n{next(numbers)}["{text}"]'
        return
    yield f'{indent}subgraph c{next(clusters)}["{_escape(part.text or " ")}"]'
    for inner in part.parts:
        yield from _part(inner, indent + "  ", numbers, clusters)
    yield f"{indent}end"


def _escape(text: str) -> str:
    """Escape a label against the markup of Mermaid, Markdown and HTML."""
    plain = printable(text).replace("\n", " ").replace("\\", "\\\N{WORD JOINER}")  # otherwise \\n breaks the line
    return re.sub(r"[^\w\s.,/-]|_", lambda m: m[0] if ord(m[0]) > 127 else f"#{ord(m[0])};", plain)


def _comment(text: str) -> str:
    """Escape a comment; braces would start a directive."""
    return printable(text).replace("\n", " ").replace("{", "(").replace("}", ")")
