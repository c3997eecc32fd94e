"""Schedule: the sparsity to reach after each round, ending exactly on the target."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil, log
from types import MappingProxyType

from .errors import KnobError, unknown
from .prune import survivors

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


def _rising(target: float, rounds: int, reach: Callable[[int], float]) -> tuple[float, ...]:
    _check(target)  # refuses a target out of range before anything is trained
    return (*(reach(r) for r in range(1, rounds)), target)


SCHEDULES: Mapping[str, Schedule] = MappingProxyType(
    {"one-shot": one_shot, "linear": linear, "geometric": geometric, "cubic": cubic}
)


def steps_to(target: float, share: float, of: str) -> tuple[float, ...]:
    """The sparsities on the way to *target* when every round removes *share*.

    *of* is ``"linear"`` (a share of all weights) or ``"geometric"`` (a share of the rest).
    The last round removes what is missing, so it lands on the target and may be smaller.
    The ISP paper leaves open which of the two it means (Jaiswal et al., 2023, Algorithm 2).
    """
    if not 0 < share < 1:
        raise KnobError(f"compression is {share!r}; expected a share between 0 and 1, such as 0.1")
    reach: dict[str, Callable[[int], float]] = {
        "linear": lambda r: share * r,
        "geometric": lambda r: 1 - (1 - share) ** r,
    }
    if of not in reach:
        raise unknown("share", of, reach)
    _check(target)
    exact = target / share if of == "linear" else log(1 - target) / log(1 - share)
    return _rising(target, max(1, ceil(exact - 1e-9)), reach[of])
