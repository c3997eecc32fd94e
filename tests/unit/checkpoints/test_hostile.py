"""Checkpoints that are not what they seem: nothing outside is written, deleted, copied or taken for done."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from instant_soup.checkpoints.checkpoint import INDEX, Checkpoint
from instant_soup.checkpoints.job import RECORD
from instant_soup.checkpoints.prune import prune_checkpoint
from instant_soup.core.errors import DataError, StoreError


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "dense"
    folder.mkdir()
    spread = {}
    for shard in range(3):
        file = f"model-{shard}.safetensors"
        save_file(
            {f"layers.{shard}.weight": torch.randn(8, 16).bfloat16()}, folder / file
        )
        spread[f"layers.{shard}.weight"] = file
    (folder / INDEX).write_text(json.dumps({"weight_map": spread}), encoding="utf-8")
    (folder / "config.json").write_text("{}", encoding="utf-8")
    return folder


def flip(path: Path, at: int = -1) -> None:
    whole = bytearray(path.read_bytes())
    whole[at] ^= 1
    path.write_bytes(whole)


@pytest.mark.parametrize(
    "name",
    [
        "*",
        "*.safetensors",
        "[m]odel-0.safetensors",
        "../x.safetensors",
        "instant_soup.json",
        ".x.safetensors",
        "",
        "\n",
    ],
    ids=repr,
)
def test_a_shard_has_a_plain_name_or_is_refused(
    source: Path, tmp_path: Path, name: str
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / ".mine").write_text("keep", encoding="utf-8")
    (source / INDEX).write_text(
        json.dumps({"weight_map": {"layers.0.weight": name}}), encoding="utf-8"
    )
    with pytest.raises(DataError, match="plain names that end in"):
        prune_checkpoint(source, out, 0.5)
    assert sorted(path.name for path in out.iterdir()) == [".mine"]


@pytest.mark.parametrize("name", [RECORD, f"{RECORD}.lock", INDEX])
def test_a_single_file_is_not_written_over_what_stands_beside_it(
    source: Path, tmp_path: Path, name: str
) -> None:
    """A file that is given itself may have any name but these."""
    odd = tmp_path / "odd"
    odd.mkdir()
    (source / "model-0.safetensors").rename(odd / name)
    with pytest.raises(StoreError, match="rename it"):
        prune_checkpoint(odd / name, tmp_path / "out", 0.5)
    assert not (tmp_path / "out").exists()


def test_hidden_files_of_others_stay(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for name in (".model-0.safetensors.a b", ".model-9.safetensors.0123abcd", ".git"):
        (out / name).write_text("keep", encoding="utf-8")
    prune_checkpoint(source, out, 0.5)
    assert {".model-0.safetensors.a b", ".model-9.safetensors.0123abcd", ".git"} <= {
        path.name for path in out.iterdir()
    }


def test_what_killed_jobs_left_half_written_goes(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for name in ("model-0.safetensors", "config.json", "instant_soup.json"):
        left = out / f".{name}.{'a0' * 16}"
        left.mkdir(parents=True)
        (left / name).write_text("half", encoding="utf-8")
    (out / ".model-0.safetensors.backup").write_text("keep", encoding="utf-8")
    prune_checkpoint(source, out, 0.5)
    hidden = [path.name for path in out.glob(".*")]
    assert hidden == [".model-0.safetensors.backup"]


def test_a_shard_that_was_damaged_is_written_again(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prune_checkpoint(source, out, 0.5)
    whole = (out / "model-1.safetensors").read_bytes()
    flip(out / "model-1.safetensors")
    prune_checkpoint(source, out, 0.5)
    assert (out / "model-1.safetensors").read_bytes() == whole


def test_what_was_agreed_on_is_refused_when_it_was_edited(
    source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    prune_checkpoint(source, out, 0.5)
    facts = json.loads((out / RECORD).read_text(encoding="utf-8"))
    facts["cuts"]["layers.0.weight"][0] += 1
    (out / RECORD).write_text(json.dumps(facts), encoding="utf-8")
    with pytest.raises(StoreError, match="does not match its checksum"):
        prune_checkpoint(source, out, 0.5)


def same_size_and_time(path: Path) -> None:
    state = path.stat()
    flip(path)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


def header(path: Path) -> None:
    flip(path, 9)


def grown(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def replaced(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    other.replace(path)


@pytest.mark.parametrize("change", [same_size_and_time, header, grown, replaced])
@pytest.mark.parametrize("when", ["count", "write"])
def test_a_source_that_changes_during_one_job_is_noticed(
    source: Path, tmp_path: Path, change: Callable[[Path], None], when: str
) -> None:
    done = []

    def watch(stage: str, *_: int) -> None:
        if stage == when and not done:
            done.append(stage)
            change(source / "model-2.safetensors")

    with pytest.raises(DataError, match=r"meanwhile|readable"):
        prune_checkpoint(source, tmp_path / "out", 0.5, watch=watch)
    assert not (tmp_path / "out" / "model-2.safetensors").exists()


def test_secrets_and_what_links_lead_to_are_not_copied(
    source: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("key", encoding="utf-8")
    (source / ".env").write_text("TOKEN=1", encoding="utf-8")
    (source / "notes.txt").symlink_to(tmp_path / "secret")
    (source / "alias.json").symlink_to(source / "config.json")
    os.mkfifo(source / "pipe.json")
    prune_checkpoint(source, tmp_path / "out", 0.5)
    there = {path.name for path in (tmp_path / "out").iterdir()}
    assert there == {f"model-{i}.safetensors" for i in range(3)} | {
        INDEX,
        RECORD,
        "config.json",
        "alias.json",
    }


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "README.md"])
def test_a_pipe_beside_the_weights_is_not_waited_for(
    source: Path, tmp_path: Path, name: str
) -> None:
    (source / name).unlink(missing_ok=True)
    os.mkfifo(source / name)
    prune_checkpoint(source, tmp_path / "out", 0.5)
    assert not (tmp_path / "out" / name).exists()


def test_a_link_that_leads_to_itself_is_not_copied(source: Path, tmp_path: Path) -> None:
    (source / "tokenizer.json").symlink_to("tokenizer.json")
    prune_checkpoint(source, tmp_path / "out", 0.5)
    assert not (tmp_path / "out" / "tokenizer.json").is_symlink()


def test_a_module_is_not_written_through_a_link(source: Path, tmp_path: Path) -> None:
    (source / "1_Pooling").mkdir()
    (source / "1_Pooling" / "config.json").write_text("{}", encoding="utf-8")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "1_Pooling").symlink_to(tmp_path / "theirs")
    with pytest.raises(StoreError, match="is a symbolic link"):
        prune_checkpoint(source, tmp_path / "out", 0.5)
    assert not list((tmp_path / "theirs").iterdir())


def test_a_snapshot_in_a_hub_cache_is_a_checkpoint(source: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "models--mine" / "snapshots" / "0123"
    blobs = tmp_path / "models--mine" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for number, path in enumerate(sorted(source.iterdir())):
        path.rename(blobs / str(number))
        (snapshot / path.name).symlink_to(Path("../../blobs") / str(number))
    prune_checkpoint(snapshot, tmp_path / "out", 0.5)
    assert (tmp_path / "out" / "config.json").exists()
    assert len(Checkpoint.open(tmp_path / "out")) == 3


def test_modules_of_sentence_transformers_go_along(source: Path, tmp_path: Path) -> None:
    for name in (
        "1_Pooling/config.json",
        "2_Dense/model.safetensors",
        "checkpoint-5/optimizer.pt",
    ):
        (source / name).parent.mkdir()
        (source / name).write_text("{}", encoding="utf-8")
    prune_checkpoint(source, tmp_path / "out", 0.5)
    assert (tmp_path / "out" / "1_Pooling" / "config.json").exists()
    assert (tmp_path / "out" / "2_Dense" / "model.safetensors").exists()
    assert not (tmp_path / "out" / "checkpoint-5").exists()


def test_a_pipe_in_the_place_of_a_shard_is_refused_and_not_waited_for(
    source: Path, tmp_path: Path
) -> None:
    (source / "model-1.safetensors").unlink()
    os.mkfifo(source / "model-1.safetensors")
    with pytest.raises(DataError, match="is no regular file"):
        prune_checkpoint(source, tmp_path / "out", 0.5)


@pytest.mark.parametrize("name", [RECORD, f"{RECORD}.lock"])
def test_a_link_in_the_place_of_what_is_written_is_refused(
    source: Path, tmp_path: Path, name: str
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "theirs").write_text("keep", encoding="utf-8")
    (out / name).symlink_to(tmp_path / "theirs")
    with pytest.raises(StoreError, match="is a symbolic link"):
        prune_checkpoint(source, out, 0.5)
    assert (tmp_path / "theirs").read_text(encoding="utf-8") == "keep"


def test_a_file_in_the_place_of_the_folder_is_refused(
    source: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").write_text("keep", encoding="utf-8")
    with pytest.raises(StoreError, match="is no folder"):
        prune_checkpoint(source, tmp_path / "out", 0.5)
