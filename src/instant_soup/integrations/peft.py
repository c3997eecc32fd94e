"""Peft: the one door to Hugging Face's library of adapters, which is an extra."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from torch import nn

from ..core.errors import ScopeError
from ..core.extras import extra
from ..core.mask import Mask
from ..core.ticket import Ticket

PeftModel = Any  # of a library that may be missing


def peft() -> Any:
    """The module. Raises MissingExtra when it is not installed."""
    return extra("peft", "lora", "a model with adapters")


def wrapped(model: nn.Module) -> PeftModel:
    """*model*, which must have adapters in its layers. Raises ScopeError when it has none."""
    tuner = import_module("peft.tuners.tuners_utils").BaseTuner
    if not isinstance(model, peft().PeftModel) or not isinstance(model.base_model, tuner):
        raise ScopeError(
            f"{type(model).__name__} has no adapters in its layers; give the model that peft.get_peft_model or "
            f"PeftModel.from_pretrained returned, not compiled and not wrapped"
        )
    return model


def mask_of(ticket: Ticket | Mask) -> Mask:
    """The mask of a ticket, or the mask itself."""
    return ticket.mask if isinstance(ticket, Ticket) else ticket
