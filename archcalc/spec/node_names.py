"""Names of nodes.

A label or a branch opens a scope, and so does each call of a block that itself has branches or labels (numbered from
0). A block that is a plain chain merges into the scope around it. An entry of a scope (a layer or an inner scope) gets
its name by the first of these rules that applies:

1. A label keeps its name: it is unique, and `use` refers to it.
2. A named branch keeps its name if no label and no other branch of the scope has it.
3. A layer has the name of its operator, and an unnamed branch the name `branch`, if the scope has only one such entry
   and the spec does not use that name there.
4. All others are numbered from 1: `conv1`, `body2`. A number is skipped if its name is taken.

So names in a scope are unique, and since they have no dots, no layer has the name of a group of other layers:
`stage2.0.body.conv1`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import count
from typing import Any, TypeAlias

from archcalc.errors import Place, SpecError, shorten, suggest

MAX_NAME = 250  # characters of a layer's name
RUNNING = -1  # in place of a label's node while its step runs
LABELLED = 0  # the number of an entry that is a label
Entry: TypeAlias = tuple[str, int]  # the base of its name ("" for a numbered block), and its number of that base


class Scope:
    """A scope of names; they are settled at the end, when all entries are known."""

    __slots__ = ("base", "branches", "counts", "labels", "number", "outer", "parent", "path", "settled", "steps")

    def __init__(self, parent: Scope | None, base: str, number: int, outer: Scope | None = None) -> None:
        self.parent = parent
        self.outer = outer or parent  # where labels that are not here are looked up
        self.base = base  # "" for a numbered scope
        self.number = number
        self.counts: dict[str, int] = {}  # entries that are not labels
        self.branches: dict[str, list[int]] = {}  # the numbers of named branches
        self.labels: dict[str, int] = {}  # the last node of each label's step, or RUNNING
        self.steps: dict[str, Any] = {}  # what `again` needs of each label's step
        self.path: str | None = None
        self.settled: dict[Entry, str] = {}

    def around(self) -> Iterator[Scope]:
        """Yield this scope and all around it."""
        at: Scope | None = self
        while at:
            yield at
            at = at.outer

    def labelling(self, label: str) -> Scope | None:
        """Return the nearest scope in which an earlier step has this label."""
        return next((at for at in self.around() if at.labels.get(label, RUNNING) != RUNNING), None)

    def known(self) -> list[str]:
        """Return the labels of all earlier steps in this scope and around it."""
        return [label for at in self.around() for label, node in at.labels.items() if node != RUNNING]

    def labelled(self, label: str, word: str, place: Place) -> Scope:
        """Return what `labelling` does for `use` or `again`. Raises SpecError if there is none."""
        found = self.labelling(label)
        if found is None:
            hint = suggest(label, self.known()) or f"a label must come before `{word}`, in this block or around it"
            raise SpecError(f"no earlier step is labelled {shorten(label)}", place, hint)
        return found

    def enter(self, base: str) -> int:
        """Count one more entry with this base. Returns its number, from 1."""
        self.counts[base] = number = self.counts.get(base, 0) + 1
        return number

    def enter_branch(self, name: str) -> int:
        """Count one more branch that the spec names. Returns its number, from 1."""
        number = self.enter(name)
        self.branches.setdefault(name, []).append(number)
        return number

    def entry(self, base: str, number: int) -> str:
        """Return the full name of an entry."""
        if not self.settled:
            self.settled = self._settle()
        return (self.prefix() if self.path is None else self.path) + self.settled[base, number]

    def named_as(self, other: Scope) -> Scope:
        """Take over the names of another scope with equal entries, which is complete. Returns this scope."""
        other.settled = self.settled = other.settled or other._settle()
        return self

    def under(self, moved: dict[Scope, Scope]) -> Scope:
        """Copy this scope to another top scope: `moved` maps old scopes to new ones, and is filled."""
        if self not in moved and self.parent:
            moved[self] = Scope(self.parent.under(moved), self.base, self.number).named_as(self)
        return moved[self]

    def _settle(self) -> dict[Entry, str]:
        """Return the names of all entries."""
        branches = tuple([(base, *numbers) for base, numbers in self.branches.items()])
        return _settled(tuple(self.labels), tuple(self.counts.items()), branches)

    def prefix(self) -> str:
        """Return the prefix of the names in this scope."""
        if self.path is None:
            self.path = self.parent.entry(self.base, self.number) + "." if self.parent else ""
        return self.path


@lru_cache(maxsize=1024)
def _settled(
    labels: tuple[str, ...], counts: tuple[tuple[str, int], ...], branches: tuple[tuple[Any, ...], ...]
) -> dict[Entry, str]:
    """Return the names of a scope's entries; most scopes of a network have the same. Callers must not change them."""
    named = {base: numbers for base, *numbers in branches}
    names: dict[Entry, str] = {(label, LABELLED): label for label in labels}
    several = []
    for base, number in counts:
        own = named.get(base, ())
        alone = len(own) == 1 or (number == 1 and base)
        if alone and base not in labels:
            names[base, own[0] if own else 1] = base
        if number > 1 or (base, 1) not in names:
            several.append((base, number))
    taken = set(names.values()) | named.keys() if several else set()
    for base, number in several:
        free = _numbered(base, taken)
        names |= {(base, n): next(free) for n in range(1, number + 1) if (base, n) not in names}
    return names


def _numbered(base: str, taken: set[str]) -> Iterator[str]:
    """Yield names that are not taken: `base` with a number from 1; without a base the numbers from 0."""
    for number in count(1 if base else 0):
        name = f"{base}{number}"
        if name not in taken:
            taken.add(name)
            yield name


def bounded(name: str, place: Place | None) -> str:
    """Return a layer's name. Raises SpecError if it is too long: nested labels could exhaust memory."""
    if len(name) > MAX_NAME:
        hint = "use shorter labels, or fewer labels inside each other"
        raise SpecError(f"the name of a layer has more than {MAX_NAME} characters", place, hint)
    return name
