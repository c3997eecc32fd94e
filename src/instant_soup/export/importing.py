"""Importing: a ticket out of a sparse model that another tool has written, and what became of each of its tensors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..core.errors import ScopeError, TicketError
from ..core.mask import Mask
from ..core.scope import Scope
from ..core.ticket import Ticket
from ..core.weights import Lazy, Weights
from ..models import pretrained
from .foreign import Foreign, read

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


def import_ticket(
    source: str | Path, model: str = "packaged", *, ready: bool = False, pooler: bool = False, pickle: bool = False
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
        DataError: there is no such model, or the source cannot be read.
        ScopeError: the source is of another architecture.
        TicketError: next to nothing is pruned in the source, or it is called ready and lacks the head.
    """
    foreign, base = read(source, pickle=pickle), pretrained.load(model, pooler=pooler)
    live = {name: tensor.detach() for name, tensor in base.model.state_dict().items()}
    try:
        names, renamed = _matched(base.scope, live, foreign)
    except ScopeError:
        if foreign.masks or not Path(source, "config.json").is_file():
            raise
        foreign = _converted(source, pooler=pooler)
        names, renamed = _matched(base.scope, live, foreign)
    remarks = {theirs: "the model has no such tensor" for theirs, ours in names.items() if ours is None}
    foreign = Foreign(foreign.kind, _called(foreign.weights, names), _called(foreign.masks, names))
    mask = _mask(base.scope, foreign, remarks)
    if mask.sparsity < LEAST:
        raise TicketError(
            f"nothing is pruned in {source}: {mask.scope.size - mask.kept:,} of {mask.scope.size:,} prunable weights "
            f"are zero; is it a dense model?"
        )
    start = _start(foreign.weights, live, mask, base.fresh, remarks)
    if ready and (lacking := sorted(base.fresh - start.keys())):
        raise TicketError(f"{source} lacks {lacking[0]!r} and so is not trained to the end; import it untrained")
    method = {"name": "imported", "kind": foreign.kind, "source": Path(source).resolve().name}
    return Imported(Ticket(mask, start, base.base, ready=ready, method=method), foreign.kind, renamed, remarks)


def _converted(source: str | Path, *, pooler: bool) -> Foreign:
    """A checkpoint whose names are of another age than the library's, under the names that transformers gives it."""
    theirs = pretrained.load(str(source), pooler=pooler)
    state = theirs.model.state_dict()
    known = {name: tensor.detach() for name, tensor in state.items() if name not in theirs.fresh}
    return Foreign("dense checkpoint, its names converted by transformers", known)


def _matched(scope: Scope, live: Weights, foreign: Foreign) -> tuple[dict[str, str | None], str]:
    """Which tensor of the model each name of the source is, and how names were changed for it, in words."""
    names = [*dict.fromkeys([*foreign.weights, *foreign.masks])]
    best: tuple[int, str, str] = (sum(name in scope for name in names), "", "")  # matches, taken off, put before
    for off, on in _changes(scope, names):
        count = sum(_renamed(name, off, on) in scope for name in names)
        best = max(best, (count, off, on), key=lambda one: one[0])
    count, off, on = best
    if not count:
        raise ScopeError(
            f"no name of the source is one of the model's parameters in scope: {', '.join(names[:3])} there, "
            f"{', '.join([*scope][:3])} here; name the model that it was pruned from"
        )
    found: dict[str, str | None] = {}
    for name in names:
        found[name] = next((new for new in (_renamed(name, off, on), name) if new in live), None)
    return found, f"without {off!r}" if off else f"with {on!r} before them" if on else ""


def _changes(scope: Scope, names: Iterable[str]) -> set[tuple[str, str]]:
    """What could be taken off or put before *names*, as far as one parameter shows."""
    ours = next(iter(scope))
    ends = [(name.removesuffix(ours), "") for name in names if name.endswith(f".{ours}")]
    return {*ends, *(("", ours.removesuffix(name)) for name in names if ours.endswith(f".{name}"))}


def _renamed(name: str, off: str, on: str) -> str:
    return on + (name.removeprefix(off) if name.startswith(off) else name)


def _called(tensors: Weights, names: Mapping[str, str | None]) -> Weights:
    """The tensors that the model has too, under its names."""
    theirs = {ours: name for name in tensors if (ours := names[name]) is not None}
    return Lazy(theirs, lambda name: tensors[theirs[name]])


def _mask(scope: Scope, foreign: Foreign, remarks: dict[str, str]) -> Mask:
    kept = {}
    for name, shape in scope.shapes.items():
        if name in foreign.masks:
            kept[name] = foreign.masks[name] != 0
        elif name in foreign.weights:
            kept[name] = foreign.weights[name] != 0
        elif foreign.masks:
            remarks[name] = "the source has no mask of it: kept whole"
            kept[name] = torch.ones(shape, dtype=torch.bool)
        else:
            raise ScopeError(f"the source lacks {name!r}, which is in the scope of the model; name the model it is of")
        if tuple(kept[name].shape) != shape:
            raise ScopeError(f"{name!r} has shape {tuple(kept[name].shape)} in the source and {shape} in the model")
    return Mask(scope, kept)


def _start(
    weights: Weights, live: Weights, mask: Mask, fresh: frozenset[str], remarks: dict[str, str]
) -> dict[str, Tensor]:
    """The tensors in which the source differs from the masked model, masked, in the model's dtypes."""
    start = {}
    for name, there in live.items():
        if name not in weights:
            if name in fresh:
                remarks[name] = "the source has none: the task draws a new one"
            continue
        here = weights[name].to(there.dtype)
        if name not in fresh and here.shape != there.shape:
            remarks[name] = f"it has shape {tuple(here.shape)} and the model's has {tuple(there.shape)}: left out"
            continue
        if name in mask:
            here, there = (part.masked_fill(~mask[name], 0) for part in (here, there))
        if name in fresh or not torch.equal(here, there):
            start[name] = here.contiguous()
    return start
