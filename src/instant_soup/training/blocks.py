"""Blocks: the members of a model's outermost lists of modules, which are looked at and cut one at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from ..core.scope import Scope


@dataclass(frozen=True)
class Block:
    """A member of a stack.

    Attributes:
        stack: the path of the list that it is in.
        names: its parameters in scope.
    """

    path: str
    stack: str
    module: nn.Module
    names: tuple[str, ...]

    def matrices(self) -> dict[str, Tensor]:
        """Its parameters in scope, the live tensors, by their names in the model."""
        matrices = {}
        for name in self.names:
            parameter = self.module.get_parameter(name.removeprefix(f"{self.path}."))
            matrices[name] = parameter.detach()
        return matrices


def blocks_of(model: nn.Module, scope: Scope) -> list[Block]:
    """The blocks of the stacks with something in *scope*, in the order in which the model lists them."""
    blocks: list[Block] = []
    stacks: list[str] = []

    for path, module in model.named_modules():
        within_a_stack = path.startswith(tuple(f"{outer}." for outer in stacks))
        if not isinstance(module, nn.ModuleList) or within_a_stack:
            continue
        if not any(name.startswith(f"{path}.") for name in scope):
            continue

        stacks.append(path)
        for number, member in enumerate(module):
            member_path = f"{path}.{number}"
            names = [name for name in scope if name.startswith(f"{member_path}.")]
            blocks.append(Block(member_path, path, member, tuple(names)))

    return blocks


def share_weights(blocks: Sequence[Block]) -> bool:
    """Whether a parameter is in more than one of the *blocks*, under one name or several."""
    seen: set[int] = set()
    for block in blocks:
        own = {id(parameter) for parameter in block.module.parameters()}
        if own & seen:
            return True
        seen |= own
    return False
