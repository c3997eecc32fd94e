"""OpenVINO: writes a model by OpenVINO's own converter, for Intel's runtime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..core.extras import extra
from .compare import Runner
from .portable import Portable
from .tracing import traced


def write(portable: Portable, out: Path) -> dict[str, Any]:
    """Write *out*, which ends in .xml, and the weights beside it, in .bin, as float32. Zeros stay zeros.

    Raises:
        ExportError: OpenVINO cannot convert the model.
        MissingExtra: OpenVINO is not installed.
    """
    convert(portable, out)
    return {}


def convert(portable: Portable, out: Path) -> None:
    """Write the model as it is, whatever its zeros; as `write`."""
    openvino = extra("openvino", "openvino", "format 'openvino'")
    # two texts: torch takes a dimension of 1 for a constant
    inputs = portable.inputs(2, min(8, portable.longest))
    auto = torch.export.Dim.AUTO
    axes = {}
    for name, tensor in inputs.items():
        axes[name] = {0: auto, 1: auto} if tensor.ndim == 2 else {0: auto}

    def trace() -> Any:
        program = torch.export.export(portable.model, (), inputs, dynamic_shapes=axes)
        return openvino.convert_model(program)

    model = traced(portable.model, trace, "OpenVINO")
    # float16 is the default, and its outputs would differ from the model's
    openvino.save_model(model, out, compress_to_fp16=False)


def runner(out: Path) -> Runner:
    """The function that runs the model in *out* on the CPU in float32, on as many threads as torch computes with."""
    openvino = extra("openvino", "openvino", "format 'openvino'")
    settings = {
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "INFERENCE_PRECISION_HINT": "f32",
    }
    compiled = openvino.Core().compile_model(out, "CPU", settings)
    names: set[str] = set()
    for node in compiled.inputs:
        names |= node.get_names()

    def run(inputs: Mapping[str, Tensor]) -> Tensor:
        arrays = {}
        for name, tensor in inputs.items():
            # the converter drops inputs that change nothing, and the runtime refuses them
            if name in names:
                arrays[name] = tensor.numpy()
        # a copy, because the runtime uses its memory again
        return torch.from_numpy(compiled(arrays)[0].copy())

    return run
