"""The whole way of one ticket, as its user goes it: fine-tuned by the Trainer, moved to another task, exported.

    python benchmarks/journey.py TICKET --data glue/cola --transfer-to rte.toml --runs RUNS --work WORK --out FILE

TICKET was drawn from the packaged BERT on CoLA. It is trained by transformers' Trainer, with the callback of
docs/fine-tuning.md, on train.parquet; judged on validation.parquet; given to `instant-soup transfer`; and what the
Trainer saved is exported to every format and measured. What each step found goes into one sealed JSON file. Times are
of this machine and of whatever else it was doing. Broken off, the same command goes on after the last step in WORK.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import load_dataset
from safetensors.torch import load_file
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    Trainer,
    TrainingArguments,
)

import instant_soup as soup
from instant_soup.models.text import packaged
from instant_soup.runs.environment import environment
from instant_soup.store.plain import read_json, seal, write_json
from instant_soup.training.metrics import matthews

FILES = {
    "hf": "sparse",
    "bitmask": "bits.safetensors",
    "onnx": "sparse.onnx",
    "csr": "rows.safetensors",
    "openvino": "sparse.xml",
}


def main() -> None:
    """Go the way, print it, and write it down."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ticket", type=Path)
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        help="a folder with CoLA's train and validation.parquet",
    )
    parser.add_argument(
        "--transfer-to", type=Path, required=True, help="a recipe of another task"
    )
    parser.add_argument(
        "--runs", type=Path, required=True, help="where the record of the transfer goes"
    )
    parser.add_argument(
        "--work", type=Path, required=True, help="where files are kept between steps"
    )
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    ticket, work = soup.Ticket.load(options.ticket), options.work
    tuned = work / "tuned"
    steps = {
        "trainer": lambda: train(options.ticket, options.data, tuned),
        "transfer": lambda: transfer(options.ticket, options.transfer_to, options.runs),
        **{
            form: partial(export, options.ticket, form, tuned / "model.safetensors", work)
            for form in FILES
        },
    }
    found = {step: done(work / f"{step}.json", act) for step, act in steps.items()}
    facts = {
        "what": "journey",
        "made": {"at": datetime.now(UTC).isoformat(timespec="seconds"), **environment()},
        "ticket": {
            "digest": ticket.digest,
            "recipe": ticket.recipe,
            "sparsity": ticket.sparsity,
        },
        "steps": found,
    }
    write_json(options.out, seal(facts))


def done(path: Path, act: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What a step found, noted at *path* so that it is done once."""
    if not path.exists():
        write_json(path, act())
    print(f"{path.stem}: {path.read_text(encoding='utf-8')}", flush=True)
    return read_json(path)


def train(path: Path, data: Path, out: Path) -> dict[str, Any]:
    """The Trainer under a ticket's callback: two epochs, then one look at the held-out sentences."""
    name = packaged()
    tokenizer = AutoTokenizer.from_pretrained(name)
    model = AutoModelForSequenceClassification.from_pretrained(name, num_labels=2)
    files = {split: str(data / f"{split}.parquet") for split in ("train", "validation")}
    rows = load_dataset("parquet", data_files=files).map(
        lambda row: tokenizer(row["sentence"])
    )
    settings = TrainingArguments(
        str(out.with_name("checkpoints")), learning_rate=1e-4, num_train_epochs=2, per_device_train_batch_size=32,
        save_strategy="no", report_to=[], seed=0, train_sampling_strategy="group_by_length",
    )  # fmt: skip
    ticket = soup.Ticket.load(path)
    trainer = Trainer(
        model,
        settings,
        train_dataset=rows["train"],
        processing_class=tokenizer,
        callbacks=[soup.TicketCallback(ticket)],
        compute_metrics=lambda it: {
            "matthews": matthews(torch.tensor(it.predictions), torch.tensor(it.label_ids))
        },
    )
    since = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - since
    trainer.save_model(str(out))
    figure = trainer.evaluate(rows["validation"])["eval_matthews"]
    saved = load_file(out / "model.safetensors")
    alive = sum(int((saved[name][~ticket.mask[name]] != 0).sum()) for name in ticket.mask)
    assert not alive
    return {
        "matthews": figure,
        "steps": trainer.state.global_step,
        "seconds": seconds,
        "revived": alive,
    }


def transfer(ticket: Path, recipe: Path, runs: Path) -> dict[str, Any]:
    """The same ticket on another task."""
    record = instant_soup(
        "transfer", str(ticket), str(recipe), "--out", str(runs), "--json", "--quiet"
    )
    return {name: record[name] for name in ("key", "metric", "test")} | {
        "task": record["recipe"]["task"]["name"]
    }


def export(ticket: Path, form: str, weights: Path, work: Path) -> dict[str, Any]:
    """What the Trainer saved, in another format, read back and measured."""
    out = work / FILES[form]
    given = (
        "--to",
        form,
        "-o",
        str(out),
        "--model",
        "packaged",
        "--weights",
        str(weights),
    )
    found = instant_soup("export", str(ticket), *given, "--measure", "--json")
    del found["out"]
    return found


def instant_soup(*words: str) -> dict[str, Any]:
    """What a command prints for machines."""
    command = [sys.executable, "-m", "instant_soup", *words]
    printed = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    found: dict[str, Any] = json.loads(printed)
    return found


if __name__ == "__main__":
    main()
