"""Half: whether a model can be computed in bf16, found out by trying it on one example.

Some models put numbers into their tensors that bf16 cannot hold, or call what torch has not written for it. No list of
names can tell which.
"""

from __future__ import annotations

import torch
from torch import nn

from ..core.errors import SoupError
from .course import Batch, Course
from .device import kind_of
from .regime import Precision
from .seeds import borrowed


def settled(precision: Precision, course: Course, device: str) -> Precision:
    """*precision*, or ``"float32"`` for ``"auto"`` where it is known that the course's model fails in bf16."""
    if precision == "auto" and course.faults_in_half.get(kind_of(device)):
        return "float32"
    return precision


@torch.no_grad()
def fault(course: Course, model: nn.Module, batch: Batch) -> str:
    """What goes wrong where *model*, a copy of the course's as Accelerate has wrapped it, predicts; "" if nothing does.

    Args:
        batch: of one example or more, where the model is.
    """
    model.eval()
    # models may draw random numbers, and the stream belongs to whoever called
    with borrowed():
        try:
            course.predict(model, batch)
        except (torch.OutOfMemoryError, SoupError):
            # a matter of size and of data, which the training itself will tell of
            return ""
        except RuntimeError as reason:
            first, *_ = str(reason).strip().splitlines() or [type(reason).__name__]
            return first
    return ""
