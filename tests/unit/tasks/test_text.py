from __future__ import annotations

from pathlib import Path

import pytest
import torch

import instant_soup as soup
from instant_soup.data.text import GLUE_TASKS


def test_the_packaged_demo_has_the_scope_of_its_encoder() -> None:
    task = soup.tasks.text("demo/polarity")
    names = list(task.course.scope)
    assert len(names) == 6 * 6
    assert task.course.scope.size == 6 * (4 * 384 * 384 + 2 * 384 * 1536)
    assert not any(
        "embed" in name or "pooler" in name or "classifier" in name for name in names
    )
    assert task.course.fresh == {"classifier.weight", "classifier.bias"}


def test_the_pooler_is_pruned_only_where_it_is_asked_for(
    tiny_bert: Path, tiny_text: Path
) -> None:
    without, with_it = (
        soup.tasks.text(
            "mini",
            model=str(tiny_bert),
            data=tiny_text,
            columns=("sentence",),
            pooler=pooler,
        ).course.scope
        for pooler in (False, True)
    )
    assert set(with_it) - set(without) == {"bert.pooler.dense.weight"}


def test_runs_of_one_seed_start_from_one_head_and_of_two_seeds_from_two(
    tiny_bert: Path, tiny_text: Path
) -> None:
    def head(seed: int) -> torch.Tensor:
        task = soup.tasks.text(
            "mini", model=str(tiny_bert), data=tiny_text, columns=("sentence",), seed=seed
        )
        return task.learner(soup.Meter()).weights()["classifier.weight"]

    assert torch.equal(head(0), head(0))
    assert not torch.equal(head(0), head(1))


def test_what_is_compared_sees_the_same_split_whatever_the_seed(
    tiny_bert: Path, tiny_text: Path
) -> None:
    first, second = (
        soup.tasks.text(
            "mini", model=str(tiny_bert), data=tiny_text, columns=("sentence",), seed=seed
        ).course.validation
        for seed in (0, 1)
    )
    assert torch.equal(
        first.batch([0, 1])["input_ids"], second.batch([0, 1])["input_ids"]
    )


def test_scores_are_regressed(tiny_bert: Path, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table(
        {
            "a": ["good film", "bad plot"] * 12,
            "b": ["film", "plot"] * 12,
            "label": [5.0, 0.5] * 12,
        }
    )
    for split in ("train", "validation"):
        pq.write_table(table, tmp_path / f"{split}.parquet")
    regime = soup.Regime(steps=30, batch=8, rate=3e-3, precision="float32")
    task = soup.tasks.text(
        "mini", model=str(tiny_bert), data=tmp_path, columns=("a", "b"), regime=regime
    )
    result = soup.evaluate(soup.OneShot().draw(task, 0.3), task)
    assert set(result.test) == {"pearson", "spearman"}
    assert result.test["pearson"] > 0.9


@pytest.mark.shared
@pytest.mark.parametrize("name", ["cola", "sst2", "rte", "stsb"])
def test_real_glue_loads_from_a_folder_with_its_own_metric(
    name: str, shared: Path
) -> None:
    task = soup.tasks.text(f"glue/{name}", data=shared / "data" / "glue" / name, limit=64)
    assert len(task.course.train) + len(task.course.validation) == 64
    with torch.no_grad():
        figures = task.course.metric(
            *task.course.predict(
                task.course.model, task.course.validation.batch(range(6))
            )
        )
    assert tuple(figures) == GLUE_TASKS[f"glue/{name}"].metrics
    assert all(-1 <= value <= 1 for value in figures.values())
    assert -1 <= task.learner(soup.Meter()).evaluate() <= 1


@pytest.mark.shared
def test_bert_learns_real_acceptability_better_than_chance(shared: Path) -> None:
    """A short fine-tune on real CoLA moves the loss: model, data and metric fit together."""
    regime = soup.Regime(steps=40, rate=1e-4, precision="float32")
    task = soup.tasks.text(
        "glue/sst2", data=shared / "data" / "glue" / "sst2", limit=2000, regime=regime
    )
    result = soup.evaluate(soup.Dense().draw(task), task)
    assert result.test["accuracy"] > 0.65
