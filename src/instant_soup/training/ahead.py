"""Ahead: how a look-ahead is kept from leaving a trace, and how it is sent to whoever carries it out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any

import torch
from torch import Tensor

from ..core.task import Brief
from ..engine.workers import Workers
from .feed import Feed
from .layout import Layout, local
from .place import Snapshot


@contextmanager
def copied(tensors: Mapping[str, Tensor], layout: Layout) -> Iterator[None]:
    """Have the model of *tensors* stand on a copy of them, and on the untouched originals again at the end.

    The copy is swapped in under the same module. FSDP2 holds on to the memory of what it has cut: there the originals
    are trained on, and what was copied from them is put back.
    """
    if layout.cut:
        copies = {
            name: local(tensor.detach()).clone() for name, tensor in tensors.items()
        }
        try:
            yield
        finally:
            with torch.no_grad():
                for name, tensor in tensors.items():
                    local(tensor.detach()).copy_(copies[name])
        return

    originals = {name: tensor.data for name, tensor in tensors.items()}
    for tensor in tensors.values():
        tensor.data = tensor.data.clone()
    try:
        yield
    finally:
        for name, tensor in tensors.items():
            tensor.data = originals[name]


def sent(
    workers: Workers,
    snapshot: Snapshot,
    briefs: Sequence[Brief],
    look: Callable[..., Any],
    feed: Feed,
) -> Iterator[Any]:
    """What *look* sees at the end of each of *briefs*, carried out by *workers* from *snapshot* on.

    Each is charged as if it were done by this process, once, whoever does it how often, when its turn comes.
    """
    names = [
        f"look-ahead {number} of {len(briefs)}, {brief},"
        for number, brief in enumerate(briefs, 1)
    ]
    errands = [(brief, look) for brief in briefs]

    with closing(workers.each(snapshot, errands, names)) as answers:
        for brief in briefs:
            order = feed.order(brief.training)
            for position in range(brief.steps):
                feed.charged(
                    "look-ahead", feed.course.train, order.at(position), 3, steps=1
                )

            seen, loss = next(answers)
            feed.tell("look-ahead", loss)
            yield seen
