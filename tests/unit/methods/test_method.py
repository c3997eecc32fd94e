"""Method: variants in the table, and how tickets say which one drew them. With the two that only cut or do nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

import instant_soup as soup
from instant_soup.core.errors import SparsityError, UnknownName
from instant_soup.methods import METHODS, REFERENCES, InstantSoup, Variant, describe
from instant_soup.tasks import CourseTask

Make = Callable[..., CourseTask]
TABLES = {**METHODS, **REFERENCES}


@pytest.mark.parametrize("name", TABLES)
def test_a_ticket_can_be_drawn_again_from_how_it_describes_its_method(name: str) -> None:
    """From JSON, where tuples are lists."""
    method = TABLES[name]()
    facts = json.loads(json.dumps(describe(method)))
    assert facts.pop("name") == name == method.name
    open_knobs = {
        knob: value for knob, value in facts.items() if knob in TABLES[name].knobs
    }
    assert describe(TABLES[name](**open_knobs)) == describe(method)


@pytest.mark.parametrize("name", TABLES)
def test_a_variant_says_what_it_does_and_what_it_leaves_open(name: str) -> None:
    variant = TABLES[name]
    assert variant.summary.endswith(".")
    assert not variant.knobs.keys() & variant.fixed.keys()
    for knob in variant.knobs:
        assert f"{knob}:" in variant.make.__doc__ or f"{knob}," in variant.make.__doc__, (
            knob
        )


@pytest.mark.parametrize("name", TABLES)
def test_a_method_does_not_change(name: str) -> None:
    method: Any = TABLES[name]()
    for knob in TABLES[name].knobs or ["name"]:
        with pytest.raises((FrozenInstanceError, AttributeError)):
            setattr(method, knob, None)


def test_what_the_name_fixes_goes_before_defaults_and_what_is_given_before_presets() -> (
    None
):
    variant = Variant(
        InstantSoup,
        {"denoisers": 3, "lookahead_steps": 30},
        {"quick": {"denoisers": 1, "lookahead_steps": 5}},
    )
    drawn: list[Any] = [
        variant(),
        variant(preset="quick"),
        variant(preset="quick", lookahead_steps=7),
    ]
    assert [(each.denoisers, each.lookahead_steps) for each in drawn] == [
        (3, 30),
        (1, 5),
        (1, 7),
    ]
    assert variant.preset(None) == {}
    with pytest.raises(UnknownName, match="unknown preset 'quik'; did you mean 'quick'"):
        variant.preset("quik")


def test_one_shot_cuts_the_pre_trained_magnitudes(points: Make) -> None:
    task = points()
    sizes = {
        name: task.course.model.get_parameter(name).detach().abs()
        for name in task.course.scope
    }
    dense = soup.Mask.dense(task.course.scope)
    for across in ("model", "layer"):
        ticket = soup.OneShot(across=across).draw(task, 0.7)
        assert ticket.mask == soup.prune(sizes, dense, 0.7, across=across)
        assert set(ticket.start) == task.course.fresh
        assert ticket.cost == soup.Cost()
    with pytest.raises(UnknownName, match="did you mean 'magnitude'"):
        soup.OneShot(score="magnitud")


def test_dense_prunes_nothing_and_says_so(points: Make) -> None:
    task = points()
    ticket = soup.Dense().draw(task)
    assert ticket.mask == soup.Mask.dense(task.course.scope)
    assert soup.evaluate(ticket, task).cost.steps == 15
    with pytest.raises(
        SparsityError, match=r"sparsity is 0\.5 and method 'dense' prunes nothing"
    ):
        soup.Dense().draw(task, 0.5)
