"""SHiRA: only a ticket's survivors are trained."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import instant_soup as soup
from instant_soup.core.rounding import rounding_of
from instant_soup.models import tiny

from .test_adapters import bert as bert
from .test_adapters import outputs, ticket_of, train

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def test_every_survivor_is_trained_and_nothing_else(bert: Any, tmp_path: Path) -> None:
    ticket, before = ticket_of(bert), weights(bert)
    fresh = deepcopy(bert)
    model = soup.shira(bert, ticket, modules_to_save=["classifier"])
    trainable = sum(
        p.numel()
        for name, p in model.named_parameters()
        if "shira" in name and p.requires_grad
    )
    assert trainable == ticket.mask.kept
    train(model)
    trained = outputs(model)
    model.save_pretrained(tmp_path)
    merged = model.merge_and_unload()
    after = weights(merged)
    assert after.keys() == before.keys()
    for name in ticket.mask:
        kept = ticket.mask[name]
        assert torch.equal(after[name][~kept], before[name][~kept])
        assert (after[name][kept] != before[name][kept]).float().mean() > 0.9
        # pruned means frozen here, not zero
        assert before[name][~kept].count_nonzero() > 0
    for name in (
        before.keys() - ticket.mask.keys() - {"classifier.weight", "classifier.bias"}
    ):
        assert torch.equal(after[name], before[name])
    torch.testing.assert_close(
        outputs(merged), trained, rtol=0, atol=rounding_of(merged, trained)
    )

    again = soup.shira(fresh, ticket, modules_to_save=["classifier"])
    peft.set_peft_model_state_dict(
        again, load_file(tmp_path / "adapter_model.safetensors")
    )
    torch.testing.assert_close(
        outputs(again), trained, rtol=0, atol=rounding_of(again, trained)
    )


def test_on_an_applied_ticket_zeros_stay(bert: Any) -> None:
    ticket = ticket_of(bert)
    ticket.apply(bert)
    model = soup.shira(bert, ticket, target_modules=["query", "layer.1.output.dense"])
    train(model)
    merged = weights(model.merge_and_unload())
    assert (
        sum(
            int(merged[name].view(torch.int32)[~ticket.mask[name]].count_nonzero())
            for name in ticket.mask
        )
        == 0
    )


def test_a_configuration_of_one_rank_takes_the_largest_survivors_and_travels_by_peft_alone(
    bert: Any, tmp_path: Path
) -> None:
    ticket, before = ticket_of(bert), weights(bert)
    fresh = deepcopy(bert)
    names = [
        name for name in ticket.mask if name.endswith(("query.weight", "value.weight"))
    ]
    config = soup.shira_config(
        bert, ticket, target_modules=["query", "value"], modules_to_save=["classifier"]
    )
    assert config.r == min(ticket.mask.kept_by_name[name] // (32 + 32) for name in names)
    model = peft.get_peft_model(bert, config)
    train(model)
    trained = outputs(model)
    model.save_pretrained(tmp_path)
    merged = model.merge_and_unload()
    after = weights(merged)
    for name in ticket.mask:
        moved, kept = after[name] != before[name], ticket.mask[name]
        assert not moved[~kept].any()
        if name in names:
            sizes = before[name].abs()
            taken = torch.zeros_like(sizes).flatten()
            taken[(sizes * kept).flatten().argsort(descending=True)[: config.r * 64]] = 1
            assert not moved[taken.view_as(sizes) == 0].any()
            assert moved.sum() > 0.9 * config.r * 64
        else:
            assert not moved.any()
    loaded = peft.PeftModel.from_pretrained(fresh, tmp_path)
    torch.testing.assert_close(
        outputs(loaded), trained, rtol=0, atol=rounding_of(loaded, trained)
    )


def test_what_cannot_be_is_refused(bert: Any) -> None:
    ticket = ticket_of(bert)
    with pytest.raises(
        soup.SoupError,
        match=r"r is 99 and '.*' keeps .* weights, enough for r=\d+; .*soup\.shira",
    ):
        soup.shira_config(bert, ticket, 99)
    with pytest.raises(soup.SoupError, match="r is 0"):
        soup.shira_config(bert, ticket, 0)
    with pytest.raises(
        soup.SoupError, match=r"no layer to adapt: target_modules is \['kwery'\]"
    ):
        soup.shira(bert, ticket, target_modules=["kwery"])
    config = soup.shira_config(bert, ticket, 1)
    with pytest.raises(
        soup.SoupError, match="this configuration is for the layers of another model"
    ):
        peft.get_peft_model(deepcopy(bert), config)
    tower = tiny.attention_tower()
    for names in (None, ["attn.out_proj"]):
        with pytest.raises(
            soup.SoupError, match="is not the weight of a linear layer of its own"
        ):
            soup.shira(tower, ticket_of(tower), target_modules=names)
    assert soup.shira(tower, ticket_of(tower), target_modules=["c_fc"]) is not None


def test_a_name_that_ends_like_another_is_not_mistaken_for_it() -> None:
    inner = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6))
    model = nn.Sequential(nn.Linear(6, 6), inner)
    scope = soup.Scope({"0.weight": (6, 6)})
    adapted = soup.shira(model, soup.Mask.dense(scope))
    assert [name for name, p in adapted.named_parameters() if p.requires_grad] == [
        "base_model.model.0.shira_weight.default"
    ]


def test_layers_of_which_nothing_is_kept_are_left_alone(bert: Any) -> None:
    dense = ticket_of(bert).mask
    gone = next(iter(dense))
    mask = soup.Mask(
        dense.scope,
        {name: torch.zeros_like(m) if name == gone else m for name, m in dense.items()},
    )
    model = soup.shira(bert, mask)
    assert f"base_model.model.{gone}" in dict(model.named_parameters())
    assert soup.shira_config(model.unload(), mask).r >= 1
