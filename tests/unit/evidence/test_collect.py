"""Records are copied out of a store once, under names for people; transfers come along."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

from instant_soup.evidence.runs import collect
from instant_soup.store.plain import seal

from .made_records import moved, record

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "collect.py"


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for one in (record("magnitude", 0.7), record("dense", 0.9, sparsity=0.0)):
        put(tmp_path / "runs" / one["key"][:16] / "record.json", one)
    there = moved("glue/cola", "glue/sst2", 0.6)
    there["source"]["method"] = {"name": "instant-soup"}
    put(tmp_path / "runs" / "transfers" / "one.json", there)
    return tmp_path / "runs", tmp_path / "results"


def put(path: Path, one: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(seal(one)), encoding="utf-8")


def copied(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> set[str]:
    monkeypatch.setattr(sys, "argv", ["collect.py", *map(str, folders)])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    return {str(path.relative_to(folders[1])) for path in folders[1].rglob("*.json")} - {
        "agreement.json"
    }


@pytest.fixture(autouse=True)
def no_tickets(folders: tuple[Path, Path]) -> None:
    (folders[0] / "agreement.json").write_text("{}", encoding="utf-8")


NAMES = {
    "sst2/magnitude-50-seed0.json",
    "sst2/dense-seed0.json",
    "transfers/cola-to-sst2-instant-soup-50-seed0.json",
}


def test_runs_and_transfers_have_names_for_people(
    folders: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert copied(folders, monkeypatch) == NAMES
    assert "2 of 2 records and 1 transfers are new" in capsys.readouterr().out
    assert copied(folders, monkeypatch) == NAMES
    assert "0 of 2 records and 0 transfers are new" in capsys.readouterr().out
    assert len(collect(folders[1])) == 2


def test_another_setting_of_a_task_has_a_folder_of_its_own(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    copied(folders, monkeypatch)
    other = record("magnitude", 0.5)
    other["recipe"]["training"], other["key"] = {"batch": 5}, "0" * 64
    put(folders[0] / other["key"][:16] / "record.json", other)
    assert copied(folders, monkeypatch) == {
        *NAMES,
        "sst2-batch-5/magnitude-50-seed0.json",
    }


def test_a_damaged_record_is_not_carried_on(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folders[0] / "transfers" / "one.json"
    path.write_text(
        path.read_text(encoding="utf-8").replace("0.6", "0.7"), encoding="utf-8"
    )
    with pytest.raises(SystemExit, match="damaged"):
        copied(folders, monkeypatch)
