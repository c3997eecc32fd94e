"""Bitmask files: near the entropy, loaded by twenty lines, and never believed."""

from __future__ import annotations

import json
import re
import resource
import zlib
from math import lgamma, log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import instant_soup as soup
from instant_soup.core.errors import DataError, ScopeError
from instant_soup.export import bitmask

PAGE = Path(__file__).parents[3] / "docs" / "bitmask.md"
DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64]


def dense(dtype: torch.dtype = torch.float32, width: int = 60) -> dict[str, Tensor]:
    dice = torch.Generator().manual_seed(0)
    made = {
        name: torch.randn(width, 33 if i else width, generator=dice).to(dtype)
        for i, name in enumerate("ab")
    }
    return {**made, "bias": torch.ones(7), "steps": torch.tensor(3)}


def masked(tensors: dict[str, Tensor], sparsity: float) -> soup.Mask:
    scope = soup.Scope({name: tuple(tensors[name].shape) for name in "ab"})
    return soup.prune(
        {name: tensors[name].abs() for name in "ab"}, soup.Mask.dense(scope), sparsity
    )


def same(one: Tensor, other: Tensor) -> bool:
    return (
        one.dtype == other.dtype and one.shape == other.shape and torch.equal(one, other)
    )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("sparsity", [0.0, 0.4, 0.7, 0.9, 0.999])
def test_a_model_is_read_back_masked_and_to_the_bit(
    tmp_path: Path, dtype: torch.dtype, sparsity: float
) -> None:
    tensors = dense(dtype)
    mask = masked(tensors, sparsity)
    bitmask.write(tmp_path / "m", tensors, mask, {"model": "tiny"})
    found = bitmask.read(tmp_path / "m")
    assert found.mask == mask
    assert dict(found.facts) == {"model": "tiny"}
    assert {*found.tensors} == {*tensors}
    for name, tensor in tensors.items():
        assert same(
            found.tensors[name],
            tensor.masked_fill(~mask[name], 0) if name in mask else tensor,
        )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.8, 0.97])
def test_the_twenty_lines_of_the_page_load_the_same(
    tmp_path: Path, dtype: torch.dtype, sparsity: float
) -> None:
    *_, lines = re.findall(
        r"^```python\n(.*?)^```",
        PAGE.read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )
    assert "instant_soup import" not in lines
    assert "import instant_soup" not in lines
    body = lines[lines.index("def load") :].strip().splitlines()
    assert len(body) <= 20
    place: dict[str, Any] = {}
    exec(compile(lines, str(PAGE), "exec"), place)  # noqa: S102 - our own page
    tensors = dense(dtype)
    tensors["other"] = tensors["bias"]
    mask = masked(tensors, sparsity)
    bitmask.write(tmp_path / "m", tensors, mask)
    loaded, found = place["load"](tmp_path / "m"), bitmask.read(tmp_path / "m").tensors
    assert loaded.keys() == {*tensors}
    for name, array in loaded.items():
        tensor = torch.from_numpy(array.copy())
        assert same(
            tensor.view(torch.bfloat16) if array.dtype == np.uint16 else tensor,
            found[name],
        )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("sparsity", [0.0001, 0.1, 0.5, 0.7, 0.9, 0.95, 0.97, 0.99])
def test_the_file_is_within_five_percent_of_entropy_and_survivors(
    tmp_path: Path, dtype: torch.dtype, sparsity: float
) -> None:
    tensors = dense(dtype, width=1024)
    mask = masked(tensors, sparsity)
    bitmask.write(tmp_path / "m", tensors, mask)
    least = (
        sum(t.nbytes for n, t in tensors.items() if n not in mask)
        + mask.kept * dtype.itemsize
    )
    for name, kept in mask.kept_by_name.items():
        n = mask.scope.numel(name)
        least += (lgamma(n + 1) - lgamma(kept + 1) - lgamma(n - kept + 1)) / log(2) / 8
    assert (tmp_path / "m").stat().st_size <= 1.05 * least


def test_each_coding_is_used_where_it_is_shortest_and_unfolds() -> None:
    dice, seen = np.random.default_rng(0), set()
    for sparsity in (0.0, 0.5, 0.7, 0.95, 0.9999, 1.0):
        for count in (1, 7, 8, 65, 5000):
            flags = dice.random(count) >= sparsity
            packed = np.packbits(flags, bitorder="little")
            coding, code = bitmask.encode(packed, count)
            assert len(code) <= len(packed)
            assert (bitmask.decode(coding, code, count, int(flags.sum())) == packed).all()
            seen.add(coding)
    assert seen == {"raw", "bits", "gaps"}


def test_tied_tensors_are_stored_once_and_come_back_under_both_names(
    tmp_path: Path,
) -> None:
    tensors = dense()
    tensors |= {"tied": tensors["a"], "bias.too": tensors["bias"]}
    bitmask.write(tmp_path / "m", tensors, masked(tensors, 0.5))
    assert load_file(tmp_path / "m").keys() == {
        "bits/a",
        "kept/a",
        "bits/b",
        "kept/b",
        "bias",
        "steps",
    }
    found = bitmask.read(tmp_path / "m").tensors
    assert torch.equal(found["tied"], found["a"])
    assert torch.equal(found["bias.too"], found["bias"])


def test_what_does_not_fit_the_mask_is_refused(tmp_path: Path) -> None:
    tensors = dense()
    mask = masked(tensors, 0.5)
    with pytest.raises(ScopeError, match="'a' is missing"):
        bitmask.write(tmp_path / "m", {"b": tensors["b"]}, mask)
    with pytest.raises(ScopeError, match=r"'b' has shape \(1, 33\)"):
        bitmask.write(tmp_path / "m", tensors | {"b": tensors["b"][:1]}, mask)
    assert [*tmp_path.iterdir()] == []


def forged(
    path: Path, tensors: dict[str, Tensor], parameters: Any, tied: Any = None
) -> Path:
    facts = {
        "format": "bitmask",
        "schema": 1,
        "parameters": parameters,
        "tied": tied or {},
        "facts": {},
    }
    save_file(tensors, path, {"instant_soup": json.dumps(facts)})
    return path


def code(data: bytes) -> Tensor:
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)


BITS, NONE = code(b"\x05"), torch.zeros(0)
BOMB = code(zlib.compress(bytes(100_000_000), 9))


@pytest.mark.parametrize(
    ("bits", "kept", "parameters", "said"),
    [
        (BITS, NONE, [["a", [8], "raw"]], "keeps 2 weights"),
        (BITS, torch.ones(2), [["a", [9], "raw"]], "1 bytes of bits for 9 weights"),
        (BITS, torch.ones(2), [["a", [2], "raw"]], "past the end"),
        (BITS, torch.ones(2), [["a", [-8], "raw"]], "below zero"),
        (BITS, torch.ones(2), [["a", ["8"], "raw"]], "whole numbers"),
        (BITS, torch.ones(2), [["a", [8], "code"]], "upgrade"),
        (BITS, torch.ones(2), [["a", [8], "bits"]], "bitmask file"),
        (BITS, torch.ones(2), [["a", 3]], "bitmask file"),
        (BITS, torch.ones(2), [["b", [8], "raw"]], "kept/b"),
        (BITS.float(), torch.ones(2), [["a", [8], "raw"]], "expected torch.uint8"),
        (BOMB, torch.ones(2), [["a", [8], "bits"]], "damaged, or more than the 1 bytes"),
        (BOMB, torch.ones(2), [["a", [8], "gaps"]], "damaged, or more than the 2 bytes"),
        (BITS, torch.ones(2), [["a", [2**30, 2**30], "gaps"]], "would unfold into"),
        (
            code(zlib.compress(b"\x09")),
            torch.ones(1),
            [["a", [8], "gaps"]],
            "a survivor is at 9 of 8",
        ),
        (
            code(zlib.compress(b"\x01")[:-1]),
            torch.ones(1),
            [["a", [8], "gaps"]],
            "damaged",
        ),
    ],
)
def test_a_file_that_lies_is_refused_in_little_memory(
    tmp_path: Path, bits: Tensor, kept: Tensor, parameters: Any, said: str
) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    path = forged(tmp_path / "m", {"bits/a": bits, "kept/a": kept}, parameters)
    with pytest.raises(DataError, match=said):
        bitmask.read(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 1024  # KiB


def test_stray_tensors_and_ties_to_nothing_are_refused(tmp_path: Path) -> None:
    sound = {"bits/a": BITS, "kept/a": torch.ones(2)}
    assert bitmask.read(forged(tmp_path / "m", sound, [["a", [8], "raw"]])).mask.kept == 2
    for more, tied in (({"bits/b": BITS.clone()}, {}), ({}, {"b": "gone"})):
        with pytest.raises(DataError, match="that no bitmask file has"):
            bitmask.read(forged(tmp_path / "m", sound | more, [["a", [8], "raw"]], tied))


def test_a_huge_model_in_a_small_file_is_read_if_that_is_allowed(tmp_path: Path) -> None:
    """Nothing is unfolded before it is asked for, so 2 GiB of nothing are a mask of 64 MiB."""
    path = forged(
        tmp_path / "m",
        {"bits/a": code(zlib.compress(b"")), "kept/a": NONE},
        [["a", [2**14, 2**15], "gaps"]],
    )
    with pytest.raises(DataError, match="read it with limit=2147483648"):
        bitmask.read(path)
    assert bitmask.read(path, limit=2**31).mask.kept == 0


@pytest.mark.parametrize(
    "metadata",
    [None, {"format": "pt"}, {"instant_soup": "{"}, {"instant_soup": '{"schema": 1}'}],
)
def test_other_files_are_refused(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "m", metadata)
    with pytest.raises(DataError, match="not a sound bitmask file"):
        bitmask.read(tmp_path / "m")
