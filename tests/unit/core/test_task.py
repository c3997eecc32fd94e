"""Task: what a method asks of the world, and that every learner answers to it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest

from instant_soup.core.budget import Meter
from instant_soup.core.task import (
    Base,
    Bookmark,
    Brief,
    Learner,
    Sample,
    Shelf,
    Task,
    Variation,
)
from instant_soup.runs.sizes import Sizes
from instant_soup.runs.stand_in import StandIn, StandInTask
from instant_soup.store.bookmark import FolderBookmark
from instant_soup.store.trainings import FolderShelf
from instant_soup.tasks import CourseTask
from instant_soup.training.learner import ModuleLearner
from instant_soup.training.regime import Regime

SIZES = Sizes("name", horizon=1, batch=1, train=1, validation=1, test=1, groups=1)


def asked_of(protocol: type) -> dict[str, Any]:
    return {
        name: value for name, value in vars(protocol).items() if not name.startswith("_")
    }


def parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    return list(inspect.signature(function).parameters.values())


@pytest.mark.parametrize(
    ("protocol", "who"),
    [
        (Learner, ModuleLearner),
        (Learner, StandIn(Meter(), SIZES)),
        (Task, CourseTask(None, Regime())),  # type: ignore[arg-type]
        (Task, StandInTask(SIZES)),
        (Bookmark, FolderBookmark(Path("folder"))),
        (Shelf, FolderShelf(Path("folder"), "owner")),
    ],
    ids=["learner", "stand-in", "task", "stand-in task", "bookmark", "shelf"],
)
def test_who_stands_for_a_protocol_answers_to_all_of_it(
    protocol: type, who: object
) -> None:
    """A plan rests on the stand-in: a method that could ask a learner for more would break it."""
    kind = who if isinstance(who, type) else type(who)
    for name, asked in asked_of(protocol).items():
        assert name in dir(who)
        if inspect.isfunction(asked):
            wanted, given = parameters(asked), parameters(getattr(kind, name))
            assert [(p.name, p.kind, p.default) for p in given[: len(wanted)]] == [
                (p.name, p.kind, p.default) for p in wanted
            ]
            assert all(
                p.default is not inspect.Parameter.empty for p in given[len(wanted) :]
            )


def test_a_plain_look_ahead_trains_as_the_main_line_does() -> None:
    assert Variation() == Variation(
        rate=1.0, weight_decay=None, label_smoothing=0.0, subset=1.0, seed=0
    )
    assert not Brief(3, Variation()).carry_optimizer


@pytest.mark.parametrize(
    "value",
    [Base("a", "b"), Variation(), Brief(1, Variation()), Sample(1)],
    ids=lambda value: type(value).__name__,
)
def test_what_is_handed_to_a_learner_cannot_be_changed_on_its_way(value: object) -> None:
    field = next(iter(vars(value)))
    with pytest.raises(FrozenInstanceError):
        setattr(value, field, None)
