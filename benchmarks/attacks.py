"""What the benchmarks of attacks share: a miniature to attack, and the record of what came of it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from instant_soup.models import tiny
from instant_soup.runs.environment import environment
from instant_soup.store.locks import Locks
from instant_soup.store.plain import read_sealed, write_sealed

MINI = """seed = 1
[task]
name = "mini"
model = "{model}"
columns = ["sentence"]
[data]
folder = "{data}"
validation = 0.25
"""
"""The head of a recipe, from its seed on: a tiny model on the data of `write_data`."""


def write_data(folder: Path, *, train: int, test: int) -> None:
    """Write so many short labelled sentences, always the same, as a CSV for each split."""
    dice = random.Random(0)
    folder.mkdir()
    for split, count in (("train", train), ("test", test)):
        rows = []
        for _ in range(count):
            rows.append(f"the film is {dice.choice(tiny.WORDS)},{dice.randrange(2)}")
        text = "\n".join(["sentence,label", *rows])
        (folder / f"{split}.csv").write_text(text, encoding="utf-8")


def note_kind(
    out: Path,
    kind: str,
    counts: Collection[str],
    updated: Callable[[Mapping[str, Any]], dict[str, Any]],
) -> None:
    """Write down what became of one kind, beside what is known of others, and the sums over all kinds.

    Args:
        counts: the names of what is added up over kinds.
        updated: what is known of the kind from now on, of what was known before; that is empty at first.
    """
    # several processes may be at work
    with Locks(out.parent).hold(out.name):
        kinds = read_sealed(out)["kinds"] if out.exists() else {}
        kinds[kind] = updated(kinds.get(kind, {}))

        totals: Counter[str] = Counter()
        for known in kinds.values():
            totals.update({name: known[name] for name in counts})
        made = {"at": datetime.now(UTC).isoformat(timespec="seconds"), **environment()}
        write_sealed(out, {"kinds": kinds, "all": dict(totals), "made": made})
