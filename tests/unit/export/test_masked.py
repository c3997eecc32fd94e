"""Bitmask files of whole models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

import instant_soup as soup
from instant_soup.core.rounding import rounding_of
from instant_soup.export import bitmask
from instant_soup.export.export import export_model
from instant_soup.export.portable import Portable
from instant_soup.export.skeleton import build
from instant_soup.export.source import portable
from instant_soup.models import decoder, tiny_decoders


@pytest.mark.parametrize("kind", ["bert", "vit", "clip"])
def test_a_file_holds_the_mask_every_tensor_and_how_to_build_the_model(
    source: Callable[[str], Portable], kind: str, tmp_path: Path
) -> None:
    found = source(kind)
    export_model(found, "bitmask", tmp_path / "out")
    read = bitmask.read(tmp_path / "out")
    assert read.mask == found.ticket.mask
    assert read.tensors.keys() == found.tensors.keys()
    for name, tensor in found.tensors.items():
        assert torch.equal(read.tensors[name], tensor)
    assert read.facts["provenance"]["ticket"] == found.ticket.digest
    model = build(read.facts["model"])
    missing = model.load_state_dict(dict(read.tensors), strict=False).missing_keys
    assert not missing
    if kind == "clip":
        model.head, model.scale = read.tensors["head"], read.tensors["scale"]
    inputs = found.inputs(2, 6)
    with torch.no_grad():
        expected = found.logits(inputs)
        bound = rounding_of(found.model, expected)
        torch.testing.assert_close(model(**inputs).logits, expected, rtol=0, atol=bound)


def test_a_model_with_a_tied_head_is_loaded_from_the_tensors_alone(
    tmp_path: Path,
) -> None:
    folder = str(tiny_decoders.gpt2(tmp_path / "gpt2"))
    loaded = decoder.load(folder)
    weights = dict(loaded.model.named_parameters())
    scores = {name: weights[name].detach().abs() for name in loaded.scope}
    mask = soup.prune(scores, soup.Mask.dense(loaded.scope), 0.5)
    found = portable(soup.Ticket(mask, {}, loaded.base), folder)
    export_model(found, "bitmask", tmp_path / "out")

    tensors = bitmask.read(tmp_path / "out").tensors
    assert {"lm_head.weight", "transformer.wte.weight"} <= tensors.keys()
    fresh = AutoModelForCausalLM.from_pretrained(folder)
    fresh.load_state_dict(dict(tensors))
    for name, tensor in found.tensors.items():
        assert torch.equal(fresh.state_dict()[name], tensor), name
