"""Name map: what a person says of names that the tables of `naming` do not know.

A map is data, or a function of a name. Whatever it names has to exist.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from ..errors import ScopeError, nearest
from . import layers
from .match import Assembly, Piece
from .naming import Shapes, places

Meant = str | Piece | Sequence[str | Piece]
"""A tensor, a part of one, or several whose rows are put one under another."""

NameMap = Mapping[str, Meant] | Callable[[str], Meant | None]
"""Names of the model -> what of the ticket is meant, ``{}`` in both for any number; or a function of the name."""


def read_map(
    names: NameMap | None, targets: Shapes, sources: Shapes
) -> dict[str, Assembly]:
    """How each of *targets* that the map speaks of is made of *sources*.

    Raises ScopeError where the map names what neither *targets* nor *sources* have.
    """
    if names is None:
        return {}
    if callable(names):
        return _by_function(names, targets, sources)

    mapped: dict[str, Assembly] = {}
    for pattern, meant in names.items():
        mapped |= _by_line(pattern, meant, targets, sources)
    return mapped


def _by_function(
    names: Callable[[str], Meant | None],
    targets: Shapes,
    sources: Shapes,
) -> dict[str, Assembly]:
    """What a function says. It may speak of more than *sources* have, but not of nothing that they have."""
    answers = {}
    for target in targets:
        meant = names(target)
        if meant is not None:
            answers[target] = _pieces(meant)

    known = {}
    for target, pieces in answers.items():
        if all(piece.name in sources for piece in pieces):
            known[target] = pieces

    # where nothing is known, the first answer is refused by its name
    chosen = known or answers
    mapped = {}
    for target, pieces in chosen.items():
        mapped[target] = _assembled(target, targets[target], pieces, sources)
    return mapped


def _by_line(
    pattern: str,
    meant: Meant,
    targets: Shapes,
    sources: Shapes,
) -> dict[str, Assembly]:
    """What one line of a map says, for every number that both sides have."""
    hits = {}
    for target in targets:
        numbers = layers.numbers_in(pattern, target)
        if numbers is not None:
            hits[target] = numbers
    if not hits:
        near = nearest(pattern, _as_general_as(pattern, targets))
        raise ScopeError(f"map names {pattern!r}, which the model does not have; {near}")

    mapped = {}
    for target, numbers in hits.items():
        pieces = _pieces(meant, numbers)
        complete = all(piece.name in sources for piece in pieces)
        if complete or layers.NUMBER not in pattern:
            mapped[target] = _assembled(target, targets[target], pieces, sources)
    if not mapped:
        missing = next(
            piece.name for piece in _pieces(meant) if piece.name not in sources
        )
        near = nearest(missing, _as_general_as(pattern, sources))
        raise ScopeError(f"map names {missing!r}, which the ticket does not have; {near}")
    return mapped


def _as_general_as(pattern: str, names: Iterable[str]) -> set[str]:
    """*names* as *pattern* would say them: with ``{}`` for each number if it has one."""
    if layers.NUMBER not in pattern:
        return set(names)
    return {layers.without_numbers(name, layers.NUMBER) for name in names}


def _pieces(meant: Meant, numbers: Sequence[str] = ()) -> tuple[Piece, ...]:
    """*meant* as pieces, with *numbers* for the ``{}`` in their names."""
    listed = [meant] if isinstance(meant, str | Piece) else meant

    pieces = []
    for entry in listed:
        piece = Piece(entry) if isinstance(entry, str) else entry
        pieces.append(replace(piece, name=layers.with_numbers(piece.name, numbers)))
    return tuple(pieces)


def _assembled(
    target: str,
    shape: tuple[int, ...],
    pieces: tuple[Piece, ...],
    sources: Shapes,
) -> Assembly:
    """How *target* is made of *pieces*. Raises ScopeError where there are none, or one is of no source."""
    if not pieces:
        raise ScopeError(
            f"map gives nothing for {target!r}; name a tensor of the ticket or leave the line out"
        )
    for piece in pieces:
        if piece.name not in sources:
            near = nearest(piece.name, sources)
            raise ScopeError(
                f"map gives {piece.name!r} for {target!r}, and the ticket does not have it; {near}"
            )

    # one tensor is taken as the map says; several are put together as the target's own name asks for
    if len(pieces) == 1:
        return Assembly(pieces, reason="by map")
    place = places({target: shape})[target]
    return Assembly(pieces, place.by_head, place.turned, reason="by map")
