"""Prunable: which tensors of a checkpoint may be pruned, by names and shapes alone, without building the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatch

from ..core.errors import ScopeError
from ..core.names.heads import HEADS
from ..core.scope import Scope
from ..core.stored import Stored
from .counts import FLOATS

DENSE = {
    "embedding": ("*embed*", "*wte*", "*wpe*", "*position*", "shared.weight", "*relative_attention_bias*"),
    "head": HEADS,
    "norm": ("*norm*", "*ln_*", "*layernorm*"),
}
"""What is left out, by the patterns of its names."""


def prunable(
    parts: Mapping[str, Stored], include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> tuple[Scope, dict[str, str]]:
    """The scope, in the order of *parts*, and why each other tensor is not in it.

    In scope is every tensor of two dimensions or more in float16, bfloat16, float32 or float64, so also fused
    projections and stacks of experts, but for embeddings, heads and norms, which are told by their names (`DENSE`).

    Args:
        include: patterns of names; if there are any, they decide instead of `DENSE`.
        exclude: patterns of names that are left out in any case.

    Raises:
        ScopeError: nothing is left, or a pattern matches nothing.
    """
    for pattern in (*include, *exclude):
        if not any(fnmatch(name, pattern) for name in parts):
            raise ScopeError(f"no tensor's name matches {pattern!r}; the first are {', '.join([*parts][:3])}")
    reasons = {name: _why_not(name, part, include, exclude) for name, part in parts.items()}
    shapes = {name: parts[name].shape for name, why in reasons.items() if not why}
    if not shapes:
        raise ScopeError(f"none of {len(parts)} tensors is a matrix to prune; include some by their names")
    return Scope(shapes), {name: why for name, why in reasons.items() if why}


def _why_not(name: str, part: Stored, include: Sequence[str], exclude: Sequence[str]) -> str:
    if len(part.shape) < 2:
        return "no matrix"
    if part.dtype not in FLOATS:
        return "no floating-point numbers of 16 bits or more"
    if not part.numel:
        return "empty"
    if any(fnmatch(name, pattern) for pattern in exclude):
        return "excluded"
    if include:
        return "" if any(fnmatch(name, pattern) for pattern in include) else "not included"
    return next((why for why, patterns in DENSE.items() if any(fnmatch(name.lower(), p) for p in patterns)), "")
