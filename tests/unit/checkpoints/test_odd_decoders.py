"""Decoders that are built otherwise than most are pruned block by block as in memory, or refused with what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    Gemma3nTextConfig,
    Gemma4TextConfig,
    Llama4TextConfig,
    PreTrainedConfig,
)

from instant_soup.checkpoints.block_job import Job
from instant_soup.checkpoints.blocks import prune_blocks
from instant_soup.core.errors import TrainingError
from instant_soup.core.pattern import Pattern, follows
from instant_soup.core.scope import Scope
from instant_soup.core.ticket import Ticket
from instant_soup.models import decoder, tiny_decoders

from .test_blocks import whole

NO_MARKS = {"pad_token_id": None, "bos_token_id": None, "eos_token_id": None}
SMALL: dict[str, Any] = {
    "vocab_size": len(tiny_decoders.LETTERS),
    "hidden_size": 32,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    **NO_MARKS,
}
GEMMA: dict[str, Any] = {
    "intermediate_size": 64,
    "num_hidden_layers": 4,
    "num_kv_shared_layers": 2,
    "layer_types": ["sliding_attention", "full_attention"] * 2,
    "sliding_window": 8,
    "vocab_size_per_layer_input": len(tiny_decoders.LETTERS),
    "hidden_size_per_layer_input": 8,
    **SMALL,
}


def saved(config: PreTrainedConfig, folder: Path) -> Path:
    torch.manual_seed(0)
    model: Any = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.15)
    model.save_pretrained(folder)
    tiny_decoders.tokenizer().save_pretrained(folder)
    return folder


def gemma3n(folder: Path) -> Path:
    """With lists of modules beside the blocks, which are run before the first of them."""
    config = Gemma3nTextConfig(
        laurel_rank=4, activation_sparsity_pattern=[0.0] * 4, **GEMMA
    )
    return saved(config, folder)


def gemma4(folder: Path) -> Path:
    """Whose last blocks take keys and values of earlier ones."""
    return saved(Gemma4TextConfig(global_head_dim=8, **GEMMA), folder)


def llama4(folder: Path) -> Path:
    """Whose experts have inputs first."""
    config = Llama4TextConfig(
        intermediate_size=64,
        intermediate_size_mlp=64,
        num_hidden_layers=2,
        num_local_experts=4,
        num_experts_per_tok=1,
        **SMALL,
    )
    return saved(config, folder)


@pytest.mark.parametrize("make", [gemma3n, gemma4, llama4])
@pytest.mark.parametrize("score", ["wanda", "sparsegpt"])
def test_streamed_they_keep_what_they_keep_in_memory(
    score: str, make: Any, letters: Path, tmp_path: Path
) -> None:
    source = make(tmp_path / "model")
    job = Job(0.5, score, calibrate=str(letters), samples=4, window=32, batch=2)
    prune_blocks(source, tmp_path / "out", job)
    written = dict(
        AutoModelForCausalLM.from_pretrained(tmp_path / "out").named_parameters()
    )
    for name, tensor in whole(source, job).items():
        assert torch.equal(written[name], tensor), name


def test_groups_of_llama4_lie_along_the_inputs_of_its_experts(tmp_path: Path) -> None:
    source = llama4(tmp_path / "model")
    loaded = decoder.load(str(source))
    experts = {name for name in loaded.scope if "experts." in name}
    assert {loaded.scope.inputs.get(name) for name in experts} == {1}

    ticket = tmp_path / "ticket.safetensors"
    prune_blocks(
        source,
        tmp_path / "out",
        Job(0.5, "magnitude", pattern="2:4"),
        ticket=ticket,
    )
    mask = Ticket.load(ticket).mask
    for name in experts:
        assert follows(mask[name], Pattern(2, 4), 1)
        assert not follows(mask[name], Pattern(2, 4), -1)


def test_a_job_whose_blocks_share_keys_is_gone_on_with_or_refused(
    letters: Path, tmp_path: Path
) -> None:
    source = gemma4(tmp_path / "model")
    job = Job(0.5, "wanda", calibrate=str(letters), samples=4, window=32)

    def stop(_: str, done: int, __: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        prune_blocks(source, out, job, watch=stop)
    with pytest.raises(TrainingError, match="such as keys and values"):
        prune_blocks(source, out, job)


@pytest.mark.parametrize("score", ["wanda", "ria", "sparsegpt"])
def test_experts_that_no_text_reaches_are_cut_by_magnitude_and_counted(
    score: str, letters: Path, tmp_path: Path
) -> None:
    source = tiny_decoders.mixtral(tmp_path / "model", layers=1, experts=8)
    file = source / "model.safetensors"
    weights = load_file(file)
    # whatever comes, two experts are above zero, which is what the last one is sent
    (router,) = [name for name in weights if name.endswith("gate.weight")]
    favour = torch.tensor([1.0, 2.0, 3.0, -1.0, -2.0, -3.0, -4.0, 0.0])
    weights[router] = favour[:, None] * torch.randn(32)
    save_file(weights, file, {"format": "pt"})

    job = Job(0.5, score, "layer", "2:4", str(letters), samples=2, window=8)
    ticket = tmp_path / "ticket.safetensors"
    with pytest.warns(UserWarning, match="matrices of experts were given nothing"):
        prune_blocks(source, tmp_path / "out", job, ticket=ticket)

    mask = Ticket.load(ticket).mask
    live = dict(AutoModelForCausalLM.from_pretrained(tmp_path / "out").named_parameters())
    before = dict(AutoModelForCausalLM.from_pretrained(source).named_parameters())
    assert mask.scope == Scope.of(AutoModelForCausalLM.from_pretrained(source))
    for name in mask:
        assert torch.equal(live[name] != 0, mask[name]), name
    stack = "model.layers.0.mlp.experts.down_proj"
    kept = mask[stack][7]
    assert torch.equal(live[stack][7][kept], before[stack][7][kept])
