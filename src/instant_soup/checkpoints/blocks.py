"""Blocks: prune a language model that does not fit into memory, block by block, by what its matrices are given.

The model is built without weights. One block at a time is read from the shards, looked at, cut, written into a shard of
its own and dropped again. What goes from block to block lies on disk, so that a killed job goes on with the first block
that was not passed. What is kept is what pruning the whole model in memory keeps.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoTokenizer

from ..core.budget import Cost
from ..core.errors import DataError, KnobError
from ..core.files import write, write_text
from ..core.pattern import UNSTRUCTURED, Pattern, check_pattern
from ..core.prune import Across, shares, survivors
from ..core.scope import Scope
from ..data.language import calibration_windows
from ..methods.calibration import SCORES, USUAL, Calibrated, Cutter
from ..methods.method import describe
from ..models import decoder
from ..models.classifier import loading
from ..training.inputs import PASSES, Block, blocks_of, inputs_of
from .checkpoint import INDEX
from .job import alone
from .masks import Masks, write_ticket
from .passed import begun, facts, kept_by_shards, note
from .rest import copy_the_rest
from .skeleton import Skeleton
from .spill import Spill, save

FLOW = "instant_soup.flow"
"""The folder beside the shards in which lies what goes from block to block."""

Watch = Callable[[str, int, int], None]
"""(stage, blocks done, blocks) -> None"""


@dataclass(frozen=True)
class Job:
    """How a checkpoint is pruned block by block.

    Attributes:
        score: ``"wanda"``, ``"ria"``, ``"sparsegpt"`` or ``"magnitude"``.
        across: the same share of each ``"layer"`` or ``"row"``; as the authors of the score do if None.
        pattern: ``"unstructured"``, or ``"N:M"``.
        calibrate: the text to calibrate on; not needed for magnitudes.
        samples, window: how many windows of how many tokens; the model's limit or 2,048 if None.
        batch: windows that go through a block at a time.
    """

    sparsity: float
    score: str = "wanda"
    across: Across | None = None
    pattern: str = UNSTRUCTURED
    calibrate: str | None = None
    samples: int = 128
    window: int | None = None
    batch: int = 1

    def __post_init__(self) -> None:
        if self.score in SCORES:
            # the same knobs have to make sense
            Calibrated(self.score, self.samples, self.across, self.pattern)
            if self.calibrate is None:
                raise KnobError(
                    f"{self.score} needs text to calibrate on; give a folder with --calibrate"
                )
        elif self.score != "magnitude":
            raise KnobError(
                f"score is {self.score!r}; expected one of magnitude, {', '.join(SCORES)}"
            )

        if self.across == "model":
            raise KnobError(
                "across is 'model', and this cuts block by block; set it to 'layer' or 'row'"
            )

        if self.batch < 1:
            raise KnobError(
                f"batch is {self.batch}; expected 1 or more windows at a time"
            )

        check_pattern(self.pattern, self.sparsity)

    @property
    def described(self) -> dict[str, Any]:
        """Name and knobs, as a ticket records them."""
        if self.score in SCORES:
            return describe(
                Calibrated(self.score, self.samples, self.across, self.pattern)
            )
        return {"name": self.score, "across": self.cutter.across, "pattern": self.pattern}

    @property
    def charged(self) -> Cost:
        """What drawing the ticket costs, as a learner is charged for the same."""
        if self.score in SCORES:
            return Cost(0, self.samples, PASSES * self.samples)
        return Cost()

    @property
    def cutter(self) -> Cutter:
        """What cuts one matrix."""
        return Cutter(
            self.score,
            self.across or USUAL.get(self.score, "layer"),
            Pattern.named(self.pattern),
        )


@dataclass(frozen=True)
class Outline:
    """What a job will take, told before it starts.

    Attributes:
        blocks: how many there are.
        block: bytes of the largest block in float32.
        statistics: bytes of what is known of the inputs of one block.
        memory: bytes at a time, about: block, its stored form, statistics and what is made of them.
        disk: bytes of what goes from block to block; none for magnitudes.
        written: bytes of the shards.
    """

    blocks: int
    block: int
    statistics: int
    memory: int
    disk: int
    written: int


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


def outline(source: str | Path, job: Job) -> Outline:
    """What *job* on *source* will take, without reading weights. Raises as `prune_blocks` does."""
    skeleton = Skeleton.of(Path(source))
    _check(skeleton.scope, job)
    blocks = blocks_of(skeleton.model, skeleton.scope)
    sizes = [
        sum(skeleton.numel(name) for name in skeleton.of_block(block)) for block in blocks
    ]
    stored = max(
        sum(
            skeleton.checkpoint.parts[skeleton.names[n]].nbytes
            for n in skeleton.of_block(b)
        )
        for b in blocks
    )
    widths = [_statistic(skeleton.scope, block, job) for block in blocks]
    config: Any = skeleton.model.config
    window = _window(job, config)
    hidden = int(config.get_text_config().hidden_size)
    largest = max(skeleton.numel(name) for name in skeleton.scope)
    states = 0 if job.score == "magnitude" else 2 * 4 * job.samples * window * hidden
    embeddings = (
        0
        if job.score == "magnitude"
        else 4 * sum(skeleton.numel(name) for name in skeleton.outside)
    )
    work = 16 * largest + job.batch * window * 64 * hidden
    block = 4 * max(sizes)

    return Outline(
        blocks=len(blocks),
        block=block,
        statistics=max(widths),
        memory=block + max(stored + max(widths) + work, embeddings),
        disk=states,
        written=sum(part.nbytes for part in skeleton.checkpoint.parts.values()),
    )


def prune_blocks(
    source: str | Path,
    out: str | Path,
    job: Job,
    *,
    ticket: str | Path | None = None,
    watch: Watch = lambda *_: None,
) -> Streamed:
    """Write *source* pruned by *job* into the folder *out*, with one block of the model in memory at a time.

    Exactly ``round((1 - sparsity) * scope.size)`` weights of the blocks' matrices survive. Called again after it was
    stopped, it goes on after the last block that it passed; called again after it has ended, it does nothing. Work is
    done in float32; shards keep the dtype that the checkpoint has.

    Args:
        ticket: where to write the ticket, too: the mask, for SparseGPT the weights that survive, and the base that a
            task of kind ``"language"`` finds in *source*. The mask is in memory then, at one bit a weight, and for
            SparseGPT so are those weights.

    Raises:
        DataError: *source* is no sound checkpoint of a causal language model, or the text is missing or too short.
        KnobError, UnknownName: *job* makes no sense.
        ScopeError, SparsityError: the pattern does not divide a matrix, or does not end at this sparsity.
        StoreError: *out* holds something else, has ended without a ticket that is asked for now, or cannot be written.
    """
    source, folder = Path(source), Path(out)
    skeleton = Skeleton.of(source)
    scope = skeleton.scope
    _check(scope, job)
    parts = shares(
        scope,
        {name: scope.numel(name) for name in scope},
        survivors(job.sparsity, scope.size),
    )
    batches = [] if job.score == "magnitude" else _batches(source, job, skeleton.model)

    with alone(folder, source):
        done = begun(folder, facts(source, skeleton.checkpoint, asdict(job)))
        if done is not None:
            work = _Work(skeleton, folder, job, parts, watch)
            work.carry_out(batches, done)
            _finish(work, source)
        if ticket is not None:
            method = job.described
            write_ticket(
                Path(ticket),
                skeleton,
                folder,
                Masks(folder / FLOW),
                source.resolve().name,
                method,
                job.charged,
            )
        if done is not None:
            note(folder, "all")
        shutil.rmtree(folder / FLOW, ignore_errors=True)
        return Streamed(folder, scope, kept_by_shards(folder))


@dataclass
class _Work:
    """A job under way."""

    skeleton: Skeleton
    folder: Path
    job: Job
    parts: Mapping[str, int]
    watch: Watch

    def __post_init__(self) -> None:
        self.blocks = blocks_of(self.skeleton.model, self.skeleton.scope)

    def shard(self, number: int) -> Path:
        """Where the shard of a block is, or, after the last block, that of the rest."""
        count = len(self.blocks) + 1
        return self.folder / f"model-{number + 1:05d}-of-{count:05d}.safetensors"

    def carry_out(self, batches: list[Tensor], done: int) -> None:
        """Cut and write each block that was not passed yet."""
        if self.job.score == "magnitude":
            for number, block in enumerate(self.blocks[done:], done):
                with self._hold(block):
                    self._cut(number, block, {})
                note(self.folder, number + 1)
            return

        spill = Spill(self.folder / FLOW, done)
        self.skeleton.load(self.skeleton.outside)
        statistics = inputs_of(
            self.skeleton.model,
            self.skeleton.scope,
            lambda: [{"input_ids": batch} for batch in batches],
            lambda batch: self.skeleton.model(**batch, use_cache=False),
            second_moment=self.job.cutter.second_moment,
            hold=self._hold,
            states=lambda: spill,
            start=done,
        )
        for number, found in enumerate(statistics, done):
            if number == done:
                self.skeleton.drop(self.skeleton.outside)  # blocks need nothing of it
            if number:
                note(self.folder, number)
            self._cut(number, self.blocks[number], found)

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
        model, scope = self.skeleton.model, self.skeleton.scope
        shard, kept = {}, {}
        for name in self.skeleton.of_block(block):
            stored = self.skeleton.checkpoint[self.skeleton.names[name]]
            if name in scope:
                live, dim = model.get_parameter(name).data, scope.inputs.get(name, -1)
                statistic = statistics.pop(name, torch.empty(0))
                flags, weight = self.job.cutter.cut(
                    live, statistic, self.parts[name], dim
                )
                updated = self.job.cutter.second_moment
                stored = (
                    weight.to(stored.dtype) if updated else stored.masked_fill(~flags, 0)
                )
                live.copy_(stored)
                kept[name] = flags
            shard[self.skeleton.names[name]] = stored.contiguous()

        Masks(self.folder / FLOW).put(number, kept)
        counts = {name: int(flags.sum()) for name, flags in kept.items()}
        write(
            self.shard(number),
            partial(save, shard, {"kept": json.dumps(counts), "format": "pt"}),
        )
        self.watch("block", number + 1, len(self.blocks))


def _statistic(scope: Scope, block: Block, job: Job) -> int:
    """Bytes of the statistics of a block."""
    total = 0
    for name in block.names:
        shape, dim = scope.shapes[name], scope.inputs.get(name, -1)
        width, stack = shape[dim], prod(shape[:-2])
        total += 4 * stack * width * (width if job.cutter.second_moment else 1)
    return total if job.score != "magnitude" else 0


def _check(scope: Scope, job: Job) -> None:
    survivors(job.sparsity, scope.size)
    if (pattern := Pattern.named(job.pattern)) is not None:
        pattern.check(scope)


def _window(job: Job, config: Any) -> int:
    most = decoder.positions(config)
    window = job.window or min(decoder.MOST, most)
    if not 2 <= window <= most:
        raise DataError(
            f"a window has {window:,} tokens, and the model reads 2 to {most:,}; set --window in between"
        )
    return window


def _batches(source: Path, job: Job, model: nn.Module) -> list[Tensor]:
    """The windows to calibrate on, in micro-batches."""
    with loading(str(source), "put the tokenizer beside the checkpoint"):
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    config: Any = model.config
    decoder.check_vocabulary(tokenizer, config.get_text_config().vocab_size, str(source))
    windows = calibration_windows(
        str(job.calibrate), tokenizer, _window(job, config), job.samples
    )
    return list(torch.split(windows, job.batch))


def _finish(work: _Work, source: Path) -> None:
    """Write what is in no block, the index and what is no weight."""
    skeleton = work.skeleton
    inside = {
        skeleton.names[name] for block in work.blocks for name in skeleton.of_block(block)
    }
    rest = {
        name: skeleton.checkpoint[name].contiguous()
        for name in skeleton.checkpoint
        if name not in inside
    }
    last = work.shard(len(work.blocks))
    write(last, partial(save, rest, {"format": "pt"}))

    places = dict.fromkeys(rest, last.name)
    for number, block in enumerate(work.blocks):
        places |= {
            skeleton.names[name]: work.shard(number).name
            for name in skeleton.of_block(block)
        }
    size = sum(part.nbytes for part in skeleton.checkpoint.parts.values())
    index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(places.items()))}
    write_text(work.folder / INDEX, json.dumps(index, indent=2))
    copy_the_rest(source, work.folder)
