"""Blocks: prune a language model that does not fit into memory, block by block, by what its matrices are given.

The model is built without weights. One block at a time is read from the shards, looked at, cut, written into a shard of
its own and dropped again. What goes from block to block lies on disk, so that a killed job goes on with the first block
that was not passed. What is kept is what pruning the whole model in memory keeps.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoTokenizer

from ..core import bits
from ..core.errors import StoreError
from ..core.files import write, write_text
from ..core.prune import shares, survivors
from ..core.scope import Scope
from ..data.language import calibration_windows
from ..methods.calibration import Reach
from ..models import decoder
from ..models.classifier import loading
from ..training.blocks import Block, blocks_of
from ..training.device import kind_of
from ..training.inputs import inputs_of
from .block_job import Job
from .checkpoint import INDEX
from .job import alone
from .masks import Masks, write_ticket
from .passed import Passed, facts, kept_by_shards
from .rest import copy_the_rest
from .skeleton import Skeleton
from .spill import Spill, save

FLOW = "instant_soup.flow"
"""The folder beside the shards in which lies what goes from block to block."""

Watch = Callable[[str, int, int], None]
"""(stage, blocks done, blocks) -> None"""


@dataclass(frozen=True)
class Streamed:
    """What `prune_blocks` did.

    Attributes:
        kept_by_name: how many weights of each parameter survive.
    """

    folder: Path
    scope: Scope
    kept_by_name: Mapping[str, int]

    @property
    def kept(self) -> int:
        """How many weights of the scope survive."""
        return sum(self.kept_by_name.values())


def prune_blocks(
    source: str | Path,
    out: str | Path,
    job: Job,
    *,
    ticket: str | Path | None = None,
    replace: bool = True,
    watch: Watch = lambda *_: None,
) -> Streamed:
    """Write *source* pruned by *job* into the folder *out*, with one block of the model in memory at a time.

    Exactly ``round((1 - sparsity) * scope.size)`` weights of the blocks' matrices survive. Called again after it was
    stopped, it goes on after the last block that it passed; called again after it has ended, it does nothing. Work is
    done in float32, on the device of *job*; shards keep the dtype that the checkpoint has.

    Args:
        ticket: where to write the ticket, too: the mask, for SparseGPT the weights that survive, and the base that a
            task of kind ``"language"`` finds in *source*. The mask is in memory then, at one bit a weight, and for
            SparseGPT so are those weights.
        replace: whether another file at *ticket* may be replaced.

    Raises:
        DataError: *source* is no sound checkpoint of a causal language model, or the text is missing or too short.
        KnobError, UnknownName: *job* makes no sense.
        ScopeError, SparsityError: the pattern does not divide a matrix, or does not end at this sparsity.
        StoreError: *out* holds something else, was begun with another text or configuration, has ended without a
            ticket that is asked for now, or cannot be written; or another ticket is at *ticket*.
    """
    source = Path(source)
    folder = Path(out)
    skeleton = Skeleton.of(source)
    skeleton.work_on(_device(job))
    scope = skeleton.scope
    job.check(scope)

    kept = survivors(job.sparsity, scope.size)
    parts = shares(scope, {name: scope.numel(name) for name in scope}, kept)
    windows = _windows(source, job, skeleton.model) if job.calibrated else None
    # micro-batches
    batches = [] if windows is None else list(torch.split(windows, job.batch))

    shards = shards_of(folder, len(blocks_of(skeleton.model, scope)))
    with alone(folder, source, [shard.name for shard in shards]):
        _refuse_link(folder / FLOW)
        asked = facts(source, skeleton.checkpoint, job.asked, windows)
        passed = Passed.begun(folder, asked)
        if passed.blocks is not None:
            work = _Work(skeleton, folder, shards, job, parts, passed, watch)
            work.carry_out(batches, passed.blocks)
            _finish(work, source)

        if ticket is not None:
            write_ticket(
                Path(ticket),
                skeleton,
                folder,
                Masks(folder / FLOW),
                source.resolve().name,
                job.described,
                job.charged,
                replace=replace,
            )

        # only now: a call that is stopped while it writes the ticket has to find the masks again
        if passed.blocks is not None:
            passed.end()
        shutil.rmtree(folder / FLOW, ignore_errors=True)
        return Streamed(folder, scope, kept_by_shards(folder))


@dataclass
class _Work:
    """A job under way."""

    skeleton: Skeleton
    folder: Path
    shards: Sequence[Path]
    job: Job
    parts: Mapping[str, int]
    passed: Passed
    watch: Watch

    def __post_init__(self) -> None:
        self.blocks = blocks_of(self.skeleton.model, self.skeleton.scope)
        self._reach = Reach()

    def carry_out(self, batches: list[Tensor], done: int) -> None:
        """Cut and write each block that was not passed yet."""
        if self.job.calibrated:
            self._cut_by_inputs(batches, done)
            return

        for number, block in enumerate(self.blocks[done:], done):
            with self._hold(block):
                self._cut(number, block, {})
            self.passed.note(number + 1)

    def _cut_by_inputs(self, batches: list[Tensor], done: int) -> None:
        spill = Spill(self.folder / FLOW, done, self.skeleton.device)
        model = self.skeleton.model
        self.skeleton.load(self.skeleton.outside)

        inputs = inputs_of(
            model,
            self.skeleton.scope,
            lambda _: [
                {"input_ids": batch.to(self.skeleton.device)} for batch in batches
            ],
            lambda batch: model(**batch, use_cache=False),
            second_moment=self.job.cutter.second_moment,
            hold=self._hold,
            states=lambda: spill,
            start=done,
        )
        for number, statistics in enumerate(inputs, done):
            if number == done:
                # the embeddings have been run once, and blocks need nothing of them
                self.skeleton.drop(self.skeleton.outside)
            if number:
                # what went into this block is on disk, so the one before is passed for good
                self.passed.note(number)
            self._cut(number, self.blocks[number], statistics)
        self._reach.warn()

    @contextmanager
    def _hold(self, block: Block) -> Iterator[None]:
        names = self.skeleton.of_block(block)
        self.skeleton.load(names)
        try:
            yield
        finally:
            self.skeleton.drop(names)

    def _cut(self, number: int, block: Block, statistics: dict[str, Tensor]) -> None:
        """Cut the matrices of a block that is in memory, in place, and write its shard."""
        shard: dict[str, Tensor] = {}
        kept: dict[str, Tensor] = {}
        for name in self.skeleton.of_block(block):
            stored = self.skeleton.as_stored(name)
            if name in self.skeleton.scope:
                # dropped as soon as it is used: statistics are the largest part of what is in memory
                statistic = statistics.pop(name, torch.empty(0))
                if self.job.calibrated:
                    self._reach.add([statistic], stored.ndim)
                stored, flags = self._cut_matrix(name, stored, statistic)
                kept[name] = bits.pack(flags.cpu())
                del flags
            shard |= self.skeleton.assemblies[name].taken_apart(stored)
            # before the next is read
            del stored

        Masks(self.folder / FLOW).put(number, kept)
        counts = {name: bits.count(packed) for name, packed in kept.items()}
        metadata = {"kept": json.dumps(counts), "format": "pt"}
        self.skeleton.checkpoint.refuse_changes()
        write(self.shards[number], partial(save, shard, metadata))
        self.passed.wrote(self.shards[number])
        self.watch("block", number + 1, len(self.blocks))

    def _cut_matrix(
        self, name: str, stored: Tensor, statistic: Tensor
    ) -> tuple[Tensor, Tensor]:
        """A matrix as the shard stores it, and which of its weights are kept."""
        live = self.skeleton.model.get_parameter(name).data
        dim = self.skeleton.scope.inputs.get(name, -1)
        cutter = self.job.cutter
        keep = self.parts[name]
        if cutter.second_moment:  # SparseGPT changes what survives
            flags, weight = cutter.cut(live, statistic, keep, dim)
            pruned = weight.cpu().to(stored.dtype)
        else:
            flags = cutter.kept(live, statistic, keep, dim)
            pruned = stored.masked_fill(~flags, 0)

        # the next block has to be given what the shard holds, rounded to its dtype as it is there
        live.copy_(pruned)
        return pruned, flags


def _device(job: Job) -> str:
    """The device that *job* asks for, by its name."""
    if job.device != "auto":
        return job.device
    return kind_of("auto")


def shards_of(folder: Path, blocks: int) -> list[Path]:
    """Where the shard of each block is, and last that of what is in no block."""
    count = blocks + 1
    return [
        folder / f"model-{number:05d}-of-{count:05d}.safetensors"
        for number in range(1, count + 1)
    ]


def _refuse_link(flow: Path) -> None:
    if flow.is_symlink():
        raise StoreError(
            f"{flow} is a symbolic link, and it would be written to; choose another folder"
        )


def _windows(source: Path, job: Job, model: nn.Module) -> Tensor:
    """The windows to calibrate on: int64 [n, L]."""
    with loading(str(source), "put the tokenizer beside the checkpoint"):
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)

    config: Any = model.config
    decoder.check_token_count(tokenizer, config.get_text_config().vocab_size, str(source))

    window = job.window_of(config)
    return calibration_windows(str(job.calibrate), tokenizer, window, job.samples)


def _finish(work: _Work, source: Path) -> None:
    """Write what is in no block, the index and what is no weight."""
    skeleton = work.skeleton
    checkpoint = skeleton.checkpoint

    places: dict[str, str] = {}
    for number, block in enumerate(work.blocks):
        for name in skeleton.of_block(block):
            shard = work.shards[number].name
            places |= dict.fromkeys(skeleton.assemblies[name].places, shard)

    rest = {
        name: checkpoint[name].contiguous() for name in checkpoint if name not in places
    }
    checkpoint.refuse_changes()
    last = work.shards[-1]
    write(last, partial(save, rest, {"format": "pt"}))
    work.passed.wrote(last)
    places |= dict.fromkeys(rest, last.name)

    # the index last: with it the folder reads as a checkpoint
    size = sum(part.nbytes for part in checkpoint.parts.values())
    index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(places.items()))}
    write_text(work.folder / INDEX, json.dumps(index, indent=2))
    copy_the_rest(source, work.folder)
