"""Encoder-decoders that read their answer at the end of a text."""

from __future__ import annotations

from pathlib import Path

import pytest

import instant_soup as soup
from instant_soup.core.errors import DataError
from instant_soup.models.ends import end_read_at
from instant_soup.tasks import CourseTask

from . import zoo

WORDS = ("good film", "bad film", "a very good plot", "a very bad plot")


def task(model: Path, *further: str) -> CourseTask:
    texts = [*WORDS, *further]
    rows = [{"text": texts[i % len(texts)], "label": i % 2} for i in range(40)]
    return soup.tasks.text(
        "x", model=str(model), data=rows, columns=("text",), regime=soup.Regime(batch=4, steps=1),
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["bart", "bert", "llama", "mt5", "t5"])
def test_the_end_is_known_of_those_that_need_it(kind: str) -> None:
    needs = kind in zoo.PAIRS
    assert end_read_at(zoo.classifier(kind)) == (zoo.END if needs else None)


@pytest.mark.parametrize("kind", ["bart", "t5"])
def test_a_tokenizer_that_puts_no_end_is_named_before_anything_is_trained(
    kind: str, tmp_path: Path
) -> None:
    folder = zoo.text(tmp_path, kind, num_labels=2)
    learner = task(folder).learner(soup.Meter())
    learner.train(1)

    zoo.tokenizer(pad=True, end=False).save_pretrained(folder)
    with pytest.raises(
        DataError,
        match=r"the tokenizer of model '.*', a \w+, puts no '</s>' at the end of a text.*take the tokenizer that the",
    ):
        task(folder)


def test_a_text_with_an_end_in_its_midst_is_named(tmp_path: Path) -> None:
    folder = zoo.text(tmp_path, "t5", num_labels=2)
    with pytest.raises(
        DataError,
        match=r"text \d+ of the training split.* has '</s>' 2 times, and others have it 1 times.*leave the row out",
    ):
        task(folder, "good </s> film")


def test_an_end_that_pads_is_no_end(tmp_path: Path) -> None:
    folder = zoo.text(tmp_path, "t5", num_labels=2, pad_token_id=zoo.END)
    tokenizer = zoo.tokenizer(pad=False, end=True)
    tokenizer.pad_token = "</s>"  # noqa: S105 - no password
    tokenizer.save_pretrained(folder)
    with pytest.raises(
        DataError, match=r"pads texts with '</s>', at which the model reads"
    ):
        task(folder)
