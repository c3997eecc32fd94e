"""Memory: tell the C library to keep what a training step frees.

glibc returns blocks above 32 MiB to the system at once, so on a CPU each step pays for the pages
of its large gradients anew: about a sixth of a step of the packaged BERT
(benchmarks/keep_memory.py). A process of its own may change that; a library must not.
"""

from __future__ import annotations

import ctypes
import sys

# as malloc.h numbers them
_TRIM_THRESHOLD = -1
_MMAP_THRESHOLD = -3
_NEVER = 2**31 - 1


def keep_freed_memory() -> None:
    """Do so where the C library is glibc; elsewhere do nothing."""
    if sys.platform != "linux":
        return

    libc = ctypes.CDLL(None)
    if hasattr(libc, "gnu_get_libc_version"):
        libc.mallopt(_MMAP_THRESHOLD, _NEVER)
        libc.mallopt(_TRIM_THRESHOLD, _NEVER)
