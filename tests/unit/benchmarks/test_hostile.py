"""Odd inputs at random: none makes a fault of ours, loses a file or opens a connection."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[3]
COUNTS = {"records": 50, "recipes": 50, "checkpoints": 80, "imports": 50, "tickets": 100}


@pytest.fixture(scope="module")
def hostile() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "hostile", ROOT / "benchmarks" / "hostile.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["hostile"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("kind", COUNTS)
def test_odd_inputs_are_taken_or_refused_in_a_sentence(
    hostile: ModuleType, kind: str
) -> None:
    tally = hostile.tried(kind, seed=1000, count=COUNTS[kind])
    print(
        f"{kind}: {tally.commands} commands, {tally.accepted} accepted, {tally.refused} refused"
    )
    assert tally.clean, (tally.faults, tally.lost, tally.connections)
    assert tally.refused > 0
    assert tally.commands >= COUNTS[kind]


def test_every_kind_is_tried(hostile: ModuleType) -> None:
    assert COUNTS.keys() == hostile.KINDS.keys()


def test_a_fault_a_lost_file_and_a_connection_would_be_seen(
    hostile: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check can fail: a command that does all three is caught at all three."""
    import socket

    def compare(folder: Path) -> list[object]:
        next(folder.rglob("record.json")).unlink()
        with pytest.raises(OSError, match="no network"):
            socket.getaddrinfo("example.org", 80)
        raise ZeroDivisionError(json.dumps({"odd": True}))

    monkeypatch.setattr("instant_soup.evidence.runs.gather", compare)
    tally = hostile.Tally()

    def always_compare(_dice: object, folder: Path) -> list[list[str]]:
        (folder / "runs").mkdir()
        (folder / "runs" / "record.json").write_text("{}", encoding="utf-8")
        return [["compare", str(folder / "runs")]]

    hostile.attempt(always_compare, 0, tally)
    assert (tally.lost, tally.connections, tally.faults.total()) == (1, 1, 1)
