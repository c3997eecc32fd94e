"""Callback: a ticket in Hugging Face's Trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from weakref import ref

from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ..core.kinds import checked
from ..core.ticket import Ticket
from .guard import Guard, guard


class TicketCallback(TrainerCallback):
    """Train a ticket with `transformers.Trainer` or what is made from it, without a subclass.

        trainer = Trainer(model, args, train_dataset=data, callbacks=[soup.TicketCallback(ticket)])
        trainer.train()

    It applies the ticket when training begins, guards its zeros (see `instant_soup.guard`), and looks at them
    after each step, at each checkpoint and at the end. Resumed from a checkpoint, the Trainer's weights are taken as
    they are, after a look at their zeros.

    Args:
        ticket: a ticket, or the path of its file.
        check: whether the model must be at the very weights that the ticket was drawn from.
        every: look for revived weights after every so many steps; 0 for only at checkpoints.
        project: see `instant_soup.guard`; for optimisers such as Muon.
    """

    @checked
    def __init__(
        self,
        ticket: Ticket | str | Path,
        *,
        check: bool = True,
        every: int = 1,
        project: bool = False,
    ) -> None:
        self.ticket = ticket if isinstance(ticket, Ticket) else Ticket.load(ticket)
        self._check = check
        self._every = every
        self._project = project
        self._guard: Guard | None = None
        self._applied: ref[nn.Module] | None = None

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Apply the ticket, unless training is resumed, and set the guard."""
        model = kwargs["model"]

        # trained on by a second call of train(), a model is not at the ticket's start any more
        again = self._applied is not None and self._applied() is model
        if state.global_step == 0 and not again:
            self.ticket.apply(model, check=self._check)
        self._applied = ref(model)

        if self._guard is not None:  # of a training that broke off
            self._guard.release()
        self._guard = guard(
            model,
            kwargs["optimizer"],
            self.ticket,
            every=self._every,
            project=self._project,
        )
        self._guard.begun = state.global_step

    def on_save(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Look at the zeros that a checkpoint is made from."""
        if self._guard is not None:
            self._guard.check()

    def on_train_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Look at the zeros once more, and let go."""
        if self._guard is not None:
            self._guard.release()
            self._guard.check()
            self._guard = None
