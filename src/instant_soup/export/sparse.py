"""Sparse: linear layers that multiply by their surviving weights only.

A matrix of CSR times a few columns is memory-bound, and so is a dense one at batch 1: who reads less is faster. Two
kernels of torch do it well, each in its own range, and neither always (benchmarks/sparse_latency.py):

- ``gather`` is ``embedding_bag``: a row of the result is a weighted sum of rows of the input, for which torch has
  FBGEMM's code, made at run time for the width at hand. It wins from a few tokens on.
- ``csr`` is MKL's product by way of ``torch.sparse_csr_tensor``. It wins for very few tokens.

``dense`` stays a candidate, for at many tokens and few zeros nothing beats it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.pytorch_utils import Conv1D

Kernel = Callable[["SparseLinear", Tensor], Tensor]
"""From a layer and inputs [tokens, width] to outputs [tokens, height]."""


class SparseLinear(nn.Module):
    """x W^T + b, with W held as CSR. For inference on a CPU, in float32.

    The number of tokens decides which kernel multiplies; `choose` sets the bounds.

    Args:
        crow, col: int64 [height + 1] and [survivors], of a matrix of *shape* (height, width).
        values: float32 [survivors].
        bias: float32 [height], or None.
    """

    def __init__(
        self,
        crow: Tensor,
        col: Tensor,
        values: Tensor,
        shape: tuple[int, int],
        bias: Tensor | None,
    ) -> None:
        super().__init__()
        self.out_features, self.in_features = shape
        self.crow = crow
        self.col = col
        self.values = values.detach()
        self.bias = None if bias is None else bias.detach()
        self._matrix: Tensor | None = None
        self._dense: Tensor | None = None
        self.choose({})

    @classmethod
    def of(cls, matrix: Tensor, keep: Tensor, bias: Tensor | None) -> Self:
        """The layer of a dense *matrix* [height, width], of which *keep*, bool of the same shape, survives."""
        crow, col = compress(keep)
        return cls(crow, col, matrix[keep], (matrix.shape[0], matrix.shape[1]), bias)

    def choose(self, kernels: Mapping[int, str]) -> None:
        """Multiply up to so many tokens by the kernel of that name.

        Args:
            kernels: from the largest number of tokens to the kernel; the last one multiplies more tokens, too. With
                none ``gather`` multiplies always.
        """
        self._choices = tuple(sorted(kernels.items())) or ((1, "gather"),)
        # copies of the matrix that no kernel needs any longer
        used = {name for _, name in self._choices}
        if "csr" not in used:
            self._matrix = None
        if "dense" not in used:
            self._dense = None

    @property
    def choices(self) -> dict[int, str]:
        """The kernel for each largest number of tokens."""
        return dict(self._choices)

    def forward(self, x: Tensor) -> Tensor:
        """Float32 [..., width] to float32 [..., height]."""
        flat = x.reshape(-1, self.in_features)
        rows = KERNELS[self._kernel(len(flat))](self, flat)
        return rows.view(*x.shape[:-1], self.out_features)

    def _kernel(self, tokens: int) -> str:
        for most, name in self._choices:
            if tokens <= most:
                return name
        return self._choices[-1][1]

    @property
    def weight(self) -> Tensor:
        """As a dense tensor, for models that look at a layer's matrix or multiply by it themselves (T5, Jamba)."""
        return self.dense

    @property
    def matrix(self) -> Tensor:
        """As a CSR tensor of torch with int32 indices, which MKL takes without a copy."""
        if self._matrix is None:
            # torch warns at the first CSR tensor of a process that support is in beta
            with warnings.catch_warnings():
                warnings.filterwarnings(
                    "ignore", "Sparse CSR tensor support", UserWarning
                )
                self._matrix = torch.sparse_csr_tensor(
                    self.crow.int(),
                    self.col.int(),
                    self.values,
                    (self.out_features, self.in_features),
                    check_invariants=True,
                )

        return self._matrix

    @property
    def dense(self) -> Tensor:
        """As a dense tensor [height, width]."""
        if self._dense is None:
            rows = torch.repeat_interleave(
                torch.arange(self.out_features), self.crow.diff()
            )
            self._dense = self.values.new_zeros(self.out_features, self.in_features)
            self._dense[rows, self.col] = self.values
        return self._dense

    def extra_repr(self) -> str:
        """What print shows of the layer."""
        kept = len(self.values) / (self.out_features * self.in_features)
        return f"{self.in_features} -> {self.out_features}, {kept:.1%} kept, kernels {self.choices}"


def compress(keep: Tensor) -> tuple[Tensor, Tensor]:
    """Where *keep*, bool [height, width], is set: int64 row starts [height + 1] and columns [set]."""
    starts = torch.zeros(len(keep) + 1, dtype=torch.int64)
    starts[1:] = keep.sum(1).cumsum(0)
    return starts, keep.nonzero()[:, 1].contiguous()


def _dense(layer: SparseLinear, x: Tensor) -> Tensor:
    return F.linear(x, layer.dense, layer.bias)


def _gather(layer: SparseLinear, x: Tensor) -> Tensor:
    # inputs transposed, so that a row of the bag is an input feature over all tokens
    columns = F.embedding_bag(
        layer.col,
        x.t().contiguous(),
        layer.crow,
        mode="sum",
        per_sample_weights=layer.values,
        include_last_offset=True,
    )

    rows = columns.t().contiguous()
    if layer.bias is not None:
        rows.add_(layer.bias)
    return rows


def _csr(layer: SparseLinear, x: Tensor) -> Tensor:
    columns = x.t().contiguous()
    if layer.bias is None:
        return (layer.matrix @ columns).t().contiguous()
    product = torch.addmm(layer.bias[:, None], layer.matrix, columns)
    return product.t().contiguous()


KERNELS: Mapping[str, Kernel] = {
    "dense": _dense,
    "gather": _gather,
    **({"csr": _csr} if torch.backends.mkl.is_available() else {}),  # type: ignore[no-untyped-call]
}


def owners(model: nn.Module) -> dict[str, nn.Module]:
    """The layers of *model* that can be made sparse, by the name of their matrix.

    Linear layers and transformers' Conv1D, whose matrix is transposed. The projections of ``nn.MultiheadAttention`` are
    no layers of their own: it reads their matrices and never calls them, so they stay dense.
    """
    layers: dict[str, nn.Module] = {}
    for path, parent in model.named_modules():
        if isinstance(parent, nn.MultiheadAttention):
            continue
        for name, layer in parent.named_children():
            if type(layer) is nn.Linear or isinstance(layer, Conv1D):
                layers[f"{path}.{name}.weight".removeprefix(".")] = layer
    return layers


def replace_layers(model: nn.Module, layers: Mapping[str, SparseLinear]) -> None:
    """Put sparse *layers* into *model*, by the names of the matrices that they replace."""
    for name, layer in layers.items():
        parent, _, child = name.removesuffix(".weight").rpartition(".")
        setattr(model.get_submodule(parent), child, layer)
