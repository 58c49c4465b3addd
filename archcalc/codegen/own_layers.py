"""The source of layers that PyTorch does not have, read from files of archcalc/pytorch as text."""

from __future__ import annotations

import ast
import re
from functools import lru_cache
from pathlib import Path

# Code that saves memory there, and its plain form.
PLAINER = ("reduce(torch.Tensor.add_, xs[2:], xs[0] + xs[1]).div_(len(xs))", "sum(xs) / len(xs)")
_MENTION = r"(?<!nn\.)\b{0}\(|^class .*\b{0}\b.*\):"  # a call, or a base
FOLDER = Path(__file__).parent.parent / "pytorch"
FILES = "layers.py", "layout_layers.py", "token_layers.py", "window_layers.py"


@lru_cache(maxsize=1)
def layers() -> dict[str, str]:
    """Return the source of each class by name, without type hints."""
    found: dict[str, str] = {}
    for file in FILES:
        text = (FOLDER / file).read_text(encoding="utf-8").replace(*PLAINER)
        classes = [node for node in ast.parse(text).body if isinstance(node, ast.ClassDef)]
        found |= {node.name: _plain(ast.get_source_segment(text, node) or "") for node in classes}
    return found


def layers_in(source: str) -> list[str]:
    """Return the sources of the layers that a source mentions, and of those that they mention or inherit from."""
    found, texts = dict[str, str](), [source]
    while texts:
        text = texts.pop()
        new = {name for name in layers() if name not in found and re.search(_MENTION.format(name), text, re.MULTILINE)}
        found |= {name: layers()[name] for name in new}
        texts += [layers()[name] for name in new]
    return [text for name, text in layers().items() if name in found]


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
