"""Environment: what a run ran on, and how much memory it took."""

from __future__ import annotations

import contextlib
import platform
import resource
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from ..training.device import kind_of

_PROC = Path("/proc/self")


def environment(device: str = "auto") -> dict[str, Any]:
    """Versions, machine and the kind of *device* that was asked for, as records keep them."""
    packages = (
        "instant-soup",
        "torch",
        "transformers",
        "accelerate",
        "datasets",
        "safetensors",
    )

    return {
        "python": platform.python_version(),
        "packages": {name: version(name) for name in packages},
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "device": kind_of(device),
    }


def forget_peaks() -> None:
    """Let `peaks` see what comes from here on, where the system can (Linux; CUDA)."""
    # 5 resets the peak of resident memory and leaves the counts of pages alone (man 5 proc)
    with contextlib.suppress(OSError):
        (_PROC / "clear_refs").write_text("5")
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def peaks() -> dict[str, int]:
    """Most memory at a time in bytes: of the process, and on a CUDA device if there is one."""
    most = {"process": _resident()}
    if torch.cuda.is_available():
        most["device"] = torch.cuda.max_memory_allocated()
    return most


def _resident() -> int:
    """The most memory that the process had since `forget_peaks`, or ever where the system does not tell."""
    with contextlib.suppress(OSError):
        for line in (_PROC / "status").read_text().splitlines():
            # the high-water mark of resident memory, in kibibytes
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024

    # macOS counts bytes, all others kibibytes
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
