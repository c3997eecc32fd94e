"""Images: labelled images become batches, each decoded once and only when it is asked for."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, Value
from PIL import Image
from transformers import (
    CLIPImageProcessorPil,
    EfficientNetImageProcessorPil,
    ViTImageProcessorPil,
)

from instant_soup.core.errors import DataError
from instant_soup.data import images
from instant_soup.data.images import IMAGE_TASKS, ImageExamples, ImageSpec, image_splits
from instant_soup.data.source import Splits

PROCESSOR = CLIPImageProcessorPil(
    size={"shortest_edge": 4}, crop_size={"height": 4, "width": 4}
)


def png(shade: int, size: tuple[int, int] = (4, 4)) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", size, (shade, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def hub_like(
    labels: list[Any], feature: Any, image: str = "image", label: str = "label"
) -> Dataset:
    features = Features({image: datasets.Image(), label: feature})
    rows = {
        image: [{"bytes": png(i), "path": f"{i}.png"} for i in range(len(labels))],
        label: labels,
    }
    return Dataset.from_dict(rows, features=features)


def save(folder: Path, **parts: Dataset) -> Path:
    for name, rows in parts.items():
        rows.to_parquet(folder / f"{name}.parquet")
    return folder


def read(folder: Path, spec: ImageSpec | None = None, **changes: Any) -> Splits:
    return image_splits(
        folder, spec or ImageSpec(), **{"validation": 0.25, "limit": None, **changes}
    )


def examples(shades: list[int], processor: Any = PROCESSOR, **how: Any) -> ImageExamples:
    rows = Dataset.from_dict(
        {
            "image": [png(shade) for shade in shades],
            "label": [i % 2 for i in range(len(shades))],
        }
    )
    return ImageExamples(rows, processor, **how)


def shades(batch: dict[str, torch.Tensor]) -> list[int]:
    """The red of each image, as it was before it was normalised."""
    red = (
        batch["pixel_values"][:, 0, 0, 0] * PROCESSOR.image_std[0]
        + PROCESSOR.image_mean[0]
    )
    return [round(float(value) * 255) for value in red]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The images that have been decoded, in no order."""
    seen: list[bytes] = []
    decode = images.decode
    monkeypatch.setattr(
        images,
        "decode",
        lambda values, how: (seen.extend(values), decode(values, how))[1],
    )
    return seen


# batches


def test_a_batch_is_normalised_and_in_the_order_asked_for() -> None:
    batch = examples([10, 20, 30, 40]).batch([2, 0, 3])
    assert batch["pixel_values"].shape == (3, 3, 4, 4)
    assert batch["pixel_values"].dtype == torch.float32
    assert batch["pixel_values"].is_contiguous()
    assert shades(batch) == [30, 10, 40]
    assert (batch["labels"].tolist(), batch["labels"].dtype) == ([0, 0, 1], torch.int64)


def test_a_batch_is_what_the_processor_itself_would_give() -> None:
    size = {"height": 4, "width": 4}
    for processor in (
        PROCESSOR,
        ViTImageProcessorPil(size=size),
        EfficientNetImageProcessorPil(size=size, rescale_offset=True, include_top=True),
        EfficientNetImageProcessorPil(size=size, include_top=True, do_normalize=False),
    ):
        wanted = processor(images=Image.open(BytesIO(png(77))), return_tensors="pt")[
            "pixel_values"
        ]
        assert torch.allclose(
            examples([77], processor).batch([0])["pixel_values"], wanted, atol=1e-5
        )


class Sepia(ViTImageProcessorPil):
    """Does with pixels what no setting of it says."""

    def normalize(self, image: Any, *args: Any, **kwargs: Any) -> Any:
        return 2 * super().normalize(image, *args, **kwargs)


def test_a_preprocessor_that_does_more_than_its_settings_say_is_refused() -> None:
    with pytest.raises(
        DataError, match="Sepia changes pixels in ways that are not known"
    ):
        examples([77], Sepia(size={"height": 4, "width": 4}))


def test_a_preprocessor_that_does_not_normalise_is_obeyed() -> None:
    plain = CLIPImageProcessorPil(
        size={"shortest_edge": 4},
        crop_size={"height": 4, "width": 4},
        do_normalize=False,
        do_rescale=False,
    )
    assert examples([77], plain).batch([0])["pixel_values"][0, :, 0, 0].tolist() == [
        77.0,
        0.0,
        0.0,
    ]


def test_targets_are_known_without_decoding(opened: list[bytes]) -> None:
    got = examples([1, 2, 3])
    assert got.targets.tolist() == [0, 1, 0]
    assert got.targets.dtype == torch.int64
    assert (len(got), got.lengths, opened) == (3, None, [])


def test_an_image_is_decoded_once_and_only_if_it_is_asked_for(
    opened: list[bytes],
) -> None:
    got = examples([10, 20, 30, 40])
    for indices in ([1, 3], [3, 1, 1], [1], [0, 1]):
        assert shades(got.batch(indices)) == [10 * (i + 1) for i in indices]
    assert sorted(opened) == sorted([png(10), png(20), png(40)])


def test_what_finds_no_room_is_decoded_again(opened: list[bytes]) -> None:
    got = examples([10, 20, 30], memory=2 * 3 * 4 * 4)
    for _ in range(3):
        assert shades(got.batch([0, 1, 2])) == [10, 20, 30]
    assert sorted(opened) == sorted([png(10), png(20), *[png(30)] * 3])


def test_what_is_kept_is_not_changed_by_a_batch() -> None:
    got = examples([10, 20])
    got.batch([0, 1])["pixel_values"].zero_()
    assert shades(got.batch([0, 1])) == [10, 20]


def test_a_broken_image_is_an_error_when_it_is_asked_for() -> None:
    got = ImageExamples(
        Dataset.from_dict({"image": [png(1), b"broken"], "label": [0, 1]}), PROCESSOR
    )
    assert shades(got.batch([0])) == [1]
    with pytest.raises(DataError, match="an image of 6 bytes cannot be read"):
        got.batch([0, 1])


def test_a_preprocessor_that_leaves_several_sizes_is_refused() -> None:
    loose = CLIPImageProcessorPil(size={"shortest_edge": 4}, do_center_crop=False)
    rows = Dataset.from_dict({"image": [png(1, (4, 4)), png(2, (4, 8))], "label": [0, 1]})
    with pytest.raises(
        DataError,
        match=r"leaves images of several sizes, \[\(3, 4, 4\), \(3, 8, 4\)\]; expected one",
    ):
        ImageExamples(rows, loose).batch([0, 1])


# parquet


def test_images_are_read_as_hugging_face_stores_them(tmp_path: Path) -> None:
    names = ClassLabel(names=["cat", "dog"])
    save(tmp_path, train=hub_like([0, 1] * 4, names), test=hub_like([1, 0, 1], names))
    got = read(tmp_path)
    assert [len(part) for part in (got.train, got.validation, got.test)] == [6, 2, 3]
    assert got.train.column_names == ["image", "label"]
    assert got.train.features["label"].names == ["cat", "dog"]
    assert list(got.test["label"]) == [1, 0, 1]
    assert shades(ImageExamples(got.test, PROCESSOR).batch([0, 1, 2])) == [0, 1, 2]
    seen = [
        shade for part in (got.train, got.validation) for shade in shades(every(part))
    ]
    assert sorted(seen) == list(range(8))


def every(rows: Dataset) -> dict[str, torch.Tensor]:
    return ImageExamples(rows, PROCESSOR).batch(range(len(rows)))


def test_images_keep_their_labels_through_the_cut(tmp_path: Path) -> None:
    names = ClassLabel(names=["cat", "dog"])
    save(tmp_path, train=hub_like([0, 1] * 20, names), test=hub_like([1, 0], names))
    got = read(tmp_path, limit=20)
    assert len(got.train) + len(got.validation) == 20
    for part in (got.train, got.validation):
        assert [shade % 2 for shade in shades(every(part))] == list(part["label"])


@pytest.mark.parametrize("form", ["binary", "struct"])
def test_images_without_the_marks_of_hugging_face_are_found(
    tmp_path: Path, form: str
) -> None:
    column: list[Any] = [png(i) for i in range(8)]
    if form == "struct":
        column = [{"bytes": data, "path": "x.png"} for data in column]
    table = pa.table({"id": list(range(8)), "picture": column, "label": [0, 1] * 4})
    for part in ("train", "test"):
        pq.write_table(table, tmp_path / f"{part}.parquet")
    got = read(tmp_path)
    assert shades(every(got.test)) == list(range(8))
    assert got.test.features["label"].names == ["0", "1"]


def test_the_columns_of_a_benchmark_are_known_also_where_a_copy_calls_them_otherwise(
    tmp_path: Path,
) -> None:
    spec, names = IMAGE_TASKS["vision/cifar100"], ClassLabel(names=["cat", "dog"])
    for folder, image, label in (
        ("hub", "img", "fine_label"),
        ("copy", "image", "label"),
    ):
        rows = hub_like([0, 1, 1, 0], names, image, label)
        (tmp_path / folder).mkdir()
        got = read(save(tmp_path / folder, train=rows, test=rows), spec)
        assert list(got.test["label"]) == [0, 1, 1, 0]


def test_columns_can_be_named(tmp_path: Path) -> None:
    table = pa.table(
        {"a": [png(i) for i in range(4)], "b": [png(9)] * 4, "kind": ["x", "y"] * 2}
    )
    for part in ("train", "validation"):
        pq.write_table(table, tmp_path / f"{part}.parquet")
    assert shades(every(read(tmp_path, image="a", label="kind").test)) == [0, 1, 2, 3]
    with pytest.raises(
        DataError, match=r"no column 'image' in the data; known: a, b, kind"
    ):
        read(tmp_path, label="kind")
    with pytest.raises(DataError, match=r"no column 'label' in the data"):
        read(tmp_path, image="a")
    with pytest.raises(
        DataError, match=r"no column 'kinds' in the data; did you mean 'kind'\?"
    ):
        read(tmp_path, image="a", label="kinds")


def table_of_paths(folder: Path, paths: list[str]) -> Path:
    lines = [f"{path},{'cat' if row % 2 else 'dog'}" for row, path in enumerate(paths)]
    (folder / "pets.csv").write_text("\n".join(("file,kind", *lines)), encoding="utf-8")
    return folder / "pets.csv"


def pets(folder: Path, count: int) -> list[str]:
    folder.mkdir(exist_ok=True)
    for shade in range(count):
        (folder / f"{shade}.png").write_bytes(png(shade))
    return [f"{folder.name}/{shade}.png" for shade in range(count)]


def test_a_table_may_name_the_files_of_its_images(tmp_path: Path) -> None:
    table = table_of_paths(tmp_path, pets(tmp_path / "pictures", 20))
    splits = read(table, image="file", label="kind")
    parts = (splits.train, splits.validation, splits.test)
    assert splits.train.features["label"].names == ["cat", "dog"]

    seen = {}
    for part in parts:
        batch = every(part)
        seen |= dict(zip(shades(batch), batch["labels"].tolist(), strict=True))
    assert seen == {shade: 1 - shade % 2 for shade in range(20)}


def test_a_table_that_names_no_image_is_refused_with_its_row(tmp_path: Path) -> None:
    names = pets(tmp_path / "pictures", 4)
    table = table_of_paths(tmp_path, [*names, "pictures/gone.png"])
    with pytest.raises(
        DataError, match=r"row 4 of .* names 'pictures/gone\.png', and no image is at"
    ):
        read(table, image="file", label="kind")


def test_labels_may_be_words(tmp_path: Path) -> None:
    rows = hub_like(["dog", "cat", "eel", "dog"], Value("string"))
    got = read(save(tmp_path, train=rows, test=rows.select([0, 1])), limit=2)
    assert got.train.features["label"].names == ["cat", "dog", "eel"]
    assert list(got.test["label"]) == [1, 0]


def test_the_test_file_goes_before_validation_because_images_hide_no_labels(
    tmp_path: Path,
) -> None:
    rows = hub_like([0, 1] * 4, Value("int64"))
    save(
        tmp_path, train=rows, validation=rows.select([0, 1]), test=rows.select([0, 1, 2])
    )
    assert len(read(tmp_path).test) == 3


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (
            [0, 1, 2, 0],
            [3],
            r"label 3 in row 0 is none of the 3 classes of the training rows, 0, 1, 2; correct it",
        ),
        ([0, 1, -1, 0], [0], r"label -1 in row 2 is none of the 2 classes"),
        (
            [0, 2, 0, 2],
            [0],
            r"class 1 of column 'label' has no example; number the classes from 0 on",
        ),
        ([0, 0, 0, 0], [0], r"column 'label' names 1 classes; expected at least 2"),
        (
            [0.5, 1.0, 1.0, 0.5],
            [1.0],
            r"column 'label' holds .*; expected the number or the name of a class",
        ),
        (
            [0, None, 1, 1],
            [0],
            r"column 'label' holds None; expected the number or the name of a class",
        ),
        (
            ["a", "b", "a", "b"],
            ["c"],
            r"label 'c' in row 0 is none of the 2 classes of the training rows, a, b",
        ),
    ],
)
def test_labels_that_are_no_classes_are_named(
    tmp_path: Path, train: list[Any], test: list[Any], message: str
) -> None:
    for name, labels in (("train", train), ("test", test)):
        table = pa.table({"image": [png(0)] * len(labels), "label": labels})
        pq.write_table(table, tmp_path / f"{name}.parquet")
    with pytest.raises(DataError, match=message):
        read(tmp_path)


def test_hidden_labels_of_a_test_set_are_refused(tmp_path: Path) -> None:
    names = ClassLabel(names=["cat", "dog"])
    save(tmp_path, train=hub_like([0, 1, 0, 1], names), test=hub_like([0, -1], names))
    with pytest.raises(DataError, match=r"label -1 in row 1 is none of the 2 classes"):
        read(tmp_path)


# where they come from


def test_a_missing_folder_and_a_missing_file_are_named_with_what_should_be_there(
    tmp_path: Path,
) -> None:
    with pytest.raises(
        DataError,
        match=r"no folder at .*gone; data must be a folder with train\.parquet and test\.pa",
    ):
        read(tmp_path / "gone")
    save(tmp_path, train=hub_like([0, 1], Value("int64")))
    with pytest.raises(DataError, match=r"holds no test\.parquet; found train\.parquet"):
        read(tmp_path)


def test_a_folder_of_class_folders_is_read(tiny_images: Path) -> None:
    got = read(tiny_images)
    assert [len(part) for part in (got.train, got.validation, got.test)] == [72, 24, 32]
    assert got.train.features["label"].names == ["blue", "green", "red"]
    batch = every(got.test)["pixel_values"].mean((2, 3))
    assert (batch.argmax(1) == 2 - torch.tensor(got.test["label"])).all()


def test_the_hub_is_asked_for_the_repository_of_the_task(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names, asked = ClassLabel(names=["cat", "dog"]), []

    def load(*hub: Any) -> dict[str, Dataset]:
        asked.append(hub)
        rows = hub_like([0, 1] * 4, names, "img", "fine_label")
        return {"train": rows, "test": rows.select([0, 1])}

    monkeypatch.setattr("instant_soup.data.source.load_dataset", load)
    got = image_splits(None, IMAGE_TASKS["vision/cifar100"], validation=0.25, limit=None)
    assert asked == [("uoft-cs/cifar100", None)]
    assert len(got.test) == 2


def test_every_benchmark_says_where_it_is_and_how_large() -> None:
    assert set(IMAGE_TASKS) == {
        f"vision/{name}"
        for name in ("mnist", "svhn", "gtsrb", "cars", "cifar10", "cifar100")
    }
    for spec in IMAGE_TASKS.values():
        assert spec.hub
        assert spec.sizes
        assert spec.sizes[0] > 8000 < spec.sizes[1]
        assert spec.metrics == ("accuracy",)


@pytest.mark.shared
def test_real_images_are_read_in_their_own_colours(shared: Path) -> None:
    got = image_splits(
        shared / "data" / "images" / "cifar10",
        IMAGE_TASKS["vision/cifar10"],
        validation=0.1,
        limit=100,
    )
    assert got.train.features["label"].names[:2] == ["airplane", "automobile"]
    assert (len(got.train), len(got.validation), len(got.test)) == (90, 10, 2000)
    small = CLIPImageProcessorPil(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    )
    batch = ImageExamples(got.train, small).batch(range(90))
    assert batch["pixel_values"].shape == (90, 3, 32, 32)
    assert np.allclose(batch["pixel_values"].std().item(), 1, atol=0.2)
