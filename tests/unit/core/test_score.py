"""Score: higher means keep."""

from __future__ import annotations

import zlib
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from instant_soup.core.errors import ScopeError
from instant_soup.core.mask import Mask
from instant_soup.core.prune import prune
from instant_soup.core.scope import Scope
from instant_soup.core.score import SCORES, Score, chance, grasp, magnitude, snip
from instant_soup.core.task import Sample

SHAPES = {"a": (4, 5), "b": (30,)}


def learner(seed: int = 0, scope: Scope | None = None) -> Any:
    """As much of a learner as a score asks for, with a head that is out of scope."""
    dice = torch.Generator().manual_seed(0)
    weights = {name: torch.randn(shape, generator=dice) for name, shape in SHAPES.items()}
    return SimpleNamespace(
        scope=scope or Scope(SHAPES),
        view=lambda: {**weights, "head": torch.ones(2)},
        seed=lambda *purpose: zlib.crc32(repr((seed, *purpose)).encode()),
    )


@pytest.mark.parametrize("score", SCORES.values(), ids=SCORES)
def test_a_score_fits_the_scope_and_can_be_read_again(score: Score) -> None:
    """Prune asks for a tensor more than once and must be told the same."""
    scores = score(learner())
    assert list(scores) == list(SHAPES)
    for name, shape in SHAPES.items():
        assert tuple(scores[name].shape) == shape
        assert torch.equal(scores[name], scores[name])


def test_magnitude_is_the_size_of_each_weight() -> None:
    here = learner()
    scores = magnitude(here)
    assert scores["b"].tolist() == [abs(weight) for weight in here.view()["b"].tolist()]
    kept = prune(scores, Mask.dense(here.scope), 0.5)
    sizes = torch.cat([here.view()[name].abs().flatten() for name in SHAPES])
    keep = torch.cat([kept[name].flatten() for name in SHAPES])
    assert sizes[keep].min() > sizes[~keep].max()


def test_chance_follows_the_seed_and_the_name_alone() -> None:
    assert torch.equal(chance(learner(1))["a"], chance(learner(1))["a"])
    assert not torch.equal(chance(learner(1))["a"], chance(learner(2))["a"])
    alone = chance(learner(1, Scope({"b": (30,)})))
    assert torch.equal(alone["b"], chance(learner(1))["b"])


def test_chance_leaves_torchs_own_random_numbers_alone() -> None:
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    dict(chance(learner()))
    assert torch.equal(torch.rand(3), wanted)


def test_chance_keeps_each_weight_about_as_often_as_any_other() -> None:
    """200 draws at half: fewer than 60 or more than 140 would be five standard deviations off."""
    total = torch.zeros(30)
    for seed in range(200):
        total += prune(
            chance(learner(seed, Scope({"b": (30,)}))),
            Mask.dense(Scope({"b": (30,)})),
            0.5,
        )["b"]
    assert total.sum() == 200 * 15
    assert total.min() > 60
    assert total.max() < 140


def test_chance_has_no_ties_that_order_would_settle() -> None:
    scores = chance(learner(0, Scope({"a": (100, 1000)})))
    assert len(scores["a"].unique()) == 100_000


def test_a_score_of_another_model_does_not_fit() -> None:
    with pytest.raises(ScopeError, match="'c'"):
        prune(magnitude(learner()), Mask.dense(Scope({"c": (3,)})), 0.5)


def sensitive() -> Any:
    """A learner that knows its gradient and curvature, and writes down what it was asked."""
    here, asked = learner(), []

    def told(*question: object) -> dict[str, torch.Tensor]:
        asked.append(question)
        dice = torch.Generator().manual_seed(7)
        return {
            name: torch.randn(shape, generator=dice) for name, shape in SHAPES.items()
        } | {"head": torch.ones(2)}

    return SimpleNamespace(**vars(here), gradient=told, curvature=told, asked=asked)


def test_snip_is_the_size_of_gradient_times_weight() -> None:
    here = sensitive()
    scores, gradient = snip(here, Sample(3, 4)), here.gradient()
    assert here.asked[0] == (Sample(3, 4),)
    assert list(scores) == list(SHAPES)
    for name in SHAPES:
        assert torch.equal(scores[name], (gradient[name] * here.view()[name]).abs())
        assert scores[name].min() >= 0


def test_grasp_is_curvature_times_weight_with_its_sign() -> None:
    here = sensitive()
    scores, curvature = grasp(here, Sample(3, 4), 200.0), here.curvature()
    assert here.asked[0] == (Sample(3, 4), 200.0)
    assert list(scores) == list(SHAPES)
    for name in SHAPES:
        assert torch.equal(scores[name], curvature[name] * here.view()[name])
    assert min(float(scores[name].min()) for name in SHAPES) < 0
    either = grasp(here, Sample(3, 4), 200.0, absolute=True)
    assert all(torch.equal(either[name], scores[name].abs()) for name in SHAPES)


@pytest.mark.parametrize("score", [snip, grasp])
def test_a_score_by_examples_looks_at_them_once_however_often_it_is_read(
    score: Any,
) -> None:
    here = sensitive()
    scores = score(here, Sample(3))
    for name in SHAPES:
        assert torch.equal(scores[name], scores[name])
    assert len(here.asked) == 1
