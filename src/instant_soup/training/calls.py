"""Calls: how the blocks of a model are called, and whether each can be run by itself after the one before it.

They can where all are in one list, and each is called once, in order, on what the one before it made and on nothing
else that blocks make. Models that repeat a block (ALBERT), have several lists of blocks (T5, BART, CANINE), or keep
something from call to call (a cache) do otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from weakref import ref

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from .blocks import Block, share_weights

_HIDDEN = "hidden_states"
_SAME_AGAIN = (Tensor, bool, int, float, str, torch.dtype, torch.device, type(None))
"""What an argument may be to be the same whenever a block is called again."""
_COMPARED = 8  # tensors of one form that a new one is compared with


class Arguments:
    """What blocks are called with, of which equal tensors are kept once.

    Positions and masks are alike in all micro-batches of one length, and would otherwise be in memory once for each.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], list[Tensor]] = {}

    def kept(self, value: Any) -> Any:
        """*value*, a tensor or something that may hold some, with tensors that were kept before in place of equals."""
        return tree_map(self._kept_leaf, value)

    def _kept_leaf(self, leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf

        known = self._known.setdefault((leaf.shape, leaf.dtype, leaf.device), [])
        for other in known:
            if other is leaf or torch.equal(other, leaf):
                return other
        # of those that differ from batch to batch a few are enough to compare with
        if len(known) < _COMPARED:
            known.append(leaf)
        return leaf


@dataclass
class Call:
    """How a block is called in a micro-batch. What goes through the blocks is left out."""

    args: tuple[Any, ...]
    options: dict[str, Any]

    @classmethod
    def noted(
        cls, args: tuple[Any, ...], options: dict[str, Any], arguments: Arguments
    ) -> Call:
        """The call with these arguments, without its hidden state, which is kept elsewhere or not at all."""
        if args:
            others = tuple(arguments.kept(arg) for arg in args[1:])
            return cls((None, *others), arguments.kept(options))
        return cls((), arguments.kept({**options, _HIDDEN: 0}))

    @property
    def may_share(self) -> bool:
        """Whether something among the arguments may be filled by one block for another."""
        values = [*self.args, *self.options.values()]
        if any(isinstance(value, (dict, list)) for value in values):
            return True
        return not all(isinstance(leaf, _SAME_AGAIN) for leaf in tree_leaves(values))

    def again(self, module: nn.Module, hidden: Tensor) -> Tensor:
        """Call *module* so, with *hidden* going in; what comes out."""
        if self.args:
            output = module(hidden, *self.args[1:], **self.options)
        else:
            output = module(**{**self.options, _HIDDEN: hidden})
        return output if isinstance(output, Tensor) else output[0]


@dataclass
class Pass:
    """One time through the model.

    Attributes:
        arguments: what blocks are called with, in this pass and in others.
        calls: of each block, by its path.
        hidden: what went into the first block.
    """

    arguments: Arguments
    calls: dict[str, Call] = field(default_factory=dict)
    hidden: Tensor = field(default_factory=lambda: torch.empty(0))
    # what the latest block handed on, and how often it had been written to by then
    _latest: tuple[Tensor, int] | None = None
    # all that blocks gave, as long as somebody holds on to it
    _made: list[ref[Tensor]] = field(default_factory=list)

    def add(self, block: Block, args: tuple[Any, ...], options: dict[str, Any]) -> bool:
        """Note a call of *block*; whether it can be made again, later and by itself."""
        hidden = args[0] if args else options.get(_HIDDEN)
        others: list[Any] = tree_leaves((args[1:], {**options, _HIDDEN: None}))
        if not isinstance(hidden, Tensor) or block.path in self.calls:
            return False
        if not all(isinstance(leaf, _SAME_AGAIN) for leaf in others):
            return False

        if not self.calls:
            self.hidden = hidden
        elif not self._is_handed_on(hidden):
            return False
        if any(self._is_made(leaf) for leaf in others if isinstance(leaf, Tensor)):
            return False

        self.calls[block.path] = Call.noted(args, options, self.arguments)
        return True

    def take(self, output: Any) -> None:
        """Take note of what the latest block gave."""
        leaves = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
        self._made += [ref(leaf) for leaf in leaves]
        self._latest = (leaves[0], leaves[0]._version) if leaves else None

    def end(self) -> None:
        """Let go of what blocks gave."""
        self._latest = None
        self._made.clear()

    def _is_handed_on(self, hidden: Tensor) -> bool:
        if self._latest is None:
            return False
        latest, version = self._latest
        # in evaluation mode dropout gives its input back, which is another object in the same memory
        same_place = hidden.data_ptr() == latest.data_ptr()
        same_form = hidden.shape == latest.shape and hidden.stride() == latest.stride()
        return same_place and same_form and hidden._version == version

    def _is_made(self, tensor: Tensor) -> bool:
        alive = [made() for made in self._made]
        return any(
            other is not None and other.data_ptr() == tensor.data_ptr() for other in alive
        )


class Record:
    """What is seen of the *blocks* of a model while it is run as a whole.

    Attributes:
        passes: through the model; there may be several for a micro-batch.
        order: the paths of the blocks, in the order of their first calls.
        straight: whether each block can be run by itself after the one before it. If not, passes are not kept.
    """

    def __init__(self, blocks: Sequence[Block]) -> None:
        self.passes: list[Pass] = []
        self.order: dict[str, None] = {}
        self._blocks = blocks
        self._arguments = Arguments()
        stacks = {block.stack for block in blocks}
        self.straight = len(stacks) == 1 and not share_weights(blocks)

    @contextmanager
    def watching(self, model: nn.Module) -> Iterator[None]:
        """Take note of every call in the block, which runs *model* on a micro-batch."""
        with ExitStack() as hooks:
            for block in self._blocks:
                self._hook(block, hooks)
            handle = model.register_forward_pre_hook(lambda *_: self._begin())
            hooks.callback(handle.remove)

            self._begin()
            yield
            self._end()

    def _hook(self, block: Block, hooks: ExitStack) -> None:
        def before(_: nn.Module, args: tuple[Any, ...], options: dict[str, Any]) -> None:
            self.order.setdefault(block.path)
            if self.straight:
                calls = self.passes[-1].calls
                is_next = (
                    len(calls) < len(self._blocks) and block is self._blocks[len(calls)]
                )
                self.straight = is_next and self.passes[-1].add(block, args, options)

        def after(_: nn.Module, __: object, output: Any) -> None:
            if self.straight:
                self.passes[-1].take(output)

        handle = block.module.register_forward_pre_hook(before, with_kwargs=True)
        hooks.callback(handle.remove)
        handle = block.module.register_forward_hook(after)
        hooks.callback(handle.remove)

    def _begin(self) -> None:
        """A pass through the model begins, unless one has just begun."""
        if not self.passes or self.passes[-1].calls:
            self._end()
            self.passes.append(Pass(self._arguments))

    def _end(self) -> None:
        if self.passes and self.straight:
            self.passes[-1].end()
            # a block that was left out is not to be run by itself either
            self.straight = len(self.passes[-1].calls) == len(self._blocks)
        if not self.straight:
            self.passes = [Pass(self._arguments)]
