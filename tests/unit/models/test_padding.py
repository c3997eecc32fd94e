"""Padding: what a model says of a text does not depend on the texts beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForSequenceClassification

from instant_soup.core.errors import DataError
from instant_soup.data.text import TextExamples, TextSpec
from instant_soup.models import padding, text
from instant_soup.models.classifier import predict

from . import zoo

SPEC = TextSpec(("text",), ("a", "b", "c"), ("accuracy",))
TEXTS = [
    "a very good film",
    "the film was not very good",
    "a bad plot is a bad film the plot was very very bad",
    "the plot is bad",
]


def examples_of(loaded: text.TextModel, texts: list[str]) -> TextExamples:
    rows = Dataset.from_dict({"text": texts, "label": [0] * len(texts)})
    return TextExamples(rows, SPEC, loaded.tokenizer, 16, one_length=loaded.one_length)


@torch.no_grad()
def logits(
    loaded: text.TextModel, examples: TextExamples, indices: list[int]
) -> torch.Tensor:
    return predict(loaded.model.eval(), examples.batch(indices))[0]


@pytest.mark.parametrize("kind", zoo.TEXT)
def test_a_text_alone_and_in_a_batch_gets_the_same_logits(
    kind: str, tmp_path: Path
) -> None:
    loaded = text.load(str(zoo.text(tmp_path, kind)), labels=3, seed=0)
    examples = examples_of(loaded, TEXTS)

    torch.manual_seed(0)  # YOSO draws its hashes
    together = logits(loaded, examples, [0, 1, 2, 3])
    for row in range(len(TEXTS)):
        torch.manual_seed(0)
        alone = logits(loaded, examples, [row])
        if kind != "yoso":  # it hashes at random, anew for each batch
            assert torch.allclose(
                alone[0], together[row], atol=1e-4 * float(together.abs().max())
            ), (
                row,
                alone,
                together,
            )

    assert loaded.model.config.pad_token_id == loaded.tokenizer.pad_token_id
    assert (
        loaded.model.config.get_text_config().pad_token_id
        == loaded.tokenizer.pad_token_id
    )
    assert not torch.allclose(together[0], together[1], atol=1e-3)


@pytest.mark.parametrize("kind", ["gpt2", "llama", "mistral"])
def test_a_decoder_without_a_pad_token_pads_with_the_end_of_its_texts(
    kind: str, tmp_path: Path
) -> None:
    loaded = text.load(str(zoo.text(tmp_path, kind)), labels=3, seed=0)
    assert loaded.tokenizer.pad_token == "</s>"  # noqa: S105 - no password
    assert loaded.model.config.pad_token_id == zoo.END


@pytest.mark.parametrize(
    ("stated", "of_tokenizer", "pad"),
    [
        (5, True, 5),
        (5, False, 5),
        (-1, True, zoo.PAD),
        (99, True, zoo.PAD),
        (None, True, zoo.PAD),
        (None, False, zoo.END),
    ],
)
def test_the_configuration_decides_then_the_tokenizer_then_the_end_of_text(
    stated: int | None, of_tokenizer: bool, pad: int, tmp_path: Path
) -> None:
    zoo.text(tmp_path, "llama")
    zoo.tokenizer(pad=of_tokenizer, end=False).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"pad_token_id": stated}))

    loaded = text.load(str(tmp_path), labels=3, seed=0)
    assert (loaded.model.config.pad_token_id, loaded.tokenizer.pad_token_id) == (pad, pad)
    batch = examples_of(loaded, TEXTS).batch([0, 1])
    assert batch["input_ids"][0].tolist() == [7, 6, 3, 9, pad, pad]


def test_a_model_that_reads_its_last_position_is_padded_at_the_front(
    tmp_path: Path,
) -> None:
    loaded = text.load(str(zoo.text(tmp_path, "xlnet")), labels=3, seed=0)
    batch = examples_of(loaded, TEXTS).batch([0, 1])
    assert batch["input_ids"][0].tolist() == [zoo.PAD, zoo.PAD, 7, 6, 3, 9]
    assert batch["attention_mask"].tolist() == [[0, 0, 1, 1, 1, 1], [1] * 6]


def test_a_tokenizer_that_pads_at_the_front_does_not_shift_a_model_that_counts_positions(
    tmp_path: Path,
) -> None:
    zoo.text(tmp_path, "gpt2")
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps(config | {"padding_side": "left"})
    )
    loaded = text.load(str(tmp_path), labels=3, seed=0)
    assert loaded.tokenizer.padding_side == "right"


@pytest.mark.parametrize("kind", sorted(padding.PADDING_MATTERS & zoo.TEXT.keys()))
def test_texts_are_all_as_long_where_a_model_mixes_padding_into_its_answer(
    kind: str, tmp_path: Path
) -> None:
    loaded = text.load(str(zoo.text(tmp_path, kind)), labels=3, seed=0)
    examples = examples_of(loaded, TEXTS)
    assert examples.lengths is None
    assert examples.batch([0])["input_ids"].shape == (1, 16)
    assert examples.batch([0])["attention_mask"].sum() == 4


def test_a_model_without_any_token_to_pad_with_is_refused(tmp_path: Path) -> None:
    zoo.text(tmp_path, "llama")
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"eos_token_id": None}))
    settings: dict[str, Any] = json.loads(
        (tmp_path / "tokenizer_config.json").read_text()
    )
    settings.pop("eos_token")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(DataError, match="no token to pad texts with"):
        text.load(str(tmp_path), labels=3, seed=0)


def test_a_text_without_a_token_is_a_pad_token(tmp_path: Path) -> None:
    loaded = text.load(str(zoo.text(tmp_path, "gpt2")), labels=3, seed=0)
    examples = examples_of(loaded, ["", "good film"])
    batch = examples.batch([0])
    assert batch["input_ids"].tolist() == [[zoo.END]]
    assert batch["attention_mask"].tolist() == [[1]]
    assert torch.isfinite(logits(loaded, examples, [0, 1])).all()


@pytest.mark.parametrize(
    ("kind", "positions"),
    [
        ("bert", 64),
        ("roberta", 63),
        ("gpt2", 64),
        ("opt", 64),
        ("bart", 64),
        ("xlnet", None),
        ("t5", None),
        ("llama", None),
    ],
)
def test_texts_are_not_longer_than_a_model_has_places(
    kind: str, positions: int | None, tmp_path: Path
) -> None:
    loaded = text.load(str(zoo.text(tmp_path, kind)), labels=3, seed=0)
    assert loaded.positions == positions
    rows = Dataset.from_dict({"text": ["good " * 100], "label": [0]})
    examples = TextExamples(rows, SPEC, loaded.tokenizer, positions or 100)
    assert torch.isfinite(logits(loaded, examples, [0])).all()


def test_a_model_in_memory_is_not_changed(tmp_path: Path) -> None:
    folder = zoo.text(tmp_path, "gpt2")
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    loaded = text.from_loaded(model, None, labels=3)
    assert model.config.pad_token_id is None
    assert loaded.model.config.pad_token_id == zoo.END
    assert loaded.fresh == {"score.weight"}
    assert loaded.scope == text.load(str(folder), labels=3, seed=0).scope
