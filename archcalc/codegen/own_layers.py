"""The source of layers that PyTorch does not have, read from archcalc/pytorch/layers.py as text."""

from __future__ import annotations

import ast
import re
from functools import lru_cache
from pathlib import Path

# Code that saves memory there, and its plain form.
PLAINER = ("reduce(torch.Tensor.add_, xs[2:], xs[0] + xs[1]).div_(len(xs))", "sum(xs) / len(xs)")
FILE = Path(__file__).parent.parent / "pytorch" / "layers.py"


@lru_cache(maxsize=1)
def layers() -> dict[str, str]:
    """Return the source of each class by name, without type hints."""
    text = FILE.read_text(encoding="utf-8").replace(*PLAINER)
    classes = [node for node in ast.parse(text).body if isinstance(node, ast.ClassDef)]
    return {node.name: _plain(ast.get_source_segment(text, node) or "") for node in classes}


def layers_in(source: str) -> list[str]:
    """Return the sources of the layers that a source mentions."""
    return [text for name, text in layers().items() if re.search(rf"\b{name}\(", source)]


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
