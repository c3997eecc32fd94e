"""Images: six benchmarks and any labelled images, decoded once a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from datasets import ClassLabel, Dataset, Image, Value
from torch import Tensor
from transformers.image_processing_utils import BaseImageProcessor

from ..core.errors import DataError, nearest
from ..core.table import Table
from . import prompts
from .folder import class_folders, holds_tables
from .labels import are_hidden, classes_of, numbers_of
from .pixels import decode
from .source import Data, Splits, Tables, cut, halved, origin, read

TESTS = ("test", "validation")
MEMORY = 2 * 2**30
PART = 16  # images that one thread decodes at a time


@dataclass(frozen=True)
class ImageSpec:
    """What a labelled image data set looks like.

    Attributes:
        templates: sentences with a {} for the class, for a zero-shot head.
        words: the classes in words, in the order of their numbers, where the data's own names are none.
        metrics: figures to report; selection goes by the first.
        hub: repository and configuration on the hub.
        image, label: the columns of images and of classes.
        sizes: rows of the whole data set to train on and to test on, where they are known.
        classes: how many there are, where that is known.
    """

    templates: tuple[str, ...] = prompts.ANY
    words: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ("accuracy",)
    hub: tuple[str, str | None] | None = None
    image: str = "image"
    label: str = "label"
    sizes: tuple[int, int] | None = None
    classes: int | None = None


IMAGE_TASKS: Mapping[str, ImageSpec] = Table(
    "task",
    {
        "vision/mnist": ImageSpec(
            prompts.WRITTEN,
            prompts.DIGITS,
            hub=("ylecun/mnist", None),
            sizes=(60000, 10000),
            classes=10,
        ),
        "vision/svhn": ImageSpec(
            prompts.HOUSES,
            prompts.DIGITS,
            hub=("ufldl-stanford/svhn", "cropped_digits"),
            sizes=(73257, 26032),
            classes=10,
        ),
        "vision/gtsrb": ImageSpec(
            prompts.SIGNS, hub=("tanganke/gtsrb", None), sizes=(26640, 12630), classes=43
        ),
        "vision/cars": ImageSpec(
            prompts.CARS,
            hub=("tanganke/stanford_cars", None),
            sizes=(8144, 8041),
            classes=196,
        ),
        "vision/cifar10": ImageSpec(
            prompts.OBJECTS,
            hub=("uoft-cs/cifar10", None),
            image="img",
            sizes=(50000, 10000),
            classes=10,
        ),
        "vision/cifar100": ImageSpec(
            prompts.OBJECTS,
            hub=("uoft-cs/cifar100", None),
            image="img",
            label="fine_label",
            sizes=(50000, 10000),
            classes=100,
        ),
    },
)


class ImageExamples:
    """Images as uint8 at the model's size, normalised only when a batch is put together.

    An image is decoded when it is first asked for, and kept while there is room; what finds no
    room is decoded again each time. What is never asked for is never decoded.

    Attributes:
        targets: the class of each example: int64 [n]; known without decoding.
        lengths: None, all images are of one size.
    """

    lengths: Sequence[int] | None = None

    def __init__(
        self, rows: Dataset, processor: BaseImageProcessor, memory: int = MEMORY
    ) -> None:
        """Take *rows* of `image_splits`. *memory*: bytes of decoded images to keep."""
        self.targets = torch.tensor(list(rows["label"]), dtype=torch.int64)
        self._images, self._processor, self._memory = (
            rows.select_columns("image"),
            processor,
            memory,
        )
        self._kept: dict[int, Tensor] = {}
        self._factor, self._shift = _affine(processor)

    def __len__(self) -> int:
        return len(self.targets)

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """Put examples together: ``pixel_values`` float32 [n, 3, height, width] and ``labels`` int64 [n].

        Raises DataError at what is no image, or where images come in several sizes.
        """
        missing = [i for i in dict.fromkeys(indices) if i not in self._kept]
        fresh = dict(zip(missing, self._decoded(missing), strict=True))
        pixels = [fresh[i] if i in fresh else self._kept[i] for i in indices]

        if len(shapes := {tuple(image.shape) for image in pixels}) > 1:
            raise DataError(
                f"the model's preprocessor leaves images of several sizes, {sorted(shapes)}; expected one: "
                f"set a crop_size, or a size with height and width, in its preprocessor_config.json"
            )

        for i in missing:
            if (len(self._kept) + 1) * fresh[i].numel() <= self._memory:
                self._kept[i] = fresh[i]

        values = torch.stack(pixels).float().mul_(self._factor).sub_(self._shift)
        return {"pixel_values": values, "labels": self.targets[list(indices)]}

    def _decoded(self, indices: list[int]) -> list[Tensor]:
        """Decode several at once: Pillow works outside of Python's lock."""
        if not indices:
            return []
        values = self._images[indices]["image"]
        parts = [values[start : start + PART] for start in range(0, len(values), PART)]
        with ThreadPoolExecutor() as pool:
            return list(
                chain.from_iterable(
                    pool.map(lambda part: decode(part, self._processor), parts)
                )
            )


def image_splits(
    data: Data | None,
    spec: ImageSpec,
    *,
    validation: float,
    limit: int | None,
    image: str | None = None,
    label: str | None = None,
) -> Splits:
    """Read images from *data*, or from the hub if it is None, into rows of ``image`` and ``label``.

    Args:
        data: a folder of images in one folder per class; a folder or file of tables with a column of images, of their
            bytes or of paths; or a table in memory, or several by split.
        validation, limit: as of `splits`.
        image, label: the columns, where they are not those of *spec* and cannot be told.

    Returns:
        Splits whose ``label`` is a ClassLabel, so that it has the names of the classes.

    Raises:
        DataError: there is nothing to read, no such column, or labels are no classes.
    """
    folder = Path(data) if isinstance(data, str | Path) else None
    beside = folder.parent if folder and folder.is_file() else folder
    if folder and folder.is_dir() and not holds_tables(folder):
        tables, beside = class_folders(folder), None
    else:
        tables = read(data, spec.hub, TESTS, all_three=True)

    train = tables.train
    image = _image_column(train, image, spec.image)
    usual = spec.label if spec.label in train.column_names else "label"
    label = _known(train, label or usual)

    classes = classes_of(train, label, scores=False)
    if classes is None:
        raise DataError(
            f"column {label!r} holds scores; expected the number or the name of a class in every row"
        )
    whole = _tidied(tables, image, label, classes, beside)
    where = origin(data, spec.hub)
    if whole.test is None:
        whole = halved(whole.train, "label", where)
    return cut(whole, validation=validation, limit=limit, origin=where)


def _image_column(rows: Dataset, wanted: str | None, usual: str) -> str:
    """The column that is asked for, the usual one, or the only one that holds images."""
    if wanted:
        return _known(rows, wanted)
    holding: list[str] = [
        name for name, feature in rows.features.items() if _holds_images(feature)
    ]
    if usual in rows.column_names or len(holding) != 1:
        return _known(rows, usual)
    return holding[0]


def _holds_images(feature: Any) -> bool:
    binary = ("binary", "large_binary")
    stored = feature.get("bytes") if isinstance(feature, dict) else feature
    return isinstance(feature, Image) or (
        isinstance(stored, Value) and stored.dtype in binary
    )


def _known(rows: Dataset, name: str) -> str:
    if name not in rows.column_names:
        raise DataError(
            f"no column {name!r} in the data; {nearest(name, rows.column_names)}"
        )
    return name


def _tidied(
    tables: Tables, image: str, label: str, classes: ClassLabel, folder: Path | None
) -> Tables:
    """Only images, not decoded, and the numbers of their classes."""
    parts = {"train": tables.train, "validation": tables.validation, "test": tables.test}
    if (
        parts["test"] is not None
        and tables.validation is not None
        and are_hidden(parts["test"], label)
    ):
        parts = {"train": tables.train, "test": tables.validation}

    tidy = {
        name: _tidy(rows, image, label, classes, folder)
        for name, rows in parts.items()
        if rows is not None
    }

    return Tables(**tidy)


def _tidy(
    rows: Dataset, image: str, label: str, classes: ClassLabel, folder: Path | None
) -> Dataset:
    numbers = numbers_of(rows, _known(rows, label), classes)
    bare = rows.select_columns(_known(rows, image))
    if isinstance(bare.features[image], Image):
        bare = bare.cast_column(image, Image(decode=False))
    if image != "image":
        bare = bare.rename_column(image, "image")
    if bare.features["image"] == Value("string") and folder:
        # in tables they are relative to these
        paths = [str(folder / path) for path in bare["image"][:]]
        bare = bare.remove_columns("image").add_column("image", paths)
    return bare.add_column("label", numbers, feature=classes)


def _affine(processor: BaseImageProcessor) -> tuple[Tensor, Tensor]:
    """What turns uint8 into what the model wants: multiply by the first, subtract the second; [3, 1, 1] each."""
    how: dict[str, Any] = processor.to_dict()
    factor = how["rescale_factor"] if how.get("do_rescale") else 1.0
    mean, std = (
        (how["image_mean"], how["image_std"]) if how.get("do_normalize") else (0.0, 1.0)
    )
    spread = torch.tensor(std).reshape(-1, 1, 1)
    return factor / spread, torch.tensor(mean).reshape(-1, 1, 1) / spread
