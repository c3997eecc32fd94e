"""Weights: tensors by name, and the little arithmetic that soups need."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from .errors import ScopeError

Weights = Mapping[str, Tensor]


class Lazy(Mapping[str, Tensor]):
    """Tensors computed when asked for, one at a time, and never kept.

    What reads scores may ask for a tensor more than once, so *compute* must give the same answer each time.
    """

    def __init__(self, names: Iterable[str], compute: Callable[[str], Tensor]) -> None:
        self._names = dict.fromkeys(names)
        self._compute = compute

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._names:
            raise KeyError(name)
        return self._compute(name)

    def __contains__(self, name: object) -> bool:
        # what Mapping gives would compute the tensor to find out
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class Elementwise(Lazy):
    """*function* of each weight of *source*, computed when asked for.

    Because the function looks at one weight at a time, whoever reads it may take *source* and *function* apart and
    work on slices in one buffer, and so never hold a whole tensor of results. *function* takes ``out=``, as torch's
    own do (`torch.abs`).
    """

    def __init__(self, source: Weights, function: Callable[..., Tensor]) -> None:
        super().__init__(source, lambda name: function(source[name].detach()))
        self.source = source
        self.function = function


def mean(bowls: Sequence[Weights]) -> Weights:
    """The plain mean of several weights. Integer buffers are taken from the first.

    Raises ScopeError when the names differ.
    """
    first = bowls[0]
    for other in bowls[1:]:
        if other.keys() != first.keys():
            differing = sorted(other.keys() ^ first.keys())
            raise ScopeError(f"weights to average differ in {differing[0]!r}")

    averaged = {}
    for name, tensor in first.items():
        # integer buffers count batches and the like, of which there is no mean
        if tensor.is_floating_point():
            averaged[name] = torch.stack([bowl[name] for bowl in bowls]).mean(0)
        else:
            averaged[name] = tensor.clone()
    return averaged


def lerp(start: Weights, end: Weights, share: float) -> Weights:
    """(1 - *share*) times *start* plus *share* times *end*. Integer buffers are taken from *start*."""
    between = {}
    for name, tensor in start.items():
        if tensor.is_floating_point():
            between[name] = torch.lerp(tensor, end[name], share)
        else:
            between[name] = tensor.clone()
    return between


def scatter(survivors: Tensor, kept: Tensor) -> Tensor:
    """A whole tensor from its *survivors* [k] in order: zero where bool *kept* [...], of which k are set, is False."""
    whole = survivors.new_zeros(kept.shape)
    whole[kept] = survivors
    return whole


def first_not_finite(weights: Weights) -> str | None:
    """The name of the first of *weights* that holds NaN or infinity; None where all are finite."""
    for name, tensor in weights.items():
        if not tensor.is_floating_point():
            continue
        # torch asks this of no float8
        numbers = tensor.float() if tensor.element_size() == 1 else tensor
        if not bool(numbers.isfinite().all()):
            return name
    return None


def digest(weights: Weights, names: Iterable[str]) -> str:
    """SHA-256 of the named tensors: names, shapes, dtypes and bytes."""
    sha = hashlib.sha256()
    for name in names:
        # asked for once each: weights may be computed when they are
        tensor = weights[name]
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())

        flat = tensor.detach().cpu().contiguous().reshape(-1)
        sha.update(flat.view(torch.uint8).numpy().data)
    return sha.hexdigest()


def are_of(weights: Weights, names: Iterable[str], expected: str) -> bool:
    """Whether the named tensors have the digest *expected*, as they are or in float32.

    Models are drawn from in float32, and a checkpoint of 16 bits is loaded in these elsewhere: each of its values is
    exactly one of float32.
    """
    listed = list(names)
    if digest(weights, listed) == expected:
        return True
    if all(weights[name].itemsize != 2 for name in listed):
        return False

    in_float32 = Lazy(listed, lambda name: weights[name].float())
    return digest(in_float32, listed) == expected
