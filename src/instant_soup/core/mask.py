"""Mask: which weights a ticket keeps."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from math import prod
from typing import Self

import torch
from torch import Tensor

from . import bits
from .errors import ScopeError, unknown
from .kinds import checked, checked_class
from .notebook import facts
from .ranks.shards import WHOLE, Shards
from .scope import Scope


@checked_class
class Mask(Mapping[str, Tensor]):
    """One boolean tensor per parameter in scope; True means kept. Valid from birth, never changes.

    Held at one bit a weight, so that many masks are cheap to keep. ``mask[name]`` unpacks a
    fresh tensor of the parameter's shape: writing to it changes nothing here.

    Where the ranks of a team hold a model between them (`Scope.shards`), each holds the mask of its own rows, and
    ``mask[name]`` is of their shape. What is said of a mask, such as how many weights it keeps, is said of the whole;
    the ranks count together, so all of them have to ask.
    """

    def __init__(self, scope: Scope, kept: Mapping[str, Tensor]) -> None:
        """*kept*: a bool tensor of the parameter's shape, of what is here of it, for every name in *scope*.

        Raises ScopeError when a name is missing or foreign, or a shape or dtype does not fit.
        """
        for name in kept:
            if name not in scope:
                raise ScopeError(
                    f"mask has {name!r}, which is not in scope; leave it out"
                )

        for name in scope:
            shape = scope.here(name)
            if name not in kept:
                raise ScopeError(
                    f"mask lacks {name!r}, which is in scope; give a bool tensor of shape {shape}"
                )
            if tuple(kept[name].shape) != shape or kept[name].dtype != torch.bool:
                raise ScopeError(
                    f"mask of {name!r} is {kept[name].dtype} of shape {tuple(kept[name].shape)}; "
                    f"expected torch.bool of shape {shape}"
                )

        self.scope = scope
        self._packed = {name: bits.pack(kept[name]) for name in scope}

    @classmethod
    @checked
    def from_packed(cls, scope: Scope, packed: Mapping[str, Tensor]) -> Self:
        """A mask from its bits as `packed` gives them: uint8 [ceil(n / 8)] per parameter.

        Raises ScopeError when the bits do not fit the scope.
        """
        if list(packed) != list(scope):
            raise ScopeError(
                f"packed mask names {len(packed)} parameters; expected the {len(scope)} of the scope in order"
            )

        for name, part in packed.items():
            count = prod(scope.here(name))
            length = bits.length(count)
            if part.dtype != torch.uint8 or tuple(part.shape) != (length,):
                raise ScopeError(
                    f"packed mask of {name!r} is {part.dtype} of shape {tuple(part.shape)}; "
                    f"expected torch.uint8 of shape ({length},)"
                )
            if not bits.is_clean(part, count):
                raise ScopeError(
                    f"packed mask of {name!r} keeps weights past the end of the parameter"
                )

        # copies, so that nobody writes to the mask by what it was made of
        own = {name: part.clone() for name, part in packed.items()}
        return cls._trusted(scope, own)

    @classmethod
    def _trusted(cls, scope: Scope, packed: dict[str, Tensor]) -> Self:
        """A mask of bits that nobody else writes to and that are known to fit."""
        mask = cls.__new__(cls)
        mask.scope = scope
        mask._packed = packed
        return mask

    @classmethod
    @checked
    def dense(cls, scope: Scope) -> Self:
        """The mask that keeps every weight."""
        packed = {name: bits.full(prod(scope.here(name))) for name in scope}
        return cls._trusted(scope, packed)

    def packed(self, name: str) -> Tensor:
        """The bits of what is here of one parameter, a copy: uint8 [ceil(n / 8)], bit i of byte j is weight 8 j + i."""
        return self._bits(name).clone()

    @cached_property
    def kept_by_name(self) -> dict[str, int]:
        """How many weights of each parameter survive."""
        on_this_rank = [bits.count(part) for part in self._packed.values()]
        counts = self.scope.shards.team.sums(on_this_rank)
        return dict(zip(self._packed, counts, strict=True))

    @property
    def kept(self) -> int:
        """How many weights survive."""
        return sum(self.kept_by_name.values())

    @property
    def sparsity(self) -> float:
        """Share of the scope that is pruned."""
        return 1 - self.kept / self.scope.size

    @property
    def collapsed(self) -> tuple[str, ...]:
        """Parameters of which nothing is kept."""
        return tuple(name for name, kept in self.kept_by_name.items() if not kept)

    def shard(self, shards: Shards) -> Self:
        """What is to be here of a mask that is whole."""
        scope = self.scope.shard(shards)
        packed = {name: bits.pack(shards.part(name, self[name])) for name in scope}
        return self._trusted(scope, packed)

    def whole(self) -> Mask | None:
        """The whole mask at the first rank, put together parameter by parameter; None at the others."""
        shards = self.scope.shards
        if shards.team.size == 1:
            return self

        packed = {}
        for name in self:
            flags = shards.whole(name, self[name])
            if flags is not None:
                packed[name] = bits.pack(flags)
        return self._trusted(self.scope.shard(WHOLE), packed) if packed else None

    @cached_property
    def digest(self) -> str:
        """SHA-256 of scope and bits: equal digests mean equal masks."""
        # of the whole mask, so that it does not depend on the number of ranks
        whole = self.whole()
        return self.scope.shards.team.told(whole._hash() if whole else "")

    def _hash(self) -> str:
        sha = hashlib.sha256()
        for name, shape in self.scope.shapes.items():
            sha.update(repr((name, shape)).encode())
            sha.update(self._packed[name].numpy().tobytes())
        return sha.hexdigest()

    def distance(self, other: Mask) -> float:
        """Share of the scope on which two masks disagree (normalised Hamming distance)."""
        return (self ^ other).kept / self.scope.size

    def combine(self, other: Mask, operation: Callable[[Tensor, Tensor], Tensor]) -> Mask:
        """A mask from *operation* applied to the packed bits of both, parameter by parameter."""
        if self.scope != other.scope:
            raise ScopeError(
                f"masks of different scopes do not combine: {self.scope} and {other.scope}"
            )

        packed = {
            name: operation(part, other._packed[name])
            for name, part in self._packed.items()
        }
        return self._trusted(self.scope, packed)

    def __and__(self, other: Mask) -> Mask:
        return self.combine(other, torch.bitwise_and)

    def __or__(self, other: Mask) -> Mask:
        return self.combine(other, torch.bitwise_or)

    def __xor__(self, other: Mask) -> Mask:
        return self.combine(other, torch.bitwise_xor)

    def __le__(self, other: Mask) -> bool:
        """True when *other* keeps everything this mask keeps."""
        return (self & other).kept == self.kept

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mask) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __getitem__(self, name: str) -> Tensor:
        shape = self.scope.here(name)
        return bits.unpack(self._bits(name), prod(shape)).view(shape)

    def _bits(self, name: str) -> Tensor:
        if name not in self._packed:
            raise unknown("parameter", str(name), self._packed)
        return self._packed[name]

    def __contains__(self, name: object) -> bool:
        return name in self._packed

    def __iter__(self) -> Iterator[str]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)

    def _repr_html_(self) -> str:
        """What is kept of each parameter, where a notebook shows it."""
        kept = {
            name: f"{count:,} of {self.scope.numel(name):,}"
            for name, count in self.kept_by_name.items()
        }
        return facts(repr(self), kept)

    def __repr__(self) -> str:
        return f"Mask(sparsity={self.sparsity:.4f}, kept={self.kept:,} of {self.scope.size:,})"
