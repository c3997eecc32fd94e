"""What a run is made with: data and model are known by their bytes, not by where they lie."""

from __future__ import annotations

import copy
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import instant_soup as soup
from instant_soup.core.errors import StoreError
from instant_soup.recipes.recipe import Recipe
from instant_soup.store import contents as room
from instant_soup.store.contents import Contents, contents_of
from instant_soup.store.plain import read_json, write_sealed
from instant_soup.store.store import Store

LONG_AGO = 1_000_000_000


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A model and a data set of a few bytes."""
    for name, text in {
        "model/model.safetensors": "weights",
        "model/config.json": "{}",
        "data/train.parquet": "rows",
        "data/test.parquet": "rows too",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        os.utime(path, (LONG_AGO, LONG_AGO))
    return tmp_path


def recipe(place: Path) -> Recipe:
    return Recipe.parse(
        {
            "task": {
                "name": "mine",
                "model": str(place / "model"),
                "columns": ["sentence"],
            },
            "data": {"folder": str(place / "data")},
            "method": {"name": "magnitude"},
            "sparsity": 0.5,
        }
    )


def test_the_same_bytes_are_the_same_contents_wherever_and_whenever_they_were_written(
    place: Path,
) -> None:
    first = Contents.of(recipe(place), Store(place / "runs"))
    shutil.copytree(place / "model", place / "there" / "model")
    shutil.copytree(place / "data", place / "there" / "data")
    second = Contents.of(recipe(place / "there"), Store(place / "runs"))
    assert first == second
    assert set(first.parts) == {"data", "model"}


def test_what_changed_is_refused_by_its_name(place: Path) -> None:
    store = Store(place / "runs")
    cell = store.cell(recipe(place))
    contents_of(recipe(place), store, cell)
    contents_of(recipe(place), store, cell)

    # of the same size
    (place / "data" / "train.parquet").write_text("ROWS", encoding="utf-8")
    (place / "data" / "more.parquet").write_text("new", encoding="utf-8")
    (place / "data" / "test.parquet").unlink()
    with pytest.raises(
        StoreError,
        match=r"test\.parquet is gone, more\.parquet is new, train\.parquet holds",
    ):
        contents_of(recipe(place), store, cell)


def test_another_time_alone_is_no_change(place: Path) -> None:
    store = Store(place / "runs")
    cell = store.cell(recipe(place))
    contents_of(recipe(place), store, cell)
    for path in (place / "model").iterdir():
        path.touch()
    contents_of(recipe(place), store, cell)


def test_bytes_are_read_once_as_long_as_size_and_time_stay(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(place / "runs")
    Contents.of(recipe(place), store)

    def refuse(*_: object) -> Iterator[object]:
        raise AssertionError("a file was read again")

    with monkeypatch.context() as patch:
        patch.setattr(room, "file_digest", refuse)
        Contents.of(recipe(place), store)

    (place / "model" / "config.json").write_text("[]", encoding="utf-8")
    assert (
        Contents.of(recipe(place), store).model["config.json"] != Contents({}, {}).digest
    )


def test_a_file_that_was_written_just_now_is_read_again(place: Path) -> None:
    """Within the resolution of a clock it may change without another time."""
    store = Store(place / "runs")
    path = place / "model" / "config.json"
    path.write_text("{}", encoding="utf-8")
    state = path.stat()
    before = Contents.of(recipe(place), store)
    path.write_text("[]", encoding="utf-8")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert Contents.of(recipe(place), store) != before


def test_runs_among_the_data_are_no_data(place: Path) -> None:
    fields: dict[str, Any] = recipe(place).model_dump()
    fields["data"]["folder"] = str(place / "data")
    store = Store(place / "data" / "runs")
    cell = store.cell(recipe(place))
    contents_of(recipe(place), store, cell)
    (store.folder / "note.csv").write_text("x", encoding="utf-8")
    contents_of(recipe(place), store, cell)


def test_a_damaged_list_of_digests_only_costs_time(place: Path) -> None:
    store = Store(place / "runs")
    before = Contents.of(recipe(place), store)
    store.digests.write_text("{", encoding="utf-8")
    assert Contents.of(recipe(place), store) == before


def test_a_store_that_cannot_be_written_is_read_all_the_same(place: Path) -> None:
    (place / "runs").write_text("in the way", encoding="utf-8")
    assert Contents.of(recipe(place), Store(place / "runs")).parts


def test_many_files_are_noted_by_how_many_they_are(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "_LISTED", 1)
    store = Store(place / "runs")
    cell = store.cell(recipe(place))
    contents_of(recipe(place), store, cell)
    (place / "data" / "train.parquet").write_text("other", encoding="utf-8")
    with pytest.raises(
        StoreError,
        match=r"the data in .* changed since mine magnitude 50% seed 0 .*2 files",
    ):
        contents_of(recipe(place), store, cell)


# runs


@pytest.fixture
def ran(mini_recipe: dict[str, Any], tmp_path: Path) -> tuple[Recipe, Store]:
    """A finished run on a model and a data set of its own."""
    fields: dict[str, Any] = copy.deepcopy(mini_recipe)
    for part, name in (("task", "model"), ("data", "folder")):
        shutil.copytree(fields[part][name], tmp_path / name)
        fields[part][name] = str(tmp_path / name)
    wanted = Recipe.parse(fields)
    store = Store(tmp_path / "runs")
    soup.run(wanted, store)
    return wanted, store


def test_a_finished_run_is_not_read_back_for_another_model(
    ran: tuple[Recipe, Store],
) -> None:
    wanted, store = ran
    record = soup.run(wanted, store)
    assert record.contents == read_json(store.cell(wanted).contents)["digests"]

    path = Path(wanted.task.model) / "model.safetensors"
    whole = bytearray(path.read_bytes())
    whole[-1] ^= 1
    path.write_bytes(whole)
    with pytest.raises(
        StoreError,
        match=r"the model in .* changed since .*model\.safetensors holds something else",
    ):
        soup.run(wanted, store)

    store.cell(wanted).record.unlink()
    with pytest.raises(StoreError, match="changed since"):
        soup.run(wanted, store)


def test_what_is_gone_misleads_nobody(ran: tuple[Recipe, Store]) -> None:
    wanted, store = ran
    shutil.rmtree(wanted.task.model)
    assert soup.run(wanted, store).key == wanted.key


def test_a_run_of_an_older_version_is_read_back(ran: tuple[Recipe, Store]) -> None:
    wanted, store = ran
    cell = store.cell(wanted)
    cell.contents.unlink()
    cell.folder.rename(store.folder / wanted.short_key)
    record = soup.run(wanted, store)
    assert record.key == wanted.key
    assert [each.folder.name for each in store.cells()] == [wanted.short_key]


def test_an_edited_record_is_refused_by_its_name(ran: tuple[Recipe, Store]) -> None:
    wanted, store = ran
    path = store.cell(wanted).record
    path.write_text(
        path.read_text(encoding="utf-8").replace('"seed": 0', '"seed": 1'),
        encoding="utf-8",
    )
    with pytest.raises(
        StoreError, match=r"record\.json does not match its checksum.*instant-soup doctor"
    ):
        soup.run(wanted, store)


# which files each reader reads


def language_recipe(place: Path, **data: str) -> Recipe:
    return Recipe.parse(
        {
            "task": {"name": "mine", "kind": "language", "model": str(place / "model")},
            "data": {"window": 8, **data},
            "method": {"name": "magnitude"},
            "sparsity": 0.5,
        }
    )


def changed_after(
    place: Path, wanted: Recipe, changed: str, text: str = "something else"
) -> str:
    """What a run of *wanted* is told once the file *changed* holds another *text*; "" if nothing."""
    store = Store(place / "runs")
    cell = store.cell(wanted)
    contents_of(wanted, store, cell)
    (place / changed).write_text(text, encoding="utf-8")
    try:
        contents_of(wanted, store, cell)
    except StoreError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("written", "changed"),
    [
        ("texts/train.txt", "the data in .*train.txt holds something else"),
        ("texts/TEST.md", "the data in .*TEST.md holds something else"),
        ("texts/data/train-00000-of-00001.parquet", "the data in .*data/train-00000"),
        ("elsewhere/test.txt", "the test in .*test.txt holds something else"),
    ],
)
def test_a_text_that_changes_is_noticed(place: Path, written: str, changed: str) -> None:
    learned = "texts/train.txt" if "train" not in written else written
    judged = "texts/TEST.md" if "elsewhere" not in written else written
    for name in {learned, judged}:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(name, encoding="utf-8")

    data = {"folder": str(place / "texts")}
    if "elsewhere" in judged:
        data["test"] = str(place / judged)
    assert re.search(
        changed, changed_after(place, language_recipe(place, **data), written)
    )


def test_a_gguf_file_that_changes_is_noticed(place: Path) -> None:
    (place / "texts").mkdir()
    (place / "texts" / "train.txt").write_text("soup", encoding="utf-8")
    (place / "small.gguf").write_text("weights", encoding="utf-8")
    (place / "other.gguf").write_text("of another model", encoding="utf-8")
    wanted = language_recipe(place, folder=str(place / "texts"))
    fields = wanted.model_dump()
    fields["task"]["model"] = str(place / "small.gguf")
    wanted = Recipe.parse(fields)
    assert changed_after(place, wanted, "other.gguf") == ""
    assert "the model in" in changed_after(place, wanted, "small.gguf")


@pytest.mark.parametrize(
    "name", ["data/Training/rows.json", "data/a/b/c/rows.JSONL", "data/train/cat/1.PNG"]
)
def test_examples_deep_in_a_folder_that_change_are_noticed(
    place: Path, name: str
) -> None:
    (place / name).parent.mkdir(parents=True)
    (place / name).write_text("one", encoding="utf-8")
    told = changed_after(place, recipe(place), name)
    assert f"{Path(name).name} holds something else" in told


@pytest.mark.parametrize("table", ["data/pets.csv", "data"])
def test_an_image_that_a_table_names_and_that_changes_is_noticed(
    place: Path, table: str
) -> None:
    (place / "pictures").mkdir()
    (place / "pictures" / "1.png").write_text("one", encoding="utf-8")
    for name in ("train", "test"):
        (place / "data" / f"{name}.parquet").unlink()
    (place / "data" / "pets.csv").write_text(
        "file,label\n../pictures/1.png,cat\n", encoding="utf-8"
    )

    fields = recipe(place).model_dump()
    fields["task"] |= {"kind": "images", "columns": ["file"]}
    fields["data"]["folder"] = str(place / table)
    told = changed_after(place, Recipe.parse(fields), "pictures/1.png")
    assert "1.png holds something else" in told


def test_a_tokenizer_s_codes_that_change_are_noticed(place: Path) -> None:
    (place / "model" / "bpe.codes").write_text("a b", encoding="utf-8")
    assert "bpe.codes holds" in changed_after(place, recipe(place), "model/bpe.codes")


def test_a_run_that_an_older_version_noted_is_compared_by_the_files_that_both_know(
    place: Path,
) -> None:
    store = Store(place / "runs")
    wanted = recipe(place)
    cell = store.cell(wanted)
    contents_of(wanted, store, cell)
    noted = dict(read_json(cell.contents)) | {"schema": 1}
    noted["files"]["data"]["never-read.arrow"] = "0" * 64
    noted["digests"]["data"] = "0" * 64
    write_sealed(cell.contents, {k: v for k, v in noted.items() if k != "checksum"})
    contents_of(wanted, store, cell)

    (place / "data" / "train.parquet").write_text("other", encoding="utf-8")
    with pytest.raises(StoreError, match=r"\(train\.parquet holds something else\)"):
        contents_of(wanted, store, cell)
