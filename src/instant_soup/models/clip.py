"""CLIP: loads its vision tower, from transformers or open_clip, to be trained under a frozen zero-shot head."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    AutoConfig,
    AutoTokenizer,
    CLIPImageProcessorPil,
    CLIPModel,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
    ProcessorMixin,
)
from transformers.image_processing_utils import BaseImageProcessor
from transformers.modeling_outputs import ImageClassifierOutput

from ..core.errors import DataError
from ..core.extras import extra
from .checks import check_config, check_finite, check_folder, check_tokenizer
from .classifier import loading
from .preloaded import check_origin, copy_in_float32
from .vision import EXPECTED, ImageModel, check_image_size, processor, resizer_of

OPEN_CLIP = "open_clip:"

Prompts = Sequence[Sequence[str]]
"""For each class, the sentences that speak of it."""


class Classifier(nn.Module):
    """Any vision tower under a frozen head.

    The logits are the cosines between an image and each class, times a scale. Head and scale are neither parameters
    nor part of a checkpoint, so nothing trains, averages or prunes them.

    Args:
        visual: from float [n, 3, height, width] to float [n, width].
        head: a vector of length one for each class, float32 [classes, width].
        scale: a float32 scalar.
    """

    head: Tensor
    scale: Tensor

    def __init__(self, visual: nn.Module, head: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.visual = visual
        self.register_buffer("head", head, persistent=False)
        self.register_buffer("scale", scale, persistent=False)

    def forward(self, pixel_values: Tensor) -> ImageClassifierOutput:
        """Logits float32 [n, classes]."""
        features = self.visual(pixel_values)
        # a cosine in bfloat16 has but two digits
        with torch.autocast(features.device.type, enabled=False):
            directions = F.normalize(features.float(), dim=-1)
            logits = self.scale * F.linear(directions, self.head)
        return ImageClassifierOutput(logits=logits)


class Tower(nn.Module):
    """The vision tower of a transformers CLIP and its projection into the space of texts."""

    def __init__(self, vision_model: nn.Module, visual_projection: nn.Module) -> None:
        super().__init__()
        self.vision_model = vision_model
        self.visual_projection = visual_projection

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Float [n, 3, height, width] to float [n, projection width]."""
        pooled = self.vision_model(pixel_values=pixel_values).pooler_output
        projected: Tensor = self.visual_projection(pooled)
        return projected


def is_clip(name: str) -> bool:
    """Whether *name* is a CLIP. Raises DataError when there is no such model."""
    if name.startswith(OPEN_CLIP):
        return True
    check_folder(name)
    with loading(name, EXPECTED):
        config = AutoConfig.from_pretrained(name, trust_remote_code=False)
    return bool(config.model_type == "clip")


def load(name: str, *, prompts: Prompts) -> ImageModel:
    """Load *name*: a hub id, a local folder, or ``"open_clip:ARCHITECTURE/PRETRAINED"``.

    The scope is the query, key, value, output and MLP matrices of the vision tower's blocks,
    84,934,656 weights in ViT-B/32. The text tower makes the head from *prompts* and is dropped.

    Raises:
        DataError: there is no such model.
        MissingExtra: open_clip is not installed.
    """
    if name.startswith(OPEN_CLIP):
        return _from_open_clip(name, prompts)
    return _from_transformers(name, prompts)


@torch.no_grad()
def zero_shot_head(embed: Callable[[Sequence[str]], Tensor], prompts: Prompts) -> Tensor:
    """One direction a class, the mean of the directions of its sentences: [classes, width], each of length one.

    Args:
        embed: from n sentences to float [n, width].
        prompts: the sentences of each class.
    """
    means = []
    for sentences in prompts:
        # each to length one before the mean, so that all sentences have one weight
        directions = F.normalize(embed(sentences).float(), dim=-1)
        means.append(directions.mean(0))
    return F.normalize(torch.stack(means), dim=-1)


def _from_transformers(name: str, prompts: Prompts) -> ImageModel:
    check_folder(name)
    with loading(name, EXPECTED):
        stated, _ = PreTrainedConfig.get_config_dict(name)
        check_config(name, stated)
        loaded: Any = CLIPModel.from_pretrained(
            name,
            dtype=torch.float32,
            output_loading_info=True,
            use_safetensors=True,
            trust_remote_code=False,
            attn_implementation=_attention(),
        )
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
        pixels = processor(name)

    check_tokenizer(name, tokenizer)
    model, info = loaded
    missing = sorted(info["missing_keys"])
    if missing:
        raise DataError(
            f"the checkpoint of model {name!r} lacks {missing[0]}; {EXPECTED}, with both towers of CLIP"
        )
    check_finite(name, model)
    return _with_head(name, model, tokenizer, pixels, prompts)


def from_loaded(
    model: CLIPModel,
    processor: BaseImageProcessor | ProcessorMixin | None,
    *,
    prompts: Prompts,
) -> ImageModel:
    """A *model* that is loaded already, as `load` would give it. It is copied, never changed.

    Args:
        processor: the model's, with its tokenizer; what it lacks is loaded from where the model came from.
        prompts: the sentences of each class.

    Raises:
        DataError: its tokenizer or its processor cannot be found.
    """
    name = model.name_or_path or type(model).__name__
    check_config(name, model.config.to_dict())
    tokenizer = None
    if isinstance(processor, ProcessorMixin):
        tokenizer = getattr(processor, "tokenizer", None)
    remedy = "give its CLIPProcessor, too: processor=..."
    if tokenizer is None:
        check_origin(model, remedy)

    pixels = resizer_of(name, processor)
    if tokenizer is None:
        with loading(name, remedy):
            tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
        check_tokenizer(name, tokenizer)

    copy = copy_in_float32(model)
    copy.set_attn_implementation(_attention())
    return _with_head(name, copy, tokenizer, pixels, prompts)


def _attention() -> str:
    """The implementation of attention that is faster here."""
    # at a tower's few tokens torch's fused attention for CPUs trains a fifth slower than the plain one
    return "sdpa" if torch.cuda.is_available() else "eager"


def _with_head(
    name: str,
    both_towers: Any,
    tokenizer: PreTrainedTokenizerBase,
    pixels: BaseImageProcessor,
    prompts: Prompts,
) -> ImageModel:
    """The vision tower of a CLIP under a head that its text tower makes of *prompts*."""

    def embed(sentences: Sequence[str]) -> Tensor:
        tokens = tokenizer(
            list(sentences), padding=True, truncation=True, return_tensors="pt"
        )
        embedded: Tensor = both_towers.get_text_features(**tokens).pooler_output
        return embedded

    tower = Tower(both_towers.vision_model, both_towers.visual_projection)
    head = zero_shot_head(embed, prompts)
    # CLIP learns the logarithm of its scale
    model = Classifier(tower, head, both_towers.logit_scale.detach().exp())
    check_image_size(name, model, pixels)
    return ImageModel.of(name, model, pixels)


def _from_open_clip(name: str, prompts: Prompts) -> ImageModel:
    architecture, _, pretrained = name.removeprefix(OPEN_CLIP).partition("/")
    if not (architecture and pretrained):
        raise DataError(
            f"model {name!r} is incomplete; expected open_clip:ARCHITECTURE/PRETRAINED, both of open_clip"
        )

    open_clip = extra("open_clip", "open-clip", f"model {name!r}")
    expected = (
        "open_clip.list_pretrained() shows what there is; PRETRAINED may be a file, too"
    )
    with loading(name, expected):
        # without require_pretrained it would only warn, and draw the weights at random
        both_towers = open_clip.create_model(
            architecture, pretrained=pretrained, precision="fp32", require_pretrained=True
        )
        tokenizer = open_clip.get_tokenizer(architecture)

    def embed(sentences: Sequence[str]) -> Tensor:
        embedded: Tensor = both_towers.encode_text(tokenizer(list(sentences)))
        return embedded

    tower = both_towers.visual
    head = zero_shot_head(embed, prompts)
    model = Classifier(tower, head, both_towers.logit_scale.detach().exp())
    pixels = _open_clip_processor(name, tower.preprocess_cfg)
    return ImageModel.of(name, model, pixels)


def _open_clip_processor(name: str, settings: dict[str, Any]) -> CLIPImageProcessorPil:
    """A processor of transformers that does to images what open_clip does. Raises DataError where there is none."""
    mode = settings["resize_mode"]
    size = settings["size"]
    height, width = (size, size) if isinstance(size, int) else size

    # transformers crops to the size after it resized the shortest edge, which is open_clip's way for squares only
    is_known = mode in ("shortest", "squash")
    if not is_known or (mode == "shortest" and height != width):
        raise DataError(
            f"model {name!r} resizes images by {mode!r} to {height} x {width}; expected shortest or squash"
        )

    exact = {"height": height, "width": width}
    return CLIPImageProcessorPil(
        size={"shortest_edge": height} if mode == "shortest" else exact,
        crop_size=exact,
        image_mean=list(settings["mean"]),
        image_std=list(settings["std"]),
        resample=getattr(Image.Resampling, settings["interpolation"].upper()),
    )
