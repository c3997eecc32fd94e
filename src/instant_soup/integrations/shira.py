"""SHiRA: adapters that are a few weights of the model itself, here those that a ticket keeps.

K. Bhardwaj et al., Sparse High Rank Adapters, NeurIPS 2024. A ticket read this way prunes nothing. Its survivors are
trained and every other weight stays at its pre-trained value, so its sparsity is the share of the scope that is not
trained. An adapter is the changes of the survivors and where they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from ..core.apply import parameters_of
from ..core.errors import KnobError, ScopeError
from ..core.kinds import checked
from ..core.mask import Mask
from ..core.ticket import Ticket
from .peft import PeftModel, mask_of, peft

# multiplied by nn.MultiheadAttention itself, past any adapter
_ATTENTION = NonDynamicallyQuantizableLinear


@checked
def shira(
    model: nn.Module,
    ticket: Ticket | Mask,
    *,
    target_modules: Sequence[str] | None = None,
    **options: Any,
) -> PeftModel:
    """A model of peft in which exactly the survivors of *ticket* are trained, each by an entry of an adapter.

        model = soup.shira(model, ticket, modules_to_save=["classifier"])
        ...  # train it
        model.save_pretrained("adapter")
        model = model.merge_and_unload()

    Peft's own configuration asks for as many entries as LoRA of some rank has, of the same rank in every layer, and a
    ticket's survivors are seldom that many. So to load what was saved, call this on a fresh model, then
    ``peft.set_peft_model_state_dict``; or see `shira_config`.

    Args:
        model: at its pre-trained weights; or with the ticket applied, to train the survivors of a sparse model.
        target_modules: which of the scope to adapt, by names or ends of names; all by default, but for those of which
            nothing is kept.
        options: more for `peft.ShiraConfig`.

    Raises:
        MissingExtra: peft is not installed.
        KnobError: nothing is left to adapt.
        ScopeError: the model lacks a parameter of the ticket, or one is not the weight of a linear layer.
    """
    mask = mask_of(ticket)
    layers = _layers(model, mask, target_modules)
    adapted = peft().get_peft_model(model, _config(layers.values(), 1, None, options))

    for layer in adapted.modules():
        if not isinstance(layer, peft().tuners.shira.ShiraLayer):
            continue

        # peft has made as many entries as its own rule says; the ticket says how many and where
        kept = mask[_name(layers, layer.get_base_layer())]
        places = torch.stack(torch.where(kept)).int()
        for adapter, entries in layer.shira_weight.items():
            changes = entries.new_zeros(places.shape[1])
            layer.shira_weight[adapter] = nn.Parameter(changes)
            layer.shira_indices[adapter] = places.to(entries.device)

    return adapted


@checked
def shira_config(
    model: nn.Module,
    ticket: Ticket | Mask,
    r: int | None = None,
    *,
    target_modules: Sequence[str] | None = None,
    **options: Any,
) -> Any:
    """A `peft.ShiraConfig` whose entries are survivors of *ticket*: the r (m + n) largest of a layer of m x n weights.

    What is trained with it is saved and loaded by peft alone.

    Args:
        model: the one that is going to be adapted.
        r: as many entries as LoRA of this rank has; by default the most that every layer has survivors for.
        target_modules: which of the scope to adapt, by names or ends of names; all by default, but for those of which
            nothing is kept.
        options: more for `peft.ShiraConfig`.

    Raises:
        MissingExtra: peft is not installed.
        KnobError: nothing is left to adapt, or a layer has not enough survivors.
        ScopeError: the model lacks a parameter of the ticket, or one is not the weight of a linear layer.
    """
    mask = mask_of(ticket)
    layers = _layers(model, mask, target_modules)
    most = {}
    for name in layers.values():
        most[name] = mask.kept_by_name[name] // sum(mask.scope.shapes[name])

    # peft has one r for all layers, so the layer with the fewest survivors decides
    thin = min(most, key=lambda name: most[name])
    rank = max(most[thin], 1) if r is None else r
    if not 1 <= rank <= most[thin]:
        raise KnobError(
            f"r is {rank} and {thin!r} keeps {mask.kept_by_name[thin]:,} weights, enough for r={most[thin]}; give a "
            f"smaller r, leave the layer out by target_modules, or use soup.shira, which trains every survivor"
        )

    def strongest(layer: nn.Module, rank: int, **_: Any) -> Tensor:
        return _strongest(layer, mask[_name(layers, layer)], rank)

    return _config(layers.values(), rank, strongest, options)


def _layers(
    model: nn.Module, mask: Mask, wanted: Sequence[str] | None
) -> dict[nn.Module, str]:
    """The layers to adapt, each with the name of its parameter in scope."""
    modules = dict(model.named_modules(remove_duplicate=False))
    layers: dict[nn.Module, str] = {}

    for name in parameters_of(model, mask.scope):
        place, _, attribute = name.rpartition(".")
        if not mask.kept_by_name[name] or not _asked_for(place, wanted):
            continue

        layer = modules.get(place)
        plain = isinstance(layer, nn.Linear) and not isinstance(layer, _ATTENTION)
        if layer is None or not plain or attribute != "weight":
            raise ScopeError(
                f"{name!r} is not the weight of a linear layer of its own, and SHiRA adapts no other; name the "
                f"layers to adapt by target_modules"
            )
        layers[layer] = name

    if not layers:
        raise KnobError(
            f"no layer to adapt: target_modules is {wanted} and the ticket keeps {mask.kept:,} weights"
        )
    return layers


def _asked_for(place: str, wanted: Sequence[str] | None) -> bool:
    """Whether *wanted* names a layer by whole steps at the end of its name; None asks for all."""
    return wanted is None or any(f".{place}".endswith(f".{end}") for end in wanted)


def _name(layers: Mapping[nn.Module, str], layer: nn.Module) -> str:
    if layer not in layers:
        raise ScopeError(
            f"this configuration is for the layers of another model; make one for the model of this {layer}"
        )
    return layers[layer]


def _strongest(layer: nn.Module, kept: Tensor, rank: int) -> Tensor:
    """1 at the survivors to train, 0 elsewhere, as peft wants it."""
    weight = layer.get_parameter("weight").detach()
    sizes = weight.abs().float().masked_fill(~kept.to(weight.device), -1)

    # stable, so that among equals the same are chosen wherever the configuration is loaded
    order = sizes.flatten().argsort(descending=True, stable=True)
    chosen = order[: rank * sum(weight.shape)]
    return torch.zeros_like(weight).flatten().index_fill(0, chosen, 1).view_as(weight)


def _config(
    names: Iterable[str],
    r: int,
    mask_fn: Callable[..., Tensor] | None,
    options: Mapping[str, Any],
) -> Any:
    # a list would match ends of names
    exactly = "|".join(re.escape(name.removesuffix(".weight")) for name in names)
    config = peft().ShiraConfig(r=r, target_modules=exactly, **options)
    # given to the constructor, the type would be warned of
    config.mask_type = "ticket"
    config.mask_fn = mask_fn
    return config
