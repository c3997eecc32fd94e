"""Checkpoint: tensors that are read when asked for, and headers that are not believed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import instant_soup as soup
from instant_soup.checkpoints.checkpoint import INDEX, Checkpoint, ahead
from instant_soup.checkpoints.prunable import prunable
from instant_soup.core.errors import DataError, ScopeError
from instant_soup.core.stored import header
from instant_soup.core.weights import Elementwise

TENSORS = {
    "layers.10.fc.weight": torch.randn(4, 6).bfloat16(),
    "layers.2.fc.weight": torch.randn(4, 6).half(),
    "layers.2.fc.bias": torch.zeros(4),
    "counter": torch.tensor(7),
    "empty": torch.zeros(0, 3),
    "flags": torch.tensor([True, False]),
}


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    names = [*TENSORS]
    files = {name: f"model-{i % 2}.safetensors" for i, name in enumerate(names)}
    for file in set(files.values()):
        save_file(
            {name: TENSORS[name] for name in names if files[name] == file},
            tmp_path / file,
            {"format": "pt"},
        )
    (tmp_path / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": files}))
    return tmp_path


def test_a_sharded_folder_is_one_mapping_in_natural_order(sharded: Path) -> None:
    checkpoint = Checkpoint.open(sharded)
    assert [*checkpoint] == [
        "counter",
        "empty",
        "flags",
        "layers.2.fc.bias",
        "layers.2.fc.weight",
        "layers.10.fc.weight",
    ]
    assert len(checkpoint.files) == 2
    for name, tensor in TENSORS.items():
        assert checkpoint[name].dtype == tensor.dtype
        assert torch.equal(checkpoint[name], tensor)


def test_one_file_and_a_folder_with_one_file_are_read_alike(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "other.safetensors")
    for path in (tmp_path, tmp_path / "other.safetensors"):
        assert all(
            torch.equal(Checkpoint.open(path)[name], tensor)
            for name, tensor in TENSORS.items()
        )


def test_nothing_is_kept_and_nothing_is_read_to_find_out_a_name(sharded: Path) -> None:
    checkpoint = Checkpoint.open(sharded)
    assert checkpoint["layers.2.fc.weight"] is not checkpoint["layers.2.fc.weight"]
    for file in checkpoint.files:
        file.unlink()
    assert "counter" in checkpoint
    assert "gone" not in checkpoint
    with pytest.raises(OSError, match="model-"):
        checkpoint["counter"]


def test_prune_works_over_a_checkpoint(sharded: Path) -> None:
    checkpoint = Checkpoint.open(sharded)
    scope, _ = prunable(checkpoint.parts)
    mask = soup.prune(Elementwise(checkpoint, torch.abs), soup.Mask.dense(scope), 0.5)
    loaded = {name: TENSORS[name] for name in scope}
    assert mask == soup.prune(Elementwise(loaded, torch.abs), soup.Mask.dense(scope), 0.5)


@pytest.mark.parametrize(
    ("index", "said"),
    [
        ("{", "not a readable index"),
        ("[]", "not a readable index"),
        ('{"weight_map": {}}', "does not name files"),
        (
            '{"weight_map": {"a": "../x.safetensors"}}',
            "does not name files of its own folder",
        ),
        ('{"weight_map": {"a": 3}}', "not a readable index"),
        ('{"weight_map": {"lost": "model-0.safetensors"}}', "promises 'lost'"),
        (
            '{"weight_map": {"a": "model-9.safetensors"}}',
            "model-9.safetensors is not a readable",
        ),
    ],
)
def test_an_index_that_cannot_be_right_is_refused(
    sharded: Path, index: str, said: str
) -> None:
    (sharded / INDEX).write_text(index)
    with pytest.raises(DataError, match=said):
        Checkpoint.open(sharded)


def test_folders_without_or_with_several_checkpoints_are_refused(
    tmp_path: Path, sharded: Path
) -> None:
    (sharded / INDEX).unlink()
    with pytest.raises(DataError, match="2 safetensors files and no"):
        Checkpoint.open(sharded)
    with pytest.raises(DataError, match="no safetensors files"):
        Checkpoint.open(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "change",
    [
        lambda facts: facts["a"].update(shape=[-2, -3]),
        lambda facts: facts["a"].update(shape=[2, 2]),
        lambda facts: facts["a"].update(shape=[2**60, 2**60]),
        lambda facts: facts["a"].update(shape=[True, 6]),
        lambda facts: facts["a"].update(dtype="F7"),
        lambda facts: facts["a"].update(data_offsets=[4, 28]),
        lambda facts: facts["a"].pop("shape"),
        lambda facts: facts.update(b=facts["a"]),
        lambda facts: facts.update(a=3),
    ],
)
def test_a_header_that_cannot_be_right_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    save_file({"a": torch.ones(2, 3)}, tmp_path / "t.safetensors")
    whole = (tmp_path / "t.safetensors").read_bytes()
    end = 8 + int.from_bytes(whole[:8], "little")
    facts = json.loads(whole[8:end])
    change(facts)
    text = json.dumps(facts).encode()
    (tmp_path / "t.safetensors").write_bytes(
        len(text).to_bytes(8, "little") + text + whole[end:]
    )
    with pytest.raises(
        DataError, match=r"t\.safetensors is not a readable safetensors file"
    ):
        header(tmp_path / "t.safetensors")


def test_a_file_that_shrinks_after_it_was_opened_is_an_error_and_no_crash(
    tmp_path: Path,
) -> None:
    save_file({"a": torch.ones(1000)}, tmp_path / "t.safetensors")
    checkpoint = Checkpoint.open(tmp_path / "t.safetensors")
    with (tmp_path / "t.safetensors").open("rb+") as file:
        file.truncate(500)
    with pytest.raises(DataError, match="shorter than its header says"):
        checkpoint["a"]


def test_what_is_made_ahead_comes_in_order_and_its_errors_arrive() -> None:
    def items() -> Any:
        yield from range(5)
        raise DataError("at the end")

    seen: list[int] = []
    with pytest.raises(DataError, match="at the end"):
        seen.extend(ahead(items()))
    assert seen == [0, 1, 2, 3, 4]


NAMES = {
    "model.embed_tokens.weight": (9, 4),
    "model.layers.0.self_attn.qkv_proj.weight": (12, 4),
    "model.layers.0.mlp.experts.gate_up_proj": (3, 8, 4),
    "model.layers.0.input_layernorm.weight": (4,),
    "model.layers.0.odd_norm.weight": (4, 4),
    "lm_head.weight": (9, 4),
}


@pytest.fixture
def llama(tmp_path: Path) -> Checkpoint:
    tensors = {name: torch.randn(shape) for name, shape in NAMES.items()}
    save_file(
        {**tensors, "quantized": torch.ones(4, 4, dtype=torch.int8)},
        tmp_path / "model.safetensors",
    )
    return Checkpoint.open(tmp_path)


def test_matrices_are_in_scope_and_everything_else_says_why_not(
    llama: Checkpoint,
) -> None:
    scope, left_out = prunable(llama.parts)
    assert {*scope} == {
        "model.layers.0.self_attn.qkv_proj.weight",
        "model.layers.0.mlp.experts.gate_up_proj",
    }
    assert left_out == {
        "lm_head.weight": "head",
        "model.embed_tokens.weight": "embedding",
        "model.layers.0.input_layernorm.weight": "no matrix",
        "model.layers.0.odd_norm.weight": "norm",
        "quantized": "no floating-point numbers of 16 bits or more",
    }


def test_patterns_say_what_is_in_and_what_is_out(llama: Checkpoint) -> None:
    assert [*prunable(llama.parts, ["lm_head*", "*qkv*"])[0]] == [
        "lm_head.weight",
        [*NAMES][1],
    ]
    assert [*prunable(llama.parts, exclude=["*experts*"])[0]] == [[*NAMES][1]]
    with pytest.raises(ScopeError, match=r"no tensor's name matches 'x\*'"):
        prunable(llama.parts, ["x*"])
    with pytest.raises(ScopeError, match="none of 7 tensors"):
        prunable(llama.parts, exclude=["*layers*"])
