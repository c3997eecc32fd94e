"""Measure: what a sparse model gains on this machine, in bytes and in time; and where it gains nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from .compare import Runner, runner_of
from .csr import sparsify
from .export import Exported
from .formats import FORMATS
from .pick import Picked, pick
from .portable import Portable
from .sizes import Sizes, sizes
from .sparse import SparseLinear
from .timing import Pace, in_turns, paces

BATCHES = (1, 32)
TEXTS = (16, 128)
"""Lengths in tokens: a short text and a long one."""

_RUNTIMES = ("onnx", "openvino")


@dataclass(frozen=True)
class Latency:
    """One forward pass of every contender.

    Attributes:
        batch: examples at a time.
        length: tokens of a text; 1 for images.
        paces: by contender, beside ``dense``: the dense layers of torch in float32. ``sparse`` is the CSR export.
    """

    batch: int
    length: int
    paces: Mapping[str, Pace]


@dataclass(frozen=True)
class Measured:
    """What was found.

    Attributes:
        threads: that everything was computed with.
        picked: layer by layer, at the numbers of tokens that the latencies were measured at.
    """

    threads: int
    sizes: Sizes
    picked: tuple[Picked, ...]
    latencies: tuple[Latency, ...]

    def sentences(self) -> Iterator[str]:
        """What is to be said of the times in words: each gain, and plainly where there is none."""
        for one in self.latencies:
            for name, pace in one.paces.items():
                if name != "dense":
                    yield _sentence(one, name, pace)


def measure(source: Portable, exported: Exported, *, turns: int = 30) -> Measured:
    """Measure the dense model of torch, the sparse one, and what runs *exported* if that is a runtime of its own.

    The contenders take turns; those with many tokens fewer of them, and at least 8.
    """
    sparse = sparsify(deepcopy(source.model), source.ticket.mask, ())
    lengths = [min(length, source.longest) for length in TEXTS] if source.shape is None else [1]
    tokens = {(batch, length): batch * _tokens(source, sparse, length) for batch in BATCHES for length in lengths}
    layers = [layer for layer in sparse.modules() if isinstance(layer, SparseLinear)]
    picked = pick(layers, sorted(set(tokens.values())))
    runs: dict[str, Runner] = {"dense": source.logits, "sparse": runner_of(sparse)}
    if exported.format in _RUNTIMES:
        runs[exported.format] = FORMATS[exported.format].runner(exported.out)
    latencies = [_latency(source, runs, *shape, max(8, min(turns, turns * 512 // n))) for shape, n in tokens.items()]
    found = sizes(source, {exported.format: exported.size})
    return Measured(torch.get_num_threads(), found, tuple(picked), tuple(latencies))


@torch.inference_mode()
def _latency(source: Portable, runs: Mapping[str, Runner], batch: int, length: int, turns: int) -> Latency:
    inputs = source.inputs(batch, length)
    taken = in_turns({name: partial(run, inputs) for name, run in runs.items()}, turns)
    return Latency(batch, length, paces(taken, "dense"))


@torch.inference_mode()
def _tokens(source: Portable, sparse: nn.Module, length: int) -> int:
    """How many tokens the layers see of one example at most: of an image, its patches."""
    seen: list[int] = [1]
    layers = [layer for layer in sparse.modules() if isinstance(layer, SparseLinear)]
    hooks = [layer.register_forward_pre_hook(lambda _, x: seen.append(x[0][..., 0].numel())) for layer in layers]
    sparse(**source.inputs(1, length))
    for hook in hooks:
        hook.remove()
    return max(seen)


def _sentence(one: Latency, name: str, pace: Pace) -> str:
    where = f"at batch {one.batch}" + (f" and {one.length} tokens" if one.length > 1 else "")
    times = f"{1000 * one.paces['dense'].seconds:.1f} ms dense, {1000 * pace.seconds:.1f} ms {name}"
    share = f"{pace.ratio:.2f} of the time, {pace.low:.2f} to {pace.high:.2f}"
    return f"{'Gain' if pace.gain else 'No gain'}: {where}, {name} takes {share} ({times})"
