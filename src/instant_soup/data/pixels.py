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

# what Pillow raises at broken files
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


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
    sized = processor(images=images, do_rescale=False, do_normalize=False)["pixel_values"]
    return [torch.as_tensor(pixels).to(torch.uint8) for pixels in sized]


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

    Turned upright by its EXIF data; transparent parts on white; 16 bits of grey, and floats from 0 to 1, scaled to 8.

    Raises ValueError at numbers whose range is not known: other floats, and whole numbers of 32 bits or with a sign.
    """
    deep = image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM")
    upright = ImageOps.exif_transpose(image)

    if deep:
        upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
    elif upright.mode == "I":
        low, high = upright.getextrema()
        raise ValueError(
            f"it holds whole numbers of 32 bits or with a sign, from {low} to {high}, and what is white is not known; "
            f"save it with 8 bits, or with 16 without a sign"
        )
    elif upright.mode == "F":
        upright = _from_floats(np.asarray(upright))

    if upright.has_transparency_data:
        layer = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return upright.convert("RGB")


def _from_floats(values: np.ndarray[Any, Any]) -> Image.Image:
    """Grey of 8 bits from floats of which 1 is white. Raises ValueError where they go beyond 0 to 1."""
    low, high = float(values.min()), float(values.max())
    if not 0 <= low <= high <= 1:
        raise ValueError(
            f"it holds floats from {low:g} to {high:g}, and what is white is not known; expected 0 to 1: scale them, "
            f"or save it with 8 bits"
        )
    return Image.fromarray(np.rint(values * 255).astype(np.uint8))


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
    return (
        f"an image of {len(data):,} bytes"
        if isinstance(data, bytes)
        else "a row without an image"
    )
