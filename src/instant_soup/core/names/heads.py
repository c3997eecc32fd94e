"""Heads: names of what belongs to a task and not to the pre-trained model, listed once for everybody who asks."""

from __future__ import annotations

from fnmatch import fnmatch

HEADS = (
    "head*",
    "*.head*",
    "*head.*",
    "*lm_head*",
    "*classifier*",
    "score.*",
    "*.score.*",
    "*score.weight",
    "fc.*",
)
"""What a head is called where names are all that is known: in files, and among the start weights of a ticket."""


def is_head(name: str) -> bool:
    """Whether *name* is that of a head."""
    return any(fnmatch(name, pattern) for pattern in HEADS)
