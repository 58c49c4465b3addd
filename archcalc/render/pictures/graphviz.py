"""Diagrams as SVG, PNG or PDF: Graphviz draws them, as pygraphviz brings it, with the fonts that matplotlib brings."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html import escape
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from archcalc.errors import ArchcalcError, needs

FONTS = '<?xml version="1.0"?><fontconfig><dir>{fonts}</dir><cachedir>{cache}</cachedir></fontconfig>'
DATE = rb"(?<=CreationDate \(D:)\d+Z"  # in a PDF
# Graphviz writes warnings where Python cannot catch them, and cannot be interrupted: it has a process of its own.
PROGRAM = """
import sys
sys.path[:] = filter(None, sys.path)  # nothing from the current folder
import pygraphviz
drawn = pygraphviz.AGraph(string=sys.stdin.buffer.read().decode())
drawn.layout("dot")
print(drawn.graph_attr["bb"], flush=True)
sys.stdout.buffer.write(drawn.draw(format=sys.argv[1]))
"""


def draw_dot(text: str, form: str) -> tuple[bytes, tuple[float, float]]:
    """Draw a text in DOT as svg, png or pdf; return the file, and the natural width and height in inches.

    Raises ArchcalcError if pygraphviz or matplotlib is missing, or if Graphviz fails.
    """
    if not (find_spec("pygraphviz") and find_spec("matplotlib")):
        missing = needs("a drawn graph", "pygraphviz and matplotlib", "plot")
        raise ArchcalcError(f"{missing}, or use --format mermaid or dot")
    import matplotlib

    with TemporaryDirectory(prefix="archcalc-") as folder:
        config = Path(folder, "fonts.conf")
        fonts = Path(matplotlib.get_data_path(), "fonts", "ttf")
        config.write_text(FONTS.format(fonts=escape(str(fonts)), cache=escape(folder)), encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, form], input=text.encode(), capture_output=True, check=False,
            env=os.environ | {"FONTCONFIG_FILE": str(config)},
        )  # fmt: skip
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise ArchcalcError(f"Graphviz failed: {said[-1] if said else done.returncode}")
    box, _, drawn = done.stdout.partition(b"\n")
    _, _, width, height = map(float, box.split(b","))
    return re.sub(DATE, b"20000101000000Z", drawn), (width / 72, height / 72)
