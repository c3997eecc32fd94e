"""CLIP: its vision tower, trained under a frozen zero-shot head. From transformers or open_clip."""

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
from .classifier import loading
from .complete import check_config, check_folder, check_tokenizer
from .preloaded import in_float32
from .vision import EXPECTED, ImageModel, check_fit, processor, resizer_of

OPEN_CLIP = "open_clip:"

Prompts = Sequence[Sequence[str]]
"""For each class, the sentences that speak of it."""


class Classifier(nn.Module):
    """Any vision tower under a frozen head.

    The logits are the cosines between an image and each class, times a scale. Head and scale
    are no parameters and no part of a checkpoint: nothing trains, averages or prunes them.

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
            logits = self.scale * F.linear(
                F.normalize(features.float(), dim=-1), self.head
            )
        return ImageClassifierOutput(logits=logits)


class Tower(nn.Module):
    """The vision tower of a transformers CLIP and its projection into the space of texts."""

    def __init__(self, vision_model: nn.Module, visual_projection: nn.Module) -> None:
        super().__init__()
        self.vision_model, self.visual_projection = vision_model, visual_projection

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Float [n, 3, height, width] to float [n, projection width]."""
        projected: Tensor = self.visual_projection(
            self.vision_model(pixel_values=pixel_values).pooler_output
        )
        return projected


def is_clip(name: str) -> bool:
    """Whether *name* is a CLIP. Raises DataError when there is no such model."""
    if name.startswith(OPEN_CLIP):
        return True
    check_folder(name)
    with loading(name, EXPECTED):
        return bool(
            AutoConfig.from_pretrained(name, trust_remote_code=False).model_type == "clip"
        )


def load(name: str, *, prompts: Prompts) -> ImageModel:
    """Load *name*: a hub id, a local folder, or ``"open_clip:ARCHITECTURE/PRETRAINED"``.

    The scope is the query, key, value, output and MLP matrices of the vision tower's blocks,
    84,934,656 weights in ViT-B/32. The text tower makes the head from *prompts* and is let go.

    Raises:
        DataError: there is no such model, or open_clip is not installed.
    """
    return (_from_open_clip if name.startswith(OPEN_CLIP) else _from_transformers)(
        name, prompts
    )


@torch.no_grad()
def zero_shot_head(embed: Callable[[Sequence[str]], Tensor], prompts: Prompts) -> Tensor:
    """One direction a class, the mean of the directions of its sentences: [classes, width], each of length one.

    Args:
        embed: from n sentences to float [n, width].
    """
    means = [
        F.normalize(embed(sentences).float(), dim=-1).mean(0) for sentences in prompts
    ]
    return F.normalize(torch.stack(means), dim=-1)


def _from_transformers(name: str, prompts: Prompts) -> ImageModel:
    check_folder(name)
    with loading(name, EXPECTED):
        check_config(name, PreTrainedConfig.get_config_dict(name)[0])
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
    whole, info = loaded
    if missing := sorted(info["missing_keys"]):
        raise DataError(
            f"the checkpoint of model {name!r} lacks {missing[0]}; {EXPECTED}, with both towers of CLIP"
        )

    return _with_head(name, whole, tokenizer, pixels, prompts)


def from_loaded(
    model: CLIPModel,
    processor: BaseImageProcessor | ProcessorMixin | None,
    *,
    prompts: Prompts,
) -> ImageModel:
    """A *model* that is loaded already, as `load` would give it. It is copied, never changed.

    Args:
        processor: the model's, with its tokenizer; what is not there is loaded from where the model came from.

    Raises:
        DataError: its tokenizer or its processor cannot be found.
    """
    name = model.name_or_path or type(model).__name__
    check_config(name, model.config.to_dict())
    pixels = resizer_of(name, processor)

    is_whole = isinstance(processor, ProcessorMixin)
    tokenizer = getattr(processor, "tokenizer", None) if is_whole else None
    if tokenizer is None:
        with loading(name, "give its CLIPProcessor, too: processor=..."):
            tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
        check_tokenizer(name, tokenizer)

    copy = in_float32(model)
    copy.set_attn_implementation(_attention())
    return _with_head(name, copy, tokenizer, pixels, prompts)


def _attention() -> str:
    """At a tower's few tokens torch's fused attention for CPUs trains a fifth slower than the plain one."""
    return "sdpa" if torch.cuda.is_available() else "eager"


def _with_head(
    name: str,
    whole: Any,
    tokenizer: PreTrainedTokenizerBase,
    pixels: BaseImageProcessor,
    prompts: Prompts,
) -> ImageModel:
    """The vision tower of the CLIP *whole* under a head that its text tower makes of *prompts*."""

    def embed(sentences: Sequence[str]) -> Tensor:
        tokens = tokenizer(
            list(sentences), padding=True, truncation=True, return_tensors="pt"
        )
        embedded: Tensor = whole.get_text_features(**tokens).pooler_output
        return embedded

    tower = Tower(whole.vision_model, whole.visual_projection)
    model = Classifier(
        tower, zero_shot_head(embed, prompts), whole.logit_scale.detach().exp()
    )
    check_fit(name, model, pixels)
    return ImageModel.of(name, model, pixels)


def _from_open_clip(name: str, prompts: Prompts) -> ImageModel:
    architecture, _, pretrained = name.removeprefix(OPEN_CLIP).partition("/")
    if not (architecture and pretrained):
        raise DataError(
            f"model {name!r} is incomplete; expected open_clip:ARCHITECTURE/PRETRAINED, both of open_clip"
        )

    open_clip = extra("open_clip", "open-clip", f"model {name!r}")
    with loading(
        name,
        "open_clip.list_pretrained() shows what there is; PRETRAINED may be a file, too",
    ):
        whole = open_clip.create_model(
            architecture, pretrained=pretrained, precision="fp32", require_pretrained=True
        )
        tokenizer = open_clip.get_tokenizer(architecture)

    head = zero_shot_head(
        lambda sentences: whole.encode_text(tokenizer(list(sentences))), prompts
    )
    model = Classifier(whole.visual, head, whole.logit_scale.detach().exp())

    return ImageModel.of(
        name, model, _open_clip_processor(name, whole.visual.preprocess_cfg)
    )


def _open_clip_processor(name: str, wanted: dict[str, Any]) -> CLIPImageProcessorPil:
    """What open_clip does to images, done by Pillow."""
    mode, size = wanted["resize_mode"], wanted["size"]
    height, width = (size, size) if isinstance(size, int) else size

    if mode not in ("shortest", "squash") or (mode == "shortest" and height != width):
        raise DataError(
            f"model {name!r} resizes images by {mode!r} to {height} x {width}; expected shortest or squash"
        )

    return CLIPImageProcessorPil(
        size={"shortest_edge": height}
        if mode == "shortest"
        else {"height": height, "width": width},
        crop_size={"height": height, "width": width},
        image_mean=list(wanted["mean"]),
        image_std=list(wanted["std"]),
        resample=getattr(Image.Resampling, wanted["interpolation"].upper()),
    )
