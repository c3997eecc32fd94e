"""Recovery: adapters beside a ticket of a language task, trained on the model's own loss, and merged under the mask."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from torch.optim import AdamW

import instant_soup as soup
from instant_soup.core.errors import KnobError
from instant_soup.core.pattern import Pattern, follows
from instant_soup.methods.calibration import Calibrated
from instant_soup.models import tiny_decoders
from instant_soup.tasks import CourseTask, language

from .conftest import quick

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)
MATRICES = ["q_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def dead_bits(model: Any, mask: soup.Mask) -> int:
    weights = dict(model.named_parameters())
    return sum(
        int(weights[name].detach().view(torch.int32)[~mask[name]].count_nonzero())
        for name in mask
    )


def recovered(
    task: CourseTask, ticket: soup.Ticket, *, masked: bool, matrices: list[str] = MATRICES
) -> tuple[Any, list[float]]:
    """The model of *task* under *ticket* with LoRA, trained on its own loss over the training windows."""
    model: Any = deepcopy(task.course.model)
    ticket.apply(model)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        adapted: Any = get_peft_model(
            model, LoraConfig(r=4, lora_alpha=8, target_modules=matrices)
        )
    if masked:
        soup.mask_adapters(adapted, ticket)

    windows: Tensor = task.course.train.batch(range(8))["input_ids"]
    optimizer = AdamW([p for p in adapted.parameters() if p.requires_grad], lr=0.01)
    losses = []
    for _ in range(12):
        loss = adapted(input_ids=windows, labels=windows).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss))
    return adapted.eval(), losses


@pytest.mark.parametrize("score", ["wanda", "sparsegpt"])
@pytest.mark.parametrize(("pattern", "sparsity"), [("unstructured", 0.6), ("2:4", 0.5)])
def test_masked_lora_on_the_language_loss_loses_nothing_when_merged(
    score: str, pattern: str, sparsity: float, reading_llama: CourseTask
) -> None:
    ticket = Calibrated(score, 6, pattern=pattern).draw(reading_llama, sparsity)
    adapted, losses = recovered(reading_llama, ticket, masked=True)
    assert losses[-1] < losses[0] - 0.05  # it recovers

    windows = reading_llama.course.validation.batch([0, 1])["input_ids"]
    before = adapted(input_ids=windows).logits.detach()
    merged = soup.merge_adapters(
        adapted,
        ticket,
        measure=lambda model: model(input_ids=windows, labels=windows).loss.item(),
    )
    assert merged.whole.norm > 0
    assert merged.whole.lost == 0
    assert merged.masked == pytest.approx(merged.before, rel=1e-4)
    torch.testing.assert_close(
        merged.model(input_ids=windows).logits.detach(), before, rtol=1e-3, atol=1e-3
    )

    assert dead_bits(merged.model, ticket.mask) == 0
    weights = dict(merged.model.named_parameters())
    changed = sum(int(weights[name].count_nonzero()) for name in ticket.mask)
    assert changed == ticket.mask.kept == round((1 - sparsity) * ticket.mask.scope.size)
    groups = Pattern.named(pattern)
    for name in ticket.mask if groups else ():
        assert groups
        assert follows(weights[name] != 0, groups, -1), name


def test_masked_lora_of_matrices_that_lie_the_other_way_round(
    tmp_path: Path, letters: Path
) -> None:
    folder = tiny_decoders.gpt2(tmp_path)
    task = language("letters", model=str(folder), data=letters, window=32, regime=quick())
    ticket = Calibrated(samples=6, pattern="2:4").draw(task, 0.5)
    adapted, losses = recovered(
        task, ticket, masked=True, matrices=["c_attn", "c_proj", "c_fc"]
    )
    assert losses[-1] < losses[0] - 0.05
    merged = soup.merge_adapters(adapted, ticket)
    assert merged.whole.norm > 0
    assert merged.whole.lost == 0
    assert dead_bits(merged.model, ticket.mask) == 0
    weights = dict(merged.model.named_parameters())
    for name in ticket.mask:
        assert follows(
            weights[name] != 0, Pattern(2, 4), task.course.scope.inputs[name]
        ), name


def test_experts_in_stacks_take_plain_lora_and_are_masked_when_merged(
    tmp_path: Path, letters: Path
) -> None:
    folder = tiny_decoders.mixtral(tmp_path)
    task = language("letters", model=str(folder), data=letters, window=32, regime=quick())
    ticket = Calibrated(samples=6).draw(task, 0.5)
    model: Any = deepcopy(task.course.model)
    ticket.apply(model)
    config = LoraConfig(
        r=2,
        target_modules=[],
        target_parameters=["mlp.experts.down_proj"],
        init_lora_weights=False,
    )
    adapted: Any = get_peft_model(model, config)
    with pytest.raises(KnobError, match="let merge_adapters mask it"):
        soup.mask_adapters(adapted, ticket)
    merged = soup.merge_adapters(adapted, ticket)
    assert merged.whole.norm > 0
    assert dead_bits(merged.model, ticket.mask) == 0


def test_plain_lora_is_masked_when_it_is_merged_and_says_what_that_took(
    reading_llama: CourseTask,
) -> None:
    ticket = Calibrated(samples=6).draw(reading_llama, 0.6)
    adapted, _ = recovered(reading_llama, ticket, masked=False)
    merged = soup.merge_adapters(adapted, ticket)
    assert 0.2 < merged.whole.share < 0.9
    assert dead_bits(merged.model, ticket.mask) == 0


def test_fine_tuning_under_the_mask_recovers_too(reading_llama: CourseTask) -> None:
    ticket = Calibrated(samples=6).draw(reading_llama, 0.6)
    learner = reading_llama.learner(soup.Meter())
    learner.apply_mask(ticket.mask)
    before = learner.evaluate()
    learner.train(6)
    assert learner.evaluate() > before
    assert all(not learner.view()[name][~ticket.mask[name]].any() for name in ticket.mask)
