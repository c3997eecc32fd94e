"""Ticket: a mask, the weights it starts from, and where both come from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from . import ticket_file
from .apply import apply
from .budget import Cost
from .courier import courier
from .errors import TicketError
from .kinds import checked, checked_class_but
from .mask import Mask
from .names import fates
from .names.fates import OUTCOMES, Fate, Row
from .names.fit import fit
from .names.name_map import NameMap
from .notebook import facts
from .scope import Scope
from .task import Base, Learner
from .weights import Weights, digest


@checked_class_but("learner")
@dataclass(frozen=True)
class Ticket:
    """The outcome of a draw: with the base model it is enough to go on from.

    Attributes:
        mask: which weights are kept.
        start: the tensors in which the ticket differs from the masked base model, whole and masked. Empty but for
            the task's new head when the ticket starts from the pre-trained weights.
        base: the pre-trained model it belongs to.
        cost: what drawing it cost.
        ready: whether *start* is already trained to the end; any other ticket is fine-tuned before it is judged.
        method: name and knobs of the method that drew it.
        notes: plain data that the method recorded on the way.
        recipe: key of the recipe it was drawn by, if it was drawn by one.
    """

    mask: Mask
    start: Weights
    base: Base
    cost: Cost = field(default_factory=Cost)
    ready: bool = False
    method: Mapping[str, Any] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)
    recipe: str | None = None

    @classmethod
    def drawn(
        cls,
        learner: Learner,
        method: Mapping[str, Any],
        *,
        start: Weights | None = None,
        ready: bool = False,
    ) -> Self:
        """The ticket of *learner*'s mask that starts from *start*: by default where the learner stands."""
        mask = learner.mask
        origin = learner.origin
        fresh = learner.fresh
        begin = learner.view() if start is None else start

        # a ticket holds only what differs from the masked base model
        masked = {}
        moved = []
        for name, tensor in begin.items():
            keep = mask.get(name)
            masked[name] = _masked(tensor, keep)
            same = torch.equal(masked[name], _masked(origin[name], keep))
            moved.append(int(name in fresh or not same))

        # what has moved on one rank is in the ticket of all
        ranks_that_moved = mask.scope.shards.team.sums(moved)
        differing = {}
        for name, ranks in zip(masked, ranks_that_moved, strict=True):
            if ranks:
                differing[name] = masked[name]

        spent = learner.meter.spent
        return cls(mask, differing, learner.base, spent, ready, method, learner.notes)

    def whole(self) -> Ticket | None:
        """This ticket at the first rank, put together where ranks hold it between them; None at the others.

        It is put together tensor by tensor. All ranks have to ask.
        """
        shards = self.mask.scope.shards
        if shards.team.size == 1:
            return self

        mask = self.mask.whole()
        start = {}
        for name, part in self.start.items():
            tensor = shards.whole(name, part)
            if tensor is not None:
                start[name] = tensor
        return replace(self, mask=mask, start=start) if mask is not None else None

    @property
    def sparsity(self) -> float:
        """Share of the scope that is pruned."""
        return self.mask.sparsity

    def __repr__(self) -> str:
        state = "trained" if self.ready else "to be fine-tuned"
        method = self.method.get("name", "unknown")
        return f"Ticket({method}, sparsity={self.sparsity:.4f}, base={self.base.name!r}, {state})"

    def _repr_html_(self) -> str:
        """What it is, where a notebook shows it."""
        method = self.method.get("name", "unknown")
        knobs = [
            f"{knob}={value}" for knob, value in self.method.items() if knob != "name"
        ]
        if knobs:
            method = f"{method} ({', '.join(knobs)})"

        shown = {
            "model": self.base.name,
            "method": method,
            "sparsity": f"{self.sparsity:.4%}: {self.mask.kept:,} of {self.mask.scope.size:,} weights kept",
            "cost": f"{self.cost.steps:,} steps, {self.cost.passes:,} passes",
            "state": "trained" if self.ready else "to be fine-tuned",
            "recipe": self.recipe or "none",
        }

        return facts("Ticket", shown)

    @property
    def digest(self) -> str:
        """SHA-256 of what the ticket is: mask, start weights and base. Not of how it was drawn."""
        whole = self.whole()
        return self.mask.scope.shards.team.told(whole._hash() if whole else "")

    def _hash(self) -> str:
        start = digest(self.start, sorted(self.start))
        facts = {"mask": self.mask.digest, "start": start, "base": asdict(self.base)}
        content = json.dumps(facts)
        return hashlib.sha256(content.encode()).hexdigest()

    def stamped(self, recipe: str) -> Self:
        """This ticket with the key of the recipe it was drawn by."""
        return replace(self, recipe=recipe)

    @checked
    def apply(self, model: nn.Module, *, check: bool = True) -> None:
        """Put this ticket into *model*, in place: its start weights and head, and zeros where it prunes.

        To keep the zeros while *model* is trained, see `instant_soup.guard` and `instant_soup.TicketCallback`.

        Args:
            model: at the pre-trained weights that the ticket was drawn from; also compiled or wrapped for data
                parallelism.
            check: whether to make sure first that its prunable weights are those; biases, norms and embeddings are not
                looked at.

        Raises:
            ScopeError: a parameter is missing or has another shape.
            TicketError: the weights are not those that the ticket was drawn from. Nothing is changed then.
        """
        apply(model, self.mask, self.start, self.base, check=check)

    @checked
    def transfer(
        self,
        model: nn.Module,
        *,
        map: NameMap | None = None,  # noqa: A002 - the word for it; nothing here needs the builtin
        scope: Scope | None = None,
        base: Base | None = None,
        heads: int | None = None,
    ) -> Transfer:
        """This ticket for a model with other names, another head or other weights, and what became of each tensor.

        Layers go by their number, matrices by what they do there: the names of common encoders, of CLIP in
        transformers and open_clip, and query, key and value in one matrix or in three are known. Whatever finds a
        place keeps exactly the weights that it kept. The head of the old task is dropped, and so are start weights
        if *model* is not at the weights that the ticket was drawn from.

        Args:
            model: what it is for, at its pre-trained weights; it is only looked at.
            map: what is not known: names of *model* to names of the ticket, with ``{}`` for the number of a layer,
                or a function from the one to the other. A value may be several names, whose rows are put one under
                another, or a `Piece` of a tensor.
            scope: what may be pruned in *model*; what of it has no match is kept whole. By default, what has one.
            base: what *model* is called and the digest of its prunable weights; worked out by default.
            heads: attention heads a layer, needed only where query, key and value take turns by head in one matrix
                (GPT-NeoX, BLOOM) and do not in the other model.

        Raises:
            ScopeError: nothing matches, *map* names what does not exist, or *scope* is not of *model*.
        """
        fitted = fit(
            model,
            self.mask,
            self.start,
            self.base,
            names=map,
            scope=scope,
            heads=heads,
            new_base=base,
        )

        ticket = replace(
            self,
            mask=fitted.mask,
            start=fitted.start,
            base=fitted.base,
            ready=self.ready and fitted.complete,
            notes={**self.notes, "transferred_from": self.digest},
        )
        return Transfer(ticket, fitted.fates, fitted.same_base)

    def check_base(self, base: Base, scope: Scope) -> None:
        """Raise TicketError unless the ticket belongs to the model with this base and scope."""
        difference = self.mask.scope.difference(scope)
        if difference:
            raise TicketError(
                f"ticket is for {self.mask.scope} of {self.base.name!r}, and this model {difference}; "
                f"evaluate it on the model it was drawn from"
            )

        if self.base.digest != base.digest:
            raise TicketError(
                f"ticket was drawn from {self.base.name!r} ({self.base.digest[:12]}), and the weights of "
                f"{base.name!r} are others ({base.digest[:12]}); load the checkpoint it was drawn from"
            )

    @checked
    def save(self, path: str | Path) -> None:
        """Write one safetensors file, in one piece or not at all. Raises StoreError or TicketError.

        Where ranks hold the ticket between them, all of them have to call this, and the first one writes.
        """
        whole = self.whole()
        if whole is not None:
            ticket_file.write(Path(path), whole._content())

    def push_to_hub(
        self,
        repo: str,
        *,
        record: Any = None,
        private: bool | None = None,
        revision: str | None = None,
        token: str | None = None,
    ) -> str:
        """Write this ticket to the Hugging Face hub, as `instant_soup.push_to_hub` does. Returns the address."""
        return courier().push_to_hub(
            self, repo, record=record, private=private, revision=revision, token=token
        )

    @staticmethod
    def from_hub(
        repo: str, *, revision: str | None = None, token: str | None = None
    ) -> Ticket:
        """Read a ticket from the Hugging Face hub, as `instant_soup.pull_from_hub` does."""
        ticket: Ticket = courier().pull_from_hub(repo, revision=revision, token=token)
        return ticket

    def _content(self) -> ticket_file.Content:
        return ticket_file.Content(
            mask=self.mask,
            start=self.start,
            base=self.base,
            cost=self.cost,
            ready=self.ready,
            method=self.method,
            notes=self.notes,
            recipe=self.recipe,
        )

    @classmethod
    @checked
    def load(cls, path: str | Path) -> Self:
        """Read a ticket back. Every byte is checked before it returns.

        Raises TicketError when the file is missing, truncated, altered or of a newer schema.
        """
        content = ticket_file.read(Path(path))
        return cls(
            mask=content.mask,
            start=content.start,
            base=content.base,
            cost=content.cost,
            ready=content.ready,
            method=content.method,
            notes=content.notes,
            recipe=content.recipe,
        )


@dataclass(frozen=True)
class Transfer:
    """A ticket that was fitted to another model, and what became of each tensor. Prints as a table.

    Attributes:
        ticket: for the model.
        parts: first those of the model in its order, then what was dropped.
        same_base: whether the model is known to stand at the weights that the ticket was drawn from: all that it may
            prune is there, unchanged.
    """

    ticket: Ticket
    parts: tuple[Fate, ...]
    same_base: bool

    def having(self, outcome: str) -> tuple[Fate, ...]:
        """The parts with one outcome."""
        return tuple(part for part in self.parts if part.outcome == outcome)

    @property
    def counts(self) -> dict[str, int]:
        """How many tensors had each outcome."""
        return {outcome: len(self.having(outcome)) for outcome in OUTCOMES}

    @property
    def summary(self) -> str:
        """The whole in one sentence."""
        counts = ", ".join(
            f"{count} {outcome}" for outcome, count in self.counts.items() if count
        )
        known = "at the weights" if self.same_base else "not known to be at the weights"
        return f"{counts}; {self.ticket.mask}, {known} it was drawn from"

    def rows(self) -> list[Row]:
        """Outcome, name, what it is made of, kept of size, and why; the numbered layers that fare alike in one."""
        return fates.rows(self.parts)

    def __str__(self) -> str:
        return "\n".join([*fates.table(self.parts), self.summary])


def _masked(tensor: Tensor, keep: Tensor | None) -> Tensor:
    tensor = tensor.detach().cpu()
    # a product would leave -0.0
    return tensor.clone() if keep is None else tensor.masked_fill(~keep, 0)
