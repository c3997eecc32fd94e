"""The page on one's own data, walked through line by line with a table and a checkpoint like a newcomer's."""

from __future__ import annotations

import json
import random
import re
import shutil
from pathlib import Path

import pytest
from transformers import AutoModelForSequenceClassification
from typer.testing import CliRunner

from instant_soup.cli.main import app

PAGE = (Path(__file__).parents[2] / "docs" / "your-data.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path, tiny_bert: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table with a byte order mark and words for labels, and a model with a tokenizer."""
    dice = random.Random(0)
    (tmp_path / "reviews").mkdir()
    for split, count in (("train", 240), ("test", 60)):
        rows = [blocks("csv")[0].splitlines()[0]]
        for number in range(count):
            verdict = dice.choice(("good", "bad"))
            rows.append(f'{number},"the film is {verdict}, a plot",{verdict}')
        path = tmp_path / "reviews" / f"{split}.csv"
        path.write_text("\n".join(rows), encoding="utf-8-sig")
    (tmp_path / "reviews.toml").write_text(blocks("toml")[0], encoding="utf-8")
    shutil.copytree(tiny_bert, tmp_path / "my-bert")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_table_and_a_checkpoint_become_a_ticket_a_comparison_and_a_model(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for block in blocks("console"):
        for line in block.splitlines():
            run = next(iter(folder.glob("runs/*instant-soup*")), folder)
            words = line.removeprefix("$ instant-soup ").replace("RUN/", f"{run}/")
            done = CliRunner().invoke(app, words.split())
            assert done.exit_code == 0, done.output

    assert len(list(folder.glob("runs/*/record.json"))) == 2
    model = AutoModelForSequenceClassification.from_pretrained(folder / "sparse-bert")
    assert model.config.id2label == {0: "bad", 1: "good"}
    matrices = [
        tensor
        for name, tensor in model.named_parameters()
        if "encoder" in name and tensor.ndim == 2
    ]
    zeros = sum(int((matrix == 0).sum()) for matrix in matrices)
    assert zeros / sum(matrix.numel() for matrix in matrices) == pytest.approx(
        0.8, abs=1e-3
    )

    (record,) = folder.glob("runs/*instant-soup*/record.json")
    accuracy = json.loads(record.read_text(encoding="utf-8"))["test"]["accuracy"]
    capsys.readouterr()
    exec(blocks("py")[0], {})  # noqa: S102  # the check that the page gives
    assert float(capsys.readouterr().out) == pytest.approx(accuracy)


def test_the_same_in_python(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exec(blocks("py")[1], {})  # noqa: S102  # the page itself
    assert "accuracy" in capsys.readouterr().out
