"""The laws of the house, over the table of methods. A new method joins by joining the table.

Each way to draw is tried on a miniature that reads and on one that sees. Most laws look at one and
the same draw, made under observation, so that the table can grow.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import instant_soup as soup
from instant_soup.core.budget import Cost
from instant_soup.methods import METHODS, Method
from instant_soup.methods.presets import INSTANT_SOUP
from instant_soup.soup.denoiser import Protocols
from instant_soup.tasks import CourseTask
from instant_soup.training.course import Examples

QUICK: dict[str, dict[str, Any]] = {
    "gradual": {"rounds": 3},
    "early-bird": {"check": 0.1, "queue": 3, "mask_share": 0.5},
    "snip": {"per_class": 3, "allow_collapse": True},
    "grasp": {"per_class": 3, "allow_collapse": True},
    "wanda": {"samples": 8},
    "ria": {"samples": 8},
    "sparsegpt": {"samples": 8},
    "lth": {"compression": 0.35},
    "lth-rewind": {"compression": 0.35, "rewind": 0.1},
    "lottery-pools": {"compression": 0.35, "coefficients": (0.3, 0.7)},
    "instant-model-soup": {"ingredients": 2, "lookahead_steps": 2, "grid": 2},
    "model-soup": {"ingredients": 2},
    "instant-soup": {
        **INSTANT_SOUP["beside-t"],
        "denoisers": 2,
        "lookahead_steps": 2,
        "compression": 0.3,
        "mask_share": 0.5,
        "carry": "none",
        "finish": "rewind",
    },
}
# look-aheads in the last of evenly spaced rounds, and what follows them on the same line
LATE: dict[str, Any] = {
    "finish": "continue",
    "share": "cubic",
    "rounds": 3,
    "spacing": "even",
    "denoised_rounds": 1,
}
# every way in which a method can go about it obeys the same laws
WAYS: dict[str, dict[str, Any]] = {
    "instant-soup within t": {**INSTANT_SOUP["within-t"], "lookahead_steps": 1},
    "instant-soup union continue": {"blend": "union", "finish": "continue"},
    "instant-soup lookahead restart": {"blend": "lookahead", "finish": "restart"},
    "instant-soup intersection geometric": {
        "blend": "intersection",
        "share": "geometric",
        "carry_optimizer": True,
    },
    "instant-soup mean restart": {
        "carry": "mean",
        "finish": "restart",
        "denoisers": 1,
        "lookahead_steps": 1,
    },
    "instant-soup mean": {
        "carry": "mean",
        "finish": "continue",
        "denoisers": 1,
        "lookahead_steps": 1,
    },
    "instant-soup no denoisers": {"denoisers": 0},
    "instant-soup layers settled": {
        "across": "layer",
        "own_mask": False,
        "round_steps": 1,
        "settled": 0.1,
    },
    "instant-soup curved": {
        "score": "curved",
        "blend": "lookahead",
        "carry_optimizer": True,
    },
    "instant-soup bound disjoint": {
        "score": "curved",
        "blend": "bound",
        "protocols": Protocols(subsets="disjoint"),
    },
    "instant-soup extrapolated": {
        "blend": "extrapolated",
        "protocols": Protocols(subsets="classes"),
    },
    "instant-soup inside": {**LATE, "score": "curved", "carry": "none", "inside": True},
    "instant-soup inside mean": {
        **LATE,
        "score": "curved",
        "carry": "mean",
        "inside": True,
        "carry_optimizer": True,
    },
    "instant-soup inside first": {
        **LATE,
        "score": "curved",
        "denoised_from": "first",
        "inside": True,
    },
    "instant-soup inside row": {
        **LATE,
        "score": "curved",
        "carry": "mean",
        "progress": "row",
        "inside": True,
    },
    "instant-soup row": {
        **LATE,
        "blend": "extrapolated",
        "carry": "mean",
        "progress": "row",
    },
    "gradual curved": {"schedule": "cubic", "score": "curved", "mask_start": 0.1},
    "early-bird curved": {"score": "curved"},
    "lth curved": {"score": "curved", "share": "cubic", "rounds": 2},
    "lth-rewind curved": {"score": "curved"},
    "lottery-pools curved": {"score": "curved", "rounds": 2},
    "gradual cubic layers": {"schedule": "cubic", "across": "layer"},
    "magnitude layers": {"across": "layer"},
    "wanda subsets": {"subsets": 3},
    "early-bird continue": {"finish": "continue"},
    "lottery-pools beyond": {
        "beyond": 1,
        "compression": 0.5,
        "share": "geometric",
        "rewind": 0.1,
        "rewind_head": True,
    },
}
SPARSITY = 0.6
# masks that look at nothing but the pre-trained weights
PRE_TRAINED_MAGNITUDES = {"magnitude", "model-soup"}
# tickets that start neither at the pre-trained weights nor at the end of training
STARTS_ELSEWHERE = {"lth-rewind", "instant-model-soup", "sparsegpt"}
# methods whose surviving weights make up for those that went
UPDATES = {"sparsegpt"}
# methods that run each block of the model by itself, which no count of calls of the model sees
BY_BLOCK = {"wanda", "ria", "sparsegpt"}
# trained tickets that took several fine-tunes, each one T long, from one start
SEVERAL_TRAININGS = {"lottery-pools", "model-soup"}
# methods whose place is saved so seldom that a kill must come early
KILLED_AFTER = {"instant-model-soup": 1, "early-bird": 2}


def build(way: str) -> Method:
    plain = way.split()[0]
    return METHODS[plain](**{**QUICK.get(plain, {}), **WAYS.get(way, {})})


@pytest.fixture(params=["mini", "mini_clip_task"], ids=["text", "images"])
def task(request: pytest.FixtureRequest) -> CourseTask:
    made: CourseTask = request.getfixturevalue(request.param)
    return made


@pytest.fixture(params=[*METHODS, *WAYS])
def way(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def method(way: str) -> Method:
    return build(way)


# one draw under observation


@dataclass
class Drawn:
    """A ticket drawn and fine-tuned, and what could be seen of that from outside."""

    ticket: soup.Ticket
    result: soup.Result
    drawing: soup.Meter
    tuning: soup.Meter
    worked: Counted
    test: Watched
    looked_while_drawing: list[int]
    random_state_kept: bool


@pytest.fixture(scope="session")
def observed() -> Callable[[str, CourseTask], Drawn]:
    """Draw and fine-tune, once for each way and miniature."""
    return once_each(build)


@pytest.fixture
def drawn(
    way: str, task: CourseTask, observed: Callable[[str, CourseTask], Drawn]
) -> Drawn:
    return observed(way, task)


def once_each(build: Callable[[str], Method]) -> Callable[[str, CourseTask], Drawn]:
    """Draws and fine-tunes what *build* makes of a name, once for each name and task."""
    known: dict[tuple[str, str], Drawn] = {}

    def observe(name: str, task: CourseTask) -> Drawn:
        if (name, task.name) not in known:
            known[name, task.name] = _observed(build(name), task)
        return known[name, task.name]

    return observe


def _observed(method: Method, task: CourseTask) -> Drawn:
    worked, test = Counted(task.course.model), Watched(task.course.test)
    watched = replace(
        task,
        course=replace(
            task.course, predict=worked.predict(task.course.predict), test=test
        ),
    )
    drawing, tuning, before = soup.Meter(), soup.Meter(), random_state()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.autograd, "grad", worked.grad(torch.autograd.grad))
        ticket = method.draw(watched, SPARSITY, drawing)
        looked, kept = list(test.looked), random_state() == before
        result = soup.evaluate(ticket, watched, meter=tuning)
    return Drawn(ticket, result, drawing, tuning, worked, test, looked, kept)


def random_state() -> tuple[object, ...]:
    """Of everything that draws at random behind the scenes."""
    return (
        random.getstate(),
        np.random.get_state()[1].tolist(),
        torch.get_rng_state().tolist(),
    )  # type: ignore[index]


@dataclass
class Counted:
    """Counts the examples that go through any model but the *pristine* one.

    FLOPs are counted on that, with single examples, which is no work on the task.
    """

    pristine: nn.Module
    trained: int = 0
    evaluated: int = 0
    differentiated_twice: int = 0
    latest: int = 0

    def predict(self, inner: Any) -> Any:
        def predict(model: nn.Module, batch: Any) -> tuple[Tensor, Tensor]:
            if model is not self.pristine:
                # text has labels, and language has no other than its tokens
                self.latest = len(next(iter(batch.values())))
                self.trained += self.latest * torch.is_grad_enabled()
                self.evaluated += self.latest * (not torch.is_grad_enabled())
            return inner(model, batch)

        return predict

    def grad(self, inner: Any) -> Any:
        """Notices when a gradient's own graph is asked for: of the examples that came last."""

        def grad(*args: Any, **options: Any) -> Any:
            self.differentiated_twice += self.latest * bool(options.get("create_graph"))
            return inner(*args, **options)

        return grad


@dataclass
class Watched:
    """A split that remembers which examples were looked at, -1 for all of them."""

    inner: Examples
    looked: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.inner)

    @property
    def lengths(self) -> Sequence[int] | None:
        self.looked.append(-1)
        return self.inner.lengths

    @property
    def targets(self) -> Tensor | None:
        self.looked.append(-1)
        return self.inner.targets

    def batch(self, indices: Sequence[int]) -> Any:
        self.looked.extend(indices)
        return self.inner.batch(indices)


# the laws


@pytest.mark.parametrize("sparsity", [0.31, 0.95])
def test_the_count_of_survivors_is_exact(
    method: Method, task: CourseTask, sparsity: float
) -> None:
    ticket = method.draw(task, sparsity)
    assert ticket.mask.kept == round((1 - sparsity) * ticket.mask.scope.size)


def test_what_is_pruned_is_bit_zero_after_fine_tuning_and_in_every_file(
    drawn: Drawn, tmp_path: Any
) -> None:
    ticket, weights = drawn.ticket, drawn.result.weights
    assert ticket.mask.kept == round((1 - SPARSITY) * ticket.mask.scope.size)
    ticket.save(tmp_path / "ticket.safetensors")
    started = soup.Ticket.load(tmp_path / "ticket.safetensors").start
    for name in ticket.mask:
        dead = ~ticket.mask[name]
        assert all_bits_zero(weights[name][dead])
        if name in started:
            assert all_bits_zero(started[name][dead])
    assert any(bool(weights[name].any()) for name in ticket.mask)


def all_bits_zero(tensor: Tensor) -> bool:
    """Stricter than == 0, which -0.0 is too."""
    return not tensor.contiguous().view(torch.int32).any()


def test_the_same_seed_draws_the_same_ticket_and_another_seed_another(
    method: Method, task: CourseTask, drawn: Drawn
) -> None:
    ticket = drawn.ticket
    assert method.draw(task, SPARSITY).digest == ticket.digest
    other = method.draw(replace(task, seed=1), SPARSITY)
    if method.name in PRE_TRAINED_MAGNITUDES:
        assert other.mask == ticket.mask
    else:
        assert other.mask != ticket.mask
    if method.name != "magnitude":
        assert other.digest != ticket.digest


def test_drawing_leaves_the_global_random_state_alone(drawn: Drawn) -> None:
    assert drawn.random_state_kept


def test_every_pass_through_the_model_is_charged(method: Method, drawn: Drawn) -> None:
    worked, spent = drawn.worked, drawn.drawing.spent + drawn.tuning.spent
    by_block = 2 * drawn.drawing.bill["score"].examples if method.name in BY_BLOCK else 0
    assert (
        spent.passes
        == 3 * worked.trained
        + 6 * worked.differentiated_twice
        + worked.evaluated
        + by_block
    )
    assert spent.flops > 0
    assert (
        drawn.ticket.cost
        == drawn.drawing.spent
        == sum(drawn.drawing.bill.values(), Cost())
    )


def test_drawing_never_looks_at_the_test_split_and_it_is_read_once_in_the_end(
    drawn: Drawn,
) -> None:
    assert drawn.looked_while_drawing == []
    assert sorted(index for index in drawn.test.looked if index >= 0) == list(
        range(len(drawn.test))
    )
    assert "test" not in drawn.drawing.bill
    assert drawn.tuning.bill["test"].examples == len(drawn.test)


def test_pre_trained_weights_are_never_initialised_anew(
    method: Method, task: CourseTask
) -> None:
    """Trained at next to no rate, what survives is what the checkpoint holds."""
    if method.name in UPDATES:
        pytest.skip("it changes what survives")
    frozen = replace(
        task, regime=task.regime.model_copy(update={"rate": 1e-12, "weight_decay": 0.0})
    )
    ticket = method.draw(frozen, SPARSITY)
    weights = soup.evaluate(ticket, frozen).weights
    for name, tensor in task.course.model.named_parameters():
        keep = ticket.mask[name] if name in ticket.mask else torch.tensor(True)
        assert torch.allclose(weights[name], tensor.detach() * keep, atol=1e-7), name


def test_the_head_is_not_pruned_and_starts_the_same_for_all(
    method: Method, task: CourseTask, drawn: Drawn
) -> None:
    ticket, model = drawn.ticket, task.course.model
    assert not any(name in ticket.mask for name in task.course.fresh)
    if (
        not ticket.ready
        and getattr(method, "finish", "rewind") == "rewind"
        and method.name not in STARTS_ELSEWHERE
    ):
        assert set(ticket.start) == task.course.fresh
        assert all(
            torch.equal(part, model.get_parameter(name).detach())
            for name, part in ticket.start.items()
        )


def test_a_frozen_head_is_no_part_of_a_ticket(
    way: str, mini_clip_task: CourseTask, observed: Any
) -> None:
    drawn, frozen = (
        observed(way, mini_clip_task),
        dict(mini_clip_task.course.model.named_buffers()),
    )
    assert {"head", "scale"} <= frozen.keys()
    assert not drawn.ticket.start.keys() & {"head", "scale"}
    assert not drawn.result.weights.keys() & {"head", "scale"}


def test_the_ticket_is_trained_for_exactly_one_full_fine_tune(
    method: Method, task: CourseTask, drawn: Drawn
) -> None:
    drawing, tuning = drawn.drawing.bill, drawn.tuning.bill
    assert method.trains == drawn.ticket.ready
    if drawn.ticket.ready:
        assert "train" not in tuning
        progress = drawing["train"].steps + counted(method, drawing)
        if method.name in SEVERAL_TRAININGS:
            shared = round(getattr(method, "rewind", 0.0) * task.horizon)
            several, rest = divmod(progress - shared, task.horizon - shared)
            assert several > 1
            assert rest == 0
        else:
            assert progress == task.horizon
    else:
        assert tuning["train"].steps == task.horizon


def counted(method: Method, drawing: Mapping[str, Cost]) -> int:
    """How many steps of look-aheads a full fine-tune is made of."""
    if "look-ahead" not in drawing or method.name != "instant-soup":
        return 0

    knobs: Any = method
    taken = drawing["look-ahead"].steps
    if knobs.inside:
        return taken  # the budget pays for all of them, whatever becomes of them
    if knobs.carry == "none":
        return 0
    return taken // knobs.denoisers if knobs.progress == "row" else taken


def test_a_sparsity_that_makes_no_sense_is_refused_before_any_work(
    method: Method, task: CourseTask
) -> None:
    for sparsity in (1.0, 1.5, -0.2, float("nan")):
        meter = soup.Meter()
        with pytest.raises(soup.SoupError, match="sparsity"):
            method.draw(task, sparsity, meter)
        assert not meter.bill


class KilledError(Exception):
    """As if the power had gone."""


@dataclass
class Page:
    """A bookmark in memory that is always due, keeps no order of names, and kills after so many saves."""

    saves: int
    places: dict[str, tuple[dict[str, Tensor], dict[str, Any]]] = field(
        default_factory=dict
    )
    due: bool = True

    def save(
        self, place: str, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]
    ) -> None:
        self.places[place] = (
            {name: tensors[name].clone() for name in sorted(tensors, reverse=True)},
            dict(facts),
        )
        self.saves -= 1
        if self.saves == 0:
            raise KilledError

    def load(self, place: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        return self.places.get(place)


def test_a_draw_that_was_killed_goes_on_to_the_same_ticket_and_bill(
    method: Method, task: CourseTask, drawn: Drawn
) -> None:
    page, meter = Page(KILLED_AFTER.get(method.name, 3)), soup.Meter()
    if not drawn.drawing.bill.keys() & {"train", "look-ahead"}:
        pytest.skip("nothing is trained, so there is nothing to go on with")
    marked = replace(task, bookmark=page)
    with pytest.raises(KilledError):
        method.draw(marked, SPARSITY, soup.Meter())
    ticket = method.draw(marked, SPARSITY, meter)
    assert ticket.digest == drawn.ticket.digest
    assert ticket.notes == drawn.ticket.notes
    assert meter.bill == drawn.drawing.bill


def test_at_sparsity_zero_what_is_made_for_that_prunes_nothing(task: CourseTask) -> None:
    for name, variant in METHODS.items():
        if variant.dense:
            ticket = build(name).draw(task, 0.0)
            assert ticket.sparsity == 0
            assert ticket.start


def test_method_names_are_those_of_the_table() -> None:
    assert [variant().name for variant in METHODS.values()] == list(METHODS)
