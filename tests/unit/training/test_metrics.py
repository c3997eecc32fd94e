"""Metrics, compared with scikit-learn and SciPy."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from scipy import stats
from sklearn import metrics as sklearn
from torch import Tensor

from instant_soup.core.rounding import rounding
from instant_soup.training.metrics import (
    METRICS,
    accuracy,
    f1,
    figures,
    matthews,
    pearson,
    spearman,
)

Metric = Callable[[Tensor, Tensor], float]
SEEDS = range(8)


def classified(seed: int, classes: int = 2, n: int = 60) -> tuple[Tensor, Tensor]:
    dice = torch.Generator().manual_seed(seed)
    targets = torch.randint(classes, (n,), generator=dice)
    outputs = torch.randn(n, classes, generator=dice) + 0.7 * torch.eye(classes)[targets]
    return outputs, targets


def rated(seed: int, n: int = 60, *, ties: bool = False) -> tuple[Tensor, Tensor]:
    dice = torch.Generator().manual_seed(seed)
    targets = torch.rand(n, generator=dice) * 5
    outputs = targets + torch.randn(n, generator=dice) * 2
    return (outputs.round(), targets.round()) if ties else (outputs, targets)


@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("seed", SEEDS)
def test_accuracy_is_scikit_learns(seed: int, classes: int) -> None:
    outputs, targets = classified(seed, classes)
    assert accuracy(outputs, targets) == pytest.approx(
        sklearn.accuracy_score(targets, outputs.argmax(1)), abs=1e-12
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_f1_is_scikit_learns_of_class_one(seed: int) -> None:
    outputs, targets = classified(seed)
    assert f1(outputs, targets) == pytest.approx(
        sklearn.f1_score(targets, outputs.argmax(1)), abs=rounding(60, 1)
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_matthews_is_scikit_learns(seed: int) -> None:
    outputs, targets = classified(seed)
    wanted = sklearn.matthews_corrcoef(targets, outputs.argmax(1))
    assert matthews(outputs, targets) == pytest.approx(wanted, abs=rounding(60, 1))


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("column", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_correlations_are_scipys(seed: int, column: bool, ties: bool) -> None:
    outputs, targets = rated(seed, ties=ties)
    given = outputs[:, None] if column else outputs
    assert pearson(given, targets) == pytest.approx(
        stats.pearsonr(outputs, targets).statistic, abs=rounding(60, 1)
    )
    assert spearman(given, targets) == pytest.approx(
        stats.spearmanr(outputs, targets).statistic, abs=rounding(60, 1)
    )


@pytest.mark.parametrize(
    ("scale", "shift"),
    [(1e-4, 0.0), (1e-6, 0.0), (1.0, 1000.0), (1e-3, 100.0), (1e4, -1e6)],
)
def test_a_correlation_does_not_depend_on_scale_or_place(
    scale: float, shift: float
) -> None:
    """A regressor at its first step gives outputs that hardly differ."""
    outputs, targets = rated(0)
    moved = outputs.double() * scale + shift
    assert pearson(moved, targets) == pytest.approx(pearson(outputs, targets), abs=1e-5)
    assert spearman(moved, targets) == pytest.approx(spearman(outputs, targets), abs=1e-5)


@pytest.mark.parametrize("guess", [0, 1])
@pytest.mark.parametrize("truth", [[0, 1, 0, 1, 1], [0] * 5, [1] * 5])
def test_matthews_is_zero_where_one_class_alone_is_predicted_or_present(
    guess: int, truth: list[int]
) -> None:
    outputs = torch.eye(2)[[guess] * 5]
    assert matthews(outputs, torch.tensor(truth)) == 0
    assert matthews(torch.eye(2)[truth], torch.tensor([guess] * 5)) == 0


def test_f1_is_zero_where_class_one_is_never_found() -> None:
    assert f1(torch.eye(2)[[0] * 4], torch.tensor([0, 1, 1, 0])) == 0
    assert f1(torch.eye(2)[[0] * 4], torch.tensor([0] * 4)) == 0
    assert f1(torch.eye(2)[[1] * 4], torch.tensor([0] * 4)) == 0


@pytest.mark.parametrize("correlation", [pearson, spearman])
def test_a_correlation_with_a_constant_is_zero(correlation: Metric) -> None:
    varied = torch.arange(5.0)
    for constant in (torch.zeros(5), torch.full((5,), 3.7)):
        assert correlation(constant, varied) == 0
        assert correlation(varied, constant) == 0
        assert correlation(constant[:, None], constant) == 0


@pytest.mark.parametrize("correlation", [pearson, spearman])
def test_one_example_correlates_with_nothing(correlation: Metric) -> None:
    assert correlation(torch.tensor([[1.0]]), torch.tensor([2.0])) == 0


@pytest.mark.parametrize(
    ("metric", "best"), [(matthews, 1.0), (f1, 1.0), (accuracy, 1.0)]
)
def test_right_answers_are_one_and_wrong_ones_the_lowest(
    metric: Metric, best: float
) -> None:
    targets = torch.tensor([0, 1] * 10)
    assert metric(torch.eye(2)[targets], targets) == pytest.approx(best)
    assert metric(torch.eye(2)[1 - targets], targets) == pytest.approx(
        -1 if metric is matthews else 0
    )


def test_spearman_sees_order_and_pearson_the_line() -> None:
    outputs = torch.linspace(0, 5, 50).exp()
    targets = torch.linspace(0, 1, 50)
    assert spearman(outputs, targets) == pytest.approx(1, abs=rounding(60, 1))
    assert spearman(-outputs, targets) == pytest.approx(-1, abs=rounding(60, 1))
    assert 0.5 < pearson(outputs, targets) < 0.95


def test_a_model_that_gives_nan_has_no_rank_correlation() -> None:
    assert not spearman(torch.full((5,), math.nan), torch.arange(5.0)) > 0


def test_spearman_of_a_few_examples_is_exact() -> None:
    assert spearman(torch.tensor([1.0, 2.0]), torch.tensor([5.0, 7.0])) == pytest.approx(
        1, abs=rounding(60, 1)
    )


def test_figures_come_by_name_in_the_order_asked_for() -> None:
    outputs, targets = classified(0)
    got = figures(("f1", "accuracy", "matthews"))(outputs, targets)
    assert list(got) == ["f1", "accuracy", "matthews"]
    assert got == {name: METRICS[name](outputs, targets) for name in got}
    assert {type(value) for value in got.values()} == {float}
