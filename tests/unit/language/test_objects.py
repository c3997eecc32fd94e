"""A language model and rows that are in memory already make the same task as their files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from datasets import Dataset
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

from instant_soup.core.errors import DataError
from instant_soup.methods import METHODS
from instant_soup.models import tiny_decoders
from instant_soup.tasks import language

from .conftest import quick

TABLES: dict[str, Callable[[list[dict[str, str]]], Any]] = {
    "list of rows": lambda rows: rows,
    "DataFrame": pd.DataFrame,
    "Dataset": Dataset.from_list,
}


def rows_of(folder: Path, split: str) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = pq.read_table(folder / f"{split}.parquet").to_pylist()
    return rows


def of(model: Any, data: Any, **more: Any) -> Any:
    return language("mine", model=model, data=data, window=32, regime=quick(), **more)


@pytest.mark.parametrize("kind", TABLES)
def test_objects_make_the_task_that_their_files_make(
    kind: str, decoder_folder: Path, letters: Path
) -> None:
    by_name = of(decoder_folder, letters)
    model = AutoModelForCausalLM.from_pretrained(decoder_folder)
    tokenizer = AutoTokenizer.from_pretrained(decoder_folder)
    train, test = (TABLES[kind](rows_of(letters, split)) for split in ("train", "test"))

    for data, apart in (({"train": train, "test": test}, None), (train, test)):
        by_object = of(model, data, test=apart, tokenizer=tokenizer)
        assert by_object.course.base == by_name.course.base
        for split in ("train", "validation", "test"):
            tokens = getattr(by_object.course, split).tokens
            assert torch.equal(tokens, getattr(by_name.course, split).tokens)

    ticket = METHODS["wanda"](samples=4).draw(by_object, 0.5)
    assert ticket.mask == METHODS["wanda"](samples=4).draw(by_name, 0.5).mask
    # the caller's own is left as it was
    for name, weight in model.named_parameters():
        assert torch.equal(weight, dict(by_name.course.model.named_parameters())[name])


def test_what_does_not_fit_is_one_sentence(llama: Path, letters: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(llama)
    tokenizer = AutoTokenizer.from_pretrained(llama)
    train = rows_of(letters, "train")
    for words, given, data, more in (
        ("is one table, which is learned from", model, train, {}),
        ("no column 'text'", model, [{"texts": "soup"}], {"test": letters}),
        ("is no text; expected a text a row", model, [{"text": 1}], {"test": letters}),
        ("model is a Linear", torch.nn.Linear(2, 2), letters, {}),
        ("without a head", AutoModel.from_pretrained(llama), letters, {}),
        ("tokenizer is a str", model, letters, {"tokenizer": "mine"}),
        ("which brings its own", str(llama), letters, {"tokenizer": tokenizer}),
    ):
        with pytest.raises(DataError, match=words):
            of(given, data, **more)


def test_a_model_that_came_from_nowhere_needs_its_tokenizer(
    llama: Path, letters: Path, tmp_path: Path
) -> None:
    loaded = AutoModelForCausalLM.from_pretrained(llama)
    model = type(loaded)(loaded.config)
    model.name_or_path = ""
    with pytest.raises(DataError, match="give its tokenizer, too"):
        of(model, letters)
    tokenizer = AutoTokenizer.from_pretrained(tiny_decoders.llama(tmp_path / "other"))
    assert of(model, letters, tokenizer=tokenizer).course.base.name == "LlamaForCausalLM"
