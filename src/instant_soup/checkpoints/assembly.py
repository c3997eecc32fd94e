"""Assembly: of which tensors of a checkpoint each parameter of a model is made, and where in it they lie.

Files of a mixture of experts hold a tensor for each matrix of each expert. transformers stacks those of all experts,
and joins two that are given the same inputs; its table of conversions says which. The same table is read here, so that
parts can be put together one at a time, and taken apart again to what the files had.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import EllipsisType
from typing import Any

import torch
from torch import Tensor, nn
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import (
    Concatenate,
    MergeModulelist,
    WeightConverter,
    WeightRenaming,
    dot_natural_key,
    rename_source_key,
)

from ..core.errors import DataError
from ..core.stored import Stored
from .checkpoint import Checkpoint

Place = tuple[int | slice | EllipsisType, ...]
"""What of a parameter a part is, as torch indexes it."""
_WHOLE: Place = (...,)
_INSTEAD = (
    "draw a ticket in memory instead, with a recipe of kind 'language', or prune by magnitude across 'model' or "
    "'layer'"
)


@dataclass(frozen=True)
class Assembly:
    """How a parameter is made of tensors of a checkpoint.

    Attributes:
        shape: of the parameter.
        dtype: that all parts have.
        places: where each part lies in it, by the part's name. Together they fill it, each place once.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    places: Mapping[str, Place]

    def put_together(
        self, tensors: Mapping[str, Tensor], dtype: torch.dtype | None = None
    ) -> Tensor:
        """The parameter, of parts out of *tensors*, in *dtype*; in that of the parts if None.

        It lies in memory of torch's own. What is read from a file may lie at any address, and products of matrices
        are rounded otherwise there.
        """
        parameter = torch.empty(self.shape, dtype=dtype or self.dtype)
        # one part is in memory at a time
        for name, place in self.places.items():
            parameter[place].copy_(tensors[name])
        return parameter

    def taken_apart(self, parameter: Tensor) -> dict[str, Tensor]:
        """The parts of *parameter* by their names, in memory of their own where there are several."""
        parts = {}
        for name, place in self.places.items():
            part = parameter[place].contiguous()
            # files cannot hold two views of one memory
            parts[name] = part if place == _WHOLE else part.clone()
        return parts


@dataclass(frozen=True)
class _Sources:
    """The tensors that a parameter is made of.

    Attributes:
        converter: what transformers makes it of them with; None where it only renames.
        names: of the tensors, by the converter's pattern that they match, in the order of experts.
    """

    converter: WeightConverter | None
    names: dict[str | None, list[str]]

    @property
    def first(self) -> str:
        """The name of one of them."""
        return next(iter(self.names.values()))[0]

    def in_order(self) -> list[list[str]]:
        """The names of each pattern, in the order in which the converter takes its patterns."""
        patterns = self.converter.source_patterns if self.converter else [None]
        return [self.names[pattern] for pattern in patterns if pattern in self.names]


@dataclass(frozen=True)
class _Layout:
    """How a converter lays tensors into a parameter.

    Attributes:
        stacked: whether those of one pattern are members of a stack.
        along: the dimension of the parameter along which tensors are joined; None where they are not.
    """

    stacked: bool
    along: int | None


class Assemblies:
    """How the parameters of a model are made of the tensors of a checkpoint, by transformers' table."""

    def __init__(self, model: nn.Module, checkpoint: Checkpoint) -> None:
        self._model = model
        self._parts = checkpoint.parts
        self._sources = _sources(model, checkpoint)

    def of(self, name: str) -> Assembly:
        """How the parameter *name* is made. Raises DataError where it is not, or cannot be taken apart again."""
        sources = self._sources.get(name)
        if sources is None:
            raise DataError(
                f"the checkpoint has no {name!r}, which the model is built of: its tensors are put together "
                f"otherwise, or one is missing; {_INSTEAD}"
            )

        shape = tuple(self._model.get_parameter(name).shape)
        places = dict.fromkeys(sources.names.get(None, ()), _WHOLE)
        if sources.converter is not None:
            layout = _layout(name, sources.converter, sources.first)
            places = _places(sources, layout, shape, self._parts)

        self._check(name, shape, places)
        return Assembly(shape, self._parts[sources.first].dtype, places)

    def _check(
        self, name: str, shape: tuple[int, ...], places: Mapping[str, Place]
    ) -> None:
        """Raise DataError unless parts of one dtype fill the parameter *name*."""
        parts = {part: self._parts[part] for part in places}
        first = next(iter(parts))
        if not _fill(shape, places, parts):
            raise DataError(
                f"{name!r} has shape {shape}, and the checkpoint has for it {len(parts)} tensors such as {first!r}, "
                f"of shape {parts[first].shape}, which do not fill it exactly: is one missing or too many, or does "
                f"config.json belong to another model?"
            )

        dtypes = sorted({str(part.dtype) for part in parts.values()})
        if len(dtypes) > 1:
            raise DataError(
                f"{name!r} is put together of tensors such as {first!r}, which have several dtypes, "
                f"{', '.join(dtypes)}; save the model in one of them first"
            )


def _sources(model: Any, checkpoint: Checkpoint) -> dict[str, _Sources]:
    """What each parameter is made of, by its name in the model."""
    table: Sequence[Any] = get_model_conversion_mapping(model)
    renamings = [entry for entry in table if isinstance(entry, WeightRenaming)]
    converters = [entry for entry in table if isinstance(entry, WeightConverter)]
    by_pattern: dict[str | None, WeightConverter] = {}
    for converter in converters:
        by_pattern |= dict.fromkeys(converter.source_patterns, converter)

    prefix = model.base_model_prefix
    state = model.state_dict()
    sources: dict[str, _Sources] = {}
    # in the order in which transformers loads them, which is that of experts
    for name in sorted(checkpoint, key=dot_natural_key):
        parameter, pattern = rename_source_key(name, renamings, converters, prefix, state)
        if parameter not in sources:
            sources[parameter] = _Sources(by_pattern.get(pattern), {})
        sources[parameter].names.setdefault(pattern, []).append(name)
    return sources


def _layout(name: str, converter: WeightConverter, first: str) -> _Layout:
    """How *converter* makes the parameter *name* of tensors such as *first*.

    Raises DataError where it does anything but stack and join, for then parts have no places of their own.
    """
    steps: list[Any] = [*converter.operations]
    stacked = isinstance(steps[0], MergeModulelist) and steps[0].dim == 0
    if stacked:
        del steps[0]

    along = None
    # members of a stack cannot be told apart any more once stacks are joined along their first dimension
    first_dim = 1 if stacked else 0
    if steps and isinstance(steps[0], Concatenate) and steps[0].dim >= first_dim:
        along = steps.pop(0).dim

    if steps or len(converter.target_patterns) > 1:
        operations = ", then ".join(type(step).__name__ for step in converter.operations)
        raise DataError(
            f"{name!r} is made of tensors such as {first!r} by {operations}, and what is kept of it cannot be written "
            f"back under their names; {_INSTEAD}"
        )
    return _Layout(stacked, along)


def _places(
    sources: _Sources,
    layout: _Layout,
    shape: tuple[int, ...],
    parts: Mapping[str, Stored],
) -> dict[str, Place]:
    """Where each tensor of *sources* lies in a parameter of this *shape*, if it is as large as it should be."""
    places: dict[str, Place] = {}
    end = 0
    for names in sources.in_order():
        for number, name in enumerate(names):
            place: list[int | slice] = [slice(None)] * len(shape)
            if layout.along is not None:
                length = _length(parts[name].shape, layout)
                place[layout.along] = slice(end, end + length)
                # members of a stack lie beside each other, and what is joined to them comes after all of them
                is_last = number == len(names) - 1
                if is_last or not layout.stacked:
                    end += length

            if layout.stacked:
                place[0] = number
            places[name] = tuple(place)
    return places


def _length(shape: tuple[int, ...], layout: _Layout) -> int:
    """How long a tensor of this *shape* is where it is joined to others; 0 if it has no such dimension."""
    # a stack has one dimension more than its members
    dim = (layout.along or 0) - layout.stacked
    return shape[dim] if dim < len(shape) else 0


def _fill(
    shape: tuple[int, ...], places: Mapping[str, Place], parts: Mapping[str, Stored]
) -> bool:
    """Whether *parts*, at these *places*, fill a parameter of this *shape*."""
    # nothing is allocated for a tensor of this kind
    outline = torch.empty(shape, device="meta")
    try:
        fit = all(
            outline[places[name]].shape == part.shape for name, part in parts.items()
        )
    except IndexError:
        # more members than the stack has
        return False
    return fit and sum(part.numel for part in parts.values()) == outline.numel()
