"""CSR: writes a model as compressed sparse rows, and loads it to multiply by them on a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from ..core.apply import named
from ..core.errors import SoupError, nearest
from ..core.mask import Mask
from ..core.scope import Scope
from ..core.tensor_files import read_tensors, write_tensors
from .card import provenance
from .compare import Runner, runner_of
from .errors import ExportError
from .limits import check_room, limit_of
from .pick import LENGTHS, pick
from .portable import Portable
from .skeleton import build, describe
from .sparse import SparseLinear, compress, owners, replace_layers

SCHEMA = 1
# what a file of any content may make its reader raise
_UNSOUND = (SoupError, KeyError, TypeError, ValueError, RuntimeError, IndexError)


def write(portable: Portable, out: Path) -> dict[str, Any]:
    """Write one safetensors file.

    For a matrix NAME in scope: ``NAME/crow`` int32 [rows + 1], ``NAME/col`` int32 [survivors] and ``NAME/values``
    [survivors]; for any other tensor ``NAME``, dense. A tensor in scope that is no matrix is stored as a matrix of its
    first dimension by the others.
    """
    mask = portable.ticket.mask
    tensors: dict[str, Tensor] = {}
    for name, tensor in portable.tensors.items():
        if name not in mask:
            tensors[name] = tensor
            continue

        keep = mask[name]
        crow, col = compress(keep.flatten(1))
        tensors[f"{name}/crow"] = crow.int()
        tensors[f"{name}/col"] = col.int()
        tensors[f"{name}/values"] = tensor[keep]

    facts = {
        "format": "csr",
        "schema": SCHEMA,
        "shapes": [[name, list(shape)] for name, shape in mask.scope.shapes.items()],
        "model": describe(portable),
        "provenance": provenance(portable),
    }
    write_tensors(out, tensors, facts)
    return {}


def read(
    path: Path, *, limit: int | None = None
) -> tuple[dict[str, Tensor], Mask, dict[str, Any]]:
    """The tensors as they were before `write`, the mask, and the facts beside them.

    Args:
        limit: bytes that the tensors may unfold into. By default 1 GiB or 256 times the file, whichever is more: a
            small file that claims to be a huge model is refused.

    Raises:
        ExportError: the file is damaged, of another kind, or unfolds into more than *limit*.
    """
    tensors, facts = read_tensors(path, ExportError, "CSR file")
    if facts.get("format") != "csr" or facts.get("schema") != SCHEMA:
        raise ExportError(
            f"{path} is {facts.get('format')!r} of schema {facts.get('schema')!r}; expected csr, {SCHEMA}"
        )

    try:
        dense, mask = _make_dense(tensors, facts["shapes"], limit_of(path, limit))
    except _UNSOUND as reason:
        raise ExportError(
            f"{path} is not a sound CSR file: {reason}; export it again or restore a copy"
        ) from reason
    return dense, mask, facts


def _make_dense(
    tensors: dict[str, Tensor], shapes: Sequence[tuple[str, Sequence[int]]], limit: int
) -> tuple[dict[str, Tensor], Mask]:
    """The tensors of a file with its matrices made dense, and where their survivors are."""
    scope = Scope({name: tuple(shape) for name, shape in shapes})
    # before anything is unfolded: a small file may claim to be a huge model
    size = 0
    for name in scope:
        size += scope.numel(name) * tensors[f"{name}/values"].element_size()
    check_room(size, limit)

    keeps: dict[str, Tensor] = {}
    for name, shape in scope.shapes.items():
        positions, values = _survivors(tensors, name, shape)

        keeps[name] = torch.zeros(shape, dtype=torch.bool)
        keeps[name].view(-1)[positions] = True

        tensors[name] = values.new_zeros(shape)
        tensors[name].view(-1)[positions] = values
    return tensors, Mask(scope, keeps)


def load(
    path: str | Path,
    model: nn.Module | None = None,
    *,
    lengths: Sequence[int] = LENGTHS,
    limit: int | None = None,
) -> nn.Module:
    """Load the model in the CSR file at *path* for inference. It multiplies by the survivors where that is faster.

    Args:
        model: of the same architecture, at any weights; it is changed. By default it is built as the file describes it.
        lengths: numbers of tokens (batch times length) at which the kernels of each layer are timed, so that the
            fastest is chosen; none are timed if it is empty.
        limit: bytes that the file may unfold into, see `read`.

    Raises:
        ExportError: the file is damaged, or it and the model do not have the same parameters.
    """
    path = Path(path)
    tensors, mask, facts = read(path, limit=limit)
    if model is None:
        model = build(facts["model"], limit=limit_of(path, limit))
    model = model.eval().requires_grad_(False)

    own = named(model)
    for name, tensor in tensors.items():
        if name not in own or own[name].shape != tensor.shape:
            raise ExportError(
                f"{path} has {name!r} of shape {tuple(tensor.shape)}, for which the model has no place "
                f"({nearest(name, own)}); give a model of the architecture that was exported"
            )
        own[name].data.copy_(tensor)

    # by identity, for a file has each of several tied parameters once
    filled = {id(own[name]) for name in tensors}
    for name, parameter in model.named_parameters():
        if id(parameter) not in filled:
            raise ExportError(
                f"{path} has nothing for {name!r} of the model, which would stay as it is ({nearest(name, tensors)}); "
                f"give a model of the architecture that was exported"
            )

    # after the weights: a sparse layer takes its survivors from the dense one
    return sparsify(model, mask, lengths)


def sparsify(model: nn.Module, mask: Mask, lengths: Sequence[int] = LENGTHS) -> nn.Module:
    """*model* with its linear layers of *mask* replaced, in place, by ones that multiply by the survivors."""
    layers = {}
    for name, layer in owners(model).items():
        if name in mask:
            layers[name] = _sparse_layer(layer, mask[name])

    replace_layers(model, layers)
    pick(layers.values(), lengths)
    return model


def runner(path: Path) -> Runner:
    """The function that runs the model in the file at *path*."""
    return runner_of(load(path, lengths=(8, 64)))


def _sparse_layer(layer: Any, keep: Tensor) -> SparseLinear:
    """The sparse layer in place of *layer*, of whose matrix *keep* survives."""
    weight: Tensor = layer.weight.detach()
    # its matrix has inputs first
    if isinstance(layer, Conv1D):
        return SparseLinear.of(weight.t(), keep.t(), layer.bias)
    return SparseLinear.of(weight, keep, layer.bias)


def _survivors(
    tensors: dict[str, Tensor], name: str, shape: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    """The positions of one matrix's survivors, flat and in order, and their values. They are taken out of *tensors*.

    Raises:
        ExportError: they make no matrix of *shape*.
    """
    crow = tensors.pop(f"{name}/crow")
    col = tensors.pop(f"{name}/col")
    values = tensors.pop(f"{name}/values")
    height = shape[0]
    width = prod(shape[1:])
    unsound = ExportError(f"the rows and columns of {name!r} make no matrix {shape}")

    counts = crow.long().diff()
    if crow.shape != (height + 1,) or bool((counts < 0).any()):
        raise unsound
    if (int(counts.sum()),) != col.shape or col.shape != values.shape:
        raise unsound
    if bool(((col < 0) | (col >= width)).any()):
        raise unsound

    # columns out of order, or twice, would be summed by one reader and overwritten by another
    rows = torch.repeat_interleave(torch.arange(height), counts)
    positions = rows * width + col
    if bool((positions.diff() <= 0).any()):
        raise unsound
    return positions, values
