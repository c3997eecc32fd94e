"""Adapters: LoRA beside a ticket."""

from __future__ import annotations

import sys
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import AdamW
from transformers import (
    AutoModelForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
)

import instant_soup as soup
from instant_soup.core.budget import Cost
from instant_soup.core.errors import MissingExtra
from instant_soup.core.rounding import rounding, rounding_of
from instant_soup.core.task import Base
from instant_soup.core.weights import digest
from instant_soup.models import tiny

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)
WORDS = torch.arange(24).view(4, 6) % 30 + 5
LABELS = torch.tensor([0, 1, 0, 1])
MATRICES = ["query", "value", "intermediate.dense"]


@pytest.fixture
def bert(tiny_bert: Path) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AutoModelForSequenceClassification.from_pretrained(tiny_bert, num_labels=2)


def gpt() -> Any:
    """Its Conv1D hold weights the other way round."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = GPT2Config(
            vocab_size=64, n_positions=16, n_embd=16, n_layer=1, n_head=2, pad_token_id=0
        )
        return GPT2ForSequenceClassification(config)


def ticket_of(model: nn.Module, sparsity: float = 0.7) -> soup.Ticket:
    scope = soup.Scope.of(
        model, keep_dense=("*embed*", "*head*", "*classifier*", "*score*", "*pooler*")
    )
    weights = dict(model.named_parameters())
    mask = soup.prune(
        {name: weights[name].abs() for name in scope}, soup.Mask.dense(scope), sparsity
    )
    return soup.Ticket(mask, {}, Base("tiny", digest(weights, scope)), Cost())


def adapted(model: nn.Module, seed: int = 1, **options: Any) -> Any:
    """With adapters that are not zero to begin with."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        settings = {
            "r": 3,
            "lora_alpha": 5,
            "target_modules": MATRICES,
            "init_lora_weights": False,
        }
        return get_peft_model(model, LoraConfig(**settings | options))


def loss_of(model: Any) -> Tensor:
    logits: Tensor = model(input_ids=WORDS).logits
    return F.cross_entropy(logits.float(), LABELS)


def train(model: Any, steps: int = 3) -> None:
    optimizer = AdamW(
        [p for p in model.parameters() if p.requires_grad], lr=0.01, weight_decay=0.1
    )
    for _ in range(steps):
        loss_of(model).backward()
        optimizer.step()
        optimizer.zero_grad()


def outputs(model: Any) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model.eval()(input_ids=WORDS).logits
    return logits


def product(layer: Any, adapter: str = "default") -> np.ndarray:
    """B A times its scale, by numpy, in the layout of the weight."""
    a, b = (
        part[adapter].weight.detach().double().numpy()
        for part in (layer.lora_A, layer.lora_B)
    )
    delta: np.ndarray = b @ a * layer.scaling[adapter]
    return delta.T if layer.fan_in_fan_out else delta


def layers(model: Any) -> dict[str, Any]:
    """The LoRA layers by the names that their weights have in the base model."""
    return {
        f"{name.removeprefix('base_model.model.')}.weight": module
        for name, module in model.named_modules()
        if isinstance(module, peft.tuners.lora.Linear)
    }


def dead_bits(mask: soup.Mask, tensors: dict[str, Tensor]) -> int:
    as_int = {4: torch.int32, 2: torch.int16}
    return sum(
        int(
            (
                tensors[name].view(as_int[tensors[name].element_size()])[~mask[name]] != 0
            ).sum()
        )
        for name in mask
    )


def masked_by_hand(
    model: Any, mask: soup.Mask, adapter: str = "default"
) -> tuple[dict[str, np.ndarray], ...]:
    """What merging must give for each adapted weight, and the norms of its update: whole and lost."""
    weights, norms, lost = {}, {}, {}
    for name, layer in layers(model).items():
        delta, start = (
            product(layer, adapter),
            layer.get_base_layer().weight.detach().double().numpy(),
        )
        kept = mask[name].numpy() if name in mask else np.ones(delta.shape, dtype=bool)
        weights[name] = np.where(kept, start + delta, start)
        norms[name], lost[name] = np.linalg.norm(delta), np.linalg.norm(delta[~kept])
    return weights, norms, lost


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_rslora": True},
        {"lora_dropout": 0.5},
        {"target_modules": [*MATRICES, "classifier"]},
    ],
    ids=["plain", "rank-stabilised", "dropout", "outside the scope too"],
)
def test_merging_adds_the_product_only_where_the_ticket_keeps(
    bert: Any, tmp_path: Path, options: dict[str, Any]
) -> None:
    ticket = ticket_of(bert)
    ticket.apply(bert)
    model = adapted(bert, **options)
    train(model)
    expected, norms, lost = masked_by_hand(model, ticket.mask)
    before = outputs(model)
    training = model.training

    merged = soup.merge_adapters(model, ticket, measure=lambda some: float(loss_of(some)))

    assert model.training == training
    assert merged.model is bert
    assert not any("lora" in name or "base_layer" in name for name in bert.state_dict())
    for name, weight in expected.items():
        np.testing.assert_allclose(
            bert.get_parameter(name).detach().numpy(),
            weight,
            atol=rounding(16, np.abs(weight).max()),
        )
    in_scope = {name for name in expected if name in ticket.mask}
    assert set(merged.layers) == in_scope
    for name in in_scope:
        loss = merged.layers[name]
        np.testing.assert_allclose(
            (loss.norm, loss.lost), (norms[name], lost[name]), rtol=1e-4
        )
        assert loss.share == pytest.approx((lost[name] / norms[name]) ** 2, rel=1e-3)
        assert loss.sparsity == pytest.approx(
            1 - ticket.mask.kept_by_name[name] / ticket.mask.scope.numel(name)
        )
    total = sum(lost[name] ** 2 for name in in_scope) / sum(
        norms[name] ** 2 for name in in_scope
    )
    assert merged.whole.share == pytest.approx(total, rel=1e-3)
    pruned = sum(
        ticket.mask.scope.numel(name) - ticket.mask.kept_by_name[name]
        for name in in_scope
    )
    assert merged.whole.sparsity == pruned / sum(
        ticket.mask.scope.numel(name) for name in in_scope
    )
    assert 0.4 < merged.whole.share < 0.9

    assert merged.before == pytest.approx(
        float(F.cross_entropy(before, LABELS)), rel=1e-5
    )
    assert merged.unmasked == pytest.approx(merged.before, rel=1e-4)
    assert merged.masked == pytest.approx(float(loss_of(bert.eval())), rel=1e-6)
    assert merged.masked != pytest.approx(merged.unmasked, rel=1e-4)
    assert f"took {merged.whole.share:.1%} of the update" in str(merged)
    assert f"{merged.masked:g} masked" in str(merged)

    bert.save_pretrained(tmp_path)
    assert dead_bits(ticket.mask, load_file(tmp_path / "model.safetensors")) == 0


def test_weights_that_are_held_the_other_way_round() -> None:
    model = gpt()
    ticket = ticket_of(model)
    ticket.apply(model)
    wrapped = adapted(model, target_modules=["c_attn", "c_fc"], fan_in_fan_out=True)
    expected, _, lost = masked_by_hand(wrapped, ticket.mask)
    twin = deepcopy(wrapped)
    merged = soup.merge_adapters(wrapped, ticket)
    for name, weight in expected.items():
        np.testing.assert_allclose(
            model.get_parameter(name).detach().numpy(),
            weight,
            atol=rounding(16, np.abs(weight).max()),
        )
        assert merged.layers[name].lost == pytest.approx(lost[name], rel=1e-4)
    assert len(expected) == 2
    assert dead_bits(ticket.mask, dict(model.state_dict())) == 0
    soup.mask_adapters(twin, ticket)
    wanted = outputs(model)
    torch.testing.assert_close(
        outputs(twin), wanted, rtol=0, atol=rounding_of(model, wanted)
    )


def test_several_adapters_merge_as_their_sum_and_one_by_its_name(bert: Any) -> None:
    ticket = ticket_of(bert)
    ticket.apply(bert)
    model = adapted(bert)
    with torch.random.fork_rng():
        torch.manual_seed(2)
        other = LoraConfig(
            r=2, lora_alpha=7, target_modules=["query"], init_lora_weights=False
        )
        model.add_adapter("other", other)
    model.base_model.set_adapter(["default", "other"])
    sums = {
        name: product(layer) + (product(layer, "other") if "other" in layer.lora_A else 0)
        for name, layer in layers(model).items()
    }
    start = {
        name: layer.get_base_layer().weight.detach().numpy().copy()
        for name, layer in layers(model).items()
    }
    alone = deepcopy(model)
    second = {
        name: product(layer, "other")
        for name, layer in layers(model).items()
        if "other" in layer.lora_A
    }
    merged = soup.merge_adapters(model, ticket)
    for name, delta in sums.items():
        kept = ticket.mask[name].numpy()
        np.testing.assert_allclose(
            merged.model.get_parameter(name).detach().numpy(),
            np.where(kept, start[name] + delta, 0),
            atol=rounding(16, 1),
        )
        assert merged.layers[name].norm == pytest.approx(np.linalg.norm(delta), rel=1e-4)
    merged = soup.merge_adapters(alone, ticket, adapters=["other"])
    for name in sums:
        kept, delta = (
            ticket.mask[name].numpy(),
            second.get(name, np.zeros_like(start[name])),
        )
        np.testing.assert_allclose(
            merged.model.get_parameter(name).detach().numpy(),
            np.where(kept, start[name] + delta, 0),
            atol=rounding(16, 1),
        )
        assert (merged.layers[name].norm == 0) == (name not in second)
    assert merged.layers[next(name for name in sums if name not in second)].share == 0


def test_what_rounding_leaves_of_adapters_that_were_taken_out_again_is_no_revival(
    bert: Any,
) -> None:
    ticket = ticket_of(bert)
    ticket.apply(bert)
    model = adapted(bert, lora_alpha=0.02)
    other = LoraConfig(
        r=2, lora_alpha=0.03, target_modules=MATRICES, init_lora_weights=False
    )
    model.add_adapter("other", other)
    model.base_model.set_adapter(["default", "other"])
    model.merge_adapter()
    model.unmerge_adapter()
    left = [
        layer.get_base_layer().weight[~ticket.mask[name]]
        for name, layer in layers(model).items()
    ]
    assert any(part.any() for part in left)
    merged = soup.merge_adapters(model, ticket)
    assert dead_bits(ticket.mask, dict(merged.model.state_dict())) == 0


def test_weights_of_16_bits_are_rounded_once(bert: Any, tmp_path: Path) -> None:
    bert.to(torch.bfloat16)
    ticket = ticket_of(bert)
    ticket.apply(bert)
    model = adapted(bert, lora_alpha=1)
    assert (
        next(iter(layers(model).values())).lora_A["default"].weight.dtype == torch.float32
    )
    expected, norms, lost = masked_by_hand(model, ticket.mask)
    merged = soup.merge_adapters(model, ticket, measure=lambda some: float(loss_of(some)))
    for name, weight in expected.items():
        found = bert.get_parameter(name).detach()
        assert found.dtype == torch.bfloat16
        rounded = torch.from_numpy(weight).float().to(torch.bfloat16)
        # ties within float32's own rounding
        assert (found != rounded).float().mean() < 1e-3
        assert merged.layers[name].norm == pytest.approx(norms[name], rel=1e-4)
        assert merged.layers[name].lost == pytest.approx(lost[name], rel=1e-4)
    bert.save_pretrained(tmp_path)
    assert dead_bits(ticket.mask, load_file(tmp_path / "model.safetensors")) == 0


def test_dora_and_other_kinds_of_adapters_are_merged_and_masked(bert: Any) -> None:
    ticket = ticket_of(bert)
    ticket.apply(bert)
    kinds = {
        "dora": LoraConfig(
            use_dora=True, target_modules=MATRICES, init_lora_weights=False
        ),
        "loha": peft.LoHaConfig(target_modules=MATRICES, init_weights=False),
        "ia3": peft.IA3Config(
            target_modules=MATRICES,
            feedforward_modules=["intermediate.dense"],
            init_ia3_weights=False,
        ),
    }
    for config in kinds.values():
        own = deepcopy(bert)
        with torch.random.fork_rng():
            torch.manual_seed(1)
            model = get_peft_model(own, config)
        plain = deepcopy(model).merge_and_unload()
        merged = soup.merge_adapters(model, ticket)
        for name in merged.layers:
            wanted = plain.get_parameter(name).detach() * ticket.mask[name]
            torch.testing.assert_close(merged.model.get_parameter(name).detach(), wanted)
            update = (
                (plain.get_parameter(name) - bert.get_parameter(name)).detach().numpy()
            )
            assert merged.layers[name].norm == pytest.approx(
                np.linalg.norm(update), rel=1e-4
            )
        assert len(merged.layers) == 6
        assert dead_bits(ticket.mask, dict(merged.model.state_dict())) == 0


def test_fused_attention_and_convolutions() -> None:
    """As in open_clip: query, key and value in one matrix, patches by a convolution."""
    tower = tiny.attention_tower()
    ticket = ticket_of(tower)
    ticket.apply(tower)
    pixels = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    model = adapted(tower, target_modules=["attn", "c_fc", "conv1"])
    plain = deepcopy(model).merge_and_unload()
    with pytest.raises(
        soup.SoupError,
        match=r"'conv1\.weight' is of kind Conv2d.* merge_adapters mask it",
    ):
        soup.mask_adapters(model, ticket)
    merged = soup.merge_adapters(model, ticket)
    blocks = [f"transformer.resblocks.{i}" for i in (0, 1)]
    assert set(merged.layers) == {
        "conv1.weight",
        *(
            f"{block}.{part}"
            for block in blocks
            for part in ("attn.in_proj_weight", "attn.out_proj.weight")
        ),
        *(f"{block}.mlp.c_fc.weight" for block in blocks),
    }
    for name in ticket.mask:
        wanted = plain.get_parameter(name).detach() * ticket.mask[name]
        torch.testing.assert_close(merged.model.get_parameter(name).detach(), wanted)
    assert bool(merged.model(pixels).isfinite().all())
    assert dead_bits(ticket.mask, dict(merged.model.state_dict())) == 0
    fresh = adapted(tiny.attention_tower(), target_modules=["attn"])
    with pytest.raises(
        soup.SoupError, match=r"in_proj_weight' is of kind MultiheadAttention"
    ):
        soup.mask_adapters(fresh, ticket)


def test_what_was_trained_whole_is_taken_over(bert: Any) -> None:
    ticket = ticket_of(bert)
    ticket.apply(bert)
    whole = "bert.encoder.layer.0.output.dense"
    model = adapted(bert, modules_to_save=["classifier", "layer.0.output.dense"])
    train(model)
    head = (
        model.base_model.model.classifier.modules_to_save["default"]
        .weight.detach()
        .clone()
    )
    dense = (
        model.get_submodule(f"base_model.model.{whole}")
        .modules_to_save["default"]
        .weight.detach()
        .clone()
    )
    start = (
        model.get_submodule(f"base_model.model.{whole}")
        .original_module.weight.detach()
        .clone()
    )
    merged = soup.merge_adapters(model, ticket)
    assert torch.equal(merged.model.classifier.weight, head)  # type: ignore[union-attr]
    kept = ticket.mask[f"{whole}.weight"]
    assert torch.equal(
        merged.model.get_parameter(f"{whole}.weight"), dense.masked_fill(~kept, 0)
    )
    assert merged.layers[f"{whole}.weight"].lost == pytest.approx(
        float((dense - start)[~kept].norm()), rel=1e-5
    )
    assert dead_bits(ticket.mask, dict(merged.model.state_dict())) == 0


@pytest.mark.parametrize(
    "options",
    [{}, {"lora_dropout": 0.3}, {"lora_bias": True}, {"use_rslora": True}],
    ids=["plain", "dropout", "bias", "rank-stabilised"],
)
def test_adapters_trained_under_the_mask_lose_nothing_when_they_are_merged(
    bert: Any, tmp_path: Path, options: dict[str, Any]
) -> None:
    ticket = ticket_of(bert)
    ticket.apply(bert)
    again = deepcopy(bert)
    model = adapted(bert, **options)
    first = layers(model)
    free = outputs(model)
    soup.mask_adapters(model, ticket)
    assert not torch.allclose(outputs(model), free, atol=1e-4)
    model.train()
    train(model)
    trained = outputs(model)
    expected, _, _ = masked_by_hand(model, ticket.mask)

    model.merge_adapter()
    torch.testing.assert_close(
        outputs(model), trained, rtol=0, atol=rounding_of(model, trained)
    )
    for name, layer in first.items():
        assert not layer.get_base_layer().weight[~ticket.mask[name]].any()
    model.unmerge_adapter()
    torch.testing.assert_close(
        outputs(model), trained, rtol=0, atol=rounding_of(model, trained)
    )

    model.save_pretrained(tmp_path)
    loaded = peft.PeftModel.from_pretrained(again, tmp_path)
    soup.mask_adapters(loaded, ticket)
    torch.testing.assert_close(
        outputs(loaded), trained, rtol=0, atol=rounding_of(loaded, trained)
    )

    merged = soup.merge_adapters(model, ticket, measure=lambda some: float(loss_of(some)))
    assert merged.whole.lost == 0
    assert merged.masked == merged.unmasked == pytest.approx(merged.before, rel=1e-5)
    for name, weight in expected.items():
        np.testing.assert_allclose(
            bert.get_parameter(name).detach().numpy(),
            weight,
            atol=rounding(16, np.abs(weight).max()),
        )
    torch.testing.assert_close(
        outputs(bert), trained, rtol=0, atol=rounding_of(bert, trained)
    )


def test_gradients_under_the_mask_are_those_of_the_masked_product(bert: Any) -> None:
    ticket = ticket_of(bert)
    ticket.apply(bert)
    model = adapted(bert)
    soup.mask_adapters(model, ticket)
    name, layer = next(iter(layers(model).items()))
    inputs = torch.randn(5, layer.in_features, generator=torch.Generator().manual_seed(0))
    layer(inputs).square().sum().backward()
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    weight = layer.get_base_layer().weight.detach()
    one, two = (part.detach().clone().requires_grad_() for part in (a, b))
    by_hand = weight + ticket.mask[name] * (two @ one) * layer.scaling["default"]
    (inputs @ by_hand.T + layer.get_base_layer().bias.detach()).square().sum().backward()
    terms = inputs.numel() + weight.numel()
    torch.testing.assert_close(
        a.grad, one.grad, rtol=0, atol=rounding(terms, float(one.grad.abs().max()))
    )
    torch.testing.assert_close(
        b.grad, two.grad, rtol=0, atol=rounding(terms, float(two.grad.abs().max()))
    )


def test_dora_cannot_be_trained_masked(bert: Any) -> None:
    ticket = ticket_of(bert)
    ticket.apply(bert)
    model = adapted(bert, use_dora=True)
    with pytest.raises(
        soup.SoupError, match=r"query\.weight' is of kind DoraLinearVariant"
    ):
        soup.mask_adapters(model, ticket)


def infected(model: Any) -> None:
    with torch.no_grad():
        next(iter(layers(model).values())).lora_B["default"].weight[0, 0] = torch.nan


def revived(model: Any) -> None:
    with torch.no_grad():
        next(iter(layers(model).values())).get_base_layer().weight.add_(1)


@pytest.mark.parametrize(
    ("spoil", "options", "message"),
    [
        (infected, {}, r"lora_B\.default\.weight' holds what is not finite"),
        (
            revived,
            {},
            r"pruned weights of '.*query\.weight' are not zero beneath .* ticket\.apply",
        ),
        (lambda model: model.merge_adapter(), {}, "unmerge what is merged"),
        (
            lambda _: None,
            {"adapters": ["defualt"]},
            "unknown adapter 'defualt'; did you mean 'default'",
        ),
    ],
    ids=["not finite", "no ticket", "merged already", "unknown"],
)
def test_what_cannot_be_merged_is_refused_and_left_as_it_was(
    bert: Any, spoil: Callable[[Any], None], options: dict[str, Any], message: str
) -> None:
    ticket = ticket_of(bert)
    ticket.apply(bert)
    model = adapted(bert)
    spoil(model)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(soup.SoupError, match=message):
        soup.merge_adapters(model, ticket, **options)
    assert before.keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0, equal_nan=True)


def test_a_model_without_adapters_is_refused(
    bert: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticket = ticket_of(bert)
    for function in (soup.merge_adapters, soup.mask_adapters):
        with pytest.raises(
            soup.SoupError,
            match="BertForSequenceClassification has no adapters in its layers",
        ):
            function(bert, ticket)
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingExtra, match=r"pip install 'instant-soup\[lora\]'"):
        soup.merge_adapters(bert, ticket)


def test_a_ticket_can_be_applied_and_looked_at_beneath_adapters(bert: Any) -> None:
    ticket = ticket_of(bert)
    model = get_peft_model(bert, LoraConfig(target_modules=MATRICES))
    ticket.apply(model)
    optimizer = AdamW([p for p in model.parameters() if p.requires_grad], lr=0.01)
    # nothing of it is trained, and it is still looked at
    with soup.guard(model, optimizer, ticket) as guard:
        for _ in range(2):
            loss_of(model).backward()
            optimizer.step()
        assert guard.steps == 2
        revived(model)
        with pytest.raises(soup.RevivedError, match=r"query\.weight\["):
            guard.check()
        guard.release()
        ticket.apply(model, check=False)
    assert dead_bits(ticket.mask, dict(model.unload().state_dict())) == 0


def test_a_ticket_is_not_applied_to_what_peft_has_copied(bert: Any) -> None:
    ticket = ticket_of(bert)
    headed = replace(ticket, start={"classifier.weight": torch.ones(2, 32)})
    model = get_peft_model(
        bert, LoraConfig(target_modules=MATRICES, modules_to_save=["classifier"])
    )
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(
        soup.SoupError,
        match=r"copy of 'classifier\.weight'; apply the ticket before get_peft_model",
    ):
        headed.apply(model)
    assert all(
        torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items()
    )
    ticket.apply(model)  # has no head of its own
