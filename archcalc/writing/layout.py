"""Terms and blocks as the text of a spec."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import MISSING
from typing import Any

from archcalc.graph.graph import Graph
from archcalc.ops import REGISTRY
from archcalc.writing.blocks import Block, Written
from archcalc.writing.terms import IDENTITY, Code, Steps, Term, Word

WIDTH = 96  # most characters of a chain, if possible
WIDEST = 110  # most characters of a line with a key
FIRST = ("p", "negative_slope", "output_size", "size", "axes", "sizes", "padding")  # the first argument, without a name


def spec_text(graph: Graph, name: str, inputs: dict[str, str], written: Written) -> str:
    """Return a spec; `inputs` are the shapes as texts, by name, "" for one without a name."""
    lines = [f"# {note}" for note in graph.about.notes] + [f"name: {name}"]
    lines += [f"title: {json.dumps(graph.about.title, ensure_ascii=False)}"] if graph.about.title else []
    named = "".join(f"\n  {own}: {shape}" for own, shape in inputs.items())
    lines.append(f"input: {inputs['']}" if "" in inputs else f"input:{named}")
    writer = _Writer(written.blocks)
    if written.blocks:
        lines += ["", "blocks:"]
        for block, (parameters, steps) in written.blocks.items():
            header = [own if value is MISSING else f"{own}={_value(value)}" for own, value in parameters.items()]
            lines += writer.keyed(writer.call(block, header), steps, "  ")
    lines += ["", "layers:", *writer.listed(written.steps, "  ")]
    return "\n".join(lines) + "\n"


class _Writer:
    def __init__(self, blocks: dict[str, Block]) -> None:
        self.blocks = blocks

    def listed(self, steps: Steps, indent: str) -> Iterator[str]:
        """Yield the lines of a list of steps."""
        for item in self.items(steps):
            if isinstance(item, str):
                yield f"{indent}- {item}"
            elif item.kind in ("label", "part"):
                yield from self.keyed(item.name, item.parts, f"{indent}- ")
            else:
                yield f"{indent}- {self.head(item)}:"
                yield from self.branches(item, f"{indent}    ")

    def branches(self, term: Term, indent: str) -> Iterator[str]:
        """Yield the lines of the branches of a step."""
        items = [self.items(branch.parts) for branch in term.parts]
        unnamed = all(not branch.name for branch in term.parts) and all(
            len(own) == 1 and isinstance(own[0], str) for own in items
        )
        for number, (branch, own) in enumerate(zip(term.parts, items, strict=True), 1):
            if unnamed:
                yield f"{indent}- {own[0]}"
            else:
                yield from self.keyed(branch.name or f"branch{number}", branch.parts, indent)

    def keyed(self, key: str, steps: Steps, indent: str) -> Iterator[str]:
        """Yield the lines of `key: steps`."""
        items = self.items(steps)
        line = f"{indent}{key}: {items[0]}"
        if len(items) == 1 and isinstance(items[0], str) and len(line) <= WIDEST:
            yield line
        else:
            yield f"{indent}{key}:"
            yield from self.listed(steps, " " * len(indent) + "  ")

    def items(self, steps: Steps) -> list[str | Term]:
        """Return expressions of several steps, and steps that need lines of their own."""
        made: list[str | Term] = []
        phrases: list[str] = []
        for step in steps:
            text = self.text(step)
            if text is None:
                made += [*_lines(phrases), step]
                phrases = []
            elif phrases and step.kind == "op" and not REGISTRY[step.name].weighted:
                phrases[-1] = f"{phrases[-1]} | {text}"
            else:
                phrases.append(text)
        return [*made, *_lines(phrases)]

    def text(self, step: Term) -> str | None:
        """Return a step as an expression, None if it needs lines of its own."""
        if step.kind in ("use", "again"):
            label = step.values[0]
            return f"{step.kind}({label if str(label).isidentifier() else repr(str(label))})"
        if step.kind == "repeat":
            body = self.chain(step.parts)
            return f"{_value(step.values[0])} * {f'({body})' if len(step.parts) > 1 else body}"
        if step.kind == "join":
            simple = all(part.kind in ("use", "op") for branch in step.parts for part in branch.parts)
            inner = [self.chain(branch.parts) for branch in step.parts]
            text = f"{step.name}({', '.join([*inner, *self.arguments(step, True)])})"
            read = all(branch.parts[0].kind == "use" or branch.parts == (IDENTITY,) for branch in step.parts)
            return text if simple and len(text) < (WIDTH if read else WIDTH // 2) else None
        return self.call(step.name, self.arguments(step)) if step.kind in ("op", "call") else None

    def chain(self, steps: Steps) -> str:
        """Return steps that can stand in an expression, one after the other."""
        return " | ".join(str(self.text(step)) for step in steps)

    def call(self, name: str, given: Sequence[str]) -> str:
        """Return a name with its arguments, if there are some."""
        return f"{name}({', '.join(given)})" if given else name

    def head(self, join: Term) -> str:
        """Return the key of a join, `side` or `outputs`."""
        given = self.arguments(join, True) if join.kind == "join" else []
        return self.call(join.name or join.kind, given)

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


def _lines(phrases: Sequence[str]) -> Iterator[str]:
    """Yield as many phrases as fit on a line."""
    line = ""
    for phrase in phrases:
        if line and len(line) + len(phrase) > WIDTH:
            yield line
            line = ""
        line = f"{line} | {phrase}" if line else phrase
    if line:
        yield line


def _is_default(value: Any, default: Any) -> bool:
    if isinstance(default, tuple) and len({*default}) == 1 and not isinstance(value, tuple):
        default = default[0]
    return bool(value == default) and type(value) is type(default)


def _value(value: Any) -> str:
    if isinstance(value, Code | Word):
        return str(value)
    if isinstance(value, tuple):
        return f"[{', '.join(map(_value, value))}]"
    return repr(value)
