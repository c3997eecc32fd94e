"""Statistics: intervals, paired tests and ranks, on scipy.

Means and differences go by Student's t. The effect size is Cohen's d of the pairs with the
correction of Hedges (1981) for few pairs. Several tests at a time are adjusted after Holm (1979).
Ranks over tasks are tested as Demšar (2006) proposes: Friedman's test, then Nemenyi's critical difference.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from ..core.errors import SoupError

ENOUGH = 3
"""Pairs from which on a difference is tested; with fewer, hardly any difference could be told from noise."""

# values that differ by less than this share of their size differ by rounding only
_ALIKE = 1e-9


Figures = Mapping[str, Sequence[float]]
"""Method -> one figure for each block."""


class FigureError(SoupError, ValueError):
    """Figures that no statistic can be made of."""


@dataclass(frozen=True)
class Interval:
    """A mean over *n* values with its confidence interval; without one where n is 1."""

    mean: float
    low: float | None
    high: float | None
    n: int

    @property
    def half(self) -> float | None:
        """Half the width, as in "0.815 ± 0.012"."""
        return None if self.high is None else self.high - self.mean


@dataclass(frozen=True)
class Paired:
    """What pairs say of two methods.

    Attributes:
        difference: mean over the pairs and its interval; positive where the first is higher.
        p: of a paired t-test, two-sided; None with fewer than two pairs, or where every pair differs by the same.
        effect: mean difference over the standard deviation of the differences, corrected for few
            pairs (Hedges); None with fewer than three pairs, or where every pair differs by the same.
    """

    difference: Interval
    p: float | None
    effect: float | None


def interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """The mean of *values* and the interval that holds the true one with probability *level* (Student's t).

    Raises FigureError where there are none, or one is not a number.
    """
    n, mean, deviation = _moments(values)
    if n == 1:
        return Interval(mean, None, None, n)
    half = _quantile(level, n - 1) * deviation / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, n)


def paired(values: Sequence[float], reference: Sequence[float]) -> Paired:
    """*values* against *reference*, value by value.

    Raises FigureError where the two are not equally many, there are none, or one is not a number.
    """
    if len(values) != len(reference):
        raise FigureError(
            f"{len(values)} values for {len(reference)} of the reference; give as many of both"
        )
    _moments(reference)  # it refuses what is not a number
    differences = [value - other for value, other in zip(values, reference, strict=True)]
    n, mean, deviation = _moments(differences)
    size = max(map(abs, (*values, *reference)))

    # by rounding alone the spread would be some tiny number, and t an enormous one
    if max(differences) - min(differences) <= _ALIKE * size:
        return _constant(mean, n, zero=abs(mean) <= _ALIKE * size)

    # scipy.special alone: scipy.stats takes far longer to import
    from scipy import special

    t = abs(mean) / deviation * math.sqrt(n)
    p = 2 * float(special.stdtr(n - 1, -t))
    # for two pairs the correction is 0 / 0
    effect = mean / deviation * _hedges(n - 1) if n > 2 else None
    return Paired(interval(differences), p, effect)


def _constant(mean: float, n: int, *, zero: bool) -> Paired:
    """Pairs that all differ by the same: without a spread there is nothing to test by, unless they do not differ."""
    if n > 1 and zero:
        return Paired(Interval(0.0, 0.0, 0.0, n), p=1.0, effect=0.0)
    return Paired(Interval(mean, None, None, n), p=None, effect=None)


def holm(p_values: Sequence[float]) -> list[float]:
    """*p_values* adjusted for being several: the chance of any false alarm stays at the level (Holm, 1979)."""
    count = len(p_values)
    rising = sorted(range(count), key=lambda index: p_values[index])

    adjusted = [0.0] * count
    highest = 0.0
    for place, index in enumerate(rising):
        # never below a smaller one's, or the order of the values would change
        raised = (count - place) * p_values[index]
        highest = max(highest, min(1.0, raised))
        adjusted[index] = highest
    return adjusted


def mean_ranks(figures: Figures) -> dict[str, float]:
    """The average rank of each method over blocks, best first; 1 is the highest figure, ties share their ranks.

    *figures* holds one figure a block for each method. Raises FigureError where one is not a number.
    """
    means: dict[str, float] = {}
    for name, ranks in zip(figures, _ranked(figures), strict=True):
        means[name] = sum(ranks) / len(ranks)
    return dict(sorted(means.items(), key=lambda item: item[1]))


def friedman(figures: Figures) -> float | None:
    """The p of Friedman's test that all methods are alike, ties allowed for.

    None with fewer than three methods or two blocks.
    """
    ranks = _ranked(figures)
    methods = len(ranks)
    blocks = len(ranks[0]) if ranks else 0
    if methods < 3 or blocks < 2:
        return None

    # the form that allows for ties: both sums are of the ranks as they are, ties at their means
    middle = (methods + 1) / 2
    between = 0.0
    squares = 0.0
    for row in ranks:
        between += (sum(row) / blocks - middle) ** 2
        squares += sum((rank - middle) ** 2 for rank in row)
    within = squares / (blocks * (methods - 1))
    if not within:
        return 1.0  # every block is one tie

    from scipy import special

    return float(special.chdtrc(methods - 1, blocks * between / within))


@cache
def critical_difference(methods: int, blocks: int, level: float = 0.05) -> float:
    """How far two average ranks have to be apart to differ at *level*, after Nemenyi (Demšar, 2006, section 3.2.2)."""
    from scipy import stats

    studentized = float(stats.studentized_range.ppf(1 - level, methods, math.inf))
    # the table of q in the paper is the studentized range over the square root of 2
    q = studentized / math.sqrt(2)
    return q * math.sqrt(methods * (methods + 1) / (6 * blocks))


def alike(ranks: Mapping[str, float], within: float) -> list[tuple[str, ...]]:
    """Groups of methods, best first, whose ranks are closer than *within*; a group inside another is not named."""
    names = sorted(ranks, key=lambda name: ranks[name])
    groups: list[tuple[str, ...]] = []
    for start, best in enumerate(names):
        near = []
        for name in names[start:]:
            if ranks[name] - ranks[best] <= within:
                near.append(name)
        if len(near) < 2:
            continue

        # names are in order, so a group can lie within the last one only
        inside = bool(groups) and set(near) <= set(groups[-1])
        if not inside:
            groups.append(tuple(near))
    return groups


def _moments(values: Sequence[float]) -> tuple[int, float, float]:
    """How many, their mean, and their standard deviation, 0 for one."""
    if not values:
        raise FigureError("no values; a mean needs at least one")

    odd = [value for value in values if not math.isfinite(value)]
    if odd:
        raise FigureError(
            f"{odd[0]} among {len(values)} values; leave out the runs that did not end in a number"
        )

    # fsum rounds once, so a mean does not depend on the order of seeds
    n = len(values)
    mean = math.fsum(values) / n
    if n == 1:
        return n, mean, 0.0

    squares = math.fsum((value - mean) ** 2 for value in values)
    return n, mean, math.sqrt(squares / (n - 1))


def _ranked(figures: Figures) -> list[list[float]]:
    """The ranks of each method, block by block."""
    columns = list(figures.values())
    if len({len(column) for column in columns}) > 1:
        raise FigureError(
            f"figures of {', '.join(figures)} are not equally many; give one a block for each method"
        )
    for column in columns:
        _moments(column)  # it refuses what is not a number

    blocks = [_ranks_within(block) for block in zip(*columns, strict=True)]
    return [list(ranks) for ranks in zip(*blocks, strict=True)]


def _ranks_within(block: Sequence[float]) -> list[float]:
    """The rank of each figure of one block; figures that are equal share the mean of their ranks."""
    ranks = []
    for figure in block:
        above = sum(other > figure for other in block)
        equal = sum(other == figure for other in block)  # itself included
        ranks.append(above + (equal + 1) / 2)
    return ranks


@cache
def _quantile(level: float, freedom: int) -> float:
    from scipy import special

    return float(special.stdtrit(freedom, (1 + level) / 2))


def _hedges(freedom: int) -> float:
    """The exact factor that makes a standardised difference unbiased."""
    # of logarithms, for gamma functions overflow from 171 on
    log_ratio = math.lgamma(freedom / 2) - math.lgamma((freedom - 1) / 2)
    return math.exp(log_ratio) / math.sqrt(freedom / 2)
