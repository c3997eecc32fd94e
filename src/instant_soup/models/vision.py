"""Vision: any Hugging Face image classifier."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn
from transformers import AutoImageProcessor, AutoModelForImageClassification
from transformers.image_processing_utils import BaseImageProcessor

from ..core.errors import DataError, ScopeError
from ..core.names import layers
from ..core.names.heads import KEEP_DENSE
from ..core.scope import Scope
from ..core.task import Base
from ..core.weights import digest
from .classifier import loading

EXPECTED = (
    "give a folder with config.json, model.safetensors and preprocessor_config.json, a hub id that can be reached, "
    "or open_clip:ARCHITECTURE/PRETRAINED"
)


@dataclass(frozen=True)
class ImageModel:
    """A classifier of images at its pre-trained weights, and what makes pixels ready for it."""

    model: nn.Module
    processor: BaseImageProcessor
    scope: Scope
    base: Base
    fresh: frozenset[str]

    @classmethod
    def of(cls, name: str, model: nn.Module, processor: BaseImageProcessor, fresh: Iterable[str] = ()) -> ImageModel:
        """*model*, called *name*, of which *fresh* parameters are not pre-trained.

        Raises DataError when there is nothing pre-trained to prune.
        """
        scope, weights = prunable(model, name), dict(model.named_parameters())
        if lacking := [parameter for parameter in fresh if parameter in scope]:
            raise DataError(
                f"the checkpoint of model {name!r} lacks {lacking[0]} and {len(lacking) - 1} more of the weights that "
                f"would be pruned; {EXPECTED}, with all weights of the encoder"
            )
        return cls(model, processor, scope, Base(name, digest(weights, scope)), frozenset(fresh))


def load(name: str, *, classes: int, seed: int) -> ImageModel:
    """Load *name*, a local folder or a hub id, with a head for so many *classes*.

    A head of another number of classes is replaced by a new one, drawn from *seed*.

    Raises:
        DataError: there is no such model, or it is no transformer.
    """
    with loading(name, EXPECTED, seed):
        model, info = AutoModelForImageClassification.from_pretrained(
            name,
            num_labels=classes,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            use_safetensors=True,
        )
        found = processor(name)
    return ImageModel.of(name, model, found, {*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])})


def processor(name: str) -> BaseImageProcessor:
    """What resizes and crops images for the model *name*: with Pillow, so that pixels do not depend on torchvision."""
    found: BaseImageProcessor = AutoImageProcessor.from_pretrained(name, backend="pil")  # type: ignore[no-untyped-call]
    return found


def prunable(model: nn.Module, name: str) -> Scope:
    """The matrices of the numbered blocks of a vision *model*, called *name*.

    Two dimensions, so no convolution; neither embeddings, tables of positions nor the head.

    Raises DataError when there is none.
    """
    outside = [key for key, p in model.named_parameters() if p.ndim != 2 or layers.in_layer(key) is None]
    try:
        return Scope.of(model, keep_dense=(*KEEP_DENSE, "*position*", *outside))
    except ScopeError as reason:
        raise DataError(f"model {name!r} has no matrix in its blocks to prune; expected a transformer") from reason
