"""Rest: what stands in a checkpoint's folder beside its weights, and goes with them."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ..core.errors import StoreError
from ..core.files import write
from ..core.places import real
from .checkpoint import INDEX

WEIGHTS = (
    ".safetensors",
    ".bin",
    ".pt",
    ".pth",
    ".ckpt",
    ".h5",
    ".msgpack",
    ".onnx",
    ".gguf",
    ".index.json",
)
# a folder of sentence-transformers, such as 1_Pooling
_MODULE = re.compile(r"[0-9]+_[A-Za-z0-9_]+")
_MOST_CONFIG = 50_000_000  # bytes


def copy_the_rest(source: Path, folder: Path) -> None:
    """Copy configuration, tokenizer, index and the like, if they are not there yet. Raises StoreError."""
    for file in _beside(source):
        target = folder / file.relative_to(source)
        if target.parent != folder and target.parent.is_symlink():
            raise StoreError(
                f"{target.parent} is a symbolic link, and it would be written to; choose another folder"
            )
        if target.exists():
            continue
        if file.name == "config.json" and file.stat().st_size <= _MOST_CONFIG:
            content = _without_sparsity_config(file.read_bytes())
            write(target, partial(_put, content))
        else:
            write(target, partial(shutil.copyfile, file))


def _beside(source: Path) -> Iterator[Path]:
    """The files that go along: nothing hidden, which may be secrets, and nothing that a link fetches from elsewhere."""
    if not source.is_dir():
        return

    for path in sorted(source.iterdir()):
        if path.name.startswith(".") or not _inside(path, source):
            continue
        weights = path.name.endswith(WEIGHTS) and path.name != INDEX
        if path.is_file() and not weights:
            yield path
        if path.is_dir() and _MODULE.fullmatch(path.name):
            for part in sorted(path.rglob("*")):
                if part.is_file() and _inside(part, source):
                    yield part


def _inside(path: Path, source: Path) -> bool:
    """Whether *path* leads to a file of the checkpoint. In a hub's cache files are links to blobs beside snapshots."""
    target = real(path)
    home = real(source)
    homes = [home]
    if home.parent.name == "snapshots":
        homes.append(home.parent.parent / "blobs")
    return any(target.is_relative_to(place) for place in homes)


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

    places = (
        config,
        config.get("quantization_config"),
        config.get("compression_config"),
    )
    changed = False
    for place in places:
        if isinstance(place, dict) and place.pop("sparsity_config", None) is not None:
            changed = True
    return json.dumps(config, indent=2).encode() if changed else content
