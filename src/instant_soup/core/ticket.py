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

from .apply import apply
from .budget import Cost
from .errors import SoupError, TicketError
from .files import read_tensors, write_tensors
from .mask import Mask
from .names.fit import Transfer, transfer
from .names.match import NameMap
from .scope import Scope
from .task import Base, Learner
from .weights import Weights, digest, spread

SCHEMA = 1
_DTYPES = {torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.int32, torch.bool}


@dataclass(frozen=True)
class Ticket:
    """The outcome of a draw: with the base model it is enough to go on from.

    Attributes:
        mask: which weights are kept.
        start: the tensors in which the ticket differs from the masked base model, whole and
            masked. Empty but for the task's new head when the ticket starts from the
            pre-trained weights.
        base: the pre-trained model it belongs to.
        cost: what drawing it cost.
        ready: whether *start* is already trained to the end; any other ticket is fine-tuned
            before it is judged.
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
        cls, learner: Learner, method: Mapping[str, Any], *, start: Weights | None = None, ready: bool = False
    ) -> Self:
        """The ticket of *learner*'s mask that starts from *start*: by default where the learner stands."""
        mask, origin, fresh = learner.mask, learner.origin, learner.fresh
        parts, moved = {}, []
        for name, tensor in (learner.view() if start is None else start).items():
            parts[name], there = (_masked(part.detach().cpu(), mask.get(name)) for part in (tensor, origin[name]))
            moved.append(int(name in fresh or not torch.equal(parts[name], there)))
        anywhere = mask.scope.shards.team.sums(moved)  # what has moved on one rank is in the ticket of all
        moves = {name: part for (name, part), ranks in zip(parts.items(), anywhere, strict=True) if ranks}
        return cls(mask, moves, learner.base, learner.meter.spent, ready, method, learner.notes)

    def whole(self) -> Ticket | None:
        """This ticket at the first rank, put together where ranks hold it between them; None at the others.

        It is put together tensor by tensor. All ranks have to ask.
        """
        if (shards := self.mask.scope.shards).team.size == 1:
            return self
        mask, start = self.mask.whole(), {}
        for name, part in self.start.items():
            if (tensor := shards.whole(name, part)) is not None:
                start[name] = tensor
        return replace(self, mask=mask, start=start) if mask is not None else None

    @property
    def sparsity(self) -> float:
        """Share of the scope that is pruned."""
        return self.mask.sparsity

    @property
    def digest(self) -> str:
        """SHA-256 of what the ticket is: mask, start weights and base. Not of how it was drawn."""
        whole = self.whole()
        return self.mask.scope.shards.team.told(whole._hash() if whole else "")

    def _hash(self) -> str:
        content = json.dumps(
            {"mask": self.mask.digest, "start": digest(self.start, sorted(self.start)), "base": asdict(self.base)}
        )
        return hashlib.sha256(content.encode()).hexdigest()

    def stamped(self, recipe: str) -> Self:
        """This ticket with the key of the recipe it was drawn by."""
        return replace(self, recipe=recipe)

    def apply(self, model: nn.Module, *, check: bool = True) -> None:
        """Put this ticket into *model*, in place: its start weights and head, and zeros where it prunes.

        To keep the zeros while *model* is trained, see `instant_soup.guard` and `instant_soup.TicketCallback`.

        Args:
            model: at the pre-trained weights that the ticket was drawn from; also compiled or wrapped for data
                parallelism.
            check: whether to make sure of those weights first.

        Raises:
            ScopeError: a parameter is missing or has another shape.
            TicketError: the weights are not those that the ticket was drawn from. Nothing is changed then.
        """
        apply(self, model, check=check)

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
        return transfer(self, model, map, scope, base, heads)

    def check_base(self, base: Base, scope: Scope) -> None:
        """Raise TicketError unless the ticket belongs to the model with this base and scope."""
        if self.mask.scope != scope:
            raise TicketError(
                f"ticket is for {self.mask.scope} of {self.base.name!r}, and this model has {scope}; "
                f"evaluate it on the model it was drawn from"
            )
        if self.base.digest != base.digest:
            raise TicketError(
                f"ticket was drawn from {self.base.name!r} ({self.base.digest[:12]}), and the weights of "
                f"{base.name!r} are others ({base.digest[:12]}); load the checkpoint it was drawn from"
            )

    def save(self, path: str | Path) -> None:
        """Write one safetensors file, in one piece or not at all. Raises StoreError or TicketError.

        Where ranks hold the ticket between them, all of them have to call this, and the first one writes.
        It holds ``mask/NAME``: uint8, eight weights a byte, lowest bit first; and ``start/NAME``:
        the surviving values in order for a parameter in scope, the whole tensor for any other.
        """
        if (whole := self.whole()) is not None:
            whole._write(Path(path))

    def _write(self, path: Path) -> None:
        tensors = {f"mask/{name}": self.mask.packed(name) for name in self.mask}
        for name, tensor in self.start.items():
            if tensor.dtype not in _DTYPES:
                raise TicketError(
                    f"{name!r} is {tensor.dtype}, which no ticket holds; convert it to torch.float32 first"
                )
            tensors[f"start/{name}"] = tensor[self.mask[name]] if name in self.mask else tensor
        facts = {
            "schema": SCHEMA,
            "scope": [[name, list(shape)] for name, shape in self.mask.scope.shapes.items()],
            "sparsity": self.sparsity,
            "kept": self.mask.kept,
            "base": asdict(self.base),
            "cost": asdict(self.cost),
            "ready": self.ready,
            "method": dict(self.method),
            "notes": dict(self.notes),
            "recipe": self.recipe,
        }
        write_tensors(path, tensors, {**facts, "checksum": _checksum(tensors, facts)})

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a ticket back. Every byte is checked before it returns.

        Raises TicketError when the file is missing, truncated, altered or of a newer schema.
        """
        tensors, facts = read_tensors(Path(path), TicketError, "ticket")
        try:
            return cls._from(tensors, facts)
        except (SoupError, KeyError, TypeError, ValueError, RuntimeError, IndexError, AttributeError) as error:
            raise TicketError(f"{path} is not a sound ticket: {error}; draw it again or restore a copy") from error

    @classmethod
    def _from(cls, tensors: Mapping[str, Tensor], facts: dict[str, Any]) -> Self:
        if (schema := _typed(facts["schema"], int)) != SCHEMA:
            raise TicketError(f"it has schema {schema!r} and this version reads {SCHEMA}; upgrade instant-soup")
        checksum = facts.pop("checksum")
        if checksum != _checksum(tensors, facts):
            raise TicketError("its content does not match its checksum")
        sizes = facts["scope"]
        scope = Scope({name: tuple(shape) for name, shape in sizes})
        if len(scope) != len(sizes):
            raise TicketError("its scope lists a parameter twice")
        mask = Mask.from_packed(scope, {name: tensors[f"mask/{name}"] for name in scope})
        if mask.kept != facts["kept"] or mask.sparsity != facts["sparsity"]:
            raise TicketError(f"its mask keeps {mask.kept:,} weights and its header says {facts['kept']!r}")
        return cls(
            mask,
            _start(tensors, mask),
            Base(**{key: _typed(value, str) for key, value in facts["base"].items()}),
            Cost(**{key: _typed(value, int) for key, value in facts["cost"].items()}),
            _typed(facts["ready"], bool),
            _typed(facts["method"], dict),
            _typed(facts["notes"], dict),
            _typed(facts["recipe"], str, None),
        )


def _start(tensors: Mapping[str, Tensor], mask: Mask) -> dict[str, Tensor]:
    """The start weights among the *tensors* of a file."""
    start = {}
    for key, tensor in tensors.items():
        room, _, name = key.partition("/")
        if room == "start" and name and tensor.dtype in _DTYPES:
            start[name] = _whole(name, tensor, mask)
        elif room != "mask" or name not in mask:
            raise TicketError(f"it holds {key!r} of {tensor.dtype}, which no ticket has")
    return start


def _whole(name: str, tensor: Tensor, mask: Mask) -> Tensor:
    """A start tensor as the model has it, from how it is stored."""
    if name not in mask:
        return tensor
    if tuple(tensor.shape) != (mask.kept_by_name[name],):
        raise TicketError(
            f"it starts {name!r} from {tuple(tensor.shape)} values and its mask keeps {mask.kept_by_name[name]:,}"
        )
    return spread(tensor, mask[name])


def _typed(value: Any, kind: type, *others: object) -> Any:
    """*value*, which must be of just this kind (True is no number) and not below zero, or one of the *others*."""
    if (type(value) is not kind and value not in others) or (kind is int and value < 0):
        raise TicketError(f"it says {value!r} where {kind.__name__} is expected")
    return value


def _masked(tensor: Tensor, keep: Tensor | None) -> Tensor:
    return tensor.clone() if keep is None else tensor.masked_fill(~keep, 0)  # a product would leave -0.0


def _checksum(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> str:
    content = json.dumps(facts, sort_keys=True) + digest(tensors, sorted(tensors))
    return hashlib.sha256(content.encode()).hexdigest()
