"""Latency of a sparse BERT beside the dense one, on this CPU; and of the ways to multiply by a sparse matrix.

    python benchmarks/sparse_latency.py [--sparsity 0.9 0.95] [--turns 25] [--threads 2] [--json PATH]

The packaged BERT, its smallest weights pruned across the model, end to end: dense layers of torch in float32 against
the layers of the CSR export, each of which multiplies by what is fastest for it here. One text at a time, short (16
tokens) and long (128), and 32 at a time. Both take turns in one process.

With --kernels, for each shape of matrix, every way that was considered: ``gather`` (embedding_bag) and ``csr`` (MKL),
which the export chooses from; torch's linear layer with a CSR weight, its row-wise reduction, BSR in blocks of four,
and scipy.

Goal: at 90 % or more, one text at a time takes less than with dense layers.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from statistics import median

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor, nn
from torch.nn import functional as F

from instant_soup.core.mask import Mask
from instant_soup.core.prune import prune
from instant_soup.export.csr import sparsify
from instant_soup.export.sparse import KERNELS, SparseLinear
from instant_soup.models.text import load
from measure import Goal, Ratio, interleaved, options, report

SHAPES = ((1, 16), (1, 128), (32, 16), (32, 128))
MATRICES = ((384, 384), (1536, 384), (384, 1536))
TOKENS = (8, 16, 128)
WARM = 2


def main() -> None:
    """Prune, let both take turns, and compare."""
    parser = options(__doc__)
    parser.add_argument(
        "--sparsity",
        type=float,
        nargs="+",
        default=[0.9, 0.95],
        help="(default: %(default)s)",
    )
    parser.add_argument(
        "--turns", type=int, default=25, help="of each (default: %(default)s)"
    )
    parser.add_argument(
        "--batches", type=int, nargs="+", default=[1, 32], help="(default: %(default)s)"
    )
    parser.add_argument(
        "--kernels",
        action="store_true",
        help="compare ways to multiply instead of models",
    )
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    with torch.inference_mode():
        if chosen.kernels:
            for sparsity in chosen.sparsity:
                kernels(sparsity, chosen.turns)
            return
        goals, milliseconds = {}, {}
        for sparsity in chosen.sparsity:
            for name, ratio, times in models(sparsity, chosen.turns, chosen.batches):
                milliseconds[name] = times
                if name.startswith("batch 1,") and sparsity >= 0.9:
                    goals[f"sparse over dense, {name}"] = Goal.on(ratio, "under", 1.0)
    report(goals, chosen.json, milliseconds=milliseconds, threads=chosen.threads)


def models(
    sparsity: float, turns: int, batches: list[int]
) -> list[tuple[str, Ratio, dict[str, float]]]:
    """For each batch and length: its name, sparse over dense, and the medians."""
    loaded = load("packaged", labels=2, seed=0)
    dense = loaded.model.eval()
    weights = dict(dense.named_parameters())
    mask = prune(
        {name: weights[name].abs() for name in loaded.scope},
        Mask.dense(loaded.scope),
        sparsity,
    )
    for name in mask:
        weights[name].masked_fill_(~mask[name], 0)
    shapes = [shape for shape in SHAPES if shape[0] in batches]
    sparse = sparsify(
        deepcopy(dense), mask, sorted({batch * length for batch, length in shapes})
    )
    found = []
    for batch, length in shapes:
        ids = torch.randint(
            1000, 20000, (batch, length), generator=torch.Generator().manual_seed(0)
        )
        acts = {
            "dense": partial(forward, dense, ids),
            "sparse": partial(forward, sparse, ids),
        }
        torch.testing.assert_close(
            acts["sparse"](), acts["dense"](), rtol=1e-3, atol=1e-4
        )
        for act in acts.values():
            for _ in range(WARM):
                act()
        taken = interleaved(acts, max(7, turns * 512 // max(512, batch * length)))
        ratio, times = (
            Ratio.of(taken["sparse"], taken["dense"]),
            {k: 1000 * median(v) for k, v in taken.items()},
        )
        name = f"batch {batch}, {length} tokens, {sparsity:.0%} sparse"
        print(
            f"{name}: sparse takes {ratio} of dense ({times['sparse']:.2f} and {times['dense']:.2f} ms)",
            flush=True,
        )
        found.append((name, ratio, times))
    return found


def forward(model: nn.Module, ids: Tensor) -> Tensor:
    """Logits."""
    logits: Tensor = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    return logits


def kernels(sparsity: float, turns: int) -> None:
    """Print what each way to multiply takes, as a share of the dense one."""
    dice = torch.Generator().manual_seed(0)
    for height, width in MATRICES:
        matrix = torch.randn((height, width), generator=dice)
        matrix *= torch.rand((height, width), generator=dice) >= sparsity
        for tokens in TOKENS:
            x, bias = (
                torch.randn((tokens, width), generator=dice),
                torch.randn(height, generator=dice),
            )
            acts = ways(matrix, x, bias)
            for act in acts.values():
                torch.testing.assert_close(act(), acts["dense"](), rtol=1e-3, atol=1e-3)
            taken = interleaved(acts, 2 * turns)
            shares = {
                name: Ratio.of(times, taken["dense"]).value
                for name, times in taken.items()
                if name != "dense"
            }
            said = ", ".join(f"{name} {share:.2f}" for name, share in shares.items())
            print(
                f"{height} x {width}, {sparsity:.0%} sparse, {tokens} tokens, of dense: {said}",
                flush=True,
            )


def ways(matrix: Tensor, x: Tensor, bias: Tensor) -> dict[str, Callable[[], Tensor]]:
    """Every way to multiply, by name."""
    layer = SparseLinear.of(matrix, matrix != 0, bias)
    ours = {name: partial(kernel, layer, x) for name, kernel in KERNELS.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch's sparse tensors are in beta
        rows, blocks = matrix.to_sparse_csr(), matrix.to_sparse_bsr((4, 4))
    other = csr_matrix(matrix.numpy())
    return {
        **ours,
        "linear": lambda: F.linear(x, layer.matrix) + bias,
        "reduce": lambda: torch.sparse.mm(rows, x.t().contiguous(), "sum").t() + bias,
        "bsr": lambda: F.linear(x, blocks) + bias,
        "scipy": lambda: (
            torch.from_numpy(np.ascontiguousarray((other @ x.numpy().T).T)) + bias
        ),
    }


if __name__ == "__main__":
    main()
