"""Pieces that repeat as blocks: what differs between them becomes parameters."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import MISSING
from typing import Any, NamedTuple

from archcalc.writing.terms import (
    IDENTITY,
    Code,
    Steps,
    Term,
    folded,
    free_name,
    labels_in,
    plain,
    values_of,
)

NAMES = {"out_channels": "channels", "out_features": "features", "kernel_size": "kernel", "num_heads": "heads",
         "output_size": "size", "p": "drop"}  # fmt: skip  # of parameters, by the argument that they set
WIDTHS = ("channels", "features", "hidden_size")  # these may be multiples of each other
COMMON = re.compile("layers?|features?|stages?|blocks?|body|skip|model|net|backbone|encoder|decoder|classifier|head")
SHORT = {"batchnorm": "bn", "layernorm": "ln", "groupnorm": "gn"}


class Block(NamedTuple):
    """A block: its parameters, with their defaults or MISSING, and its steps."""

    parameters: dict[str, Any]
    steps: Steps


def in_blocks(steps: Steps) -> tuple[Steps, dict[str, Block]]:
    """Return steps in which pieces are blocks, labelled parts or nothing, the innermost first; and the blocks."""
    blocks: dict[str, Block] = {}
    while pieces := [piece for step in steps for piece in _innermost(step)]:
        settled: dict[int, Steps] = {}
        groups: dict[Any, list[Term]] = {}
        for piece in pieces:
            groups.setdefault(_skeleton(folded(piece.parts)), []).append(piece)
        for alike in groups.values():
            found = [piece._replace(parts=folded(piece.parts)) for piece in alike]
            if _is_block(found):
                name = free_name(_name(found), {*blocks, "input"})
                blocks[name], found = _block(name, found)
            settled |= {id(piece): _settled(own, piece in steps) for piece, own in zip(alike, found, strict=True)}
        steps = _without_pieces(steps, settled)
    return folded(steps), blocks


def _skeleton(steps: Steps) -> Any:
    labels = labels_in(steps)
    return tuple([step.skeleton(labels) for step in steps])


def _innermost(step: Term) -> Iterator[Term]:
    """Yield pieces without pieces inside them."""
    inside = [piece for part in step.parts for piece in _innermost(part)]
    yield from inside or ([step] if step.kind == "piece" else [])


def _without_pieces(steps: Steps, settled: dict[int, Steps]) -> Steps:
    """Replace pieces; a part that is all of a labelled step or branch is only its steps."""
    made = list[Term]()
    for step in steps:
        inner = _without_pieces(step.parts, settled)
        if step.kind in ("label", "branch") and len(inner) == 1 and inner[0].kind == "part":
            inner = inner[0].parts
        made += settled.get(id(step)) or (step._replace(parts=inner),)
    return tuple(made)


def _settled(piece: Term, top: bool) -> Steps:
    """Return a piece as a labelled part if it has a name, and is long or a block or at the top; or else its steps."""
    steps = piece.parts
    long = len(steps) > (1 if top else 3) or steps[0].kind == "call" or not all(map(plain, steps))
    if long and not piece.name.isdigit():
        return (piece._replace(kind="part"),)
    return tuple([inner for step in steps for inner in (step.parts if step.kind == "part" else (step,))])


def _is_block(pieces: Sequence[Term]) -> bool:
    """Whether pieces that are alike become a block: it saves lines, or is numbered and has several lines."""
    steps = pieces[0].parts
    kinds = [term.kind for step in steps for term in step.below()]
    if all(map(plain, steps)):
        long = kinds.count("op") >= 2 or kinds.count("op") + kinds.count("call") >= 3
        return len(pieces) >= 3 and long
    return len(pieces) >= 2 or pieces[0].name.isdigit()


def _block(name: str, pieces: Sequence[Term]) -> tuple[Block, list[Term]]:
    """Return the block of pieces that are alike, and the pieces with a call each; what differs is a parameter."""
    inside = [term for step in pieces[0].parts for term in step.below()]
    taken = labels_in(pieces[0].parts) | {term.name for term in inside if term.kind == "call"}
    keys = [NAMES.get(key, key) for term in inside for key in term.keys]
    columns = zip(*[values_of(piece.parts) for piece in pieces], strict=True)
    parameters: dict[str, tuple[str, tuple[Any, ...]]] = {}  # by name: its argument and values
    values = list[Any]()
    for key, column in zip(keys, columns, strict=False):
        value = column[0]
        if len({*map(repr, column)}) > 1:
            value = Code(_known(column, key, parameters) or free_name(_unnumbered(key), {*taken, *parameters}))
            if value.isidentifier():
                parameters.setdefault(value, (key, column))
        values.append(value)
    rest = iter(values)
    steps = tuple([step.with_values(rest) for step in pieces[0].parts])
    defaults = {own: _default(column, key) for own, (key, column) in parameters.items()}
    ordered = tuple(sorted(parameters, key=lambda own: defaults[own] is not MISSING))
    calls = list[Term]()
    for place, piece in enumerate(pieces):
        given = tuple([parameters[own][1][place] for own in ordered])
        calls.append(piece._replace(parts=(Term("call", name, ordered, given),)))
    return Block({own: defaults[own] for own in ordered}, steps), calls


def _known(column: tuple[Any, ...], key: str, parameters: dict[str, tuple[str, tuple[Any, ...]]]) -> str | None:
    """Return values as an expression of another parameter's, or None."""
    for name, (own, other) in parameters.items():
        wide = _is_width(key) and _is_width(own)
        if repr(other) == repr(column) and (own == key or wide):
            return name
        if not all(type(value) is int for value in (*column, *other)):
            continue
        if (key, own) == ("padding", "kernel") and column == tuple([value // 2 for value in other]):
            return f"{name} // 2"
        larger, smaller = (column, other) if column > other else (other, column)
        factor = larger[0] // smaller[0] if wide else 0
        if wide and larger == tuple([factor * value for value in smaller]):
            return f"{factor} * {name}" if larger is column else f"{name} // {factor}"
    return None


def _is_width(key: str) -> bool:
    return key.rstrip("0123456789") in WIDTHS


def _default(column: tuple[Any, ...], key: str) -> Any:
    """Return the value that half of the calls have, unless it is a width, depth or label; MISSING without one."""
    if _is_width(key) or key in ("depth", "skip", "again", "weight"):
        return MISSING
    value, count = Counter(column).most_common(1)[0]
    return value if 2 * count >= len(column) else MISSING


def _unnumbered(name: str) -> str:
    return re.sub(r"[^A-Za-z_].*$", "", name).strip("_").lower()


def _name(pieces: Sequence[Term]) -> str:
    """Return a name for a block: of its modules, without numbers; or by what it does."""
    own = {_unnumbered(piece.name) for piece in pieces}
    name = own.pop() if len(own) == 1 else ""
    if len(name) > 2 and free_name(name) == name and not COMMON.fullmatch(name):
        return name
    inside = [term for step in pieces[0].parts for term in step.below()]
    layers = [term for term in inside if term.kind in ("op", "call")]
    for join in [step for step in pieces[0].parts if step.kind == "join"][:1]:
        skips = any(branch.parts == (IDENTITY,) for branch in join.parts)
        return {"add": "residual" if skips else "projection", "multiply": "gated"}.get(join.name, "branches")
    name = "_".join([SHORT.get(layer.name, layer.name) for layer in layers])
    return name if len(layers) <= 3 and len(name) <= 24 else "unit"
