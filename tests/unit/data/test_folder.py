"""Folder: class folders become rows, or an error that names the file."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from instant_soup.core.errors import DataError
from instant_soup.data.folder import class_folders


def grow(root: Path, *files: str) -> Path:
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def many(*classes: str, count: int = 10) -> list[str]:
    return [f"{name}/{i}.png" for name in classes for i in range(count)]


def names(paths: list[str], root: Path) -> list[str]:
    return [str(Path(path).relative_to(root)) for path in paths]


@pytest.mark.parametrize("test", ["test", "validation", "val"])
def test_train_and_test_are_read_with_classes_in_the_order_of_their_names(
    tmp_path: Path, test: str
) -> None:
    grow(
        tmp_path,
        "train/dog/1.png",
        "train/dog/2.png",
        "train/cat/1.png",
        f"{test}/dog/9.png",
    )
    tables = class_folders(tmp_path)
    train, tested = tables.train, tables.test
    assert names(train["image"], tmp_path) == [
        "train/cat/1.png",
        "train/dog/1.png",
        "train/dog/2.png",
    ]
    assert list(train["label"]) == [0, 1, 1]
    assert (
        train.features["label"].names == tested.features["label"].names == ["cat", "dog"]
    )
    assert names(tested["image"], tmp_path) == [f"{test}/dog/9.png"]
    assert list(tested["label"]) == [1]


def test_a_test_folder_goes_before_a_validation_folder(tmp_path: Path) -> None:
    grow(tmp_path, "train/a/1.png", "train/b/1.png", "val/a/2.png", "test/b/3.png")
    assert names(class_folders(tmp_path).test["image"], tmp_path) == ["test/b/3.png"]


def test_suffixes_may_be_of_any_case_and_hidden_files_do_not_count(
    tmp_path: Path,
) -> None:
    grow(
        tmp_path,
        "train/a/1.JPG",
        "train/b/1.Jpeg",
        "test/a/2.WebP",
        "train/a/.DS_Store",
        "train/.cache/x.txt",
    )
    grow(tmp_path, "test/.hidden")
    train = class_folders(tmp_path).train
    assert names(train["image"], tmp_path) == ["train/a/1.JPG", "train/b/1.Jpeg"]


def test_notes_among_the_images_and_strays_beside_the_classes_are_named(
    tmp_path: Path,
) -> None:
    grow(tmp_path, *many("a", "b"), "a/notes.txt", "b/annotation.XML", "readme")
    with pytest.warns(UserWarning, match="passed over") as warned:
        tables = class_folders(tmp_path)

    (warning,) = warned
    for name in ("a/notes.txt", "b/annotation.XML", "readme"):
        assert name in str(warning.message)
    images = [*tables.train["image"], *tables.test["image"]]
    assert sorted(names(images, tmp_path)) == sorted(many("a", "b"))


def test_strays_beside_the_splits_are_named(tmp_path: Path) -> None:
    for split in ("train", "test"):
        grow(tmp_path, *(f"{split}/{path}" for path in many("a", "b")))
    grow(tmp_path, "labels.csv", "more/a/1.png")
    with pytest.warns(UserWarning, match=r"passed over in .*: labels\.csv, more"):
        class_folders(tmp_path)


@pytest.mark.parametrize(
    "classes",
    [("bus", "car", "train"), ("beaker", "test tube"), ("beaker", "valid", "x")],
)
def test_a_folder_with_images_in_it_is_a_class_whatever_its_name(
    tmp_path: Path, classes: tuple[str, ...]
) -> None:
    tables = class_folders(grow(tmp_path, *many(*classes)))
    assert tables.train.features["label"].names == list(classes)
    counts = Counter(tables.train["label"])
    assert counts == dict.fromkeys(range(len(classes)), 8)
    assert tables.test_is_cut


def test_classes_that_sound_like_several_splits_are_told(tmp_path: Path) -> None:
    grow(tmp_path, *many("beaker", "test tube", "train set"))
    with pytest.warns(UserWarning, match="images lie in test tube, train set of .*so"):
        tables = class_folders(tmp_path)
    assert len(tables.train.features["label"].names) == 3


def test_a_class_called_train_is_one_within_splits_too(tmp_path: Path) -> None:
    for split in ("train", "test"):
        grow(tmp_path, *(f"{split}/{path}" for path in many("bus", "train")))
    tables = class_folders(tmp_path)
    assert tables.train.features["label"].names == ["bus", "train"]
    assert not tables.test_is_cut


def test_images_of_train_beside_images_of_test_are_no_classes(tmp_path: Path) -> None:
    """Their classes stand elsewhere, such as in a table: to learn train from test would be absurd."""
    grow(tmp_path, *many("train", "test", "sample"))
    with pytest.raises(DataError, match=r"train/0\.png is in no class"):
        class_folders(tmp_path)


def test_a_folder_of_images_beside_true_splits_is_passed_over(tmp_path: Path) -> None:
    for split in ("train", "eval", "val"):
        grow(tmp_path, *(f"{split}/{path}" for path in many("a", "b")))
    grow(tmp_path, *many("train photos"))
    with pytest.warns(UserWarning, match=r"passed over in .*: eval, train photos"):
        tables = class_folders(tmp_path)
    assert names(tables.test["image"], tmp_path)[0].startswith("val/")


@pytest.mark.parametrize("test", ["eval", "Evaluation", "holdout", "held-out", "dev"])
def test_a_test_set_goes_by_many_names(tmp_path: Path, test: str) -> None:
    for split in ("train", test):
        grow(tmp_path, *(f"{split}/{path}" for path in many("a", "b")))
    assert names(class_folders(tmp_path).test["image"], tmp_path)[0].startswith(test)


def test_a_fifth_of_each_class_is_cut_out_where_there_is_no_test_folder(
    tmp_path: Path,
) -> None:
    grow(tmp_path, *many("a", count=50), *many("b", count=10), *many("c", count=2))
    tables = class_folders(tmp_path)
    train, test = tables.train, tables.test
    assert Counter(test["label"]) == {0: 10, 1: 2, 2: 1}
    assert Counter(train["label"]) == {0: 40, 1: 8, 2: 1}
    assert not set(train["image"]) & set(test["image"])
    assert all(
        Path(path).parent.name == "abc"[label]
        for path, label in zip(test["image"], test["label"], strict=True)
    )


def test_the_fifth_is_drawn_at_random_and_the_same_each_time(tmp_path: Path) -> None:
    grow(tmp_path, *many("a", "b", count=50))
    first, again = class_folders(tmp_path).test, class_folders(tmp_path).test
    assert list(first["image"]) == list(again["image"])
    assert names(first["image"], tmp_path)[:10] != sorted(many("a", count=50))[:10]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            [*many("a", "b"), "a/1.heic"],
            r"a/1\.heic is no image that can be read; remove it, or save it as one of .*\.png",
        ),
        ([*many("a", "b"), "a/noext"], r"a/noext is no image"),
        ([*many("a", "b"), "a/more/1.png"], r"a/more is a folder inside of a class"),
        (
            [*many("a", "b"), "lost.png"],
            r"lost\.png is in no class; move it into a folder named after its class",
        ),
        ([*many("a", "b"), "c/.hidden"], r"class 'c' is empty: no image in .*c"),
        (
            [*many("a")],
            r"holds one class, 'a'; expected a folder for each of two or more",
        ),
        (
            [*many("a"), "b/only.png"],
            r"class 'b' has one image, .*only\.png; expected two",
        ),
        (
            [],
            r"holds no folder of images and no parquet; expected a folder for each class",
        ),
        (
            ["test/a/1.png", "test/b/1.png"],
            r"holds test and no train; expected train/CLASS/\* beside it",
        ),
        (
            ["train/a/1.png", "train/b/1.png"],
            r"holds train and none of test, validation, val",
        ),
        (
            ["train/a/1.png", "train/b/1.png", "val/c/1.png"],
            r"class 'c' is in .*val and not in train",
        ),
        (["train/a/1.png", "test/a/1.png"], r"holds one class, 'a'"),
    ],
)
def test_what_is_wrong_is_named_with_what_to_do(
    tmp_path: Path, files: list[str], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        class_folders(grow(tmp_path, *files))
