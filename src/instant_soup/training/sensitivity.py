"""Sensitivity: gradients and Hessian-vector products of a sample's mean loss, one micro-batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from .course import Batch
from .layout import local

MicroBatch = tuple[Batch, float]
"""A micro-batch and its share of the sample."""
LossOf = Callable[[Batch], Tensor]
Gradients = dict[str, Tensor]

GRADIENT = 3
"""Passes per example of a gradient: forwards, and twice that backwards."""
CURVATURE = 9
"""Passes per example of its product with the Hessian: the second backward goes through all of that again."""


def gradient(
    loss_of: LossOf, parameters: Mapping[str, nn.Parameter], parts: Iterable[MicroBatch]
) -> Gradients:
    """The gradient of the mean loss, summed over micro-batches before anyone takes absolute values."""
    total = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    for batch, share in parts:
        with torch.enable_grad():
            slope = torch.autograd.grad(
                loss_of(batch) * share, tuple(parameters.values()), allow_unused=True
            )
        _add(total, slope)
    return total


def gathered_gradient(
    loss_of: LossOf, parameters: Mapping[str, nn.Parameter], parts: Iterable[MicroBatch]
) -> Gradients:
    """The same where FSDP2 holds the parameters: what is here of the ranks' mean. All ranks have equally many parts.

    FSDP2 hands out gradients by `backward` alone. Those of the parameters have to be None, and are so again.
    """
    for batch, share in parts:
        with torch.enable_grad():
            (loss_of(batch) * share).backward()  # type: ignore[no-untyped-call]

    total = {}
    for name, parameter in parameters.items():
        if parameter.grad is None:
            total[name] = torch.zeros_like(local(parameter))
        else:
            total[name] = local(parameter.grad)
        parameter.grad = None
    return total


def curvature(
    loss_of: LossOf,
    parameters: Mapping[str, nn.Parameter],
    direction: Mapping[str, Tensor],
    parts: Iterable[MicroBatch],
) -> Gradients:
    """H v for the Hessian H of the mean loss and a *direction* v, by differentiating g . v.

    H v is linear in the loss, so the micro-batches' products add up to the sample's, and only one
    micro-batch's graph is alive at a time.
    """
    total = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    of_all = tuple(parameters.values())

    for batch, share in parts:
        with torch.enable_grad():
            slope = torch.autograd.grad(
                loss_of(batch) * share, of_all, create_graph=True, allow_unused=True
            )
            along = []
            for name, part in zip(parameters, slope, strict=True):
                if part is not None:
                    along.append((part * direction[name]).sum())

            product = torch.autograd.grad(
                torch.stack(along).sum(), of_all, allow_unused=True
            )
        _add(total, product)

    return total


@contextmanager
def exact(module: nn.Module, forward: Callable[..., object]) -> Iterator[None]:
    """Evaluation mode, *forward* in place of the autocast one, and attention that can be differentiated twice."""
    wrapped = module.forward
    fast = torch.backends.mha.get_fastpath_enabled()

    # neither torch's fast path nor its fused attention has a second derivative
    torch.backends.mha.set_fastpath_enabled(False)
    module.eval()
    module.forward = forward
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        module.forward = wrapped
        torch.backends.mha.set_fastpath_enabled(fast)


def _add(total: Gradients, parts: tuple[Tensor | None, ...]) -> None:
    """Add to *total* what autograd gave, in the same order; None for a parameter that the loss does not reach."""
    for name, part in zip(total, parts, strict=True):
        if part is not None:
            total[name] += part
