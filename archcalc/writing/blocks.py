"""Pieces that repeat as blocks: what differs between them becomes parameters."""

from __future__ import annotations

import keyword
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import MISSING
from typing import Any, NamedTuple

from archcalc.ops import REGISTRY
from archcalc.spec.functions import DIMENSIONS, FUNCTIONS
from archcalc.spec.layers import is_reserved
from archcalc.writing.terms import Code, Steps, Term, Word, folded, keys_of, labels_in, plain, values_of

NAMES = {"out_channels": "channels", "out_features": "features", "kernel_size": "kernel", "num_heads": "heads",
         "output_size": "size", "p": "drop"}  # fmt: skip  # of parameters, by the argument that they set
WIDTHS = ("channels", "features", "hidden_size")  # these may be multiples of each other
COMMON = re.compile("layers?|features?|stages?|blocks?|body|skip|model|net|backbone|encoder|decoder|classifier|head")
SHORT = {"batchnorm": "bn", "layernorm": "ln", "groupnorm": "gn"}
MOST = 8  # most parameters of a block that is one line


class Block(NamedTuple):
    """A block: its parameters, with their defaults or MISSING, and its steps."""

    parameters: dict[str, Any]
    steps: Steps


class Written(NamedTuple):
    """All steps and blocks of a spec."""

    steps: Steps
    blocks: dict[str, Block]


def in_blocks(steps: Steps) -> Written:
    """Return steps in which pieces are blocks, labelled parts or nothing, the innermost first."""
    blocks: dict[str, Block] = {}
    while True:
        found: dict[Any, list[tuple[Term, str]]] = {}
        for piece, around in _innermost(steps, ""):
            found.setdefault(_key(piece), []).append((piece, around))
        if not found:
            return Written(folded(steps), blocks)
        calls: dict[Any, Term] = {}
        for alike in found.values():
            pieces = [piece._replace(parts=folded(piece.parts)) for piece, _ in alike]
            if _is_block(pieces):
                name = _name(pieces, [around for _, around in alike], blocks)
                blocks[name], terms = _block(name, pieces)
                calls |= {id(piece): term for (piece, _), term in zip(alike, terms, strict=True)}
        steps = _without_pieces(steps, calls, True)


def _key(piece: Term) -> Any:
    labels = labels_in(piece.parts)
    return tuple([step.skeleton(labels) for step in folded(piece.parts)])


def _innermost(steps: Sequence[Term], around: str) -> Iterator[tuple[Term, str]]:
    """Yield pieces without pieces inside them, each with the name of what is around it."""
    for step in steps:
        if step.kind == "piece" and not any(term.kind == "piece" for part in step.parts for term in part.below()):
            yield step, around
        else:
            yield from _innermost(step.parts, step.name if step.kind in ("piece", "label", "branch") else around)


def _is_block(pieces: Sequence[Term]) -> bool:
    """Whether pieces that are alike become a block: it saves lines, or is numbered and has several lines."""
    steps = pieces[0].parts
    kinds = [term.kind for step in steps for term in step.below()]
    if all(map(plain, steps)):
        varying = len({*_columns(pieces)[0]} - {None})
        long = kinds.count("op") >= 2 or kinds.count("op") + kinds.count("call") >= 3
        return len(pieces) >= 3 and long and varying <= MOST
    return len(pieces) >= 2 or pieces[0].name.isdigit()


def _without_pieces(steps: Steps, calls: dict[int, Term], top: bool) -> Steps:
    """Replace the innermost pieces: by calls of blocks, by labelled parts, or by their steps."""
    made: list[Term] = []
    for step in steps:
        if step.kind == "piece" and not any(term.kind == "piece" for part in step.parts for term in part.below()):
            made += _settled(step, calls.get(id(step)), top)
        else:
            inner = _without_pieces(step.parts, calls, False)
            if step.kind in ("label", "branch") and len(inner) == 1 and inner[0].kind == "part":
                inner = inner[0].parts
            made.append(step._replace(parts=inner))
    return tuple(made)


def _settled(piece: Term, call: Term | None, top: bool) -> Steps:
    """Return a piece as a labelled part if it is long or at the top, or else its steps."""
    steps = (call,) if call else folded(piece.parts)
    long = not all(map(plain, steps)) or (top and len(steps) > 1) or len(steps) > 3 or bool(call)
    if long and not piece.name.isdigit():
        return (Term("part", piece.name, parts=steps),)
    return tuple([inner for step in steps for inner in (step.parts if step.kind == "part" else (step,))])


def _columns(pieces: Sequence[Term]) -> tuple[list[tuple[Any, ...] | None], list[str]]:
    """Return for each value in pieces that are alike its values, None if they are equal, and its name."""
    rows = [values_of(piece.parts) for piece in pieces]
    columns = [tuple(column) for column in zip(*rows, strict=True)]
    keys = [NAMES.get(key, key) for key in keys_of(pieces[0].parts)]
    return [own if len({*map(repr, own)}) > 1 else None for own in columns], keys


def _block(name: str, pieces: Sequence[Term]) -> tuple[Block, list[Term]]:
    """Return the block of pieces that are alike, and a call for each."""
    columns, keys = _columns(pieces)
    taken = labels_in(pieces[0].parts) | {term.name for step in pieces[0].parts for term in step.below()}
    parameters: dict[str, tuple[str, tuple[Any, ...]]] = {}  # by name: its argument and values
    codes = list[Any]()
    for column, key, value in zip(columns, keys, values_of(pieces[0].parts), strict=True):
        code = value if column is None else _known(column, key, parameters)
        if code is None and column is not None:
            code = _free(key, {*taken, *parameters})
            parameters[code] = key, column
        codes.append(code if column is None else Code(code))
    values = iter(codes)
    steps = tuple([step.with_values(values) for step in pieces[0].parts])
    defaults = {own: _default(column, key) for own, (key, column) in parameters.items()}
    ordered = sorted(parameters, key=lambda own: defaults[own] is not MISSING)
    calls = [
        Term("call", name, tuple(ordered), tuple([parameters[own][1][i] for own in ordered]))
        for i, _ in enumerate(pieces)
    ]
    return Block({own: defaults[own] for own in ordered}, steps), calls


def _known(column: tuple[Any, ...], key: str, parameters: dict[str, tuple[str, tuple[Any, ...]]]) -> str | None:
    """Return values as an expression of another parameter's, or None."""
    wide, whole = _is_width(key), all(type(value) is int for value in column)
    for name, (own, other) in parameters.items():
        if repr(other) == repr(column) and (own == key or (wide and _is_width(own))):
            return name
        if not whole or not all(type(value) is int and value > 0 for value in other):
            continue
        if key == "padding" and own == "kernel" and column == tuple([value // 2 for value in other]):
            return f"{name} // 2"
        if wide and _is_width(own):
            factor, divisor = column[0] // other[0], other[0] // max(column[0], 1)
            if factor > 1 and column == tuple([factor * value for value in other]):
                return f"{factor} * {name}"
            if divisor > 1 and other == tuple([divisor * value for value in column]):
                return f"{name} // {divisor}"
    return None


def _is_width(key: str) -> bool:
    return key.rstrip("0123456789") in WIDTHS


def _default(column: tuple[Any, ...], key: str) -> Any:
    """Return the value that half of the calls have, unless it is a width or label; MISSING without one."""
    if _is_width(key) or key == "depth" or any(isinstance(value, Word) for value in column):
        return MISSING
    value, count = Counter(column).most_common(1)[0]
    return value if 2 * count >= len(column) else MISSING


def _free(name: str, taken: Collection[str]) -> str:
    """Return a name that an expression can mention, and that nothing else has."""
    name = re.sub(r"\d+$", "", name) or "value"
    bad = name in REGISTRY or name in FUNCTIONS or name in DIMENSIONS or is_reserved(name) or keyword.iskeyword(name)
    made, number = name + "_" * bad, 2
    while made in taken:
        made, number = f"{name}{number}", number + 1
    return made


def _name(pieces: Sequence[Term], around: Sequence[str], blocks: Collection[str]) -> str:
    """Return a name for a block: of its modules, without numbers; or by what it does."""
    own = {
        re.sub(r"[^A-Za-z_].*$", "", outer if piece.name.isdigit() else piece.name).strip("_").lower()
        for piece, outer in zip(pieces, around, strict=True)
    }
    name = own.pop() if len(own) == 1 else ""
    if COMMON.fullmatch(name) or len(name) < 3 or not name.isidentifier() or is_reserved(name):
        name = _described(pieces[0].parts)
    return _free(name, {*blocks, "input"})


def _described(steps: Steps) -> str:
    """Return a name for what a block does."""
    inside = [term for step in steps for term in step.below()]
    for join in [step for step in steps if step.kind == "join"][:1]:
        skips = any(len(branch.parts) == 1 and branch.parts[0].name == "identity" for branch in join.parts)
        return {"add": "residual" if skips else "projection", "multiply": "gated"}.get(join.name, "branches")
    layers = [term for term in inside if term.kind in ("op", "call")]
    name = "_".join([SHORT.get(layer.name, layer.name) for layer in layers])
    return name if len(layers) <= 3 and len(name) <= 24 else "unit"
