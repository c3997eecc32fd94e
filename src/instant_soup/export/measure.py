"""Measure: what a sparse model gains on this machine, in bytes and in time; and where it gains nothing.

What is compared differs in its zeros and in nothing else: sparse layers of torch with dense ones of torch, and a sparse
model in another runtime with a dense one in that runtime.
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
"""What writes a model as it is, for the formats that have a runtime of their own."""


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
    """What was measured.

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
        for latency in self.latencies:
            for name in latency.paces:
                if reference_of(name) != name:
                    yield _sentence(latency, name)


def reference_of(contender: str) -> str:
    """What a contender is compared with: what differs from it in its zeros alone."""
    if contender == SPARSE:
        return DENSE
    return contender if contender.startswith(DENSE) else f"{DENSE} {contender}"


def measure(source: Portable, exported: Exported, *, turns: int = 30) -> Measured:
    """Measure the dense model of torch, the sparse one, and what runs *exported* if that is a runtime of its own.

    The contenders take turns; those with many tokens fewer of them, and at least 8.
    """
    sparse = sparsify(deepcopy(source.model), source.ticket.mask, ())
    layers = [layer for layer in sparse.modules() if isinstance(layer, SparseLinear)]

    lengths = [1]  # of an image
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
            fewer = max(8, min(turns, turns * 512 // count))
            latencies.append(_latency(source, runs, batch, length, fewer))

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
    """The same model with numbers like the others where the ticket prunes: as costly as before it was pruned."""
    twin = replace(source, model=deepcopy(source.model))
    dice = torch.Generator().manual_seed(0)
    for name, mask in source.ticket.mask.items():
        matrix = twin.tensors[name]
        matrix[~mask] = _like(matrix[mask], int((~mask).sum()), dice)
    return twin


def _like(survivors: Tensor, count: int, dice: torch.Generator) -> Tensor:
    """*count* of the *survivors*, drawn with replacement; ones where nothing survives."""
    if not len(survivors):
        return survivors.new_ones(count)
    return survivors[torch.randint(len(survivors), (count,), generator=dice)]


@torch.inference_mode()
def _latency(
    source: Portable, runs: Mapping[str, Runner], batch: int, length: int, turns: int
) -> Latency:
    inputs = source.inputs(batch, length)
    seconds = in_turns({name: partial(run, inputs) for name, run in runs.items()}, turns)

    measured: dict[str, Pace] = {}
    for name in runs:
        measured[name] = paces(seconds, reference_of(name))[name]
    return Latency(batch, length, measured)


@torch.inference_mode()
def _tokens(source: Portable, sparse: nn.Module, length: int) -> int:
    """How many tokens the layers see of one example at most: of an image, its patches."""
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
