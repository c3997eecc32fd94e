"""Instant Soup Pruning (Jaiswal et al., ICML 2023, arXiv 2306.10460, Algorithms 1 and 2).

    theta <- theta_0, m <- all ones
    for i = 0, 1, .., while sparsity(m) < S:
        train theta under m for (i + 1) t steps
        m_1 <- magnitude mask of theta at the round's sparsity
        for n = 2 .. N + 1:
            theta_C <- train a copy of theta for C steps with protocol P_n on subset D_n
            m_n <- magnitude mask of theta_C
        m <- cut(blend(m_1 .. m_N+1), exactly)
    finish: continue training, restart it, or rewind to theta_0

What the paper leaves open (which share a round prunes, how the blend is trimmed, the protocols,
what follows) is a knob here; docs/methods/instant-soup.md says why each default is what it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from math import inf
from typing import Literal, Self

from ..core.budget import Meter
from ..core.errors import KnobError, unknown
from ..core.mask import Mask
from ..core.prune import Across, prune
from ..core.schedule import steps_to
from ..core.score import magnitude
from ..core.task import Brief, Learner, Task
from ..core.ticket import Ticket
from ..soup.blend import BLENDS
from ..soup.denoiser import Outlook, Protocols, Range, Settled, briefs, denoise
from .method import describe

PAPER_STEPS = 30


@dataclass(frozen=True)
class InstantSoup:
    """Blend the weak masks of cheap look-aheads, round by round, in a single pass.

    Knobs:
        denoisers: N, look-aheads per round. With 0 each round is a plain magnitude cut.
        lookahead_steps: C, steps of one look-ahead. None takes the paper's 30, or fewer where all
            look-aheads together would take more than half of T, as they do on small data.
        compression: s, the share that a round prunes; the last round prunes what is missing.
        share: of what s is a share: of all weights (``"linear"``) or of the rest (``"geometric"``).
        mask_share: M / T, the share of the budget in which the rounds of growing length fit.
        round_steps: t, steps of the first round, the i-th then has i t; in place of mask_share.
        round_epochs: t as a part of an epoch, such as the paper's 0.1; in place of mask_share.
        blend: ``"votes"``, ``"lookahead"``, ``"union"`` or ``"intersection"``.
        own_mask: whether the mask without look-ahead is blended too, as in Algorithm 2.
        carry: ``"none"`` throws look-ahead weights away, as the paper does; ``"mean"`` goes on
            from their mean, and their steps count as progress. A T of a few dozen steps has no room
            for that, and unless *lookahead_steps* is given they are thrown away then.
        finish: ``"continue"`` with the same optimiser and schedule for the rest of T, as the
            paper does; ``"restart"`` both over a fresh T; ``"rewind"`` to the pre-trained
            weights and a fresh T.
        carry_optimizer: whether look-aheads go on with a copy of the optimiser's state.
        lookahead_warmup: steps of a new warm-up that each look-ahead starts behind.
        settled: take no more look-aheads in a round once one more mask changes less than this
            share of the ticket; None takes all N.
        rate, weight_decay, label_smoothing, subset: ranges (low, high) that the look-aheads'
            protocols are drawn from; rate is a factor on the current learning rate, subset a
            share of the training examples.
        across: one cut across the ``"model"``, or the same share of each ``"layer"``.
    """

    denoisers: int = 4
    lookahead_steps: int | None = None
    compression: float = 0.1
    share: Literal["linear", "geometric"] = "linear"
    mask_share: float = 0.2
    round_steps: int | None = None
    round_epochs: float | None = None
    blend: str = "votes"
    own_mask: bool = True
    carry: Literal["none", "mean"] = "mean"
    finish: Literal["continue", "restart", "rewind"] = "restart"
    carry_optimizer: bool = False
    lookahead_warmup: int = 0
    settled: float | None = None
    rate: Range = Protocols.rate
    weight_decay: Range = Protocols.weight_decay
    label_smoothing: Range = Protocols.label_smoothing
    subset: Range = Protocols.subset
    across: Across = "model"

    def __post_init__(self) -> None:
        if self.blend not in BLENDS:
            raise unknown("blend", self.blend, BLENDS)
        for knob, least in (("denoisers", 0), ("lookahead_steps", 1), ("lookahead_warmup", 0)):
            if getattr(self, knob) is not None and getattr(self, knob) < least:
                raise KnobError(f"{knob} is {getattr(self, knob)}; expected {least} or more")
        if self.round_steps is not None and self.round_steps < 1:
            raise KnobError(f"round_steps is {self.round_steps}; expected 1 or more")
        if self.round_epochs is not None and not 0 < self.round_epochs < inf:
            raise KnobError(f"round_epochs is {self.round_epochs}; expected a part of an epoch above 0, such as 0.1")
        if self.round_steps is not None and self.round_epochs is not None:
            raise KnobError(f"round_steps is {self.round_steps} and round_epochs {self.round_epochs}; set one of them")
        if self.settled is not None and not 0 <= self.settled <= 1:
            raise KnobError(f"settled is {self.settled}; expected a share of the ticket between 0 and 1, such as 0.001")
        if self.settled is not None and self.carry == "mean":
            raise KnobError("settled is set and carry is 'mean', which counts on all look-aheads; unset one of them")
        if not 0 < self.mask_share <= 1:
            raise KnobError(f"mask_share is {self.mask_share}; expected a share of T above 0 and up to 1")
        for knob, choices in (("carry", ("none", "mean")), ("finish", ("continue", "restart", "rewind"))):
            if getattr(self, knob) not in choices:
                raise unknown(knob, str(getattr(self, knob)), choices)
        if not self.denoisers and not self.own_mask:
            raise KnobError("denoisers is 0 and own_mask is false, so no mask is left to blend; set one of them")
        steps_to(0.5, self.compression, self.share)
        self._protocols()

    @property
    def name(self) -> str:
        return "instant-soup"

    @property
    def trains(self) -> bool:
        return self.finish == "continue"

    def draw(self, task: Task, sparsity: float, meter: Meter | None = None) -> Ticket:
        """Draw a ticket. It comes back trained if *finish* is ``"continue"``.

        Raises KnobError when the rounds do not fit the task's budget.
        """
        learner = task.learner(meter or Meter())
        targets = steps_to(sparsity, self.compression, self.share)
        steps = self.lookahead_steps or self._affordable(len(targets), learner.horizon)
        ahead = len(targets) * self.denoisers * steps
        how = self._fitting(ahead, learner.horizon)
        lengths = how._lengths(len(targets), ahead, learner)
        for i, target in learner.rounds(enumerate(targets)):
            learner.train(lengths[i])
            looks = how._looks(steps, learner.seed("look-ahead", i))
            learner.apply_mask(how._denoised(learner, looks, target, last=i == len(targets) - 1))
        if self.trains:
            learner.train(learner.horizon - learner.steps_taken)
        start = learner.origin if self.finish == "rewind" else None
        return Ticket.drawn(learner, describe(how), start=start, ready=self.trains)

    def _fitting(self, ahead: int, horizon: int) -> Self:
        """Carry nothing on where look-aheads whose length was left to us do not fit into a T of a few dozen steps."""
        fits = ahead + self.mask_share * horizon <= horizon
        return self if fits or self.lookahead_steps is not None else replace(self, carry="none")

    def _affordable(self, rounds: int, horizon: int) -> int:
        """The paper's 30 steps a look-ahead, or fewer where they would come to more than half of T."""
        return max(1, min(PAPER_STEPS, horizon // (2 * max(1, rounds * self.denoisers))))

    def _lengths(self, rounds: int, ahead: int, learner: Learner) -> list[int]:
        """Steps of each round, growing evenly; *ahead*: those of all look-aheads."""
        triangle, horizon = [i * (i + 1) // 2 for i in range(rounds + 1)], learner.horizon
        if self.round_steps is not None:
            first: float = self.round_steps
        elif self.round_epochs is not None:
            first = self.round_epochs * learner.epoch
        else:
            first = self.mask_share * horizon / triangle[-1]
        ends = [round(first * corner) for corner in triangle]
        carried = ahead if self.carry == "mean" else 0
        if ends[-1] + carried > horizon:
            away = ", or set carry to 'none', with which look-aheads are no part of T" if carried else ""
            raise KnobError(
                f"{rounds} rounds take {ends[-1] + carried} steps and the budget T has {horizon}; lower round_steps, "
                f"round_epochs, mask_share, denoisers or lookahead_steps, raise compression, or train longer{away}"
            )
        return [end - start for start, end in pairwise(ends)]

    def _looks(self, steps: int, seed: int) -> list[Brief]:
        """A round's look-aheads."""
        return briefs(
            self.denoisers,
            steps,
            self._protocols(),
            seed,
            carry_optimizer=self.carry_optimizer,
            warmup=self.lookahead_warmup,
        )

    def _denoised(self, learner: Learner, looks: list[Brief], target: float, *, last: bool) -> Mask:
        """DenoisedPrune: the round's mask."""
        blend, carried = BLENDS[self.blend], self.carry == "mean"
        own = prune(magnitude(learner), learner.mask, target, across=self.across)

        def blended(outlook: Outlook) -> Mask:
            if self.own_mask:
                outlook = Outlook((own, *outlook.masks), outlook.magnitude)
            if blend.deferred and not last:
                return outlook.union
            return prune(blend.score(outlook, learner.view()), learner.mask, target, across=self.across)

        outlook = denoise(
            learner,
            looks,
            target,
            across=self.across,
            magnitude=blend.magnitude,
            weights=carried,
            enough=None if self.settled is None else Settled(blended, self.settled),
        )
        if carried and outlook.weights is not None:
            learner.advance(outlook.weights, sum(look.steps for look in looks))
        mask = blended(outlook)
        learner.note("rounds", _seen(target, mask, own, outlook))
        return mask

    def _protocols(self) -> Protocols:
        return Protocols(self.rate, self.weight_decay, self.label_smoothing, self.subset)


def _seen(target: float, mask: Mask, own: Mask, outlook: Outlook) -> dict[str, float]:
    """How far the look-aheads' masks agree, and how far the blend moved from the plain cut.

    All are shares of the scope: *unanimous* that on which all masks agree, *agreement* that on
    which two of them do, on average; *moved* that on which the blend and the plain cut differ.
    """
    return {
        "target": target,
        "sparsity": mask.sparsity,
        "look-aheads": len(outlook.masks),
        "unanimous": outlook.unanimous,
        "agreement": outlook.agreement,
        "moved": mask.distance(own),
    }
