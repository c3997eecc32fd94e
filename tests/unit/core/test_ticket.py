"""Ticket: one file, every byte of it checked."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from instant_soup.core import files, tensor_files
from instant_soup.core.budget import Cost, Meter
from instant_soup.core.errors import SoupError, StoreError, TicketError
from instant_soup.core.mask import Mask
from instant_soup.core.pattern import Pattern, follows
from instant_soup.core.prune import prune
from instant_soup.core.scope import Scope
from instant_soup.core.task import Base
from instant_soup.core.ticket import Ticket
from instant_soup.core.ticket_file import SCHEMA, checksum
from instant_soup.core.weights import digest

SCOPE = Scope({"body.a": (3, 4), "body.b": (5, 4)})
BASE = Base("tiny", "0123456789abcdef" * 4)


def half() -> Mask:
    """Half of the scope, chosen so that the sparsity has one short decimal."""
    return Mask(
        SCOPE,
        {
            "body.a": torch.arange(12).view(3, 4) % 2 == 0,
            "body.b": torch.arange(20).view(5, 4) >= 10,
        },
    )


def masked(mask: Mask, name: str, dtype: torch.dtype = torch.float32) -> Tensor:
    dice = torch.Generator().manual_seed(len(name))
    whole = torch.randn(mask.scope.shapes[name], generator=dice).to(dtype)
    return torch.where(mask[name], whole, torch.zeros((), dtype=dtype))


def ticket(**changes: Any) -> Ticket:
    mask = half()
    return replace(
        Ticket(
            mask,
            {
                "body.a": masked(mask, "body.a"),
                "head.weight": torch.tensor([[1.0, -2.0]]),
            },
            BASE,
            Cost(3, 24, 72, 1000),
            ready=True,
            method={"name": "instant-soup", "rate": [1.0, 3.0], "round_steps": None},
            notes={"rounds": [{"target": 0.5}]},
            recipe="k" * 64,
        ),
        **changes,
    )


def same(first: Ticket, second: Ticket) -> bool:
    return (
        first.start.keys() == second.start.keys()
        and all(
            first.start[name].dtype == tensor.dtype
            and torch.equal(first.start[name], tensor)
            for name, tensor in second.start.items()
        )
        and replace(first, start={}) == replace(second, start={})
    )


# there and back


def test_a_ticket_is_read_back_as_it_was_saved(tmp_path: Path) -> None:
    ticket().save(tmp_path / "t.safetensors")
    read = Ticket.load(tmp_path / "t.safetensors")
    assert same(read, ticket())
    assert read.digest == ticket().digest


def test_paths_may_be_text_and_folders_are_made(tmp_path: Path) -> None:
    ticket().save(f"{tmp_path}/new/folder/t.safetensors")
    assert same(Ticket.load(f"{tmp_path}/new/folder/t.safetensors"), ticket())


@pytest.mark.parametrize(
    "dtype",
    [
        torch.float32,
        torch.bfloat16,
        torch.float16,
        torch.float64,
        torch.int64,
        torch.int32,
        torch.bool,
    ],
    ids=str,
)
def test_start_tensors_of_this_dtype_come_back_to_the_bit(
    tmp_path: Path, dtype: torch.dtype
) -> None:
    mask = half()
    start = {
        "body.b": masked(mask, "body.b", dtype),
        "buffer": torch.tensor([[3, 0, 1]]).to(dtype),
    }
    ticket(start=start).save(tmp_path / "t.safetensors")
    assert same(Ticket.load(tmp_path / "t.safetensors"), ticket(start=start))


def test_counters_without_dimension_come_back(tmp_path: Path) -> None:
    start = {"batches": torch.tensor(7)}
    ticket(start=start).save(tmp_path / "t.safetensors")
    assert same(Ticket.load(tmp_path / "t.safetensors"), ticket(start=start))


def test_a_parameter_that_is_pruned_to_the_last_weight_comes_back(tmp_path: Path) -> None:
    mask = Mask(
        SCOPE, {"body.a": torch.zeros(3, 4).bool(), "body.b": torch.ones(5, 4).bool()}
    )
    gone = ticket(
        mask=mask, start={"body.a": torch.zeros(3, 4), "body.b": torch.ones(5, 4)}
    )
    gone.save(tmp_path / "t.safetensors")
    assert same(Ticket.load(tmp_path / "t.safetensors"), gone)


def test_a_ticket_from_the_pre_trained_weights_holds_its_mask_alone(
    tmp_path: Path,
) -> None:
    ticket(start={}).save(tmp_path / "t.safetensors")
    assert load_file(tmp_path / "t.safetensors").keys() == {"mask/body.a", "mask/body.b"}
    assert same(Ticket.load(tmp_path / "t.safetensors"), ticket(start={}))


def test_saving_the_same_ticket_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        ticket().save(tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


# the format


def test_survivors_are_stored_in_order_and_alone(tmp_path: Path) -> None:
    ticket().save(tmp_path / "t.safetensors")
    stored = load_file(tmp_path / "t.safetensors")
    assert stored["start/body.a"].shape == (6,)
    assert (
        stored["start/body.a"].tolist() == ticket().start["body.a"].view(-1)[::2].tolist()
    )
    assert stored["start/head.weight"].tolist() == [[1.0, -2.0]]


def test_masks_are_stored_as_eight_weights_a_byte_lowest_bit_first(
    tmp_path: Path,
) -> None:
    ticket().save(tmp_path / "t.safetensors")
    stored = load_file(tmp_path / "t.safetensors")
    assert stored["mask/body.a"].tolist() == [0b01010101, 0b0101]
    assert stored["mask/body.b"].tolist() == [0, 0b11111100, 0b1111]


def test_the_header_says_what_it_is_without_reading_the_rest(tmp_path: Path) -> None:
    ticket().save(tmp_path / "t.safetensors")
    with safe_open(tmp_path / "t.safetensors", framework="pt") as file:
        facts = json.loads(file.metadata()["instant_soup"])
    assert facts.pop("checksum")
    assert facts == {
        "schema": 1,
        "scope": [["body.a", [3, 4]], ["body.b", [5, 4]]],
        "sparsity": 0.5,
        "kept": 16,
        "base": {"name": "tiny", "digest": BASE.digest},
        "cost": {"steps": 3, "examples": 24, "passes": 72, "flops": 1000},
        "ready": True,
        "method": {"name": "instant-soup", "rate": [1.0, 3.0], "round_steps": None},
        "notes": {"rounds": [{"target": 0.5}]},
        "recipe": "k" * 64,
    }


# damage


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A small file with every kind of content."""
    path = tmp_path / "t.safetensors"
    ticket(base=Base("m", "d"), method={}, notes={}, recipe=None).save(path)
    return path


def test_truncation_anywhere_is_a_ticket_error(small: Path) -> None:
    whole = small.read_bytes()
    for length in {
        *range(0, len(whole), 11),
        *range(10),
        *range(len(whole) - 60, len(whole)),
    }:
        small.write_bytes(whole[:length])
        with pytest.raises(TicketError, match=r"t\.safetensors"):
            Ticket.load(small)


@pytest.mark.parametrize("flip", [0x01, 0x20, 0xFF], ids=hex)
def test_a_flip_of_any_byte_is_a_ticket_error_and_nothing_else(
    small: Path, flip: int
) -> None:
    """Length, header, padding, facts, names, masks and weights: every byte of the file in turn."""
    whole = small.read_bytes()
    unnoticed = []
    for offset in range(len(whole)):
        small.write_bytes(
            whole[:offset] + bytes([whole[offset] ^ flip]) + whole[offset + 1 :]
        )
        try:
            Ticket.load(small)
        except TicketError as error:
            assert "t.safetensors" in str(error)  # noqa: PT017 - what else is raised fails the test
        else:
            unnoticed.append((offset, whole[offset : offset + 1]))
    assert unnoticed == []


def test_bytes_added_at_the_end_are_a_ticket_error(small: Path) -> None:
    small.write_bytes(small.read_bytes() + b"\0")
    with pytest.raises(TicketError):
        Ticket.load(small)


def test_a_missing_ticket_is_named(tmp_path: Path) -> None:
    with pytest.raises(TicketError, match=r"no ticket at .*gone"):
        Ticket.load(tmp_path / "gone")


@pytest.mark.parametrize(
    "metadata", [None, {"format": "pt"}], ids=["bare", "of transformers"]
)
def test_a_model_file_is_not_a_ticket(
    tmp_path: Path, metadata: dict[str, str] | None
) -> None:
    save_file({"weight": torch.ones(3)}, tmp_path / "model.safetensors", metadata)
    with pytest.raises(TicketError, match="not a readable ticket"):
        Ticket.load(tmp_path / "model.safetensors")


def test_another_file_of_ours_is_not_a_ticket(tmp_path: Path) -> None:
    tensor_files.write_tensors(
        tmp_path / "model.safetensors",
        {"weight": torch.ones(3)},
        {"what": "fine-tuned weights"},
    )
    with pytest.raises(TicketError, match="not a sound ticket"):
        Ticket.load(tmp_path / "model.safetensors")


def rewritten(path: Path, **changes: Any) -> None:
    """The file with other facts, and a checksum that fits them: what another version might have written."""
    tensors, facts = tensor_files.read_tensors(path, TicketError, "ticket")
    facts = {**facts, **changes}
    facts.pop("checksum")
    tensor_files.write_tensors(
        path, tensors, {**facts, "checksum": checksum(tensors, facts)}
    )


def test_a_newer_schema_asks_for_a_newer_version(small: Path) -> None:
    rewritten(small, schema=SCHEMA + 1)
    with pytest.raises(
        TicketError, match=f"schema {SCHEMA + 1} and this version reads {SCHEMA}; upgrade"
    ):
        Ticket.load(small)


@pytest.mark.parametrize(
    "changes",
    [
        {"scope": []},
        {"scope": [["body.a", [3, 4]]]},
        {"scope": [["body.a", [5, 4]], ["body.b", [5, 4]]]},
        {"scope": [["body.b", [5, 4]], ["body.c", [3, 4]]]},
        {"scope": "body.a"},
        {"kept": 17},
        {"kept": None},
        {"base": None},
        {"base": {"name": "tiny"}},
        {"cost": {"stepz": 1}},
        {"cost": 3},
    ],
    ids=str,
)
def test_facts_that_do_not_fit_are_a_ticket_error_though_their_checksum_does(
    small: Path, changes: dict[str, Any]
) -> None:
    rewritten(small, **changes)
    with pytest.raises(TicketError, match="not a sound ticket"):
        Ticket.load(small)


@pytest.mark.parametrize("name", ["stray", "other/body.a", "mask/head", "mask/"])
def test_a_tensor_that_no_ticket_has_is_a_ticket_error(small: Path, name: str) -> None:
    tensors, facts = tensor_files.read_tensors(small, TicketError, "ticket")
    facts.pop("checksum")
    tensors[name] = torch.ones(2)
    tensor_files.write_tensors(
        small, tensors, {**facts, "checksum": checksum(tensors, facts)}
    )
    with pytest.raises(TicketError, match="which no ticket has"):
        Ticket.load(small)


@pytest.mark.parametrize(
    "dtype", [torch.int16, torch.uint8, torch.float8_e4m3fn], ids=str
)
def test_a_ticket_that_could_not_be_read_back_is_not_written(
    tmp_path: Path, dtype: torch.dtype
) -> None:
    odd = ticket(start={"buffer": torch.ones(3).to(dtype)})
    try:
        odd.save(tmp_path / "t.safetensors")
    except SoupError:
        return
    assert same(Ticket.load(tmp_path / "t.safetensors"), odd)


# a full disk


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_start_that_is_not_finite_is_neither_written_nor_read(
    tmp_path: Path, value: float
) -> None:
    head = torch.tensor([[1.0, value]])
    with pytest.raises(
        TicketError,
        match=r"'head.weight' holds NaN or infinity, so training has diverged",
    ):
        ticket(start={"head.weight": head}).save(tmp_path / "t")
    assert not list(tmp_path.iterdir())

    ticket().save(tmp_path / "t")
    tensors, facts = tensor_files.read_tensors(tmp_path / "t", TicketError, "ticket")
    tensors["start/head.weight"] = head
    del facts["checksum"]
    tensor_files.write_tensors(
        tmp_path / "t", tensors, {**facts, "checksum": checksum(tensors, facts)}
    )
    with pytest.raises(
        TicketError,
        match=r"t is not a sound ticket: it starts 'head.weight' from NaN or infinity",
    ):
        Ticket.load(tmp_path / "t")


def test_zeros_are_written_by_selection_so_that_nan_does_not_survive_where_a_ticket_prunes() -> (
    None
):
    model = torch.nn.Module()
    model.body = torch.nn.ParameterDict(
        {"a": torch.full((3, 4), torch.nan), "b": torch.full((5, 4), -torch.inf)}
    )
    bare = ticket(start={})
    bare.apply(model, check=False)
    for name, keep in bare.mask.items():
        bits = model.get_parameter(name).detach()[~keep].view(torch.int32)
        assert not bits.any(), "not NaN, and not -0.0 either"


@pytest.mark.parametrize("when", ["while writing", "when flushed"])
def test_a_full_disk_keeps_the_old_ticket_and_leaves_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    ticket(recipe="old").save(tmp_path / "t.safetensors")
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def half_written(tensors: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"half a header")
        raise full

    def unflushed(_: int) -> None:
        raise full

    if when == "while writing":
        monkeypatch.setattr(tensor_files, "save_file", half_written)
    else:
        monkeypatch.setattr(files.os, "fsync", unflushed)
    with pytest.raises(
        StoreError,
        match=r"could not write .*t\.safetensors .*No space left.*free some space",
    ):
        ticket(recipe="new").save(tmp_path / "t.safetensors")
    assert Ticket.load(tmp_path / "t.safetensors").recipe == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["t.safetensors"]


# what it is


def test_the_digest_is_of_mask_start_and_base_and_not_of_how_it_was_drawn() -> None:
    one = ticket()
    for how in (
        {"cost": Cost()},
        {"ready": False},
        {"method": {}},
        {"notes": {}},
        {"recipe": None},
    ):
        assert replace(one, **how).digest == one.digest
    nudged = {**one.start, "head.weight": torch.tensor([[1.0, -2.0000002]])}
    others = [
        replace(one, start=nudged),
        replace(one, start={}),
        replace(one, base=Base("other", BASE.digest)),
        replace(one, base=Base(BASE.name, "f" * 64)),
        replace(one, mask=Mask.dense(SCOPE)),
    ]
    assert len({one.digest, *(other.digest for other in others)}) == 6


def test_the_digest_does_not_depend_on_the_order_of_start() -> None:
    one = ticket()
    assert replace(one, start=dict(reversed(one.start.items()))).digest == one.digest


def test_a_stamped_ticket_carries_the_key_and_is_the_same_ticket() -> None:
    stamped = ticket(recipe=None).stamped("key")
    assert stamped.recipe == "key"
    assert stamped.digest == ticket().digest


def test_sparsity_is_that_of_the_mask() -> None:
    assert ticket().sparsity == 0.5


def test_a_ticket_fits_the_model_that_it_was_drawn_from() -> None:
    ticket().check_base(
        Base("under another name", BASE.digest), Scope(dict(SCOPE.shapes))
    )


def test_a_ticket_does_not_fit_other_weights() -> None:
    with pytest.raises(
        TicketError, match=r"'tiny' \(0123456789ab\).*'other' .*\(ffffffffffff\)"
    ):
        ticket().check_base(Base("other", "f" * 64), SCOPE)


def test_a_ticket_does_not_fit_a_model_of_another_scope() -> None:
    with pytest.raises(TicketError, match=r"this model has no 'body\.b' in scope"):
        ticket().check_base(BASE, Scope({"body.a": (3, 4)}))


# drawn


def learner(here: dict[str, Tensor], origin: dict[str, Tensor], mask: Mask) -> Any:
    """As much of a learner as a ticket asks for."""
    meter = Meter()
    meter.charge("train", Cost(1, 2, 6, 9))
    return SimpleNamespace(
        mask=mask,
        origin=origin,
        fresh=frozenset({"head.weight"}),
        base=BASE,
        meter=meter,
        notes={"rounds": [1]},
        view=lambda: here,
    )


def world() -> dict[str, Tensor]:
    dice = torch.Generator().manual_seed(0)
    body = {
        name: torch.randn(shape, generator=dice) for name, shape in SCOPE.shapes.items()
    }
    return {
        **body,
        "norm": torch.ones(4),
        "head.weight": torch.randn(1, 2, generator=dice),
        "n": torch.tensor(0),
    }


def test_a_ticket_holds_what_has_moved_and_the_new_head() -> None:
    origin, mask = world(), half()
    here = {name: tensor.clone() for name, tensor in origin.items()}
    here["norm"] += 1
    here["body.b"] *= mask["body.b"]
    here["body.a"] = torch.where(mask["body.a"], here["body.a"] + 1, torch.zeros(()))
    got = Ticket.drawn(learner(here, origin, mask), {"name": "m"}, ready=True)
    assert got.start.keys() == {"body.a", "norm", "head.weight"}
    assert torch.equal(got.start["body.a"], here["body.a"])
    assert torch.equal(got.start["norm"], here["norm"])
    assert (got.cost, got.ready, got.method, got.notes, got.base) == (
        Cost(1, 2, 6, 9), True, {"name": "m"}, {"rounds": [1]}, BASE
    )  # fmt: skip


def test_a_ticket_rewound_to_the_pre_trained_weights_holds_the_head_alone() -> None:
    origin, mask = world(), half()
    moved = {name: tensor + 1 for name, tensor in origin.items()}
    got = Ticket.drawn(learner(moved, origin, mask), {}, start=origin)
    assert got.start.keys() == {"head.weight"}
    assert torch.equal(got.start["head.weight"], origin["head.weight"])


def test_a_drawn_ticket_does_not_follow_the_learner_as_it_trains_on() -> None:
    origin = world()
    here = {name: tensor + 1 for name, tensor in origin.items()}
    got = Ticket.drawn(learner(here, origin, half()), {})
    digest = got.digest
    for tensor in here.values():
        tensor.zero_()
    assert got.digest == digest


def test_pruned_weights_of_a_start_are_zero() -> None:
    origin, mask = world(), half()
    start = {name: tensor + 1 for name, tensor in origin.items()}
    got = Ticket.drawn(learner(origin, origin, mask), {}, start=start)
    for name in SCOPE:
        assert not got.start[name][~mask[name]].any()
        assert torch.equal(got.start[name][mask[name]], start[name][mask[name]])


def test_a_ticket_drawn_from_weights_not_yet_masked_keeps_its_digest_on_disk(
    tmp_path: Path,
) -> None:
    origin = world()
    start = {name: tensor - 1 for name, tensor in origin.items()}
    got = Ticket.drawn(learner(origin, origin, half()), {}, start=start)
    got.save(tmp_path / "t.safetensors")
    assert Ticket.load(tmp_path / "t.safetensors").digest == got.digest


def test_where_inputs_lie_is_known_of_a_ticket_that_has_travelled_and_been_transferred(
    tmp_path: Path,
) -> None:
    """A cut by a pattern under its mask must go along the inputs, as the first one did."""
    model = nn.Sequential(Conv1D(8, 4), nn.Linear(8, 4))
    scope = Scope.of(model, keep_dense=())
    assert dict(scope.inputs) == {"0.weight": 0}
    parameters = dict(model.named_parameters())
    scores = {name: parameters[name].detach().abs() for name in scope}
    base = Base("model", digest(parameters, scope))
    ticket = Ticket(Mask.dense(scope), {}, base)

    ticket.save(tmp_path / "ticket.safetensors")
    loaded = Ticket.load(tmp_path / "ticket.safetensors")
    assert dict(loaded.mask.scope.inputs) == {"0.weight": 0}

    cut = prune(scores, loaded.mask, 0.5, pattern="2:4")
    assert follows(cut["0.weight"], Pattern(2, 4), 0)

    fitted = loaded.transfer(nn.DataParallel(model)).ticket
    assert dict(fitted.mask.scope.inputs) == {"0.weight": 0}
