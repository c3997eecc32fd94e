"""Layout: where the tensors of a model in training are. Whole on every rank, or by rows, as FSDP2 cuts them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, Shard, empty

from ..core.errors import RankError, ScopeError
from ..core.mask import Mask
from ..core.ranks.shards import WHOLE, Shards
from ..core.ranks.team import Team
from ..core.scope import Scope
from . import ranks


class Layout:
    """Puts a model in its place and says what of it is here.

    Attributes:
        team: the ranks that train the model.
        shards: what of each tensor is here.
        model: what to call.
        module: what holds the parameters, by their own names.
    """

    def __init__(self, model: nn.Module, accelerator: Accelerator) -> None:
        self.team: Team = ranks.team()
        self.shards, self._mesh = WHOLE, None
        if ranks.sharded():
            self._mesh = _mesh()
            self.model = self.module = _sharded(model, self._mesh, accelerator)
            self.shards = Shards(_rows(self.module), self.team)
        else:
            self.model = accelerator.prepare_model(model)
            self.module = accelerator.unwrap_model(self.model)

    @property
    def cut(self) -> bool:
        """Whether no rank has the whole model."""
        return self._mesh is not None

    def mine(self, indices: list[int]) -> list[int]:
        """This rank's share of some examples; it may be empty."""
        return indices[self.team.rank :: self.team.size]

    def one(self, batches: list[list[int]]) -> list[int]:
        """This rank's of as many batches as there are ranks or fewer, of which the last ranks then take the last."""
        return batches[min(self.team.rank, len(batches) - 1)]

    def of_all(self, answers: Tensor, batches: int) -> Tensor:
        """The answers [n, ...] of all ranks to so many *batches*, in their order, on the CPU."""
        if self.team.size == 1:
            return answers.cpu()
        mine = answers if self.team.rank < batches else answers[:0]
        return self.team.pooled(mine.reshape(-1)).view(-1, *answers.shape[1:])

    def added(self, slopes: dict[str, Tensor]) -> dict[str, Tensor]:
        """The ranks' gradients, each of its own examples, added up; FSDP2 has done so, and divided by the ranks."""
        if self.cut:
            return {name: slope * self.team.size for name, slope in slopes.items()}
        return {name: self.team.added(slope) for name, slope in slopes.items()}

    def check_whole(self, what: str) -> None:
        """Refuse what needs the whole model at a time. Raises RankError."""
        if self.cut:
            raise RankError(f"{what} is not computed under FSDP2; draw with DDP or on one rank, or take other scores")

    def check_float32(self, precision: str) -> None:
        """Refuse to score by gradients where FSDP2 gathers parameters in another precision. Raises RankError."""
        if self.cut and precision != "no":
            raise RankError(
                f"gradients are scored in float32, and FSDP2 gathers parameters in {precision}; "
                f"set training.precision to 'float32', or draw with DDP or on one rank"
            )

    def mask(self, mask: Mask) -> Mask:
        """What is to be here of *mask*, which may be whole or here already."""
        return mask.cut(self.shards) if self.cut and mask.scope.shards.team.size == 1 else mask

    def part(self, name: str, tensor: Tensor, here: Tensor) -> Tensor:
        """What is to be here of *tensor*, which may be whole or here already, as *here* is. Raises ScopeError."""
        if isinstance(tensor, DTensor):
            tensor = tensor.to_local() if name in self.shards.rows else tensor.full_tensor()
        if tensor.shape != here.shape and name in self.shards.rows and tensor.ndim:
            tensor = self.shards.part(name, tensor)
        if tensor.shape != here.shape:
            raise ScopeError(
                f"weights hold {name!r} of shape {tuple(tensor.shape)}, and the model has {tuple(here.shape)} there"
            )
        return tensor

    def spread(self, name: str, here: Tensor) -> Tensor:
        """The tensor of which *here* is this rank's part, as torch.distributed knows it."""
        if self._mesh is None or name not in self.shards.rows:
            return here
        whole = self.module.get_parameter(name)
        return DTensor.from_local(
            here, self._mesh, [Shard(0)], run_check=False, shape=whole.shape, stride=whole.stride()
        )

    def placed(self, name: str, tensor: Tensor) -> Tensor:
        """*tensor*, which may be whole, as the optimiser holds what belongs to the parameter *name*."""
        if isinstance(tensor, DTensor) or not tensor.ndim or name not in self.shards.rows:
            return tensor
        return self.spread(name, self.shards.part(name, tensor))

    def saved(self, mask: Mask) -> dict[str, Tensor]:
        """*mask* as tensors to save: packed bits, or flags that can be cut anew."""
        if not self.cut:
            return {name: mask.packed(name) for name in mask}
        return {name: self.spread(name, mask[name].to(torch.uint8)) for name in mask}

    def loaded(self, scope: Scope, tensors: Mapping[str, Tensor]) -> Mask:
        """The mask that `saved` gave on any number of ranks. *scope* is whole."""
        if all(tensors[name].shape == shape for name, shape in scope.shapes.items()):
            here = {name: self._flags(name, tensors[name]) for name in scope}
            return Mask(scope.cut(self.shards), here)
        return self.mask(Mask.from_packed(scope, {name: tensors[name] for name in scope}))

    def _flags(self, name: str, tensor: Tensor) -> Tensor:
        flags = tensor.to_local() if isinstance(tensor, DTensor) else self.shards.part(name, tensor)
        return flags.bool()


def empty_rows(shape: tuple[int, ...], dtype: torch.dtype) -> DTensor:
    """Room for a tensor of which each rank holds some rows, not filled."""
    return empty(shape, dtype=dtype, device_mesh=_mesh(), placements=[Shard(0)])


def _mesh() -> DeviceMesh:
    device = torch.accelerator.current_accelerator() or torch.device("cpu")
    return init_device_mesh(device.type, (ranks.team().size,))


def local(tensor: Tensor) -> Tensor:
    """What of *tensor* is here, sharing its memory."""
    return tensor.to_local().detach() if isinstance(tensor, DTensor) else tensor


def _sharded(model: nn.Module, mesh: Any, accelerator: Accelerator) -> nn.Module:
    """*model* under FSDP2, each of its blocks a unit that is gathered by itself."""
    if empty := [name for name, parameter in model.named_parameters() if not parameter.ndim]:
        raise RankError(f"{empty[0]!r} is a single number, which FSDP2 cannot cut; train this model with DDP")
    half = accelerator.mixed_precision == "bf16"
    policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32) if half else MixedPrecisionPolicy()
    model.to(accelerator.device)
    for block in _blocks(model):  # their outputs stay in bf16, which what comes after them is gathered in too
        fully_shard(block, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=replace(policy, output_dtype=torch.float32) if half else policy)
    return model


def _blocks(module: nn.Module) -> list[nn.Module]:
    """The members of the outermost lists of modules: a transformer's layers."""
    found = []
    for child in module.children():
        found += list(child) if isinstance(child, nn.ModuleList) else _blocks(child)
    return found


def _rows(module: nn.Module) -> dict[str, tuple[int, int]]:
    """Which rows of each parameter are here."""
    rows = {}
    for name, parameter in module.named_parameters():
        if isinstance(parameter, DTensor):
            first = sum(_lengths(parameter)[: parameter.device_mesh.get_local_rank()])
            rows[name] = (first, first + len(parameter.to_local()))
    return rows


def _lengths(parameter: DTensor) -> list[int]:
    """How many rows each rank holds."""
    size = parameter.device_mesh.size()
    most = -(-parameter.shape[0] // size)
    return [max(0, min(most, parameter.shape[0] - rank * most)) for rank in range(size)]
