"""ONNX: by torch's own exporter, for any runtime that reads it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..core.extras import extra
from .compare import Runner
from .errors import ExportError
from .portable import Portable
from .tracing import traced

# bytes from which on weights go into a file of their own; protocol buffers end at 2 GiB
_LARGE = 1 << 30


def write(portable: Portable, out: Path) -> dict[str, Any]:
    """Write an ONNX model with zeros in its initialisers, for any batch size and length.

    Above 1 GiB the weights go into a file beside it. Raises ExportError when torch cannot export the model, when a
    matrix of the ticket is not found again in the file, or when an extra is missing.
    """
    convert(portable, out)
    if len(matrices(out, portable)) < len(portable.ticket.mask):
        # what the exporter worked out beforehand swallowed a matrix
        convert(portable, out, fold=False)
    return {"sparsity": _sparsity(portable, out)}


def convert(portable: Portable, out: Path, *, fold: bool = True) -> None:
    """Write the model as it is, whatever its zeros.

    Args:
        fold: whether what is always the same is worked out beforehand, and stored in place of what it is made of.

    Raises ExportError when torch cannot export the model, or an extra is missing.
    """
    for module in ("onnxscript", "onnx", "onnxruntime"):
        extra(module, "onnx", "format 'onnx'")

    inputs = portable.inputs(2, min(8, portable.longest))
    axes = {}
    for name, part in inputs.items():
        axes[name] = {0: "batch", 1: "sequence"} if part.ndim == 2 else {0: "batch"}

    def trace() -> Any:
        return torch.onnx.export(
            portable.model,
            (),
            kwargs=inputs,
            dynamic_shapes=axes,
            output_names=["logits"],
            dynamo=True,
            optimize=fold,
            verbose=False,
        )

    program = traced(portable.model, trace, "ONNX")
    del program.model.graph.outputs[1:]  # what encoder-decoders give beside the logits
    large = sum(tensor.nbytes for tensor in portable.tensors.values()) > _LARGE
    program.save(out, external_data=large)


def runner(out: Path) -> Runner:
    """Run the model in *out* with ONNX Runtime, on as many threads as torch computes with."""
    runtime = extra("onnxruntime", "onnx", "format 'onnx'")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # errors; its warnings are coloured and meant for those who maintain it
    options.log_severity_level = 3
    session = runtime.InferenceSession(out, options, providers=["CPUExecutionProvider"])
    wanted = {part.name for part in session.get_inputs()}

    def run(inputs: Mapping[str, Tensor]) -> Tensor:
        arrays = {name: part.numpy() for name, part in inputs.items() if name in wanted}
        return torch.from_numpy(session.run(["logits"], arrays)[0])

    return run


def _sparsity(portable: Portable, out: Path) -> float:
    """Share of zeros in the file, over the ticket's scope. Raises ExportError where zeros were lost."""
    stored = matrices(out, portable)
    mask = portable.ticket.mask

    zeros = 0
    for name in mask:
        if name not in stored:
            raise ExportError(
                f"{name!r} is not among the weights of the ONNX file as it is in the model; nothing written"
            )
        if bool((stored[name].masked_fill(mask[name], 0) != 0).any()):
            raise ExportError(
                f"{name!r} has lost zeros on its way into the ONNX file; nothing was written"
            )
        zeros += int((stored[name] == 0).sum())
    return zeros / mask.scope.size


def matrices(out: Path, portable: Portable) -> dict[str, Tensor]:
    """The parameters in scope as the file has them, by their names in the model; some are transposed there.

    The exporter drops names of what it transposes, so they are found by what is in them.
    """
    onnx = extra("onnx", "onnx", "format 'onnx'")
    stored: dict[tuple[int, ...], list[Tensor]] = {}
    for part in onnx.load(out).graph.initializer:
        array = onnx.numpy_helper.to_array(part)
        stored.setdefault(tuple(part.dims), []).append(torch.from_numpy(array.copy()))

    matrices_of: dict[str, Tensor] = {}
    for name, shape in portable.ticket.mask.scope.shapes.items():
        turned = [part.t() for part in stored.get(shape[::-1], ()) if part.ndim == 2]
        for candidate in [*stored.get(shape, ()), *turned]:
            if torch.equal(candidate, portable.tensors[name]):
                matrices_of[name] = candidate
                break
    return matrices_of
