"""Odd tensors, and files of them whose bytes are whole: what is odd is what they say."""

from __future__ import annotations

import json
import random
import struct
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from instant_soup.core.ticket_file import checksum

DTYPES = (
    torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.int64, torch.int8, torch.uint8,
    torch.bool, torch.complex64,
)  # fmt: skip
VALUES = (float("nan"), float("inf"), float("-inf"), 1e38, -0.0, 0.0, 1e-45)
NAMES = (
    "", "x", "a" * 3000, "\x1b[31mred", "a\nb", "[/old]", "../x", "__metadata__", "<b>", "weight_orig",
    "mask/", "start/",
)  # fmt: skip


def tensor_changed(tensor: Tensor, dice: random.Random) -> Tensor:
    """*tensor* with another value, dtype or shape."""
    kind = dice.randrange(6)
    if kind == 0 and tensor.is_floating_point() and tensor.numel():
        changed = tensor.clone()
        changed.view(-1)[dice.randrange(tensor.numel())] = dice.choice(VALUES)
        return changed
    if kind == 1:
        return tensor.to(dice.choice(DTYPES))
    if kind == 2:
        return torch.zeros_like(tensor)
    if kind == 3:
        return tensor.reshape(-1)[: dice.randrange(tensor.numel() + 1)].clone()
    if kind == 4:
        return tensor.unsqueeze(0).clone()
    return torch.zeros(dice.choice(((), (0,), (0, 4), (1,) * 9, (3, 0, 3))))


def tensors_changed(
    tensors: Mapping[str, Tensor], dice: random.Random
) -> dict[str, Tensor]:
    """*tensors* of which one or two are others, gone, added or under another name."""
    changed = dict(tensors)
    for _ in range(dice.randint(1, 2)):
        name = dice.choice(sorted(changed))
        kind = dice.randrange(6)
        if kind == 0 and len(changed) > 1:
            del changed[name]
        elif kind == 1:
            changed[dice.choice(NAMES)] = changed.pop(name)
        elif kind == 2:
            changed[f"{name}{dice.choice(NAMES)}"] = changed[name].clone()
        else:
            changed[name] = tensor_changed(changed[name], dice)
    return changed


def header_changed(data: bytes, change: Any) -> bytes:
    """The bytes of a safetensors file whose header, as plain data, went through *change*."""
    length = struct.unpack("<Q", data[:8])[0]
    header = change(json.loads(data[8 : 8 + length]))
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors in a file, and what its header says beside them."""
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
        return tensors, dict(file.metadata() or {})


def ticket_changed(source: Path, path: Path, change: Any, dice: random.Random) -> None:
    """Write the ticket in *source* with odd facts, by *change*, or odd tensors, and its checksum of them."""
    tensors, metadata = read(source)
    facts = json.loads(metadata["instant_soup"])
    facts.pop("checksum")
    if dice.random() < 0.6:
        facts = change(facts)
    else:
        tensors = tensors_changed(tensors, dice)

    if isinstance(facts, dict):
        facts["checksum"] = checksum(tensors, facts)
    save_file(tensors, path, {"instant_soup": json.dumps(facts)})


def state(tensors: Mapping[str, Tensor], dice: random.Random) -> Any:
    """Something in place of a state dict that `torch.save` writes: other things in it than tensors, or odd ones."""
    name = dice.choice(sorted(tensors))
    tensor = tensors[name]
    odd = dict(tensors)
    kind = dice.randrange(14)
    if kind == 0:
        odd["itself"] = odd  # type: ignore[assignment]
    elif kind == 1:
        odd[name] = tensor.to_sparse()
    elif kind == 2:
        odd[name] = torch.quantize_per_tensor(tensor.float(), 0.1, 0, torch.qint8)
    elif kind == 3:
        odd[name] = torch.empty(tensor.shape, device="meta")
    elif kind == 4:
        odd[name] = torch.zeros(1).expand(10**6, 10**6)
    elif kind == 5:
        odd[dice.choice((1, None, (1, 2), 1.5, True))] = tensor  # type: ignore[index]
    elif kind == 6:
        return {"state_dict": odd, "model": odd, "epoch": 3}
    elif kind == 7:
        return dice.choice(
            (None, [], 3, "x", [tensor], tensor, (odd, odd), {}, {"a": {"b": {"c": odd}}})
        )
    elif kind == 8:
        odd[name] = torch.nested.nested_tensor([tensor, tensor])
    elif kind == 9:
        odd[f"{name}_mask"] = odd[name] != 0
        odd[f"{name}_orig"] = tensor_changed(odd.pop(name), dice)
    elif kind == 10:
        nested: Any = odd
        for _ in range(dice.choice((3, 60, 300))):
            nested = {"x": nested}
        return nested
    elif kind == 11:
        odd = OrderedDict(tensors_changed(tensors, dice))
        odd._metadata = {"": {"version": "x" * 100}}  # type: ignore[attr-defined]
    else:
        odd = tensors_changed(tensors, dice)
    return odd
