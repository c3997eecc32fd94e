"""Instant Soup Pruning (Jaiswal et al., ICML 2023, arXiv 2306.10460, Algorithms 1 and 2).

    theta <- theta_0, m <- all ones
    for i = 0, 1, .., while sparsity(m) < S:
        train theta under m for (i + 1) t steps
        m_1 <- the mask that theta scores at the round's sparsity
        for n = 2 .. N + 1:
            theta_C <- train a copy of theta for C steps with protocol P_n on subset D_n
            m_n <- the mask that theta_C scores
        m <- cut(blend(m_1 .. m_N+1), exactly)
    finish: continue training, restart it, or rewind to theta_0

What the paper leaves open (which share a round prunes, how the blend is trimmed, the protocols,
what follows) is a knob here; docs/methods/instant-soup.md says why each default is what it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from math import inf
from typing import Literal, Self

from ..core.budget import Meter
from ..core.errors import KnobError, unknown
from ..core.kinds import checked_knobs
from ..core.mask import Mask
from ..core.pattern import UNSTRUCTURED, check_pattern, stepped
from ..core.prune import Across, prune
from ..core.schedule import Share
from ..core.score import Saliency, saliency
from ..core.task import Brief, Learner, Task
from ..core.ticket import Ticket
from ..soup.blend import BLENDS, Standing
from ..soup.denoiser import Outlook, Protocols, Settled, briefs, denoise, votes_noted
from .finish import Finish, check_finish, finished
from .method import describe
from .timetable import LookAheads, Shares, Spacing, lengths_of_rounds

PAPER_STEPS = 30
INSIDE_STEPS = 40
PROTOCOLS = Protocols(rate=(1.0, 1.0))
_CHOICES = {
    "denoised_from": ("last", "first"),
    "carry": ("auto", "none", "mean"),
    "progress": ("row", "all"),
    "spacing": ("growing", "even"),
}


@checked_knobs
@dataclass(frozen=True)
class InstantSoup:
    """Blend the weak masks of cheap look-aheads, round by round, in a single pass.

    Knobs:
        denoisers: N, look-aheads per round. With 0 each round is a plain cut by score.
        denoised_rounds: how many rounds have look-aheads; all where it is more than there are. None takes all with
            *compression*, as the paper does, else the last alone.
        denoised_from: whether these are counted from the ``"last"`` round or from the ``"first"``. On a cubic line the
            first cut is by far the largest and the last the smallest, so little is left for look-aheads to decide.
        lookahead_steps: C, steps of one look-ahead. None takes 40, or fewer where all look-aheads together would take
            more than a tenth of T; where they are not paid out of T, the paper's 30, or half of T.
        compression: s, the share that a round prunes; the last round prunes what is missing. None goes by *rounds*.
        share: of what s is a share: of all weights (``"linear"``) or of the rest (``"geometric"``); with *rounds*
            also ``"cubic"``, which prunes much at first and little later. None is cubic with *rounds*, else linear.
        rounds: how many rounds, in place of *compression*. None takes 12 where there is no compression either.
        mask_share: M / T, the share of the budget in which the rounds fit.
        mask_start: the share of the budget before the first of evenly spaced rounds.
        spacing: whether rounds grow longer, as in the paper, or are evenly spaced.
        round_steps: t, steps of the first round, the i-th then has i t; in place of mask_share.
        round_epochs: t as a part of an epoch, such as the paper's 0.1; in place of mask_share.
        score: what a cut goes by: ``"magnitude"``, or ``"curved"``, which weighs magnitudes by the optimiser's memory
            of their gradients.
        blend: ``"votes"``, ``"lookahead"``, ``"bound"``, ``"extrapolated"``, ``"union"`` or ``"intersection"``.
        own_mask: whether the mask without look-ahead is blended too, as in Algorithm 2.
        carry: ``"none"`` throws look-ahead weights away, as the paper does; ``"mean"`` goes on
            from their mean, and their steps count as progress; ``"auto"`` does that where they fit into T.
        progress: how far the mean of look-aheads moves on the learning-rate line: by the C steps that are in a
            ``"row"``, or by the steps of ``"all"`` of them.
        inside: whether look-aheads are paid out of T: the line is then shorter by the steps that they take beside it.
            None does so where the draw's training is the fine-tuning, that is with *finish* ``"continue"``.
        finish: ``"continue"`` with the same optimiser and schedule for the rest of T, as the
            paper does; ``"restart"`` both over a fresh T; ``"rewind"`` to the pre-trained
            weights and a fresh T.
        carry_optimizer: whether look-aheads go on with a copy of the optimiser's state.
        lookahead_warmup: steps of a new warm-up that each look-ahead starts behind.
        settled: take no more look-aheads in a round once one more mask changes less than this
            share of the ticket; None takes all N.
        protocols: what the look-aheads' trainings vary in.
        across: one cut across the ``"model"``, or the same share of each ``"layer"`` or ``"row"``.
        pattern: ``"unstructured"``, or ``"N:M"`` to keep N of every M neighbouring inputs, such as ``"2:4"``.
    """

    denoisers: int = 2
    denoised_rounds: int | None = None
    denoised_from: Literal["last", "first"] = "last"
    lookahead_steps: int | None = None
    compression: float | None = None
    share: Share | None = None
    rounds: int | None = None
    mask_share: float = 0.5
    mask_start: float = 0.0
    spacing: Literal["growing", "even"] = "even"
    round_steps: int | None = None
    round_epochs: float | None = None
    score: str = "curved"
    blend: str = "lookahead"
    own_mask: bool = True
    carry: Literal["auto", "none", "mean"] = "auto"
    progress: Literal["row", "all"] = "row"
    inside: bool | None = None
    finish: Finish = "continue"
    carry_optimizer: bool = True
    lookahead_warmup: int = 0
    settled: float | None = None
    protocols: Protocols = PROTOCOLS
    across: Across = "model"
    pattern: str = UNSTRUCTURED

    def __post_init__(self) -> None:
        saliency(self.score)  # raises where there is none of that name
        if self.blend not in BLENDS:
            raise unknown("blend", self.blend, BLENDS)
        for knob, choices in _CHOICES.items():
            if getattr(self, knob) not in choices:
                raise unknown(knob, str(getattr(self, knob)), choices)
        check_finish(self.finish)

        self._check_numbers()
        self._check_together()
        self._shares.targets(0.5)

    def _check_numbers(self) -> None:
        least = {
            "denoisers": 0,
            "denoised_rounds": 1,
            "lookahead_steps": 1,
            "lookahead_warmup": 0,
            "round_steps": 1,
        }
        for knob, minimum in least.items():
            value = getattr(self, knob)
            if value is not None and value < minimum:
                raise KnobError(f"{knob} is {value}; expected {minimum} or more")

        if self.round_epochs is not None and not 0 < self.round_epochs < inf:
            raise KnobError(
                f"round_epochs is {self.round_epochs}; expected a part of an epoch above 0, such as 0.1"
            )
        if self.settled is not None and not 0 <= self.settled <= 1:
            raise KnobError(
                f"settled is {self.settled}; expected a share of the ticket between 0 and 1, such as 0.001"
            )
        if not 0 < self.mask_share <= 1:
            raise KnobError(
                f"mask_share is {self.mask_share}; expected a share of T above 0 and up to 1"
            )
        if not 0 <= self.mask_start < 1:
            raise KnobError(
                f"mask_start is {self.mask_start}; expected a share of T, 0 or more and below 1"
            )

    def _check_together(self) -> None:
        if self.round_steps is not None and self.round_epochs is not None:
            raise KnobError(
                f"round_steps is {self.round_steps} and round_epochs {self.round_epochs}; set one of them"
            )
        if self.settled is not None and self.carry == "mean":
            raise KnobError(
                "settled is set and carry is 'mean', which counts on all look-aheads; unset one of them"
            )
        if not self.denoisers and not self.own_mask:
            raise KnobError(
                "denoisers is 0 and own_mask is false, so no mask is left to blend; set one of them"
            )

        if self.mask_start and (
            self.spacing != "even" or self.mask_start >= self.mask_share
        ):
            raise KnobError(
                f"mask_start is {self.mask_start}, with rounds that are spaced {self.spacing!r} up to mask_share "
                f"{self.mask_share}; set spacing to 'even', and mask_start below mask_share"
            )

        if self.inside and self.finish != "continue":
            raise KnobError(
                f"inside is true and finish is {self.finish!r}, which trains for a fresh T after the look-aheads; "
                f"set finish to 'continue', or inside to false"
            )

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
        # before the learner is made, so that a mistyped pattern costs nothing
        check_pattern(self.pattern, sparsity)
        targets = stepped(self._shares.targets(sparsity), self.pattern)
        rounds = len(targets)

        resolved = self._resolved(rounds, task.horizon)
        look_aheads = resolved._look_aheads(rounds)
        line = look_aheads.line(task.horizon)
        learner = task.learner(meter or Meter(), horizon=line)
        check_pattern(self.pattern, sparsity, learner.scope)
        lengths = lengths_of_rounds(
            self._spacing, look_aheads, rounds, learner.horizon, learner.epoch
        )

        for number, target in learner.rounds(enumerate(targets)):
            learner.train(lengths[number])
            looks = resolved._briefs(number, rounds, learner)
            last = number == rounds - 1
            learner.apply_mask(resolved._denoised(learner, looks, target, last=last))

        return finished(learner, self.finish, describe(resolved))

    @property
    def _shares(self) -> Shares:
        return Shares(self.compression, self.share, self.rounds)

    @property
    def _inside(self) -> bool:
        """Whether look-aheads are paid out of T."""
        return self.finish == "continue" if self.inside is None else self.inside

    def _resolved(self, rounds: int, horizon: int) -> Self:
        """The same with the length of look-aheads and what becomes of them settled, as a task of *horizon* steps asks.

        Look-aheads whose length was left to us are not carried on where they do not fit into a T of a few dozen steps.
        """
        # for all of them together: what they take of T is missing on the way to the fine-tuned model
        number = max(1, self._denoised_rounds(rounds) * self.denoisers)
        preferred, part = (INSIDE_STEPS, 10) if self._inside else (PAPER_STEPS, 2)
        affordable = max(1, min(preferred, horizon // (part * number)))
        resolved = replace(self, lookahead_steps=self.lookahead_steps or affordable)

        if self.carry != "auto":
            return resolved
        # a mean counts on all look-aheads, and rounds that settle do not take all
        if self.settled is not None:
            return replace(resolved, carry="none")

        carried = replace(resolved, carry="mean")
        if self.lookahead_steps is not None:
            return carried

        look_aheads = carried._look_aheads(rounds)
        line = horizon - look_aheads.beside
        fits = look_aheads.carried + self.mask_share * line <= line
        return carried if fits else replace(resolved, carry="none")

    def _denoised_rounds(self, rounds: int) -> int:
        """How many of *rounds* have look-aheads."""
        if not self.denoisers:
            return 0
        if self.denoised_rounds is None:
            return rounds if self._shares.by_compression else 1
        return min(rounds, self.denoised_rounds)

    def _look_aheads(self, rounds: int) -> LookAheads:
        return LookAheads(
            rounds=self._denoised_rounds(rounds),
            denoisers=self.denoisers,
            steps=self.lookahead_steps or 0,
            progress="none" if self.carry == "none" else self.progress,
            inside=self._inside,
        )

    @property
    def _spacing(self) -> Spacing:
        return Spacing(
            kind=self.spacing,
            start=self.mask_start,
            share=self.mask_share,
            steps=self.round_steps,
            epochs=self.round_epochs,
        )

    def _briefs(self, number: int, rounds: int, learner: Learner) -> list[Brief]:
        """The look-aheads of round *number*, counted from 0."""
        denoised = self._denoised_rounds(rounds)
        # how many rounds lie between this one and the end that they are counted from
        distance = number if self.denoised_from == "first" else rounds - 1 - number
        if distance >= denoised:
            return []

        return briefs(
            self.denoisers,
            self.lookahead_steps or 0,
            self.protocols,
            learner.seed("look-ahead", number),
            carry_optimizer=self.carry_optimizer,
            warmup=self.lookahead_warmup,
        )

    def _denoised(
        self, learner: Learner, looks: list[Brief], target: float, *, last: bool
    ) -> Mask:
        """DenoisedPrune: the round's mask."""
        blend = BLENDS[self.blend]
        score: Saliency = saliency(self.score)
        cut = partial(prune, across=self.across, pattern=self.pattern)
        carried = self.carry == "mean"

        own = cut(score(learner), learner.mask, target)
        # going on from the mean writes over the weights before it
        kept_apart = carried and blend.wanted.weights
        before = learner.weights() if kept_apart else learner.view()

        def blended(outlook: Outlook) -> Mask:
            if self.own_mask or not looks:
                outlook = replace(outlook, masks=(own, *outlook.masks))
            if blend.deferred and not last:
                return outlook.union

            standing = Standing(score(learner), before, partial(score, learner))
            return cut(blend.score(outlook, standing), learner.mask, target)

        outlook = denoise(
            learner,
            looks,
            target,
            score=score,
            across=self.across,
            pattern=self.pattern,
            wanted=replace(blend.wanted, weights=blend.wanted.weights or carried),
            enough=None if self.settled is None else Settled(blended, self.settled),
        )

        # before the blend, which scores the weights that the round goes on from
        if carried and outlook.weights is not None:
            steps = [look.steps for look in looks]
            progress = max(steps) if self.progress == "row" else sum(steps)
            learner.advance(outlook.weights, progress)

        mask = blended(outlook)
        learner.note("rounds", votes_noted(target, mask, own, outlook))
        return mask
