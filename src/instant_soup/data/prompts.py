"""Prompts: the words by which a zero-shot head knows its classes.

The names of classes come from the data. Words stand here only for data whose names are no words, such as digits.
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

DIGITS = (
    "number zero",
    "number one",
    "number two",
    "number three",
    "number four",
    "number five",
    "number six",
    "number seven",
    "number eight",
    "number nine",
)


def class_words(names: Sequence[str], classes: Sequence[str]) -> tuple[str, ...]:
    """The words for classes called *names* in the data: *classes*, or the names without underscores.

    Raises DataError when there are not as many words as classes, or two classes share theirs.
    """
    words = tuple(classes) or tuple(_spaced(name) for name in names)
    if len(words) != len(names):
        raise DataError(
            f"{len(words)} class words for {len(names)} classes; give one for each of {', '.join(names)}, in this order"
        )

    for word in words:
        if words.count(word) > 1:
            raise DataError(
                f"two classes have the words {word!r}; a zero-shot head cannot tell them apart: give others"
            )
    return words


def _spaced(name: str) -> str:
    """*name* with one space for each run of spaces and underscores."""
    return " ".join(name.replace("_", " ").split())


def sentences(word: str, templates: Sequence[str]) -> list[str]:
    """*word* in each of *templates*. Raises DataError when a template has no place for it, or several."""
    for template in templates:
        if template.count("{}") != 1:
            raise DataError(
                f"template {template!r} has {template.count('{}')} places for the class; expected one {{}}"
            )
    # not format: words may hold braces of their own
    return [template.replace("{}", word) for template in templates]
