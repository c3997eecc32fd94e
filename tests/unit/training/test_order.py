"""Order: which examples make up which batch."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
import torch

from instant_soup.core.errors import TrainingError, UnknownName
from instant_soup.core.task import Portion
from instant_soup.training.leaning import leaning
from instant_soup.training.order import POOL, Order, in_order

SHAPES = [(1, 1), (1, 8), (8, 8), (9, 8), (100, 7), (640, 32)]  # examples, batch


def lengths(size: int, seed: int = 0) -> list[int]:
    dice = random.Random(seed)
    return [dice.randint(3, 120) for _ in range(size)]


def epoch(order: Order, number: int, batches: int) -> list[list[int]]:
    return [order.at(number * batches + place) for place in range(batches)]


def flat(batches: list[list[int]]) -> list[int]:
    return [index for batch in batches for index in batch]


@pytest.mark.parametrize("by_length", [False, True])
@pytest.mark.parametrize("subset", [1.0, 0.5, 0.13])
def test_a_batch_follows_from_seed_and_position_alone(
    by_length: bool, subset: float
) -> None:
    """A resumed run jumps into the middle of an epoch, and a look-ahead reads its own."""
    how = {"lengths": lengths(100) if by_length else None, "subset": subset}
    straight, jumping = Order(100, 7, 3, **how), Order(100, 7, 3, **how)
    wanted = [straight.at(position) for position in range(60)]
    places = list(range(60))
    random.Random(0).shuffle(places)
    for position in places:
        assert jumping.at(position) == wanted[position]
        assert Order(100, 7, 3, **how).at(position) == wanted[position]


@pytest.mark.parametrize("by_length", [False, True])
@pytest.mark.parametrize(("size", "batch"), SHAPES)
def test_every_example_comes_once_an_epoch(
    size: int, batch: int, by_length: bool
) -> None:
    order = Order(size, batch, 0, lengths(size) if by_length else None)
    batches = -(-size // batch)
    for number in range(3):
        seen = epoch(order, number, batches)
        assert sorted(flat(seen)) == list(range(size))
        assert sorted(map(len, seen), reverse=True) == [batch] * (size // batch) + [
            size % batch
        ] * (size % batch > 0)


@pytest.mark.parametrize("by_length", [False, True])
def test_epochs_and_seeds_mix_anew(by_length: bool) -> None:
    how = lengths(640) if by_length else None
    seen = [
        epoch(Order(640, 32, seed, how), number, 20)
        for seed in (0, 1)
        for number in (0, 1)
    ]
    for i, first in enumerate(seen):
        assert all(first != second for second in seen[:i])
        batches = [frozenset(batch) for batch in first]
        assert all(
            not set(batches) <= {frozenset(batch) for batch in second}
            for second in seen[:i]
            if not by_length
        )


@pytest.mark.parametrize("by_length", [False, True])
def test_a_subset_is_the_same_examples_in_every_epoch_and_no_others(
    by_length: bool,
) -> None:
    order = Order(100, 8, 5, lengths(100) if by_length else None, subset=0.3)
    epochs = [sorted(flat(epoch(order, number, 4))) for number in range(4)]
    assert len(set(epochs[0])) == 30
    assert all(each == epochs[0] for each in epochs)


def test_subsets_of_different_seeds_differ() -> None:
    chosen = {
        tuple(sorted(flat(epoch(Order(100, 8, seed, subset=0.3), 0, 4))))
        for seed in range(5)
    }
    assert len(chosen) == 5


def test_subsets_reach_every_example() -> None:
    seen = {
        index
        for seed in range(40)
        for index in flat(epoch(Order(20, 5, seed, subset=0.25), 0, 1))
    }
    assert seen == set(range(20))


def test_the_smallest_subset_is_one_example() -> None:
    order = Order(10, 4, 0, subset=0.001)
    assert [len(order.at(position)) for position in range(3)] == [1, 1, 1]
    assert order.at(0) == order.at(1)


def test_batches_of_one_pool_do_not_overlap_in_length() -> None:
    sizes = lengths(640)
    batches = epoch(Order(640, 32, 0, sizes), 0, 20)
    spans = sorted(
        (min(sizes[i] for i in batch), max(sizes[i] for i in batch)) for batch in batches
    )
    assert all(longest <= shortest for (_, longest), (shortest, _) in pairwise(spans))


def test_similar_lengths_together_leave_little_to_pad() -> None:
    size, batch = 3 * POOL * 16, 16
    sizes = lengths(size)

    def padded(order: Order) -> int:
        return sum(
            len(b) * max(sizes[i] for i in b) for b in epoch(order, 0, size // batch)
        )

    assert padded(Order(size, batch, 0, sizes)) < 1.05 * sum(sizes)
    assert padded(Order(size, batch, 0)) > 1.5 * sum(sizes)


def test_batches_do_not_come_in_order_of_length() -> None:
    """From short to long would be a curriculum, every epoch."""
    sizes = lengths(640)
    longest = [
        max(sizes[i] for i in batch) for batch in epoch(Order(640, 32, 0, sizes), 0, 20)
    ]
    assert longest not in (sorted(longest), sorted(longest, reverse=True))


def test_evaluation_sees_every_example_once_in_batches_of_similar_length() -> None:
    sizes = lengths(101)
    batches = in_order(101, 16, sizes)
    assert sorted(flat(batches)) == list(range(101))
    assert [len(batch) for batch in batches] == [16] * 6 + [5]
    assert [sizes[i] for i in flat(batches)] == sorted(sizes)


def test_without_lengths_evaluation_goes_straight_through() -> None:
    assert in_order(5, 2, None) == [[0, 1], [2, 3], [4]]


@pytest.mark.parametrize("by_length", [False, True])
@pytest.mark.parametrize(
    ("size", "batch"), [(9, 8), (17, 8), (POOL * 2 + 1, 2), (1, 8), (8, 8), (7, 3)]
)
def test_a_last_batch_too_small_to_train_on_joins_the_one_before_it(
    by_length: bool, size: int, batch: int
) -> None:
    order = Order(size, batch, 0, lengths(size) if by_length else None, least=2)
    batches = size // batch + (size % batch > 1) or 1
    for number in range(3):
        seen = epoch(order, number, batches)
        assert sorted(flat(seen)) == list(range(size))
        assert size == 1 or min(map(len, seen)) > 1


# portions


@pytest.mark.parametrize(("size", "count"), [(10, 1), (10, 3), (101, 4), (7, 7)])
def test_portions_are_disjoint_complete_and_equal_to_within_one(
    size: int, count: int
) -> None:
    parts = [
        Order(size, 4, seed, portion=Portion(index, count, 9))
        for seed, index in enumerate(range(count))
    ]
    drawn = []
    for part in parts:
        own = (
            -(-size // count)
            if part.portion and part.portion.index < size % count
            else size // count
        )
        indices = flat(epoch(part, 0, -(-own // 4)))
        # the next epoch stays in it
        assert sorted(indices) == sorted(flat(epoch(part, 1, -(-own // 4))))
        drawn.append(indices)
    assert sorted(flat(drawn)) == list(range(size))
    sizes = [len(indices) for indices in drawn]
    assert max(sizes) - min(sizes) <= 1


def test_the_seed_of_a_portion_divides_and_the_seed_of_the_order_does_not() -> None:
    def drawn(seed: int, divided: int) -> set[int]:
        return set(
            flat(epoch(Order(100, 5, seed, portion=Portion(0, 2, divided)), 0, 10))
        )

    assert drawn(0, 1) == drawn(5, 1) != drawn(0, 2)


def test_a_subset_of_a_portion_is_a_share_of_it() -> None:
    whole = set(flat(epoch(Order(100, 5, 0, portion=Portion(1, 2, 3)), 0, 10)))
    half = flat(epoch(Order(100, 5, 0, subset=0.5, portion=Portion(1, 2, 3)), 0, 5))
    assert len(half) == len(set(half)) == 25
    assert set(half) < whole


# leaning


def drawn_by(lean: torch.Tensor, seed: int, subset: float = 0.5) -> list[int]:
    size = len(lean)
    return flat(epoch(Order(size, size, seed, subset=subset, lean=lean), 0, 1))


def test_a_subset_that_leans_is_that_share_and_nothing_comes_twice() -> None:
    lean = leaning("classes", torch.arange(200) % 4, None, 0)
    indices = drawn_by(lean, 1)
    assert len(indices) == len(set(indices)) == 100
    assert drawn_by(lean, 1) == indices != drawn_by(lean, 2)


def test_subsets_by_classes_have_other_shares_of_the_classes() -> None:
    """Evenly drawn, the share of a class would be within .1 of a quarter; here most seeds are far from that."""
    targets = torch.arange(2000) % 4
    far, means = 0, torch.zeros(4)
    for seed in range(40):
        lean = leaning("classes", targets, None, seed)
        assert torch.equal(lean, leaning("classes", targets, None, seed))
        assert all(len(lean[targets == label].unique()) == 1 for label in range(4))
        shares = torch.bincount(targets[drawn_by(lean, seed, 0.2)], minlength=4) / 400
        far += bool((shares - 0.25).abs().max() > 0.1)
        means += shares / 40
    assert far > 30
    assert (means - 0.25).abs().max() < 0.1  # no class is preferred by the rule itself


def test_scores_lean_by_their_tenths() -> None:
    targets = torch.linspace(0, 5, 100)
    lean = leaning("classes", targets, None, 0)
    assert len(lean.unique()) == 10
    assert all(len(lean[start : start + 10].unique()) == 1 for start in range(0, 100, 10))


def test_subsets_by_lengths_are_of_longer_or_of_shorter_examples() -> None:
    sizes = lengths(1000)
    mean, spread = sum(sizes) / 1000, float(torch.tensor(sizes).float().std())
    shifts = []
    for seed in range(20):
        indices = drawn_by(leaning("lengths", None, sizes, seed), seed, 0.3)
        shifts.append((sum(sizes[i] for i in indices) / len(indices) - mean) / spread)
    assert min(shifts) < -0.4
    assert max(shifts) > 0.4


def test_what_examples_do_not_have_they_cannot_lean_by() -> None:
    with pytest.raises(
        TrainingError, match="labels cannot be read; set subsets to 'random'"
    ):
        leaning("classes", None, None, 0)
    for sizes in (None, [5, 5, 5]):
        with pytest.raises(TrainingError, match="all examples are equally long"):
            leaning("lengths", None, sizes, 0)
    with pytest.raises(UnknownName, match="did you mean 'lengths'"):
        leaning("length", None, None, 0)
