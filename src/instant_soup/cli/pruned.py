"""Pruned: prints what pruning a checkpoint kept and what it left as it is, tensor by tensor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..core.names.layers import without_numbers
from ..core.names.matrices import unusual
from .console import say

if TYPE_CHECKING:
    from ..checkpoints.prune import Pruned
    from ..core.scope import Scope


def print_pruned(pruned: Pruned) -> None:
    """Print a line for each kind of tensor, and how much was kept in all."""
    # what is pruned comes first: tensors that are left as they are may be many
    print_scope(pruned.scope)
    left = {name: f"left as it is: {reason}" for name, reason in pruned.left_out.items()}
    for line in grouped(left):
        say(f"  {line}")

    say(
        f"{pruned.folder}: {pruned.kept:,} of {pruned.scope.size:,} prunable weights kept, "
        f"sparsity {1 - pruned.kept / pruned.scope.size:.4%}"
    )


def print_scope(scope: Scope) -> None:
    """Print a line for each kind of tensor in *scope*, and what is unusual in it."""
    remarks = {}
    for name, shape in scope.shapes.items():
        size = " x ".join(map(str, shape))
        remarks[name] = f"{size}, in scope"
        oddity = unusual(name, shape)
        if oddity:
            remarks[name] += f", unusual: {oddity}"

    for line in grouped(remarks):
        say(f"  {line}")


def grouped(remarks: Mapping[str, str]) -> list[str]:
    """Lines of *remarks* about tensors by name; one line for tensors that differ in the number of their layer alone."""
    counts: Counter[tuple[str, str]] = Counter()
    for name, remark in remarks.items():
        counts[without_numbers(name, "*"), remark] += 1

    lines = []
    for (name, remark), times in counts.items():
        note = f" ({times} times)" if times > 1 else ""
        lines.append(f"{name}{note}: {remark}")
    return lines
