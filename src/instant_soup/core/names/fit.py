"""Transfer: a ticket for a model with other names, another head or other weights.

The mask goes where the like of its parameters is; every weight that finds a place is kept or pruned there as before.
The start weights go along only where the model stands at the very weights that the ticket was drawn from.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from math import prod
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from ..apply import named
from ..errors import ScopeError, nearest
from ..mask import Mask
from ..scope import Scope
from ..task import Base
from ..weights import Lazy, Weights, digest
from .match import Made, NameMap, inverse, match, once, read_map
from .naming import Shapes

if TYPE_CHECKING:
    from ..ticket import Ticket

HEADS = ("head*", "*.head*", "*_head.*", "*classifier*", "score.*", "*.score.*", "fc.*")
"""Names of heads among start weights, where those are not the head alone."""
_HEAD = "head of the old task; the model keeps its own"
_OTHER = "start weights of another checkpoint, or of more than is here; the model keeps its own"


@dataclass(frozen=True)
class Part:
    """What became of one tensor.

    Attributes:
        name: in the model; in the ticket for what was dropped.
        of: what of the ticket it is made of.
        outcome: ``matched``: its mask came along; ``start``: its start weights did, and it is not in scope; ``dense``:
            the model has it, the ticket nothing for it, all of it is kept; ``dropped``: the ticket has it, or some of
            it, and the model no place for it.
        why: how it was matched, or why it was not.
        kept, size: weights; of its mask where there is one.
    """

    name: str
    of: tuple[str, ...]
    outcome: Literal["matched", "start", "dense", "dropped"]
    why: str
    kept: int
    size: int


@dataclass(frozen=True)
class Transfer:
    """A ticket that was fitted to another model, and what became of each tensor. Prints as a table.

    Attributes:
        ticket: for the model.
        parts: first those of the model in its order, then what was dropped.
        same_base: whether the model is known to stand at the weights that the ticket was drawn from: all that it may
            prune is there, unchanged.
    """

    ticket: Ticket
    parts: tuple[Part, ...]
    same_base: bool

    def having(self, outcome: str) -> tuple[Part, ...]:
        """The parts with one outcome."""
        return tuple(part for part in self.parts if part.outcome == outcome)

    @property
    def counts(self) -> dict[str, int]:
        """How many tensors had each outcome."""
        return {outcome: len(self.having(outcome)) for outcome in ("matched", "start", "dense", "dropped")}

    @property
    def summary(self) -> str:
        """The whole in one sentence."""
        counts = ", ".join(f"{count} {outcome}" for outcome, count in self.counts.items() if count)
        known = "at the weights" if self.same_base else "not known to be at the weights"
        return f"{counts}; {self.ticket.mask}, {known} it was drawn from"

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """Outcome, name, what it is made of, kept of size, and why; the numbered layers that fare alike in one."""
        alike: dict[tuple[str, str, str, str], list[Part]] = {}
        for part in self.parts:
            key = (part.outcome, _general(part.name), ", ".join(map(_general, part.of)), _general(part.why))
            alike.setdefault(key, []).append(part)
        return [
            (key[0], _titled(parts, key[1]), key[2], _share(parts), parts[0].why if len(parts) == 1 else key[3])
            for key, parts in alike.items()
        ]

    def __str__(self) -> str:
        rows = [("outcome", "name", "of the ticket", "kept", "why"), *self.rows()]
        wide = [max(len(row[i]) for row in rows) for i in range(4)]
        lines = [
            "  ".join([*(cell.ljust(width) for cell, width in zip(row[:4], wide, strict=True)), row[4]]).rstrip()
            for row in rows
        ]
        return "\n".join([*lines, self.summary])


@torch.no_grad()
def transfer(
    ticket: Ticket,
    model: nn.Module,
    names: NameMap | None = None,
    scope: Scope | None = None,
    base: Base | None = None,
    heads: int | None = None,
) -> Transfer:
    """What `Ticket.transfer` does."""
    tensors = named(model)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    old = ticket.mask.scope
    there = {name: tuple(tensor.shape) for name, tensor in ticket.start.items()} | dict(old.shapes)
    said = read_map(names, shapes, there)
    wanted = _wanted(model, tensors, scope, said)
    found = match(wanted, old.shapes, said, heads)
    once(found)
    fit = {name: made for name, made in found.items() if isinstance(made, Made)}
    if not fit:
        raise ScopeError(_nothing(model, found, old))
    new = scope or Scope({name: wanted[name] for name in fit})
    mask = Mask(new, _masks(ticket.mask, new, fit, heads))
    source = _Source(ticket, tensors, fit, heads)
    start, parts = source.start(said) if source.same else ({}, _left(ticket, ticket.start, _OTHER))
    lost = {part.name for part in parts if part.outcome == "dropped"}
    moved = replace(
        ticket,
        mask=mask,
        start={name: _masked(tensor, mask.get(name)) for name, tensor in start.items()},
        base=base or Base(type(model).__name__, digest(tensors, new)),
        ready=ticket.ready and source.same and not lost,
        notes={**ticket.notes, "transferred_from": ticket.digest},
    )
    ours = [_part(name, found[name], mask, wanted) for name in wanted]
    return Transfer(moved, (*ours, *parts, *_unplaced(ticket.mask, fit, wanted, heads)), source.same)


def _wanted(model: nn.Module, tensors: Weights, scope: Scope | None, said: Mapping[str, Made]) -> Shapes:
    """The parameters that may be pruned: those of *scope*, or every matrix of the model; without names of wrappers."""
    if scope is not None:
        for name, shape in scope.shapes.items():
            if name not in tensors or tuple(tensors[name].shape) != shape:
                raise ScopeError(f"scope has {name!r} {shape} and the model has not; {nearest(name, tensors)}")
        return scope.shapes
    matrices = dict(model.named_parameters())
    prunable = {id(matrices[name]) for name in Scope.of(model)}
    first: dict[int, str] = {}
    for name, tensor in tensors.items():
        if id(tensor) in prunable:
            first.setdefault(id(tensor), name)
    listed = {*first.values(), *(name for name in said if tensors[name].ndim > 1)}
    return {name: tuple(tensors[name].shape) for name in tensors if name in listed}


def _masks(mask: Mask, scope: Scope, fit: Mapping[str, Made], heads: int | None) -> Lazy:
    """The new mask, a parameter at a time: what has no match is kept whole."""

    def compute(name: str) -> Tensor:
        return fit[name].of(mask, heads) if name in fit else torch.ones(scope.shapes[name], dtype=torch.bool)

    return Lazy(scope, compute)


class _Source:
    """The model that the ticket was drawn from, as far as it can be seen in the one that it goes to.

    Attributes:
        same: whether all prunable weights of the ticket are in the model, at the values that it was drawn from.
    """

    def __init__(self, ticket: Ticket, tensors: Weights, fit: Mapping[str, Made], heads: int | None) -> None:
        self._ticket, self._tensors, self._fit, self._heads = ticket, tensors, fit, heads
        back, old = inverse(fit), ticket.mask.scope
        shapes = {name: tuple(tensors[name].shape) for name in fit}
        whole = all(name in back and not back[name].misfit(old.shapes[name], shapes, heads) for name in old)
        self._base = Lazy(back, lambda name: back[name].of(tensors, heads).detach())
        self.same = whole and digest(self._base, old) == ticket.base.digest

    def start(self, said: Mapping[str, Made]) -> tuple[dict[str, Tensor], list[Part]]:
        """The start weights under the model's names, and what became of those that are not in scope."""
        ticket, old = self._ticket, self._ticket.mask
        begun = Lazy(old, self._begun)
        moved = {
            name: made.of(begun, self._heads)
            for name, made in self._fit.items()
            if not ticket.start.keys().isdisjoint(made.names)
        }
        mapped = {other for made in said.values() for other in made.names}
        rest = {name: tensor for name, tensor in ticket.start.items() if name not in old}
        carried = {name: tensor for name, tensor in rest.items() if name in mapped or not _is_head(name, ticket)}
        open_ = {name: tuple(tensor.shape) for name, tensor in self._tensors.items() if name not in self._fit}
        found = match(open_, {name: tuple(tensor.shape) for name, tensor in carried.items()}, said, self._heads)
        once(found)
        placed = {name: made for name, made in found.items() if isinstance(made, Made)}
        moved |= {name: made.of(carried, self._heads) for name, made in placed.items()}
        parts = [
            Part(name, made.names, "start", made.how, moved[name].numel(), moved[name].numel())
            for name, made in placed.items()
        ]
        left = rest.keys() - {other for made in placed.values() for other in made.names}
        return moved, parts + _left(ticket, [name for name in rest if name in left], "nothing like it there")

    def _begun(self, name: str) -> Tensor:
        """Where the ticket starts."""
        ticket = self._ticket
        return ticket.start[name] if name in ticket.start else _masked(self._base[name], ticket.mask[name])


def _left(ticket: Ticket, names: Iterable[str], why: str) -> list[Part]:
    """Start weights that do not go along."""
    sizes = {name: ticket.start[name].numel() for name in names}
    kept = ticket.mask.kept_by_name
    return [
        Part(name, (), "dropped", _HEAD if _is_head(name, ticket) else why, kept.get(name, size), size)
        for name, size in sizes.items()
    ]


def _is_head(name: str, ticket: Ticket) -> bool:
    """Whether *name* is of the old task; a ticket that starts from pre-trained weights has no other start weights."""
    fresh = ticket.start.keys().isdisjoint(ticket.mask)
    return name not in ticket.mask and (fresh or any(fnmatch(name, pattern) for pattern in HEADS))


def _part(name: str, made: Made | str, mask: Mask, wanted: Shapes) -> Part:
    size = prod(wanted[name])
    if isinstance(made, Made):
        return Part(name, made.names, "matched", made.how, mask.kept_by_name[name], size)
    return Part(name, (), "dense", made, size, size)


def _unplaced(mask: Mask, fit: Mapping[str, Made], wanted: Shapes, heads: int | None) -> Iterator[Part]:
    """What of the mask has no place in the model, and why."""
    taken = Counter(piece.name for made in fit.values() for piece in made.pieces)
    back = inverse(fit)
    reasons = match(mask.scope.shapes, wanted, {}, heads)
    for name, kept in mask.kept_by_name.items():
        if name not in back:
            reason = reasons[name]
            why = reason if isinstance(reason, str) else "what is like it is made of something else"
            why = f"only {taken[name]} of its parts have a place" if taken[name] else why
            yield Part(name, (), "dropped", why, kept, mask.scope.numel(name))


def _nothing(model: nn.Module, found: Mapping[str, Made | str], old: Scope) -> str:
    name, why = next(iter(found.items()))
    return (
        f"nothing of this {type(model).__name__} is like the ticket's {old}: {name!r}: {why}; {nearest(name, old)}; "
        f"say with map which names belong together"
    )


def _masked(tensor: Tensor, keep: Tensor | None) -> Tensor:
    tensor = tensor.detach().cpu()
    return tensor.clone() if keep is None else tensor.masked_fill(~keep, 0)


def _general(text: str) -> str:
    """*text* with the numbers of layers left out."""
    return re.sub(r"(?<=\.)\d+(?=\.)|(?<=layer )\d+", "#", text)


def _titled(parts: Sequence[Part], general: str) -> str:
    """One name, or how many there are that differ in the number of the layer only."""
    return parts[0].name if len(parts) == 1 else f"{general} ({len(parts)} times)"


def _share(parts: Sequence[Part]) -> str:
    kept, size = sum(part.kept for part in parts), sum(part.size for part in parts)
    return f"{kept:,} of {size:,}"
