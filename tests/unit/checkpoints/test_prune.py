"""Large: checkpoints pruned shard by shard, as if they had been in memory."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

import instant_soup as soup
from instant_soup.checkpoints import prune
from instant_soup.checkpoints.checkpoint import INDEX, Checkpoint
from instant_soup.checkpoints.job import RECORD
from instant_soup.checkpoints.magnitude_ticket import ticket_of
from instant_soup.checkpoints.prune import prune_checkpoint
from instant_soup.core import files
from instant_soup.core.errors import (
    DataError,
    ScopeError,
    SparsityError,
    StoreError,
    UnknownName,
)
from instant_soup.core.weights import Elementwise

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def tensors(
    dtypes: Sequence[torch.dtype], *, levels: int = 10**6, seed: int = 0
) -> dict[str, Tensor]:
    dice = torch.Generator().manual_seed(seed)
    made = {}
    for layer in range(4):
        for name, shape in (("attn.weight", (9, 16)), ("mlp.experts", (2, 5, 16))):
            values = (
                torch.randint(-levels, levels + 1, shape, generator=dice).double()
                / levels
            )
            made[f"model.layers.{layer + 8}.{name}"] = values.to(
                dtypes[len(made) % len(dtypes)]
            )
    return {
        **made,
        "model.embed_tokens.weight": torch.randn(11, 16),
        "model.norm.weight": torch.ones(16),
    }


def saved(folder: Path, made: dict[str, Tensor], shards: int) -> Path:
    folder.mkdir(parents=True)
    spread = {name: f"model-{i % shards}.safetensors" for i, name in enumerate(made)}
    for file in set(spread.values()):
        save_file(
            {n: t for n, t in made.items() if spread[n] == file},
            folder / file,
            {"format": "pt"},
        )
    if shards > 1:
        (folder / INDEX).write_text(json.dumps({"weight_map": spread}))
    config = {
        "model_type": "llama",
        "quantization_config": {
            "sparsity_config": {"format": "dense"},
            "format": "dense",
        },
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "pytorch_model.bin").write_bytes(b"not to be copied")
    return folder


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return saved(tmp_path / "dense", tensors([torch.bfloat16]), 3)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    dtypes=st.lists(st.sampled_from(DTYPES), min_size=1, max_size=3),
    shards=st.integers(1, 4),
    sparsity=st.sampled_from([0.0, 0.31, 0.5, 0.9]),
    across=st.sampled_from(["model", "layer"]),
    levels=st.sampled_from([1, 4, 10**6]),
    seed=st.integers(0, 99),
)
def test_the_outcome_is_that_of_prune_to_the_bit(
    tmp_path: Path,
    dtypes: list[torch.dtype],
    shards: int,
    sparsity: float,
    across: str,
    levels: int,
    seed: int,
) -> None:
    shutil.rmtree(tmp_path / "job", ignore_errors=True)
    made = tensors(dtypes, levels=levels, seed=seed)
    done = prune_checkpoint(
        saved(tmp_path / "job" / "in", made, shards),
        tmp_path / "job" / "out",
        sparsity,
        across=across,
    )
    scope = soup.Scope(
        {
            name: tuple(made[name].shape)
            for name in sorted(made, key=_number)
            if "layers" in name
        }
    )
    assert done.scope == scope
    mask = soup.prune(
        Elementwise(made, torch.abs), soup.Mask.dense(scope), sparsity, across=across
    )
    assert mask.kept == done.kept == round((1 - sparsity) * scope.size)
    sparse = Checkpoint.open(tmp_path / "job" / "out")
    for name, tensor in made.items():
        wanted = tensor.masked_fill(~mask[name], 0) if name in mask else tensor
        assert sparse[name].dtype == wanted.dtype
        assert sparse[name].view(torch.uint8).equal(wanted.view(torch.uint8))


def _number(name: str) -> tuple[int, str]:
    number = next((int(part) for part in name.split(".") if part.isdigit()), -1)
    return number, name


def test_the_folder_is_a_plain_one_with_everything_but_other_weights(
    source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    prune_checkpoint(source, out, 0.5)
    kept = [name for name in names(source) if name != "pytorch_model.bin"]
    assert names(out) == sorted([*kept, RECORD])
    assert json.loads((out / "config.json").read_text()) == {
        "model_type": "llama",
        "quantization_config": {"format": "dense"},
    }
    assert (out / INDEX).read_bytes() == (source / INDEX).read_bytes()
    for file in source.glob("*.safetensors"):
        assert (out / file.name).stat().st_size == file.stat().st_size


def test_transformers_loads_what_comes_out(tiny_bert: Path, tmp_path: Path) -> None:
    from transformers import AutoModel

    done = prune_checkpoint(tiny_bert, tmp_path / "out", 0.6)
    model = AutoModel.from_pretrained(tmp_path / "out")
    live = dict(model.named_parameters())
    assert sum(int((live[name] != 0).sum()) for name in done.scope) == done.kept
    assert "embeddings.word_embeddings.weight" in done.left_out


def test_a_ticket_says_the_same_and_applies_to_the_dense_model(
    tiny_bert: Path, tmp_path: Path
) -> None:
    from transformers import AutoModel

    done = prune_checkpoint(tiny_bert, tmp_path / "out", 0.6)
    ticket_of(tiny_bert, done).save(tmp_path / "t.safetensors")
    ticket, model = (
        soup.Ticket.load(tmp_path / "t.safetensors"),
        AutoModel.from_pretrained(tiny_bert),
    )
    assert ticket.mask.kept == done.kept
    ticket.apply(model)
    sparse = Checkpoint.open(tmp_path / "out")
    assert all(
        torch.equal(tensor, sparse[name])
        for name, tensor in model.named_parameters()
        if name in done.scope
    )


@pytest.mark.parametrize("after", [1, 2])
def test_a_job_that_was_killed_goes_on_and_does_nothing_twice(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    prune_checkpoint(source, tmp_path / "whole", 0.5)
    written: list[Path] = []
    write = files.write

    def killed(path: Path, fill: object) -> None:
        if path.suffix == ".safetensors" and len(written) == after:
            path.with_name(f".{path.name}.{0:032x}").write_bytes(b"half a shard")
            raise KeyboardInterrupt
        written.append(path)
        write(path, fill)

    monkeypatch.setattr(prune, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        prune_checkpoint(source, tmp_path / "out", 0.5)
    monkeypatch.setattr(
        prune, "write", lambda path, fill: (written.append(path), write(path, fill))
    )
    monkeypatch.setattr(prune, "_count", lambda *_: pytest.fail("counted twice"))
    prune_checkpoint(source, tmp_path / "out", 0.5)
    assert len([path for path in written if path.suffix == ".safetensors"]) == 3
    assert names(tmp_path / "out") == names(tmp_path / "whole")
    for path in (tmp_path / "whole").iterdir():
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()
    written.clear()
    prune_checkpoint(source, tmp_path / "out", 0.5)
    assert written == []


def test_a_source_that_has_changed_is_noticed(source: Path, tmp_path: Path) -> None:
    prune_checkpoint(source, tmp_path / "out", 0.5)
    made = Checkpoint.open(source / "model-1.safetensors")
    save_file({name: made[name] + 1 for name in made}, source / "model-1.safetensors")
    with pytest.raises(StoreError, match="have changed since"):
        prune_checkpoint(source, tmp_path / "out", 0.5)


def test_a_source_that_changes_between_counting_and_writing_is_noticed(
    source: Path, tmp_path: Path
) -> None:
    done = False

    def watch(stage: str, *_: int) -> None:
        nonlocal done
        if stage == "write" and not done:
            done = True
            with (source / "model-2.safetensors").open("rb+") as file:
                file.seek(-200, 2)
                file.write(bytes(200))

    with pytest.raises(DataError, match="was changed meanwhile"):
        prune_checkpoint(source, tmp_path / "out", 0.2, watch=watch)


def test_another_job_does_not_go_on_in_the_same_folder(
    source: Path, tmp_path: Path
) -> None:
    prune_checkpoint(source, tmp_path / "out", 0.5)
    with pytest.raises(StoreError, match=r"begun with sparsity 0\.5, and now it is 0\.7"):
        prune_checkpoint(source, tmp_path / "out", 0.7)
    (tmp_path / "out" / RECORD).write_text("{")
    with pytest.raises(StoreError, match="not readable"):
        prune_checkpoint(source, tmp_path / "out", 0.5)
    (tmp_path / "out" / RECORD).unlink()
    with pytest.raises(StoreError, match="not of this job"):
        prune_checkpoint(source, tmp_path / "out", 0.5)
    with pytest.raises(StoreError, match="where the source is"):
        prune_checkpoint(source, source, 0.5)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_nan_is_refused_by_name_before_anything_is_written(
    tmp_path: Path, dtype: torch.dtype
) -> None:
    made = tensors([dtype])
    made["model.layers.9.attn.weight"][3, 4] = torch.nan
    source = saved(tmp_path / "dense", made, 2)
    with pytest.raises(ScopeError, match=r"'model\.layers\.9\.attn\.weight' of .* NaN"):
        prune_checkpoint(source, tmp_path / "out", 0.5)
    assert names(tmp_path / "out") == []


def test_what_cannot_be_asked_for_is_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(SparsityError, match="0 <= sparsity < 1"):
        prune_checkpoint(source, tmp_path / "out", 1.0)
    with pytest.raises(UnknownName, match="unknown across 'blocks'"):
        prune_checkpoint(source, tmp_path / "out", 0.5, across="blocks")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="no safetensors files"):
        prune_checkpoint(tmp_path / "none", tmp_path / "out", 0.5)


def test_a_checkpoint_larger_than_the_limit_on_memory_is_pruned(tmp_path: Path) -> None:
    """240 MiB of bf16, in an address space that has 200 MiB left once everything is loaded."""
    (tmp_path / "dense").mkdir()
    noise = torch.randn(1 << 20).bfloat16()
    for shard in range(3):
        made = {
            f"layers.{shard}.{i}.weight": noise.roll(i).repeat(20).view(4096, 5120)
            for i in range(2)
        }
        save_file(made, tmp_path / "dense" / f"model-{shard}.safetensors")
    spread = {
        f"layers.{shard}.{i}.weight": f"model-{shard}.safetensors"
        for shard in range(3)
        for i in range(2)
    }
    (tmp_path / "dense" / INDEX).write_text(json.dumps({"weight_map": spread}))
    loaded = "import instant_soup.cli.main, instant_soup.checkpoints.prune; print(open('/proc/self/status').read())"
    status = subprocess.run(
        [sys.executable, "-c", loaded], check=True, capture_output=True, text=True
    ).stdout
    peak = next(
        int(line.split()[1]) for line in status.splitlines() if line.startswith("VmPeak")
    )
    limit = 1024 * peak + (200 << 20)
    command = [
        sys.executable,
        "-m",
        "instant_soup",
        "prune",
        "dense",
        "-o",
        "out",
        "--sparsity",
        "0.75",
        "--json",
    ]
    run = subprocess.run(
        command,
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )
    assert json.loads(run.stdout)["kept"] == 6 * 4096 * 5120 // 4
    sparse = Checkpoint.open(tmp_path / "out")
    zeros = [float((sparse[name] == 0).float().mean()) for name in [*sparse][:2]]
    assert zeros == pytest.approx([0.75, 0.75], abs=0.01)
