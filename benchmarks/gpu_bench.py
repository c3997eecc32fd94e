"""The bench at equal steps on one graphics card: all data, longer trainings, as many runs as fit into some minutes.

    python benchmarks/gpu_bench.py --pack PACKED --clip models/mini-clip --digits data/images/mnist
    python benchmarks/gpu_bench.py PACKED --out RECORDS --minutes 9

The first command writes all that the second one needs into one folder: the packaged BERT and the vision tower of a CLIP
in half precision, the tasks as tokens and pixels, and stand-ins for packages that a bare machine may lack. Where the
second one runs, torch, transformers, accelerate, safetensors, torchmetrics, numpy and this tree have to be there; no
hub, no `datasets`, no `pyarrow`, no installed instant-soup.

A small model on a large card waits for Python, so several processes share the card, each at a run of its own. Runs are
taken in the order of what they tell: one seed of every line first, then the next seeds, then what costs several T. No
run begins that would not end in time. RECORDS/records.jsonl gets one line a run; what is there is not run again.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing as processes
import os
import queue
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

ROOT = Path(__file__).parents[1]
SEEDS = (0, 1, 2)
CUTS = {"rounds": 12, "mask_share": 0.5}
LINES: dict[str, dict[str, Any]] = {
    "dense": {"name": "dense"},
    "one-shot": {"name": "magnitude"},
    "cuts-by-magnitude": {"name": "gradual", "schedule": "cubic", **CUTS},
    "cuts-by-curvature": {
        "name": "gradual",
        "schedule": "cubic",
        "score": "curved",
        **CUTS,
    },
    "soup": {
        "name": "instant-soup",
        **CUTS,
        "share": "cubic",
        "spacing": "even",
        "score": "curved",
        "blend": "lookahead",
        "denoisers": 2,
        "denoised_rounds": 3,
        "carry_optimizer": True,
        "carry": "none",
        "inside": True,
        "finish": "continue",
    },
    "snip": {"name": "snip", "allow_collapse": True},
    "random": {"name": "random"},
    "dense-longer": {"name": "dense"},
    "imp": {"name": "lth", "rounds": 5},
}
LENGTH = {"dense-longer": 2.0, "imp": 6.0}
"""About how many T a line takes, where that is not one."""
ONCE = ("dense-longer", "imp")
"""Lines that get one seed."""

SENTENCES = ["a photo of a {}.", "a small picture of a {}.", "{}"]
TASKS: dict[str, dict[str, Any]] = {
    "digits": {
        "sparsities": (0.90, 0.95),
        "regime": {
            "rate": 3e-4,
            "weight_decay": 0.1,
            "batch": 64,
            "steps": 2500,
            "line": "flat",
        },
    },
    "polarity": {
        "sparsities": (0.80, 0.90),
        "regime": {"rate": 1e-4, "batch": 64, "steps": 1600, "line": "flat"},
    },
}


@dataclass(frozen=True)
class Job:
    """One run: a line on a task at a sparsity, 0 for what prunes nothing, with a seed."""

    task: str
    line: str
    sparsity: float
    seed: int

    @property
    def name(self) -> str:
        """What tells it from all others."""
        return f"{self.task} {self.line} {self.sparsity:g} seed {self.seed}"


def jobs(seeds: Sequence[int]) -> Iterator[Job]:
    """Every run, those that tell most first."""
    usual = [line for line in LINES if line not in ONCE]
    plan = [(seed, line) for seed in seeds for line in usual] + [
        (seeds[0], line) for line in ONCE
    ]
    for seed, line in plan:
        for task, settings in TASKS.items():
            for sparsity in (
                (0.0,) if LINES[line]["name"] == "dense" else settings["sparsities"]
            ):
                yield Job(task, line, sparsity, seed)


# what a run learns from


class Words:
    """Tokens of short texts, padded when a batch is put together."""

    def __init__(self, part: Mapping[str, np.ndarray], name: str) -> None:
        ends = np.cumsum(part[f"{name}/lengths"])[:-1]
        self._ids = [
            torch.from_numpy(ids.astype(np.int64))
            for ids in np.split(part[f"{name}/ids"], ends)
        ]
        self.lengths = part[f"{name}/lengths"].tolist()
        self.targets = torch.from_numpy(part[f"{name}/labels"].astype(np.int64))

    def __len__(self) -> int:
        return len(self.lengths)

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """Texts put together, padded to the longest of them."""
        ids = torch.nn.utils.rnn.pad_sequence(
            [self._ids[index] for index in indices], batch_first=True
        )
        lengths = torch.tensor([self.lengths[index] for index in indices])
        seen = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
        return {
            "input_ids": ids,
            "attention_mask": seen,
            "labels": self.targets[list(indices)],
        }


class Digits:
    """Images as the model wants them, but for their scale."""

    lengths = None

    def __init__(self, part: Mapping[str, np.ndarray], name: str) -> None:
        self._pixels = torch.from_numpy(part[f"{name}/pixels"])
        self._factor, self._shift = (
            torch.from_numpy(part[key]) for key in ("factor", "shift")
        )
        self.targets = torch.from_numpy(part[f"{name}/labels"].astype(np.int64))

    def __len__(self) -> int:
        return len(self.targets)

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """Images put together: float32 [n, 3, height, width]."""
        chosen = list(indices)
        values = self._pixels[chosen].float().mul_(self._factor).sub_(self._shift)
        return {"pixel_values": values, "labels": self.targets[chosen]}


@dataclass(frozen=True)
class Bench:
    """A task as methods see it."""

    course: Any
    regime: Any
    seed: int

    @property
    def name(self) -> str:
        """The task's name."""
        return str(self.course.name)

    @property
    def horizon(self) -> int:
        """T in steps."""
        return int(self.regime.horizon(len(self.course.train)))

    def learner(self, meter: Any, *, horizon: int | None = None) -> Any:
        """A new learner at the pre-trained weights."""
        from instant_soup.training.learner import ModuleLearner

        return ModuleLearner(
            self.course, self.regime, meter, seed=self.seed, horizon=horizon
        )


@cache
def read(
    packed: Path, task: str
) -> tuple[dict[str, Any], dict[str, np.ndarray], dict[str, Tensor]]:
    """Facts, data and pre-trained weights of a task, as they were packed."""
    folder = packed / task
    facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    with np.load(folder / "data.npz") as data:
        arrays = {name: data[name] for name in data.files}
    weights = {
        name: tensor.float()
        for name, tensor in load_file(folder / "model.safetensors").items()
    }
    return facts, arrays, weights


def load(packed: Path, task: str, seed: int, changes: Mapping[str, Any]) -> Bench:
    """The task, its new head drawn from *seed*."""
    from instant_soup.core.scope import Scope
    from instant_soup.core.task import Base
    from instant_soup.core.weights import digest
    from instant_soup.models.classifier import loss, predict
    from instant_soup.training.course import Course
    from instant_soup.training.metrics import figures
    from instant_soup.training.regime import Regime

    facts, arrays, weights = read(packed, task)
    torch.manual_seed(seed)
    model = MODELS[task](facts, weights)
    fresh = frozenset(model.load_state_dict(weights, strict=False).missing_keys)

    shapes = {
        name: tuple(parameter.shape) for name, parameter in model.named_parameters()
    }
    scope = Scope({name: shapes[name] for name in facts["scope"]})
    base = Base(facts["base"], digest(dict(model.named_parameters()), scope))
    splits = [EXAMPLES[task](arrays, name) for name in ("train", "validation", "test")]
    course = Course(
        task, model, scope, base, fresh, *splits, predict, loss, figures(("accuracy",))
    )
    return Bench(course, Regime(**{**TASKS[task]["regime"], **changes}), seed)


def _bert(facts: Mapping[str, Any], _: Mapping[str, Tensor]) -> Any:
    from transformers import AutoModelForSequenceClassification, BertConfig

    return AutoModelForSequenceClassification.from_config(
        BertConfig(**facts["config"], num_labels=2)
    )


def _clip(facts: Mapping[str, Any], weights: Mapping[str, Tensor]) -> Any:
    """The vision tower under its frozen head; the text tower is not needed and as small as can be."""
    from transformers import CLIPConfig, CLIPModel

    from instant_soup.models.clip import Classifier, Tower

    text = {
        "num_hidden_layers": 1,
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_attention_heads": 1,
        "vocab_size": 8,
    }
    ends = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    settings = {"vision_config": facts["config"], "projection_dim": facts["projection"]}
    whole = CLIPModel(CLIPConfig(text_config={**text, **ends}, **settings))
    return Classifier(
        Tower(whole.vision_model, whole.visual_projection),
        weights["head"],
        weights["scale"],
    )


MODELS = {"polarity": _bert, "digits": _clip}
EXAMPLES = {"polarity": Words, "digits": Digits}


# running


def carry_out(packed: Path, job: Job, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Draw, fine-tune and judge; what a record says of it."""
    from instant_soup.core.budget import Meter
    from instant_soup.methods import METHODS, REFERENCES

    bench, began = load(packed, job.task, job.seed, changes), time.perf_counter()
    knobs = dict(LINES[job.line])
    variant = {**METHODS, **REFERENCES}[knobs.pop("name")]
    drawing, training = Meter(), Meter()
    ticket = variant(**knobs).draw(bench, job.sparsity, drawing)

    longer = LENGTH[job.line] if job.line == "dense-longer" else 1.0
    learner = bench.learner(training, horizon=round(longer * bench.horizon))
    learner.apply_mask(ticket.mask)
    learner.restore(ticket.start)
    if not ticket.ready:
        learner.complete()

    validation, spent = learner.evaluate(), drawing.spent + training.spent
    full = 3 * bench.horizon * bench.regime.batch
    return {
        "schema": 1,
        "name": job.name,
        "task": job.task,
        "line": job.line,
        "method": LINES[job.line],
        "sparsity": job.sparsity,
        "seed": job.seed,
        "kept": ticket.mask.kept,
        "training": {**TASKS[job.task]["regime"], **changes},
        "examples": len(bench.course.train),
        "T": bench.horizon,
        "validation": validation,
        "test": learner.test(),
        "steps": spent.steps,
        "cost_in_T": round(spent.passes / full, 3),
        "seconds": round(time.perf_counter() - began, 2),
        **machine(),
    }


def machine() -> dict[str, str]:
    """What it ran on."""
    import transformers

    card = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    return {
        "device": card,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def work(
    packed: Path, changes: Mapping[str, Any], ends: float, wanted: Any, records: Any
) -> None:
    """Take runs until none is left that would end in time. A process of its own."""
    reach(packed)
    torch.set_num_threads(1)
    pace: dict[str, float] = {}
    while True:
        try:
            job = wanted.get_nowait()
        except queue.Empty:
            break
        length = LENGTH.get(job.line, 1.0)
        if time.time() + 1.1 * length * pace.get(job.task, 0.0) > ends:
            continue  # a shorter one may still fit

        try:
            record = carry_out(packed, job, changes)
        except Exception as reason:  # one run that fails must not end the others
            record = {"name": job.name, "failed": f"{type(reason).__name__}: {reason}"}
        else:
            pace[job.task] = record["seconds"] / length
        records.put(record)
    records.put(None)


def bench(
    packed: Path,
    out: Path,
    minutes: float,
    workers: int,
    chosen: Sequence[Job],
    changes: dict[str, Any],
) -> int:
    """Run what is not there yet, side by side; how many records are new."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / "records.jsonl"
    there = (
        [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        if path.exists()
        else []
    )
    done = {record["name"] for record in there if "failed" not in record}
    left = [job for job in chosen if job.name not in done]

    context, ends = processes.get_context("spawn"), time.time() + 60 * minutes
    wanted, records = context.Queue(), context.Queue()
    for job in left:
        wanted.put(job)
    hands = [
        context.Process(
            target=work, args=(packed, changes, ends, wanted, records), daemon=True
        )
        for _ in range(workers)
    ]
    for hand in hands:
        hand.start()

    new, working = 0, len(hands)
    with path.open("a", encoding="utf-8") as file:
        while working and time.time() < ends:
            try:
                record = records.get(timeout=1)
            except queue.Empty:
                working = min(working, sum(hand.is_alive() for hand in hands))
                continue
            if record is None:
                working -= 1
                continue
            file.write(json.dumps(record, sort_keys=True) + "\n")
            file.flush()
            new += "failed" not in record
            print(
                record["name"],
                record.get("test", record.get("failed")),
                record.get("seconds", ""),
                flush=True,
            )
    for hand in hands:
        hand.terminate()
    print(f"{new} new records in {path}, {len(left) - new} runs left")
    return new


def reach(packed: Path) -> None:
    """Make this tree importable, and the stand-ins where the real packages are missing."""
    sys.path.insert(0, str(ROOT / "src"))
    sys.path.append(str(packed / "stand-ins"))
    os.environ["HF_HUB_OFFLINE"] = "1"


# packing

PYDANTIC = '''"""As much of pydantic as settings of a training need, where the real one is missing."""


class ValidationError(ValueError):
    pass


class BaseModel:
    def __init__(self, **fields):
        unknown = fields.keys() - type(self).__annotations__.keys()
        if unknown:
            raise TypeError(f"unknown: {sorted(unknown)}")
        self.__dict__.update(fields)


def ConfigDict(**options):
    return options


def Field(*values, **options):
    return None


def field_validator(*names):
    return lambda check: check
'''


def pack(folder: Path, clip: Path, digits: Path, limit: int | None) -> None:
    """Write what a bare machine needs into *folder*."""
    site = folder / "stand-ins"
    (site / "instant_soup-0.1.0.dist-info").mkdir(parents=True, exist_ok=True)
    about = "Metadata-Version: 2.1\nName: instant-soup\nVersion: 0.1.0\n"
    (site / "instant_soup-0.1.0.dist-info" / "METADATA").write_text(
        about, encoding="utf-8"
    )
    (site / "pydantic.py").write_text(PYDANTIC, encoding="utf-8")

    _pack_polarity(folder / "polarity", limit)
    _pack_digits(folder / "digits", clip, digits, limit)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{folder}: {size:,} bytes")


def _pack_polarity(folder: Path, limit: int | None) -> None:
    """The packaged BERT without the words that the data does not have."""
    import instant_soup as soup

    course = soup.tasks.text("demo/polarity").course
    parts = {name: getattr(course, name) for name in ("train", "validation", "test")}
    texts = {
        name: [part.batch([index]) for index in range(len(part))][:limit]
        for name, part in parts.items()
    }
    rows = {
        name: [batch["input_ids"][0] for batch in batches]
        for name, batches in texts.items()
    }
    used = torch.cat(
        [
            torch.zeros(1, dtype=torch.long),
            *(ids for part in rows.values() for ids in part),
        ]
    ).unique()

    arrays = {}
    for name, part in rows.items():
        arrays[f"{name}/ids"] = (
            torch.searchsorted(used, torch.cat(part)).numpy().astype(np.int32)
        )
        arrays[f"{name}/lengths"] = np.array([len(ids) for ids in part], dtype=np.int32)
        arrays[f"{name}/labels"] = np.array(
            [int(batch["labels"]) for batch in texts[name]], dtype=np.int8
        )

    weights = {
        name: p.detach()
        for name, p in course.model.named_parameters()
        if name not in course.fresh
    }
    words = "bert.embeddings.word_embeddings.weight"
    weights[words] = weights[words][used]
    kept = (
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "intermediate_size",
        "max_position_embeddings",
        "type_vocab_size",
        "hidden_act",
        "layer_norm_eps",
        "hidden_dropout_prob",
        "attention_probs_dropout_prob",
    )
    config = {name: getattr(course.model.config, name) for name in kept}
    facts = {
        "base": "packaged (half precision)",
        "scope": list(course.scope),
        "config": {**config, "vocab_size": len(used)},
    }
    _write(folder, facts, arrays, weights)


def _pack_digits(folder: Path, clip: Path, digits: Path, limit: int | None) -> None:
    """The vision tower of a CLIP, its zero-shot head, and images at the size that it sees."""
    import instant_soup as soup
    from instant_soup.data.prompts import DIGITS
    from instant_soup.models import vision

    wording: dict[str, Any] = (
        {"classes": list(DIGITS), "templates": SENTENCES}
        if (digits / "train.parquet").exists()
        else {}
    )
    name = "vision/mnist" if wording else "own images"
    course = soup.tasks.image(name, model=str(clip), data=digits, **wording).course
    how = vision.processor(str(clip)).to_dict()
    spread = torch.tensor(how["image_std"]).reshape(-1, 1, 1)
    factor, shift = (
        how["rescale_factor"] / spread,
        torch.tensor(how["image_mean"]).reshape(-1, 1, 1) / spread,
    )

    arrays = {"factor": factor.numpy(), "shift": shift.numpy()}
    for part in ("train", "validation", "test"):
        examples = getattr(course, part)
        count = min(len(examples), limit or len(examples))
        values = torch.cat(
            [examples.batch([index])["pixel_values"] for index in range(count)]
        )
        pixels = ((values + shift) / factor).round().to(torch.uint8)
        grey = bool((pixels == pixels[:, :1]).all())
        arrays[f"{part}/pixels"] = (pixels[:, :1] if grey else pixels).numpy()
        arrays[f"{part}/labels"] = examples.targets[:count].numpy().astype(np.int16)

    weights = {
        name: parameter.detach() for name, parameter in course.model.named_parameters()
    }
    head = {"head": course.model.head, "scale": course.model.scale}
    tower = course.model.visual.vision_model.config.to_dict()
    kept = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "image_size", "patch_size",
            "hidden_act", "layer_norm_eps", "attention_dropout")  # fmt: skip
    projection = course.model.visual.visual_projection.weight.shape[0]
    facts = {
        "base": f"{clip.name} (half precision)",
        "scope": list(course.scope),
        "projection": projection,
    }
    _write(
        folder,
        {**facts, "config": {key: tower[key] for key in kept}},
        arrays,
        {**weights, **head},
    )


def _write(
    folder: Path,
    facts: dict[str, Any],
    arrays: dict[str, np.ndarray],
    weights: dict[str, Tensor],
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "facts.json").write_text(json.dumps(facts, indent=2), encoding="utf-8")
    np.savez_compressed(folder / "data.npz", **arrays)
    save_file(
        {name: tensor.half().contiguous() for name, tensor in weights.items()},
        folder / "model.safetensors",
    )


def main() -> None:
    """Pack, or run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("packed", type=Path, nargs="?", help="a folder that --pack wrote")
    parser.add_argument("--pack", type=Path, metavar="DIR", help="write that folder")
    parser.add_argument("--clip", type=Path, help="with --pack: the folder of a CLIP")
    parser.add_argument(
        "--digits", type=Path, help="with --pack: a folder of images, as tasks read them"
    )
    parser.add_argument(
        "--limit",
        type=int,
        help="with --pack: how many examples of each split; all by default",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("gpu-records"),
        help="where records.jsonl is kept",
    )
    parser.add_argument(
        "--minutes", type=float, default=9.0, help="after so many, all ends"
    )
    parser.add_argument(
        "--workers", type=int, help="how many runs side by side; 12 on a card, 1 without"
    )
    parser.add_argument(
        "--only", metavar="WORDS", help="runs whose names hold these words"
    )
    parser.add_argument("--steps", type=int, help="T; as the tasks have it by default")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    options = parser.parse_args()

    if options.pack:
        if not (options.clip and options.digits):
            parser.error("--pack needs --clip and --digits")
        reach(options.pack)
        pack(options.pack, options.clip, options.digits, options.limit)
        return
    if not options.packed or not (options.packed / "polarity" / "facts.json").is_file():
        parser.error(f"{options.packed} holds nothing packed; write it with --pack")

    chosen = [job for job in jobs(options.seeds) if (options.only or "") in job.name]
    workers = options.workers or (12 if torch.cuda.is_available() else 1)
    bench(
        options.packed,
        options.out,
        options.minutes,
        workers,
        chosen,
        {"steps": options.steps} if options.steps else {},
    )


if __name__ == "__main__":
    main()
