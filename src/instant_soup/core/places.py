"""Places: whether a model's name is a path or a hub id, and which path was meant; nothing is loaded, nobody asked."""

from __future__ import annotations

import os
import re
from difflib import get_close_matches
from pathlib import Path

from .errors import DataError

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_ALMOST = (
    0.8  # how alike names are of which one is the other misspelt, as difflib counts it
)
_SCHEME = re.compile(r"[a-z_]{2,}:")  # as in open_clip:ViT-B-32/openai


def check_place(name: str) -> None:
    """Raise DataError, with names that are close, where *name* is no hub id that could be had and nothing lies there.

    A name that may be a hub id is asked for at a hub, which takes its time: not where a folder of nearly that name is
    here, nor where nothing may be asked.
    """
    is_other = _SCHEME.match(name) or name.endswith(".gguf")
    if is_other or os.path.exists(name):  # noqa: PTH110 - never raises
        return

    if _is_path(name):
        close = close_path(Path(name))
        reason = "it is no hub id"
    else:
        # of two parts, so that a model whose name is like that of a folder here can still be asked for
        close = close_path(Path(name), _ALMOST) if "/" in name else None
        reason = "one of nearly that name is here"
        if close is None:
            return

    question = f"did you mean {close}?" if close else "check the path"
    raise DataError(
        f"could not load model {name!r} (there is no such folder, and {reason}); "
        f"give a folder with config.json, or a hub id; {question}"
    )


def real(path: Path) -> Path:
    """Where *path* leads to. What goes round in a circle of links stays as it is."""
    return Path(os.path.realpath(path))


def _is_path(name: str) -> bool:
    """Whether no hub id looks like *name*, or the folder that it would be in is there."""
    if not _HUB_ID.fullmatch(name):
        return True
    first, slash, _ = name.partition("/")
    return bool(slash) and os.path.isdir(first)  # noqa: PTH112 - the same


def close_path(path: Path, cutoff: float = 0.6) -> str | None:
    """The path nearest to one that is not there: its parts are followed as far as there is something like them."""
    place = Path(path.anchor)
    for part in path.parts[1:] if path.anchor else path.parts:
        if os.path.exists(place / part):  # noqa: PTH110 - the same
            place = place / part
            continue

        try:
            names = [entry.name for entry in place.iterdir()]
        except OSError:
            return None
        similar = get_close_matches(part, names, n=1, cutoff=cutoff)
        if not similar:
            return None
        place = place / similar[0]

    return str(place)
