"""Feed: puts examples before a model in training, and charges for each before it is used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import Any

from accelerate.utils import send_to_device
from torch.nn.modules.batchnorm import _BatchNorm

from ..core.budget import Cost, Meter, Purpose
from ..core.task import Sample, Variation
from .course import Course, Examples
from .layout import Layout
from .leaning import leaning
from .masked import MaskedModel
from .order import Order, chunks
from .regime import Regime
from .sample import balanced
from .sensitivity import MicroBatch


@dataclass(frozen=True)
class Feed:
    """The examples of a course, as one model in training goes through them.

    Attributes:
        course: what is learned.
        regime: how large a batch is, and in how many parts it is gone through.
        model: what is fed.
        meter: what is charged, before a batch is used.
        free: whether nothing is charged, because who sent the work has paid for it.
    """

    course: Course
    regime: Regime
    model: MaskedModel
    meter: Meter
    free: bool = False

    @property
    def layout(self) -> Layout:
        """Which ranks train together."""
        return self.model.layout

    def order(self, variation: Variation) -> Order:
        """In which order *variation* goes through the training split."""
        train = self.course.train

        lean = None
        if variation.lean != "none":
            lean = leaning(variation.lean, train.targets, train.lengths, variation.seed)

        # the mean and variance of a single example are no statistics
        normalised = any(
            isinstance(part, _BatchNorm) for part in self.course.model.modules()
        )
        least = 2 if normalised else 1

        return Order(
            size=len(train),
            batch=self.regime.batch,
            seed=variation.seed,
            lengths=train.lengths,
            subset=variation.subset,
            portion=variation.portion,
            lean=lean,
            least=least,
        )

    def charged(
        self,
        purpose: Purpose,
        examples: Examples,
        indices: list[int],
        ways: int,
        *,
        steps: int = 0,
    ) -> Any:
        """Charge *ways* passes an example, 1 forwards, 3 with the way back; the batch, if this rank is alone."""
        representative = self._representative(examples, indices)
        batch = examples.batch(representative)
        if self.free:
            return batch

        counted = self.course.forward_cost.of(batch, examples, representative)
        forward = counted // len(representative)
        count = len(indices)
        cost = Cost(
            steps=steps,
            examples=count,
            passes=ways * count,
            flops=ways * forward * count,
        )
        self.meter.charge(purpose, cost)
        return batch

    def _representative(self, examples: Examples, indices: list[int]) -> list[int]:
        """Which of some examples to charge by. Of several ranks none needs all: the longest costs as each does."""
        if self.layout.team.size == 1:
            return indices
        if examples.lengths:
            return [max(indices, key=examples.lengths.__getitem__)]
        return [indices[0]]

    def tell(self, purpose: Purpose, loss: float | None = None) -> None:
        """Let whoever watches know that work just charged is done."""
        self.meter.tell(purpose, loss=loss, sparsity=self.model.mask.sparsity)

    def placed(self, batch: Any) -> Any:
        """*batch* on the device."""
        return send_to_device(batch, self.model.device)

    def micro(self, batch: Any, indices: list[int]) -> list[MicroBatch]:
        """This rank's examples of the batch in parts, each with its share of all of the batch's examples.

        Every rank goes through the model as often as the others, if need be with an example that does not count.
        """
        size = ceil(len(indices) / self.regime.accumulation)
        if size == len(indices) and self.layout.team.size == 1:
            return [(self.placed(batch), 1.0)]

        parts = []
        for part in chunks(indices, size):
            share = self.layout.mine(part)
            examples = self.course.train.batch(share or part[:1])
            parts.append((self.placed(examples), len(share) / len(indices)))
        return parts

    def sampled(self, sample: Sample, ways: int) -> Iterator[MicroBatch]:
        """This rank's share of *sample* in micro-batches, each charged before it is used."""
        of_train = sample.split == "train"
        examples = self.course.train if of_train else self.course.validation
        purpose: Purpose = "score" if of_train else "select"
        indices = balanced(examples.targets, len(examples), sample.per_class, sample.seed)

        for part in chunks(indices, self.micro_size):
            batch = self.charged(purpose, examples, part, ways)
            share = self.layout.mine(part)
            if share != part:
                # as in a step, every rank goes through the model as often
                batch = examples.batch(share or part[:1])

            yield self.placed(batch), len(share) / len(indices)
            self.tell(purpose)

    @property
    def micro_size(self) -> int:
        """How many examples go through the model at a time."""
        return ceil(self.regime.batch / self.regime.accumulation)
