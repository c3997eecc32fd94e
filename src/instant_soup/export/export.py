"""Export: writes a ticket in its model for others to use, and reads it back before success is reported."""

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
from .formats import format_of
from .portable import Portable
from .source import portable
from .staging import refuse_existing, staged


@dataclass(frozen=True)
class Exported:
    """An export that was written and checked.

    Attributes:
        format: the name of the format.
        out: the file or folder.
        size: bytes, of all files that belong to it.
        difference: the largest between outputs of the file and of the model, over several batches; None where nothing
            runs the file itself.
        facts: what the format adds, such as the share of zeros in the file.
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
    """Check the format *to* and the path *out* before anything is loaded.

    Raises:
        UnknownName: there is no such format.
        KnobError: *out* does not end as the format needs.
        StoreError: there is something at *out*.
    """
    suffix = format_of(to).suffix
    if not out.name.endswith(suffix):
        raise KnobError(
            f"output {out} does not end in {suffix}, as {to} needs; try {out.with_suffix(suffix)}"
        )
    refuse_existing(out)


def export_model(source: Portable, to: str, out: Path) -> Exported:
    """Write *source* in the format *to* to *out*, and check it; as `export_ticket`, once the model is loaded."""
    target = format_of(to)
    diverged = first_not_finite(source.tensors)
    if diverged is not None:
        raise ExportError(
            f"{diverged!r} holds NaN or infinity, so training has diverged; nothing was written"
        )

    with staged(out) as path:
        facts = target.write(source, path)

        # before it moves to its place, so that nothing wrong is ever seen there
        difference = None
        if target.runs:
            runner = target.runner(path)
            difference = largest_difference(source, runner, f"the {to} export")

        # weights may lie in files beside it
        files = [file for file in path.parent.rglob("*") if file.is_file()]
        size = sum(file.stat().st_size for file in files)

    return Exported(to, out, size, difference, facts)
