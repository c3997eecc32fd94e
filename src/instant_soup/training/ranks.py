"""Ranks: the processes that train one model, as `accelerate launch` or `torchrun` starts them.

Two layouts: every rank has the whole model and they average gradients (DDP), or each has some rows of every parameter
(FSDP2). The launcher says which, by what `accelerate launch` puts into the environment.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache

import torch
from accelerate import PartialState
from accelerate.utils import DistributedDataParallelKwargs
from torch import distributed as dist

from ..core.errors import RankError, SoupError
from ..core.ranks.launch import launched
from ..core.ranks.team import ALONE, Ranks, Team

PATIENCE = timedelta(minutes=5)
"""How long a rank waits for the others before it gives up. A rank that dies is noticed at once."""


def team() -> Team:
    """The ranks of this launch; a team of one where nothing was launched. All of them have to ask."""
    return _met() if launched() else ALONE


@cache
def _met() -> Team:
    sharded()  # refuses what cannot be, before anything is loaded
    PartialState(cpu=not torch.accelerator.is_available(), timeout=PATIENCE)
    if dist.get_backend() == "gloo":
        return Ranks(None)
    # what ranks tell each other lies on the CPU, which NCCL does not carry
    return Ranks(dist.new_group(timeout=PATIENCE, backend="gloo"))


def sharded() -> bool:
    """Whether the launch asks for FSDP2. Raises RankError where it asks for what does not go with it here."""
    if not launched() or not _set("ACCELERATE_USE_FSDP"):
        return False

    version = os.environ.get("FSDP_VERSION", "1")
    if version != "2":
        raise RankError(
            f"the launch asks for FSDP {version}; set fsdp_version: 2 in the file for accelerate launch"
        )

    # transformers would then load nothing on the other ranks
    if _set("FSDP_CPU_RAM_EFFICIENT_LOADING"):
        raise RankError(
            "each rank compares with the pre-trained weights, and the launch has only the first one load them; set "
            "fsdp_cpu_ram_efficient_loading: false in the file for accelerate launch"
        )

    return True


def _set(name: str) -> bool:
    return os.environ.get(name, "false").lower() in ("true", "1")


@contextmanager
def lost() -> Iterator[None]:
    """Say it plainly where the other ranks can no longer be reached. Raises RankError."""
    try:
        yield
    except (dist.DistError, RuntimeError) as reason:
        # gloo raises a plain RuntimeError, which its text alone tells from others
        of_ranks = isinstance(reason, dist.DistError) or "gloo" in str(reason)
        if isinstance(reason, SoupError) or not of_ranks:
            raise

        raise RankError(
            f"rank {dist.get_rank()} has lost the others: one of them failed, was killed or did not answer for "
            f"{PATIENCE.seconds} s, see what it said itself; the same command goes on from where they were last saved "
            f"({str(reason).split('. ')[0]})"
        ) from reason


def handlers() -> list[DistributedDataParallelKwargs]:
    """What an Accelerator is told of ranks. A model may have parameters that a loss does not reach."""
    return [DistributedDataParallelKwargs(find_unused_parameters=True)]
