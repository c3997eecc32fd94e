"""Device: where and in which precision a model trains, as Accelerate sees it."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from . import ranks
from .regime import Precision


def accelerator(precision: Precision) -> Accelerator:
    """An Accelerator of this precision; ``"auto"`` takes bf16 autocast where the hardware computes in it.

    Accelerate keeps one precision for the whole process. Learners of different precision may live
    in one process here, so a change of precision resets that shared state.
    """
    ranks.team()  # they meet first, or each would take itself for alone
    half = precision == "bfloat16" or (precision == "auto" and fast_bfloat16())
    mixed = "bf16" if half else "no"

    if AcceleratorState._shared_state and AcceleratorState().mixed_precision != mixed:
        AcceleratorState._reset_state()
    return Accelerator(mixed_precision=mixed, kwargs_handlers=ranks.handlers())


def fast_bfloat16() -> bool:
    """Whether this machine multiplies bf16 matrices in hardware."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    can = torch.cpu.get_capabilities()
    return bool(can.get("avx512_bf16") or can.get("amx_bf16"))
