"""What goes into matrices of every kind of model, against hooks on the modules of the model as it is by then."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

import instant_soup as soup
from instant_soup.core.errors import TrainingError
from instant_soup.core.scope import Scope
from instant_soup.methods.calibration import Calibrated
from instant_soup.models.classifier import predict
from instant_soup.training.blocks import Block, blocks_of
from instant_soup.training.flow import Flow
from instant_soup.training.inputs import PASSES, inputs_of

from ..models import zoo

Forward = Callable[[Any], object]

NO_MATRICES = {"funnel", "xlnet"}
"""They multiply by tensors of three dimensions in another form than these are stored in."""


def hooked(
    model: nn.Module, scope: Scope, batches: list[Any], forward: Forward
) -> dict[str, Tensor]:
    """The sums of squares that hooks on linear layers see of the model as it is, float64, by name."""
    sums: dict[str, Tensor] = {}
    hooks = []

    def hook(name: str) -> Callable[..., None]:
        def look(_: nn.Module, args: tuple[Tensor, ...]) -> None:
            squares = args[0].detach().double().flatten(0, -2).square().sum(0)
            sums[name] = sums.get(name, torch.zeros_like(squares)) + squares

        return look

    for path, module in model.named_modules():
        name = f"{path}.weight"
        if isinstance(module, nn.Linear | Conv1D) and name in scope:
            hooks.append(module.register_forward_pre_hook(hook(name)))
    with torch.no_grad():
        for batch in batches:
            forward(batch)
    for handle in hooks:
        handle.remove()
    return sums


def check(
    model: nn.Module, batches: list[Any], forward: Forward, scope: Scope | None = None
) -> None:
    """Each block is given what hooks see once half of all weights of the blocks before it are cut."""
    model.eval()
    scope = scope or Scope.of(model)
    seen: set[str] = set()

    for part in inputs_of(model, scope, lambda _: batches, forward, second_moment=False):
        expected = hooked(model, scope, batches, forward)
        for name, sums in part.items():
            error = (sums.double() - expected[name]).norm() / expected[name].norm()
            assert error < 1e-4, name
            with torch.no_grad():
                model.get_parameter(name).mul_(torch.rand(scope.shapes[name]) < 0.5)
        seen |= part.keys()

    assert seen == set(scope)


def texts(count: int, length: int) -> dict[str, Tensor]:
    tokens = torch.randint(3, 12, (count, length))
    tokens[:, -1] = zoo.END
    labels = torch.zeros(count, dtype=torch.long)
    return {
        "input_ids": tokens,
        "attention_mask": torch.ones_like(tokens),
        "labels": labels,
    }


@pytest.mark.parametrize(
    "kind", sorted(zoo.TEXT.keys() - zoo.EXPERTS - NO_MATRICES - {"jamba", "qwen3_next"})
)
def test_inputs_of_texts_are_what_hooks_see(kind: str) -> None:
    torch.manual_seed(0)
    batches = [texts(2, 16), texts(3, 12)]
    model = zoo.classifier(kind, pad_token_id=zoo.PAD)
    check(model, batches, lambda batch: predict(model, batch))


@pytest.mark.parametrize("kind", zoo.VISION)
def test_inputs_of_images_are_what_hooks_see(kind: str) -> None:
    torch.manual_seed(0)
    batches = []
    for count in (2, 3):
        pixels = torch.randn(count, 3, 16, 16)
        labels = torch.zeros(count, dtype=torch.long)
        batches.append({"pixel_values": pixels, "labels": labels})
    model = zoo.image_classifier(kind)
    check(model, batches, lambda batch: predict(model, batch))


@pytest.mark.parametrize("kind", sorted(NO_MATRICES))
def test_what_is_no_matrix_as_it_is_stored_is_refused(kind: str) -> None:
    model = zoo.classifier(kind, pad_token_id=zoo.PAD).eval()
    inputs = inputs_of(
        model,
        Scope.of(model),
        lambda _: [texts(2, 16)],
        lambda batch: predict(model, batch),
        second_moment=False,
    )
    with pytest.raises(TrainingError, match=r"is no matrix as it is.*cut by 'magnitude'"):
        list(inputs)


class Block32(nn.Module):
    """Adds to what goes in."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(32, 32)

    def forward(self, hidden: Tensor, other: Any = None) -> Tensor:
        if isinstance(other, list):
            # something that is kept from call to call
            other.append(hidden)
            hidden = sum(other)  # type: ignore[assignment]
        elif other is not None:
            hidden = hidden + other
        return hidden + torch.tanh(self.linear(hidden))


class Toy(nn.Module):
    """Three blocks, called in one of several ways."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way
        self.layers = nn.ModuleList([Block32(), Block32(), Block32()])
        self.norm = nn.LayerNorm(32)
        if way == "shared":
            self.layers[2].linear = self.layers[0].linear

    def forward(self, hidden: Tensor) -> Tensor:
        kept: list[Tensor] = []
        first = None
        for number, layer in enumerate(self.layers):
            if self.way == "norm between":
                hidden = self.norm(hidden)
            if self.way == "changed between" and number:
                hidden += 1
            if self.way == "repeated":
                hidden = layer(hidden)
            if self.way == "skip":
                hidden = layer(hidden, first)
                first = hidden if number == 0 else first
                continue
            hidden = layer(hidden, kept if self.way == "cache" else None)

        if self.way == "twice":
            for layer in self.layers:
                hidden = layer(hidden)
        return hidden


WAYS = {
    "plain": True,
    "repeated": False,
    "twice": False,
    "shared": False,
    "norm between": False,
    "changed between": False,
    "skip": False,
    "cache": False,
}


@pytest.mark.parametrize(("way", "straight"), WAYS.items())
def test_blocks_are_run_alone_where_they_follow_one_another_and_only_there(
    way: str, straight: bool
) -> None:
    torch.manual_seed(0)
    toy = Toy(way).eval()
    batches = [torch.randn(5, 32), torch.randn(7, 32)]
    flow = Flow(blocks_of(toy, Scope.of(toy)), list)
    flow.record(toy, batches, toy)
    assert flow.is_straight == straight
    check(toy, batches, toy)


def test_every_portion_that_a_micro_batch_is_taken_through_in_counts() -> None:
    torch.manual_seed(0)
    toy = Toy("plain")
    check(toy, [torch.randn(6, 32)], lambda batch: [toy(part) for part in batch.split(2)])


@pytest.mark.parametrize("way", ["repeated", "shared"])
def test_blocks_that_are_in_memory_one_at_a_time_have_to_follow_one_another(
    way: str,
) -> None:
    toy = Toy(way).eval()

    @contextmanager
    def hold(_: Block) -> Iterator[None]:
        yield

    inputs = inputs_of(
        toy,
        Scope.of(toy),
        lambda _: [torch.randn(5, 32)],
        toy,
        second_moment=False,
        hold=hold,
    )
    with pytest.raises(TrainingError, match=r"one at a time; cut by 'magnitude'"):
        list(inputs)


@pytest.mark.parametrize(("kind", "blocks"), [("albert", 1), ("t5", 4), ("bert", 0)])
def test_wanda_cuts_models_that_repeat_blocks_and_is_charged_for_each_pass(
    kind: str, blocks: int, tiny_text: Path, tmp_path: Path
) -> None:
    """Once to see, and once for each block that cannot be run alone: the first two of these are in the usual charge."""
    folder = zoo.text(tmp_path, kind, num_labels=2)
    task = soup.tasks.text(
        "x",
        model=str(folder),
        data=tiny_text,
        columns=("sentence",),
        regime=soup.Regime(batch=4, steps=2),
        validation=0.25,
    )
    meter = soup.Meter()
    ticket = Calibrated(samples=8).draw(task, 0.5, meter)
    assert ticket.mask.sparsity == pytest.approx(0.5, abs=1e-3)
    assert meter.bill["score"].passes == 8 * (PASSES + max(0, blocks - 2))
