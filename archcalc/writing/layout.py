"""Terms and blocks as the text of a spec."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import MISSING
from textwrap import wrap
from typing import Any

from archcalc.graph.graph import About
from archcalc.ops import REGISTRY, Operator
from archcalc.writing.blocks import Block
from archcalc.writing.terms import IDENTITY, Code, Steps, Term, arguments

WIDTH = 106  # most characters of an expression, if possible
FIRST = ("p", "negative_slope", "output_size", "size", "axes", "sizes", "padding")  # the first argument, without a name


def spec_text(name: str, about: About, inputs: dict[str, str], steps: Steps, blocks: dict[str, Block]) -> str:
    """Return a spec; `inputs` are the shapes as texts, by name, "" for one without a name."""
    writer = _Writer(blocks)
    lines = [f"name: {name}"]
    lines += [f"title: {json.dumps(about.title, ensure_ascii=False)}"] * bool(about.title)
    lines += ["notes:", *(f"  - {json.dumps(note, ensure_ascii=False)}" for note in about.notes)] * bool(about.notes)
    named = "".join(f"\n  {own}: {shape}" for own, shape in inputs.items())
    lines += [f"input: {inputs['']}" if "" in inputs else f"input:{named}", *["", "blocks:"] * bool(blocks)]
    for block, (parameters, inside) in blocks.items():
        header = [own if value is MISSING else f"{own}={_value(value)}" for own, value in parameters.items()]
        lines += writer.keyed(_call(block, header), inside, "  ")
    return "\n".join([*lines, "", "layers:", *writer.listed(steps, "  "), ""])


class _Writer:
    def __init__(self, blocks: dict[str, Block]) -> None:
        self.blocks = blocks

    def listed(self, steps: Steps, indent: str) -> Iterator[str]:
        """Yield the lines of a list of steps."""
        for item in self.items(steps):
            if isinstance(item, str):
                yield from wrap(f"{indent}- {item}", WIDTH + len(indent) + 2, subsequent_indent=f"{indent}    ")
            elif item.kind in ("label", "part"):
                yield from self.keyed(item.name, item.parts, f"{indent}- ")
            else:
                given = self.arguments(item, True) if item.kind == "join" else []
                yield f"{indent}- {_call(item.name or item.kind, given)}:"
                for number, branch in enumerate(item.parts, 1):
                    yield from self.keyed(branch.name or f"branch{number}", branch.parts, f"{indent}    ")

    def keyed(self, key: str, steps: Steps, indent: str) -> Iterator[str]:
        """Yield the lines of `key: steps`."""
        items = self.items(steps)
        line = f"{indent}{key}: {items[0]}"
        if len(items) == 1 and isinstance(items[0], str) and len(line) <= WIDTH:
            yield line
        else:
            yield f"{indent}{key}:"
            yield from self.listed(steps, " " * len(indent) + "  ")

    def items(self, steps: Steps) -> list[str | Term]:
        """Return expressions of several steps, and steps that need lines of their own."""
        made: list[str | Term] = []
        for step in steps:
            text, last = self.text(step), made[-1] if made else None
            begins = step.kind == "op" and REGISTRY[step.name].weighted  # a line better than it ends one
            if text is None:
                made.append(step)
            elif isinstance(last, str) and len(last) + len(text) < WIDTH - 24 * begins:
                made[-1] = f"{last} | {text}"
            else:
                made.append(text)
        return made

    def text(self, step: Term) -> str | None:
        """Return a step as an expression, None if it needs lines of its own."""
        if step.kind in ("use", "again"):
            return f"{step.kind}({step.values[0] if step.values[0].isidentifier() else repr(str(step.values[0]))})"
        if step.kind == "repeat":
            body = self.chain(step.parts)
            return f"{_value(step.values[0])} * {f'({body})' if len(step.parts) > 1 else body}"
        if step.kind == "join":
            branches = [branch.parts for branch in step.parts]
            text = _call(step.name, [*map(self.chain, branches), *self.arguments(step, True)])
            kinds = ("use",) if any(branch.name for branch in step.parts) else ("use", "call")
            read = all(own == (IDENTITY,) or (len(own) == 1 and own[0].kind in kinds) for own in branches)
            short = len(text) < WIDTH // 2 and all(part.kind in ("use", "op") for own in branches for part in own)
            return text if read or short else None
        return _call(step.name, self.arguments(step)) if step.kind in ("op", "call") else None

    def chain(self, steps: Steps) -> str:
        """Return steps that can stand in an expression, one after the other."""
        return " | ".join(str(self.text(step)) for step in steps)

    def arguments(self, step: Term, named: bool = False) -> list[str]:
        """Return the arguments of a call, without those that have their defaults."""
        if step.kind == "call":
            defaults = self.blocks[step.name].parameters
            needed = [key for key, value in defaults.items() if value is MISSING]
        else:
            cls = REGISTRY[step.name]
            defaults, needed = cls.defaults, [*cls.needed]
        made, positional = list[str](), not named
        for position, (key, value) in enumerate(zip(step.keys, step.values, strict=True)):
            if key not in needed and _is_default(value, defaults.get(key, MISSING)):
                positional = False
                continue
            positional &= key in needed or (position == 0 and key in FIRST)
            made.append(_value(value) if positional else f"{key}={_value(value)}")
        return made


def operator_call(op: Operator) -> str:
    """Return an operator of specs as they write it, with every argument that differs from its default."""
    return _call(op.name, _Writer({}).arguments(Term("op", op.name, *arguments(op, None))))


def _call(name: str, given: Sequence[str]) -> str:
    """Return a name with its arguments, if there are some."""
    return f"{name}({', '.join(given)})" if given else name


def _is_default(value: Any, default: Any) -> bool:
    if isinstance(default, tuple) and len({*default}) == 1 and not isinstance(value, tuple):
        default = default[0]
    return bool(value == default) and type(value) is type(default)


def _value(value: Any) -> str:
    if isinstance(value, Code):
        return str(value)
    if isinstance(value, tuple):
        return f"[{', '.join(map(_value, value))}]"
    return repr(value)
