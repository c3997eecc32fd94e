"""Importing: a ticket out of a sparse model that another tool has written, and what became of each of its tensors."""

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

LEAST = 0.01  # below such a sparsity there are a few zeros by chance, and no mask


@dataclass(frozen=True)
class Imported:
    """A ticket and how it came about.

    Attributes:
        kind: what the source is.
        renamed: what was taken off or put before the names of the source, if anything.
        remarks: why a tensor of the source, or a parameter in scope, did not match.
    """

    ticket: Ticket
    kind: str
    renamed: str
    remarks: Mapping[str, str]


@dataclass(frozen=True)
class _Renaming:
    """How names of the source become names of the model: something is taken off, then something is put before.

    Attributes:
        known: how many parameters in scope are found by it.
    """

    off: str = ""
    on: str = ""
    known: int = 0

    def __call__(self, name: str) -> str:
        rest = name.removeprefix(self.off) if name.startswith(self.off) else name
        return self.on + rest

    def __str__(self) -> str:
        if self.off:
            return f"without {self.off!r}"
        return f"with {self.on!r} before them" if self.on else ""


@checked
def import_ticket(
    source: str | Path,
    model: str = "packaged",
    *,
    ready: bool = False,
    pooler: bool = False,
    pickle: bool = False,
) -> Imported:
    """The ticket of the sparse model *source*, as a ticket of the pre-trained *model*.

    Pruned are the weights in the model's scope that the source's masks drop or, where there is none, that are zero in
    it. Tensors in which the source differs from the masked *model* are the ticket's start weights, its head included.

    Args:
        source: what `instant_soup.export.foreign.read` knows.
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
    live = {name: tensor.detach() for name, tensor in base.model.state_dict().items()}

    try:
        names, renaming = _matched(base.scope, live, foreign)
    except ScopeError:
        if foreign.masks or not Path(source, "config.json").is_file():
            raise
        foreign = _converted(source, pooler=pooler)
        names, renaming = _matched(base.scope, live, foreign)

    remarks = {}
    for theirs, ours in names.items():
        if ours is None:
            remarks[theirs] = "the model has no such tensor"
    weights = _called(foreign.weights, names)
    masks = _called(foreign.masks, names)

    _check_finite(source, weights)
    mask = _mask(base.scope, weights, masks, remarks)
    if mask.sparsity < LEAST:
        raise TicketError(
            f"nothing is pruned in {source}: {mask.scope.size - mask.kept:,} of {mask.scope.size:,} prunable weights "
            f"are zero; is it a dense model?"
        )

    start = _start(weights, live, mask, base.fresh, remarks)
    lacking = sorted(base.fresh - start.keys())
    if ready and lacking:
        raise TicketError(
            f"{source} lacks {lacking[0]!r} and so is not trained to the end; import it untrained"
        )

    # the name of the folder alone: where it lies on this machine is nobody's concern
    name = Path(source).resolve().name
    method = {"name": "imported", "kind": foreign.kind, "source": name}
    ticket = Ticket(mask, start, base.base, ready=ready, method=method)
    return Imported(ticket, foreign.kind, str(renaming), remarks)


def _converted(source: str | Path, *, pooler: bool) -> Foreign:
    """A checkpoint whose names are of another age than the library's, under the names that transformers gives it."""
    theirs = pretrained.load(str(source), pooler=pooler)
    state = theirs.model.state_dict()
    # what is fresh was not in the checkpoint, and was drawn just now
    stored = [name for name in state if name not in theirs.fresh]
    tensors = {name: state[name].detach() for name in stored}
    return Foreign("dense checkpoint, its names converted by transformers", tensors)


def _matched(
    scope: Scope, live: Weights, foreign: Foreign
) -> tuple[dict[str, str | None], _Renaming]:
    """Which tensor of the model each name of the source is, and how names were changed for it."""
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
        candidates = (renaming(name), name, _weight(renaming(name)), _weight(name))
        known = [candidate for candidate in candidates if candidate in live]
        matched[name] = known[0] if known else None
    return matched, renaming


def _best_renaming(scope: Scope, names: list[str]) -> _Renaming:
    """The change of names by which most parameters in scope are found; none where that is as good as any."""
    best = _Renaming(known=sum(_in_scope(name, scope) for name in names))
    for off, on in _changes(scope, names):
        renaming = _Renaming(off, on)
        known = sum(_in_scope(renaming(name), scope) for name in names)
        if known > best.known:
            best = _Renaming(off, on, known)
    return best


def _changes(scope: Scope, names: list[str]) -> list[tuple[str, str]]:
    """What could be taken off or put before *names*, as far as the first parameter shows that is among them."""
    forms = dict.fromkeys([*names, *map(_weight, names)])
    for ours in scope:
        changes: list[tuple[str, str]] = []
        for name in forms:
            if name.endswith(f".{ours}"):
                changes.append((name.removesuffix(ours), ""))

        for name in forms:
            if ours.endswith(f".{name}"):
                changes.append(("", ours.removesuffix(name)))
        if changes:
            return changes
    return []


def _in_scope(name: str, scope: Scope) -> bool:
    return name in scope or _weight(name) in scope


def _weight(name: str) -> str:
    """The name of a module's weight: masks go by the one or the other."""
    return name if name.endswith(".weight") else f"{name}.weight"


def _called(tensors: Weights, names: Mapping[str, str | None]) -> Weights:
    """The tensors that the model has too, under its names."""
    theirs: dict[str, str] = {}
    for name in tensors:
        ours = names[name]
        if ours is not None:
            theirs[ours] = name
    return Lazy(theirs, lambda name: tensors[theirs[name]])


def _check_finite(source: str | Path, weights: Weights) -> None:
    name = first_not_finite(weights)
    if name is not None:
        raise DataError(
            f"{name!r} of {source} holds NaN or infinity; import a checkpoint from before it diverged"
        )


def _mask(
    scope: Scope, weights: Weights, masks: Weights, remarks: dict[str, str]
) -> Mask:
    """What of *scope* the *masks* keep, or where there is none, what is not zero in *weights*."""
    kept: dict[str, Tensor] = {}
    for name, shape in scope.shapes.items():
        if name in masks:
            kept[name] = masks[name] != 0
        elif name in weights:
            kept[name] = weights[name] != 0
        elif len(masks):
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
    live: Weights,
    mask: Mask,
    fresh: frozenset[str],
    remarks: dict[str, str],
) -> dict[str, Tensor]:
    """The tensors in which the source differs from the masked model, masked, in the model's dtypes."""
    start: dict[str, Tensor] = {}
    for name, base in live.items():
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

        if name in mask:
            dead = ~mask[name]
            tensor = tensor.masked_fill(dead, 0)
            base = base.masked_fill(dead, 0)
        if name in fresh or not torch.equal(tensor, base):
            start[name] = tensor.contiguous()
    return start
