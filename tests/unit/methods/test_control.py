"""Control tickets: what they keep of the ticket, and what they take away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

import instant_soup as soup
from instant_soup.core.errors import TicketError, UnknownName
from instant_soup.core.pattern import Pattern, follows
from instant_soup.methods import CONTROLS, InstantSoup, control, shuffled
from instant_soup.tasks import CourseTask

Make = Callable[..., CourseTask]


@pytest.fixture
def task(points: Make) -> CourseTask:
    return points()


@pytest.fixture(params=["rewind", "continue"])
def ticket(request: pytest.FixtureRequest, task: CourseTask) -> soup.Ticket:
    """One that starts at the pre-trained weights, and one that is trained."""
    return InstantSoup(
        compression=0.3, lookahead_steps=2, carry="none", finish=request.param
    ).draw(task, 0.6)


def whole(ticket: soup.Ticket, task: CourseTask) -> dict[str, torch.Tensor]:
    """All the weights that it stands for."""
    learner = task.learner(soup.Meter())
    learner.apply_mask(ticket.mask)
    learner.restore(ticket.start)
    return dict(learner.weights())


@pytest.mark.parametrize("kind", CONTROLS)
def test_a_control_keeps_as_many_weights_of_each_parameter_and_others(
    kind: str, ticket: soup.Ticket, task: CourseTask
) -> None:
    other = control(ticket, task, kind)
    assert other.mask.kept_by_name == ticket.mask.kept_by_name
    for name in ticket.mask:
        assert not torch.equal(other.mask[name], ticket.mask[name])
    assert not other.ready
    assert other.method["of"] == ticket.digest
    assert other.method["kind"] == kind


def test_layers_starts_as_untrained_as_the_model_even_where_the_ticket_is_trained(
    ticket: soup.Ticket, task: CourseTask
) -> None:
    other = control(ticket, task, "layers")
    origin = task.learner(soup.Meter()).origin

    for name, tensor in whole(other, task).items():
        keep = other.mask.get(name, 1)
        assert torch.equal(tensor, origin[name] * keep), name


def test_layers_has_the_head_of_a_ticket_that_starts_from_the_pre_trained_weights(
    mini: CourseTask,
) -> None:
    """Also on a task of another seed, whose own new head is another one."""
    ticket = soup.OneShot().draw(mini, 0.5)
    elsewhere = replace(mini, seed=mini.seed + 1)
    other = control(ticket, elsewhere, "layers")

    assert ticket.start
    for name, tensor in ticket.start.items():
        assert torch.equal(other.start[name], tensor), name


def test_a_control_costs_what_its_ticket_did(
    ticket: soup.Ticket, task: CourseTask
) -> None:
    other = control(ticket, task, "layers")
    assert ticket.cost.steps > 0
    assert other.cost == ticket.cost

    result = soup.evaluate(other, task)
    assert result.cost.steps == ticket.cost.steps + task.horizon


def test_shuffled_moves_survivors_about_within_their_parameter(
    ticket: soup.Ticket, task: CourseTask
) -> None:
    there, here = whole(ticket, task), whole(control(ticket, task, "shuffled"), task)
    for name, part in there.items():
        if name in ticket.mask:
            assert torch.equal(
                here[name].flatten().sort().values, part.flatten().sort().values
            )
            assert not torch.equal(here[name], part)
        else:
            assert torch.equal(here[name], part)


@pytest.mark.parametrize("kind", CONTROLS)
def test_a_control_follows_the_seed_of_its_task(
    kind: str, ticket: soup.Ticket, task: CourseTask
) -> None:
    first, again, other = (
        control(ticket, replace(task, seed=seed), kind) for seed in (0, 0, 1)
    )
    assert first.digest == again.digest
    assert first.mask != other.mask


def test_the_kinds_shuffle_apart(ticket: soup.Ticket, task: CourseTask) -> None:
    assert control(ticket, task, "layers").mask != control(ticket, task, "shuffled").mask


@pytest.mark.parametrize("kind", CONTROLS)
def test_a_control_is_fine_tuned_as_any_other_ticket(
    kind: str, ticket: soup.Ticket, task: CourseTask
) -> None:
    meter = soup.Meter()
    other = control(ticket, task, kind, meter)
    assert not meter.bill  # it costs nothing to make
    weights = soup.evaluate(other, task, meter=meter).weights
    assert meter.bill["train"].steps == task.horizon
    assert all(not weights[name][~other.mask[name]].any() for name in other.mask)


def test_a_ticket_of_another_model_is_refused(
    ticket: soup.Ticket, task: CourseTask, points: Make
) -> None:
    base = replace(task.course.base, digest="0" * 64)
    with pytest.raises(TicketError, match="the weights of 'points' are others"):
        control(ticket, replace(task, course=replace(task.course, base=base)), "layers")
    scope = soup.Scope({"one.weight": (12, 6)})
    with pytest.raises(TicketError, match="evaluate it on the model it was drawn from"):
        control(ticket, replace(task, course=replace(task.course, scope=scope)), "layers")


def test_a_kind_that_does_not_exist_is_refused(
    ticket: soup.Ticket, task: CourseTask
) -> None:
    with pytest.raises(
        UnknownName, match="unknown control 'layer'; did you mean 'layers'"
    ):
        control(ticket, task, "layer")


@pytest.mark.parametrize("kind", CONTROLS)
def test_a_control_of_a_pattern_follows_it(kind: str, mini: CourseTask) -> None:
    """Else the comparison would be of a pattern with none."""
    ticket = soup.OneShot(pattern="2:4").draw(mini, 0.5)
    other = control(ticket, mini, kind)
    assert other.mask != ticket.mask
    for name in other.mask:
        assert follows(other.mask[name], Pattern(2, 4), -1), name

    # values move along with their places
    if kind == "shuffled":
        weights = whole(ticket, mini)
        for name, moved in whole(other, mini).items():
            if name in ticket.mask:
                groups = moved.reshape(-1, 4).sort(1).values
                assert torch.equal(groups, weights[name].reshape(-1, 4).sort(1).values)


def test_a_shuffle_of_a_pattern_follows_it(mini: CourseTask) -> None:
    other = shuffled(soup.OneShot(pattern="2:4").draw(mini, 0.5))
    assert all(follows(other.mask[name], Pattern(2, 4), -1) for name in other.mask)
