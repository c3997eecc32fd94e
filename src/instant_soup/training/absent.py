"""Absent: weights that are not in memory, which torch would otherwise take as if they were, whatever lay there."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ..core.errors import TrainingError


class RefuseAbsent(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch does not annotate it
    """Refuses every operation on a tensor that has no memory, as weights of blocks have that are not held.

    Some operations of torch answer to one such operand with memory that was never written. Raises TrainingError.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Look at the operands, and go on."""
        del types
        for operand in tree_leaves((args, kwargs)):
            if isinstance(operand, Tensor) and operand.is_meta:
                raise TrainingError(
                    f"weights of shape {tuple(operand.shape)} are needed outside of the block that they are in, so "
                    f"blocks of this model cannot be held one at a time; draw a ticket in memory, or cut by 'magnitude'"
                )
        return func(*args, **(kwargs or {}))
