"""CSR files and the models that multiply by them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from instant_soup.core.files import read_tensors, write_tensors
from instant_soup.core.rounding import rounding_of
from instant_soup.export import csr
from instant_soup.export.errors import ExportError
from instant_soup.export.export import export_model
from instant_soup.export.portable import Portable
from instant_soup.export.sparse import SparseLinear

Source = Callable[[str], Portable]


@pytest.mark.parametrize("kind", ["bert", "vit", "clip", "packaged"])
def test_a_file_holds_the_mask_and_builds_a_model_with_the_outputs(source: Source, kind: str, tmp_path: Path) -> None:
    found = source(kind)
    done = export_model(found, "csr", tmp_path / "out.safetensors")
    assert done.difference is not None
    assert done.difference <= rounding_of(found.model, found.logits(found.inputs(2)))
    tensors, mask, facts = csr.read(tmp_path / "out.safetensors")
    assert mask == found.ticket.mask
    assert tensors.keys() == found.tensors.keys()
    for name, tensor in found.tensors.items():
        assert torch.equal(tensors[name], tensor)
    assert facts["provenance"]["ticket"] == found.ticket.digest
    assert str(tmp_path.parent) not in str(facts)
    model = csr.load(tmp_path / "out.safetensors", lengths=())
    layers = [layer for layer in model.modules() if isinstance(layer, SparseLinear)]
    assert len(layers) == len(mask)
    assert sum(len(layer.values) for layer in layers) == mask.kept
    inputs = found.inputs(3, 12, seed=5)
    with torch.inference_mode():
        expected = found.logits(inputs)
        bound = rounding_of(found.model, expected)
        torch.testing.assert_close(model(**inputs).logits, expected, rtol=0, atol=bound)


def test_scipy_reads_the_rows(source: Source, tmp_path: Path) -> None:
    from scipy.sparse import csr_matrix

    found = source("bert")
    csr.write(found, tmp_path / "out")
    stored, name = load_file(tmp_path / "out"), next(iter(found.ticket.mask))
    values, col, crow = (stored[f"{name}/{part}"].numpy() for part in ("values", "col", "crow"))
    whole = csr_matrix((values, col, crow), shape=found.ticket.mask.scope.shapes[name]).toarray()
    assert torch.equal(torch.from_numpy(whole), found.tensors[name])


def test_a_model_of_another_kind_is_refused(source: Source, tmp_path: Path) -> None:
    csr.write(source("bert"), tmp_path / "out")
    with pytest.raises(ExportError, match=r"for which the model has no place \(.*\); give a model of the architecture"):
        csr.load(tmp_path / "out", torch.nn.Linear(2, 2))


def spoil(what: str, tensors: dict[str, Any], facts: dict[str, Any], name: str) -> None:
    crow, col, values = (tensors[f"{name}/{part}"] for part in ("crow", "col", "values"))
    match what:
        case "a column past the end":
            col[0] = 10_000
        case "a column before the start":
            col[0] = -1
        case "a column twice":
            col[1] = col[0]
        case "rows that run backwards":
            crow[1] = 10_000
        case "a value too few":
            tensors[f"{name}/values"] = values[1:]
        case "no rows":
            del tensors[f"{name}/crow"]
        case "another format":
            facts["format"] = "bitmask"
        case "a newer schema":
            facts["schema"] = 99
        case "no shapes":
            del facts["shapes"]
        case "shapes that are none":
            facts["shapes"] = [["a", "b"]]


@pytest.mark.parametrize(
    "what",
    [
        "a column past the end",
        "a column before the start",
        "a column twice",
        "rows that run backwards",
        "a value too few",
        "no rows",
        "another format",
        "a newer schema",
        "no shapes",
        "shapes that are none",
    ],
)
def test_a_damaged_file_is_refused_and_nothing_is_read_out_of_bounds(source: Source, what: str, tmp_path: Path) -> None:
    csr.write(source("bert"), tmp_path / "out")
    tensors, facts = read_tensors(tmp_path / "out", ExportError, "CSR file")
    spoil(what, tensors, facts, next(iter(source("bert").ticket.mask)))
    write_tensors(tmp_path / "out", tensors, facts)
    with pytest.raises(ExportError, match=str(tmp_path)):
        csr.load(tmp_path / "out")
