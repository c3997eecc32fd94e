"""Contents: which bytes a run was made with, beside the recipe, that says only where they lay.

Data and model are known by the SHA-256 of their files. A file is read again where its size or its time has changed;
what was read is noted in the store. What comes from a hub, or with this package, is known by its name alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import Any

from ..core.content import content_key
from ..core.errors import StoreError
from ..core.places import real
from ..models.text import PACKAGED
from ..recipes.recipe import Recipe
from .cell import Cell
from .plain import of_kinds, read_sealed, write_sealed
from .store import Store

SCHEMA = 1
# files of a folder that are noted one by one; of more than that only how many they are
_LISTED = 500
_FRESH = 2.0  # seconds in which a file may change again without another time

_TABLES = {".parquet", ".csv", ".tsv", ".jsonl", ".ndjson", ".arrow", ".gz", ".zst"}
_IMAGES = {
    ".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm",
}  # fmt: skip
_MODEL = {".safetensors", ".bin", ".json", ".txt", ".model", ".jinja", ".tiktoken"}
# what a Trainer leaves beside a model, and no model is loaded from
_NOT_READ = {
    "trainer_state.json",
    "training_args.bin",
    "all_results.json",
    "train_results.json",
    "eval_results.json",
}

Files = Mapping[str, str]


@dataclass(frozen=True)
class Contents:
    """The files of a run's data and model: their names, and the SHA-256 of what they hold."""

    data: Files
    model: Files

    @classmethod
    def of(cls, recipe: Recipe, store: Store) -> Contents:
        """What *recipe* finds on disk now. Raises StoreError where a file cannot be read."""
        digests = _Digests(store)
        data = Path(recipe.data.folder) if recipe.data.folder is not None else None
        model = Path(recipe.task.model) if recipe.task.model != PACKAGED else None

        contents = cls(
            data=digests.of(data, _data_files(data, store.folder)),
            model=digests.of(model, _model_files(model)),
        )
        digests.note()
        return contents

    @property
    def parts(self) -> dict[str, str]:
        """A digest of each part that was there to be read."""
        parts = {"data": self.data, "model": self.model}
        return {name: content_key(files) for name, files in parts.items() if files}

    @property
    def digest(self) -> str:
        """All of it as one digest."""
        return content_key(self.parts)

    def noted(self) -> dict[str, Any]:
        """As a cell keeps it."""
        parts = {"data": self.data, "model": self.model}
        listed = {
            name: dict(files) for name, files in parts.items() if len(files) <= _LISTED
        }
        return {"schema": SCHEMA, "digests": self.parts, "files": listed}


def contents_of(recipe: Recipe, store: Store, cell: Cell) -> Contents:
    """What a run of *recipe* is made with: noted in its *cell* the first time, and the same ever after.

    A part that is no longer there cannot have misled anyone, and what was made from it stays.

    Raises StoreError where data or model have changed since, naming what, or where the note of an unfinished run is
    gone, so that nobody can tell.
    """
    contents = Contents.of(recipe, store)
    if not cell.contents.exists():
        _refuse_unfinished(cell)
        write_sealed(cell.contents, contents.noted())
        return contents

    before = read_sealed(cell.contents)
    if not of_kinds(before, {"digests": dict, "files": dict}):
        raise StoreError(
            f"{cell.contents} does not say what the run was begun with; "
            f"`instant-soup doctor {cell.folder.parent}` puts it aside, and the same command makes it again"
        )
    for part, files in {"data": contents.data, "model": contents.model}.items():
        # a part that was not there then is another one, too
        if files and before["digests"].get(part) != content_key(files):
            noted = before["files"].get(part)
            changes = _changes(noted if isinstance(noted, dict) else None, files)
            place = recipe.data.folder if part == "data" else recipe.task.model
            raise StoreError(
                f"the {part} in {place} changed since {recipe.label} was begun ({changes}); put back what was there, "
                f"run it with --out into another folder, or remove {cell.folder} to have it made anew"
            )
    return contents


def _refuse_unfinished(cell: Cell) -> None:
    """Raise StoreError where something in *cell* could be gone on from: data or model may be others by now."""
    unfinished = (cell.folder / "draw", cell.ticket, cell.folder / "train", cell.model)
    if any(path.exists() for path in unfinished) and not cell.record.exists():
        raise StoreError(
            f"{cell.contents} is gone, which says what the run there was begun with; "
            f"`instant-soup doctor {cell.folder.parent}` puts it aside, and the same command makes it again"
        )


def _changes(before: Files | None, now: Files) -> str:
    """Which files are other ones, in a few words."""
    if before is None:
        return f"{len(now):,} files, one or more of them are not what they were"

    changes = [f"{name} is gone" for name in before if name not in now]
    changes += [f"{name} is new" for name in now if name not in before]
    for name in now:
        if name in before and before[name] != now[name]:
            changes.append(f"{name} holds something else")

    more = f" and {len(changes) - 3} more" if len(changes) > 3 else ""
    return ", ".join(changes[:3]) + more


class _Digests:
    """SHA-256 of files, remembered in a store for as long as their sizes and times stay as they are."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, Any] = {}
        self._new: dict[str, Any] = {}
        with suppress(StoreError):  # it is only slower without
            if store.digests.exists():
                self._known = dict(read_sealed(store.digests)["files"])

    def of(self, place: Path | None, files: Iterator[Path]) -> dict[str, str]:
        """The digest of each of *files*, by its name from *place*."""
        if place is None:
            return {}
        top = place if place.is_dir() else place.parent
        return {path.relative_to(top).as_posix(): self._digest(path) for path in files}

    def note(self) -> None:
        """Remember what was read, where the store can be written."""
        if not self._new:
            return

        path = self._store.digests
        with suppress(StoreError), self._store.locks.hold("digests"):
            # read again, because others may have noted something since
            known: dict[str, Any] = {}
            with suppress(StoreError):
                if path.exists():
                    known = dict(read_sealed(path)["files"])
            write_sealed(path, {"schema": SCHEMA, "files": known | self._new})

    def _digest(self, path: Path) -> str:
        try:
            state = path.stat()
            name = str(real(path))
            size, changed, digest = self._known.get(name, (None, None, ""))
            if (size, changed) == (state.st_size, state.st_mtime_ns):
                return str(digest)

            with path.open("rb") as file:
                digest = file_digest(file, "sha256").hexdigest()
        except OSError as reason:
            raise StoreError(
                f"could not read {path} ({reason}); check the file and who may read it"
            ) from reason

        # one that has just been written may be written again within the same tick of its clock
        if time.time() - state.st_mtime > _FRESH:
            self._new[name] = [state.st_size, state.st_mtime_ns, digest]
        return digest


def _data_files(place: Path | None, store: Path) -> Iterator[Path]:
    """The files that examples may come from, in a fixed order; none of the store, should it lie among them."""
    if place is None or not place.exists():
        return
    if place.is_file():
        yield place
        return

    ours = real(store)
    for path in sorted(place.rglob("*")):
        inside = path.relative_to(place).parts
        suffix = path.suffix.lower()
        # JSON deeper down is about the data, such as notes of whoever made it
        json_of_data = suffix == ".json" and inside[:-1] in ((), ("data",))
        is_data = suffix in _TABLES | _IMAGES or json_of_data
        hidden = any(part.startswith(".") for part in inside)
        if not is_data or hidden or not path.is_file():
            continue
        if not real(path).is_relative_to(ours):
            yield path


def _model_files(place: Path | None) -> Iterator[Path]:
    """The files that a model and its tokenizer are loaded from, in a fixed order."""
    if place is None or not place.is_dir():
        return
    for path in sorted(place.iterdir()):
        is_model = path.suffix in _MODEL and path.name not in _NOT_READ
        if is_model and not path.name.startswith(".") and path.is_file():
            yield path
