"""Ticket files that somebody else has touched: ten thousand of them, and a clear error for each."""

from __future__ import annotations

import json
import math
import random
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save

import instant_soup as soup
from instant_soup.core.budget import Cost
from instant_soup.core.errors import SoupError
from instant_soup.core.task import Base
from instant_soup.core.ticket import Ticket
from instant_soup.core.ticket_file import checksum as checksum_of

COUNT = 2_500  # of each of the four kinds
HOSTILE: list[Any] = [
    None, True, -1, 0, 1.5, math.nan, math.inf, -(10**30), 2**63, 10**400, "", "x", "\ud800", [], [[]], [None], {},
    {"": 0}, [["body.a", [3, 4]]], "9" * 5000, [0] * 1000, {"name": 1}, [[[[[[[[[[]]]]]]]]]],
]  # fmt: skip
SOUND: dict[str, Callable[[Any], bool]] = {
    "recipe": lambda value: value is None or type(value) is str,
    "method": lambda value: type(value) is dict,
    "notes": lambda value: type(value) is dict,
    "ready": lambda value: type(value) is bool,
    "cost": lambda value: value == {},  # costs nothing
    "cost.steps": lambda value: type(value) is int and value >= 0,
    "cost.flops": lambda value: type(value) is int and value >= 0,
    "base.name": lambda value: type(value) is str,
    "base.digest": lambda value: type(value) is str,
}
FIELDS = [
    *SOUND, "schema", "scope", "sparsity", "kept", "base", "checksum", "scope.0", "scope.1", "scope.0.0", "scope.0.1",
    "scope.0.1.0", "scope.0.1.1", "scope.1.1.0", "base.more", "cost.more",
]  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "t.safetensors"
    scope = soup.Scope({"body.a": (3, 4), "body.b": (5, 5)})
    kept = {
        "body.a": torch.arange(12).view(3, 4) % 2 == 0,
        "body.b": torch.arange(25).view(5, 5) >= 10,
    }
    start = {
        "body.a": torch.randn(3, 4).masked_fill(~kept["body.a"], 0),
        "head.weight": torch.tensor([[1.0, -2.0]]),
    }
    Ticket(
        soup.Mask(scope, kept),
        start,
        Base("tiny", "0" * 64),
        Cost(3, 24, 72, 1000),
        notes={"a": [1]},
    ).save(path)
    return path.read_bytes()


def bytes_touched(whole: bytes, dice: random.Random) -> bytes:
    """Cut, flipped, swapped, with something put in, or with another length of the header."""
    at, other = sorted(dice.sample(range(len(whole)), 2))
    flipped = bytearray(whole)
    for _ in range(dice.randint(1, 8)):
        flipped[dice.randrange(len(whole))] ^= 1 << dice.randrange(8)
    length = dice.choice(
        [0, 1, len(whole), 2**31, 2**63, 2**64 - 1, dice.randrange(2**20)]
    )
    return dice.choice([
        whole[:at],
        bytes(flipped),
        whole[:at] + whole[other:],
        whole[:at] + dice.randbytes(dice.randint(1, 40)) + whole[at:],
        whole[:at] + bytes(other - at) + whole[other:],
        length.to_bytes(8, "little") + whole[8:],
    ])  # fmt: skip


def header_touched(whole: bytes, dice: random.Random) -> bytes:
    """Other names, dtypes, shapes and places of tensors than the bytes have, or metadata that is none."""
    end = 8 + int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8:end])
    name = dice.choice([key for key in header if key != "__metadata__"])
    number = dice.choice(
        [-1, 0, 1, 2, 7, 2**31, 2**63, 2**64, 10**30, 1.5, None, "3", math.nan]
    )
    kind = dice.randrange(7)
    if kind == 0:
        header[name]["dtype"] = dice.choice(
            [
                "F64",
                "BF16",
                "I64",
                "U16",
                "C64",
                "F4",
                "F8_E8M0",
                "BOOL",
                "pickle",
                3,
                None,
            ]
        )
    elif kind == 1:
        header[name]["shape"] = dice.choice(
            [[number], [number, number], number, [], [2] * 70, [header[name]["shape"]]]
        )
    elif kind == 2:
        header[name]["data_offsets"][dice.randrange(2)] = number
    elif kind == 3:
        header[
            dice.choice(["", "mask/", "start/", "stray", "mask/body.c", "../body.a"])
        ] = header.pop(name)
    elif kind == 4:
        header["__metadata__"] = dice.choice(
            [None, 3, [], {}, {"instant_soup": 3}, {"instant_soup": "{"}]
        )
    elif kind == 5:
        deep = dice.choice([2_000, 200_000])
        header["__metadata__"] = {
            "instant_soup": dice.choice(
                ["[" * deep, '{"a":' * deep, "[" * deep + "]" * deep]
            )
        }
    text = json.dumps(header)
    if kind == 6:
        text = text[:-1] + f', "{name}": {json.dumps(header[name])}' + "}"
        if dice.random() < 0.5:
            text = text.replace('"', dice.choice(["'", "\x00", '""']), 1)
    return len(text).to_bytes(8, "little") + text.encode() + whole[end:]


def facts_touched(whole: bytes, dice: random.Random) -> bytes:
    """Facts of a wrong kind, and the checksum that fits them."""
    tensors, facts = opened(whole)
    while True:
        field, value = dice.choice(FIELDS), dice.choice(HOSTILE)
        if not SOUND.get(field, lambda _: False)(value):
            break
    *way, last = [int(step) if step.isdigit() else step for step in field.split(".")]
    place = facts
    for step in way:
        place = place[step]
    if (
        dice.random() < 0.2
        and last in place
        and field not in ("cost.steps", "cost.flops")
    ):
        del place[last]
    elif last == "scope" and dice.random() < 0.5:
        facts["scope"] = [*facts["scope"], dice.choice(facts["scope"])]
    elif isinstance(last, int) and isinstance(value, int) and dice.random() < 0.5:
        facts["scope"][0][1] = [-3, -4]
    else:
        place[last] = value
    return sealed(tensors, facts, checksum=field != "checksum")


def tensors_touched(whole: bytes, dice: random.Random) -> bytes:
    """Masks and weights of wrong shapes, dtypes and names, and the checksum that fits them."""
    tensors, facts = opened(whole)
    name = dice.choice(["mask/body.a", "mask/body.b", "start/body.a"])
    tensor = tensors[name]
    dtypes = [torch.int8, torch.int16, torch.uint16, torch.float8_e4m3fn, torch.complex64]
    changed = dice.choice([
        tensor[:-1],
        tensor[:1],
        tensor[:0],
        tensor[0],
        tensor.repeat(2),
        tensor[None],
        tensor[:, None],
        torch.cat([tensor[:-1], tensor[-1:] * 0 + 255]) if name != "start/body.a" else tensor[:2],
        tensor ^ 1 if name == "mask/body.a" else tensor.repeat(3),
        tensor.to(dice.choice(dtypes)),
        None,
    ])  # fmt: skip
    if changed is None:
        stray = dice.choice(
            ["stray", "mask/head.weight", "start/", "other/body.a", "", "mask/", "start"]
        )
        tensors[stray] = torch.ones(2) if name == "start/body.a" else tensors.pop(name)
    else:
        tensors[name] = changed
    return sealed(tensors, facts)


def opened(whole: bytes) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    end = 8 + int.from_bytes(whole[:8], "little")
    facts = json.loads(json.loads(whole[8:end])["__metadata__"]["instant_soup"])
    facts.pop("checksum")
    return load(whole), facts


def sealed(
    tensors: dict[str, torch.Tensor], facts: dict[str, Any], *, checksum: bool = True
) -> bytes:
    if checksum:
        facts["checksum"] = checksum_of(tensors, facts)
    return save(
        {name: tensor.contiguous() for name, tensor in tensors.items()},
        {"instant_soup": json.dumps(facts)},
    )


def refuse(make: Callable[[random.Random], bytes], path: Path, seed: int) -> None:
    """Every file that *make* makes is refused with one clear error, soon, and in little memory."""
    dice, before = random.Random(seed), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    slowest = 0.0
    for count in range(COUNT):
        content = make(dice)
        path.write_bytes(content)
        begun = time.process_time()
        try:
            Ticket.load(path)
        except SoupError as error:
            assert str(path) in str(error)  # noqa: PT017 - what else is raised fails the test
        else:
            pytest.fail(
                f"file {count} of seed {seed} was taken for a ticket: {content!r}"
            )
        slowest = max(slowest, time.process_time() - begun)
    assert slowest < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024  # KiB


def test_a_sound_ticket_is_read(whole: bytes, tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(whole)
    assert Ticket.load(tmp_path / "t").mask.kept == 21
    (tmp_path / "t").write_bytes(sealed(*opened(whole)))
    assert Ticket.load(tmp_path / "t").mask.kept == 21


def test_touched_bytes_are_refused(whole: bytes, tmp_path: Path) -> None:
    def make(dice: random.Random) -> bytes:
        while (content := bytes_touched(whole, dice)) == whole:
            pass
        return content

    refuse(make, tmp_path / "t.safetensors", 1)


def test_touched_headers_are_refused(whole: bytes, tmp_path: Path) -> None:
    def make(dice: random.Random) -> bytes:
        while json_of(content := header_touched(whole, dice)) == json_of(whole):
            pass
        return content

    refuse(make, tmp_path / "t.safetensors", 2)


def test_touched_facts_are_refused_though_their_checksum_fits(
    whole: bytes, tmp_path: Path
) -> None:
    refuse(lambda dice: facts_touched(whole, dice), tmp_path / "t.safetensors", 3)


def test_touched_tensors_are_refused_though_their_checksum_fits(
    whole: bytes, tmp_path: Path
) -> None:
    refuse(lambda dice: tensors_touched(whole, dice), tmp_path / "t.safetensors", 4)


def json_of(content: bytes) -> Any:
    text = content[8 : 8 + int.from_bytes(content[:8], "little")].decode()
    try:
        return json.loads(text, object_pairs_hook=lambda pairs: pairs)
    except ValueError:
        return None
