"""Statistics: what scipy, statsmodels and published tables say of the same numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import DescrStatsW

from instant_soup.evidence.statistics import (
    FigureError,
    alike,
    critical_difference,
    friedman,
    holm,
    interval,
    mean_ranks,
    paired,
)

DICE = np.random.default_rng(0)
SIZES = (2, 3, 5, 10, 40)
NO_NUMBERS = (math.nan, math.inf, -math.inf)


def drawn(size: int) -> tuple[list[float], list[float]]:
    reference = DICE.normal(0.8, 0.03, size)
    return (reference + DICE.normal(0.01, 0.02, size)).tolist(), reference.tolist()


# intervals


@pytest.mark.parametrize("level", [0.5, 0.95, 0.99])
@pytest.mark.parametrize("size", SIZES)
def test_the_interval_is_statsmodels(size: int, level: float) -> None:
    values, _ = drawn(size)
    found = interval(values, level)
    assert (found.low, found.high) == pytest.approx(
        DescrStatsW(values).tconfint_mean(1 - level), rel=1e-9
    )
    assert found.mean == pytest.approx(np.mean(values))
    assert found.half == pytest.approx(((found.high or 0) - (found.low or 0)) / 2)
    assert found.n == size


def test_one_value_has_no_interval() -> None:
    found = interval([0.25])
    assert (found.mean, found.low, found.high, found.half, found.n) == (
        0.25,
        None,
        None,
        None,
        1,
    )


def test_equal_values_have_an_interval_without_width() -> None:
    found = interval([0.1] * 3)
    assert found.mean == pytest.approx(0.1)
    assert found.half == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("odd", NO_NUMBERS, ids=str)
def test_what_is_no_number_is_refused_and_named(odd: float) -> None:
    with pytest.raises(FigureError, match=rf"{odd} among 2 values; leave out"):
        interval([0.1, odd])
    for pair in (
        ([0.1, odd], [0.1, 0.2]),
        ([0.1, 0.2], [odd, 0.1]),
        ([odd, odd], [odd, odd]),
    ):
        with pytest.raises(FigureError, match="among 2 values"):
            paired(*pair)
    with pytest.raises(FigureError, match="among 2 values"):
        mean_ranks({"a": [1, odd], "b": [1, 2]})


def test_no_values_at_all_are_refused() -> None:
    with pytest.raises(FigureError, match="at least one"):
        interval([])
    with pytest.raises(FigureError, match="at least one"):
        paired([], [])


# pairs


@pytest.mark.parametrize("size", SIZES)
def test_the_paired_test_is_scipys(size: int) -> None:
    values, reference = drawn(size)
    found, theirs = paired(values, reference), stats.ttest_rel(values, reference)
    assert found.p == pytest.approx(theirs.pvalue, rel=1e-7)
    limits = theirs.confidence_interval(0.95)
    assert (found.difference.low, found.difference.high) == pytest.approx(
        (limits.low, limits.high), rel=1e-7
    )


def test_turning_a_pair_round_turns_the_signs_round() -> None:
    values, reference = drawn(6)
    one, other = paired(values, reference), paired(reference, values)
    assert one.p == pytest.approx(other.p)
    assert one.effect == pytest.approx(-(other.effect or 0))
    assert one.difference.mean == pytest.approx(-other.difference.mean)


@pytest.mark.parametrize(
    ("pairs", "factor"),
    [(3, 0.5642), (4, 0.7236), (6, 0.8408), (11, 0.9228), (51, 0.9849)],
)
def test_the_effect_size_bears_hedges_factor(pairs: int, factor: float) -> None:
    """J(m) of Hedges (1981), table 1, m being the degrees of freedom."""
    values, reference = drawn(pairs)
    differences = np.subtract(values, reference)
    plain = differences.mean() / differences.std(ddof=1)
    assert (paired(values, reference).effect or 0) / plain == pytest.approx(
        factor, abs=1e-4
    )


def test_the_effect_size_is_right_on_average_where_the_plain_one_is_not() -> None:
    differences = np.random.default_rng(1).normal(1.0, 1.0, (4000, 5))
    found = [paired(row.tolist(), [0.0] * 5).effect or 0 for row in differences]
    assert np.mean(found) == pytest.approx(1.0, abs=4 * np.std(found) / math.sqrt(4000))
    plain = differences.mean(1) / differences.std(1, ddof=1)
    assert plain.mean() > 1.1


def test_two_pairs_have_a_p_and_no_effect_size() -> None:
    found = paired([0.1, 0.2], [0.3, 0.1])
    assert found.p is not None
    assert found.effect is None


def test_equal_pairs_do_not_differ() -> None:
    found = paired([0.1, 0.7, 0.3], [0.1, 0.7, 0.3])
    assert (found.p, found.effect, found.difference.mean) == (1.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("values", "reference"),
    [
        ([0.3, 0.4, 0.5], [0.2, 0.3, 0.4]),
        ([1.1, 2.1, 3.1], [1.0, 2.0, 3.0]),
        ([0.5], [0.1]),
    ],
    ids=["by rounding", "more rounding", "one pair"],
)
def test_a_constant_difference_leaves_nothing_to_test_by(
    values: list[float], reference: list[float]
) -> None:
    found = paired(values, reference)
    assert found.p is None
    assert found.effect is None
    assert (found.difference.low, found.difference.high) == (None, None)
    assert found.difference.n == len(values)


def test_small_figures_are_not_taken_for_rounding() -> None:
    values, reference = [2e-13, 5e-13, 3e-13], [1e-13, 2e-13, 1e-13]
    assert paired(values, reference).p == pytest.approx(
        stats.ttest_rel(values, reference).pvalue
    )


def test_pairs_that_do_not_match_are_refused() -> None:
    with pytest.raises(FigureError, match="2 values for 1 of the reference"):
        paired([1.0, 2.0], [1.0])


# several tests


@pytest.mark.parametrize("count", [1, 2, 5, 30])
def test_holm_is_statsmodels(count: int) -> None:
    values = DICE.uniform(0, 0.2, count).tolist()
    assert holm(values) == pytest.approx(multipletests(values, method="holm")[1])


def test_holm_of_nothing_is_nothing_and_ties_stay_ties() -> None:
    assert holm([]) == []
    assert holm([0.01, 0.01, 0.9]) == pytest.approx([0.03, 0.03, 0.9])


# ranks


@pytest.mark.parametrize("decimals", [1, 6])
@pytest.mark.parametrize(("methods", "blocks"), [(3, 2), (4, 10), (12, 5)])
def test_friedmans_test_is_scipys_with_ties_too(
    methods: int, blocks: int, decimals: int
) -> None:
    figures = {
        f"{i}": DICE.uniform(0, 1, blocks).round(decimals).tolist()
        for i in range(methods)
    }
    assert friedman(figures) == pytest.approx(
        stats.friedmanchisquare(*figures.values()).pvalue
    )


def test_ranks_are_scipys_best_first() -> None:
    figures = {f"{i}": DICE.uniform(0, 1, 7).round(1).tolist() for i in range(5)}
    ranks = stats.rankdata(
        [[-figure for figure in column] for column in figures.values()], axis=0
    ).mean(1)
    found = mean_ranks(figures)
    assert found == pytest.approx(dict(zip(figures, ranks, strict=True)))
    assert list(found.values()) == sorted(found.values())


def test_what_ties_everywhere_is_alike() -> None:
    assert friedman({name: [0.5, 0.2] for name in "abc"}) == 1.0


@pytest.mark.parametrize(
    "figures",
    [{}, {"a": [1.0, 2.0], "b": [2.0, 1.0]}, {"a": [1.0], "b": [2.0], "c": [3.0]}],
)
def test_two_methods_or_one_block_are_too_little_for_friedman(
    figures: dict[str, list[float]],
) -> None:
    assert friedman(figures) is None


def test_blocks_that_lack_a_method_are_refused() -> None:
    with pytest.raises(FigureError, match="a, b are not equally many"):
        mean_ranks({"a": [1.0, 2.0], "b": [1.0]})


@pytest.mark.parametrize(
    ("methods", "q"),
    [
        (2, 1.960),
        (3, 2.343),
        (4, 2.569),
        (5, 2.728),
        (6, 2.850),
        (7, 2.949),
        (8, 3.031),
        (9, 3.102),
        (10, 3.164),
    ],
)
def test_the_critical_difference_goes_by_demsars_table(methods: int, q: float) -> None:
    """Demšar (2006), table 5 a: q at 0.05."""
    assert critical_difference(methods, 14) == pytest.approx(
        q * math.sqrt(methods * (methods + 1) / 84), abs=2e-3
    )


def test_the_critical_difference_of_demsars_example() -> None:
    """Section 3.2.2: four classifiers on 14 data sets, 1.25 at 0.05 and 1.12 at 0.10."""
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)
    assert critical_difference(4, 14, 0.10) == pytest.approx(1.12, abs=0.005)


def test_groups_of_ranks_overlap_and_none_lies_in_another() -> None:
    ranks = {"d": 4.0, "a": 1.0, "b": 1.5, "c": 2.5, "e": 9.0}
    assert alike(ranks, 1.5) == [("a", "b", "c"), ("c", "d")]
    assert alike(ranks, 0.1) == []
    assert alike(ranks, 8.0) == [("a", "b", "c", "d", "e")]
