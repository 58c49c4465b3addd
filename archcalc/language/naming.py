"""How nodes get their names.

A label or a named branch opens a scope, and so does each call of a block that itself branches or labels (numbered
from 0); a block that is a plain chain melts into what surrounds it. An operator is named after itself, with a number
where its scope has several: `stage2.0.body.conv1`.
"""

from __future__ import annotations

from archcalc.errors import Place, SpecError

MAX_NAME = 250  # characters of a layer's name
LABELLED = 0  # the number of an entry whose name is given


class Scope:
    """Where nodes get their names; names are settled at the end, when it is known what stands there twice."""

    __slots__ = ("base", "counts", "labels", "number", "parent", "path")

    def __init__(self, parent: Scope | None, base: str, number: int) -> None:
        self.parent = parent
        self.base = base  # "" for a numbered one
        self.number = number
        self.counts: dict[str, int] = {}
        self.labels: dict[str, int] = {}  # the node each label's step ends in; -1 while it runs
        self.path: str | None = None

    def enter(self, base: str) -> int:
        """Count one more entry of this name; its number, from 1."""
        self.counts[base] = number = self.counts.get(base, 0) + 1
        return number

    def entry(self, base: str, number: int) -> str:
        """The full name of an entry; nothing but a label bears a label's name."""
        if not base:
            name = str(number - 1)
        elif number == LABELLED or (self.counts[base] == 1 and base not in self.labels):
            name = base
        else:
            name = f"{base}{number}"
            while name in self.labels:
                name += "_"
        return f"{self.prefix()}{name}"

    def prefix(self) -> str:
        """What stands before the names in this scope."""
        if self.path is None:
            self.path = self.parent.entry(self.base, self.number) + "." if self.parent else ""
        return self.path


def bounded(name: str, place: Place | None) -> str:
    """A layer's name. Raises SpecError for one that is too long: labels in labels could fill the memory."""
    if len(name) > MAX_NAME:
        hint = "shorten the labels, or nest fewer"
        raise SpecError(f"a layer's name of more than {MAX_NAME} characters", place, hint)
    return name
