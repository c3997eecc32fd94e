"""Bitmask: a sparse model as one safetensors file of bits and survivors, close to the least it can take.

For each pruned parameter ``bits/NAME`` says where its survivors are and ``kept/NAME`` is their values, in order and in
their dtype; every other tensor is there as it is. The bits are coded in the shortest of three ways: ``raw``, one bit a
weight, lowest bit first; ``bits``, the same bytes deflated; ``gaps``, how many weights lie before each survivor, a byte
each, 255 meaning 255 weights and no survivor, deflated. docs/bitmask.md reads all three without this library.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..core import bits
from ..core.errors import DataError, ScopeError, SoupError
from ..core.mask import Mask
from ..core.scope import Scope
from ..core.stored import Stored, header
from ..core.tensor_files import write_tensors
from ..core.weights import Lazy, Weights, scatter
from .limits import check_room, limit_of

SCHEMA = 1
BITS = "bits/"
KEPT = "kept/"
_JUMP = 255  # a gap that ends at no survivor
_MOST_EXPANSION = 1040  # no deflated byte unfolds into more bytes
# what a file of any content may make its reader raise
_UNSOUND = (
    SoupError,
    KeyError,
    TypeError,
    ValueError,
    AttributeError,
    RecursionError,
    zlib.error,
)

Bytes = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True)
class Bitmask:
    """The content of a bitmask file.

    Attributes:
        mask: which weights are kept.
        tensors: all tensors of the model by name, dense, made when asked for.
        facts: plain data that its writer put beside.
    """

    mask: Mask
    tensors: Weights
    facts: Mapping[str, Any]


def write(
    path: str | Path, tensors: Weights, mask: Mask, facts: Mapping[str, Any] | None = None
) -> None:
    """Write *tensors* under *mask* into one file, in one piece or not at all.

    Args:
        tensors: dense, by name, such as a state dict. What *mask* drops is not stored, whatever its value. Where two
            names are one tensor, it is stored once.
        facts: plain data to write beside.

    Raises:
        ScopeError: a parameter of *mask* is missing or has another shape.
        StoreError: the file could not be written.
    """
    stored: dict[str, Tensor] = {}
    parameters: list[list[Any]] = []
    for name, shape in mask.scope.shapes.items():
        _check_shape(name, shape, tensors)
        coding, code = encode(mask.packed(name).numpy(), mask.scope.numel(name))
        stored[BITS + name] = torch.from_numpy(code)
        stored[KEPT + name] = tensors[name].detach().cpu()[mask[name]]
        parameters.append([name, list(shape), coding])

    # one tensor under two names is stored once, and the other name is noted
    tied = _find_tied(tensors, mask)
    for name in tensors:
        if name not in mask and name not in tied:
            stored[name] = tensors[name]

    header_facts = {
        "format": "bitmask",
        "schema": SCHEMA,
        "parameters": parameters,
        "tied": tied,
        "facts": dict(facts or {}),
    }
    write_tensors(Path(path), stored, header_facts)


def read(path: str | Path, *, limit: int | None = None) -> Bitmask:
    """Read what `write` wrote. Only the mask is unfolded at once, at one bit a weight; a tensor when it is asked for.

    Args:
        limit: bytes that the tensors may unfold into. By default 1 GiB or 256 times the file, whichever is more: a
            small file that claims to be a huge model is refused.

    Raises:
        DataError: the file is no bitmask file, is damaged, or unfolds into more than *limit*.
    """
    path = Path(path)
    stored, metadata = header(path)
    most = limit_of(path, limit)

    try:
        return _parse(stored, json.loads(metadata["instant_soup"]), most)
    except _UNSOUND as reason:
        raise DataError(
            f"{path} is not a sound bitmask file: {reason}; export it again"
        ) from reason


def encode(packed: Bytes, count: int) -> tuple[str, Bytes]:
    """The shortest coding of *count* bits, and what to store: uint8 [n]."""
    kept = bits.count(torch.from_numpy(packed))
    # Huffman codes alone: random masks repeat nothing that a search for matches could find
    codings = [("raw", packed), ("bits", _deflate(packed, zlib.Z_HUFFMAN_ONLY))]
    # of more survivors, bits are shorter than gaps
    if kept <= count // 4:
        gaps = _to_gaps(bits.positions(torch.from_numpy(packed)).numpy())
        for strategy in (zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE):
            codings.append(("gaps", _deflate(gaps, strategy)))
    return min(codings, key=lambda coding: len(coding[1]))


def decode(coding: str, code: Bytes, count: int, kept: int) -> Bytes:
    """The packed bits of *count* weights, of which *kept* survive: uint8 [ceil(count / 8)]. Raises ValueError."""
    size = -(-count // 8)
    if coding == "raw":
        packed = code
    elif coding == "bits":
        packed = _inflate(code, size)
    elif coding == "gaps":
        # a gap for each survivor, and a jump for every 255 weights without one
        packed = _from_gaps(_inflate(code, kept + count // _JUMP), count)
    else:
        raise ValueError(
            f"its bits are coded as {coding!r}; expected raw, bits or gaps; upgrade instant-soup"
        )

    if len(packed) != size:
        raise ValueError(
            f"{len(packed):,} bytes of bits for {count:,} weights; expected {size:,}"
        )
    return packed


def _parse(stored: Mapping[str, Stored], facts: Mapping[str, Any], limit: int) -> Bitmask:
    """The content of a file from its *stored* tensors and the *facts* in its header. Raises what `_UNSOUND` lists."""
    if facts["format"] != "bitmask" or facts["schema"] != SCHEMA:
        raise ValueError(
            f"it is {facts['format']!r} of schema {facts['schema']!r} and this version reads {SCHEMA}"
        )

    scope = Scope({name: tuple(shape) for name, shape, _ in facts["parameters"]})
    survivors = {name: stored[KEPT + name] for name in scope}
    plain = {}
    for name, tensor in stored.items():
        if not name.startswith((BITS, KEPT)):
            plain[name] = tensor
    tied = {}
    for name, other in facts["tied"].items():
        if other in plain or other in scope:
            tied[name] = other

    # before anything is unfolded: a small file may claim to be a huge model
    size = 0
    for name, tensor in survivors.items():
        size += scope.numel(name) * tensor.dtype.itemsize
    check_room(size, limit)

    # every tensor has to be accounted for: what no reader looks at could hide anything
    if len(stored) != len(plain) + 2 * len(scope) or len(tied) != len(facts["tied"]):
        raise ValueError("it holds tensors that no bitmask file has")

    mask = Mask.from_packed(scope, _unpack(stored, facts["parameters"], scope))
    for name, tensor in survivors.items():
        if tensor.shape != (mask.kept_by_name[name],):
            raise ValueError(
                f"it keeps {mask.kept_by_name[name]:,} weights of {name!r} and has {tensor.shape} values"
            )

    def dense(name: str) -> Tensor:
        name = tied.get(name, name)
        if name in plain:
            return plain[name].read()
        return scatter(survivors[name].read(), mask[name])

    return Bitmask(mask, Lazy([*scope, *plain, *tied], dense), facts["facts"])


def _unpack(
    stored: Mapping[str, Stored], parameters: list[list[Any]], scope: Scope
) -> dict[str, Tensor]:
    """The packed bits of each parameter in scope."""
    packed: dict[str, Tensor] = {}
    for name, _, coding in parameters:
        survivors = stored[KEPT + name].numel
        code = _read_bits(stored[BITS + name], coding, scope.numel(name), survivors)
        packed[name] = torch.from_numpy(code)
    return packed


def _read_bits(code: Stored, coding: str, count: int, survivors: int) -> Bytes:
    """The packed bits of *count* weights. Raises ValueError."""
    if code.dtype != torch.uint8 or len(code.shape) != 1:
        raise ValueError(
            f"its bits are {code.dtype} of shape {code.shape}; expected torch.uint8 [n]"
        )
    return decode(coding, code.read().numpy(), count, survivors)


def _find_tied(tensors: Weights, mask: Mask) -> dict[str, str]:
    """The names of tensors that are stored under another name, and that name."""
    # tensors that are made when asked for share no memory
    if not isinstance(tensors, dict):
        return {}

    first: dict[object, str] = {}
    tied: dict[str, str] = {}
    # a name in scope is never stored under another
    for name in dict.fromkeys([*mask, *tensors]):
        tensor = tensors[name]
        # all tensors without an element have one address
        if not tensor.numel():
            continue
        # views of one memory are one tensor only if they see it alike
        view = (tensor.dtype, tuple(tensor.shape), tensor.stride())
        other = first.setdefault((tensor.device, tensor.data_ptr(), view), name)
        if other != name and name not in mask:
            tied[name] = other
    return tied


def _check_shape(name: str, shape: tuple[int, ...], tensors: Weights) -> None:
    """Raise ScopeError unless *tensors* have *name* in this *shape*."""
    if name not in tensors:
        raise ScopeError(f"{name!r} is missing; the mask expects shape {shape}")
    if tuple(tensors[name].shape) != shape:
        raise ScopeError(
            f"{name!r} has shape {tuple(tensors[name].shape)}; the mask expects shape {shape}"
        )


def _to_gaps(positions: np.ndarray[Any, np.dtype[np.int64]]) -> Bytes:
    """How many weights lie before each survivor, with jumps of 255 in between, from positions in order."""
    jumps, rest = np.divmod(np.diff(positions, prepend=-1) - 1, _JUMP)
    gaps = np.full(len(positions) + int(jumps.sum()), _JUMP, np.uint8)
    gaps[np.arange(len(positions)) + jumps.cumsum()] = rest
    return gaps


def _from_gaps(gaps: Bytes, count: int) -> Bytes:
    """The packed bits of *count* weights. Raises ValueError where a survivor lies beyond them."""
    # gaps that end at a survivor
    ends = gaps != _JUMP
    steps = gaps.astype(np.int64) + ends
    positions = (steps.cumsum() - 1)[ends]

    packed = np.zeros(-(-count // 8), np.uint8)
    if not len(positions):
        return packed
    if positions[-1] >= count:
        raise ValueError(f"a survivor is at {positions[-1]:,} of {count:,} weights")

    byte_of = positions >> 3
    flags = (1 << (positions & 7)).astype(np.uint8)
    # one value for each byte: assigning flag by flag would keep the last one of a byte alone
    starts = np.flatnonzero(np.diff(byte_of, prepend=-1))
    packed[byte_of[starts]] = np.bitwise_or.reduceat(flags, starts)
    return packed


def _deflate(data: Bytes, strategy: int) -> Bytes:
    deflate = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS, 9, strategy)
    code = deflate.compress(data.tobytes()) + deflate.flush()
    # a bytearray, because torch warns of memory that cannot be written to
    return np.frombuffer(bytearray(code), np.uint8)


def _inflate(code: Bytes, most: int) -> Bytes:
    """The bytes that were deflated. Raises ValueError where they are damaged, or more than *most*."""
    inflate = zlib.decompressobj()
    # a byte more than allowed is asked for, and no more: a small file may unfold into all of the memory
    data = inflate.decompress(code.tobytes(), min(most, _MOST_EXPANSION * len(code)) + 1)
    if not inflate.eof or len(data) > most or inflate.unused_data:
        raise ValueError(
            f"its deflated bits are damaged, or more than the {most:,} bytes that they can be"
        )
    return np.frombuffer(bytearray(data), np.uint8)
