"""Images: six benchmarks and any labelled images, which are decoded once a run where memory allows."""

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

from ..core.errors import DataError
from ..core.table import Table
from . import prompts
from .columns import check_column
from .folder import class_folders, holds_tables
from .image_paths import KINDS, image_paths
from .labels import classes_of, numbers_of
from .pixels import check_processor, decode, normalisation
from .source import Data, Splits, Tables, origin, read, split_name
from .splitting import cut, labelled_splits

TESTS = ("test", "validation")
MEMORY = 2 * 2**30  # bytes of decoded images that are kept
DECODED_AT_ONCE = 16  # images that one thread decodes at a time


@dataclass(frozen=True)
class ImageSpec:
    """What a labelled image data set looks like.

    Attributes:
        templates: sentences with a {} for the class, for a zero-shot head.
        words: the classes in words, in the order of their numbers, where the data's own names are no words.
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

    An image is decoded when it is first asked for, and kept while there is room; without room it is decoded again
    each time. An image that is never asked for is never decoded.

    Attributes:
        targets: the class of each example: int64 [n]; known without decoding.
        lengths: None, because all images have one size.
    """

    lengths: Sequence[int] | None = None

    def __init__(
        self, rows: Dataset, processor: BaseImageProcessor, memory: int = MEMORY
    ) -> None:
        """Read *rows* of `image_splits`.

        Args:
            processor: resizes, crops and normalises images for the model.
            memory: bytes of decoded images to keep.
        """
        self.targets = torch.tensor(list(rows["label"]), dtype=torch.int64)
        self._images = rows.select_columns("image")
        self._processor = processor
        self._memory = memory
        self._decoded: dict[int, Tensor] = {}
        self._factor, self._shift = normalisation(processor)
        check_processor(processor)

    def __len__(self) -> int:
        return len(self.targets)

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """Put examples together: ``pixel_values`` float32 [n, 3, height, width] and ``labels`` int64 [n].

        Raises:
            DataError: one is no image, or images come in several sizes.
        """
        # each once, although an index may come twice; in order, so that errors name the first
        missing = [i for i in dict.fromkeys(indices) if i not in self._decoded]
        fresh = dict(zip(missing, self._decode(missing), strict=True))
        pixels = [fresh[i] if i in fresh else self._decoded[i] for i in indices]

        shapes = {tuple(image.shape) for image in pixels}
        if len(shapes) > 1:
            raise DataError(
                f"the model's preprocessor leaves images of several sizes, {sorted(shapes)}; expected one: "
                f"set a crop_size, or a size with height and width, in its preprocessor_config.json"
            )

        # uint8, so an element is a byte
        for i in missing:
            if (len(self._decoded) + 1) * fresh[i].numel() <= self._memory:
                self._decoded[i] = fresh[i]

        # four times the bytes of uint8, so only for a batch at a time
        values = torch.stack(pixels).float()
        values.mul_(self._factor).sub_(self._shift)
        return {"pixel_values": values, "labels": self.targets[list(indices)]}

    def _decode(self, indices: list[int]) -> list[Tensor]:
        """The pixels of several images: uint8 [3, height, width] each."""
        if not indices:
            return []

        values = self._images[indices]["image"]
        starts = range(0, len(values), DECODED_AT_ONCE)
        portions = [values[start : start + DECODED_AT_ONCE] for start in starts]
        # threads, because Pillow works outside of Python's lock
        with ThreadPoolExecutor() as pool:
            decoded = pool.map(lambda portion: decode(portion, self._processor), portions)
            return list(chain.from_iterable(decoded))


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
        image, label: the columns, where they are not those of *spec* and the data does not show them.

    Returns:
        Splits whose ``label`` is a ClassLabel, so that it has the names of the classes.

    Raises:
        DataError: there is nothing to read, no such column, or labels are no classes.
    """
    tables, base = _read_images(data, spec)
    rows = tables.train
    image = _image_column(rows, image, spec.image)
    default = spec.label if spec.label in rows.column_names else "label"
    label = _checked_column(rows, label or default)

    source = origin(data, spec.hub)
    classes = classes_of(rows, label, scores=False, origin=source)
    if classes is None:
        raise DataError(
            f"column {label!r} holds scores; expected the number or the name of a class in every row"
        )

    uniform = {}
    labelled = labelled_splits(tables, label)
    for role, split in labelled.items():
        named = split_name(role, source, among=len(labelled))
        uniform[role] = _uniform(split, image, label, classes, base, named)
    tables = Tables(**uniform, test_is_cut=tables.test_is_cut)

    return cut(tables, label="label", validation=validation, limit=limit, origin=source)


def _read_images(data: Data | None, spec: ImageSpec) -> tuple[Tables, Path | None]:
    """The tables of *data*, and the folder to which paths in them are relative; None where there is no such folder."""
    if not isinstance(data, str | Path):
        return read(data, spec.hub, TESTS, all_three=True), None

    path = Path(data)
    if path.is_dir() and not holds_tables(path):
        # these paths are complete already
        return class_folders(path), None

    tables = read(data, spec.hub, TESTS, all_three=True)
    return tables, path.parent if path.is_file() else path


def _image_column(rows: Dataset, requested: str | None, default: str) -> str:
    """The column that is *requested*, or the *default* one, or the only one that holds images."""
    if requested:
        return _checked_column(rows, requested)

    candidates: list[str] = []
    for name, feature in rows.features.items():
        if _holds_images(feature):
            candidates.append(name)
    if default in rows.column_names or len(candidates) != 1:
        return _checked_column(rows, default)
    return candidates[0]


def _holds_images(feature: Any) -> bool:
    if isinstance(feature, Image):
        return True
    # as Hugging Face stores images where its metadata is lost: the bytes of a file beside its path
    stored = feature.get("bytes") if isinstance(feature, dict) else feature
    return isinstance(stored, Value) and stored.dtype in ("binary", "large_binary")


def _checked_column(rows: Dataset, name: str) -> str:
    """*name*. Raises DataError where *rows* have no such column."""
    check_column(rows, name)
    return name


def _uniform(
    rows: Dataset,
    image: str,
    label: str,
    classes: ClassLabel,
    base: Path | None,
    source: str,
) -> Dataset:
    """*rows* with the columns ``image``, not decoded, and ``label``, the number of the class.

    Args:
        base: the folder to which paths of images are relative; None where they are complete.
        source: what errors call where *rows* come from.
    """
    numbers = numbers_of(rows, _checked_column(rows, label), classes, source)
    images = rows.select_columns(_checked_column(rows, image))
    if isinstance(images.features[image], Image):
        # datasets would decode every image as it passes, at its full size
        images = images.cast_column(image, Image(decode=False))
    if image != "image":
        images = images.rename_column(image, "image")

    if images.features["image"] in KINDS and base:
        # a Dataset that loses its only column loses its rows, so it is made anew
        paths = image_paths(images["image"][:], base, source)
        images = Dataset.from_dict({"image": paths})
    return images.add_column("label", numbers, feature=classes)
