"""The bench for a graphics card, on miniatures and without one."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import instant_soup as soup

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "gpu_bench.py"


def call(*words: object) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, words)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def packed(
    tmp_path_factory: pytest.TempPathFactory, tiny_clip: Path, tiny_images: Path
) -> Path:
    folder = tmp_path_factory.mktemp("packed")
    call("--pack", folder, "--clip", tiny_clip, "--digits", tiny_images, "--limit", 48)
    return folder


def bench() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


def test_what_was_packed_is_the_task_at_half_precision(
    packed: Path, tiny_clip: Path, tiny_images: Path
) -> None:
    whole = soup.tasks.image("own images", model=str(tiny_clip), data=tiny_images).course
    again = bench()["load"](packed, "digits", 0, {}).course
    assert list(again.scope) == list(whole.scope)
    some = [0, 7, 21]
    batch, expected = again.train.batch(some), whole.train.batch(some)
    assert torch.equal(batch["labels"], expected["labels"])
    assert torch.allclose(batch["pixel_values"], expected["pixel_values"], atol=1e-5)
    with torch.no_grad():
        outputs, wanted = (
            again.predict(again.model.eval(), batch)[0],
            whole.predict(whole.model.eval(), expected)[0],
        )
    assert torch.allclose(outputs, wanted, rtol=1e-2, atol=2e-2)


def test_words_that_the_data_does_not_have_are_left_out_and_the_others_mean_the_same(
    packed: Path,
) -> None:
    whole = soup.tasks.text("demo/polarity").course
    again = bench()["load"](packed, "polarity", 0, {}).course
    assert again.model.config.vocab_size < whole.model.config.vocab_size
    assert again.fresh == whole.fresh
    some = [0, 7, 21]
    batch, expected = again.train.batch(some), whole.train.batch(some)
    with torch.no_grad():
        bodies = [course.model.base_model.eval() for course in (again, whole)]
        inputs = [
            {name: part[name] for name in ("input_ids", "attention_mask")}
            for part in (batch, expected)
        ]
        one, other = (
            body(**words).pooler_output
            for body, words in zip(bodies, inputs, strict=True)
        )
    assert torch.allclose(one, other, atol=1e-2)


def test_the_plan_begins_with_a_seed_of_every_line_and_ends_with_what_costs_several_times_as_much() -> (
    None
):
    made = bench()
    names = [job.name for job in made["jobs"]((0, 1, 2))]
    assert len(set(names)) == len(names) == 3 * (2 + 6 * 4) + 2 + 4
    assert all("seed 0" in name for name in names[:26])
    assert [name.split()[1] for name in names[-6:]] == ["dense-longer"] * 2 + ["imp"] * 4


def test_runs_leave_a_line_each_and_what_is_there_is_not_run_again(
    packed: Path, tmp_path: Path
) -> None:
    words = (packed, "--out", tmp_path, "--steps", 24, "--seeds", 0, "--only", "digits")
    said = call(*words)
    records = [
        json.loads(line)
        for line in (tmp_path / "records.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert not [record for record in records if "failed" in record], said
    lines = {(record["line"], record["sparsity"]) for record in records}
    assert {
        ("dense", 0.0),
        ("soup", 0.9),
        ("cuts-by-curvature", 0.95),
        ("imp", 0.95),
    } <= lines
    for record in records:
        prunable = record["kept"] / (1 - record["sparsity"])
        assert record["kept"] == round((1 - record["sparsity"]) * round(prunable))
        assert record["device"] == (
            "CPU" if not torch.cuda.is_available() else torch.cuda.get_device_name()
        )
        if record["line"] not in ("dense-longer", "imp"):
            assert record["steps"] == 24, record["line"]
    assert "0 new records" in call(*words)


def test_a_machine_without_pydantic_datasets_or_the_package_installed_runs_it(
    packed: Path, tmp_path: Path
) -> None:
    """The packages are hidden; what was packed stands in for them."""
    program = f"""
import runpy, sys
from pathlib import Path

sys.modules.update(dict.fromkeys(("datasets", "pyarrow", "pydantic_core", "tomli_w")))  # as if they were not installed
sys.path.insert(0, {str(packed / "stand-ins")!r})
made = runpy.run_path({str(SCRIPT)!r})
made["reach"](Path({str(packed)!r}))
job = made["Job"]("polarity", "one-shot", 0.8, 0)
print(made["carry_out"](Path({str(packed)!r}), job, {{"steps": 3, "batch": 8}})["steps"])
assert "stand-ins" in sys.modules["pydantic"].__file__
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "3"
