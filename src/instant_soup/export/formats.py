"""Formats: the formats that a ticket can be exported to, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from ..core.errors import unknown
from ..core.table import Table
from .compare import Runner
from .portable import Portable


@dataclass(frozen=True)
class Format:
    """A format of exports.

    Attributes:
        summary: what it is, in a few words.
        module: the module of this package that writes it; imported when it is used.
        suffix: what the name of the file must end in; anything if empty.
        runs: whether something runs the file itself, so that its outputs can be compared.
    """

    summary: str
    module: str
    suffix: str = ""
    runs: bool = True

    def write(self, portable: Portable, out: Path) -> Mapping[str, Any]:
        """Write *portable* to *out*, and return facts about it for people."""
        facts: Mapping[str, Any] = self._implementation.write(portable, out)
        return facts

    def runner(self, out: Path) -> Runner:
        """The function that runs the file at *out*."""
        run: Runner = self._implementation.runner(out)
        return run

    @property
    def _implementation(self) -> Any:
        # imported late: some formats bring packages that take seconds, or that are not installed
        return import_module(f".{self.module}", __package__)


FORMATS: Mapping[str, Format] = Table(
    "format",
    {
        "hf": Format("a Hugging Face folder with zeros in place", "hf"),
        "bitmask": Format(
            "safetensors of bits and survivors, the smallest", "masked", runs=False
        ),
        "onnx": Format("ONNX, outputs compared in ONNX Runtime", "onnx"),
        "csr": Format(
            "compressed sparse rows, and layers that multiply by them on a CPU", "csr"
        ),
        "openvino": Format(
            "OpenVINO's .xml and .bin, outputs compared in its runtime",
            "openvino",
            suffix=".xml",
        ),
    },
)


def format_of(name: str) -> Format:
    """The format called *name*. Raises UnknownName where there is none."""
    if name not in FORMATS:
        raise unknown("format", name, FORMATS)
    return FORMATS[name]
