"""Card: what a model is, where it comes from and what it cost, as the README.md of a Hugging Face folder."""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from ..core.ticket import Ticket
from ..models.clip import Classifier
from .portable import Portable

_PAGE = Path(__file__).with_name("card.md.jinja")


def card(portable: Portable) -> str:
    """The card in Markdown, with the metadata that the hub reads at its top."""
    ticket, mask = portable.ticket, portable.ticket.mask
    base, hub = _base(ticket.base.name)
    classifier = portable.model if isinstance(portable.model, Classifier) else None
    markdown = Environment(autoescape=False, undefined=StrictUndefined, keep_trailing_newline=True)  # noqa: S701 - no HTML
    page = markdown.from_string(_PAGE.read_text(encoding="utf-8"))
    return page.render(
        ticket=ticket,
        mask=mask,
        base=base,
        hub=hub,
        pipeline=_pipeline(portable, classifier),
        head=len(classifier.head) if classifier else 0,
        words=", ".join(portable.classes),
        state="It is fine-tuned." if portable.trained else "It is not fine-tuned yet: it is where training starts.",
        record=portable.record,
        method=_method(ticket),
        version=version("instant-soup"),
        layers=[(name, kept, mask.scope.numel(name)) for name, kept in mask.kept_by_name.items()],
    )


def provenance(portable: Portable) -> dict[str, Any]:
    """The same as plain data, for files that hold no page."""
    ticket = portable.ticket
    return {
        "ticket": ticket.digest,
        "base": {"name": _base(ticket.base.name)[0], "digest": ticket.base.digest},
        "method": dict(ticket.method),
        "cost": asdict(ticket.cost),
        "recipe": ticket.recipe,
        "sparsity": ticket.sparsity,
        "trained": portable.trained,
        "test": dict(portable.record.test) if portable.record else {},
        "made_by": f"instant-soup {version('instant-soup')}",
    }


def _base(name: str) -> tuple[str, bool]:
    """The base model's name without the folders of this machine, and whether it is a hub id."""
    local = Path(name).is_absolute() or Path(name).exists() or name == "packaged"
    return (Path(name).name if local else name), not local and ":" not in name


def _pipeline(portable: Portable, classifier: Classifier | None) -> str:
    if classifier:
        return "image-feature-extraction"
    return "text-classification" if portable.shape is None else "image-classification"


def _method(ticket: Ticket) -> str:
    knobs = ", ".join(f"{knob}={value}" for knob, value in ticket.method.items() if knob != "name")
    return f"{ticket.method.get('name', 'unknown')}{f' ({knobs})' if knobs else ''}"
