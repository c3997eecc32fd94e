"""Card: what a model is, where it comes from and what it cost, as the README.md of a Hugging Face folder."""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jinja2 import Environment

from ..core.ticket import Ticket
from ..models.clip import Classifier
from .portable import Portable

_PAGE = """\
---
library_name: transformers
pipeline_tag: {{ pipeline }}
{% if hub %}base_model: {{ ticket.base.name }}
{% endif %}tags:
- pruned
- sparse
- lottery-ticket
---

# {{ base }}, {{ "%.1f"|format(100 * ticket.sparsity) }} % pruned

A lottery ticket: {{ "{:,}".format(mask.kept) }} of {{ "{:,}".format(mask.scope.size) }} prunable weights are kept, the \
others are zero. {{ state }} The zeros are stored as zeros: the files are as large as those of the dense model until they \
are compressed, and common runtimes are no faster for them.

{% if head %}## The head

This is the vision tower of a CLIP with its projection (`CLIPVisionModelWithProjection`). It gives image embeddings. The
zero-shot head that it was trained under is in `zero_shot_head.safetensors`: one direction for each of the {{ head }} classes,
in the order of their numbers{% if words %} ({{ words }}){% endif %}. The logits are

    scale * normalize(image_embeds) @ head.T

{% endif %}## Results

{% if record %}On the test split of {{ record.recipe.task.name }}, read once: \
{% for name, figure in record.test.items() %}{{ name }} {{ "%.4f"|format(figure) }}{{ ", " if not loop.last }}{% endfor %}. \
Drawing, fine-tuning and validation cost {{ "%.2f"|format(record.cost.multiple_of_T) }} times one full fine-tune.
{% else %}Not known to the tool that wrote this card.
{% endif %}
## Where it comes from

| | |
|---|---|
| base model | {{ base }}, prunable weights {{ ticket.base.digest[:16] }} |
| method | {{ method }} |
| cost of drawing | {{ "{:,}".format(ticket.cost.steps) }} steps, {{ "{:,}".format(ticket.cost.passes) }} passes |
| ticket | {{ ticket.digest }} |
| mask | {{ mask.digest }} |
| recipe | {{ ticket.recipe or "none" }} |
| made by | instant-soup {{ version }} |

## Sparsity by layer

| parameter | kept | of | sparsity |
|---|---:|---:|---:|
{% for name, kept, size in layers %}| `{{ name }}` | {{ "{:,}".format(kept) }} | {{ "{:,}".format(size) }} | {{ "%.1f"|format(100 - 100 * kept / size) }} % |
{% endfor %}"""


def card(portable: Portable) -> str:
    """The card in Markdown, with the metadata that the hub reads at its top."""
    ticket, mask = portable.ticket, portable.ticket.mask
    base, hub = _base(ticket.base.name)
    classifier = portable.model if isinstance(portable.model, Classifier) else None
    page = Environment(autoescape=False, keep_trailing_newline=True).from_string(_PAGE)  # noqa: S701 - no HTML
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
        "test": dict(portable.record["test"]) if portable.record else {},
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
