"""Pixels: images of any kind become red, green and blue at one size."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPImageProcessorPil, ViTImageProcessorPil
from transformers.image_processing_utils import BaseImageProcessor

from instant_soup.core.errors import DataError
from instant_soup.data import pixels
from instant_soup.data.pixels import rgb

CROP = CLIPImageProcessorPil(
    size={"shortest_edge": 8}, crop_size={"height": 8, "width": 8}
)
SQUASH = ViTImageProcessorPil(size={"height": 8, "width": 8})


def encoded(image: Image.Image, kind: str = "PNG", **how: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **how)
    return buffer.getvalue()


def decode(value: Any, processor: BaseImageProcessor) -> torch.Tensor:
    (found,) = pixels.decode([value], processor)
    return found


def noise(*size: int) -> Image.Image:
    return Image.fromarray(
        np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    )


def test_an_image_is_read_from_a_path_from_bytes_and_as_hugging_face_stores_it(
    tmp_path: Path,
) -> None:
    data = encoded(noise(8, 8))
    (tmp_path / "a.png").write_bytes(data)
    path = str(tmp_path / "a.png")
    values = [
        path,
        data,
        {"bytes": data, "path": None},
        {"bytes": None, "path": path},
        {"bytes": data, "path": "gone"},
    ]
    first, *others = (decode(value, CROP) for value in values)
    assert (first.shape, first.dtype) == ((3, 8, 8), torch.uint8)
    assert np.array_equal(first.permute(1, 2, 0).numpy(), np.asarray(noise(8, 8)))
    assert all(torch.equal(first, other) for other in others)


def test_pixels_normalised_later_are_what_the_processor_would_have_given() -> None:
    image = noise(13, 21)
    for processor in (CROP, SQUASH):
        wanted = processor(images=image, return_tensors="pt")["pixel_values"][0]
        unit = decode(encoded(image), processor).float() / 255
        mean, std = (
            torch.tensor(v)[:, None, None]
            for v in (processor.image_mean, processor.image_std)
        )
        assert torch.allclose((unit - mean) / std, wanted, atol=1e-5)


def test_one_preprocessor_crops_and_another_squashes() -> None:
    halves = Image.new("RGB", (32, 8), "red")
    halves.paste("blue", (0, 0, 8, 8))
    cropped, squashed = (
        decode(encoded(halves), processor) for processor in (CROP, SQUASH)
    )
    assert cropped[2].max() == 0
    assert squashed[2, :, 0].min() > 200


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_every_mode_becomes_red_green_and_blue(mode: str) -> None:
    kind = "TIFF" if mode == "CMYK" else "PNG"
    source = (
        Image.fromarray(np.full((4, 4), 65535, np.uint16))
        if mode == "I;16"
        else noise(4, 4).convert(mode)
    )
    assert decode(encoded(source, kind), CROP).shape == (3, 8, 8)


def test_grey_is_the_same_in_all_three_colours() -> None:
    red, green, blue = np.asarray(
        rgb(Image.fromarray(np.arange(16, dtype=np.uint8).reshape(4, 4)))
    ).transpose(2, 0, 1)
    assert np.array_equal(red, np.arange(16).reshape(4, 4))
    assert np.array_equal(red, green)
    assert np.array_equal(red, blue)


def test_sixteen_bits_of_grey_are_scaled_and_not_cut_off() -> None:
    deep = Image.fromarray(np.array([[0, 128 << 8], [255 << 8, 65535]], np.uint16))
    with Image.open(BytesIO(encoded(deep))) as read:
        assert np.asarray(rgb(read))[..., 0].tolist() == [[0, 128], [255, 255]]


@pytest.mark.parametrize("mode", ["RGBA", "P"])
def test_what_is_transparent_is_white(mode: str) -> None:
    clear = Image.new("RGBA", (4, 4), (10, 20, 30, 0))
    if mode == "P":
        clear = Image.new("P", (4, 4), 0)
        clear.info["transparency"] = 0
    assert (np.asarray(rgb(clear)) == 255).all()


def test_images_are_turned_upright() -> None:
    image = Image.new("RGB", (16, 8), "blue")
    image.paste("red", (0, 0, 8, 8))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    with Image.open(BytesIO(encoded(image, "JPEG", exif=exif, quality=95))) as lying:
        upright = rgb(lying)
    assert upright.size == (8, 16)
    red, _, blue = upright.getpixel((4, 2))  # type: ignore[misc]
    assert red > 200 > 60 > blue


def test_a_file_that_is_no_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_text("not an image")
    with pytest.raises(
        DataError,
        match=r"bad\.png cannot be read as an image .*; replace it or leave it out",
    ):
        decode(str(tmp_path / "bad.png"), CROP)
    with pytest.raises(DataError, match=r"gone\.png cannot be read"):
        decode({"bytes": None, "path": str(tmp_path / "gone.png")}, CROP)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_half_a_file_is_no_image(kind: str) -> None:
    data = encoded(noise(64, 64), kind)
    with pytest.raises(
        DataError,
        match=rf"an image of {len(data) // 2:,} bytes cannot be read as an image",
    ):
        decode(data[: len(data) // 2], CROP)


@pytest.mark.parametrize("value", [None, 3, {"bytes": None, "path": None}, {}])
def test_a_row_without_an_image_is_refused(value: Any) -> None:
    with pytest.raises(DataError, match="a row without an image cannot be read"):
        decode(value, CROP)


def test_no_bytes_are_no_image() -> None:
    with pytest.raises(DataError, match="an image of 0 bytes"):
        decode(b"", CROP)


def test_images_of_a_part_come_in_order_and_one_bad_one_is_named(tmp_path: Path) -> None:
    values = [encoded(Image.new("RGB", (9, 12), (shade, 0, 0))) for shade in (10, 20, 30)]
    assert [int(found[0, 0, 0]) for found in pixels.decode(values, CROP)] == [10, 20, 30]
    with pytest.raises(DataError, match=r"nowhere\.png cannot be read"):
        pixels.decode([*values, str(tmp_path / "nowhere.png")], CROP)


def test_floats_from_zero_to_one_are_scaled_and_not_black() -> None:
    unit = np.array([[0, 0.25], [0.5, 1]], np.float32)
    with Image.open(BytesIO(encoded(Image.fromarray(unit), "TIFF"))) as read:
        assert read.mode == "F"
        assert np.asarray(rgb(read))[..., 0].tolist() == [[0, 64], [128, 255]]
    assert (
        decode(encoded(Image.fromarray(np.ones((8, 8), np.float32)), "TIFF"), CROP).min()
        == 255
    )


@pytest.mark.parametrize(
    ("low", "high"), [(0, 255), (-1, 1), (0, 1.5), (0, float("nan")), (0, float("inf"))]
)
def test_floats_of_another_range_are_refused(low: float, high: float) -> None:
    odd = Image.fromarray(np.array([[low, high]], np.float32))
    with pytest.raises(
        DataError,
        match=r"cannot be read as an image \(it holds floats from .*expected 0 to 1",
    ):
        decode(encoded(odd, "TIFF"), CROP)


@pytest.mark.parametrize("high", [1, 255, 65535, 70000, 2**31 - 1])
def test_whole_numbers_of_32_bits_are_refused(high: int) -> None:
    odd = Image.fromarray(np.array([[0, high]], np.int32))
    with pytest.raises(
        DataError, match=rf"whole numbers of 32 bits or with a sign, from 0 to {high}"
    ):
        decode(encoded(odd, "TIFF"), CROP)


def test_whole_numbers_of_16_bits_with_a_sign_are_refused() -> None:
    deep = encoded(
        Image.fromarray(np.array([[0, 65535]], np.uint16)), "TIFF", tiffinfo={339: 2}
    )
    with pytest.raises(DataError, match="with a sign, from -1 to 0"):
        decode(deep, CROP)


@pytest.mark.parametrize("most", [4095, 65535])
def test_a_pgm_of_more_than_8_bits_is_scaled_by_its_own_white(most: int) -> None:
    numbers = np.array([0, most // 2, most], ">u2").tobytes()
    with Image.open(BytesIO(f"P5 3 1 {most}\n".encode() + numbers)) as read:
        assert np.asarray(rgb(read))[0, :, 0].tolist() == [0, 127, 255]
