"""Whole and checked, or not at all."""

from __future__ import annotations

import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import instant_soup as soup
from instant_soup.core.errors import MissingExtra, StoreError, UnknownName
from instant_soup.core.ticket import Ticket
from instant_soup.export import csr
from instant_soup.export.errors import ExportError
from instant_soup.export.export import export_model
from instant_soup.export.formats import FORMATS
from instant_soup.export.portable import Portable
from instant_soup.export.staging import staged

Source = Callable[[str], Portable]


def test_a_ticket_is_exported_by_the_name_of_its_model(
    ticket_for: Callable[..., Ticket], tiny_bert: Path, tmp_path: Path
) -> None:
    ticket = ticket_for(tiny_bert)
    done = soup.export_ticket(
        ticket, str(tiny_bert), to="csr", out=tmp_path / "deep" / "out.safetensors"
    )
    assert done.size == done.out.stat().st_size
    assert csr.read(done.out)[1] == ticket.mask
    assert [part.name for part in (tmp_path / "deep").iterdir()] == ["out.safetensors"]


@pytest.mark.parametrize("to", ["hf", "csr"])
def test_what_is_there_already_is_left_alone(
    source: Source, to: str, tmp_path: Path
) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(
        StoreError, match="exists already; choose another name or remove it"
    ):
        export_model(source("bert"), to, tmp_path / "out")
    assert [part.read_text() for part in tmp_path.iterdir()] == ["mine"]


def test_other_outputs_leave_nothing_behind_and_the_largest_difference_is_named(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = source("bert")
    monkeypatch.setattr(
        csr, "runner", lambda _: lambda inputs: found.logits(inputs) + 0.25
    )
    with pytest.raises(
        ExportError,
        match=r"outputs of the csr export differ from the model's by up to 0\.25",
    ):
        export_model(found, "csr", tmp_path / "out")
    monkeypatch.setattr(
        csr, "runner", lambda _: lambda inputs: found.logits(inputs) * torch.nan
    )
    with pytest.raises(ExportError, match="by up to nan"):
        export_model(found, "csr", tmp_path / "out")
    monkeypatch.setattr(
        csr, "runner", lambda _: lambda inputs: found.logits(inputs)[:, :1]
    )
    with pytest.raises(ExportError, match=r"shape \(1, 1\), the model \(1, 3\)"):
        export_model(found, "csr", tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_what_goes_with_a_file_is_moved_with_it_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "out.bin").write_text("mine")

    def fill() -> None:
        with staged(tmp_path / "out.xml") as path:
            path.write_text("new")
            path.with_suffix(".bin").write_text("new")

    with pytest.raises(StoreError, match=r"out\.bin exists already"):
        fill()
    assert [part.name for part in tmp_path.iterdir()] == ["out.bin"]
    (tmp_path / "out.bin").unlink()
    fill()
    assert sorted(part.name for part in tmp_path.iterdir()) == ["out.bin", "out.xml"]


def test_a_folder_that_cannot_be_written_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        StoreError, match=r"could not write .*; free some space or choose another folder"
    ):
        with staged(tmp_path / "file" / "out"):
            pass


def test_an_unknown_format_is_named(source: Source, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=r"unknown format 'onx'; did you mean 'onnx'\?"):
        export_model(source("bert"), "onx", tmp_path / "out")


@pytest.mark.parametrize(
    ("to", "module"),
    [("onnx", "onnxscript"), ("onnx", "onnxruntime"), ("openvino", "openvino")],
)
def test_a_missing_extra_is_named(
    source: Source, to: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(name: str, *rest: Any) -> Any:
        if name == module:
            raise ImportError(f"No module named {name!r}")
        return import_module(name, *rest)

    monkeypatch.setattr("instant_soup.core.extras.import_module", without)
    with pytest.raises(
        MissingExtra, match=rf"needs {module} .*pip install 'instant-soup\[{to}\]'"
    ):
        export_model(source("bert"), to, tmp_path / f"out{FORMATS[to].suffix}")
    assert not list(tmp_path.iterdir())


@contextmanager
def little_room() -> Iterator[None]:
    """No file may grow beyond 16 KiB, as on a disk that is about to be full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16 * 1024, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("to", ["hf", "csr", "bitmask", "onnx"])
def test_a_full_disk_is_one_sentence_and_leaves_nothing(
    source: Source, to: str, tmp_path: Path
) -> None:
    found = source("vit")
    with (
        little_room(),
        pytest.raises(StoreError, match=r"could not write .*; free some space"),
    ):
        export_model(found, to, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_whatever_a_library_raises_on_a_full_disk_is_the_same_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill() -> None:
        with staged(tmp_path / "out"):
            raise RuntimeError("Check 'm_file.good()' failed")

    with pytest.raises(RuntimeError, match="m_file"):
        fill()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    with pytest.raises(
        StoreError, match=r"could not write .*: the disk is full; free some space"
    ):
        fill()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["nan", "inf"])
def test_what_is_not_finite_is_not_exported(
    source: Source, kind: str, tmp_path: Path
) -> None:
    found = source("bert")
    name = next(iter(found.ticket.mask))
    broken = replace(found, model=deepcopy(found.model))
    broken.tensors[name][0, 0] = float(kind)
    with pytest.raises(
        ExportError, match=f"{name!r} holds NaN or infinity, so training has diverged"
    ):
        export_model(broken, "csr", tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "what", ["a pipe", "a symbolic link", "a link to nothing", "a device", "a folder"]
)
@pytest.mark.parametrize("to", ["hf", "csr"])
def test_what_is_no_regular_file_is_never_replaced(
    source: Source, to: str, what: str, irregular: Callable[[str], Path]
) -> None:
    out = irregular(what)
    before = out.lstat()
    with pytest.raises(StoreError):
        export_model(source("bert"), to, out)
    assert (out.lstat().st_mode, out.lstat().st_ino) == (before.st_mode, before.st_ino)
