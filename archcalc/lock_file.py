"""Lock files: what networks are, as YAML with one line of JSON per layer, to keep beside the code and read in diffs.

A lock says per network how it was loaded, its totals and its layers; `archcalc lock` writes them. Budgets, for all
networks or for one, are written by hand: `max_params: 5M`. Operators are written as in a spec, with every argument that
differs from its default; what no spec can write, such as an imported function, by a digest of its facts.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Collection, Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Any, NamedTuple

from archcalc.analysis.figures import numbers
from archcalc.analysis.report import Report
from archcalc.errors import ArchcalcError, Place, Refusal, SpecError, shorten
from archcalc.ops import REGISTRY, Operator, Shape, make
from archcalc.ops.shape import KINDS, USUAL, shape_of
from archcalc.printed import Exact, read_amount
from archcalc.spec.input_text import TypedSizes
from archcalc.spec.layers import check_keys
from archcalc.spec.yaml import Mapping as Keys
from archcalc.spec.yaml import Scalar, Sequence, Value, parse_yaml
from archcalc.writing.layout import operator_call

FORMAT = 1  # raised when an older archcalc could not read the file, or would read it wrongly
TOTALS = "params", "macs", "flops", "activations"
CONDITIONS = "batch", "dtype", "mode"
KEYS = "lock", "archcalc", "budgets", "networks"
ENTRY_KEYS = ("set", "input", *CONDITIONS, "budgets", "outputs", "totals", "layers")
BUDGETS = {f"max_{key}": figure for key, figure in numbers().items() if figure.unit != "pixels"}
AGAIN = "correct it, or write it again: archcalc lock NAME... --force"
HEADER = "# Written by `archcalc lock`, compared by `archcalc check --lock`. Only budgets are written by hand.\n"


class Row(NamedTuple):
    """One layer. Its names and texts are those of the file; an unknown figure is None."""

    name: str
    op: str
    inputs: list[str]
    output: str
    params: int | None
    macs: int | None
    more: tuple[str, ...]  # `side` if it is on a side output; `weights of NAME` if it shares them


class Locked(NamedTuple):
    """One network of a lock: how it was loaded, under which conditions, and what it was."""

    settings: dict[str, str]  # of --set
    shapes: list[str]  # of --input
    conditions: dict[str, str]
    budgets: dict[str, str]
    outputs: list[str]
    totals: dict[str, str]
    rows: list[Row]


class Lock(NamedTuple):
    """A lock file."""

    archcalc: str  # the version that wrote it
    budgets: dict[str, str]
    networks: dict[str, Locked]


def locked(report: Report, settings: Mapping[str, str], shape: Any, budgets: Mapping[str, str]) -> Locked:
    """Describe a network; `settings` and `shape` are those that it was loaded with."""
    ran = report.ran
    ends = [ran.nodes[i].name for i in ran.ends]
    conditions = {key: str(report.conditions[key]) for key in CONDITIONS}
    totals = {key: _total(getattr(report.totals, key)) for key in TOTALS}
    return Locked(dict(settings), _shapes(shape), conditions, dict(budgets), ends, totals, rows_of(report))


def rows_of(report: Report) -> list[Row]:
    """Describe the layers of a network."""
    rows = []
    for layer in report.layers:
        node = layer.node
        more = *["side"] * node.side, *[f"weights of {layer.weights_of}"] * bool(layer.weights_of)
        text = operator_text(node.op, axes_of(node.op, node.x))
        rows.append(Row(node.name, text, list(layer.inputs), _shape_text(node.output), layer.params, layer.macs, more))
    return rows


def axes_of(op: type[Operator] | Operator, x: Any) -> int:
    """Return how many numbers an argument such as `stride` has, as where a spec is expanded."""
    return 2 if op.joins else len(getattr(x, "lengths", ())) or 2


@lru_cache(maxsize=4096)
def operator_text(op: Operator, axes: int) -> str:
    """Write an operator so that `read_operator` makes an equal one; else with a digest: `aten::einsum(#1a2b3c)`."""
    text = operator_call(op) if op.name in REGISTRY else op.name
    if read_operator(text, axes) == op:
        return text
    return f"{op.name}(#{sha256(repr(op).encode('utf-8', 'replace')).hexdigest()[:12]})"


@lru_cache(maxsize=4096)
def read_operator(text: str, axes: int) -> Operator | None:
    """Read an operator; None for a text that is no call of an operator of specs."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's warnings on literals
            call: Any = ast.parse(text if "(" in text else f"{text}()", mode="eval").body
        cls = REGISTRY[call.func.id]
        args = [_frozen(ast.literal_eval(value)) for value in call.args]
        keywords = {str(given.arg): _frozen(ast.literal_eval(given.value)) for given in call.keywords}
    except (SyntaxError, ValueError, TypeError, AttributeError, KeyError, RecursionError, MemoryError):
        return None
    try:
        return make(cls, args, keywords, axes)
    except Refusal:
        return None


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _total(value: int | None) -> str:
    return "unknown" if value is None else f"{value:d}"  # of a lower bound `≥ 5`


def _shape_text(shape: Shape) -> str:
    return "x".join(map(str, shape)) + ("" if shape.axes in USUAL else f" {shape.axes or '?'}")


def read_shape_text(text: str) -> Shape:
    """Read a layer's output, such as `64x56x56`, `128x768 TC` or `8x9 ?` without axes. Raises Refusal."""
    sizes, _, axes = text.partition(" ")
    kind = Shape if axes == "?" else KINDS.get(axes)
    if not re.fullmatch("([0-9]{1,19}(x[0-9]{1,19}){0,15})?", sizes) or (axes and not kind):
        raise Refusal(f"{shorten(text)!r} is not a shape")
    numbers = tuple([int(size) for size in sizes.split("x") if size])
    return kind(numbers) if kind else shape_of(numbers)


def _shapes(shape: Any) -> list[str]:
    """Write the shapes of `--input` as on the command line."""
    if isinstance(shape, Mapping):
        return [f"{name}={text}" for name, own in shape.items() for text in _shapes(own)]
    if shape is None:
        return []
    if isinstance(shape, Shape) and shape.axes not in USUAL:
        return [",".join(f"{axis}={size}" for axis, size in zip(shape.axes, shape, strict=True))]
    dtype = [shape.dtype] if isinstance(shape, TypedSizes) else []
    return [":".join([*dtype, *(["x".join(map(str, shape))] if shape else [])])]


# Writing


def lock_text(lock: Lock) -> str:
    """Return the text of a lock file. Raises ArchcalcError if it is too large to be read again."""
    lines = [f"lock: {FORMAT}", f"archcalc: {_word(lock.archcalc)}"]
    lines += _mapping("budgets", lock.budgets, "")
    lines += ["networks:"]
    for name, own in lock.networks.items():
        lines.append(f"  {_word(name)}:")
        lines += _mapping("set", own.settings, "    ")
        lines += [f"    input: [{', '.join(map(_json, own.shapes))}]"] if own.shapes else []
        lines += [f"    {key}: {value}" for key, value in own.conditions.items()]
        lines += _mapping("budgets", own.budgets, "    ")
        lines.append(f"    outputs: [{', '.join(map(_json, own.outputs))}]")
        lines += _mapping("totals", own.totals, "    ")
        lines.append("    layers: |")
        lines += [f"      {_json([*row[:-1], *row.more])}" for row in own.rows]
    text = HEADER + "\n".join(lines) + "\n"
    try:
        again = read_lock(text, "the lock")
    except ArchcalcError as error:
        message = error.message if isinstance(error, SpecError) else error
        raise ArchcalcError(f"cannot lock this: {message}; lock fewer networks in one file") from None
    assert again == lock
    return text


def _mapping(key: str, entries: Mapping[str, str], indent: str) -> list[str]:
    lines = [f"{indent}  {_word(own)}: {_word(text)}" for own, text in entries.items()]
    return [f"{indent}{key}:", *lines] if lines else []


def _word(text: str) -> str:
    """Write a scalar of YAML, in quotes unless it is plain."""
    return text if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_./-]*", text) else _json(text)


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isprintable() else json.dumps(value)


# Reading


def read_lock(text: str, name: str) -> Lock:
    """Read a lock file. Raises SpecError, with its place, for what is not one, and for one of another format."""
    if not text.strip():
        raise ArchcalcError(f"{name}: the file is empty; {AGAIN.partition(', or ')[2]}")
    root = parse_yaml(text, name)
    number = root.get("lock") if isinstance(root, Keys) else None
    if number and _text(number) != str(FORMAT):
        hint = "install the archcalc that wrote it, or write it again: archcalc lock NAME... --force"
        message = f"a lock of format {shorten(_text(number))}; this archcalc reads format {FORMAT}"
        raise SpecError(message, number.place, hint)
    root = _keys(root, KEYS, "a lock", ("lock", "archcalc", "networks"))
    entries = {key.text: _entry(key.text, value) for key, value in _mapped(root.get("networks"), "networks").entries}
    return Lock(_text(root.get("archcalc")), _budgets(root.get("budgets")), entries)


def _entry(name: str, value: Value) -> Locked:
    what = f"{shorten(name)} in a lock"
    entry = _keys(value, ENTRY_KEYS, what, (*CONDITIONS, "outputs", "totals", "layers"))
    lines = entry.get("layers")
    rows = [_row(line, lines, i) for i, line in enumerate(_text(lines).splitlines(), 1)]
    settings, totals = (_texts(entry.get(key), key) for key in ("set", "totals"))
    conditions = {key: _text(entry.get(key)) for key in CONDITIONS}
    shapes, outputs = (_items(entry.get(key), key) for key in ("input", "outputs"))
    return Locked(settings, shapes, conditions, _budgets(entry.get("budgets")), outputs, totals, rows)


def _row(line: str, lines: Any, number: int) -> Row:
    """Read the line of a layer. Raises SpecError."""
    try:
        name, op, inputs, output, params, macs, *more = json.loads(line)
        texts = all(isinstance(text, str) for text in (name, op, output, *inputs, *more))
        if texts and isinstance(inputs, list) and {type(params), type(macs)} <= {int, type(None)}:
            read_shape_text(output)
            return Row(name, op, inputs, output, params, macs, tuple(more))
    except (ValueError, TypeError, RecursionError):
        pass
    place = Place(lines.place.source, lines.place.line + number, 1)
    example = '["conv1", "conv(64, 3)", ["input"], "64x30x30", 1792, 1555200]'
    raise SpecError(f"not a layer; a line is {example}", place, AGAIN)


def _keys(value: Value, known: Collection[str], what: str, needed: Collection[str]) -> Keys:
    """Return a mapping with these keys. Raises SpecError for other keys, and without one that is needed."""
    found = check_keys(value, known, what)
    for key in needed:
        if found.get(key) is None:
            raise SpecError(f"{what} lacks {key}", value.place, AGAIN)
    return found


def _mapped(value: Value | None, what: str) -> Keys:
    if isinstance(value, Keys):
        return value
    raise SpecError(f"{what} needs keys and values", value and value.place, AGAIN)


def _texts(value: Value | None, what: str) -> dict[str, str]:
    return {key.text: _text(own) for key, own in _mapped(value, what).entries} if value else {}


def _items(value: Value | None, what: str) -> list[str]:
    if value and not isinstance(value, Sequence):
        raise SpecError(f"{what} needs a list", value.place, AGAIN)
    return [_text(item) for item in value.items] if value else []


def _text(value: Value | None) -> str:
    if isinstance(value, Scalar):
        return value.text
    raise SpecError("a text or number is needed here", value and value.place, AGAIN)


def _budgets(value: Value | None) -> dict[str, str]:
    """Read budgets. Raises SpecError for an unknown figure, and for what is not a number."""
    found = _texts(value, "budgets")
    for key, own in check_keys(value, BUDGETS, "budgets").entries if value else ():
        _check_limit(key.text, found[key.text], own.place)
    return found


def _check_limit(key: str, text: str, place: Place) -> None:
    try:
        limit(key, text)
    except Refusal as error:
        raise SpecError(f"{key}: {error}", place) from None


def limit(key: str, text: str) -> Exact:
    """Return the number of a budget, such as `5M` of max_params or `100MiB` of max_param_bytes. Raises Refusal."""
    return read_amount(text, BUDGETS[key].unit)
