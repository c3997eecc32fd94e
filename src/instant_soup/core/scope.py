"""Scope: which parameters a ticket may prune."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from functools import cached_property
from math import prod
from types import MappingProxyType

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd as _Convolution

from .errors import ScopeError, unknown
from .kinds import checked, checked_class
from .names.layers import without_numbers
from .names.matrices import left_out, role, unusual
from .notebook import facts
from .ranks.shards import WHOLE, Shards


@checked_class
@dataclass(frozen=True, eq=False)
class Scope:
    """The prunable parameters, by name, in a fixed order.

    Two scopes are equal when they list the same names and shapes in the same order.

    Attributes:
        shapes: of the whole parameters.
        shards: what of them is here; everything, unless several ranks hold one model between them.
        inputs: along which dimension the inputs of a parameter lie, where that is not its last one.
    """

    shapes: Mapping[str, tuple[int, ...]]
    shards: Shards = WHOLE
    inputs: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shapes = {name: tuple(shape) for name, shape in self.shapes.items()}
        if not shapes:
            raise ScopeError("the scope is empty: name at least one parameter to prune")

        for name, shape in shapes.items():
            whole_numbers = all(type(length) is int and length >= 0 for length in shape)
            if not isinstance(name, str) or not whole_numbers:
                raise ScopeError(
                    f"{name!r} has shape {shape}; expected a name and whole numbers, none below zero"
                )
            if not prod(shape):
                raise ScopeError(
                    f"{name!r} has shape {shape} and so no weight to prune; leave it out"
                )
            if self.shards.team.size > 1 and name not in self.shards.rows:
                raise ScopeError(
                    f"{name!r} is whole on every rank and the scope is cut; cut every parameter in scope"
                )

        object.__setattr__(self, "shapes", MappingProxyType(shapes))
        object.__setattr__(self, "inputs", MappingProxyType(dict(self.inputs)))

    def shard(self, shards: Shards) -> Scope:
        """The same scope where the ranks of a team hold the parameters between them."""
        return replace(self, shards=shards)

    def here(self, name: str) -> tuple[int, ...]:
        """The shape of what is here of the parameter *name*."""
        return self.shards.shape(name, self._shape(name))

    @classmethod
    @checked
    def of(
        cls,
        model: nn.Module,
        keep_dense: Sequence[str] | None = None,
        *,
        pooler: bool = False,
    ) -> Scope:
        """Every trainable matrix of the blocks of *model*, as `core.names.matrices` tells them.

        Fused projections, transposed Conv1D weights and stacks of experts count. A tensor that goes by several names
        is listed once, under the first of them, and not at all if one of its owners is an embedding. Warns of what is
        unusual for a matrix of weights, unless *keep_dense* says what is meant.

        Args:
            keep_dense: patterns of names. If they are given, every matrix that matches none of them is in, in blocks
                or not; vectors, biases, norms, tokens and embeddings are never.
            pooler: whether BERT's pooler is in, too.

        Raises:
            ScopeError: nothing is left.
        """
        # by identity, because a tied embedding goes by the name of a head too
        embedded: set[int] = set()
        for module in model.modules():
            if isinstance(module, nn.Embedding):
                own = module.parameters(recurse=False)
                embedded.update(id(parameter) for parameter in own)

        shapes = {}
        for name, parameter in model.named_parameters():
            shape = tuple(parameter.shape)
            may_be = parameter.requires_grad and id(parameter) not in embedded
            if may_be and not role(name, shape):
                shapes[name] = shape

        if keep_dense is None:
            dense = set(left_out(shapes, pooler=pooler))
        else:
            dense = {name for name in shapes if _matches(name, keep_dense)}
        shapes = {name: shape for name, shape in shapes.items() if name not in dense}

        if not shapes:
            asked_for = ""
            if keep_dense is not None:
                asked_for = (
                    f", or matches keep_dense={tuple(keep_dense)}; give fewer patterns"
                )
            raise ScopeError(
                f"nothing left to prune in {type(model).__name__}: every trainable matrix is an embedding or a head"
                f"{asked_for}"
            )
        if keep_dense is None:
            warn_of_unusual(shapes)
        parameters = dict(model.named_parameters())
        in_scope = {name: parameters[name] for name in shapes}
        return cls(shapes, inputs=inputs_of(model, in_scope))

    @cached_property
    def size(self) -> int:
        """How many weights may be pruned."""
        return sum(self.numel(name) for name in self)

    def numel(self, name: str) -> int:
        """How many weights the parameter *name* has."""
        return prod(self._shape(name))

    def _shape(self, name: str) -> tuple[int, ...]:
        if name not in self.shapes:
            raise unknown("parameter", str(name), self.shapes)
        return self.shapes[name]

    def difference(self, other: Scope) -> str:
        """What *other* has otherwise, in a few words that follow its name; empty if nothing."""
        for name, shape in self.shapes.items():
            if name not in other:
                return f"has no {name!r} in scope"
            if other.shapes[name] != shape:
                return f"has {name!r} of shape {other.shapes[name]} and not {shape}"

        for name in other:
            if name not in self:
                return f"has {name!r} in scope, too"
        return "" if self == other else "has them in another order"

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)

    def __contains__(self, name: object) -> bool:
        return name in self.shapes

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Scope):
            return False
        return tuple(self.shapes.items()) == tuple(other.shapes.items())

    def __hash__(self) -> int:
        return hash(tuple(self.shapes.items()))

    def __reduce__(
        self,
    ) -> tuple[type[Scope], tuple[dict[str, tuple[int, ...]], Shards, dict[str, int]]]:
        # it may be sent to another process
        return Scope, (dict(self.shapes), WHOLE, dict(self.inputs))

    def _repr_html_(self) -> str:
        """The shape of each parameter, where a notebook shows it."""
        sides = {name: " x ".join(map(str, shape)) for name, shape in self.shapes.items()}
        return facts(repr(self), sides)

    def __repr__(self) -> str:
        return f"Scope({len(self)} parameters, {self.size:,} weights)"


_INPUTS_FIRST = ("Conv1D", "Llama4TextExperts")
"""Classes whose matrices have inputs first, by name, because they are of a library that core does not know."""


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def inputs_of(model: nn.Module, parameters: Mapping[str, Tensor]) -> dict[str, int]:
    """The dimension of inputs of each of *parameters*, live ones of *model*, in which that is not the last one.

    Linear layers multiply by the transpose of what they hold. Those of `_INPUTS_FIRST`, and stacks of experts that say
    so themselves (``is_transposed``), hold it with inputs first. Convolutions have their channels in the second.
    """
    # by identity, for wrappers put prefixes before the names
    names = {id(parameter): name for name, parameter in parameters.items()}
    inputs = {}
    for module in model.modules():
        convolution = isinstance(module, _Convolution)
        by_class = type(module).__name__ in _INPUTS_FIRST
        inputs_first = by_class or getattr(module, "is_transposed", False) is True

        for parameter in module.parameters(recurse=False):
            name = names.get(id(parameter))
            if name is not None and (convolution or inputs_first):
                inputs[name] = 1 if convolution else parameter.ndim - 2
    return inputs


def warn_of_unusual(shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Warn of what is unusual for a matrix of weights among what a rule chose; a line for all layers of a kind."""
    oddities: dict[str, str] = {}
    for name, shape in shapes.items():
        oddity = unusual(name, shape)
        if oddity:
            oddities.setdefault(without_numbers(name, "*"), oddity)

    if oddities:
        kinds = "; ".join(f"{name}, {oddity}" for name, oddity in oddities.items())
        warnings.warn(
            f"unusual among what may be pruned: {kinds}; leave out what is no matrix of weights",
            stacklevel=3,
        )
