"""Timetable: when the rounds of Instant Soup Pruning take place, and what becomes of the steps of its look-aheads."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from ..core.errors import KnobError


@dataclass(frozen=True)
class LookAheads:
    """The steps that look-aheads take in a whole draw.

    Attributes:
        rounds: how many rounds have look-aheads; 0 where there are no denoisers.
        denoisers: N, how many a round has.
        steps: C, how long each is.
        progress: by how many of them the learner moves on along its line: none, the C that are in a row, or all.
        inside: whether they are paid out of T.
    """

    rounds: int
    denoisers: int
    steps: int
    progress: Literal["none", "row", "all"]
    inside: bool

    @property
    def total(self) -> int:
        """The steps of all of them together."""
        return self.rounds * self.denoisers * self.steps

    @property
    def carried(self) -> int:
        """The steps by which they move the learner on along its line."""
        if self.progress == "none":
            return 0
        if self.progress == "row":
            return self.rounds * self.steps
        return self.total

    @property
    def beside(self) -> int:
        """The steps that the line makes room for, because they are paid out of T and are no progress."""
        return self.total - self.carried if self.inside else 0

    def line(self, horizon: int) -> int:
        """How many steps the learning-rate line has, of a budget of *horizon*. Raises KnobError where none are left."""
        if self.beside >= horizon:
            raise KnobError(
                f"look-aheads take {self.beside} steps and the budget T has {horizon}, which they are paid out of; "
                f"lower denoisers or lookahead_steps, or set inside to false"
            )
        return horizon - self.beside


@dataclass(frozen=True)
class Spacing:
    """When rounds end, look-aheads left out.

    Attributes:
        kind: whether rounds grow longer, as in the paper, or are evenly spaced.
        start, share: the shares of the line that are over before the first round and after the last.
        steps: t, steps of the first round, in place of *share*.
        epochs: t as a part of an epoch, in place of *share*.
    """

    kind: Literal["growing", "even"]
    start: float
    share: float
    steps: int | None
    epochs: float | None

    def ends(self, rounds: int, horizon: int, epoch: int) -> list[int]:
        """After how many steps each of *rounds* is over, on a line of *horizon* steps."""
        numbers = range(1, rounds + 1)
        by_share = self.steps is None and self.epochs is None

        if self.kind == "even" and by_share:
            first = self.start * horizon
            stage = (self.share - self.start) * horizon
            return [round(first + stage * number / rounds) for number in numbers]

        # in units of t: growing rounds take t, 2 t, 3 t, so they end at 1, 3, 6
        ends = [
            number if self.kind == "even" else number * (number + 1) // 2
            for number in numbers
        ]
        if self.steps is not None:
            unit: float = self.steps
        elif self.epochs is not None:
            unit = self.epochs * epoch
        else:
            unit = self.share * horizon / ends[-1]

        return [round(unit * end) for end in ends]


def lengths_of_rounds(
    spacing: Spacing, look_aheads: LookAheads, rounds: int, horizon: int, epoch: int
) -> list[int]:
    """Steps of each round before its look-aheads.

    Args:
        horizon: length of the learning-rate line.
        epoch: steps of one pass over the training examples.

    Raises:
        KnobError: the rounds and the look-aheads that count as progress do not fit into the line.
    """
    ends = spacing.ends(rounds, horizon, epoch)
    taken = ends[-1] + look_aheads.carried

    if taken > horizon:
        away = ", or set carry to 'none', with which look-aheads are no part of T"
        raise KnobError(
            f"{rounds} rounds take {taken} steps and the budget T has {horizon}; lower round_steps, "
            f"round_epochs, mask_share, denoisers or lookahead_steps, raise compression, or train longer"
            f"{away if look_aheads.carried else ''}"
        )
    return [end - start for start, end in pairwise([0, *ends])]
