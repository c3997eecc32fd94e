"""ONNX files, run by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from instant_soup.core.rounding import rounding_of
from instant_soup.export import onnx
from instant_soup.export.errors import ExportError
from instant_soup.export.export import export_model
from instant_soup.export.portable import Portable

Source = Callable[[str], Portable]


@pytest.fixture(scope="module")
def file(source: Source, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("onnx") / "bert.onnx"
    done = export_model(source("bert"), "onnx", out)
    assert done.difference is not None
    bert = source("bert")
    assert done.difference <= rounding_of(bert.model, bert.logits(bert.inputs(2)))
    assert done.facts["sparsity"] == pytest.approx(source("bert").ticket.sparsity)
    return out


def test_any_batch_and_length_gives_the_models_outputs(
    source: Source, file: Path
) -> None:
    found, run = source("bert"), onnx.runner(file)
    for batch, length in ((1, 1), (7, 3), (2, 60)):
        inputs = found.inputs(batch, length, seed=batch)
        expected = found.logits(inputs)
        torch.testing.assert_close(
            run(inputs), expected, rtol=0, atol=rounding_of(found.model, expected)
        )


def test_the_zeros_are_in_the_file(source: Source, file: Path) -> None:
    found = source("bert")
    stored = onnx.matrices(file, found)
    for name in found.ticket.mask:
        assert torch.equal(stored[name] != 0, found.ticket.mask[name])


@pytest.mark.parametrize("kind", ["vit", "clip"])
def test_images_too(source: Source, kind: str, tmp_path: Path) -> None:
    found = source(kind)
    done = export_model(found, "onnx", tmp_path / "out.onnx")
    assert done.facts["sparsity"] == pytest.approx(found.ticket.sparsity)
    stored = onnx.matrices(tmp_path / "out.onnx", found)
    for name in found.ticket.mask:
        assert torch.equal(stored[name] != 0, found.ticket.mask[name])


def test_lost_zeros_are_noticed(
    source: Source, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = source("bert")
    name = next(iter(found.ticket.mask))
    stored = onnx.matrices(file, found)
    monkeypatch.setattr(
        onnx, "matrices", lambda *_: {**stored, name: torch.ones_like(stored[name])}
    )
    with pytest.raises(ExportError, match="has lost zeros"):
        onnx._sparsity(found, file)
    monkeypatch.setattr(onnx, "matrices", lambda *_: {})
    with pytest.raises(ExportError, match="is not among the weights"):
        onnx._sparsity(found, file)


def test_what_torch_cannot_export_is_one_line(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise torch.onnx.errors.OnnxExporterError(
            "no such operator\nand a page of advice"
        )

    monkeypatch.setattr(torch.onnx, "export", fail)
    with pytest.raises(
        ExportError,
        match=r"could not export BertForSequenceClassification to ONNX: no such operator; take hf, bitmask or csr$",
    ):
        export_model(source("bert"), "onnx", tmp_path / "out.onnx")
    assert not list(tmp_path.iterdir())
