"""OpenVINO's files, run by its runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from instant_soup.core.rounding import rounding_of
from instant_soup.export import openvino as ours
from instant_soup.export.export import export_model
from instant_soup.export.portable import Portable


def test_a_text_model_has_its_outputs_and_its_zeros(
    source: Callable[[str], Portable], tmp_path: Path
) -> None:
    found = source("bert")
    done = export_model(found, "openvino", tmp_path / "out.xml")
    assert sorted(part.name for part in tmp_path.iterdir()) == ["out.bin", "out.xml"]
    assert done.size == sum(part.stat().st_size for part in tmp_path.iterdir())
    inputs = found.inputs(4, 33, seed=9)
    run = ours.runner(tmp_path / "out.xml")
    expected = found.logits(inputs)
    torch.testing.assert_close(
        run(inputs), expected, rtol=0, atol=rounding_of(found.model, expected)
    )
    stored = np.frombuffer((tmp_path / "out.bin").read_bytes(), dtype=np.uint8)
    for name in found.ticket.mask:
        wanted = found.tensors[name].numpy().tobytes()
        assert wanted in stored.tobytes(), name


def test_out_has_to_end_in_xml(
    source: Callable[[str], Portable], tmp_path: Path, tiny_bert: Path
) -> None:
    from instant_soup.core.errors import KnobError
    from instant_soup.export.export import check_out

    with pytest.raises(KnobError, match=r"does not end in \.xml.*try .*out\.xml"):
        check_out("openvino", tmp_path / "out")
