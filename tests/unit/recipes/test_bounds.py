"""Recipes that no machine could carry out, or that hang whoever reads them, are refused in a sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from instant_soup.core.errors import RecipeError
from instant_soup.recipes import grid, toml
from instant_soup.recipes.grid import expand
from instant_soup.recipes.recipe import Recipe

PLAIN = 'sparsity = 0.5\ntask.name = "glue/cola"\nmethod.name = "magnitude"\n'


def written(folder: Path, text: str, name: str = "recipe.toml") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "line",
    [
        "x = " + "[" * 50_000 + "]" * 50_000,
        "x = " + "[" * 100 + "]" * 100,
        ".".join(["a"] * 3000) + " = 1",
        "seed = " + "9" * 5000,
        "seed = " + "9" * 100,
        "seed = -1",
        'data.folder = "a\\u0000b"',
        "training.epochs = 1e308",
        "training.epochs = inf",
        "training.epochs = nan",
        "training.rate = 1e38",
        "training.batch = 100000000000",
        "training.clip = inf",
        "budget = 1e308",
        "budget = inf",
        "data.limit = 9000000000000000000",
        "data.max_length = 100000000000",
        "run.workers = 100000000000",
    ],
    ids=lambda line: line[:40],
)
def test_what_cannot_be_is_refused_in_a_sentence(tmp_path: Path, line: str) -> None:
    path = written(tmp_path, f"{line}\n{PLAIN}")
    for read in (Recipe.read, expand):
        with pytest.raises(RecipeError) as refusal:
            read(path)  # type: ignore[operator]
        assert len(str(refusal.value)) < 6000


@pytest.mark.parametrize(
    "knobs",
    [
        {"denoisers": 10**11},
        {"lookahead_steps": 10**11},
        {"rounds": 10**9},
        {"rate": [1.0, 1e308]},
    ],
    ids=str,
)
def test_knobs_have_bounds(knobs: dict[str, Any]) -> None:
    with pytest.raises(RecipeError):
        Recipe.parse(
            {
                "task": {"name": "glue/cola"},
                "method": {"name": "instant-soup", **knobs},
                "sparsity": 0.5,
            },
            "recipe",
        )


def test_a_diamond_of_files_is_read_once_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read without a memory this one takes 2**30 readings."""
    written(tmp_path, PLAIN, "0.toml")
    for number in range(1, 31):
        written(
            tmp_path,
            f'extends = ["{number - 1}.toml", "{number - 1}.toml"]',
            f"{number}.toml",
        )
    assert Recipe.read(tmp_path / "30.toml").sparsity == 0.5


def test_a_chain_without_end_is_refused(tmp_path: Path) -> None:
    written(tmp_path, PLAIN, "0.toml")
    for number in range(1, 300):
        written(tmp_path, f'extends = "{number - 1}.toml"', f"{number}.toml")
    with pytest.raises(RecipeError, match="files extend each other"):
        Recipe.read(tmp_path / "299.toml")


def test_a_pipe_is_no_recipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "recipe.toml")
    with pytest.raises(RecipeError, match="no regular file"):
        Recipe.read(tmp_path / "recipe.toml")


# sweeps


def test_a_billion_runs_are_counted_and_not_made(tmp_path: Path) -> None:
    axes = "\n".join(
        f'"method.{knob}" = [{", ".join(map(str, range(1, 1001)))}]'
        for knob in ("a", "b")
    )
    seeds = f"seed = [{', '.join(map(str, range(1000)))}]"
    path = written(tmp_path, f"{PLAIN}[sweep]\n{axes}\n{seeds}")
    with pytest.raises(
        RecipeError,
        match=r"asks for 1,000,000,000 runs; expected up to 10,000: --most allows more",
    ):
        expand(path)


def test_more_runs_are_allowed_where_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grid, "MOST_RUNS", 2)
    path = written(tmp_path, f"{PLAIN}[sweep]\nseed = [0, 1, 2]")
    with pytest.raises(RecipeError, match="asks for 3 runs; expected up to 2"):
        expand(path)
    assert len(expand(path, most=3)) == 3


@pytest.mark.parametrize("field", ["seed", "sparsity", "training.epochs"])
def test_a_list_of_nothing_is_refused(tmp_path: Path, field: str) -> None:
    rest = PLAIN if field != "sparsity" else PLAIN.replace("sparsity = 0.5\n", "")
    path = written(tmp_path, f"{field} = []\n{rest}")
    with pytest.raises(RecipeError, match=f"{field} lists nothing"):
        expand(path)


# paths


def test_a_path_begins_where_its_file_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "project" / "data").mkdir(parents=True)
    (tmp_path / "project" / "base" / "model").mkdir(parents=True)
    written(tmp_path, 'task.model = "model"\n' + PLAIN, "project/base/base.toml")
    path = written(
        tmp_path,
        'extends = "base/base.toml"\ndata.folder = "data"',
        "project/recipe.toml",
    )
    monkeypatch.chdir(tmp_path)
    recipe = Recipe.read(path)
    assert recipe.data.folder == str(tmp_path / "project" / "data")
    assert recipe.task.model == str(tmp_path / "project" / "base" / "model")
    assert expand(path)[0].recipe == recipe


def test_a_path_from_where_one_stands_stays_as_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And so does the key of the recipe."""
    (tmp_path / "data").mkdir()
    path = written(
        tmp_path,
        f'data.folder = "data"\ntask.model = "google-bert/bert-base-uncased"\n{PLAIN}',
    )
    monkeypatch.chdir(tmp_path)
    recipe = Recipe.read(path)
    assert recipe.data.folder == "data"
    assert recipe.task.model == "google-bert/bert-base-uncased"


def test_paths_in_cells_and_sweeps_too(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    path = written(
        tmp_path,
        f'{PLAIN}[sweep]\n"task.model" = ["a", "b"]\n[cells.one]\ndata.folder = "a"',
    )
    fields = toml.read(path)
    assert fields["sweep"]["task.model"] == [str(tmp_path / "a"), str(tmp_path / "b")]
    assert fields["cells"]["one"]["data"]["folder"] == str(tmp_path / "a")


# first contact


@pytest.mark.parametrize("line", ["", "trainin.rate = 1", "x = ["])
def test_whoever_mistypes_is_told_without_importing_torch(
    tmp_path: Path, line: str
) -> None:
    path = tmp_path / "recipe.toml"
    if line:
        written(tmp_path, f"{line}\n{PLAIN}")
    program = (
        "import sys\n"
        "from instant_soup.core.errors import RecipeError\n"
        "from instant_soup.recipes.recipe import Recipe\n"
        "from instant_soup.recipes.grid import expand\n"
        "for read in (Recipe.read, expand):\n"
        "    try: read(sys.argv[1])\n"
        "    except RecipeError: pass\n"
        "    else: sys.exit('read')\n"
        "sys.exit(' '.join({'torch', 'transformers', 'datasets'} & sys.modules.keys()) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_path_outside_of_the_table_that_takes_paths_is_refused(tmp_path: Path) -> None:
    text = f'{PLAIN}[sWeep]\n"method.denoisers" = [2, 4]\n'
    with pytest.raises(RecipeError, match=r"is no field of a recipe.*under \[sweep\]"):
        expand(written(tmp_path, text))
