"""The command that exports tickets."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

import instant_soup as soup
from instant_soup.cli.main import app
from instant_soup.core.budget import Meter
from instant_soup.core.prune import prune
from instant_soup.core.score import magnitude
from instant_soup.core.ticket import Ticket
from instant_soup.export import csr
from instant_soup.runs.run import build

Call = Callable[..., Result]


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mini_recipe: dict[str, object]
) -> Call:
    """Runs the command in a folder with a ticket and the recipe it belongs to."""
    recipe = soup.Recipe.parse(mini_recipe)
    (tmp_path / "recipe.toml").write_text(recipe.toml(), encoding="utf-8")
    learner = build(recipe).learner(Meter())
    learner.apply_mask(prune(magnitude(learner), learner.mask, 0.9))
    Ticket.drawn(learner, {"name": "magnitude"}).save(tmp_path / "ticket.safetensors")
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(
        app, ["export", *map(str, words)], catch_exceptions=False
    )


def refused(result: Result, *said: str) -> None:
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    assert len(result.stderr.strip().splitlines()) == 1
    for words in said:
        assert words in result.stderr
    assert sorted(part.name for part in Path().iterdir()) == [
        "recipe.toml",
        "ticket.safetensors",
    ]


def test_a_ticket_is_exported_by_model_or_by_recipe(call: Call, tiny_bert: Path) -> None:
    said = call("ticket.safetensors", "--to", "csr", "-o", "one", "--model", tiny_bert)
    assert said.exit_code == 0, said.output
    assert (
        f"one: {Path('one').stat().st_size:,} bytes, outputs as the model's"
        in said.stdout
    )
    assert "not fine-tuned yet" in said.stdout
    done = json.loads(
        call(
            "ticket.safetensors",
            "--to",
            "csr",
            "-o",
            "two",
            "--recipe",
            "recipe.toml",
            "--json",
        ).stdout
    )
    assert (done["format"], done["out"], done["size"]) == (
        "csr",
        "two",
        Path("two").stat().st_size,
    )
    assert (
        csr.read(Path("one"))[1]
        == csr.read(Path("two"))[1]
        == Ticket.load("ticket.safetensors").mask
    )


def test_measuring_says_sizes_times_and_gains(call: Call, tiny_bert: Path) -> None:
    words = ("ticket.safetensors", "--to", "csr", "--model", tiny_bert, "--measure")
    said = call(*words, "-o", "one").stdout
    for part in ("mask entropy + survivors", "dense, zipped", "32 x 64", "fastest"):
        assert part in said
    assert said.count("ain: at batch") == 4
    found = json.loads(call(*words, "-o", "two", "--json").stdout)["measured"]
    assert found["threads"] == torch.get_num_threads()
    assert found["sizes"]["formats"]["csr"] == Path("two").stat().st_size
    assert len(found["sentences"]) == len(found["latencies"]) == 4


def test_bad_input_is_one_line_and_nothing_is_written(
    call: Call, tiny_bert: Path, tiny_vit: Path
) -> None:
    ticket, model, out = "ticket.safetensors", ("--model", tiny_bert), ("-o", "out")
    refused(call("nowhere", "--to", "csr", *out, *model), "no ticket at nowhere")
    refused(
        call(ticket, "--to", "onx", *out, *model),
        "unknown format 'onx'; did you mean 'onnx'?",
    )
    refused(
        call(ticket, "--to", "csr", *out),
        "which model? give --model NAME, or --recipe RECIPE",
    )
    refused(
        call(ticket, "--to", "csr", *out, *model, "--recipe", "recipe.toml"), "not both"
    )
    refused(
        call(ticket, "--to", "csr", *out, *model, "--set", "seed=1"),
        "which --cell and --set belong to",
    )
    refused(
        call(ticket, "--to", "csr", "-o", "recipe.toml", *model),
        "recipe.toml exists already",
    )
    refused(
        call(ticket, "--to", "openvino", *out, *model),
        "does not end in .xml",
        "try out.xml",
    )
    refused(call(ticket, "--to", "csr", *out, "--model", tiny_vit), "no such tensor")
    refused(
        call(ticket, "--to", "csr", *out, "--model", "no/where"),
        "could not load model 'no/where'",
    )
    refused(
        call(ticket, "--to", "csr", *out, *model, "--weights", "no"), "no weights at no"
    )
    refused(call(ticket, "--to", "csr", *out, *model, "--weights", ticket), "has no '")
