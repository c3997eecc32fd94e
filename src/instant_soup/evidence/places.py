"""Places: data and models by the bytes that runs read there, and not only by where these lay.

A recipe says where data and model lie, and records since schema 4 also hold a digest of what was there. One path may
have held several data one after the other, or on several machines, and one data may lie under several paths.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..store.parts import AskedFor
from ..store.record import Outcome

_TABLES = {
    "data": ("data", "folder"),
    "test": ("data", "test"),
    "model": ("task", "model"),
}
"""Part of a record's contents -> table and field of the recipe that say where it lay."""
_SHOWN = 8  # digits of a digest in a title


@dataclass(frozen=True)
class Places:
    """What to call the data and the models of some records.

    Attributes:
        names: (part, digest) -> the first of the places where it lay, with its digest where other bytes lay there too.
        digests: (part, place) -> of what was found there, where that was the same for all.
    """

    names: Mapping[tuple[str, str], str]
    digests: Mapping[tuple[str, str], str]

    @classmethod
    def of(cls, records: Iterable[Outcome]) -> Places:
        """The places that *records* tell of."""
        places_of: dict[tuple[str, str], set[str]] = defaultdict(set)
        read_at: dict[tuple[str, str], set[tuple[bool, str]]] = defaultdict(set)
        for record in records:
            # before the test text had a digest of its own, that of the data was one of both
            apart = "test" in record.contents
            for part, place in _places(record.recipe).items():
                digest = record.contents.get(part)
                if digest is not None:
                    places_of[part, digest].add(place)
                    read_at[part, place].add((apart, digest))

        changed = {place for place, digests in read_at.items() if _differ(digests)}
        names = {}
        for (part, digest), places in places_of.items():
            name = min(places)
            if (part, name) in changed:
                name += f" with contents {digest[:_SHOWN]}"
            names[part, digest] = name

        unchanged = read_at.keys() - changed
        return cls(names, {place: min(read_at[place])[1] for place in unchanged})

    def fields(self, recipe: AskedFor, contents: Mapping[str, str]) -> dict[str, str]:
        """The fields of *recipe* that say where something lies, by the name of what was there.

        Args:
            contents: part -> digest; what it lacks is taken to be what others found in the same place.
        """
        fields = {}
        for part, place in _places(recipe).items():
            digest = contents.get(part) or self.digests.get((part, place))
            name = place if digest is None else self.names.get((part, digest), place)
            fields[_TABLES[part][1]] = name
        return fields


def _places(recipe: AskedFor) -> dict[str, str]:
    """Part -> where it lies, of those that *recipe* names."""
    tables: Mapping[str, Mapping[str, Any]] = {
        "task": recipe.task.facts(),
        "data": recipe.data,
    }
    places = {}
    for part, (table, field) in _TABLES.items():
        place = tables[table].get(field)
        if isinstance(place, str):
            places[part] = place
    return places


def _differ(digests: Iterable[tuple[bool, str]]) -> bool:
    """Whether *digests* that were made alike are of different bytes."""
    alike = Counter(made for made, _ in digests)
    return max(alike.values()) > 1
