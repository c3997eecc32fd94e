"""Layout: where the tensors of a model in training are.

Each rank has all of the model (one process, or DDP), or each has some rows of every parameter (FSDP2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import ceil
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, Shard, empty

from ..core.errors import RankError, ScopeError
from ..core.mask import Mask
from ..core.ranks.shards import WHOLE, Shards
from ..core.ranks.team import Team
from ..core.scope import Scope
from . import ranks


class Layout:
    """Puts a model onto its device, in the layout of this launch, and tells which part of it this rank has.

    Attributes:
        team: the ranks that train the model.
        shards: which rows of each tensor this rank has.
        model: what to call. Accelerate may have wrapped it.
        module: the model under its own names, which holds the parameters.
    """

    def __init__(self, model: nn.Module, accelerator: Accelerator) -> None:
        self.team: Team = ranks.team()
        self.shards = WHOLE
        self._mesh: DeviceMesh | None = None

        if ranks.sharded():
            self._mesh = _mesh()
            self.module = _sharded(model, self._mesh, accelerator)
            self.model = self.module
            self.shards = Shards(_rows(self.module), self.team)
        else:
            self.model = accelerator.prepare_model(model)
            self.module = accelerator.unwrap_model(self.model)

    @property
    def is_sharded(self) -> bool:
        """Whether each rank has only some rows of the model."""
        return self._mesh is not None

    def reshard(self) -> None:
        """Let go of rows of other ranks that a forward pass has gathered, as the way back would do."""
        if isinstance(self.module, FSDPModule):
            self.module.reshard()

    def mine(self, indices: list[int]) -> list[int]:
        """The examples among *indices* that this rank takes; there may be none."""
        return indices[self.team.rank :: self.team.size]

    def own(self, batches: list[list[int]]) -> list[int]:
        """The batch among *batches* that this rank takes. Where there are fewer than ranks, several take the last."""
        return batches[min(self.team.rank, len(batches) - 1)]

    def pooled(self, answers: Tensor, batches: int) -> Tensor:
        """What all ranks answered to *batches* batches, in the order of the batches, on the CPU.

        Args:
            answers: [n, ...], what this rank answered to its `own` batch.
        """
        if self.team.size == 1:
            return answers.cpu()

        # the last batch counts once
        counted = answers if self.team.rank < batches else answers[:0]
        # flat, for what ranks pool has one dimension
        pooled = self.team.pooled(counted.reshape(-1))
        return pooled.view(-1, *answers.shape[1:])

    def added(self, slopes: dict[str, Tensor]) -> dict[str, Tensor]:
        """The sum over ranks of gradients that each rank has from its own examples."""
        if self.is_sharded:  # FSDP2 has taken the mean already
            return {name: slope * self.team.size for name, slope in slopes.items()}
        return {name: self.team.added(slope) for name, slope in slopes.items()}

    def check_whole(self, what: str) -> None:
        """Refuse what needs the whole model at a time. Raises RankError."""
        if self.is_sharded:
            raise RankError(
                f"{what} is not computed under FSDP2; draw with DDP or on one rank, or take other scores"
            )

    def check_float32(self, precision: str) -> None:
        """Refuse to score by gradients where FSDP2 gathers parameters in another precision. Raises RankError."""
        if self.is_sharded and precision != "no":
            raise RankError(
                f"gradients are scored in float32, and FSDP2 gathers parameters in {precision}; "
                f"set training.precision to 'float32', or draw with DDP or on one rank"
            )

    def mask(self, mask: Mask) -> Mask:
        """This rank's rows of *mask*, which may be a mask of the whole model or of these rows already."""
        of_whole_model = mask.scope.shards.team.size == 1
        return mask.shard(self.shards) if self.is_sharded and of_whole_model else mask

    def part(self, name: str, tensor: Tensor, live: Tensor) -> Tensor:
        """This rank's rows of *tensor*, which may be the whole tensor, these rows already, or a DTensor.

        Args:
            name: of the parameter or buffer.
            live: what this rank has there, whose shape the rows must have.

        Raises:
            ScopeError: the shape is another.
        """
        is_cut = name in self.shards.rows
        if isinstance(tensor, DTensor):
            tensor = tensor.to_local() if is_cut else tensor.full_tensor()
        if tensor.shape != live.shape and is_cut and tensor.ndim:
            tensor = self.shards.part(name, tensor)

        if tensor.shape != live.shape:
            raise ScopeError(
                f"weights hold {name!r} of shape {tuple(tensor.shape)}, and the model has {tuple(live.shape)} there"
            )
        return tensor

    def scattered(self, name: str, rows: Tensor) -> Tensor:
        """The tensor of the parameter *name* that all ranks hold together, as a DTensor; *rows* are those of this rank.

        What each rank holds whole is given back as it is.
        """
        if self._mesh is None or name not in self.shards.rows:
            return rows

        whole = self.module.get_parameter(name)
        return DTensor.from_local(
            rows,
            self._mesh,
            [Shard(0)],
            run_check=False,
            shape=whole.shape,
            stride=whole.stride(),
        )

    def placed(self, name: str, tensor: Tensor) -> Tensor:
        """*tensor* as the optimiser holds what belongs to the parameter *name*: scattered, if the parameter is."""
        if isinstance(tensor, DTensor) or not tensor.ndim or name not in self.shards.rows:
            return tensor
        return self.scattered(name, self.shards.part(name, tensor))

    def saved(self, mask: Mask) -> dict[str, Tensor]:
        """*mask* as tensors to save: packed bits where it is whole, else flags that any number of ranks can divide."""
        if not self.is_sharded:
            return {name: mask.packed(name) for name in mask}
        return {name: self.scattered(name, mask[name].to(torch.uint8)) for name in mask}

    def loaded(self, scope: Scope, tensors: Mapping[str, Tensor]) -> Mask:
        """This rank's part of a mask that `saved` gave, on any number of ranks; *scope* is that of the whole model."""
        as_flags = all(
            tensors[name].shape == shape for name, shape in scope.shapes.items()
        )
        if as_flags:
            flags = {name: self._flags(name, tensors[name]) for name in scope}
            return Mask(scope.shard(self.shards), flags)

        return self.mask(Mask.from_packed(scope, {name: tensors[name] for name in scope}))

    def _flags(self, name: str, tensor: Tensor) -> Tensor:
        if isinstance(tensor, DTensor):
            return tensor.to_local().bool()
        return self.shards.part(name, tensor).bool()


def empty_rows(shape: tuple[int, ...], dtype: torch.dtype) -> DTensor:
    """A tensor of *shape* of which each rank holds some rows, not filled."""
    return empty(shape, dtype=dtype, device_mesh=_mesh(), placements=[Shard(0)])


def _mesh() -> DeviceMesh:
    device = torch.accelerator.current_accelerator() or torch.device("cpu")
    return init_device_mesh(device.type, (ranks.team().size,))


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and the buffers that a checkpoint holds, each once."""
    kept = module.state_dict().keys()
    buffers = {name: buffer for name, buffer in module.named_buffers() if name in kept}
    return {**dict(module.named_parameters()), **buffers}


def local(tensor: Tensor) -> Tensor:
    """The rows of *tensor* that this rank has, in the same memory."""
    return tensor.to_local().detach() if isinstance(tensor, DTensor) else tensor


def _sharded(model: nn.Module, mesh: Any, accelerator: Accelerator) -> nn.Module:
    """*model* under FSDP2, each of its blocks a unit that is gathered by itself."""
    for name, parameter in model.named_parameters():
        if not parameter.ndim:
            raise RankError(
                f"{name!r} is a single number, which FSDP2 cannot cut; train this model with DDP"
            )

    half = accelerator.mixed_precision == "bf16"
    policy = MixedPrecisionPolicy()
    whole_policy = policy
    if half:
        # gradients are added up in float32
        policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32)
        whole_policy = replace(policy, output_dtype=torch.float32)

    model.to(accelerator.device)
    # their outputs stay in bf16, which what comes after them is gathered in too
    for block in _blocks(model):
        fully_shard(block, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=whole_policy)
    return model


def _blocks(module: nn.Module) -> list[nn.Module]:
    """The members of the outermost lists of modules: a transformer's layers."""
    blocks: list[nn.Module] = []
    for child in module.children():
        if isinstance(child, nn.ModuleList):
            blocks += list(child)
        else:
            blocks += _blocks(child)
    return blocks


def _rows(module: nn.Module) -> dict[str, tuple[int, int]]:
    """The first row of each parameter that this rank has, and the first that it has not any more."""
    rows = {}
    for name, parameter in module.named_parameters():
        if isinstance(parameter, DTensor):
            first = sum(_lengths(parameter)[: parameter.device_mesh.get_local_rank()])
            rows[name] = (first, first + len(parameter.to_local()))
    return rows


def _lengths(parameter: DTensor) -> list[int]:
    """How many rows each rank holds."""
    rows = parameter.shape[0]
    size = parameter.device_mesh.size()
    # as FSDP2 divides them: all have equally many, until nothing is left for the last
    most = ceil(rows / size)
    return [max(0, min(most, rows - rank * most)) for rank in range(size)]
