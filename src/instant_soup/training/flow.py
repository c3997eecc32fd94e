"""Flow: what goes from block to block, for each micro-batch, when blocks are run one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..core.errors import TrainingError
from .blocks import Block, share_weights
from .calls import Arguments, Call, Record
from .course import Batch

Forward = Callable[[Batch], object]


class States(Protocol):
    """What goes from one block to the next, a tensor for each micro-batch, wherever it is kept."""

    def append(self, state: Tensor, /) -> None:
        """Take the next."""

    def __iter__(self) -> Iterator[Tensor]: ...

    def __setitem__(self, number: int, state: Tensor, /) -> None: ...


class _EnoughError(Exception):
    """How blocks are called has been seen."""


class Flow:
    """What goes from block to block, for each micro-batch.

    Attributes:
        is_straight: whether each block can be run by itself after the one before it.
    """

    def __init__(self, blocks: Sequence[Block], states: Callable[[], States]) -> None:
        self._blocks = blocks
        self._arguments = Arguments()
        self._new_states = states
        # of each micro-batch, by the path of the block; of each stack, one state a micro-batch
        self._calls: list[dict[str, Call]] = []
        self._states: dict[str, States] = {}
        # the paths of blocks, in the order of their first calls
        self._order: list[str] = []
        self.is_straight = True

    def record(self, model: nn.Module, parts: Iterable[Batch], forward: Forward) -> None:
        """Run the whole *model* to see how its blocks are called, and what goes into the first."""
        record = Record(self._blocks)
        for batch in parts:
            with torch.no_grad(), slow_attention(), record.watching(model):
                forward(batch)

        self.is_straight = record.straight
        self._order = list(record.order)
        if not record.straight:
            return

        self._calls = [seen.calls for seen in record.passes]
        states = self._new_states()
        for seen in record.passes:
            states.append(seen.hidden)
        self._states[self._blocks[0].stack] = states

    def in_order_of_calls(self) -> list[Block]:
        """The blocks in the order of their first calls, and last those that were not called."""
        by_path = {block.path: block for block in self._blocks}
        called = [by_path.pop(path) for path in self._order]
        return [*called, *by_path.values()]

    def begin(
        self, parts: Iterable[Batch], forward: Forward, *, is_first: bool = True
    ) -> None:
        """See the same without running more than the first block of each stack.

        Args:
            is_first: whether blocks will be gone through from the first one on.

        Raises:
            TrainingError: blocks share weights, or are called again before all were; or they are gone on with, and
                hand on more than their hidden state.
        """
        if share_weights(self._blocks):
            raise TrainingError(
                "blocks of this model share weights, so they cannot be gone through one at a time; cut by 'magnitude'"
            )

        for batch in parts:
            self._calls.append({})
            with torch.no_grad(), slow_attention(), self._spies():
                with suppress(_EnoughError):
                    forward(batch)

            calls = self._calls[-1].values()
            if not is_first and any(call.may_share for call in calls):
                raise TrainingError(
                    "blocks of this model hand on more than their hidden state, such as keys and values, and what was "
                    "stopped has lost that; delete what was written, and begin again"
                )

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
            if block.path in calls:
                raise TrainingError(
                    f"block {block.path!r} is called again before all blocks were called, so they cannot be gone "
                    f"through one at a time; cut by 'magnitude'"
                )
            hidden = args[0] if args else options["hidden_states"]

            if block.stack not in outputs:
                if block.stack not in self._states:
                    self._states[block.stack] = self._new_states()
                self._states[block.stack].append(hidden)
                outputs[block.stack] = plain(*args, **options)

            calls[block.path] = Call.noted(args, options, self._arguments)
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

    def _each(self, block: Block) -> Iterator[tuple[Call, Tensor]]:
        states = self._states.get(block.stack, ())
        # a stack that is never called has no states, and so nothing to go through
        for calls, hidden in zip(self._calls, states, strict=False):
            if block.path not in calls:
                raise TrainingError(
                    f"block {block.path!r} is not called, so nothing is known of its inputs"
                )
            with slow_attention():
                yield calls[block.path], hidden


def _like(output: Any, hidden: Tensor) -> Any:
    """*hidden* in the form of what a block gives."""
    return hidden if isinstance(output, Tensor) else type(output)((hidden, *output[1:]))


@contextmanager
def slow_attention() -> Iterator[None]:
    """Attention of torch's own modules by matrices that can be seen."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
