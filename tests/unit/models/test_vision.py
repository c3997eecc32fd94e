"""Vision: any image classifier of Hugging Face, with a new head where it needs one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForImageClassification,
    BeitConfig,
    ConvNextConfig,
    Dinov2Config,
    PreTrainedConfig,
    ResNetConfig,
    SwinConfig,
    ViTConfig,
    ViTForImageClassification,
)

from instant_soup.core.errors import DataError
from instant_soup.models import tiny, vision

HEAD = {"classifier.weight", "classifier.bias"}


def test_a_new_head_is_drawn_from_the_seed(tiny_vit: Path) -> None:
    first, again, other = (
        vision.load(str(tiny_vit), classes=5, seed=seed).model for seed in (0, 0, 1)
    )
    assert first.classifier.weight.shape == (5, 32)
    assert torch.equal(first.classifier.weight, again.classifier.weight)
    assert not torch.equal(first.classifier.weight, other.classifier.weight)
    assert torch.equal(
        first.vit.layers[0].mlp.fc1.weight, other.vit.layers[0].mlp.fc1.weight
    )


def test_loading_leaves_the_random_state_alone(tiny_vit: Path) -> None:
    before = torch.random.get_rng_state()
    vision.load(str(tiny_vit), classes=5, seed=3)
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_head_is_fresh_and_dense_and_the_blocks_are_pruned(tiny_vit: Path) -> None:
    got = vision.load(str(tiny_vit), classes=5, seed=0)
    assert got.fresh == HEAD
    assert got.scope.size == 2 * (4 * 32 * 32 + 2 * 32 * 64)
    assert all(
        ".layers." in name and len(shape) == 2 for name, shape in got.scope.shapes.items()
    )
    assert got.base.name == str(tiny_vit)


def test_a_head_for_another_number_of_classes_is_replaced_and_one_that_fits_is_kept(
    tiny_vit: Path, tmp_path: Path
) -> None:
    seven = AutoModelForImageClassification.from_pretrained(tiny_vit, num_labels=7)
    shutil.copy(tiny_vit / "preprocessor_config.json", tmp_path)
    seven.save_pretrained(tmp_path)
    kept, replaced = (
        vision.load(str(tmp_path), classes=classes, seed=0) for classes in (7, 5)
    )
    assert kept.fresh == frozenset()
    assert torch.equal(kept.model.classifier.weight, seven.classifier.weight)
    assert replaced.fresh == HEAD
    assert replaced.model.classifier.weight.shape == (5, 32)
    assert kept.scope == replaced.scope
    assert kept.base.digest == replaced.base.digest


def test_other_weights_have_another_digest(tiny_vit: Path, tmp_path: Path) -> None:
    first, other = (
        vision.load(str(p), classes=3, seed=0)
        for p in (tiny_vit, tiny.vit(tmp_path, seed=1))
    )
    assert first.base.digest != other.base.digest


@pytest.mark.parametrize(
    ("config", "size"),
    [
        (ViTConfig(), 84_934_656),
        (Dinov2Config(), 84_934_656),
        (BeitConfig(), 84_934_656),
        (SwinConfig(), None),
        (ConvNextConfig(), None),
    ],
    ids=lambda value: value.model_type if isinstance(value, PreTrainedConfig) else "",
)
def test_scopes_of_known_families_hold_matrices_of_blocks_only(
    config: PreTrainedConfig, size: int | None
) -> None:
    with torch.device("meta"):
        model = AutoModelForImageClassification.from_config(config)
    scope = vision.scope_of(model, "it")
    assert size in (None, scope.size)
    assert all(len(shape) == 2 for shape in scope.shapes.values())
    assert not any(
        word in name
        for name in scope
        for word in ("embed", "position", "classifier", "token")
    )


def test_a_network_without_matrices_is_refused() -> None:
    with torch.device("meta"):
        model = AutoModelForImageClassification.from_config(ResNetConfig())
    with pytest.raises(
        DataError,
        match="model 'resnet' has no matrix in its blocks to prune; expected a transformer",
    ):
        vision.scope_of(model, "resnet")


@pytest.mark.parametrize("name", ["/nowhere", "no-such-owner/no such model"])
def test_a_missing_model_is_named_with_what_is_expected(name: str) -> None:
    with pytest.raises(
        DataError,
        match=rf"could not load model '{name}' \(.+\); give a folder with config\.json, ",
    ):
        vision.load(name, classes=3, seed=0)


def test_a_model_that_reads_text_is_refused(tiny_bert: Path) -> None:
    with pytest.raises(DataError, match="could not load model"):
        vision.load(str(tiny_bert), classes=3, seed=0)


def test_a_checkpoint_without_its_encoder_is_refused(
    tiny_vit: Path, tmp_path: Path
) -> None:
    """What is missing would be drawn at random, and a ticket would be drawn from noise."""
    model = ViTForImageClassification.from_pretrained(tiny_vit, num_labels=3)
    shutil.copy(tiny_vit / "preprocessor_config.json", tmp_path)
    some = {
        name: tensor
        for name, tensor in model.state_dict().items()
        if "layers.1." not in name
    }
    model.save_pretrained(tmp_path, state_dict=some)
    with pytest.raises(
        DataError,
        match=r"lacks vit\.layers\.1\..* more of the weights that would be pruned",
    ):
        vision.load(str(tmp_path), classes=3, seed=0)
