"""Draws and a sweep on a Ray cluster whose workers and nodes are killed at random moments.

    python benchmarks/ray_chaos.py [--kills 20] [--seed 0] [--json PATH]

A cluster of three nodes on this machine. Kills strike a worker's process or a whole node, for which another joins. Each
draw has to give the ticket, the bill and the notes of one that was left alone; each sweep its records and tickets, and
nothing that was done may be written again. Miniatures, so that most kills strike while something is going on.

Goals: no difference, nothing done twice, no hang (a draw or sweep of more than five minutes counts as one).
"""

from __future__ import annotations

import json
import os
import random
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import ray
import torch
from ray.cluster_utils import Cluster

import instant_soup as soup
from instant_soup.models import tiny
from instant_soup.recipes.grid import expand
from instant_soup.store.store import Store
from instant_soup.sweeps.progress import Progress
from instant_soup.sweeps.ray import on_ray
from instant_soup.sweeps.sweep import Sweep
from measure import Goal, options, report

NODES = 3
NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
# a lost node is noticed in seconds, and workers do not yield to whatever else the machine does
FAST = {
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 4,
    "worker_niceness": 0,
}
HANG = 300.0
METHOD = soup.InstantSoup(
    denoisers=5,
    lookahead_steps=2,
    mask_share=0.5,
    carry="none",
    blend="lookahead",
    carry_optimizer=True,
)
OF_THE_MACHINE = ("seconds", "clock", "memory", "made", "checksum")
SWEEP = """
seed = [0, 1]
[task]
name = "mini"
model = "{model}"
columns = ["sentence"]
[data]
folder = "{data}"
validation = 0.25
[training]
steps = 24
batch = 8
rate = 1e-3
precision = "float32"
[cells.dense]
method = "dense"
[cells.soup]
sparsity = 0.7
method.name = "instant-soup"
method.carry = "none"
method.denoisers = 2
method.lookahead_steps = 2
method.compression = 0.25
method.mask_share = 0.5
[cells.longer]
sparsity = 0.7
method = "magnitude"
budget.as = "soup"
[cells.lth]
sparsity = 0.5
method = {{ name = "lth", compression = 0.25 }}
"""


def main() -> None:
    """Kill, compare, report."""
    parser = options(__doc__)
    parser.add_argument(
        "--kills", type=int, default=20, help="of draws, and as many of sweeps"
    )
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    os.environ["OMP_NUM_THREADS"] = str(chosen.threads)
    with tempfile.TemporaryDirectory() as folder, nodes() as cluster:
        home, chaos = (
            Path(folder),
            Chaos(cluster, random.Random(chosen.seed), chosen.kills),
        )
        model, data = tiny.bert(made(home / "model")), sentences(made(home / "data"))
        draws = draw(chaos, model, data)
        chaos.left = chosen.kills
        sweeps = sweep(chaos, model, data, home)
    goals = {
        "draws that differ": Goal(draws["different"], "at most", 0),
        "sweeps that differ": Goal(sweeps["different"], "at most", 0),
        "runs done again": Goal(sweeps["again"], "at most", 0),
        "longest, s": Goal(max(draws["longest"], sweeps["longest"]), "under", HANG),
    }
    report(goals, chosen.json, draws=draws, sweeps=sweeps, struck=chaos.struck)


class Chaos:
    """Kills a worker, or a node for which another joins, until its kills are used up; one at a time."""

    def __init__(self, cluster: Cluster, dice: random.Random, kills: int) -> None:
        self.cluster, self.dice, self.left = cluster, dice, kills
        self.struck = {"worker": 0, "node": 0}
        self._one = threading.Lock()

    def strike(self, pids: list[int]) -> None:
        """Kill one of these processes, or one of the nodes but the head."""
        with self._one:
            if not self.left:
                return
            with suppress(ProcessLookupError):  # it has ended by itself: no kill
                self.struck[self._kill(pids)] += 1
                self.left -= 1

    def _kill(self, pids: list[int]) -> str:
        """Do so, and say what was killed."""
        if self.dice.random() < 0.75 or not self.cluster.worker_nodes:
            os.kill(self.dice.choice(pids), signal.SIGKILL)
            return "worker"
        self.cluster.remove_node(
            self.dice.choice(list(self.cluster.worker_nodes)), allow_graceful=False
        )
        return "node"

    def replace(self) -> None:
        """Have nodes join for those that were killed. Ray makes nodes in the main thread only."""
        with self._one:
            while len(self.cluster.worker_nodes) < NODES - 1:
                self.cluster.add_node(**NODE)

    @contextmanager
    def over(self, store: Store) -> Iterator[None]:
        """Strike while runs go on in *store*, twice at most: Ray gives up a run that was lost three times."""
        done = threading.Event()

        def watch() -> None:
            blows = 0
            while blows < 2 and not done.wait(self.dice.uniform(0.01, 0.5)):
                notes = [progress.read() for progress in Progress.all(store)]
                if pids := sorted(int(note["pid"]) for note in notes if note):
                    self.strike(pids)
                    blows += 1

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()


def draw(chaos: Chaos, model: Path, data: Path) -> dict[str, Any]:
    """Draw again and again while workers and nodes are killed."""
    regime = soup.Regime(steps=24, batch=8, rate=1e-3, precision="float32")
    task = soup.tasks.text(
        "mini",
        model=str(model),
        data=data,
        columns=("sentence",),
        regime=regime,
        validation=0.25,
    )
    alone, found = METHOD.draw(task, 0.6), {"draws": 0, "different": 0, "longest": 0.0}
    with task.on("ray", workers=3) as shared:
        while chaos.left:

            def watch(pulse: Any) -> None:
                if (
                    pulse.purpose == "look-ahead"
                    and chaos.left
                    and chaos.dice.random() < 0.25
                ):
                    places = shared.workers.places.values()
                    pids = [int(place["pid"]) for place in places]
                    threading.Timer(
                        chaos.dice.uniform(0, 0.05), chaos.strike, (pids,)
                    ).start()
                    time.sleep(0.1)  # so that it has struck before the next is thought of
                    chaos.replace()

            start = time.monotonic()
            ticket = METHOD.draw(shared, 0.6, soup.Meter(watch=watch))
            found["longest"] = max(found["longest"], time.monotonic() - start)
            found["draws"] += 1
            found["different"] += (ticket.digest, ticket.cost, ticket.notes) != (
                alone.digest,
                alone.cost,
                alone.notes,
            )
            print(f"{found}, {chaos.left} kills left", flush=True)
    return found


def sweep(chaos: Chaos, model: Path, data: Path, home: Path) -> dict[str, Any]:
    """Run a sweep anew again and again while workers and nodes are killed."""
    (home / "sweep.toml").write_text(
        SWEEP.format(model=model, data=data), encoding="utf-8"
    )
    wanted, found = (
        expand(home / "sweep.toml"),
        {"sweeps": 0, "different": 0, "again": 0, "longest": 0.0},
    )
    Sweep(wanted, Store(home / "alone")).work()
    alone = table(home / "alone")
    while chaos.left:
        out = home / f"killed {found['sweeps']}"
        start, seen = time.monotonic(), dict[str, int]()
        with chaos.over(store := Store(out)):
            for _ in on_ray(Sweep(wanted, store), None, "auto"):
                stamps = {
                    str(path): path.stat().st_mtime_ns
                    for path in out.glob("*/record.json")
                }
                found["again"] += any(
                    stamps.get(path) != stamp for path, stamp in seen.items()
                )
                seen = stamps
                chaos.replace()
        found["longest"] = max(found["longest"], time.monotonic() - start)
        found["sweeps"] += 1
        found["different"] += table(out) != alone
        print(f"{found}, {chaos.left} kills left", flush=True)
    return found


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


@contextmanager
def nodes() -> Iterator[Cluster]:
    """Three nodes of one CPU each."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    head = {**NODE, "include_dashboard": False, "_system_config": FAST}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(NODES - 1):
        cluster.add_node(**NODE)
    ray.init(address=cluster.address, log_to_driver=False)
    try:
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


def sentences(folder: Path) -> Path:
    """Sentences that say good or bad."""
    dice = random.Random(0)
    for split, count in (("train", 96), ("validation", 32)):
        labels = [dice.randrange(2) for _ in range(count)]
        texts = [
            f"{dice.choice(['the film is', 'a plot was very'])} {('bad', 'good')[label]}"
            for label in labels
        ]
        pq.write_table(
            pa.table({"sentence": texts, "label": labels}), folder / f"{split}.parquet"
        )
    return folder


def made(folder: Path) -> Path:
    """A folder that is there."""
    folder.mkdir()
    return folder


if __name__ == "__main__":
    main()
