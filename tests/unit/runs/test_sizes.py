"""Sizes: what a benchmark holds, known without loading it, and the same when it is loaded."""

from __future__ import annotations

from math import ceil
from typing import Any

import pytest
from datasets import Dataset

from instant_soup.core.budget import Cost, Meter
from instant_soup.core.task import Sample
from instant_soup.data.source import Tables
from instant_soup.data.splitting import cut
from instant_soup.recipes.recipe import Recipe
from instant_soup.runs.sizes import Sizes
from instant_soup.tasks import TASKS, CourseTask

HUB = [name for name, spec in TASKS.items() if spec.sizes]


def recipe(name: str, **changes: Any) -> Recipe:
    task = {"name": name, "model": "a model"} | changes.pop("task", {})
    return Recipe.parse(
        {"task": task, "method": {"name": "dense"}, "sparsity": 0, **changes}
    )


def known(asked: Recipe) -> Sizes:
    sizes = Sizes.known(asked)
    assert sizes is not None
    return sizes


# of benchmarks


def test_all_fifteen_benchmarks_of_the_hub_are_known() -> None:
    assert len(HUB) == 15
    assert {name for name in HUB if Sizes.known(recipe(name)) is None} == set()


@pytest.mark.parametrize(
    ("name", "train", "test", "groups"),
    [
        ("glue/cola", 8551, 1043, 2),
        ("glue/mnli", 392702, 9815, 3),
        ("glue/stsb", 5749, 1500, 10),
        ("vision/mnist", 60000, 10000, 10),
        ("vision/cars", 8144, 8041, 196),
    ],
)
def test_the_sizes_are_those_of_the_published_sets(
    name: str, train: int, test: int, groups: int
) -> None:
    sizes = known(recipe(name))
    assert (sizes.train + sizes.validation, sizes.test, sizes.groups) == (
        train,
        test,
        groups,
    )


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"limit": 1000},
        {"validation": 0.33},
        {"limit": 2},
        {"limit": 10**9, "validation": 0.015},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["glue/rte", "glue/wnli", "vision/cars"])
def test_the_splits_are_as_large_as_the_real_cut_makes_them(
    name: str, data: dict[str, Any]
) -> None:
    asked, spec = recipe(name, data=data), TASKS[name]
    assert spec.sizes is not None
    train, test = (Dataset.from_dict({"row": range(size)}) for size in spec.sizes)
    real = cut(
        Tables(train, test=test),
        validation=asked.data.validation,
        limit=asked.data.limit,
        origin=name,
    )
    sizes = known(asked)
    assert (sizes.train, sizes.validation, sizes.test) == (
        len(real.train),
        len(real.validation),
        len(real.test),
    )


@pytest.mark.parametrize(
    ("training", "horizon"),
    [
        ({"batch": 32, "epochs": 3.0}, 3 * 241),
        ({"batch": 32, "epochs": 0.5}, 120),
        ({"batch": 7, "epochs": 2.0}, 2 * 1100),
        ({"steps": 77}, 77),
    ],
    ids=str,
)
def test_t_is_so_many_epochs_of_what_is_left_to_train_on(
    training: dict[str, Any], horizon: int
) -> None:
    """CoLA: 8551 rows, of which 855 are cut out to choose by."""
    sizes = known(recipe("glue/cola", training=training))
    assert sizes.train == 7696
    assert sizes.horizon == horizon
    assert sizes.epoch == ceil(7696 / training.get("batch", 32))


@pytest.mark.parametrize(
    "asked",
    [
        recipe("glue/cola", data={"folder": "somewhere"}),
        recipe("demo/polarity", task={"model": "packaged"}),
        recipe("of my own", task={"columns": ["text"]}),
        recipe("of my own", task={"kind": "images"}),
        recipe("glue/cola", data={"limit": 2, "validation": 0.9}),
    ],
    ids=["folder", "packaged", "text", "images", "nothing to train on"],
)
def test_where_the_table_does_not_say_the_data_has_to_be_loaded(asked: Recipe) -> None:
    assert Sizes.known(asked) is None


# of what is loaded


def test_the_sizes_of_a_loaded_task_are_counted(mini: CourseTask) -> None:
    assert Sizes.of(mini) == Sizes(
        "mini", horizon=12, batch=8, train=72, validation=24, test=32, groups=2
    )


def test_an_epoch_is_as_long_as_the_learner_says(mini: CourseTask) -> None:
    assert Sizes.of(mini).epoch == mini.learner(Meter()).epoch == 9


def test_the_groups_are_those_that_samples_are_drawn_from(mini: CourseTask) -> None:
    meter = Meter()
    mini.learner(meter).gradient(Sample(per_class=3))
    assert meter.spent.examples == 3 * Sizes.of(mini).groups


# T as a cost


@pytest.mark.parametrize(
    ("horizon", "examples"),
    [(1, 8), (2, 16), (3, 20), (4, 28), (6, 40), (7, 48)],
)
def test_t_counts_every_example_of_whole_epochs_and_full_batches_beyond(
    horizon: int, examples: int
) -> None:
    """20 examples are two batches of 8 and one of 4."""
    sizes = Sizes(
        "name", horizon=horizon, batch=8, train=20, validation=5, test=5, groups=2
    )
    assert sizes.full == Cost(horizon, examples, 3 * examples)


def test_t_is_what_a_full_fine_tune_is_charged(mini: CourseTask) -> None:
    meter = Meter()
    mini.learner(meter).train(mini.horizon)
    full = Sizes.of(mini).full
    assert (meter.spent.steps, meter.spent.examples, meter.spent.passes) == (
        full.steps,
        full.examples,
        full.passes,
    )
