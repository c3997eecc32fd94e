"""What several tests of jobs over blocks calibrate on."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest


@pytest.fixture(scope="module")
def letters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of text for the tiny decoders' tokenizers."""
    folder = tmp_path_factory.mktemp("letters")
    texts = [
        f"the soup number {chr(97 + i % 26)} is good and the film was not very bad"
        for i in range(60)
    ]
    pq.write_table(pa.table({"text": texts}), folder / "train.parquet")
    return folder
