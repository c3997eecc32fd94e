"""ONNX: by torch's own exporter, for any runtime that reads it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..core.extras import extra
from .compare import Runner
from .errors import ExportError
from .portable import Portable

_LARGE = 1 << 30  # bytes from which on weights go into a file of their own; protocol buffers end at 2 GiB


def write(portable: Portable, out: Path) -> dict[str, Any]:
    """Write an ONNX model with zeros in its initialisers, for any batch size and length.

    Above 1 GiB the weights go into a file beside it. Raises ExportError when torch cannot export the model, when a
    matrix of the ticket is not found again in the file, or when an extra is missing.
    """
    for module in ("onnxscript", "onnx", "onnxruntime"):
        extra(module, "onnx", "format 'onnx'")
    large = sum(tensor.nbytes for tensor in portable.tensors.values()) > _LARGE
    inputs = portable.inputs(2, min(8, portable.longest))
    axes = {"pixel_values": {0: "batch"}}
    with _quiet():
        try:
            program = torch.onnx.export(
                portable.model,
                (),
                kwargs=inputs,
                dynamic_shapes={name: axes.get(name, {0: "batch", 1: "sequence"}) for name in inputs},
                output_names=["logits"],
                dynamo=True,
                verbose=False,
            )
        except (torch.onnx.errors.OnnxExporterError, RuntimeError, TypeError) as reason:
            first = str(reason).strip().splitlines()[0]
            raise ExportError(f"torch could not export {type(portable.model).__name__} to ONNX: {first}") from reason
    assert program is not None  # noqa: S101 - only the old exporter gives none
    program.save(out, external_data=large)
    return {"sparsity": _sparsity(portable, out)}


def runner(out: Path) -> Runner:
    """Run the model in *out* with ONNX Runtime, on as many threads as torch computes with."""
    runtime = extra("onnxruntime", "onnx", "format 'onnx'")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = runtime.InferenceSession(out, options, providers=["CPUExecutionProvider"])

    def run(inputs: Mapping[str, Tensor]) -> Tensor:
        return torch.from_numpy(session.run(["logits"], {name: part.numpy() for name, part in inputs.items()})[0])

    return run


def _sparsity(portable: Portable, out: Path) -> float:
    """Share of zeros in the file, over the ticket's scope. Raises ExportError where zeros were lost."""
    found, mask = matrices(out, portable), portable.ticket.mask
    zeros = 0
    for name in mask:
        if name not in found:
            raise ExportError(
                f"{name!r} is not among the weights of the ONNX file as it is in the model; nothing written"
            )
        if bool((found[name].masked_fill(mask[name], 0) != 0).any()):
            raise ExportError(f"{name!r} has lost zeros on its way into the ONNX file; nothing was written")
        zeros += int((found[name] == 0).sum())
    return zeros / mask.scope.size


def matrices(out: Path, portable: Portable) -> dict[str, Tensor]:
    """The parameters in scope as the file has them, by their names in the model; some are transposed there.

    The exporter drops names of what it transposes, so they are found by what is in them.
    """
    onnx = extra("onnx", "onnx", "format 'onnx'")
    stored: dict[tuple[int, ...], list[Tensor]] = {}
    for part in onnx.load(out).graph.initializer:
        stored.setdefault(tuple(part.dims), []).append(torch.from_numpy(onnx.numpy_helper.to_array(part).copy()))
    found: dict[str, Tensor] = {}
    for name, shape in portable.ticket.mask.scope.shapes.items():
        whole = portable.tensors[name]
        candidates = [*stored.get(shape, ()), *(part.t() for part in stored.get(shape[::-1], ()) if part.ndim == 2)]
        if (part := next((part for part in candidates if torch.equal(part, whole)), None)) is not None:
            found[name] = part
    return found


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says to those who maintain it."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
