"""SNIP and GraSP, compared with derivatives taken in other ways."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import functional as AF
from torch.func import functional_call
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import instant_soup as soup
from instant_soup.core.errors import KnobError, SparsityError
from instant_soup.core.prune import prune
from instant_soup.core.rounding import rounding
from instant_soup.core.score import grasp, snip
from instant_soup.core.task import Sample
from instant_soup.methods import Grasp, Snip
from instant_soup.models import tiny
from instant_soup.tasks import CourseTask
from instant_soup.training.learner import ModuleLearner
from instant_soup.training.sample import balanced

Make = Callable[..., CourseTask]
SCOPE = ("one.weight", "two.weight")


def chosen(
    task: CourseTask, learner: ModuleLearner, per_class: int
) -> tuple[Tensor, Tensor]:
    """The examples that both methods score by."""
    train = task.course.train
    return train.batch(
        balanced(train.targets, len(train), per_class, learner.seed("score sample"))
    )


def loss_at(
    task: CourseTask, batch: tuple[Tensor, Tensor], temperature: float = 1.0
) -> Callable[..., Tensor]:
    """The mean loss as a function of the two matrices."""
    model, (inputs, targets) = task.course.model, batch

    def loss(*matrices: Tensor) -> Tensor:
        outputs = functional_call(
            model, dict(zip(SCOPE, matrices, strict=True)), (inputs,)
        )
        return F.cross_entropy(outputs / temperature, targets)

    return loss


def matrices(task: CourseTask) -> tuple[Tensor, ...]:
    return tuple(task.course.model.get_parameter(name).detach() for name in SCOPE)


# SNIP


def connections(task: CourseTask, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    """|dL / dm| at m = 1, where each weight is multiplied by an m of its own."""
    here, loss = matrices(task), loss_at(task, batch)
    ones = tuple(torch.ones_like(part) for part in here)
    slopes = AF.jacobian(
        lambda *m: loss(*(a * b for a, b in zip(m, here, strict=True))), ones
    )
    return {name: slope.abs() for name, slope in zip(SCOPE, slopes, strict=True)}


@pytest.mark.parametrize(("batch", "accumulation"), [(64, 1), (8, 1), (8, 4), (1, 1)])
def test_snip_scores_what_the_loss_feels_of_each_connection(
    points: Make, batch: int, accumulation: int
) -> None:
    """However the sample is cut into micro-batches."""
    task = points(batch=batch, accumulation=accumulation)
    learner = task.learner(soup.Meter())
    wanted = connections(task, chosen(task, learner, 10))
    scores = snip(learner, Sample(10, learner.seed("score sample")))
    for name in SCOPE:
        bound = rounding(30 * wanted[name].numel(), float(wanted[name].max()))
        torch.testing.assert_close(scores[name], wanted[name], rtol=0, atol=bound)
    assert Snip().draw(task, 0.5).mask == prune(wanted, learner.mask, 0.5)


def test_snip_takes_absolute_values_of_the_sum_and_not_the_sum_of_absolute_values(
    points: Make,
) -> None:
    task = points(batch=1)
    learner = task.learner(soup.Meter())
    inputs, targets = chosen(task, learner, 10)
    single = [
        connections(task, (inputs[i : i + 1], targets[i : i + 1]))
        for i in range(len(inputs))
    ]
    other = {name: torch.stack([each[name] for each in single]).mean(0) for name in SCOPE}
    scores = snip(learner, Sample(10, learner.seed("score sample")))
    assert all((other[name] > scores[name]).all() for name in SCOPE)
    assert prune(other, learner.mask, 0.5) != Snip().draw(task, 0.5).mask


# GraSP


def flows(
    task: CourseTask, batch: tuple[Tensor, Tensor], temperature: float = 1.0
) -> dict[str, Tensor]:
    """What theta * (H g) is, by the explicit Hessian of both matrices together."""
    here = torch.cat([part.flatten() for part in matrices(task)]).double()
    sizes = [part.numel() for part in matrices(task)]
    model, shapes = (
        deepcopy(task.course.model).double(),
        [part.shape for part in matrices(task)],
    )
    task = replace(task, course=replace(task.course, model=model))

    def loss(flat: Tensor) -> Tensor:
        parts = (
            part.view(shape)
            for part, shape in zip(flat.split(sizes), shapes, strict=True)
        )
        return loss_at(task, (batch[0].double(), batch[1]), temperature)(*parts)

    score = here * (AF.hessian(loss, here) @ AF.jacobian(loss, here))
    return {
        n: part.view(s).float()
        for n, part, s in zip(SCOPE, score.split(sizes), shapes, strict=True)
    }


@pytest.mark.parametrize("temperature", [1.0, 5.0])
@pytest.mark.parametrize("batch", [64, 7])
def test_grasp_scores_with_the_hessian_itself(
    points: Make, batch: int, temperature: float
) -> None:
    task = points(batch=batch)
    learner = task.learner(soup.Meter())
    wanted = flows(task, chosen(task, learner, 10), temperature)
    scores = grasp(learner, Sample(10, learner.seed("score sample")), temperature)
    for name in SCOPE:
        torch.testing.assert_close(
            scores[name],
            wanted[name],
            rtol=1e-3,
            atol=1e-3 * float(wanted[name].abs().max()),
        )
    ticket = Grasp(temperature=temperature).draw(task, 0.5)
    # two weights about the cut, if any
    assert ticket.mask.distance(prune(wanted, learner.mask, 0.5)) <= 2 / 168


def test_the_temperature_changes_the_ticket(points: Make) -> None:
    tickets = [Grasp(temperature=t).draw(points(), 0.5) for t in (1.0, 5.0)]
    assert tickets[0].mask != tickets[1].mask


class Bowl(nn.Module):
    """L(w) = w A w / 2, whose gradient is A w and whose Hessian is A."""

    A = torch.tensor([[0.0, -1.0, 0.0], [-1.0, 3.0, 0.0], [0.0, 0.0, 0.5]])

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([[2.0, 1.0, 1.0]]))

    def forward(self, inputs: Tensor) -> Tensor:
        return (self.w @ self.A @ self.w.T / 2).expand(len(inputs), 1)


def of_its_own(
    model: nn.Module, inputs: Tensor | None = None, loss: Any = None
) -> CourseTask:
    data: Any = TensorDataset(
        torch.zeros(4) if inputs is None else inputs, torch.zeros(4).long()
    )
    return soup.tasks.module(
        "own",
        model,
        train=DataLoader(data),
        validation=DataLoader(data),
        test=DataLoader(data),
        loss=loss or (lambda outputs, _: outputs.mean()),
        metric=lambda outputs, _: float(outputs.mean()),
        regime=soup.Regime(steps=2, batch=2, precision="float32"),
    )


def test_grasp_removes_first_what_holds_back_the_gradient_flow() -> None:
    """In the bowl w * A A w is (-2, 4, 0.25).

    So the first weight goes first, though it is the largest; the third goes next, and the second,
    which carries the most flow, stays. The sign the other way round would let the second go first,
    the size of the score the third.
    """
    task = of_its_own(Bowl())
    scores = grasp(task.learner(soup.Meter()), Sample(1))
    assert scores["w"].tolist() == [[-2.0, 4.0, 0.25]]
    assert Grasp().draw(task, 1 / 3).mask["w"].tolist() == [[False, True, True]]
    assert Grasp().draw(task, 2 / 3).mask["w"].tolist() == [[False, True, False]]
    assert Grasp(absolute=True).draw(task, 1 / 3).mask["w"].tolist() == [
        [True, True, False]
    ]


def test_snip_removes_first_what_the_loss_feels_least() -> None:
    """In the bowl |w * A w| is (2, 1, 0.5)."""
    task = of_its_own(Bowl())
    assert snip(task.learner(soup.Meter()), Sample(1))["w"].tolist() == [[2.0, 1.0, 0.5]]
    assert Snip().draw(task, 1 / 3).mask["w"].tolist() == [[True, True, False]]
    assert Snip().draw(task, 2 / 3).mask["w"].tolist() == [[True, False, False]]


# attention


@pytest.fixture(params=["bert", "clip", "vit", "multi-head attention"])
def attentive(request: pytest.FixtureRequest, quick_regime: soup.Regime) -> CourseTask:
    if request.param == "bert":
        return request.getfixturevalue("mini")
    if request.param == "clip":
        return request.getfixturevalue("mini_clip_task")
    if request.param == "vit":
        folder, images = (
            request.getfixturevalue("tiny_vit"),
            request.getfixturevalue("tiny_images"),
        )
        return soup.tasks.image(
            "vit", model=str(folder), data=images, regime=quick_regime, validation=0.25
        )
    dice = torch.Generator().manual_seed(0)
    images = torch.randn(4, 3, tiny.IMAGE, tiny.IMAGE, generator=dice)
    return of_its_own(
        tiny.attention_tower(),
        images,
        lambda outputs, _: outputs.square().sum(1).mean().log(),
    )


def gradient_at(
    learner: ModuleLearner, weights: dict[str, Tensor], sample: Sample
) -> dict[str, Tensor]:
    before = learner.weights()
    learner.restore(weights)
    gradient = learner.gradient(sample)
    learner.restore(before)
    return {name: gradient[name] for name in learner.scope}


def test_curvature_through_attention_is_that_of_finite_differences(
    attentive: CourseTask,
) -> None:
    learner, sample = attentive.learner(soup.Meter()), Sample(2, 5)
    here = learner.weights()
    slope = gradient_at(learner, here, sample)
    size = 1e-2 / sum(float(part.square().sum()) for part in slope.values()) ** 0.5
    ahead, behind = (
        gradient_at(learner, {n: here[n] + sign * size * slope[n] for n in slope}, sample)
        for sign in (1, -1)
    )
    curvature = learner.curvature(sample)
    found = torch.cat([curvature[n].flatten() for n in slope])
    wanted = torch.cat([((ahead[n] - behind[n]) / (2 * size)).flatten() for n in slope])
    assert found.norm() > 0
    assert (found - wanted).norm() < 0.02 * wanted.norm()
    assert curvature.keys() == dict.fromkeys(learner.scope).keys()


def test_scores_are_of_full_precision_where_training_is_not(
    attentive: CourseTask,
) -> None:
    sample = Sample(2, 5)
    half, full = (
        replace(
            attentive, regime=attentive.regime.model_copy(update={"precision": precision})
        )
        for precision in ("bfloat16", "float32")
    )
    rough, fine = (
        (learner.gradient(sample), learner.curvature(sample), learner.gradient(sample))
        for learner in (task.learner(soup.Meter()) for task in (half, full))
    )
    for ours, theirs in zip(rough, fine, strict=True):
        assert ours.keys() == theirs.keys()
        for name, part in ours.items():
            assert part.dtype == torch.float32
            assert torch.equal(part, theirs[name])


# what is left


class Lame(nn.Module):
    """The second layer hardly matters, and the third not at all."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = (
            nn.Linear(4, 4, bias=False) for _ in range(3)
        )

    def forward(self, inputs: Tensor) -> Tensor:
        return self.first(inputs) + 1e-9 * self.second(inputs)


@pytest.fixture
def lame() -> CourseTask:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return of_its_own(
            Lame(), 2 * torch.eye(4), lambda outputs, _: outputs.square().sum(1).mean()
        )


@pytest.mark.parametrize("make", [Snip, Grasp])
def test_a_matrix_that_would_lose_all_its_weights_is_named(
    make: type, lame: CourseTask
) -> None:
    with pytest.raises(
        SparsityError,
        match=r"nothing is left of 'second.weight' \(16 weights\) and 1 more; raise",
    ):
        make().draw(lame, 0.8)


@pytest.mark.parametrize("make", [Snip, Grasp])
def test_a_matrix_may_lose_all_its_weights_where_that_is_allowed(
    make: type, lame: CourseTask
) -> None:
    ticket = make(allow_collapse=True).draw(lame, 0.8)
    assert ticket.mask.collapsed == ("second.weight", "third.weight")
    assert ticket.mask.kept == round(0.2 * 48)


@pytest.mark.parametrize("make", [Snip, Grasp])
def test_cut_layer_by_layer_none_loses_all(make: type, lame: CourseTask) -> None:
    ticket = make(across="layer").draw(lame, 0.75)
    assert set(ticket.mask.kept_by_name.values()) == {4}


# what it costs


@pytest.mark.parametrize(("make", "passes"), [(Snip, 3), (Grasp, 12)])
def test_scoring_is_charged_by_the_examples_of_the_sample(
    points: Make, make: type, passes: int
) -> None:
    meter = soup.Meter()
    make(per_class=4).draw(points(), 0.5, meter)
    assert set(meter.bill) == {"score"}
    assert meter.spent.passes == passes * 3 * 4
    assert meter.spent.steps == 0


def counts(task: CourseTask, name: str) -> Sequence[int]:
    return torch.bincount(getattr(task.course, name).targets).tolist()


def test_more_examples_than_there_are_score_by_all(points: Make) -> None:
    meter = soup.Meter()
    Snip(per_class=1000).draw(points(), 0.5, meter)
    assert meter.spent.examples == sum(counts(points(), "train")) == 60


def test_knobs_that_cannot_work_are_refused() -> None:
    for make in (Snip, Grasp):
        with pytest.raises(KnobError, match="per_class is 0"):
            make(per_class=0)
    for temperature in (0.0, -1.0, float("nan")):
        with pytest.raises(KnobError, match="temperature is"):
            Grasp(temperature=temperature)
