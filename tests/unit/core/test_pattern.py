"""Cuts within groups, compared with a loop that sorts each group by itself."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from typer.testing import CliRunner

from instant_soup.cli.main import app
from instant_soup.core import pattern as groups_of
from instant_soup.core.errors import ScopeError, SparsityError, UnknownName
from instant_soup.core.mask import Mask
from instant_soup.core.pattern import (
    Pattern,
    by_pattern,
    check_pattern,
    follows,
    pattern_of,
    quotas,
    rows,
    stepped,
    unrows,
)
from instant_soup.core.prune import prune
from instant_soup.core.scope import Scope
from instant_soup.core.task import Base
from instant_soup.core.ticket import Ticket

SCOPE = Scope(
    {"linear": (6, 8), "first": (8, 5), "experts": (3, 4, 16)}, inputs={"first": 0}
)


def scores_of(scope: Scope, *, ties: bool = False, seed: int = 0) -> dict[str, Tensor]:
    dice = torch.Generator().manual_seed(seed)
    if ties:
        return {
            name: torch.randint(3, shape, generator=dice).float()
            for name, shape in scope.shapes.items()
        }
    return {
        name: torch.randn(shape, generator=dice) for name, shape in scope.shapes.items()
    }


def by_hand(score: Tensor, alive: Tensor, quota: list[int], width: int) -> Tensor:
    """Group by group, weight by weight: the best living ones, the earlier of equals."""
    flat, living = score.reshape(-1).tolist(), alive.reshape(-1).tolist()
    kept = [False] * len(flat)
    for group, keep in enumerate(quota):
        members = range(group * width, (group + 1) * width)
        order = sorted((i for i in members if living[i]), key=lambda i: (-flat[i], i))
        for i in order[:keep]:
            kept[i] = True
    return torch.tensor(kept).view(alive.shape)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("pattern", ["2:4", "1:4", "3:4", "4:8", "1:2"])
def test_each_group_along_the_inputs_keeps_exactly_n_and_the_best(
    pattern: str, ties: bool
) -> None:
    scores, groups = scores_of(SCOPE, ties=ties), Pattern.named(pattern)
    assert groups is not None
    mask = prune(scores, Mask.dense(SCOPE), groups.sparsity, pattern=pattern)
    assert mask.kept == round((1 - groups.sparsity) * SCOPE.size)
    for name in SCOPE:
        dim = SCOPE.inputs.get(name, -1)
        matrix = rows(scores[name], dim)
        count = matrix.numel() // groups.of
        expected = by_hand(
            matrix,
            torch.ones_like(matrix, dtype=torch.bool),
            [groups.keep] * count,
            groups.of,
        )
        assert torch.equal(rows(mask[name], dim), expected)
        assert follows(mask[name], groups, dim)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**20),
    st.integers(0, 40),
    st.sampled_from([torch.float32, torch.bfloat16, torch.float64, torch.int64]),
)
def test_a_group_too_large_to_be_sorted_keeps_what_sorting_keeps(
    seed: int, keep: int, dtype: torch.dtype
) -> None:
    dice = torch.Generator().manual_seed(seed)
    # a few values, so that many are equal, signed zeros among them
    score = (torch.randint(-2, 3, (1, 40), generator=dice) * -1.0).to(dtype)
    alive = torch.rand(1, 40, generator=dice) < 0.8

    sorted_out = groups_of.best(score, alive, keep)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(groups_of, "AT_A_TIME", 8)
        counted_out = groups_of.best(score, alive, keep)

    assert torch.equal(counted_out, sorted_out)
    assert int(counted_out.sum()) == min(keep, int(alive.sum()))


def test_a_layer_with_inputs_first_has_its_groups_down_the_columns() -> None:
    scope = Scope({"conv1d": (4, 2)}, inputs={"conv1d": 0})
    score = torch.tensor([[1.0, 8.0], [2.0, 7.0], [3.0, 6.0], [4.0, 5.0]])
    mask = prune({"conv1d": score}, Mask.dense(scope), 0.5, pattern="2:4")
    assert mask["conv1d"].tolist() == [
        [False, True],
        [False, True],
        [True, False],
        [True, False],
    ]
    assert not follows(mask["conv1d"], Pattern(2, 4), -1)


@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.77])
@pytest.mark.parametrize("ties", [False, True])
def test_by_row_every_output_keeps_the_same_share_to_the_weight(
    sparsity: float, ties: bool
) -> None:
    scores = scores_of(SCOPE, ties=ties)
    mask = prune(scores, Mask.dense(SCOPE), sparsity, across="row")
    assert mask.kept == round((1 - sparsity) * SCOPE.size)
    for name in SCOPE:
        dim = SCOPE.inputs.get(name, -1)
        kept = rows(mask[name], dim).sum(1)
        assert int(kept.max() - kept.min()) <= 1
        matrix = rows(scores[name], dim)
        alive = torch.ones_like(matrix, dtype=torch.bool)
        assert torch.equal(
            rows(mask[name], dim), by_hand(matrix, alive, kept.tolist(), matrix.shape[1])
        )


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**20),
    st.sampled_from([("row", "unstructured"), ("model", "4:8"), ("model", "1:4")]),
)
def test_what_is_pruned_never_comes_back_and_counts_stay_exact(
    seed: int, how: tuple[str, str]
) -> None:
    across, pattern = how
    targets = (0.25, 0.5, 0.75) if pattern == "1:4" else (0.125, 0.25, 0.5)
    mask = Mask.dense(SCOPE)
    for i, target in enumerate(targets):
        smaller = prune(
            scores_of(SCOPE, seed=seed + i), mask, target, across=across, pattern=pattern
        )  # type: ignore[arg-type]
        assert smaller <= mask
        assert smaller.kept == round((1 - target) * SCOPE.size)
        mask = smaller
    assert pattern == "unstructured" or follows(
        mask["linear"], Pattern.named(pattern), -1
    )  # type: ignore[arg-type]


def test_a_higher_sparsity_by_row_keeps_a_part_of_what_a_lower_one_keeps() -> None:
    scores = scores_of(SCOPE)
    masks = [
        prune(scores, Mask.dense(SCOPE), share / 50, across="row")
        for share in range(1, 50)
    ]
    assert all(later <= earlier for earlier, later in pairwise(masks))


def test_rows_that_are_short_already_leave_room_for_the_others() -> None:
    alive = torch.ones(4, 6, dtype=torch.bool)
    alive[1, 1:] = False
    assert quotas(alive, 13).tolist() == [6, 1, 3, 3]
    assert quotas(alive, 19).tolist() == [6, 1, 6, 6]


def test_what_cannot_be_cut_is_refused_with_what_to_do() -> None:
    dense, scores = Mask.dense(SCOPE), scores_of(SCOPE)
    with pytest.raises(
        ScopeError,
        match=r"pattern 3:7 does not divide 'linear' of shape \(6, 8\), which has 8 inputs",
    ):
        prune(scores, dense, 4 / 7, pattern="3:7")
    with pytest.raises(SparsityError, match=r"set the sparsity to 0\.5"):
        prune(scores, dense, 0.6, pattern="2:4")
    with pytest.raises(SparsityError, match=r"set the sparsity to 0\.5"):
        prune(scores, dense, 0.75, pattern="2:4")
    for wrong in ("4:2", "2:2", "0:4", "2-4", "structured"):
        with pytest.raises(UnknownName, match="expected 'unstructured', or N:M"):
            prune(scores, dense, 0.5, pattern=wrong)
    with pytest.raises(UnknownName, match="rows"):
        prune(scores, dense, 0.5, across="rows")  # type: ignore[arg-type]
    with pytest.raises(ScopeError, match="NaN"):
        prune(
            {**scores, "linear": torch.full((6, 8), float("nan"))},
            dense,
            0.5,
            pattern="2:4",
        )
    with pytest.raises(ScopeError, match="no score for 'experts'"):
        prune(
            {"linear": scores["linear"], "first": scores["first"]},
            dense,
            0.5,
            across="row",
        )
    flags = {name: dense[name] for name in dense}
    flags["linear"][0, 1:4] = False
    with pytest.raises(SparsityError, match="fewer than 2 are left"):
        prune(scores, Mask(SCOPE, flags), 0.5, pattern="2:4")


def test_a_draw_is_refused_before_any_work_where_sparsity_and_pattern_disagree() -> None:
    check_pattern("unstructured", 0.3)
    check_pattern("2:4", 0.5)
    with pytest.raises(SparsityError, match=r"pattern 4:8 prunes 0\.5"):
        check_pattern("4:8", 0.6)


def test_rounds_go_from_m_minus_1_down_and_end_at_the_pattern() -> None:
    assert stepped((0.1, 0.2, 0.3, 0.4, 0.5), "4:8") == (0.0, 0.125, 0.25, 0.375, 0.5)
    assert stepped((0.2, 0.5), "2:4") == (0.0, 0.5)
    assert stepped((0.2, 0.5), "unstructured") == (0.2, 0.5)


def test_rows_and_back_is_the_same_tensor() -> None:
    for shape, dim in (((3, 4), -1), ((3, 4), 0), ((2, 3, 4), 1), ((2, 3, 4), -1)):
        tensor = torch.randn(shape)
        assert torch.equal(unrows(rows(tensor, dim), shape, dim), tensor)


def test_a_scope_knows_along_which_dimension_inputs_lie() -> None:
    class Conv1D(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(4, 2))

    class Experts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.is_transposed = True
            self.down_proj = nn.Parameter(torch.ones(2, 4, 3))

    model = nn.ModuleDict(
        {"a": nn.Linear(4, 2), "b": Conv1D(), "c": Experts(), "d": nn.Conv2d(4, 2, 3)}  # type: ignore[no-untyped-call]
    )
    scope = Scope.of(model)
    assert dict(scope.inputs) == {"b.weight": 0, "c.down_proj": 1, "d.weight": 1}


@pytest.mark.parametrize("pattern", ["2:4", "4:8", "1:4", "3:8", "unstructured"])
def test_the_pattern_of_a_mask_is_known_however_it_came_to_be(
    pattern: str, tmp_path: Path
) -> None:
    """Of matrices whose inputs come last and first; by the mask alone, for the method says nothing."""
    scope = Scope({"a": (6, 16), "b": (16, 6)}, inputs={"b": 0})
    asked = Pattern.named(pattern)
    generator = torch.Generator().manual_seed(0)
    flags = {}
    for name in scope:
        score = torch.rand(scope.shapes[name], generator=generator)
        alive = torch.ones_like(score, dtype=torch.bool)
        if asked is None:
            flags[name] = score > score.median()
        else:
            flags[name] = by_pattern(
                score, alive, asked, asked.keep, scope.inputs.get(name, -1)
            )

    mask = Mask(scope, flags)
    assert pattern_of(mask) == asked
    path = tmp_path / "ticket.safetensors"
    Ticket(mask, {}, Base("made", ""), method={"name": "vote"}).save(path)
    told = CliRunner().invoke(app, ["ticket", "info", str(path), "--json"])
    assert json.loads(told.stdout)["pattern"] == (str(asked) if asked else None)
    told = CliRunner().invoke(app, ["ticket", "info", str(path)])
    assert (f"pattern   {pattern}:" in told.stdout) == (asked is not None)
    told = CliRunner().invoke(app, ["ticket", "verify", str(path)])
    assert told.stdout.strip().endswith(f"pattern {pattern}" if asked else "kept")


@pytest.mark.parametrize("pattern", ["2:3", "5:6", "7:12", "1:2"])
def test_groups_of_any_size_are_known_and_the_smallest_is_named(pattern: str) -> None:
    asked = Pattern.named(pattern)
    assert asked
    scope = Scope({"a": (6, 24), "b": (3, 5, 12)})
    generator = torch.Generator().manual_seed(0)
    flags = {}
    for name, shape in scope.shapes.items():
        score = torch.rand(shape, generator=generator)
        alive = torch.ones_like(score, dtype=torch.bool)
        flags[name] = by_pattern(score, alive, asked, asked.keep, -1)
    assert pattern_of(Mask(scope, flags)) == asked


def test_one_matrix_that_follows_another_pattern_is_enough_for_none() -> None:
    scope = Scope({"a": (4, 16), "b": (4, 16)})
    halves = torch.tensor([True, True, False, False]).repeat(4, 4)
    quarters = torch.tensor([True, False, False, False]).repeat(4, 4)
    assert pattern_of(Mask(scope, {"a": halves, "b": halves})) == Pattern(2, 4)
    assert pattern_of(Mask(scope, {"a": halves, "b": quarters})) is None


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["union"], "2:4"),
        (["vote", "--sparsity", "0.75"], "1:4"),
        (["vote", "--sparsity", "0.6875"], None),
    ],
)
def test_a_ticket_made_of_others_is_named_by_its_own_mask(
    command: list[str], expected: str | None, tmp_path: Path
) -> None:
    scope = Scope({"a": (8, 16)})
    paths = []
    for number, place in enumerate([0, 0, 1]):
        kept = torch.zeros(4, dtype=torch.bool)
        kept[place] = True
        mask = Mask(scope, {"a": kept.repeat(8, 4)})
        path = tmp_path / f"{number}.safetensors"
        Ticket(mask, {}, Base("made", ""), method={"name": "wanda"}).save(path)
        paths.append(str(path))

    made = str(tmp_path / "made.safetensors")
    name, *options = command
    result = CliRunner().invoke(app, ["ticket", name, *paths, *options, "-o", made])
    assert result.exit_code == 0, result.output
    told = CliRunner().invoke(app, ["ticket", "info", made, "--json"])
    assert json.loads(told.stdout)["pattern"] == expected
    told = CliRunner().invoke(app, ["ticket", "verify", made])
    assert ("pattern" in told.stdout) == (expected is not None)
    assert expected is None or f"pattern {expected}" in told.stdout
