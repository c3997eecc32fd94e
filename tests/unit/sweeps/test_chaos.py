"""A sweep that is killed again and again ends as one that never was."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

KILLS = 20
OF_THE_MACHINE = ("seconds", "clock", "memory", "made", "checksum")
SWEEP = """
sparsity = [0.5, 0.7]
[task]
name = "mini"
model = "{model}"
columns = ["sentence"]
[data]
folder = "{data}"
validation = 0.25
[method]
name = "instant-soup"
denoisers = 2
lookahead_steps = 2
compression = 0.25
mask_share = 0.5
carry = "none"
finish = "rewind"
[training]
steps = 12
batch = 8
rate = 1e-3
precision = "float32"
[cells.dense]
method = "dense"
[cells.soup]
[cells.longer]
method.name = "magnitude"
budget.as = "soup"
[cells.lth]
method.name = "lth"
method.compression = 0.25
[cells.control]
control = "layers"
"""


def begin(recipe: Path, out: Path) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-m",
        "instant_soup",
        "sweep",
        str(recipe),
        "--out",
        str(out),
        "--workers",
        "2",
        "--quiet",
    ]
    return subprocess.Popen(
        command,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def workers(parent: int) -> list[int]:
    """The sweep's own processes that do the work; the one that tracks resources is none."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            after = path.read_text(encoding="utf-8").rsplit(")", 1)[1].split()
            command = (path.parent / "cmdline").read_bytes()
        except OSError:
            continue  # it has just ended
        if int(after[1]) == parent and after[0] != "Z" and b"spawn_main" in command:
            found.append(int(path.parent.name))
    return found


def work_begins(sweep: subprocess.Popen[bytes], out: Path, since: float) -> None:
    """Wait until a worker is at a run; starting up takes far longer than a miniature."""
    while sweep.poll() is None:
        for path in out.glob("locks/*.json"):
            try:
                if path.stat().st_mtime > since:
                    return
            except OSError:
                continue  # it was over that fast
        time.sleep(0.01)


def kill(sweep: subprocess.Popen[bytes], dice: random.Random) -> str:
    """Kill a worker, or all of them with their parent. What was killed; nothing if all was over."""
    if sweep.poll() is not None:
        return ""
    if dice.random() < 0.7 and (found := workers(sweep.pid)):
        os.kill(dice.choice(found), signal.SIGKILL)
        return "worker"
    os.killpg(sweep.pid, signal.SIGKILL)
    sweep.wait()
    return "all"


def table(folder: Path) -> dict[str, Any]:
    """Every record without what depends on the machine and on who came first, and every ticket's bytes."""
    found = {}
    for path in sorted(folder.glob("*/record.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        del record["cost"]["reused"]
        facts = {
            name: part for name, part in record.items() if name not in OF_THE_MACHINE
        }
        found[path.parent.name] = facts, (path.parent / "ticket.safetensors").read_bytes()
    return found


def stamps(folder: Path) -> dict[str, int]:
    return {
        path.parent.name: path.stat().st_mtime_ns for path in folder.glob("*/record.json")
    }


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for workers in /proc")
@pytest.mark.timeout(900)
def test_killed_at_random_moments_a_sweep_ends_with_the_same_table(
    tiny_bert: Path, tiny_text: Path, tmp_path: Path
) -> None:
    """Twenty kills, of one of two workers or of all at once; nothing that was done is done again."""
    recipe, dice = tmp_path / "sweep.toml", random.Random(4)
    recipe.write_text(SWEEP.format(model=tiny_bert, data=tiny_text), encoding="utf-8")
    assert begin(recipe, tmp_path / "whole").wait() == 0
    whole = table(tmp_path / "whole")
    assert len(whole) == 9
    described = [
        path.stat().st_mtime for path in (tmp_path / "whole").glob("*/recipe.toml")
    ]
    length = max(
        path.stat().st_mtime for path in (tmp_path / "whole").glob("*/record.json")
    ) - min(described)

    killed, interrupted, out = {"worker": 0, "all": 0}, 0, tmp_path / "killed"
    sweep, known, since = begin(recipe, out), dict[str, int](), time.time()
    while True:
        if over := sum(killed.values()) >= KILLS:
            sweep.wait()
        else:
            work_begins(sweep, out, since)
            time.sleep(length * dice.uniform(0.0, 0.3))
        what, done, since = kill(sweep, dice), stamps(out), time.time()
        # what is done stays, and is not written again
        assert {name: done.get(name) for name in known} == known
        known = done
        if what:
            killed[what] += 1
            interrupted += 0 < len(done) < len(whole)
        else:
            assert sweep.returncode == 0
            assert table(out) == whole
            if over:
                break
            shutil.rmtree(out)
            known = {}
        if what != "worker":
            sweep = begin(recipe, out)
    assert min(killed.values()) >= 3
    assert interrupted >= 5
    assert not [path for path in out.rglob(".*") if path.is_file()]
