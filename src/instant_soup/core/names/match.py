"""Match: which tensors of one model the tensors of another model are made of.

The *targets* are the tensors that somebody needs, the *sources* those that he has. Matching works on names and shapes
alone. Its result, an `Assembly` for each target, then makes weights as well as masks out of the sources.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from typing import Self

import torch
from torch import Tensor

from ..errors import ScopeError
from ..kinds import checked_class
from ..weights import Weights
from . import layers
from .naming import Place, Shapes, is_like, pairs, places


@checked_class
@dataclass(frozen=True)
class Piece:
    """A tensor, or one of the equal parts of its rows.

    Attributes:
        part, of: which part, counted from 0, of how many.
        by_head: whether the parts take turns head by head, and do not come one after another.
        turned: whether the matrix is kept as [inputs, outputs], so that its columns are meant.
    """

    name: str
    part: int = 0
    of: int = 1
    by_head: bool = False
    turned: bool = False


@dataclass(frozen=True)
class Assembly:
    """How one target is made of sources.

    Attributes:
        pieces: what the target's rows are, from the top.
        by_head, turned: how the target is kept, as in `Piece`.
        reason: of the match, in words.
    """

    pieces: tuple[Piece, ...]
    by_head: bool = False
    turned: bool = False
    reason: str = "same name"

    @property
    def names(self) -> tuple[str, ...]:
        """The sources, each once."""
        return tuple(dict.fromkeys(piece.name for piece in self.pieces))

    @property
    def whole(self) -> bool:
        """Whether the target is one source as it is."""
        first = self.pieces[0]
        if first.by_head != self.by_head or first.turned != self.turned:
            return False

        all_parts = tuple(replace(first, part=part) for part in range(first.of))
        return self.pieces == all_parts

    @property
    def interleaves(self) -> bool:
        """Whether the number of attention heads has to be known."""
        by_head = self.by_head or any(piece.by_head for piece in self.pieces)
        return by_head and not self.whole

    def build(self, sources: Weights, heads: int | None) -> Tensor:
        """Make the target of *sources*.

        *heads* is the number of attention heads, which may be None unless the target interleaves.
        """
        if self.whole:
            return sources[self.pieces[0].name]

        rows = [_rows(piece, sources[piece.name], heads) for piece in self.pieces]
        target = _interleaved(rows, heads) if self.by_head else torch.cat(rows)
        return target.T.contiguous() if self.turned else target

    def misfit(
        self, shape: tuple[int, ...], sources: Shapes, heads: int | None
    ) -> str | None:
        """The reason why this does not give a tensor of *shape*; None where it does."""
        described = " and ".join(f"{name!r} {sources[name]}" for name in self.names)
        if self.interleaves and heads is None:
            return f"query, key and value take turns by head in it or in {described}; say how many heads there are"

        empty = {name: torch.empty(sources[name], device="meta") for name in self.names}
        try:
            built = tuple(self.build(empty, heads).shape)
        except (RuntimeError, IndexError):
            return f"is {shape}; there {described}, which cannot be cut up so"
        return None if built == shape else f"is {shape}; there {described}"


def _rows(piece: Piece, tensor: Tensor, heads: int | None) -> Tensor:
    """The rows of *tensor* that *piece* means."""
    if piece.turned:
        tensor = tensor.T
    if piece.of == 1:
        return tensor

    columns = tensor.shape[1:]
    if piece.by_head:
        by_head = tensor.reshape(heads or 1, piece.of, -1, *columns)
        return by_head[:, piece.part].flatten(0, 1)
    return tensor.reshape(piece.of, -1, *columns)[piece.part]


def _interleaved(rows: list[Tensor], heads: int | None) -> Tensor:
    """Parts of equal size put together so that they take turns head by head."""
    columns = rows[0].shape[1:]
    by_head = [part.reshape(heads or 1, -1, *columns) for part in rows]
    return torch.stack(by_head, 1).reshape(-1, *columns)


def match(
    targets: Shapes,
    sources: Shapes,
    mapped: Mapping[str, Assembly],
    heads: int | None,
) -> dict[str, Assembly | str]:
    """For each target, how it is made of *sources*, or the reason why it is not.

    Args:
        mapped: what a map says of some targets. It goes first, then equal names, then places in stacks of layers.
        heads: attention heads a layer; None where nobody knows.
    """
    target_places = places(targets)
    known = _Places.of(sources)
    stacks = pairs(target_places, known.by_name)

    matches: dict[str, Assembly | str] = {}
    for name, shape in targets.items():
        assembly = mapped.get(name) or _by_place(name, target_places[name], known, stacks)
        if isinstance(assembly, Assembly):
            # a map may speak of more than is asked for
            lacking = any(source not in sources for source in assembly.names)
            if lacking:
                matches[name] = "nothing like it there"
            else:
                matches[name] = assembly.misfit(shape, sources, heads) or assembly
        else:
            matches[name] = assembly
    return matches


@dataclass(frozen=True)
class _Places:
    """Where the sources stand.

    Attributes:
        by_name: the place of each source.
        roles: (stack, layer, role) -> the source that stands there, or the part of it.
        layers: the (stack, layer) that there are.
    """

    by_name: Mapping[str, Place]
    roles: Mapping[tuple[str | None, int, str], Piece]
    layers: Set[tuple[str | None, int]]

    @classmethod
    def of(cls, sources: Shapes) -> Self:
        by_name = places(sources)

        roles = {}
        for name, place in by_name.items():
            for part, role in enumerate(place.roles):
                piece = Piece(name, part, len(place.roles), place.by_head, place.turned)
                roles[place.stack, place.layer, role] = piece

        return cls(by_name, roles, {(stack, layer) for stack, layer, _ in roles})


def _by_place(
    name: str, place: Place, sources: _Places, stacks: Mapping[str, str]
) -> Assembly | str:
    """How the target *name* at *place* is made, by what stands at the like place among *sources*."""
    if sources.by_name.get(name) == place:
        return Assembly((Piece(name),))
    if place.stack is None:
        return _outside_of_stacks(name, sources)
    if place.stack not in stacks:
        return f"it is not clear which layers there are {place.stack!r}; name them in map"

    layer = (stacks[place.stack], place.layer)
    if layer not in sources.layers:
        return f"no layer {place.layer} there"

    pieces = []
    for role in place.roles:
        piece = sources.roles.get((*layer, role))
        if piece is None:
            return "nothing like it in that layer there"
        pieces.append(piece)

    assembly = Assembly(tuple(pieces), place.by_head, place.turned)
    return replace(assembly, reason=_reason(name, assembly))


def _outside_of_stacks(name: str, sources: _Places) -> Assembly | str:
    """How the target *name* is made, which stands in no stack of layers."""
    alike = []
    for source, place in sources.by_name.items():
        if place.stack is None and is_like(name, source):
            alike.append(source)

    if len(alike) != 1:
        return "nothing like it there"
    return Assembly((Piece(alike[0]),), reason="other prefix")


def _reason(name: str, assembly: Assembly) -> str:
    """How the target *name* is made, in words."""
    first = assembly.pieces[0]
    if assembly.whole:
        same_tail = is_like(name, first.name) or _tail(name) == _tail(first.name)
        return "other prefix" if same_tail else "other name"

    if len(assembly.names) > 1:
        reason = f"{len(assembly.pieces)} matrices in one"
    elif len(assembly.pieces) > 1:
        reason = "other order of rows"
    elif first.of > 1:
        reason = f"part {first.part + 1} of {first.of}"
    else:
        reason = "other name"
    return f"{reason}, turned" if first.turned != assembly.turned else reason


def _tail(name: str) -> str:
    """What follows the first number."""
    position = layers.in_layer(name)
    return position.rest if position else name


_Span = tuple[Fraction, Fraction, str]
"""Which share of a source is used, from where to where, and for which target."""


def check_used_once(matches: Mapping[str, Assembly | str]) -> None:
    """Raise ScopeError where one weight of a source would go to two places, for the count would not be kept."""
    spans: dict[str, list[_Span]] = defaultdict(list)
    for target, assembly in matches.items():
        if isinstance(assembly, Assembly):
            for piece in assembly.pieces:
                begin = Fraction(piece.part, piece.of)
                end = Fraction(piece.part + 1, piece.of)
                spans[piece.name].append((begin, end, target))

    for source, used in spans.items():
        for (_, end, target), (start, _, other) in pairwise(sorted(used)):
            if start < end:
                raise ScopeError(
                    f"{target!r} and {other!r} would both be {source!r}; name another tensor for one in map"
                )


def inverse(matches: Mapping[str, Assembly]) -> dict[str, Assembly]:
    """The way back: how the sources of *matches* are made of its targets.

    It has every source of which all parts have gone somewhere.
    """
    taken: dict[str, dict[int, tuple[Piece, Piece]]] = defaultdict(dict)
    for target, assembly in matches.items():
        for part, piece in enumerate(assembly.pieces):
            back = Piece(
                target, part, len(assembly.pieces), assembly.by_head, assembly.turned
            )
            taken[piece.name][piece.part] = (piece, back)

    ways_back = {}
    for source, parts in taken.items():
        first = next(iter(parts.values()))[0]
        if len(parts) == first.of:
            pieces = tuple(parts[part][1] for part in range(first.of))
            ways_back[source] = Assembly(pieces, first.by_head, first.turned)
    return ways_back
