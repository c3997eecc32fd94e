"""Compare: from many runs to what can be said of the methods, and what cannot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from .records import Run
from .statistics import Interval

Verdict = Literal["better", "worse", "within noise", "too few seeds"]


@dataclass(frozen=True)
class Line:
    """What one method (or a control of it) reached on one task at one sparsity, over seeds.

    Attributes:
        metric: the task's first figure.
        figure: it on the test split.
        cost: whole cost in multiples of T.
        recovery: the share of the dense figure that is reached, paired by seed; None where no dense run is there.
    """

    task: str
    sparsity: float
    method: str
    control: str | None
    metric: str
    figure: Interval
    cost: Interval
    recovery: Interval | None
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class Difference:
    """A line against the reference method, paired by seed.

    Attributes:
        difference: of the figures; positive where *method* is higher.
        p: of a paired t-test; *adjusted* for all methods of the task and sparsity (Holm).
        effect: standardised mean difference of pairs with Hedges' correction.
    """

    task: str
    sparsity: float
    method: str
    reference: str
    difference: Interval
    p: float | None
    adjusted: float | None
    effect: float | None
    verdict: Verdict


@dataclass(frozen=True)
class Ranks:
    """Average ranks over all tasks and sparsities on which every one of the methods was run; 1 is best.

    Attributes:
        blocks: how many those are.
        p: of Friedman's test that all methods are alike.
        critical_difference: of Nemenyi's test at 5 %; ranks closer than this are not told apart.
    """

    ranks: Mapping[str, float]
    blocks: int
    p: float | None
    critical_difference: float | None


@dataclass(frozen=True)
class Comparison:
    """All that a comparison says. *remarks* are sentences about what the numbers do not show."""

    reference: str
    lines: tuple[Line, ...]
    differences: tuple[Difference, ...]
    ranks: Ranks | None
    remarks: tuple[str, ...]
