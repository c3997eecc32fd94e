"""Scaling: what a number of workers makes of a draw: time, bytes moved, memory. docs/scaling.md explains and checks it.

Only look-aheads are shared out among workers. What lies between them goes on in one place, so it bounds what workers
can save.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log2

from ..core.budget import Cost
from ..recipes.recipe import Recipe
from ..tasks import CourseTask
from ..training.order import chunks
from .plan import Plan, tensors
from .sizes import Sizes
from .stand_in import Round, StandInTask, pattern_of

LINK = 1.25e9  # bytes a second between nodes: 10 Gbit/s
# seconds a byte of weights for a look-ahead beside its steps, on one core; docs/scaling.md
HANDLING = 5e-10


@dataclass(frozen=True)
class Load:
    """What a draw asks of workers.

    Attributes:
        rounds: its look-aheads.
        weights: bytes of the model's weights.
        scope: how many of them may be pruned.
        step: seconds of one training step of one worker.
        alone: seconds of all that is not shared out.
    """

    rounds: Sequence[Round]
    weights: int
    scope: int
    step: float
    alone: float = 0.0

    @classmethod
    def of(cls, recipe: Recipe, task: CourseTask, plan: Plan) -> Load:
        """What *recipe* asks for, with the times that *plan* has taken on this machine."""
        if plan.timing is None:
            raise ValueError("a plan without timing says nothing of seconds")

        # the method itself, on a stand-in that notes what it asks for
        rounds: list[Round] = []
        stand_in = StandInTask(Sizes.of(task), rounds, pattern_of(recipe))
        recipe.make_method().draw(stand_in, recipe.sparsity)

        step = plan.timing.step
        ahead = plan.draw.get("look-ahead", Cost()).steps * step
        parameters = task.course.model.parameters()
        return cls(
            rounds=rounds,
            weights=sum(tensor.nbytes for tensor in parameters),
            scope=task.course.scope.size,
            step=step,
            alone=max(0.0, plan.timing.seconds - ahead),
        )


@dataclass(frozen=True)
class Forecast:
    """What a number of workers makes of a load.

    Attributes:
        steps: of look-aheads that come one after the other.
        seconds: in all, what is not shared out included.
        out: bytes that a round sends out, at most: one snapshot to each worker, as if each had a node of its own.
        back: bytes that a round gets back.
        memory: bytes that one worker holds, activations left out.
    """

    workers: int
    steps: int
    seconds: float
    out: int
    back: int
    memory: int


def forecast(
    load: Load, workers: int, *, link: float = LINK, handling: float = HANDLING
) -> Forecast:
    """What *workers* make of *load*. One worker is taken to be on the machine that sends.

    A snapshot goes from node to node, each passing it on, so its time grows with the logarithm of their number. What
    comes back goes through one link.
    """
    seconds = load.alone
    steps = 0
    out = 0
    back = 0
    held = 0

    for round_ in load.rounds:
        used = min(workers, len(round_.steps))
        turns = chunks(list(round_.steps), used)
        # a turn takes as long as the longest look-ahead in it
        in_a_row = sum(max(turn) for turn in turns)
        # the optimiser remembers two moments of each weight, and the mask takes a bit
        copies = 3 if round_.carried else 1
        snapshot = load.weights * copies + load.scope // 8
        returned = len(round_.steps) * _returned(round_, load)

        steps += in_a_row
        seconds += in_a_row * load.step + len(turns) * handling * load.weights
        if workers > 1:
            seconds += ceil(log2(used + 1)) * snapshot / link + returned / link

        out = max(out, used * snapshot)
        back = max(back, returned)
        held = max(held, snapshot)

    return Forecast(
        workers=workers,
        steps=steps,
        seconds=seconds,
        out=out,
        back=back,
        memory=held + tensors(load.weights, load.weights, 4 * load.scope),
    )


def _returned(round_: Round, load: Load) -> int:
    """Bytes that one look-ahead sends back: a bit for each weight in scope, and what the blend reads of all weights."""
    mask = load.scope / 8
    more = max(0.0, round_.returned - 1 / 8)
    # what is less than that is the frame of the message, which on the stand-in's one small matrix shows
    if more <= 0.5:
        return round(mask)
    return round(mask + more / 4 * load.weights)


def numbers(most: int) -> list[int]:
    """1, 2, 4 and so on up to *most*, which is the last."""
    if most <= 1:
        return [1]
    doublings = ceil(log2(most))
    powers = [2**exponent for exponent in range(doublings)]
    return [*powers, most]
