"""What adapters under a ticket's mask recover of a language model, at as many steps as fine-tuning all of its weights.

    python benchmarks/language_lora.py runs/RUN --budget 0.5 --rate 1e-3 -o results/language-lora.json

RUN is the folder of a run that drew a ticket. Text, batches, their order and the line are those of a run of the same
recipe at that budget, whose figure this is to be set beside: what is trained is another thing, at a rate of its own.
Adapters of rank 8 lie beside every linear layer of the blocks. After training they are merged under the mask. The
validation windows are read before and after the merge, which loses nothing; the test windows once. The file holds a
row for each ticket, rate, rank and number of steps.
"""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from torch.optim import AdamW

import instant_soup as soup
from instant_soup.recipes.recipe import Recipe
from instant_soup.runs.run import build
from instant_soup.tasks import CourseTask
from instant_soup.training.optim import RateLine
from instant_soup.training.order import Order
from instant_soup.training.seeds import stream
from rows import add

Row = dict[str, str | float | int]
SAME = ("ticket", "sparsity", "rank", "rate", "steps")
"""What a row is told by from others in the file."""


def main() -> None:
    """Train, merge, judge, and add the row to the file."""
    options = asked()
    torch.set_num_threads(1)

    recipe = Recipe.read(options.run / "recipe.toml", [f"budget={options.budget}"])
    task = build(recipe).stretched(recipe.budget)
    ticket = soup.Ticket.load(options.run / "ticket.safetensors")

    torch.manual_seed(recipe.seed)
    model = adapted(task, ticket, options.rank)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)

    started = time.perf_counter()
    train(model, task, options.rate)
    seconds = time.perf_counter() - started

    validation = perplexity(model.eval(), task.course.validation)
    merged = soup.merge_adapters(model, ticket).model
    row: Row = {
        "ticket": ticket.method["name"],
        "sparsity": ticket.sparsity,
        "rank": options.rank,
        "rate": options.rate,
        "steps": task.horizon,
        "trained": trained,
        "seconds": round(seconds, 1),
        "validation": validation,
        "validation, merged": perplexity(merged, task.course.validation),
        "test": perplexity(merged, task.course.test),
    }
    add(options.out, row, SAME)


def asked() -> Namespace:
    """What the command line asks for."""
    parser = ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("--budget", type=float, default=0.5, help="in T")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("-o", "--out", type=Path, required=True)
    return parser.parse_args()


def adapted(task: CourseTask, ticket: soup.Ticket, rank: int) -> Any:
    """The model of *task* under *ticket*, with masked adapters beside every linear layer."""
    model: Any = deepcopy(task.course.model)
    ticket.apply(model)
    adapters = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear")
    wrapped: Any = get_peft_model(model, adapters)
    soup.mask_adapters(wrapped, ticket)
    return wrapped


def train(model: Any, task: CourseTask, rate: float) -> None:
    """Take T steps, on the batches and the line that the task's own learner takes them on."""
    regime = task.regime.model_copy(update={"rate": rate})
    line = RateLine.of(regime, task.horizon)
    examples = task.course.train
    order = Order(
        len(examples), regime.batch, stream(task.seed, "order"), examples.lengths
    )

    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = AdamW(parameters, weight_decay=regime.weight_decay)
    model.train()
    for step in range(task.horizon):
        for group in optimizer.param_groups:
            group["lr"] = line.at(step)

        loss = task.course.batch_loss(model, examples.batch(order.at(step)))
        loss.backward()
        if regime.clip:
            nn.utils.clip_grad_norm_(parameters, regime.clip)
        optimizer.step()
        optimizer.zero_grad()
        print(f"step {step + 1} of {task.horizon}, loss {loss.item():.3f}", flush=True)


@torch.inference_mode()
def perplexity(model: nn.Module, windows: Any) -> float:
    """The exponential of the mean loss over *windows*, each of which has as many tokens."""
    losses = []
    for index in range(len(windows)):
        batch = windows.batch([index])
        losses.append(model(**batch, labels=batch["input_ids"]).loss.double())
    return float(torch.stack(losses).mean().exp())


if __name__ == "__main__":
    main()
