"""A file that is no ticket is named for what it is, in one sentence that does not repeat itself."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import instant_soup as soup
from instant_soup.core.errors import RecipeError, TicketError


def model_folder(path: Path) -> None:
    path.mkdir()
    (path / "config.json").write_text("{}")
    (path / "pytorch_model.bin").write_bytes(b"PK")


def run_folder(path: Path) -> None:
    path.mkdir()
    (path / "ticket.safetensors").write_bytes(b"")


def pickled(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"x")


STRANGERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "pointer": (
        lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"),
        r"not a readable ticket: it is a git-LFS pointer; fetch .*git lfs pull",
    ),
    "pickle": (pickled, "it is a pickle; it can run code"),
    "json": (lambda path: path.write_text('{"a": 1}'), "it is a JSON file"),
    "toml": (lambda path: path.write_text("[task]\n"), "is a JSON file|is a text file"),
    "text": (lambda path: path.write_text("hello"), "it is a text file"),
    "model": (model_folder, "it is the folder of a model; .*pytorch_model.bin"),
    "run": (
        run_folder,
        r"no ticket at .*: it is a folder; give .*/run/ticket\.safetensors",
    ),
    "weights": (
        lambda path: save_file({"a": torch.ones(2)}, path),
        "holds tensors of another tool; .*instant-soup import",
    ),
}


@pytest.mark.parametrize("name", STRANGERS)
def test_a_stranger_is_named(name: str, tmp_path: Path) -> None:
    make, expected = STRANGERS[name]
    make(tmp_path / name)
    with pytest.raises(TicketError, match=expected) as caught:
        soup.Ticket.load(tmp_path / name)
    assert str(caught.value).count("may be truncated") == 0


@pytest.mark.parametrize("name", ["pointer", "pickle", "weights", "model"])
def test_a_stranger_is_no_recipe_either(name: str, tmp_path: Path) -> None:
    make, _ = STRANGERS[name]
    make(tmp_path / name)
    with pytest.raises(RecipeError, match=r"and no recipe|is a folder; give a recipe"):
        soup.Recipe.read(tmp_path / name)
