"""The ticket of a checkpoint pruned by magnitudes is one that tasks on that checkpoint draw, and take."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)
from typer.testing import CliRunner

from instant_soup.checkpoints.magnitude_ticket import ticket_of
from instant_soup.checkpoints.prune import prune_checkpoint
from instant_soup.cli.main import app
from instant_soup.core.mask import Mask
from instant_soup.core.prune import Across, prune
from instant_soup.core.ticket import Ticket
from instant_soup.models import decoder, pretrained, tiny_decoders

EXPERTS = ("mixtral", "qwen3_moe")


@pytest.mark.parametrize("across", ["model", "layer"])
@pytest.mark.parametrize("kind", ["llama", "gpt2", *EXPERTS])
def test_it_is_the_ticket_of_the_model_in_memory(
    kind: str, across: Across, tmp_path: Path
) -> None:
    source: Path = getattr(tiny_decoders, kind)(tmp_path / kind)
    done = prune_checkpoint(source, tmp_path / "out", 0.5, across=across)
    ticket = ticket_of(source, done)

    loaded = decoder.load(str(source))
    ticket.check_base(loaded.base, loaded.scope)
    assert ticket.mask.kept == done.kept
    ticket.apply(loaded.model)
    written = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    for name, tensor in written.named_parameters():
        assert torch.equal(tensor, loaded.model.get_parameter(name)), name

    # a layer is an expert in the file and a stack in the model, and shares of layers are rounded by themselves
    if across == "model" or kind not in EXPERTS:
        dense = AutoModelForCausalLM.from_pretrained(source)
        magnitudes = {
            name: dense.get_parameter(name).detach().abs() for name in loaded.scope
        }
        mask = prune(magnitudes, Mask.dense(loaded.scope), 0.5, across=across)
        assert ticket.mask == mask


def test_stored_in_bfloat16_it_is_one_of_tasks_too(tmp_path: Path) -> None:
    source = tiny_decoders.llama(tmp_path / "model")
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.bfloat16)
    model.save_pretrained(source)
    ticket = ticket_of(source, prune_checkpoint(source, tmp_path / "out", 0.5))
    loaded = decoder.load(str(source))
    ticket.check_base(loaded.base, loaded.scope)


def test_tasks_of_classifiers_take_it(
    tiny_bert: Path, tiny_vit: Path, tmp_path: Path
) -> None:
    text = tmp_path / "text"
    AutoModelForSequenceClassification.from_pretrained(tiny_bert).save_pretrained(text)
    AutoTokenizer.from_pretrained(tiny_bert).save_pretrained(text)
    classifier = AutoModelForImageClassification.from_pretrained(tiny_vit)
    image = tmp_path / "image"
    classifier.save_pretrained(image)
    preprocessor = (tiny_vit / "preprocessor_config.json").read_text(encoding="utf-8")
    (image / "preprocessor_config.json").write_text(preprocessor, encoding="utf-8")

    for source in (text, image):
        done = prune_checkpoint(source, tmp_path / f"sparse-{source.name}", 0.5)
        loaded = pretrained.load(str(source))
        ticket_of(source, done).check_base(loaded.base, loaded.scope)


def test_what_was_left_out_on_purpose_is_in_no_ticket(tmp_path: Path) -> None:
    source = tiny_decoders.mixtral(tmp_path / "model")
    done = prune_checkpoint(source, tmp_path / "out", 0.5, exclude=["*.experts.*"])
    ticket = ticket_of(source, done)
    assert [*ticket.mask] == [
        name for name in decoder.load(str(source)).scope if ".experts." not in name
    ]


def test_a_part_of_a_stack_leaves_the_names_of_the_file(tmp_path: Path) -> None:
    source = tiny_decoders.mixtral(tmp_path / "model")
    done = prune_checkpoint(source, tmp_path / "out", 0.5, exclude=["*.experts.2.*"])
    ticket = ticket_of(source, done)
    assert [*ticket.mask] == [*done.scope]
    assert ticket.mask.kept == done.kept


@pytest.mark.parametrize("config", [None, "{}", '{"architectures": ["NoSuchModel"]}'])
def test_without_a_model_it_has_the_names_of_the_file(
    config: str | None, tmp_path: Path
) -> None:
    source = tiny_decoders.llama(tmp_path / "model")
    (source / "config.json").unlink()
    if config is not None:
        (source / "config.json").write_text(config, encoding="utf-8")

    done = prune_checkpoint(source, tmp_path / "out", 0.5)
    ticket = ticket_of(source, done)
    assert [*ticket.mask] == [*done.scope]
    sparse = load_file(tmp_path / "out" / "model.safetensors")
    for name in ticket.mask:
        assert not sparse[name][~ticket.mask[name]].any()


def test_from_the_command_line_to_a_perplexity(letters: Path, tmp_path: Path) -> None:
    source = tiny_decoders.mixtral(tmp_path / "model")
    ticket = tmp_path / "ticket.safetensors"
    judged_on = tmp_path / "test.txt"
    judged_on.write_text("some words, and a soup of tickets. " * 20, encoding="utf-8")
    recipe = tmp_path / "mine.toml"
    recipe.write_text(
        f"""
        sparsity = 0.5
        budget = 0.0
        method.name = "magnitude"
        task = {{ name = "language/mine", kind = "language", model = {json.dumps(str(source))} }}
        data = {{ folder = {json.dumps(str(letters))}, test = {json.dumps(str(judged_on))}, window = 32 }}
        """,
        encoding="utf-8",
    )
    run = CliRunner()
    pruned = run.invoke(
        app,
        ["prune", str(source), "-o", str(tmp_path / "out"), "--sparsity", "0.5", "--ticket", str(ticket)],
    )  # fmt: skip
    assert pruned.exit_code == 0, pruned.output
    assert Ticket.load(ticket).method == {"name": "magnitude"}
    judged = run.invoke(app, ["evaluate", str(ticket), str(recipe)])
    assert judged.exit_code == 0, judged.output
    assert "perplexity" in judged.output
