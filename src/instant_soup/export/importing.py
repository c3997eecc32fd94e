"""Importing: makes a ticket of a sparse model that another tool wrote, and says what became of each of its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..core.errors import DataError, ScopeError, TicketError
from ..core.kinds import checked
from ..core.mask import Mask
from ..core.scope import Scope
from ..core.ticket import Ticket
from ..core.weights import Lazy, Weights, first_not_finite
from ..models import pretrained
from .foreign import read
from .layouts import Foreign

LEAST_SPARSITY = 0.01  # with fewer zeros they are there by chance, and no mask


@dataclass(frozen=True)
class Imported:
    """A ticket that was imported, and how its tensors were found.

    Attributes:
        kind: what the source is, in words.
        renamed: how the names of the source were changed; "" where they were not.
        remarks: why a tensor of the source, or a parameter in scope, did not match, by its name.
    """

    ticket: Ticket
    kind: str
    renamed: str
    remarks: Mapping[str, str]


@dataclass(frozen=True)
class _Renaming:
    """A change of the source's names into names of the model: a prefix is removed, and another is added.

    Attributes:
        known: how many parameters in scope it finds.
    """

    removed: str = ""
    added: str = ""
    known: int = 0

    def __call__(self, name: str) -> str:
        return self.added + name.removeprefix(self.removed)

    def __str__(self) -> str:
        if self.removed:
            return f"without {self.removed!r}"
        if self.added:
            return f"with {self.added!r} before them"
        return ""


@checked
def import_ticket(
    source: str | Path,
    model: str = "packaged",
    *,
    ready: bool = False,
    pooler: bool = False,
    pickle: bool = False,
) -> Imported:
    """Make a ticket of the pre-trained *model* out of the sparse model *source*.

    The ticket prunes the weights in the model's scope that the source's masks drop. Where the source has no mask, it
    prunes those that are zero in it. Tensors in which the source differs from the masked *model*, its head included,
    are the ticket's start weights.

    Args:
        source: a file or folder that `instant_soup.export.foreign.read` can read.
        model: ``"packaged"``, a folder or a hub id: the dense model that the source was pruned from.
        ready: whether the source is trained to the end for the task it will be judged on. Files do not say so,
            and a ticket that is not ready is fine-tuned before it is judged, as all are; so the default is no.
        pooler: whether the pooler of a text model is in scope.
        pickle: whether a pickle may be read, its tensors alone.

    Raises:
        DataError: there is no such model, or the source cannot be read or holds what is not finite.
        ScopeError: the source is of another architecture.
        TicketError: next to nothing is pruned in the source, or it is called ready and lacks the head.
    """
    foreign = read(source, pickle=pickle)
    base = pretrained.load(model, pooler=pooler)
    state = base.model.state_dict()
    dense = {name: tensor.detach() for name, tensor in state.items()}

    if _is_named_otherwise(source, base.scope, dense, foreign):
        foreign = _convert(source, pooler=pooler)
    names, renaming = _match(base.scope, dense, foreign)

    remarks = {}
    for source_name, own_name in names.items():
        if own_name is None:
            remarks[source_name] = "the model has no such tensor"
    weights = _under_names(foreign.weights, names)
    masks = _under_names(foreign.masks, names)

    _check_finite(source, weights)
    mask = _mask(base.scope, weights, masks, remarks)
    if mask.sparsity < LEAST_SPARSITY:
        raise TicketError(
            f"nothing is pruned in {source}: {mask.scope.size - mask.kept:,} of {mask.scope.size:,} prunable weights "
            f"are zero; is it a dense model?"
        )

    if not mask.kept:
        raise TicketError(
            f"all {mask.scope.size:,} prunable weights are zero in {source}, so nothing would be kept; is it damaged?"
        )

    start = _start(weights, dense, mask, base.fresh, remarks)
    missing = sorted(base.fresh - start.keys())
    if ready and missing:
        raise TicketError(
            f"{source} lacks {missing[0]!r} and so is not trained to the end; import it untrained"
        )

    # the name of the folder alone: where it lies on this machine is nobody's concern
    name = Path(source).resolve().name
    method = {"name": "imported", "kind": foreign.kind, "source": name}
    ticket = Ticket(mask, start, base.base, ready=ready, method=method)
    return Imported(ticket, foreign.kind, str(renaming), remarks)


def _is_named_otherwise(
    source: str | Path, scope: Scope, dense: Weights, foreign: Foreign
) -> bool:
    """Whether the checkpoint at *source* has tensors that the model lacks, and the model parameters that it lacks.

    transformers renames tensors from one release to the next, and puts experts into stacks.
    """
    # it converts the names of a whole model alone
    if foreign.masks or not Path(source, "config.json").is_file():
        return False

    try:
        names, _ = _match(scope, dense, foreign)
    except ScopeError:
        return True
    own_names = set(names.values())
    return None in own_names and any(name not in own_names for name in scope)


def _convert(source: str | Path, *, pooler: bool) -> Foreign:
    """The checkpoint at *source* under the names that this release of transformers gives its tensors."""
    loaded = pretrained.load(str(source), pooler=pooler)
    tensors = {}
    for name, tensor in loaded.model.state_dict().items():
        # a fresh parameter was not in the checkpoint, and was drawn just now
        if name not in loaded.fresh:
            tensors[name] = tensor.detach()
    return Foreign("dense checkpoint, its names converted by transformers", tensors)


def _match(
    scope: Scope, dense: Weights, foreign: Foreign
) -> tuple[dict[str, str | None], _Renaming]:
    """The model's name for each name of the source, None where it has no such tensor, and the change that finds most.

    Raises:
        ScopeError: no name of the source is a parameter in scope, whatever is removed from it or added to it.
    """
    names = [*dict.fromkeys([*foreign.weights, *foreign.masks])]
    renaming = _best_renaming(scope, names)
    if not renaming.known:
        raise ScopeError(
            f"no name of the source is one of the model's parameters in scope: {', '.join(names[:3])} there, "
            f"{', '.join([*scope][:3])} here; name the model that it was pruned from"
        )

    matched: dict[str, str | None] = {}
    for name in names:
        # heads are often outside the prefix of the others, so a name may fit as it is
        candidates = (
            renaming(name),
            name,
            _weight_name(renaming(name)),
            _weight_name(name),
        )
        known = [candidate for candidate in candidates if candidate in dense]
        matched[name] = known[0] if known else None
    return matched, renaming


def _best_renaming(scope: Scope, names: list[str]) -> _Renaming:
    """The change of names that finds most parameters in scope; no change where that finds as many."""
    best = _Renaming(known=sum(_in_scope(name, scope) for name in names))
    for removed, added in _candidate_changes(scope, names):
        renaming = _Renaming(removed, added)
        known = sum(_in_scope(renaming(name), scope) for name in names)
        if known > best.known:
            best = _Renaming(removed, added, known)
    return best


def _candidate_changes(scope: Scope, names: list[str]) -> list[tuple[str, str]]:
    """The prefixes that could be removed from or added to *names*, as pairs with one of them empty."""
    forms = dict.fromkeys([*names, *map(_weight_name, names)])
    for parameter in scope:
        changes: list[tuple[str, str]] = []
        for name in forms:
            if name.endswith(f".{parameter}"):
                changes.append((name.removesuffix(parameter), ""))

        for name in forms:
            if parameter.endswith(f".{name}"):
                changes.append(("", parameter.removesuffix(name)))
        # one parameter shows the prefix of all
        if changes:
            return changes
    return []


def _in_scope(name: str, scope: Scope) -> bool:
    return name in scope or _weight_name(name) in scope


def _weight_name(name: str) -> str:
    """The name of a module's weight, from its own or the module's: masks go by either."""
    return name if name.endswith(".weight") else f"{name}.weight"


def _under_names(tensors: Weights, names: Mapping[str, str | None]) -> Weights:
    """The tensors of the source that the model has too, under the names of the model."""
    source_names: dict[str, str] = {}
    for name in tensors:
        own_name = names[name]
        if own_name is not None:
            source_names[own_name] = name
    return Lazy(source_names, lambda name: tensors[source_names[name]])


def _check_finite(source: str | Path, weights: Weights) -> None:
    """Raise DataError where *weights* hold NaN or infinity."""
    name = first_not_finite(weights)
    if name is not None:
        raise DataError(
            f"{name!r} of {source} holds NaN or infinity; import a checkpoint from before it diverged"
        )


def _mask(
    scope: Scope, weights: Weights, masks: Weights, remarks: dict[str, str]
) -> Mask:
    """The mask of *scope*: what *masks* keep, or what is not zero in *weights* where there is no mask.

    Raises:
        ScopeError: the source lacks a parameter, or has it in another shape.
    """
    kept: dict[str, Tensor] = {}
    for name, shape in scope.shapes.items():
        if name in masks:
            kept[name] = masks[name] != 0
        elif name in weights:
            kept[name] = weights[name] != 0
        elif len(masks):
            # who prunes only some layers writes masks of these alone
            remarks[name] = "the source has no mask of it: kept whole"
            kept[name] = torch.ones(shape, dtype=torch.bool)
        else:
            raise ScopeError(
                f"the source lacks {name!r}, which is in the scope of the model; name the model it is of"
            )

        if tuple(kept[name].shape) != shape:
            raise ScopeError(
                f"{name!r} has shape {tuple(kept[name].shape)} in the source and {shape} in the model"
            )
    return Mask(scope, kept)


def _start(
    weights: Weights,
    dense: Weights,
    mask: Mask,
    fresh: frozenset[str],
    remarks: dict[str, str],
) -> dict[str, Tensor]:
    """The tensors in which the source differs from the masked model, masked, in the model's dtypes."""
    start: dict[str, Tensor] = {}
    for name, base in dense.items():
        if name not in weights:
            if name in fresh:
                remarks[name] = "the source has none: the task draws a new one"
            continue

        tensor = weights[name].to(base.dtype)
        if name not in fresh and tensor.shape != base.shape:
            remarks[name] = (
                f"it has shape {tuple(tensor.shape)} and the model's has {tuple(base.shape)}: left out"
            )
            continue

        # compared under the mask: what is pruned starts nowhere
        if name in mask:
            pruned = ~mask[name]
            tensor = tensor.masked_fill(pruned, 0)
            base = base.masked_fill(pruned, 0)
        if name in fresh or not torch.equal(tensor, base):
            start[name] = tensor.contiguous()
    return start
