"""Corpus: which files are which split of a text, and what is read of them."""

from __future__ import annotations

import gzip
import json
import warnings
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from datasets import Dataset
from transformers import AutoTokenizer

from instant_soup.core.errors import DataError
from instant_soup.data import known_texts
from instant_soup.data.corpus import TEST, TRAIN, files_of, texts_of
from instant_soup.data.language import calibration_windows, language_splits
from instant_soup.models import tiny_decoders


def lay(folder: Path, *names: str) -> Path:
    """Files whose text is their own name."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.lower().endswith(".parquet"):
            pq.write_table(pa.table({"text": [name]}), path)
        else:
            path.write_text(name, encoding="utf-8")
    return folder


def read(folder: Path, splits: tuple[str, ...]) -> list[str]:
    return list(texts_of(files_of(folder, splits)))


HUB = [f"{split}-00000-of-00001.parquet" for split in ("train", "validation", "test")]


# without the time of day, which would give this test another name on each worker
GZIPPED = gzip.compress('{"text": "Süße Suppe"}\n{"text": "und"}'.encode(), mtime=0)


@pytest.mark.parametrize(
    ("names", "train", "test"),
    [
        (HUB, [HUB[0]], [HUB[2]]),
        ([f"data/{name}" for name in HUB], [f"data/{HUB[0]}"], [f"data/{HUB[2]}"]),
        (["Train.txt", "Test.TXT"], ["Train.txt"], ["Test.TXT"]),
        (["TRAINING.md", "dev.md"], ["TRAINING.md"], ["dev.md"]),
        (
            ["wiki.train.tokens", "wiki.valid.tokens", "wiki.test.tokens"],
            ["wiki.train.tokens"],
            ["wiki.test.tokens"],
        ),
        (
            ["wiki.train.tokens.txt", "wiki.test.tokens.txt"],
            ["wiki.train.tokens.txt"],
            ["wiki.test.tokens.txt"],
        ),
        (
            ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet", "val.parquet"],
            ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"],
            ["val.parquet"],
        ),
        (["data/train.txt", "data/test.txt", "README.md"], ["data/train.txt"], ["data/test.txt"]),
        (["train/a.txt", "train/b.txt", "test/c.txt"], ["train/a.txt", "train/b.txt"], ["test/c.txt"]),
        (["train/a.txt", "train/more/b.txt", "test/c.txt"], ["train/a.txt", "train/more/b.txt"], ["test/c.txt"]),
        (["train.txt", "my_train.txt", "test.txt"], ["train.txt"], ["test.txt"]),
        (["books.txt", "test.txt"], ["books.txt"], ["test.txt"]),
        (["train.txt", ".cache/test.txt", "test.txt"], ["train.txt"], ["test.txt"]),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:not of the data that is read")
def test_each_split_is_read_from_its_own_files(
    names: list[str], train: list[str], test: list[str], tmp_path: Path
) -> None:
    folder = lay(tmp_path / "texts", *names)
    assert read(folder, TRAIN) == train
    assert read(folder, TEST) == test


@pytest.mark.parametrize(
    ("names", "read_of_them"),
    [
        (["a.txt", "b.md"], ["a.txt", "b.md"]),
        (["a.parquet", "dataset_infos.json"], ["a.parquet"]),
        (["data/a.txt", "README.md", "LICENSE.txt"], ["data/a.txt"]),
        (["a.txt", "Readme.MD", "notes/b.txt"], ["a.txt"]),
    ],
)
@pytest.mark.filterwarnings("ignore:not of the data that is read")
def test_a_folder_without_splits_is_one_text_that_nothing_is_judged_on(
    names: list[str], read_of_them: list[str], tmp_path: Path
) -> None:
    folder = lay(tmp_path / "texts", *names)
    assert read(folder, TRAIN) == read_of_them
    with pytest.raises(DataError, match=r"holds no test\.parquet.*set data\.test"):
        files_of(folder, TEST)


@pytest.mark.parametrize(
    ("names", "passed_over"),
    [
        (["train.txt", "my_train.txt", "test.txt"], "my_train.txt"),
        (["train.txt", "more.md", "test.txt"], "more.md"),
        (["a.txt", "notes/b.txt"], "notes/b.txt"),
    ],
)
def test_texts_that_are_passed_over_are_named(
    names: list[str], passed_over: str, tmp_path: Path
) -> None:
    folder = lay(tmp_path / "texts", *names)
    with pytest.warns(UserWarning, match=f"passed over in .*: {passed_over};"):
        assert files_of(folder, TRAIN) == [folder / names[0]]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (HUB[1:], "holds no train.parquet"),
        (["Test.txt", "README.md"], "holds no train.parquet"),
        (["README.md"], "holds no train.parquet"),
        (["train.txt", "train.csv"], "several files that could be the train split"),
        (["a/train.txt", "b/train.txt"], "several files that could be the train split"),
        (["a/train/x.txt", "b/train/x.txt"], "several folders that could be the train"),
        (["a.txt", "b.parquet"], "texts and tables side by side: a.txt, b.parquet"),
    ],
)
def test_what_is_not_clear_is_refused(
    names: list[str], words: str, tmp_path: Path
) -> None:
    folder = lay(tmp_path / "texts", *names)
    with pytest.raises(DataError, match=words):
        files_of(folder, TRAIN)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "text,stars\r\nSüße Suppe,5\r\nund,1\r\n".encode()),
        ("a.CSV", b"\xef\xbb\xbf" + "text;stars\nSüße Suppe;5\nund;1\n".encode()),
        ("a.tsv", "stars\ttext\n5\tSüße Suppe\n1\tund\n".encode("utf-16")),
        ("a.jsonl", '{"text": "Süße Suppe"}\n{"text": null}\n{"text": "und"}'.encode()),
        ("a.json", json.dumps([{"text": "Süße Suppe"}, {"text": "und"}]).encode()),
        ("a.json.gz", GZIPPED),
    ],
)
def test_tables_give_a_text_a_row(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    assert read(tmp_path / name, TRAIN) == ["Süße Suppe", "und"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_prose_is_read_in_the_encodings_that_tools_write(
    encoding: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("Süße Suppe", encoding=encoding)
    with warnings.catch_warnings():
        # a file that is no UTF-8 is read as Windows-1252, which is said
        warnings.simplefilter("ignore" if encoding == "cp1252" else "error")
        assert read(path, TRAIN) == ["Süße Suppe"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.gguf", b"GGUF\x00", "is no text that can be read"),
        ("a.safetensors", b"{}", "is no text that can be read"),
        ("a.pdf", b"%PDF-1.7", "expected a file of one of .txt"),
        ("a.txt", b"GGUF\x00\xff\xfe", "is no text in UTF-8"),
        ("a.csv", b"review,stars\nfine,5\n", "no column 'text' in the data"),
        ("a.parquet", b"PAR1", "is not a readable parquet file"),
    ],
)
def test_what_is_no_text_is_refused(
    name: str, content: bytes, words: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=words):
        read(tmp_path / name, TRAIN)


def test_a_column_of_numbers_is_no_text(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": [1, 2]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"column 'text' of .*a\.parquet is no text"):
        read(tmp_path, TRAIN)


def test_a_column_of_nothing_has_no_texts(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": pa.nulls(2)}), tmp_path / "a.parquet")
    assert read(tmp_path, TRAIN) == []


def test_nothing_of_the_test_text_is_learned_or_calibrated_on(
    llama: Path, tmp_path: Path
) -> None:
    """Of a folder as the hub gives it out, windows to learn from hold the words of train alone."""
    words = {"train": "soup", "validation": "plot", "test": "film"}
    for split, word in words.items():
        table = pa.table({"text": [f"{word} " * 100]})
        pq.write_table(table, tmp_path / f"{split}-00000-of-00001.parquet")

    tokenizer = AutoTokenizer.from_pretrained(llama)
    splits = language_splits("mine", tokenizer, window=16, folder=tmp_path)
    calibrated_on = calibration_windows(tmp_path, tokenizer, 16, 4)
    for windows in (splits.train.tokens, splits.validation.tokens, calibrated_on):
        decoded = tokenizer.decode(windows.flatten())
        assert "film" not in decoded
        assert "plot" not in decoded
    assert "soup" not in tokenizer.decode(splits.test.tokens.flatten())


def test_a_file_is_not_learned_from_and_judged_on(llama: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("soup " * 100, encoding="utf-8")
    (tmp_path / "b.txt").symlink_to(tmp_path / "a.txt")
    tokenizer = AutoTokenizer.from_pretrained(llama)
    for test in (None, tmp_path / "a.txt", tmp_path / "b.txt"):
        with pytest.raises(DataError, match=r"would be learned from and judged on"):
            language_splits(
                "mine", tokenizer, window=16, folder=tmp_path / "a.txt", test=test
            )


class Hub:
    """A hub that has one repository, of these texts in each split."""

    def __init__(self, texts: list[str]) -> None:
        self.rows = Dataset.from_dict({"text": texts})

    def load_dataset(self, *_: object, **__: object) -> dict[str, Dataset]:
        return {"train": self.rows, "validation": self.rows, "test": self.rows}


def test_a_table_of_the_hubs_rows_is_the_text_that_is_read_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every other row of WikiText is empty, and what papers report counts them."""
    texts = ["", " = soup = \n", "", " some words of a soup . \n", ""] * 20
    hub = Hub(texts)
    monkeypatch.setattr(known_texts, "load_dataset", hub.load_dataset)
    hub.rows.to_parquet(tmp_path / "test.parquet")
    letters = tiny_decoders.tokenizer()
    wiki = "language/wikitext2"

    by_name, by_file = (
        language_splits(wiki, letters, window=16, folder=wiki, test=test).test.tokens
        for test in (wiki, str(tmp_path))
    )
    assert torch.equal(by_name, by_file)
    joined = letters("\n\n".join(texts), return_tensors="pt")["input_ids"][0]
    assert torch.equal(by_name.flatten(), joined[: by_name.numel()])


def test_of_a_text_too_large_to_be_read_in_full_as_much_is_read_as_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    texts = [f"document {number} of a soup" for number in range(1000)]
    monkeypatch.setattr(known_texts, "load_dataset", Hub(texts).load_dataset)
    letters = tiny_decoders.tokenizer()
    read_letters: list[int] = []

    def counted(text: str, **options: object) -> object:
        read_letters.append(len(text))
        return letters(text, **options)

    c4 = "language/c4"
    splits = language_splits(
        c4,
        counted,  # type: ignore[arg-type]
        window=64,
        folder=c4,
        limit=10,
        windows=3,
        validation=0.2,
    )
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (8, 2, 3)
    assert sum(read_letters) < 4 * 13 * 64

    # those judged on are the first ones, as if all had been read; those learned from are drawn
    first = letters("\n\n".join(texts), return_tensors="pt")["input_ids"][0]
    assert torch.equal(splits.test.tokens.flatten(), first[: 3 * 64])
    one, other = (calibration_windows(c4, letters, 64, 5) for _ in range(2))
    assert torch.equal(one, other)
    assert not torch.equal(one.flatten(), first[: 5 * 64])
    with pytest.raises(DataError, match=r"set data\.limit"):
        language_splits(c4, letters, window=64, folder=c4, windows=3)
