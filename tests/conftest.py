"""Miniatures that the tests share: tiny models, a tiny labelled text, tiny images, tasks of both."""

from __future__ import annotations

import os
import random
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import instant_soup as soup
from instant_soup.models import tiny
from instant_soup.tasks import CourseTask

SHARED = Path(__file__).parents[2] / "shared"


def pytest_configure() -> None:
    """One thread, here and in what tests start: miniatures are slower on two, and far slower beside other work."""
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)


@pytest.fixture
def irregular(tmp_path: Path) -> Callable[[str], Path]:
    """Something called ``out`` that is no regular file, by what it is."""

    def make(what: str) -> Path:
        out = tmp_path / "out"
        (tmp_path / "target").write_text("mine")
        match what:
            case "a pipe":
                os.mkfifo(out)
            case "a symbolic link":
                out.symlink_to(tmp_path / "target")
            case "a link to nothing":
                out.symlink_to(tmp_path / "nothing")
            case "a folder":
                out.mkdir()
            case "a socket":
                os.mknod(out, stat.S_IFSOCK | 0o600)
            case "a device":
                try:
                    os.mknod(out, stat.S_IFCHR | 0o600, os.makedev(1, 3))
                except PermissionError:
                    pytest.skip("only root makes devices")
        return out

    return make


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # by far the longest: others go on beside it
    items.sort(key=lambda item: item.path.name != "test_chaos.py")
    missing = pytest.mark.skip(
        reason=f"needs the data folder {SHARED.name}/ beside the checkout"
    )
    for item in items:
        if "shared" in item.keywords and not SHARED.is_dir():
            item.add_marker(missing)


@pytest.fixture(scope="session")
def shared() -> Path:
    return SHARED


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.bert(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def tiny_text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sentences that say good or bad, with some words around it that say nothing."""
    folder, dice = tmp_path_factory.mktemp("text"), random.Random(0)
    for split, count in (("train", 96), ("validation", 32)):
        labels = [dice.randrange(2) for _ in range(count)]
        filler = [
            "the film is",
            "a plot was very",
            "the plot is a",
            "film was the very very",
        ]
        texts = [f"{dice.choice(filler)} {('bad', 'good')[label]}" for label in labels]
        pq.write_table(
            pa.table({"sentence": texts, "label": labels}), folder / f"{split}.parquet"
        )
    return folder


@pytest.fixture(scope="session")
def quick_regime() -> soup.Regime:
    return soup.Regime(
        steps=12, batch=8, rate=1e-3, weight_decay=0.1, precision="float32"
    )


@pytest.fixture(scope="session")
def mini(tiny_bert: Path, tiny_text: Path, quick_regime: soup.Regime) -> CourseTask:
    return soup.tasks.text(
        "mini",
        model=str(tiny_bert),
        data=tiny_text,
        columns=("sentence",),
        regime=quick_regime,
        validation=0.25,
    )


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="session")
def tiny_vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.vit(tmp_path_factory.mktemp("vit"))


@pytest.fixture(scope="session")
def tiny_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise, a little red, green or blue, in one folder per class."""
    folder, dice = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for split, counts in (("train", (32, 32, 32)), ("test", (11, 11, 10))):
        for channel, (name, count) in enumerate(
            zip(("red", "green", "blue"), counts, strict=True)
        ):
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = dice.integers(0, 160, (16, 20, 3), dtype=np.uint8)
                pixels[..., channel] += 95
                Image.fromarray(pixels).save(folder / split / name / f"{number}.png")
    return folder


@pytest.fixture(scope="session")
def mini_clip_task(
    tiny_clip: Path, tiny_images: Path, quick_regime: soup.Regime
) -> CourseTask:
    return soup.tasks.image(
        "mini images",
        model=str(tiny_clip),
        data=tiny_images,
        regime=quick_regime,
        validation=0.25,
    )


@pytest.fixture
def mini_recipe(tiny_bert: Path, tiny_text: Path) -> dict[str, object]:
    """The same task as a recipe, drawn by ISP."""
    return {
        "sparsity": 0.7,
        "task": {"name": "mini", "model": str(tiny_bert), "columns": ["sentence"]},
        "data": {"folder": str(tiny_text), "validation": 0.25},
        "method": {
            "name": "instant-soup",
            "preset": "beside-t",
            "denoisers": 2,
            "lookahead_steps": 2,
            "compression": 0.25,
            "mask_share": 0.5,
            "carry": "none",
            "finish": "rewind",
        },
        "training": {"steps": 12, "batch": 8, "rate": 1e-3, "precision": "float32"},
    }
