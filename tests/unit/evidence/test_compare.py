"""Compare: what is said of methods, and what is not."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from instant_soup.core.errors import UnknownName
from instant_soup.evidence.compare import compare
from instant_soup.evidence.comparison import Comparison, Difference
from instant_soup.evidence.line import Line

from .made_records import named, record


def seeds(method: str, figures: Iterable[float], **facts: Any) -> list[dict[str, Any]]:
    return [
        record(method, figure, seed=seed, **facts) for seed, figure in enumerate(figures)
    ]


def compared(
    *parts: Sequence[dict[str, Any]], reference: str = "magnitude"
) -> Comparison:
    return compare(named([one for part in parts for one in part]), reference)


def line(found: Comparison, method: str, control: str | None = None) -> Line:
    (one,) = [
        line for line in found.lines if (line.method, line.control) == (method, control)
    ]
    return one


def difference(found: Comparison, method: str) -> Difference:
    (one,) = [one for one in found.differences if one.method == method]
    return one


def said(found: Comparison, *words: str) -> bool:
    return any(all(word in remark for word in words) for remark in found.remarks)


PLAIN = [0.70, 0.72, 0.69, 0.71]


# lines


def test_a_line_is_a_task_a_sparsity_a_method_and_a_control_over_seeds() -> None:
    found = compared(
        seeds("magnitude", PLAIN), seeds("magnitude", PLAIN, sparsity=0.7), seeds("magnitude", PLAIN, task="glue/cola"),
        seeds("lth", PLAIN), seeds("lth", PLAIN, control="layers"),
    )  # fmt: skip
    assert len(found.lines) == 5
    assert {one.figure.n for one in found.lines} == {4}
    assert line(found, "lth").figure.mean == pytest.approx(np.mean(PLAIN))
    assert line(found, "lth").cost.mean == pytest.approx(1.02)


def test_recovery_is_paired_by_seed_and_falls_back_to_the_mean_where_a_seed_has_no_dense_run() -> (
    None
):
    found = compared(
        seeds("dense", [0.8, 0.9], sparsity=0.0),
        seeds("magnitude", [0.4, 0.9]),
        seeds("lth", [0.8, 0.9, 0.85]),
    )
    shares = line(found, "magnitude").recovery
    assert shares is not None
    assert (shares.mean, shares.n) == (pytest.approx(0.75), 2)
    assert getattr(line(found, "lth").recovery, "mean", None) == pytest.approx(1.0)
    assert line(found, "dense").recovery is None


@pytest.mark.parametrize(
    "dense", [[], [0.0, 0.2], [-0.1, 0.2]], ids=["none", "zero", "negative"]
)
def test_there_is_no_share_of_a_dense_figure_that_is_missing_or_not_above_zero(
    dense: list[float],
) -> None:
    found = compared(seeds("magnitude", PLAIN), seeds("dense", dense, sparsity=0.0))
    assert line(found, "magnitude").recovery is None


def test_a_run_that_was_done_again_counts_once_as_it_was_last() -> None:
    """Two records of one seed are no two seeds."""
    again = record("magnitude", 0.9, seed=0, at="2026-11-25T10:00:00+00:00")
    found = compared([again], seeds("magnitude", [0.1, 0.9]))
    assert line(found, "magnitude").figure.n == 2
    assert line(found, "magnitude").figure.mean == pytest.approx(0.9)


def test_the_frontier_is_what_no_other_line_beats_at_no_more_cost() -> None:
    found = compared(
        seeds("magnitude", [0.7]), seeds("snip", [0.7]), seeds("random", [0.5]), seeds("lth", [0.8], draw=3),
        seeds("lottery-pools", [0.79], draw=4), seeds("lth", [0.99], draw=3, control="layers"),
    )  # fmt: skip
    assert {one.title for one in found.lines if one.frontier} == {
        "magnitude",
        "snip",
        "lth",
    }


# differences


def test_a_difference_is_the_paired_test_of_the_seeds_that_both_have() -> None:
    other = [0.73, 0.73, 0.71, 0.745, 0.99]
    one = difference(compared(seeds("magnitude", PLAIN), seeds("lth", other)), "lth")
    theirs = stats.ttest_rel(other[:4], PLAIN)
    assert one.p == one.adjusted == pytest.approx(theirs.pvalue)
    assert one.difference.mean == pytest.approx(np.mean(other[:4]) - np.mean(PLAIN))
    assert one.difference.n == 4
    assert one.verdict == "better"


def test_which_seed_is_paired_with_which_matters() -> None:
    """Seeds move both methods alike: unpaired, nothing would be seen."""
    base = [0.5, 0.6, 0.7, 0.8]
    up = [figure + 0.02 + 0.001 * i for i, figure in enumerate(base)]
    assert stats.ttest_ind(up, base).pvalue > 0.5
    assert (
        difference(compared(seeds("magnitude", base), seeds("lth", up)), "lth").verdict
        == "better"
    )


def test_p_is_adjusted_for_all_methods_of_a_task_and_sparsity() -> None:
    rng = np.random.default_rng(0)
    methods = {
        name: (np.array(PLAIN) + rng.normal(0.01, 0.01, 4)).tolist()
        for name in ("lth", "snip", "grasp", "random")
    }
    found = compared(
        seeds("magnitude", PLAIN), *(seeds(name, figures) for name, figures in methods.items()),
        seeds("magnitude", PLAIN, sparsity=0.7), seeds("lth", methods["lth"], sparsity=0.7),
    )  # fmt: skip
    here = [one for one in found.differences if one.sparsity == 0.5]
    assert [one.adjusted for one in here] == pytest.approx(
        multipletests([one.p for one in here], method="holm")[1]
    )
    (alone,) = [one for one in found.differences if one.sparsity == 0.7]
    assert alone.adjusted == alone.p


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_than_three_seeds_get_no_verdict_and_a_remark(count: int) -> None:
    found = compared(
        seeds("magnitude", [0.1, 0.1001][:count]), seeds("lth", [0.9, 0.9002][:count])
    )
    assert difference(found, "lth").verdict == "too few seeds"
    assert said(found, "2 of 2 lines have fewer than 3 seeds")


def test_a_difference_without_spread_gets_no_verdict_and_no_difference_is_noise() -> None:
    found = compared(
        seeds("magnitude", [0.5, 0.6, 0.7]),
        seeds("lth", [0.6, 0.7, 0.8]),
        seeds("snip", [0.5, 0.6, 0.7]),
    )
    assert (difference(found, "lth").verdict, difference(found, "lth").p) == (
        "no spread",
        None,
    )
    assert (difference(found, "snip").verdict, difference(found, "snip").p) == (
        "within noise",
        1.0,
    )


def test_worse_is_said_of_what_is_lower() -> None:
    assert (
        difference(
            compared(seeds("magnitude", PLAIN), seeds("random", [0.1, 0.13, 0.09, 0.12])),
            "random",
        ).verdict
        == "worse"
    )


def test_what_prunes_nothing_is_set_against_dense() -> None:
    found = compared(
        seeds("magnitude", PLAIN),
        seeds("dense", PLAIN, sparsity=0.0),
        seeds("model-soup", [0.9] * 4, sparsity=0.0),
    )
    assert (
        difference(found, "model-soup").reference
        == found.base("glue/sst2", 0.0)
        == "dense"
    )


def test_dense_as_the_reference_is_that_of_what_is_pruned_too() -> None:
    found = compared(
        seeds("dense", PLAIN, sparsity=0.0),
        seeds("lth", [0.5, 0.51, 0.5, 0.53]),
        reference="dense",
    )
    assert difference(found, "lth").verdict == "worse"
    assert not said(found, "There is no run of dense")


def test_an_unknown_reference_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(
        UnknownName, match="unknown reference 'magnitud'; did you mean 'magnitude'"
    ):
        compared(seeds("magnitude", PLAIN), reference="magnitud")


def test_without_runs_of_magnitude_nothing_is_set_against_anything() -> None:
    parts = (seeds("wanda", PLAIN), seeds("sparsegpt", PLAIN))
    found = compare(named([facts for part in parts for facts in part]))
    assert found.reference == found.base("glue/sst2", 0.5) == ""
    assert found.differences == ()
    assert said(found, "no run of magnitude to set the others against")
    assert said(found, "picks another: sparsegpt, wanda")
    assert "against nothing" in repr(found)


def test_a_task_without_the_reference_is_named() -> None:
    found = compared(seeds("magnitude", PLAIN), seeds("lth", PLAIN, task="glue/cola"))
    assert found.differences == ()
    assert said(found, "no run of magnitude on glue/cola at 50%")


# a true null


def test_two_names_for_one_method_are_called_different_in_five_of_a_hundred_cases() -> (
    None
):
    """Neither much more often nor much more seldom: bounds that a true rate of 5 % leaves once in 10,000 times.

    Seeds move both alike, so an unpaired test would hardly ever call, one by normal quantiles far too often.
    """
    rng, count, size = np.random.default_rng(0), 600, 4
    calls = 0
    for _ in range(count):
        common = rng.normal(0.7, 0.05, size)
        one, other = (common + rng.normal(0, 0.01, size) for _ in range(2))
        found = compared(seeds("magnitude", one.tolist()), seeds("lth", other.tolist()))
        calls += difference(found, "lth").verdict in ("better", "worse")
    low, high = stats.binom.interval(0.9998, count, 0.05)
    assert low <= calls <= high
    by_normal = 2 * stats.t.sf(stats.norm.isf(0.025), size - 1)
    assert count * by_normal > high, "the bound would not tell"


def test_of_many_names_for_one_method_any_is_called_different_in_at_most_five_of_a_hundred_cases() -> (
    None
):
    rng, count, names = (
        np.random.default_rng(1),
        300,
        ("lth", "snip", "grasp", "random", "gradual", "early-bird"),
    )
    calls = 0
    for _ in range(count):
        found = compared(
            *(
                seeds(name, rng.normal(0.7, 0.02, 4).tolist())
                for name in ("magnitude", *names)
            )
        )
        calls += any(one.verdict in ("better", "worse") for one in found.differences)
    assert calls <= stats.binom.isf(1e-4, count, 0.05)


# controls


def test_a_ticket_is_set_against_its_own_controls_and_they_stand_beneath_it() -> None:
    found = compared(
        seeds("magnitude", PLAIN), seeds("lth", [0.9, 0.91, 0.93, 0.9]), seeds("lth", PLAIN, control="layers"),
        seeds("lth", PLAIN, control="shuffled"),
    )  # fmt: skip
    assert [(one.method, one.reference, one.verdict) for one in found.controls] == [
        ("lth", "lth, layers control", "better"),
        ("lth", "lth, shuffled control", "better"),
    ]
    titles = [one.title for one in found.of("glue/sst2", 0.5)]
    assert titles == ["lth", "lth, layers control", "lth, shuffled control", "magnitude"]
    assert {one.method for one in found.differences} == {"lth"}
    assert found.against(line(found, "lth", "shuffled")) == found.controls[1]


def test_a_control_whose_ticket_is_not_there_is_shown_all_the_same() -> None:
    found = compared(seeds("magnitude", PLAIN), seeds("lth", PLAIN, control="layers"))
    assert found.controls == ()
    assert [one.title for one in found.of("glue/sst2", 0.5)] == [
        "magnitude",
        "lth, layers control",
    ]


# equal budgets


def test_what_costs_more_is_set_against_the_reference_with_as_much_to_spend() -> None:
    found = compared(
        seeds("magnitude", PLAIN), seeds("magnitude", [0.75, 0.77, 0.74, 0.76], budget=1.6),
        seeds("instant-soup", [0.73, 0.74, 0.715, 0.735], ahead=0.6), seeds("lth", PLAIN, draw=3),
    )  # fmt: skip
    (one,) = found.equal
    assert (one.method, one.reference, one.verdict) == (
        "instant-soup",
        "magnitude (longer)",
        "worse",
    )
    assert difference(found, "instant-soup").verdict == "better"


def test_of_several_longer_references_the_nearest_in_cost_is_taken() -> None:
    found = compared(
        seeds("magnitude", PLAIN), seeds("magnitude", PLAIN, budget=1.6), seeds("magnitude", PLAIN, budget=4.0),
        seeds("lth", PLAIN, draw=3), seeds("instant-soup", PLAIN, ahead=0.58), seeds("gradual", PLAIN, draw=1.2),
    )  # fmt: skip
    assert {(one.method, one.reference) for one in found.equal} == {
        ("lth", "magnitude (budget=4.0)"),
        ("instant-soup", "magnitude (budget=1.6)"),
    }


def test_what_was_given_less_than_a_fine_tune_is_never_called_longer() -> None:
    found = compared(
        seeds("magnitude", PLAIN, budget=0.5), seeds("instant-soup", PLAIN, budget=0.5)
    )  # fmt: skip
    assert {one.title for one in found.of("glue/sst2", 0.5)} == {
        "magnitude (budget=0.5)",
        "instant-soup (budget=0.5)",
    }


def test_soups_are_set_against_dense_with_as_much_to_spend() -> None:
    found = compared(
        seeds("magnitude", PLAIN), seeds("dense", PLAIN, sparsity=0.0), seeds("dense", PLAIN, sparsity=0.0, budget=4.0),
        seeds("model-soup", PLAIN, sparsity=0.0, draw=3),
    )  # fmt: skip
    assert [(one.method, one.reference) for one in found.equal] == [
        ("model-soup", "dense (longer)")
    ]


def test_dear_methods_that_were_never_met_at_equal_cost_are_remarked_on() -> None:
    found = compared(seeds("magnitude", PLAIN), seeds("lth", PLAIN, draw=3))
    assert found.equal == ()
    assert said(
        found,
        "On glue/sst2 lines cost up to 4.0 T",
        "no run of magnitude was given as much",
    )


# ranks


def blocks(figures: dict[str, list[float]]) -> list[list[dict[str, Any]]]:
    spots = [
        (task, sparsity)
        for task in ("glue/sst2", "glue/cola", "glue/rte")
        for sparsity in (0.5, 0.7)
    ]
    return [
        [
            record(method, figure, task=task, sparsity=sparsity)
            for (task, sparsity), figure in zip(spots, of, strict=False)
        ]
        for method, of in figures.items()
    ]


def test_ranks_are_over_tasks_and_sparsities() -> None:
    figures = {
        "magnitude": [0.5, 0.4, 0.3, 0.2],
        "lth": [0.6, 0.5, 0.4, 0.1],
        "random": [0.1, 0.1, 0.1, 0.3],
    }
    ranks = compared(*blocks(figures)).ranks
    assert ranks is not None
    assert ranks.ranks == {"lth": 1.5, "magnitude": 2.0, "random": 2.5}
    assert ranks.blocks == 4
    assert ranks.p == pytest.approx(stats.friedmanchisquare(*figures.values()).pvalue)
    assert ranks.critical_difference == pytest.approx(
        2.343 * math.sqrt(3 * 4 / 24), abs=1e-3
    )


def test_a_block_with_few_methods_does_not_end_all_ranks() -> None:
    figures = {
        "magnitude": [0.5] * 5,
        "lth": [0.6] * 5,
        "random": [0.1] * 5,
        "snip": [0.2] * 4,
        "grasp": [0.3] * 4,
    }
    ranks = compared(*blocks(figures)).ranks
    assert ranks is not None
    assert (len(ranks.ranks), ranks.blocks) == (5, 4)


def test_methods_that_were_run_on_few_blocks_leave_the_ranks_and_not_the_other_blocks() -> (
    None
):
    figures = {name: [0.5] * 4 for name in ("magnitude", "lth", "random")}
    # such as ablations: eight lines on two blocks are more figures than three on four
    figures |= {name: [0.6] * 2 for name in ("snip", "grasp", "wanda", "ria", "gradual")}
    ranks = compared(*blocks(figures)).ranks
    assert ranks is not None
    assert (sorted(ranks.ranks), ranks.blocks) == (["lth", "magnitude", "random"], 4)


@pytest.mark.parametrize(
    "figures",
    [
        {"magnitude": [0.5, 0.6], "lth": [0.5, 0.6]},
        {"magnitude": [0.5], "lth": [0.5], "snip": [0.5]},
    ],
)
def test_two_methods_or_one_block_are_not_ranked(figures: dict[str, list[float]]) -> None:
    assert compared(*blocks(figures)).ranks is None


# remarks


def test_how_well_a_test_split_can_know_an_accuracy_is_said() -> None:
    found = compared(seeds("magnitude", [0.8], tested=400))
    assert said(found, "400 test examples", f"{1.96 * math.sqrt(0.8 * 0.2 / 400):.3f}")
    assert not said(
        compared(seeds("magnitude", [0.8], metric="matthews")), "test examples"
    )


def test_runs_that_ended_in_no_number_are_left_out_and_named() -> None:
    found = compared(seeds("magnitude", PLAIN), seeds("lth", [0.7, math.nan, 0.8]))
    assert line(found, "lth").figure.n == 2
    assert said(found, "Left out", "lth on glue/sst2 at 50%, seed 1", "nan")


def test_old_records_are_remarked_on() -> None:
    assert said(
        compared(seeds("magnitude", PLAIN, old=True)), "4 records are of an older schema"
    )
    assert not said(compared(seeds("magnitude", PLAIN)), "older schema")


def test_a_task_on_which_random_pruning_does_as_well_as_none_is_remarked_on() -> None:
    found = compared(
        seeds("dense", [0.8], sparsity=0.0),
        seeds("magnitude", [0.8]),
        seeds("random", [0.79]),
    )
    assert said(found, "random pruning reaches 99%")


# size


def test_ten_thousand_runs_are_compared() -> None:
    names = (
        "magnitude",
        "lth",
        "snip",
        "grasp",
        "y",  # not random: where that is as good as one-shot, nothing is ranked
        "gradual",
        "early-bird",
        "instant-soup",
        "lottery-pools",
        "x",
    )
    rng = np.random.default_rng(0)
    runs = named(
        record(name, float(rng.uniform()), task=f"task {i}", sparsity=sparsity, seed=seed)
        for name in names for i in range(50) for sparsity in (0.5, 0.7) for seed in range(10)
    )  # fmt: skip
    found = compare(runs)
    assert len(runs) == 10_000
    assert (len(found.lines), len(found.differences)) == (1000, 900)
    assert found.ranks is not None
    assert found.ranks.blocks == 100
