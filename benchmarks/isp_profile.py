"""Where the time of one run goes: `instant-soup run` of Instant Soup Pruning, in parts.

    python benchmarks/isp_profile.py [--words] [--steps 60] [--precision auto] [--threads 1] [--json PATH]

A run as the command line makes it, with store, bookmarks and validation, on the packaged BERT: over made-up sentences
about as long as CoLA's, or with ``--words`` over those of the demo, whose steps are the shortest there are. Times are
those of all cores, which other work on the machine does not touch, as `cProfile` sees them; what it adds itself to code
of many small calls, such as loading and counting, is in them. Parts do not overlap; the rest is at the end.
"""

from __future__ import annotations

import cProfile
import json
import pstats
import tempfile
import time
from pathlib import Path

import torch

import sentences
from instant_soup.engine.worker import compute
from instant_soup.recipes.recipe import Recipe
from instant_soup.runs.run import run
from instant_soup.store.store import Store
from measure import options

PARTS = {  # by the file and the function that a part is all of
    "load model and data, tokenise": ("runs/run.py", "build"),
    "copy the model for a learner": ("tasks/task.py", "learner"),
    "put batches together": ("data/text.py", "batch"),
    "count FLOPs of new shapes": ("training/flops.py", "_count"),
    "forward": ("training/course.py", "batch_loss"),
    "backward": ("accelerate/accelerator.py", "backward"),
    "clip": ("accelerate/accelerator.py", "clip_grad_norm_"),
    "optimiser": ("torch/optim/adam.py", "step"),
    "swap a copy in and out": ("training/masked.py", "copied"),
    "prune": ("core/prune.py", "prune"),
    "clear what is pruned": ("training/masked.py", "_zero_pruned"),
    "add up look-aheads": ("soup/denoiser.py", "add"),
    "save the place": ("training/learner.py", "_save"),
    "save the ticket": ("store/store.py", "save_ticket"),
    "save the model": ("store/store.py", "save_model"),
    "validation and test": ("training/evaluation.py", "_answers"),
}


def main() -> None:
    """Run once under the profiler, print the parts."""
    parser = options(__doc__)
    parser.add_argument(
        "--words", action="store_true", help="the demo's words in place of sentences"
    )
    parser.add_argument("--steps", type=int, default=60, help="T (default: %(default)s)")
    parser.add_argument(
        "--precision", default="auto", choices=("auto", "float32", "bfloat16")
    )
    chosen = parser.parse_args()
    compute(chosen.threads)
    with tempfile.TemporaryDirectory() as room:
        wanted = recipe(Path(room), chosen.steps, chosen.precision, words=chosen.words)
        profiler = cProfile.Profile(time.process_time)
        profiler.runcall(run, wanted, Store(Path(room) / "runs"))
    taken = parts(pstats.Stats(profiler))
    for name, spent in sorted(taken.items(), key=lambda item: -item[1]):
        print(f"{name:>30} {spent:7.2f} s {spent / sum(taken.values()):6.1%}")
    print(f"{'all':>30} {sum(taken.values()):7.2f} s")
    line = json.dumps(
        {"parts": taken, "threads": chosen.threads, "torch": torch.__version__}
    )
    if chosen.json:
        chosen.json.write_text(line + "\n", encoding="utf-8")
    print(line)


def recipe(room: Path, steps: int, precision: str, *, words: bool) -> Recipe:
    """Instant Soup Pruning with the knobs of the demo."""
    task = (
        {"name": "demo/polarity"}
        if words
        else {"name": "sentences", "columns": ["sentence"]}
    )
    data = {} if words else {"data": {"folder": str(sentences.write(room, 960, 96))}}
    method = {
        "name": "instant-soup",
        "blend": "lookahead",
        "denoisers": 4,
        "lookahead_steps": 5,
        "compression": 0.25,
    }
    # a look-ahead is fork, steps and cut, and no more
    method |= {"carry": "none", "finish": "rewind"}
    training = {"steps": steps, "precision": precision}
    return Recipe.parse(
        {"task": task, **data, "method": method, "training": training, "sparsity": 0.7},
        "profile",
    )


def parts(stats: pstats.Stats) -> dict[str, float]:
    """Seconds of each part and of the rest."""
    taken = dict.fromkeys(PARTS, 0.0)
    for (file, _, function), (_, _, _, cumulative, _) in stats.stats.items():
        for name, (where, what) in PARTS.items():
            if file.endswith(where) and function == what:
                taken[name] += cumulative - (
                    inside(stats, "_answers") if what == "_answers" else 0.0
                )
    taken["the rest"] = stats.total_tt - sum(taken.values())
    return taken


def inside(stats: pstats.Stats, caller: str) -> float:
    """Seconds of what is done inside *caller* and is a part of its own."""
    own = ("batch", "_charge")
    callers = [
        by for (_, _, function), (*_, by) in stats.stats.items() if function in own
    ]
    return sum(
        spent[3]
        for by in callers
        for (_, _, function), spent in by.items()
        if function == caller
    )


if __name__ == "__main__":
    main()
