"""File type: what kind of file lies at a path, by its first bytes and never by its name."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["safetensors", "pickle", "other"]


@dataclass(frozen=True)
class FileType:
    """What a file is.

    Attributes:
        kind: tensors that are read as they are; a pickle, which may run code; or anything else.
        words: what it is called, with its article.
        advice: what whoever wanted tensors can do about it.
    """

    kind: Kind
    words: str
    advice: str = ""


_HEAD = 300  # bytes that tell all kinds apart
_SAFETENSORS = FileType("safetensors", "a safetensors file")
_PICKLE = FileType(
    "pickle",
    "a pickle",
    "it can run code when it is read; save its tensors as safetensors",
)
_UNPACK = "unpack it and give what is in it"
_OTHERS = (
    (
        0,
        b"version https://git-lfs",
        "a git-LFS pointer",
        "fetch the file that it stands for: `git lfs pull`",
    ),
    (257, b"ustar", "a tar archive", _UNPACK),
    (0, b"\x1f\x8b", "a gzip archive", _UNPACK),
    (0, b"BZh", "a bzip2 archive", _UNPACK),
    (0, b"\xfd7zXZ", "an xz archive", _UNPACK),
    (0, b"7z\xbc\xaf", "a 7z archive", _UNPACK),
    (0, b"\x89HDF", "an HDF5 file", "save its tensors as safetensors"),
    (0, b"GGUF", "a GGUF file", "give the model that it was made of, as safetensors"),
    (0, b"\x93NUMPY", "a NumPy array", "save its tensors as safetensors"),
    (0, b"%PDF", "a PDF", "give a file of weights"),
    (
        0,
        b"<!DOCTYPE html",
        "a web page",
        "download the file itself, not the page about it",
    ),
    (0, b"<html", "a web page", "download the file itself, not the page about it"),
)
NAMED = frozenset(
    [_PICKLE.words, "no regular file", *(words for _, _, words, _ in _OTHERS)]
)
"""What a file can be called with certainty. Anything else may be a damaged file of any kind."""


def file_type(path: Path) -> FileType:
    """What the file at *path* is. Raises OSError where it cannot be read.

    What is no regular file, such as a pipe or a device, is not opened.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        return FileType("other", "no regular file", "give a file")

    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if not head:
        return FileType("other", "an empty file", "was it written to the end?")

    if _is_safetensors(head, size):
        return _SAFETENSORS
    if head.startswith(b"PK\x03\x04"):
        return _in_zip(head)
    # the opcode that every binary pickle begins with
    if head[0] == 0x80 and len(head) > 1 and head[1] <= 5:
        return _PICKLE
    for place, magic, words, advice in _OTHERS:
        if head[place : place + len(magic)] == magic:
            return FileType("other", words, advice)
    return FileType("other", "a file of another kind", "give a file of weights")


def not_ours(path: Path) -> FileType | None:
    """What lies at *path*, where it can be no file of tensors that we wrote, whole or damaged; None where it may be.

    Raises OSError where it cannot be read.
    """
    if path.is_dir():
        return _folder(path)

    kind = file_type(path)
    if kind.words in NAMED:
        return kind
    if kind.kind != "other":
        return None

    with path.open("rb") as file:
        head = file.read(_HEAD)
    # the length in front of every safetensors file has zero bytes, which text has not
    if not head or b"\0" in head or not head.isascii():
        return None
    is_json = head.lstrip()[:1] in (b"{", b"[")
    words = "a JSON file" if is_json else "a text file"
    return FileType("other", words, "check the path")


def _folder(path: Path) -> FileType:
    """A folder, by what is in it."""
    names = {entry.name for entry in path.iterdir()}
    if "ticket.safetensors" in names:
        return FileType("other", "a folder", f"give {path / 'ticket.safetensors'}")

    pickled = sorted(name for name in names if name.startswith("pytorch_model"))
    if pickled:
        advice = f"its weights are {pickled[0]}, which can run code when it is read: save them with save_pretrained"
        return FileType("other", "the folder of a model", advice)
    if "config.json" in names:
        advice = "`instant-soup import` makes a ticket of a sparse one"
        return FileType("other", "the folder of a model", advice)
    return FileType("other", "a folder", "give a file")


def _is_safetensors(head: bytes, size: int) -> bool:
    """Whether a length comes first that fits into the file, and JSON after it."""
    length = int.from_bytes(head[:8], "little")
    return size > 8 and length <= size - 8 and head[8:9] == b"{"


def _in_zip(head: bytes) -> FileType:
    """Torch and NumPy both write zip archives; the first name in one tells which of them did."""
    length = int.from_bytes(head[26:28], "little")
    first = head[30 : 30 + length]
    if first.endswith((b"/data.pkl", b"/.format_version", b"/byteorder", b"/version")):
        return _PICKLE
    if first.endswith(b".npy"):
        return FileType("other", "a NumPy archive", "save its tensors as safetensors")
    return FileType("other", "a zip archive", _UNPACK)
