"""Outline: what pruning a language model block by block will take, told before it starts."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from ..core.pattern import AT_A_TIME
from ..core.scope import Scope
from ..training.blocks import Block, blocks_of
from .block_job import Job
from .skeleton import Skeleton

FLOAT = 4  # bytes of a weight or a state in float32, in which all work is done

SCORING = {"magnitude": 2, "wanda": 3, "ria": 5}
"""Tensors as large as a matrix while it is scored."""
SORTING = 32  # bytes of a weight that is sorted, once its score is there


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


def outline(source: str | Path, job: Job) -> Outline:
    """What *job* on *source* will take, without reading weights. Raises as `prune_blocks` does."""
    skeleton = Skeleton.of(Path(source))
    scope = skeleton.scope
    job.check(scope)
    blocks = blocks_of(skeleton.model, scope)

    weights = []
    stored = []
    for block in blocks:
        names = skeleton.of_block(block)
        weights.append(sum(skeleton.numel(name) for name in names))
        stored.append(sum(skeleton.nbytes(name) for name in names))

    config: Any = skeleton.model.config
    window = job.window_of(config)
    hidden = int(config.get_text_config().hidden_size)
    block_bytes = FLOAT * max(weights)

    states = 0
    embeddings = 0
    statistics = 0
    if job.calibrated:
        # two of each: what went into a block stays on disk until all of what comes out is there
        states = 2 * FLOAT * job.samples * window * hidden
        embeddings = FLOAT * sum(skeleton.numel(name) for name in skeleton.outside)
        statistics = max(_statistics(scope, block, job) for block in blocks)

    # what a block makes of a batch on the way is an estimate
    activations = job.batch * window * 64 * hidden
    work = activations + max(_work(skeleton, name, job) for name in scope)

    return Outline(
        blocks=len(blocks),
        block=block_bytes,
        statistics=statistics,
        memory=block_bytes + max(max(stored) + statistics + work, embeddings),
        disk=states,
        written=sum(part.nbytes for part in skeleton.checkpoint.parts.values()),
    )


def _work(skeleton: Skeleton, name: str, job: Job) -> int:
    """Bytes of what is made of one parameter while it is scored and cut, about."""
    shape = skeleton.scope.shapes[name]
    numel = prod(shape)
    matrix = prod(shape[-2:])
    # the flags of what is kept, and the pruned weights as the shard stores them
    result = numel + skeleton.nbytes(name)

    if job.cutter.second_moment:
        # the moment of one matrix is damped, inverted and factored, and each of the three is as large as it is
        width = shape[skeleton.scope.inputs.get(name, -1)]
        return result + FLOAT * (numel + 2 * matrix + 3 * width**2)

    # one matrix at a time is scored, and some of it sorted, by places in 64 bits
    scoring = SCORING[job.score] * FLOAT * matrix
    if job.cutter.across_stack:
        # all scores, and a copy of them to find the cut in
        return result + scoring + 2 * FLOAT * numel + 2 * numel
    return result + scoring + SORTING * min(matrix, AT_A_TIME)


def _statistics(scope: Scope, block: Block, job: Job) -> int:
    """Bytes of what is known of the inputs of a block: a number for each input, or one for each pair of them."""
    total = 0
    for name in block.names:
        shape = scope.shapes[name]
        width = shape[scope.inputs.get(name, -1)]
        stack = prod(shape[:-2])  # experts that are kept as one tensor
        total += FLOAT * stack * width * (width if job.cutter.second_moment else 1)
    return total
