"""Threads: how many this process should compute with, so that it does not stand still beside others.

Threads that share the work of a matrix product wait for the slowest of them. On a busy machine one of two is put
aside again and again, and the other one spins: two threads are then slower than one.
"""

from __future__ import annotations

import os

import torch

MOST_THREADS = 4  # small matrices gain nothing from more


def spare_threads(cores: int, load: float) -> int:
    """How many of *cores* are free at a *load*, the number of processes that want one: 1 to `MOST_THREADS`."""
    return max(1, min(MOST_THREADS, round(cores - load)))


def use_spare_threads() -> int:
    """Compute with as many threads as are free now, and say how many; what OMP_NUM_THREADS says goes first."""
    if "OMP_NUM_THREADS" not in os.environ and hasattr(os, "getloadavg"):
        cores = os.cpu_count() or 1
        # a process may be held to fewer than the machine has
        if hasattr(os, "sched_getaffinity"):
            cores = len(os.sched_getaffinity(0))
        torch.set_num_threads(spare_threads(cores, os.getloadavg()[0]))
    return torch.get_num_threads()
