"""Schedule: the sparsity to reach after each round, ending exactly on the target."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil, log1p
from typing import Literal

from .errors import KnobError, unknown
from .prune import survivors
from .table import Table

MOST_ROUNDS = 10_000
"""More would take longer to list than anybody waits, and each is to train."""

Schedule = Callable[[float, int], tuple[float, ...]]


def one_shot(target: float, rounds: int) -> tuple[float, ...]:
    """Everything in the first round."""
    return _rising(target, rounds, lambda _: target)


def linear(target: float, rounds: int) -> tuple[float, ...]:
    """The same share of all weights each round (Chen et al., 2020)."""
    return _rising(target, rounds, lambda r: target * r / rounds)


def geometric(target: float, rounds: int) -> tuple[float, ...]:
    """The same share of what is left each round (Frankle and Carbin, 2019)."""
    return _rising(target, rounds, lambda r: 1 - (1 - target) ** (r / rounds))


def cubic(target: float, rounds: int) -> tuple[float, ...]:
    """Fast at first and gently later (Zhu and Gupta, 2017)."""
    return _rising(target, rounds, lambda r: target * (1 - (1 - r / rounds) ** 3))


def _check(target: float) -> None:
    survivors(target, 2**53)


def _rising(
    target: float, rounds: int, reach: Callable[[int], float]
) -> tuple[float, ...]:
    _check(target)  # refuses a target out of range before anything is trained
    if rounds > MOST_ROUNDS:
        raise KnobError(f"rounds is {rounds:,}; expected {MOST_ROUNDS:,} at most")
    return (*(reach(r) for r in range(1, rounds)), target)


SCHEDULES: Mapping[str, Schedule] = Table(
    "schedule",
    {"one-shot": one_shot, "linear": linear, "geometric": geometric, "cubic": cubic},
)


Share = Literal["linear", "geometric", "cubic"]
SHARES: tuple[Share, ...] = ("linear", "geometric", "cubic")
"""How the rounds of a method divide the way to its target between them."""


def steps_to(
    target: float, share: float, of: str, rounds: int | None = None
) -> tuple[float, ...]:
    """The sparsities on the way to *target*, in rounds that each remove *share*, or in so many *rounds*.

    Args:
        target: the sparsity to reach, 0 <= target < 1.
        share: what each round removes, where *rounds* is None. The last round removes what is missing, so it lands
            on the target and may be smaller.
        of: ``"linear"`` removes a share of all weights, ``"geometric"`` a share of the rest; the ISP paper leaves
            open which of the two it means (Jaiswal et al., 2023, Algorithm 2). ``"cubic"`` removes much at first
            and little later (Zhu and Gupta, 2017); only the number of rounds says how much.
        rounds: how many rounds, in place of *share*.

    Raises:
        KnobError: *share* is no share, *rounds* is below 1, *of* is ``"cubic"`` without *rounds*, or that would be
            more than `MOST_ROUNDS` rounds.
        UnknownName: there is no such *of*.
        SparsityError: *target* is out of range.
    """
    if not 0 < share < 1:
        raise KnobError(
            f"compression is {share!r}; expected a share between 0 and 1, such as 0.1"
        )
    if rounds is not None and rounds < 1:
        raise KnobError(f"rounds is {rounds}; expected 1 or more")
    if of not in SHARES:
        raise unknown("share", of, SHARES)
    if of == "cubic" and rounds is None:
        raise KnobError(
            "share is 'cubic', which the number of rounds sets; set rounds, to 12 for example"
        )

    if rounds is not None:
        return SCHEDULES[of](target, rounds)

    _check(target)
    if of == "linear":
        count = _whole_rounds(target / share)
        return _rising(target, count, lambda r: share * r)

    # the logarithm of 1 - share is 0 where share is tiny
    count = _whole_rounds(log1p(-target) / log1p(-share))
    return _rising(target, count, lambda r: 1 - (1 - share) ** r)


def _whole_rounds(exact: float) -> int:
    """How many rounds that many are; what is over by rounding alone makes no round of its own. Raises KnobError."""
    if exact > MOST_ROUNDS:
        raise KnobError(
            f"compression asks for {exact:.2g} rounds; expected {MOST_ROUNDS:,} at most: raise it, to 0.1 for example"
        )
    return max(1, ceil(exact - 1e-9))
