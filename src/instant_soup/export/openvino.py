"""OpenVINO: by its own converter, for Intel's runtime."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..core.extras import extra
from .compare import Runner
from .errors import ExportError
from .portable import Portable


def write(portable: Portable, out: Path) -> dict[str, Any]:
    """Write *out*, which ends in .xml, and the weights beside it, in .bin, as float32. Zeros stay zeros.

    Raises ExportError when OpenVINO cannot convert the model, or the extra is missing.
    """
    openvino = extra("openvino", "openvino", "format 'openvino'")
    inputs = portable.inputs(2, min(8, portable.longest))
    axes = {
        name: {0: torch.export.Dim.AUTO, **({1: torch.export.Dim.AUTO} if part.ndim == 2 else {})}
        for name, part in inputs.items()
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # both libraries speak to their own maintainers there
        try:
            program = torch.export.export(portable.model, (), inputs, dynamic_shapes=axes)
            model = openvino.convert_model(program)
        except Exception as reason:  # whatever two converters raise
            raise ExportError(f"OpenVINO could not convert {type(portable.model).__name__}: {reason}") from reason
    openvino.save_model(model, out, compress_to_fp16=False)
    return {}


def runner(out: Path) -> Runner:
    """Run the model in *out* on the CPU in float32, on as many threads as torch computes with."""
    openvino = extra("openvino", "openvino", "format 'openvino'")
    settings = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(out, "CPU", settings)

    def run(inputs: Mapping[str, Tensor]) -> Tensor:
        return torch.from_numpy(compiled({name: part.numpy() for name, part in inputs.items()})[0].copy())

    return run
