"""Tickets of each task on each other, beside what was drawn for that very task on the same seeds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from instant_soup.core.errors import StoreError
from instant_soup.evidence.compare import compare
from instant_soup.evidence.machines import as_json
from instant_soup.evidence.markdown import markdown
from instant_soup.evidence.statistics import interval
from instant_soup.evidence.transfers import TRANSFERRED, Matrix, matrices
from instant_soup.store.plain import seal

from .made_records import moved, named, record

TASKS = ("glue/cola", "glue/rte")


def runs() -> list[dict[str, Any]]:
    made = []
    for task in TASKS:
        made += [
            record("dense", 0.9, task=task, sparsity=0.0, seed=seed) for seed in (0, 1)
        ]
        made += [
            record("magnitude", 0.7, task=task),
            record("instant-soup", 0.75, task=task),
        ]
        made += [
            record("magnitude", 0.1, task=task, seed=1),
            record("magnitude", 0.99, task=task, budget=2.0),
        ]
        made += [record("instant-soup", 0.2, task=task, control="layers")]
    return [*made, record("random", 0.5, task="glue/rte")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "transfers").mkdir()
    for name, one in {
        "there": moved("glue/cola", "glue/rte", 0.8),
        "back": moved("glue/rte", "glue/cola", 0.6),
    }.items():
        (tmp_path / "transfers" / f"{name}.json").write_text(
            json.dumps(seal(one)), encoding="utf-8"
        )
    return tmp_path


@pytest.fixture
def found(folder: Path) -> Matrix:
    (only,) = matrices(folder, named(runs()))
    return only


def test_a_matrix_holds_transfers_ordinary_runs_and_references_of_the_same_seeds(
    found: Matrix,
) -> None:
    assert (found.method, found.sparsity, found.sources) == ("instant-soup", 0.5, TASKS)
    figures = {key: cell.mean for key, cell in found.cells.items()}
    assert figures == {
        ("glue/cola", "glue/rte"): 0.8,
        ("glue/rte", "glue/cola"): 0.6,
        ("glue/cola", "glue/cola"): 0.75,
        ("glue/rte", "glue/rte"): 0.75,
    }
    assert {key: cell.mean for key, cell in found.references.items()} == {
        ("magnitude", "glue/cola"): 0.7,  # of seed 0 only, as the transfers
        ("magnitude", "glue/rte"): 0.7,
        ("random", "glue/rte"): 0.5,
        ("dense", "glue/cola"): 0.9,
        ("dense", "glue/rte"): 0.9,
    }
    assert found.rows == (*TASKS, "magnitude", "random", "dense")


def test_it_says_how_often_tickets_travel_well(found: Matrix) -> None:
    assert found.summary == (
        "Of tickets from another task, 1 of 2 reach at least what the task's own ticket does and "
        "1 of 2 reach at least what one-shot magnitude pruning does."
    )


def test_without_runs_of_the_target_itself_it_says_so(folder: Path) -> None:
    (found,) = matrices(folder, [])
    assert found.summary.startswith("Nothing was drawn on these tasks")


def test_it_can_be_narrowed_to_some_targets(found: Matrix) -> None:
    narrow = found.onto(["glue/rte"])
    assert narrow
    assert list(narrow.targets) == ["glue/rte"]
    assert narrow.at("glue/cola", "glue/rte") == found.at("glue/cola", "glue/rte")
    assert narrow.summary.startswith(
        "Of tickets from another task, 1 of 1 reach at least what the task's own"
    )
    assert found.onto(["glue/sst2"]) is None


def test_several_seeds_have_an_interval(folder: Path) -> None:
    more = moved("glue/cola", "glue/rte", 0.7, seed=1)
    (folder / "transfers" / "more.json").write_text(
        json.dumps(seal(more)), encoding="utf-8"
    )
    (found,) = matrices(folder, named(runs()))
    cell = found.cells["glue/cola", "glue/rte"]
    assert (cell.n, cell.mean) == (2, 0.75)
    assert found.references["magnitude", "glue/rte"].mean == pytest.approx(0.4)


def test_another_setting_of_a_task_is_another_task(folder: Path) -> None:
    short = moved("glue/cola", "glue/rte", 0.3, training={"batch": 5})
    (folder / "transfers" / "short.json").write_text(
        json.dumps(seal(short)), encoding="utf-8"
    )
    made = [*runs(), {**record("magnitude", 0.6, task="glue/rte"), "key": "k"}]
    made[-1]["recipe"] = {**made[-1]["recipe"], "training": {"batch": 5}}
    (found,) = matrices(folder, named(made))
    assert list(found.targets) == ["glue/cola", "glue/rte", "glue/rte (batch=5)"]
    assert found.references["magnitude", "glue/rte (batch=5)"].mean == 0.6


def test_a_ticket_of_nobody_knows_what_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "transfers").mkdir()
    one = moved("glue/cola", "glue/rte", 0.8)
    one["source"]["recipe"] = None
    (tmp_path / "transfers" / "one.json").write_text(
        json.dumps(seal(one)), encoding="utf-8"
    )
    assert matrices(tmp_path, named(runs())) == ()
    assert matrices(tmp_path / "none", named(runs())) == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [("{", "could not read"), ('{"schema": 9, "key": "k"}', "of schema 9")],
)
def test_a_record_that_cannot_be_read_is_named(
    tmp_path: Path, text: str, said: str
) -> None:
    (tmp_path / "transfers").mkdir()
    (tmp_path / "transfers" / "one.json").write_text(text, encoding="utf-8")
    with pytest.raises(StoreError, match=said):
        matrices(tmp_path, [])


def test_the_table_frames_the_own_ticket_and_says_how_to_read_it(found: Matrix) -> None:
    text = markdown(compare(named(runs())), [found])
    assert "## Transfer: instant-soup, 50% pruned" in text
    assert "| ticket of | glue/cola, accuracy | glue/rte, accuracy |" in text
    assert "| glue/cola | [0.750] | 0.800 |" in text
    assert "| by random |  | 0.500 |" in text
    assert TRANSFERRED in text
    assert "Transfer" not in markdown(compare(named(runs())))


def test_json_holds_the_figures(found: Matrix) -> None:
    whole = json.loads(as_json(compare(named(runs())), [found]))
    assert whole["transfers"][0]["figures"]["glue/cola"] == {
        "glue/cola": 0.75,
        "glue/rte": 0.8,
    }


def test_a_perplexity_reaches_what_it_does_not_exceed() -> None:
    cells = {
        ("brown", "brown"): interval([30.0]),
        ("news", "brown"): interval([40.0]),
        ("news", "news"): interval([20.0]),
        ("brown", "news"): interval([15.0]),
    }
    matrix = Matrix(
        method="snip",
        sparsity=0.5,
        sources=("brown", "news"),
        targets={"brown": "perplexity", "news": "perplexity"},
        cells=cells,
        references={("magnitude", "brown"): interval([50.0])},
    )
    assert matrix.summary == (
        "Of tickets from another task, 1 of 2 reach at least what the task's own ticket does and "
        "1 of 1 reach at least what one-shot magnitude pruning does."
    )
