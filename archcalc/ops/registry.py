"""Operators by name, from files that are imported when one of their operators is first asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from importlib import import_module
from typing import TypeVar

T = TypeVar("T")


class Registry(MutableMapping[str, T]):
    """The classes, each with the module that registers it."""

    def __init__(self) -> None:
        self.homes: dict[str, str] = {}
        self.known: dict[str, T | None] = {}  # None: not imported yet

    def declare(self, homes: Mapping[str, Iterable[str]]) -> None:
        """Declare what each module registers, in the order in which it is listed."""
        self.homes = {name: module for module, names in homes.items() for name in names}
        self.known = dict.fromkeys(self.homes) | self.known

    def __getitem__(self, name: str) -> T:
        if self.known[name] is None:
            import_module(self.homes[name])
        found = self.known[name]
        assert found is not None, f"{self.homes[name]} has no {name}"
        return found

    def __setitem__(self, name: str, value: T) -> None:
        self.known[name] = value

    def __delitem__(self, name: str) -> None:
        del self.known[name]

    def __contains__(self, name: object) -> bool:
        return name in self.known

    def __iter__(self) -> Iterator[str]:
        return iter(self.known)

    def __len__(self) -> int:
        return len(self.known)
