"""Perplexity is better the lower it is; published figures stand beside those of runs of the same kind only."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from instant_soup.core.errors import StoreError
from instant_soup.evidence.compare import compare
from instant_soup.evidence.published import published_rows, read_published
from instant_soup.recipes.grid import expand

from .made_records import named, record

ROOT = Path(__file__).parents[3]


def of(method: str, figure: float, seed: int = 0, **knobs: Any) -> dict[str, Any]:
    sparsity = 0.0 if method == "dense" else 0.5
    return record(
        method,
        figure,
        seed=seed,
        sparsity=sparsity,
        task="words",
        metric="perplexity",
        knobs=knobs,
    )


def test_the_lowest_perplexity_is_the_best() -> None:
    records = [of("dense", 20.0, seed) for seed in range(3)]
    for seed in range(3):
        records += [
            of("magnitude", 100.0 + seed, seed),
            of("wanda", 40.0 + seed / 10, seed),
        ]
        records += [of("random", 900.0 + 7 * seed, seed)]
    found = compare(named(records))
    block = found.of("words", 0.5)
    assert [line.method for line in block] == ["wanda", "magnitude", "random"]
    wanda, magnitude, chance = block
    assert wanda.frontier
    assert not magnitude.frontier
    assert not chance.frontier
    assert wanda.recovery is not None
    assert wanda.recovery.mean == pytest.approx(
        0.4988, abs=1e-3
    )  # half the dense model's, for it is twice as perplexed
    verdicts = {one.method: one.verdict for one in found.differences}
    assert verdicts == {"wanda": "better", "random": "worse"}


def test_a_published_figure_stands_beside_runs_of_the_same_model_method_and_pattern(
    tmp_path: Path,
) -> None:
    file = tmp_path / "published.toml"
    entry = '[[figure]]\ntask = "words"\nmodel = "m"\nmethod = "wanda"\nsparsity = 0.5\nmetric = "perplexity"\n'
    entry += 'value = 39.0\nsource = "a paper"\nprotocol = "L 2048"\n'
    file.write_text(
        entry + entry.replace("value", 'pattern = "2:4"\nvalue'), encoding="utf-8"
    )
    mine = of("wanda", 41.0)
    mine["recipe"]["task"]["model"] = "m"
    mine["judged"] = {"L": 512, "tokens": 1024, "text": "words"}
    other = of("wanda", 77.0, seed=1)
    other["recipe"]["task"]["model"] = "another"
    for facts in (mine, other):
        facts["recipe"]["budget"] = 0.0
    head, plain, grouped = published_rows(read_published(file), named([mine, other]))
    assert head[4:6] == ["published", "here"]
    assert plain[:6] == ["m", "wanda", "50%", "perplexity", "39", "41.00"]
    assert plain[-2:] == [
        "L 2048",
        "wanda (not fine-tuned): L 512, 1,024 tokens of words; 1 seed",
    ]
    assert grouped[2:6] == ["50%, 2:4", "perplexity", "39", "not run"]
    file.write_text("[[figure]]\nvalue = 3\n", encoding="utf-8")
    with pytest.raises(StoreError, match="holds no published figures"):
        read_published(file)


def test_runs_of_other_protocols_and_variants_have_a_row_for_each(
    tmp_path: Path,
) -> None:
    file = tmp_path / "published.toml"
    file.write_text(
        '[[figure]]\ntask = "words"\nmodel = "m"\nmethod = "wanda"\nsparsity = 0.5\nmetric = "perplexity"\n'
        'value = 39.0\nsource = "a paper"\nprotocol = "L 2048"\n',
        encoding="utf-8",
    )
    short = {"L": 64, "tokens": 640, "text": "words"}
    long = {"L": 128, "tokens": 640, "text": "words"}
    runs = [
        (of("wanda", 41.0, samples=128), short),
        (of("wanda", 43.0, seed=1, samples=128), short),
        (of("wanda", 30.0, seed=2, samples=128), long),
        (of("wanda", 60.0, samples=1), short),
        (of("wanda", 20.0, seed=3, samples=128), short),
    ]
    for facts, judged in runs:
        facts["recipe"]["task"]["model"] = "m"
        facts["recipe"]["budget"] = 0.0
        facts["judged"] = judged
    # fine-tuned afterwards, as the published figure is not
    runs[-1][0]["recipe"]["budget"] = 1.0

    _, *rows = published_rows(read_published(file), named([facts for facts, _ in runs]))
    assert [(row[5], row[-1]) for row in rows] == [
        ("30.00", "wanda (not fine-tuned): L 128, 640 tokens of words; 1 seed"),
        ("42.00", "wanda (not fine-tuned): L 64, 640 tokens of words; 2 seeds"),
        ("60.00", "wanda (samples=1, not fine-tuned): L 64, 640 tokens of words; 1 seed"),
    ]


def test_every_figure_of_the_golden_table_has_a_recipe_that_runs_it() -> None:
    runnable = set()
    for path in (ROOT / "recipes" / "language").glob("*.toml"):
        if path.name == "published.toml":
            continue
        for wanted in expand(path):
            method = wanted.recipe.method
            pattern = method.get("pattern", "unstructured")
            runnable.add(
                (
                    wanted.recipe.task.model,
                    method["name"],
                    wanted.recipe.sparsity,
                    pattern,
                )
            )
    for figure in read_published(ROOT / "recipes" / "language" / "published.toml"):
        assert (
            figure.model,
            figure.method,
            figure.sparsity,
            figure.pattern,
        ) in runnable, figure


def test_a_pipe_in_the_place_of_figures_is_refused_and_not_waited_for(
    tmp_path: Path,
) -> None:
    os.mkfifo(tmp_path / "figures.toml")
    with pytest.raises(StoreError, match="is no regular file"):
        read_published(tmp_path / "figures.toml")
