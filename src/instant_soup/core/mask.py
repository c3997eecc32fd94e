"""Mask: which weights a ticket keeps."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from . import bits
from .errors import ScopeError
from .scope import Scope


class Mask(Mapping[str, Tensor]):
    """One boolean tensor per parameter in scope; True means kept. Valid from birth, never changes.

    Held at one bit a weight, so that many masks are cheap to keep. ``mask[name]`` unpacks a
    fresh tensor of the parameter's shape: writing to it changes nothing here.
    """

    def __init__(self, scope: Scope, kept: Mapping[str, Tensor]) -> None:
        """*kept*: a bool tensor of the parameter's shape for every name in *scope*.

        Raises ScopeError when a name is missing or foreign, or a shape or dtype does not fit.
        """
        if foreign := [name for name in kept if name not in scope]:
            raise ScopeError(f"mask has {foreign[0]!r}, which is not in scope; leave it out")
        for name, shape in scope.shapes.items():
            if name not in kept:
                raise ScopeError(f"mask lacks {name!r}, which is in scope; give a bool tensor of shape {shape}")
            if tuple(kept[name].shape) != shape or kept[name].dtype != torch.bool:
                raise ScopeError(
                    f"mask of {name!r} is {kept[name].dtype} of shape {tuple(kept[name].shape)}; "
                    f"expected torch.bool of shape {shape}"
                )
        self.scope = scope
        self._packed = {name: bits.pack(kept[name]) for name in scope}

    @classmethod
    def from_packed(cls, scope: Scope, packed: Mapping[str, Tensor]) -> Self:
        """A mask from its bits as `packed` gives them: uint8 [ceil(n / 8)] per parameter.

        Raises ScopeError when the bits do not fit the scope.
        """
        if list(packed) != list(scope):
            raise ScopeError(
                f"packed mask names {len(packed)} parameters; expected the {len(scope)} of the scope in order"
            )
        for name, part in packed.items():
            expected = -(-scope.numel(name) // 8)
            if part.dtype != torch.uint8 or tuple(part.shape) != (expected,):
                raise ScopeError(
                    f"packed mask of {name!r} is {part.dtype} of shape {tuple(part.shape)}; "
                    f"expected torch.uint8 of shape ({expected},)"
                )
            if not bits.is_clean(part, scope.numel(name)):
                raise ScopeError(f"packed mask of {name!r} keeps weights past the end of the parameter")
        return cls._trusted(scope, {name: part.clone() for name, part in packed.items()})

    @classmethod
    def _trusted(cls, scope: Scope, packed: dict[str, Tensor]) -> Self:
        mask = cls.__new__(cls)
        mask.scope, mask._packed = scope, packed
        return mask

    @classmethod
    def dense(cls, scope: Scope) -> Self:
        """The mask that keeps every weight."""
        return cls._trusted(scope, {name: bits.full(scope.numel(name)) for name in scope})

    def packed(self, name: str) -> Tensor:
        """The bits of one parameter, a copy: uint8 [ceil(n / 8)], bit i of byte j is weight 8 j + i."""
        return self._packed[name].clone()

    @cached_property
    def kept_by_name(self) -> dict[str, int]:
        """How many weights of each parameter survive."""
        return {name: bits.count(part) for name, part in self._packed.items()}

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

    @cached_property
    def digest(self) -> str:
        """SHA-256 of scope and bits: equal digests mean equal masks."""
        sha = hashlib.sha256()
        for name, shape in self.scope.shapes.items():
            sha.update(repr((name, shape)).encode())
            sha.update(self._packed[name].numpy().tobytes())
        return sha.hexdigest()

    def distance(self, other: Mask) -> float:
        """Share of the scope on which two masks disagree (normalised Hamming distance)."""
        return (self ^ other).kept / self.scope.size

    def combine(self, other: Mask, how: Callable[[Tensor, Tensor], Tensor]) -> Mask:
        """A mask from *how* applied to the packed bits of both, parameter by parameter."""
        if self.scope != other.scope:
            raise ScopeError(f"masks of different scopes do not combine: {self.scope} and {other.scope}")
        return self._trusted(self.scope, {name: how(part, other._packed[name]) for name, part in self._packed.items()})

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
        return bits.unpack(self._packed[name], self.scope.numel(name)).view(self.scope.shapes[name])

    def __contains__(self, name: object) -> bool:
        return name in self._packed

    def __iter__(self) -> Iterator[str]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)

    def __repr__(self) -> str:
        return f"Mask(sparsity={self.sparsity:.4f}, kept={self.kept:,} of {self.scope.size:,})"
