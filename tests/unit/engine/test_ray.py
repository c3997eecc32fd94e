"""A real cluster of three nodes on this machine: tickets, deaths of workers and nodes.

Marked ``cluster``: `pytest -m 'not cluster'` leaves them out.
"""

from __future__ import annotations

import json
import operator
import os
import random
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import ray
import torch

import instant_soup as soup
from instant_soup.core.errors import EngineError
from instant_soup.core.task import Brief, Variation
from instant_soup.engine import hiring
from instant_soup.engine.ray import _packed
from instant_soup.engine.workers import Workers
from instant_soup.recipes.grid import expand
from instant_soup.store.store import Store
from instant_soup.sweeps.progress import Progress
from instant_soup.sweeps.sweep import Sweep
from instant_soup.tasks import CourseTask

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings(
        "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
    ),
    pytest.mark.filterwarnings(
        "ignore::FutureWarning:ray.*", "ignore::DeprecationWarning:ray.*"
    ),
]
OF_THE_MACHINE = ("seconds", "clock", "memory", "made", "checksum")
METHOD = soup.InstantSoup(
    denoisers=5,
    lookahead_steps=2,
    compression=0.1,
    carry="none",
    finish="restart",
    progress="all",
    spacing="growing",
)
# a lost node is noticed in seconds, and workers do not yield to whatever else the machine does
FAST = {
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 4,
    "worker_niceness": 0,
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Three nodes of one CPU each."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    node = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
    made = Cluster(
        initialize_head=True,
        head_node_args={**node, "include_dashboard": False, "_system_config": FAST},
    )
    made.worker = [made.add_node(**node) for _ in range(2)]
    ray.init(address=made.address, log_to_driver=False)
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture(scope="module")
def shared(cluster: Any, mini: CourseTask) -> Iterator[CourseTask]:
    """The miniature with its look-aheads on all three nodes."""
    with mini.on("ray", workers=3) as there:
        yield there


@pytest.fixture(scope="module")
def alone(mini: CourseTask) -> soup.Ticket:
    return METHOD.draw(mini, 0.6)


def kill(workers: Workers, dice: random.Random) -> None:
    with suppress(ProcessLookupError):  # it is dead already
        os.kill(dice.choice(list(workers.places.values()))["pid"], signal.SIGKILL)


def same(ticket: soup.Ticket, other: soup.Ticket) -> bool:
    return (ticket.digest, ticket.cost, ticket.notes) == (
        other.digest,
        other.cost,
        other.notes,
    )


SWEEP = """
[task]
name = "mini"
model = "{model}"
columns = ["sentence"]
[data]
folder = "{data}"
validation = 0.25
[training]
steps = 12
batch = 8
rate = 1e-3
precision = "float32"
[cells.dense]
method = "dense"
[cells.soup]
sparsity = 0.7
method = {{ name = "instant-soup", denoisers = 2, lookahead_steps = 1, compression = 0.25, mask_share = 0.5 }}
[cells.longer]
sparsity = 0.7
method = "magnitude"
budget.as = "soup"
"""


def table(folder: Path) -> dict[str, Any]:
    """Every record without what depends on the machine, and every ticket's bytes."""
    found = {}
    for path in sorted(folder.glob("*/record.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        facts = {
            name: part for name, part in record.items() if name not in OF_THE_MACHINE
        }
        found[path.parent.name] = facts, (path.parent / "ticket.safetensors").read_bytes()
    return found


def test_a_sweep_of_which_a_worker_is_killed_ends_with_the_same_records(
    cluster: Any, tiny_bert: Path, tiny_text: Path, tmp_path: Path
) -> None:
    from instant_soup.sweeps.ray import on_ray

    recipe, killed, seen = tmp_path / "sweep.toml", set[int](), dict[str, int]()
    recipe.write_text(SWEEP.format(model=tiny_bert, data=tiny_text), encoding="utf-8")
    wanted = expand(recipe)
    Sweep(wanted, Store(tmp_path / "whole")).work()
    sweep, over = Sweep(wanted, Store(tmp_path / "killed")), threading.Event()

    def strike() -> None:
        """Kill the first worker that is seen at a run, which takes less than the sweep's own beat."""
        while not killed and not over.wait(0.005):
            notes = [progress.read() for progress in Progress.all(sweep.store)]
            for pid in [note["pid"] for note in notes if note][:1]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    killed.add(pid)

    striker = threading.Thread(target=strike)
    striker.start()
    try:
        for _ in on_ray(sweep, None, "auto"):
            stamps = {
                str(path): path.stat().st_mtime_ns
                for path in (tmp_path / "killed").glob("*/record.json")
            }
            # what is done is not done again
            assert {path: stamps[path] for path in seen} == seen
            seen = stamps
    finally:
        over.set()
        striker.join()
    assert killed
    assert len(table(tmp_path / "whole")) == 3
    assert table(tmp_path / "killed") == table(tmp_path / "whole")


def test_a_ticket_drawn_by_three_nodes_is_the_one_that_this_process_draws(
    shared: CourseTask, alone: soup.Ticket
) -> None:
    assert same(METHOD.draw(shared, 0.6), alone)
    assert shared.workers is not None
    assert len({place["pid"] for place in shared.workers.places.values()}) >= 1


def test_what_nodes_share_lies_in_each_once(shared: CourseTask) -> None:
    """Workers read the snapshot where it lies: it cannot even be written to there."""
    assert shared.workers is not None
    packed = ray.put(_packed(torch.ones(1000)))
    (body,) = ray.get(packed)[1]
    assert not body.flags.writeable
    assert body.nbytes == 4000


def test_workers_killed_at_random_moments_change_neither_ticket_nor_bill(
    shared: CourseTask, alone: soup.Ticket
) -> None:
    dice, kills, workers = random.Random(1), [4], shared.workers
    assert workers is not None

    def watch(pulse: Any) -> None:
        if pulse.purpose == "look-ahead" and kills[0] and dice.random() < 0.3:
            kills[0] -= 1
            threading.Timer(dice.uniform(0, 0.05), kill, (workers, dice)).start()

    assert same(METHOD.draw(shared, 0.6, soup.Meter(watch=watch)), alone)
    assert kills == [0]


def test_what_fails_three_times_is_named(shared: CourseTask) -> None:
    learner = shared.learner(soup.Meter())
    with pytest.raises(
        EngineError, match=r"look-ahead 1 of 1, Brief\(.*\), failed 3 times.*TypeError"
    ):
        list(learner.look_ahead([Brief(1, Variation())], partial(operator.truediv, 1)))


def test_more_threads_than_any_node_has_cpus_is_said_at_once(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 16)
    hire = hiring("ray", partial(partial, operator.add))
    assert hire is not None
    with pytest.raises(EngineError, match="set OMP_NUM_THREADS to 1 or fewer"):
        hire()


def test_a_node_that_is_lost_in_mid_draw_changes_neither(
    cluster: Any, shared: CourseTask, alone: soup.Ticket
) -> None:
    left = [cluster.worker.pop()]

    def watch(pulse: Any) -> None:
        if pulse.purpose == "look-ahead" and pulse.spent.steps > 10 and left:
            cluster.remove_node(left.pop(), allow_graceful=False)

    assert same(METHOD.draw(shared, 0.6, soup.Meter(watch=watch)), alone)
    assert not left
