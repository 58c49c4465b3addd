"""One HTML document with its styles, its script and its data: it loads nothing else, and runs no other script."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from html import escape
from pathlib import Path

from archcalc import __version__
from archcalc.comparing.alignment import Alignment
from archcalc.render.page.contents import Explored, page_data
from archcalc.render.table import listed

SCRIPTS = "base.js", "graph.js", "table.js", "details.js", "views.js"  # one script, in this order


def render_page(networks: Sequence[Explored], alignments: Sequence[Alignment]) -> str:
    """Render the page of some networks, and of the alignments of the first with each of the others."""
    style, script = _file("page.css"), "".join(map(_file, SCRIPTS))
    parts = {
        "title": escape(f"{listed([own.report.graph.name for own in networks])} – archcalc", quote=False),
        "policy": f"default-src 'none'; style-src {_digest(style)}; script-src {_digest(script)}",
        "version": __version__,
        "style": style,
        "script": script,
        "data": _in_script(page_data(networks, alignments)),
    }
    page = _file("page.html").split("@@")  # texts and names of parts by turns
    return "".join(parts[text] if i % 2 else text for i, text in enumerate(page))


def _file(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    """Return the name by which a policy allows this text as a style or script, and no other."""
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def _in_script(data: object) -> str:
    """Return JSON in which no text can end the script element."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").encode("utf-8", "backslashreplace").decode()
