"""Hub: writes a ticket to a repository on the Hugging Face hub, and reads it back.

A repository holds:

    ticket.safetensors         the ticket, as `Ticket.save` writes it
    config.json                what it is, for machines; the hub counts a download where this file is read
    README.md                  what it is, for people
    .eval_results/TASK.yaml    its figure on the test split, where the data set is on the hub too
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from huggingface_hub import (
    CommitOperationAdd,
    EvalResultEntry,
    HfApi,
    eval_result_entries_to_yaml,
)
from huggingface_hub.errors import (  # type: ignore[attr-defined] # HTTPError: of whichever client it talks through
    EntryNotFoundError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from ..core.errors import SoupError, TicketError
from ..core.kinds import checked
from ..core.ticket import Ticket
from ..store.record import Record
from ..tasks import TASKS
from .card import base_of, ticket_card

TICKET = "ticket.safetensors"
CONFIG = "config.json"
_NOT_ALLOWED = (401, 403)


class HubError(SoupError, OSError):
    """The hub cannot be reached, refuses, or holds no ticket at that name."""


@checked
def push_to_hub(
    ticket: Ticket,
    repo: str,
    *,
    record: Record | None = None,
    private: bool | None = None,
    revision: str | None = None,
    token: str | None = None,
) -> str:
    """Write *ticket* to the hub as one commit, and return the address of the repository.

    The repository is made if there is none. Beside the ticket lie a card with method, cost and figures, and a
    ``config.json``. Folders of this machine are named in neither.

    Args:
        repo: ``"name"`` or ``"owner/name"``.
        record: of a run of this ticket, such as `instant_soup.run` returns; its figures go into the card.
        private: whether a new repository is private; as the account's settings say by default.
        revision: the branch to write to.
        token: of an account that may write; by default the one that is logged in.

    Raises:
        TicketError: *record* is of another ticket.
        HubError: the hub cannot be reached, or refuses.
    """
    if record is not None:
        _check_record(record, ticket)

    source = _dataset_of(record)
    dataset = source[0] if source else None
    description = json.dumps(config(ticket, record), indent=2, sort_keys=True)
    files = {
        CONFIG: description.encode(),
        "README.md": ticket_card(ticket, record, dataset).encode(),
        **evaluation_results(ticket, record),
    }

    api = HfApi(token=token)
    with TemporaryDirectory() as folder, _telling_errors(repo):
        ticket.save(Path(folder) / TICKET)
        operations = []
        for name, content in files.items():
            operations.append(CommitOperationAdd(name, io.BytesIO(content)))
        operations.append(CommitOperationAdd(TICKET, Path(folder) / TICKET))

        method = ticket.method.get("name", "an unknown method")
        address = api.create_repo(repo, private=private, exist_ok=True)
        # one commit, so that nobody downloads a ticket beside the description of another
        api.create_commit(
            address.repo_id,
            operations,
            commit_message=f"{ticket.sparsity:.1%} pruned by {method}",
            revision=revision,
        )
    return str(address)


@checked
def pull_from_hub(
    repo: str, *, revision: str | None = None, token: str | None = None
) -> Ticket:
    """Read a ticket back from the hub. Every byte is checked before it returns.

    Args:
        repo: ``"owner/name"``.
        revision: a branch, a tag or a commit; the newest state by default.
        token: of an account that may read it; by default the one that is logged in.

    Raises:
        HubError: the hub cannot be reached, or there is no ticket.
        TicketError: the ticket is damaged, or not the one that the repository describes.
    """
    api = HfApi(token=token)
    with _telling_errors(repo):
        description = Path(api.hf_hub_download(repo, CONFIG, revision=revision))
        path = Path(api.hf_hub_download(repo, TICKET, revision=revision))

    ticket = Ticket.load(path)
    digest = _described_digest(description)
    if digest != ticket.digest:
        raise TicketError(
            f"{repo} describes ticket {str(digest)[:16]} in its {CONFIG} and holds {ticket.digest[:16]}; "
            f"push it again, or name the revision that was whole"
        )
    return ticket


def config(ticket: Ticket, record: Record | None) -> dict[str, Any]:
    """What a ticket is and what it reached, as plain data."""
    base, _ = base_of(ticket)
    identity = {
        "file": TICKET,
        "digest": ticket.digest,
        "mask": ticket.mask.digest,
        "trained": ticket.ready,
    }

    return {
        "library_name": "instant-soup",
        "made_by": f"instant-soup {version('instant-soup')}",
        "ticket": identity,
        "base": {"name": base, "digest": ticket.base.digest},
        "method": dict(ticket.method),
        "sparsity": ticket.sparsity,
        "kept": ticket.mask.kept,
        "prunable": ticket.mask.scope.size,
        "cost": asdict(ticket.cost),
        "recipe": ticket.recipe,
        "task": record.recipe.task.name if record else None,
        "test": dict(record.test) if record else {},
        "cost_in_T": record.cost.multiple_of_T if record else None,
    }


def evaluation_results(ticket: Ticket, record: Record | None) -> dict[str, bytes]:
    """The file that shows the record's figure on the hub, by its path; none where the data set is not on the hub."""
    source = _dataset_of(record)
    if record is None or source is None:
        return {}
    # trained on part of the data, a figure is none of this data set's
    if record.recipe.data.get("limit") is not None:
        return {}

    task = record.recipe.task.name
    entry = EvalResultEntry(
        dataset_id=source[0],
        task_id=source[1] or "default",
        value=record.figure,
        date=record.made.at,
        notes=f"{record.metric} on the split kept for tests; {ticket.sparsity:.1%} of the prunable weights are zero",
    )
    # the hub expects YAML, of which JSON is a part
    content = json.dumps(eval_result_entries_to_yaml([entry]), indent=2)
    return {f".eval_results/{task.replace('/', '-')}.yaml": content.encode()}


def _dataset_of(record: Record | None) -> tuple[str, str | None] | None:
    """Repository and configuration of the record's data set on the hub; None where it is not there."""
    task = TASKS.get(record.recipe.task.name) if record else None
    return task.hub if task else None


def _check_record(record: Record, ticket: Ticket) -> None:
    """Raise TicketError unless *record* is of *ticket*."""
    if record.ticket.digest != ticket.digest:
        raise TicketError(
            f"the record is of ticket {record.ticket.digest[:16]} and this is {ticket.digest[:16]}; "
            f"give the record.json of this ticket's own run"
        )


def _described_digest(description: Path) -> Any:
    """The digest of the ticket that a repository describes. Raises HubError where it describes none."""
    try:
        return json.loads(description.read_text(encoding="utf-8"))["ticket"]["digest"]
    except (OSError, ValueError, KeyError, TypeError) as reason:
        raise HubError(
            f"the {CONFIG} describes no ticket ({reason}); expected a repository that `instant-soup push` wrote"
        ) from reason


@contextmanager
def _telling_errors(repo: str) -> Iterator[None]:
    """Turn errors of the hub's client in the block into HubError, with a sentence on what is wrong with *repo*."""
    try:
        yield

    # from the special to the general: most of these inherit from HfHubHTTPError
    except HFValidationError as reason:
        raise HubError(
            f"{repo!r} is no name of a repository ({reason}); expected 'owner/name'"
        ) from reason
    except LocalEntryNotFoundError as reason:
        raise HubError(_unreachable(repo, reason)) from reason
    except EntryNotFoundError as reason:
        raise HubError(
            f"{repo} holds no ticket: {TICKET} or {CONFIG} is missing; expected a repository that "
            f"`instant-soup push` wrote"
        ) from reason
    except RevisionNotFoundError as reason:
        raise HubError(
            f"{repo} has no such revision; give a branch, a tag or a commit of it"
        ) from reason
    except RepositoryNotFoundError as reason:
        raise HubError(
            f"no repository {repo!r} on the hub, or not for this account; check the name, or log in: hf auth login"
        ) from reason
    except HfHubHTTPError as reason:
        raise HubError(_refused(repo, reason)) from reason
    # RuntimeError is an upload that broke off
    except (HTTPError, ConnectionError, RuntimeError) as reason:
        raise HubError(_unreachable(repo, reason)) from reason


def _refused(repo: str, reason: HfHubHTTPError) -> str:
    """The sentence on a request that the hub answers with an error."""
    if reason.response.status_code in _NOT_ALLOWED:
        return f"the hub does not let this account do that with {repo!r}; log in as its owner: hf auth login"
    return f"the hub refused {repo!r} ({_first_line(reason)}); try again later"


def _unreachable(repo: str, reason: Exception) -> str:
    """The sentence on a request that the hub does not answer."""
    cause = _first_line(reason)
    return f"could not reach the hub for {repo!r} ({cause}); check the network, HF_ENDPOINT, HF_HUB_OFFLINE"


def _first_line(reason: Exception) -> str:
    lines = str(reason).strip().splitlines()
    return lines[0] if lines else type(reason).__name__
