"""Callback: a ticket in Hugging Face's Trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from torch import nn
from torch.optim import Muon
from torch.utils.data import Dataset
from transformers import (
    AutoModelForSequenceClassification,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

import instant_soup as soup
from instant_soup.core.budget import Cost
from instant_soup.core.task import Base
from instant_soup.core.weights import digest

pytestmark = [
    pytest.mark.filterwarnings(
        "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
    ),
]


class Sentences(Dataset[dict[str, Any]]):
    """Noise in which one token says the class."""

    def __len__(self) -> int:
        return 48

    def __getitem__(self, index: int) -> dict[str, Any]:
        words = torch.randint(
            15, 40, (6,), generator=torch.Generator().manual_seed(index)
        )
        label = index % 2
        return {
            "input_ids": torch.cat([torch.tensor([2, 5 + label]), words]),
            "labels": label,
        }


def load(folder: Path) -> Any:
    torch.manual_seed(0)
    return AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2)


def ticket_of(model: nn.Module) -> soup.Ticket:
    scope = soup.Scope.of(model)
    weights = dict(model.named_parameters())
    mask = soup.prune(
        {name: weights[name].abs() for name in scope}, soup.Mask.dense(scope), 0.7
    )
    return soup.Ticket(mask, {}, Base("tiny", digest(weights, scope)), Cost())


def arguments(folder: Path, **changes: Any) -> TrainingArguments:
    settings: dict[str, Any] = {
        "output_dir": str(folder),
        "per_device_train_batch_size": 8,
        "max_steps": 6,
        "save_steps": 3,
        "learning_rate": 1e-2,
        "weight_decay": 0.1,
        "report_to": [],
        "use_cpu": True,
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }
    return TrainingArguments(**settings | changes)


def trainer(
    model: Any, folder: Path, *callbacks: TrainerCallback, **changes: Any
) -> Trainer:
    return Trainer(
        model=model,
        args=arguments(folder, **changes),
        train_dataset=Sentences(),
        eval_dataset=Sentences(),
        callbacks=list(callbacks),
    )


def dead(ticket: soup.Ticket, folder: Path) -> int:
    saved = load_file(folder / "model.safetensors")
    return sum(
        int((saved[name].view(torch.int32)[~ticket.mask[name]] != 0).sum())
        for name in ticket.mask
    )


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"bf16": True, "gradient_accumulation_steps": 2, "max_grad_norm": 0.1},
        {"optim": "adafactor"},
        {"optim": "sgd", "torch_compile": True, "torch_compile_backend": "aot_eager"},
        {
            "gradient_checkpointing": True,
            "load_best_model_at_end": True,
            "eval_strategy": "steps",
            "eval_steps": 3,
            "metric_for_best_model": "eval_loss",
            "greater_is_better": True,  # the first one, then
        },
    ],
    ids=[
        "AdamW",
        "bf16 and accumulation",
        "Adafactor",
        "compiled",
        "checkpointed and back to the best",
    ],
)
def test_every_checkpoint_of_the_trainer_has_the_zeros_of_the_ticket(
    tiny_bert: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    model = load(tiny_bert)
    ticket = ticket_of(model)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    work = trainer(model, tmp_path, soup.TicketCallback(ticket), **changes)
    work.train()
    work.save_model(str(tmp_path / "final"))
    for folder in ("checkpoint-3", "checkpoint-6", "final"):
        assert dead(ticket, tmp_path / folder) == 0
    name = next(iter(ticket.mask))
    kept = ticket.mask[name]
    assert (model.get_parameter(name)[kept] != before[name][kept]).any()


def test_a_training_that_was_resumed_ends_where_one_that_was_not_does(
    tiny_bert: Path, tmp_path: Path
) -> None:
    model = load(tiny_bert)
    ticket = ticket_of(model)
    ticket.save(tmp_path / "ticket.safetensors")
    trainer(model, tmp_path / "whole", soup.TicketCallback(ticket)).train()
    again = load(tiny_bert)
    callback = soup.TicketCallback(tmp_path / "ticket.safetensors")
    trainer(again, tmp_path / "again", callback).train(
        resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-3")
    )
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], tensor, rtol=0, atol=0)
    assert dead(ticket, tmp_path / "again" / "checkpoint-6") == 0


def test_a_second_training_goes_on_from_the_first(
    tiny_bert: Path, tmp_path: Path
) -> None:
    model = load(tiny_bert)
    ticket = ticket_of(model)
    work = trainer(model, tmp_path, soup.TicketCallback(ticket))
    work.train()
    middle = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    work.args.max_steps, work.args.learning_rate = 1, 0.0
    work.optimizer = work.lr_scheduler = None
    work.train()
    for name, tensor in middle.items():
        torch.testing.assert_close(model.state_dict()[name], tensor, rtol=0, atol=0)


@pytest.mark.parametrize("project", [False, True])
def test_an_optimiser_that_mixes_weights_needs_projection(
    tiny_bert: Path, tmp_path: Path, project: bool
) -> None:
    model = load(tiny_bert)
    ticket = ticket_of(model)
    optimizer = Muon([model.get_parameter(name) for name in ticket.mask], lr=1e-2)
    work = trainer(
        model, tmp_path, soup.TicketCallback(ticket, project=project), max_steps=3
    )
    work.optimizer = optimizer
    if project:
        work.train()
        assert dead(ticket, tmp_path / "checkpoint-3") == 0
    else:
        with pytest.raises(soup.RevivedError, match="project=True"):
            work.train()


def test_adapters_are_trained_beside_a_ticket(tiny_bert: Path, tmp_path: Path) -> None:
    model = load(tiny_bert)
    ticket = ticket_of(model)
    beside = get_peft_model(model, LoraConfig(target_modules=["query", "value"]))
    work = trainer(beside, tmp_path, soup.TicketCallback(ticket), max_steps=3)
    work.train()
    merged = soup.merge_adapters(beside, ticket)
    assert merged.whole.norm > 0
    assert all(
        not model.get_parameter(name)[~ticket.mask[name]].any() for name in ticket.mask
    )


class Vandal(TrainerCallback):
    """Writes to pruned weights in the third step."""

    def on_step_begin(self, _args: Any, state: Any, _control: Any, **kwargs: Any) -> None:
        if state.global_step == 2:
            with torch.no_grad():
                for parameter in kwargs["model"].parameters():
                    parameter.add_(1e-3)


def test_a_weight_that_revives_stops_the_trainer_at_its_step(
    tiny_bert: Path, tmp_path: Path
) -> None:
    model = load(tiny_bert)
    work = trainer(model, tmp_path, soup.TicketCallback(ticket_of(model)), Vandal())
    with pytest.raises(
        soup.RevivedError,
        match=r"query\.weight\[.*step 3; .*neither gradient nor optimiser",
    ):
        work.train()
    other = load(tiny_bert)
    work = trainer(
        other, tmp_path, soup.TicketCallback(ticket_of(other), every=0), Vandal()
    )
    with pytest.raises(soup.RevivedError, match="is pruned and has become"):
        work.train()
    assert not (tmp_path / "checkpoint-6").exists()
    work.callback_handler.pop_callback(Vandal)
    ticket_of(load(tiny_bert)).apply(other, check=False)
    work.train()  # what broke off leaves nothing behind
    assert all(not p._backward_hooks for p in other.parameters())


def test_a_model_at_other_weights_is_refused_unless_asked_for(
    tiny_bert: Path, tmp_path: Path
) -> None:
    model = load(tiny_bert)
    ticket = ticket_of(model)
    with torch.no_grad():
        model.get_parameter(next(iter(ticket.mask))).add_(1)
    with pytest.raises(soup.SoupError, match="load that checkpoint"):
        trainer(model, tmp_path, soup.TicketCallback(ticket)).train()
    trainer(model, tmp_path, soup.TicketCallback(ticket, check=False)).train()
    assert dead(ticket, tmp_path / "checkpoint-6") == 0
