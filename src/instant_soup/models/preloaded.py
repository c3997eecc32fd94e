"""Preloaded: a classifier that the caller has loaded already, checked and copied."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from ..core.errors import DataError
from .checks import check_config, check_finite

_WORDS = {
    "SequenceClassification": ("text", "labels"),
    "ImageClassification": ("images", "classes"),
}
"""For each kind of head what its model classifies, and what errors call its outputs."""


@dataclass(frozen=True)
class Preloaded:
    """A copy of a model, in float32.

    Attributes:
        name: where its weights came from, or its class where it was made from a configuration.
        head: its parameters outside of the body, which no pre-trained model has to have.
    """

    name: str
    model: PreTrainedModel
    head: frozenset[str]


def checked_copy(model: Any, *, task: str, classes: int) -> Preloaded:
    """A copy of *model*, whose head has to fit already, because the caller has made it.

    Args:
        task: what the model does, as in the names of its class and of its loader: ``"SequenceClassification"``.
        classes: how many its head has to have; 1 for regression.

    Raises:
        DataError: it is no classifier of transformers, is quantised or not finite, or its head has another size.
    """
    classified, outputs = _WORDS[task]
    kind = type(model).__name__
    loader = f"AutoModelFor{task}.from_pretrained"
    if not isinstance(model, PreTrainedModel):
        raise DataError(
            f"model is a {kind}; expected a hub id, a folder or a model from {loader}. Any other module "
            f"goes through soup.tasks.module"
        )
    if not kind.endswith(f"For{task}"):
        raise DataError(
            f"model is a {kind}, which classifies no {classified}; load it with {loader}, or give its folder"
        )

    name = model.name_or_path or kind
    check_config(name, model.config.to_dict())
    if model.config.num_labels != classes:
        raise DataError(
            f"model {name!r} has a head for {model.config.num_labels} {outputs}, and the data has {classes}; load "
            f"it with num_labels={classes} and ignore_mismatched_sizes=True, or give its folder"
        )

    copy = copy_in_float32(model)
    body = f"{copy.base_model_prefix}."
    names = [key for key, _ in copy.named_parameters()]
    head = frozenset(key for key in names if not key.startswith(body))
    return Preloaded(name, copy, head)


def check_origin(model: PreTrainedModel, remedy: str) -> None:
    """Raise DataError, with the *remedy*, for a model that came from nowhere: a hub must not be asked for its class."""
    if not model.name_or_path:
        raise DataError(
            f"model is a {type(model).__name__} that was loaded from no folder and no hub; {remedy}"
        )


def copy_in_float32(model: PreTrainedModel) -> PreTrainedModel:
    """A copy of *model* in float32 on the CPU, in evaluation mode; whoever learns with it changes both.

    Raises DataError where a weight is not finite.
    """
    check_finite(model.name_or_path or type(model).__name__, model)
    copy = deepcopy(model)
    # nn.Module's own methods: transformers wraps them, without types
    nn.Module.to(copy, "cpu", torch.float32)
    nn.Module.eval(copy)
    return copy
