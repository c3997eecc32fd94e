"""Quantised: checkpoints whose weights are codes. They have no magnitudes that could be ranked, and are refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch

from ..core.errors import DataError
from ..core.stored import Stored
from ..models.checks import quantisation

FLOAT8 = (torch.float8_e4m3fn, torch.float8_e5m2)
SIGNS = frozenset(
    {
        "SCB", "absmax", "g_idx", "input_scale", "qscales", "qweight", "qzeros", "quant_map", "scale_inv", "scales",
        "weight_format", "weight_packed", "weight_scale", "weight_scale_2", "weight_scale_inv", "weight_zero_point",
    }
)  # fmt: skip
"""What stands beside codes: the last steps of the names that quantisers give."""
ADVICE = (
    "quantise after pruning: give the checkpoint in 16 or 32 bits that it was made from"
)


def refuse_quantised(path: Path, parts: Mapping[str, Stored]) -> None:
    """Raise DataError where a checkpoint's configuration or its tensors say that it is quantised.

    Args:
        path: of the checkpoint, a folder or a file.
        parts: its tensors.
    """
    method = _stated(path if path.is_dir() else path.parent)
    if method:
        raise DataError(
            f"{path} is quantised ({method}, says its config.json), and codes have no magnitude; {ADVICE}"
        )
    refuse_codes(parts)


def refuse_codes(parts: Mapping[str, Stored]) -> None:
    """Raise DataError where some of *parts* are codes, or what belongs to codes."""
    for name, part in parts.items():
        if part.dtype in FLOAT8 and len(part.shape) > 1:
            raise DataError(
                f"{name!r} holds numbers of 8 bits, which are codes beside a scale; {ADVICE}"
            )
        if name.rpartition(".")[2] in SIGNS:
            raise DataError(
                f"{name!r} says that the weights beside it are quantised; {ADVICE}"
            )


def _stated(folder: Path) -> str:
    """How the config.json of *folder* says that its weights are quantised, if it does."""
    path = folder / "config.json"
    # reading a pipe would wait for ever
    if not path.is_file():
        return ""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return ""
    return quantisation(config)
