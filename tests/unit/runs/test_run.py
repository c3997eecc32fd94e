"""A run that is killed goes on, and what is done is not done again."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import instant_soup as soup
from instant_soup.core.errors import StoreError
from instant_soup.core.tensor_files import read_tensors
from instant_soup.runs import run as running
from instant_soup.runs.plan import rehearse
from instant_soup.runs.sizes import Sizes
from instant_soup.store.record import Record
from instant_soup.training import masked as training

KILLER = Path(__file__).with_name("killer.py")


def test_a_record_says_what_was_run_and_what_it_cost(
    mini_recipe: dict[str, Any], tmp_path: Path
) -> None:
    recipe = soup.Recipe.parse(mini_recipe)
    record = soup.run(recipe, soup.Store(tmp_path))
    assert record.key == recipe.key
    assert soup.Recipe.parse(record.recipe.facts()).key == recipe.key
    assert record.ticket.kept == round(0.3 * record.ticket.prunable)
    draw, train, full = record.cost.draw, record.cost.train, record.cost.full_fine_tune
    assert draw["look-ahead"].steps == 3 * 2 * 2
    assert train["train"].steps == full.steps == 12
    paid = sum(
        cost.passes
        for bill in (draw, train)
        for name, cost in bill.items()
        if name != "test"
    )
    assert record.cost.multiple_of_T == pytest.approx(paid / full.passes)
    assert len(record.ticket.notes.rounds) == 3
    assert set(record.test) == {record.metric} == {"accuracy"}


def test_the_checkpoint_and_the_ticket_on_disk_are_exactly_as_sparse_as_asked(
    mini_recipe: dict[str, Any], tmp_path: Path
) -> None:
    recipe, store = soup.Recipe.parse(mini_recipe), soup.Store(tmp_path)
    soup.run(recipe, store)
    cell = store.cell(recipe)
    mask = soup.Ticket.load(cell.ticket).mask
    weights, _ = read_tensors(cell.model, StoreError, "checkpoint")
    assert mask.kept == round(0.3 * mask.scope.size)
    for name in mask:
        assert not weights[name][~mask[name]].any()
        assert weights[name][mask[name]].all()


def test_a_finished_run_is_read_back_and_not_done_again(
    mini_recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, store = soup.Recipe.parse(mini_recipe), soup.Store(tmp_path)
    record = soup.run(recipe, store)
    monkeypatch.setattr(running, "build", lambda _: pytest.fail("loaded the task again"))
    assert soup.run(recipe, store) == record


def test_a_drawn_ticket_is_not_drawn_again(
    mini_recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, store = soup.Recipe.parse(mini_recipe), soup.Store(tmp_path)
    record = soup.run(recipe, store)
    store.cell(recipe).record.unlink()
    store.cell(recipe).model.unlink()
    monkeypatch.setattr(
        soup.InstantSoup, "draw", lambda *_: pytest.fail("drew the ticket again")
    )
    again = soup.run(recipe, store)
    assert without_time(again) == without_time(record)


def test_fine_tuned_weights_are_not_trained_again(
    mini_recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, store = soup.Recipe.parse(mini_recipe), soup.Store(tmp_path)
    record = soup.run(recipe, store)
    store.cell(recipe).record.unlink()
    monkeypatch.setattr(
        running.ModuleLearner, "train", lambda *_: pytest.fail("trained again")
    )
    assert without_time(soup.run(recipe, store)) == without_time(record)


def without_time(record: Record) -> dict[str, Any]:
    of_the_machine = ("seconds", "clock", "memory", "made", "checksum")
    return {
        name: part for name, part in record.facts().items() if name not in of_the_machine
    }


def without_reuse(record: Record) -> dict[str, Any]:
    facts = without_time(record)
    del facts["cost"]["reused"]
    return facts


# the shelf

LTH = {"name": "lth", "compression": 0.25}
POOLS = {"name": "lottery-pools", "compression": 0.25, "coefficients": [0.5]}


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A line for each step that is really taken."""
    steps: list[int] = []

    def counted(*args: Any, step: Any = training.step, **options: Any) -> float:
        steps.append(1)
        return float(step(*args, **options))

    monkeypatch.setattr(training, "step", counted)
    return steps


Earlier = list[tuple[dict[str, Any], float]]


@pytest.mark.parametrize(
    ("earlier", "method", "sparsity", "reused"),
    [
        ([(LTH, 0.5)], LTH, 0.7, 2),  # the levels at 0 and 25 %; that at 50 % is new
        ([(LTH, 0.7)], LTH, 0.5, 2),
        # the levels at 0 and 25 %; that at 50 % starts from the common head
        ([(LTH, 0.7)], POOLS, 0.5, 2),
        ([(LTH, 0.5)], POOLS, 0.5, 3),  # as the ticket itself does
        # the first level is the dense fine-tune
        ([({"name": "dense"}, 0.0)], LTH, 0.5, 1),
        ([({"name": "magnitude"}, 0.5)], LTH, 0.5, 0),  # its mask is that of no level
    ],
    ids=[
        "lth, sparser",
        "lth, denser",
        "pools",
        "pools of the same ticket",
        "dense first",
        "another mask",
    ],
)
def test_no_level_is_trained_twice_and_each_is_charged_every_time(
    mini_recipe: dict[str, Any],
    tmp_path: Path,
    trained: list[int],
    earlier: Earlier,
    method: dict[str, Any],
    sparsity: float,
    reused: int,
) -> None:
    def run(method: dict[str, Any], sparsity: float, store: str) -> Record:
        recipe = soup.Recipe.parse(
            {**mini_recipe, "method": method, "sparsity": sparsity}
        )
        return soup.run(recipe, soup.Store(tmp_path / store))

    alone = run(method, sparsity, "alone")
    steps_alone = len(trained)
    for each in earlier:
        run(*each, "shared")
    trained.clear()
    shared = run(method, sparsity, "shared")
    assert steps_alone - len(trained) == reused * 12
    assert alone.cost.reused.passes == 0
    assert shared.cost.reused.passes == reused * 12 * 8 * 3
    assert without_reuse(shared) == without_reuse(alone)


def test_a_ticket_is_the_same_with_a_shelf_and_without(
    mini_recipe: dict[str, Any], tmp_path: Path
) -> None:
    recipe, store = (
        soup.Recipe.parse({**mini_recipe, "method": POOLS, "sparsity": 0.5}),
        soup.Store(tmp_path),
    )
    task = running.build(recipe)
    plain = recipe.make_method().draw(task, recipe.sparsity)
    first = running.draw(recipe, task, store)
    store.cell(recipe).ticket.unlink()  # the second comes from the shelf
    second = running.draw(recipe, task, store)
    assert plain.digest == first.digest == second.digest
    assert plain.cost == first.cost == second.cost


def test_a_run_that_finds_its_own_levels_again_reuses_nobodys_work(
    mini_recipe: dict[str, Any], tmp_path: Path, trained: list[int]
) -> None:
    recipe, store = (
        soup.Recipe.parse({**mini_recipe, "method": LTH, "sparsity": 0.5}),
        soup.Store(tmp_path),
    )
    record = soup.run(recipe, store)
    for name in ("ticket.safetensors", "model.safetensors", "record.json"):
        (store.cell(recipe).folder / name).unlink()
    trained.clear()
    assert without_time(soup.run(recipe, store)) == without_time(record)
    assert not trained


def test_a_damaged_level_is_named_and_nothing_is_drawn_from_it(
    mini_recipe: dict[str, Any], tmp_path: Path
) -> None:
    recipe, store = (
        soup.Recipe.parse({**mini_recipe, "method": LTH, "sparsity": 0.5}),
        soup.Store(tmp_path),
    )
    soup.run(recipe, store)
    for path in store.shelf(recipe).folder.iterdir():
        path.write_bytes(path.read_bytes()[:100])
    sparser = soup.Recipe.parse({**mini_recipe, "method": LTH, "sparsity": 0.7})
    with pytest.raises(StoreError, match="is not a readable shelved training"):
        soup.run(sparser, store)
    assert not store.cell(sparser).ticket.exists()


# controls


@pytest.mark.parametrize("kind", ["layers", "shuffled"])
def test_a_control_comes_of_the_ticket_that_is_there_and_is_fine_tuned(
    mini_recipe: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    recipe, store = soup.Recipe.parse(mini_recipe), soup.Store(tmp_path)
    parent = soup.run(recipe, store)
    monkeypatch.setattr(
        soup.InstantSoup, "draw", lambda *_: pytest.fail("drew the ticket again")
    )
    asked = soup.Recipe.parse({**mini_recipe, "control": kind})
    record = soup.run(asked, store)
    ticket, control = (
        soup.Ticket.load(store.cell(each).ticket) for each in (recipe, asked)
    )
    assert control.mask.kept_by_name == ticket.mask.kept_by_name
    assert control.mask != ticket.mask
    assert (control.method["kind"], control.method["of"]) == (kind, ticket.digest)
    assert control.recipe == asked.key
    assert record.cost.draw == parent.cost.draw
    assert record.cost.train["train"].steps == 12
    assert record.cost.multiple_of_T == parent.cost.multiple_of_T
    assert store.cell(recipe).record.exists()


def test_the_parent_of_a_control_is_drawn_first_and_kept_under_its_own_key(
    mini_recipe: dict[str, Any], tmp_path: Path
) -> None:
    store, asked = (
        soup.Store(tmp_path),
        soup.Recipe.parse({**mini_recipe, "control": "layers"}),
    )
    assert asked.key  # asked for before the parent's, as a run does
    soup.run(asked, store)
    parent = store.cell(soup.Recipe.parse(mini_recipe))
    assert soup.Ticket.load(parent.ticket).method["name"] == "instant-soup"
    assert (
        soup.Recipe.read(parent.folder / "recipe.toml").key
        == soup.Recipe.parse(mini_recipe).key
    )
    assert soup.Ticket.load(store.cell(asked).ticket).method["name"] == "control"


def test_the_control_of_a_trained_ticket_is_trained_anew(
    mini_recipe: dict[str, Any], tmp_path: Path
) -> None:
    """Its parent's training went into the mask: both are paid for."""
    asked = {**mini_recipe, "method": {"name": "gradual", "rounds": 2}}
    record, control = (
        soup.run(soup.Recipe.parse({**asked, **more}), soup.Store(tmp_path))
        for more in ({}, {"control": "layers"})
    )
    assert "train" not in record.cost.train
    assert control.cost.train["train"].steps == 12
    assert control.cost.multiple_of_T == pytest.approx(record.cost.multiple_of_T + 1)


INSIDE = {
    "finish": "continue",
    "inside": True,
    "protocols": {"subset": [1.0, 1.0]},
    "score": "curved",
    "spacing": "even",
    "share": "cubic",
    "rounds": 3,
}


@pytest.mark.parametrize(
    "method", [{"name": "gradual", "rounds": 2}, INSIDE], ids=["gradual", "instant-soup"]
)
def test_a_method_that_trains_inside_the_budget_has_all_of_a_longer_one(
    mini_recipe: dict[str, Any], tmp_path: Path, method: dict[str, Any]
) -> None:
    """Half as many steps again are half as much again to pay, and the plan says so."""
    own = (
        method
        if "name" in method
        else {"name": "instant-soup", "denoisers": 2, "lookahead_steps": 1, **method}
    )
    asked = soup.Recipe.parse({**mini_recipe, "method": own, "budget": 1.5})
    record = soup.run(asked, soup.Store(tmp_path))
    draw, full = record.cost.draw, record.cost.full_fine_tune
    assert "train" not in record.cost.train
    assert sum(cost.steps for cost in draw.values()) == 18
    assert full.steps == 12
    validation = record.cost.train["select"].passes / full.passes
    assert record.cost.multiple_of_T == pytest.approx(1.5 + validation)

    task = running.build(asked)
    planned, _ = rehearse(asked, Sizes.of(task))
    assert {purpose: cost.steps for purpose, cost in planned.bill.items()} == {
        purpose: cost.steps for purpose, cost in draw.items()
    }


# what a recipe spells out


def test_a_recipe_of_a_runs_folder_builds_what_the_run_had(
    tiny_clip: Path, tmp_path: Path
) -> None:
    """The column of labels is spelled out there as its default, which on images means the data's own."""
    pixel = BytesIO()
    Image.new("RGB", (16, 16)).save(pixel, "png")
    images = [{"bytes": pixel.getvalue()}] * 8
    for split in ("train", "test"):
        table = pa.table(
            {"img": images, "coarse_label": [0] * 8, "fine_label": [0, 1] * 4}
        )
        pq.write_table(table, tmp_path / f"{split}.parquet")
    recipe = soup.Recipe.parse(
        {
            "task": {"name": "vision/cifar100", "model": str(tiny_clip)},
            "data": {"folder": str(tmp_path)},
            "method": {"name": "magnitude"},
            "sparsity": 0.5,
        }
    )
    again = soup.Recipe.parse(recipe.model_dump(mode="json"))
    assert again.key == recipe.key
    for asked in (recipe, again):
        targets = running.build(asked).course.test.targets
        assert targets is not None
        assert targets.tolist() == [0, 1] * 4


# kills

KILLED: dict[str, tuple[dict[str, Any], int]] = {
    "instant-soup": ({}, 10),
    "instant-soup, continued": ({"finish": "continue", "blend": "union"}, 10),
    "lth": (LTH, 5),
    "early-bird": (
        {"name": "early-bird", "check": 0.1, "queue": 3, "finish": "continue"},
        5,
    ),
    "instant-model-soup": (
        {"name": "instant-model-soup", "ingredients": 2, "lookahead_steps": 3, "grid": 2},
        5,
    ),
}


def test_killed_at_random_moments_a_run_ends_with_the_same_ticket(
    mini_recipe: dict[str, Any], tmp_path: Path
) -> None:
    """SIGKILL, then the same again; each time the ticket, the weights and the bill of a run left alone."""
    plans = {}
    for name, (method, kills) in KILLED.items():
        own = method if "name" in method else {**mini_recipe["method"], **method}
        plans[name] = ({**mini_recipe, "method": own}, kills)
    (tmp_path / "recipes.json").write_text(json.dumps(plans), encoding="utf-8")
    done = subprocess.run(
        [
            sys.executable,
            str(KILLER),
            str(tmp_path),
            str(random.Random("killer").randrange(2**31)),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    outcomes = json.loads(done.stdout.splitlines()[-1])
    assert {name: outcome["differences"] for name, outcome in outcomes.items()} == {
        name: [] for name in KILLED
    }
    for name, (_, kills) in KILLED.items():
        assert outcomes[name]["kills"] == kills
        assert outcomes[name]["places"] >= 3, (
            "the kills came too early or too late to interrupt anything"
        )
