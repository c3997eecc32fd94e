"""Layouts: tells weights from masks among a file's tensors, by their names and by their values.

The layouts: dense weights with zeros; the ``weight_orig`` and ``weight_mask`` of torch's pruning, and ``weight_mask``
beside ``weight`` or alone; masks by name, as open_lth writes them, and the ``mask_NAME`` buffers of its models; and
the ``sparse-bitmask`` of SparseML, llm-compressor and compressed-tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import prod

import numpy as np
import torch
from torch import Tensor

from ..core.errors import DataError
from ..core.weights import Lazy, Weights, scatter

# ends of names in sparse-bitmask
_COMPRESSED = ".compressed"
_BITMASK = ".bitmask"
_SHAPE = ".shape"
_ROWS = ".row_offsets"
# ends of names that torch's pruning makes
_ORIGINAL = "_orig"
_MASK = "_mask"
_BUFFER = "mask_"  # the beginning of a mask's name in open_lth


@dataclass(frozen=True)
class Foreign:
    """A sparse model of another tool.

    Attributes:
        kind: what wrote it, in words.
        weights: dense tensors, made when asked for.
        masks: bool or 0 and 1, by parameter; a parameter without a mask is pruned where its weights are zero.
    """

    kind: str
    weights: Weights
    masks: Weights = field(default_factory=dict)


def interpret(tensors: Weights) -> Foreign:
    """Tell weights from masks among *tensors*. Raises DataError where a mask holds anything but 0 and 1."""
    # names that say most come first; what is told by values alone comes last
    for layout in (
        _torch_pruning,
        _sparse_bitmask,
        _open_lth,
        _masks_beside,
        _masks_alone,
    ):
        model = layout(tensors)
        if model is not None:
            return model
    return Foreign("dense checkpoint", tensors)


def interpret_pairs(weights: Weights, masks: Weights) -> Foreign:
    """The model of a dictionary of *weights* and one of *masks*. Raises DataError as `interpret` does."""
    # the same parameter may be called NAME in one and NAME_mask in the other
    mask_names = {name.removesuffix(_MASK): name for name in masks}

    def mask_of(name: str) -> Tensor:
        return _as_bool(mask_names[name], masks[mask_names[name]])

    checked = Lazy(mask_names, mask_of)
    if not weights:
        return Foreign("masks by name", {}, checked)
    return Foreign("weights with masks beside them", interpret(weights).weights, checked)


def _torch_pruning(tensors: Weights) -> Foreign | None:
    """``NAME_orig`` is the weight, and ``NAME_mask`` says where it is zero."""
    names = _stems(tensors, _ORIGINAL, _MASK)
    if not names:
        return None

    masks = Lazy(names, lambda name: _as_bool(name + _MASK, tensors[name + _MASK]))

    def masked(name: str) -> Tensor:
        weight = tensors[name + _ORIGINAL]
        mask = masks[name]
        # a smaller mask would be stretched over the weight
        if weight.shape != mask.shape:
            raise DataError(
                f"the mask {name + _MASK!r} is of shape {tuple(mask.shape)} and its weight of {tuple(weight.shape)}; "
                f"save both from one model"
            )
        return weight.masked_fill(~mask, 0)

    others = _without(tensors, names, _ORIGINAL, _MASK)
    weights = _merge(names, masked, others)
    return Foreign("state dict with weight_orig and weight_mask", weights, masks)


def _sparse_bitmask(tensors: Weights) -> Foreign | None:
    """Non-zero values in order, and a bit for each weight."""
    stems = _stems(tensors, _COMPRESSED, _BITMASK, _SHAPE)
    if not stems:
        return None

    # some writers name the layer, some its weight
    names = {}
    for stem in stems:
        names[stem if stem.endswith(".weight") else f"{stem}.weight"] = stem

    def dense(name: str) -> Tensor:
        return _decompress(tensors, names[name])

    others = _without(tensors, stems, _COMPRESSED, _BITMASK, _SHAPE, _ROWS)
    return Foreign("sparse-bitmask", _merge(names, dense, others))


def _open_lth(tensors: Weights) -> Foreign | None:
    """A model whose buffers ``mask_a___b`` are the masks of ``a.b``."""
    buffers = {}
    for buffer in tensors:
        if buffer.startswith(_BUFFER) and _is_mask(tensors[buffer]):
            # torch allows no dot in a buffer's name
            buffers[buffer.removeprefix(_BUFFER).replace("___", ".")] = buffer
    if not buffers:
        return None

    masks = Lazy(buffers, lambda name: tensors[buffers[name]] != 0)
    weights = _without(tensors, buffers.values(), "")
    return Foreign("open_lth model with masks", weights, masks)


def _masks_beside(tensors: Weights) -> Foreign | None:
    """``NAME_mask`` without ``NAME_orig``: of weights that are there too, or that are not."""
    names = []
    for name in tensors:
        stem = name.removesuffix(_MASK)
        if name != stem and (_has_weight(stem, tensors) or _is_mask(tensors[name])):
            names.append(stem)
    if not names:
        return None

    masks = Lazy(names, lambda name: _as_bool(name + _MASK, tensors[name + _MASK]))
    weights = _without(tensors, names, _MASK)
    kind = "weights with weight_mask" if len(weights) else "masks by name"
    return Foreign(kind, weights, masks)


def _masks_alone(tensors: Weights) -> Foreign | None:
    """Nothing but 0 and 1, whatever the dtype."""
    if not tensors or not all(_is_mask(tensors[name]) for name in tensors):
        return None
    masks = Lazy(tensors, lambda name: tensors[name] != 0)
    return Foreign("masks by name, as open_lth writes them", {}, masks)


def _stems(tensors: Weights, *ends: str) -> list[str]:
    """The names to which there is a tensor with each of the *ends*."""
    stems = [name.removesuffix(ends[0]) for name in tensors if name.endswith(ends[0])]
    return [stem for stem in stems if all(stem + end in tensors for end in ends)]


def _without(tensors: Weights, stems: Iterable[str], *ends: str) -> Lazy:
    """*tensors* without those whose names are one of *stems* with one of *ends*."""
    left_out = {stem + end for stem in stems for end in ends}
    names = [name for name in tensors if name not in left_out]
    return Lazy(names, lambda name: tensors[name])


def _merge(names: Iterable[str], make: Callable[[str], Tensor], others: Lazy) -> Lazy:
    """The tensors that *make* makes of *names*, and the *others*; each made when it is asked for."""
    own = dict.fromkeys(names)

    def tensor(name: str) -> Tensor:
        return make(name) if name in own else others[name]

    return Lazy([*own, *others], tensor)


def _has_weight(stem: str, tensors: Weights) -> bool:
    """Whether ``NAME_mask`` has a weight of its shape beside it, and so is a mask, whatever its values are."""
    return stem in tensors and tensors[stem].shape == tensors[stem + _MASK].shape


def _is_mask(tensor: Tensor) -> bool:
    """Whether *tensor* holds nothing but 0 and 1."""
    if tensor.ndim == 0 or tensor.is_complex():
        return False
    return bool(((tensor == 0) | (tensor == 1)).all())


def _as_bool(name: str, mask: Tensor) -> Tensor:
    """*mask* as bool. Raises DataError where it holds anything but 0 and 1."""
    odd = mask[(mask != 0) & (mask != 1)]
    if odd.numel():
        raise DataError(
            f"the mask {name!r} holds {odd.reshape(-1)[0].item():g} and more that is neither 0 nor 1; "
            f"say which weights are kept before it is imported: mask > threshold"
        )
    return mask != 0


def _decompress(tensors: Weights, stem: str) -> Tensor:
    """The dense tensor of non-zero values in order and bits, lowest first, in rows that are filled up to bytes."""
    shape = _read_shape(stem, tensors[stem + _SHAPE])
    packed = tensors[stem + _BITMASK]
    values = tensors[stem + _COMPRESSED].reshape(-1)

    rows = prod(shape[:-1])
    is_sound = bool(shape) and min(shape) > 0 and packed.dtype == torch.uint8
    # rows end at a byte: ceil(width / 8) bytes each
    if not is_sound or packed.numel() != rows * -(-shape[-1] // 8):
        raise DataError(
            f"the bitmask of {stem!r} is {packed.dtype} with {packed.numel():,} bytes; "
            f"expected torch.uint8 that holds rows of shape {shape}"
        )

    by_row = packed.reshape(rows, -1).numpy()
    flags = np.unpackbits(by_row, axis=1, count=shape[-1], bitorder="little")
    kept = torch.from_numpy(flags.view(np.bool_)).reshape(shape)
    if int(kept.sum()) != len(values):
        raise DataError(
            f"the bitmask of {stem!r} keeps {int(kept.sum()):,} weights and it has {len(values):,} values"
        )
    return scatter(values, kept)


def _read_shape(stem: str, lengths: Tensor) -> list[int]:
    """The shape that is stored as a tensor. Raises DataError where it holds no integers."""
    if lengths.is_floating_point() or lengths.is_complex():
        raise DataError(
            f"the shape of {stem!r} is {lengths.dtype}; expected whole numbers"
        )
    # no tensor of a network has more dimensions; a damaged file may claim millions
    return [int(length) for length in lengths.reshape(-1)[:8]]
