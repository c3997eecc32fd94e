"""Adapters: merge what was trained beside a ticket, and keep the ticket's zeros.

An adapter's update, such as the product of LoRA's matrices, is dense, so a plain merge fills the zeros. Here the update
is added only where the ticket keeps. Peft itself does the merging, so that whatever it merges can be merged here: LoRA
and its variants, several adapters at once, Conv1D, biases, other kinds of adapters. Then what it put on pruned weights
is cleared, and what that cost is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from math import fsum, sqrt

import torch
from torch import Tensor, nn

from ..core.apply import clear, parameters_of
from ..core.errors import RevivedError, TrainingError, unknown
from ..core.kinds import checked_but, checked_class
from ..core.mask import Mask
from ..core.ticket import Ticket
from .peft import PeftModel, mask_of, wrapped

Measure = Callable[[nn.Module], float]


@dataclass(frozen=True)
class Update:
    """What adapters add to one parameter, and what masking took from it.

    Attributes:
        norm: of the whole update (Frobenius).
        lost: norm of the part that fell on pruned weights.
        size: how many weights the parameter has.
        pruned: how many of them are pruned.
    """

    norm: float
    lost: float
    size: int
    pruned: int

    @property
    def share(self) -> float:
        """Share of the squared norm that was lost, so that shares of parts add up. 0 if there was no update."""
        return (self.lost / self.norm) ** 2 if self.norm else 0.0

    @property
    def sparsity(self) -> float:
        """Share of the weights that are pruned, which is what an update without direction would lose."""
        return self.pruned / self.size if self.size else 0.0


@checked_class
@dataclass(frozen=True)
class Merged:
    """A model with its adapters merged into it, and what keeping its zeros cost.

    Attributes:
        model: the base model, the same object that the adapters were put into; no trace of peft is left.
        layers: the update of each parameter that is in scope and had an adapter.
        before: what *measure* gave for the model with adapters beside it; None without *measure*.
        unmasked: the same after a plain merge.
        masked: the same for *model*.
    """

    model: nn.Module
    layers: Mapping[str, Update]
    before: float | None = None
    unmasked: float | None = None
    masked: float | None = None

    @property
    def whole(self) -> Update:
        """The update of all these parameters together, as one vector."""
        updates = self.layers.values()
        return Update(
            norm=sqrt(fsum(update.norm**2 for update in updates)),
            lost=sqrt(fsum(update.lost**2 for update in updates)),
            size=sum(update.size for update in updates),
            pruned=sum(update.pruned for update in updates),
        )

    def __str__(self) -> str:
        share = self.whole.share
        lines = [f"masking took {share:.1%} of the update, measured by its squared norm"]
        for name, update in self.layers.items():
            lines.append(f"  {name}: {update.share:.1%} ({update.sparsity:.1%} pruned)")

        if self.masked is not None:
            lines.append(
                f"measured: {self.before:g} before, {self.unmasked:g} merged, {self.masked:g} masked"
            )

        return "\n".join(lines)


@checked_but("model", "ticket")
def merge_adapters(
    model: nn.Module,
    ticket: Ticket | Mask,
    *,
    adapters: Sequence[str] | None = None,
    measure: Measure | None = None,
) -> Merged:
    """Merge the adapters of *model* into the ticket beneath them; pruned weights stay bit-zero.

        ticket.apply(model)
        model = peft.get_peft_model(model, peft.LoraConfig(target_modules=["query", "value"]))
        ...  # train it
        merged = soup.merge_adapters(model, ticket)
        merged.model.save_pretrained("merged")

    Adapters of modules outside the ticket's scope are merged whole. Weights of 16 bits are merged in float32 and
    rounded once. What was trained whole (``modules_to_save``) is taken over, masked if it is in scope. Not all of the
    update may survive: `Merged.layers` says what was lost, and `mask_adapters` trains so that nothing is.

    Args:
        model: from peft, over a model with the ticket applied. It is taken apart.
        adapters: names of those to merge; the active ones by default.
        measure: gives a loss or metric of a model that is in evaluation mode, without gradients. It is asked before
            merging, after a plain merge and after masking.

    Raises:
        MissingExtra: peft is not installed.
        ScopeError: *model* has no adapters, or lacks a parameter of the ticket.
        UnknownName: there is no such adapter.
        RevivedError: a pruned weight of the model beneath the adapters is not zero. Nothing is changed then.
        TrainingError: an adapter holds what is not finite. Nothing is changed then.
    """
    adapted = wrapped(model)
    mask = mask_of(ticket)
    _check(adapted, mask, adapters)
    before = _figure(measure, adapted)

    base = _beneath(adapted, mask)
    start = {name: parameter.detach().clone() for name, parameter in base.items()}
    for parameter in base.values():
        # several adapters are added one by one, and in 16 bits each sum would be rounded
        if parameter.element_size() < torch.float32.itemsize:
            parameter.data = parameter.data.float()

    names = None if adapters is None else list(adapters)
    plain: nn.Module = adapted.merge_and_unload(safe_merge=True, adapter_names=names)

    merged = parameters_of(plain, mask.scope)
    layers = {}
    for name in base:
        layers[name] = _update(start[name], merged[name], mask[name])
        merged[name].data = merged[name].data.to(start[name].dtype)

    unmasked = _figure(measure, plain)
    clear(merged, mask)
    return Merged(plain, layers, before, unmasked, _figure(measure, plain))


@checked_but("model", "ticket")
def mask_adapters(model: nn.Module, ticket: Ticket | Mask) -> None:
    """Mask the product of every LoRA adapter that *model* has in the ticket's scope, from now on.

        ticket.apply(model)
        model = peft.get_peft_model(model, peft.LoraConfig(target_modules=["query", "value"]))
        soup.mask_adapters(model, ticket)
        ...  # train it

    Outputs, gradients and whatever peft merges are then those of ``W + mask * (B A * scaling)``, so that merging loses
    nothing. Adapters outside the scope are left alone. The mask is not saved with an adapter: call this again after
    loading or adding one. Each step makes the product and its gradient, which takes time and the memory of a few more
    weight matrices a layer.

    Raises:
        MissingExtra: peft is not installed.
        KnobError: an adapter is of a kind that multiplies otherwise: DoRA and its like,
            convolutions, attention in one piece. Train those as they are, and let `merge_adapters` mask them.
            Nothing is changed then.
        ScopeError: *model* has no adapters, or lacks a parameter of the ticket.
    """
    model = wrapped(model)
    from .masked_lora import install  # it imports peft, which is an extra

    install(model, mask_of(ticket))


def _beneath(model: PeftModel, mask: Mask) -> dict[str, Tensor]:
    """The parameters in scope that lie beneath an adapter.

    They are known by where their numbers are: peft makes new parameters for attention whenever its modules are listed.
    """
    kinds = (
        import_module("peft.tuners.tuners_utils").BaseTunerLayer,
        import_module("peft.utils.other").AuxiliaryTrainingWrapper,
    )
    beneath: set[int] = set()
    for module in model.modules():
        if isinstance(module, kinds):
            beneath.update(parameter.data_ptr() for parameter in module.parameters())

    scope = parameters_of(model, mask.scope)
    return {
        name: weight for name, weight in scope.items() if weight.data_ptr() in beneath
    }


def _check(model: PeftModel, mask: Mask, adapters: Sequence[str] | None) -> None:
    for name in adapters or ():
        if name not in model.peft_config:
            raise unknown("adapter", name, model.peft_config)

    for name, parameter in _beneath(model, mask).items():
        pruned = ~mask[name].to(parameter.device)
        sizes = parameter.detach().abs()

        # several adapters that peft put in and took out again, as it does to attention in each step, leave a residue
        tolerance = 8 * torch.finfo(sizes.dtype).eps * sizes.max()
        revived = int((sizes[pruned] > tolerance).sum())
        if revived:
            raise RevivedError(
                f"{revived:,} of the {int(pruned.sum()):,} pruned weights of {name!r} are not zero beneath the "
                f"adapters; call ticket.apply(model) before get_peft_model, unmerge what is merged, and use no "
                f"initialisation that rewrites the model, such as PiSSA"
            )

    for name, parameter in model.named_parameters():
        if not bool(parameter.isfinite().all()):
            raise TrainingError(
                f"{name!r} holds what is not finite; train with a lower rate and merge that"
            )


def _update(start: Tensor, end: Tensor, kept: Tensor) -> Update:
    update = (end.detach() - start).float()
    lost = update.masked_fill(kept.to(update.device), 0)
    size = kept.numel()
    # in double: of many weights a sum of squares in float32 loses digits
    return Update(
        norm=float(torch.linalg.vector_norm(update, dtype=torch.float64)),
        lost=float(torch.linalg.vector_norm(lost, dtype=torch.float64)),
        size=size,
        pruned=size - int(kept.sum()),
    )


def _figure(measure: Measure | None, model: nn.Module) -> float | None:
    if measure is None:
        return None
    with torch.no_grad(), _evaluating(model):
        return float(measure(model))


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
