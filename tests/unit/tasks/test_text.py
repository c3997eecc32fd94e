from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import instant_soup as soup
from instant_soup.data.text import GLUE_TASKS
from instant_soup.models import tiny


def test_the_packaged_demo_has_the_scope_of_its_encoder() -> None:
    task = soup.tasks.text("demo/polarity")
    names = list(task.course.scope)
    assert len(names) == 6 * 6
    assert task.course.scope.size == 6 * (4 * 384 * 384 + 2 * 384 * 1536)
    assert not any(
        "embed" in name or "pooler" in name or "classifier" in name for name in names
    )
    assert task.course.fresh == {"classifier.weight", "classifier.bias"}


def test_the_pooler_is_pruned_only_where_it_is_asked_for(
    tiny_bert: Path, tiny_text: Path
) -> None:
    without, with_it = (
        soup.tasks.text(
            "mini",
            model=str(tiny_bert),
            data=tiny_text,
            columns=("sentence",),
            pooler=pooler,
        ).course.scope
        for pooler in (False, True)
    )
    assert set(with_it) - set(without) == {"bert.pooler.dense.weight"}


def test_runs_of_one_seed_start_from_one_head_and_of_two_seeds_from_two(
    tiny_bert: Path, tiny_text: Path
) -> None:
    def head(seed: int) -> torch.Tensor:
        task = soup.tasks.text(
            "mini", model=str(tiny_bert), data=tiny_text, columns=("sentence",), seed=seed
        )
        return task.learner(soup.Meter()).weights()["classifier.weight"]

    assert torch.equal(head(0), head(0))
    assert not torch.equal(head(0), head(1))


def test_what_is_compared_sees_the_same_split_whatever_the_seed(
    tiny_bert: Path, tiny_text: Path
) -> None:
    first, second = (
        soup.tasks.text(
            "mini", model=str(tiny_bert), data=tiny_text, columns=("sentence",), seed=seed
        ).course.validation
        for seed in (0, 1)
    )
    assert torch.equal(
        first.batch([0, 1])["input_ids"], second.batch([0, 1])["input_ids"]
    )


def test_scores_are_regressed(tiny_bert: Path, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table(
        {
            "a": ["good film", "bad plot"] * 12,
            "b": ["film", "plot"] * 12,
            "label": [5.0, 0.5] * 12,
        }
    )
    for split in ("train", "validation"):
        pq.write_table(table, tmp_path / f"{split}.parquet")
    regime = soup.Regime(steps=30, batch=8, rate=3e-3, precision="float32")
    task = soup.tasks.text(
        "mini", model=str(tiny_bert), data=tmp_path, columns=("a", "b"), regime=regime
    )
    result = soup.evaluate(soup.OneShot().draw(task, 0.3), task)
    assert set(result.test) == {"pearson", "spearman"}
    assert result.test["pearson"] > 0.9


@pytest.mark.parametrize("loaded", [False, True])
def test_a_head_that_knows_more_numbers_than_the_rows_is_kept(
    tiny_bert: Path, tmp_path: Path, loaded: bool
) -> None:
    """No row of class 1: a new head for two classes would throw away what the head has learned."""
    tuned = AutoModelForSequenceClassification.from_pretrained(tiny_bert, num_labels=3)
    tuned.save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    tokenizer.save_pretrained(tmp_path)
    given = {"model": tuned, "tokenizer": tokenizer} if loaded else {"model": tmp_path}
    table = [{"text": ("film", "plot")[i % 2], "label": 2 * (i % 2)} for i in range(20)]

    with pytest.warns(
        UserWarning, match="tells 3 classes apart, and .* no row of 1; the"
    ):
        task = soup.tasks.text("mine", data=table, columns=("text",), **given)
    assert task.course.classes == ("0", "1", "2")
    assert not task.course.fresh or loaded
    assert set(task.course.train.targets.tolist()) == {0, 2}
    weights = task.learner(soup.Meter()).weights()["classifier.weight"]
    assert torch.equal(weights, tuned.classifier.weight)


def test_numbers_with_a_gap_make_no_empty_class(tiny_bert: Path) -> None:
    table = [{"text": ("film", "plot")[i % 2], "label": (2, 5)[i % 2]} for i in range(20)]
    task = soup.tasks.text("mine", data=table, columns=("text",), model=tiny_bert)
    assert task.course.classes == ("2", "5")
    assert task.learner(soup.Meter()).weights()["classifier.weight"].shape[0] == 2


def long_texts(cut: int, whole: int) -> list[dict[str, object]]:
    """So many texts of 30 words and of 2 words, with classes in turn."""
    texts = [f"{('good', 'bad')[i % 2]} " + "film " * 29 for i in range(cut)]
    texts += [f"{('good', 'bad')[i % 2]} plot" for i in range(whole)]
    return [{"text": text, "label": i % 2} for i, text in enumerate(texts)]


def test_a_task_that_cuts_many_texts_says_how_many_and_how_to_have_them_whole(
    tiny_bert: Path,
) -> None:
    splits = {"train": long_texts(50, 150), "test": long_texts(0, 20)}
    with pytest.warns(UserWarning, match="are cut off|cut off there") as warned:
        task = soup.tasks.text(
            "mine",
            data=splits,
            columns=("text",),
            model=tiny_bert,
            max_length=8,
            validation=0.01,
        )
    (warning,) = warned
    share = task.course.train.truncation.share  # type: ignore[attr-defined]
    for words in (
        f"{share:.0%} of the texts to train on are longer than 8 tokens",
        "the longest has 32",
        "set data.max_length (in Python max_length=) higher",
    ):
        assert words in str(warning.message)
    assert share == pytest.approx(0.25, abs=0.01)
    assert task.content.endswith(
        f"{share:.1%} of the texts to train on are cut at 8 tokens (data.max_length), the longest has 32"
    )


def test_a_model_without_room_for_more_is_no_matter_of_the_setting(
    tiny_bert: Path,
) -> None:
    table = [{"text": "film " * (300 + i % 2), "label": i % 2} for i in range(40)]
    with pytest.warns(
        UserWarning, match="longest has 303: .*; the model has no place for"
    ):
        soup.tasks.text(
            "mine", data=table, columns=("text",), model=tiny_bert, max_length=1000
        )


def test_a_task_that_cuts_no_text_or_one_in_a_hundred_does_not_warn(
    tiny_bert: Path,
) -> None:
    for cut, words in ((0, "no text is longer than 8 tokens"), (1, "0.5% of the texts")):
        splits = {"train": long_texts(cut, 200 - cut), "test": long_texts(0, 20)}
        splits["validation"] = long_texts(0, 20)
        task = soup.tasks.text(
            "mine", data=splits, columns=("text",), model=tiny_bert, max_length=8
        )
        assert words in task.content


@pytest.mark.shared
@pytest.mark.filterwarnings("ignore:.* of the texts to train on are longer")
@pytest.mark.parametrize("name", ["cola", "sst2", "rte", "stsb"])
def test_real_glue_loads_from_a_folder_with_its_own_metric(
    name: str, shared: Path
) -> None:
    task = soup.tasks.text(f"glue/{name}", data=shared / "data" / "glue" / name, limit=64)
    assert len(task.course.train) + len(task.course.validation) == 64
    with torch.no_grad():
        figures = task.course.metric(
            *task.course.predict(
                task.course.model, task.course.validation.batch(range(6))
            )
        )
    assert tuple(figures) == GLUE_TASKS[f"glue/{name}"].metrics
    assert all(-1 <= value <= 1 for value in figures.values())
    assert -1 <= task.learner(soup.Meter()).evaluate() <= 1


@pytest.mark.shared
def test_bert_learns_real_acceptability_better_than_chance(shared: Path) -> None:
    """A short fine-tune on real CoLA moves the loss: model, data and metric fit together."""
    regime = soup.Regime(steps=40, rate=1e-4, precision="float32")
    task = soup.tasks.text(
        "glue/sst2", data=shared / "data" / "glue" / "sst2", limit=2000, regime=regime
    )
    result = soup.evaluate(soup.Dense().draw(task), task)
    assert result.test["accuracy"] > 0.65


def _with_head_in_another_order(folder: Path, names: list[str], order: list[int]) -> Path:
    """The checkpoint in *folder* with the rows of its head in another order, and its classes called by *names*."""
    model = AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=len(names)
    )
    with torch.no_grad():
        for parameter in model.classifier.parameters():
            parameter.copy_(parameter[order].clone())
    model.config.id2label = {place: names[number] for place, number in enumerate(order)}
    model.config.label2id = {name: place for place, name in model.config.id2label.items()}

    out = folder.with_name(f"{folder.name}-{'-'.join(map(str, order))}")
    model.save_pretrained(out)
    AutoTokenizer.from_pretrained(folder).save_pretrained(out)
    return out


@pytest.fixture(scope="module")
def three_classes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    """A checkpoint with a head for three classes, and a table whose labels are what the head says of the texts."""
    folder = tiny.bert(tmp_path_factory.mktemp("three"))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=3)
        torch.nn.init.normal_(model.classifier.weight)
    model.config.id2label = dict(enumerate(["air", "rail", "sea"]))
    model.config.label2id = {"air": 0, "rail": 1, "sea": 2}
    model.save_pretrained(folder)

    words = ["good", "bad", "film", "plot", "the", "a", "is", "was", "very"]
    texts = [f"{first} {second}" for first in words for second in words]
    tokens = AutoTokenizer.from_pretrained(folder)(
        texts, padding=True, return_tensors="pt"
    )
    with torch.no_grad():
        logits = model.eval()(**tokens).logits
    # around the middle, so that every class is said of some texts
    guesses = (logits - logits.mean(0)).argmax(1)
    with torch.no_grad():
        model.classifier.bias -= logits.mean(0)
    model.save_pretrained(folder)

    ways = [("air", "rail", "sea")[number] for number in guesses.tolist()]
    assert set(ways) == {"air", "rail", "sea"}
    return folder, pd.DataFrame({"text": texts, "way": ways})


def _accuracy_of_start(task: soup.tasks.CourseTask) -> float:
    """How often the model is right before it is trained."""
    course = task.course
    outputs, targets = course.predict(
        course.model.eval(), course.test.batch(range(len(course.test)))
    )
    return course.metric(outputs, targets)["accuracy"]


def _ways(model: Path, table: pd.DataFrame) -> soup.tasks.CourseTask:
    return soup.tasks.text(
        "ways",
        model=model,
        data={"train": table, "test": table},
        columns=("text",),
        label="way",
    )


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1], [1, 0, 2]])
def test_a_head_is_read_in_the_order_in_which_it_knows_its_classes(
    order: list[int], three_classes: tuple[Path, pd.DataFrame]
) -> None:
    folder, table = three_classes
    names = ["air", "rail", "sea"]
    model = _with_head_in_another_order(folder, names, order)
    task = _ways(model, table)

    assert task.course.classes == tuple(names[number] for number in order)
    assert _accuracy_of_start(task) == 1


def test_classes_are_those_of_the_data_where_the_head_states_others(
    three_classes: tuple[Path, pd.DataFrame],
) -> None:
    folder, table = three_classes
    model = _with_head_in_another_order(folder, ["air", "road", "sea"], [2, 0, 1])
    with pytest.warns(UserWarning, match="other names, air, rail, sea"):
        task = _ways(model, table)
    assert task.course.classes == ("air", "rail", "sea")


def test_f1_is_that_of_the_class_that_the_data_counts_as_1(
    tiny_bert: Path, tmp_path: Path
) -> None:
    rows = [{"text": f"the film is {word}", "y": word} for word in ["bad", "good"] * 20]
    apart = {"train": rows, "test": rows[:8]}
    of_order = []
    for order in ([0, 1], [1, 0]):
        model = _with_head_in_another_order(tiny_bert, ["bad", "good"], order)
        task = soup.tasks.text(
            "r", model=model, data=apart, columns=("text",), label="y", metrics=("f1",)
        )
        # good is said of all: a precision of a half, and all that are good
        outputs = torch.zeros(8, 2)
        outputs[:, task.course.classes.index("good")] = 1
        of_order.append(
            task.course.metric(outputs, task.course.test.batch(range(8))["labels"])
        )
    assert of_order[0] == of_order[1] == {"f1": pytest.approx(2 / 3)}


def test_a_head_for_the_very_classes_of_a_table_without_a_test_split_is_warned_of(
    tiny_bert: Path,
) -> None:
    rows = [{"text": f"the film is {word}", "y": word} for word in ["bad", "good"] * 20]
    model = _with_head_in_another_order(tiny_bert, ["bad", "good"], [0, 1])
    options = {"columns": ("text",), "label": "y"}

    with pytest.warns(UserWarning, match="knows the classes of this data already"):
        soup.tasks.text("r", model=model, data=rows, **options)
    # an error here would be that warning
    soup.tasks.text("r", model=model, data={"train": rows, "test": rows}, **options)
    soup.tasks.text("r", model=tiny_bert, data=rows, **options)


def test_a_head_for_as_many_classes_of_other_names_is_kept_and_warned_of(
    tiny_bert: Path,
) -> None:
    rows = [{"text": f"the film is {word}", "y": word} for word in ["bad", "good"] * 20]
    options = {"columns": ("text",), "label": "y", "data": {"train": rows, "test": rows}}
    model = _with_head_in_another_order(tiny_bert, ["cat", "dog"], [1, 0])

    with pytest.warns(
        UserWarning, match="tells dog, cat apart, .* other names, bad, good"
    ):
        task = soup.tasks.text("r", model=model, **options)
    assert not task.course.fresh
    assert task.course.classes == ("bad", "good")

    # numbers may be those of any classes
    numbered = [{**row, "y": int(row["y"] == "good")} for row in rows]
    tables = {"train": numbered, "test": numbered}
    soup.tasks.text("r", model=model, **{**options, "data": tables})
