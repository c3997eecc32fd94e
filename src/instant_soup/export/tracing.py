"""Tracing: sets a model so that torch can trace it as a graph, and says in plain words where that fails."""

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
_NO_REASON = re.compile(
    r"(Failed to|This is step|# |Next steps|<class |Refer to|Original traceback|While executing)"
)


def traced(model: nn.Module, trace: Callable[[], Graph], to: str) -> Graph:
    """The graph that *trace* makes, called while *model* is set so that it can be traced.

    Decoders give no cache of keys and values meanwhile, because no graph has a place for it. Where fused attention
    cannot be traced, attention is computed in single steps.

    Args:
        to: what errors call the format.

    Raises:
        ExportError: the model cannot be traced in either way.
    """
    reasons: list[Exception] = []
    for attention in (nullcontext, _eager_attention):
        with quiet(), _without_cache(model), attention(model):
            try:
                return trace()
            except SoupError:
                raise
            # exporters of other libraries raise many kinds
            except Exception as reason:
                reasons.append(reason)

    # the first reason: the second attempt is a fallback, whose failure says less
    raise ExportError(
        f"could not export {type(model).__name__} to {to}: {in_a_line(reasons[0])}; take hf, bitmask or csr"
    ) from reasons[0]


def in_a_line(reason: BaseException) -> str:
    """The innermost cause of *reason* in one line, without colours and tracebacks."""
    while reason.__cause__ is not None:
        reason = reason.__cause__

    lines = [_COLOURS.sub("", line).strip() for line in str(reason).splitlines()]
    reasons = [line for line in lines if line and not _NO_REASON.match(line)]
    if not reasons:
        return type(reason).__name__

    first = reasons[0]
    # a heading says nothing without the line below it
    if first.endswith(":"):
        first = " ".join(reasons[:2])
    return shorten(first, 300, placeholder=" ...")


@contextmanager
def quiet() -> Iterator[None]:
    """Silence in the block what exporters log and warn of to those who maintain them."""
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
    """Have no module of *model* return its keys and values in the block."""
    # several modules may share a configuration, whose setting is kept once
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
        for config, use_cache in before.values():
            config.use_cache = use_cache


@contextmanager
def _eager_attention(model: nn.Module) -> Iterator[None]:
    """Have *model* compute its attention in single steps in the block."""
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
