"""Fit: a mask and start weights for a model with other names, another head or other weights.

The mask goes where the like of its parameters is; every weight that finds a place is kept or pruned there as before.
The start weights go along only where the model stands at the very weights that the ticket was drawn from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod

import torch
from torch import Tensor, nn

from ..apply import named
from ..errors import ScopeError, nearest
from ..mask import Mask
from ..scope import Scope, inputs_of
from ..task import Base
from ..weights import Lazy, Weights, are_of, digest
from .fates import Fate
from .heads import is_head
from .match import Assembly, check_used_once, inverse, match
from .name_map import NameMap, read_map
from .naming import Shapes

HEAD = "head of the old task; the model keeps its own"
OTHER_BASE = "start weights of another checkpoint, or of more than is here; the model keeps its own"
NOTHING_LIKE_IT = "nothing like it there"


@dataclass(frozen=True)
class Fit:
    """What a ticket becomes in another model.

    Attributes:
        mask, start, base: of the ticket for the model.
        fates: first those of the model's tensors in its order, then those of what was dropped.
        same_base: whether the model is known to stand at the weights that the ticket was drawn from: all that it may
            prune is there, unchanged.
        complete: whether that is so and no start weight was left behind, so that a trained ticket is trained still.
    """

    mask: Mask
    start: Weights
    base: Base
    fates: tuple[Fate, ...]
    same_base: bool
    complete: bool


@torch.no_grad()
def fit(
    model: nn.Module,
    mask: Mask,
    start: Weights,
    base: Base,
    *,
    names: NameMap | None = None,
    scope: Scope | None = None,
    heads: int | None = None,
    new_base: Base | None = None,
) -> Fit:
    """Fit a ticket of *mask*, *start* and *base* to *model*, which is only looked at.

    Args:
        names: what is not known of names, see `NameMap`.
        scope: what may be pruned in *model*; by default what has a match.
        heads: attention heads a layer, where they have to be known.
        new_base: what *model* is called and the digest of its prunable weights; worked out by default.

    Raises:
        ScopeError: nothing matches, *names* says what does not exist, or *scope* is not of *model*.
    """
    tensors = named(model)
    sources = _shapes(start) | dict(mask.scope.shapes)
    mapped = read_map(names, _shapes(tensors), sources)
    targets = _targets(model, tensors, scope, mapped)

    matches = match(targets, mask.scope.shapes, mapped, heads)
    check_used_once(matches)
    matched = _assembled(matches)
    if not matched:
        raise ScopeError(_nothing_matches(model, matches, mask.scope))

    new_scope = scope or _scope_of(model, tensors, matched)
    new_mask = Mask(new_scope, _masks(mask, new_scope, matched, heads))
    old = _Old(mask, start, tensors, matched, heads)
    same_base = old.is_at(base)
    # start weights are of use only where the model stands at the weights that they were trained from
    moved: dict[str, Tensor] = {}
    if same_base:
        moved, start_fates = old.moved(mapped)
    else:
        start_fates = old.left_behind(start, OTHER_BASE)

    new_start = {}
    for name, tensor in moved.items():
        new_start[name] = _masked(tensor, new_mask.get(name))

    target_fates = [
        _fate(name, matches[name], new_mask, prod(shape))
        for name, shape in targets.items()
    ]
    without_a_place = _without_a_place(mask, matched, targets, heads)
    return Fit(
        mask=new_mask,
        start=new_start,
        base=new_base or Base(type(model).__name__, digest(tensors, new_scope)),
        fates=(*target_fates, *start_fates, *without_a_place),
        same_base=same_base,
        complete=same_base and all(fate.outcome != "dropped" for fate in start_fates),
    )


def _scope_of(model: nn.Module, tensors: Weights, names: Iterable[str]) -> Scope:
    """The scope of the parameters *names* of *model*, whose *tensors* go by the names that they have in no wrapper."""
    parameters = {name: tensors[name] for name in names}
    shapes = {name: tuple(tensor.shape) for name, tensor in parameters.items()}
    return Scope(shapes, inputs=inputs_of(model, parameters))


def _targets(
    model: nn.Module,
    tensors: Weights,
    scope: Scope | None,
    mapped: Mapping[str, Assembly],
) -> Shapes:
    """The parameters that may be pruned: those of *scope*, or every matrix of the model; without names of wrappers."""
    if scope is not None:
        for name, shape in scope.shapes.items():
            if name not in tensors or tuple(tensors[name].shape) != shape:
                raise ScopeError(
                    f"scope has {name!r} {shape} and the model has not; {nearest(name, tensors)}"
                )
        return scope.shapes

    parameters = dict(model.named_parameters())
    prunable = {id(parameters[name]) for name in Scope.of(model)}
    first_names: dict[int, str] = {}  # of tensors that go by several names
    for name, tensor in tensors.items():
        if id(tensor) in prunable:
            first_names.setdefault(id(tensor), name)

    mapped_matrices = {name for name in mapped if tensors[name].ndim > 1}
    listed = mapped_matrices.union(first_names.values())
    return _shapes({name: tensor for name, tensor in tensors.items() if name in listed})


def _assembled(matches: Mapping[str, Assembly | str]) -> dict[str, Assembly]:
    """Those of *matches* that are made of something."""
    return {
        name: assembly
        for name, assembly in matches.items()
        if isinstance(assembly, Assembly)
    }


def _masks(
    mask: Mask, scope: Scope, matched: Mapping[str, Assembly], heads: int | None
) -> Lazy:
    """The new mask, a parameter at a time: what has no match is kept whole."""

    def compute(name: str) -> Tensor:
        if name in matched:
            return matched[name].build(mask, heads)
        return torch.ones(scope.shapes[name], dtype=torch.bool)

    return Lazy(scope, compute)


@dataclass(frozen=True)
class _Old:
    """The ticket as it was, and the model that it was drawn from, as far as it can be seen in the new one.

    Attributes:
        tensors: of the new model.
        matched: how prunable tensors of the new model are made of the ticket's.
    """

    mask: Mask
    start: Weights
    tensors: Weights
    matched: Mapping[str, Assembly]
    heads: int | None

    @cached_property
    def _ways_back(self) -> dict[str, Assembly]:
        return inverse(self.matched)

    @cached_property
    def _base_weights(self) -> Lazy:
        """The prunable weights of the base model, made of those of the new model."""

        def compute(name: str) -> Tensor:
            return self._ways_back[name].build(self.tensors, self.heads).detach()

        return Lazy(self._ways_back, compute)

    def is_at(self, base: Base) -> bool:
        """Whether all prunable weights of the ticket are in the new model, at the values of *base*."""
        scope = self.mask.scope
        shapes = _shapes({name: self.tensors[name] for name in self.matched})

        for name, shape in scope.shapes.items():
            back = self._ways_back.get(name)
            if back is None or back.misfit(shape, shapes, self.heads):
                return False
        return are_of(self._base_weights, scope, base.digest)

    def moved(
        self, mapped: Mapping[str, Assembly]
    ) -> tuple[dict[str, Tensor], list[Fate]]:
        """The start weights under the new model's names, and what became of those that are not in scope."""
        in_scope = Lazy(self.mask, self._begins_at)
        moved = {}
        for name, assembly in self.matched.items():
            if not self.start.keys().isdisjoint(assembly.names):
                moved[name] = assembly.build(in_scope, self.heads)

        wanted_by_map = {
            source for assembly in mapped.values() for source in assembly.names
        }

        # what is not in scope: norms, biases, embeddings, and the head, which goes only where the map sends it
        outside = {
            name: tensor for name, tensor in self.start.items() if name not in self.mask
        }
        offered = {}
        for name, tensor in outside.items():
            if name in wanted_by_map or not self._is_of_the_old_task(name):
                offered[name] = tensor
        free = {}
        for name, tensor in self.tensors.items():
            if name not in self.matched:
                free[name] = tensor
        matches = match(_shapes(free), _shapes(offered), mapped, self.heads)
        check_used_once(matches)

        fates = []
        used: set[str] = set()
        for name, assembly in _assembled(matches).items():
            moved[name] = assembly.build(offered, self.heads)
            used.update(assembly.names)
            size = moved[name].numel()
            fates.append(
                Fate(name, assembly.names, "start", assembly.reason, kept=size, size=size)
            )

        unused = [name for name in outside if name not in used]
        return moved, [*fates, *self.left_behind(unused, NOTHING_LIKE_IT)]

    def _begins_at(self, name: str) -> Tensor:
        """Where the ticket begins at a parameter in scope: its own start weights, or else the masked base weights."""
        if name in self.start:
            return self.start[name]
        return _masked(self._base_weights[name], self.mask[name])

    def left_behind(self, names: Iterable[str], why: str) -> list[Fate]:
        """The fates of start weights that do not go along."""
        kept = self.mask.kept_by_name

        fates = []
        for name in names:
            size = self.start[name].numel()
            reason = HEAD if self._is_of_the_old_task(name) else why
            fates.append(Fate(name, (), "dropped", reason, kept.get(name, size), size))
        return fates

    def _is_of_the_old_task(self, name: str) -> bool:
        """Whether the start weights *name* are of a head.

        A ticket that starts from the pre-trained weights has no other start weights than those of its head.
        """
        starts_pretrained = self.start.keys().isdisjoint(self.mask)
        return name not in self.mask and (starts_pretrained or is_head(name))


def _fate(name: str, assembly: Assembly | str, mask: Mask, size: int) -> Fate:
    """What became of a tensor of the new model, of so many weights."""
    if isinstance(assembly, str):
        return Fate(name, (), "dense", assembly, kept=size, size=size)

    kept = mask.kept_by_name[name]
    return Fate(name, assembly.names, "matched", assembly.reason, kept, size)


def _without_a_place(
    mask: Mask,
    matched: Mapping[str, Assembly],
    targets: Shapes,
    heads: int | None,
) -> Iterator[Fate]:
    """What of the old *mask* has no place in the new model, and why."""
    parts_taken: Counter[str] = Counter()
    for assembly in matched.values():
        parts_taken.update(piece.name for piece in assembly.pieces)
    ways_back = inverse(matched)
    reasons = match(mask.scope.shapes, targets, {}, heads)

    for name, kept in mask.kept_by_name.items():
        if name in ways_back:
            continue

        reason = reasons[name]
        if parts_taken[name]:
            why = f"only {parts_taken[name]} of its parts have a place"
        elif isinstance(reason, str):
            why = reason
        else:
            why = "what is like it is made of something else"
        yield Fate(name, (), "dropped", why, kept, mask.scope.numel(name))


def _nothing_matches(
    model: nn.Module, matches: Mapping[str, Assembly | str], scope: Scope
) -> str:
    name, why = next(iter(matches.items()))
    return (
        f"nothing of this {type(model).__name__} is like the ticket's {scope}: {name!r}: {why}; "
        f"{nearest(name, scope)}; say with map which names belong together"
    )


def _shapes(tensors: Weights) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _masked(tensor: Tensor, keep: Tensor | None) -> Tensor:
    tensor = tensor.detach().cpu()
    return tensor.clone() if keep is None else tensor.masked_fill(~keep, 0)
