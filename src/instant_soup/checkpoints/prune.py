"""Large: prune a checkpoint that does not fit into memory, shard by shard, without building its model.

The weights are read once to count their magnitudes (twice in float32 or mixed precision, four times in float64), which
gives the exact cut (`core.tally`); then each shard is read once more and written with its zeros. What was agreed on
stands in a small file beside the shards, so that a killed job goes on with the first shard that is not there yet.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..core.errors import DataError, ScopeError, StoreError, unknown
from ..core.files import half_written, write, write_text
from ..core.mask import Mask
from ..core.prune import Across, shares, survivors
from ..core.scope import Scope
from ..core.stored import CHUNK, Stored
from ..core.task import Base
from ..core.ticket import Ticket
from ..core.weights import digest
from ..store.locks import Locks
from .checkpoint import INDEX, Checkpoint, ahead
from .counts import Cut, Numbers, Tally, keys, raw, refuse_nan, width
from .prunable import prunable
from .quantised import refuse_quantised

SCHEMA = 1
RECORD = "instant_soup.json"
SAMPLED, EVERY = 1 << 16, 1 << 22  # bytes: so many of each so many are looked at first
WEIGHTS = {".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx", ".gguf", ".index.json"}

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
    checkpoint, folder = Checkpoint.open(source), Path(out)
    refuse_quantised(Path(source), checkpoint.parts)
    scope, left_out = prunable(checkpoint.parts, include, exclude)
    keep = survivors(sparsity, scope.size)
    job = {
        "source": Path(source).resolve().name,
        "files": [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in checkpoint.files],
        "sparsity": sparsity,
        "across": across,
        "include": list(include),
        "exclude": list(exclude),
    }
    with _alone(folder, Path(source)):
        cuts = _agreed(folder, job)
        if cuts is None:
            cuts = _count(checkpoint, scope, _groups(scope, keep, across), watch)
            facts = {"schema": SCHEMA, "job": job, "kept": keep, "prunable": scope.size}
            write_text(
                folder / RECORD, json.dumps(facts | {"cuts": {n: [*asdict(c).values()] for n, c in cuts.items()}})
            )
        _write_all(checkpoint, cuts, folder, watch)
        _copy_the_rest(Path(source), folder)
    return Pruned(folder, scope, left_out, cuts)


def ticket_of(source: str | Path, pruned: Pruned) -> Ticket:
    """The ticket of what `prune_checkpoint` kept of *source*, from two more readings of its prunable weights.

    It holds its mask at one bit a weight in memory. It belongs to models that have the weights of *source* in the
    dtypes and under the names of *source*. Raises DataError.
    """
    checkpoint, packed = Checkpoint.open(source), {}
    order = width(checkpoint.parts[name].dtype for name in pruned.scope)
    for name, cut in pruned.cuts.items():
        part, seen, flags = checkpoint.parts[name], 0, []
        for chunk in ahead(part.chunks()):
            kept, seen = cut.keep(_keys(chunk, part, order), seen)
            flags.append(np.packbits(kept, bitorder="little"))  # chunks have a multiple of 8 weights
        packed[name] = torch.from_numpy(np.concatenate(flags))
    base = Base(Path(source).resolve().name, digest(checkpoint, pruned.scope))
    return Ticket(Mask.from_packed(pruned.scope, packed), {}, base, method={"name": "magnitude"})


def _groups(scope: Scope, keep: int, across: Across) -> dict[tuple[str, ...], int]:
    if across == "model":
        return {tuple(scope): keep}
    if across == "layer":
        sizes = {name: scope.numel(name) for name in scope}
        return {(name,): share for name, share in shares(scope, sizes, keep).items()}
    raise unknown("across", across, ("model", "layer"))


def _count(checkpoint: Checkpoint, scope: Scope, groups: Mapping[tuple[str, ...], int], watch: Watch) -> dict[str, Cut]:
    parts = {name: checkpoint.parts[name] for name in scope}
    order = width(part.dtype for part in parts.values())
    tally, done, size = Tally(groups, order), 0, sum(part.nbytes for part in parts.values())
    for name, chunk in ahead(_chunks(parts, SAMPLED, EVERY)):
        tally.add(name, _keys(chunk, parts[name], order))
    tally.focus({name: scope.numel(name) for name in scope})
    while names := tally.wanted:
        for name, chunk in ahead(_chunks({name: parts[name] for name in names})):
            found = _keys(chunk, parts[name], order)
            _refuse_nan(name, found, parts[name], order)
            tally.add(name, found)
            done += len(chunk)
            watch("count", done, max(done, size * order // 16))
        tally.close()
    cuts = tally.cuts()
    return {name: cuts[name] for name in scope}


def _write_all(checkpoint: Checkpoint, cuts: Mapping[str, Cut], folder: Path, watch: Watch) -> None:
    order = width(checkpoint.parts[name].dtype for name in cuts)
    size, done = sum(part.nbytes for part in checkpoint.parts.values()), 0

    def tick(more: int) -> None:
        nonlocal done
        watch("write", done := done + more, size)

    for file in checkpoint.files:
        parts, new = {name: part for name, part in checkpoint.parts.items() if part.path == file}, folder / file.name
        if new.is_file() and new.stat().st_size == file.stat().st_size:
            tick(sum(part.nbytes for part in parts.values()))
            continue
        for rest in half_written(new):
            rest.unlink(missing_ok=True)
        write(new, partial(_write_shard, file, parts, cuts, order, tick))


def _write_shard(
    file: Path,
    parts: Mapping[str, Stored],
    cuts: Mapping[str, Cut],
    order: int,
    tick: Callable[[int], None],
    new_file: Path,
) -> None:
    """The shard *file* with zeros as *new_file*: the same header, the same places."""
    first = min((part.start for part in parts.values()), default=file.stat().st_size)
    seen, kept = dict.fromkeys(parts, 0), dict.fromkeys(parts, 0)
    with file.open("rb") as old, new_file.open("wb") as new:
        new.write(old.read(first))
        for name, chunk in ahead(_chunks(parts)):
            if name in cuts:
                numbers = raw(chunk, parts[name].dtype)
                keep, seen[name] = cuts[name].keep(_keys(chunk, parts[name], order), seen[name])
                np.multiply(numbers, keep, out=numbers)  # of bits, so that no -0.0 is left
                kept[name] += int(np.count_nonzero(keep))
            new.write(chunk.data)
            tick(len(chunk))
    if other := [name for name in parts if name in cuts and kept[name] != cuts[name].kept]:
        raise DataError(
            f"{kept[other[0]]:,} weights of {other[0]!r} are above the cut and {cuts[other[0]].kept:,} were counted: "
            f"{file} was changed meanwhile; delete {new_file.parent} and begin again"
        )


def _chunks(parts: Mapping[str, Stored], size: int = CHUNK, every: int | None = None) -> Iterator[tuple[str, Numbers]]:
    """The bytes of *parts*, or some of them (`Stored.chunks`), in the order in which they lie on disk."""
    for name, part in sorted(parts.items(), key=lambda item: (str(item[1].path), item[1].start)):
        for chunk in part.chunks(size, every):
            yield name, chunk


def _keys(chunk: Numbers, part: Stored, order: int) -> Numbers:
    return keys(raw(chunk, part.dtype), part.dtype, order)


def _refuse_nan(name: str, found: Numbers, part: Stored, order: int) -> None:
    try:
        refuse_nan(found, {32: torch.float32, 64: torch.float64}.get(order, part.dtype))
    except ScopeError as reason:
        raise ScopeError(f"{name!r} of {part.path}: {reason}") from None


@contextmanager
def _alone(folder: Path, source: Path) -> Iterator[None]:
    """Be the only job that writes into *folder*, in which there is nothing but what such jobs write."""
    if folder.resolve() in (source.resolve(), source.resolve().parent):
        raise StoreError(f"{folder} is where the source is; choose another folder to write to")
    if folder.is_dir() and not (folder / RECORD).is_file() and any(folder.glob("*.safetensors")):
        raise StoreError(f"{folder} holds a checkpoint that is not of this job; choose another folder")
    with Locks(folder).attempt(RECORD) as free:
        if not free:
            raise StoreError(f"another process is at work in {folder}; wait for it, or choose another folder")
        try:
            yield
        finally:
            (folder / f"{RECORD}.lock").unlink(missing_ok=True)


def _agreed(folder: Path, job: Mapping[str, Any]) -> dict[str, Cut] | None:
    """The cuts that an earlier call of this job agreed on, if there was one."""
    if not (folder / RECORD).is_file():
        return None
    try:
        facts = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        begun, cuts = dict(facts["job"]), {name: Cut(*cut) for name, cut in facts["cuts"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as reason:
        raise StoreError(f"{folder / RECORD} is not readable ({reason!r}); delete {folder} and begin again") from reason
    if begun.get("source") == job["source"] and begun.get("files") != job["files"]:
        raise StoreError(
            f"the files of {job['source']} have changed since {folder} was begun; delete it and begin again"
        )
    if other := [field for field in job if begun.get(field) != job[field]]:
        raise StoreError(
            f"{folder} was begun with {other[0]} {begun.get(other[0])!r}, and now it is {job[other[0]]!r}; "
            f"choose another folder, or delete this one"
        )
    return cuts


def _copy_the_rest(source: Path, folder: Path) -> None:
    """Configuration, tokenizer, index and the like, if they are not there yet."""
    for file in sorted(source.iterdir()) if source.is_dir() else ():
        kind = file.name == INDEX or not any(file.name.endswith(ending) for ending in WEIGHTS)
        if not file.is_file() or not kind or (folder / file.name).exists():
            continue
        content = file.read_bytes()
        if file.name == "config.json":
            content = _without_sparsity_config(content)
        write(folder / file.name, partial(_put, content))


def _put(content: bytes, new_file: Path) -> None:
    new_file.write_bytes(content)


def _without_sparsity_config(content: bytes) -> bytes:
    """A config that runtimes do not refuse: some do where a ``sparsity_config`` stands in it."""
    try:
        config = json.loads(content)
    except (ValueError, RecursionError):
        return content
    if not isinstance(config, dict):
        return content
    places = [config, *(config.get(key) for key in ("quantization_config", "compression_config"))]
    found = [place for place in places if isinstance(place, dict) and place.pop("sparsity_config", None) is not None]
    return json.dumps(config, indent=2).encode() if found else content
