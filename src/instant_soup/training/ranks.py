"""Ranks: the processes that train one model, as `accelerate launch` or `torchrun` starts them.

Two layouts: every rank has the whole model and they average gradients (DDP), or each has some rows of every parameter
(FSDP2). The launcher says which, by what `accelerate launch` puts into the environment.
"""

from __future__ import annotations

import os
from datetime import timedelta
from functools import cache

import torch
from accelerate import PartialState
from accelerate.utils import DistributedDataParallelKwargs
from torch import distributed as dist

from ..core.errors import RankError
from ..core.team import Alone, Ranks, Team

PATIENCE = timedelta(minutes=5)
"""How long a rank waits for the others before it gives up. A rank that dies is noticed at once."""


def team() -> Team:
    """The ranks of this launch; a team of one where nothing was launched. All of them have to ask."""
    return _met() if int(os.environ.get("WORLD_SIZE", "1")) > 1 else Alone()


@cache
def _met() -> Team:
    PartialState(cpu=not torch.accelerator.is_available(), timeout=PATIENCE)
    group = None if dist.get_backend() == "gloo" else dist.new_group(timeout=PATIENCE, backend="gloo")
    return Ranks(group)


def sharded() -> bool:
    """Whether the launch asks for FSDP2. Raises RankError where it asks for FSDP1."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or os.environ.get("ACCELERATE_USE_FSDP", "false").lower() != "true":
        return False
    if (version := os.environ.get("FSDP_VERSION", "1")) != "2":
        raise RankError(f"the launch asks for FSDP {version}; set fsdp_version: 2 in the file for accelerate launch")
    return True


def handlers() -> list[DistributedDataParallelKwargs]:
    """What an Accelerator is told of ranks. A model may have parameters that a loss does not reach."""
    return [DistributedDataParallelKwargs(find_unused_parameters=True)]
