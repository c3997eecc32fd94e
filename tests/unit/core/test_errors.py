"""Errors: one root, its kinds, and the nearest name."""

from __future__ import annotations

import pytest

from instant_soup.core import errors
from instant_soup.core.errors import SoupError, nearest, unknown

KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, Exception)
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_is_caught_by_the_root(kind: type[Exception]) -> None:
    with pytest.raises(SoupError, match=r"^what to do$"):
        raise kind("what to do")


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (errors.ScopeError, ValueError),
        (errors.SparsityError, ValueError),
        (errors.KnobError, ValueError),
        (errors.TicketError, ValueError),
        (errors.DataError, ValueError),
        (errors.RecipeError, ValueError),
        (errors.TrainingError, RuntimeError),
        (errors.StoreError, OSError),
        (errors.UnknownName, KeyError),
    ],
)
def test_errors_are_also_the_builtin_that_a_stranger_would_catch(
    kind: type[Exception], builtin: type[Exception]
) -> None:
    with pytest.raises(builtin):
        raise kind("message")


def test_a_near_miss_is_asked_about() -> None:
    assert nearest("magnitud", ["random", "magnitude"]) == "did you mean 'magnitude'?"


def test_all_names_are_listed_in_order_when_none_is_close() -> None:
    assert nearest("xyz", ["random", "magnitude"]) == "known: magnitude, random"


def test_an_unknown_name_says_its_kind_and_is_not_quoted_twice() -> None:
    """KeyError prints the repr of its argument; a person should not read that."""
    assert (
        str(unknown("method", "magnitud", ["magnitude"]))
        == "unknown method 'magnitud'; did you mean 'magnitude'?"
    )
