"""Sample: a few examples, of each class as many."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from instant_soup.core.errors import KnobError
from instant_soup.training.sample import balanced, groups


def classes(*counts: int) -> Tensor:
    """So many of class 0, 1 .., shuffled."""
    labels = torch.cat(
        [torch.full((count,), label) for label, count in enumerate(counts)]
    )
    return labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))]


def scores(count: int) -> Tensor:
    return torch.rand(count, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("per_class", [1, 5, 20])
def test_each_class_gives_as_many(per_class: int) -> None:
    labels = classes(50, 20, 400)
    chosen = balanced(labels, 470, per_class, 3)
    assert torch.bincount(labels[chosen]).tolist() == [per_class] * 3
    assert len(set(chosen)) == len(chosen)


def test_a_class_with_fewer_gives_all_it_has() -> None:
    labels = classes(3, 50)
    chosen = balanced(labels, 53, 10, 0)
    assert torch.bincount(labels[chosen]).tolist() == [3, 10]
    assert set((labels == 0).nonzero().flatten().tolist()) <= set(chosen)


def test_only_classes_that_occur_are_drawn_from() -> None:
    labels = torch.tensor([7, 7, 2, 2, 2])
    assert groups(labels) == 2
    assert sorted(labels[balanced(labels, 5, 2, 0)].tolist()) == [2, 2, 7, 7]


@pytest.mark.parametrize("count", [100, 97, 11, 19])
def test_each_tenth_of_the_scores_gives_as_many(count: int) -> None:
    values = scores(count)
    chosen = balanced(values, count, 1, 0)
    assert groups(values) == len(chosen) == 10
    for i, rank in enumerate(sorted(values.argsort().argsort()[chosen].tolist())):
        assert i * count / 10 - 1 < rank < (i + 1) * count / 10 + 1


def test_scores_that_are_fewer_than_ten_are_all_drawn() -> None:
    assert balanced(scores(4), 4, 3, 0) == [0, 1, 2, 3]


def test_without_labels_ten_times_as_many_are_drawn_at_random() -> None:
    assert groups(None) == 10
    chosen = balanced(None, 200, 3, 0)
    assert len(set(chosen)) == 30
    assert balanced(None, 20, 3, 0) == list(range(20))


@pytest.mark.parametrize("targets", [classes(30, 30, 40), scores(100), None])
def test_a_sample_follows_from_its_seed(targets: Tensor | None) -> None:
    assert balanced(targets, 100, 2, 5) == balanced(targets, 100, 2, 5)
    assert len({tuple(balanced(targets, 100, 2, seed)) for seed in range(5)}) == 5


@pytest.mark.parametrize("targets", [classes(8, 12), scores(20), None])
def test_every_example_has_its_chance(targets: Tensor | None) -> None:
    assert {
        index for seed in range(60) for index in balanced(targets, 20, 1, seed)
    } == set(range(20))


def test_examples_come_in_order() -> None:
    for targets in (classes(30, 30, 40), scores(100), None):
        chosen = balanced(targets, 100, 2, 1)
        assert chosen == sorted(chosen)


def test_drawing_leaves_torchs_own_random_numbers_alone() -> None:
    state = torch.get_rng_state()
    for targets in (classes(30, 30, 40), scores(100), None):
        balanced(targets, 100, 2, 1)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_sample_of_nothing_is_refused() -> None:
    with pytest.raises(KnobError, match="per_class is 0; expected 1 or more"):
        balanced(None, 10, 0, 0)
