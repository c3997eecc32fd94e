"""Vision: loads any Hugging Face image classifier."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import nn
from transformers import (
    AutoImageProcessor,
    AutoModelForImageClassification,
    PreTrainedConfig,
    ProcessorMixin,
)
from transformers.image_processing_utils import BaseImageProcessor

from ..core.errors import DataError
from ..core.names.matrices import is_convolution, is_in_block, left_out
from ..core.scope import Scope
from ..core.task import Base
from ..core.weights import digest
from .checks import (
    check_config,
    check_folder,
    check_processor,
    check_processor_file,
    check_weights,
)
from .classifier import loading
from .preloaded import check_origin, checked_copy

EXPECTED = (
    "give a folder with config.json, model.safetensors and preprocessor_config.json, a hub id that can be reached, "
    "or open_clip:ARCHITECTURE/PRETRAINED"
)


@dataclass(frozen=True)
class ImageModel:
    """A classifier of images at its pre-trained weights, and the processor of its images.

    Attributes:
        fresh: the parameters that are not pre-trained.
    """

    model: nn.Module
    processor: BaseImageProcessor
    scope: Scope
    base: Base
    fresh: frozenset[str]

    @classmethod
    def of(
        cls,
        name: str,
        model: nn.Module,
        processor: BaseImageProcessor,
        fresh: Iterable[str] = (),
    ) -> ImageModel:
        """The *model* called *name*, whose *fresh* parameters are not pre-trained.

        Raises:
            DataError: there is nothing to prune.
        """
        scope = scope_of(model, name)
        base = Base(name, digest(dict(model.named_parameters()), scope))
        return cls(model, processor, scope, base, frozenset(fresh))


def load(name: str, *, classes: int, seed: int) -> ImageModel:
    """Load *name*, a local folder or a hub id, with a head for so many *classes*.

    A head of another number of classes is replaced by a new one, drawn from *seed*.

    Raises:
        DataError: there is no such model, a part of it is missing, or it is no transformer.
    """
    check_folder(name)
    with loading(name, EXPECTED, seed):
        check_config(name, PreTrainedConfig.get_config_dict(name)[0])
        model, info = AutoModelForImageClassification.from_pretrained(
            name,
            num_labels=classes,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            use_safetensors=True,
            trust_remote_code=False,
        )
        pixels = processor(name)

    # weights before sizes: a model in part would fail on an image for another reason than its size
    fresh = check_weights(name, model, scope_of(model, name), info)
    check_image_size(name, model, pixels)
    return ImageModel.of(name, model, pixels, fresh)


def from_loaded(
    model: Any, pixels: BaseImageProcessor | ProcessorMixin | None, *, classes: int
) -> ImageModel:
    """A *model* that is loaded already, as `load` would give it. It is copied, never changed.

    Args:
        pixels: the model's processor; loaded from where the model came from if None.
        classes: how many its head has to have.

    Raises:
        DataError: it classifies no images, its head has another size, or its processor cannot be found.
    """
    copied = checked_copy(model, task="ImageClassification", classes=classes)
    if pixels is None:
        check_origin(model, "give its image processor, too: processor=...")
    resizer = resizer_of(copied.name, pixels)
    check_image_size(copied.name, copied.model, resizer)
    return ImageModel.of(copied.name, copied.model, resizer, copied.head)


def resizer_of(
    name: str, pixels: BaseImageProcessor | ProcessorMixin | None
) -> BaseImageProcessor:
    """The part of the processor *pixels* that resizes images; that of the model *name* if it is None.

    Raises:
        DataError: there is no such part, or no such processor.
    """
    if pixels is None:
        with loading(name, "give its image processor, too: processor=..."):
            return processor(name)

    # a ProcessorMixin, as CLIP's, holds a tokenizer and an image processor
    resizer: Any = pixels
    if isinstance(pixels, ProcessorMixin):
        resizer = getattr(pixels, "image_processor", None)
    if not isinstance(resizer, BaseImageProcessor):
        raise DataError(
            f"processor is a {type(pixels).__name__}; expected one from AutoImageProcessor.from_pretrained"
        )
    return resizer


def processor(name: str) -> BaseImageProcessor:
    """The processor that resizes and crops images for the model *name*.

    Raises:
        DataError: a setting that it needs is not stated.
    """
    check_processor_file(name)
    # by Pillow, so that pixels do not depend on whether torchvision is installed
    loaded: BaseImageProcessor = AutoImageProcessor.from_pretrained(  # type: ignore[no-untyped-call]
        name, backend="pil", trust_remote_code=False
    )
    stated, _ = type(loaded).get_image_processor_dict(name)
    check_processor(name, stated, loaded.to_dict())
    return loaded


@torch.no_grad()
def check_image_size(name: str, model: nn.Module, pixels: BaseImageProcessor) -> None:
    """Raise DataError unless *model* takes images of the size that its processor makes."""
    image = Image.new("RGB", (48, 48))
    blank = pixels(images=[image], return_tensors="pt")["pixel_values"]
    height, width = blank.shape[-2:]
    # tried and not compared: configurations name the size in many ways, or not at all
    try:
        model.eval()(pixel_values=blank)
    except (ValueError, RuntimeError) as reason:
        raise DataError(
            f"model {name!r} does not take images of {height} x {width} pixels, which its preprocessor_config.json "
            f"asks for ({reason}); copy the file from the model that it was trained from"
        ) from reason


def scope_of(model: nn.Module, name: str) -> Scope:
    """The matrices of the numbered blocks of a vision *model*, called *name*.

    Raises:
        DataError: there is none, as in networks of convolutions alone.
    """
    shapes = {key: tuple(weight.shape) for key, weight in model.named_parameters()}
    candidates = shapes.keys() - left_out(shapes).keys()
    matrices = [key for key in candidates if not is_convolution(key, shapes[key])]
    if not any(is_in_block(key) for key in matrices):
        raise DataError(
            f"model {name!r} has no matrix in its blocks to prune; expected a transformer"
        )
    return Scope.of(model)
