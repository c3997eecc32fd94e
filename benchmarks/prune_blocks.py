"""Prune a language model block by block under a hard limit on memory, and print what it took as a ratio to one block.

    python benchmarks/prune_blocks.py [--width 4096] [--inner 11008] [--blocks 2] [--limit 8] [--score sparsegpt]

The model is a Llama of these shapes with random weights in bfloat16; the defaults are those of 7 billion weights,
of which 32 blocks would be pruned one after another in the same memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

GIB = 2**30


def main() -> None:
    """Make the model, and prune it in a fresh process."""
    parser = argparse.ArgumentParser()
    for name, value in (
        ("width", 4096),
        ("inner", 11008),
        ("blocks", 2),
        ("samples", 8),
        ("window", 256),
    ):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--limit", type=float, default=8.0, help="GiB of address space")
    parser.add_argument("--score", default="sparsegpt")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        make(folder, options)
        told = subprocess.run(
            [
                sys.executable,
                __file__,
                "--worker",
                str(folder),
                json.dumps(vars(options)),
            ],
            check=True,
            capture_output=True,
            text=True,
        )
        print(told.stdout, end="")


def make(folder: Path, options: argparse.Namespace) -> None:
    """Save the model and a text."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from instant_soup.models.tiny_decoders import LETTERS, tokenizer

    config = LlamaConfig(
        vocab_size=len(LETTERS),
        hidden_size=options.width,
        intermediate_size=options.inner,
        num_hidden_layers=options.blocks,
        num_attention_heads=options.width // 128,
        num_key_value_heads=options.width // 128,
        bos_token_id=None,
        eos_token_id=None,
    )
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
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

    torch.set_num_threads(1)
    limit = int(options["limit"] * GIB)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    job = Job(
        0.5,
        str(options["score"]),
        pattern="2:4",
        calibrate=str(folder / "text"),
        samples=int(options["samples"]),
        window=int(options["window"]),
    )
    plan = outline(folder / "model", job)
    prune_blocks(folder / "model", folder / "out", job)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(
        f"block {plan.block / GIB:.2f} GiB in float32; planned {plan.memory / GIB:.2f} GiB beside Python"
    )
    print(
        f"Python and torch {before / GIB:.2f} GiB; peak {peak / GIB:.2f} GiB, under a limit of {options['limit']} GiB"
    )
    print(
        f"peak without Python as a multiple of one block in float32: {(peak - before) / plan.block:.2f}"
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        work(Path(sys.argv[2]), json.loads(sys.argv[3]))
    else:
        main()
