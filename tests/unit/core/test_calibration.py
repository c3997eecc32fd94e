"""Scores by inputs against formulas written out: by hand for Wanda and RIA, dense solves for SparseGPT."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from instant_soup.core.calibration import DAMPING, ria, sparsegpt, wanda
from instant_soup.core.errors import TrainingError
from instant_soup.core.pattern import Pattern, rows


def made(outputs: int, inputs: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    dice = torch.Generator().manual_seed(seed)
    weight = torch.randn(outputs, inputs, generator=dice)
    x = torch.randn(4 * inputs, inputs, generator=dice) @ torch.randn(
        inputs, inputs, generator=dice
    )
    return weight, x


def test_wanda_by_hand() -> None:
    weight = torch.tensor([[1.0, -2.0], [3.0, 0.5]])
    squares = torch.tensor([4.0, 9.0])
    assert wanda(weight, squares).tolist() == [[2.0, 6.0], [6.0, 1.5]]
    assert wanda(weight.T, squares, dim=0).tolist() == [[2.0, 6.0], [6.0, 1.5]]


def test_ria_by_hand() -> None:
    weight = torch.tensor([[1.0, -3.0], [3.0, 1.0]])
    squares = torch.tensor([16.0, 81.0])  # norms 4 and 9, their roots 2 and 3
    expected = torch.tensor(
        [
            [(1 / 4 + 1 / 4) * 2, (3 / 4 + 3 / 4) * 3],
            [(3 / 4 + 3 / 4) * 2, (1 / 4 + 1 / 4) * 3],
        ]
    )
    assert torch.allclose(ria(weight, squares), expected)
    assert torch.allclose(ria(weight.T, squares, dim=0), expected.T)


def test_stacks_of_matrices_are_scored_each_by_its_own_inputs() -> None:
    weight = torch.randn(3, 4, 5)
    squares = torch.rand(3, 5)
    for score in (wanda, ria):
        whole = score(weight, squares)
        for number in range(3):
            assert torch.equal(whole[number], score(weight[number], squares[number]))


def test_an_expert_that_got_no_input_is_scored_by_its_magnitudes() -> None:
    weight, squares = torch.randn(2, 3, 4), torch.stack([torch.rand(4), torch.zeros(4)])
    assert torch.equal(wanda(weight, squares)[1], weight[1].abs())


def surgery(
    weight: Tensor, moment: Tensor, quota: int, pattern: Pattern | None
) -> tuple[Tensor, Tensor]:
    """Optimal brain surgery in float64, each weight's update solved anew from the inputs not yet gone through.

    Matrices here have at most 128 inputs, so without a pattern all are chosen at once.
    """
    w, h = weight.double().clone(), moment.double().clone()
    h += DAMPING * h.diagonal().mean() * torch.eye(len(h))
    outputs, inputs = w.shape
    # inverse over the inputs from j on
    left = [torch.linalg.inv(h[j:, j:]) for j in range(inputs)]
    cost = torch.stack([left[j][0, 0] for j in range(inputs)])
    kept = torch.ones(outputs, inputs, dtype=torch.bool)
    if pattern is None:
        order = (w.square() / cost).reshape(-1).argsort(descending=True, stable=True)
        kept = (
            torch.zeros(outputs * inputs, dtype=torch.bool)
            .index_fill(0, order[:quota], True)
            .view(outputs, inputs)
        )
    for j in range(inputs):
        if pattern is not None and j % pattern.of == 0:
            score = w[:, j : j + pattern.of].square() / cost[j : j + pattern.of]
            order = score.argsort(dim=1, descending=True, stable=True)[:, :quota]
            kept[:, j : j + pattern.of] = (
                torch.zeros_like(score).bool().scatter(1, order, True)
            )
        for i in range(outputs):
            if not kept[i, j]:
                w[i, j:] -= w[i, j] / left[j][0, 0] * left[j][0]
    return kept, w * kept


@pytest.mark.parametrize("pattern", [None, Pattern(2, 4), Pattern(4, 8), Pattern(1, 4)])
def test_sparsegpt_agrees_with_a_dense_solve_in_float64(pattern: Pattern | None) -> None:
    weight, x = made(12, 32)
    moment = x.T @ x
    quota = pattern.keep if pattern else 190
    kept, new = sparsegpt(weight, moment, quota, pattern)
    expected, values = surgery(weight, moment, quota, pattern)
    assert torch.equal(kept, expected)
    assert torch.allclose(new.double(), values, rtol=1e-3, atol=1e-4)
    assert int(kept.sum()) == (12 * 32 * pattern.keep // pattern.of if pattern else 190)
    assert not new[~kept].view(torch.int32).any()

    transposed = sparsegpt(weight.T.contiguous(), moment, quota, pattern, dim=0)
    assert torch.equal(transposed[0].T, kept)
    assert torch.equal(transposed[1].T, new)


def test_sparsegpt_loses_less_of_the_output_than_wanda_and_that_less_than_magnitude() -> (
    None
):
    weight, x = made(40, 160, seed=3)
    keep = weight.numel() // 2
    kept, new = sparsegpt(weight, x.T @ x, keep)
    assert int(kept.sum()) == keep

    def lost(values: Tensor) -> float:
        return float((x @ (weight - values).T).square().sum())

    by_wanda = weight * (
        wanda(weight, x.square().sum(0))
        >= wanda(weight, x.square().sum(0)).median(1).values[:, None]
    )
    by_size = weight * (weight.abs() >= weight.abs().median())
    assert lost(new) < lost(by_wanda) < lost(by_size)


def test_sparsegpt_counts_exactly_over_column_blocks_and_stacks() -> None:
    weight = torch.randn(3, 5, 300)
    x = torch.randn(3, 400, 300)
    kept, new = sparsegpt(weight, x.transpose(1, 2) @ x, 1234)
    assert int(kept.sum()) == 1234
    assert new.shape == weight.shape
    assert rows(new, -1).shape == (15, 300)


def test_an_input_that_is_always_zero_costs_nothing_and_breaks_nothing() -> None:
    weight, x = made(6, 16)
    x[:, 3] = 0
    kept, new = sparsegpt(weight, x.T @ x, 48)
    assert not kept[:, 3].any()
    assert new.isfinite().all()


def test_a_moment_that_is_not_finite_is_refused() -> None:
    with pytest.raises(TrainingError, match="not finite"):
        sparsegpt(torch.ones(2, 4), torch.full((4, 4), float("inf")), 4)


@pytest.mark.parametrize("pattern", [None, Pattern(2, 4)])
def test_a_member_of_a_stack_that_got_nothing_is_cut_by_magnitude_and_keeps_its_values(
    pattern: Pattern | None,
) -> None:
    weight = torch.randn(3, 8, 16)
    x = torch.randn(40, 16)
    moment = torch.stack([x.T @ x, x.T @ x, torch.zeros(16, 16)])
    quota = 2 if pattern else 192
    kept, new = sparsegpt(weight, moment, quota, pattern)

    assert torch.equal(new != 0, kept)
    assert kept.sum((1, 2)).tolist() == [64, 64, 64]
    assert torch.equal(new[2][kept[2]], weight[2][kept[2]])
    if pattern is None:
        assert weight[2].abs()[kept[2]].min() > weight[2].abs()[~kept[2]].max()
