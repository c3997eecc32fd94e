"""Masked: a model in training whose weights, mask and optimiser change together.

A pruned weight is zero in the weights, in the gradient and in the optimiser's memory, whatever is done here. There are
no hooks on modules and no second parameter per weight; the mask is kept here, by parameter name.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy

import torch
from accelerate.utils import send_to_device
from torch import Tensor
from torch.optim import AdamW

from ..core.errors import ScopeError, TrainingError
from ..core.mask import Mask
from ..core.ranks.agreement import check_agreement
from ..core.task import Variation
from ..core.weights import Weights
from . import half, optim
from .course import Course
from .device import accelerator
from .layout import Layout, local, tensors_of
from .loop import step
from .regime import Precision, Regime
from .sensitivity import MicroBatch


class MaskedModel:
    """A copy of a course's model, the mask over it and the optimiser that trains it.

    Args:
        course: the model, at its pre-trained weights.
        regime: weight decay, clipping and precision.

    Attributes:
        device: where it is trained.
        layout: which ranks hold the model, and which part of it this one has.
        wrapped: what to call; Accelerate puts autocast around it.
        module: the model under its own names, which holds the parameters.
        plain_forward: the forward pass of *module* without autocast.
        scope: what may be pruned of what this rank has.
        parameters: those that are trained, by name.
        mask: what is kept now.
        optimizer: AdamW over *parameters*.
    """

    def __init__(self, course: Course, regime: Regime) -> None:
        self._course = course
        self._regime = regime
        self._place(half.settled(regime.precision, course, regime.device))
        if self.accelerator.mixed_precision == "bf16":
            self._leave_half_if_it_fails()

        self.scope = course.scope.shard(self.layout.shards)
        self.parameters = {
            name: p for name, p in self.module.named_parameters() if p.requires_grad
        }
        self._tensors = tensors_of(self.module)

        self.mask = Mask.dense(self.scope)
        # ones and zeros, for the parameters alone that have a pruned weight
        self._keep: dict[str, Tensor] = {}
        self.optimizer = self._new_optimizer(Variation())
        # second moments of the last whole training
        self._completed: dict[str, Tensor] = {}

    def _place(self, precision: Precision) -> None:
        """Put a new copy of the course's model onto its device, to be computed in *precision*."""
        self.accelerator = accelerator(precision, self._regime.device)
        # its own, because Accelerate has one for all learners, and the next may ask for another
        self.device = self.accelerator.device

        model = deepcopy(self._course.model)
        # taken before Accelerate wraps it, because scores are computed in float32
        self.plain_forward = model.forward
        self.layout = Layout(model, self.accelerator)
        self.wrapped = self.layout.model
        self.module = self.layout.module

    def _leave_half_if_it_fails(self) -> None:
        """Place the model in float32 if it cannot be computed in bf16, which one learner of a course finds out for all.

        Raises:
            TrainingError: it cannot, and the regime asks for bf16.
        """
        faults = self._course.faults_in_half
        kind = self.device.type
        if kind not in faults:
            batch = send_to_device(self._course.train.batch([0]), self.device)
            faults[kind] = half.fault(self._course, self.wrapped, batch)
            self.layout.reshard()
            if faults[kind]:
                self._place("float32")
                # what fails in float32 too is no matter of precision, and the training itself will tell of it
                if half.fault(self._course, self.wrapped, batch):
                    faults[kind] = ""
                self.layout.reshard()

        if not faults[kind]:
            return
        name = self._course.base.name
        why = f"model {name!r} cannot be computed in bfloat16 ({faults[kind]})"
        if self._regime.precision == "bfloat16":
            raise TrainingError(f"{why}; set training.precision to 'float32' or 'auto'")
        warnings.warn(f"{why}, so it is trained in float32", stacklevel=2)

    # weights

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """The live parameters and buffers, detached, as they are held: under FSDP2, DTensors."""
        return {name: tensor.detach() for name, tensor in self._tensors.items()}

    def view(self) -> Weights:
        """The live tensors, detached: of each, the rows that this rank has."""
        return {name: local(tensor.detach()) for name, tensor in self._tensors.items()}

    def origin(self) -> Weights:
        """Of the pre-trained tensors, the rows that this rank has."""
        part = self.layout.shards.part
        tensors = tensors_of(self._course.model)
        return {name: part(name, tensor.detach()) for name, tensor in tensors.items()}

    def whole(self) -> Weights:
        """The live tensors at the first rank, put together where ranks hold them in parts. All ranks have to ask."""
        put_together = self.layout.shards.whole
        whole = {name: put_together(name, part) for name, part in self.view().items()}
        return {name: tensor for name, tensor in whole.items() if tensor is not None}

    @torch.no_grad()
    def restore(self, weights: Weights) -> None:
        """Take over *weights*, masked. Raises ScopeError for a name or a shape that the model does not have."""
        live = self.view()
        for name, tensor in weights.items():
            if name not in live:
                raise ScopeError(
                    f"weights hold {name!r} of shape {tuple(tensor.shape)}, and the model has nothing there"
                )
            live[name].copy_(self.layout.part(name, tensor, live[name]))

        self._zero_pruned()

    @contextmanager
    def copied(self) -> Iterator[None]:
        """Train a copy of the weights for a while, and be back at the untouched originals at the end.

        The copy is swapped in under the same module. FSDP2 holds on to the memory of what it has cut: there the
        originals are trained on, and what was copied from them is put back.
        """
        if self.layout.is_sharded:
            copies = {name: tensor.clone() for name, tensor in self.view().items()}
            try:
                yield
            finally:
                for name, tensor in self.view().items():
                    tensor.copy_(copies[name])
            return

        originals = {name: tensor.data for name, tensor in self._tensors.items()}
        for tensor in self._tensors.values():
            tensor.data = tensor.data.clone()
        try:
            yield
        finally:
            for name, tensor in self._tensors.items():
                tensor.data = originals[name]

    # the mask

    def apply_mask(self, mask: Mask) -> None:
        """Zero what *mask* drops. Raises ScopeError for a mask of another model, RankError where ranks disagree."""
        if mask.scope != self.scope:
            raise ScopeError(
                f"the mask is for {mask.scope}, and this model {mask.scope.difference(self.scope)}"
            )

        self.mask = self.layout.mask(mask)
        # where the model is cut, no two ranks hold the same part of the mask
        if not self.layout.is_sharded:
            check_agreement(self.mask, self.layout.team)

        self._keep = {}
        for name, kept in self.mask.kept_by_name.items():
            if kept < self.mask.scope.numel(name):
                self._keep[name] = self.mask[name].to(local(self.parameters[name]))
        self._zero_pruned()

    @torch.no_grad()
    def _zero_pruned(self) -> None:
        for name, keep in self._keep.items():
            parameter = self.parameters[name]
            dead = keep == 0
            # not a product: that could leave -0.0 or NaN
            local(parameter).masked_fill_(dead, 0.0)
            optim.forget(self.optimizer, parameter, keep)
            if name in self._completed:
                self._completed[name] = self._completed[name].masked_fill(dead, 0.0)

    # the optimiser

    def step(
        self, parts: Sequence[MicroBatch], rate: float, variation: Variation
    ) -> float:
        """Take one step at the learning rate *rate* over the *parts* of a batch; the loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate

        self.wrapped.train()
        return step(
            self.accelerator,
            self.wrapped,
            self.optimizer,
            self.parameters,
            self._keep,
            parts,
            self._course.batch_loss,
            variation.label_smoothing,
            self._regime.clip,
            self.layout.team,
        )

    def start_over(self, variation: Variation) -> None:
        """Go on with an optimiser that remembers nothing, at the weight decay of *variation*."""
        self.optimizer = self._new_optimizer(variation)

    def _new_optimizer(self, variation: Variation) -> AdamW:
        decay = variation.weight_decay
        if decay is None:
            decay = self._regime.weight_decay
        return optim.adamw(self.parameters.values(), decay)

    @property
    def memory(self) -> dict[str, Tensor]:
        """What the optimiser remembers: the live tensors."""
        return optim.moments(self.optimizer, self.parameters)

    def remember(self, memory: Mapping[str, Tensor]) -> None:
        """Give the optimiser a copy of a *memory*, in place of its own."""
        optim.remember(self.optimizer, self.parameters, memory)

    def second_moments(self) -> Weights:
        """As `Learner.second_moments`."""
        in_scope = {name: self.parameters[name] for name in self.scope}
        return optim.second_moments(self.optimizer, in_scope) or self._completed

    def keep_moments(self, second_moments: Weights) -> None:
        """Hold on to the *second_moments* of a whole training, which outlive its optimiser; to none if empty."""
        self._completed = {
            name: moment.to(self.parameters[name].device)
            for name, moment in second_moments.items()
        }
