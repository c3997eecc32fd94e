"""The laws of the house, over the table of methods. A new method joins by joining the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import instant_soup as soup
from instant_soup.core.budget import Cost
from instant_soup.methods import METHODS, Method
from instant_soup.tasks import CourseTask
from instant_soup.training.examples import Examples

QUICK: dict[str, dict[str, Any]] = {
    "gradual": {"rounds": 3},
    "early-bird": {"check": 0.1, "queue": 3, "mask_share": 0.5},
    "snip": {"per_class": 3, "allow_collapse": True},
    "grasp": {"per_class": 3, "allow_collapse": True},
    "lth": {"compression": 0.35},
    "lth-rewind": {"compression": 0.35, "rewind": 0.1},
    "lottery-pools": {"compression": 0.35, "coefficients": (0.3, 0.7)},
    "instant-model-soup": {"ingredients": 2, "lookahead_steps": 2, "grid": 2},
    "model-soup": {"ingredients": 2},
    "instant-soup": {"denoisers": 2, "lookahead_steps": 2, "compression": 0.3, "mask_share": 0.5},
}
# every way in which Instant Soup Pruning can go about it obeys the same laws
WAYS: dict[str, dict[str, Any]] = {
    "instant-soup union continue": {"blend": "union", "finish": "continue"},
    "instant-soup lookahead restart": {"blend": "lookahead", "finish": "restart"},
    "instant-soup intersection geometric": {"blend": "intersection", "share": "geometric", "carry_optimizer": True},
    "instant-soup mean": {"carry": "mean", "finish": "continue", "denoisers": 1, "lookahead_steps": 1},
    "instant-soup no denoisers": {"denoisers": 0},
    "instant-soup layers": {"across": "layer", "own_mask": False, "round_steps": 1},
    "gradual cubic layers": {"schedule": "cubic", "across": "layer"},
    "magnitude layers": {"across": "layer"},
}
# masks that look at nothing but the pre-trained weights
PRE_TRAINED_MAGNITUDES = {"magnitude", "model-soup"}
# tickets that start neither at the pre-trained weights nor at the end of training
STARTS_ELSEWHERE = {"lth-rewind", "instant-model-soup"}
# trained tickets that took several fine-tunes, each one T long
SEVERAL_TRAININGS = {"lottery-pools", "model-soup"}


def build(name: str) -> Method:
    plain = name.split()[0]
    return METHODS[plain](**{**QUICK.get(plain, {}), **WAYS.get(name, {})})


@pytest.fixture(params=[*METHODS, *WAYS])
def method(request: pytest.FixtureRequest) -> Method:
    return build(request.param)


@pytest.mark.parametrize("sparsity", [0.3, 0.77, 0.95])
def test_the_count_of_survivors_is_exact(method: Method, mini: CourseTask, sparsity: float) -> None:
    ticket = method.draw(mini, sparsity)
    assert ticket.mask.kept == round((1 - sparsity) * ticket.mask.scope.size)


def test_what_is_pruned_is_bit_zero_after_fine_tuning_and_in_every_file(
    method: Method, mini: CourseTask, tmp_path: Any
) -> None:
    ticket = method.draw(mini, 0.6)
    weights = soup.evaluate(ticket, mini).weights
    ticket.save(tmp_path / "ticket.safetensors")
    started = soup.Ticket.load(tmp_path / "ticket.safetensors").start
    for name in ticket.mask:
        dead = ~ticket.mask[name]
        assert all_bits_zero(weights[name][dead])
        if name in started:
            assert all_bits_zero(started[name][dead])
    assert any(name in weights and bool(weights[name].any()) for name in ticket.mask)


def all_bits_zero(tensor: Tensor) -> bool:
    """Stricter than == 0, which -0.0 is too."""
    return not tensor.contiguous().view(torch.int32).any()


def test_the_same_seed_draws_the_same_ticket_and_another_seed_another(method: Method, mini: CourseTask) -> None:
    first, second = method.draw(mini, 0.6), method.draw(mini, 0.6)
    assert first.digest == second.digest
    other = method.draw(replace(mini, seed=1), 0.6)
    if method.name in PRE_TRAINED_MAGNITUDES:
        assert other.mask == first.mask
    else:
        assert other.mask != first.mask
    if method.name != "magnitude":
        assert other.digest != first.digest


def test_drawing_leaves_the_global_random_state_alone(method: Method, mini: CourseTask) -> None:
    before = torch.get_rng_state()
    method.draw(mini, 0.6)
    assert torch.equal(before, torch.get_rng_state())


def test_every_pass_through_the_model_is_charged(
    method: Method, mini: CourseTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted()
    monkeypatch.setattr(torch.autograd, "grad", counted.grad(torch.autograd.grad))
    course = replace(mini.course, predict=counted.predict(mini.course.predict))
    meter = soup.Meter()
    ticket = method.draw(replace(mini, course=course), 0.6, meter)
    soup.evaluate(ticket, replace(mini, course=course), meter=meter)
    assert meter.spent.passes == 3 * counted.trained + 6 * counted.differentiated_twice + counted.evaluated
    assert meter.spent == sum(meter.bill.values(), Cost())
    assert meter.spent.flops > 0
    assert ticket.cost.passes <= meter.spent.passes


class Counted:
    """Counts the examples that go through a course's model."""

    def __init__(self) -> None:
        self.trained = self.evaluated = self.differentiated_twice = 0
        self._latest = 0

    def grad(self, inner: Any) -> Any:
        """Notices when a gradient's own graph is asked for: of the examples that came last."""

        def grad(*args: Any, **options: Any) -> Any:
            self.differentiated_twice += self._latest * bool(options.get("create_graph"))
            return inner(*args, **options)

        return grad

    def predict(self, inner: Any) -> Any:
        def predict(model: nn.Module, batch: Any) -> tuple[Tensor, Tensor]:
            # counting FLOPs looks at single examples of the pristine model, which is no work on the task
            if model is not self.pristine:
                self._latest = len(batch["labels"])
                self.trained += len(batch["labels"]) * torch.is_grad_enabled()
                self.evaluated += len(batch["labels"]) * (not torch.is_grad_enabled())
            return inner(model, batch)

        return predict

    pristine: nn.Module | None = None


@pytest.fixture(autouse=True)
def pristine_is_known(mini: CourseTask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Counted, "pristine", mini.course.model)


@dataclass
class Sealed:
    """A split that must not be looked at."""

    inner: Examples

    def __len__(self) -> int:
        return len(self.inner)

    @property
    def lengths(self) -> Sequence[int] | None:
        raise AssertionError("the test split was looked at")

    def batch(self, indices: Sequence[int]) -> Any:
        raise AssertionError(f"the test split was read at {indices}")


def test_drawing_never_looks_at_the_test_split(method: Method, mini: CourseTask) -> None:
    sealed = replace(mini, course=replace(mini.course, test=Sealed(mini.course.test)))
    method.draw(sealed, 0.6)


def test_pre_trained_weights_are_never_initialised_anew(method: Method, mini: CourseTask) -> None:
    """Trained at next to no rate, what survives is what the checkpoint holds."""
    frozen = replace(mini, regime=mini.regime.model_copy(update={"rate": 1e-12, "weight_decay": 0.0}))
    ticket = method.draw(frozen, 0.6)
    weights = soup.evaluate(ticket, frozen).weights
    for name, tensor in mini.course.model.named_parameters():
        keep = ticket.mask[name] if name in ticket.mask else torch.tensor(True)
        assert torch.allclose(weights[name], tensor.detach() * keep, atol=1e-7), name


def test_the_head_is_not_pruned_and_starts_the_same_for_all(method: Method, mini: CourseTask) -> None:
    ticket = method.draw(mini, 0.6)
    assert not any(name in ticket.mask for name in mini.course.fresh)
    if not ticket.ready and getattr(method, "finish", "rewind") == "rewind" and method.name not in STARTS_ELSEWHERE:
        for name in mini.course.fresh:
            assert torch.equal(ticket.start[name], mini.course.model.get_parameter(name).detach())


def test_the_ticket_is_trained_for_exactly_one_full_fine_tune(method: Method, mini: CourseTask) -> None:
    drawn, tuned = soup.Meter(), soup.Meter()
    ticket = method.draw(mini, 0.6, drawn)
    soup.evaluate(ticket, mini, meter=tuned)
    if ticket.ready:
        progress = drawn.bill["train"].steps
        if getattr(method, "carry", "none") == "mean":
            progress += drawn.bill["look-ahead"].steps
        if method.name in SEVERAL_TRAININGS:
            assert progress > mini.horizon
            assert progress % mini.horizon == 0
        else:
            assert progress == mini.horizon
        assert "train" not in tuned.bill
    else:
        assert tuned.bill["train"].steps == mini.horizon
    assert method.trains == ticket.ready


def test_a_sparsity_that_makes_no_sense_is_refused_before_any_work(method: Method, mini: CourseTask) -> None:
    for sparsity in (1.0, 1.5, -0.2, float("nan")):
        meter = soup.Meter()
        with pytest.raises(soup.SoupError, match="sparsity"):
            method.draw(mini, sparsity, meter)
        assert not meter.bill


def test_method_names_are_those_of_the_table() -> None:
    assert [variant().name for variant in METHODS.values()] == list(METHODS)
