"""Prune a checkpoint of 7 billion bf16 weights under a hard limit on memory, against reading and writing its bytes.

    python benchmarks/prune_checkpoint.py [--billions 7] [--limit 3] [--folder DIR] [--json PATH]

A checkpoint with the tensors of a Llama of 7 B is made on the spot, 13.5 GB of random bf16 in shards. The job,
`instant-soup prune`, runs in a process of its own whose address space is limited (``ulimit -v``), so that what it maps
counts too. Beside it stand two plain sequential readings and one writing of the same bytes, flushed to the disk as
the job flushes what it writes. The readings begin with what was read before dropped from the page cache, for both.
Disk needed: twice the checkpoint.

Goals: the address space stays under 3 GiB, the job takes at most 1.5 times as long as the readings and the writing.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from instant_soup.checkpoints.checkpoint import Checkpoint
from measure import Goal, options, report, seconds

CHUNK = 1 << 22
SPARSITY = 0.5
SHARD = 2_000_000_000  # bytes
WIDTH, INNER, WORDS = 4096, 11008, 32000


def main() -> None:
    """Make, prune, read and write, report, delete."""
    parser = options(__doc__)
    parser.add_argument(
        "--billions",
        type=float,
        default=7,
        help="of weights, about (default: %(default)s)",
    )
    parser.add_argument(
        "--limit",
        type=float,
        default=3,
        help="of the address space, GiB (default: %(default)s)",
    )
    parser.add_argument("--folder", type=Path, help="where there is room on the disk")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as made:
        source, out = Path(made, "dense"), Path(made, "sparse")
        size = make(source, max(1, round(32 * chosen.billions / 6.74)))
        print(
            f"made {len(list(source.glob('*.safetensors')))} shards, {size / 1e9:.1f} GB",
            flush=True,
        )
        plain = [seconds(lambda: plainly(source, out))]
        shutil.rmtree(out)
        forget(source)
        peak = [0]
        ours = seconds(
            lambda: peak.__setitem__(0, job(source, out, int(chosen.limit * 2**30)))
        )
        check(source, out)
        shutil.rmtree(out)
        plain.append(seconds(lambda: plainly(source, out)))
    print(
        f"job {ours:.1f} s; two readings and a writing before and after it {plain[0]:.1f} s and {plain[1]:.1f} s"
    )
    print(
        f"peak resident memory of the job {peak[0] / 2**20:,.0f} MiB, under a limit of {chosen.limit:g} GiB"
    )
    goals = {
        "time of the job as a multiple of two readings and a writing": Goal(
            2 * ours / sum(plain), "at most", 1.5
        ),
        "peak resident memory as a share of the limit": Goal(
            peak[0] / (chosen.limit * 2**30), "under", 1
        ),
        "peak resident memory as a share of the checkpoint": Goal(
            peak[0] / size, "under", 0.25
        ),
    }
    report(
        goals,
        chosen.json,
        seconds={"job": ours, "plain": plain},
        bytes=size,
        peak=peak[0],
        limit=chosen.limit,
    )


def make(folder: Path, layers: int) -> int:
    """A sharded checkpoint of so many *layers*; returns its bytes. One block of noise fills all."""
    folder.mkdir()
    noise = np.random.default_rng(0).standard_normal(1 << 23, dtype=np.float32) * 0.02
    block = (noise.view(np.uint32) >> 16).astype(np.uint16).tobytes()
    shards: list[dict[str, tuple[int, ...]]] = [{}]
    room = SHARD
    for name, shape in tensors(layers).items():
        if (room := room - 2 * int(np.prod(shape))) < 0:
            shards.append({})
            room = SHARD - 2 * int(np.prod(shape))
        shards[-1][name] = shape
    index = {}
    for number, shard in enumerate(shards):
        file = f"model-{number + 1:05}-of-{len(shards):05}.safetensors"
        index |= dict.fromkeys(shard, file)
        write_shard(folder / file, shard, block)
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": index})
    )
    (folder / "config.json").write_text('{"model_type": "llama"}')
    forget(folder)
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def tensors(layers: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a Llama."""
    found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (WORDS, WIDTH)}
    for layer in range(layers):
        begin = f"model.layers.{layer}."
        found |= {
            f"{begin}self_attn.{name}_proj.weight": (WIDTH, WIDTH) for name in "qkvo"
        }
        found |= {
            f"{begin}mlp.{name}_proj.weight": (INNER, WIDTH) for name in ("gate", "up")
        }
        found |= {f"{begin}mlp.down_proj.weight": (WIDTH, INNER)}
        found |= {
            f"{begin}{name}_layernorm.weight": (WIDTH,)
            for name in ("input", "post_attention")
        }
    return found | {"model.norm.weight": (WIDTH,), "lm_head.weight": (WORDS, WIDTH)}


def write_shard(path: Path, shard: dict[str, tuple[int, ...]], block: bytes) -> None:
    """Safetensors without a tensor in memory."""
    facts, end = {}, 0
    for name, shape in shard.items():
        size = 2 * int(np.prod(shape))
        facts[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    header = json.dumps({"__metadata__": {"format": "pt"}, **facts}).encode()
    header += b" " * (-len(header) % 8)
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for fact in facts.values():
            left, at = (
                fact["data_offsets"][1] - fact["data_offsets"][0],
                2 * (file.tell() % 4096),
            )
            while left:
                part = block[at : at + left]
                file.write(part)
                left, at = left - len(part), 0
        file.flush()
        os.fsync(file.fileno())


def forget(folder: Path) -> None:
    """Drop a folder's files from the page cache."""
    for path in folder.glob("*.safetensors"):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def plainly(source: Path, out: Path) -> None:
    """Read all bytes, then read them again and write them."""
    out.mkdir()
    for write in (False, True):
        for path in sorted(source.glob("*.safetensors")):
            with path.open("rb", buffering=0) as file:
                through(file.readinto, out / path.name if write else None)
    forget(source)


def through(read: Callable[[memoryview], int | None], path: Path | None) -> None:
    """Read to the end, and write to *path* if there is one, flushed."""
    room = memoryview(bytearray(CHUNK))
    if path is None:
        while read(room):
            pass
        return
    with path.open("wb", buffering=0) as new:
        while got := read(room):
            new.write(room[:got])
        os.fsync(new.fileno())


def job(source: Path, out: Path, limit: int) -> int:
    """`instant-soup prune` under *limit* bytes of address space; returns its peak resident memory."""
    command = [
        sys.executable,
        "-m",
        "instant_soup",
        "prune",
        source,
        "-o",
        out,
        f"--sparsity={SPARSITY}",
        "--json",
    ]
    subprocess.run(
        [str(word) for word in command],
        check=True,
        stdout=subprocess.DEVNULL,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )
    return 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss


def check(source: Path, out: Path) -> None:
    """Check the count of one layer's survivors and that they are as they were."""
    old, new = Checkpoint.open(source), Checkpoint.open(out)
    name = "model.layers.0.mlp.up_proj.weight"
    before, after = old[name], new[name]
    assert bool(((after == before) | (after == 0)).all())
    share = float((after == 0).float().mean())
    assert abs(share - SPARSITY) < 0.01, share
    print(f"{share:.2%} of {name} are zero, the rest as it was", flush=True)


if __name__ == "__main__":
    main()
