"""Contents: which bytes a run was made with, beside the recipe, that says only where they lay.

Data and model are known by the SHA-256 of their files. A file is read again where its size or its time has changed;
what was read is noted in the store. What comes from a hub, or with this package, is known by its name alone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import file_digest
from pathlib import Path
from typing import Any

from ..core.content import content_key
from ..core.errors import DataError, StoreError
from ..core.places import real
from ..data.folder import examples_in
from ..data.image_paths import image_files
from ..data.images import ImageSpec
from ..data.language import judged_files, learned_files
from ..models.text import PACKAGED
from ..recipes.known import TASKS
from ..recipes.recipe import Recipe
from .cell import Cell
from .plain import of_kinds, read_sealed, write_sealed
from .store import Store

SCHEMA = 2
# files of a folder that are noted one by one; of more than that only how many they are
_LISTED = 500
_FRESH = 2.0  # seconds in which a file may change again without another time

# codes, spm, bpe and vocab are files of tokenizers
_MODEL = {
    ".safetensors", ".bin", ".json", ".txt", ".model", ".jinja", ".tiktoken", ".codes", ".spm", ".bpe", ".vocab",
}  # fmt: skip
# what a Trainer leaves beside a model, and no model is loaded from
_NOT_READ = {
    "trainer_state.json",
    "training_args.bin",
    "all_results.json",
    "train_results.json",
    "eval_results.json",
}
_BESIDE_GGUF = {"tokenizer_config.json", "generation_config.json"}

Files = Mapping[str, str]


@dataclass(frozen=True)
class Contents:
    """The files that a run reads: their names, and the SHA-256 of what they hold.

    Attributes:
        data: the examples.
        model: weights, configuration and tokenizer.
        test: the text that a language model is judged on, where it lies elsewhere.
    """

    data: Files
    model: Files
    test: Files = field(default_factory=dict)

    @classmethod
    def of(cls, recipe: Recipe, store: Store) -> Contents:
        """What *recipe* finds on disk now. Raises StoreError where a file cannot be read."""
        digests = _Digests(store)
        data = Path(recipe.data.folder) if recipe.data.folder is not None else None
        test = Path(recipe.data.test) if recipe.data.test is not None else None
        model = Path(recipe.task.model) if recipe.task.model != PACKAGED else None
        examples, judged = _data_files(recipe, data, store.folder)

        contents = cls(
            data=digests.of(data, examples),
            model=digests.of(model, _model_files(model)),
            test=digests.of(test, judged),
        )
        digests.note()
        return contents

    @property
    def files(self) -> dict[str, Files]:
        """The files of each part that was there to be read."""
        files = {"data": self.data, "model": self.model, "test": self.test}
        return {part: digests for part, digests in files.items() if digests}

    @property
    def parts(self) -> dict[str, str]:
        """A digest of each part that was there to be read."""
        return {part: content_key(digests) for part, digests in self.files.items()}

    @property
    def digest(self) -> str:
        """All of it as one digest."""
        return content_key(self.parts)

    def noted(self) -> dict[str, Any]:
        """As a cell keeps it."""
        listed = {
            part: dict(digests)
            for part, digests in self.files.items()
            if len(digests) <= _LISTED
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
    places = {
        "data": recipe.data.folder,
        "model": recipe.task.model,
        "test": recipe.data.test,
    }
    for part, files in contents.files.items():
        noted = before["files"].get(part)
        then: Files | None = noted if isinstance(noted, dict) else None
        now = files
        # a part that was not there then is another one, too
        digest = before["digests"].get(part)
        if before.get("schema") == 1 and (then is not None or digest is None):
            # that version looked at other files, of which some are never read
            known, now = _of_both(then or {}, files)
            digest = content_key(known)
            then = known

        if digest != content_key(now):
            raise StoreError(
                f"the {part} in {places[part]} changed since {recipe.label} was begun ({_changes(then, now)}); put "
                f"back what was there, run it with --out into another folder, or remove {cell.folder} to have it "
                f"made anew"
            )
    return contents


def _of_both(first: Files, second: Files) -> tuple[Files, Files]:
    """Those files of each whose names both have."""
    names = sorted(first.keys() & second.keys())
    return {name: first[name] for name in names}, {name: second[name] for name in names}


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

    def of(self, place: Path | None, files: Iterable[Path]) -> dict[str, str]:
        """The digest of each of *files*, by its name from *place*."""
        if place is None:
            return {}
        top = place if place.is_dir() else place.parent
        # a table may name images that lie elsewhere
        return {
            Path(os.path.relpath(path, top)).as_posix(): self._digest(path)
            for path in files
        }

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


def _data_files(
    recipe: Recipe, data: Path | None, store: Path
) -> tuple[Iterable[Path], Iterable[Path]]:
    """The files that examples come from, in a fixed order, and those to be judged on, where these lie elsewhere.

    None of them is of the store, should it lie among the data.
    """
    if recipe.task.language:
        return _texts(recipe)
    if data is None or not data.exists():
        return [], []

    ours = real(store)
    files = examples_in(data)
    if recipe.task.images:
        # of a table that cannot be read whoever loads the task is told
        with suppress(DataError):
            files = image_files(data, _image_column(recipe))
    return [path for path in files if not real(path).is_relative_to(ours)], []


def _image_column(recipe: Recipe) -> str:
    """The column of a table in which images are named, if they are."""
    if recipe.task.columns:
        return recipe.task.columns[0]
    spec = TASKS.get(recipe.task.name)
    return spec.image if isinstance(spec, ImageSpec) else ImageSpec().image


def _texts(recipe: Recipe) -> tuple[list[Path], list[Path]]:
    name = recipe.task.name
    data = recipe.data
    learned = _there(lambda: learned_files(name, data.folder))
    judged = _there(lambda: judged_files(name, data.folder, data.test))
    if data.test is None:
        return [*learned, *judged], []
    return learned, judged


def _there(files: Callable[[], list[Path]]) -> list[Path]:
    """What *files* gives; none where there is nothing to read, of which whoever loads the task is told."""
    try:
        return files()
    except DataError:
        return []


def _model_files(place: Path | None) -> Iterator[Path]:
    """The files that a model and its tokenizer are loaded from, in a fixed order."""
    if place is None or not place.exists():
        return
    if place.is_file():
        yield place

    # beside a GGUF file, what transformers reads of a folder before it looks into the file
    folder = place if place.is_dir() else place.parent
    for path in sorted(folder.iterdir()):
        suffix = path.suffix.lower()
        is_read = suffix in _MODEL and path.name not in _NOT_READ
        if place.is_file():
            is_read = path.name in _BESIDE_GGUF
        if is_read and not path.name.startswith(".") and path.is_file():
            yield path
