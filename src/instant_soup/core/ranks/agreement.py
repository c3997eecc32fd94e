"""Agreement of ranks: whether ranks that each hold a whole mask hold the same one."""

from __future__ import annotations

import hashlib

from ..errors import RankError
from ..mask import Mask
from .team import Team


def check_agreement(mask: Mask, team: Team) -> None:
    """Compare *mask* with that of every other rank of *team*, by 60 bits of the SHA-256 of each parameter's bits.

    Raises RankError, on all ranks, that names the first parameter on which they differ.
    """
    hashes = [_hash(mask, name) for name in mask]
    by_rank = team.table(hashes)

    differing = {}
    for name, *row in zip(mask, *by_rank, strict=True):
        if len(set(row)) > 1:
            differing[name] = row

    if differing:
        name, row = next(iter(differing.items()))
        other = next(rank for rank, hash_ in enumerate(row) if hash_ != row[0])
        raise RankError(
            f"rank {other} keeps other weights of {name!r} than rank 0 ({len(differing)} of {len(mask)} parameters "
            f"differ), so their scores were not the same; check that all ranks have the same model, data, seed and "
            f"versions, and write to no weights yourself"
        )


def _hash(mask: Mask, name: str) -> int:
    """60 bits, so that a team can tell them as a count."""
    digest = hashlib.sha256(mask.packed(name).numpy().data).hexdigest()
    return int(digest[:15], 16)
