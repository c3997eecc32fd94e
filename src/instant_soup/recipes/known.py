"""Known: the tasks and methods that recipes may name, as tables that are filled when they are first looked at.

To fill them torch and transformers have to be imported, which takes seconds. Whoever only mistyped the name of a file
or of a key is told without.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from ..data.images import ImageSpec
    from ..data.known_texts import LanguageSpec
    from ..data.text import TextSpec
    from ..methods import Variant

Item = TypeVar("Item")


class Known(Mapping[str, Item]):
    """A table by names, made by *fill* when it is first looked at."""

    def __init__(self, fill: Callable[[], Mapping[str, Item]]) -> None:
        self._fill = fill

    # made once and then kept: filling it imports the methods or the tasks
    @cached_property
    def _table(self) -> Mapping[str, Item]:
        return self._fill()

    def __getitem__(self, name: str) -> Item:
        return self._table[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)


def _drawn() -> Mapping[str, Variant]:
    from ..methods import METHODS, REFERENCES

    return {**METHODS, **REFERENCES}


def _references() -> Mapping[str, Variant]:
    from ..methods import REFERENCES

    return REFERENCES


def _tasks() -> Mapping[str, TextSpec | ImageSpec | LanguageSpec]:
    from .. import tasks

    return tasks.TASKS


DRAWN: Mapping[str, Variant] = Known(_drawn)
"""Every method that a recipe may name, references included."""

REFERENCES: Mapping[str, Variant] = Known(_references)
"""Those that prune nothing."""

TASKS: Mapping[str, TextSpec | ImageSpec | LanguageSpec] = Known(_tasks)
"""Every task that is known by its name."""
