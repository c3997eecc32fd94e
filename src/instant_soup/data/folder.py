"""Folder: reads images in one folder per class as rows of a path and a label."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from datasets import ClassLabel, Dataset, Features, Value

from ..core.errors import DataError
from ..core.printable import printable
from .layout import is_lesser, is_split_name, listing, split_of, tables_in
from .source import Tables
from .splitting import TEST_SHARE

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
SYSTEM_FILES = ("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx")
"""What systems leave in folders of images, in lower case."""
COMPANIONS = (
    ".cfg",
    ".csv",
    ".htm",
    ".html",
    ".ini",
    ".json",
    ".jsonl",
    ".log",
    ".md",
    ".pdf",
    ".rst",
    ".toml",
    ".tsv",
    ".txt",
    ".url",
    ".xml",
    ".yaml",
    ".yml",
)
"""Suffixes of what people keep beside images: notes, licences, annotations. Anything else could be an image."""
MOST_CLASSES = 50_000

Classes = dict[str, list[str]]
"""The paths of the images of each class."""


def holds_tables(folder: Path) -> bool:
    """Whether *folder* holds tables, and no folders of images."""
    for path in _visible(folder):
        if path.is_dir() and _holds_images(path):
            return False
    return bool(tables_in(folder))


def _holds_images(folder: Path) -> bool:
    """Whether an image is in *folder*, or in a folder in it."""
    for path in _visible(folder):
        if _is_image(path):
            return True
        # one level deeper and no more: images lie at train/CLASS/IMAGE
        if path.is_dir() and any(_is_image(inside) for inside in path.iterdir()):
            return True
    return False


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def examples_in(place: Path) -> list[Path]:
    """The files that examples may come from at *place*, a folder or a file: tables, and images at any depth."""
    if place.is_file():
        return [place]

    tables = set(tables_in(place))
    # sorted, because the order of a directory differs from one file system to the next
    examples = []
    for path in sorted(place.rglob("*")):
        is_hidden = any(step.startswith(".") for step in path.relative_to(place).parts)
        is_image = _is_image(path) and not is_hidden and path.is_file()
        if is_image or path in tables:
            examples.append(path)
    return examples


def class_folders(folder: Path) -> Tables:
    """The rows to train on, to choose by and to test on: ``image``, a path, and ``label``, the number of its class.

    Classes are numbered in the order of their names. *folder* holds ``train/CLASS/*`` and ``test/CLASS/*``, perhaps
    ``validation/CLASS/*`` beside them, under any name that splits have and in any case. Or it holds ``CLASS/*``; then
    a fifth of each class is cut out to test on, by a fixed seed. A folder with images in it is a class, whatever its
    name, such as train among bus and car. Hidden files do not count. Files that systems leave
    there, such as Thumbs.db, notes and annotations among the images, and whatever lies beside the folders of classes
    are passed over with a warning that names them.

    Raises:
        DataError: a file of a class could be an image of a kind that is not read, a class is empty, unknown or alone,
            or there is nothing to test on.
    """
    skipped: list[Path] = []
    folders = _split_folders(folder)
    splits = {}
    if folders:
        skipped += [path for path in _visible(folder) if path not in folders.values()]
        for role, path in folders.items():
            splits[role] = _images_by_class(path, skipped)
    else:
        train, test = _split_off_test(_images_by_class(folder, skipped))
        splits = {"train": train, "test": test}

    if skipped:
        names = listing((str(path.relative_to(folder)) for path in skipped), 5)
        warnings.warn(f"no images, and passed over in {folder}: {names}", stacklevel=2)

    # the other way round is fine: a small test set may lack a class
    names_of_classes = list(splits["train"])
    for role, classes in splits.items():
        unknown = sorted(classes.keys() - set(names_of_classes))
        if unknown:
            raise DataError(
                f"class {unknown[0]!r} is in {folders[role]} and not in train; add images of it to {folders['train']}"
            )
    if len(names_of_classes) < 2:
        raise DataError(
            f"{folder} holds one class, {names_of_classes[0]!r}; expected a folder for each of two or more"
        )

    tables = {role: _rows(classes, names_of_classes) for role, classes in splits.items()}
    return Tables(**tables, test_is_cut=not folders)


def _split_folders(folder: Path) -> dict[str, Path]:
    """The folders to train on, to choose by and to test on; empty where *folder* holds classes and no splits."""
    candidates = _named_like_splits(folder)
    if _are_classes(candidates, folder):
        return {}

    folders: dict[str, Path] = {}
    for split, paths in candidates.items():
        # a folder that only sounds like a split is passed over beside a true one
        likely = [path for path in paths if _holds_classes(path)] or paths
        likely = [path for path in likely if not is_lesser(path.name)] or likely
        if len(likely) > 1:
            raise DataError(
                f"{likely[0]} and {likely[1]} could both be {split}; rename one of them"
            )
        folders[split] = likely[0]

    tests = [name for name in TESTS if name in folders]
    if not tests and "train" not in folders:
        return {}
    if "train" not in folders:
        raise DataError(
            f"{folder} holds {folders[tests[0]].name} and no train; expected train/CLASS/* beside it"
        )
    if not tests:
        raise DataError(
            f"{folder} holds train and none of test, validation, val, dev, eval, holdout; expected test/CLASS/* beside "
            f"it, or give {folders['train']}, of which a fifth of each class is then kept to test on"
        )

    # a validation set without a test set beside it is the one to report on
    if len(tests) == 1:
        return {"train": folders["train"], "test": folders[tests[0]]}
    return {role: folders[role] for role in ("train", "validation", "test")}


def _named_like_splits(folder: Path) -> dict[str, list[Path]]:
    """The folders in *folder* whose names say a split, by that split."""
    candidates: dict[str, list[Path]] = {}
    for path in _visible(folder):
        split = split_of(path.name) if path.is_dir() else None
        if split is not None:
            candidates.setdefault(split, []).append(path)
    return candidates


def _are_classes(candidates: Mapping[str, list[Path]], folder: Path) -> bool:
    """Whether the *candidates* for splits are classes, such as the train among buses and cars.

    Images lie in the folder of a class itself, and in a split one level deeper. Where all folders of images are
    named like splits, or two of them are called just that, their classes stand elsewhere, and it is no such folder.
    """
    named = [path for paths in candidates.values() for path in paths]
    if any(_holds_classes(path) for path in named):
        return False

    plain = {split_of(path.name) for path in named if is_split_name(path.name)}
    others = [path for path in _visible(folder) if path.is_dir() and path not in named]
    if len(plain) > 1 or not any(_is_class(path) for path in others):
        return False

    if len(candidates) > 1:
        names = listing(path.name for path in named)
        warnings.warn(
            f"images lie in {names} of {folder}, so these are classes and no splits; a split holds a folder for each "
            f"class, such as train/CLASS/* and test/CLASS/*",
            stacklevel=4,
        )
    return True


def _is_class(path: Path) -> bool:
    """Whether *path* is a folder in which images lie."""
    return path.is_dir() and any(_is_image(inside) for inside in _visible(path))


def _holds_classes(folder: Path) -> bool:
    """Whether folders of images lie in *folder*, as in a split."""
    return any(_is_class(path) for path in _visible(folder))


def _visible(folder: Path) -> list[Path]:
    """The paths in *folder* that are not hidden, in order. Raises DataError at a name that is no UTF-8."""
    # in the order of names, which numbers the classes; a directory's own order differs between machines
    paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    for path in paths:
        if not _is_utf8(path.name):
            raise DataError(
                f"the name {printable(path.name)} in {folder} is no UTF-8; rename it"
            )
    return paths


def _is_utf8(name: str) -> bool:
    # Python keeps bytes of a name that it cannot read as lone surrogates, which do not encode
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _images_by_class(folder: Path, skipped: list[Path]) -> Classes:
    """The images of each class, in order; files that are no images are added to *skipped*.

    Raises:
        DataError: a class is empty, an image is in no class, or there are no classes or too many.
    """
    classes: Classes = {}
    for path in _visible(folder):
        is_class = path.is_dir() and path.name.lower() not in SYSTEM_FILES
        if not is_class and _is_image(path):
            raise DataError(
                f"{path} is in no class; move it into a folder named after its class"
            )
        if not is_class:
            skipped.append(path)
            continue

        classes[path.name] = list(_images(path, skipped))
        if not classes[path.name]:
            raise DataError(
                f"class {path.name!r} is empty: no image in {path}; add some or remove the folder"
            )

    if not classes:
        raise DataError(
            f"{folder} holds no folder of images and no parquet; expected a folder for each class, named after it"
        )
    if len(classes) > MOST_CLASSES:
        raise DataError(
            f"{folder} holds {len(classes):,} folders; expected at most {MOST_CLASSES:,}, one for each class"
        )
    return classes


def _images(folder: Path, skipped: list[Path]) -> Iterable[str]:
    """The paths of the images of one class. Raises DataError at what could be an image and is none."""
    for path in _visible(folder):
        if path.name.lower() in SYSTEM_FILES:
            skipped.append(path)
            continue

        if path.is_dir():
            raise DataError(
                f"{path} is a folder inside of a class; expected images there: move it one level up or down"
            )

        if path.suffix.lower() in COMPANIONS:
            skipped.append(path)
            continue

        if not _is_image(path):
            raise DataError(
                f"{path} is no image that can be read; remove it, or save it as one of {', '.join(SUFFIXES)}"
            )
        # a socket or a pipe would block whoever opens it
        if not path.is_file():
            raise DataError(f"{path} is no regular file; remove it")
        yield str(path)


def _split_off_test(classes: Classes) -> tuple[Classes, Classes]:
    """The images to train on, and those to test on: a fifth of each class, at least one."""
    train = {}
    test = {}
    for position, (name, paths) in enumerate(classes.items()):
        if len(paths) < 2:
            raise DataError(
                f"class {name!r} has one image, {paths[0]}; expected two, one to train and one to test on"
            )

        # one generator a class, so that images added to one class leave the split of the others as it was
        generator = torch.Generator().manual_seed(position)
        order = torch.randperm(len(paths), generator=generator).tolist()
        count = max(1, round(TEST_SHARE * len(paths)))
        tested = set(order[:count])
        test[name] = [path for i, path in enumerate(paths) if i in tested]
        train[name] = [path for i, path in enumerate(paths) if i not in tested]

    return train, test


def _rows(classes: Classes, names: list[str]) -> Dataset:
    """The images of *classes* as rows, labelled by the places of their classes in *names*."""
    number_of = {name: number for number, name in enumerate(names)}
    paths: list[str] = []
    labels: list[int] = []
    for name, images in classes.items():
        paths += images
        labels += [number_of[name]] * len(images)

    features = Features({"image": Value("string"), "label": ClassLabel(names=names)})
    return Dataset.from_dict({"image": paths, "label": labels}, features=features)
