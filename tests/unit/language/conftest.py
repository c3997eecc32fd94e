"""Miniatures that read letters, and a text to read."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import instant_soup as soup
from instant_soup.models import tiny_decoders
from instant_soup.tasks import CourseTask, language

WORDS = [
    "the",
    "a",
    "film",
    "plot",
    "is",
    "was",
    "very",
    "good",
    "bad",
    "not",
    "soup",
    "ticket",
    "draw",
    "keep",
    "prune",
]


def text(count: int, seed: int) -> list[str]:
    dice = random.Random(seed)
    return [" ".join(dice.choice(WORDS) for _ in range(12)) + "." for _ in range(count)]


@pytest.fixture(scope="session")
def letters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("letters")
    for split, count in (("train", 60), ("test", 12)):
        pq.write_table(
            pa.table({"text": text(count, len(split))}), folder / f"{split}.parquet"
        )
    return folder


@pytest.fixture(scope="session", params=["llama", "gpt2", "mixtral"])
def decoder_folder(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    made: Path = getattr(tiny_decoders, request.param)(
        tmp_path_factory.mktemp(request.param)
    )
    return made


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_decoders.llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="session")
def ending_llama(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a token at which texts end, as tokenizers have that lm-eval can read with."""
    folder = tmp_path_factory.mktemp("ending") / "llama"
    shutil.copytree(llama, folder)
    tokenizer = tiny_decoders.tokenizer()
    tokenizer.add_special_tokens({"eos_token": "\n"})
    tokenizer.save_pretrained(folder)
    return folder


def quick() -> soup.Regime:
    return soup.Regime(steps=6, batch=4, rate=1e-3, precision="float32")


@pytest.fixture(scope="session")
def reading(decoder_folder: Path, letters: Path) -> CourseTask:
    return language(
        decoder_folder.name,
        model=str(decoder_folder),
        data=letters,
        window=32,
        regime=quick(),
    )


@pytest.fixture(scope="session")
def reading_llama(llama: Path, letters: Path) -> CourseTask:
    return language("letters", model=str(llama), data=letters, window=32, regime=quick())
