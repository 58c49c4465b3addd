"""How nodes get their names.

A label or a branch opens a scope, and so does each call of a block that itself branches or labels (numbered from 0); a
block that is a plain chain melts into what surrounds it. In its scope an entry (a layer or a scope) gets its name by
these rules, the first that applies:

1. A label keeps its name: it is unique, and `use` finds it.
2. A named branch keeps its name if no label and no other branch of the scope has it.
3. A layer is named after its operator, and an unnamed branch `branch`, if the scope has one such entry and the spec
   itself does not use that name there.
4. All others are numbered from 1: `conv1`, `body2`. A number that would give a name that is taken is skipped.

So no two entries of a scope have one name, and since names have no dots, no layer has the name of a group that other
layers stand in: `stage2.0.body.conv1`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import TypeAlias

from archcalc.errors import Place, SpecError

MAX_NAME = 250  # characters of a layer's name
LABELLED = 0  # the number of an entry that is a label
Entry: TypeAlias = tuple[str, int]  # what it is called after ("" for a numbered block), and its number among those


class Scope:
    """Where nodes get their names; names are settled at the end, when all entries are known."""

    __slots__ = ("base", "branches", "counts", "labels", "number", "parent", "path", "settled")

    def __init__(self, parent: Scope | None, base: str, number: int) -> None:
        self.parent = parent
        self.base = base  # "" for a numbered one
        self.number = number
        self.counts: dict[str, int] = {}  # entries that are not labels
        self.branches: dict[str, list[int]] = {}  # the numbers of those that are named branches
        self.labels: dict[str, int] = {}  # the node each label's step ends in; -1 while it runs
        self.path: str | None = None
        self.settled: dict[Entry, str] = {}

    def enter(self, base: str) -> int:
        """Count one more entry of this name; its number, from 1."""
        self.counts[base] = number = self.counts.get(base, 0) + 1
        return number

    def enter_branch(self, name: str) -> int:
        """As `enter`, for a branch that the spec names."""
        number = self.enter(name)
        self.branches.setdefault(name, []).append(number)
        return number

    def entry(self, base: str, number: int) -> str:
        """The full name of an entry."""
        if not self.settled:
            self.settled = self._settle()
        return (self.prefix() if self.path is None else self.path) + self.settled[base, number]

    def named_as(self, other: Scope) -> Scope:
        """Take the names of another scope, which has equal entries and gets no more of them. Returns this scope."""
        other.settled = self.settled = other.settled or other._settle()
        return self

    def under(self, moved: dict[Scope, Scope]) -> Scope:
        """The copy of this scope below another top: `moved` maps the old top to the new one, and is completed."""
        if self not in moved and self.parent:
            moved[self] = Scope(self.parent.under(moved), self.base, self.number).named_as(self)
        return moved[self]

    def _settle(self) -> dict[Entry, str]:
        """The names of all entries."""
        names: dict[Entry, str] = {(label, LABELLED): label for label in self.labels}
        several = []
        for base, number in self.counts.items():
            branches = self.branches.get(base, ())
            alone = len(branches) == 1 or (number == 1 and base)
            if alone and base not in self.labels:
                names[base, branches[0] if branches else 1] = base
            if number > 1 or (base, 1) not in names:
                several.append((base, number))
        taken = set(names.values()) | self.branches.keys() if several else set()
        for base, number in several:
            free = _numbered(base, taken)
            names |= {(base, n): next(free) for n in range(1, number + 1) if (base, n) not in names}
        return names

    def prefix(self) -> str:
        """What stands before the names in this scope."""
        if self.path is None:
            self.path = self.parent.entry(self.base, self.number) + "." if self.parent else ""
        return self.path


def _numbered(base: str, taken: set[str]) -> Iterator[str]:
    """Names that are not taken yet, `base` with a number; without a base the numbers from 0."""
    for number in count(1 if base else 0):
        name = f"{base}{number}"
        if name not in taken:
            taken.add(name)
            yield name


def bounded(name: str, place: Place | None) -> str:
    """A layer's name. Raises SpecError for one that is too long: labels in labels could fill the memory."""
    if len(name) > MAX_NAME:
        hint = "shorten the labels, or nest fewer"
        raise SpecError(f"a layer's name of more than {MAX_NAME} characters", place, hint)
    return name
