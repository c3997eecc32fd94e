"""Bitmask files of whole models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from instant_soup.core.rounding import rounding_of
from instant_soup.export import bitmask
from instant_soup.export.export import export_model
from instant_soup.export.portable import Portable
from instant_soup.export.skeleton import build


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
