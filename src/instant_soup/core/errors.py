"""Everything this library raises on purpose: one root and its few kinds.

A message names the value found, what was expected and what to do next.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class SoupError(Exception):
    """Root of every error raised on purpose."""


class ScopeError(SoupError, ValueError):
    """A mask, score or weight does not fit the scope it is used with."""


class SparsityError(SoupError, ValueError):
    """A sparsity that cannot be reached."""


class BudgetSpent(SoupError):
    """A charge would take the meter past its limit."""


class KindError(SoupError, TypeError):
    """An argument is of another kind than the function takes, is missing, or is not known."""


class KnobError(SoupError, ValueError):
    """A method's knob has a value that cannot work."""


class TicketError(SoupError, ValueError):
    """A ticket file is damaged, or the ticket belongs to another model."""


class DataError(SoupError, ValueError):
    """A data set is missing, incomplete or holds values out of range."""


class TrainingError(SoupError, RuntimeError):
    """Training cannot go on."""


class RevivedError(TrainingError):
    """A weight that a ticket prunes is no longer zero."""


class RankError(SoupError, RuntimeError):
    """Ranks that hold one model do not agree, or cannot do together what was asked of them."""


class RecipeError(SoupError, ValueError):
    """A recipe cannot be read or asks for what does not exist."""


class StoreError(SoupError, OSError):
    """A file could not be written or read back."""


class EngineError(SoupError, RuntimeError):
    """Work could not be done where it was sent."""


class MissingExtra(SoupError, ImportError):
    """Something was asked for that needs a package which is not installed."""


class UnknownName(SoupError, KeyError):
    """A name that no table lists."""

    __str__ = Exception.__str__  # KeyError would print the message in quotes


_MOST = 40  # names that a message lists


def nearest(name: str, names: Iterable[str]) -> str:
    """The listed name closest to *name* as a question, or all of them, unless they are many, when none is close."""
    known = sorted(names)
    close = get_close_matches(name, known, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"

    more = f" and {len(known) - _MOST:,} more" if len(known) > _MOST else ""
    return f"known: {', '.join(known[:_MOST])}{more}"


def share_example(value: object) -> str:
    """An example of a share of the weights for who gave *value*: 0.9 where that is 90, or 90 %."""
    try:
        percent = float(str(value).strip().removesuffix("%"))
    except ValueError:
        percent = 0.0
    if 1 < percent < 100:
        return f"such as {percent / 100:g} for {percent:g} %"
    return "such as 0.7"


def unknown(kind: str, name: str, names: Iterable[str]) -> UnknownName:
    """The error to raise for a *name* that is not among *names*."""
    return UnknownName(f"unknown {kind} {name!r}; {nearest(name, names)}")
