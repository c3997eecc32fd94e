"""`instant-soup compare DIR`, as a person or a script meets it."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from instant_soup.cli.main import app

RESULTS = Path(__file__).parents[3] / "results"
Call = Callable[..., Result]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Call:
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app, ["compare", *map(str, words)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """CoLA with three seeds of some methods, MNIST with one of all."""
    for task in ("cola", "mnist"):
        shutil.copytree(RESULTS / task, tmp_path / "runs" / task)
    return tmp_path / "runs"


def test_a_person_sees_tables_ranks_and_what_cannot_be_said(
    call: Call, folder: Path
) -> None:
    result = call(folder)
    assert result.exit_code == 0, result.output
    for words in (
        "glue/cola, 50% pruned", "vision/mnist, nothing pruned", " ± ", "to magnitude", "to dense", "few seeds",
        "At equal cost", "What to use at your budget", "leave the ranks", "have fewer than 3 seeds", "test examples",
        "older schema",
    ):  # fmt: skip
        assert words in result.stdout, words
    assert "what it cost" not in result.stdout


def test_runs_is_where_it_looks_unless_told_otherwise(call: Call, folder: Path) -> None:
    assert call().stdout == call(folder).stdout


def test_one_task_is_shown_alone(call: Call, folder: Path) -> None:
    assert "vision/mnist" not in call(folder, "--task", "glue/cola").stdout


def test_costs_show_look_aheads_counted_and_not(call: Call, folder: Path) -> None:
    result = call(folder, "--costs", "--task", "glue/cola")
    head = next(line for line in result.stdout.splitlines() if "what it cost" in line)
    assert all(
        words in head
        for words in ("look-ahead, T", "all, T", "no look-ahead, T", "FLOPs", "MiB")
    )
    rows = [
        line
        for line in result.stdout.splitlines()
        if "instant-soup" in line and "1.63" in line
    ]
    assert any("1.20" in row and "0.41" in row and "1.22" in row for row in rows)


def test_machines_get_csv_and_json(call: Call, folder: Path) -> None:
    rows = list(csv.DictReader(call(folder, "--csv").stdout.splitlines()))
    assert len(rows) == len(list(folder.rglob("*.json")))
    whole = json.loads(call(folder, "--json").stdout)
    assert {line["task"] for line in whole["lines"]} == {"glue/cola", "vision/mnist"}


def test_papers_and_pages_get_latex_and_markdown(call: Call, folder: Path) -> None:
    assert r"\toprule" in call(folder, "--latex").stdout
    assert "## glue/cola, 50% pruned" in call(folder, "--markdown").stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--reference", "magnitud"], "did you mean 'magnitude'?"),
        (["--task", "glue/kola"], "did you mean 'glue/cola'?"),
        (["--csv", "--json"], "exclude each other"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(
    call: Call, folder: Path, words: list[str], said: str
) -> None:
    result = call(folder, *words)
    assert result.exit_code == 2
    assert said in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert result.stdout == ""


@pytest.fixture
def without_magnitude(folder: Path) -> Path:
    """The same folder without what others are usually set against."""
    for path in folder.rglob("*.json"):
        if json.loads(path.read_text())["recipe"]["method"]["name"] == "magnitude":
            path.unlink()
    return folder


def test_without_the_usual_reference_the_tables_are_shown_and_say_so(
    call: Call, without_magnitude: Path
) -> None:
    result = call(without_magnitude, "--task", "glue/cola")
    assert result.exit_code == 0, result.stderr
    for words in ("glue/cola, 50% pruned", "instant-soup", "difference", "your budget"):
        assert words in result.stdout
    said = " ".join(result.stdout.split())
    assert "no run of magnitude to set the others against" in said
    assert "--reference (in Python reference=) picks another: " in said
    assert "lth" in said[said.index("picks another: ") :]

    assert "than  beyond" not in call(without_magnitude, "--latex").stdout
    assert call(without_magnitude, "--markdown").exit_code == 0
    assert json.loads(call(without_magnitude, "--json").stdout)["reference"] == ""


def test_another_reference_may_be_picked_and_one_without_runs_is_refused(
    call: Call, without_magnitude: Path
) -> None:
    assert "to lth" in call(without_magnitude, "--reference", "lth").stdout
    refused = call(without_magnitude, "--reference", "magnitude")
    assert refused.exit_code == 2
    assert "unknown reference 'magnitude'" in refused.stderr


@pytest.mark.parametrize("made", [True, False], ids=["empty", "missing"])
def test_a_folder_without_runs_is_refused(call: Call, tmp_path: Path, made: bool) -> None:
    if made:
        (tmp_path / "none").mkdir()
    result = call(tmp_path / "none")
    assert result.exit_code == 2
    assert ("holds no record" if made else "no folder at") in result.stderr


def test_nothing_is_written(call: Call, folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    call(folder, "--costs")
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
