"""Names: the methods and tasks that recipes may name, out of a listing, so that nothing slow is imported."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import typer

from ..recipes import listing
from . import console
from .app import Json, app


@app.command()
def methods(as_json: Json = False) -> None:
    """List the ways to draw a ticket, with their knobs."""
    known = listing.read()["methods"]
    if as_json:
        typer.echo(json.dumps(known, indent=2))
        return

    shown = console.table(["method", "what it does", "knobs and defaults", "presets"])
    for name, method in known.items():
        knobs = ", ".join(_knobs(method["knobs"]))
        console.add(shown, name, method["summary"], knobs, ", ".join(method["presets"]))
    console.out().print(shown)


@app.command()
def tasks(as_json: Json = False) -> None:
    """List the tasks by name; any labelled text and any labelled images are a task too."""
    known = listing.read()["tasks"]
    if as_json:
        typer.echo(json.dumps(known, indent=2))
        return

    shown = console.table(["task", "columns", "labels", "metrics", "on the hub"])
    for name, task in known.items():
        columns, labels = _columns_and_labels(task)
        hub = "/".join(filter(None, task["hub"])) if task["hub"] else "packaged"
        console.add(shown, name, columns, labels, ", ".join(task["metrics"]), hub)
    console.out().print(shown)


def _knobs(knobs: Mapping[str, Any], table: str = "") -> list[str]:
    """Knobs with their defaults, those of a table within by the name that --set takes."""
    told = []
    for name, value in knobs.items():
        if isinstance(value, dict):
            told += _knobs(value, f"{table}{name}.")
        else:
            told.append(f"{table}{name}={value!r}")
    return told


def _columns_and_labels(task: Mapping[str, Any]) -> tuple[str, str]:
    """What the examples of a task of text, of images or of language are, and what is told of them."""
    if "columns" in task:
        return ", ".join(task["columns"]), ", ".join(task["labels"]) or "a score"
    if "image" in task:
        return task["image"], f"{task['classes']} classes"
    return "text", "the next token"
