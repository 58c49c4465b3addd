"""The arguments of a call of an operator or block: as they are written, and their values."""

import ast
from collections.abc import Sequence
from typing import Any, NamedTuple

from archcalc.errors import Place
from archcalc.spec.expression import Compiled

MAX_SHORT = 16  # most values of a list in `text`


class Argument(NamedTuple):
    """An argument of a call; its keyword is "" if it is given by position."""

    keyword: str
    value: Compiled
    place: Place

    @property
    def word(self) -> str:
        """The value, if it is a single name, which may be that of a labelled step."""
        tree = self.value.tree
        return tree.id if isinstance(tree, ast.Name) else ""


class Arguments(NamedTuple):
    """The values of a call's arguments: by position, and by keyword.

    `text` identifies them: 1, 1.0 and True are equal, but have different texts. Arguments with a long list equal no
    others, since writing the list for every call could take longer than the call.
    """

    args: tuple[Any, ...]
    keywords: dict[str, Any]
    lists: Sequence[tuple[Any, ...]]  # the values that are lists
    text: object


def given_by(args: tuple[Any, ...], keywords: dict[str, Any]) -> Arguments:
    """Return arguments with these values."""
    lists = [value for value in (*args, *keywords.values()) if type(value) is tuple]
    short = all(len(values) <= MAX_SHORT and tuple not in map(type, values) for values in lists) if lists else True
    return Arguments(args, keywords, lists, f"{args}{keywords}" if short else object())


NOTHING = given_by((), {})


def constant_arguments(written: Sequence[Argument]) -> Arguments | None:
    """Return arguments that are constants, and so the same in each run; None for others."""
    trees = [(argument.keyword, argument.value.tree) for argument in written]
    values = [(keyword, tree.value) for keyword, tree in trees if isinstance(tree, ast.Constant)]
    if len(values) < len(written):
        return None
    return given_by(tuple([own for keyword, own in values if not keyword]), {key: own for key, own in values if key})
