"""Image tasks: a name, a model and a folder become a course."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoImageProcessor, AutoModelForImageClassification

import instant_soup as soup
from instant_soup.core.errors import DataError, UnknownName
from instant_soup.data.images import IMAGE_TASKS
from instant_soup.data.known_texts import LANGUAGE_TASKS
from instant_soup.data.text import GLUE_TASKS
from instant_soup.models import clip
from instant_soup.tasks import DEMO, TASKS, CourseTask

TEMPLATES = (
    "a photo of a {}.",
    "a small picture of a {}.",
    "an image of one {}.",
    "this is a {}.",
)


@pytest.fixture(scope="module")
def vit_task(tiny_vit: Path, tiny_images: Path, quick_regime: soup.Regime) -> CourseTask:
    return soup.tasks.image(
        "mini images",
        model=str(tiny_vit),
        data=tiny_images,
        regime=quick_regime,
        validation=0.25,
    )


def test_every_task_has_a_name_and_sizes() -> None:
    assert set(TASKS) == {DEMO, *GLUE_TASKS, *IMAGE_TASKS, *LANGUAGE_TASKS}
    assert all(
        spec.sizes and min(spec.sizes) > 0
        for name, spec in TASKS.items()
        if name not in {DEMO, *LANGUAGE_TASKS}
    )


def test_a_clip_gets_a_frozen_head_and_nothing_fresh(mini_clip_task: CourseTask) -> None:
    course = mini_clip_task.course
    assert isinstance(course.model, clip.Classifier)
    assert course.model.head.shape == (3, 16)
    assert course.fresh == frozenset()
    assert course.name == "mini images"
    assert (len(course.train), len(course.validation), len(course.test)) == (72, 24, 32)


def test_another_classifier_gets_a_new_head(vit_task: CourseTask) -> None:
    assert vit_task.course.fresh == {"classifier.weight", "classifier.bias"}
    assert vit_task.course.model.classifier.weight.shape == (3, 32)


@pytest.mark.parametrize("fixture", ["mini_clip_task", "vit_task"])
def test_a_sparse_ticket_learns_what_is_easy(
    fixture: str, request: pytest.FixtureRequest
) -> None:
    task = request.getfixturevalue(fixture)
    ticket = soup.OneShot().draw(task, 0.5)
    assert ticket.mask.kept == round(0.5 * task.course.scope.size)
    assert soup.evaluate(ticket, task).test["accuracy"] > 0.9


def test_instant_soup_draws_a_ticket_from_a_clip_and_it_comes_back_from_its_file(
    mini_clip_task: CourseTask, tmp_path: Path
) -> None:
    method = soup.InstantSoup(denoisers=2, lookahead_steps=1, compression=0.25)
    ticket = method.draw(mini_clip_task, 0.7)
    ticket.save(tmp_path / "ticket.safetensors")
    again = soup.Ticket.load(tmp_path / "ticket.safetensors")
    assert again.mask == ticket.mask
    assert again.mask.kept == round(0.3 * mini_clip_task.course.scope.size)
    assert method.draw(mini_clip_task, 0.7).mask == ticket.mask


def test_training_leaves_the_head_alone(mini_clip_task: CourseTask) -> None:
    learner = mini_clip_task.learner(soup.Meter())
    learner.train(12)
    for kept in ("head", "scale"):
        assert torch.equal(
            getattr(learner._model.module, kept),
            getattr(mini_clip_task.course.model, kept),
        )
    assert not any(name in ("head", "scale") for name in learner.view())


def test_runs_of_two_seeds_start_from_two_heads_of_a_classifier_and_one_of_clip(
    tiny_vit: Path, tiny_clip: Path, tiny_images: Path
) -> None:
    first, other = (
        soup.tasks.image("x", model=str(tiny_vit), data=tiny_images, seed=seed)
        for seed in (0, 1)
    )
    assert not torch.equal(
        first.course.model.classifier.weight, other.course.model.classifier.weight
    )
    assert first.course.train.targets.equal(other.course.train.targets)
    first, other = (
        soup.tasks.image("x", model=str(tiny_clip), data=tiny_images, seed=seed)
        for seed in (0, 1)
    )
    assert torch.equal(first.course.model.head, other.course.model.head)


def test_words_and_templates_of_ones_own_make_the_head(
    tiny_clip: Path, tiny_images: Path
) -> None:
    def head(**how: tuple[str, ...]) -> torch.Tensor:
        return soup.tasks.image(
            "x", model=str(tiny_clip), data=tiny_images, **how
        ).course.model.head

    assert not torch.allclose(head(), head(templates=("{}",)))
    assert torch.equal(
        head(classes=("a", "b", "c"))[:2], head(classes=("a", "b", "d"))[:2]
    )
    with pytest.raises(
        DataError,
        match="2 class words for 3 classes; give one for each of blue, green, red",
    ):
        head(classes=("a", "b"))
    with pytest.raises(DataError, match="template 'no place' has 0 places"):
        head(templates=("no place",))


def test_words_of_a_benchmark_are_for_all_of_its_classes(
    tiny_clip: Path, tiny_images: Path
) -> None:
    with pytest.raises(DataError, match="10 class words for 3 classes"):
        soup.tasks.image("vision/mnist", model=str(tiny_clip), data=tiny_images)


def test_a_name_without_data_must_be_in_the_table(tiny_clip: Path) -> None:
    with pytest.raises(
        UnknownName, match=r"unknown task 'vision/cifar'; did you mean 'vision/cifar10"
    ):
        soup.tasks.image("vision/cifar", model=str(tiny_clip))


def test_a_model_that_does_not_exist_is_named(tiny_images: Path) -> None:
    with pytest.raises(DataError, match="could not load model '/nowhere'"):
        soup.tasks.image("x", model="/nowhere", data=tiny_images)


@pytest.mark.shared
@pytest.mark.parametrize("name", ["cifar10", "mnist"])
def test_a_real_clip_names_real_images_that_it_was_not_tuned_for(
    name: str, shared: Path
) -> None:
    """About 45 % on all of either test set; a few hundred images leave some 4 % of chance."""
    folder = shared / "data" / "images" / name
    task = soup.tasks.image(
        f"vision/{name}", model=str(shared / "models" / "mini-clip"), data=folder, limit=600, validation=0.9,
        templates=TEMPLATES,
    )  # fmt: skip
    assert task.learner(soup.Meter()).evaluate() == pytest.approx(0.45, abs=0.08)


@pytest.mark.shared
def test_a_real_clip_learns_real_digits_in_a_few_steps(shared: Path) -> None:
    losses: list[float | None] = []
    regime = soup.Regime(
        steps=24, batch=32, rate=3e-4, weight_decay=0.1, precision="float32"
    )
    task = soup.tasks.image(
        "vision/mnist", model=str(shared / "models" / "mini-clip"), data=shared / "data" / "images" / "mnist",
        limit=800, validation=0.25, regime=regime,
    )  # fmt: skip
    learner = task.learner(soup.Meter(watch=lambda pulse: losses.append(pulse.loss)))
    before = learner.evaluate()
    learner.train(24)
    seen = [loss for loss in losses if loss is not None]
    assert sum(seen[-4:]) < 0.8 * sum(seen[:4])
    assert learner.evaluate() > before + 0.1


def test_a_classifier_is_read_in_the_order_in_which_it_knows_its_classes(
    tiny_vit: Path, tiny_images: Path, tmp_path: Path
) -> None:
    model = AutoModelForImageClassification.from_pretrained(tiny_vit, num_labels=3)
    model.config.id2label = {0: "red", 1: "blue", 2: "green"}
    model.config.label2id = {"red": 0, "blue": 1, "green": 2}
    model.save_pretrained(tmp_path)
    AutoImageProcessor.from_pretrained(tiny_vit, backend="pil").save_pretrained(tmp_path)

    alphabetical = soup.tasks.image("x", model=tiny_vit, data=tiny_images).course
    ordered = soup.tasks.image("x", model=tmp_path, data=tiny_images).course
    assert alphabetical.classes == ("blue", "green", "red")
    assert ordered.classes == ("red", "blue", "green")

    whole = range(len(ordered.train))
    for name in ordered.classes:
        before = alphabetical.train.batch(whole)["labels"]
        after = ordered.train.batch(whole)["labels"]
        is_named = before == alphabetical.classes.index(name)
        assert is_named.any()
        assert torch.equal(is_named, after == ordered.classes.index(name))

    with pytest.warns(UserWarning, match="knows the classes of this data already"):
        soup.tasks.image("x", model=tmp_path, data=tiny_images / "train")
