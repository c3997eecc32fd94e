"""As scripts: Instant Soup Pruning as research scripts do it, to be compared with. Ours, after reading the authors'.

What the authors' released CLIP scripts do is kept: each look-ahead loads the model and its data anew,
takes over the main line's weights and masks, trains, and prunes the concatenation of all weights by one `topk`;
masks are dictionaries of floats that are copied deeply; a masked layer holds `weight_orig` and `weight_mask`
and multiplies them in each forward pass; everything is float32. For text, which they did not release, the
recipe they name (Chen et al., 2020) pads each batch to a fixed length.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW
from torch.utils.data import DataLoader
from transformers import AutoModelForSequenceClassification, AutoTokenizer

Masks = dict[str, Tensor]
Rows = list[tuple[str, int]]


@dataclass(frozen=True)
class Job:
    """What is to be done, in numbers: *legs* of main-line steps, one a round, and what each round prunes to."""

    batch: int
    steps: int
    denoisers: int
    lookahead: int
    legs: tuple[int, ...]
    targets: tuple[float, ...]
    rate: float = 5e-5


@dataclass
class Scripts:
    """The job in the scripts' way. *padded* is the length that texts are padded to; None for the longest of a batch."""

    model: Path
    rows: Rows
    job: Job
    padded: int | None

    def draw(self) -> Masks:
        """Draw a ticket, training to the end on the way; the masks it came to."""
        model, batches, taken = self.load(), self.loader(), 0
        masks = {name: torch.ones_like(module.weight) for name, module in prunable(model)}
        reparametrise(model, masks)
        optimizer = AdamW(model.parameters(), lr=self.job.rate)
        for leg, target in zip(self.job.legs, self.job.targets, strict=True):
            self.train(model, optimizer, batches, range(taken, taken := taken + leg))
            found = [
                deepcopy(self.look_ahead(model, masks, target, taken))
                for _ in range(self.job.denoisers)
            ]
            union = {
                name: torch.stack([mask[name] for mask in found]).sum(0).clamp(0, 1)
                for name in masks
            }
            masks = cut(model, union, target) if target == self.job.targets[-1] else union
            remask(model, deepcopy(masks))
        self.train(model, optimizer, batches, range(taken, self.job.steps))
        return masks

    def look_ahead(
        self, main: nn.Module, masks: Masks, target: float, taken: int
    ) -> Masks:
        """Load everything anew, train for a moment, prune."""
        model = self.load()
        reparametrise(model, deepcopy(masks))
        model.load_state_dict(main.state_dict())
        optimizer = AdamW(model.parameters(), lr=self.job.rate)
        self.train(model, optimizer, self.loader(), repeat(taken, self.job.lookahead))
        return cut(model, masks, target)

    def train(
        self,
        model: nn.Module,
        optimizer: AdamW,
        batches: Iterator[Any],
        steps: Iterable[int],
    ) -> None:
        """Take *steps*, by their number on the line that the rate falls in."""
        model.train()
        for step in steps:
            for group in optimizer.param_groups:
                group["lr"] = self.job.rate * (1 - step / self.job.steps)
            model(**next(batches)).loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()

    def load(self) -> nn.Module:
        """The pre-trained model, from its file."""
        model: nn.Module = AutoModelForSequenceClassification.from_pretrained(
            self.model, num_labels=2
        )
        return model

    def loader(self) -> Iterator[Any]:
        """Batches without end, tokenised as they are asked for."""
        tokenizer = AutoTokenizer.from_pretrained(self.model)
        how = (
            {"padding": "max_length", "max_length": self.padded}
            if self.padded
            else {"padding": True}
        )

        def collate(rows: Rows) -> Any:
            texts, labels = zip(*rows, strict=True)
            encoded = tokenizer(list(texts), truncation=True, return_tensors="pt", **how)
            return {**encoded, "labels": torch.tensor(labels)}

        loader = DataLoader(self.rows, self.job.batch, shuffle=True, collate_fn=collate)
        return chain.from_iterable(repeat(loader))


def prunable(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """The layers that are pruned: the matrices of the encoder."""
    found = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
    ]
    return [(name, module) for name, module in found if ".encoder." in name]


def reparametrise(model: nn.Module, masks: Masks) -> None:
    """Let each masked layer hold a weight and a mask, and multiply them in each forward pass."""
    for name, module in prunable(model):
        weight = module.weight
        del module.weight
        module.weight_orig = nn.Parameter(weight.detach())
        module.register_buffer("weight_mask", masks[name].clone())
        module.register_forward_pre_hook(_multiply)


def _multiply(module: nn.Module, _: object) -> None:
    module.weight = module.weight_orig * module.weight_mask


def remask(model: nn.Module, masks: Masks) -> None:
    """Give the layers other masks."""
    for name, module in prunable(model):
        module.weight_mask.copy_(masks[name])


@torch.no_grad()
def cut(model: nn.Module, masks: Masks, target: float) -> Masks:
    """Prune the smallest weights until *target* of all is gone: one `topk` over everything at once."""
    layers = dict(prunable(model))
    sizes = torch.cat(
        [
            (layers[name].weight_orig * mask).abs().flatten()
            for name, mask in masks.items()
        ]
    )
    flat = torch.cat([mask.flatten() for mask in masks.values()])
    gone = len(flat) - round((1 - target) * len(flat))
    flat[sizes.topk(gone, largest=False).indices] = 0
    parts = flat.split([mask.numel() for mask in masks.values()])
    return {
        name: part.view_as(mask)
        for (name, mask), part in zip(masks.items(), parts, strict=True)
    }
