"""What goes into matrices, against hooks on modules and a walk over the blocks written out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

import instant_soup as soup
from instant_soup.core.errors import TrainingError
from instant_soup.models import decoder, tiny
from instant_soup.tasks import CourseTask
from instant_soup.training.blocks import blocks_of
from instant_soup.training.inputs import PASSES, inputs_of


def test_squares_and_moments_are_those_that_hooks_on_modules_see(llama: Path) -> None:
    loaded = decoder.load(str(llama))
    model, scope = loaded.model.eval(), loaded.scope
    batches = [{"input_ids": torch.randint(0, 31, (2, 24))} for _ in range(3)]
    seen: dict[str, list[Tensor]] = {name: [] for name in scope}
    for name in scope:
        module = model.get_submodule(name.removesuffix(".weight"))
        module.register_forward_pre_hook(
            lambda _, args, name=name: seen[name].append(
                args[0].reshape(-1, args[0].shape[-1])
            )
        )
    for batch in batches:
        with torch.no_grad():
            decoder.predict(model, batch)
    whole = {name: torch.cat(parts).double() for name, parts in seen.items()}

    def forward(batch: dict[str, Tensor]) -> object:
        return decoder.predict(model, batch)

    for moment in (False, True):
        found: dict[str, Tensor] = {}
        for part in inputs_of(
            model, scope, lambda _: batches, forward, second_moment=moment
        ):
            found |= part
        assert list(found) == list(scope)
        for name, sums in found.items():
            x = whole[name]
            expected = x.T @ x if moment else x.square().sum(0)
            assert torch.allclose(sums.double(), expected, rtol=1e-4, atol=1e-4), name


def test_each_block_sees_what_the_changed_blocks_before_it_make(
    reading: CourseTask,
) -> None:
    """Zero the first block's matrices: what goes into the second is what a model changed so gives it."""
    learner = reading.learner(soup.Meter())
    walk = learner.inputs(8, 0)
    first = next(walk)
    learner.restore({name: torch.zeros_like(learner.view()[name]) for name in first})
    second = next(walk)
    assert next(walk, None) is None

    changed = reading.learner(soup.Meter())
    changed.restore({name: torch.zeros_like(changed.view()[name]) for name in first})
    again = list(changed.inputs(8, 0))[1]
    assert second.keys() == again.keys()
    assert all(torch.equal(second[name], again[name]) for name in second)
    plain = list(reading.learner(soup.Meter()).inputs(8, 0))[1]
    assert any(not torch.allclose(second[name], plain[name]) for name in second)


def test_looking_at_inputs_is_charged_to_scoring_and_changes_nothing(
    reading: CourseTask,
) -> None:
    meter = soup.Meter()
    learner = reading.learner(meter)
    before = learner.weights()
    list(learner.inputs(8, 0, second_moment=True))
    assert meter.bill.keys() == {"score"}
    assert (meter.bill["score"].examples, meter.bill["score"].passes) == (8, PASSES * 8)
    assert all(
        torch.equal(before[name], tensor) for name, tensor in learner.weights().items()
    )
    for block in blocks_of(learner._model.module, learner.scope):
        assert "forward" not in vars(block.module)


def test_experts_have_sums_of_their_own_and_all_tokens_go_to_two_of_them(
    letters: Path, tmp_path: Path
) -> None:
    from instant_soup.models import tiny_decoders
    from instant_soup.tasks import language

    task = language(
        "m", model=str(tiny_decoders.mixtral(tmp_path)), data=letters, window=32
    )
    first = next(iter(task.learner(soup.Meter()).inputs(4, 0)))
    gate = first["model.layers.0.mlp.experts.gate_up_proj"]
    assert gate.shape == (4, 32)
    # inputs are normalised, so the mean of their squares counts tokens: two experts for each of 4 x 32
    assert float(gate.mean(1).sum()) == pytest.approx(2 * 4 * 32, rel=1e-3)


def test_any_model_with_blocks_has_inputs(
    mini: CourseTask, mini_clip_task: CourseTask
) -> None:
    for task in (mini, mini_clip_task):
        learner = task.learner(soup.Meter())
        names = [name for part in learner.inputs(8, 0) for name in part]
        assert sorted(names) == sorted(learner.scope)


def test_matrices_outside_of_blocks_come_last_and_one_that_multiplies_nothing_is_refused() -> (
    None
):
    tower = tiny.attention_tower()
    batch = torch.randn(3, 3, 16, 16)
    wrong = soup.Scope.of(tower, keep_dense=("conv1*", "positional*"))
    with pytest.raises(
        TrainingError,
        match=r"the inputs of 'proj' lie along its dimension 0.*inputs={'proj': 0}",
    ):
        list(
            inputs_of(tower.eval(), wrong, lambda _: [batch], tower, second_moment=False)
        )

    scope = soup.Scope(wrong.shapes, inputs={"proj": 0})
    found = list(
        inputs_of(tower.eval(), scope, lambda _: [batch], tower, second_moment=False)
    )
    assert list(found[-1]) == ["proj"]
    assert {name for part in found for name in part} == set(scope)
    unseen = soup.Scope({"positional_embedding": (4, 32)})
    with pytest.raises(
        TrainingError, match="nothing was seen to be multiplied by 'positional_embedding'"
    ):
        list(inputs_of(tower, unseen, lambda _: [batch], tower, second_moment=False))
