"""Match: for each tensor of one model, what of another model's tensors it is made of, or why of none.

Works on names and shapes alone; `Made` then makes masks as well as weights.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from typing import Self

import torch
from torch import Tensor

from ..errors import ScopeError, nearest
from ..weights import Weights
from .naming import Place, Shapes, is_like, pairs, places


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


Meant = str | Piece | Sequence[str | Piece]
"""A tensor, a part of one, or several whose rows are put one under another."""
NameMap = Mapping[str, Meant] | Callable[[str], Meant | None]
"""Names of the model -> what of the ticket is meant, ``{}`` in both for any number; or a function of the name."""


@dataclass(frozen=True)
class Made:
    """How one tensor is made of others.

    Attributes:
        pieces: what its rows are, from the top.
        by_head, turned: how it is kept, as in `Piece`.
        how: in words.
    """

    pieces: tuple[Piece, ...]
    by_head: bool = False
    turned: bool = False
    how: str = "same name"

    @property
    def names(self) -> tuple[str, ...]:
        """The tensors that it is made of."""
        return tuple(dict.fromkeys(piece.name for piece in self.pieces))

    @property
    def whole(self) -> bool:
        """Whether it is one tensor as it is."""
        first, *_ = self.pieces
        parts = tuple(replace(first, part=part) for part in range(first.of))
        return self.pieces == parts and (first.by_head, first.turned) == (self.by_head, self.turned)

    @property
    def interleaves(self) -> bool:
        """Whether the number of heads has to be known."""
        return not self.whole and (self.by_head or any(piece.by_head for piece in self.pieces))

    def of(self, tensors: Weights, heads: int | None) -> Tensor:
        """It, made of *tensors*."""
        if self.whole:
            return tensors[self.pieces[0].name]
        rows = [_rows(piece, tensors[piece.name], heads) for piece in self.pieces]
        if self.by_head:
            made = torch.stack([_heads(part, heads) for part in rows], 1).reshape(-1, *rows[0].shape[1:])
        else:
            made = torch.cat(rows)
        return made.T.contiguous() if self.turned else made

    def misfit(self, shape: tuple[int, ...], there: Shapes, heads: int | None) -> str | None:
        """Why it cannot be of *shape*; None if it can."""
        said = " and ".join(f"{name!r} {there[name]}" for name in self.names)
        if self.interleaves and heads is None:
            return f"query, key and value take turns by head in it or in {said}; say how many heads there are"
        try:
            found = tuple(self.of({name: torch.empty(there[name], device="meta") for name in self.names}, heads).shape)
        except (RuntimeError, IndexError):
            return f"is {shape}; there {said}, which cannot be cut up so"
        return None if found == shape else f"is {shape}; there {said}"


def _rows(piece: Piece, tensor: Tensor, heads: int | None) -> Tensor:
    tensor = tensor.T if piece.turned else tensor
    if piece.of == 1:
        return tensor
    rest = tensor.shape[1:]
    if piece.by_head:
        return tensor.reshape(heads or 1, piece.of, -1, *rest)[:, piece.part].flatten(0, 1)
    return tensor.reshape(piece.of, -1, *rest)[piece.part]


def _heads(part: Tensor, heads: int | None) -> Tensor:
    return part.reshape(heads or 1, -1, *part.shape[1:])


def match(wanted: Shapes, there: Shapes, said: Mapping[str, Made], heads: int | None) -> dict[str, Made | str]:
    """For each tensor of *wanted* how it is made of those of *there*, or in words why it is not.

    What *said* knows of it goes first, then equal names, then places in stacks of layers.
    """
    ours, theirs = places(wanted), _Places.of(there)
    stacks = pairs(ours, theirs.by_name)
    found: dict[str, Made | str] = {}
    for name, shape in wanted.items():
        made = said.get(name) or _found(name, ours[name], theirs, stacks)
        if isinstance(made, Made) and not all(other in there for other in made.names):
            made = "nothing like it there"  # what *said* may speak of more than is asked for here
        found[name] = (made.misfit(shape, there, heads) or made) if isinstance(made, Made) else made
    return found


@dataclass(frozen=True)
class _Places:
    """What stands where."""

    by_name: Mapping[str, Place]
    roles: Mapping[tuple[str | None, int, str], Piece]
    layers: Set[tuple[str | None, int]]

    @classmethod
    def of(cls, shapes: Shapes) -> Self:
        by_name = places(shapes)
        roles = {
            (place.stack, place.layer, role): Piece(name, part, len(place.roles), place.by_head, place.turned)
            for name, place in by_name.items()
            for part, role in enumerate(place.roles)
        }
        return cls(by_name, roles, {key[:2] for key in roles})


def _found(name: str, place: Place, theirs: _Places, stacks: Mapping[str, str]) -> Made | str:
    if theirs.by_name.get(name) == place:
        return Made((Piece(name),))
    if place.stack is None:
        like = [other for other, its in theirs.by_name.items() if its.stack is None and is_like(name, other)]
        return Made((Piece(like[0]),), how="other prefix") if len(like) == 1 else "nothing like it there"
    if place.stack not in stacks:
        return f"it is not clear which layers there are {place.stack!r}; name them in map"
    if (stacks[place.stack], place.layer) not in theirs.layers:
        return f"no layer {place.layer} there"
    pieces = [theirs.roles.get((stacks[place.stack], place.layer, role)) for role in place.roles]
    if not all(pieces):
        return "nothing like it in that layer there"
    made = Made(tuple(filter(None, pieces)), place.by_head, place.turned)
    return replace(made, how=_how(name, made))


def _how(name: str, made: Made) -> str:
    first = made.pieces[0]
    if made.whole:
        return "other prefix" if is_like(name, first.name) or _tail(name) == _tail(first.name) else "other name"
    turned = ", turned" if first.turned != made.turned else ""
    if len(made.pieces) > 1:
        return f"{len(made.pieces)} matrices in one{turned}" if len(made.names) > 1 else f"other order of rows{turned}"
    return f"part {first.part + 1} of {first.of}{turned}" if first.of > 1 else f"other name{turned}"


def _tail(name: str) -> str:
    """What follows the first number."""
    return re.split(r"(?:^|\.)\d+\.", name, maxsplit=1)[-1]


def once(found: Mapping[str, Made | str]) -> None:
    """Raise ScopeError when one weight goes to two places, for the count would not be kept."""
    users: dict[str, list[tuple[Fraction, Fraction, str]]] = defaultdict(list)
    for name, made in found.items():
        for piece in made.pieces if isinstance(made, Made) else ():
            users[piece.name].append((Fraction(piece.part, piece.of), Fraction(piece.part + 1, piece.of), name))
    for name, spans in users.items():
        for (_, end, one), (start, _, other) in pairwise(sorted(spans)):
            if start < end:
                raise ScopeError(f"{one!r} and {other!r} would both be {name!r}; name another tensor for one in map")


def inverse(found: Mapping[str, Made]) -> dict[str, Made]:
    """How what *found* takes from is made of what it makes, for every tensor of which all parts are taken."""
    parts: dict[str, dict[int, tuple[Piece, Piece]]] = defaultdict(dict)
    for name, made in found.items():
        for at, piece in enumerate(made.pieces):
            back = Piece(name, at, len(made.pieces), made.by_head, made.turned)
            parts[piece.name][piece.part] = (piece, back)
    turned_back = {}
    for name, of in parts.items():
        first = next(iter(of.values()))[0]
        if len(of) == first.of:
            pieces = tuple(of[part][1] for part in range(first.of))
            turned_back[name] = Made(pieces, first.by_head, first.turned)
    return turned_back


def read_map(given: NameMap | None, wanted: Shapes, there: Shapes) -> dict[str, Made]:
    """What a map says of each tensor of *wanted* that it speaks of.

    Raises ScopeError when it names what *wanted* or *there* does not have.
    """
    if given is None:
        return {}
    if callable(given):
        return _answers(given, wanted, there)
    found: dict[str, Made] = {}
    for pattern, meant in given.items():
        found |= _pattern(pattern, meant, wanted, there)
    return found


def _answers(given: Callable[[str], Meant | None], wanted: Shapes, there: Shapes) -> dict[str, Made]:
    """What a function says; it may speak of more than the ticket has, but not of nothing that it has."""
    answers = {name: _numbered(answer, ()) for name in wanted if (answer := given(name)) is not None}
    known = {name: pieces for name, pieces in answers.items() if all(piece.name in there for piece in pieces)}
    return {name: _made(name, wanted[name], pieces, there) for name, pieces in (known or answers).items()}


def _pattern(pattern: str, meant: Meant, wanted: Shapes, there: Shapes) -> dict[str, Made]:
    """One line of a map, for every number that both sides have."""
    form = re.compile(re.escape(pattern).replace(r"\{\}", r"(\d+)"))
    hits = [(name, hit.groups()) for name in wanted if (hit := form.fullmatch(name))]
    if not hits:
        raise ScopeError(
            f"map names {pattern!r}, which the model does not have; {nearest(pattern, _general(pattern, wanted))}"
        )
    numbered = "{}" in pattern
    found = {}
    for name, numbers in hits:
        answer = _numbered(meant, numbers)
        if not numbered or all(piece.name in there for piece in answer):
            found[name] = _made(name, wanted[name], answer, there)
    if not found:
        missing = next(piece.name for piece in _numbered(meant, ()) if piece.name not in there)
        raise ScopeError(
            f"map names {missing!r}, which the ticket does not have; {nearest(missing, _general(pattern, there))}"
        )
    return found


def _general(pattern: str, names: Iterable[str]) -> set[str]:
    """*names* as *pattern* would say them: with a {} for each number if it has one."""
    return {re.sub(r"(?<=\.)\d+(?=\.)", "{}", name) if "{}" in pattern else name for name in names}


def _numbered(meant: Meant, numbers: Sequence[str]) -> tuple[Piece, ...]:
    pieces = [meant] if isinstance(meant, str | Piece) else meant
    whole = [Piece(piece) if isinstance(piece, str) else piece for piece in pieces]
    return tuple(replace(piece, name=_filled(piece.name, numbers)) for piece in whole)


def _filled(name: str, numbers: Sequence[str]) -> str:
    for number in numbers:
        name = name.replace("{}", number, 1)
    return name


def _made(name: str, shape: tuple[int, ...], meant: Meant, there: Shapes) -> Made:
    pieces = _numbered(meant, ())
    for piece in pieces:
        if piece.name not in there:
            raise ScopeError(
                f"map gives {piece.name!r} for {name!r}, and the ticket does not have it; {nearest(piece.name, there)}"
            )
    if not pieces:
        raise ScopeError(f"map gives nothing for {name!r}; name a tensor of the ticket or leave the line out")
    form = places({name: shape})[name] if len(pieces) > 1 else None
    return Made(pieces, form is not None and form.by_head, form is not None and form.turned, "by map")
