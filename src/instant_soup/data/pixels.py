"""Pixels: encoded images of any kind -> uint8 at the size that a model wants."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from transformers.image_processing_utils import BaseImageProcessor

from ..core.errors import DataError

UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)  # what Pillow raises at broken files


def decode(values: Sequence[Any], processor: BaseImageProcessor) -> list[Tensor]:
    """The pixels of images, resized and cropped by *processor*, not normalised.

    Args:
        values: paths, bytes of files, or mappings with ``bytes`` or ``path``, as Hugging Face stores
            images.

    Returns:
        uint8 [3, height, width] each.

    Raises:
        DataError: one is no image.
    """
    images = [_upright(value) for value in values]
    found = processor(images=images, do_rescale=False, do_normalize=False)["pixel_values"]
    return [torch.as_tensor(pixels).to(torch.uint8) for pixels in found]


def _upright(value: Any) -> Image.Image:
    try:
        with Image.open(_source(value)) as image:
            return rgb(image)
    except UNREADABLE as reason:
        raise DataError(
            f"{_named(value)} cannot be read as an image ({reason}); replace it or leave it out, and start again"
        ) from reason


def rgb(image: Image.Image) -> Image.Image:
    """*image* in red, green and blue, as it is meant to be seen.

    Turned upright by its EXIF data; transparent parts on white; 16 bits of grey scaled to 8.
    """
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I"):
        upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
    if upright.has_transparency_data:
        layer = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return upright.convert("RGB")


def _source(value: Any) -> BytesIO | Path:
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        return BytesIO(value)
    if isinstance(value, str):
        return Path(value)
    raise ValueError(f"found {value!r}, expected bytes or a path")


def _named(value: Any) -> str:
    path = value.get("path") if isinstance(value, dict) else value
    if isinstance(path, str):
        return path
    data = value.get("bytes") if isinstance(value, dict) else value
    return f"an image of {len(data):,} bytes" if isinstance(data, bytes) else "a row without an image"
