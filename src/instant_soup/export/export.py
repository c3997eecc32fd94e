"""Export: a ticket in its model, written for others to use, and read back before success is reported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.errors import KnobError
from ..core.kinds import checked
from ..core.ticket import Ticket
from ..core.weights import first_not_finite
from ..recipes.recipe import Recipe
from .compare import largest_difference
from .errors import ExportError
from .formats import known
from .portable import Portable
from .source import portable
from .staging import refuse_existing, staged


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        format: its name.
        out: the file or folder.
        size: bytes, of all files that belong to it.
        difference: the largest between outputs of the file and of the model, over several batches; None where nothing
            runs the file itself.
        facts: what else the format says of it.
    """

    format: str
    out: Path
    size: int
    difference: float | None
    facts: Mapping[str, Any]


@checked
def export_ticket(
    ticket: Ticket,
    model: str | Recipe,
    *,
    to: str,
    out: str | Path,
    weights: str | Path | None = None,
) -> Exported:
    """Write *ticket* in its *model* to *out*, whole and checked, or not at all.

    Args:
        model: ``"packaged"``, a folder or a hub id of a classifier of text or images; or a recipe, which a CLIP needs.
        to: a name in `instant_soup.export.formats.FORMATS`: hf, bitmask, onnx, csr or openvino.
        out: a new file, or for hf a new folder.
        weights: fine-tuned weights, such as ``model.safetensors`` of a run; by default those that the ticket starts
            from.

    Raises:
        UnknownName: there is no such format.
        TicketError: the ticket belongs to another model, or the weights to another ticket.
        ExportError: the model cannot be exported or holds what is not finite, or the outputs differ.
        MissingExtra: the format needs a package that is not installed.
        StoreError: there is something at *out*, or it cannot be written.
    """
    check_out(to, Path(out))
    source = portable(ticket, model, Path(weights) if weights else None)
    return export_model(source, to, Path(out))


def check_out(to: str, out: Path) -> None:
    """Refuse a name before anything is loaded. Raises UnknownName, KnobError or StoreError."""
    suffix = known(to).suffix
    if not out.name.endswith(suffix):
        raise KnobError(
            f"output {out} does not end in {suffix}, as {to} needs; try {out.with_suffix(suffix)}"
        )
    refuse_existing(out)


def export_model(source: Portable, to: str, out: Path) -> Exported:
    """What `export_ticket` does once the model is loaded."""
    form = known(to)
    diverged = first_not_finite(source.tensors)
    if diverged is not None:
        raise ExportError(
            f"{diverged!r} holds NaN or infinity, so training has diverged; nothing was written"
        )

    with staged(out) as path:
        facts = form.write(source, path)

        difference = None
        if form.runs:
            difference = largest_difference(source, form.runner(path), f"the {to} export")

        written = [part for part in path.parent.rglob("*") if part.is_file()]
        size = sum(part.stat().st_size for part in written)

    return Exported(to, out, size, difference, facts)
