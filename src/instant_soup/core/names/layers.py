"""Layers: the numbered steps in the names of tensors.

``bert.encoder.layer.3.output.dense.weight`` stands in layer 3 of the stack ``bert.encoder.layer``. Nothing else in
this library takes names of tensors apart at their numbers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

NUMBER = "{}"
"""What stands for a number in a pattern of names."""

# a whole step of digits, wherever the name stands in a text
_STEP = re.compile(r"(?<![^.])\d+(?![^.])")


@dataclass(frozen=True)
class InLayer:
    """A name, taken apart at one of its numbers.

    Attributes:
        stack: the steps before the number; empty where the name begins with it.
        number: of the layer.
        rest: the steps behind the number.
    """

    stack: str
    number: int
    rest: str

    @property
    def layer(self) -> str:
        """The name of the layer."""
        return f"{self.stack}.{self.number}" if self.stack else str(self.number)


def readings(name: str) -> list[InLayer]:
    """*name* taken apart at each of its numbers, the first number first. Empty where it has none."""
    steps = name.split(".")

    parts = []
    for i, step in enumerate(steps):
        if step.isdigit():
            stack = ".".join(steps[:i])
            rest = ".".join(steps[i + 1 :])
            parts.append(InLayer(stack, int(step), rest))
    return parts


def in_layer(name: str) -> InLayer | None:
    """*name* taken apart at its first number; None where it has none."""
    return next(iter(readings(name)), None)


def stack_of(name: str) -> str:
    """The stack of layers that *name* stands in; *name* itself where it stands in none."""
    place = in_layer(name)
    return place.stack if place else name


def without_numbers(text: str, mark: str) -> str:
    """*text* with *mark* for each number of a layer in the names that it holds."""
    return _STEP.sub(lambda _: mark, text)


def numbers_in(pattern: str, name: str) -> tuple[str, ...] | None:
    """What stands in *name* for each ``{}`` of *pattern*; None where the two do not fit."""
    form = re.escape(pattern).replace(re.escape(NUMBER), r"(\d+)")
    match = re.fullmatch(form, name)
    return match.groups() if match else None


def with_numbers(pattern: str, numbers: Sequence[str]) -> str:
    """*pattern* with one of *numbers* for each ``{}``, from the left."""
    for number in numbers:
        pattern = pattern.replace(NUMBER, number, 1)
    return pattern
