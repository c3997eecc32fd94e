"""The command line, as a person or a script meets it."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tomli_w
from typer.testing import CliRunner, Result

import instant_soup as soup
from instant_soup.cli.main import app
from instant_soup.core import tensor_files
from instant_soup.methods import METHODS, REFERENCES
from instant_soup.tasks import CourseTask

Call = Callable[..., Result]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def call(here: Path) -> Call:
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def recipe(here: Path, mini_recipe: dict[str, Any]) -> Path:
    path = here / "recipe.toml"
    path.write_text(tomli_w.dumps(mini_recipe), encoding="utf-8")
    return path


def refused(result: Result, *said: str, here: Path) -> None:
    """One line that says *said*, exit code 2, and nothing written but what was there."""
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    for words in said:
        assert words in result.stderr
    assert "Traceback" not in result.output
    assert all(
        path.suffix == ".lock" for path in (here / "runs").rglob("*") if path.is_file()
    )
    assert not list(here.rglob("*.safetensors*"))


def test_run_shows_metric_sparsity_and_cost_and_names_its_files(
    call: Call, recipe: Path, here: Path
) -> None:
    result = call("run", recipe, "--out", "store")
    assert result.exit_code == 0, result.output
    assert "accuracy" in result.stdout
    assert "look-ahead 12 steps" in result.stdout
    folder = here / result.stdout.rsplit("Files: ", 1)[1].strip()
    assert {path.name for path in folder.iterdir()} >= {
        "ticket.safetensors",
        "model.safetensors",
        "record.json",
        "recipe.toml",
    }


def test_progress_in_plain_text_shows_loss_sparsity_spent_budget_and_time_left(
    call: Call, recipe: Path
) -> None:
    lines = call("run", recipe).stderr.splitlines()
    assert lines
    assert all("T " in line and "spent" in line and "s left" in line for line in lines)
    assert any("loss" in line and "sparsity" in line for line in lines)


def test_quiet_says_nothing_on_the_way(call: Call, recipe: Path) -> None:
    assert call("run", recipe, "--quiet").stderr == ""


def test_a_run_that_was_done_says_that_it_was_read_back(call: Call, recipe: Path) -> None:
    assert "Read back" not in call("run", recipe, "--quiet").output
    assert "Read back" in call("run", recipe, "--quiet").output


def test_an_interrupted_run_says_that_nothing_is_lost(
    call: Call, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("instant_soup.runs.run.build", interrupted)
    assert "Stopped. The same command goes on from here." in call("run", recipe).stderr


def test_a_ticket_is_drawn_over_another_on_request_only(
    call: Call, recipe: Path, here: Path
) -> None:
    assert call("draw", recipe, "-o", "my.safetensors", "--quiet").exit_code == 0
    # the very same
    assert call("draw", recipe, "-o", "my.safetensors", "--quiet").exit_code == 0
    other = call("draw", recipe, "-o", "my.safetensors", "--set", "seed=1", "--quiet")
    assert (other.exit_code, "is there already" in other.stderr) == (2, True)


def test_a_plan_says_what_it_has_read_of_data_of_ones_own(
    call: Call, recipe: Path
) -> None:
    lines = call("plan", recipe).stdout.splitlines()
    read = [line for line in lines if line.startswith("Data: ")]
    assert len(read) == 1
    assert re.search(
        r"\d+ examples to train on, .* 32 to test on, 2 classes: 0, 1", read[0]
    )


def test_a_plan_warns_of_what_makes_a_method_pointless(call: Call, recipe: Path) -> None:
    warned = call("plan", recipe).stderr
    assert "look-aheads of 2 steps hardly move a weight" in warned
    assert "T is 12 steps: the dense model itself has hardly learned" in warned
    easy = call(
        "plan",
        recipe,
        "--set",
        "method={name='magnitude'}",
        "--set",
        "training.steps=200",
    ).stderr
    assert easy == ""


def test_a_cell_that_is_to_spend_what_another_did_is_planned_with_its_own_method(
    call: Call, here: Path, cut_off: None
) -> None:
    cells = """
[cells.soup]
method.name = "lth"
[cells.plain]
method.name = "magnitude"
budget.as = "soup"
"""
    text = 'sparsity = 0.5\ntask = {name = "glue/cola", model = "org/a-bert"}\n' + cells
    (here / "cells.toml").write_text(text, encoding="utf-8")
    shown = call("plan", "cells.toml")
    rows = {
        line.split()[1]: line.split()
        for line in shown.stdout.splitlines()
        if line.startswith("│")
    }
    assert rows["plain"][3] == "magnitude"
    assert float(rows["plain"][-2]) == pytest.approx(float(rows["soup"][-2]), rel=0.02)


def test_json_is_all_that_a_machine_gets(call: Call, recipe: Path) -> None:
    result = call("run", recipe, "--json")
    record = json.loads(result.stdout)
    assert record["ticket"]["kept"] == round(0.3 * record["ticket"]["prunable"])
    assert result.stderr == ""


def test_set_changes_a_field_and_so_the_key(call: Call, recipe: Path) -> None:
    first = json.loads(call("run", recipe, "--json").stdout)
    second = json.loads(
        call(
            "run", recipe, "--json", "--set", "method.denoisers=1", "--set", "seed=3"
        ).stdout
    )
    assert second["recipe"]["method"]["denoisers"] == 1
    assert second["recipe"]["seed"] == 3
    assert first["key"] != second["key"]


def test_draw_then_evaluate_gives_what_run_gives(
    call: Call, recipe: Path, here: Path
) -> None:
    whole = json.loads(call("run", recipe, "--json", "--out", "one").stdout)
    assert (
        call("draw", recipe, "-o", "my.safetensors", "--out", "two", "--quiet").exit_code
        == 0
    )
    judged = json.loads(call("evaluate", "my.safetensors", recipe, "--json").stdout)
    assert (
        judged["ticket"]
        == whole["ticket"]["digest"]
        == soup.Ticket.load(here / "my.safetensors").digest
    )
    assert judged["test"] == whole["test"]
    assert soup.Ticket.load(here / "my.safetensors").recipe == whole["key"]


def test_plan_says_what_workers_make_of_a_run(call: Call, recipe: Path) -> None:
    found = json.loads(call("plan", recipe, "--workers", "3", "--json").stdout)["workers"]
    assert [one["workers"] for one in found] == [1, 2, 3]
    assert found[0]["steps"] == 12
    assert found[1]["steps"] == 6
    shown = call("plan", recipe, "--workers", "2")
    assert shown.exit_code == 0, shown.output
    assert "10 Gbit/s between them" in " ".join(shown.stdout.split())


def test_a_run_by_processes_is_the_run_of_one(call: Call, recipe: Path) -> None:
    alone = json.loads(call("run", recipe, "--json", "--out", "alone").stdout)
    options = ("--engine", "processes", "--workers", "2", "--json", "--out", "spread")
    spread = json.loads(call("run", recipe, *options).stdout)
    of_the_machine = ("seconds", "clock", "memory", "made", "checksum")
    assert {name: alone[name] for name in alone if name not in of_the_machine} == {
        name: spread[name] for name in spread if name not in of_the_machine
    }
    wrong = call("run", recipe, "--engine", "cloud")
    assert wrong.exit_code == 2
    assert "run.engine is 'cloud'" in " ".join(wrong.stderr.split())


def test_plan_says_the_steps_that_the_run_then_takes(call: Call, recipe: Path) -> None:
    plan = json.loads(call("plan", recipe, "--json").stdout)
    record = json.loads(call("run", recipe, "--json").stdout)
    for stage in ("draw", "train"):
        planned = {purpose: cost["steps"] for purpose, cost in plan[stage].items()}
        assert planned == {
            purpose: cost["steps"] for purpose, cost in record["cost"][stage].items()
        }
    # not every batch is full
    assert plan["ratio"] == pytest.approx(record["cost"]["multiple_of_T"], rel=0.1)
    assert plan["timing"] is None  # nobody asked
    shown = call("plan", recipe).stdout
    assert "look-ahead" in shown
    assert "Nothing was timed" in " ".join(shown.split())
    timed = json.loads(call("plan", recipe, "--timed", "--json").stdout)
    assert timed["timing"]["seconds"] > 0
    assert timed["timing"]["flops"] > 0
    assert "Memory" in call("plan", recipe, "--timed").stdout


def test_methods_and_tasks_list_what_recipes_may_name(call: Call) -> None:
    methods = json.loads(call("methods", "--json").stdout)
    assert list(methods) == [*METHODS, *REFERENCES]
    assert methods["instant-soup"]["knobs"]["denoisers"] == 2
    assert methods["instant-soup"]["presets"]["paper-bert"]["blend"] == "union"
    tasks = json.loads(call("tasks", "--json").stdout)
    assert len([name for name in tasks if name.startswith("glue/")]) == 9
    assert len([name for name in tasks if name.startswith("vision/")]) == 6
    assert "demo/polarity" in tasks
    assert "denoisers" in call("methods").stdout
    assert "glue/cola" in call("tasks").stdout


# looking


@pytest.fixture
def cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """No network, and no task that could be loaded."""
    monkeypatch.setattr(
        socket.socket, "connect", lambda *_: pytest.fail("asked the network")
    )
    monkeypatch.setattr(
        "instant_soup.runs.run.build", lambda _: pytest.fail("loaded the task")
    )


def test_a_benchmark_of_the_hub_is_planned_without_model_data_or_network(
    call: Call, here: Path, cut_off: None
) -> None:
    (here / "recipe.toml").write_text(
        'sparsity = 0.5\ntask = {name = "glue/cola", model = "org/a-bert"}\n'
        'method = {name = "lth", compression = 0.25}\ntraining = {batch = 32, epochs = 3}\n',
        encoding="utf-8",
    )
    plan = json.loads(call("plan", "recipe.toml", "--json").stdout)
    assert plan["full"]["steps"] == 723
    assert plan["draw"]["train"]["steps"] == 2 * 723
    assert plan["train"]["test"]["examples"] == 1043
    assert plan["timing"] is None
    shown = call("plan", "recipe.toml")
    assert "T is 723 steps" in shown.stdout
    assert "--timed" in shown.stdout


def test_timed_loads_what_could_be_planned_without(
    call: Call, here: Path, monkeypatch: pytest.MonkeyPatch, mini: CourseTask
) -> None:
    (here / "recipe.toml").write_text(
        'sparsity = 0.5\ntask.name = "glue/cola"\nmethod.name = "magnitude"\n',
        encoding="utf-8",
    )
    monkeypatch.setattr("instant_soup.runs.run.build", lambda _: mini)
    plan = json.loads(call("plan", "recipe.toml", "--json", "--timed").stdout)
    assert plan["full"]["steps"] == mini.horizon
    assert plan["timing"]["seconds"] > 0


CELLS = """
sparsity = 0.5
task = {name = "glue/cola", model = "org/a-bert"}
method.name = "magnitude"
[cells.small]
task.name = "glue/rte"
[cells.sparse]
sparsity = 0.9
method.name = "gradual"
"""


def test_a_file_of_cells_is_planned_a_line_each(
    call: Call, here: Path, cut_off: None
) -> None:
    (here / "cells.toml").write_text(CELLS, encoding="utf-8")
    shown = [line.split() for line in call("plan", "cells.toml").stdout.splitlines()]
    rows = [
        [word for word in words if word != "│"]
        for words in shown
        if words and words[0] == "│"
    ]
    assert [row[:5] for row in rows] == [
        ["small", "magnitude", "50%", "213", "213"],
        ["sparse", "gradual", "90%", "723", "723"],
    ]
    plans = json.loads(call("plan", "cells.toml", "--json").stdout)
    assert {name: plan["full"]["steps"] for name, plan in plans.items()} == {
        "small": 213,
        "sparse": 723,
    }
    one = json.loads(call("plan", "cells.toml", "--cell", "sparse", "--json").stdout)
    assert one == plans["sparse"]


def test_a_file_of_a_single_cell_is_planned_too(
    call: Call, here: Path, cut_off: None
) -> None:
    (here / "cells.toml").write_text(CELLS.split("[cells.sparse]")[0], encoding="utf-8")
    assert list(json.loads(call("plan", "cells.toml", "--json").stdout)) == ["small"]


@pytest.mark.parametrize(
    "words",
    [
        ("plan", "FILE", "--cell", "smal"),
        ("run", "FILE", "--cell", "smal"),
        ("draw", "FILE", "-o", "my.safetensors", "--cell", "smal"),
        ("scope", "FILE", "--cell", "smal"),
        ("sweep", "FILE", "--method", "magnitude", "--cell", "smal"),
    ],
    ids=lambda words: words[0],
)
def test_a_cell_that_is_not_there_is_met_with_the_nearest(
    call: Call, here: Path, cut_off: None, words: tuple[str, ...]
) -> None:
    (here / "cells.toml").write_text(CELLS, encoding="utf-8")
    found = call(*("cells.toml" if word == "FILE" else word for word in words))
    refused(found, "unknown cell 'smal'; did you mean 'small'?", here=here)


@pytest.mark.parametrize("command", ["run", "scope"])
def test_of_several_cells_one_has_to_be_named(
    call: Call, here: Path, cut_off: None, command: str
) -> None:
    (here / "cells.toml").write_text(CELLS, encoding="utf-8")
    refused(
        call(command, "cells.toml"), "choose one with --cell: small, sparse", here=here
    )


def test_a_cell_is_run_by_its_name(call: Call, recipe: Path) -> None:
    recipe.write_text(
        f"{recipe.read_text(encoding='utf-8')}\n[cells.two]\nseed = 2\n", encoding="utf-8"
    )
    record = json.loads(call("run", recipe, "--cell", "two", "--json").stdout)
    assert record["recipe"]["seed"] == 2


def test_scope_shows_a_tree_and_what_sparsity_is_a_share_of(
    call: Call, recipe: Path
) -> None:
    """What is alike in both layers is one line."""
    lines = [line.strip(" │├└─") for line in call("scope", recipe).stdout.splitlines()]
    assert lines.count("weight  2 times 32 x 32: in scope") == 4
    assert "weight  2 times 64 x 32: in scope" in lines
    assert "weight  32 x 32: trained densely" in lines  # the pooler's
    shares = [line.split() for line in lines if "sparsity 70% prunes" in line]
    assert [words[:-6] for words in shares] == [
        ["prunable", "16,384"],
        ["encoder", "17,088"],
        ["whole", "model", "22,658"],
    ]
    assert [words[-3] for words in shares] == ["70.0%", "67.1%", "50.6%"]
    pooled = call("scope", recipe, "--set", "task.pooler=true").stdout
    assert "weight  32 x 32: in scope" in pooled
    assert "17,408" in pooled


def test_scope_for_machines_lists_every_parameter(call: Call, recipe: Path) -> None:
    found = json.loads(call("scope", recipe, "--json").stdout)
    parts = found["parts"]
    assert (found["prunable"], found["encoder"], found["whole"]) == (16384, 17088, 22658)
    assert sum(prod(part["shape"]) for part in parts.values()) == found["whole"]
    assert (
        sum(prod(part["shape"]) for part in parts.values() if part["prunable"])
        == found["prunable"]
    )
    assert parts["classifier.weight"] == {
        "shape": [2, 32], "prunable": False, "trained": True, "names": [], "fused": False,
    }  # fmt: skip


# several methods


def test_a_sweep_over_methods_keeps_the_knobs_of_the_recipes_own(
    call: Call, recipe: Path
) -> None:
    names = ["dense", "magnitude", "lth", "instant-soup"]
    options = [word for name in names for word in ("--method", name)]
    result = call(
        "sweep",
        recipe,
        *options,
        "--set",
        "training.batch=12",
        "--json",
        "--out",
        "store",
    )
    assert result.exit_code == 0, result.output
    assert [row["name"] for row in json.loads(result.stdout)["runs"]] == names
    paths = sorted((recipe.parent / "store").glob("*/record.json"))
    records = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    found = {record["recipe"]["method"]["name"]: record for record in records}
    assert sorted(found) == sorted(names)
    assert found["instant-soup"]["recipe"]["method"]["denoisers"] == 2  # its own knobs
    assert found["lth"]["recipe"]["method"]["compression"] == 0.1  # the default
    # dense
    assert (
        found["lth"]["cost"]["reused"]["passes"]
        == found["lth"]["cost"]["full_fine_tune"]["passes"]
    )
    assert {record["recipe"]["training"]["batch"] for record in records} == {12}


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["magnitude", "magnitud"], "did you mean 'magnitude'?"),
        (["magnitude", "lth", "gradul"], "did you mean 'gradual'?"),
    ],
)
def test_every_method_of_a_sweep_is_checked_before_the_first_is_paid_for(
    call: Call, recipe: Path, here: Path, cut_off: None, names: list[str], said: str
) -> None:
    options = [word for name in names for word in ("--method", name)]
    refused(call("sweep", recipe, *options, "--set", "budget=2"), said, here=here)


# controls


@pytest.mark.parametrize("kind", ["layers", "shuffled"])
def test_control_writes_a_ticket_that_can_be_evaluated(
    call: Call, recipe: Path, here: Path, kind: str
) -> None:
    assert call("draw", recipe, "-o", "my.safetensors", "--quiet").exit_code == 0
    result = call(
        "control", "my.safetensors", recipe, "-o", "other.safetensors", "--kind", kind
    )
    assert result.exit_code == 0, result.output
    ticket, other = (
        soup.Ticket.load(here / name) for name in ("my.safetensors", "other.safetensors")
    )
    assert other.mask.kept_by_name == ticket.mask.kept_by_name
    assert other.mask != ticket.mask
    assert other.method["kind"] == kind
    judged = json.loads(call("evaluate", "other.safetensors", recipe, "--json").stdout)
    assert (judged["ticket"], judged["sparsity"]) == (other.digest, ticket.sparsity)


@pytest.mark.parametrize(
    ("ticket", "options", "said"),
    [
        ("gone.safetensors", (), "no ticket at gone.safetensors"),
        ("my.safetensors", ("--kind", "layer"), "did you mean 'layers'?"),
        (
            "my.safetensors",
            ("--set", "task.pooler=true"),
            "evaluate it on the model it was drawn from",
        ),
    ],
)
def test_a_control_that_cannot_be_made_is_refused(
    call: Call, recipe: Path, here: Path, ticket: str, options: tuple[str, ...], said: str
) -> None:
    assert call("draw", recipe, "-o", "my.safetensors", "--quiet").exit_code == 0
    result = call("control", ticket, recipe, "-o", "other.safetensors", *options)
    assert result.exit_code == 2
    assert said in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (here / "other.safetensors").exists()


# what is wrong


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("sparsity=1.0", "sparsity is 1.0"),
        ("sparsity=-0.5", "sparsity is -0.5"),
        ("sparsity=0", "expected a share between 0 and 1"),
        ("sparsity=high", "sparsity is 'high'"),
        ("sparsity=0.99999", "keeps none of"),
        ("method.name=instant-soap", "did you mean 'instant-soup'?"),
        ("method.denoiser=3", "did you mean 'denoisers'?"),
        ("method.denoisers=-1", "denoisers is -1; expected 0 or more"),
        ("method.preset=paper-bort", "did you mean 'paper-bert'?"),
        ("method.preset=[1]", "unknown preset '[1]'"),
        ("control=layer", "did you mean 'layers'?"),
        (
            'task.classes=["good"]',
            "task.classes is ('good',), and 'mini' is a task of text",
        ),
        ("method.blend=vote", "did you mean 'votes'?"),
        ("method.finish=resume", "finish"),
        ("method.mask_share=1.5", "mask_share is 1.5"),
        ("method.round_steps=50", "the budget T has 12"),
        ("task.name=glue/colla", "glue/colla"),
        ("task.model=/no/such/model", "could not load model '/no/such/model'"),
        ('task.columns=["sentense"]', "did you mean 'sentence'?"),
        ("task.label=lable", "did you mean 'label'?"),
        ('task.metrics=["acuracy"]', "did you mean 'accuracy'?"),
        ("data.folder=/no/such/folder", "no folder at /no/such/folder"),
        ("data.limits=8", "did you mean 'limit'?"),
        ("data.validation=0", "data.validation is 0"),
        ("training.rat=1", "did you mean 'rate'?"),
        ("training.precision=float8", "training.precision is 'float8'"),
        ("trainning.rate=1", "did you mean 'training'?"),
        ("nonsense", "is not key=value"),
    ],
)
def test_bad_input_is_one_line_with_a_hint_and_nothing_is_written(
    call: Call, recipe: Path, here: Path, change: str, said: str
) -> None:
    if change.startswith("task.name"):
        change = f"task={{name='{change.split('=')[1]}'}}"
    refused(call("run", recipe, "--set", change), said, here=here)


def test_a_recipe_that_is_missing_or_is_not_toml_is_refused(
    call: Call, here: Path
) -> None:
    refused(call("run", "nowhere.toml"), "no recipe at nowhere.toml", here=here)
    (here / "broken.toml").write_text("sparsity = = 1", encoding="utf-8")
    refused(call("run", "broken.toml"), "broken.toml is not TOML", here=here)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ({"sentence": ["good", "bad"], "label": [0, 7]}, "label 7 in row"),
        ({"sentence": ["good", "bad"], "label": [0, -1]}, "label -1 in row"),
        ({"sentence": ["good", None], "label": [0, 1]}, "holds None"),
        ({"sentence": [], "label": []}, "is empty"),
        ({"text": ["good", "bad"], "label": [0, 1]}, "no column 'sentence'"),
    ],
)
def test_data_that_does_not_fit_is_refused(
    call: Call,
    recipe: Path,
    here: Path,
    tiny_text: Path,
    rows: dict[str, list[object]],
    said: str,
) -> None:
    shutil.copytree(tiny_text, here / "data")
    types = {"sentence": pa.string(), "text": pa.string(), "label": pa.int64()}
    table = pa.table(
        {name: pa.array(values, types[name]) for name, values in rows.items()}
    )
    pq.write_table(table, here / "data" / "validation.parquet")
    refused(call("run", recipe, "--set", "data.folder=data"), said, here=here)


def test_a_ticket_that_is_truncated_altered_or_missing_is_refused(
    call: Call, recipe: Path, here: Path
) -> None:
    assert call("draw", recipe, "-o", "my.safetensors", "--quiet").exit_code == 0
    whole = (here / "my.safetensors").read_bytes()
    altered = bytearray(whole)
    altered[-5] ^= 1
    for damaged, said in (
        (whole[: len(whole) // 2], "not a readable ticket"),
        (bytes(altered), "checksum"),
    ):
        (here / "damaged.safetensors").write_bytes(damaged)
        result = call("evaluate", "damaged.safetensors", recipe)
        assert result.exit_code == 2
        assert said in result.stderr
    assert "no ticket at gone" in call("evaluate", "gone", recipe).stderr


def test_a_ticket_for_another_model_is_refused(
    call: Call, recipe: Path, here: Path
) -> None:
    from instant_soup.models import tiny

    assert call("draw", recipe, "-o", "my.safetensors", "--quiet").exit_code == 0
    for folder, said in (
        (tiny.bert(here / "other", seed=1), "weights of"),
        (tiny.bert(here / "wide", width=48), "ticket is for"),
    ):
        result = call(
            "evaluate", "my.safetensors", recipe, "--set", f"task.model={folder}"
        )
        assert result.exit_code == 2
        assert said in result.stderr
        assert "Traceback" not in result.output


def test_a_full_disk_is_one_line_and_the_old_ticket_stays_whole(
    call: Call, recipe: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call("draw", recipe, "-o", "my.safetensors", "--quiet").exit_code == 0
    before = (here / "my.safetensors").read_bytes()

    def full(tensors: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"half a file")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tensor_files, "save_file", full)
    result = call(
        "draw", recipe, "-o", "my.safetensors", "--set", "seed=1", "--quiet", "--force"
    )
    assert result.exit_code == 2
    assert "could not write" in result.stderr
    assert "No space left on device" in result.stderr
    assert (here / "my.safetensors").read_bytes() == before
    assert not [path for path in here.rglob(".*") if path.is_file()]


def test_a_fault_of_ours_is_one_line_too_with_another_exit_code(
    call: Call, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("instant_soup.runs.run.build", lambda _: 1 / 0)
    result = call("run", recipe)
    assert result.exit_code == 1
    assert "ZeroDivisionError" in result.stderr
    assert "Traceback" not in result.output


def test_a_reader_that_leaves_is_no_fault_of_ours() -> None:
    command = [sys.executable, "-m", "instant_soup", "methods", "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()  # long before the first line is written
        assert process.stderr.read() == ""
    assert process.returncode == 1


def test_an_unknown_command_or_option_is_refused(call: Call) -> None:
    assert call("simmer").exit_code == 2
    assert call("run", "--hot").exit_code == 2


def test_a_device_can_be_named_and_is_no_part_of_what_was_asked(
    call: Call, recipe: Path, here: Path
) -> None:
    refused(call("run", recipe, "--device", "cuda:9"), "expected one of auto", here=here)
    refused(call("run", recipe, "--device", "gpu"), "as torch names it", here=here)

    first = call("run", recipe, "--device", "cpu", "--json")
    assert first.exit_code == 0, first.output
    record = json.loads(first.stdout)
    assert record["made"]["device"] == "cpu"
    assert "device" not in record["recipe"]["training"]
    again = json.loads(call("run", recipe, "--json").stdout)
    assert again["checksum"] == record["checksum"]
