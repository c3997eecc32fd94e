"""Files that hold each expert in tensors of its own are pruned block by block, and come back as they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM
from transformers.core_model_loading import (
    Concatenate,
    Interleave,
    MergeModulelist,
    WeightConverter,
)
from typer.testing import CliRunner

from instant_soup.checkpoints import assembly
from instant_soup.checkpoints.assembly import Assemblies
from instant_soup.checkpoints.block_job import Job
from instant_soup.checkpoints.blocks import prune_blocks
from instant_soup.checkpoints.checkpoint import Checkpoint
from instant_soup.checkpoints.magnitude_ticket import ticket_of
from instant_soup.checkpoints.outline import outline
from instant_soup.checkpoints.prunable import prunable
from instant_soup.checkpoints.prune import prune_checkpoint
from instant_soup.checkpoints.skeleton import Skeleton
from instant_soup.cli.main import app
from instant_soup.core.errors import DataError
from instant_soup.core.pattern import Pattern, follows
from instant_soup.core.scope import Scope
from instant_soup.models import tiny_decoders

# some of a dozen experts see nothing of a few windows, which is said and has a test of its own
pytestmark = pytest.mark.filterwarnings("ignore:.*matrices of experts:UserWarning")
KINDS = ("mixtral", "qwen2_moe", "qwen3_moe")
EXPERT = "model.layers.1.block_sparse_moe.experts.2.w1.weight"


@pytest.fixture(scope="module", params=KINDS)
def source(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A checkpoint in bfloat16, whose shards part the experts of one block."""
    folder: Path = getattr(tiny_decoders, request.param)(
        tmp_path_factory.mktemp(request.param)
    )
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="20KB")
    return folder


@pytest.fixture
def mixtral(tmp_path: Path) -> Path:
    return tiny_decoders.mixtral(tmp_path / "mixtral")


def experts_of(checkpoint: Checkpoint) -> list[str]:
    return [name for name in checkpoint if ".experts." in name]


def test_files_hold_each_expert_by_itself_and_models_hold_stacks(source: Path) -> None:
    """Else these tests would say nothing."""
    checkpoint = Checkpoint.open(source)
    assert len(checkpoint.files) > 2
    assert all(len(checkpoint.parts[name].shape) == 2 for name in experts_of(checkpoint))
    stacks = [name for name in Skeleton.of(source).scope if name.endswith("gate_up_proj")]
    assert stacks


@pytest.mark.parametrize("score", ["wanda", "sparsegpt", "magnitude"])
def test_names_shapes_dtypes_and_routers_stay_and_groups_lie_along_inputs(
    score: str, source: Path, letters: Path, tmp_path: Path
) -> None:
    job = Job(0.5, score, None, "2:4", str(letters), samples=4, window=32, batch=2)
    done = prune_blocks(source, tmp_path / "out", job)
    before = Checkpoint.open(source)
    after = Checkpoint.open(tmp_path / "out")
    assert [*after] == [*before]
    groups = Pattern.named("2:4")
    assert groups

    pruned = 0
    for name, part in before.parts.items():
        assert after.parts[name].shape == part.shape
        assert after.parts[name].dtype == part.dtype == torch.bfloat16
        kept = after[name] != 0
        if torch.equal(before[name], after[name]):
            assert ".experts." not in name
            continue

        # of files, whose matrices all have their inputs last
        assert follows(kept, groups, -1), name
        pruned += part.numel
        if score != "sparsegpt":
            assert torch.equal(after[name][kept], before[name][kept])
    assert pruned == done.scope.size
    routers = [name for name in before if name.endswith(".gate.weight")]
    assert routers
    assert all(torch.equal(before[name], after[name]) for name in routers)


def test_what_is_written_loads_as_what_was_read(source: Path, tmp_path: Path) -> None:
    prune_blocks(source, tmp_path / "out", Job(0.5, "magnitude", "row"))
    loaded: Any = AutoModelForCausalLM.from_pretrained
    model, said = loaded(tmp_path / "out", output_loading_info=True)
    assert not any(said.values()), said
    name = next(name for name in Scope.of(model) if name.endswith("gate_up_proj"))
    kept = model.get_parameter(name) != 0
    # the same share of each row of each matrix that was joined
    assert set(kept.sum(-1).flatten().tolist()) == {kept.shape[-1] // 2}


def test_all_parts_of_a_parameter_are_put_together_as_transformers_does(
    source: Path,
) -> None:
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.bfloat16)
    checkpoint = Checkpoint.open(source)
    assemblies = Assemblies(model, checkpoint)
    for name, parameter in model.named_parameters():
        made = assemblies.of(name)
        assert torch.equal(made.put_together(checkpoint), parameter), name
        for part, tensor in made.taken_apart(parameter.detach()).items():
            assert torch.equal(tensor, checkpoint[part]), part


def test_magnitudes_of_files_count_what_the_scope_of_the_model_counts(
    source: Path,
) -> None:
    scope = Scope.of(AutoModelForCausalLM.from_pretrained(source))
    assert prunable(Checkpoint.open(source).parts)[0].size == scope.size
    assert Skeleton.of(source).scope == scope


def test_the_ticket_of_a_job_that_has_ended_is_the_same_when_it_is_made_again(
    tmp_path: Path,
) -> None:
    """Whatever the order of names in the job's file: 12 experts are numbered with one digit and with two."""
    source = tiny_decoders.qwen3_moe(tmp_path / "model")
    first = prune_checkpoint(source, tmp_path / "out", 0.5)
    again = prune_checkpoint(source, tmp_path / "out", 0.5)
    assert [*again.cuts] == [*first.cuts]
    assert ticket_of(source, again).digest == ticket_of(source, first).digest


def test_the_plan_counts_stacks(source: Path) -> None:
    plan = outline(source, Job(0.5, "magnitude", pattern="2:4"))
    model = AutoModelForCausalLM.from_pretrained(source)
    sizes = [
        sum(parameter.numel() for parameter in block.parameters())
        for block in model.model.layers
    ]
    assert plan.block == 4 * max(sizes)
    assert plan.written == 2 * sum(p.numel() for p in model.parameters())


def test_a_stack_of_one_expert_comes_back_as_a_matrix(tmp_path: Path) -> None:
    source = tiny_decoders.mixtral(tmp_path / "model", experts=1)
    prune_blocks(source, tmp_path / "out", Job(0.5, "magnitude", "row"))
    before = Checkpoint.open(source)
    after = Checkpoint.open(tmp_path / "out")
    assert len(experts_of(before)) == 2 * 3
    for name, part in before.parts.items():
        assert after.parts[name].shape == part.shape


def without_an_expert(tensors: dict[str, torch.Tensor]) -> None:
    del tensors[EXPERT]


def with_one_more_expert(tensors: dict[str, torch.Tensor]) -> None:
    tensors[EXPERT.replace(".2.", ".4.")] = tensors[EXPERT].clone()


def with_an_expert_of_another_shape(tensors: dict[str, torch.Tensor]) -> None:
    tensors[EXPERT] = torch.zeros(32, 16)


def with_an_expert_that_is_a_vector(tensors: dict[str, torch.Tensor]) -> None:
    tensors[EXPERT] = torch.zeros(32)


def with_an_expert_of_another_dtype(tensors: dict[str, torch.Tensor]) -> None:
    tensors[EXPERT] = tensors[EXPERT].half()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without_an_expert, "which do not fill it exactly: is one missing"),
        (with_one_more_expert, "which do not fill it exactly: is one missing"),
        (with_an_expert_of_another_shape, "which do not fill it exactly: is one missing"),
        (with_an_expert_that_is_a_vector, "which do not fill it exactly: is one missing"),
        (with_an_expert_of_another_dtype, "which have several dtypes"),
    ],
)
def test_experts_that_do_not_fit_are_one_line_and_nothing_is_written(
    change: Any, words: str, mixtral: Path, tmp_path: Path
) -> None:
    file = mixtral / "model.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, {"format": "pt"})

    out = tmp_path / "out"
    arguments = ["prune", str(mixtral), "--pattern", "2:4", "-o", str(out), "--quiet"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2, result.output
    assert words in " ".join(result.output.split())
    assert "Traceback" not in result.output
    assert not out.exists()


@pytest.mark.parametrize(
    "operations",
    [
        [Interleave(dim=1)],
        [MergeModulelist(dim=1)],
        [MergeModulelist(dim=0), Interleave(dim=1)],
        [MergeModulelist(dim=0), Concatenate(dim=0)],
    ],
)
def test_a_conversion_that_cannot_be_undone_part_by_part_is_refused(
    operations: list[Any], mixtral: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    converter = WeightConverter(".experts.*.w2.weight", ".experts.down_proj", operations)
    table = assembly.get_model_conversion_mapping

    def another(model: Any) -> list[Any]:
        return [*table(model), converter]

    monkeypatch.setattr(assembly, "get_model_conversion_mapping", another)
    with pytest.raises(DataError, match=f"by .*{type(operations[-1]).__name__}, and"):
        Skeleton.of(mixtral)
