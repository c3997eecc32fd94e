"""Runs recipes undisturbed, then again and again, killed at a random moment, until kills are used up.

    python killer.py FOLDER SEED

FOLDER holds recipes.json: by name, a recipe and how many kills it has to stand. Children are forked
from this process, which imports but never computes, so that a kill costs no start-up. The last line
of the output is JSON: by name, how many kills, in how many different states of the folder they left
the run, and what differs from the undisturbed run.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import instant_soup as soup
from instant_soup.runs.run import build
from instant_soup.store.store import Store


def main() -> None:
    folder, dice = Path(sys.argv[1]), random.Random(int(sys.argv[2]))
    plans = json.loads((folder / "recipes.json").read_text(encoding="utf-8"))
    # imports what is imported on the way, before the forks
    build(soup.Recipe.parse(next(iter(plans.values()))[0]))
    outcomes = {
        name: stand(folder / name, soup.Recipe.parse(asked), kills, dice)
        for name, (asked, kills) in plans.items()
    }
    print(json.dumps(outcomes))


def stand(
    folder: Path, recipe: soup.Recipe, kills: int, dice: random.Random
) -> dict[str, Any]:
    def carry_out(name: str) -> Callable[[], object]:
        return lambda: soup.run(recipe, Store(folder / name, save_every=0.0))

    timed(carry_out("whole"))
    length = timed(carry_out("again"))  # the first run is slower
    killed, places, differences = 0, set(), []
    while killed < kills:
        shutil.rmtree(folder / "killed", ignore_errors=True)
        while killed < kills:  # one run, killed as often as chance has it
            child = start(carry_out("killed"))
            time.sleep(length * dice.uniform(0.1, 0.9))
            if os.waitpid(child, os.WNOHANG)[0]:
                length *= 0.9  # the machine was busier before
                break
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            killed += 1
            places.add(
                tuple(
                    sorted(
                        (p.name, p.stat().st_mtime_ns)
                        for p in (folder / "killed").rglob("*")
                    )
                )
            )
            if dice.random() < 0.5:
                break
        timed(carry_out("killed"))
        differences += compare(
            *(Store(folder / name).cell(recipe).folder for name in ("whole", "killed"))
        )
    return {"kills": killed, "places": len(places), "differences": differences}


def start(work: Callable[[], object]) -> int:
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return child


def timed(work: Callable[[], object]) -> float:
    began = time.monotonic()
    _, status = os.waitpid(start(work), 0)
    if status:
        raise SystemExit(f"a run failed with status {status}")
    return time.monotonic() - began


def compare(whole: Path, killed: Path) -> list[str]:
    same_bytes = ("ticket.safetensors", "model.safetensors")
    different = [
        name
        for name in same_bytes
        if (whole / name).read_bytes() != (killed / name).read_bytes()
    ]
    first, second = (
        json.loads((cell / "record.json").read_text(encoding="utf-8"))
        for cell in (whole, killed)
    )
    of_the_machine = ("seconds", "clock", "memory", "made", "checksum")
    different += [
        part
        for part in first
        if part not in of_the_machine and first[part] != second[part]
    ]
    if left := [
        path.name
        for path in killed.iterdir()
        if path.is_dir() or path.name.startswith(".")
    ]:
        different.append(f"left behind: {left}")
    return different


if __name__ == "__main__":
    main()
