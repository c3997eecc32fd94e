"""Files: whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from instant_soup.core import files
from instant_soup.core.errors import StoreError, TicketError
from instant_soup.core.files import write_text
from instant_soup.core.tensor_files import read_tensors, write_tensors

TENSORS = {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor([True, False])}


@contextmanager
def small_disk() -> Iterator[None]:
    """Let no file of this process grow past 4 KiB, as a full disk would.

    Not a fixture: pytest prints its dot before a fixture ends, and a log may well be a larger file.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_text_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    write_text(tmp_path / "new" / "folder" / "note.txt", "soupe à l'oignon\n")
    assert (
        tmp_path / "new" / "folder" / "note.txt"
    ).read_bytes() == "soupe à l'oignon\n".encode()
    assert names(tmp_path / "new" / "folder") == ["note.txt"]


def test_writing_replaces_what_was_there(tmp_path: Path) -> None:
    write_text(tmp_path / "note.txt", "a long first version")
    write_text(tmp_path / "note.txt", "short")
    assert (tmp_path / "note.txt").read_text() == "short"


def test_tensors_and_facts_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    facts = {"n": 1, "nested": {"x": [1.5, None, "é"]}}
    write_tensors(tmp_path / "t.safetensors", TENSORS, facts)
    tensors, read = read_tensors(tmp_path / "t.safetensors", StoreError, "thing")
    assert read == facts
    assert tensors.keys() == TENSORS.keys()
    assert all(
        torch.equal(tensors[name], TENSORS[name]) and tensors[name].dtype == t.dtype
        for name, t in TENSORS.items()
    )


def test_tensors_in_any_memory_order_or_with_a_gradient_can_be_written(
    tmp_path: Path,
) -> None:
    odd = {
        "turned": torch.arange(6.0).view(2, 3).T,
        "trained": torch.nn.Parameter(torch.ones(2)),
    }
    write_tensors(tmp_path / "t.safetensors", odd, {})
    tensors, _ = read_tensors(tmp_path / "t.safetensors", StoreError, "thing")
    assert tensors["turned"].tolist() == [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]
    assert tensors["trained"].tolist() == [1.0, 1.0]


def test_others_may_read_what_the_umask_lets_them(tmp_path: Path) -> None:
    """Safetensors makes its files private, and a shared folder of runs must stay shared."""
    before = os.umask(0o027)
    try:
        write_tensors(tmp_path / "t.safetensors", TENSORS, {})
        write_text(tmp_path / "t.txt", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "t.safetensors").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "t.txt").stat().st_mode) == 0o640


@pytest.mark.parametrize("error", [StoreError, TicketError])
def test_a_missing_file_is_named_in_the_error_that_was_asked_for(
    tmp_path: Path, error: type[Exception]
) -> None:
    with pytest.raises(error, match=r"no thing at .*gone\.safetensors"):
        read_tensors(tmp_path / "gone.safetensors", error, "thing")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no thing at"):
        read_tensors(tmp_path, StoreError, "thing")


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 8, b"not safetensors at all", b"\xff" * 100], ids=repr
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.safetensors").write_bytes(content)
    with pytest.raises(TicketError, match="not a readable thing"):
        read_tensors(tmp_path / "t.safetensors", TicketError, "thing")


@pytest.mark.parametrize(
    "metadata", [None, {}, {"format": "pt"}, {"instant_soup": "no json"}], ids=str
)
def test_safetensors_without_our_facts_are_refused(
    tmp_path: Path, metadata: dict[str, str] | None
) -> None:
    save_file(TENSORS, tmp_path / "t.safetensors", metadata)
    with pytest.raises(TicketError, match="not a readable thing"):
        read_tensors(tmp_path / "t.safetensors", TicketError, "thing")


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    write_tensors(tmp_path / "t.safetensors", TENSORS, {"n": 1})
    whole = (tmp_path / "t.safetensors").read_bytes()
    for length in range(len(whole)):
        (tmp_path / "t.safetensors").write_bytes(whole[:length])
        with pytest.raises(TicketError):
            read_tensors(tmp_path / "t.safetensors", TicketError, "thing")


def test_a_full_disk_leaves_the_old_text_and_nothing_beside_it(tmp_path: Path) -> None:
    write_text(tmp_path / "note.txt", "old")
    with (
        small_disk(),
        pytest.raises(StoreError, match=r"could not write .*note\.txt .*free some space"),
    ):
        write_text(tmp_path / "note.txt", "new" * 5000)
    assert (tmp_path / "note.txt").read_text() == "old"
    assert names(tmp_path) == ["note.txt"]


def test_a_full_disk_leaves_the_old_tensors_and_nothing_beside_them(
    tmp_path: Path,
) -> None:
    write_tensors(tmp_path / "t.safetensors", TENSORS, {"version": "old"})
    old = (tmp_path / "t.safetensors").read_bytes()
    with small_disk(), pytest.raises(StoreError, match="free some space"):
        write_tensors(
            tmp_path / "t.safetensors", {"large": torch.zeros(5000)}, {"version": "new"}
        )
    assert (tmp_path / "t.safetensors").read_bytes() == old
    assert names(tmp_path) == ["t.safetensors"]


@pytest.mark.parametrize("call", ["fsync", "replace", "chmod"])
def test_a_disk_that_fills_up_late_leaves_the_old_file_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """A file system may accept the bytes and find no room for them when they are flushed."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    write_text(tmp_path / "note.txt", "old")
    monkeypatch.setattr(*((files.os, "fsync") if call == "fsync" else (Path, call)), full)
    with pytest.raises(StoreError, match="No space left on device"):
        write_text(tmp_path / "note.txt", "new")
    monkeypatch.undo()
    assert (tmp_path / "note.txt").read_text() == "old"
    assert names(tmp_path) == ["note.txt"]


def test_a_file_where_a_folder_should_be_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(StoreError, match="choose another folder"):
        write_text(tmp_path / "taken" / "note.txt", "x")


def test_a_folder_where_the_file_should_be_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "note.txt").mkdir()
    with pytest.raises(StoreError):
        write_text(tmp_path / "note.txt", "x")
    assert names(tmp_path) == ["note.txt"]


def test_an_interruption_leaves_nothing_beside_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_text(tmp_path / "note.txt", "x")
    assert names(tmp_path) == []


KILLED = """
import os, sys
from pathlib import Path
import torch
from instant_soup.core import tensor_files

save = tensor_files.save_file

def killed(tensors, path, metadata):
    save(tensors, path, metadata)
    # as the library names its own file beside the one that it is to write
    (path.parent / ".tmpA1b2C3").write_bytes(b"half")
    os.kill(os.getpid(), 9)

tensor_files.save_file = killed
tensor_files.write_tensors(Path(sys.argv[1]), {"a": torch.zeros(9)}, {})
"""


def test_what_a_killed_write_leaves_is_one_folder_that_goes_with_a_later_write(
    tmp_path: Path,
) -> None:
    """Only when it is old, for until then somebody may be writing; and nothing of another name."""
    path = tmp_path / "t.safetensors"
    subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    (left,) = files.half_written(path)
    assert names(tmp_path) == [left.name]

    theirs = tmp_path / f".other.{'0' * 32}"
    theirs.mkdir()
    write_text(path, "new")
    assert left.exists()
    old = time.time() - 3600
    for part in (theirs, left, *left.iterdir()):
        os.utime(part, (old, old))
    write_text(path, "new")
    assert names(tmp_path) == [theirs.name, path.name]


def test_facts_are_one_json_object_under_our_name(tmp_path: Path) -> None:
    """Other tools read the header; its place and form are part of the format."""
    write_tensors(tmp_path / "t.safetensors", TENSORS, {"b": 1, "a": 2})
    raw = (tmp_path / "t.safetensors").read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    assert header["__metadata__"] == {"instant_soup": '{"a": 2, "b": 1}'}


@pytest.mark.parametrize(
    "what",
    [
        "a pipe",
        "a symbolic link",
        "a link to nothing",
        "a device",
        "a folder",
        "a socket",
    ],
)
def test_what_is_no_regular_file_is_never_replaced(
    tmp_path: Path, irregular: Callable[[str], Path], what: str
) -> None:
    out = irregular(what)
    before = out.lstat()
    called = "a symbolic link" if "nothing" in what else what
    with pytest.raises(
        StoreError, match=f"out is {called} and no regular file; choose another name"
    ):
        write_text(out, "new")
    assert (out.lstat().st_mode, out.lstat().st_ino) == (before.st_mode, before.st_ino)
    assert (tmp_path / "target").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "target"]


def test_a_name_that_no_file_can_have_is_one_error(tmp_path: Path) -> None:
    for name in ("x" * 300, "a\0b"):
        with pytest.raises(StoreError, match="could not write"):
            write_text(tmp_path / name, "new")
