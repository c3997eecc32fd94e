"""Prune: prune a checkpoint that does not fit into memory, shard by shard, without building its model.

The weights are read once to count their magnitudes (twice in float32 or mixed precision, four times in float64), which
gives the exact cut (`checkpoints.counts`); then each shard is read once more and written with its zeros. Several
threads count, a parameter each, and write, a shard each. What was agreed on stands in a small file beside the shards,
so that a killed job goes on with the shards that are not there yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import IO, TypeVar
from zlib import crc32

import numpy as np
import torch

from ..core.errors import DataError, ScopeError
from ..core.files import write
from ..core.kinds import checked
from ..core.prune import Across, cut_together, survivors
from ..core.scope import Scope
from ..core.stored import Stored
from .checkpoint import Checkpoint, ahead, threads
from .counts import Cut, Numbers, Tally, keys, raw, refuse_nan, width
from .job import PruneJob, alone
from .prunable import prunable
from .quantised import refuse_quantised
from .rest import copy_the_rest

Item = TypeVar("Item")

SAMPLED = 1 << 16  # bytes that are looked at first ...
EVERY = 1 << 22  # ... of each so many

Watch = Callable[[str, int, int], None]
"""(stage, bytes done, bytes of the stage) -> None"""


@dataclass(frozen=True)
class Pruned:
    """What `prune_checkpoint` did.

    Attributes:
        folder: where the sparse checkpoint is.
        scope: what could be pruned, in the order in which ties are resolved.
        left_out: why each other tensor was left as it is.
        cuts: where each parameter was cut.
    """

    folder: Path
    scope: Scope
    left_out: Mapping[str, str]
    cuts: Mapping[str, Cut]

    @property
    def kept(self) -> int:
        """How many weights of the scope survive."""
        return sum(cut.kept for cut in self.cuts.values())


@checked
def prune_checkpoint(
    source: str | Path,
    out: str | Path,
    sparsity: float,
    *,
    across: Across = "model",
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    watch: Watch = lambda *_: None,
) -> Pruned:
    """Write *source* with its smallest weights zeroed into the folder *out*, in a few hundred megabytes of memory.

    Exactly ``round((1 - sparsity) * scope.size)`` weights survive, those that `instant_soup.prune` keeps of the same
    tensors. Called again after it was stopped, it goes on; called again after it has ended, it does nothing.

    Args:
        source: a safetensors file, or a folder with one or with shards and their index. Files that are no weights are
            copied; a ``sparsity_config`` is left out of config.json.
        sparsity: share of the scope that is pruned, 0 <= sparsity < 1.
        across: cut once across the ``"model"``, or keep the same share in each ``"layer"`` (parameter).
        include, exclude: patterns of names, see `instant_soup.checkpoints.prunable.prunable`.
        watch: told how far it is.

    Raises:
        DataError: *source* is no sound checkpoint, or is changed while it is read.
        ScopeError: there is nothing to prune, or a weight is NaN.
        SparsityError: *sparsity* is out of range or keeps no weight.
        StoreError: *out* holds something else, cannot be written, or *source* has changed since it was begun.
    """
    checkpoint = Checkpoint.open(source)
    folder = Path(out)
    refuse_quantised(Path(source), checkpoint.parts)
    scope, left_out = prunable(checkpoint.parts, include, exclude)
    keep = survivors(sparsity, scope.size)
    sizes = {name: scope.numel(name) for name in scope}
    groups = cut_together(scope, sizes, keep, across)
    files = []
    for file, state in checkpoint.states.items():
        files.append([file.name, state.size, state.modified])
    asked = {
        "source": Path(source).resolve().name,
        "files": files,
        "sparsity": sparsity,
        "across": across,
        "include": list(include),
        "exclude": list(exclude),
    }

    with alone(folder, Path(source), [file.name for file in checkpoint.files]):
        job = PruneJob.begun(folder, asked)
        if job is None:
            cuts = _count(checkpoint, scope, groups, watch)
            job = PruneJob(folder, asked, scope.size, cuts, {})
            job.note()
        _write_all(checkpoint, job, watch)
        copy_the_rest(Path(source), folder)
    # what an earlier call noted is in the order of names
    cuts = {name: job.cuts[name] for name in scope}
    return Pruned(folder, scope, left_out, cuts)


class _Told:
    """Tells of bytes that several threads have done."""

    def __init__(self, watch: Watch, stage: str, size: int) -> None:
        self._watch = watch
        self._stage = stage
        self._size = size
        self._done = 0
        self._lock = Lock()

    def more(self, count: int) -> None:
        """So many bytes more are done."""
        with self._lock:
            self._done += count
            self._watch(self._stage, self._done, max(self._done, self._size))


def _count(
    checkpoint: Checkpoint,
    scope: Scope,
    groups: Mapping[tuple[str, ...], int],
    watch: Watch,
) -> dict[str, Cut]:
    """Where each parameter is cut. Several threads count, a parameter each."""
    parts = {name: checkpoint.parts[name] for name in scope}
    order = width(part.dtype for part in parts.values())
    tally = Tally(groups, order)
    readings = order // 16
    told = _Told(watch, "count", readings * sum(part.nbytes for part in parts.values()))

    def sample(name: str) -> None:
        for chunk in parts[name].chunks(SAMPLED, EVERY):
            tally.add(name, _keys(chunk, parts[name], order))

    def count(name: str) -> None:
        for chunk in parts[name].chunks():
            keys_of_chunk = _keys(chunk, parts[name], order)
            _refuse_nan(name, keys_of_chunk, parts[name], order)
            tally.add(name, keys_of_chunk)
            told.more(len(chunk))

    with ThreadPoolExecutor(threads()) as pool:
        _all_of(pool, sample, parts)
        tally.focus({name: scope.numel(name) for name in scope})
        while tally.wanted:
            wanted = {name: parts[name] for name in tally.wanted}
            _all_of(pool, count, _on_disk(wanted))
            tally.close()

    checkpoint.refuse_changes()
    cuts = tally.cuts()
    return {name: cuts[name] for name in scope}


def _write_all(checkpoint: Checkpoint, job: PruneJob, watch: Watch) -> None:
    """Write every shard that is not there yet. Several threads write, a shard each."""
    told = _Told(watch, "write", sum(part.nbytes for part in checkpoint.parts.values()))

    def write_shard(file: Path) -> None:
        parts = {
            name: part for name, part in checkpoint.parts.items() if part.path == file
        }
        if job.has(file.name):
            told.more(sum(part.nbytes for part in parts.values()))
            return

        new = job.folder / file.name
        shard = _Shard(checkpoint, file, parts, job, told)
        write(new, shard.write)
        job.wrote(file.name, shard.checksum)

    with ThreadPoolExecutor(threads()) as pool:
        _all_of(pool, write_shard, checkpoint.files)


def _all_of(
    pool: ThreadPoolExecutor, act: Callable[[Item], None], items: Iterable[Item]
) -> None:
    """Do *act* with each of *items*; what goes wrong with one ends those that have not begun."""
    coming = [pool.submit(act, item) for item in items]
    try:
        for future in coming:
            future.result()
    except BaseException:
        for future in coming:
            future.cancel()
        raise


class _Shard:
    """One shard of a job, written with its zeros: the same header, the same places.

    Attributes:
        checksum: the CRC-32 of what was written.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        file: Path,
        parts: Mapping[str, Stored],
        job: PruneJob,
        told: _Told,
    ) -> None:
        self.checksum = 0
        self._checkpoint = checkpoint
        self._file = file
        self._parts = parts
        self._job = job
        self._told = told

    def write(self, new_file: Path) -> None:
        """Write it to *new_file*. Raises DataError where the source has changed since it was counted."""
        cuts = self._job.cuts
        order = width(self._checkpoint.parts[name].dtype for name in cuts)
        seen = dict.fromkeys(self._parts, 0)
        kept = dict.fromkeys(self._parts, 0)

        with self._file.open("rb") as old, new_file.open("wb") as new:
            # the header is everything before the first tensor; a shard may hold none
            starts = [part.start for part in self._parts.values()]
            end = self._checkpoint.states[self._file].size
            self._put(new, old.read(min(starts, default=end)))

            for name, chunk in ahead(_chunks(self._parts)):
                if name in cuts:
                    numbers = raw(chunk, self._parts[name].dtype)
                    magnitudes = _keys(chunk, self._parts[name], order)
                    keep, seen[name] = cuts[name].keep(magnitudes, seen[name])
                    # of bits, so that no -0.0 is left
                    np.multiply(numbers, keep, out=numbers)
                    kept[name] += int(np.count_nonzero(keep))
                self._put(new, chunk.data)
                self._told.more(len(chunk))

        self._checkpoint.refuse_change(self._file)
        for name in self._parts:
            if name in cuts and kept[name] != cuts[name].kept:
                raise DataError(
                    f"{kept[name]:,} weights of {name!r} are above the cut and {cuts[name].kept:,} were counted: "
                    f"{self._file} was changed meanwhile; delete {self._job.folder} and begin again"
                )

    def _put(self, new: IO[bytes], data: bytes | memoryview) -> None:
        new.write(data)
        self.checksum = crc32(data, self.checksum)


def _on_disk(parts: Mapping[str, Stored]) -> list[str]:
    """Names in the order in which their tensors lie on disk."""
    return sorted(parts, key=lambda name: (str(parts[name].path), parts[name].start))


def _chunks(parts: Mapping[str, Stored]) -> Iterator[tuple[str, Numbers]]:
    """The bytes of *parts*, in the order in which they lie on disk."""
    for name in _on_disk(parts):
        for chunk in parts[name].chunks():
            yield name, chunk


def _keys(chunk: Numbers, part: Stored, order: int) -> Numbers:
    return keys(raw(chunk, part.dtype), part.dtype, order)


def _refuse_nan(name: str, keys_of_chunk: Numbers, part: Stored, order: int) -> None:
    # keys of several dtypes are ordered as those of the widest
    dtype = {32: torch.float32, 64: torch.float64}.get(order, part.dtype)
    try:
        refuse_nan(keys_of_chunk, dtype)
    except ScopeError as reason:
        raise ScopeError(f"{name!r} of {part.path}: {reason}") from None
