"""What a look-ahead costs beyond its own training steps, against a deep copy of model and optimiser.

    python benchmarks/fork_cost.py [--repetitions 15] [--json PATH]

Compared are a look-ahead of no steps, which enters the fork and leaves it, and `copy.deepcopy` of
the same model together with an AdamW of as many steps, whose state is filled. Both are interleaved
in one process, and each copy is dropped before the next one is made. A look-ahead that carries the
optimiser over is printed for comparison; like the deep copy it holds three copies. Extra memory is
that of each in a process of its own, in multiples of the weights' bytes.

Goals: a fork takes less time than the deep copy, and about one copy of the weights (under 1.1).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from statistics import median

import torch
from torch.optim import AdamW

from instant_soup.core.budget import Meter
from instant_soup.core.task import Brief, Variation
from instant_soup.tasks import CourseTask, text
from measure import (
    Goal,
    Ratio,
    extra_peak,
    in_fresh_process,
    interleaved,
    options,
    report,
)

STEPS = 3


def main() -> None:
    """Time the three, measure the memory of each, report."""
    parser = options(__doc__)
    parser.add_argument("--repetitions", type=int, default=15)
    parser.add_argument(
        "--only-memory",
        choices=("fork", "carrying fork", "deepcopy"),
        help="print that and stop",
    )
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    task = text("demo/polarity")
    if chosen.only_memory:
        print(json.dumps(memory(task, CONTENDERS[chosen.only_memory](task))))
        return
    contenders = {name: make(task) for name, make in CONTENDERS.items()}
    interleaved(contenders, 1)
    taken = interleaved(contenders, chosen.repetitions)
    threads = f"--threads={chosen.threads}"
    copies = {
        name: in_fresh_process(__file__, f"--only-memory={name}", threads)
        for name in contenders
    }
    for name, times in taken.items():
        held = (
            "not measured: no /proc/self/clear_refs"
            if copies[name] is None
            else f"{copies[name]:.2f} weights"
        )
        print(
            f"{name:>13}: median {1000 * median(times):.1f} ms ({1000 * min(times):.1f} to {1000 * max(times):.1f})",
            end="",
        )
        print(f"; extra memory {held}")
    ratio = Ratio.of(taken["fork"], taken["deepcopy"])
    print(f"a fork takes {ratio} of a deep copy's time")
    goals = {
        "fork over deepcopy, time": Goal.on(ratio, "under", 1.0),
        "fork, extra memory in copies of the weights": Goal(copies["fork"], "under", 1.1),
    }
    medians = {name: median(times) for name, times in taken.items()}
    report(goals, chosen.json, medians=medians, copies=copies, threads=chosen.threads)


def forking(task: CourseTask, *, carry: bool = False) -> Callable[[], object]:
    """Enter a fork of a learner that has trained, and leave it."""
    learner = task.learner(Meter())
    learner.train(STEPS)
    brief = Brief(steps=0, variation=Variation(), carry_optimizer=carry)
    return lambda: list(learner.look_ahead([brief], lambda fork: fork.steps_taken))


def deep_copying(task: CourseTask) -> Callable[[], object]:
    """Copy a model that has trained as long, and its optimiser."""
    model = deepcopy(task.course.model)
    optimizer = AdamW(model.parameters(), lr=task.regime.rate, fused=True)
    for step in range(STEPS):
        task.course.batch_loss(
            model, task.course.train.batch(range(32 * step, 32 * (step + 1))), 0.0
        ).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return lambda: deepcopy((model, optimizer))


CONTENDERS: dict[str, Callable[[CourseTask], Callable[[], object]]] = {
    "fork": forking,
    "carrying fork": lambda task: forking(task, carry=True),
    "deepcopy": deep_copying,
}


def memory(task: CourseTask, act: Callable[[], object]) -> float | None:
    """Extra peak of *act* in multiples of the weights' bytes."""
    extra = extra_peak(act)
    return (
        None
        if extra is None
        else extra / sum(p.nbytes for p in task.course.model.parameters())
    )


if __name__ == "__main__":
    main()
