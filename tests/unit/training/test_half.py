"""Training where hardware is fast at bf16, and models that bf16 makes fail."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import instant_soup as soup
from instant_soup.core.errors import TrainingError
from instant_soup.core.scope import Scope
from instant_soup.core.task import Base
from instant_soup.models.classifier import loss, predict
from instant_soup.training import device
from instant_soup.training.course import Course
from instant_soup.training.learner import ModuleLearner

from ..models import zoo

ONLY_IN_FLOAT32 = {"deberta"}


@dataclass(frozen=True)
class Four:
    """Four examples of three classes."""

    inputs: dict[str, Tensor]
    lengths = None
    targets = torch.tensor([0, 1, 2, 0])

    def __len__(self) -> int:
        return 4

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        chosen = list(indices)
        rows = {name: values[chosen] for name, values in self.inputs.items()}
        return rows | {"labels": self.targets[chosen]}


def course(model: nn.Module, **inputs: Tensor) -> Course:
    examples = Four(inputs)
    return Course(
        name="four", model=model, scope=Scope.of(model), base=Base("miniature", ""), fresh=frozenset(), train=examples,
        validation=examples, test=examples, predict=predict, loss=loss, metric=lambda *_: {},
    )  # fmt: skip


def learner_of(course: Course, precision: Any = "auto") -> ModuleLearner:
    regime = soup.Regime(batch=4, steps=1, rate=1e-3, precision=precision)
    return ModuleLearner(course, regime, soup.Meter())


@pytest.fixture(autouse=True)
def fast_half(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "fast_bfloat16", lambda _: True)


def course_of(kind: str) -> Course:
    torch.manual_seed(0)
    if kind in zoo.VISION:
        return course(zoo.image_classifier(kind), pixel_values=torch.randn(4, 3, 16, 16))

    tokens = torch.randint(3, 12, (4, 16))
    tokens[:, -1] = zoo.END
    model = zoo.classifier(kind, pad_token_id=zoo.PAD)
    return course(model, input_ids=tokens, attention_mask=torch.ones_like(tokens))


@pytest.mark.parametrize("kind", [*zoo.TEXT, *zoo.VISION])
def test_every_kind_of_model_takes_a_step_at_the_default_precision(kind: str) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        learner = learner_of(course_of(kind))

    fails = kind in ONLY_IN_FLOAT32
    assert ("cannot be computed in bfloat16" in str([w.message for w in caught])) == fails
    assert learner._model.accelerator.mixed_precision == ("no" if fails else "bf16")

    before = learner.weights()
    learner.train(1)
    after = learner.view()
    assert all(bool(tensor.isfinite().all()) for tensor in after.values())
    changed = [
        name for name in learner.scope if not torch.equal(before[name], after[name])
    ]
    assert changed


def test_a_model_that_fails_in_bf16_is_tried_once_and_warned_of_once() -> None:
    deberta = course_of("deberta")
    with pytest.warns(
        UserWarning, match="cannot be computed in bfloat16.*trained in float32"
    ):
        learner_of(deberta)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert learner_of(deberta)._model.accelerator.mixed_precision == "no"
    with pytest.raises(TrainingError, match=r"set training.precision to 'float32' or"):
        learner_of(deberta, "bfloat16")


def test_what_fails_in_float32_too_is_told_of_by_the_training() -> None:
    def fail(model: nn.Module, batch: Any) -> tuple[Tensor, Tensor]:
        raise RuntimeError("no such layer")

    broken = replace(course_of("bert"), predict=fail)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        learner = ModuleLearner(broken, soup.Regime(steps=1), soup.Meter(), free=True)
    with pytest.raises(RuntimeError, match="no such layer"):
        learner.evaluate()


def test_a_trial_draws_nothing_from_the_stream_of_the_caller() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    yoso = course_of("yoso")
    torch.manual_seed(3)
    learner_of(yoso)
    assert torch.equal(torch.rand(4), expected)
