"""Prune a language model block by block under a hard limit on memory, and print what it took as a ratio to one block.

    python benchmarks/prune_blocks.py [--width 4096] [--inner 11008] [--blocks 2] [--limit 8] [--score sparsegpt] \
        [--samples 8] [--window 256] [--experts 8] [--pattern unstructured] [-o results/prune-blocks.json]

The model is a Llama of these shapes with random weights in bfloat16; the defaults are those of 7 billion weights,
of which 32 blocks would be pruned one after another in the same memory. With --experts it is a Mixtral, whose file
holds each expert in tensors of its own. Windows go through a block one at a time and lie on disk in between, so more
samples take time and disk, and no more memory. The file holds a row for each score, shape and window.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

GIB = 2**30
SAME = ("score", "pattern", "width", "inner", "window", "samples", "experts")
"""What a row is told by from others in the file."""


def main() -> None:
    """Make the model, and prune it in a fresh process."""
    parser = argparse.ArgumentParser()
    for name, value in (
        ("width", 4096),
        ("inner", 11008),
        ("blocks", 2),
        ("samples", 8),
        ("window", 256),
        ("experts", None),
    ):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--limit", type=float, default=8.0, help="GiB of address space")
    parser.add_argument("--score", default="sparsegpt")
    parser.add_argument("--pattern", default="2:4")
    parser.add_argument("-o", "--out", type=Path)
    options = parser.parse_args()
    asked = {name: value for name, value in vars(options).items() if name != "out"}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        make(folder, options)
        told = subprocess.run(
            [
                sys.executable,
                __file__,
                "--worker",
                str(folder),
                json.dumps(asked),
            ],
            check=True,
            capture_output=True,
            text=True,
        )
        print(told.stdout, end="")
        if options.out:
            from rows import add

            add(options.out, {**asked, **json.loads(told.stdout.splitlines()[-1])}, SAME)


def make(folder: Path, options: argparse.Namespace) -> None:
    """Save the model and a text."""
    import torch
    from transformers import (
        LlamaConfig,
        LlamaForCausalLM,
        MixtralConfig,
        MixtralForCausalLM,
    )

    from instant_soup.models.tiny_decoders import LETTERS, tokenizer

    kind, config_of, more = LlamaForCausalLM, LlamaConfig, {}
    if options.experts:
        kind, config_of = MixtralForCausalLM, MixtralConfig
        more = {"num_local_experts": options.experts}

    config = config_of(
        vocab_size=len(LETTERS),
        hidden_size=options.width,
        intermediate_size=options.inner,
        num_hidden_layers=options.blocks,
        num_attention_heads=options.width // 128,
        num_key_value_heads=options.width // 128,
        bos_token_id=None,
        eos_token_id=None,
        **more,
    )
    with torch.device("meta"):
        model = kind(config)
    model = model.to(torch.bfloat16).to_empty(device="cpu")
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    model.save_pretrained(folder / "model")
    tokenizer().save_pretrained(folder / "model")
    (folder / "text").mkdir()
    (folder / "text" / "train.txt").write_text(
        "a soup of tickets, and some words. " * 4000, encoding="utf-8"
    )


def work(folder: Path, options: dict[str, float]) -> None:
    """Prune under the limit, and say what it took."""
    import torch

    from instant_soup.checkpoints.block_job import Job
    from instant_soup.checkpoints.blocks import prune_blocks
    from instant_soup.checkpoints.outline import outline
    from instant_soup.runs.environment import forget_peaks, peaks

    torch.set_num_threads(1)
    limit = int(options["limit"] * GIB)
    # a process begins with the peak of the one that started it
    forget_peaks()
    before = peaks()["process"]
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    job = Job(
        0.5,
        str(options["score"]),
        pattern=str(options["pattern"]),
        calibrate=str(folder / "text"),
        samples=int(options["samples"]),
        window=int(options["window"]),
    )
    plan = outline(folder / "model", job)
    started = time.perf_counter()
    prune_blocks(folder / "model", folder / "out", job)
    seconds = time.perf_counter() - started
    peak = peaks()["process"]
    print(
        f"block {plan.block / GIB:.2f} GiB in float32; planned {plan.memory / GIB:.2f} GiB beside Python"
    )
    print(
        f"Python and torch {before / GIB:.2f} GiB; peak {peak / GIB:.2f} GiB, under a limit of {options['limit']} GiB"
    )
    print(
        f"peak without Python as a multiple of one block in float32: {(peak - before) / plan.block:.2f}"
    )
    facts = {
        "block": plan.block,
        "planned": plan.memory,
        "python": before,
        "peak": peak,
        "seconds": round(seconds, 1),
    }
    print(json.dumps(facts))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        work(Path(sys.argv[2]), json.loads(sys.argv[3]))
    else:
        main()
