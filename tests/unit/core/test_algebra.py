"""Tickets made of tickets keep what they should, start where they can, and say what they are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from instant_soup.core import algebra
from instant_soup.core.budget import Cost
from instant_soup.core.errors import ScopeError, SparsityError, TicketError
from instant_soup.core.mask import Mask
from instant_soup.core.scope import Scope
from instant_soup.core.task import Base
from instant_soup.core.ticket import Ticket

SCOPE = Scope({"a": (4, 5), "b": (6,)})
BASE = Base("model", "0" * 64)


def ticket(
    seed: int,
    *,
    base: Base = BASE,
    scope: Scope = SCOPE,
    start: Sequence[str] = ("head",),
) -> Ticket:
    dice = torch.Generator().manual_seed(seed)
    mask = Mask(
        scope,
        {
            name: torch.rand(shape, generator=dice) < 0.7
            for name, shape in scope.shapes.items()
        },
    )
    values = {}
    for name in start:
        value = torch.randn(scope.shapes.get(name, (3,)), generator=dice)
        values[name] = value.masked_fill(~mask[name], 0) if name in mask else value
    return Ticket(mask, values, base, Cost(1, 2, 3, 4), method={"name": "snip"})


TICKETS = [ticket(seed) for seed in range(5)]
WAYS: dict[str, Callable[[Sequence[Ticket]], Ticket]] = {
    "union": algebra.union,
    "intersection": algebra.intersection,
    "vote": lambda tickets: algebra.vote(tickets, 0.5),
}


def votes() -> torch.Tensor:
    return torch.stack(
        [torch.cat([one.mask[name].flatten() for name in SCOPE]) for one in TICKETS]
    ).sum(0)


def kept(found: Ticket) -> torch.Tensor:
    return torch.cat([found.mask[name].flatten() for name in SCOPE])


def test_union_and_intersection_are_those_of_sets() -> None:
    assert torch.equal(kept(algebra.union(TICKETS)), votes() > 0)
    assert torch.equal(kept(algebra.intersection(TICKETS)), votes() == len(TICKETS))


@pytest.mark.parametrize("sparsity", [0.1, 0.37, 0.5, 0.9])
def test_a_vote_keeps_exactly_the_count_asked_for_and_none_with_fewer_votes_than_one_that_goes(
    sparsity: float,
) -> None:
    found = kept(algebra.vote(TICKETS, sparsity))
    assert found.sum() == round((1 - sparsity) * SCOPE.size)
    assert votes()[found].min() >= votes()[~found].max()


def test_where_votes_tie_the_earlier_weight_is_kept() -> None:
    found, seen = kept(algebra.vote(TICKETS, 0.5)), votes()
    edge = seen[found].min()
    tied = (seen == edge).nonzero().flatten()
    stays = found[tied]
    assert not (~stays[:-1] & stays[1:]).any()


def test_votes_do_not_depend_on_the_order_of_tickets_but_the_start_does() -> None:
    assert algebra.vote(TICKETS, 0.5).mask == algebra.vote(TICKETS[::-1], 0.5).mask
    assert torch.equal(
        algebra.vote(TICKETS[::-1], 0.5).start["head"], TICKETS[-1].start["head"]
    )


@pytest.mark.parametrize("way", WAYS)
def test_what_was_made_says_of_what_and_costs_their_sum(way: str) -> None:
    made = WAYS[way](TICKETS)
    assert made.method == {"name": way, "of": [one.digest for one in TICKETS]}
    assert made.cost == Cost(5, 10, 15, 20)
    assert made.base == BASE
    assert not made.ready


def test_an_intersection_starts_where_the_first_ticket_does_and_is_zero_where_it_prunes() -> (
    None
):
    tickets = [ticket(seed, start=("a", "head")) for seed in range(3)]
    made = algebra.intersection(tickets)
    assert set(made.start) == {"a", "head"}
    assert torch.equal(made.start["a"], tickets[0].start["a"] * made.mask["a"])
    assert "start" not in made.method


@pytest.mark.parametrize("way", ["union", "vote"])
def test_what_only_later_tickets_keep_has_their_value_where_all_start_from_the_same_weights(
    way: str,
) -> None:
    """As those of one rewinding point do: no weight that is kept may start at zero."""
    dice = torch.Generator().manual_seed(9)
    rewound = torch.randn(4, 5, generator=dice)
    head = torch.randn(3, generator=dice)
    tickets = []
    for seed in range(3):
        plain = ticket(seed)
        start = {"a": rewound * plain.mask["a"], "head": head}
        tickets.append(replace(plain, start=start))

    made = WAYS[way](tickets)
    somewhere = tickets[0].mask["a"] | tickets[1].mask["a"] | tickets[2].mask["a"]
    assert torch.equal(made.start["a"], rewound * (made.mask["a"] & somewhere))
    assert torch.equal(made.start["head"], head)
    assert "start" not in made.method


@pytest.mark.parametrize("way", ["union", "vote"])
def test_tickets_that_were_trained_apart_make_one_of_the_pre_trained_weights(
    way: str,
) -> None:
    made = WAYS[way]([ticket(seed, start=("a", "head")) for seed in range(3, 6)])
    assert not made.start
    assert made.method["start"] == "pre-trained"


@pytest.mark.parametrize("way", WAYS)
def test_a_made_ticket_travels(way: str, tmp_path: Path) -> None:
    path = tmp_path / "made.safetensors"
    WAYS[way](TICKETS).save(path)
    assert Ticket.load(path).digest == WAYS[way](TICKETS).digest


@pytest.mark.parametrize("way", WAYS)
def test_what_does_not_belong_together_is_refused(way: str) -> None:
    with pytest.raises(TicketError, match="1 ticket to combine; give two or more"):
        WAYS[way](TICKETS[:1])
    with pytest.raises(
        TicketError, match=r"tickets of 'model' .* and 'other' .* do not combine"
    ):
        WAYS[way]([TICKETS[0], ticket(1, base=Base("other", "1" * 64))])
    with pytest.raises(ScopeError, match="do not combine"):
        WAYS[way]([TICKETS[0], ticket(1, scope=Scope({"a": (4, 5)}))])


def test_a_sparsity_that_cannot_be_is_refused() -> None:
    with pytest.raises(SparsityError):
        algebra.vote(TICKETS, 1.0)


def test_an_intersection_of_nothing_is_refused() -> None:
    plain = ticket(0)
    rest = Mask(SCOPE, {name: ~plain.mask[name] for name in SCOPE})
    with pytest.raises(TicketError, match="keeps none of 26 weights"):
        algebra.intersection([plain, replace(plain, mask=rest)])
