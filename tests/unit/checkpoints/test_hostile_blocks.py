"""A job over blocks goes on from what it wrote itself, or says which file was changed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from instant_soup.checkpoints.block_job import Job
from instant_soup.checkpoints.blocks import FLOW, prune_blocks
from instant_soup.checkpoints.job import RECORD
from instant_soup.core.errors import DataError, StoreError
from instant_soup.models import tiny_decoders


class StoppedError(Exception):
    pass


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_decoders.llama(tmp_path_factory.mktemp("llama") / "model")


@pytest.fixture(scope="module")
def job(letters: Path) -> Job:
    return Job(0.5, "wanda", None, calibrate=str(letters), samples=4, window=32, batch=2)


@pytest.fixture
def stopped(source: Path, job: Job, tmp_path: Path) -> Path:
    """A job that was stopped when its second block was cut."""

    def stop(_: str, done: int, __: int) -> None:
        if done == 2:
            raise StoppedError

    with pytest.raises(StoppedError):
        prune_blocks(source, tmp_path / "out", job, watch=stop)
    return tmp_path / "out"


def flip(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    whole[-1] ^= 1
    path.write_bytes(whole)


@pytest.mark.parametrize("pattern", ["model-00001-of-*", f"{FLOW}/1-0.*"])
def test_what_was_damaged_while_a_job_stood_still_is_named(
    stopped: Path, source: Path, job: Job, pattern: str
) -> None:
    (path,) = stopped.glob(pattern)
    flip(path)
    with pytest.raises(StoreError, match=f"{path.name} is not as it was written"):
        prune_blocks(source, stopped, job)


def test_a_mask_that_was_damaged_makes_no_ticket(
    stopped: Path, source: Path, job: Job, tmp_path: Path
) -> None:
    flip(stopped / FLOW / "mask-0.safetensors")
    ticket = tmp_path / "ticket.safetensors"
    with pytest.raises(StoreError, match=r"mask-0\.safetensors is not as it was written"):
        prune_blocks(source, stopped, job, ticket=ticket)
    assert not ticket.exists()


def test_how_far_a_job_is_cannot_be_edited(stopped: Path, source: Path, job: Job) -> None:
    facts = json.loads((stopped / RECORD).read_text(encoding="utf-8"))
    (stopped / RECORD).write_text(json.dumps({**facts, "passed": 2}), encoding="utf-8")
    with pytest.raises(StoreError, match="does not match its checksum"):
        prune_blocks(source, stopped, job)


def test_a_shard_that_was_damaged_after_the_end_is_named(
    source: Path, job: Job, tmp_path: Path
) -> None:
    prune_blocks(source, tmp_path / "out", job)
    prune_blocks(source, tmp_path / "out", job)
    last = sorted((tmp_path / "out").glob("model-*"))[-1]
    flip(last)
    with pytest.raises(StoreError, match=f"{last.name} is not as it was written"):
        prune_blocks(source, tmp_path / "out", job)


def test_a_job_that_an_earlier_version_began_goes_on(
    stopped: Path, source: Path, job: Job
) -> None:
    facts = json.loads((stopped / RECORD).read_text(encoding="utf-8"))
    old = {"schema": 1, "blocks": facts["blocks"], "passed": facts["passed"]}
    (stopped / RECORD).write_text(json.dumps(old), encoding="utf-8")
    prune_blocks(source, stopped, job)


def test_a_source_that_changes_meanwhile_is_noticed(
    source: Path, job: Job, tmp_path: Path
) -> None:
    mine = Path(shutil.copytree(source, tmp_path / "model"))

    def change(_: str, done: int, __: int) -> None:
        if done == 1:
            flip(mine / "model.safetensors")

    with pytest.raises(DataError, match="was changed meanwhile"):
        prune_blocks(mine, tmp_path / "out", job, watch=change)


def test_a_link_in_the_place_of_what_goes_from_block_to_block_is_refused(
    source: Path, job: Job, tmp_path: Path
) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / FLOW).symlink_to(tmp_path / "theirs")
    with pytest.raises(StoreError, match="is a symbolic link"):
        prune_blocks(source, tmp_path / "out", job)
    assert not list((tmp_path / "theirs").iterdir())
