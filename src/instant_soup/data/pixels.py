"""Pixels: decodes images of any kind to uint8 at the size that a model wants."""

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

# what Pillow raises at broken files; SyntaxError is its word for a broken PNG
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
_PROBE = 16  # height and width of the image by which a processor is tried
# how far normalised pixels may differ by rounding: some steps of 1 / 255 over a small deviation
_ALIKE = 0.05


def decode(values: Sequence[Any], processor: BaseImageProcessor) -> list[Tensor]:
    """The pixels of images, resized and cropped by *processor*, but not normalised.

    Args:
        values: paths, bytes of files, or mappings with ``bytes`` or ``path``, as Hugging Face stores
            images.

    Returns:
        For each image uint8 [3, height, width].

    Raises:
        DataError: one of *values* is no image.
    """
    images = [_open_image(value) for value in values]
    # not normalised, so that pixels can be kept as bytes, a quarter of the memory of floats
    switches: dict[str, Any] = {"do_rescale": False, "do_normalize": False}
    if "include_top" in processor.to_dict():
        # EfficientNet's second normalisation
        switches["include_top"] = False
    sized = processor(images=images, **switches)["pixel_values"]
    return [torch.as_tensor(pixels).to(torch.uint8) for pixels in sized]


def check_processor(processor: BaseImageProcessor) -> None:
    """Raise DataError where *processor* makes something else of an image than `decode` and `normalisation` do."""
    levels = np.arange(_PROBE * _PROBE * 3, dtype=np.uint32) % 256
    image = Image.fromarray(levels.astype(np.uint8).reshape(_PROBE, _PROBE, 3), "RGB")
    expected = processor(images=[image], return_tensors="pt")["pixel_values"][0]

    file = BytesIO()
    image.save(file, "PNG")
    (pixels,) = decode([file.getvalue()], processor)
    factor, shift = normalisation(processor)
    difference = float((pixels * factor - shift - expected).abs().max())
    if difference > _ALIKE:
        raise DataError(
            f"{type(processor).__name__} changes pixels in ways that are not known here (by up to {difference:.2g} "
            f"beside resizing, rescaling and normalising); use a preprocessor of another class"
        )


def normalisation(processor: BaseImageProcessor) -> tuple[Tensor, Tensor]:
    """Turns uint8 into what the model wants: multiply by the first, then subtract the second; [3, 1, 1] each."""
    settings: dict[str, Any] = processor.to_dict()
    factor = settings["rescale_factor"] if settings.get("do_rescale") else 1.0
    mean = torch.zeros(3)
    std = torch.ones(3)
    if settings.get("do_normalize"):
        mean = torch.tensor(settings["image_mean"]).expand(3)
        std = torch.tensor(settings["image_std"]).expand(3)

    # EfficientNet's own: pixels from -1 on instead of from 0, and what was normalised divided once more
    if settings.get("rescale_offset") and settings.get("do_rescale"):
        mean = mean + 1
    twice = torch.ones(3)
    if settings.get("include_top"):
        twice = torch.tensor(settings["image_std"]).expand(3)

    # ((x * factor - mean) / std) / twice in two steps instead of four
    deviation = (std * twice).reshape(-1, 1, 1)
    shift = mean.reshape(-1, 1, 1) / deviation
    return factor / deviation, shift


def _open_image(value: Any) -> Image.Image:
    """The image of a path or of bytes. Raises DataError where it cannot be read."""
    try:
        with Image.open(_readable(value)) as image:
            return rgb(image)
    except UNREADABLE as reason:
        raise DataError(
            f"{_description(value)} cannot be read as an image ({reason}); replace it or leave it out, and start again"
        ) from reason


def rgb(image: Image.Image) -> Image.Image:
    """*image* in red, green and blue, as it is meant to be seen.

    It is turned upright by its EXIF data. Transparent parts become white. Grey of 16 bits, and floats from 0 to 1, are
    scaled to 8 bits.

    Raises:
        ValueError: the range of its numbers is not known: other floats, and whole numbers of 32 bits or with a sign.
    """
    # Pillow reads PGM of 16 bits into its mode of 32; the format is lost once the image is turned
    has_16_bits = image.mode.startswith("I;16") or (
        image.mode == "I" and image.format == "PPM"
    )
    upright = ImageOps.exif_transpose(image)

    # convert("RGB") would clip all of these at 255, which turns most images white
    if has_16_bits:
        high_bytes = np.asarray(upright) >> 8
        upright = Image.fromarray(high_bytes.astype(np.uint8))
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
        white = Image.new("RGBA", layer.size, "white")
        upright = Image.alpha_composite(white, layer)
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


def _readable(value: Any) -> BytesIO | Path:
    """What Pillow can open of *value*. Raises ValueError where it is neither bytes nor a path."""
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        return BytesIO(value)
    if isinstance(value, str):
        return Path(value)
    raise ValueError(f"found {value!r}, expected bytes or a path")


def _description(value: Any) -> str:
    """What errors call an image: its path if it has one."""
    path = data = value
    if isinstance(value, dict):
        path = value.get("path")
        data = value.get("bytes")

    if isinstance(path, str):
        return path
    if isinstance(data, bytes):
        return f"an image of {len(data):,} bytes"
    return "a row without an image"
