"""Scoring: what weights can be scored by, beside themselves: gradients, curvature, and what goes into matrices."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from ..core.errors import TrainingError
from ..core.task import Sample
from ..core.weights import Weights
from . import sensitivity
from .course import Batch
from .feed import Feed
from .inputs import inputs_of
from .order import chunks


@dataclass(frozen=True)
class Scoring:
    """Scores a model in float32 and in evaluation mode, and leaves it as it was.

    Attributes:
        feed: the model, the examples to score its weights by, and their charge.
    """

    feed: Feed

    def gradient(self, sample: Sample) -> Weights:
        """As `Learner.gradient`."""
        layout = self.feed.layout
        layout.check_float32(str(self.feed.model.accelerator.mixed_precision))
        slope_of = (
            sensitivity.gathered_gradient if layout.is_sharded else sensitivity.gradient
        )

        with self._exact():
            parts = self.feed.sampled(sample, sensitivity.GRADIENT)
            return layout.added(
                slope_of(self._loss_of(), self.feed.model.parameters, parts)
            )

    def curvature(self, sample: Sample, temperature: float) -> Weights:
        """As `Learner.curvature`."""
        targets = self.feed.course.train.targets
        if temperature != 1 and targets is not None and targets.is_floating_point():
            raise TrainingError(
                f"temperature is {temperature:g}, and the label is a score, which has none; set it to 1"
            )

        layout = self.feed.layout
        layout.check_whole("a product with the Hessian")
        parameters = {
            name: self.feed.model.parameters[name] for name in self.feed.model.scope
        }
        loss_of = self._loss_of(temperature)

        with self._exact():
            parts = self.feed.sampled(sample, sensitivity.GRADIENT)
            slope = layout.added(sensitivity.gradient(loss_of, parameters, parts))

            parts = self.feed.sampled(sample, sensitivity.CURVATURE)
            return layout.added(sensitivity.curvature(loss_of, parameters, slope, parts))

    def inputs(
        self, examples: int, seed: int, *, second_moment: bool, subset: tuple[int, int]
    ) -> Iterator[Weights]:
        """As `Learner.inputs`."""
        self.feed.layout.check_whole("what goes into matrices")
        train = self.feed.course.train
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))
        index, count = subset
        chosen = sorted(order[:examples].tolist()[index::count])
        if not chosen:
            raise TrainingError(
                f"{len(train):,} training examples do not make {count} subsets to calibrate on; set subsets lower"
            )

        if examples > len(train) and index == 0:
            warnings.warn(
                f"{examples:,} training examples are asked for to calibrate on, and there are {len(train):,}; "
                f"all of them are taken",
                stacklevel=2,
            )

        def parts(passes: int) -> Iterator[Batch]:
            for part in chunks(chosen, self.feed.micro_size):
                if not passes:
                    yield self.feed.placed(train.batch(part))
                    continue
                yield self.feed.placed(self.feed.charged("score", train, part, passes))
                self.feed.tell("score")

        def forward(batch: Batch) -> object:
            with self._exact():
                return self.feed.course.predict(self.feed.model.module, batch)

        self.feed.model.module.eval()
        yield from inputs_of(
            self.feed.model.module,
            self.feed.model.scope,
            parts,
            forward,
            second_moment=second_moment,
        )

    def _exact(self) -> AbstractContextManager[None]:
        return sensitivity.exact(self.feed.model.module, self.feed.model.plain_forward)

    def _loss_of(self, temperature: float = 1.0) -> sensitivity.LossOf:
        return lambda batch: self.feed.course.batch_loss(
            self.feed.model.module, batch, 0.0, temperature
        )
