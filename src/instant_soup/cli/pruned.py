"""Pruned: what pruning a checkpoint kept and what it left as it is, told tensor by tensor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..core.names.layers import without_numbers
from ..core.names.matrices import unusual
from .console import say

if TYPE_CHECKING:
    from ..checkpoints.prune import Pruned


def tell(done: Pruned) -> None:
    """Print a line for each kind of tensor, and how much was kept in all."""
    remarks = {}
    for name, shape in done.scope.shapes.items():
        size = " x ".join(map(str, shape))
        odd = unusual(name, shape)
        remarks[name] = (
            f"{size}, in scope, unusual: {odd}" if odd else f"{size}, in scope"
        )
    for name, reason in done.left_out.items():
        remarks[name] = f"left as it is: {reason}"

    for line in alike(remarks):
        say(f"  {line}")

    say(
        f"{done.folder}: {done.kept:,} of {done.scope.size:,} prunable weights kept, "
        f"sparsity {1 - done.kept / done.scope.size:.4%}"
    )


def alike(remarks: Mapping[str, str]) -> list[str]:
    """Lines about tensors, those of numbered layers taken as one."""
    counts = Counter(
        (without_numbers(name, "*"), remark) for name, remark in remarks.items()
    )
    lines = []
    for (name, remark), times in counts.items():
        again = f" ({times} times)" if times > 1 else ""
        lines.append(f"{name}{again}: {remark}")
    return lines
