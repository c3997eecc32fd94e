"""Masks: which weights a job over blocks keeps, on disk until the job has ended, and the ticket that they make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from ..core.budget import Cost
from ..core.errors import StoreError, TicketError
from ..core.files import refuse_irregular
from ..core.mask import Mask
from ..core.task import Base
from ..core.ticket import Ticket
from ..core.weights import Lazy, digest
from .checkpoint import Checkpoint
from .passed import kept_by_shards
from .skeleton import Skeleton
from .spill import keep, kept


class Masks:
    """The masks of blocks that are cut, one file for each block, at one bit a weight."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, number: int, packed: dict[str, Tensor]) -> None:
        """Write which weights of a block are kept: packed bits for each of its matrices."""
        self._folder.mkdir(parents=True, exist_ok=True)
        keep(self._folder / f"mask-{number}.safetensors", packed)

    def whole(self) -> dict[str, Tensor]:
        """The packed masks of all blocks that have been put."""
        packed: dict[str, Tensor] = {}
        for path in sorted(self._folder.glob("mask-*.safetensors")):
            packed |= kept(path)
        return packed


def write_ticket(
    path: Path,
    skeleton: Skeleton,
    folder: Path,
    masks: Masks,
    name: str,
    method: dict[str, Any],
    cost: Cost,
    *,
    replace: bool = True,
) -> None:
    """Write to *path* the ticket of a job that has written its shards into *folder*, unless that ticket is there.

    Args:
        name: of the model that was pruned.
        method: name and knobs.
        replace: whether something else at *path* may be replaced.

    Raises:
        StoreError: the masks are gone, because the job ended without being asked for a ticket; or something else is
            at *path*.
    """
    packed = masks.whole()
    if any(matrix not in packed for matrix in skeleton.scope):
        _check_written(path, folder)
        return

    scope = skeleton.scope
    before = Lazy(scope, skeleton.in_float32)
    base = Base(name, digest(before, scope))

    mask = Mask.from_packed(scope, {matrix: packed[matrix] for matrix in scope})

    # SparseGPT changes what survives, so its tickets carry those weights
    written = Checkpoint.open(folder)
    updated = Lazy(
        scope, lambda matrix: skeleton.assemblies[matrix].put_together(written)
    )
    start = updated if method["name"] == "sparsegpt" else {}
    ticket = Ticket(mask, start, base, cost, method=method)
    if not replace:
        _refuse_another(path, ticket)
    ticket.save(path)


def _refuse_another(path: Path, ticket: Ticket) -> None:
    """Raise StoreError where there is something at *path*, and it is not this *ticket*."""
    refuse_irregular(path)
    if not path.exists():
        return
    try:
        digest = Ticket.load(path).digest
    except TicketError:
        digest = ""
    if digest != ticket.digest:
        raise StoreError(
            f"{path} is there already, and it is another ticket; give another name, or replace it on purpose (--force)"
        )


def _check_written(path: Path, folder: Path) -> None:
    """Refuse to go on unless the ticket at *path* keeps as many weights of each matrix as the shards of *folder*."""
    by_shards = kept_by_shards(folder)
    if path.is_file() and dict(Ticket.load(path).mask.kept_by_name) == by_shards:
        return
    raise StoreError(
        f"{folder} was finished without a ticket, and which weights it kept is no longer known; "
        f"delete it and prune again with --ticket, or make a ticket of its zeros with `instant-soup import`"
    )
