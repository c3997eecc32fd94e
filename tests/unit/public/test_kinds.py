"""Arguments of wrong kinds get one sentence from every public function, never an error of Python's own."""
# ruff: noqa: ARG005 - cases have one shape, whether they need the world or not

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import instant_soup as soup
from instant_soup.core.errors import SoupError

ROWS = [{"t": f"the film {i}", "label": i % 2} for i in range(40)]
METHODS = (
    "Dense", "EarlyBird", "Gradual", "Grasp", "InstantModelSoup", "InstantSoup", "Lottery", "LotteryPools",
    "ModelSoup", "OneShot", "Snip",
)  # fmt: skip


class World:
    """One of each kind, and public functions with all arguments right but those that a case changes."""

    def __init__(self) -> None:
        x = torch.randn(64, 8)
        self.data = TensorDataset(x, (x[:, 0] > 0).long())
        self.model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
        self.task = self.module()
        self.ticket = soup.OneShot().draw(self.task, 0.5)
        self.mask = self.ticket.mask

    def module(self, name: Any = "p", model: Any = None, **changes: Any) -> Any:
        loader = DataLoader(self.data, batch_size=4)
        whole: dict[str, Any] = {
            "train": loader,
            "validation": loader,
            "test": loader,
            "loss": nn.functional.cross_entropy,
            "metric": lambda outputs, targets: 0.5,
            "regime": soup.Regime(batch=16, steps=3),
        }
        return soup.tasks.module(name, model or self.model, **{**whole, **changes})

    def text(self, **changes: Any) -> Any:
        return soup.tasks.text("x", **{"data": ROWS, "columns": ("t",), **changes})


@pytest.fixture(scope="module")
def world() -> World:
    return World()


CASES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "columns": (lambda w: w.text(columns="t"), "columns is 't', of the kind str"),
    "columns of numbers": (lambda w: w.text(columns=[3]), "columns is of the kind list"),
    "a module for a path": (lambda w: w.text(model=w.model), r"soup\.tasks\.module"),
    "a number for data": (lambda w: w.text(data=3), "data is a int; expected a path"),
    "a dict for a regime": (lambda w: w.text(regime={}), "regime is of the kind dict"),
    "a word for a limit": (lambda w: w.text(limit="10"), "limit is '10'.*whole number"),
    "a word for a share": (lambda w: w.text(validation="a"), "expected a number"),
    "a word for metrics": (lambda w: w.text(metrics="f1"), "metrics is 'f1'"),
    "an unknown word": (lambda w: w.text(colums="t"), "did you mean 'columns'"),
    "nothing at all": (
        lambda w: soup.tasks.text(),
        "missing a required argument: 'name'",
    ),
    "classes": (
        lambda w: soup.tasks.image("x", model="m", data=".", classes="cat"),
        "classes is 'cat'",
    ),
    "no model": (lambda w: soup.tasks.image("x", data="."), "required argument: 'model'"),
    "a word for a window": (
        lambda w: soup.tasks.language("x", data=".", window="8"),
        "window is '8'",
    ),
    "a list for a loader": (lambda w: w.module(train=[1]), "train is a list"),
    "a data set for a loader": (
        lambda w: w.module(test=w.data),
        "test is a TensorDataset",
    ),
    "swapped name and model": (
        lambda w: w.module(w.model, "p"),
        "name and model swapped",
    ),
    "no loss": (lambda w: w.module(loss=None), "loss is None"),
    "a name for a metric": (lambda w: w.module(metric="f1"), "metric is 'f1'"),
    "one name for several": (lambda w: w.module(fresh="0.weight"), "fresh is '0.weight'"),
    "a field that no regime has": (lambda w: soup.Regime(lr=1), "has no field 'lr'"),
    "a word for a rate": (lambda w: soup.Regime(rate="fast"), "rate is 'fast'"),
    "a regime by place": (lambda w: soup.Regime(1e-3), "takes its fields by name"),
    "a path for a ticket": (lambda w: soup.evaluate("t", w.task), "ticket is 't'"),
    "swapped ticket and task": (lambda w: soup.evaluate(w.task, w.ticket), "swapped"),
    "a word for a budget": (
        lambda w: soup.evaluate(w.ticket, w.task, budget="1"),
        "budget is '1'",
    ),
    "a path for a recipe": (lambda w: soup.run("r.toml", soup.Store(".")), "a Recipe"),
    "a word for a recipe": (lambda w: soup.Recipe.parse("a"), "fields is 'a'"),
    "a number for a recipe": (lambda w: soup.Recipe.read(3), "path is 3"),
    "words for a transfer": (lambda w: soup.transfer("a", "b", "c"), "ticket is 'a'"),
    "a number for a control": (lambda w: soup.control(w.ticket, w.task, 3), "kind is 3"),
    "a number for a path": (lambda w: soup.Ticket.load(3), "path is 3"),
    "a number to save to": (lambda w: w.ticket.save(3), "path is 3"),
    "a path for a module": (lambda w: w.ticket.apply("bert"), "model is 'bert'"),
    "a path to fit to": (lambda w: w.ticket.transfer("bert"), "model is 'bert'"),
    "half a guard": (lambda w: soup.guard(w.ticket, w.model), "argument: 'ticket'"),
    "a number for a callback": (lambda w: soup.TicketCallback(3), "ticket is 3"),
    "an export by place": (
        lambda w: soup.export_ticket(w.ticket, "packaged", "hf"),
        "too many positional",
    ),
    "an import of a module": (lambda w: soup.import_ticket(w.model), "source is of the"),
    "a word for a sparsity": (
        lambda w: soup.prune_checkpoint(".", "out", "0.5"),
        "sparsity is '0.5'",
    ),
    "a sparsity in words": (lambda w: soup.prune({}, w.mask, "0.5"), "sparsity is '0.5'"),
    "swapped scores": (lambda w: soup.prune(w.mask, {}, 0.5), "swapped"),
    "a name for a scope": (lambda w: soup.Scope.of("bert"), "model is 'bert'"),
    "a model for a scope": (lambda w: soup.Mask.dense(w.model), "scope is of the kind"),
    "a number for adapters": (lambda w: soup.mask_adapters(3, 4), "int has no adapters"),
    "a number to merge": (lambda w: soup.merge_adapters(3, 4), "int has no adapters"),
    "a number for shira": (lambda w: soup.shira(3, w.mask), "model is 3"),
    "half of shira": (lambda w: soup.shira_config(3), "required argument: 'ticket'"),
    "a number to push": (lambda w: soup.push_to_hub(3, "a/b"), "ticket is 3"),
    "a number to pull": (lambda w: soup.pull_from_hub(3), "repo is 3"),
    "a word for a knob": (lambda w: soup.InstantSoup(denoisers="4"), "denoisers is '4'"),
    "an unknown knob": (lambda w: soup.InstantSoup(denoiser=4), "mean 'denoisers'"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_wrong_kind_is_answered_in_one_sentence(name: str, world: World) -> None:
    call, expected = CASES[name]
    with pytest.raises(SoupError, match=expected) as caught:
        call(world)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_refuses_words_for_numbers_and_modules_for_tasks(
    name: str, world: World
) -> None:
    method = getattr(soup, name)()
    with pytest.raises(SoupError, match=r"sparsity is '0\.5', of the kind str"):
        method.draw(world.task, "0.5")
    with pytest.raises(SoupError, match="task is of the kind Sequential"):
        method.draw(world.model, 0.5)
    with pytest.raises(SoupError, match="are task and sparsity swapped"):
        method.draw(0.5, world.task)


def test_numbers_and_paths_of_other_libraries_are_numbers_and_paths(
    world: World, tmp_path: Path
) -> None:
    import numpy as np

    ticket = soup.OneShot().draw(world.task, np.float64(0.5))
    ticket.save(tmp_path / "t.safetensors")
    assert soup.Ticket.load(str(tmp_path / "t.safetensors")).mask == world.mask
    assert soup.InstantSoup(denoisers=np.int64(2)).denoisers == 2
