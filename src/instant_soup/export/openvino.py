"""OpenVINO: by its own converter, for Intel's runtime."""

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

    Raises ExportError when OpenVINO cannot convert the model, or the extra is missing.
    """
    convert(portable, out)
    return {}


def convert(portable: Portable, out: Path) -> None:
    """What `write` does."""
    openvino = extra("openvino", "openvino", "format 'openvino'")
    inputs = portable.inputs(2, min(8, portable.longest))
    auto = torch.export.Dim.AUTO
    axes = {}
    for name, part in inputs.items():
        axes[name] = {0: auto, 1: auto} if part.ndim == 2 else {0: auto}

    def trace() -> Any:
        program = torch.export.export(portable.model, (), inputs, dynamic_shapes=axes)
        return openvino.convert_model(program)

    # float16 is its default, and what is written has to do what the model does
    model = traced(portable.model, trace, "OpenVINO")
    openvino.save_model(model, out, compress_to_fp16=False)


def runner(out: Path) -> Runner:
    """Run the model in *out* on the CPU in float32, on as many threads as torch computes with."""
    openvino = extra("openvino", "openvino", "format 'openvino'")
    settings = {
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "INFERENCE_PRECISION_HINT": "f32",
    }
    compiled = openvino.Core().compile_model(out, "CPU", settings)
    wanted = {name for part in compiled.inputs for name in part.get_names()}

    def run(inputs: Mapping[str, Tensor]) -> Tensor:
        arrays = {name: part.numpy() for name, part in inputs.items() if name in wanted}
        return torch.from_numpy(compiled(arrays)[0].copy())

    return run
