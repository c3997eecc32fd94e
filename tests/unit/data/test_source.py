"""Source: from parquet files to three splits that do not overlap."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset

from instant_soup.core.errors import DataError
from instant_soup.data import source
from instant_soup.data.source import Splits
from instant_soup.data.splitting import splits


def write(folder: Path, **sizes: int) -> Path:
    """Files of so many numbered rows."""
    folder.mkdir(exist_ok=True)
    for name, count in sizes.items():
        rows = {
            "text": [f"{name} {i}" for i in range(count)],
            "label": [i % 2 for i in range(count)],
        }
        schema = pa.schema({"text": pa.string(), "label": pa.int64()})
        pq.write_table(pa.table(rows, schema=schema), folder / f"{name}.parquet")
    return folder


def read(folder: Path, **changes: Any) -> Splits:
    return splits(folder, None, **{"validation": 0.1, "limit": None, **changes})


def texts(rows: Dataset) -> list[str]:
    return list(rows["text"])


# splitting


@pytest.mark.parametrize(
    ("share", "count"), [(0.1, 10), (0.25, 25), (0.5, 50), (0.001, 1), (0.99, 99)]
)
def test_validation_is_cut_out_of_train_and_shares_no_row_with_it(
    tmp_path: Path, share: float, count: int
) -> None:
    got = read(write(tmp_path, train=100, validation=7), validation=share)
    train, chosen = texts(got.train), texts(got.validation)
    assert len(chosen) == count
    assert sorted(train + chosen) == sorted(f"train {i}" for i in range(100))


def test_the_datas_own_validation_set_is_the_test_split_and_whole(tmp_path: Path) -> None:
    got = read(write(tmp_path, train=20, validation=7), limit=5)
    assert texts(got.test) == [f"validation {i}" for i in range(7)]


def test_rows_keep_their_labels(tmp_path: Path) -> None:
    got = read(write(tmp_path, train=50, validation=5))
    for rows in (got.train, got.validation, got.test):
        assert all(
            label == int(text.split()[1]) % 2
            for text, label in zip(rows["text"], rows["label"], strict=True)
        )


def test_the_cut_is_at_random_and_the_same_each_time(tmp_path: Path) -> None:
    folder = write(tmp_path, train=100, validation=5)
    first, again, other = read(folder), read(folder), read(folder, seed=1)
    assert texts(first.validation) == texts(again.validation)
    assert texts(first.train) == texts(again.train)
    assert set(texts(first.validation)) != set(texts(other.validation))
    assert set(texts(first.validation)) != {f"train {i}" for i in range(10)}


@pytest.mark.parametrize("limit", [2, 10, 99])
def test_a_limit_uses_so_many_training_rows_validation_included(
    tmp_path: Path, limit: int
) -> None:
    got = read(write(tmp_path, train=100, validation=5), limit=limit)
    used = texts(got.train) + texts(got.validation)
    assert len(used) == len(set(used)) == limit
    assert len(got.validation) == max(1, round(0.1 * limit))


def test_a_limit_draws_at_random_and_a_higher_one_adds_to_a_lower_one(
    tmp_path: Path,
) -> None:
    folder = write(tmp_path, train=100, validation=5)
    used = []
    for limit in (10, 30):
        got = read(folder, limit=limit)
        used.append({*texts(got.train), *texts(got.validation)})
    assert used[0] < used[1]
    assert used[0] != {f"train {i}" for i in range(10)}


def test_a_limit_beyond_the_data_is_all_of_it(tmp_path: Path) -> None:
    got = read(write(tmp_path, train=20, validation=5), limit=1000)
    assert len(got.train) + len(got.validation) == 20


# files


@pytest.mark.parametrize("name", ["validation", "validation_matched", "test"])
def test_the_test_split_is_found_under_any_of_its_names(
    tmp_path: Path, name: str
) -> None:
    got = read(write(tmp_path, **{"train": 10, name: 3}))
    assert texts(got.test) == [f"{name} {i}" for i in range(3)]


def test_labelled_validation_goes_before_a_test_set_that_hides_its_labels(
    tmp_path: Path,
) -> None:
    got = read(write(tmp_path, train=10, test=3, validation=4))
    assert texts(got.test) == [f"validation {i}" for i in range(4)]


def test_a_path_may_be_text(tmp_path: Path) -> None:
    assert (
        len(
            splits(
                str(write(tmp_path, train=10, validation=3)),
                None,
                validation=0.1,
                limit=None,
            ).train
        )
        == 9
    )


def test_a_missing_folder_is_named_with_what_should_be_in_it(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"no folder at .*gone; .*train\.parquet and validation\.parquet"
    ):
        read(tmp_path / "gone")


def test_a_misspelt_path_is_answered_with_the_one_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "tickets.csv").write_text("text,label\nx,1\n")
    with pytest.raises(
        DataError, match=r"no folder at .*; did you mean .*tickets\.csv\?"
    ):
        read(tmp_path / "ticket.csv")


def test_a_missing_file_is_named_with_what_was_found_instead(tmp_path: Path) -> None:
    (tmp_path / "train.xlsx").write_text("text,label")
    with pytest.raises(DataError, match=r"holds no train\.parquet; found train\.xlsx"):
        read(tmp_path)


def test_a_missing_test_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"holds no validation\.parquet; found train\.parquet"
    ):
        read(write(tmp_path, train=10))


def test_an_empty_folder_holds_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found nothing"):
        read(tmp_path)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"text,label\ngood,1\n"], ids=repr)
def test_a_file_that_is_not_parquet_is_named(tmp_path: Path, content: bytes) -> None:
    write(tmp_path, validation=3)
    (tmp_path / "train.parquet").write_bytes(content)
    with pytest.raises(DataError, match=r"train\.parquet is not a readable parquet file"):
        read(tmp_path)


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    write(tmp_path, train=10, validation=3)
    whole = (tmp_path / "train.parquet").read_bytes()
    (tmp_path / "train.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"train\.parquet"):
        read(tmp_path)


# nothing to learn from


@pytest.mark.parametrize(
    ("sizes", "split"),
    [({"train": 10, "validation": 0}, "test"), ({"train": 1, "validation": 3}, "train")],
)
def test_an_empty_split_is_named(
    tmp_path: Path, sizes: dict[str, int], split: str
) -> None:
    with pytest.raises(DataError, match=f"the {split} split of .* is empty"):
        read(write(tmp_path, **sizes))


def test_a_training_file_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"split of .* is empty"):
        read(write(tmp_path, train=0, validation=3))


@pytest.mark.parametrize("limit", [1, 0, -5])
def test_a_limit_that_leaves_nothing_is_refused(tmp_path: Path, limit: int) -> None:
    with pytest.raises(DataError, match=f"limit is {limit}; expected at least 2"):
        read(write(tmp_path, train=10, validation=3), limit=limit)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 20, float("nan")])
def test_a_share_out_of_range_is_refused(tmp_path: Path, share: float) -> None:
    with pytest.raises(DataError, match=f"validation is {share}"):
        read(write(tmp_path, train=10, validation=3), validation=share)


def test_a_share_that_leaves_no_row_to_train_on_is_what_the_error_is_about(
    tmp_path: Path,
) -> None:
    with pytest.raises(DataError, match=r"validation is 0\.9"):
        read(write(tmp_path, train=3, validation=3), validation=0.9)


# the hub, which is not asked here


def rows(name: str, count: int = 10) -> Dataset:
    return Dataset.from_dict(
        {"text": [f"{name} {i}" for i in range(count)], "label": [0] * count}
    )


def hub(
    monkeypatch: pytest.MonkeyPatch, found: dict[str, Dataset] | Exception
) -> list[tuple[object, ...]]:
    asked: list[tuple[object, ...]] = []

    def load(*where: object) -> dict[str, Dataset]:
        asked.append(where)
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(source, "load_dataset", load)
    return asked


def test_without_a_folder_the_hub_is_asked_for_repository_and_configuration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = hub(
        monkeypatch,
        {
            "train": rows("train"),
            "test": rows("test"),
            "validation_matched": rows("matched"),
        },
    )
    got = splits(None, ("some/glue", "mnli"), validation=0.1, limit=None)
    assert asked == [("some/glue", "mnli")]
    assert len(got.train) == 9
    assert texts(got.test)[0] == "matched 0"


def test_a_folder_goes_before_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = hub(monkeypatch, RuntimeError())
    assert (
        len(
            splits(
                write(tmp_path, train=10, validation=3),
                ("some/glue", None),
                validation=0.1,
                limit=None,
            ).test
        )
        == 3
    )
    assert asked == []


@pytest.mark.parametrize("configuration", ["cola", None])
def test_a_hub_that_cannot_be_reached_is_a_data_error_with_a_way_out(
    monkeypatch: pytest.MonkeyPatch, configuration: str | None
) -> None:
    hub(monkeypatch, ConnectionError("offline"))
    named = "some/glue/cola" if configuration else "some/glue"
    with pytest.raises(
        DataError,
        match=rf"could not load {named} from the hub \(offline\); set data to a folder",
    ):
        splits(None, ("some/glue", configuration), validation=0.1, limit=None)


def test_a_task_without_a_home_on_the_hub_asks_for_a_folder() -> None:
    with pytest.raises(DataError, match="set data to a folder"):
        splits(None, None, validation=0.1, limit=None)


@pytest.mark.parametrize("found", ["train", "validation"])
def test_a_hub_set_that_lacks_a_split_is_a_data_error(
    monkeypatch: pytest.MonkeyPatch, found: str
) -> None:
    hub(monkeypatch, {found: rows(found)})
    with pytest.raises(DataError):
        splits(None, ("some/glue", None), validation=0.1, limit=None)
