"""What an engine costs beyond the look-aheads' own steps, how much it moves, and what more workers save.

    python benchmarks/engine_overhead.py [--repetitions 3] [--lookaheads 4] [--steps 20] [--workers 1 2 4] [--json PATH]

One round of look-aheads of the packaged BERT, by this process and by some workers, on Ray and in processes here,
all interleaved. Ray is a cluster of three nodes that are really one machine, so how many of them
hold a copy is asked of its object store, and how long a network would take is not seen. Every worker computes with one
thread; where there are fewer cores than workers, more workers cannot be faster.

Set beside each other are what was measured and what `instant-soup plan --workers` says, from the steps' own time.

Goals: at one worker, a round takes less than 10 % longer than its look-aheads' own steps; a round sends each node one
snapshot, however many look-aheads and workers it has.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from statistics import median
from typing import Any

from instant_soup.core.budget import Meter
from instant_soup.core.score import magnitude
from instant_soup.engine import wire
from instant_soup.engine.worker import compute
from instant_soup.runs.scaling import Load, forecast
from instant_soup.runs.stand_in import Round
from instant_soup.soup.denoiser import NOTHING, Protocols, _see, briefs
from instant_soup.tasks import CourseTask, text
from measure import Goal, Ratio, interleaved, options, report

NODES, CPUS = 3, 3


def main() -> None:
    """Time the engines, count what Ray moves, report."""
    parser = options(__doc__)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--lookaheads", type=int, default=4)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument(
        "--workers",
        type=int,
        nargs="+",
        default=[1, 2, 4],
        help="on Ray; 1 is among them",
    )
    parser.add_argument(
        "--processes",
        type=int,
        nargs="+",
        default=[1],
        help="in processes; 1 is among them",
    )
    chosen = parser.parse_args()
    compute(chosen.threads)  # as its workers do
    task = text("demo/polarity")
    looks = briefs(chosen.lookaheads, chosen.steps, Protocols(), 0)
    see = partial(_see, sparsity=0.5, score=magnitude, across="model", wanted=NOTHING)
    with cluster(), ExitStack() as stack:
        worlds = {"here": task}
        worlds |= {
            f"ray, {n}": stack.enter_context(task.on("ray", workers=n))
            for n in chosen.workers
        }
        worlds |= {
            f"processes, {n}": stack.enter_context(task.on("processes", workers=n))
            for n in chosen.processes
        }
        rounds = {name: make(world, looks, see) for name, world in worlds.items()}
        rounds["steps alone"] = make(task, looks, type)
        interleaved(rounds, 1)
        taken = interleaved(rounds, chosen.repetitions)
        size = wire.pack(task.learner(Meter()).snapshot(carry=False)).size
        moved = {
            name: copies(worlds[name], rounds[name])
            for name in rounds
            if name.startswith("ray")
        }
        answer = wire.pack(next(iter(rounds["here"]()))).size
    for name, times in taken.items():
        print(
            f"{name:>14}: median {median(times):.2f} s ({min(times):.2f} to {max(times):.2f})"
        )
    ratios = {
        name: Ratio.of(times, taken["steps alone"])
        for name, times in taken.items()
        if name != "steps alone"
    }
    for name, ratio in ratios.items():
        print(f"{name:>14}: {ratio} of the steps alone")
    predict(
        task,
        chosen.lookaheads,
        chosen.steps,
        {name: median(times) for name, times in taken.items()},
    )
    print(f"a snapshot is {size:,} bytes, what comes back from a look-ahead {answer:,}")
    for name, (nodes, stored) in moved.items():
        print(
            f"{name:>14}: {nodes} nodes hold the snapshot, in {stored / size:.3f} times its bytes each"
        )
    goals = {
        "a round by one Ray worker over its steps": Goal.on(
            ratios["ray, 1"], "under", 1.1
        ),
        "a round by one process over its steps": Goal.on(
            ratios["processes, 1"], "under", 1.1
        ),
        "copies of the snapshot, at most": Goal(
            max(nodes for nodes, _ in moved.values()), "at most", NODES
        ),
    }
    medians = {name: median(times) for name, times in taken.items()}
    report(
        goals,
        chosen.json,
        medians=medians,
        moved=moved,
        snapshot=size,
        answer=answer,
        threads=chosen.threads,
    )


def predict(task: CourseTask, count: int, steps: int, taken: dict[str, float]) -> None:
    """Set what the plan says of workers beside what was measured."""
    step = taken["steps alone"] / count / steps
    weights = sum(p.nbytes for p in task.course.model.parameters())
    handling = max(0.0, taken["here"] - taken["steps alone"]) / count / weights
    print(
        f"a step takes {step:.3f} s, the rest of a look-ahead {handling:.2e} s a byte of weights"
    )
    load = Load(
        [Round((steps,) * count, 1 / 8, carried=False)],
        weights,
        task.course.scope.size,
        step,
    )
    for name in taken.keys() - {"here", "steps alone"}:
        said = forecast(load, int(name.rsplit(" ", 1)[1]), handling=handling).seconds
        print(
            f"{name:>14}: measured {taken[name]:.2f} s, planned {said:.2f} s, ratio {taken[name] / said:.2f}"
        )


def make(
    task: CourseTask, looks: list[Any], see: Callable[[Any], Any]
) -> Callable[[], list[Any]]:
    """A round of look-aheads."""
    learner = task.learner(Meter())
    return lambda: list(learner.look_ahead(looks, see))


@contextmanager
def cluster() -> Iterator[None]:
    """A cluster of three nodes."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray
    from ray.cluster_utils import Cluster

    node = {"num_cpus": CPUS, "object_store_memory": 700 * 2**20}
    # by default Ray's workers yield to whatever else the machine does
    fair = {"worker_niceness": 0}
    made = Cluster(
        initialize_head=True,
        head_node_args={**node, "include_dashboard": False, "_system_config": fair},
    )
    for _ in range(NODES - 1):
        made.add_node(**node)
    ray.init(address=made.address, log_to_driver=False)
    try:
        yield
    finally:
        ray.shutdown()
        made.shutdown()


def copies(task: CourseTask, act: Callable[[], object]) -> tuple[int, int]:
    """How many nodes hold the snapshot of a round at its end, and its bytes in the store."""
    from ray.experimental import get_object_locations

    backend, found = task.workers.backend, []  # type: ignore[union-attr]
    forget = backend.forget
    backend.forget = lambda handle: found.append(get_object_locations([handle])[handle])  # type: ignore[method-assign]
    try:
        act()
    finally:
        backend.forget = forget  # type: ignore[method-assign]
    return len(found[0]["node_ids"]), int(found[0]["object_size"])


if __name__ == "__main__":
    main()
