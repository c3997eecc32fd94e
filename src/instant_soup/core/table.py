"""Table: what goes by a name, such as methods and scores; a name that no table lists is answered with the nearest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

from .errors import unknown

Item = TypeVar("Item")


class Table(Mapping[str, Item]):
    """Items of one *kind* by name, in a fixed order. Nothing is added or taken away.

    ``table[name]`` raises UnknownName, which is a KeyError too.
    """

    def __init__(self, kind: str, items: Mapping[str, Item]) -> None:
        self.kind = kind
        self._items = dict(items)

    def __getitem__(self, name: str) -> Item:
        if name not in self:
            raise unknown(self.kind, str(name), self._items)
        return self._items[name]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._items

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return f"Table of {self.kind}s: {', '.join(self)}"
