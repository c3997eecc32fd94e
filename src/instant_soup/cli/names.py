"""Names: the methods and tasks that recipes may name. Slow imports wait until they are needed."""

from __future__ import annotations

import json
from dataclasses import asdict

import typer

from . import console
from .app import Json, app


@app.command()
def methods(as_json: Json = False) -> None:
    """List the ways to draw a ticket, with their knobs."""
    from ..methods import METHODS, REFERENCES
    from . import show

    variants = {**METHODS, **REFERENCES}
    if not as_json:
        console.out().print(show.methods(variants))
        return

    facts = {}
    for name, variant in variants.items():
        # read-only mappings, which json does not write
        presets = {preset: dict(knobs) for preset, knobs in variant.presets.items()}
        facts[name] = {
            "summary": variant.summary,
            "knobs": variant.knobs,
            "presets": presets,
        }
    # knobs may be dataclasses
    typer.echo(json.dumps(facts, indent=2, default=asdict))


@app.command()
def tasks(as_json: Json = False) -> None:
    """List the tasks by name; any labelled text and any labelled images are a task too."""
    from ..tasks import TASKS
    from . import show

    if as_json:
        facts = {name: asdict(spec) for name, spec in TASKS.items()}
        typer.echo(json.dumps(facts, indent=2))
    else:
        console.out().print(show.tasks(TASKS))
