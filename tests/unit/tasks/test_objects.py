"""Models and tables that are in memory already make the same tasks as their files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from datasets import Dataset
from torch import nn
from transformers import (
    AutoImageProcessor,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    CLIPModel,
    CLIPProcessor,
)

import instant_soup as soup
from instant_soup.core.errors import DataError, TicketError, UnknownName
from instant_soup.tasks import CourseTask

ROWS = [
    {
        "words": f"the {('film', 'plot')[i % 3 % 2]} is {('bad', 'good')[i % 2]}",
        "y": i % 2,
    }
    for i in range(40)
]


@pytest.fixture
def bert_object(tiny_bert: Path) -> Any:
    return AutoModelForSequenceClassification.from_pretrained(tiny_bert, num_labels=2)


def of_text(model: Any, data: Any = ROWS, **more: Any) -> CourseTask:
    return soup.tasks.text(
        "reviews", model=model, data=data, columns=("words",), label="y", **more
    )


TABLES: dict[str, Callable[[Path], Any]] = {
    "DataFrame": lambda _: pd.DataFrame(ROWS),
    "Dataset": lambda _: Dataset.from_list(ROWS),
    "list of rows": lambda _: ROWS,
    "path": lambda folder: folder / "rows.csv",
    "text": lambda folder: str(folder / "rows.csv"),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_read_as_its_file_is(
    name: str, tiny_bert: Path, tmp_path: Path
) -> None:
    pd.DataFrame(ROWS).to_csv(tmp_path / "rows.csv", index=False)
    course = of_text(tiny_bert, TABLES[name](tmp_path)).course
    expected = of_text(str(tiny_bert), tmp_path / "rows.csv").course

    for part in ("train", "validation", "test"):
        ours, theirs = getattr(course, part), getattr(expected, part)
        whole = range(len(theirs))
        assert len(ours) == len(theirs)
        for key, values in theirs.batch(whole).items():
            assert torch.equal(ours.batch(whole)[key], values)


def test_a_loaded_model_makes_the_task_that_its_folder_makes(
    tiny_bert: Path, bert_object: Any
) -> None:
    of_object, of_folder = of_text(bert_object).course, of_text(tiny_bert).course

    assert of_object.base == of_folder.base
    assert of_object.scope == of_folder.scope
    assert of_object.fresh == of_folder.fresh
    assert of_object.model.config.pad_token_id == of_folder.model.config.pad_token_id


def test_a_ticket_of_an_object_records_the_weights_that_it_had(
    tiny_bert: Path, bert_object: Any
) -> None:
    saved = of_text(tiny_bert)
    with torch.no_grad():
        bert_object.bert.encoder.layer[0].output.dense.weight[0, 0] += 1

    changed = of_text(bert_object)
    ticket = soup.OneShot().draw(changed, 0.5)
    assert ticket.base == changed.course.base != saved.course.base
    assert soup.evaluate(ticket, changed).cost.steps > 0
    with pytest.raises(TicketError, match="are others"):
        soup.evaluate(ticket, saved)


def test_an_object_is_copied_and_keeps_its_own_head(bert_object: Any) -> None:
    bert_object.half()
    before = {name: value.clone() for name, value in bert_object.state_dict().items()}
    task = of_text(bert_object, regime=soup.Regime(steps=3, batch=4, precision="float32"))
    head = task.course.model.classifier.weight
    assert torch.equal(head, bert_object.classifier.weight.float())

    ticket = soup.InstantSoup(rounds=1, denoisers=1, lookahead_steps=1).draw(task, 0.5)
    soup.evaluate(ticket, task)
    for name, value in bert_object.state_dict().items():
        assert value.dtype == before[name].dtype
        assert torch.equal(value, before[name])


def test_a_model_without_a_folder_is_called_by_its_class_and_needs_its_tokenizer(
    tiny_bert: Path,
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    config = BertConfig.from_pretrained(tiny_bert)
    model = BertForSequenceClassification(config)

    task = of_text(model, tokenizer=tokenizer)
    assert task.course.base.name == "BertForSequenceClassification"
    with pytest.raises(DataError, match=r"give its tokenizer, too: tokenizer=\.\.\."):
        of_text(model)


def test_what_is_no_classifier_of_the_data_is_refused_in_one_sentence(
    tiny_bert: Path, bert_object: Any
) -> None:
    with pytest.raises(DataError, match="has a head for 2 labels, and the data has 3"):
        of_text(bert_object, [row | {"y": i % 3} for i, row in enumerate(ROWS)])
    with pytest.raises(DataError, match="model is a BertModel, which classifies no text"):
        of_text(BertModel.from_pretrained(tiny_bert))
    with pytest.raises(DataError, match=r"model is a Linear.* soup\.tasks\.module"):
        of_text(nn.Linear(2, 2))
    with pytest.raises(DataError, match="tokenizer is a int"):
        of_text(bert_object, tokenizer=3)
    with pytest.raises(DataError, match="which brings its own; leave tokenizer out"):
        of_text(tiny_bert, tokenizer=AutoTokenizer.from_pretrained(tiny_bert))


def test_a_tokenizer_of_another_model_is_refused(
    tiny_bert: Path, bert_object: Any
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    tokenizer.add_tokens(["surplus", "superfluous"])
    with pytest.raises(DataError, match=r"has a token \d+ and model .* from 0 on"):
        of_text(bert_object, tokenizer=tokenizer)


@pytest.mark.parametrize("own_processor", [True, False])
def test_a_loaded_clip_makes_the_task_that_its_folder_makes(
    tiny_clip: Path, tiny_images: Path, own_processor: bool
) -> None:
    model = CLIPModel.from_pretrained(tiny_clip)
    processor = CLIPProcessor.from_pretrained(tiny_clip) if own_processor else None
    ours = soup.tasks.image("x", model=model, data=tiny_images, processor=processor)
    theirs = soup.tasks.image("x", model=tiny_clip, data=tiny_images)

    assert ours.course.base == theirs.course.base
    assert ours.course.classes == theirs.course.classes
    assert torch.equal(ours.course.model.head, theirs.course.model.head)
    some = ours.course.test.batch([0, 7])["pixel_values"]
    assert torch.equal(some, theirs.course.test.batch([0, 7])["pixel_values"])


def test_a_loaded_image_classifier_makes_the_task_that_its_folder_makes(
    tiny_vit: Path, tiny_images: Path
) -> None:
    model = AutoModelForImageClassification.from_pretrained(tiny_vit, num_labels=3)
    pixels = AutoImageProcessor.from_pretrained(tiny_vit, backend="pil")
    ours = soup.tasks.image("x", model=model, data=tiny_images, processor=pixels)
    theirs = soup.tasks.image("x", model=tiny_vit, data=tiny_images)

    assert (ours.course.base, ours.course.fresh) == (
        theirs.course.base,
        theirs.course.fresh,
    )
    with pytest.raises(DataError, match="processor is a str; expected one from"):
        soup.tasks.image("x", model=model, data=tiny_images, processor="vit")  # type: ignore[arg-type]
    small = AutoModelForImageClassification.from_pretrained(tiny_vit, num_labels=2)
    with pytest.raises(DataError, match="has a head for 2 classes, and the data has 3"):
        soup.tasks.image("x", model=small, data=tiny_images)


def test_a_task_of_ones_own_without_columns_is_told_to_name_them(tiny_bert: Path) -> None:
    with pytest.raises(UnknownName, match=r"name the columns of its texts: columns="):
        soup.tasks.text("reviews", model=tiny_bert, data=ROWS)


def test_a_task_says_what_it_holds_in_one_line(tiny_bert: Path) -> None:
    task = of_text(tiny_bert)
    assert repr(task) == (
        f"CourseTask('reviews', model={str(tiny_bert)!r}, 29 examples to train on, 3 to choose by, 8 to test on, "
        "2 classes: 0, 1)"
    )
