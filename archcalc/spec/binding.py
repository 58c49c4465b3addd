"""What a call writes, bound: to the parameters of a block, or to the arguments of an operator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from archcalc.errors import ArgumentError, Place, SpecError, suggest
from archcalc.ops import Operator, make
from archcalc.spec.functions import Names
from archcalc.spec.layers import Call, Join
from archcalc.spec.network_spec import Block

MAX_SHORT = 16  # values of a list that `text` has


class Given(NamedTuple):
    """The values of written arguments: by position, and by keyword.

    `text` says whether two are alike: 1, 1.0 and True are equal, but not alike. It is None if a list among them is
    long: to write that for every call could take longer than the call.
    """

    args: tuple[Any, ...]
    keywords: dict[str, Any]
    lists: Sequence[tuple[Any, ...]]  # those among the values
    text: str | None


NOTHING = Given((), {}, (), "")


def evaluate(call: Call | Join, names: Names) -> Given:
    """The values of a call's arguments."""
    if not (call.positional or call.named):
        return NOTHING
    args = tuple([argument.value.run(names) for argument in call.positional])
    keywords = {argument.keyword: argument.value.run(names) for argument in call.named} if call.named else {}
    lists = [value for value in (*args, *keywords.values()) if type(value) is tuple]
    short = all(len(values) <= MAX_SHORT and tuple not in map(type, values) for values in lists) if lists else True
    return Given(args, keywords, lists, f"{args}{keywords}" if short else None)


def operator_with(call: Call | Join, cls: type[Operator], given: Given) -> Operator:
    """An operator with these arguments. Raises SpecError at the argument that is wrong."""
    try:
        return make(cls, given.args, given.keywords)
    except ArgumentError as error:
        raise SpecError(f"{cls.name}: {error}", place_of(call, error.argument)) from None


def parameters_of(call: Call, block: Block, given: Given) -> dict[str, Any]:
    """The values that a call gives to a block's parameters. Raises SpecError at the argument that is wrong."""
    parameters = [name for name, _ in block.parameters]
    bound = dict(zip(parameters, given.args, strict=False))
    if len(given.args) > len(parameters):
        most = f"{len(parameters)} argument{'s' if len(parameters) != 1 else ''}"
        place = place_of(call, len(parameters))
        raise SpecError(f"{block.name}: takes at most {most}: {block.signature()}", place)
    for name, value in given.keywords.items():
        if name not in parameters:
            hint = suggest(name, parameters)
            raise SpecError(f"{block.name}: has no parameter {name!r}: {block.signature()}", place_of(call, name), hint)
        if name in bound:
            raise SpecError(f"{block.name}: gets {name} twice", place_of(call, name))
        bound[name] = value
    missing = [name for name, default in block.parameters if default is None and name not in bound]
    if missing:
        raise SpecError(f"{block.name}: lacks {' and '.join(missing)}: {block.signature()}", call.place)
    return bound


def place_of(call: Call | Join, argument: int | str | None) -> Place:
    """Where an argument is written, by its position or keyword; otherwise the call's own place."""
    if isinstance(argument, int):
        return call.positional[argument].place
    return next((written.place for written in call.named if written.keyword == argument), call.place)
