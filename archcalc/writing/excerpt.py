"""Cut one network out of a spec: the text as it was written, without other variants and the blocks that they need."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping as Names
from collections.abc import Sequence
from typing import Any

from archcalc.errors import ArchcalcError, Place
from archcalc.spec.binding import settle_params
from archcalc.spec.expansion import Expansion
from archcalc.spec.functions import Reference
from archcalc.spec.layers import check_keys
from archcalc.spec.network_spec import KEYS, OTHERS, Changes, Spec
from archcalc.spec.yaml import Mapping, Value, parse_yaml

SAID = {  # comments above the sections
    "params": "Numbers to change, here or without editing: --set NAME=VALUE",
    "blocks": "Pieces of the network, called by name; a parameter is what a call gives",
    "layers": "From the input to the output. `label: a | b` does a, then b; `n * a` repeats a",
}
_KEY = re.compile(r"[\w.-]+:(?= |$)", re.MULTILINE)  # of YAML, and so no name that an expression mentions
_COMMENT = re.compile(r"(?:^|\s)#.*", re.MULTILINE)


def cut_out(spec: Spec, network: str, changes: Changes, name: str) -> str:
    """Return a spec, called `name`, of one network of a spec with changes; only what it needs of params and blocks.

    A param that depends on the variant by `a if … else b` has its value; all else is as it was written.
    Raises ArchcalcError for a text that cannot be cut.
    """
    root, lines = check_keys(parse_yaml(spec.text), KEYS | OTHERS, "a spec"), spec.text.split("\n")
    sections = _entries(root, lines)
    if not sections:
        raise ArchcalcError(f"{spec.name}: its keys share a line")
    params = _params(spec, network, changes, _entries(root.get("params"), lines))
    blocks = {key.partition("(")[0]: text for key, text in _entries(root.get("blocks"), lines).items()}
    shape = Changes(input=changes.input).written[1:-1] if changes.input else sections["input"]
    used = _closure(f"{shape}\n{sections['layers']}", params | blocks)
    made = {
        "params": "\n".join(text for key, text in params.items() if key in used),
        "blocks": "\n\n".join(text for key, text in blocks.items() if key in used),
    }
    parts = ["\n".join([f"name: {name}", *([sections["notes"]] if "notes" in sections else []), shape])]
    parts += [f"# {SAID[key]}\n{key}:\n{inside}" for key, inside in made.items() if inside]
    return "\n\n".join([*parts, f"# {SAID['layers']}\n{sections['layers']}\n"])


def _entries(value: Value | None, lines: Sequence[str]) -> dict[str, str]:
    """Return the lines of each entry of a mapping, with comments above it; nothing for entries that share a line."""
    keys = [key for key, _ in value.entries] if isinstance(value, Mapping) else []
    if any(lines[key.place.line - 1][: key.place.column - 1].strip() for key in keys):
        return {}
    begins = [_with_comments(key.place.line - 1, lines) for key in keys]
    ends = [*begins[1:], _end(keys[-1].place, lines)] if keys else []
    return {key.text: "\n".join(lines[begin:end]).rstrip() for key, begin, end in zip(keys, begins, ends, strict=True)}


def _with_comments(start: int, lines: Sequence[str]) -> int:
    while start and lines[start - 1].lstrip().startswith("#"):
        start -= 1
    return start


def _end(last: Place, lines: Sequence[str]) -> int:
    """Return the number of lines up to the end of a mapping whose last key is here."""
    outer = (at for at in range(last.line, len(lines)) if re.match(rf" {{0,{last.column - 2}}}\S", lines[at]))
    return next(outer, len(lines)) if last.column > 1 else len(lines)


def _params(spec: Spec, network: str, changes: Changes, written: dict[str, str]) -> dict[str, str]:
    """Return the lines of each param: as written, or with the value of the variant or the changes."""
    names, made = Expansion(spec).globals, dict[str, str]()
    settle_params(spec, network, changes.params, names)
    for key, value in {**spec.params, **spec.variants.get(network, {}), **changes.params}.items():
        chosen = any(isinstance(node, ast.IfExp) for node in ast.walk(value.tree))
        made[key] = written.get(key, "")
        if chosen or not made[key] or value is not spec.params.get(key):
            comment = re.search(r"  #.*", made[key])
            text = _plain(names[key]) if chosen else ast.unparse(value.tree)
            made[key] = f"  {key}: {_quoted(text)}{comment[0] if comment else ''}"
    return made


def _plain(value: Any) -> str:
    """Return a value as an expression."""
    if isinstance(value, Reference):
        return value.name
    return f"[{', '.join(map(_plain, value))}]" if isinstance(value, tuple) else repr(value)


def _quoted(text: str) -> str:
    """Return an expression as a scalar of YAML, in quotes where it needs them."""
    return json.dumps(text, ensure_ascii=False) if re.search(r"['\"]|: | #|^[{*&!|>%@`#?]", text) else text


def _closure(text: str, definitions: Names[str, str]) -> set[str]:
    """Return the names that a text mentions, and those that their definitions mention."""
    found, waiting = set[str](), [text]
    while waiting:
        new = definitions.keys() & {*_mentioned(waiting.pop())} - found
        found |= new
        waiting += [definitions[name] for name in new]
    return found


def _mentioned(text: str) -> list[str]:
    return re.findall(r"[A-Za-z_]\w*", _KEY.sub("", _COMMENT.sub("", text)))
