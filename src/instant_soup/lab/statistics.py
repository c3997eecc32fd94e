"""Statistics: intervals, paired tests and ranks, on scipy. It is imported when something is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, sqrt

import numpy as np

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean over *n* values with its 95 % confidence interval (Student's t); without one where n is 1."""

    mean: float
    low: float | None
    high: float | None
    n: int

    @property
    def half(self) -> float | None:
        """Half the width of the interval."""
        return None if self.high is None else self.high - self.mean


@dataclass(frozen=True)
class Paired:
    """A mean difference of pairs.

    Attributes:
        difference: with its interval.
        p: of a two-sided paired t-test; None where there are fewer than two pairs or all differ by the same.
        effect: the mean difference over the standard deviation of the differences (Cohen's d_z), with
            Hedges' correction for few pairs; None where *p* is.
    """

    difference: Interval
    p: float | None
    effect: float | None


@dataclass(frozen=True)
class RankTest:
    """Mean ranks over blocks, 1 for the best; ties share their ranks.

    Attributes:
        p: of Friedman's test that all are alike.
        critical_difference: of Nemenyi's test at 5 % (Demsar, 2006).
    """

    ranks: tuple[float, ...]
    p: float
    critical_difference: float


def interval(values: Sequence[float]) -> Interval:
    """The mean of *values* and where it lies. Raises ValueError when there is none, or one is not finite."""
    if not values or not all(isfinite(value) for value in values):
        raise ValueError(f"values are {list(values)}; expected one or more finite numbers")
    mean, n = float(np.mean(values)), len(values)
    if n == 1:
        return Interval(mean, None, None, 1)
    half = _quantile(n - 1) * float(np.std(values, ddof=1)) / sqrt(n)
    return Interval(mean, mean - half, mean + half, n)


def paired(values: Sequence[float], reference: Sequence[float]) -> Paired:
    """*values* against *reference*, pair by pair."""
    differences = [float(one - other) for one, other in zip(values, reference, strict=True)]
    found, n = interval(differences), len(differences)
    spread = float(np.std(differences, ddof=1)) if n > 1 else 0.0
    if spread <= 1e-12 * max(1.0, abs(found.mean)):  # no spread but rounding: nothing to test by
        return Paired(found, None, None)
    from scipy import stats

    p = 2 * float(stats.t.sf(abs(found.mean) * sqrt(n) / spread, n - 1))
    return Paired(found, p, found.mean / spread * (1 - 3 / (4 * (n - 1) - 1)))


def holm(values: Mapping[str, float]) -> dict[str, float]:
    """p-values by name, adjusted so that one false finding among all is held to the level (Holm, 1979)."""
    adjusted, least, count = {}, 0.0, len(values)
    for i, (name, p) in enumerate(sorted(values.items(), key=lambda item: item[1])):
        least = max(least, min(1.0, (count - i) * p))
        adjusted[name] = least
    return {name: adjusted[name] for name in values}


def rank_test(blocks: Sequence[Sequence[float]]) -> RankTest:
    """Ranks of methods, one figure each in every block, higher figures being better.

    Raises ValueError for fewer than two blocks or three methods.
    """
    if len(blocks) < 2 or len(blocks[0]) < 3:
        raise ValueError(f"{len(blocks)} blocks of methods; expected two or more, of three methods or more")
    from scipy import stats

    table = np.array(blocks, dtype=float)
    count, methods = table.shape
    ranks = np.apply_along_axis(stats.rankdata, 1, -table).mean(0)
    alike = bool((table == table[:, :1]).all())
    p = 1.0 if alike else float(stats.friedmanchisquare(*table.T).pvalue)
    q = float(stats.studentized_range.ppf(LEVEL, methods, np.inf)) / sqrt(2)
    return RankTest(tuple(float(rank) for rank in ranks), p, q * sqrt(methods * (methods + 1) / (6 * count)))


_QUANTILES: dict[int, float] = {}


def _quantile(freedom: int) -> float:
    if freedom not in _QUANTILES:
        from scipy import stats

        _QUANTILES[freedom] = float(stats.t.ppf((1 + LEVEL) / 2, freedom))
    return _QUANTILES[freedom]
