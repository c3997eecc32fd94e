"""Damage is found and named, put aside with what was made from it, and made again; nothing is deleted."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import instant_soup as soup
from instant_soup.core.errors import StoreError
from instant_soup.store.cell import Cell
from instant_soup.store.doctor import Health, examine
from instant_soup.store.plain import as_json, read_json, seal, write_json
from instant_soup.store.store import Store

METHOD = {"name": "lth", "compression": 0.5}


@pytest.fixture(scope="module")
def made(
    tiny_bert: Path, tiny_text: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[soup.Recipe, Path]:
    """A store with one run and what it put on the shelf."""
    recipe = soup.Recipe.parse(
        {
            "sparsity": 0.7,
            "task": {"name": "mini", "model": str(tiny_bert), "columns": ["sentence"]},
            "data": {"folder": str(tiny_text), "validation": 0.25},
            "method": METHOD,
            "training": {"steps": 4, "batch": 8, "precision": "float32"},
        }
    )
    folder = tmp_path_factory.mktemp("doctor") / "runs"
    soup.run(recipe, Store(folder))
    return recipe, folder


@pytest.fixture
def store(made: tuple[soup.Recipe, Path], tmp_path: Path) -> Store:
    shutil.copytree(made[1], tmp_path / "runs")
    return Store(tmp_path / "runs")


@pytest.fixture
def cell(made: tuple[soup.Recipe, Path], store: Store) -> Cell:
    return store.cell(made[0])


def contents(folder: Path) -> set[bytes]:
    """The bytes of every file, wherever it is; but of locks and of what can be made again."""
    return {
        path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }


def flip(path: Path, at: int) -> None:
    whole = bytearray(path.read_bytes())
    whole[at] ^= 1
    path.write_bytes(whole)


def found(health: Health) -> list[str]:
    return [finding.path.name for finding in health.findings]


def test_a_store_that_is_whole_is_called_so_and_left_as_it_is(store: Store) -> None:
    before = {
        path: path.read_bytes() for path in store.folder.rglob("*") if path.is_file()
    }
    health = examine(store)
    assert (
        health.cells,
        health.finished,
        health.shelved,
        health.busy,
        health.findings,
    ) == (1, 1, 3, 0, ())
    after = {
        path: path.read_bytes()
        for path in store.folder.rglob("*")
        if path.is_file() and path in before
    }
    assert after == before


def test_a_record_that_differs_in_any_one_byte_is_found(store: Store, cell: Cell) -> None:
    whole = cell.record.read_bytes()
    for at in range(0, len(whole), 7):
        flip(cell.record, at)
        health = examine(store, mend=False)
        assert "record.json" in found(health), (at, whole[at - 20 : at + 20])
        cell.record.write_bytes(whole)


@pytest.mark.parametrize(
    "name",
    ["draw.json", "train.json", "recipe.toml", "ticket.safetensors", "model.safetensors"],
)
def test_any_other_file_that_differs_is_found_and_put_aside_with_what_was_made_from_it(
    store: Store, cell: Cell, made: tuple[soup.Recipe, Path], name: str
) -> None:
    path = cell.folder / name
    before, tickets = contents(store.folder), cell.ticket.read_bytes()
    if name == "recipe.toml":
        path.write_text(
            path.read_text(encoding="utf-8").replace("seed = 0", "seed = 1"),
            encoding="utf-8",
        )
    else:
        flip(path, path.stat().st_size - 3)
    altered = path.read_bytes()
    health = examine(store)
    assert name in found(health)
    finding = next(one for one in health.findings if one.path == path)
    assert finding.aside is not None
    assert finding.aside.read_bytes() == altered
    assert finding.aside.is_relative_to(store.folder / "quarantine")
    assert not path.exists()
    assert (before - contents(store.folder)) <= {
        (made[1] / path.relative_to(store.folder)).read_bytes()
    } | {(made[1] / "index.json").read_bytes()}
    record = soup.run(made[0], store)
    assert cell.ticket.read_bytes() == tickets
    assert (
        record.test
        == json.loads((made[1] / cell.folder.name / "record.json").read_text("utf-8"))[
            "test"
        ]
    )
    assert examine(store).findings == ()


def unfinished(cell: Cell) -> None:
    """Leave *cell* as a run leaves it that was killed right after it trained."""
    cell.record.unlink()
    (cell.folder.parent / "index.json").unlink()


@pytest.mark.parametrize(
    ("gone", "aside"),
    [
        ("draw.json", {"ticket.safetensors", "train.json", "model.safetensors"}),
        ("train.json", {"model.safetensors"}),
        (
            "contents.json",
            {"draw.json", "ticket.safetensors", "train.json", "model.safetensors"},
        ),
    ],
)
def test_what_an_unfinished_run_cannot_go_on_without_is_refused_and_then_made_again(
    store: Store, cell: Cell, made: tuple[soup.Recipe, Path], gone: str, aside: set[str]
) -> None:
    unfinished(cell)
    ticket = cell.ticket.read_bytes()
    (cell.folder / gone).unlink()
    with pytest.raises(StoreError, match=rf"{gone}.*instant-soup doctor"):
        soup.run(made[0], store)

    health = examine(store)
    assert f"{gone} is gone" in health.findings[0].what
    for name in aside:
        assert not (cell.folder / name).exists(), name
        assert len(list((store.folder / "quarantine").rglob(name))) == 1, name

    soup.run(made[0], store)
    assert cell.ticket.read_bytes() == ticket
    assert examine(store).findings == ()


def test_contents_that_leave_out_a_part_are_not_those_of_today(
    store: Store, cell: Cell, made: tuple[soup.Recipe, Path]
) -> None:
    unfinished(cell)
    facts = read_json(cell.contents)
    del facts["digests"]["model"]
    write_json(cell.contents, seal(facts))
    with pytest.raises(StoreError, match=r"the model in .* changed since"):
        soup.run(made[0], store)


@pytest.mark.parametrize("odd", [{"digests": 3}, {"files": []}, {"digests": None}])
def test_contents_that_say_nothing_are_named_and_put_aside(
    store: Store, cell: Cell, made: tuple[soup.Recipe, Path], odd: dict[str, Any]
) -> None:
    unfinished(cell)
    write_json(cell.contents, seal({**read_json(cell.contents), **odd}))
    with pytest.raises(StoreError, match=r"contents\.json does not say what"):
        soup.run(made[0], store)
    assert found(examine(store)) == ["contents.json"]


def test_a_finished_run_is_whole_without_its_bills(store: Store, cell: Cell) -> None:
    for name in ("draw.json", "train.json", "contents.json"):
        (cell.folder / name).unlink()
    assert examine(store).findings == ()


def test_what_was_begun_with_contents_that_nobody_can_read_is_made_again(
    store: Store, cell: Cell, made: tuple[soup.Recipe, Path]
) -> None:
    unfinished(cell)
    cell.contents.write_text("{", encoding="utf-8")
    assert found(examine(store)) == ["contents.json"]
    assert not cell.ticket.exists()
    soup.run(made[0], store)
    assert examine(store).findings == ()


@pytest.mark.parametrize(
    "odd", [{"seconds": {}}, {"bill": []}, {"reused": {"eggs": 1}}, {"clock": {"x": -1}}]
)
def test_a_bill_that_no_run_would_write_is_refused_by_its_name(
    store: Store, cell: Cell, made: tuple[soup.Recipe, Path], odd: dict[str, Any]
) -> None:
    unfinished(cell)
    write_json(cell.bill("draw"), seal({**read_json(cell.bill("draw")), **odd}))
    with pytest.raises(StoreError, match=r"draw\.json is no bill that a run would write"):
        soup.run(made[0], store)
    assert found(examine(store)) == ["draw.json"]


def test_a_shared_training_that_differs_is_found_and_made_again(
    store: Store, cell: Cell, made: tuple[soup.Recipe, Path]
) -> None:
    for path in (store.folder / "shelf").glob("*/*.safetensors"):
        flip(path, path.stat().st_size - 3)
    health = examine(store)
    assert len(health.findings) == 3
    assert all("checksum" in finding.what for finding in health.findings)
    shutil.rmtree(cell.folder)
    soup.run(made[0], store)
    assert (
        cell.ticket.read_bytes()
        == (made[1] / cell.folder.name / "ticket.safetensors").read_bytes()
    )


def test_what_a_killed_writer_left_is_put_aside(store: Store, cell: Cell) -> None:
    (cell.folder / ".record.json.0123456789abcdef0123456789abcdef").write_bytes(b"half")
    health = examine(store)
    assert [finding.what for finding in health.findings] == [
        "half-written: its writer was killed"
    ]
    assert b"half" in contents(store.folder / "quarantine")


def test_a_record_that_is_gone_is_known_to_have_been_there(
    store: Store, cell: Cell
) -> None:
    cell.record.unlink()
    (finding,) = examine(store).findings
    assert finding.path == cell.folder
    assert "the record of mini lth 70% seed 0 is gone" in finding.what
    assert examine(store).findings == ()  # said once; the index is now of what is there


def test_a_record_that_was_put_in_anothers_place_is_found(
    store: Store, cell: Cell
) -> None:
    record = read_json(cell.record)
    write_json(cell.record, seal({**record, "validation": record["validation"] + 0.1}))
    (finding,) = examine(store).findings
    assert "is another record" in finding.what


@pytest.mark.parametrize("damage", ["gone", "half", "other"])
def test_an_index_is_made_again(store: Store, damage: str) -> None:
    path = store.index
    whole = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_text("{" if damage == "half" else '{"schema": 7}', encoding="utf-8")
    health = examine(store)
    assert found(health) == ([] if damage == "gone" else ["index.json"])
    assert path.read_bytes() == whole


def test_looking_only_moves_nothing(store: Store, cell: Cell) -> None:
    flip(cell.record, 40)
    flip(cell.model, cell.model.stat().st_size - 3)
    before = {
        path: path.read_bytes() for path in store.folder.rglob("*") if path.is_file()
    }
    health = examine(store, mend=False)
    assert {"record.json", "model.safetensors"} <= set(found(health))
    assert all(finding.aside is None for finding in health.findings)
    assert {path: path.read_bytes() for path in before} == before


@pytest.fixture
def held(cell: Cell) -> Iterator[None]:
    """As if another process were at it."""
    script = (
        "import sys, time; from pathlib import Path; from instant_soup.store.cell import Cell\n"
        "with Cell(Path(sys.argv[1])).hold(): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(cell.folder)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield
        process.kill()


def test_a_cell_that_is_being_worked_on_is_left_alone(
    store: Store, cell: Cell, held: None
) -> None:
    (cell.folder / ".model.safetensors.0123").write_bytes(b"half")
    health = examine(store)
    assert (health.busy, health.findings) == (1, ())
    assert (cell.folder / ".model.safetensors.0123").exists()


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no folder at"):
        examine(Store(tmp_path / "nowhere"))


def test_records_of_older_schemas_have_no_checksum_and_are_no_damage(
    store: Store, cell: Cell
) -> None:
    record: dict[str, Any] = json.loads(cell.record.read_text(encoding="utf-8"))
    del record["checksum"]
    cell.record.write_text(
        json.dumps({**record, "schema": 2}, indent=2, sort_keys=True) + "\n",
        encoding="utf-8",
    )
    store.index.unlink()
    assert examine(store).findings == ()


ODD = {
    "a list": "[]\n",
    "a table of nothing": "{}\n",
    "no regular number": '{"schema": 1e999}\n',
    "tables without end": "[" * 100_000,
    "a recipe of nothing": as_json(
        seal({"schema": 3, "key": "k", "recipe": None, "cost": None})
    ),
}


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
@pytest.mark.parametrize(
    "name", ["record.json", "../index.json", "../transfers/odd.json"]
)
def test_odd_files_are_named_and_end_nothing(
    store: Store, cell: Cell, name: str, text: str
) -> None:
    path = cell.folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    assert path.name in found(examine(store))
    assert examine(store).findings == ()
