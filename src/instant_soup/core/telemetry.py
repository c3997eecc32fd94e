"""Telemetry: what libraries would report of who uses them is off, here and in what is started from here."""

from __future__ import annotations

import os
import sys
from typing import Any

OFF = {
    "DO_NOT_TRACK": "1",  # asked for by several, huggingface_hub and MLflow among them
    "GRADIO_ANALYTICS_ENABLED": "False",  # below Trackio
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # ONNX Runtime would keep an identifier and a queue of events in the home
    "ORT_DISABLE_TELEMETRY": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "WANDB_ERROR_REPORTING": "false",
}
"""Variables of the environment by which libraries are told so, before they are imported."""

_MODULES = ("openvino_telemetry",)
"""What has no such variable, and whose users do without where it is not installed."""


def switch_off() -> None:
    """Switch it off for this process and those that it starts, unless the environment says otherwise already.

    It has to be called before the libraries are imported.
    """
    for variable, value in OFF.items():
        os.environ.setdefault(variable, value)

    modules: dict[str, Any] = sys.modules
    for module in _MODULES:
        modules.setdefault(module, None)  # importing it now says that it is not there
