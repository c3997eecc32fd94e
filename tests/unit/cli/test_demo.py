"""The demo, with a few steps and examples in place of its thousands: everything but the wait."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
from typer.testing import CliRunner

import instant_soup as soup
from instant_soup.cli.main import app
from instant_soup.data.polarity import polarity
from instant_soup.data.source import Splits
from instant_soup.runs import demo
from instant_soup.store.record import read_run


def test_the_demo_compares_three_lines_at_equal_steps_names_the_files_it_wrote_and_says_what_to_do_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        demo, "TRAINING", {"rate": 5e-5, "batch": 8, "steps": 16, "line": "flat"}
    )
    for knob, value in {"lookahead_steps": 1, "rounds": 4, "denoised_rounds": 1}.items():
        monkeypatch.setitem(demo.SOUP, knob, value)
    rows = polarity()
    few = Splits(
        *(part.select(range(64)) for part in (rows.train, rows.validation, rows.test))
    )
    monkeypatch.setattr(import_module("instant_soup.tasks.text"), "polarity", lambda: few)
    result = CliRunner().invoke(
        app, ["demo", "--out", str(tmp_path), "--sparsity", "0.8"]
    )
    assert result.exit_code == 0, result.output
    for title in ("dense", "one-shot", "instant soup"):
        assert title in result.stdout
    assert "80.0%" in result.stdout
    assert "cost in T" in result.stdout
    assert "\\n" not in result.stdout
    said, next_steps = result.stdout.split("What to do next:")
    folders = [
        Path(line.split()[-1]) for line in said.splitlines() if str(tmp_path) in line
    ]
    assert len(folders) == 4
    ticket = soup.Ticket.load(folders[-1])
    assert f"instant-soup ticket info {folders[-1]}" in next_steps
    records = [read_run(folder / "record.json") for folder in folders[:-1]]
    assert {record.cost.total.steps for record in records} == {16}
    assert ticket.method["name"] == "instant-soup"
    assert ticket.mask.kept == round(0.2 * ticket.mask.scope.size)
    again = CliRunner().invoke(
        app, ["demo", "--out", str(tmp_path), "--sparsity", "0.8", "--quiet"]
    )
    assert again.stdout.splitlines()[2:] == result.stdout.splitlines()[2:]


def test_the_demo_refuses_a_sparsity_that_makes_no_sense(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, ["demo", "--out", str(tmp_path / "demo"), "--sparsity", "1"]
    )
    assert result.exit_code == 2
    assert "sparsity is 1" in result.stderr
    assert not (tmp_path / "demo").exists()
