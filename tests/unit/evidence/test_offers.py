"""What to use at one's budget, and which tables and records have no say in it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

import pytest

from instant_soup.evidence import tables
from instant_soup.evidence.compare import compare
from instant_soup.evidence.comparison import Comparison
from instant_soup.evidence.machines import as_json
from instant_soup.evidence.markdown import markdown

from .made_records import named, record

SPOTS = [("glue/sst2", 0.5), ("glue/sst2", 0.9), ("glue/cola", 0.5)]


def seeds(method: str, figures: Iterable[float], **facts: Any) -> list[dict[str, Any]]:
    return [
        record(method, figure, seed=seed, **facts) for seed, figure in enumerate(figures)
    ]


def compared(*parts: list[dict[str, Any]], reference: str = "magnitude") -> Comparison:
    return compare(named([facts for part in parts for facts in part]), reference)


def everywhere(method: str, figure: float, **facts: Any) -> list[dict[str, Any]]:
    return [
        record(method, figure, task=task, sparsity=sparsity, **facts)
        for task, sparsity in SPOTS
    ]


@pytest.fixture
def four() -> Comparison:
    return compared(
        everywhere("magnitude", 0.7), everywhere("snip", 0.72), everywhere("instant-soup", 0.8, ahead=0.4),
        everywhere("lth", 0.9, draw=3.0), everywhere("random", 0.1),
    )  # fmt: skip


def test_the_best_at_a_budget_costs_no_more_than_it(four: Comparison) -> None:
    best = {offer.budget: offer.best["glue/sst2", 0.5].method for offer in four.offers}
    assert best == {
        1.0: "snip",
        1.5: "instant-soup",
        2.0: "instant-soup",
        4.0: "lth",
        math.inf: "lth",
    }


def test_the_best_on_the_mean_rank_is_among_those_that_cost_no_more(
    four: Comparison,
) -> None:
    first = {
        offer.budget: next(iter(offer.ranks.ranks))
        for offer in four.offers
        if offer.ranks
    }
    assert first == {
        1.0: "snip",
        1.5: "instant-soup",
        2.0: "instant-soup",
        4.0: "lth",
        math.inf: "lth",
    }


def test_the_answer_names_figure_interval_seeds_and_cost() -> None:
    comparison = compared(
        seeds("magnitude", [0.7, 0.72]), seeds("lth", [0.8, 0.82], draw=3)
    )
    head, row = tables.offer_rows(comparison)
    assert head == [
        "task, pruned",
        "up to 1 T",
        "up to 1.5 T",
        "up to 2 T",
        "up to 4 T",
        "any cost",
    ]
    assert row[0] == "glue/sst2, 50% pruned"
    assert row[1] == row[2] == row[3] == "magnitude: 0.710 ± 0.127, 2 seeds, 1.02 T"
    assert row[4] == row[5] == "lth: 0.810 ± 0.127, 2 seeds, 4.02 T"
    assert "## What to use at your budget" in markdown(comparison)


def test_where_nothing_costs_so_little_the_cell_is_empty() -> None:
    comparison = compared(seeds("lth", [0.8], draw=3), reference="lth")
    assert tables.offer_rows(comparison)[1][1:4] == ["", "", ""]


def test_ranks_name_the_total_cost_of_each_line(four: Comparison) -> None:
    assert four.ranks
    assert ["lth", "1.00", "a·", "4.02"] in tables.rank_rows(four.ranks)
    assert tables.RANKED[-1] == "cost, T"


def test_a_perplexity_is_best_where_it_is_lowest() -> None:
    comparison = compared(
        seeds("magnitude", [20.0], metric="perplexity"),
        seeds("snip", [18.0], metric="perplexity"),
    )
    assert comparison.offers[0].best["glue/sst2", 0.5].method == "snip"


def test_the_choice_is_made_on_validation_and_its_figure_is_that_of_the_test_split() -> (
    None
):
    comparison = compared(
        seeds("magnitude", [0.9, 0.92], validation=0.6),
        seeds("snip", [0.7, 0.72], validation=0.8),
    )
    best = comparison.offers[0].best["glue/sst2", 0.5]
    assert (best.method, best.validation) == ("snip", 0.8)
    assert tables.offer_rows(comparison)[1][1] == "snip: 0.710 ± 0.127, 2 seeds, 1.02 T"
    (facts, *_) = json.loads(as_json(comparison))["offers"]
    assert facts["best"][0]["validation"] == 0.8


def test_lines_are_set_beside_one_another_by_the_seeds_that_both_have() -> None:
    """The third seed is a hard one for everybody, and only one line has it."""
    comparison = compared(
        seeds("magnitude", [0.71, 0.73, 0.40]), seeds("snip", [0.70, 0.72])
    )
    best = comparison.offers[0].best["glue/sst2", 0.5]
    assert (best.method, best.figure.n) == ("magnitude", 3)

    # of one seed in common nothing is known, so each is taken as it is
    apart = [record("snip", 0.9, seed=seed) for seed in (2, 3)]
    comparison = compared(seeds("magnitude", [0.71, 0.73, 0.40]), apart)
    assert comparison.offers[0].best["glue/sst2", 0.5].method == "snip"


def test_ranks_go_by_the_seeds_that_all_have() -> None:
    parts = []
    for task in ("glue/sst2", "glue/cola"):
        parts += [
            seeds("magnitude", [0.71, 0.73, 0.40], task=task),
            seeds("snip", [0.70, 0.72], task=task),
            seeds("random", [0.10, 0.12], task=task),
        ]
    ranks = compared(*parts).offers[0].ranks
    assert ranks
    assert ranks.ranks == {"magnitude": 1.0, "snip": 2.0, "random": 3.0}


def test_a_line_of_one_seed_is_chosen_only_where_no_other_has_more() -> None:
    lucky = seeds("snip", [0.99])
    comparison = compared(seeds("magnitude", [0.7, 0.72]), lucky)
    assert comparison.offers[0].best["glue/sst2", 0.5].method == "magnitude"
    # at 1 T the other cannot be paid for
    comparison = compared(seeds("lth", [0.7, 0.72], draw=3), lucky, reference="lth")
    assert comparison.offers[0].best["glue/sst2", 0.5].method == "snip"
    assert comparison.offers[-1].best["glue/sst2", 0.5].method == "lth"


def test_what_is_level_on_validation_and_in_cost_is_named() -> None:
    comparison = compared(
        seeds("magnitude", [0.5, 0.6], validation=0.55),
        seeds("grasp", [0.4, 0.6], validation=0.55),
        seeds("lth", [0.6, 0.7], validation=0.55, draw=3),
    )
    dear = comparison.offers[-1]
    assert dear.best["glue/sst2", 0.5].method == "grasp"
    assert [line.method for line in dear.level["glue/sst2", 0.5]] == ["magnitude"]
    cell = tables.offer_rows(comparison)[1][-1]
    assert cell == (
        "grasp: 0.500 ± 1.271, 2 seeds, 1.02 T; level with magnitude: 0.550 ± 0.635"
    )
    assert "level with magnitude" in markdown(comparison)
    assert json.loads(as_json(comparison))["offers"][0]["best"][0]["level"] == [
        "magnitude"
    ]


def test_a_run_without_a_figure_on_validation_is_not_chosen() -> None:
    comparison = compared(
        seeds("magnitude", [0.5, 0.6]), seeds("snip", [0.9, 0.9], validation=math.nan)
    )
    assert comparison.offers[0].best["glue/sst2", 0.5].method == "magnitude"


def test_the_leader_on_the_mean_rank_is_the_one_on_validation() -> None:
    comparison = compared(
        everywhere("magnitude", 0.7, validation=0.9), everywhere("snip", 0.8, validation=0.7),
        everywhere("random", 0.1), everywhere("grasp", 0.6, validation=0.9),
    )  # fmt: skip
    offer = comparison.offers[0]
    assert offer.leaders == ("grasp", "magnitude")
    assert tables.leader_cell(offer) == "grasp: 3.00 of 4, 1.02 T; level with magnitude"


# records of older schemas


def test_records_of_older_schemas_are_shown_and_leave_the_ranks(four: Comparison) -> None:
    old = compared(
        everywhere("magnitude", 0.7), everywhere("snip", 0.72), everywhere("random", 0.1),
        everywhere("lth", 0.9, draw=3.0, old=True),
    )  # fmt: skip
    assert old.ranks
    assert "lth" not in old.ranks.ranks
    assert any(line.method == "lth" for line in old.lines)
    assert any("leave the ranks" in remark for remark in old.remarks)
    assert not any("leave the ranks" in remark for remark in four.remarks)


# tables that cannot tell


def test_a_table_in_which_random_pruning_does_as_well_as_one_shot_is_silent() -> None:
    comparison = compared(
        seeds("magnitude", [0.7, 0.72, 0.71]), seeds("random", [0.71, 0.7, 0.72])
    )
    assert "random pruning is not told from one-shot" in comparison.why_silent(
        "glue/sst2", 0.5
    )
    assert "(cannot tell)" in tables.title(comparison, "glue/sst2", 0.5)
    assert any(
        "left out of the ranks" in sentence
        for sentence in tables.notes(comparison, "glue/sst2", 0.5)
    )


def test_a_table_in_which_one_shot_loses_next_to_nothing_is_silent() -> None:
    dense = seeds("dense", [0.80, 0.82, 0.84], sparsity=0.0)  # spread 0.02
    near = compared(dense, seeds("magnitude", [0.77, 0.78, 0.76]))
    far = compared(dense, seeds("magnitude", [0.75, 0.74, 0.76]))
    assert "one-shot loses 0.050, less than 3 spreads" in near.why_silent(
        "glue/sst2", 0.5
    )
    assert far.why_silent("glue/sst2", 0.5) == ""


def test_where_the_runs_that_would_show_it_are_too_few_a_table_counts() -> None:
    comparison = compared(seeds("magnitude", [0.7, 0.7]), seeds("random", [0.7, 0.7]))
    assert comparison.silent == {}


def test_silent_tables_are_left_out_of_all_ranks() -> None:
    made = [
        *(
            facts
            for task in "abc"
            for facts in seeds("magnitude", [0.70, 0.71, 0.72], task=task)
        ),
        *(
            facts
            for task in "abc"
            for facts in seeds("lth", [0.80, 0.81, 0.82], task=task)
        ),
        *(
            facts
            for task in "ab"
            for facts in seeds("random", [0.40, 0.413, 0.42], task=task)
        ),
        *seeds("random", [0.71, 0.70, 0.72], task="c"),
    ]
    comparison = compare(named(made))
    assert list(comparison.silent or {}) == [("c", 0.5)]
    assert comparison.ranks
    assert comparison.ranks.blocks == 2


# lines and steps


def test_a_comparison_of_unequal_steps_says_so() -> None:
    unequal = compared(seeds("magnitude", [0.7]), seeds("lth", [0.8], draw=0.06))
    (sentence,) = [
        note
        for note in tables.notes(unequal, "glue/sst2", 0.5)
        if "Not at equal steps" in note
    ]
    assert "from 1.00 to 1.06 T" in sentence
    assert any(
        "differ in total steps by more than 5 %" in remark for remark in unequal.remarks
    )


def test_a_comparison_of_equal_steps_does_not() -> None:
    equal = compared(seeds("magnitude", [0.7]), seeds("lth", [0.8], draw=0.04))
    assert not any(
        "equal steps" in note for note in tables.notes(equal, "glue/sst2", 0.5)
    )
    assert not any("total steps" in remark for remark in equal.remarks)


def test_a_comparison_under_several_learning_rate_lines_says_so_and_sets_none_against_another() -> (
    None
):
    flat = record("lth", 0.9)
    flat["recipe"]["training"]["line"] = "flat"
    comparison = compared(seeds("magnitude", [0.7]), [flat], seeds("snip", [0.7]))
    assert any(
        "several learning-rate lines (flat, linear)" in remark
        for remark in comparison.remarks
    )
    assert not [pair for pair in comparison.differences if pair.method == "lth"]

    # a line whose end is averaged is another line
    averaged = record("lth", 0.9)
    averaged["recipe"]["training"]["tail"] = 0.2
    comparison = compared(seeds("magnitude", [0.7]), [averaged], seeds("snip", [0.7]))
    assert any(
        "several learning-rate lines (linear, linear and the mean of its last 20 %)"
        in remark
        for remark in comparison.remarks
    )
    assert not [pair for pair in comparison.differences if pair.method == "lth"]


# budgets


def test_a_run_that_was_given_what_another_method_spent_is_longer_and_any_other_names_its_budget() -> (
    None
):
    made = [
        record("instant-soup", ahead=0.62),
        record("magnitude", budget=1.62),
        record("snip", budget=1.5),
    ]
    names = {run.method for run in named(made)}
    assert names == {"instant-soup", "magnitude (longer)", "snip (budget=1.5)"}


def test_a_longer_run_is_never_taken_for_the_plain_method_and_is_what_others_are_set_against() -> (
    None
):
    """Though no run of one T stands beside it."""
    comparison = compared(
        seeds("instant-soup", [0.7, 0.72, 0.71], ahead=0.62),
        seeds("magnitude", [0.8, 0.83, 0.81], budget=1.62),
    )
    assert {line.method for line in comparison.lines} == {
        "instant-soup",
        "magnitude (longer)",
    }
    assert [(pair.method, pair.reference, pair.verdict) for pair in comparison.equal] == [
        ("instant-soup", "magnitude (longer)", "worse")
    ]
    assert not any("was given as much" in remark for remark in comparison.remarks)
