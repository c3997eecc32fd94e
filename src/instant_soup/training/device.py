"""Device: where and in which precision a model trains, as Accelerate sees it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState

from ..core.errors import RankError, TrainingError
from ..core.ranks.launch import launched
from . import ranks
from .regime import Precision

_NAMED = "ACCELERATE_TORCH_DEVICE"
"""Where Accelerate looks for a device that it is not to choose itself."""


def accelerator(precision: Precision, device: str = "auto") -> Accelerator:
    """An Accelerator of this precision on this device; precision ``"auto"`` is bf16 where hardware computes in it.

    Accelerate keeps one precision and one device for the whole process. Learners of different ones may live in one
    process here, so a change resets that shared state.

    Raises as `check_device` does.
    """
    ranks.team()  # they meet first, or each would take itself for alone
    check_device(device)
    _forget_another(device)

    mixed = "bf16" if computed_in(precision, device) == "bfloat16" else "no"
    if AcceleratorState._shared_state and AcceleratorState().mixed_precision != mixed:
        AcceleratorState._reset_state()

    with _naming(device):
        return Accelerator(mixed_precision=mixed, kwargs_handlers=ranks.handlers())


def computed_in(precision: Precision, device: str = "auto") -> Precision:
    """What *precision* comes to on *device*: ``"bfloat16"`` or ``"float32"``."""
    if precision == "auto":
        return "bfloat16" if fast_bfloat16(device) else "float32"
    return precision


def check_device(device: str) -> None:
    """Refuse a device that cannot be trained on: TrainingError where there is none, RankError where ranks take theirs.

    Args:
        device: ``"auto"``, or a device as torch names it.
    """
    if device == "auto":
        return

    if launched():
        raise RankError(
            f"training.device is {device!r}, and of ranks that are launched together each takes a device of its own; "
            f"leave it out"
        )

    names = devices()
    if device not in names:
        raise TrainingError(
            f"training.device is {device!r}, and torch sees no such device here; "
            f"expected one of auto, {', '.join(names)}"
        )


def devices() -> list[str]:
    """The names of all devices that torch sees here, the CPU first."""
    names = ["cpu"]
    kind = torch.accelerator.current_accelerator(check_available=True)
    if kind is not None:
        names.append(kind.type)
        names += [f"{kind.type}:{i}" for i in range(torch.accelerator.device_count())]
    return names


def kind_of(device: str) -> str:
    """The kind of a device, ``"cpu"`` or ``"cuda"`` for example; of ``"auto"``, of the one that is taken then."""
    if device == "auto":
        kind = torch.accelerator.current_accelerator(check_available=True)
        device = os.environ.get(_NAMED) or (kind.type if kind else "cpu")
    return torch.device(device).type


def fast_bfloat16(device: str = "auto") -> bool:
    """Whether *device* multiplies bf16 matrices in hardware."""
    if kind_of(device) == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    can = torch.cpu.get_capabilities()
    return bool(can.get("avx512_bf16") or can.get("amx_bf16"))


def _forget_another(device: str) -> None:
    """Let Accelerate choose anew, where it stands on another device than the one that is asked for now."""
    if not PartialState._shared_state or launched():
        return

    state = PartialState()
    if device == "auto":
        wanted = torch.device(os.environ.get(_NAMED) or state.default_device)
    else:
        wanted = torch.device(device)

    if (state.device.type, state.device.index or 0) != (wanted.type, wanted.index or 0):
        AcceleratorState._reset_state(reset_partial_state=True)


@contextmanager
def _naming(device: str) -> Iterator[None]:
    """Tell Accelerate which device to take, for as long as the block takes."""
    if device == "auto":
        yield
        return

    named = torch.device(device)
    if named.type != "cpu" and named.index is not None:
        # what is made without naming a device is made on this one
        torch.accelerator.set_device_index(named.index)

    before = os.environ.get(_NAMED)
    os.environ[_NAMED] = device
    try:
        yield
    finally:
        del os.environ[_NAMED]
        if before is not None:
            os.environ[_NAMED] = before
