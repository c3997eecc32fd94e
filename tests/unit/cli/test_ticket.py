"""The commands that look into tickets and make tickets of tickets."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

import instant_soup as soup
from instant_soup.cli.main import app
from instant_soup.core.agreement import agreement
from instant_soup.core.task import Base
from instant_soup.core.ticket import Ticket

SHAPES = {"layers.0.fc": (8, 6), "layers.1.fc": (8, 6), "layers.2.fc": (4, 4)}
Call = Callable[..., Result]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    monkeypatch.chdir(tmp_path)
    for i in range(3):
        made(i).save(tmp_path / f"{i}.safetensors")
    return lambda *words: CliRunner().invoke(
        app, ["ticket", *map(str, words)], catch_exceptions=False
    )


def made(seed: int, *, moved: bool = False, empty: bool = False) -> Ticket:
    dice = torch.Generator().manual_seed(seed)
    kept = {
        name: torch.rand(shape, generator=dice) < 0.5 for name, shape in SHAPES.items()
    }
    if empty:
        kept["layers.2.fc"] = torch.zeros(4, 4, dtype=torch.bool)
    start = {"head": torch.randn(3, generator=dice)}
    if moved:
        start["layers.0.fc"] = torch.randn(8, 6, generator=dice).masked_fill(
            ~kept["layers.0.fc"], 0
        )
    mask = soup.Mask(soup.Scope(SHAPES), kept)
    return Ticket(
        mask, start, Base("a model", "0" * 64), method={"name": "snip", "per_class": 10}
    )


def refused(result: Result, *said: str) -> None:
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    for words in said:
        assert words in result.stderr


def test_info_says_what_a_ticket_is_and_what_it_keeps_where(call: Call) -> None:
    ticket, text = made(0), call("info", "0.safetensors").stdout
    for words in (ticket.digest, "a model", "snip: per_class=10", "to be fine-tuned"):
        assert words in text
    assert (
        f"{ticket.mask.kept:,} of {ticket.mask.scope.size:,} prunable weights kept"
        in text
    )
    for name, kept in ticket.mask.kept_by_name.items():
        row = next(line for line in text.splitlines() if name in line)
        assert f" {kept} " in row


def test_info_names_layers_of_which_nothing_is_left(call: Call, tmp_path: Path) -> None:
    made(0, empty=True).save(tmp_path / "empty.safetensors")
    assert "Nothing is kept of layers.2.fc" in call("info", "empty.safetensors").stdout
    assert "Nothing is kept" not in call("info", "0.safetensors").stdout


def test_info_for_machines_is_one_object_or_a_list(call: Call) -> None:
    one = json.loads(call("info", "0.safetensors", "--json").stdout)
    assert one["digest"] == made(0).digest
    assert sum(kept for kept, _ in one["layers"].values()) == one["kept"]
    assert [
        each["ticket"]
        for each in json.loads(
            call("info", "0.safetensors", "1.safetensors", "--json").stdout
        )
    ] == [
        "0.safetensors",
        "1.safetensors",
    ]


def test_verify_looks_at_every_file_and_ends_badly_if_one_is_damaged(
    call: Call, tmp_path: Path
) -> None:
    assert call("verify", "0.safetensors", "1.safetensors").exit_code == 0
    whole = (tmp_path / "1.safetensors").read_bytes()
    (tmp_path / "1.safetensors").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    result = call(
        "verify", "0.safetensors", "1.safetensors", "nowhere.safetensors", "2.safetensors"
    )
    assert result.exit_code == 2
    lines = result.stdout.splitlines()
    assert [line.split(": ")[1].split(",")[0] for line in lines] == [
        "ok",
        "damaged",
        "damaged",
        "ok",
    ]


def test_diff_says_what_both_keep_beyond_chance(call: Call) -> None:
    one, other = made(0), made(1)
    found = json.loads(call("diff", "0.safetensors", "1.safetensors", "--json").stdout)
    assert found["same"] == {"base": True, "method": True, "mask": False, "ticket": False}
    whole = agreement(one.mask, other.mask)
    assert found["whole"]["cosine_in_layers"] == whole.cosine_in_layers
    assert list(found["layers"]) == list(SHAPES)
    text = call("diff", "0.safetensors", "1.safetensors").stdout
    row = next(line for line in text.splitlines() if line.startswith("│ all"))
    assert f" {whole.both} " in row
    assert f" {whole.cosine:.3f} " in row
    same = json.loads(call("diff", "0.safetensors", "0.safetensors", "--json").stdout)
    assert all(same["same"].values())
    assert same["whole"]["cosine"] == 1


@pytest.mark.parametrize("how", ["union", "intersection"])
def test_sets_are_written_as_tickets(call: Call, tmp_path: Path, how: str) -> None:
    assert (
        call(how, "0.safetensors", "1.safetensors", "-o", "new.safetensors").exit_code
        == 0
    )
    masks = made(0).mask, made(1).mask
    expected = masks[0] | masks[1] if how == "union" else masks[0] & masks[1]
    assert Ticket.load(tmp_path / "new.safetensors").mask == expected


def test_a_vote_keeps_exactly_what_was_asked_for(call: Call, tmp_path: Path) -> None:
    files = [f"{i}.safetensors" for i in range(3)]
    assert (
        call("vote", *files, "-o", "new.safetensors", "--sparsity", 0.75).exit_code == 0
    )
    assert Ticket.load(tmp_path / "new.safetensors").mask.kept == 28


def test_shuffle_keeps_as_much_of_each_layer_elsewhere(
    call: Call, tmp_path: Path
) -> None:
    for seed in (0, 0, 1):
        assert (
            call(
                "shuffle", "0.safetensors", "-o", f"s{seed}.safetensors", "--seed", seed
            ).exit_code
            == 0
        )
    first, second = (Ticket.load(tmp_path / f"s{seed}.safetensors") for seed in (0, 1))
    assert (
        first.mask.kept_by_name == second.mask.kept_by_name == made(0).mask.kept_by_name
    )
    assert len({first.mask, second.mask, made(0).mask}) == 3
    assert first.method["of"] == made(0).digest
    assert torch.equal(first.start["head"], made(0).start["head"])


def test_shuffle_needs_the_pre_trained_weights_where_the_ticket_starts_elsewhere(
    call: Call, tmp_path: Path
) -> None:
    made(0, moved=True).save(tmp_path / "moved.safetensors")
    refused(
        call("shuffle", "moved.safetensors", "-o", "x.safetensors"),
        "layers.0.fc",
        "instant-soup control",
    )
    assert not (tmp_path / "x.safetensors").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("info", "nowhere"), "no ticket at nowhere"),
        (("union", "0.safetensors", "-o", "x"), "1 ticket to combine"),
        (
            ("vote", "0.safetensors", "1.safetensors", "-o", "x", "--sparsity", "1.5"),
            "sparsity is 1.5",
        ),
        (("diff", "0.safetensors", "other.safetensors"), "different scopes"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    call: Call, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    mask = soup.Mask.dense(soup.Scope({"a": (2, 2)}))
    Ticket(mask, {}, Base("other", "1" * 64)).save(tmp_path / "other.safetensors")
    refused(call(*words), said)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("how", ["union", "intersection"])
def test_a_ticket_is_replaced_on_request_only(
    call: Call, tmp_path: Path, how: str
) -> None:
    before = (tmp_path / "0.safetensors").read_bytes()
    refused(
        call(how, "0.safetensors", "1.safetensors", "-o", "0.safetensors"),
        "is there already",
        "--force",
    )
    assert (tmp_path / "0.safetensors").read_bytes() == before
    assert (
        call(
            how, "0.safetensors", "1.safetensors", "-o", "0.safetensors", "--force"
        ).exit_code
        == 0
    )
    assert (tmp_path / "0.safetensors").read_bytes() != before
