"""Inputs: what goes into each matrix of a model, over a few examples, block by block.

The model is run once to see how its blocks are called. Where they follow one another, each is then run by itself, once
to look at the inputs of its matrices, and once more, after whoever asked has changed its weights, for what it hands on.
Where they do not, as in models that repeat a block or have an encoder and a decoder, the whole model is run once more
for each block. Either way all calls of a block count, each block sees what the blocks before it make as they are now,
and one block's statistics are in memory at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor, nn

from ..core.errors import TrainingError
from ..core.scope import Scope
from .absent import RefuseAbsent
from .blocks import Block, blocks_of
from .course import Batch
from .flow import Flow, Forward, States, slow_attention
from .products import Sums, Watch

PASSES = 3
"""What an example is charged: to see how blocks are called, and twice through the blocks."""

Parts = Callable[[int], Iterable[Batch]]
"""How many passes over them are charged -> the micro-batches."""
Hold = Callable[[Block], AbstractContextManager[None]]


def inputs_of(
    model: nn.Module,
    scope: Scope,
    parts: Parts,
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
        TrainingError: a matrix is not seen to multiply anything; or blocks are in memory one at a time, and they do
            not follow one another.
    """
    blocks = blocks_of(model, scope)
    flow = Flow(blocks, states)
    is_straight = True
    if hold is None:
        flow.record(model, parts(PASSES), forward)
        is_straight = flow.is_straight
    elif blocks:
        # the first block alone is really run by this pass, so the others need not be in memory
        with hold(blocks[0]), RefuseAbsent():
            flow.begin(parts(PASSES), forward, is_first=not start)

    if is_straight:
        yield from _through_blocks(
            flow, blocks[start:], scope, hold or _held_already, second_moment
        )
    else:
        for number, block in enumerate(flow.in_order_of_calls()):
            # the passes that no block is run by itself in are charged already
            passes = 0 if number < PASSES - 1 else 1
            if block.names:
                sums = Sums(scope, block.matrices(), second_moment)
                yield _over_whole_model(sums, block.names, parts(passes), forward)

    in_blocks = {name for block in blocks for name in block.names}
    outside = [name for name in scope if name not in in_blocks]
    if outside:
        parameters = dict(model.named_parameters())
        matrices = {name: parameters[name].detach() for name in outside}
        sums = Sums(scope, matrices, second_moment)
        yield _over_whole_model(sums, outside, parts(1), forward)


def _through_blocks(
    flow: Flow, blocks: Sequence[Block], scope: Scope, held: Hold, second_moment: bool
) -> Iterator[dict[str, Tensor]]:
    """Of one block at a time, each run by itself."""
    for block in blocks:
        with held(block):
            if block.names:
                sums = Sums(scope, block.matrices(), second_moment)
                with torch.no_grad(), RefuseAbsent(), Watch(sums):
                    flow.through(block)
                yield _complete(sums, block.names)
                # before the next block's are made, so that one block's are in memory at a time
                del sums

            # only now, because whoever asked may have changed the block's weights since
            with torch.no_grad(), RefuseAbsent():
                flow.on(block)


def _over_whole_model(
    sums: Sums, names: Sequence[str], parts: Iterable[Batch], forward: Forward
) -> dict[str, Tensor]:
    """The sums of *names* over runs of the whole model, as it is now."""
    for batch in parts:
        with torch.no_grad(), slow_attention(), Watch(sums):
            forward(batch)
    return _complete(sums, names)


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
                f"cut by 'magnitude', which needs none, or leave it out of the scope"
            )
    return {name: sums.by_name[name] for name in names}
