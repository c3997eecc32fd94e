"""Inputs: what goes into each matrix of a model, over a few examples, block by block.

Blocks are the members of the outermost lists of modules. The model is run once to see how its blocks are called; then
each block is run by itself, once to look at the inputs of its matrices, and once more, after whoever asked has changed
its weights, for what it hands on. So each block sees what the blocks before it make as they are now, and one block's
statistics are in memory at a time.

A matrix is known by its memory: whatever multiplies by a view of it is seen, be it a linear layer, a ``Conv1D``, or an
expert in a stack.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from ..core.errors import TrainingError
from ..core.scope import Scope
from .course import Batch

PASSES = 3
"""What an example is charged: to see how blocks are called, and twice through the blocks."""

Forward = Callable[[Batch], object]
Hold = Callable[["Block"], AbstractContextManager[None]]
_ATEN = torch.ops.aten
_OPERANDS = {
    _ATEN.mm: (0, 1),
    _ATEN.addmm: (1, 2),
    _ATEN.bmm: (0, 1),
    _ATEN.matmul: (0, 1),
    _ATEN.linear: (0, 1),
}
"""What multiplies, and where its inputs and its matrix stand among the arguments."""


class States(Protocol):
    """What goes from one block to the next, a tensor for each micro-batch, wherever it is kept."""

    def append(self, state: Tensor, /) -> None:
        """Take the next."""

    def __iter__(self) -> Iterator[Tensor]: ...

    def __setitem__(self, number: int, state: Tensor, /) -> None: ...


@dataclass(frozen=True)
class Block:
    """A member of a stack.

    Attributes:
        stack: the path of the list that it is in.
        names: its parameters in scope.
    """

    path: str
    stack: str
    module: nn.Module
    names: tuple[str, ...]


@dataclass
class _Call:
    """How a block is called in a micro-batch. What goes through the blocks is left out."""

    args: tuple[Any, ...]
    options: dict[str, Any]

    def again(self, module: nn.Module, hidden: Tensor) -> Tensor:
        """Call *module* so, with *hidden* going in; what comes out."""
        if self.args:
            output = module(hidden, *self.args[1:], **self.options)
        else:
            output = module(**{**self.options, "hidden_states": hidden})
        return _hidden(output)


@dataclass
class Statistics:
    """Sums over all inputs of some matrices: of their squares, or of x x^T."""

    scope: Scope
    matrices: Mapping[str, Tensor]
    second_moment: bool
    sums: dict[str, Tensor] = field(default_factory=dict)
    _latest: tuple[Tensor, int, Tensor] | None = None

    def add(self, name: str, number: int | None, inputs: Tensor) -> None:
        """Count *inputs* [..., inputs] of the matrix *name*, of its member *number* where it is a stack."""
        if name not in self.sums:
            self.sums[name] = self._nothing(name, inputs.device)
        total = self.sums[name]
        if number is None and total.ndim > (2 if self.second_moment else 1):
            for member, part in enumerate(inputs):
                total[member] += self._sum(part)
            return
        (total if number is None else total[number]).add_(self._sum(inputs))

    def _nothing(self, name: str, device: torch.device) -> Tensor:
        shape = list(self.scope.shapes[name])
        width = shape.pop(self.scope.inputs.get(name, -1))
        stacked = shape[:-1]
        return torch.zeros(
            *stacked, width, *([width] if self.second_moment else []), device=device
        )

    def _sum(self, inputs: Tensor) -> Tensor:
        """The sum over rows. Matrices that are given the same inputs, as query and key are, share it."""
        latest = self._latest
        if (
            latest is not None
            and _same(inputs, latest[0])
            and inputs._version == latest[1]
        ):
            return latest[2]

        flat = inputs.reshape(-1, inputs.shape[-1]).float()
        total = flat.T @ flat if self.second_moment else flat.square().sum(0)
        # held, so that nothing else can get its memory
        self._latest = inputs, inputs._version, total

        return total


def _same(one: Tensor, other: Tensor) -> bool:
    return (
        one.data_ptr() == other.data_ptr()
        and one.numel() == other.numel()
        and one.shape[-1] == other.shape[-1]
    )


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch does not annotate it
    """Sees every product with one of some matrices."""

    def __init__(self, statistics: Statistics) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._statistics = statistics
        self._owners: dict[int, list[tuple[int, int, str]]] = {}
        for name, matrix in statistics.matrices.items():
            first = int(matrix.storage_offset())
            place = first, first + matrix.numel(), name
            self._owners.setdefault(matrix.untyped_storage().data_ptr(), []).append(place)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Look at the operands, and go on."""
        del types
        operands = _OPERANDS.get(func.overloadpacket)
        if operands is not None:
            self._look(
                args[operands[0]],
                args[operands[1]],
                inputs_last=func.overloadpacket is _ATEN.linear,
            )
        return func(*args, **(kwargs or {}))

    def _look(self, inputs: Tensor, weight: Tensor, *, inputs_last: bool) -> None:
        for first, last, name in self._owners.get(
            weight.untyped_storage().data_ptr(), ()
        ):
            if not first <= weight.storage_offset() < last:
                continue
            matrix = self._statistics.matrices[name]

            number = None
            if matrix.ndim > 2 and weight.ndim == 2:
                number = (weight.storage_offset() - first) // matrix[0].numel()
            as_stored = weight.stride()[-2:] == matrix.stride()[-2:]
            self._check_side(
                name, matrix.ndim - 1 if as_stored == inputs_last else matrix.ndim - 2
            )
            self._statistics.add(name, number, inputs)

    def _check_side(self, name: str, dim: int) -> None:
        """Refuse a matrix whose inputs lie elsewhere than its scope says. Raises TrainingError."""
        ndim = self._statistics.matrices[name].ndim
        if dim != self._statistics.scope.inputs.get(name, -1) % ndim:
            raise TrainingError(
                f"the inputs of {name!r} lie along its dimension {dim}, and its scope says otherwise; "
                f"give the scope inputs={{{name!r}: {dim}}}, or leave the matrix out"
            )


def blocks_of(model: nn.Module, scope: Scope) -> list[Block]:
    """The blocks of the stacks with something in *scope*, in the order in which the model lists them."""
    blocks: list[Block] = []
    stacks: list[str] = []

    for path, module in model.named_modules():
        if not isinstance(module, nn.ModuleList) or path.startswith(
            tuple(f"{outer}." for outer in stacks)
        ):
            continue
        if any(name.startswith(f"{path}.") for name in scope):
            stacks.append(path)
            for number, member in enumerate(module):
                inside = f"{path}.{number}"
                names = tuple(name for name in scope if name.startswith(f"{inside}."))
                blocks.append(Block(inside, path, member, names))

    return blocks


def inputs_of(
    model: nn.Module,
    scope: Scope,
    parts: Callable[[], Iterable[Batch]],
    forward: Forward,
    *,
    second_moment: bool,
    hold: Hold | None = None,
    states: Callable[[], States] = list,
    start: int = 0,
) -> Iterator[dict[str, Tensor]]:
    """Sums over the inputs of every matrix in *scope*: of one block at a time, and last of all what is in no block.

    Args:
        model: in evaluation mode. Between one answer and the next its weights may be changed, in place.
        parts: gives the micro-batches.
        forward: takes one through the whole model.
        second_moment: whether sums are of x x^T, float32 [..., inputs, inputs], or of squares, float32 [..., inputs].
        hold: puts a block into memory for as long as it is worked on; they are there already if None.
        states: makes a list for what goes from one block to the next, one tensor a micro-batch.
        start: how many blocks were gone through before; *states* then knows what goes into the next one.

    Raises:
        TrainingError: a matrix is not seen to multiply anything, or blocks do not follow one another.
    """
    blocks, holding = blocks_of(model, scope), hold or _nothing
    flow = _Flow(blocks, states)
    with holding(blocks[0]) if blocks else nullcontext():
        flow.begin(parts(), forward)

    for block in blocks[start:]:
        with holding(block):
            if block.names:
                watched = Statistics(scope, _matrices(block), second_moment)
                with torch.no_grad(), _Watch(watched):
                    flow.through(block)
                yield _checked(watched, block.names)
                del watched
            with torch.no_grad():
                flow.on(block)

    outside = tuple(
        name for name in scope if not any(name in block.names for block in blocks)
    )
    if outside:
        found = dict(model.named_parameters())
        watched = Statistics(
            scope, {name: found[name].detach() for name in outside}, second_moment
        )
        for batch in parts():
            with torch.no_grad(), _slow_attention(), _Watch(watched):
                forward(batch)
        yield _checked(watched, outside)


@contextmanager
def _nothing(block: Block) -> Iterator[None]:
    del block
    yield


def _matrices(block: Block) -> dict[str, Tensor]:
    return {
        name: block.module.get_parameter(name.removeprefix(f"{block.path}.")).detach()
        for name in block.names
    }


def _checked(watched: Statistics, names: Sequence[str]) -> dict[str, Tensor]:
    if unseen := [name for name in names if name not in watched.sums]:
        raise TrainingError(
            f"nothing was seen to be multiplied by {unseen[0]!r}, so there are no inputs to score it by; "
            f"leave it out of the scope, or cut by 'magnitude'"
        )
    return {name: watched.sums[name] for name in names}


class _EnoughError(Exception):
    """How blocks are called has been seen."""


class _Flow:
    """What goes from block to block, for each micro-batch."""

    def __init__(self, blocks: Sequence[Block], states: Callable[[], States]) -> None:
        self._blocks, self._new = blocks, states
        self._calls: list[dict[str, _Call]] = []
        self._states: dict[str, States] = {}

    def begin(self, parts: Iterable[Batch], forward: Forward) -> None:
        """See how blocks are called, and what goes into the first of each stack."""
        for batch in parts:
            self._calls.append({})
            with torch.no_grad(), _slow_attention(), self._spies():
                try:
                    forward(batch)
                except _EnoughError:
                    continue

    @contextmanager
    def _spies(self) -> Iterator[None]:
        """Put something in place of the blocks that takes note of calls, and calls only the first of each stack."""
        shapes: dict[str, Any] = {}
        plain = {block.path: block.module.forward for block in self._blocks}
        for block in self._blocks:
            block.module.forward = self._spy(block, plain[block.path], shapes)
        try:
            yield
        finally:
            for block in self._blocks:
                del block.module.forward

    def _spy(
        self, block: Block, plain: Callable[..., Any], shapes: dict[str, Any]
    ) -> Callable[..., Any]:
        def spy(*args: Any, **options: Any) -> Any:
            calls = self._calls[-1]
            hidden = args[0] if args else options["hidden_states"]

            if block.stack not in shapes:
                self._states.setdefault(block.stack, self._new()).append(hidden)
                shapes[block.stack] = plain(*args, **options)

            calls[block.path] = (
                _Call((None, *args[1:]), options)
                if args
                else _Call((), {**options, "hidden_states": 0})
            )
            if len(calls) == len(self._blocks):
                raise _EnoughError

            return _like(shapes[block.stack], hidden)

        return spy

    def through(self, block: Block) -> None:
        """Run *block* on what goes into it, for those who watch."""
        for call, hidden in self._each(block):
            call.again(block.module, hidden)

    def on(self, block: Block) -> None:
        """Run *block*, and take what comes out for what goes into the next of its stack."""
        states = self._states.get(block.stack)
        if states is None or not any(
            other.stack == block.stack for other in self._after(block)
        ):
            self._states.pop(block.stack, None)
            return
        for number, (call, hidden) in enumerate(self._each(block)):
            states[number] = call.again(block.module, hidden)

    def _after(self, block: Block) -> Sequence[Block]:
        return self._blocks[self._blocks.index(block) + 1 :]

    def _each(self, block: Block) -> Iterator[tuple[_Call, Tensor]]:
        for calls, hidden in zip(
            self._calls, self._states.get(block.stack, ()), strict=False
        ):
            if block.path not in calls:
                raise TrainingError(
                    f"block {block.path!r} is not called, so nothing is known of its inputs"
                )
            with _slow_attention():
                yield calls[block.path], hidden


def _hidden(output: Any) -> Tensor:
    hidden: Tensor = output if isinstance(output, Tensor) else output[0]
    return hidden


def _like(output: Any, hidden: Tensor) -> Any:
    """*hidden* in the form of what a block gives."""
    return hidden if isinstance(output, Tensor) else type(output)((hidden, *output[1:]))


@contextmanager
def _slow_attention() -> Iterator[None]:
    """Attention of torch's own modules by matrices that can be seen."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
