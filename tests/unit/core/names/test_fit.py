"""A ticket fits models with other names, heads, weights and fused matrices, to the weight."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    CLIPConfig,
    CLIPModel,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    ElectraConfig,
    ElectraForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPTNeoXConfig,
    GPTNeoXModel,
    RobertaConfig,
    RobertaForSequenceClassification,
    ViTConfig,
    ViTModel,
)

import instant_soup as soup
from instant_soup.core.apply import apply
from instant_soup.core.errors import ScopeError, TicketError
from instant_soup.core.names.match import Piece
from instant_soup.core.prune import prune
from instant_soup.core.task import Base
from instant_soup.core.ticket import Ticket, Transfer
from instant_soup.core.weights import digest
from instant_soup.models import tiny

SHAPE: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}
TEXT = {
    "vocab_size": 50,
    "max_position_embeddings": 64,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 0,
}


def seeded(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make()


def bert(seed: int = 0, **changes: Any) -> nn.Module:
    return seeded(
        lambda: BertForSequenceClassification(BertConfig(**(SHAPE | TEXT | changes))),
        seed,
    )


def drawn(
    model: nn.Module,
    *,
    scope: soup.Scope | None = None,
    sparsity: float = 0.5,
    **fields: Any,
) -> Ticket:
    """The ticket of the largest weights of *model*."""
    weights = {name: tensor.detach() for name, tensor in model.named_parameters()}
    scope = scope or soup.Scope.of(
        model, ("*embed*", "*classifier*", "*pooler*", "*conv1*", "*proj", "*projection*")
    )
    mask = prune(
        {name: weights[name].abs() for name in scope}, soup.Mask.dense(scope), sparsity
    )
    return Ticket(
        mask, base=Base("tiny", digest(weights, scope)), **{"start": {}, **fields}
    )


def roberta() -> nn.Module:
    return seeded(
        lambda: RobertaForSequenceClassification(RobertaConfig(**SHAPE, **TEXT))
    )


def electra() -> nn.Module:
    return seeded(
        lambda: ElectraForSequenceClassification(
            ElectraConfig(embedding_size=32, **SHAPE, **TEXT)
        )
    )


def distilbert() -> nn.Module:
    config = DistilBertConfig(dim=32, n_layers=2, n_heads=2, hidden_dim=64, **TEXT)
    return seeded(lambda: DistilBertForSequenceClassification(config))


def gpt2() -> nn.Module:
    config = GPT2Config(
        n_embd=32, n_layer=2, n_head=2, n_inner=64, n_positions=64, **TEXT
    )
    return seeded(lambda: GPT2ForSequenceClassification(config))


def neox() -> nn.Module:
    return seeded(lambda: GPTNeoXModel(GPTNeoXConfig(**SHAPE, **TEXT)))


def clip() -> CLIPModel:
    vision = SHAPE | {"image_size": 16, "patch_size": 8}
    config = CLIPConfig(vision_config=vision, text_config=SHAPE | TEXT, projection_dim=16)
    made = seeded(lambda: CLIPModel(config))
    assert isinstance(made, CLIPModel)
    return made


def vit() -> nn.Module:
    config = ViTConfig(image_size=16, patch_size=8, **SHAPE)
    return seeded(lambda: ViTModel(config, add_pooling_layer=False))


class Old(nn.Module):
    """An encoder layer as torch has it, in a stack."""

    def __init__(self) -> None:
        super().__init__()
        layers = [
            nn.TransformerEncoderLayer(32, 2, 64, batch_first=True) for _ in range(2)
        ]
        self.layers = nn.ModuleList(layers)


OTHERS = {
    make.__name__: make for make in (roberta, electra, distilbert, gpt2, neox, vit)
} | {"torch": Old}


@pytest.mark.parametrize("name", OTHERS)
def test_there_and_back_gives_the_same_mask_to_the_bit(name: str) -> None:
    model, other = bert(), OTHERS[name]()
    if name == "vit":  # a tower of vision is not taken for one of text
        model = seeded(lambda: BertModel(BertConfig(**SHAPE, **TEXT)))
    ticket = drawn(model)
    there = ticket.transfer(other, heads=2)
    assert there.ticket.mask.kept == ticket.mask.kept
    assert not there.same_base
    assert len(there.having("matched")) == len(there.ticket.mask)
    back = there.ticket.transfer(model, scope=ticket.mask.scope, heads=2)
    assert back.ticket.mask == ticket.mask


def fused(mask: Tensor, *, heads: int = 0) -> list[Tensor]:
    """Query, key and value, cut by hand out of [3 * 32, 32]."""
    if not heads:
        return [mask[:32], mask[32:64], mask[64:]]
    size = 32 // heads
    rows = [
        [mask[(3 * head + part) * size :][:size] for head in range(heads)]
        for part in range(3)
    ]
    return [torch.cat(of) for of in rows]


@pytest.mark.parametrize("kind", ["turned", "by head", "one after another"])
def test_fused_matrices_hold_query_key_and_value_where_their_model_looks_for_them(
    kind: str,
) -> None:
    ticket = drawn(bert())
    makers: dict[str, tuple[Callable[[], nn.Module], str]] = {
        "turned": (gpt2, "transformer.h.1.attn.c_attn.weight"),
        "by head": (neox, "layers.1.attention.query_key_value.weight"),
        "one after another": (Old, "layers.1.self_attn.in_proj_weight"),
    }
    make, name = makers[kind]
    found = ticket.transfer(make(), heads=2).ticket.mask[name]
    parts = fused(
        found.T if kind == "turned" else found, heads=2 if kind == "by head" else 0
    )
    for part, role in zip(parts, ("query", "key", "value"), strict=True):
        assert torch.equal(
            part, ticket.mask[f"bert.encoder.layer.1.attention.self.{role}.weight"]
        )


def test_turns_by_head_need_the_number_of_heads_and_say_so() -> None:
    found = drawn(bert()).transfer(neox())
    assert "layers.0.attention.query_key_value.weight" not in found.ticket.mask
    assert "say how many heads" in found.having("dense")[0].why


def moved(tower: nn.Module, other: nn.Module) -> None:
    """Give *other*, named as open_clip does, the weights of the layers of *tower*, named as transformers does."""
    mine = dict(tower.named_parameters())
    with torch.no_grad():
        for i, block in enumerate(other.transformer["resblocks"]):  # type: ignore[index,arg-type,union-attr]
            layer = f"encoder.layers.{i}"
            for kind in ("weight", "bias"):
                three = [mine[f"{layer}.self_attn.{part}_proj.{kind}"] for part in "qkv"]
                getattr(block.attn, f"in_proj_{kind}").copy_(torch.cat(three))
                for here, there in (
                    (block.attn.out_proj, "self_attn.out_proj"), (block.mlp["c_fc"], "mlp.fc1"),
                    (block.mlp["c_proj"], "mlp.fc2"), (block.ln_1, "layer_norm1"), (block.ln_2, "layer_norm2"),
                ):  # fmt: skip
                    getattr(here, kind).copy_(mine[f"{layer}.{there}.{kind}"])


def test_a_masked_tower_of_clip_computes_the_same_under_the_names_of_open_clip() -> None:
    vision, tower = clip().vision_model, tiny.attention_tower()
    moved(vision, tower)
    for layer in vision.encoder.layers:
        layer.mlp.activation_fn = nn.GELU()
    ticket = drawn(vision)
    found = ticket.transfer(tower)
    assert found.same_base  # the same weights under other names
    assert found.ticket.mask.kept == ticket.mask.kept
    x = torch.randn(3, 5, 32, generator=torch.Generator().manual_seed(0))

    def both() -> tuple[Tensor, Tensor]:
        y, z = x, x
        for layer, block in zip(
            vision.encoder.layers, tower.transformer["resblocks"], strict=True
        ):  # type: ignore[index,arg-type,union-attr]
            y, z = layer(y, attention_mask=None), block(z)
        return y, z

    with torch.no_grad():
        dense, _ = both()
        ticket.apply(vision)
        found.ticket.apply(tower)
        mine, its = both()
    torch.testing.assert_close(mine, its)
    assert (dense - mine).abs().max() > 0.01
    back = found.ticket.transfer(vision, scope=ticket.mask.scope)
    assert back.ticket.mask == ticket.mask


def test_the_tower_is_found_in_the_whole_model_by_what_its_name_says() -> None:
    whole = clip()
    ticket = drawn(nn.ModuleDict({"vision_model": whole.vision_model}))
    found = ticket.transfer(whole)
    assert {name.split(".")[0] for name in found.ticket.mask} == {"vision_model"}
    assert found.ticket.mask.kept == ticket.mask.kept
    tower = tiny.attention_tower()
    with pytest.raises(ScopeError, match="not clear which layers"):
        drawn(tower).transfer(whole)


def test_a_tower_of_vision_is_not_taken_for_one_of_text() -> None:
    vision, text = clip().vision_model, clip().text_model
    with pytest.raises(ScopeError, match="nothing of this ModuleDict"):
        drawn(nn.ModuleDict({"vision_model": vision})).transfer(
            nn.ModuleDict({"text_model": text})
        )


def test_the_head_of_the_old_task_stays_behind_and_the_model_keeps_its_own() -> None:
    model, other = bert(), bert(num_labels=5)
    other.bert.load_state_dict(model.bert.state_dict())  # type: ignore[union-attr,operator]
    head = {
        name: tensor.detach()
        for name, tensor in model.named_parameters()
        if "classifier" in name
    }
    ticket = drawn(model, start=head)
    before = other.classifier.weight.clone()  # type: ignore[union-attr,operator]
    found = ticket.transfer(other, scope=ticket.mask.scope)
    assert found.same_base
    assert found.ticket.mask == ticket.mask
    assert not found.ticket.start
    assert {part.name: part.why for part in found.having("dropped")} == dict.fromkeys(
        head, "head of the old task; the model keeps its own"
    )
    found.ticket.apply(other)
    assert torch.equal(before, other.classifier.weight)  # type: ignore[union-attr,arg-type]


def test_a_head_of_the_same_size_stays_behind_too_unless_the_map_wants_it() -> None:
    model = bert()
    head = {
        name: tensor.detach()
        for name, tensor in model.named_parameters()
        if "classifier" in name
    }
    ticket = drawn(model, start=head, ready=True)
    left = ticket.transfer(model)
    assert not left.ticket.start
    assert not left.ticket.ready
    kept = ticket.transfer(model, map={name: name for name in head})
    assert kept.ticket.start.keys() == head.keys()
    assert kept.ticket.ready
    assert len(kept.having("start")) == 2


def trained(model: nn.Module, ticket: Ticket) -> Ticket:
    """*ticket* with start weights that are not the pre-trained ones: some in scope, a bias, a norm and the head."""
    names = (
        "attention.self.query.weight",
        "attention.self.key.bias",
        "output.LayerNorm.weight",
        "classifier.weight",
    )
    state = {
        name: tensor for name, tensor in model.named_parameters() if name.endswith(names)
    }
    start = {name: (tensor.detach() + 1) for name, tensor in state.items()}
    masked = {
        name: tensor * ticket.mask[name] if name in ticket.mask else tensor
        for name, tensor in start.items()
    }
    return replace(ticket, start=masked)


def test_start_weights_go_along_to_the_same_weights_under_another_prefix() -> None:
    model = bert()
    ticket = trained(model, drawn(model))
    bare = seeded(lambda: BertModel(BertConfig(**SHAPE, **TEXT)))
    bare.load_state_dict(model.bert.state_dict())  # type: ignore[union-attr,arg-type]
    found = ticket.transfer(bare)
    assert found.same_base
    for name, tensor in ticket.start.items():
        if name != "classifier.weight":
            assert torch.equal(found.ticket.start[name.removeprefix("bert.")], tensor), (
                name
            )
    found.ticket.apply(bare)
    ticket.apply(model)
    for name, parameter in bare.named_parameters():
        assert torch.equal(parameter, dict(model.named_parameters())[f"bert.{name}"]), (
            name
        )


def test_start_weights_are_put_together_where_the_model_fuses_them() -> None:
    """Only the query differs from the base; key and value are then the base's own."""
    vision, tower = clip().vision_model, tiny.attention_tower()
    moved(vision, tower)
    ticket = drawn(vision)
    name = "encoder.layers.0.self_attn.q_proj.weight"
    query = torch.where(
        ticket.mask[name], dict(vision.named_parameters())[name].detach() * 2, 0.0
    )
    start = {name: query, "encoder.layers.1.layer_norm2.bias": torch.ones(32)}
    found = replace(ticket, start=start).transfer(tower).ticket
    made = found.start["transformer.resblocks.0.attn.in_proj_weight"]
    assert torch.equal(made[:32], query)
    keys = dict(vision.named_parameters())[
        "encoder.layers.0.self_attn.k_proj.weight"
    ].detach()
    assert torch.equal(
        made[32:64],
        torch.where(ticket.mask["encoder.layers.0.self_attn.k_proj.weight"], keys, 0.0),
    )
    assert torch.equal(found.start["transformer.resblocks.1.ln_2.bias"], torch.ones(32))


def test_another_checkpoint_takes_the_mask_and_not_the_start_weights_and_says_so() -> (
    None
):
    model, other = bert(), bert(seed=1)
    ticket = trained(model, drawn(model))
    found = ticket.transfer(other, scope=ticket.mask.scope)
    assert not found.same_base
    assert found.ticket.mask == ticket.mask
    assert not found.ticket.start
    why = {part.name: part.why for part in found.having("dropped")}
    assert why.keys() == ticket.start.keys()
    assert "head" in why.pop("classifier.weight")
    assert all(
        said.startswith("start weights of another checkpoint") for said in why.values()
    )
    with pytest.raises(TicketError, match="others"):
        apply(other, ticket.mask, ticket.start, ticket.base)
    found.ticket.apply(other)


def test_deeper_and_wider_models_get_what_fits_and_the_rest_is_named() -> None:
    ticket = drawn(bert())
    deeper = ticket.transfer(
        bert(num_hidden_layers=3),
        scope=soup.Scope.of(bert(num_hidden_layers=3), ("*embed*",)),
    )
    assert {part.why for part in deeper.having("dense") if ".2." in part.name} == {
        "no layer 2 there"
    }
    assert deeper.ticket.mask.kept - ticket.mask.kept == sum(
        part.size for part in deeper.having("dense")
    )
    wider = ticket.transfer(bert(intermediate_size=48))
    assert (
        "is (48, 32); there 'bert.encoder.layer.0.intermediate.dense.weight' (64, 32)"
        in {part.why for part in wider.having("dense")}
    )
    shallower = ticket.transfer(bert(num_hidden_layers=1))
    assert {part.why for part in shallower.having("dropped")} == {"no layer 1 there"}


def test_the_new_mask_is_over_the_given_scope_in_its_order() -> None:
    ticket = drawn(bert())
    names = list(reversed(ticket.mask.scope.shapes.items()))
    scope = soup.Scope(dict(names))
    assert ticket.transfer(bert(), scope=scope).ticket.mask.scope == scope
    with pytest.raises(ScopeError, match=r"scope has 'bert\.nothing'"):
        ticket.transfer(bert(), scope=soup.Scope({"bert.nothing": (2, 2)}))


class Renamed(nn.Module):
    """Matrices under names that no table lists."""

    def __init__(self) -> None:
        super().__init__()
        self.floor = nn.ModuleList(
            nn.ModuleDict(
                {
                    "ask": nn.Linear(32, 32),
                    "both": nn.Linear(32, 64),
                    "turn": nn.Linear(64, 32),
                }
            )
            for _ in range(2)
        )


def test_a_map_names_what_no_table_lists() -> None:
    ticket, layer = drawn(bert()), "bert.encoder.layer.{}.attention.self"
    names = {
        "floor.{}.ask.weight": f"{layer}.query.weight",
        "floor.{}.both.weight": (f"{layer}.key.weight", f"{layer}.value.weight"),
        "floor.{}.turn.weight": Piece(
            "bert.encoder.layer.{}.intermediate.dense.weight", turned=True
        ),
    }
    found = ticket.transfer(Renamed(), map=names)
    mask = found.ticket.mask
    assert torch.equal(
        mask["floor.1.ask.weight"],
        ticket.mask["bert.encoder.layer.1.attention.self.query.weight"],
    )
    key, value = (
        ticket.mask[f"bert.encoder.layer.0.attention.self.{part}.weight"]
        for part in ("key", "value")
    )
    assert torch.equal(mask["floor.0.both.weight"], torch.cat([key, value]))
    by_function = ticket.transfer(Renamed(), map=lambda name: _renamed(name))
    assert by_function.ticket.mask["floor.1.ask.weight"].equal(mask["floor.1.ask.weight"])
    everywhere = ticket.transfer(
        roberta(), map=lambda name: name.replace("roberta.", "bert.")
    )
    assert everywhere.ticket.mask == ticket.transfer(roberta()).ticket.mask
    assert {part.why for part in found.having("matched")} == {"by map"}


def _renamed(name: str) -> str | None:
    number = name.split(".")[1]
    return (
        f"bert.encoder.layer.{number}.attention.self.query.weight"
        if name.endswith("ask.weight")
        else None
    )


def test_a_part_of_a_fused_matrix_can_be_named() -> None:
    tower = tiny.attention_tower()
    ticket = drawn(tower)
    names = {
        "floor.{}.ask.weight": Piece(
            "transformer.resblocks.{}.attn.in_proj_weight", part=1, of=3
        )
    }
    found = ticket.transfer(Renamed(), map=names)
    whole = ticket.mask["transformer.resblocks.0.attn.in_proj_weight"]
    assert torch.equal(found.ticket.mask["floor.0.ask.weight"], whole[32:64])
    assert "only 1 of its parts" in {part.why[:19] for part in found.having("dropped")}


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (
            {"floor.{}.aks.weight": "x"},
            r"map names 'floor.{}.aks.weight', .* did you mean 'floor.{}.ask.weight'\?",
        ),
        (
            {"floor.{}.ask.weight": "bert.encoder.layer.{}.attention.self.quary.weight"},
            r"which the ticket does not have; did you mean 'bert.encoder.layer.{}.attention.self.query.weight'\?",
        ),
        ({"floor.0.ask.weight": "bert.pooler"}, "the ticket does not have it"),
        (
            {
                f"floor.{i}.ask.weight": "bert.encoder.layer.0.attention.self.query.weight"
                for i in range(2)
            },
            "would both be",
        ),
        ({"floor.0.ask.weight": ()}, "gives nothing"),
        (lambda _: "nothing", "the ticket does not have it"),
    ],
)
def test_a_map_that_names_what_is_not_there_is_refused_with_what_is_near(
    names: Any, said: str
) -> None:
    with pytest.raises(ScopeError, match=said):
        drawn(bert()).transfer(Renamed(), map=names)


def test_nothing_in_common_is_refused() -> None:
    with pytest.raises(
        ScopeError, match="nothing of this Sequential is like the ticket's"
    ):
        drawn(bert()).transfer(nn.Sequential(nn.Linear(4, 4)))


def test_names_that_wrappers_put_before_are_seen_through() -> None:
    model = bert()
    ticket = drawn(model)
    found = ticket.transfer(nn.DataParallel(model))
    assert found.same_base
    assert found.ticket.mask.kept == ticket.mask.kept
    assert set(ticket.mask) == set(found.ticket.mask)


def test_a_transferred_ticket_is_a_file_like_any_other(tmp_path: Path) -> None:
    ticket = drawn(bert(), recipe="k", notes={"a": [1]})
    found = ticket.transfer(roberta()).ticket
    found.save(tmp_path / "ticket.safetensors")
    loaded = Ticket.load(tmp_path / "ticket.safetensors")
    assert loaded.digest == found.digest
    assert loaded.recipe == "k"
    assert loaded.notes == {"a": [1], "transferred_from": ticket.digest}


def test_what_became_of_each_tensor_prints_as_a_table_with_alike_layers_in_one_line() -> (
    None
):
    found: Transfer = drawn(bert()).transfer(roberta())
    text = str(found)
    assert "roberta.encoder.layer.#.attention.self.query.weight (2 times)" in text
    assert text.endswith("not known to be at the weights it was drawn from")
    assert sum(part.kept for part in found.having("matched")) == found.ticket.mask.kept
