"""Folder: images in one folder per class, as rows of a path and a label."""

from __future__ import annotations

from pathlib import Path

import torch
from datasets import ClassLabel, Dataset, Features, Value

from ..core.errors import DataError

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
TESTS = ("test", "validation", "val")
SHARE = 0.2

Tree = dict[str, list[str]]


def image_folder(folder: Path) -> tuple[Dataset, Dataset]:
    """The rows to train on and to test on: ``image``, a path, and ``label``, the number of its class.

    Classes are numbered in the order of their names. *folder* holds ``train/CLASS/*`` and
    ``test/CLASS/*`` (or ``validation`` or ``val``), or ``CLASS/*``, of which a fifth of each class
    is cut out to test on, by a fixed seed. Hidden files do not count.

    Raises:
        DataError: a file is no image, a class is empty, unknown or alone, or there is nothing to test on.
    """
    parts = {path.name: path for path in _visible(folder) if path.is_dir()}
    tests = [parts[name] for name in TESTS if name in parts]
    if "train" not in parts and tests:
        raise DataError(f"{folder} holds {tests[0].name} and no train; expected train/CLASS/* beside it")
    if "train" in parts and not tests:
        raise DataError(f"{folder} holds train and none of {', '.join(TESTS)}; expected test/CLASS/* beside it")
    train, test = (_tree(parts["train"]), _tree(tests[0])) if tests else _fifth(_tree(folder))
    if unknown := sorted(test.keys() - train.keys()):
        raise DataError(f"class {unknown[0]!r} is in {tests[0]} and not in train; add images of it to {parts['train']}")
    if len(train) < 2:
        raise DataError(f"{folder} holds one class, {next(iter(train))!r}; expected a folder for each of two or more")

    return _rows(train, list(train)), _rows(test, list(train))


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _tree(folder: Path) -> Tree:
    """The images of each class, in order."""
    tree: Tree = {}
    for path in _visible(folder):
        if path.is_dir():
            tree[path.name] = [_image(file) for file in _visible(path)]
            if not tree[path.name]:
                raise DataError(f"class {path.name!r} is empty: no image in {path}; add some or remove the folder")
        elif path.suffix.lower() in SUFFIXES:
            raise DataError(f"{path} is in no class; move it into a folder named after its class")

    if not tree:
        raise DataError(
            f"{folder} holds no folder of images and no parquet; expected a folder for each class, named after it"
        )

    return tree


def _image(path: Path) -> str:
    if path.is_dir():
        raise DataError(f"{path} is a folder inside of a class; expected images there: move it one level up or down")
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(f"{path} is no image; remove it, or save it as one of {', '.join(SUFFIXES)}")
    return str(path)


def _fifth(tree: Tree) -> tuple[Tree, Tree]:
    """A fifth of each class to test on, at least one image, and the rest to train on."""
    train, test = {}, {}
    for position, (name, paths) in enumerate(tree.items()):
        if len(paths) < 2:
            raise DataError(f"class {name!r} has one image, {paths[0]}; expected two, one to train and one to test on")
        dice = torch.Generator().manual_seed(position)
        held = set(torch.randperm(len(paths), generator=dice)[: max(1, round(SHARE * len(paths)))].tolist())
        test[name] = [path for i, path in enumerate(paths) if i in held]
        train[name] = [path for i, path in enumerate(paths) if i not in held]
    return train, test


def _rows(tree: Tree, names: list[str]) -> Dataset:
    paths = [path for images in tree.values() for path in images]
    labels = [names.index(name) for name, images in tree.items() for _ in images]
    features = Features({"image": Value("string"), "label": ClassLabel(names=names)})
    return Dataset.from_dict({"image": paths, "label": labels}, features=features)
