"""What ranks were at when they were broken off goes on, on any number of ranks, whole or by rows."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from resuming import Outcome, broken_and_resumed, taken_up, trained, whole_run
from together import free_port, together

import instant_soup as soup
from instant_soup.store.store import Store

LAUNCH = [
    sys.executable,
    "-m",
    "accelerate.commands.launch",
    "--num_processes=2",
    "--num_machines=1",
    "--multi_gpu",
]


def alike(found: Outcome | None, wanted: Outcome) -> None:
    """Same mask, same bill, same weights but for rounding."""
    assert found is not None
    assert found[2] == wanted[2]
    for name, kept in wanted[1].items():
        assert torch.equal(found[1][name], kept), name
    for name, tensor in wanted[0].items():
        torch.testing.assert_close(found[0][name], tensor, rtol=1e-4, atol=1e-5)


def test_a_training_goes_on_where_it_was_broken_off_on_another_number_of_ranks_too(
    tmp_path: Path,
) -> None:
    wanted = trained(tmp_path / "never broken")
    assert wanted is not None
    alike(together(2, broken_and_resumed, tmp_path / "two", tmp_path)[0], wanted)
    for place in ("cut", "whole"):
        assert list((tmp_path / place).iterdir()), "nothing was saved"
        for who in ("four by rows", "one", "four"):
            shutil.copytree(tmp_path / place, tmp_path / f"{place} {who}")
        alike(trained(tmp_path / f"{place} one"), wanted)
    jobs = [
        (tmp_path / f"{place} {who}", "rows" in who)
        for place in ("cut", "whole")
        for who in ("four by rows", "four")
    ]
    for found in together(4, taken_up, tmp_path / "fourth", jobs)[0]:
        alike(found, wanted)


def test_a_killed_rank_ends_them_all_within_a_minute_and_the_run_goes_on(
    tmp_path: Path, mini_recipe: dict[str, Any]
) -> None:
    mini_recipe["training"] |= {"steps": 60}  # type: ignore[operator]
    (tmp_path / "recipe.json").write_text(json.dumps(mini_recipe), encoding="utf-8")
    recipe = soup.Recipe.parse(mini_recipe)
    (tmp_path / "recipe.toml").write_text(recipe.toml(), encoding="utf-8")
    [record, _] = together(
        2, whole_run, tmp_path / "ranks", mini_recipe, tmp_path / "undisturbed"
    )
    command = [*LAUNCH, f"--main_process_port={free_port()}", "-m", "instant_soup", "run"]
    command += [str(tmp_path / "recipe.toml"), "--out", str(tmp_path / "runs"), "--json"]
    launch = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        place = (
            Store(tmp_path / "runs").cell(recipe).folder / "draw" / "round.safetensors"
        )
        await_(place.exists, launch)
        began = time.monotonic()
        os.kill(rank_of(launch, 1), signal.SIGKILL)
        _, said = launch.communicate(timeout=60)
        assert time.monotonic() - began < 60
    finally:
        launch.kill()
    assert launch.returncode
    ours = "rank 0 has lost the others: one of them failed, was killed"
    launchers = "Signal 9 (SIGKILL) received by PID"
    # whoever notices first
    assert any(words in " ".join(said.split()) for words in (ours, launchers))
    assert not (place.parents[1] / "record.json").exists()
    [found, _] = together(
        2, whole_run, tmp_path / "resumed", mini_recipe, tmp_path / "runs"
    )
    assert {part: found[part] for part in ("ticket", "test")} == {
        part: record[part] for part in ("ticket", "test")
    }
    assert found["cost"] == record["cost"]


def await_(what: Any, launch: subprocess.Popen[str]) -> None:
    """Wait until *what* is so. Fails when the launch ends first, or after a minute and a half."""
    end = time.monotonic() + 90
    while not what():
        assert launch.poll() is None, launch.communicate()
        assert time.monotonic() < end, "too slow"
        time.sleep(0.01)


def rank_of(launch: subprocess.Popen[str], rank: int) -> int:
    """The process of one rank."""
    for child in (
        Path(f"/proc/{launch.pid}/task/{launch.pid}/children")
        .read_text(encoding="ascii")
        .split()
    ):
        if f"RANK={rank}".encode() in Path(f"/proc/{child}/environ").read_bytes().split(
            b"\0"
        ):
            return int(child)
    pytest.fail(f"no rank {rank} below {launch.pid}")
