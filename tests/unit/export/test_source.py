"""From a ticket and a name to the model that is exported."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import instant_soup as soup
from instant_soup.core.errors import DataError, ScopeError, TicketError
from instant_soup.core.ticket import Ticket
from instant_soup.export.errors import ExportError
from instant_soup.export.export import export_model
from instant_soup.export.portable import Portable
from instant_soup.export.source import portable
from instant_soup.models import vision

Source = Callable[[str], Portable]


@pytest.mark.parametrize(("kind", "classes"), [("bert", 3), ("vit", 4), ("clip", 3)])
def test_the_model_has_the_ticket_in_it_and_as_many_classes_as_its_head(
    source: Source, kind: str, classes: int
) -> None:
    found = source(kind)
    mask = found.ticket.mask
    for name in mask:
        assert torch.equal(found.tensors[name] != 0, mask[name])
    for name, tensor in found.ticket.start.items():
        assert torch.equal(found.tensors[name], tensor)
    for batch, length in ((1, 5), (3, 8)):
        assert found.logits(found.inputs(batch, length)).shape == (batch, classes)
    assert not found.trained
    assert not found.model.training


def test_texts_are_padded_where_the_mask_says_so(source: Source) -> None:
    found = source("bert").inputs(3, 9)
    assert list(found) == ["input_ids", "attention_mask", "token_type_ids"]
    assert torch.equal(
        found["input_ids"] == source("bert").config.pad_token_id,
        found["attention_mask"] == 0,
    )
    assert found["attention_mask"].sum(1).tolist() == [9, 9, 5]


def test_a_recipe_names_the_classes_of_a_known_task(
    tiny_bert: Path, ticket_for: Callable[..., Ticket]
) -> None:
    fields = {
        "task": {"name": "glue/cola", "model": str(tiny_bert)},
        "method": {"name": "magnitude"},
        "sparsity": 0.9,
    }
    found = portable(ticket_for(tiny_bert, labels=2), soup.Recipe.parse(fields))
    assert found.config.id2label == {0: "unacceptable", 1: "acceptable"}


def test_a_recipe_names_the_classes_of_data_of_ones_own(
    source: Source, tiny_vit: Path, tiny_images: Path, tmp_path: Path
) -> None:
    task = {"name": "mine", "kind": "images", "model": str(tiny_vit)}
    fields = {
        "task": task,
        "data": {"folder": str(tiny_images)},
        "method": {"name": "magnitude"},
        "sparsity": 0.9,
    }
    loaded = vision.load(str(tiny_vit), classes=3, seed=1)
    head = {
        name: loaded.model.get_parameter(name).detach().clone() for name in loaded.fresh
    }
    ticket = Ticket(soup.Mask.dense(loaded.scope), head, loaded.base)

    found = portable(ticket, soup.Recipe.parse(fields))
    assert (
        found.classes == tuple(found.config.id2label.values()) == ("blue", "green", "red")
    )
    export_model(found, "hf", tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text(encoding="utf-8"))
    assert config["id2label"] == {"0": "blue", "1": "green", "2": "red"}
    assert "| 2 | red |" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")

    away = soup.Recipe.parse({**fields, "data": {"folder": str(tmp_path / "away")}})
    assert portable(ticket, away).classes == (), (
        "the data is elsewhere, and the model goes out without the names"
    )


def test_a_clip_wants_a_recipe_for_its_head(source: Source, tiny_clip: Path) -> None:
    with pytest.raises(ExportError, match="give the recipe instead"):
        portable(source("clip").ticket, str(tiny_clip))
    with pytest.raises(ExportError, match="give the recipe instead"):
        portable(source("clip").ticket, "open_clip:ViT-B-32/openai")
    assert source("clip").classes == ("red", "green", "blue")


def test_another_model_is_refused(source: Source, tmp_path: Path, tiny_vit: Path) -> None:
    from instant_soup.models import tiny

    ticket = source("bert").ticket
    with pytest.raises(TicketError, match="are others"):
        portable(ticket, str(tiny.bert(tmp_path / "other", seed=7)))
    with pytest.raises(ScopeError, match="no such tensor"):
        portable(ticket, str(tiny_vit))
    with pytest.raises(DataError, match="could not load model"):
        portable(ticket, str(tmp_path / "nowhere"))


def test_a_ticket_without_the_head_that_the_model_lacks_is_refused(
    source: Source, tiny_bert: Path
) -> None:
    with pytest.raises(
        TicketError, match=r"has no classifier\.bias, and neither has the ticket"
    ):
        portable(replace(source("bert").ticket, start={}), str(tiny_bert))
