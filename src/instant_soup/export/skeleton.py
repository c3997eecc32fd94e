"""Skeleton: what a file has to say of a model so that it can be built again without its base."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    CLIPVisionModelWithProjection,
    PreTrainedModel,
)

from ..models.classifier import quiet
from ..models.clip import Classifier, Tower
from .errors import ExportError
from .portable import Portable


def describe(portable: Portable) -> dict[str, Any]:
    """Plain data of which `build` makes a model; without a ``kind`` where transformers does not know the model."""
    model = portable.model
    if isinstance(model, Classifier):
        if not isinstance(model.visual, Tower):
            return {}
        return {"kind": "zero-shot", "config": _plain(tower_config(model.visual)), "classes": len(model.head)}
    if isinstance(model, PreTrainedModel):
        kind = "text" if portable.shape is None else "images"
        return {"kind": kind, "config": _plain(portable.config), "classes": portable.config.num_labels}
    return {}


def build(facts: Mapping[str, Any]) -> nn.Module:
    """The model that *facts* describe, in evaluation mode, its weights of no account. Raises ExportError."""
    if "kind" not in facts:
        raise ExportError(
            "the file does not say how its model is built; build it as when it was drawn from, and give it"
        )

    config: Any = AutoConfig.for_model(**facts["config"])
    with quiet(), torch.random.fork_rng():
        if facts["kind"] == "zero-shot":
            return _zero_shot(config, facts["classes"])
        config.num_labels = facts["classes"]
        auto: Any = AutoModelForSequenceClassification if facts["kind"] == "text" else AutoModelForImageClassification
        model: nn.Module = auto.from_config(config, dtype=torch.float32)
        return model.eval()


def _zero_shot(config: Any, classes: int) -> nn.Module:
    """A CLIP's tower under a head of zeros."""
    whole = CLIPVisionModelWithProjection(config)
    tower = Tower(whole.vision_model, whole.visual_projection)
    head = torch.zeros(classes, config.projection_dim)
    return Classifier(tower, head, torch.ones(())).eval()


def tower_config(tower: Tower) -> Any:
    """The configuration of a CLIP's vision tower, with the width that its projection really has."""
    config: Any = deepcopy(tower.vision_model.config)
    config.projection_dim = tower.visual_projection.out_features
    return config


def _plain(config: Any) -> dict[str, Any]:
    """A configuration as data, without the folder that it was read from."""
    fields: dict[str, Any] = json.loads(config.to_json_string(use_diff=False))
    return {key: value for key, value in fields.items() if key != "_name_or_path"}
