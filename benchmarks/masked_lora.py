"""A training step of LoRA under a ticket's mask, against plain LoRA and DoRA, of the same model on the same batches.

    python benchmarks/masked_lora.py [--legs 20] [--steps 5] [--batch 16] [--length 32] [--json PATH]

Three copies of a BERT as wide as BERT-base, of four layers, random weights, adapters of rank 8 on every query and
value, train in turn in one process. Masking makes the product B A in each step, whose cost depends on the weights and
not on the batch, so short batches show it at its worst.

Goal: under the mask a step takes at most half as long again as plain LoRA's. DoRA, which takes the product too but does
not differentiate through it, is there to compare with.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import BertConfig, BertForSequenceClassification

import instant_soup as soup
from instant_soup.engine.worker import compute
from measure import Goal, Ratio, interleaved, options, report

SPARSITY = 0.7


def main() -> None:
    """Train all three in turn and compare."""
    parser = options(__doc__)
    parser.add_argument(
        "--legs", type=int, default=20, help="of each model (default: %(default)s)"
    )
    parser.add_argument(
        "--steps", type=int, default=5, help="of a leg (default: %(default)s)"
    )
    parser.add_argument(
        "--batch", type=int, default=16, help="examples of a step (default: %(default)s)"
    )
    parser.add_argument(
        "--length",
        type=int,
        default=32,
        help="tokens of an example (default: %(default)s)",
    )
    chosen = parser.parse_args()
    compute(chosen.threads)
    words = torch.randint(5, 900, (chosen.batch, chosen.length))
    kinds = {"plain": {}, "masked": {}, "dora": {"use_dora": True}}
    legs = {
        kind: partial(
            stepper(adapted(masked=kind == "masked", **settings), words), chosen.steps
        )
        for kind, settings in kinds.items()
    }
    for leg in legs.values():
        leg()
    taken = interleaved(legs, chosen.legs)
    steps = {
        name: [1000 * leg / chosen.steps for leg in each] for name, each in taken.items()
    }
    for name, each in steps.items():
        print(
            f"{name:>8}: median {median(each):.1f} ms a step ({min(each):.1f} to {max(each):.1f})"
        )
    plain, dora = (Ratio.of(taken["masked"], taken[name]) for name in ("plain", "dora"))
    print(f"under the mask a step takes {plain} of plain LoRA's, and {dora} of DoRA's")
    report(
        {"masked step over plain LoRA's": Goal.on(plain, "at most", 1.5)},
        chosen.json,
        milliseconds={name: median(each) for name, each in steps.items()},
        batch=chosen.batch,
        length=chosen.length,
        threads=chosen.threads,
    )


def adapted(*, masked: bool, **settings: Any) -> Any:
    """A ticket with adapters beside it."""
    torch.manual_seed(0)
    model = BertForSequenceClassification(
        BertConfig(vocab_size=1000, num_hidden_layers=4)
    )
    scope = soup.Scope.of(model)
    weights = {name: model.get_parameter(name) for name in scope}
    mask = soup.prune(
        {name: weights[name].detach().abs() for name in scope},
        soup.Mask.dense(scope),
        SPARSITY,
    )
    with torch.no_grad():
        for name, weight in weights.items():
            weight.masked_fill_(~mask[name], 0)
    wrapped = get_peft_model(
        model, LoraConfig(r=8, target_modules=["query", "value"], **settings)
    )
    if masked:
        soup.mask_adapters(wrapped, mask)
    return wrapped


def stepper(model: Any, words: torch.Tensor) -> Callable[[int], None]:
    """Trains *model* for so many steps."""
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad], lr=1e-4, fused=True
    )
    labels = words[:, 0] % 2

    def train(steps: int) -> None:
        for _ in range(steps):
            model(input_ids=words, labels=labels).loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    return train


if __name__ == "__main__":
    main()
