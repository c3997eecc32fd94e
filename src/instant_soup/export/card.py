"""Card: writes what a model is, where it comes from and what it cost, as the README.md of a Hugging Face folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from ..core.ticket import Ticket
from ..models.clip import Classifier
from ..models.decoder import is_language_model
from ..store.record import Record
from .escape import page
from .portable import Portable

_PAGES = Path(__file__).parent


def card(portable: Portable) -> str:
    """The card in Markdown, with the metadata that the hub reads at its top."""
    classifier = portable.model if isinstance(portable.model, Classifier) else None
    metadata = {
        "library_name": "transformers",
        "pipeline_tag": _pipeline(portable, classifier),
    }
    if portable.trained:
        state = "It is fine-tuned."
    else:
        state = "It is not fine-tuned yet: it is where training starts."

    return _render(
        "card.md.jinja",
        portable.ticket,
        metadata,
        head=len(classifier.head) if classifier else 0,
        classes=portable.classes,
        state=state,
        record=portable.record,
    )


def ticket_card(ticket: Ticket, record: Record | None, dataset: str | None) -> str:
    """The card of a ticket without its model.

    Args:
        dataset: the name on the hub of the data that it was tested on, if it is there.
    """
    if ticket.ready:
        state = "It is trained to the end."
    else:
        state = "It is to be fine-tuned: it is where training starts."

    datasets = [dataset] if dataset else None
    metadata = {"library_name": "instant-soup", "datasets": datasets}
    return _render("ticket.md.jinja", ticket, metadata, state=state, record=record)


def _render(
    template: str, ticket: Ticket, metadata: Mapping[str, Any], **facts: Any
) -> str:
    """The page of *template* about *ticket*, with *metadata* at its top."""
    mask = ticket.mask
    base, is_on_hub = base_of(ticket)
    layers = []
    for name, kept in mask.kept_by_name.items():
        layers.append((name, kept, mask.scope.numel(name)))

    head = {
        **metadata,
        # the hub refuses a card whose base_model is no id
        "base_model": ticket.base.name if is_on_hub else None,
        "tags": ["lottery-ticket", "pruned", "sparse"],
    }

    return page(
        _PAGES / template,
        head,
        ticket=ticket,
        mask=mask,
        base=base,
        method=method_of(ticket),
        version=version("instant-soup"),
        layers=layers,
        **facts,
    )


def provenance(portable: Portable) -> dict[str, Any]:
    """Where a model comes from and what it cost, as plain data, for files that hold no page."""
    ticket = portable.ticket
    test = dict(portable.record.test) if portable.record else {}
    made_by = f"instant-soup {version('instant-soup')}"

    return {
        "ticket": ticket.digest,
        "base": {"name": base_of(ticket)[0], "digest": ticket.base.digest},
        "method": dict(ticket.method),
        "cost": asdict(ticket.cost),
        "recipe": ticket.recipe,
        "sparsity": ticket.sparsity,
        "trained": portable.trained,
        "test": test,
        "made_by": made_by,
    }


def base_of(ticket: Ticket) -> tuple[str, bool]:
    """The base model's name without the folders of this machine, and whether it is a hub id."""
    name = ticket.base.name
    is_local = os.path.isabs(name) or os.path.exists(name) or name == "packaged"  # noqa: PTH110, PTH117 - never raise
    if is_local:
        # where it lies on this machine is nobody's concern
        return Path(name).name, False
    return name, _is_id(name)


def _is_id(name: str) -> bool:
    """Whether *name* can be that of a model on the hub; that of open_clip:ARCHITECTURE/PRETRAINED cannot."""
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


def _pipeline(portable: Portable, classifier: Classifier | None) -> str:
    """The hub's name for what a model does."""
    # a folder holds the tower of a CLIP, whose outputs are features
    if classifier:
        return "image-feature-extraction"
    if portable.shape is not None:
        return "image-classification"
    if is_language_model(portable.config):
        return "text-generation"
    return "text-classification"


def method_of(ticket: Ticket) -> str:
    """The method that drew *ticket*, with its knobs."""
    name = ticket.method.get("name", "unknown")
    knobs = [f"{knob}={value}" for knob, value in ticket.method.items() if knob != "name"]
    return f"{name} ({', '.join(knobs)})" if knobs else str(name)
