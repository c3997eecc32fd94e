"""Task and Learner: all that a method may ask of the world."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

from torch import Tensor

from .budget import Meter, Purpose
from .mask import Mask
from .scope import Scope
from .weights import Weights

Seen = TypeVar("Seen")
Item = TypeVar("Item")


@dataclass(frozen=True)
class Base:
    """Which pre-trained model a ticket is drawn from: its name and the hash of its prunable weights."""

    name: str
    digest: str


Lean = Literal["none", "classes", "lengths"]
"""What the examples of a subset have more of than the whole: some classes, some lengths, or nothing."""


@dataclass(frozen=True)
class Portion:
    """One of *count* disjoint parts of the training examples, which *seed* divides at random."""

    index: int
    count: int
    seed: int


@dataclass(frozen=True)
class Variation:
    """How a look-ahead's or an ingredient's training differs from the main line. The defaults do not differ.

    Attributes:
        rate: a factor on the main line's learning rate.
        subset: the share of training examples to draw from.
        seed: what picks the subset, the order of examples and the dropout.
        portion: the part of the training examples that the subset is taken from; all of them if None.
        lean: what the subset has more of than the whole.
    """

    rate: float = 1.0
    weight_decay: float | None = None
    label_smoothing: float = 0.0
    subset: float = 1.0
    seed: int = 0
    portion: Portion | None = None
    lean: Lean = "none"


@dataclass(frozen=True)
class Brief:
    """What one look-ahead is told to do. *warmup* is the steps of a new warm-up that it starts behind."""

    steps: int
    variation: Variation
    carry_optimizer: bool = False
    warmup: int = 0


@dataclass(frozen=True)
class Sample:
    """A few examples to score by, drawn from a seed.

    *per_class* of each class; where the label is a score, as many from each tenth of the sorted
    scores; ten times as many at random where labels cannot be read without the model.
    """

    per_class: int
    seed: int = 0
    split: Literal["train", "validation"] = "train"


class Learner(Protocol):
    """A model in training: always masked, always metered.

    Training goes in legs: the optimiser, the learning-rate line and the order of examples go on
    from one leg to the next.
    """

    @property
    def scope(self) -> Scope:
        """What may be pruned."""

    @property
    def mask(self) -> Mask:
        """What is kept now."""

    @property
    def base(self) -> Base:
        """The pre-trained model this learner began as."""

    @property
    def origin(self) -> Weights:
        """The weights this learner began with, the task's new head included. Not to be written to."""

    @property
    def fresh(self) -> frozenset[str]:
        """Parameters that the pre-trained model does not have, such as the task's head."""

    @property
    def steps_taken(self) -> int:
        """Where the learner stands on its learning-rate line."""

    @property
    def horizon(self) -> int:
        """How many steps the learning-rate line is long: the budget T of one full fine-tune."""

    @property
    def epoch(self) -> int:
        """How many steps one pass over the training split takes."""

    def seed(self, *purpose: str | int) -> int:
        """A seed for *purpose*, fixed by the run's seed; different purposes give unrelated seeds."""

    def view(self) -> Weights:
        """The live tensors, detached: they change as training goes on and must not be written to."""

    def weights(self) -> Weights:
        """A copy of all parameters and buffers."""

    def restore(self, weights: Weights) -> None:
        """Take over *weights*, masked. Names that *weights* lacks stay as they are."""

    def apply_mask(self, mask: Mask) -> None:
        """Prune: zero what *mask* drops, in the weights and in the optimiser's memory of them."""

    def train(self, steps: int, purpose: Purpose = "train") -> None:
        """Train one leg. Raises TrainingError past the end of the learning-rate line."""

    def complete(self, variation: Variation | None = None, *, at: int = 0) -> None:
        """Train from here to the end of a new line: fresh optimiser, the schedule from step *at* on.

        The outcome is kept on the task's shelf, if it has one, and taken from there by whoever asks
        for the very same training again. It is charged in full either way.
        """

    def look_ahead(
        self, briefs: Sequence[Brief], look: Callable[[Learner], Seen]
    ) -> Iterator[Seen]:
        """For each brief, train a copy of this learner and yield what *look* sees in it.

        The copies leave no trace here. *look* may run on another machine, so it is a function of
        the learner alone, and what it returns is small.
        """

    def advance(self, weights: Weights, steps: int) -> None:
        """Take over *weights* that *steps* steps of look-ahead have reached, and move on by as many."""

    def evaluate(self) -> float:
        """The task's metric on the validation split, which is cut out of train. Higher is better."""

    def loss(self) -> float:
        """The mean loss on the validation split, in evaluation mode. Lower is better."""

    def gradient(self, sample: Sample) -> Weights:
        """The gradient of the mean loss over *sample*, in evaluation mode and float32.

        Of every trained parameter, pruned weights included; charged to scoring, or to selection
        where the sample is of the validation split.
        """

    def curvature(self, sample: Sample, temperature: float = 1.0) -> Weights:
        """H g: the Hessian of the mean loss over *sample* times its gradient, over the scope.

        In evaluation mode and float32, with logits divided by *temperature*. Memory is that of one
        micro-batch, because both are sums over them. Raises TrainingError for a label that is a score
        with a temperature other than 1.
        """

    def inputs(
        self,
        examples: int,
        seed: int,
        *,
        second_moment: bool = False,
        subset: tuple[int, int] = (0, 1),
    ) -> Iterator[Weights]:
        """What goes into each matrix in scope over *examples* of the training split, which *seed* picks.

        One block of the model at a time, in order, in evaluation mode and float32. Whoever asks may `restore` other
        weights of a block before asking for the next one, whose inputs have then gone through them. The sums are of
        the squares of each input, float32 [..., inputs], or with *second_moment* of x x^T, [..., inputs, inputs];
        a stack of matrices has one for each. Charged to scoring.

        *subset* (i, n) takes only the i-th of n disjoint subsets of these examples. Several subsets may be asked in
        step, block by block; each then goes through the weights that were restored.

        Raises TrainingError for a parameter that multiplies nothing, and for a subset without examples.
        """

    def second_moments(self) -> Weights:
        """Adam's running mean of each weight's squared gradient, over the scope; empty where nothing was trained.

        Float32, of the weights' shapes, without the bias towards zero of the first steps; zeros where a parameter
        had no gradient. After `complete` they are those of the training that was completed. Not to be written to.
        """

    def rounds(self, items: Iterable[Item]) -> Iterator[Item]:
        """Go through *items*, one round each; a run that was killed goes on after its last finished round."""

    def note(self, key: str, value: Any) -> None:
        """Append plain data to the list *key* of the ticket's notes; it survives a kill."""

    def set_aside(self, masks: Sequence[Mask]) -> None:
        """Hold on to *masks*, in place of those held before; they survive a kill between rounds."""

    @property
    def aside(self) -> Sequence[Mask]:
        """The masks that were set aside last."""

    @property
    def notes(self) -> Mapping[str, Sequence[Any]]:
        """What has been noted."""

    @property
    def meter(self) -> Meter:
        """What the work so far has cost."""


class Bookmark(Protocol):
    """Where a learner saves its place, so that a killed run goes on from there."""

    def save(
        self, place: str, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]
    ) -> None:
        """Keep the state at *place*, in one piece or not at all, over what was kept there."""

    def load(self, place: str) -> tuple[Mapping[str, Tensor], Mapping[str, Any]] | None:
        """What was last saved at *place*, if anything."""

    @property
    def due(self) -> bool:
        """Whether enough time has passed since the last save to save again."""


class Shelf(Protocol):
    """Where trained by-products are kept, so that no training is done twice."""

    def claim(self, key: str) -> AbstractContextManager[None]:
        """Be the only one who looks for *key* and makes it; whoever else wants it waits for that."""

    def put(
        self, key: str, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]
    ) -> None:
        """Keep *tensors* under *key*, in one piece or not at all."""

    def get(self, key: str) -> tuple[Mapping[str, Tensor], Mapping[str, Any]] | None:
        """What is kept under *key*, if anything."""


class Task(Protocol):
    """A data set, a pre-trained model and a way to train one on the other."""

    @property
    def name(self) -> str:
        """What recipes and records call it."""

    @property
    def horizon(self) -> int:
        """T: the steps of one full fine-tune."""

    def learner(self, meter: Meter, *, horizon: int | None = None) -> Learner:
        """A new learner at the pre-trained weights, dense, at step 0 of a line of *horizon* steps (T if None)."""
