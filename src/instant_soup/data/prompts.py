"""Prompts: the words by which a zero-shot head knows its classes.

The names of classes come from the data. Only where they are no words, as those of digits, are
words given here.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..core.errors import DataError

ANY = ("a photo of a {}.", "an image of one {}.", "a picture in which a {} can be seen.")
OBJECTS = (*ANY, "a small, blurred photo of a {}.", "a {}, seen from close up.")
CARS = ("a photo of a {}.", "a {} parked outside.", "the car in the picture is a {}.")
SIGNS = (
    "a photo of a {} traffic sign.",
    "a road sign: {}.",
    "the sign beside the road means {}.",
)
WRITTEN = (
    "this is a {}.",
    "a {} written by hand.",
    "a small picture of a {} in white on black.",
)
HOUSES = (
    "this is a {}.",
    "a photo of a {} on the wall of a house.",
    "a {} on a door plate.",
)

DIGITS = tuple(
    f"number {digit}"
    for digit in (
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
    )
)


def wording(names: Sequence[str], classes: Sequence[str]) -> tuple[str, ...]:
    """The words for classes called *names* in the data: *classes*, or the names without underscores.

    Raises DataError when there are not as many words as classes, or two classes share theirs.
    """
    words = tuple(classes) or tuple(
        " ".join(name.replace("_", " ").split()) for name in names
    )

    if len(words) != len(names):
        raise DataError(
            f"{len(words)} class words for {len(names)} classes; give one for each of {', '.join(names)}, in this order"
        )

    if (
        twice := next((word for word in words if words.count(word) > 1), None)
    ) is not None:
        raise DataError(
            f"two classes have the words {twice!r}; a zero-shot head cannot tell them apart: give others"
        )

    return words


def sentences(word: str, templates: Sequence[str]) -> list[str]:
    """*word* in each of *templates*. Raises DataError when a template has no place for it, or several."""
    for template in templates:
        if template.count("{}") != 1:
            raise DataError(
                f"template {template!r} has {template.count('{}')} places for the class; expected one {{}}"
            )
    return [template.replace("{}", word) for template in templates]
