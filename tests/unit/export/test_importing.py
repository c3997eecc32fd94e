"""Importing: tickets out of what other tools write."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils import prune as torch_prune
from typer.testing import CliRunner

import instant_soup as soup
from instant_soup.cli.main import app
from instant_soup.core.errors import DataError, ScopeError, TicketError
from instant_soup.export import bitmask
from instant_soup.export.layouts import interpret
from instant_soup.models import pretrained


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
def sparse(base: Any, mask: soup.Mask) -> dict[str, Tensor]:
    """The state dict with zeros, a trained head, and one matrix and one bias that have moved."""
    state = {
        name: tensor.detach().clone() for name, tensor in base.model.state_dict().items()
    }
    state["classifier.weight"] = torch.full((3, 32), 0.5)
    state["bert.pooler.dense.bias"] += 1
    moved = next(iter(base.scope))
    state[moved] += 0.25
    return {
        name: tensor.masked_fill(~mask[name], 0) if name in mask else tensor
        for name, tensor in state.items()
    }


def files(tensors: dict[str, Tensor], path: Path) -> Path:
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    return path


def test_a_dense_file_with_zeros_is_a_ticket(
    tmp_path: Path, tiny_bert: Path, base: Any, mask: soup.Mask, sparse: dict[str, Tensor]
) -> None:
    made = soup.import_ticket(files(sparse, tmp_path / "m.safetensors"), str(tiny_bert))
    assert made.ticket.mask == mask
    assert made.ticket.base == base.base
    assert {*made.ticket.start} == {
        *base.fresh,
        next(iter(base.scope)),
        "bert.pooler.dense.bias",
    }
    assert all(
        torch.equal(tensor, sparse[name]) for name, tensor in made.ticket.start.items()
    )
    assert not made.ticket.ready
    assert (made.kind, made.renamed, dict(made.remarks)) == ("dense checkpoint", "", {})
    made.ticket.save(tmp_path / "t.safetensors")
    assert soup.Ticket.load(tmp_path / "t.safetensors").digest == made.ticket.digest


def test_the_ticket_applied_to_the_base_is_the_source(
    tmp_path: Path, tiny_bert: Path, sparse: dict[str, Tensor]
) -> None:
    source = {
        name: tensor
        for name, tensor in sparse.items()
        if not name.startswith("classifier")
    }
    made = soup.import_ticket(files(source, tmp_path / "m.safetensors"), str(tiny_bert))
    model = pretrained.load(str(tiny_bert)).model
    made.ticket.apply(model)
    assert all(
        torch.equal(model.state_dict()[name], tensor) for name, tensor in source.items()
    )
    assert (
        made.remarks["classifier.weight"]
        == "the source has none: the task draws a new one"
    )


@pytest.mark.parametrize(
    ("rename", "said"),
    [
        (lambda name: f"module.{name}", "without 'module.'"),
        (lambda name: name.removeprefix("bert."), "with 'bert.' before them"),
    ],
)
def test_names_may_differ_by_what_stands_before_them(
    tmp_path: Path,
    tiny_bert: Path,
    mask: soup.Mask,
    sparse: dict[str, Tensor],
    rename: Callable[[str], str],
    said: str,
) -> None:
    source = {rename(name): tensor for name, tensor in sparse.items()}
    made = soup.import_ticket(
        files({**source, "stray": torch.ones(2)}, tmp_path / "m.safetensors"),
        str(tiny_bert),
    )
    assert made.ticket.mask == mask
    assert made.renamed == said
    assert "classifier.weight" in made.ticket.start
    assert dict(made.remarks) == {"stray": "the model has no such tensor"}


def test_pickles_are_refused_unless_allowed_and_run_no_code(
    tmp_path: Path, tiny_bert: Path, mask: soup.Mask, sparse: dict[str, Tensor]
) -> None:
    torch.save({"epoch": 3, "state_dict": sparse}, tmp_path / "m.pth")
    with pytest.raises(DataError, match=r"m\.pth is a pickle.*--pickle"):
        soup.import_ticket(tmp_path / "m.pth", str(tiny_bert))
    assert (
        soup.import_ticket(tmp_path / "m.pth", str(tiny_bert), pickle=True).ticket.mask
        == mask
    )
    torch.save(nn.Linear(2, 2), tmp_path / "code.pt")
    (tmp_path / "broken.bin").write_bytes(b"no pickle")
    with pytest.raises(
        DataError,
        match=r"could not be read as tensors alone \(it holds a torch\.nn\..*Linear\)",
    ):
        soup.import_ticket(tmp_path / "code.pt", str(tiny_bert), pickle=True)
    with pytest.raises(
        DataError,
        match=r"broken\.bin is a file of another kind, neither safetensors nor a pickle",
    ):
        soup.import_ticket(tmp_path / "broken.bin", str(tiny_bert), pickle=True)


def test_masks_of_torchs_pruning_are_found(
    tmp_path: Path, tiny_bert: Path, base: Any
) -> None:
    model = pretrained.load(str(tiny_bert)).model
    modules = [
        module for name, module in model.named_modules() if f"{name}.weight" in base.scope
    ]
    torch_prune.global_unstructured(
        [(m, "weight") for m in modules], torch_prune.L1Unstructured, amount=0.6
    )
    kept = sum(int(module.weight_mask.sum()) for module in modules)
    made = soup.import_ticket(
        files(model.state_dict(), tmp_path / "m.safetensors"), str(tiny_bert)
    )
    assert made.kind == "state dict with weight_orig and weight_mask"
    assert made.ticket.mask.kept == kept
    assert {*made.ticket.start} == set(base.fresh)


def test_masks_of_open_lth_are_found_and_say_what_they_lack(
    tmp_path: Path, tiny_bert: Path, base: Any, mask: soup.Mask
) -> None:
    first, *rest = base.scope
    torch.save({name: mask[name].int() for name in rest}, tmp_path / "mask.pth")
    made = soup.import_ticket(tmp_path / "mask.pth", str(tiny_bert), pickle=True)
    assert made.kind == "masks by name, as open_lth writes them"
    assert all(torch.equal(made.ticket.mask[name], mask[name]) for name in rest)
    assert bool(made.ticket.mask[first].all())
    assert made.remarks[first] == "the source has no mask of it: kept whole"
    assert made.ticket.start == {}


def test_a_model_of_open_lth_is_found(
    tmp_path: Path, tiny_bert: Path, mask: soup.Mask, sparse: dict[str, Tensor]
) -> None:
    buffers = {f"mask_{name.replace('.', '___')}": mask[name].float() for name in mask}
    inner = {f"model.{name}": tensor for name, tensor in sparse.items()}
    made = soup.import_ticket(
        files({**inner, **buffers}, tmp_path / "m.safetensors"), str(tiny_bert)
    )
    assert made.ticket.mask == mask
    assert next(iter(mask)) in made.ticket.start


def compressed(
    sparse: dict[str, Tensor], mask: soup.Mask, *, stripped: bool
) -> dict[str, Tensor]:
    """As compressed-tensors lays it out: rows of bits, lowest first, filled up to bytes; values in order."""
    made = {}
    for name, tensor in sparse.items():
        if name not in mask:
            made[name] = tensor
            continue
        stem = name.removesuffix(".weight") if stripped else name
        flags = (tensor != 0).numpy()
        made[f"{stem}.shape"] = (
            torch.tensor(tensor.shape).reshape(-1, 1)
            if stripped
            else torch.tensor(tensor.shape)
        )
        made[f"{stem}.compressed"] = tensor[tensor != 0]
        made[f"{stem}.bitmask"] = torch.from_numpy(
            np.packbits(flags, axis=-1, bitorder="little")
        )
        made[f"{stem}.row_offsets"] = torch.from_numpy(
            flags.sum(1).cumsum() - flags.sum(1)
        )
    return made


@pytest.mark.parametrize("stripped", [True, False])
def test_sparse_bitmasks_are_found(
    tmp_path: Path,
    tiny_bert: Path,
    mask: soup.Mask,
    sparse: dict[str, Tensor],
    stripped: bool,
) -> None:
    path = files(compressed(sparse, mask, stripped=stripped), tmp_path / "m.safetensors")
    made = soup.import_ticket(path, str(tiny_bert))
    assert made.kind == "sparse-bitmask"
    assert made.ticket.mask == mask
    assert all(
        torch.equal(tensor, sparse[name]) for name, tensor in made.ticket.start.items()
    )
    assert next(iter(mask)) in made.ticket.start


@pytest.mark.parametrize(
    ("end", "value", "said"),
    [
        (".shape", torch.tensor([2**40, 2**40]), "holds rows of shape"),
        (".shape", torch.tensor([-32, -32]), "holds rows of shape"),
        (".bitmask", torch.ones(4), "expected torch.uint8"),
        (".compressed", torch.ones(4), "it has 4 values"),
    ],
)
def test_sparse_bitmasks_that_lie_are_refused(
    tmp_path: Path,
    tiny_bert: Path,
    mask: soup.Mask,
    sparse: dict[str, Tensor],
    end: str,
    value: Tensor,
    said: str,
) -> None:
    tensors = compressed(sparse, mask, stripped=True)
    tensors[next(iter(mask)).removesuffix(".weight") + end] = value
    with pytest.raises(DataError, match=said):
        soup.import_ticket(files(tensors, tmp_path / "m.safetensors"), str(tiny_bert))


def test_our_own_bitmask_files_come_back(
    tmp_path: Path, tiny_bert: Path, mask: soup.Mask, sparse: dict[str, Tensor]
) -> None:
    bitmask.write(tmp_path / "m.safetensors", sparse, mask)
    made = soup.import_ticket(tmp_path / "m.safetensors", str(tiny_bert))
    assert made.kind == "bitmask file of instant-soup"
    assert made.ticket.mask == mask


def test_a_folder_with_zeros_comes_back(
    tmp_path: Path, tiny_bert: Path, mask: soup.Mask
) -> None:
    model = pretrained.load(str(tiny_bert)).model
    for name, parameter in model.named_parameters():
        if name in mask:
            parameter.data.masked_fill_(~mask[name], 0)
    model.save_pretrained(tmp_path / "sparse", max_shard_size="40KB")
    assert len([*(tmp_path / "sparse").glob("*.safetensors")]) > 1
    made = soup.import_ticket(tmp_path / "sparse", str(tiny_bert), ready=True)
    assert made.ticket.mask == mask
    assert made.ticket.ready
    assert {*made.ticket.start} == {"classifier.weight", "classifier.bias"}


@pytest.mark.parametrize("kind", ["clip", "vit"])
def test_image_models_are_known_by_their_configuration(
    tmp_path: Path, tiny_clip: Path, tiny_vit: Path, kind: str
) -> None:
    folder = {"clip": tiny_clip, "vit": tiny_vit}[kind]
    sparse = soup.prune_checkpoint(folder, tmp_path / "sparse", 0.5)
    made = soup.import_ticket(tmp_path / "sparse", str(folder))
    assert 0.3 < made.ticket.sparsity < 0.7
    assert sparse.kept > 0


def test_what_is_no_sparse_model_of_the_base_is_refused(
    tmp_path: Path, tiny_bert: Path, sparse: dict[str, Tensor], base: Any
) -> None:
    model = str(tiny_bert)
    with pytest.raises(
        TicketError, match=r"nothing is pruned in .*: 0 of .* prunable weights are zero"
    ):
        soup.import_ticket(tiny_bert, model)
    with pytest.raises(ScopeError, match="no name of the source"):
        soup.import_ticket(
            files({"other": torch.ones(2)}, tmp_path / "o.safetensors"), model
        )
    first = next(iter(base.scope))
    less = {name: tensor for name, tensor in sparse.items() if name != first}
    with pytest.raises(ScopeError, match="the source lacks"):
        soup.import_ticket(files(less, tmp_path / "l.safetensors"), model)
    with pytest.raises(ScopeError, match=r"has shape \(1, 32\) in the source"):
        soup.import_ticket(
            files({**sparse, first: sparse[first][:1]}, tmp_path / "s.safetensors"), model
        )
    headless = {
        name: tensor
        for name, tensor in sparse.items()
        if not name.startswith("classifier")
    }
    with pytest.raises(TicketError, match=r"lacks 'classifier\.bias'"):
        soup.import_ticket(files(headless, tmp_path / "h.safetensors"), model, ready=True)
    soup.import_ticket(files(sparse, tmp_path / "m.safetensors"), model).ticket.save(
        tmp_path / "t.safetensors"
    )
    with pytest.raises(DataError, match="a ticket already"):
        soup.import_ticket(tmp_path / "t.safetensors", model)


# the command line


def call(*words: object) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


def test_the_command_imports_and_says_what_it_found(
    tmp_path: Path, tiny_bert: Path, mask: soup.Mask, sparse: dict[str, Tensor]
) -> None:
    path = files({**sparse, "stray": torch.ones(2)}, tmp_path / "m.safetensors")
    shown = call("import", path, "--model", tiny_bert, "-o", tmp_path / "t.safetensors")
    assert shown.exit_code == 0
    for words in (
        "dense checkpoint",
        "stray: the model has no such tensor",
        "4 tensors differ",
        "to be fine-tuned",
    ):
        assert words in shown.stdout
    assert soup.Ticket.load(tmp_path / "t.safetensors").mask == mask
    found = json.loads(
        call(
            "import",
            path,
            "--model",
            tiny_bert,
            "-o",
            tmp_path / "t",
            "--trained",
            "--json",
        ).stdout
    )
    assert found["kept"] == mask.kept
    assert soup.Ticket.load(tmp_path / "t").ready
    refused = call("import", tiny_bert, "--model", tiny_bert, "-o", tmp_path / "u")
    assert refused.exit_code == 2
    assert "nothing is pruned in" in refused.stderr
    assert not (tmp_path / "u").exists()


def test_the_command_replaces_no_file_unless_it_is_told_to(
    tmp_path: Path, tiny_bert: Path, sparse: dict[str, Tensor]
) -> None:
    path = files(sparse, tmp_path / "m.safetensors")
    ticket = tmp_path / "t.safetensors"
    words = ("import", path, "--model", tiny_bert, "-o", ticket)
    ticket.write_text("MINE", encoding="utf-8")
    refused = call(*words)
    assert refused.exit_code == 2
    assert "is there already" in refused.stderr
    assert ticket.read_text(encoding="utf-8") == "MINE"

    assert call(*words, "--force").exit_code == 0
    made = ticket.read_bytes()
    assert call(*words).exit_code == 0
    # what another ticket is made of
    name = next(iter(soup.Ticket.load(ticket).mask))
    files({**sparse, name: torch.zeros_like(sparse[name])}, path)
    assert call(*words).exit_code == 2
    assert ticket.read_bytes() == made

    ticket.unlink()
    ticket.symlink_to(tmp_path / "nowhere")
    assert "symbolic link" in call(*words, "--force").stderr
    assert ticket.is_symlink()


def test_the_command_prunes_a_checkpoint_and_shows_what_is_in_and_out(
    tmp_path: Path, tiny_bert: Path
) -> None:
    out, ticket = tmp_path / "out", tmp_path / "t.safetensors"
    shown = call(
        "prune",
        tiny_bert,
        "-o",
        out,
        "--sparsity",
        0.5,
        "--ticket",
        ticket,
        "--exclude",
        "pooler*",
    )
    assert shown.exit_code == 0
    for words in (
        "encoder.layer.*.attention.self.query.weight (2 times): 32 x 32, in scope",
        "embeddings.word_embeddings.weight: left as it is: embedding",
        "pooler.dense.weight: left as it is: excluded",
        "sparsity 50.0000%",
    ):
        assert words in shown.stdout
    facts = json.loads(
        call(
            "prune",
            tiny_bert,
            "-o",
            out,
            "--sparsity",
            0.5,
            "--exclude",
            "pooler*",
            "--json",
        ).stdout
    )
    assert facts["kept"] == soup.Ticket.load(ticket).mask.kept
    refused = call("prune", tiny_bert, "-o", out, "--sparsity", 0.6)
    assert refused.exit_code == 2
    assert "choose another folder" in refused.stderr


@pytest.mark.parametrize("shape", [(1,), (3, 1), (5, 4)])
def test_a_mask_of_another_shape_than_its_weight_is_refused_and_not_stretched(
    shape: tuple[int, ...],
) -> None:
    tensors = {"a.weight_orig": torch.ones(3, 4), "a.weight_mask": torch.zeros(shape)}
    with pytest.raises(
        DataError, match=r"a\.weight_mask' is of shape .* and its weight of"
    ):
        interpret(tensors).weights["a.weight"]
