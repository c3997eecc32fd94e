"""Seeds: named random streams. What a run draws at random depends on the run's seed and a purpose.

Nothing here keeps state, so a look-ahead cannot disturb its parent, and a resumed run has nothing
to catch up with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def stream(seed: int, *purpose: str | int) -> int:
    """The seed of one stream: 0 <= stream < 2**63. Different purposes give unrelated streams."""
    text = "/".join(map(str, (seed, *purpose)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 1


@contextmanager
def borrowed() -> Iterator[None]:
    """Give torch's global random state back as it was."""
    with torch.random.fork_rng():
        yield
