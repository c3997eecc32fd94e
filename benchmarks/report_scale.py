"""Time and memory of comparing many records and of making their page.

    python benchmarks/report_scale.py [--records 10000] [--tasks 10] [--keep FILE]

The records are made up, of so many tasks, 5 sparsities, 20 methods and as many seeds as it takes; each
names 72 parameters and the rounds of its votes. Each command runs in a fresh process, so that its
peak memory is its own.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice, product
from pathlib import Path
from typing import Any

from instant_soup.store.plain import seal

TASKS = [
    f"glue/{name}" for name in ("cola", "sst2", "mrpc", "qqp", "mnli", "qnli", "rte")
]
TASKS += ["vision/mnist", "vision/cifar10", "vision/cifar100"]
SPARSITIES = (0.5, 0.6, 0.7, 0.8, 0.9)
PLAIN = (
    "magnitude",
    "random",
    "snip",
    "grasp",
    "lth",
    "lth-rewind",
    "early-bird",
    "gradual",
    "lottery-pools",
)
METHODS = [{"name": name} for name in PLAIN]
METHODS += [
    {"name": "instant-soup", "denoisers": count}
    for count in (4, 2, 6, 8, 10, 12, 16, 20, 24, 32, 48)
]
PARTS = (
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
)
PARTS += ("intermediate.dense", "output.dense")
FULL = {"steps": 100, "examples": 3200, "passes": 9600}


def main() -> None:
    """Make records, run both commands, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument(
        "--tasks", type=int, default=len(TASKS), help="many tasks have few seeds each"
    )
    parser.add_argument("--keep", type=Path, help="copy the page to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as room:
        folder, page = Path(room) / "runs", options.keep or Path(room) / "report.html"
        for one in records(options.records, options.tasks):
            write(folder, one)
        for command in (
            ["compare", str(folder), "--json"],
            ["report", str(folder), "-o", str(page)],
        ):
            seconds, mebibytes = measured(command)
            size = f"{options.records:,} records of {options.tasks} tasks"
            print(f"{command[0]}: {size} in {seconds:.1f} s, {mebibytes:.0f} MiB at most")
        print(f"the page has {page.stat().st_size / 1e6:.1f} MB")


def measured(command: list[str]) -> tuple[float, float]:
    """Seconds and peak memory in MiB of one command in a process of its own."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "instant_soup", *command], stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, f"{command[0]} ended with {process.returncode}"
    per = 1 if sys.platform == "darwin" else 1024
    return time.perf_counter() - start, usage.ru_maxrss * per / 2**20


def records(count: int, tasks: int = len(TASKS)) -> Iterator[dict[str, Any]]:
    """As many records, evenly over so many tasks."""
    names = [*TASKS, *(f"own/task-{number}" for number in range(tasks))][:tasks]
    each = math.ceil(count / tasks)
    seeds = range(math.ceil(each / (len(SPARSITIES) * len(METHODS))))
    for name in names:
        every = product(SPARSITIES, METHODS, seeds)
        yield from (record(name, *cell) for cell in islice(every, each))


def write(folder: Path, one: dict[str, Any]) -> None:
    """Put a record where a store would."""
    place = folder / one["key"][:16]
    place.mkdir(parents=True, exist_ok=True)
    (place / "record.json").write_text(json.dumps(seal(one)), encoding="utf-8")


def record(
    task: str, sparsity: float, method: dict[str, Any], seed: int
) -> dict[str, Any]:
    """A record that looks like that of a run."""
    recipe = {
        "task": {"name": task}, "method": method, "sparsity": sparsity, "seed": seed, "budget": 1.0, "control": None,
        "data": {}, "training": {},
    }  # fmt: skip
    key = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()
    dice = random.Random(key)
    name, many = method["name"], method.get("denoisers", 0)
    ability = 0.95 - 0.02 * PLAIN.index(name) if name in PLAIN else 0.9 + many / 1000
    figure = ability - 0.4 * sparsity**4 - 0.01 * (len(task) % 7) + dice.gauss(0, 0.01)
    drawing = {
        "train": 0.2 + 5 * (name == "lth"),
        "look-ahead": many / 20,
        "score": 0.05 * (name in ("snip", "grasp")),
    }
    draw = {purpose: _work(share) for purpose, share in drawing.items() if share}
    train = {"train": _work(1.0), "select": _work(0.02), "test": _work(0.1)}
    total = sum(
        one["passes"]
        for stage in (draw, train)
        for name, one in stage.items()
        if name != "test"
    )
    return {
        "schema": 3, "key": key, "recipe": recipe, "metric": "accuracy", "test": {"accuracy": figure},
        "validation": figure, "seconds": {"draw": 10.0, "train": 20.0},
        "cost": {
            "draw": draw, "train": train, "full_fine_tune": FULL, "multiple_of_T": total / FULL["passes"],
            "reused": _work(0.0), "total": _work(total / FULL["passes"]),
        },
        "clock": {"draw": dict.fromkeys(draw, 1.0), "train": dict.fromkeys(train, 2.0), "reused": 0.0},
        "memory": {"process": 2**30}, "examples": {"train": 3200, "validation": 320, "test": 1000},
        "ticket": {
            "digest": key[::-1], "mask": hashlib.sha256(key.encode()).hexdigest(), "kept": 50, "prunable": 100,
            "base": {"name": "packaged", "digest": "b"}, "parameters": 200, "sparsity": sparsity,
            "layers": layers(sparsity, dice), "notes": {"rounds": rounds(sparsity, dice)} if many else {},
        },
        "made": {"at": "2026-11-24T10:00:00+00:00", "machine": "x86_64", "device": "cpu", "python": "3.11.7",
                 "threads": 1, "packages": {"instant-soup": "0.1.0", "torch": "2.13.0"}},
    }  # fmt: skip


def layers(sparsity: float, dice: random.Random) -> dict[str, list[int]]:
    """What is kept of each parameter: less of later layers."""
    found = {}
    for layer, part in product(range(12), PARTS):
        kept = (1 - sparsity) * (1.3 - layer / 20) * dice.uniform(0.9, 1.1)
        found[f"bert.encoder.layer.{layer}.{part}.weight"] = [
            round(589_824 * min(kept, 1.0)),
            589_824,
        ]
    return found


def rounds(sparsity: float, dice: random.Random) -> list[dict[str, float]]:
    """What the votes of each round come to."""
    return [
        {
            "target": sparsity * part / 4, "sparsity": sparsity * part / 4, "look-aheads": 4,
            "unanimous": 0.95 + 0.01 * part * dice.random(), "agreement": 0.97, "moved": 0.02 / part,
        }
        for part in (1, 2, 3, 4)
    ]  # fmt: skip


def _work(share: float) -> dict[str, int]:
    return {unit: round(share * amount) for unit, amount in FULL.items()} | {
        "flops": round(1e12 * share)
    }


if __name__ == "__main__":
    main()
