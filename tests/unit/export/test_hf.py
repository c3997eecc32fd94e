"""Hugging Face folders with zeros in place."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AutoImageProcessor,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    CLIPVisionModelWithProjection,
)

from instant_soup.core.rounding import rounding_of
from instant_soup.core.weights import digest
from instant_soup.export.compare import largest_difference
from instant_soup.export.errors import ExportError
from instant_soup.export.export import export_model
from instant_soup.export.portable import Portable
from instant_soup.models import tiny
from instant_soup.models.clip import Classifier

Source = Callable[[str], Portable]
LOADERS = {
    "bert": AutoModelForSequenceClassification,
    "packaged": AutoModelForSequenceClassification,
    "vit": AutoModelForImageClassification,
    "clip": CLIPVisionModelWithProjection,
}


@pytest.mark.parametrize("kind", ["bert", "vit", "clip", "packaged"])
def test_a_folder_loads_with_transformers_and_has_the_zeros_and_the_outputs(
    source: Source, kind: str, tmp_path: Path
) -> None:
    found = source(kind)
    done = export_model(found, "hf", tmp_path / "out")
    assert done.difference is not None
    assert done.difference <= rounding_of(found.model, found.logits(found.inputs(2)))
    assert done.size == sum(part.stat().st_size for part in (tmp_path / "out").iterdir())
    loaded = LOADERS[kind].from_pretrained(tmp_path / "out")
    for name in found.ticket.mask:  # files may have other names than modules
        assert torch.equal(
            loaded.get_parameter(name.removeprefix("visual.")) != 0,
            found.ticket.mask[name],
        )
    config = (tmp_path / "out" / "config.json").read_text(encoding="utf-8")
    assert not any(
        word in config
        for word in ("sparsity_config", "quantization_config", str(tmp_path.parent))
    )
    processor = AutoTokenizer if found.shape is None else AutoImageProcessor
    options = {} if found.shape is None else {"backend": "pil"}
    assert processor.from_pretrained(tmp_path / "out", **options) is not None


def test_a_clip_is_its_tower_with_projection_and_a_head_beside_it(
    source: Source, tmp_path: Path
) -> None:
    found = source("clip")
    export_model(found, "hf", tmp_path / "out")
    tower = CLIPVisionModelWithProjection.from_pretrained(tmp_path / "out").eval()
    head = load_file(tmp_path / "out" / "zero_shot_head.safetensors")
    inputs = found.inputs(2)
    with torch.no_grad():
        embeds = torch.nn.functional.normalize(tower(**inputs).image_embeds, dim=-1)
    expected = found.logits(inputs)
    bound = rounding_of(found.model, expected)
    torch.testing.assert_close(
        head["scale"] * embeds @ head["head"].T, expected, rtol=0, atol=bound
    )
    page = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "the 3 classes" in page
    assert "(red, green, blue)" in page


def test_the_card_says_what_the_model_is(source: Source, tmp_path: Path) -> None:
    found = source("bert")
    export_model(found, "hf", tmp_path / "out")
    page = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    mask = found.ticket.mask
    for words in (
        "library_name: transformers",
        "magnitude (across=model)",
        found.ticket.digest,
        mask.digest,
    ):
        assert words in page
    for name, kept in mask.kept_by_name.items():
        assert f"| `{name}` | {kept:,} |" in page
    assert "base_model" not in page, (
        "a folder of this machine is no base that others could load"
    )
    assert str(tmp_path.parent) not in page


def test_keys_about_sparsity_of_the_base_are_left_out(
    source: Source, tmp_path: Path
) -> None:
    found = source("bert")
    found.config.sparsity_config = {"format": "2:4"}
    try:
        export_model(found, "hf", tmp_path / "out")
    finally:
        del found.config.sparsity_config
    assert "sparsity_config" not in json.loads(
        (tmp_path / "out" / "config.json").read_text(encoding="utf-8")
    )


def test_exporting_changes_nothing_of_the_model(source: Source, tmp_path: Path) -> None:
    found = source("clip")
    before = digest(found.tensors, found.tensors)
    export_model(found, "hf", tmp_path / "out")
    assert digest(found.tensors, found.tensors) == before
    assert largest_difference(found, found.logits, "the model") == 0


def test_a_tower_that_transformers_does_not_know_is_refused(
    source: Source, tmp_path: Path
) -> None:
    from dataclasses import replace

    tower = Classifier(tiny.attention_tower(), torch.eye(3, 16), torch.ones(()))
    with pytest.raises(ExportError, match="export it to csr, bitmask or onnx"):
        export_model(replace(source("clip"), model=tower), "hf", tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_others_may_read_an_export_as_the_umask_lets_them(
    source: Source, tmp_path: Path
) -> None:
    before = os.umask(0o027)
    try:
        export_model(source("bert"), "hf", tmp_path / "out")
    finally:
        os.umask(before)
    for path in (tmp_path / "out").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o640, path
