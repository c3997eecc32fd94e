"""A transfer from the command line, as a person or a script asks for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from typer.testing import CliRunner, Result

import instant_soup as soup
from instant_soup.cli.main import app

Call = Callable[..., Result]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def recipe(tmp_path: Path, mini_recipe: dict[str, Any]) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(
        tomli_w.dumps({**mini_recipe, "method": {"name": "magnitude"}}), encoding="utf-8"
    )
    return path


def test_a_ticket_is_fitted_judged_and_written(
    call: Call, recipe: Path, tmp_path: Path
) -> None:
    assert (
        call(
            "draw", recipe, "-o", "one.st", "--set", "task.name=other", "--quiet"
        ).exit_code
        == 0
    )
    result = call("transfer", "one.st", recipe, "-o", "two.st", "--quiet")
    assert result.exit_code == 0, result.output
    assert "from other to mini, sparsity 70.0012%" in result.stdout
    assert "head of the old task" in result.stdout
    record = Path(result.stdout.rsplit("Record: ", 1)[1].strip())
    assert record.parent == Path("runs/transfers")
    one, two = (
        soup.Ticket.load(tmp_path / "one.st"),
        soup.Ticket.load(tmp_path / "two.st"),
    )
    assert one.mask == two.mask
    assert not two.start
    again = call("transfer", "one.st", recipe, "--json")
    assert json.loads(again.stdout) == json.loads(record.read_text(encoding="utf-8"))
    assert "1 transfers" in call("doctor", "runs").stdout
    call("run", recipe, "--quiet")
    assert (
        "Transfer: magnitude, 70% pruned" in call("compare", "runs", "--markdown").stdout
    )
    assert "Transfer: magnitude, 70% pruned" in call("compare", "runs").stdout
    assert call("report", "runs", "-o", "page.html").exit_code == 0
    assert "Do tickets travel?" in (tmp_path / "page.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ('"bert.encoder.layer.{}.nothing" = "x"', "which the model does not have"),
        ("one = 1", "'one' is 1; expected a name"),
    ],
)
def test_a_map_that_cannot_be_is_refused_in_one_line(
    call: Call, recipe: Path, tmp_path: Path, names: str, said: str
) -> None:
    (tmp_path / "names.toml").write_text(names, encoding="utf-8")
    call("draw", recipe, "-o", "one.st", "--quiet")
    result = call("transfer", "one.st", recipe, "--map", "names.toml")
    assert result.exit_code == 2
    assert said in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "runs" / "transfers").exists()
