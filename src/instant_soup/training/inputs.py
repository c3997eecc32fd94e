"""Inputs: what goes into each matrix of a model, over a few examples, block by block.

Blocks are the members of the outermost lists of modules. The model is run once to see how its blocks are called; then
each block is run by itself, once to look at the inputs of its matrices, and once more, after whoever asked has changed
its weights, for what it hands on. So each block sees what the blocks before it make as they are now, and one block's
statistics are in memory at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..core.errors import TrainingError
from ..core.scope import Scope
from .course import Batch
from .products import Sums, Watch

PASSES = 3
"""What an example is charged: to see how blocks are called, and twice through the blocks."""

Forward = Callable[[Batch], object]
Hold = Callable[["Block"], AbstractContextManager[None]]


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

    def matrices(self) -> dict[str, Tensor]:
        """Its parameters in scope, the live tensors, by their names in the model."""
        matrices = {}
        for name in self.names:
            parameter = self.module.get_parameter(name.removeprefix(f"{self.path}."))
            matrices[name] = parameter.detach()
        return matrices


def blocks_of(model: nn.Module, scope: Scope) -> list[Block]:
    """The blocks of the stacks with something in *scope*, in the order in which the model lists them."""
    blocks: list[Block] = []
    stacks: list[str] = []

    for path, module in model.named_modules():
        within_a_stack = path.startswith(tuple(f"{outer}." for outer in stacks))
        if not isinstance(module, nn.ModuleList) or within_a_stack:
            continue
        if not any(name.startswith(f"{path}.") for name in scope):
            continue

        stacks.append(path)
        for number, member in enumerate(module):
            member_path = f"{path}.{number}"
            names = [name for name in scope if name.startswith(f"{member_path}.")]
            blocks.append(Block(member_path, path, member, tuple(names)))

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
    blocks = blocks_of(model, scope)
    held = hold or _held_already
    flow = _Flow(blocks, states)

    # the first block alone is really run by this pass, so the others need not be in memory
    with held(blocks[0]) if blocks else nullcontext():
        flow.begin(parts(), forward)

    for block in blocks[start:]:
        with held(block):
            if block.names:
                sums = Sums(scope, block.matrices(), second_moment)
                with torch.no_grad(), Watch(sums):
                    flow.through(block)
                yield _complete(sums, block.names)
                # before the next block's are made, so that one block's are in memory at a time
                del sums

            # only now, because whoever asked may have changed the block's weights since
            with torch.no_grad():
                flow.on(block)

    in_blocks = {name for block in blocks for name in block.names}
    outside = [name for name in scope if name not in in_blocks]
    if outside:
        parameters = dict(model.named_parameters())
        matrices = {name: parameters[name].detach() for name in outside}
        sums = Sums(scope, matrices, second_moment)
        for batch in parts():
            with torch.no_grad(), _slow_attention(), Watch(sums):
                forward(batch)
        yield _complete(sums, outside)


@contextmanager
def _held_already(block: Block) -> Iterator[None]:
    del block
    yield


def _complete(sums: Sums, names: Sequence[str]) -> dict[str, Tensor]:
    """The sums of all *names*. Raises TrainingError for one that multiplied nothing."""
    for name in names:
        if name not in sums.by_name:
            raise TrainingError(
                f"nothing was seen to be multiplied by {name!r}, so there are no inputs to score it by; "
                f"leave it out of the scope, or cut by 'magnitude'"
            )
    return {name: sums.by_name[name] for name in names}


@dataclass
class _Call:
    """How a block is called in a micro-batch. What goes through the blocks is left out."""

    args: tuple[Any, ...]
    options: dict[str, Any]

    @classmethod
    def noted(cls, args: tuple[Any, ...], options: dict[str, Any]) -> _Call:
        """The call with these arguments, without its hidden state, which is kept elsewhere or not at all."""
        if args:
            return cls((None, *args[1:]), options)
        return cls((), {**options, "hidden_states": 0})

    def again(self, module: nn.Module, hidden: Tensor) -> Tensor:
        """Call *module* so, with *hidden* going in; what comes out."""
        if self.args:
            output = module(hidden, *self.args[1:], **self.options)
        else:
            output = module(**{**self.options, "hidden_states": hidden})
        return output if isinstance(output, Tensor) else output[0]


class _EnoughError(Exception):
    """How blocks are called has been seen."""


class _Flow:
    """What goes from block to block, for each micro-batch."""

    def __init__(self, blocks: Sequence[Block], states: Callable[[], States]) -> None:
        self._blocks = blocks
        self._new_states = states
        # of each micro-batch, by the path of the block; of each stack, one state a micro-batch
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
        outputs: dict[str, Any] = {}
        plain = {block.path: block.module.forward for block in self._blocks}
        for block in self._blocks:
            block.module.forward = self._spy(block, plain[block.path], outputs)

        try:
            yield
        finally:
            # what was set hides the method of the class, which is there again without it
            for block in self._blocks:
                del block.module.forward

    def _spy(
        self, block: Block, plain: Callable[..., Any], outputs: dict[str, Any]
    ) -> Callable[..., Any]:
        """A forward for *block* that notes the call; *outputs* are those of the first block of each stack."""

        def spy(*args: Any, **options: Any) -> Any:
            calls = self._calls[-1]
            hidden = args[0] if args else options["hidden_states"]

            if block.stack not in outputs:
                if block.stack not in self._states:
                    self._states[block.stack] = self._new_states()
                self._states[block.stack].append(hidden)
                outputs[block.stack] = plain(*args, **options)

            calls[block.path] = _Call.noted(args, options)
            if len(calls) == len(self._blocks):
                # what comes after the last block is never needed
                raise _EnoughError

            return _like(outputs[block.stack], hidden)

        return spy

    def through(self, block: Block) -> None:
        """Run *block* on what goes into it, for those who watch."""
        for call, hidden in self._each(block):
            call.again(block.module, hidden)

    def on(self, block: Block) -> None:
        """Run *block*, and take what comes out for what goes into the next of its stack."""
        states = self._states.get(block.stack)
        after = self._blocks[self._blocks.index(block) + 1 :]
        is_last = all(other.stack != block.stack for other in after)
        if states is None or is_last:
            self._states.pop(block.stack, None)
            return

        for number, (call, hidden) in enumerate(self._each(block)):
            states[number] = call.again(block.module, hidden)

    def _each(self, block: Block) -> Iterator[tuple[_Call, Tensor]]:
        states = self._states.get(block.stack, ())
        # a stack that is never called has no states, and so nothing to go through
        for calls, hidden in zip(self._calls, states, strict=False):
            if block.path not in calls:
                raise TrainingError(
                    f"block {block.path!r} is not called, so nothing is known of its inputs"
                )
            with _slow_attention():
                yield calls[block.path], hidden


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
