"""Naming: where a tensor stands in a stack of transformer layers, whatever its model calls it.

The names are data. What the tables do not list still finds its like of the same name under another prefix.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Shapes = Mapping[str, tuple[int, ...]]

QUERY_KEY_VALUE = (
    ("attention.self.query", "attention.self.key", "attention.self.value"),  # BERT, RoBERTa, ELECTRA
    ("attention.q_lin", "attention.k_lin", "attention.v_lin"),  # DistilBERT
    ("attention.attn.q", "attention.attn.k", "attention.attn.v"),  # MPNet
    ("attention.attention.query", "attention.attention.key", "attention.attention.value"),  # ViT, transformers 4
    ("attention.q_proj", "attention.k_proj", "attention.v_proj"),  # ViT, transformers 5
    ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),  # CLIP
    ("attn.q_proj", "attn.k_proj", "attn.v_proj"),
)
FUSED = {
    "attn.in_proj": False,  # open_clip: nn.MultiheadAttention
    "self_attn.in_proj": False,  # nn.TransformerEncoderLayer
    "attn.qkv": False,  # timm
    "attention.qkv": False,
    "attn.c_attn": False,  # GPT-2
    "attention.query_key_value": True,  # GPT-NeoX
    "self_attention.query_key_value": True,  # BLOOM
}
"""Query, key and value in one matrix, and whether they take turns head by head there, or come one after another."""
OTHERS = {
    "attention out": (
        "attention.output.dense", "attention.out_lin", "attention.attn.o", "attention.o_proj", "self_attn.out_proj",
        "attn.out_proj", "attn.proj", "attn.c_proj", "attention.dense", "self_attention.dense",
    ),
    "mlp in": (
        "intermediate.dense", "ffn.lin1", "mlp.fc1", "mlp.c_fc", "fc1", "linear1", "mlp.dense_h_to_4h",
    ),
    "mlp out": (
        "output.dense", "ffn.lin2", "mlp.fc2", "mlp.c_proj", "fc2", "linear2", "mlp.dense_4h_to_h",
    ),
    "norm before attention": ("layer_norm1", "ln_1", "layernorm_before", "norm1", "input_layernorm"),
    "norm before mlp": ("layer_norm2", "ln_2", "layernorm_after", "norm2", "post_attention_layernorm"),
    "norm after attention": ("attention.output.LayerNorm", "sa_layer_norm", "attention.LayerNorm"),
    "norm after mlp": ("output.LayerNorm", "output_layer_norm"),
}  # fmt: skip
TURNED = {"attn.c_attn": (1, 3), "mlp.c_fc": (1, 4), "mlp.c_proj": (4, 1), "attn.c_proj": None}
"""What GPT-2 keeps as [inputs, outputs], and rows to columns then, where that tells; open_clip's are not turned."""
TOWERS = {
    "vision": {"visual", "vision_model", "vision_tower", "vit", "deit", "beit", "dinov2"},
    "text": {"text_model", "textual", "bert", "roberta", "distilbert", "electra", "mpnet"},
    "decoder": {"decoder"},
}
"""What steps of a name say about the stack that it stands in."""

_THREE = ("query", "key", "value")
_ROLES = {
    **{body: (role,) for row in QUERY_KEY_VALUE for body, role in zip(row, _THREE, strict=True)},
    **dict.fromkeys(FUSED, _THREE),
    **{body: (role,) for role, bodies in OTHERS.items() for body in bodies},
}


@dataclass(frozen=True)
class Place:
    """Where a tensor stands.

    Attributes:
        stack: the name of the numbered stack of layers; None for what is in none.
        layer: its number there.
        roles: what it does there; three for a fused matrix.
        by_head: whether the three take turns head by head.
        turned: whether it is kept as [inputs, outputs].
    """

    stack: str | None
    layer: int
    roles: tuple[str, ...]
    by_head: bool = False
    turned: bool = False


def places(shapes: Shapes) -> dict[str, Place]:
    """The place of every tensor."""
    turned = {_split(name)[0] for name, shape in shapes.items() if _is_turned(name, shape)}
    return {name: _place(name, turned) for name in shapes}


def _place(name: str, turned: set[str | None]) -> Place:
    stack, layer, body, kind = _split(name)
    if stack is None:
        return Place(None, 0, (name,))
    roles = tuple(f"{role}, {kind}" for role in _ROLES.get(body, (body,)))
    return Place(stack, layer, roles, FUSED.get(body, False), stack in turned and body in TURNED and kind == "weight")


def _split(name: str) -> tuple[str | None, int, str, str]:
    """Stack, number, name within the layer, and kind; at the number behind which there is a name of the tables."""
    steps = name.replace("in_proj_", "in_proj.").split(".")
    numbers = [i for i, step in enumerate(steps) if step.isdigit()]
    if not numbers:
        return None, 0, name, ""
    at = next((i for i in numbers if ".".join(steps[i + 1 : -1]) in _ROLES), numbers[0])
    return ".".join(steps[:at]), int(steps[at]), ".".join(steps[at + 1 : -1]), steps[-1]


def _is_turned(name: str, shape: tuple[int, ...]) -> bool:
    stack, _, body, kind = _split(name)
    tells = TURNED.get(body)
    if stack is None or kind != "weight" or tells is None or len(set(shape)) != 2:
        return False
    return (shape[0] < shape[1]) == (tells[0] < tells[1])


def pairs(wanted: Mapping[str, Place], there: Mapping[str, Place]) -> dict[str, str]:
    """For each stack of *wanted* the one of *there* that it is like, if it is clear which.

    First those of the same name, then those of the same tower, then the two that are left over.
    """
    left = [sorted({place.stack for place in of.values() if place.stack is not None}) for of in (wanted, there)]
    found: dict[str, str] = {}

    def settle(one: str, other: str) -> None:
        found[one] = other
        left[0].remove(one)
        left[1].remove(other)

    for stack in [stack for stack in left[0] if stack in left[1]]:
        settle(stack, stack)
    for kind in TOWERS:
        ours, theirs = ([stack for stack in stacks if _tower(stack) == kind] for stacks in left)
        if len(ours) == len(theirs) == 1:
            settle(ours[0], theirs[0])
    if len(left[0]) == len(left[1]) == 1 and "" in {_tower(left[0][0]), _tower(left[1][0])}:
        settle(left[0][0], left[1][0])
    return found


def _tower(stack: str) -> str:
    steps = set(stack.split("."))
    return next((kind for kind, known in TOWERS.items() if steps & known), "")


def is_like(one: str, other: str) -> bool:
    """Whether names outside of stacks differ in their first step only, or in steps that one has before the other."""
    rest, its = one.partition(".")[2], other.partition(".")[2]
    return one.endswith(f".{other}") or other.endswith(f".{one}") or (rest == its and rest.count(".") > 1)
