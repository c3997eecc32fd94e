"""What a file of another tool holds is told by what is in it, never by its name."""

from __future__ import annotations

import gzip
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import instant_soup as soup
from instant_soup.core.errors import DataError
from instant_soup.core.filetype import file_type
from instant_soup.export import foreign, pickles
from instant_soup.models import pretrained

NAMES = ["m.pth.tar", "m.tar", "m", "m.weights", "m.safetensors"]


@pytest.fixture(scope="module")
def base(tiny_bert: Path) -> Any:
    return pretrained.load(str(tiny_bert))


@pytest.fixture(scope="module")
def mask(base: Any) -> soup.Mask:
    weights = dict(base.model.named_parameters())
    return soup.prune(
        {n: weights[n].detach().abs() for n in base.scope},
        soup.Mask.dense(base.scope),
        0.7,
    )


@pytest.fixture(scope="module")
def dense(base: Any) -> dict[str, Tensor]:
    return {
        name: tensor.detach().clone() for name, tensor in base.model.state_dict().items()
    }


def masked(dense: dict[str, Tensor], mask: soup.Mask) -> dict[str, Tensor]:
    return {
        name: tensor.masked_fill(~mask[name], 0) if name in mask else tensor
        for name, tensor in dense.items()
    }


def imported(content_: Any, path: Path, model: Path) -> Any:
    torch.save(content_, path)
    return soup.import_ticket(path, str(model), pickle=True)


FORMS: dict[str, Callable[[dict[str, Tensor], soup.Mask], Any]] = {
    "floats": lambda _, mask: {name: mask[name].float() for name in mask},
    "halves under mask": lambda _, mask: {
        "mask": {name: mask[name].half() for name in mask}
    },
    "of modules": lambda _, mask: {
        "masks": {n.removesuffix(".weight"): mask[n] for n in mask}
    },
    "NAME_mask alone": lambda _, mask: {
        f"{name}_mask": mask[name].float() for name in mask
    },
    "NAME_mask beside": lambda dense, mask: (
        dense | {f"{name}_mask": mask[name].float() for name in mask}
    ),
    "mask beside weights": lambda dense, mask: {
        "state_dict": dense,
        "mask": {n: mask[n].float() for n in mask},
    },
    "mask beside flat weights": lambda dense, mask: {
        **dense,
        "masks": {n: mask[n].byte() for n in mask},
    },
    "mask within": lambda dense, mask: {
        "epoch": 3,
        "model": {"state_dict": dense, "mask": {n: mask[n] for n in mask}},
    },
    "sparse": lambda dense, mask: {
        name: tensor.to_sparse() if name in mask else tensor
        for name, tensor in masked(dense, mask).items()
    },
    "sparse rows": lambda dense, mask: {
        name: tensor.to_sparse_csr() if name in mask else tensor
        for name, tensor in masked(dense, mask).items()
    },
    "sparse masks": lambda dense, mask: {
        "state_dict": dense,
        "mask": {n: mask[n].float().to_sparse() for n in mask},
    },
    "with module before": lambda _, mask: {
        f"module.{name}": mask[name].float() for name in [*mask][1:]
    },
}


@pytest.mark.filterwarnings("ignore:Sparse CSR")
@pytest.mark.parametrize("form", FORMS)
def test_masks_of_every_form_give_the_right_ticket(
    form: str, tmp_path: Path, tiny_bert: Path, dense: dict[str, Tensor], mask: soup.Mask
) -> None:
    made = imported(FORMS[form](dense, mask), tmp_path / "m.pth", tiny_bert)
    for name in [*mask][form == "with module before" :]:
        assert torch.equal(made.ticket.mask[name], mask[name]), name
    model = pretrained.load(str(tiny_bert)).model
    made.ticket.apply(model)
    for name in [*mask][1:]:
        assert torch.equal(model.state_dict()[name], masked(dense, mask)[name]), (
            "the weights are the base's, masked"
        )


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_a_pickle_is_one_whatever_it_is_called(
    name: str,
    zipped: bool,
    tmp_path: Path,
    tiny_bert: Path,
    dense: dict[str, Tensor],
    mask: soup.Mask,
) -> None:
    torch.save(
        {"state_dict": masked(dense, mask)},
        tmp_path / name,
        _use_new_zipfile_serialization=zipped,
    )
    with pytest.raises(DataError, match=r"is a pickle.*--pickle"):
        soup.import_ticket(tmp_path / name, str(tiny_bert))
    assert (
        soup.import_ticket(tmp_path / name, str(tiny_bert), pickle=True).ticket.mask
        == mask
    )


@pytest.mark.parametrize("name", ["m.pth", "m.bin", "m.tar", "m"])
def test_safetensors_are_that_whatever_they_are_called(
    name: str, tmp_path: Path, tiny_bert: Path, dense: dict[str, Tensor], mask: soup.Mask
) -> None:
    save_file(masked(dense, mask), tmp_path / name)
    assert soup.import_ticket(tmp_path / name, str(tiny_bert)).ticket.mask == mask


def test_a_folder_of_a_trainer_is_read_without_what_lies_beside_the_weights(
    tmp_path: Path, tiny_bert: Path, dense: dict[str, Tensor], mask: soup.Mask
) -> None:
    zeros = masked(dense, mask)
    for name in ("training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth"):
        torch.save({"state": 1}, tmp_path / name)
    torch.save(zeros, tmp_path / "pytorch_model.bin")
    assert soup.import_ticket(tmp_path, str(tiny_bert), pickle=True).ticket.mask == mask

    (tmp_path / "pytorch_model.bin").unlink()
    files = {
        name: f"pytorch_model-0000{1 + number % 2}-of-00002.bin"
        for number, name in enumerate(zeros)
    }
    for file in set(files.values()):
        torch.save(
            {name: zeros[name] for name in zeros if files[name] == file}, tmp_path / file
        )
    index = tmp_path / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": files}))
    assert soup.import_ticket(tmp_path, str(tiny_bert), pickle=True).ticket.mask == mask
    index.write_text(json.dumps({"weight_map": {"a": "../away.bin"}}))
    with pytest.raises(DataError, match="names files that are not in its folder"):
        soup.import_ticket(tmp_path, str(tiny_bert), pickle=True)


def other_files(folder: Path) -> dict[str, Path]:
    texts = {
        "a git-LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
        "an empty file": b"",
        "a web page": b"<!DOCTYPE html><html></html>",
        "a GGUF file": b"GGUF\x03\x00\x00\x00" + bytes(40),
        "an HDF5 file": b"\x89HDF\r\n\x1a\n" + bytes(40),
        "a gzip archive": gzip.compress(b"weights"),
        "a file of another kind": b"epoch,loss\n1,0.3\n",
    }
    paths = {}
    for number, (words, data) in enumerate(texts.items()):
        paths[words] = folder / f"file{number}.safetensors"
        paths[words].write_bytes(data)
    paths["a tar archive"] = folder / "m.tar"
    with tarfile.open(paths["a tar archive"], "w") as archive:
        archive.add(paths["a web page"], "page")
    paths["a NumPy archive"] = folder / "m.npz"
    np.savez(paths["a NumPy archive"], a=np.ones(3))
    paths["no regular file"] = folder / "pipe"
    os.mkfifo(paths["no regular file"])
    return paths


def test_other_files_are_named_for_what_they_are(tmp_path: Path, tiny_bert: Path) -> None:
    for words, path in other_files(tmp_path).items():
        assert file_type(path).words == words
        with pytest.raises(
            DataError, match=f"is {words}, neither safetensors nor a pickle; "
        ):
            soup.import_ticket(path, str(tiny_bert), pickle=True)


def with_itself() -> dict[str, Any]:
    content_: dict[str, Any] = {}
    content_["state_dict"] = content_
    return content_


def quantised() -> Tensor:
    return torch.quantize_per_tensor(torch.ones(4, 4), 0.1, 0, torch.qint8)


@pytest.mark.filterwarnings(
    "ignore:torch.quantize:UserWarning",
    "ignore:TypedStorage",
    "ignore:The PyTorch API of nest",
)
@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (with_itself, "holds no tensors by name"),
        (
            lambda: {"state_dict": {"model": {"net": {"epoch": 3}}}},
            "holds no tensors by name",
        ),
        (lambda: {1: torch.ones(2)}, "holds no tensors by name"),
        (lambda: [torch.ones(2)], "holds no tensors by name"),
        (
            lambda: {"a": quantised()},
            r"'a' is quantised \(torch.qint8\); give the model before",
        ),
        (
            lambda: {"a": torch.ones(3, device="meta")},
            r"'a' has a shape and no values \(device meta\)",
        ),
        (
            lambda: {"a": torch.ones(1).expand(10**6, 10**6)},
            "would unfold into 4,000,000,000,000 bytes",
        ),
        (
            lambda: {
                "a": torch.sparse_coo_tensor(
                    [[0], [1]], [1.0], (10**6, 10**6), check_invariants=True
                )
            },
            "would unfold into 4,000,000",
        ),
        (
            lambda: {"a": torch.ones(2).to(torch.float8_e4m3fn)},
            r"'a' is torch.float8_e4m3fn; expected",
        ),
        (
            lambda: {"a": torch.ones(2, dtype=torch.complex64)},
            r"'a' is torch.complex64; expected",
        ),
        (
            lambda: {"a": torch.nested.nested_tensor([torch.ones(1), torch.ones(2)])},
            "'a' is a nested tensor",
        ),
    ],
    ids=range(11),
)
def test_tensors_that_cannot_be_taken_are_refused_in_a_sentence(
    make: Callable[[], Any], sentence: str, tmp_path: Path
) -> None:
    torch.save(make(), tmp_path / "m.pth")
    with pytest.raises(DataError, match=sentence):
        foreign.read(tmp_path / "m.pth", pickle=True)


@pytest.mark.parametrize("value", [0.5, float("nan"), 2.0, -1.0])
def test_a_mask_of_anything_but_0_and_1_is_refused(
    value: float,
    tmp_path: Path,
    tiny_bert: Path,
    dense: dict[str, Tensor],
    mask: soup.Mask,
) -> None:
    first = next(iter(mask))
    soft = {name: mask[name].float() for name in mask}
    soft[first][0, 0] = value
    for form in (
        {"state_dict": dense, "mask": soft},
        dense | {f"{name}_mask": part for name, part in soft.items()},
    ):
        with pytest.raises(
            DataError,
            match=rf"the mask '{first}(_mask)?' holds {value:g} and more.*mask > threshold",
        ):
            imported(form, tmp_path / "m.pth", tiny_bert)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(
    value: float,
    tmp_path: Path,
    tiny_bert: Path,
    dense: dict[str, Tensor],
    mask: soup.Mask,
) -> None:
    zeros = masked(dense, mask)
    zeros["bert.pooler.dense.bias"] = torch.full((32,), value)
    save_file(zeros, tmp_path / "m.safetensors")
    with pytest.raises(
        DataError, match=r"'bert.pooler.dense.bias' of .* holds NaN or infinity"
    ):
        soup.import_ticket(tmp_path / "m.safetensors", str(tiny_bert))


def test_indices_of_a_sparse_tensor_beyond_its_shape_are_refused(tmp_path: Path) -> None:
    wrong = torch.sparse_coo_tensor(
        torch.tensor([[0], [99]]), torch.ones(1), (2, 2), check_invariants=False
    )
    torch.save({"a": wrong}, tmp_path / "m.pth")
    with pytest.raises(DataError, match="could not be read as tensors alone"):
        foreign.read(tmp_path / "m.pth", pickle=True)


def test_the_shape_of_a_sparse_bitmask_has_to_be_whole(tmp_path: Path) -> None:
    save_file(
        {"a.shape": torch.tensor([float("nan"), 8.0]), "a.bitmask": torch.ones(1, dtype=torch.uint8),
         "a.compressed": torch.ones(8)},
        tmp_path / "m.safetensors",
    )  # fmt: skip
    with pytest.raises(
        DataError, match=r"the shape of 'a' is torch.float32; expected whole numbers"
    ):
        foreign.read(tmp_path / "m.safetensors").weights["a.weight"]


def test_a_path_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be read .*; check the path"):
        foreign.read(tmp_path / "nothing")


@pytest.mark.parametrize("code", [b"a", b"e", b"s", b"u", b"R", b"b", b"0", b"t"])
def test_a_pickle_that_takes_what_is_not_there_is_refused(
    tmp_path: Path, code: bytes
) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(b"\x80\x02" + code + b".")
    with pytest.raises(DataError, match="could not be read as tensors alone"):
        pickles.read(path)
