"""Pixels: encoded images of any kind -> uint8 at the size that a model wants."""

from __future__ import annotations

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


def decode(value: Any, processor: BaseImageProcessor) -> Tensor:
    """The pixels of one image, resized and cropped by *processor*, not normalised.

    Args:
        value: a path, the bytes of a file, or a mapping with ``bytes`` or ``path``, as Hugging Face
            stores images.

    Returns:
        uint8 [3, height, width].

    Raises:
        DataError: there is no image.
    """
    try:
        with Image.open(_source(value)) as image:
            upright = rgb(image)
    except UNREADABLE as reason:
        raise DataError(
            f"{_named(value)} cannot be read as an image ({reason}); replace it or leave it out, and start again"
        ) from reason
    got = processor(images=upright, do_rescale=False, do_normalize=False, return_tensors="pt")["pixel_values"]
    return got[0].to(torch.uint8)  # type: ignore[no-any-return]


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
