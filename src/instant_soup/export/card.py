"""Card: what a model is, where it comes from and what it cost, as the README.md of a Hugging Face folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

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

    return _page(
        "card.md.jinja",
        portable.ticket,
        metadata,
        head=len(classifier.head) if classifier else 0,
        classes=portable.classes,
        state=state,
        record=portable.record,
    )


def ticket_card(ticket: Ticket, record: Record | None, dataset: str | None) -> str:
    """The card of a ticket that travels without its model; *dataset* is the hub's name for what it was tested on."""
    if ticket.ready:
        state = "It is trained to the end."
    else:
        state = "It is to be fine-tuned: it is where training starts."

    datasets = [dataset] if dataset else None
    metadata = {"library_name": "instant-soup", "datasets": datasets}
    return _page("ticket.md.jinja", ticket, metadata, state=state, record=record)


def _page(
    template: str, ticket: Ticket, metadata: Mapping[str, Any], **facts: Any
) -> str:
    mask = ticket.mask
    base, hub = base_of(ticket)
    layers = []
    for name, kept in mask.kept_by_name.items():
        layers.append((name, kept, mask.scope.numel(name)))

    head = {
        **metadata,
        "base_model": ticket.base.name if hub else None,
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
    """The same as plain data, for files that hold no page."""
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
    local = os.path.isabs(name) or os.path.exists(name) or name == "packaged"  # noqa: PTH110, PTH117 - never raise
    return (Path(name).name if local else name), not local and ":" not in name


def _pipeline(portable: Portable, classifier: Classifier | None) -> str:
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
