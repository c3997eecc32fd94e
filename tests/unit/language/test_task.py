"""Language tasks: perplexity by its protocol, what is refused, and the road from a draw to a folder."""

from __future__ import annotations

import json
from math import exp
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch.nn import functional as F
from transformers import AutoModelForCausalLM, AutoTokenizer
from typer.testing import CliRunner

import instant_soup as soup
from instant_soup.cli.main import app
from instant_soup.core.errors import DataError, RecipeError, TrainingError, UnknownName
from instant_soup.data.language import language_splits
from instant_soup.methods import METHODS
from instant_soup.models import tiny, tiny_decoders
from instant_soup.recipes.recipe import Recipe
from instant_soup.runs.transfer import fit
from instant_soup.tasks import CourseTask, language

from .conftest import quick


def recipe(model: Path, data: Path, **more: Any) -> Recipe:
    fields: dict[str, Any] = {
        "task": {"name": "mine", "kind": "language", "model": str(model)},
        "data": {"folder": str(data), "window": 32},
        "method": {"name": "wanda", "samples": 6},
        "sparsity": 0.5,
        "training": {"batch": 4, "steps": 6, "precision": "float32"},
        "budget": 0.0,
    }
    return Recipe.parse({**fields, **more})


def test_perplexity_is_that_of_the_protocol(llama: Path, letters: Path) -> None:
    """The test texts joined by blank lines, tokenised once, windows without overlap, exp of the mean loss."""
    task = language("mine", model=str(llama), data=letters, window=32, regime=quick())
    texts = pq.read_table(letters / "test.parquet").column("text").to_pylist()
    ids = AutoTokenizer.from_pretrained(llama)("\n\n".join(texts), return_tensors="pt")[
        "input_ids"
    ][0]
    model, losses = AutoModelForCausalLM.from_pretrained(llama).eval(), []
    for start in range(0, len(ids) - 31, 32):
        window = ids[start : start + 32]
        with torch.no_grad():
            losses.append(
                F.cross_entropy(model(window[None]).logits[0, :-1], window[1:]).item()
            )
    test = task.learner(soup.Meter()).test()
    assert test["perplexity"] == pytest.approx(exp(sum(losses) / len(losses)), rel=1e-5)
    assert test["nats_per_token"] == pytest.approx(sum(losses) / len(losses), rel=1e-5)
    assert task.course.facts["L"] == 32


def test_selection_goes_by_a_part_of_the_training_text_and_higher_is_better(
    reading_llama: CourseTask,
) -> None:
    course = reading_llama.course
    learner = reading_llama.learner(soup.Meter())
    before = learner.evaluate()
    assert before < 0
    learner.train(6)
    assert learner.evaluate() > before  # training made it less perplexed
    rows = {tuple(row) for row in course.train.tokens.tolist()}  # type: ignore[attr-defined]
    assert not rows & {tuple(row) for row in course.validation.tokens.tolist()}  # type: ignore[attr-defined]


def test_the_loss_is_cross_entropy_with_label_smoothing(
    reading_llama: CourseTask,
) -> None:
    course = reading_llama.course
    batch = course.train.batch([0, 1])
    model = course.model.eval()
    logits = model(**batch).logits[:, :-1].flatten(0, 1)
    expected = F.cross_entropy(
        logits, batch["input_ids"][:, 1:].flatten(), label_smoothing=0.1
    )
    with torch.enable_grad():
        assert torch.allclose(course.batch_loss(model, batch, 0.1), expected, rtol=1e-5)
    with pytest.raises(TrainingError, match="temperature"):
        course.batch_loss(model, batch, temperature=2.0)


def test_a_run_without_recovery_records_perplexity_protocol_and_window(
    llama: Path, letters: Path, tmp_path: Path
) -> None:
    from instant_soup.runs.run import run
    from instant_soup.store.store import Store

    record = run(recipe(llama, letters), Store(tmp_path)).facts()
    assert record["metric"] == "perplexity"
    assert record["judged"]["L"] == 32
    assert "without overlap" in record["judged"]["protocol"]
    assert record["cost"]["train"].keys() == {"select", "test"}
    assert record["validation"] == pytest.approx(-record["test"]["perplexity"], rel=0.3)
    tuned = run(recipe(llama, letters, budget=1.0), Store(tmp_path))
    assert tuned.test["perplexity"] < record["test"]["perplexity"]


def test_instant_soup_runs_on_language_and_charges_its_look_aheads(
    reading_llama: CourseTask,
) -> None:
    method = METHODS["instant-soup"](
        denoisers=2, lookahead_steps=1, compression=0.3, finish="rewind", carry="none"
    )
    ticket = method.draw(reading_llama, 0.5, meter := soup.Meter())
    assert ticket.mask.kept == round(0.5 * ticket.mask.scope.size)
    assert meter.bill["look-ahead"].steps > 0


def test_a_ticket_becomes_a_plain_folder_with_zeros(
    llama: Path, letters: Path, tmp_path: Path
) -> None:
    from instant_soup.export.export import export_ticket

    wanted = recipe(
        llama, letters, method={"name": "wanda", "samples": 6, "pattern": "2:4"}
    )
    task = language(
        "mine", model=str(llama), data=letters, window=32, regime=wanted.training
    )
    ticket = wanted.make_method().draw(task, 0.5)
    for model, out in ((wanted, tmp_path / "a"), (str(llama), tmp_path / "b")):
        export_ticket(ticket, model, to="hf", out=out)
        weights = dict(AutoModelForCausalLM.from_pretrained(out).named_parameters())
        assert all(not weights[name][~ticket.mask[name]].any() for name in ticket.mask)
        assert "sparsity_config" not in json.loads(
            (out / "config.json").read_text(encoding="utf-8")
        )


def test_evaluate_tells_the_perplexity_of_a_ticket(
    llama: Path, letters: Path, tmp_path: Path
) -> None:
    wanted = recipe(llama, letters)
    path, ticket = tmp_path / "recipe.toml", tmp_path / "ticket.safetensors"
    path.write_text(wanted.toml(), encoding="utf-8")
    run = CliRunner()
    drawn = run.invoke(
        app,
        [
            "draw",
            str(path),
            "-o",
            str(ticket),
            "--out",
            str(tmp_path / "runs"),
            "--quiet",
        ],
    )
    assert drawn.exit_code == 0, drawn.output
    told = run.invoke(app, ["evaluate", str(ticket), str(path), "--json", "--quiet"])
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["test"]["perplexity"] > 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"task.model": "bert"}, "is no causal language model"),
        ({"data.window": 65}, "the model reads 2 to 64"),
        ({"data.folder": "short"}, "fewer than a window of 32"),
        ({"data.folder": "empty"}, "holds no train.parquet"),
        ({"data.folder": "blank"}, "has 0 tokens"),
        ({"data.test": "short"}, "fewer than a window of 32"),
        ({"method.subsets": 7}, "expected 1 to 6"),
        ({"data.folder": "nowhere"}, "no text at"),
        ({"method.pattern": "3:7", "sparsity": 4 / 7}, "does not divide"),
        ({"method.pattern": "2:4", "sparsity": 0.6}, "set the sparsity to that"),
        ({"task.model": "foreign"}, "it is of another model"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    change: dict[str, Any], words: str, llama: Path, letters: Path, tmp_path: Path
) -> None:
    tiny.bert(tmp_path / "bert")
    (tmp_path / "empty").mkdir()
    (tmp_path / "short").mkdir()
    (tmp_path / "blank").mkdir()
    pq.write_table(pa.table({"text": ["", " "]}), tmp_path / "blank" / "train.parquet")
    for split in ("train", "test"):
        pq.write_table(
            pa.table({"text": ["soup"]}), tmp_path / "short" / f"{split}.parquet"
        )
    foreign = tiny_decoders.llama(tmp_path / "foreign")
    tokenizer = json.loads((foreign / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer["model"]["vocab"] |= {f"word{i}": 1000 + i for i in range(50)}
    (foreign / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    path = tmp_path / "recipe.toml"
    path.write_text(recipe(llama, letters).toml(), encoding="utf-8")
    places = {
        name: tmp_path / name for name in ("bert", "blank", "empty", "short", "foreign")
    }
    sets = [
        part
        for key, value in change.items()
        for part in (
            "--set",
            f"{key}={json.dumps(str(places.get(value, value)) if isinstance(value, str) else value)}",
        )
    ]
    result = CliRunner().invoke(
        app, ["run", str(path), *sets, "--out", str(tmp_path / "runs"), "--quiet"]
    )
    assert result.exit_code == 2, result.output
    assert words in " ".join(result.output.split())
    assert "Traceback" not in result.output
    assert not list((tmp_path / "runs").rglob("*.safetensors"))
    assert not list((tmp_path / "runs").rglob("*.json"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"task.model": "bert"}, "is no causal language model"),
        ({"data.folder": "blank"}, "has 0 tokens"),
        ({"method.pattern": "3:7", "sparsity": 4 / 7}, "does not divide"),
    ],
)
def test_draw_refuses_the_same_and_writes_no_ticket(
    change: dict[str, Any], words: str, llama: Path, letters: Path, tmp_path: Path
) -> None:
    tiny.bert(tmp_path / "bert")
    (tmp_path / "blank").mkdir()
    pq.write_table(pa.table({"text": [""]}), tmp_path / "blank" / "train.parquet")
    path, ticket = tmp_path / "recipe.toml", tmp_path / "ticket.safetensors"
    path.write_text(recipe(llama, letters).toml(), encoding="utf-8")
    sets = []
    for key, value in change.items():
        place = tmp_path / str(value)
        sets += ["--set", f"{key}={json.dumps(str(place) if place.is_dir() else value)}"]
    arguments = [
        "draw",
        str(path),
        *sets,
        "-o",
        str(ticket),
        "--out",
        str(tmp_path / "runs"),
        "--quiet",
    ]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2, result.output
    assert words in " ".join(result.output.split())
    assert not ticket.exists()


def test_texts_are_read_from_parquet_text_files_and_single_files(
    llama: Path, tmp_path: Path
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(llama)
    (tmp_path / "train.txt").write_text("soup " * 60, encoding="utf-8")
    (tmp_path / "test.txt").write_text("the film " * 20, encoding="utf-8")
    splits = language_splits(
        "mine", tokenizer, window=16, folder=tmp_path, validation=0.2
    )
    assert tokenizer.decode(splits.test.tokens[0]).replace(" ", "").startswith("thefilm")
    assert len(splits.train) + len(splits.validation) == 300 // 16
    few = language_splits(
        "mine", tokenizer, window=16, folder=tmp_path, validation=0.2, limit=8, windows=3
    )
    assert (len(few.train), len(few.validation), len(few.test)) == (6, 2, 3)
    (tmp_path / "test.txt").unlink()
    with pytest.raises(DataError, match=r"set data\.test to where it is"):
        language_splits("mine", tokenizer, window=16, folder=tmp_path)


def test_the_text_that_comes_with_python_is_split_by_topic(llama: Path) -> None:
    splits = language_splits(
        "demo/language", AutoTokenizer.from_pretrained(llama), window=32, limit=50
    )
    train = {tuple(row) for row in splits.train.tokens.tolist()}
    assert len(splits.test) > 100
    assert len(train & {tuple(row) for row in splits.test.tokens.tolist()}) < 3


def test_a_name_that_nobody_knows_and_a_budget_of_nothing_elsewhere_are_refused() -> None:
    with pytest.raises(UnknownName, match="wikitext2"):
        language("language/wikitext")
    with pytest.raises(RecipeError, match="budget is 0"):
        Recipe.parse(
            {
                "task": {"name": "glue/rte"},
                "method": {"name": "magnitude"},
                "sparsity": 0.5,
                "budget": 0,
            }
        )


def test_a_trained_ticket_that_goes_on_to_another_text_is_fine_tuned_there(
    tmp_path: Path, letters: Path
) -> None:
    """Nothing is dropped on the way to a model whose head is tied to its embeddings, and yet it is not ready."""
    model = tiny_decoders.gpt2(tmp_path / "gpt2")
    task = language("mine", model=str(model), data=letters, window=32, regime=quick())
    ticket = soup.Gradual(rounds=2).draw(task, 0.5)
    assert ticket.ready

    fitted = fit(ticket, task)
    assert not fitted.having("dropped")
    assert fitted.ticket.start.keys() == ticket.start.keys()
    assert not fitted.ticket.ready
