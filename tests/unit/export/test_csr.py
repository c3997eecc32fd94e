"""CSR files and the models that multiply by them."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

from instant_soup.core.rounding import rounding_of
from instant_soup.core.tensor_files import read_tensors, write_tensors
from instant_soup.export import csr
from instant_soup.export.errors import ExportError
from instant_soup.export.export import export_model
from instant_soup.export.portable import Portable
from instant_soup.export.sparse import SparseLinear

Source = Callable[[str], Portable]


@pytest.mark.parametrize("kind", ["bert", "vit", "clip", "packaged"])
def test_a_file_holds_the_mask_and_builds_a_model_with_the_outputs(
    source: Source, kind: str, tmp_path: Path
) -> None:
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
    values, col, crow = (
        stored[f"{name}/{part}"].numpy() for part in ("values", "col", "crow")
    )
    whole = csr_matrix(
        (values, col, crow), shape=found.ticket.mask.scope.shapes[name]
    ).toarray()
    assert torch.equal(torch.from_numpy(whole), found.tensors[name])


def test_a_model_of_another_kind_is_refused(source: Source, tmp_path: Path) -> None:
    csr.write(source("bert"), tmp_path / "out")
    with pytest.raises(
        ExportError,
        match=r"for which the model has no place \(.*\); give a model of the architecture",
    ):
        csr.load(tmp_path / "out", torch.nn.Linear(2, 2))


def test_a_deeper_model_is_refused_and_not_filled_in_part(
    source: Source, tmp_path: Path
) -> None:
    csr.write(source("bert"), tmp_path / "out")
    config = csr.load(tmp_path / "out").config
    config.num_hidden_layers += 1
    deeper = AutoModelForSequenceClassification.from_config(config)
    with pytest.raises(ExportError, match=r"has nothing for 'bert\.encoder\.layer\."):
        csr.load(tmp_path / "out", deeper)


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
def test_a_damaged_file_is_refused_and_nothing_is_read_out_of_bounds(
    source: Source, what: str, tmp_path: Path
) -> None:
    csr.write(source("bert"), tmp_path / "out")
    tensors, facts = read_tensors(tmp_path / "out", ExportError, "CSR file")
    spoil(what, tensors, facts, next(iter(source("bert").ticket.mask)))
    write_tensors(tmp_path / "out", tensors, facts)
    with pytest.raises(ExportError, match=str(tmp_path)):
        csr.load(tmp_path / "out")


def forge(source: Source, out: Path, **changes: Any) -> Path:
    """A file whose model has other numbers in its configuration."""
    csr.write(source("bert"), out)
    tensors, facts = read_tensors(out, ExportError, "CSR file")
    for key, value in changes.items():
        if key in facts["model"]:
            facts["model"][key] = value
        else:
            facts["model"]["config"][key] = value
    write_tensors(out, tensors, facts)
    return out


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"hidden_size": 2**30}, "a model that is too large: it would unfold into"),
        ({"vocab_size": 10**9}, "a model that is too large: it would unfold into"),
        (
            {"num_hidden_layers": 10**12},
            "num_hidden_layers of its model is 1,000,000,000,000; expected at most",
        ),
        ({"num_hidden_layers": 99_999}, "too large|more than 100,000 parameters"),
        ({"classes": 10**9}, "has 1000000000 classes; expected 1 to"),
        ({"classes": "3"}, "has '3' classes"),
        ({"kind": "code"}, "is of kind 'code'"),
        ({"model_type": "no-such"}, "no model that transformers can build"),
        ({"hidden_size": "wide"}, "no model that transformers can build"),
        ({"hidden_size": -32}, "no model that transformers can build"),
    ],
)
def test_a_file_that_asks_for_a_huge_or_impossible_model_is_refused_in_little_memory(
    source: Source, changes: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    path = forge(source, tmp_path / "out", **changes)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ExportError, match=sentence):
        csr.load(path, lengths=())
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 * 1024  # KiB


def test_code_that_a_configuration_names_is_neither_written_nor_run(
    source: Source, tmp_path: Path
) -> None:
    auto_map = {"AutoModelForSequenceClassification": "evil.Model"}
    path = forge(source, tmp_path / "out", auto_map=auto_map)
    assert type(csr.load(path, lengths=())).__name__ == "BertForSequenceClassification"


def test_a_matrix_that_would_unfold_into_too_much_is_refused(
    source: Source, tmp_path: Path
) -> None:
    csr.write(source("bert"), tmp_path / "out")
    tensors, facts = read_tensors(tmp_path / "out", ExportError, "CSR file")
    facts["shapes"][0][1] = [32, 2**40]
    write_tensors(tmp_path / "out", tensors, facts)
    with pytest.raises(ExportError, match="it would unfold into"):
        csr.read(tmp_path / "out")


def test_what_unfolds_into_more_than_is_allowed_is_refused_and_read_if_that_is_allowed(
    source: Source, tmp_path: Path
) -> None:
    csr.write(source("bert"), tmp_path / "out")
    with pytest.raises(ExportError, match="it would unfold into"):
        csr.read(tmp_path / "out", limit=1000)
    assert csr.read(tmp_path / "out", limit=10**6)[1] == source("bert").ticket.mask
