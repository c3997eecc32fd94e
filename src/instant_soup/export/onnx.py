"""ONNX: writes a model by torch's own exporter, for any runtime that reads ONNX."""

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

    Above 1 GiB the weights go into a file beside it.

    Raises:
        ExportError: torch cannot export the model, or a matrix of the ticket is not found again in the file.
        MissingExtra: a package is not installed.
    """
    convert(portable, out)
    if len(matrices(out, portable)) < len(portable.ticket.mask):
        # the exporter folded a matrix into another constant
        convert(portable, out, fold=False)
    return {"sparsity": _sparsity(portable, out)}


def convert(portable: Portable, out: Path, *, fold: bool = True) -> None:
    """Write the model as it is, whatever its zeros.

    Args:
        fold: whether constants are computed beforehand, and stored in place of the tensors that they are made of.

    Raises:
        ExportError: torch cannot export the model.
        MissingExtra: a package is not installed.
    """
    for module in ("onnxscript", "onnx", "onnxruntime"):
        extra(module, "onnx", "format 'onnx'")

    # two texts: torch takes a dimension of 1 for a constant
    inputs = portable.inputs(2, min(8, portable.longest))
    axes = {}
    for name, tensor in inputs.items():
        axes[name] = {0: "batch", 1: "sequence"} if tensor.ndim == 2 else {0: "batch"}

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
    # encoder-decoders give more than the logits
    del program.model.graph.outputs[1:]
    size = sum(tensor.nbytes for tensor in portable.tensors.values())
    program.save(out, external_data=size > _LARGE)


def runner(out: Path) -> Runner:
    """The function that runs the model in *out* with ONNX Runtime, on as many threads as torch computes with."""
    runtime = extra("onnxruntime", "onnx", "format 'onnx'")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # errors alone: its warnings are meant for those who maintain it
    options.log_severity_level = 3
    session = runtime.InferenceSession(out, options, providers=["CPUExecutionProvider"])
    # the exporter drops inputs that change nothing, and the runtime refuses them
    names = {node.name for node in session.get_inputs()}

    def run(inputs: Mapping[str, Tensor]) -> Tensor:
        arrays = {}
        for name, tensor in inputs.items():
            if name in names:
                arrays[name] = tensor.numpy()
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
    """The parameters in scope as the file has them, in the shape of the model, by their names in the model."""
    onnx = extra("onnx", "onnx", "format 'onnx'")
    stored: dict[tuple[int, ...], list[Tensor]] = {}
    for initializer in onnx.load(out).graph.initializer:
        array = onnx.numpy_helper.to_array(initializer)
        # a copy, because the array cannot be written to
        tensor = torch.from_numpy(array.copy())
        stored.setdefault(tuple(initializer.dims), []).append(tensor)

    # by their values: the exporter drops the names of tensors that it transposes
    by_name: dict[str, Tensor] = {}
    for name, shape in portable.ticket.mask.scope.shapes.items():
        candidates = list(stored.get(shape, ()))
        for tensor in stored.get(shape[::-1], ()):
            if tensor.ndim == 2:
                candidates.append(tensor.t())

        for candidate in candidates:
            if torch.equal(candidate, portable.tensors[name]):
                by_name[name] = candidate
                break
    return by_name
