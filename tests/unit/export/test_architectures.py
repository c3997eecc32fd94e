"""Classifiers of many architectures go out to every format, or it is said why not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import instant_soup as soup
from instant_soup.core.rounding import rounding_of
from instant_soup.core.ticket import Ticket
from instant_soup.export import csr, tracing
from instant_soup.export.errors import ExportError
from instant_soup.export.export import export_model
from instant_soup.export.formats import FORMATS
from instant_soup.export.portable import Portable
from instant_soup.export.source import portable
from instant_soup.models import text

from ..models import zoo

PAIRS, DECODERS = ("bart", "t5"), ("gpt2", "llama")


def source(folder: Path, kind: str, labels: int = 3, **changes: Any) -> Portable:
    zoo.text(folder, kind, **changes)
    loaded = text.load(str(folder), labels=labels, seed=1)
    weights = dict(loaded.model.named_parameters())
    scores = {name: weights[name].detach().abs() for name in loaded.scope}
    mask = soup.prune(scores, soup.Mask.dense(loaded.scope), 0.8)
    head = {name: weights[name].detach().clone() for name in loaded.fresh}
    return portable(
        Ticket(mask, head, loaded.base, method={"name": "magnitude"}), str(folder)
    )


@pytest.mark.parametrize("kind", zoo.TEXT)
def test_folders_and_rows_of_every_architecture_do_what_the_model_does(
    kind: str, tmp_path: Path
) -> None:
    found = source(tmp_path / "model", kind)
    for to in ("hf", "csr"):
        done = export_model(found, to, tmp_path / to)
        inputs = found.inputs(2, 8)
        assert done.difference is not None
        assert done.difference <= rounding_of(found.model, found.logits(inputs))
    assert csr.read(tmp_path / "csr")[1] == found.ticket.mask
    export_model(found, "bitmask", tmp_path / "bitmask")


@pytest.mark.parametrize("kind", zoo.TEXT)
def test_two_classes_are_two_in_the_folder_of_every_architecture(
    kind: str, tmp_path: Path
) -> None:
    """Some architectures have three where their configuration does not say."""
    done = export_model(source(tmp_path / "model", kind, labels=2), "hf", tmp_path / "hf")
    assert done.difference is not None

    config = json.loads((tmp_path / "hf" / "config.json").read_text(encoding="utf-8"))
    assert sorted(config["id2label"]) == ["0", "1"]
    assert sorted(config["label2id"].values()) == [0, 1]


@pytest.mark.parametrize(
    ("kind", "to"),
    [
        *((kind, to) for kind in PAIRS for to in ("onnx", "openvino")),
        *((kind, "onnx") for kind in DECODERS),
    ],
)
def test_decoders_and_encoder_decoders_become_graphs_and_are_as_before(
    kind: str, to: str, tmp_path: Path
) -> None:
    found = source(tmp_path / "model", kind)
    settings = found.config.use_cache, found.config._attn_implementation
    done = export_model(found, to, tmp_path / f"out{FORMATS[to].suffix}")
    assert done.difference is not None
    assert done.difference <= rounding_of(found.model, found.logits(found.inputs(2, 8)))
    assert (found.config.use_cache, found.config._attn_implementation) == settings


def test_each_text_of_an_encoder_decoder_ends_once(tmp_path: Path) -> None:
    found = source(tmp_path, "bart")
    inputs = found.inputs(4, 9)
    ends = inputs["input_ids"] == found.config.eos_token_id
    assert ends.sum(1).tolist() == [1, 1, 1, 1]
    assert torch.equal(ends.long().argmax(1), inputs["attention_mask"].sum(1) - 1)
    assert torch.equal(
        inputs["input_ids"] == found.config.pad_token_id, inputs["attention_mask"] == 0
    )


def test_what_cannot_be_traced_is_one_line_without_colours(tmp_path: Path) -> None:
    found = source(tmp_path, "bert")

    def fail() -> Any:
        cause = ValueError(
            "\x1b[96ma view\x1b[0m that cannot be:\nof this shape\n\nWhile executing %x"
        )
        raise RuntimeError(
            "Failed to export the model. \x1b[96mThis is step 1/3\x1b[0m"
        ) from cause

    why = "a view that cannot be: of this shape"
    sentence = f"could not export BertForSequenceClassification to ONNX: {why}; take hf, bitmask or csr"
    with pytest.raises(ExportError) as caught:
        tracing.traced(found.model, fail, "ONNX")
    assert str(caught.value) == sentence


def test_names_that_a_model_has_for_its_classes_are_kept_and_numbers_are_no_names(
    tmp_path: Path,
) -> None:
    names = {0: "bad", 1: "so so", 2: "good"}
    assert source(tmp_path / "named", "roberta", id2label=names).classes == (
        "bad",
        "so so",
        "good",
    )
    assert source(tmp_path / "numbered", "roberta").classes == ()
