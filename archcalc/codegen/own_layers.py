"""The source of layers that PyTorch does not have, read from archcalc/pytorch as text."""

from __future__ import annotations

import ast
import re
from functools import lru_cache
from pathlib import Path

# Code that saves memory there, and its plain form.
PLAINER = ("reduce(torch.Tensor.add_, xs[2:], xs[0] + xs[1]).div_(len(xs))", "sum(xs) / len(xs)")
FILES = [Path(__file__).parent.parent / "pytorch" / name for name in ("layers.py", "layout_layers.py")]


@lru_cache(maxsize=1)
def layers() -> dict[str, str]:
    """Return the source of each class by name, without type hints."""
    texts = [file.read_text(encoding="utf-8").replace(*PLAINER) for file in FILES]
    classes = [(text, node) for text in texts for node in ast.parse(text).body if isinstance(node, ast.ClassDef)]
    return {node.name: _plain(ast.get_source_segment(text, node) or "") for text, node in classes}


def layers_in(source: str) -> list[str]:
    """Return the sources of the layers that a source mentions, and of their bases."""
    found: dict[str, str] = {}
    for name, text in reversed(layers().items()):  # a base comes before what inherits from it
        used = rf"(?<!def )\b{name}\(|^class .*\b{name}\b.*\):"
        if any(re.search(used, own, re.MULTILINE) for own in (source, *found.values())):
            found[name] = text
    return [*reversed(found.values())]


def _plain(source: str) -> str:
    """Remove the hints of a class, and write `F` in full."""
    lines = source.splitlines()
    for node in sorted(ast.walk(ast.parse(source)), key=lambda node: getattr(node, "lineno", 0), reverse=True):
        if isinstance(node, ast.AnnAssign):
            del lines[node.lineno - 1 : node.end_lineno]
        elif isinstance(node, ast.FunctionDef):
            for arg in (*node.args.args, *node.args.kwonlyargs, *filter(None, [node.args.vararg])):
                arg.annotation = None
            header = f"{' ' * node.col_offset}def {node.name}({ast.unparse(node.args)}):"
            lines[node.lineno - 1 : node.body[0].lineno - 1] = [header]
    return re.sub(r"\bF\.", "nn.functional.", "\n".join(lines))
