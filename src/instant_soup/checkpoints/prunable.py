"""Prunable: which tensors of a checkpoint may be pruned, by names and shapes alone, without building the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatch

from ..core.errors import ScopeError
from ..core.names.matrices import VECTOR, left_out
from ..core.scope import Scope, warn_of_unusual
from ..core.stored import Stored
from .counts import FLOATS
from .quantised import refuse_codes


def prunable(
    parts: Mapping[str, Stored], include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> tuple[Scope, dict[str, str]]:
    """The scope, in the order of *parts*, and why each other tensor is not in it.

    In scope is every matrix of the blocks in float16, bfloat16, float32 or float64, fused projections and stacks of
    experts included, by the same rule as for models in memory (`core.names.matrices`). Warns of what is unusual in
    scope, unless *include* names it.

    Args:
        include: patterns of names; if there are any, they decide instead of the rule.
        exclude: patterns of names that are left out in any case.

    Raises:
        DataError: the checkpoint is quantised.
        ScopeError: nothing is left, or a pattern matches nothing.
    """
    refuse_codes(parts)
    for pattern in (*include, *exclude):
        if not any(fnmatch(name, pattern) for name in parts):
            raise ScopeError(
                f"no tensor's name matches {pattern!r}; the first are {', '.join([*parts][:3])}"
            )

    # who names tensors knows better than the rule
    rule = {}
    if not include:
        rule = left_out({name: part.shape for name, part in parts.items()})

    shapes: dict[str, tuple[int, ...]] = {}
    reasons: dict[str, str] = {}
    for name, part in parts.items():
        why = _why_not(name, part, include, exclude) or rule.get(name, "")
        if why:
            reasons[name] = why
        else:
            shapes[name] = part.shape

    if not shapes:
        raise ScopeError(
            f"none of {len(parts)} tensors is a matrix to prune; include some by their names"
        )
    if not include:
        warn_of_unusual(shapes)
    return Scope(shapes), reasons


def _why_not(
    name: str, part: Stored, include: Sequence[str], exclude: Sequence[str]
) -> str:
    """Why a tensor cannot be pruned, or is not asked for."""
    if len(part.shape) < 2:
        return VECTOR
    if part.dtype not in FLOATS:
        return "no floating-point numbers of 16 bits or more"
    if not part.numel:
        return "empty"
    if any(fnmatch(name, pattern) for pattern in exclude):
        return "excluded"
    if include and not any(fnmatch(name, pattern) for pattern in include):
        return "not included"
    return ""
