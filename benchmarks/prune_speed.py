"""Prune 84,934,656 weights shaped like BERT-base, against torch's pruning and against one reading of them.

    python benchmarks/prune_speed.py [--repetitions 7] [--json PATH]

Compared are `instant_soup.core.prune.prune` with magnitude scores, `global_unstructured` of
torch.nn.utils.prune with L1Unstructured, on the same values, and ``abs().sum()`` over the same
tensors, which is one pass over the weights. Ours and the pass are interleaved; torch's pruning
takes long and is timed at the beginning and at the end. Extra memory is that of ours alone, in
a process of its own.

Goals: at least 15 times faster than torch, at most 8 passes, extra memory under 10 % of the
weights' bytes. Checked on the way: the masks agree but for ties at the cut.
"""

from __future__ import annotations

import json
from statistics import median

import torch
from torch import Tensor, nn
from torch.nn.utils import prune as torch_prune

from instant_soup.core.mask import Mask
from instant_soup.core.prune import prune
from instant_soup.core.scope import Scope
from instant_soup.core.weights import Elementwise
from measure import (
    Goal,
    Ratio,
    extra_peak,
    in_fresh_process,
    interleaved,
    options,
    report,
    seconds,
)

LAYERS, WIDTH = 12, 768
MATRICES = {
    **dict.fromkeys(("query", "key", "value", "output"), (WIDTH, WIDTH)),
    "up": (4 * WIDTH, WIDTH),
    "down": (WIDTH, 4 * WIDTH),
}
SPARSITY = 0.7


def main() -> None:
    """Time, compare the masks, measure the memory, report."""
    parser = options(__doc__)
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument(
        "--only-memory",
        action="store_true",
        help="print the extra memory of ours and stop",
    )
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    weights = bert_base()
    if chosen.only_memory:
        print(json.dumps(memory(weights)))
        return
    everything = dense(weights)
    theirs = reference(weights)
    agree(ours(weights, everything), theirs[1], weights)
    taken = interleaved(
        {
            "ours": lambda: ours(weights, everything),
            "one pass": lambda: one_pass(weights),
        },
        chosen.repetitions,
    )
    taken["torch"] = [theirs[0], reference(weights)[0]]
    for name, times in taken.items():
        print(
            f"{name:>10}: median {median(times):.3f} s of {len(times)} ({min(times):.3f} to {max(times):.3f})"
        )
    passes, faster = (
        Ratio.of(taken["ours"], taken["one pass"]),
        median(taken["torch"]) / median(taken["ours"]),
    )
    print(f"ours takes {passes} passes")
    share = in_fresh_process(__file__, "--only-memory", f"--threads={chosen.threads}")
    if share is None:
        print(
            "extra memory: this system has no /proc/self/clear_refs, so it is not measured"
        )
    goals = {
        "times faster than torch": Goal(faster, "at least", 15),
        "passes over the weights": Goal.on(passes, "at most", 8),
        "extra memory as a share of the weights": Goal(share, "under", 0.10),
    }
    report(
        goals,
        chosen.json,
        medians={name: median(times) for name, times in taken.items()},
        threads=chosen.threads,
    )


def bert_base() -> dict[str, Tensor]:
    """Normal weights in the shapes of BERT-base's encoder."""
    dice = torch.Generator().manual_seed(0)
    return {
        f"{layer}.{name}": torch.empty(shape).normal_(0, 0.02, generator=dice)
        for layer in range(LAYERS)
        for name, shape in MATRICES.items()
    }


def dense(weights: dict[str, Tensor]) -> Mask:
    """The mask that keeps all weights."""
    return Mask.dense(
        Scope({name: tuple(tensor.shape) for name, tensor in weights.items()})
    )


def ours(weights: dict[str, Tensor], mask: Mask) -> Mask:
    """Our mask."""
    return prune(Elementwise(weights, torch.abs), mask, SPARSITY)


def one_pass(weights: dict[str, Tensor]) -> float:
    """One reading of all weights."""
    return sum(float(tensor.abs().sum()) for tensor in weights.values())


def reference(weights: dict[str, Tensor]) -> tuple[float, dict[str, Tensor]]:
    """How long torch takes, and its masks."""
    modules = {name: nn.Module() for name in weights}
    for name, module in modules.items():
        module.weight = nn.Parameter(weights[name], requires_grad=False)
    pairs = [(module, "weight") for module in modules.values()]
    taken = seconds(
        lambda: torch_prune.global_unstructured(
            pairs, torch_prune.L1Unstructured, amount=SPARSITY
        )
    )
    return taken, {name: module.weight_mask.bool() for name, module in modules.items()}


def agree(mask: Mask, theirs: dict[str, Tensor], weights: dict[str, Tensor]) -> None:
    """Check that both keep as many, and the same but for ties at the cut."""
    kept = sum(int(part.sum()) for part in theirs.values())
    assert mask.kept == kept, f"ours keeps {mask.kept:,} and torch {kept:,}"
    cut = min(float(weights[name].abs()[mask[name]].min()) for name in mask)
    tied = torch.cat([weights[name].abs()[mask[name] != theirs[name]] for name in mask])
    assert bool((tied == cut).all()), (
        "the masks differ in weights that are not tied at the cut"
    )
    print(
        f"both keep {kept:,} of {mask.scope.size:,} weights and differ in {len(tied)} that are tied at the cut"
    )


def memory(weights: dict[str, Tensor]) -> float | None:
    """Extra peak of ours as a share of the weights' bytes, the mask it returns included."""
    few = {name: tensor[:8] for name, tensor in weights.items()}
    ours(few, dense(few))  # what is loaded at the first call is not the weights' fault
    everything = dense(weights)
    extra = extra_peak(lambda: ours(weights, everything))
    return (
        None
        if extra is None
        else extra / sum(tensor.nbytes for tensor in weights.values())
    )


if __name__ == "__main__":
    main()
