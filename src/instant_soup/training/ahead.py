"""Ahead: how a look-ahead is kept from leaving a trace, and how it is sent to whoever carries it out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any
from uuid import uuid4

from ..core.task import Brief
from ..engine.workers import Workers
from .feed import Feed
from .masked import MaskedModel
from .place import Place, Snapshot


@contextmanager
def forked(model: MaskedModel, brief: Brief) -> Iterator[None]:
    """Have *model* stand on a copy of its weights with an optimiser of its own, and be what it was at the end."""
    optimizer = model.optimizer
    memory = model.memory

    with model.copied():
        model.start_over(brief.variation)
        if brief.carry_optimizer:
            model.remember(memory)

        try:
            yield
        finally:
            model.optimizer = optimizer


def packed_for_scouts(place: Place, feed: Feed, seed: int, horizon: int) -> Snapshot:
    """*place* and all else that a look-ahead from there depends on, but the course, which scouts have."""
    tensors, facts = place.packed(feed.layout)
    facts |= {
        "horizon": horizon,
        "seed": seed,
        "regime": feed.regime,
        "of": feed.course.mark,
        # tells a scout whether it stands there already
        "token": uuid4().hex,
    }
    return tensors, facts


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

    # closed even where the method stops in the middle, so that no worker goes on for nothing
    with closing(workers.each(snapshot, errands, names)) as answers:
        for brief in briefs:
            order = feed.order(brief.variation)
            for position in range(brief.steps):
                feed.charged(
                    "look-ahead", feed.course.train, order.at(position), 3, steps=1
                )

            seen, loss = next(answers)
            feed.tell("look-ahead", loss)
            yield seen
