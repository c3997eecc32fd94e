"""Odd inputs at random: none makes a fault of ours, loses a file or opens a connection."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[3]
COUNTS = {
    "records": 100,
    "recipes": 100,
    "tickets": 200,
    "imports": 100,
    "checkpoints": 80,
    "stores": 60,
    "bookmarks": 20,
    "sweeps": 60,
    "data": 40,
    "models": 30,
    "names": 80,
}


@pytest.fixture(scope="module")
def hostile() -> ModuleType:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    spec = importlib.util.spec_from_file_location(
        "hostile", ROOT / "benchmarks" / "hostile.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["hostile"] = module
    spec.loader.exec_module(module)
    sys.path.remove(str(ROOT / "benchmarks"))
    return module


# as on the command line, a warning is no error
@pytest.mark.filterwarnings("default")
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
