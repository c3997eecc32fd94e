"""Matrices: what of a transformer is a matrix of weights. One rule, for models in memory and for files of tensors.

In scope are the matrices of the numbered blocks: attention, MLP, and stacks of experts. What a tensor is follows from
where it stands, from the dimensions in which it is longer than one, and from its own name and that of the module that
owns it. A name higher up says nothing, but for heads and routers: `multihead_attn.out_proj` is no head.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

Shape = tuple[int, ...]

VECTOR = "no matrix"
OUTSIDE = "outside of the blocks"
CONVOLUTION = "a convolution"
POOLER = "pooler"
ROLES = {
    "bias": re.compile(r"bias(es)?"),
    "norm": re.compile(r"\w*norm\w*|ln\d*"),
    "embedding": re.compile(r"embed\w*|emb|wte|wpe|position(s|al)?"),
    "scale": re.compile(r"scales?|zeros|qzeros|absmax"),
    "state": re.compile(r"decay|faaaa"),
    "mixing": re.compile(r"coefs?"),
}
"""What a word of a tensor's own name, or of its owner's, says that it is."""
_STATES = ("A", "A_log", "D")  # of state-space layers
_HEADS = {"head", "heads", "classifier", "classifiers", "score", "logits", "predictions"}
_WHOLE_HEADS = ("output", "output_layer", "proj_out")
_NUMBER = re.compile(r"\d+|\w*(layer|block)s?_?\d+")
_ROUTER = re.compile(r"\w*router\w*")
_GATE = re.compile(r"gate|wg")
_THIN = 64  # times that a matrix is longer than wide, from which on it is unusual


def left_out(shapes: Mapping[str, Shape], *, pooler: bool = False) -> dict[str, str]:
    """Why each tensor that is no matrix of the blocks is none. What is not in it may be pruned.

    A model without blocks gives all of its matrices but embeddings and heads. Of a model whose blocks hold matrices,
    convolutions beside them are left out.

    Args:
        shapes: of all tensors by name.
        pooler: whether BERT's pooler counts as one of the blocks.
    """
    reasons = {name: role(name, shape) for name, shape in shapes.items()}
    matrices = [name for name, reason in reasons.items() if not reason]
    inside = [name for name in matrices if is_in_block(name)]

    for name in matrices:
        if _is_pooler(name):
            reasons[name] = "" if pooler else POOLER
        elif not is_in_block(name):
            reasons[name] = _why_outside(name) or (OUTSIDE if inside else "")

    # in a network of convolutions they are what there is to prune
    kernels = [name for name in inside if is_convolution(name, shapes[name])]
    if len(kernels) < len(inside):
        reasons |= dict.fromkeys(kernels, CONVOLUTION)
    return {name: reason for name, reason in reasons.items() if reason}


def role(name: str, shape: Shape) -> str:
    """What else than a matrix of weights a tensor is, wherever it stands; "" if it is one.

    A tensor that is longer than one in fewer than two dimensions is a vector: a token, a gate, a scale. The layer of
    a small model that gives one number is a matrix of one row, and none where it stands in a block.
    """
    lengths = [length for length in shape if length > 1]
    is_one_row = len(shape) == 2 and not is_in_block(name)
    if len(lengths) < 2 and not is_one_row:
        return VECTOR

    *_, owner, own = ("", *name.split("."))
    if own in _STATES:
        return "state"
    if own.lower().endswith(("token", "tokens")):
        return "token"
    # T5 and BART, whose encoder and decoder share it
    if own == "weight" and owner == "shared":
        return "embedding"
    if is_in_block(name) and _is_router(name, lengths):
        return "router"

    for kind in ROLES:
        if _is(own, kind) or _is(owner, kind):
            return kind
    return ""


def unusual(name: str, shape: Shape) -> str:
    """What is unusual in a matrix of the blocks, for people to look at; "" if nothing is."""
    lengths = sorted(length for length in shape if length > 1)
    size = " x ".join(map(str, shape))
    are_experts = "expert" in name or "moe" in name
    if len(lengths) > 2 and not are_experts:
        return f"a stack of matrices that are no experts, {size}"
    if lengths and lengths[-1] >= _THIN * lengths[0]:
        return f"a matrix {lengths[-1] // lengths[0]} times as long as wide, {size}"
    return ""


def is_in_block(name: str) -> bool:
    """Whether *name* is that of a part of a numbered layer, and not of a numbered head or table."""
    steps = name.split(".")
    number = next((i for i, step in enumerate(steps) if _NUMBER.fullmatch(step)), None)
    if number is None:
        return False

    above = steps[:number]
    under = steps[number + 1 :]
    # with parts of its own, not one matrix of many
    is_layer = len(under) > 1 or under[0] not in ("weight", "bias")
    is_of_head = any(_says_head(step) for step in above)
    return is_layer and not is_of_head and not (above and _is(above[-1], "embedding"))


def is_convolution(name: str, shape: Shape) -> bool:
    """Whether a tensor holds kernels that are moved along an image or a text."""
    return len(shape) > 3 or (len(shape) == 3 and "conv" in name.lower())


def _why_outside(name: str) -> str:
    """What a matrix outside of blocks is, if its name says it."""
    steps = name.split(".")
    says_head = any(_says_head(step) for step in steps)
    # these words are common, so they count only as the last steps
    ends_as_head = any(step in _WHOLE_HEADS for step in steps[-2:])

    if says_head or ends_as_head:
        return "head"
    return "embedding" if any(_is(step, "embedding") for step in steps) else ""


def _is(step: str, kind: str) -> bool:
    """Whether a word of *step* says that a tensor is of a *kind*."""
    return any(ROLES[kind].fullmatch(word.lower()) for word in _words(step))


def _says_head(step: str) -> bool:
    """Whether *step* is that of a head; those of attention are none."""
    words = {word.lower() for word in _words(step)}
    return bool(words & _HEADS) and not words & {"attention", "attn"}


def _is_router(name: str, lengths: list[int]) -> bool:
    """Whether a matrix chooses among experts: it is a router's, or a gate of fewer outputs than inputs."""
    steps = name.split(".")[:-1]
    if any(_ROUTER.fullmatch(step) for step in steps):
        return True
    # a gate of an MLP has the same name, and as many outputs as the MLP is wide
    is_gate = any(_GATE.fullmatch(step) for step in steps[-2:])
    return is_gate and lengths[0] < lengths[-1]


def _is_pooler(name: str) -> bool:
    return any("pooler" in step for step in name.split("."))


def _words(step: str) -> list[str]:
    """The words of a step: what stands between underscores, and at capitals."""
    return re.findall(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+\d*|[A-Z]+|\d+", step)
