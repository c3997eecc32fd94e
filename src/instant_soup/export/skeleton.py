"""Skeleton: describes a model in a file, so that it can be built again without its base."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    CLIPVisionModelWithProjection,
    PreTrainedModel,
)

from ..core.errors import DataError
from ..models.classifier import quiet
from ..models.clip import Classifier, Tower
from .errors import ExportError
from .limits import ROOM, check_room
from .portable import Portable

_KINDS = ("text", "images", "language", "zero-shot")
_LANGUAGE = ("ForCausalLM", "LMHeadModel")
# the folder that it was read from, and code that lies there
_OF_THIS_MACHINE = ("_name_or_path", "auto_map")
_COUNTS = ("layer", "depth", "block", "expert", "stage")
"""Words in the names of configuration fields that say how many modules there are."""
_MOST_CLASSES = 1_000_000
_MOST_PARAMETERS = 100_000  # tensors; large mixtures of experts have some 50,000


def describe(portable: Portable) -> dict[str, Any]:
    """Plain data of which `build` makes the model; empty where transformers does not know the model."""
    model = portable.model
    if isinstance(model, Classifier):
        if not isinstance(model.visual, Tower):
            return {}
        return {
            "kind": "zero-shot",
            "config": _config_facts(tower_config(model.visual)),
            "classes": len(model.head),
        }

    if isinstance(model, PreTrainedModel):
        return {
            "kind": _kind(portable),
            "config": _config_facts(portable.config),
            "classes": portable.config.num_labels,
        }

    return {}


def _kind(portable: Portable) -> str:
    """Which of `_KINDS` a model of transformers is."""
    if portable.shape is not None:
        return "images"
    return "language" if type(portable.model).__name__.endswith(_LANGUAGE) else "text"


def build(facts: Mapping[str, Any], *, limit: int = ROOM) -> nn.Module:
    """The model that *facts* describe, in evaluation mode, at random weights.

    It is first built without memory for its weights, so that a file that asks for a huge model is refused at once.

    Args:
        limit: bytes that its weights may take.

    Raises:
        ExportError: the facts describe no model, or one that is larger than *limit*.
    """
    if "kind" not in facts:
        raise ExportError(
            "the file does not say how its model is built; build it as when it was drawn from, and give it"
        )
    if facts["kind"] not in _KINDS:
        raise ExportError(
            f"the file says that its model is of kind {facts['kind']!r}; expected {', '.join(_KINDS)}"
        )

    try:
        config = _config(facts)
        with quiet(), torch.random.fork_rng():
            with torch.device("meta"), _bounded(limit):
                _make_model(facts["kind"], config, facts["classes"])
            return _make_model(facts["kind"], config, facts["classes"]).eval()
    except ExportError:
        raise
    # configurations and models of transformers raise many kinds at values that they do not expect
    except Exception as reason:
        lines = str(reason).strip().splitlines() or [type(reason).__name__]
        raise ExportError(
            f"the file describes no model that transformers can build ({lines[0]})"
        ) from reason


def _config(facts: Mapping[str, Any]) -> Any:
    """The configuration in *facts*, its numbers within bounds. Raises ExportError or what transformers raises."""
    classes = facts["classes"]
    if type(classes) is not int or not 0 < classes <= _MOST_CLASSES:
        raise ExportError(
            f"the file says that its model has {classes!r} classes; expected 1 to {_MOST_CLASSES:,}"
        )

    fields = {
        key: value
        for key, value in facts["config"].items()
        if key not in _OF_THIS_MACHINE
    }
    for key, value in fields.items():
        # layers are made one by one, so a huge number of them takes long even without memory for weights
        counts = any(word in key for word in _COUNTS)
        most = _MOST_PARAMETERS if counts else 1 << 40
        numbers = value if isinstance(value, list) else [value]
        for number in numbers:
            # not isinstance: True is an int, too
            if type(number) is int and number > most:
                raise ExportError(
                    f"the file says that {key} of its model is {number:,}; expected at most {most:,}"
                )
    return AutoConfig.for_model(**fields)


def _make_model(kind: str, config: Any, classes: int) -> nn.Module:
    """A model of *config* with a head for so many *classes*."""
    if kind == "zero-shot":
        vision = CLIPVisionModelWithProjection(config)
        tower = Tower(vision.vision_model, vision.visual_projection)
        head = torch.zeros(classes, config.projection_dim)
        return Classifier(tower, head, torch.ones(()))

    loaders: dict[str, Any] = {
        "text": AutoModelForSequenceClassification,
        "images": AutoModelForImageClassification,
        "language": AutoModelForCausalLM,
    }
    config.num_labels = classes
    model: nn.Module = loaders[kind].from_config(
        config, dtype=torch.float32, trust_remote_code=False
    )
    return model


@contextmanager
def _bounded(limit: int) -> Iterator[None]:
    """Raise ExportError in the block once parameters that are made take more than *limit* bytes, or are too many."""
    size = 0
    count = 0

    def count_parameter(_: nn.Module, name: str, parameter: Tensor | None) -> None:
        nonlocal size, count
        if parameter is None:
            return
        size += parameter.nbytes
        count += 1

        try:
            check_room(size, limit)
        except DataError as reason:
            raise ExportError(
                f"the file describes a model that is too large: {reason}"
            ) from reason

        if count > _MOST_PARAMETERS:
            raise ExportError(
                f"the file describes a model of more than {_MOST_PARAMETERS:,} parameters, such as {name}"
            )

    handle = register_module_parameter_registration_hook(count_parameter)
    try:
        yield
    finally:
        handle.remove()


def tower_config(tower: Tower) -> Any:
    """The configuration of a CLIP's vision tower, with the width that its projection really has."""
    # a vision configuration on its own states a default width, whatever the whole CLIP's is
    config: Any = deepcopy(tower.vision_model.config)
    config.projection_dim = tower.visual_projection.out_features
    return config


def _config_facts(config: Any) -> dict[str, Any]:
    """A configuration as plain data, without fields that hold on this machine alone."""
    fields: dict[str, Any] = json.loads(config.to_json_string(use_diff=False))
    return {key: value for key, value in fields.items() if key not in _OF_THIS_MACHINE}
