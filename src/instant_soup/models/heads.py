"""Heads: in which order the head of a fine-tuned model knows its classes.

Data names its classes in the order of the alphabet. A checkpoint has learned them in the order of its own
``id2label``, and a head that is read in another order is wrong from the start.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from torch import nn
from transformers import PreTrainedModel

_NUMBERED = re.compile(r"(label_?)?\d+", re.IGNORECASE)
"""What transformers calls a class that nobody has named, or a table that has numbers alone."""


def classes_in_order(model: nn.Module, names: Sequence[str]) -> tuple[str, ...]:
    """The classes *names*, in the order in which the configuration of *model* states the same ones, in any case.

    They stay in their own order where it states others, or none.
    """
    stated = _stated_classes(model)
    spelling_of = {name.casefold(): name for name in names}
    ordered = tuple(spelling_of.get(name.casefold(), "") for name in stated)

    # two names that differ only in case cannot be told apart by it
    if len(spelling_of) != len(names) or sorted(ordered) != sorted(names):
        return tuple(names)
    return ordered


def knows(model: nn.Module, names: Sequence[str]) -> bool:
    """Whether the configuration of *model* names just the classes *names*: it was fine-tuned to tell them apart."""
    stated = [name.casefold() for name in _stated_classes(model)]
    return bool(names) and sorted(stated) == sorted(name.casefold() for name in names)


def others_known(model: nn.Module, names: Sequence[str]) -> list[str]:
    """The classes that the head of *model* was trained to tell apart, where they are not those called *names*.

    Empty where either has no words for them: numbers may be those of any classes.
    """
    stated = _stated_classes(model)
    has_words = not any(_NUMBERED.fullmatch(name) for name in (*stated, *names))
    is_other = has_words and len(stated) == len(names) and not knows(model, names)
    return stated if is_other else []


def _stated_classes(model: nn.Module) -> list[str]:
    """The names of the outputs of *model*, in their order; empty where its configuration does not number them."""
    if not isinstance(model, PreTrainedModel):
        return []

    labels: Any = model.config.id2label
    numbers = range(len(labels or {}))
    if set(labels or {}) != set(numbers):
        return []
    return [str(labels[number]) for number in numbers]
