"""Measure: what the benchmarks share. Times are interleaved, memory is read from the kernel, goals are printed."""

from __future__ import annotations

import ctypes
import gc
import json
import subprocess
import sys
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

import torch

from instant_soup.export.timing import balanced

CLEAR, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
DRAWS = 2000  # of the bootstrap


@dataclass(frozen=True)
class Ratio:
    """A ratio of two medians, and the middle 95 % of what resampled pairs make of it."""

    value: float
    interval: tuple[float, float]

    @classmethod
    def of(cls, above: Sequence[float], below: Sequence[float]) -> Ratio:
        """The ratio of two series that were measured in pairs, one beside the other."""
        dice = torch.Generator().manual_seed(0)
        pairs = torch.tensor([above, below], dtype=torch.float64)
        upper, lower = pairs[
            :, torch.randint(len(above), (DRAWS, len(above)), generator=dice)
        ].quantile(0.5, dim=2)
        low, high = (
            (upper / lower)
            .quantile(torch.tensor([0.025, 0.975], dtype=torch.float64))
            .tolist()
        )
        return cls(median(above) / median(below), (low, high))

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.value:.3f} (95 % interval {low:.3f} to {high:.3f})"


@dataclass(frozen=True)
class Goal:
    """What a figure should be. A figure of None could not be measured here, and is no miss."""

    figure: float | None
    bound: Literal["at least", "at most", "under"]
    limit: float
    interval: tuple[float, float] | None = None

    @classmethod
    def on(
        cls, ratio: Ratio, bound: Literal["at least", "at most", "under"], limit: float
    ) -> Goal:
        """What a ratio should be."""
        return cls(ratio.value, bound, limit, ratio.interval)

    @property
    def met(self) -> bool | None:
        """Whether the figure reaches the limit; None if there is no figure."""
        if self.figure is None:
            return None
        if self.bound == "at least":
            return self.figure >= self.limit
        return (
            self.figure <= self.limit
            if self.bound == "at most"
            else self.figure < self.limit
        )

    def __str__(self) -> str:
        if self.figure is None:
            return f"not measured; the goal, {self.bound} {self.limit:g}, stays open."
        sentence = f"{self.figure:.3f}; the goal, {self.bound} {self.limit:g}, is {'met' if self.met else 'MISSED'}."
        if self.interval and self.interval[0] < self.limit < self.interval[1]:
            sentence += " The interval spans it: measure longer, or on a quieter machine, to be sure."
        return sentence


def options(doc: str | None) -> ArgumentParser:
    """A parser with what every benchmark understands: ``--json`` and ``--threads``.

    One thread by default: on a shared machine threads spend most of their time in waiting for each
    other, tens of times as much as in working, and a ratio of waiting times says nothing.
    """
    parser = ArgumentParser(description=doc, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="where to write the last line as well")
    parser.add_argument(
        "--threads",
        type=int,
        default=1,
        help="that torch computes with (default: %(default)s)",
    )
    return parser


def seconds(act: Callable[[], object]) -> float:
    """How long *act* takes on the wall clock. What it returns is dropped after the clock has stopped."""
    start = time.perf_counter()
    result = act()
    taken = time.perf_counter() - start
    del result
    return taken


def interleaved(
    contenders: Mapping[str, Callable[[], object]], repetitions: int
) -> dict[str, list[float]]:
    """Seconds of each call. All take their turn in each repetition, in the order of `balanced`."""
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for name in balanced(list(contenders), repetitions):
        taken[name].append(seconds(contenders[name]))
    return taken


def with_core_time(
    contenders: Mapping[str, Callable[[], object]],
) -> tuple[dict[str, Callable[[], None]], dict[str, list[float]]]:
    """The contenders, and the seconds that all cores together will have worked for each of their calls.

    Where other work makes this process wait, the wall clock goes on and this one does not.
    """
    used: dict[str, list[float]] = {name: [] for name in contenders}

    def timed(name: str) -> Callable[[], None]:
        def act() -> None:
            start = time.process_time()
            contenders[name]()
            used[name].append(time.process_time() - start)

        return act

    return {name: timed(name) for name in contenders}, used


def extra_peak(act: Callable[[], object]) -> int | None:
    """Bytes by which this process grows at most while *act* runs; None where /proc does not tell.

    What is free in the heap is handed back first, or *act* would be served from it unseen.
    """
    if not CLEAR.exists():
        return None
    gc.collect()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
    CLEAR.write_text("5")
    before = _kernel("VmRSS")
    act()
    return _kernel("VmHWM") - before


def _kernel(field: str) -> int:
    line = next(
        line for line in STATUS.read_text().splitlines() if line.startswith(f"{field}:")
    )
    return 1024 * int(line.split()[1])


def in_fresh_process(script: str, *arguments: str) -> Any:
    """What *script*, run with *arguments* in a process of its own, prints as JSON."""
    done = subprocess.run(
        [sys.executable, script, *arguments],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def report(goals: Mapping[str, Goal], path: Path | None, **facts: Any) -> None:
    """Say of each goal whether it is met; then print, as the last line, all of it as JSON."""
    print()
    for name, goal in goals.items():
        print(f"{name}: {goal}")
    line = json.dumps(
        {
            "goals": {
                name: asdict(goal) | {"met": goal.met} for name, goal in goals.items()
            },
            **facts,
        }
    )
    if path:
        path.write_text(line + "\n", encoding="utf-8")
    print(line)
