"""Products: sums over what goes into some matrices, by watching every product with one of them.

A matrix is known by its memory: whatever multiplies by a view of it is seen, be it a linear layer, a ``Conv1D``, or an
expert in a stack.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ..core.errors import TrainingError
from ..core.scope import Scope

_ATEN = torch.ops.aten
_OPERANDS = {
    _ATEN.mm: (0, 1),
    _ATEN.addmm: (1, 2),
    _ATEN.bmm: (0, 1),
    _ATEN.baddbmm: (1, 2),
    _ATEN.matmul: (0, 1),
    _ATEN.linear: (0, 1),
}
"""What multiplies, and where its inputs and its matrix stand among the arguments."""


@dataclass
class Sums:
    """Sums over all inputs of some matrices: of their squares, or of x x^T.

    Attributes:
        scope: which dimension of each matrix its inputs lie along.
        matrices: the live tensors, by name.
        second_moment: whether sums are of x x^T.
        by_name: float32 [..., inputs], or [..., inputs, inputs]; of those matrices that multiplied something.
    """

    scope: Scope
    matrices: Mapping[str, Tensor]
    second_moment: bool
    by_name: dict[str, Tensor] = field(default_factory=dict)
    _latest: tuple[Tensor, int, Tensor] | None = None

    def add(self, name: str, number: int | None, inputs: Tensor) -> None:
        """Count *inputs* [..., inputs] of the matrix *name*, of its member *number* where it is a stack.

        Raises:
            TrainingError: they are not as wide as the matrix, which is multiplied in another form than it is stored.
        """
        width = self.scope.shapes[name][self.scope.inputs.get(name, -1)]
        if inputs.shape[-1] != width:
            raise TrainingError(
                f"{name!r} of shape {tuple(self.scope.shapes[name])} multiplies inputs of {inputs.shape[-1]} numbers, "
                f"so it is no matrix as it is stored and cannot be scored by its inputs; cut by 'magnitude'"
            )

        if name not in self.by_name:
            self.by_name[name] = self._zeros(name, inputs.device)
        total = self.by_name[name]

        if number is not None:
            total[number].add_(self._sum(inputs))
            return

        # a batched product: each member of the stack has its own inputs
        stacked = total.ndim > (2 if self.second_moment else 1)
        if stacked:
            for member, part in enumerate(inputs):
                total[member] += self._sum(part)
            return

        total.add_(self._sum(inputs))

    def _zeros(self, name: str, device: torch.device) -> Tensor:
        shape = list(self.scope.shapes[name])
        width = shape.pop(self.scope.inputs.get(name, -1))
        stack = shape[:-1]
        sides = [width, width] if self.second_moment else [width]
        return torch.zeros(*stack, *sides, device=device)

    def _sum(self, inputs: Tensor) -> Tensor:
        """The sum over rows. Matrices that are given the same inputs, as query and key are, share it."""
        if self._latest is not None:
            latest, version, total = self._latest
            # the version counts writes in place, after which the same memory holds other inputs
            if _same_memory(inputs, latest) and inputs._version == version:
                return total

        flat = inputs.reshape(-1, inputs.shape[-1]).float()
        total = flat.T @ flat if self.second_moment else flat.square().sum(0)
        # the inputs are held too, so that nothing else can get their memory
        self._latest = inputs, inputs._version, total

        return total


def _same_memory(inputs: Tensor, latest: Tensor) -> bool:
    return (
        inputs.data_ptr() == latest.data_ptr()
        and inputs.numel() == latest.numel()
        and inputs.shape[-1] == latest.shape[-1]
    )


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch does not annotate it
    """Sees every product with one of the matrices of *sums*, and adds its inputs there."""

    def __init__(self, sums: Sums) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._sums = sums

        # several matrices may be views of one storage, so each has its stretch of it
        self._stretches: dict[int, list[tuple[int, int, str]]] = {}
        for name, matrix in sums.matrices.items():
            first = int(matrix.storage_offset())
            stretch = (first, first + matrix.numel(), name)
            storage = matrix.untyped_storage().data_ptr()
            self._stretches.setdefault(storage, []).append(stretch)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Look at the operands, and go on."""
        del types
        operands = _OPERANDS.get(func.overloadpacket)
        if operands is not None:
            inputs = args[operands[0]]
            weight = args[operands[1]]
            # linear takes a matrix whose inputs lie last, all others one whose inputs lie first
            inputs_last = func.overloadpacket is _ATEN.linear
            self._look(inputs, weight, inputs_last=inputs_last)

        return func(*args, **(kwargs or {}))

    def _look(self, inputs: Tensor, weight: Tensor, *, inputs_last: bool) -> None:
        storage = weight.untyped_storage().data_ptr()
        offset = weight.storage_offset()

        for first, last, name in self._stretches.get(storage, ()):
            if not first <= offset < last:
                continue

            matrix = self._sums.matrices[name]
            number = None
            if matrix.ndim > 2 and weight.ndim == 2:
                number = (offset - first) // matrix[0].numel()

            as_stored = weight.stride()[-2:] == matrix.stride()[-2:]
            last_dim = matrix.ndim - 1
            self._check_side(name, last_dim if as_stored == inputs_last else last_dim - 1)
            self._sums.add(name, number, inputs)

    def _check_side(self, name: str, dim: int) -> None:
        """Refuse a matrix whose inputs lie elsewhere than its scope says. Raises TrainingError."""
        ndim = self._sums.matrices[name].ndim
        if dim != self._sums.scope.inputs.get(name, -1) % ndim:
            raise TrainingError(
                f"the inputs of {name!r} lie along its dimension {dim}, and its scope says otherwise; "
                f"give the scope inputs={{{name!r}: {dim}}}, or leave the matrix out"
            )
