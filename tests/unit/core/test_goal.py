"""A ticket that comes back trained knows what for, and is judged on no other task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import instant_soup as soup
from instant_soup.core.errors import TicketError
from instant_soup.core.goal import Goal
from instant_soup.tasks import CourseTask


@pytest.fixture
def trained(mini: CourseTask) -> soup.Ticket:
    return soup.Gradual(rounds=2).draw(mini, 0.5)


def named(task: CourseTask, name: str, classes: tuple[str, ...]) -> CourseTask:
    return replace(task, course=replace(task.course, name=name, classes=classes))


def test_it_is_known_of_a_ticket_that_has_travelled(
    trained: soup.Ticket, mini: CourseTask, tmp_path: Path
) -> None:
    trained.save(tmp_path / "ticket.safetensors")
    loaded = soup.Ticket.load(tmp_path / "ticket.safetensors")
    assert Goal.of(loaded) == Goal("mini", tuple(mini.course.classes))


@pytest.mark.parametrize(
    ("name", "classes"), [("mini", ("ham", "spam")), ("other", None)], ids=str
)
def test_a_trained_ticket_is_refused_on_another_task(
    trained: soup.Ticket, mini: CourseTask, name: str, classes: tuple[str, ...] | None
) -> None:
    other = named(mini, name, mini.course.classes if classes is None else classes)
    with pytest.raises(TicketError, match=r"trained to the end for 'mini' .*transfer"):
        soup.evaluate(trained, other)


def test_on_more_rows_of_its_own_task_it_is_judged(
    trained: soup.Ticket, mini: CourseTask
) -> None:
    assert soup.evaluate(trained, replace(mini, seed=mini.seed + 1)).test


def test_a_ticket_that_is_to_be_fine_tuned_may_be_fine_tuned_on_any_task(
    mini: CourseTask,
) -> None:
    ticket = soup.OneShot().draw(mini, 0.5)
    assert soup.evaluate(ticket, named(mini, "other", ("ham", "spam"))).test


def test_a_model_with_nothing_of_one_task_alone_has_no_goal(
    points: Callable[..., CourseTask],
) -> None:
    task = points()
    bare = replace(task, course=replace(task.course, fresh=frozenset(), classes=()))
    assert Goal.of(soup.Gradual(rounds=2).draw(bare, 0.5)) is None


@pytest.mark.parametrize(
    "notes", [{}, {"task": 3}, {"task": [{}]}, {"task": [3, 4]}], ids=str
)
def test_notes_of_strangers_tell_nothing(
    trained: soup.Ticket, mini: CourseTask, notes: dict[str, object]
) -> None:
    assert Goal.of(replace(trained, notes=notes)) is None
    assert soup.evaluate(replace(trained, notes=notes), mini).test
