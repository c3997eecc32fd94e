"""Every public callable, given a wrong kind for each argument in turn, answers in one sentence or takes it."""
# ruff: noqa: ARG005 - a metric and a maker of callables have one shape

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import instant_soup as soup
from instant_soup.core.errors import SoupError, UnknownName
from instant_soup.core.schedule import SCHEDULES
from instant_soup.core.score import SALIENCIES, SCORES
from instant_soup.evidence.compare import compare
from instant_soup.evidence.runs import gather
from instant_soup.export.formats import FORMATS
from instant_soup.methods import CONTROLS, REFERENCES
from instant_soup.report.page import report
from instant_soup.soup.average import AVERAGES
from instant_soup.soup.blend import BLENDS
from instant_soup.tasks import TASKS
from instant_soup.training.metrics import METRICS

WRONG: tuple[Any, ...] = (3, None, [], "x", 3.5, object(), [3], {"a": 3})
NO_CALLABLES = {"METHODS", "tasks", "Method", "SoupError", "RevivedError"}
MODELS = {"Recipe", "Regime"}  # which take fields by name


def samples(folder: Path) -> dict[str, Any]:
    """An argument that is right for each name of a parameter that has to be given."""
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
    scope = soup.Scope({"0.weight": (16, 8), "2.weight": (2, 16)})
    mask = soup.Mask.dense(scope)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = torch.utils.data.DataLoader([(torch.zeros(8), 1)])
    task = soup.tasks.module(
        "points",
        model,
        train=loader,
        validation=loader,
        test=loader,
        loss=nn.functional.cross_entropy,
        metric=lambda outputs, targets: 0.5,
    )
    ticket = soup.OneShot().draw(task, 0.5)
    demo = {"name": "demo/polarity"}
    recipe = {"sparsity": 0.5, "task": demo, "method": {"name": "magnitude"}}
    return {
        "base": ticket.base, "checkpoint": folder, "cost": soup.Cost(), "data": [], "examples": 10,
        "every": 1, "fields": {}, "file": folder, "files": [], "folder": folder, "full": soup.Cost(1, 1, 1, 1),
        "horizon": 10, "operation": torch.bitwise_and, "kept": dict(mask), "key": "k", "kind": "layers", "layers": {},
        "learner": None,
        "loss": None, "mask": mask, "method": {}, "metric": None, "model": model, "name": "n", "optimizer": optimizer,
        "optimizers": [optimizer], "other": mask, "out": folder / "out", "output": folder / "out",
        "packed": {name: mask.packed(name) for name in mask}, "parts": {}, "path": folder / "no", "purpose": "train",
        "ready": False, "recipe": soup.Recipe.parse(recipe), "repo": "a/b", "runs": [],
        "scope": scope, "scores": dict(mask), "shapes": dict(scope.shapes), "shards": scope.shards, "source": folder,
        "sparsity": 0.5, "start": {}, "state": {}, "states": {}, "steps": 1, "store": soup.Store(folder), "task": task,
        "test": {}, "ticket": ticket, "to": "hf", "train": None, "validation": 0.5, "weights": {},
    }  # fmt: skip


def _member(owner: Any, name: str, _: dict[str, Any]) -> Any:
    return getattr(owner, name)


def public() -> dict[str, Callable[[dict[str, Any]], Any]]:
    """Every public callable, by its name, out of the samples."""
    callables: dict[str, Callable[[dict[str, Any]], Any]] = {
        "compare": lambda _: compare,
        "gather": lambda _: gather,
        "report": lambda _: report,
    }
    for name in ("text", "image", "language", "module"):
        callables[f"tasks.{name}"] = lambda _, name=name: getattr(soup.tasks, name)

    for name in sorted(set(soup.__all__) - NO_CALLABLES - MODELS):
        exported = getattr(soup, name)
        callables[name] = lambda _, exported=exported: exported
        members = vars(exported) if inspect.isclass(exported) else {}
        for method, member in members.items():
            # `drawn` is for methods: it takes whatever can do what a learner does
            if method.startswith("_") or method == "drawn":
                continue
            if isinstance(member, classmethod):
                callables[f"{name}.{method}"] = partial(_member, exported, method)
            elif inspect.isfunction(member) and name in INSTANCES:
                callables[f"{name}.{method}"] = lambda right, kind=name, method=method: (
                    getattr(INSTANCES[kind](right), method)
                )
    return callables


INSTANCES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "Scope": lambda right: right["scope"],
    "Mask": lambda right: right["mask"],
    "Ticket": lambda right: right["ticket"],
    "Meter": lambda _: soup.Meter(),
    "Cost": lambda _: soup.Cost(),
    "Store": lambda right: right["store"],
    "Regime": lambda _: soup.Regime(),
    "Recipe": lambda right: right["recipe"],
    **{
        name: lambda _, name=name: getattr(soup, name)()
        for name in (
            "Dense", "EarlyBird", "Gradual", "Grasp", "InstantModelSoup", "InstantSoup", "Lottery", "LotteryPools",
            "ModelSoup", "OneShot", "Snip",
        )
    },
}  # fmt: skip
PUBLIC = public()


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return samples(tmp_path_factory.mktemp("right"))


@pytest.mark.parametrize("name", PUBLIC)
def test_each_argument_of_a_wrong_kind_is_told_in_one_sentence_or_taken(
    name: str, right: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # what is taken must not wait for a hub, nor reach one
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    function = PUBLIC[name](right)
    parameters = {
        parameter: facts
        for parameter, facts in inspect.signature(function).parameters.items()
        if parameter != "self"
        and facts.kind not in (facts.VAR_KEYWORD, facts.VAR_POSITIONAL)
    }
    needed = {
        parameter: right[parameter]
        for parameter, facts in parameters.items()
        if facts.default is facts.empty
    }
    for parameter in parameters:
        for wrong in WRONG:
            taken_as_left_out = wrong is None and name in ("run", "evaluate", "transfer")
            if not taken_as_left_out:
                told_or_taken(lambda: function(**{**needed, parameter: wrong}))  # noqa: B023 - called at once


@pytest.mark.parametrize("name", sorted(MODELS))
def test_each_field_of_a_wrong_kind_is_told_in_one_sentence_or_taken(name: str) -> None:
    model = getattr(soup, name)
    for field in (*model.model_fields, "no such field"):
        for wrong in WRONG:
            told_or_taken(lambda: model(**{field: wrong}))  # noqa: B023 - called at once


def told_or_taken(call: Callable[[], Any]) -> None:
    told = "whatever was given, it was taken"
    try:
        call()
    except SoupError as reason:
        told = str(reason)
    assert "\n" not in told
    assert len(told) > 20


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: soup.Scope(["a"]), "shapes is of the kind list; expected a dict"),
        (lambda: soup.Scope({"a": 3}), r"shapes\['a'\] is 3, of the kind int"),
        (lambda: soup.Mask(3, {}), "scope is 3, of the kind int; expected a Scope"),
        (lambda: soup.Meter(limit="3"), "limit is '3'.*expected a whole number or None"),
        (lambda: soup.Checkpoint(3), "files"),
        (lambda: soup.Store(3), "folder is a int; expected a path"),
        (lambda: soup.progress(3), "task is 3, of the kind int"),
        (lambda: soup.Recipe(), "Recipe: task is missing"),
        (lambda: soup.Recipe(tsak=3), "did you mean 'task'|task is missing"),
        (lambda: compare(3), "runs is 3"),
        (lambda: gather("runs"), "folder is 'runs'.*expected a Path"),
        (lambda: soup.LotteryPools(coefficients=3), "coefficients is 3"),
        (lambda: soup.LotteryPools(coefficients=["a"]), r"coefficients\[0\] is 'a'"),
    ],
)
def test_what_is_given_and_what_is_expected_are_both_named(
    call: Callable[[], Any], told: str
) -> None:
    with pytest.raises(SoupError, match=told):
        call()


def test_a_store_takes_a_path_in_words() -> None:
    assert soup.Store("runs").folder == Path("runs")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "table",
    [
        soup.METHODS, REFERENCES, CONTROLS, TASKS, SCORES, SALIENCIES, SCHEDULES, BLENDS, AVERAGES, FORMATS, METRICS,
    ],
)  # fmt: skip
def test_a_name_that_no_table_lists_is_answered_with_the_nearest(table: Any) -> None:
    name = next(iter(table))
    with pytest.raises(UnknownName, match=f"did you mean '{name}'"):
        table[f"{name}x"]
    assert table.get(f"{name}x") is None
    assert 3 not in table
    assert name in repr(table)


def test_a_parameter_that_is_not_there_is_answered_with_the_nearest(
    right: dict[str, Any],
) -> None:
    mask = right["mask"]
    for call in (mask.packed, mask.__getitem__, mask.scope.numel, mask.scope.here):
        with pytest.raises(UnknownName, match=r"did you mean '0\.weight'"):
            call("0.weigt")
    assert mask.get("0.weigt") is None
