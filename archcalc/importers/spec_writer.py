"""Write a network that another program's file lists layer by layer as the text of a spec."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from archcalc.errors import SpecError
from archcalc.spec.layers import is_reserved

MAX_LABEL = 90  # characters; a number may follow


DEFAULTS = {
    "padding": 0, "dilation": 1, "groups": 1, "bias": True, "ceil_mode": False, "count_include_pad": True,
    "bidirectional": False, "nonlinearity": "'tanh'", "mode": "'nearest'", "causal": False, "dropout": 0,
}  # fmt: skip  # of all operators that have such an argument; `stride` is 1, of a pool its kernel


def call(operator: str, *given: object, **words: object) -> str:
    """Return `conv(8, 3, stride=2)`, without words that have their default; equal sizes are written once."""
    defaults = DEFAULTS | {"stride": None if operator.endswith("pool") else 1}
    named = [f"{word}={_once(value)}" for word, value in words.items() if _once(value) != defaults.get(word)]
    return f"{operator}({', '.join([*map(str, map(_once, given)), *named])})"


def _once(value: object) -> object:
    return value[0] if isinstance(value, list) and value and value == value[:1] * len(value) else value


class Step(NamedTuple):
    """One step: its label, the labels that it reads, and its layers; the first joins several."""

    label: str
    reads: tuple[str, ...]
    layers: tuple[str, ...]

    def line(self, last: str) -> str:
        """Return `- label: use(other) | conv(8, 3)`, without `use` of the last step before."""
        use = [f"use({name})" for name in self.reads]
        if len(use) > 1:
            join, _, arguments = self.layers[0].partition("(")
            joined = f"{join}({', '.join([*use, *([arguments[:-1]] if arguments else [])])})"
            return f"  - {self.label}: {' | '.join([joined, *self.layers[1:]])}"
        return f"  - {self.label}: {' | '.join([*(use if self.reads != (last,) else ()), *self.layers])}"


class SpecWriter:
    """The inputs and steps of a network so far. Each step has a label, made from the file's own name for it."""

    def __init__(self, name: str, title: str) -> None:
        self.name = re.sub(r"[^A-Za-z0-9_.-]", "-", name)[:MAX_LABEL]
        if not self.name or re.fullmatch(r"[\d.]+|[.-].*", self.name) or self.name.endswith((".yaml", ".yml")):
            self.name = f"network_{self.name.replace('.', '_')}"
        self.title = title
        self.notes: list[str] = []
        self.params: dict[str, str] = {}
        self.blocks: dict[str, Sequence[str]] = {}  # lines by header, such as `unit(channels)`
        self.results: dict[str, str] = {}  # labels by the output's name
        self._inputs: dict[str, str] = {}
        self._steps: list[Step] = []
        self._labels: set[str] = set()

    def note(self, text: str) -> None:
        """Add a note once; "" is none."""
        self.notes += [text] * (text not in ("", *self.notes))

    def input(self, name: str, sizes: Sequence[int] | Mapping[str, int]) -> str:
        """Add an input, with its sizes or its sizes by axis; return its label."""
        label = self._label(name)
        text = ", ".join(f"{axis}: {size}" for axis, size in sizes.items()) if isinstance(sizes, Mapping) else ""
        self._inputs[label] = f"{{{text}}}" if text else str([*sizes])
        return label

    def step(self, name: str, reads: Sequence[str], *layers: str) -> str:
        """Add a step; return its label. One without layers is the step that it reads."""
        if not layers:
            return reads[0]
        self._steps.append(Step(self._label(name), tuple(reads), layers))
        return self._steps[-1].label

    def extend_last(self, label: str, end: str, new: str) -> bool:
        """Replace the end of the last step's last layer, if that step has this label and layer; return whether."""
        if not self._steps or self._steps[-1].label != label or not self._steps[-1].layers[-1].endswith(end):
            return False
        *layers, last = self._steps[-1].layers
        self._steps[-1] = self._steps[-1]._replace(layers=(*layers, last.removesuffix(end) + new))
        return True

    def _label(self, name: str) -> str:
        label = re.sub(r"[^A-Za-z0-9_]", "_", name)[:MAX_LABEL]
        label = label if re.match("[A-Za-z]", label) else f"n{label}"
        unique = label = f"{label}_" if is_reserved(label) else label
        number = 1
        while unique in self._labels:
            number += 1
            unique = f"{label}_{number}"
        self._labels.add(unique)
        return unique

    def body(self) -> str:
        """Return the layers of all steps."""
        return "\n".join(layer for step in self._steps for layer in step.layers)

    def text(self) -> str:
        """Return the spec. What nothing reads is an output, too. Raises SpecError if there are no steps."""
        if not self._steps:
            raise SpecError(f"{self.title}: it lists no layers")
        read = {label for step in self._steps for label in step.reads}
        ends = {label: label for label in [*self._inputs, *(step.label for step in self._steps)] if label not in read}
        ends = self.results | {name: label for name, label in ends.items() if label not in self.results.values()}
        last = next(iter(self._inputs), "")
        lines = [f"name: {self.name}", f"title: {json.dumps(self.title, ensure_ascii=False)}"]
        lines += ["notes:", *(f"  - {json.dumps(note, ensure_ascii=False)}" for note in self.notes)] * bool(self.notes)
        lines += [f"input: {{{', '.join(f'{name}: {sizes}' for name, sizes in self._inputs.items())}}}"]
        params = ", ".join(f"{name}: {value}" for name, value in self.params.items())
        lines += [f"params: {{{params}}}"] * bool(params)
        for header, body in self.blocks.items():
            lines += ["blocks:"] * (header == next(iter(self.blocks))) + [f"  {header}:", *body]
        lines += ["layers:"]
        for step in self._steps:
            lines.append(step.line(last))
            last = step.label
        if [*ends.values()] != [last]:
            lines += ["  - outputs:", *(f"      {name}: use({label})" for name, label in ends.items())]
        return "\n".join([*lines, ""])
