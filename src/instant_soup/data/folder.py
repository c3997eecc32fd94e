"""Folder: images in one folder per class, as rows of a path and a label."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path

import torch
from datasets import ClassLabel, Dataset, Features, Value

from ..core.errors import DataError
from ..core.printable import printable
from .layout import listed, split_of, tables_in
from .source import SHARE, Tables

SUFFIXES = (
    ".bmp",
    ".gif",
    ".jpeg",
    ".jpg",
    ".pgm",
    ".png",
    ".ppm",
    ".tif",
    ".tiff",
    ".webp",
)
TESTS = ("test", "validation")
LITTER = ("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx")
"""What systems leave in folders of images, in lower case."""
MOST_CLASSES = 50_000

Tree = dict[str, list[str]]


def holds_tables(folder: Path) -> bool:
    """Whether *folder* holds tables, and no folders of images."""
    return not any(
        _holds_images(path) for path in _shown(folder) if path.is_dir()
    ) and bool(tables_in(folder))


def _holds_images(folder: Path) -> bool:
    """Whether an image is in *folder*, or in a folder in it."""
    inside = _shown(folder)
    return any(
        _is_image(path) or (path.is_dir() and any(map(_is_image, path.iterdir())))
        for path in inside
    )


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def class_folders(folder: Path) -> Tables:
    """The rows to train on, to choose by and to test on: ``image``, a path, and ``label``, the number of its class.

    Classes are numbered in the order of their names. *folder* holds ``train/CLASS/*`` and ``test/CLASS/*`` under any
    name that splits have, in any case, perhaps ``validation/CLASS/*`` beside them; or ``CLASS/*``, of which a fifth of
    each class is cut out to test on, by a fixed seed. Hidden files do not count. What systems leave there, such as
    Thumbs.db, is passed over with a warning that names it.

    Raises:
        DataError: a file is no image, a class is empty, unknown or alone, or there is nothing to test on.
    """
    skipped: list[Path] = []
    parts = _parts(folder)
    if not parts:
        train, test = _fifth(_tree(folder, skipped))
        trees = {"train": train, "test": test}
    else:
        trees = {role: _tree(path, skipped) for role, path in parts.items()}
    if skipped:
        names = listed((str(path.relative_to(folder)) for path in skipped), 5)
        warnings.warn(f"no images, and passed over in {folder}: {names}", stacklevel=2)

    train = trees["train"]
    for role, tree in trees.items():
        unknown = sorted(tree.keys() - train.keys())
        if unknown:
            raise DataError(
                f"class {unknown[0]!r} is in {parts[role]} and not in train; add images of it to {parts['train']}"
            )
    if len(train) < 2:
        raise DataError(
            f"{folder} holds one class, {next(iter(train))!r}; expected a folder for each of two or more"
        )
    return Tables(**{role: _rows(tree, list(train)) for role, tree in trees.items()})


def _parts(folder: Path) -> dict[str, Path]:
    """The folders to train on, to choose by and to test on, where *folder* has such."""
    named: dict[str, Path] = {}
    for path in _shown(folder):
        split = split_of(path.name) if path.is_dir() else None
        if split and split in named:
            raise DataError(
                f"{named[split]} and {path} could both be {split}; rename one of them"
            )
        if split:
            named[split] = path

    tests = [name for name in TESTS if name in named]
    if not tests and "train" not in named:
        return {}
    if "train" not in named:
        raise DataError(
            f"{folder} holds {named[tests[0]].name} and no train; expected train/CLASS/* beside it"
        )
    if not tests:
        raise DataError(
            f"{folder} holds train and none of test, validation, val; expected test/CLASS/* beside it, or give "
            f"{named['train']}, of which a fifth of each class is then kept to test on"
        )
    both = {"validation": named["validation"]} if len(tests) == 2 else {}
    return {"train": named["train"], **both, "test": named[tests[0]]}


def _shown(folder: Path) -> list[Path]:
    """What is in *folder* and not hidden, in order. Raises DataError at a name that is no UTF-8."""
    paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    for path in paths:
        if not _is_utf8(path.name):
            raise DataError(
                f"the name {printable(path.name)} in {folder} is no UTF-8; rename it"
            )
    return paths


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _tree(folder: Path, skipped: list[Path]) -> Tree:
    """The images of each class, in order; what is passed over is added to *skipped*."""
    tree: Tree = {}
    for path in _shown(folder):
        if path.name.lower() in LITTER:
            skipped.append(path)
        elif path.is_dir():
            tree[path.name] = list(_images(path, skipped))
            if not tree[path.name]:
                raise DataError(
                    f"class {path.name!r} is empty: no image in {path}; add some or remove the folder"
                )
        elif path.suffix.lower() in SUFFIXES:
            raise DataError(
                f"{path} is in no class; move it into a folder named after its class"
            )

    if not tree:
        raise DataError(
            f"{folder} holds no folder of images and no parquet; expected a folder for each class, named after it"
        )
    if len(tree) > MOST_CLASSES:
        raise DataError(
            f"{folder} holds {len(tree):,} folders; expected at most {MOST_CLASSES:,}, one for each class"
        )
    return tree


def _images(folder: Path, skipped: list[Path]) -> Iterable[str]:
    for path in _shown(folder):
        if path.name.lower() in LITTER:
            skipped.append(path)
            continue

        if path.is_dir():
            raise DataError(
                f"{path} is a folder inside of a class; expected images there: move it one level up or down"
            )

        if path.suffix.lower() not in SUFFIXES:
            raise DataError(
                f"{path} is no image; remove it, or save it as one of {', '.join(SUFFIXES)}"
            )
        if not path.is_file():
            raise DataError(f"{path} is no regular file; remove it")
        yield str(path)


def _fifth(tree: Tree) -> tuple[Tree, Tree]:
    """A fifth of each class to test on, at least one image, and the rest to train on."""
    train, test = {}, {}
    for position, (name, paths) in enumerate(tree.items()):
        if len(paths) < 2:
            raise DataError(
                f"class {name!r} has one image, {paths[0]}; expected two, one to train and one to test on"
            )
        dice = torch.Generator().manual_seed(position)
        held = set(
            torch.randperm(len(paths), generator=dice)[
                : max(1, round(SHARE * len(paths)))
            ].tolist()
        )
        test[name] = [path for i, path in enumerate(paths) if i in held]
        train[name] = [path for i, path in enumerate(paths) if i not in held]

    return train, test


def _rows(tree: Tree, names: list[str]) -> Dataset:
    paths = [path for images in tree.values() for path in images]
    number = {name: i for i, name in enumerate(names)}
    labels = [number[name] for name, images in tree.items() for _ in images]
    features = Features({"image": Value("string"), "label": ClassLabel(names=names)})
    return Dataset.from_dict({"image": paths, "label": labels}, features=features)
