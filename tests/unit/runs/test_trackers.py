"""Trackers are told everything, can change nothing, and are not there unless asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import instant_soup as soup
from instant_soup.core import extras
from instant_soup.core.errors import MissingExtra, SoupError, UnknownName
from instant_soup.runs import trackers as track
from instant_soup.runs.trackers import tracked


class Fake:
    """Keeps what it is told; raises at *fails*."""

    def __init__(self, fails: str = "") -> None:
        self.fails, self.told = fails, list[tuple[str, Any]]()

    def _tell(self, act: str, what: Any = None) -> None:
        if act == self.fails:
            raise ConnectionError("gone")
        self.told.append((act, what))

    def start(self) -> None:
        self._tell("start")

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self._tell("configure", values)

    def log(self, values: dict[str, float], step: int) -> None:
        self._tell("log", (step, values))

    def finish(self) -> None:
        self._tell("finish")


@pytest.fixture
def recipe(mini_recipe: dict[str, Any]) -> soup.Recipe:
    return soup.Recipe.parse(mini_recipe)


def run(recipe: soup.Recipe, folder: Path, names: list[str]) -> dict[str, Any]:
    with tracked(names, recipe, folder) as trackers:
        record = soup.run(recipe, soup.Store(folder), lambda _: trackers.watch)
        trackers.finish(record)
    return record


def test_a_tracker_is_told_the_recipe_every_piece_of_work_and_what_came_of_it(
    recipe: soup.Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = Fake()
    monkeypatch.setattr(track, "_tracker", lambda *_: fake)
    record = run(recipe, tmp_path, ["tensorboard"])
    acts = [act for act, _ in fake.told]
    assert acts[:2] == ["start", "configure"]
    assert acts[-1] == "finish"
    assert set(acts[2:-1]) == {"log"}
    configuration = fake.told[1][1]
    assert configuration["method.denoisers"] == 2
    assert all(
        isinstance(value, int | float | str | bool) for value in configuration.values()
    )
    logged = [what for act, what in fake.told if act == "log"]
    assert [step for step, _ in logged] == list(range(1, len(logged) + 1))
    assert logged[-1][1] == {
        "test/accuracy": record.test["accuracy"],
        "validation": record.validation,
        "cost in T": record.cost.multiple_of_T,
    }
    trained = [
        values["fine-tune/steps"] for _, values in logged if "fine-tune/steps" in values
    ]
    assert trained[-1] == record.cost.train["train"].steps


@pytest.mark.parametrize("fails", ["start", "configure", "log", "finish"])
def test_a_tracker_that_fails_is_dropped_with_one_warning_and_changes_nothing(
    recipe: soup.Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    alone = soup.run(recipe, soup.Store(tmp_path / "alone"))
    fakes = {"tensorboard": Fake(fails), "mlflow": Fake()}
    monkeypatch.setattr(track, "_tracker", lambda name, *_: fakes[name])
    with pytest.warns(
        UserWarning, match=rf"tensorboard could not {fails} \(gone\); the run goes on"
    ) as warned:
        record = run(recipe, tmp_path / "tracked", list(fakes))
    assert len(warned) == 1
    assert record.ticket.digest == alone.ticket.digest
    assert record.test == alone.test
    assert fakes["mlflow"].told[-1] == ("finish", None)


def test_trackers_are_finished_when_the_run_raises(
    recipe: soup.Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = Fake()
    monkeypatch.setattr(track, "_tracker", lambda *_: fake)
    with pytest.raises(SoupError), tracked(["wandb"], recipe, tmp_path):
        raise SoupError("the run failed")
    assert fake.told[-1] == ("finish", None)


def test_an_unknown_tracker_is_met_with_the_nearest(
    recipe: soup.Recipe, tmp_path: Path
) -> None:
    with (
        pytest.raises(
            UnknownName, match="unknown tracker 'tensorbord'; did you mean 'tensorboard'"
        ),
        tracked(["tensorbord"], recipe, tmp_path),
    ):
        pass


def test_a_tracker_whose_package_is_missing_says_what_to_install(
    recipe: soup.Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda _: None)
    with (
        pytest.raises(MissingExtra, match=r"pip install 'instant-soup\[mlflow\]'"),
        tracked(["mlflow"], recipe, tmp_path),
    ):
        pass


def test_no_tracker_is_imported_unless_asked_for() -> None:
    script = (
        "import sys, instant_soup.runs.trackers as track, instant_soup.runs.run\n"
        "assert not {'mlflow', 'wandb', 'trackio', 'tensorboard'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_tensorboard_writes_below_the_runs_folder(
    recipe: soup.Recipe, tmp_path: Path
) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    run(recipe, tmp_path, ["tensorboard"])
    assert list((tmp_path / "tensorboard").rglob("events.out.*"))
