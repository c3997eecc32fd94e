"""Layouts: labelled text in every shape that people bring it, read to the same rows and the same classes."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from instant_soup.core.errors import DataError
from instant_soup.data.source import Splits
from instant_soup.data.text import GLUE_TASKS, TextSpec
from instant_soup.data.text_splits import benchmark, own_text

WORDS = ("bad", "good")


def rows(
    count: int, name: str = "train", *, kind: str = "number"
) -> list[dict[str, Any]]:
    """Rows whose text says their number and their label."""
    labels: dict[str, Callable[[int], Any]] = {
        "number": lambda i: i % 2,
        "word": lambda i: WORDS[i % 2],
    }
    return [
        {"text": f"{name} {i}, said in one line", "label": labels[kind](i)}
        for i in range(count)
    ]


def csv(
    path: Path, table: list[dict[str, Any]], mark: str = ",", encoding: str = "utf-8"
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    frame = pd.DataFrame(table)
    path.write_bytes(frame.to_csv(index=False, sep=mark).encode(encoding))
    return path


def jsonl(path: Path, table: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in table), encoding="utf-8")
    return path


def parquet(path: Path, table: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(table), path)
    return path


def both(
    write: Callable[[Path, list[dict[str, Any]]], Path], train: str, test: str
) -> Callable[[Path], Path]:
    """Twenty rows to train on and six to test on."""

    def make(folder: Path) -> Path:
        write(folder / train, rows(20))
        write(folder / test, rows(6, "test"))
        return folder

    return make


def compressed(folder: Path) -> Path:
    plain = csv(folder / "reviews.csv", rows(26)).read_bytes()
    (folder / "reviews.csv").unlink()
    (folder / "reviews.csv.gz").write_bytes(gzip.compress(plain))
    return folder / "reviews.csv.gz"


def shards(folder: Path) -> Path:
    for number in range(2):
        parquet(
            folder / "data" / f"train-0000{number}-of-00002.parquet",
            rows(20)[10 * number : 10 * number + 10],
        )
    parquet(folder / "data" / "test-00000-of-00001.parquet", rows(6, "test"))
    return folder


def odd_columns(folder: Path) -> Path:
    for name, count in (("train", 20), ("test", 6)):
        table = [
            row | {"nested": [[{"a": i}]], "map": {"k": i}, "none": None}
            for i, row in enumerate(rows(count, name))
        ]
        parquet(folder / f"{name}.parquet", table)
    return folder


def broken_metadata(folder: Path) -> Path:
    for name, count in (("train", 20), ("test", 6)):
        table = pa.Table.from_pylist(rows(count, name)).replace_schema_metadata(
            {b"huggingface": b"{"}
        )
        pq.write_table(table, folder / f"{name}.parquet")
    return folder


def listed(folder: Path) -> Path:
    (folder / "reviews.json").write_text(json.dumps(rows(26), indent=1))
    return folder / "reviews.json"


def mixed_columns(folder: Path) -> Path:
    return jsonl(
        folder / "reviews.jsonl",
        [row | {"extra": [1, "a"][i % 2]} for i, row in enumerate(rows(26))],
    )


SPLIT: dict[str, Callable[[Path], Any]] = {
    "parquet": both(parquet, "train.parquet", "validation.parquet"),
    "parquet, test": both(parquet, "train.parquet", "test.parquet"),
    "hub names": both(
        parquet, "train-00000-of-00001.parquet", "test-00000-of-00001.parquet"
    ),
    "hub names in data": both(
        parquet, "data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"
    ),
    "hub conversions": both(
        parquet, "default/train/0000.parquet", "default/test/0000.parquet"
    ),
    "shards": shards,
    "csv": both(csv, "train.csv", "test.csv"),
    "csv, capitals": both(csv, "Train.CSV", "TEST.csv"),
    "csv in Training and Testing": both(
        csv, "Training/reviews.csv", "Testing/reviews.csv"
    ),
    "csv with names around": both(csv, "reviews_train.csv", "reviews_test.csv"),
    "tsv": both(lambda path, table: csv(path, table, "\t"), "train.tsv", "dev.tsv"),
    "csv, eval": both(csv, "train.csv", "eval.csv"),
    "csv, evaluation with names around": both(
        csv, "reviews_train.csv", "reviews-evaluation.csv"
    ),
    "csv, holdout": both(csv, "train.csv", "holdout.csv"),
    "csv in held-out": both(csv, "train/reviews.csv", "held-out/reviews.csv"),
    "semicolons": both(lambda path, table: csv(path, table, ";"), "train.csv", "val.csv"),
    "json lines": both(jsonl, "train.jsonl", "test.jsonl"),
    "json": both(jsonl, "train.json", "valid.json"),
    "BOM": both(
        lambda path, table: csv(path, table, encoding="utf-8-sig"),
        "train.csv",
        "test.csv",
    ),
    "UTF-16": both(
        lambda path, table: csv(path, table, encoding="utf-16"), "train.csv", "test.csv"
    ),
    "odd columns": odd_columns,
    "broken metadata": broken_metadata,
    "DatasetDict": lambda _: DatasetDict(
        train=Dataset.from_list(rows(20)), test=Dataset.from_list(rows(6, "test"))
    ),
    "frames by split": lambda _: {
        "train": pd.DataFrame(rows(20)),
        "validation": pd.DataFrame(rows(6, "test")),
    },
}
WHOLE: dict[str, Callable[[Path], Any]] = {
    "one csv": lambda folder: csv(folder / "reviews.csv", rows(26)),
    "one csv in a folder": lambda folder: csv(folder / "reviews.csv", rows(26)).parent,
    "one tsv": lambda folder: csv(folder / "reviews.tsv", rows(26), "\t"),
    "one parquet": lambda folder: parquet(folder / "reviews.parquet", rows(26)),
    "one parquet called train": lambda folder: parquet(
        folder / "train.parquet", rows(26)
    ),
    "one file of json lines": lambda folder: jsonl(folder / "reviews.jsonl", rows(26)),
    "one json list": listed,
    "json lines with a mixed column": mixed_columns,
    "gzip": compressed,
    "DataFrame": lambda _: pd.DataFrame(rows(26)),
    "DataFrame with an index": lambda _: pd.DataFrame(rows(26), index=range(100, 126)),
    "Dataset": lambda _: Dataset.from_list(rows(26)),
    "Dataset, selected": lambda _: Dataset.from_list(rows(40)).select(range(26)),
    "list of rows": lambda _: rows(26),
    "words for labels": lambda folder: csv(folder / "reviews.csv", rows(26, kind="word")),
    "words in a DataFrame": lambda _: pd.DataFrame(rows(26, kind="word")),
}


def read(data: Any, **changes: Any) -> tuple[Splits, TextSpec]:
    options: dict[str, Any] = {"validation": 0.25, "limit": None, **changes}
    return own_text(data, ("text",), "label", (), **options)


def every(splits: Splits) -> Iterator[tuple[str, int]]:
    for part in (splits.train, splits.validation, splits.test):
        yield from zip(part["text"], part["label"], strict=True)


@pytest.mark.parametrize("name", SPLIT)
def test_a_layout_with_splits_is_read_to_its_rows(name: str, tmp_path: Path) -> None:
    splits, spec = read(SPLIT[name](tmp_path))
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [
        15,
        5,
        6,
    ]
    assert all(
        int(text.split()[1].rstrip(",")) % 2 == label for text, label in every(splits)
    )
    assert spec.labels == ("0", "1")


@pytest.mark.parametrize("name", WHOLE)
def test_a_table_without_splits_is_split_by_itself(name: str, tmp_path: Path) -> None:
    splits, spec = read(WHOLE[name](tmp_path))
    assert len(splits.test) == 6  # a fifth of each class
    assert len({text for text, _ in every(splits)}) == 26
    assert all(
        int(text.split()[1].rstrip(",")) % 2 == label for text, label in every(splits)
    )
    assert spec.labels in (("0", "1"), WORDS)
    again, _ = read(WHOLE[name](tmp_path))
    assert list(again.test["text"]) == list(splits.test["text"])


# three splits


def three(folder: Path, hidden: str = "") -> Path:
    for name, count in (("train", 20), ("validation", 5), ("test", 6)):
        table = rows(count, name)
        if name == "test" and hidden:
            table = (
                [{**row, "label": -1} for row in table]
                if hidden == "-1"
                else [{"text": row["text"]} for row in table]
            )
        csv(folder / f"{name}.csv", table)
    return folder


def test_a_validation_set_beside_a_test_set_is_the_one_to_choose_by(
    tmp_path: Path,
) -> None:
    splits, _ = read(three(tmp_path))
    assert {text.split()[0] for text in splits.validation["text"]} == {"validation"}
    assert {text.split()[0] for text in splits.test["text"]} == {"test"}
    assert len(splits.train) == 20
    assert len(read(three(tmp_path), limit=8)[0].train) == 8


@pytest.mark.parametrize("hidden", ["-1", "no column"])
def test_a_test_set_without_labels_leaves_the_validation_set_to_be_tested_on(
    hidden: str, tmp_path: Path
) -> None:
    splits, _ = read(three(tmp_path, hidden))
    assert {text.split()[0] for text in splits.test["text"]} == {"validation"}
    assert {text.split()[0] for text in splits.validation["text"]} == {"train"}


# what is passed over


def beside(*names: str) -> Callable[[Path], Path]:
    """A folder of train, test and tables called *names*."""

    def make(folder: Path) -> Path:
        for name in names:
            csv(folder / name, rows(9, "other"))
        return both(csv, "train.csv", "test.csv")(folder)

    return make


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("train_augmented.csv", beside("train_augmented.csv")),
        ("holdout.csv", beside("holdout.csv")),
        ("extra.csv, more/other.csv", beside("extra.csv", "more/other.csv")),
        (
            "'extra', 'holdout'",
            lambda _: {
                "train": rows(20),
                "extra": rows(9, "other"),
                "holdout": rows(9, "other"),
                "test": rows(6, "test"),
            },
        ),
    ],
)
def test_tables_that_are_passed_over_are_named(
    name: str, data: Callable[[Path], Any], tmp_path: Path
) -> None:
    with pytest.warns(UserWarning, match=f"passed over in .*: {name};"):
        splits, _ = read(data(tmp_path))
    assert len(splits.test) == 6
    assert {text.split()[0] for text, _ in every(splits)} == {"train", "test"}


def test_what_libraries_write_beside_tables_is_no_table_of_ones_own(
    tmp_path: Path,
) -> None:
    (tmp_path / "dataset_infos.json").write_text("{}")
    splits, _ = read(beside("validation_mismatched.csv")(tmp_path))
    assert len(splits.test) == 6


def test_two_tables_of_one_split_are_refused_and_the_second_set_of_mnli_is_none() -> None:
    with pytest.raises(
        DataError, match="'val' and 'dev', which could both be validation"
    ):
        read({"train": rows(20), "val": rows(6), "dev": rows(6)})
    splits, _ = read(
        {
            "train": rows(20),
            "validation_matched": rows(6, "test"),
            "validation_mismatched": rows(9, "other"),
        }
    )
    assert len(splits.test) == 6


def test_whoever_lacks_a_test_set_is_told_what_it_may_be_called(tmp_path: Path) -> None:
    csv(tmp_path / "train.csv", rows(9))
    csv(tmp_path / "judged.csv", rows(9))
    with (
        pytest.warns(UserWarning, match=r"passed over in .*: judged\.csv"),
        pytest.raises(DataError, match=r"may be called test, .*dev, .*heldout, eval"),
    ):
        read(tmp_path)


# labels


def labelled(labels: list[Any]) -> list[dict[str, Any]]:
    return [{"text": f"row {i}", "label": label} for i, label in enumerate(labels)]


@pytest.mark.parametrize("in_file", [False, True])
@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([1, 2, 3, 4, 5], ("1", "2", "3", "4", "5")),
        ([0, 1], ("0", "1")),
        ([0, 2], ("0", "2")),
        ([2, 5], ("2", "5")),
        ([10, 9], ("9", "10")),
        ([-1, 1], ("-1", "1")),
        ([2, 3, 4], ("2", "3", "4")),
        (["neg", "pos", "neutral"], ("neg", "neutral", "pos")),
        (list(range(12)), tuple(map(str, range(12)))),
        (["007", "008"], ("007", "008")),
        (["NA", "null"], ("NA", "null")),
    ],
)
def test_classes_are_told_from_numbers_and_words(
    labels: list[Any], names: tuple[str, ...], in_file: bool, tmp_path: Path
) -> None:
    table = labelled(labels * 6)
    splits, spec = read(csv(tmp_path / "reviews.csv", table) if in_file else table)
    assert spec.labels == names
    for text, label in every(splits):
        assert names[label] == str(labels[int(text.split()[1]) % len(labels)])


@pytest.mark.parametrize("in_file", [False, True])
def test_scores_are_told_from_classes(in_file: bool, tmp_path: Path) -> None:
    table = labelled([0.5, 1.25, 5.0] * 10)
    splits, spec = read(csv(tmp_path / "reviews.csv", table) if in_file else table)
    assert spec.regression
    assert all(
        score == [0.5, 1.25, 5.0][int(text.split()[1]) % 3]
        for text, score in every(splits)
    )


def test_classes_do_not_depend_on_a_limit_or_on_the_split() -> None:
    """The rare class would be in none of eight rows, and once only in the whole."""
    table = labelled([0, 1] * 50 + [2])
    splits, spec = read(table, limit=8)
    assert spec.labels == ("0", "1", "2")
    assert 2 not in set(splits.train["label"])


def test_names_of_classes_that_hugging_face_keeps_are_kept(tmp_path: Path) -> None:
    features = Features(
        {"text": Value("string"), "label": ClassLabel(names=["spam", "ham"])}
    )
    rows_of_hub = Dataset.from_list(labelled([0, 1] * 10), features=features)
    rows_of_hub.to_parquet(tmp_path / "train.parquet")
    for data in (rows_of_hub, tmp_path / "train.parquet"):
        assert read(data)[1].labels == ("spam", "ham")


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        (
            [10**7, *range(30)],
            "holds numbers up to 10,000,000; expected at most 50,000 classes.*a column of ids",
        ),
        ([10**18, 0], "expected at most 50,000 classes"),
        (
            [f"id-{i}" for i in range(200)],
            r"200 different values in 200 rows.*a column of ids",
        ),
        ([0] * 20, "names 1 classes; expected at least 2"),
        ([0, 1, None] * 5, "holds None"),
        (["a", "b", ""] * 5, "holds ''"),
        ([-(10**7), 0], "holds numbers down to -10,000,000; expected at most 50,000"),
    ],
)
def test_labels_that_are_no_classes_are_refused_in_a_sentence(
    labels: list[Any], why: str
) -> None:
    with pytest.raises(DataError, match=why):
        read(labelled(labels))


def test_what_is_true_or_false_is_1_or_0() -> None:
    assert read(labelled([False, True] * 9))[1].labels == ("0", "1")


def test_a_label_below_0_beside_classes_from_0_on_is_a_class_and_is_told() -> None:
    with pytest.warns(UserWarning, match="holds -1 beside 0 to 1, and it is taken for a"):
        _, spec = read(labelled([0, 1, -1] * 5))
    assert spec.labels == ("-1", "0", "1")


@pytest.mark.parametrize("labels", [[2, 5], ["2", "5"], [-1, 1], [0, 2]])
def test_a_test_set_knows_classes_by_the_numbers_of_the_training_rows(
    labels: list[Any],
) -> None:
    first, second = labels
    data = {"train": labelled(labels * 9), "test": labelled([second, second, first])}
    assert list(read(data)[0].test["label"]) == [1, 1, 0]

    with pytest.raises(DataError, match=r"label .* in row 1 is none of the 2 classes"):
        read(data | {"test": labelled([second, type(first)(7)])})


def test_labels_that_only_the_test_set_hides_are_told_by_their_row() -> None:
    hidden = {"train": labelled([0, 1] * 9), "test": labelled([-1, -1])}
    with pytest.raises(
        DataError, match=r"label -1 in row 0 is none of the 2 classes, 0, 1"
    ):
        read(hidden)


def test_a_label_of_the_test_set_that_training_does_not_know_is_named() -> None:
    with pytest.raises(
        DataError,
        match="label 'c' in row 1 is none of the 2 classes of the training rows, a, b",
    ):
        read({"train": labelled(["a", "b"] * 9), "test": labelled(["a", "c"])})


def test_a_label_that_is_missing_is_named_with_its_row_and_its_file(
    tmp_path: Path,
) -> None:
    path = tmp_path / "tickets.csv"
    path.write_text("text,label\nx,a\ny,\nz,b\nw,\n")
    with pytest.raises(
        DataError,
        match=r"'label' holds ''; .*: fill in row 1 and 1 more of .*tickets\.csv",
    ):
        read(path)


def test_a_label_that_only_the_test_set_has_is_named_with_its_split(
    tmp_path: Path,
) -> None:
    csv(tmp_path / "train.csv", labelled(["a", "b"] * 9))
    csv(tmp_path / "test.csv", labelled(["a", "c"]))
    with pytest.raises(DataError, match=r"'c' in row 1 .*\(in the test split of "):
        read(tmp_path)


@pytest.mark.parametrize("gap", [None, float("nan"), pd.NA])
def test_gaps_of_a_data_frame_are_missing_values_and_no_other_kind(gap: Any) -> None:
    table = pd.DataFrame(labelled(["a", "b"] * 9))
    table["label"] = table["label"].astype(object)
    table.loc[[3, 5], "label"] = gap
    with pytest.raises(
        DataError, match=r"holds None; .*row 3 and 1 more of the DataFrame"
    ):
        read(table)


def test_whole_numbers_that_are_floats_are_scores_and_that_is_said() -> None:
    with pytest.warns(
        UserWarning, match="'label' of .* holds floats, so they are scores"
    ):
        spec = read(labelled([0.0, 1.0] * 9))[1]
    assert spec.labels == ()


def test_rows_of_separators_alone_are_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "sheet.csv"
    path.write_text("text,label\n" + "x,a\ny,b\n" * 9 + ",\n,\n")
    splits, spec = read(path)
    assert spec.labels == ("a", "b")
    assert sum(map(len, (splits.train, splits.validation, splits.test))) == 18


def test_empty_texts_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "sheet.csv"
    path.write_text("text,label\n" + "x,a\n,b\n" * 9)
    with pytest.warns(
        UserWarning,
        match=r"'text' of .*sheet\.csv is empty in 9 of 18 rows, first in row 1",
    ):
        read(path)


# GLUE as it was published


def test_the_words_of_glue_are_its_numbers(tmp_path: Path) -> None:
    for name in ("train", "dev"):
        table = [
            {
                "index": i,
                "sentence1": f"a {i}",
                "sentence2": 'he said "no',
                "label": ("entailment", "not_entailment")[i % 2],
            }
            for i in range(20)
        ]
        lines = [
            "\t".join(table[0]),
            *("\t".join(map(str, row.values())) for row in table),
        ]
        (tmp_path / f"{name}.tsv").write_text("\n".join(lines) + "\n")
    splits = benchmark(tmp_path, GLUE_TASKS["glue/rte"], validation=0.2, limit=None)
    assert [len(splits.train), len(splits.validation), len(splits.test)] == [16, 4, 20]
    assert set(splits.train["sentence2"]) == {'he said "no'}
    assert all(
        int(text.split()[1]) % 2 == label
        for text, label in zip(
            splits.test["sentence1"], splits.test["label"], strict=True
        )
    )


# text


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    """Numbers, blanks, quotes, commas and lines in texts; words that other readers take for nothing."""
    texts = [
        "123",
        "1e5",
        "NA",
        "null",
        'she said "yes", twice',
        "two\nlines",
        "ümlaut",
        " spaced ",
        "'",
        "-",
    ]
    table = [{"text": text, "label": i % 2} for i, text in enumerate(texts)]
    for path in (
        csv(tmp_path / "a.csv", table),
        csv(tmp_path / "b.tsv", table, "\t"),
        jsonl(tmp_path / "c.jsonl", table),
    ):
        splits, _ = read(path)
        assert sorted(text for text, _ in every(splits)) == sorted(texts), path


def test_windows_1252_is_read_with_a_warning(tmp_path: Path) -> None:
    path = csv(
        tmp_path / "reviews.csv",
        [{"text": f"café {i}", "label": i % 2} for i in range(20)],
        encoding="cp1252",
    )
    with pytest.warns(UserWarning, match="no UTF-8 and was read as Windows-1252"):
        splits, _ = read(path)
    assert all(text.startswith("café") for text, _ in every(splits))


# what cannot be read


def two_tables(folder: Path) -> Path:
    csv(folder / "a.csv", rows(5))
    return csv(folder / "b.csv", rows(5)).parent


def two_kinds(folder: Path) -> Path:
    parquet(folder / "train.parquet", rows(5))
    csv(folder / "test.csv", rows(5))
    return csv(folder / "train.csv", rows(5)).parent


def not_utf8(folder: Path) -> Path:
    column = pa.array([b"\xff\xfe", b"b", b"c", b"d"], pa.binary()).view(pa.string())
    pq.write_table(
        pa.table({"text": column, "label": [0, 1, 0, 1]}), folder / "train.parquet"
    )
    return folder / "train.parquet"


def written(name: str, content: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return make


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (
            two_tables,
            r"holds several files that could be the data: a\.csv, b\.csv; leave one, or give its path",
        ),
        (
            two_kinds,
            r"several files that could be the train split: train\.csv, train\.parquet",
        ),
        (
            lambda folder: csv(folder / "train.csv", rows(9)).parent,
            r"holds no validation\.parquet; found train\.csv",
        ),
        (
            not_utf8,
            r"column 'text' of .* holds bytes that are no UTF-8; write it again as UTF-8",
        ),
        (
            written("a.csv", b"text,label\ngood,1\nbad,0,7\n"),
            r"a\.csv is not a readable csv file .*Expected 2 columns",
        ),
        (
            written("a.csv", b""),
            r"a\.csv is not a readable csv file \(its first line is empty",
        ),
        (
            written("a.csv", b"text,label\n\x81\x8d,1\n"),
            r"is no text in UTF-8 \(byte 11\); save it as UTF-8",
        ),
        (
            written("a.csv", b"a,label\nx,1\n"),
            r"no column 'text' in the data; known: a, label",
        ),
        (written("a.csv", b"text,text,label\nx,y,1\n"), r"column 'text' is there twice"),
        (
            written("a.jsonl", b'{"text": "x", "label": 1}\n{"text": '),
            r"a\.jsonl is not a readable file of JSON lines",
        ),
        (written("a.jsonl", b"[1, 2]"), r"expected an object of columns on each line"),
        (
            written("a.jsonl", b'{"text": "x", "label": 1}\n{"text": 3, "label": 0}'),
            "column 'text' .*several kinds",
        ),
        (written("a.parquet", b"PAR1"), r"a\.parquet is not a readable parquet file"),
        (
            written("a.xlsx", b"PK"),
            r"a\.xlsx is no table; expected a file of one of \.parquet, \.csv",
        ),
        (
            lambda _: {"training set": rows(4)},
            r"mapping with 'training set'; expected 'train' and one of test, testing",
        ),
        (
            lambda _: {"train": rows(4), "test": "x"},
            r"test is a str; expected a path, a pandas DataFrame",
        ),
        (
            lambda _: 7,
            r"data is a int; expected a path, a pandas DataFrame, a datasets\.Dataset or a list of dictionaries",
        ),
        (lambda _: rows(1), r"names 1 classes"),
        (lambda _: [1, 2], "data is a list; expected"),
    ],
)
def test_what_cannot_be_read_is_named(
    make: Callable[[Path], Any], why: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=why):
        read(make(tmp_path))


def test_there_are_at_least_twenty_layouts() -> None:
    assert len(SPLIT) + len(WHOLE) >= 20
