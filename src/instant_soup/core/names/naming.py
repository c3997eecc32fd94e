"""Naming: where a tensor stands in a stack of transformer layers, whatever its model calls it.

The names are data, in the tables below. What the tables do not list still finds its like of the same name under
another prefix.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from . import layers
from .layers import InLayer

Shapes = Mapping[str, tuple[int, ...]]

QUERY_KEY_VALUE = (
    # BERT, RoBERTa, ELECTRA
    ("attention.self.query", "attention.self.key", "attention.self.value"),
    ("attention.q_lin", "attention.k_lin", "attention.v_lin"),  # DistilBERT
    ("attention.attn.q", "attention.attn.k", "attention.attn.v"),  # MPNet
    # ViT, transformers 4
    ("attention.attention.query", "attention.attention.key", "attention.attention.value"),
    ("attention.q_proj", "attention.k_proj", "attention.v_proj"),  # ViT, transformers 5
    ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),  # CLIP
    ("attn.q_proj", "attn.k_proj", "attn.v_proj"),
)

FUSED = {
    "attn.in_proj": False,  # open_clip: nn.MultiheadAttention
    "self_attn.in_proj": False,  # nn.TransformerEncoderLayer
    "attn.qkv": False,  # timm
    "attention.qkv": False,
    "self_attn.qkv_proj": False,  # Phi-3
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
"""What else stands in a layer: what it does there, and what models call it."""

TURNED = {
    "attn.c_attn": (1, 3),
    "mlp.c_fc": (1, 4),
    "mlp.c_proj": (4, 1),
    "attn.c_proj": None,
}
"""Matrices that GPT-2 keeps as [inputs, outputs], as its `Conv1D` does, and the ratio of rows to columns that tells;
None where the matrix is square and tells nothing. Those of open_clip have the same names and are not turned."""

TOWERS = {
    "vision": {"visual", "vision_model", "vision_tower", "vit", "deit", "beit", "dinov2"},
    "text": {
        "text_model",
        "textual",
        "bert",
        "roberta",
        "distilbert",
        "electra",
        "mpnet",
    },
    "decoder": {"decoder"},
}
"""What steps of a name say about the stack that it stands in."""

_THREE = ("query", "key", "value")


def _roles_by_body() -> dict[str, tuple[str, ...]]:
    """What the tables say, by the name of a module within its layer."""
    roles: dict[str, tuple[str, ...]] = dict.fromkeys(FUSED, _THREE)
    for row in QUERY_KEY_VALUE:
        for body, role in zip(row, _THREE, strict=True):
            roles[body] = (role,)
    for role, bodies in OTHERS.items():
        for body in bodies:
            roles[body] = (role,)
    return roles


def _fused_ends() -> tuple[str, ...]:
    """How the names of fused matrices end, as models have them."""
    ends = [f"{body.rpartition('.')[2]}.weight" for body in FUSED]
    return tuple(end.replace("in_proj.", "in_proj_") for end in ends)


_ROLES = _roles_by_body()
_FUSED_ENDS = _fused_ends()


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
    turned_stacks = set()
    for name, shape in shapes.items():
        stack = _stack_that_is_turned(name, shape)
        if stack is not None:
            turned_stacks.add(stack)

    return {name: _place(name, turned_stacks) for name in shapes}


def _place(name: str, turned_stacks: set[str]) -> Place:
    position = _position(name)
    if position is None:
        return Place(stack=None, layer=0, roles=(name,))

    body, kind = _body_and_kind(position)
    roles = _ROLES.get(body, (body,))
    return Place(
        stack=position.stack,
        layer=position.number,
        roles=tuple(f"{role}, {kind}" for role in roles),
        by_head=FUSED.get(body, False),
        turned=kind == "weight" and body in TURNED and position.stack in turned_stacks,
    )


def _position(name: str) -> InLayer | None:
    """*name* taken apart at the number behind which a name of the tables stands, or else at its first number."""
    readings = layers.readings(_in_steps(name))

    for reading in readings:
        if _body_and_kind(reading)[0] in _ROLES:
            return reading
    return readings[0] if readings else None


def _body_and_kind(position: InLayer) -> tuple[str, str]:
    """The name of a module within its layer, and of the tensor within the module."""
    body, _, kind = position.rest.rpartition(".")
    return body, kind


def _in_steps(name: str) -> str:
    """*name* with ``in_proj`` as a module of its own: nn.MultiheadAttention calls the tensors ``in_proj_weight``."""
    return name.replace("in_proj_", "in_proj.")


def _stack_that_is_turned(name: str, shape: tuple[int, ...]) -> str | None:
    """The stack of *name*, where the shape of this tensor tells that the stack keeps [inputs, outputs]."""
    position = _position(name)
    if position is None:
        return None

    body, kind = _body_and_kind(position)
    ratio = TURNED.get(body)
    if kind != "weight" or ratio is None or len(set(shape)) != 2:
        return None

    wide = shape[0] < shape[1]
    wide_where_turned = ratio[0] < ratio[1]
    return position.stack if wide == wide_where_turned else None


def is_fused(name: str) -> bool:
    """Whether *name* is that of a matrix of several projections, by its last steps, in a stack of layers or not."""
    return name.endswith(_FUSED_ENDS)


def pairs(targets: Mapping[str, Place], sources: Mapping[str, Place]) -> dict[str, str]:
    """For each stack of *targets* the stack of *sources* that it is like, if it is clear which one that is.

    First those of the same name are paired, then those of the same tower, then the two that are left over.
    """
    ours = _stacks(targets)
    theirs = _stacks(sources)
    paired: dict[str, str] = {}

    def pair(target: str, source: str) -> None:
        paired[target] = source
        ours.remove(target)
        theirs.remove(source)

    for stack in [stack for stack in ours if stack in theirs]:
        pair(stack, stack)

    for tower in TOWERS:
        our_towers = [stack for stack in ours if _tower(stack) == tower]
        their_towers = [stack for stack in theirs if _tower(stack) == tower]
        if len(our_towers) == len(their_towers) == 1:
            pair(our_towers[0], their_towers[0])

    # two that are left over belong together, unless their names say that they are different towers
    if len(ours) == len(theirs) == 1:
        towers = (_tower(ours[0]), _tower(theirs[0]))
        if "" in towers:
            pair(ours[0], theirs[0])
    return paired


def _stacks(named_places: Mapping[str, Place]) -> list[str]:
    """The stacks that there are, each once."""
    stacks = {place.stack for place in named_places.values()}
    return sorted(stack for stack in stacks if stack is not None)


def _tower(stack: str) -> str:
    """The kind of tower that *stack* is, as its name says; empty where it does not say."""
    steps = set(stack.split("."))
    return next((tower for tower, known in TOWERS.items() if steps & known), "")


def is_like(name: str, other: str) -> bool:
    """Whether two names outside of stacks mean the same tensor of two models.

    They do where one is the other with further steps in front, or where they differ in nothing but the first step.
    """
    if name.endswith(f".{other}") or other.endswith(f".{name}"):
        return True

    rest = name.partition(".")[2]
    return rest == other.partition(".")[2] and rest.count(".") > 1
