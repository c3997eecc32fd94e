"""Masked LoRA: train adapters whose product is masked all along, so that merging them costs nothing.

Peft lets an adapter compute its own product, as DoRA does; this is another such way. The mask is applied to the
product B A, not to the matrices, so the adapter is as large as ever and is saved and loaded as any other.
"""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.lora.layer import Linear, LoraLayer, LoraVariant
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from ..core.apply import parameters_of
from ..core.errors import KnobError
from ..core.mask import Mask


def install(model: nn.Module, mask: Mask) -> None:
    """What `mask_adapters` does to a model of peft."""
    # by where their numbers are: beneath an adapter a parameter has another name
    names = {}
    for name, parameter in parameters_of(model, mask.scope).items():
        names[parameter.data_ptr()] = name

    layers: list[tuple[LoraLayer, str]] = []
    for module in model.modules():
        if isinstance(module, LoraLayer):
            for parameter in module.get_base_layer().parameters(recurse=False):
                below = names.get(parameter.data_ptr())
                if below:
                    _check(module, below)
                    layers.append((module, below))

    # only once all are known to be of a kind that can be masked
    for layer, name in layers:
        for adapter in layer.lora_A:
            layer.lora_variant[adapter] = MaskedProduct(mask[name])


class MaskedProduct(LoraVariant):
    """LoRA whose product reaches only the weights that are kept, as peft asks for a variant.

    Peft's own have static methods, for they hold nothing. It calls them on the instance.

    Args:
        kept: bool, of the shape of the weight that the adapter is for.
    """

    def __init__(self, kept: Tensor) -> None:
        self._dead = ~kept

    def supports_lora_conversion(self) -> bool:
        """No: the masked product has no low rank."""
        return False

    def product(self, module: Any, adapter: str) -> Tensor:
        """What the adapter adds to the weight, in the weight's own layout."""
        update: Tensor = module.get_delta_weight(adapter)
        if self._dead.device != update.device:
            self._dead = self._dead.to(update.device)
        return update.masked_fill(self._dead, 0)

    def forward(  # type: ignore[override]
        self, module: Any, active_adapter: str, x: Tensor, result: Tensor, **_: Any
    ) -> Tensor:
        """The layer's outputs: those of the weight, *result*, and those of the adapter."""
        update = self.product(module, active_adapter)
        if module.fan_in_fan_out:  # stored turned, as GPT-2 does
            update = update.T

        bias = module.lora_B[active_adapter].bias
        if bias is not None:
            bias = bias * module.scaling[active_adapter]
        dropped = module.lora_dropout[active_adapter](x)
        return result + F.linear(dropped, update, bias)

    def merge_safe(self, module: Any, active_adapter: str, orig_weight: Tensor) -> Tensor:  # type: ignore[override]
        """A new weight, with the adapter in it."""
        return orig_weight + self.product(module, active_adapter).to(orig_weight.dtype)

    @torch.no_grad()
    def merge_unsafe(self, module: Any, active_adapter: str, orig_weight: Tensor) -> None:  # type: ignore[override]
        """The same, in place."""
        orig_weight += self.product(module, active_adapter).to(orig_weight.dtype)

    def unmerge(self, module: Any, active_adapter: str, orig_weight: Tensor) -> Tensor:  # type: ignore[override]
        """The weight without the adapter."""
        update = self.product(module, active_adapter).detach()
        return orig_weight.detach() - update.to(orig_weight.dtype)


def _check(layer: LoraLayer, name: str) -> None:
    others = []
    for variant in layer.lora_variant.values():
        if not isinstance(variant, MaskedProduct):
            others.append(variant)

    # attention multiplies by it itself
    inside = isinstance(layer.get_base_layer(), NonDynamicallyQuantizableLinear)

    if type(layer) is not Linear or others or inside:
        odd = others[0] if others else layer
        raise KnobError(
            f"the adapter of {name!r} is of kind {type(odd).__name__}, and only plain LoRA of "
            f"linear layers can be trained masked; train it as it is and let merge_adapters mask it"
        )
