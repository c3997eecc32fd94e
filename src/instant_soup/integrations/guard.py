"""Guard: keeps a ticket's zeros in a training loop that is not ours.

It changes neither the model's modules nor the loop. Each gradient is masked on its way into ``.grad``, so that neither
the clip norm nor the optimiser's moments ever hold anything of a pruned weight; every update of such a weight is then
zero, with weight decay too. After a step it looks whether that is so, and says who brought a weight back if not.

That argument needs an update of a weight to depend on nothing but that weight's past. Where it depends on the whole
matrix, as Muon's does, the guard can put the zeros back after each step instead (``project``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import torch
from accelerate.optimizer import AcceleratedOptimizer
from torch import Tensor, nn
from torch.distributed import is_available, is_initialized
from torch.optim import Muon, Optimizer

from ..core.apply import named, parameters_of
from ..core.errors import KnobError, RevivedError, ScopeError
from ..core.kinds import checked, checked_class
from ..core.mask import Mask
from ..core.ticket import Ticket

Handle = Any  # torch's RemovableHandle, which has no public home
_WRITTEN = (
    "neither gradient nor optimiser did it, so something else writes to the weights: weights loaded from a dense "
    "checkpoint, an average begun before the ticket was applied, merged adapters, a second optimiser that the guard "
    "was not given, or one whose updates mix the weights of a matrix (project=True is for those)"
)


@checked
def guard(
    model: nn.Module,
    optimizer: Optimizer | Sequence[Optimizer],
    ticket: Ticket | Mask,
    *,
    every: int = 1,
    project: bool = False,
) -> Guard:
    """Keep the zeros of *ticket* in *model* for as long as *optimizer* trains it.

        ticket.apply(model)
        optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5)
        with soup.guard(model, optimizer, ticket):
            ...  # your loop

    Works with any optimiser of torch's kind, fused and foreach included, with accumulation, clipping, autocast, weights
    in bfloat16, `torch.compile`, and Accelerate's wrappers. Call it after the optimiser is made; state dicts may be
    loaded before or after, and the model may be moved or converted. Frozen parameters are guarded from the moment that
    they are not. To average weights, make the average of the model after the ticket was applied.

    Args:
        model: with the ticket applied, or with the weights of a checkpoint of such a model.
        optimizer: one or several that together train it. Of one that wraps another and calls its step, the inner one.
        every: look for revived weights after every so many steps; 0 for only when asked (`Guard.check`).
        project: put pruned weights back to zero after each step, and look for revived ones before it. For optimisers
            that update a weight by what they know of its whole matrix: Muon, Shampoo, SOAP, GaLore.

    Raises:
        ScopeError: the model lacks a parameter of the ticket, or the optimisers train none that is not frozen.
        RevivedError: a pruned weight of the model is not zero.
    """
    optimizers = [optimizer] if isinstance(optimizer, Optimizer) else list(optimizer)
    mask = ticket.mask if isinstance(ticket, Ticket) else ticket
    return Guard(model, optimizers, mask, every, project)


@checked_class
class Guard:
    """What `guard` sets. A context manager: at its end it checks once more and lets go.

    Attributes:
        begun: how many steps of the training had been taken before it was set; 0 unless you say.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizers: Sequence[Optimizer],
        mask: Mask,
        every: int,
        project: bool = False,
    ) -> None:
        if every < 0:
            raise KnobError(
                f"every is {every}; expected a number of steps, or 0 to look only when asked"
            )
        self.mask = mask
        self.begun = 0
        self._model = model
        self._optimizers = [_plain(optimizer) for optimizer in optimizers]
        self._every = every
        self._project = project
        self._taken: Counter[int] = Counter()

        # what keeps all its weights needs no guard
        self._parameters: dict[str, Tensor] = {}
        self._dead: dict[str, Tensor] = {}
        for name, parameter in parameters_of(model, mask.scope).items():
            if mask.kept_by_name[name] < mask.scope.numel(name):
                self._parameters[name] = parameter
                self._dead[name] = ~mask[name].to(parameter.device)

        self._check_whole()
        self._check_trained()
        self.check(
            cause="it was so before the guard was set; call ticket.apply(model) first"
        )
        self._clear()
        self._forget()
        self._handles = list(self._hooks())

    @property
    def steps(self) -> int:
        """How many steps of the training have been taken; of several optimisers, by the one that took most."""
        return self.begun + max(self._taken.values(), default=0)

    def check(self, model: nn.Module | None = None, *, cause: str | None = None) -> None:
        """Raise RevivedError if a pruned weight of *model*, by default the guarded one, is not zero.

        *model* may be any of the same shape, such as an average of the weights. *cause*: what to say of the reason.
        """
        looked_at: Mapping[str, Tensor] = self._parameters
        if model is not None:
            everything = parameters_of(model, self.mask.scope)
            looked_at = {name: everything[name] for name in self._parameters}

        # one look at all first: to ask for each would wait for the device as many times
        if not self._any(looked_at):
            return

        revived = [name for name in looked_at if self._revived(name, looked_at[name])]
        name = revived[0]
        tensor = looked_at[name]
        places = self._at(name, tensor) & (tensor != 0)
        where = tuple(places.nonzero()[0].tolist())
        raise RevivedError(
            f"{name}{list(where)} is pruned and has become {tensor[where].item():g} (step {self.steps}; "
            f"{len(revived)} of {len(looked_at)} parameters are hit): {cause or self._cause(name, where)}"
        )

    def release(self) -> None:
        """Let go: the optimisers and gradients are as they were before."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _: BaseException | None,
        __: TracebackType | None,
    ) -> None:
        self.release()
        if kind is None:
            self.check()

    def _check_whole(self) -> None:
        if not (is_available() and is_initialized()):
            return  # elsewhere nothing can be sharded

        from torch.distributed.tensor import DTensor

        for name, parameter in self._parameters.items():
            if isinstance(parameter, DTensor):
                raise ScopeError(
                    f"{name!r} is split among processes, and a guard needs whole parameters; train with "
                    f"DistributedDataParallel rather than FSDP"
                )

    def _check_trained(self) -> None:
        ours: dict[int, str] = {}
        for name, parameter in self._parameters.items():
            if parameter.requires_grad:
                ours[id(parameter)] = name

        theirs: set[int] = set()
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                theirs.update(id(parameter) for parameter in group["params"])

        if ours and not theirs & ours.keys():
            kinds = [type(optimizer).__name__ for optimizer in self._optimizers]
            raise ScopeError(
                f"{' and '.join(kinds) or 'no optimizer'} trains none of the "
                f"{len(ours)} parameters that the ticket prunes, such as {next(iter(ours.values()))!r}; make it from "
                f"the parameters of this very model"
            )

    def _hooks(self) -> Iterator[Handle]:
        for name, parameter in self._parameters.items():
            frozen = not parameter.requires_grad
            # torch sets hooks on no other; they stay, should it be unfrozen later
            parameter.requires_grad_(True)
            yield parameter.register_hook(self._masking(name))  # type: ignore[no-untyped-call]
            parameter.requires_grad_(not frozen)

        for optimizer in self._optimizers:
            if self._project:
                yield optimizer.register_step_pre_hook(self._before_step)
            yield optimizer.register_step_post_hook(self._after_step)
            yield optimizer.register_load_state_dict_post_hook(lambda _: self._forget())

    def _masking(self, name: str) -> Callable[[Tensor], Tensor]:
        return lambda gradient: gradient.masked_fill(self._at(name, gradient), 0)

    def _before_step(self, *_: Any) -> None:
        if self._every and self.steps % self._every == 0:
            self.check(cause=_WRITTEN)

    def _after_step(self, optimizer: Optimizer, *_: Any) -> None:
        self._taken[id(optimizer)] += 1
        if self._project:
            self._clear()

        if self._every and self.steps % self._every == 0:
            self._check_same()
            self.check()

    def _check_same(self) -> None:
        """Raise RevivedError where the model trains other parameters than those that the hooks are on."""
        present = named(self._model)
        for name, parameter in self._parameters.items():
            now = present.get(name)
            if now is parameter:
                continue

            # one that nobody trains may be replaced: no step can bring back a weight of it
            trained = parameter.requires_grad or (now is not None and now.requires_grad)
            if trained or now is None:
                raise RevivedError(
                    f"{name!r} is another parameter than when the guard was set (step {self.steps}): something has "
                    f"replaced it; wrap, convert or move the model first, then set the guard"
                )

    @torch.no_grad()
    def _clear(self) -> None:
        """Zero pruned weights. That makes +0 of -0 too, which counts as zero when looked at."""
        for name, parameter in self._parameters.items():
            parameter.masked_fill_(self._at(name, parameter), 0)

    @torch.no_grad()
    def _forget(self) -> None:
        """Zero the gradients of pruned weights, and what the optimisers remember of them."""
        for name, parameter in self._parameters.items():
            if parameter.grad is not None:
                parameter.grad.masked_fill_(self._at(name, parameter.grad), 0)
        for name, _, memory in self._memories():
            memory.masked_fill_(self._at(name, memory), 0)

    def _memories(self) -> Iterator[tuple[str, str, Tensor]]:
        """What the optimisers remember weight by weight: parameter, kind, tensor. Not in codes, whose 0 is no zero."""
        for optimizer in self._optimizers:
            for name, parameter in self._parameters.items():
                for kind, memory in optimizer.state.get(parameter, {}).items():
                    if not isinstance(memory, Tensor) or memory.shape != parameter.shape:
                        continue
                    if memory.is_floating_point():
                        yield name, kind, memory

    def _at(self, name: str, tensor: Tensor) -> Tensor:
        """Where a parameter is pruned, on the device of *tensor*."""
        if self._dead[name].device != tensor.device:
            self._dead[name] = self._dead[name].to(tensor.device)
        return self._dead[name]

    @torch.no_grad()
    def _any(self, tensors: Mapping[str, Tensor]) -> bool:
        """Whether any weight has revived, with one wait for the device."""
        flags = []
        for name, tensor in tensors.items():
            flags.append(torch.where(self._at(name, tensor), tensor, 0).any())
        if not flags:
            return False

        # a model may lie on several devices
        device = flags[0].device
        return bool(torch.stack([flag.to(device) for flag in flags]).any())

    @torch.no_grad()
    def _revived(self, name: str, tensor: Tensor) -> bool:
        return bool(torch.where(self._at(name, tensor), tensor, 0).any())

    def _cause(self, name: str, where: tuple[int, ...]) -> str:
        gradient = self._parameters[name].grad
        if gradient is not None and gradient[where] != 0:
            return (
                "its gradient is not zero either, so something writes to .grad after the backward pass, such as added "
                "noise; do that before it, or mask what is added"
            )

        for layer, kind, memory in self._memories():
            if layer == name and memory[where] != 0:
                return (
                    f"the optimiser's {kind} holds something for it, so its state was written to; load state by "
                    f"load_state_dict, which the guard follows"
                )

        if any(isinstance(optimizer, Muon) for optimizer in self._optimizers):
            return "Muon updates a weight by what it knows of the whole matrix; guard it with project=True"
        return _WRITTEN


def _plain(optimizer: Optimizer) -> Optimizer:
    """The optimiser that steps: Accelerate's wrapper may skip a step that it was asked for."""
    while isinstance(optimizer, AcceleratedOptimizer):
        optimizer = optimizer.optimizer
    return optimizer
