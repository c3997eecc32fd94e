"""Listing: the tables of methods and tasks as plain data in a file, so that they are shown without importing torch.

``python -m instant_soup.recipes.listing`` writes the file again after a table has changed; a test compares the two.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("listing.json")


@cache
def read() -> dict[str, dict[str, Any]]:
    """Methods and tasks by name, as they were when the file was written."""
    listing: dict[str, dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8"))
    return listing


def text() -> str:
    """What the file has to hold. Imports torch and transformers."""
    from ..methods import METHODS, REFERENCES
    from ..tasks import TASKS

    methods = {
        name: {
            "summary": variant.summary,
            "knobs": variant.knobs,
            "presets": {preset: dict(knobs) for preset, knobs in variant.presets.items()},
        }
        for name, variant in {**METHODS, **REFERENCES}.items()
    }
    tasks = {name: asdict(spec) for name, spec in TASKS.items()}
    listing = {"methods": methods, "tasks": tasks}
    return json.dumps(listing, indent=1, default=asdict) + "\n"


if __name__ == "__main__":
    from ..core.files import write_text

    write_text(FILE, text())
