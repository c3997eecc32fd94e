"""Measure: measures what a sparse model gains on this machine, in bytes and in time, and says where it gains nothing.

Two models that are compared differ in their zeros and in nothing else: sparse layers of torch with dense ones of torch,
and a sparse model in another runtime with a dense one in that runtime.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from . import onnx, openvino
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

DENSE = "dense"
SPARSE = "sparse"
_RUNTIMES: Mapping[str, Callable[[Portable, Path], None]] = {
    "onnx": onnx.convert,
    "openvino": openvino.convert,
}
"""The functions that write a model as it is, for the formats that have a runtime of their own."""


@dataclass(frozen=True)
class Latency:
    """One forward pass of every contender.

    Attributes:
        batch: examples at a time.
        length: tokens of a text; 1 for images.
        paces: by contender. ``sparse`` is the CSR export beside ``dense``, the dense layers of torch in float32. What
            another runtime runs, such as ``onnx``, is beside the same model without zeros there, ``dense onnx``.
    """

    batch: int
    length: int
    paces: Mapping[str, Pace]


@dataclass(frozen=True)
class Measured:
    """The sizes and times of a sparse model.

    Attributes:
        threads: how many torch and the other runtimes computed with.
        picked: layer by layer, at the numbers of tokens that the latencies were measured at.
    """

    threads: int
    sizes: Sizes
    picked: tuple[Picked, ...]
    latencies: tuple[Latency, ...]

    def sentences(self) -> Iterator[str]:
        """The times in words: a sentence for each gain, and for each comparison without one."""
        for latency in self.latencies:
            for name in latency.paces:
                if reference_of(name) != name:
                    yield _sentence(latency, name)


def reference_of(contender: str) -> str:
    """The contender that differs from *contender* in its zeros alone; itself, if it is dense."""
    if contender == SPARSE:
        return DENSE
    if contender.startswith(DENSE):
        return contender
    return f"{DENSE} {contender}"


def measure(source: Portable, exported: Exported, *, turns: int = 30) -> Measured:
    """Measure the dense model of torch, the sparse one, and *exported* in its own runtime, if it has one.

    Args:
        turns: how often each contender runs; fewer times, but at least 8, for inputs of many tokens.
    """
    # no kernel is timed yet: the tokens to time them at are known below
    sparse = sparsify(deepcopy(source.model), source.ticket.mask, ())
    layers = [layer for layer in sparse.modules() if isinstance(layer, SparseLinear)]

    # an image has no length
    lengths = [1]
    if source.shape is None:
        lengths = [min(length, source.longest) for length in TEXTS]

    tokens: dict[tuple[int, int], int] = {}
    for batch in BATCHES:
        for length in lengths:
            tokens[batch, length] = batch * _tokens(source, sparse, length)
    picked = pick(layers, sorted(set(tokens.values())))

    with _contenders(source, sparse, exported) as runs:
        latencies = []
        for (batch, length), count in tokens.items():
            # about as much work for each; 8 turns are the fewest that an interval can be made of
            repetitions = max(8, min(turns, turns * 512 // count))
            latencies.append(_latency(source, runs, batch, length, repetitions))

    return Measured(
        threads=torch.get_num_threads(),
        sizes=sizes(source, {exported.format: exported.size}),
        picked=tuple(picked),
        latencies=tuple(latencies),
    )


@contextmanager
def _contenders(
    source: Portable, sparse: nn.Module, exported: Exported
) -> Iterator[dict[str, Runner]]:
    """Yield the functions to be timed, by name; files that they run are there as long as the block takes."""
    runs: dict[str, Runner] = {DENSE: source.logits, SPARSE: runner_of(sparse)}
    name = exported.format
    if name not in _RUNTIMES:
        yield runs
        return

    with TemporaryDirectory() as folder:
        path = Path(folder) / f"dense{FORMATS[name].suffix}"
        _RUNTIMES[name](without_zeros(source), path)
        runs[f"{DENSE} {name}"] = FORMATS[name].runner(path)
        runs[name] = FORMATS[name].runner(exported.out)
        yield runs


@torch.no_grad()
def without_zeros(source: Portable) -> Portable:
    """The same model with survivors' values where the ticket prunes: as costly as before it was pruned."""
    dense = replace(source, model=deepcopy(source.model))
    generator = torch.Generator().manual_seed(0)
    for name, mask in source.ticket.mask.items():
        matrix = dense.tensors[name]
        # values of the usual size: very small numbers are slow on CPUs, and huge ones overflow
        matrix[~mask] = _sample(matrix[mask], int((~mask).sum()), generator)
    return dense


def _sample(survivors: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """*count* of the *survivors*, drawn with replacement; ones where nothing survives."""
    if not len(survivors):
        return survivors.new_ones(count)
    return survivors[torch.randint(len(survivors), (count,), generator=generator)]


@torch.inference_mode()
def _latency(
    source: Portable, runs: Mapping[str, Runner], batch: int, length: int, turns: int
) -> Latency:
    """Time one forward pass of every contender."""
    inputs = source.inputs(batch, length)
    contenders = {name: partial(run, inputs) for name, run in runs.items()}
    seconds = in_turns(contenders, turns)

    measured: dict[str, Pace] = {}
    for name in runs:
        measured[name] = paces(seconds, reference_of(name))[name]
    return Latency(batch, length, measured)


@torch.inference_mode()
def _tokens(source: Portable, sparse: nn.Module, length: int) -> int:
    """The most tokens that a layer sees of one example; of an image, its patches."""
    # counted and not computed: architectures cut images into patches in many ways
    seen: list[int] = [1]
    layers = [layer for layer in sparse.modules() if isinstance(layer, SparseLinear)]

    def count(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.append(inputs[0][..., 0].numel())

    hooks = [layer.register_forward_pre_hook(count) for layer in layers]
    sparse(**source.inputs(1, length))
    for hook in hooks:
        hook.remove()
    return max(seen)


def _sentence(latency: Latency, name: str) -> str:
    """The sentence on the contender *name* at one batch size and length."""
    pace = latency.paces[name]
    reference = reference_of(name)
    where = f"at batch {latency.batch}"
    if latency.length > 1:
        where += f" and {latency.length} tokens"

    share = f"{pace.ratio:.2f} of the time"
    times = f"{1000 * latency.paces[reference].seconds:.1f} ms {reference}, {1000 * pace.seconds:.1f} ms {name}"
    if reference != DENSE:
        share += f" of {reference}"
        times += f"; {1000 * latency.paces[DENSE].seconds:.1f} ms dense in torch"
    verdict = "Gain" if pace.gain else "No gain"
    return f"{verdict}: {where}, {name} takes {share}, {pace.low:.2f} to {pace.high:.2f} ({times})"
