"""Starts ranks for a test: processes that meet in a gloo group, do the same work and say what came of it.

They are forked from a process that has imported what takes long, once for all tests. A rank that fails, or a team that
takes too long, fails the test; nothing is left running.
"""

from __future__ import annotations

import os
import pickle
import socket
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import distributed as dist
from torch import multiprocessing

PATIENCE = 100.0  # seconds that a team may take


def together(size: int, work: Callable[..., Any], folder: Path, *given: Any) -> list[Any]:
    """What *work*, called with *given* by *size* ranks, returns at each of them. *folder* is for their own use."""
    folder.mkdir(parents=True, exist_ok=True)
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(
        [
            "instant_soup.runs.run",
            "torch.distributed.tensor",
            "transformers.models.bert.modeling_bert",
        ]
    )
    ranks = [
        server.Process(target=_rank, args=(rank, size, folder, work, given))
        for rank in range(size)
    ]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(PATIENCE)
    late = [rank for rank in ranks if rank.is_alive()]
    for rank in late:
        rank.kill()
        rank.join()
    said = {
        path.name: path.read_text(encoding="utf-8")
        for path in sorted(folder.glob("failed-*"))
    }
    assert not late, f"{len(late)} of {size} ranks took too long; {said}"
    assert not any(rank.exitcode for rank in ranks), said or [
        rank.exitcode for rank in ranks
    ]
    files = [folder / f"result-{rank}" for rank in range(size)]
    return [pickle.loads(file.read_bytes()) for file in files]  # noqa: S301  # written above


def _rank(
    rank: int, size: int, folder: Path, work: Callable[..., Any], given: tuple[Any, ...]
) -> None:
    torch.set_num_threads(1)
    os.environ |= {
        "RANK": str(rank),
        "WORLD_SIZE": str(size),
        "LOCAL_RANK": str(rank),
        "OMP_NUM_THREADS": "1",
    }
    os.environ |= {"LOCAL_WORLD_SIZE": str(size), "HF_HUB_OFFLINE": "1"}
    meeting = f"file://{folder / 'meeting'}"
    try:
        dist.init_process_group("gloo", meeting, timedelta(seconds=PATIENCE), size, rank)
        (folder / f"result-{rank}").write_bytes(pickle.dumps(work(*given)))
        dist.barrier()
        dist.destroy_process_group()
    except BaseException:
        (folder / f"failed-{rank}").write_text(traceback.format_exc(), encoding="utf-8")
        raise


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
