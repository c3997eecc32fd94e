"""Tracing: how a model has to be set for torch to write it down as a graph, and plain words where that fails."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from textwrap import shorten
from typing import Any, TypeVar

from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from ..core.errors import SoupError
from .errors import ExportError

Graph = TypeVar("Graph")

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_EMPTY = re.compile(
    r"(Failed to|This is step|# |Next steps|<class |Refer to|Original traceback|While executing)"
)


def traced(model: nn.Module, trace: Callable[[], Graph], to: str) -> Graph:
    """What *trace* makes of *model* while the model can be traced.

    Decoders give no cache of keys and values meanwhile, which no graph has a place for. Where attention in one piece
    cannot be traced, it is traced step by step.

    Raises ExportError where that fails too, in words that name *to*.
    """
    reasons: list[Exception] = []
    for attention in (nullcontext, _step_by_step):
        with quiet(), _without_cache(model), attention(model):
            try:
                return trace()
            except SoupError:
                raise
            except Exception as reason:  # whatever exporters of other libraries raise
                reasons.append(reason)

    raise ExportError(
        f"could not export {type(model).__name__} to {to}: {in_a_line(reasons[0])}; take hf, bitmask or csr"
    ) from reasons[0]


def in_a_line(reason: BaseException) -> str:
    """What lies at the bottom of *reason*, without colours and tracebacks."""
    while reason.__cause__ is not None:
        reason = reason.__cause__
    lines = [_COLOURS.sub("", line).strip() for line in str(reason).splitlines()]
    telling = [line for line in lines if line and not _EMPTY.match(line)]
    if not telling:
        return type(reason).__name__
    first = " ".join(telling[:2]) if telling[0].endswith(":") else telling[0]
    return shorten(first, 300, placeholder=" ...")


@contextmanager
def quiet() -> Iterator[None]:
    """Without what exporters say to those who maintain them."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


@contextmanager
def _without_cache(model: nn.Module) -> Iterator[None]:
    """Have no part of *model* give its keys and values."""
    # a configuration may be that of several parts, and is to be put back once
    before: dict[int, tuple[PreTrainedConfig, Any]] = {}
    for module in model.modules():
        config = _config(module)
        if config is not None and hasattr(config, "use_cache"):
            before.setdefault(id(config), (config, config.use_cache))
    for config, _ in before.values():
        config.use_cache = False

    try:
        yield
    finally:
        for config, used in before.values():
            config.use_cache = used


@contextmanager
def _step_by_step(model: nn.Module) -> Iterator[None]:
    """Have *model* compute its attention in single steps."""
    if not isinstance(model, PreTrainedModel):
        yield
        return

    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def _config(module: nn.Module) -> PreTrainedConfig | None:
    config = getattr(module, "config", None)
    return config if isinstance(config, PreTrainedConfig) else None
