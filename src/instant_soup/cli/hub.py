"""Hub: commands that push tickets to the Hugging Face hub and pull them back. Slow imports wait until needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .app import Json, app
from .console import say
from .paths import TicketPath

if TYPE_CHECKING:
    from ..core.ticket import Ticket
    from ..store.record import Record

Repository = Annotated[
    str, typer.Argument(metavar="OWNER/NAME", help="A repository on the hub.")
]
Revision = Annotated[
    str | None,
    typer.Option("--revision", metavar="REV", help="A branch, a tag or a commit."),
]


@app.command()
def push(
    ticket: TicketPath,
    repo: Repository,
    record: Annotated[
        Path | None,
        typer.Option(
            "--record",
            metavar="FILE",
            help="record.json of its run; by default the one beside TICKET.",
        ),
    ] = None,
    private: Annotated[
        bool | None, typer.Option("--private/--public", help="Of a new repository.")
    ] = None,
    revision: Revision = None,
    as_json: Json = False,
) -> None:
    """Write TICKET to the hub, with a card of its method, cost and figures. Log in first: hf auth login."""
    from ..core.ticket import Ticket
    from ..export.hub import push_to_hub

    loaded = Ticket.load(ticket)
    run_record = _record_of(loaded, ticket, record)
    address = push_to_hub(
        loaded, repo, record=run_record, private=private, revision=revision
    )
    if as_json:
        facts = {
            "repository": address,
            "ticket": loaded.digest,
            "record": run_record.key if run_record else None,
        }
        typer.echo(json.dumps(facts, indent=2))
        return

    figures = "with the figures of its run" if run_record else "without figures"
    say(f"{address}: {loaded.mask}, {figures}")


@app.command()
def pull(
    repo: Repository,
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", metavar="TICKET", help="The ticket file to write."
        ),
    ],
    revision: Revision = None,
    as_json: Json = False,
) -> None:
    """Read a ticket from the hub, check every byte of it, and write it to a file."""
    from ..export.hub import pull_from_hub
    from ..export.staging import refuse_existing

    # before the download
    refuse_existing(output)
    loaded = pull_from_hub(repo, revision=revision)
    loaded.save(output)
    if as_json:
        facts = {
            "ticket": str(output),
            "digest": loaded.digest,
            "kept": loaded.mask.kept,
            "ready": loaded.ready,
        }
        typer.echo(json.dumps(facts, indent=2))
        return

    state = "trained" if loaded.ready else "to be fine-tuned"
    say(f"{output}: {loaded.mask}, {state}")


def _record_of(ticket: Ticket, path: Path, record: Path | None) -> Record | None:
    """The record at *record*; if that is None, the one beside the ticket's *path*, where it is of this ticket."""
    from ..export.tuned import record_beside
    from ..store.record import read_run

    if record is not None:
        return read_run(record)
    return record_beside(path, ticket)
