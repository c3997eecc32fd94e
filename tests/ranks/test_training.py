"""Several ranks train one model: their steps, masks, tickets and bills are those of one rank."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from together import together
from training import averaged, both_layouts, learned_soup, points, saved, story

from instant_soup.core.budget import Meter
from instant_soup.core.task import Sample


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    return story()


@pytest.fixture(scope="module")
def two(
    tmp_path_factory: pytest.TempPathFactory,
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    return together(2, both_layouts, tmp_path_factory.mktemp("two"))


@pytest.mark.parametrize("layout", [0, 1], ids=["DDP", "FSDP2"])
def test_two_ranks_train_prune_and_look_ahead_as_one_does(
    layout: int, alone: dict[str, Any], two: list[tuple[dict[str, Any], dict[str, Any]]]
) -> None:
    first, second = (rank[layout] for rank in two)
    assert first["digest"] == second["digest"]
    for part in ("bill", "layers", "looks", "curved"):
        assert first[part] == second[part] == alone[part], part
    assert (
        first["figures"] == second["figures"] == pytest.approx(alone["figures"], abs=1e-5)
    )
    (mask, start), (wanted, reached) = first["ticket"], alone["ticket"]
    assert all(torch.equal(mask[name], kept) for name, kept in wanted.items())
    for name, tensor in reached.items():
        torch.testing.assert_close(start[name], tensor, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layout", [0, 1], ids=["DDP", "FSDP2"])
def test_two_ranks_have_the_second_moments_of_one(
    layout: int, alone: dict[str, Any], two: list[tuple[dict[str, Any], dict[str, Any]]]
) -> None:
    first = two[0][layout]["moments"]
    assert first.keys() == alone["moments"].keys()
    for name, moment in alone["moments"].items():
        assert moment.any()
        torch.testing.assert_close(first[name], moment, rtol=1e-4, atol=1e-9)


def test_under_fsdp2_no_rank_holds_the_whole_model(
    alone: dict[str, Any], two: list[tuple[dict[str, Any], dict[str, Any]]]
) -> None:
    assert [ddp["held"] for ddp, _ in two] == [alone["held"]] * 2
    assert sum(fsdp["held"] for _, fsdp in two) == alone["held"]
    assert [fsdp["ticket"] is None for _, fsdp in two] == [False, True]


def test_ranks_share_the_examples_that_weights_are_scored_by(
    two: list[tuple[dict[str, Any], dict[str, Any]]],
) -> None:
    wanted = points().learner(Meter()).gradient(Sample(4))
    (ddp, fsdp), (other, _) = two
    for found in (ddp, fsdp, other):
        assert found["gradient"].keys() == wanted.keys()
        for name, slope in wanted.items():
            torch.testing.assert_close(
                found["gradient"][name], slope, rtol=1e-4, atol=1e-6
            )


def test_ranks_average_the_last_part_of_a_training_as_one_does(
    two: list[tuple[dict[str, Any], dict[str, Any]]],
) -> None:
    wanted = averaged()
    for layout in two[0]:
        assert layout["averaged"].keys() == wanted.keys()
        for name, tensor in wanted.items():
            torch.testing.assert_close(
                layout["averaged"][name], tensor, rtol=1e-4, atol=1e-5
            )


def test_ranks_learn_the_soup_that_one_learns(
    two: list[tuple[dict[str, Any], dict[str, Any]]],
) -> None:
    wanted = learned_soup(points().learner(Meter()))
    for rank in two:
        for layout in rank:
            assert layout["soup"] == pytest.approx(wanted, abs=1e-4)


def test_under_fsdp2_bf16_trains_and_weights_stay_in_float32(
    two: list[tuple[dict[str, Any], dict[str, Any]]],
) -> None:
    learner = points(precision="bfloat16").learner(Meter())
    before = learner.loss()
    (_, first), (_, second) = two
    assert first["bf16"] == second["bf16"]
    loss, kinds = first["bf16"]
    assert loss < 0.9 * before
    assert kinds == {torch.float32}


def test_another_mask_on_one_rank_is_an_error_that_names_the_tensor(
    two: list[tuple[dict[str, Any], dict[str, Any]]],
) -> None:
    for ddp, _ in two:
        assert (
            "rank 1 keeps other weights of 'blocks.1.weight' than rank 0 (1 of 4 parameters"
            in ddp["disagreement"]
        )


def test_tickets_of_the_same_scores_are_the_same_file_whoever_saves_them(
    tmp_path: Path,
) -> None:
    found = saved(tmp_path)
    for size in (2, 4):
        assert all(
            rank == found
            for rank in together(size, saved, tmp_path / str(size), tmp_path)
        )
    files = sorted(tmp_path.glob("*.safetensors"))
    assert [file.name for file in files] == [
        f"{n}-{use}.safetensors" for n in (1, 2, 4) for use in ("false", "true")
    ]
    assert len({file.read_bytes() for file in files}) == 1
