"""One block at a time gives to the bit what the whole model in memory gives, however often it is stopped."""

from __future__ import annotations

import json
import re
import shutil
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor
from torch.sparse import to_sparse_semi_structured
from transformers import AutoConfig, AutoModelForCausalLM
from typer.testing import CliRunner

from instant_soup.checkpoints import blocks
from instant_soup.checkpoints.block_job import Job
from instant_soup.checkpoints.blocks import prune_blocks
from instant_soup.checkpoints.checkpoint import Checkpoint
from instant_soup.checkpoints.job import RECORD
from instant_soup.checkpoints.outline import outline
from instant_soup.cli.main import app
from instant_soup.core.errors import DataError, KnobError, SoupError, StoreError
from instant_soup.core.pattern import Pattern, follows
from instant_soup.core.prune import shares, survivors
from instant_soup.core.ticket import Ticket
from instant_soup.data.language import calibration_windows
from instant_soup.models import decoder, tiny, tiny_decoders
from instant_soup.store.plain import seal
from instant_soup.training.inputs import inputs_of

# some of a dozen experts see nothing of a few windows, which is said and has a test of its own
pytestmark = pytest.mark.filterwarnings("ignore:.*matrices of experts:UserWarning")
SCORES = ("wanda", "ria", "sparsegpt", "magnitude")
EXPERTS = ("mixtral", "qwen2_moe", "qwen3_moe")
"""Their files hold each expert in tensors of its own, and the models are built of stacks."""


@pytest.fixture(scope="module", params=["llama", "gpt2", *EXPERTS])
def source(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    made: Path = getattr(tiny_decoders, request.param)(
        tmp_path_factory.mktemp(request.param), layers=3
    )
    return made


def whole(source: Path, job: Job) -> dict[str, Tensor]:
    """The model in memory, pruned by the same job."""
    loaded = decoder.load(str(source))
    model, scope = deepcopy(loaded.model).eval(), loaded.scope  # as a learner has it
    parts = shares(
        scope,
        {name: scope.numel(name) for name in scope},
        survivors(job.sparsity, scope.size),
    )
    windows = calibration_windows(
        str(job.calibrate), loaded.tokenizer, job.window or 64, job.samples
    )
    batches = [{"input_ids": part} for part in windows.split(job.batch)]
    live = dict(model.named_parameters())
    if job.score == "magnitude":
        statistics: Any = [dict.fromkeys(scope, torch.empty(0))]
    else:
        moment = job.cutter.second_moment
        statistics = inputs_of(
            model,
            scope,
            lambda _: batches,
            lambda batch: model(**batch, use_cache=False),
            second_moment=moment,
        )
    for found in statistics:
        for name, statistic in found.items():
            _, weight = job.cutter.cut(
                live[name].detach(), statistic, parts[name], scope.inputs.get(name, -1)
            )
            live[name].data.copy_(weight)
    return {name: tensor.detach() for name, tensor in live.items()}


@pytest.mark.parametrize("pattern", ["unstructured", "2:4"])
@pytest.mark.parametrize("score", SCORES)
def test_streamed_is_the_whole_model_to_the_bit(
    score: str, pattern: str, source: Path, letters: Path, tmp_path: Path
) -> None:
    job = Job(0.5, score, None, pattern, str(letters), samples=6, window=32, batch=2)
    done = prune_blocks(source, tmp_path / "out", job)
    expected = whole(source, job)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert done.kept == round(0.5 * done.scope.size)
    for name, tensor in model.named_parameters():
        assert torch.equal(tensor, expected[name]), name
    assert not (tmp_path / "out" / blocks.FLOW).exists()
    assert len(list((tmp_path / "out").glob("*.safetensors"))) == 3 + 1
    assert "sparsity_config" not in (tmp_path / "out" / "config.json").read_text(
        encoding="utf-8"
    )


class StoppedError(Exception):
    """As if the power had gone."""


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_job_that_was_stopped_goes_on_to_the_same_files(
    at: int, letters: Path, source: Path, tmp_path: Path
) -> None:
    job = Job(0.5, "sparsegpt", None, "4:8", str(letters), samples=4, window=32, batch=2)
    prune_blocks(source, tmp_path / "once", job)

    def stop(stage: str, done: int, total: int) -> None:
        if done == at:
            raise StoppedError

    with pytest.raises(StoppedError):
        prune_blocks(source, tmp_path / "twice", job, watch=stop)
    seen: list[int] = []
    prune_blocks(
        source, tmp_path / "twice", job, watch=lambda _, done, __: seen.append(done)
    )
    assert seen == list(range(at, 4))  # what was passed is not done again
    once, twice = Checkpoint.open(tmp_path / "once"), Checkpoint.open(tmp_path / "twice")
    assert all(torch.equal(once[name], twice[name]) for name in once)
    # it has ended: nothing is done
    prune_blocks(source, tmp_path / "twice", job, watch=stop)
    with pytest.raises(
        StoreError, match=r"was begun with sparsity 0\.5, and now it is 0\.25"
    ):
        prune_blocks(
            source,
            tmp_path / "twice",
            Job(0.25, "wanda", calibrate=str(letters), samples=4, window=32),
        )


@pytest.mark.parametrize("stops", [True, False])
@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ("text", "the text to calibrate on gives other windows of tokens than when"),
        ("config", r"the model's config\.json says something else than when"),
    ],
)
def test_a_job_does_not_go_on_from_another_text_or_configuration(
    changed: str, words: str, stops: bool, letters: Path, source: Path, tmp_path: Path
) -> None:
    """Under the same path, after the job was stopped and after it has ended."""
    model = tmp_path / "model"
    texts = tmp_path / "texts"
    shutil.copytree(source, model)
    shutil.copytree(letters, texts)
    job = Job(0.5, calibrate=str(texts), samples=4, window=32)

    def stop(stage: str, done: int, total: int) -> None:
        if stops and done == 1:
            raise StoppedError

    with suppress(StoppedError):
        prune_blocks(model, tmp_path / "out", job, watch=stop)

    if changed == "text":
        pq.write_table(pa.table({"text": ["soup " * 400]}), texts / "train.parquet")
    else:
        config = model / "config.json"
        config.write_text(config.read_text(encoding="utf-8") + " ", encoding="utf-8")
    with pytest.raises(StoreError, match=words):
        prune_blocks(model, tmp_path / "out", job)


def test_a_job_that_an_older_version_began_goes_on(
    letters: Path, source: Path, tmp_path: Path
) -> None:
    job = Job(0.5, calibrate=str(letters), samples=4, window=32)
    prune_blocks(source, tmp_path / "out", job)
    record = tmp_path / "out" / RECORD
    noted = json.loads(record.read_text(encoding="utf-8"))
    for name in ("windows", "config", "checksum"):
        noted["blocks"].pop(name, None)
        noted.pop(name, None)
    record.write_text(json.dumps(seal({**noted, "schema": 2})), encoding="utf-8")
    prune_blocks(source, tmp_path / "out", job)


@pytest.mark.parametrize("pattern", ["unstructured", "2:4"])
@pytest.mark.parametrize("score", ["wanda", "sparsegpt", "magnitude"])
def test_the_ticket_of_a_streamed_job_is_that_of_the_model_in_memory(
    score: str, pattern: str, source: Path, letters: Path, tmp_path: Path
) -> None:
    job = Job(0.5, score, None, pattern, str(letters), samples=4, window=32, batch=2)
    file = tmp_path / "ticket.safetensors"
    done = prune_blocks(source, tmp_path / "out", job, ticket=file)
    ticket = Ticket.load(file)
    assert ticket.mask.kept == done.kept
    assert dict(ticket.mask.kept_by_name) == dict(done.kept_by_name)
    assert ticket.method["name"] == score
    assert ticket.method["pattern"] == pattern
    assert ticket.cost.passes == (0 if score == "magnitude" else 3 * 4)
    assert set(ticket.start) == (set(ticket.mask) if score == "sparsegpt" else set())

    model = AutoModelForCausalLM.from_pretrained(source)
    ticket.apply(model)  # it checks that these are the weights it was drawn from
    pruned = dict(
        AutoModelForCausalLM.from_pretrained(tmp_path / "out").named_parameters()
    )
    for name, tensor in model.named_parameters():
        assert torch.equal(tensor, pruned[name]), name
    groups = Pattern.named(pattern)
    for name in ticket.mask if groups else ():
        assert groups
        assert follows(ticket.mask[name], groups, done.scope.inputs.get(name, -1))


def test_weights_that_are_kept_at_zero_are_in_the_ticket(
    letters: Path, tmp_path: Path
) -> None:
    """Zeros of the model itself may survive, which the written zeros do not tell."""
    folder = tiny_decoders.llama(tmp_path / "model")
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        model.get_parameter("model.layers.0.mlp.up_proj.weight")[:, 5:] = 0
    model.save_pretrained(folder)
    file = tmp_path / "ticket.safetensors"
    prune_blocks(folder, tmp_path / "out", Job(0.5, "magnitude", "row"), ticket=file)
    mask = Ticket.load(file).mask
    assert mask.kept == round(0.5 * mask.scope.size)
    assert bool(mask["model.layers.0.mlp.up_proj.weight"][:, 5:16].all())


def test_a_stopped_job_writes_its_ticket_in_the_end_and_an_ended_one_cannot(
    letters: Path, source: Path, tmp_path: Path
) -> None:
    job = Job(0.5, "wanda", None, "2:4", str(letters), samples=4, window=32)
    once, twice = tmp_path / "once.safetensors", tmp_path / "twice.safetensors"
    prune_blocks(source, tmp_path / "once", job, ticket=once)

    def stop(stage: str, done: int, total: int) -> None:
        if done == 2:
            raise StoppedError

    with pytest.raises(StoppedError):
        prune_blocks(source, tmp_path / "twice", job, watch=stop)
    prune_blocks(source, tmp_path / "twice", job, ticket=twice)
    assert Ticket.load(twice).digest == Ticket.load(once).digest
    before = twice.read_bytes()
    # it is there: nothing is done
    prune_blocks(source, tmp_path / "twice", job, ticket=twice)
    assert twice.read_bytes() == before
    with pytest.raises(StoreError, match="was finished without a ticket"):
        prune_blocks(
            source, tmp_path / "twice", job, ticket=tmp_path / "late.safetensors"
        )
    assert not (tmp_path / "late.safetensors").exists()


def test_one_block_at_a_time_is_in_memory(
    letters: Path, source: Path, tmp_path: Path
) -> None:
    job = Job(0.5, "wanda", None, "2:4", str(letters), samples=4, window=32, batch=2)
    most = 0

    def look(stage: str, done: int, total: int) -> None:
        nonlocal most
        real = {
            name.split(".h.")[-1].split("layers.")[-1].split(".")[0]
            for name in _in_memory(models[0])
        }
        most = max(most, len(real))

    models: list[Any] = []
    build = blocks.Skeleton.of
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            blocks.Skeleton,
            "of",
            lambda path: models.append((made := build(path)).model) or made,
        )
        prune_blocks(source, tmp_path / "out", job, watch=look)
    assert most == 1


def _in_memory(model: Any) -> list[str]:
    return [name for name, parameter in model.named_parameters() if not parameter.is_meta]


def test_half_precision_stays_what_it_is_and_survivors_keep_their_bits(
    letters: Path, tmp_path: Path
) -> None:
    folder = tiny_decoders.llama(tmp_path / "model")
    AutoModelForCausalLM.from_pretrained(folder).to(torch.bfloat16).save_pretrained(
        folder
    )
    prune_blocks(
        folder,
        tmp_path / "out",
        Job(0.6, "wanda", calibrate=str(letters), samples=4, window=32),
    )
    before, after = Checkpoint.open(folder), Checkpoint.open(tmp_path / "out")
    for name in before:
        assert after[name].dtype == torch.bfloat16
        kept = after[name] != 0
        assert torch.equal(after[name][kept], before[name][kept])


def test_the_outline_says_what_it_takes(letters: Path, source: Path) -> None:
    plan = outline(
        source, Job(0.5, "sparsegpt", calibrate=str(letters), samples=6, window=32)
    )
    assert plan.blocks == 3
    assert plan.block < plan.memory
    assert plan.disk == 2 * 4 * 6 * 32 * 32

    # the second moment of the widest matrix is damped, inverted and factored
    config = AutoConfig.from_pretrained(source)
    widest = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    if config.model_type == "qwen3_moe":
        widest = config.hidden_size
    assert plan.memory > plan.block + plan.statistics + 3 * 4 * widest**2
    wanda = outline(
        source, Job(0.5, "wanda", calibrate=str(letters), samples=6, window=32)
    )
    assert wanda.memory < plan.memory
    assert outline(source, Job(0.5, "magnitude", pattern="2:4")).disk == 0


def test_bad_input_is_one_line_and_writes_nothing(
    letters: Path, source: Path, tmp_path: Path
) -> None:
    out, ticket, run = tmp_path / "out", tmp_path / "ticket.safetensors", CliRunner()
    empty = tmp_path / "empty"
    empty.mkdir()
    short = tmp_path / "short.txt"
    short.write_text("soup", encoding="utf-8")
    encoder = tiny.bert(tmp_path / "bert")
    foreign = tiny_decoders.llama(tmp_path / "foreign")
    (tmp_path / "blank").mkdir()
    pq.write_table(pa.table({"text": ["", "  "]}), tmp_path / "blank" / "train.parquet")
    blank_file = tmp_path / "blank.txt"
    blank_file.write_text("\n \n", encoding="utf-8")
    tokenizer = json.loads((foreign / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer["model"]["vocab"] |= {f"word{i}": 1000 + i for i in range(50)}
    (foreign / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    calibrated = ["--score", "wanda", "--sparsity", "0.5", "--calibrate"]
    for arguments, words in (
        ([str(source), *calibrated[:4]], "needs text to calibrate on"),
        ([str(source), *calibrated, str(empty)], "holds no train.parquet"),
        (
            [str(source), *calibrated, str(short), "--window", "32"],
            "fewer than a window of 32",
        ),
        ([str(source), *calibrated, str(tmp_path / "blank")], "has 0 tokens"),
        ([str(source), *calibrated, str(blank_file)], "has 0 tokens"),
        ([str(source), *calibrated, str(tmp_path / "nowhere")], "no text at"),
        (
            [str(source), *calibrated, str(letters), "--window", "4096"],
            "the model reads 2 to 64",
        ),
        (
            [str(source), *calibrated, str(letters), "--samples", "4000"],
            "and 4000 are asked for",
        ),
        ([str(encoder), *calibrated, str(letters)], "is no causal language model"),
        ([str(foreign), *calibrated, str(letters)], "it is of another model"),
        ([str(source), "--pattern", "2:4", "--exclude", "*mlp*"], "leave them out"),
        ([str(source), "--pattern", "nonsense"], "expected 'unstructured', or N:M"),
        (
            [
                str(source),
                "--pattern",
                "3:7",
                "--score",
                "wanda",
                "--calibrate",
                str(letters),
            ],
            "does not divide",
        ),
        (
            [str(source), "--pattern", "2:4", "--sparsity", "0.7"],
            "pattern 2:4 prunes 0.5",
        ),
        (
            [str(source), "--score", "wand", "--sparsity", "0.5"],
            "expected one of magnitude, wanda",
        ),
    ):
        result = run.invoke(
            app, ["prune", *arguments, "--ticket", str(ticket), "-o", str(out), "--quiet"]
        )
        assert result.exit_code == 2, (arguments, result.output)
        assert words in " ".join(result.output.split()), (words, result.output)
        assert "Traceback" not in result.output
        assert not out.exists()
        assert not ticket.exists()


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(KnobError, match="needs text"):
        Job(0.5, "wanda")
    with pytest.raises(KnobError, match="cut"):
        Job(0.5, "magnitude", "model")
    with pytest.raises(SoupError):
        Job(0.5, "wanda", calibrate="x", batch=0)
    with pytest.raises(DataError):
        prune_blocks("nowhere", "out", Job(0.5, "magnitude"))


def test_the_command_prunes_to_a_pattern_and_says_so(
    letters: Path, source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = [
        "prune",
        str(source),
        "--score",
        "ria",
        "--pattern",
        "2:4",
        "--calibrate",
        str(letters),
    ]
    ticket = tmp_path / "ticket.safetensors"
    options = [
        "--samples",
        "4",
        "--window",
        "32",
        "--ticket",
        str(ticket),
        "-o",
        str(out),
    ]
    result = CliRunner().invoke(app, [*arguments, *options])
    assert result.exit_code == 0, result.output
    words = " ".join(result.output.split())
    assert "sparsity 50.0000%, by ria, pattern 2:4" in words
    assert re.search(r"\.\*\.mlp\.[\w.]+ \(\d times\): [\d x]+, in scope", words)
    assert "blocks, the largest" in " ".join(result.output.split())
    told = CliRunner().invoke(app, ["ticket", "info", str(ticket)])
    assert told.exit_code == 0, told.output
    assert "pattern   2:4" in told.output

    # by what the folder holds alone
    imported = str(tmp_path / "imported.safetensors")
    words = ["import", str(out), "-o", imported, "--model", str(source)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    told = CliRunner().invoke(app, ["ticket", "verify", imported])
    assert "pattern 2:4" in told.output


@pytest.mark.parametrize("score", ["magnitude", "wanda"])
def test_the_command_replaces_no_file_by_its_ticket_unless_it_is_told_to(
    score: str, letters: Path, source: Path, tmp_path: Path
) -> None:
    """Another file is refused before anything is pruned; the command's own ticket does not stand in its way."""

    def prune(out: str, *more: str) -> str:
        arguments = ["prune", str(source), "--sparsity", "0.5", "--score", score]
        if score != "magnitude":
            arguments += ["--calibrate", str(letters), "--samples", "4", "--window", "32"]
        arguments += ["--ticket", str(ticket), "-o", str(tmp_path / out), "--quiet"]
        result = CliRunner().invoke(app, [*arguments, *more])
        assert result.exit_code in (0, 2), result.output
        return " ".join(result.output.split()) if result.exit_code else ""

    ticket = tmp_path / "ticket.safetensors"
    ticket.write_text("MINE", encoding="utf-8")
    assert "is there already" in prune("out")
    assert ticket.read_text(encoding="utf-8") == "MINE"
    assert not (tmp_path / "out").exists()

    assert prune("out", "--force") == ""
    kept = Ticket.load(ticket).mask.kept
    assert prune("out") == ""

    # another one of the same model and score is known once it is made
    assert "is there already" in prune("other", "--sparsity", "0.25")
    assert Ticket.load(ticket).mask.kept == kept

    target = tmp_path / "target"
    ticket.rename(target)
    ticket.symlink_to(target)
    assert "is a symbolic link and no regular file" in prune("linked", "--force")
    assert not (tmp_path / "linked").exists()
    assert Ticket.load(target).mask.kept == kept


def test_a_device_that_is_not_there_is_refused_and_is_no_part_of_the_job(
    letters: Path,
) -> None:
    with pytest.raises(KnobError, match="torch sees no such device here"):
        Job(0.5, calibrate=str(letters), device="cuda:99")
    assert Job(0.5, "magnitude", device="auto").asked == Job(0.5, "magnitude").asked


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("score", SCORES)
def test_blocks_on_a_gpu_keep_what_blocks_on_the_cpu_keep(
    score: str, letters: Path, source: Path, tmp_path: Path
) -> None:
    """But for scores that rounding tells apart otherwise."""
    tickets = []
    for device in ("cpu", "cuda"):
        job = Job(
            0.5, score, None, "2:4", str(letters), samples=4, window=32, device=device
        )
        path = tmp_path / f"{device}.safetensors"
        prune_blocks(source, tmp_path / device, job, ticket=path)
        tickets.append(Ticket.load(path))

    cpu, gpu = tickets
    assert gpu.mask.kept == cpu.mask.kept
    alike = sum(int((cpu.mask[name] == gpu.mask[name]).sum()) for name in cpu.mask)
    assert alike > 0.99 * cpu.mask.scope.size
    for name in cpu.start:
        assert torch.allclose(cpu.start[name], gpu.start[name], atol=1e-2)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_2_4_ticket_is_what_the_sparse_kernels_of_a_gpu_take(
    letters: Path, tmp_path: Path
) -> None:
    """They take matrices of a certain size alone, so the miniature is a wide one; the product is that of its zeros."""
    source = tiny_decoders.llama(tmp_path / "wide", width=256)
    job = Job(0.5, "wanda", None, "2:4", str(letters), samples=4, window=32)
    path = tmp_path / "ticket.safetensors"
    prune_blocks(source, tmp_path / "out", job, ticket=path)
    ticket = Ticket.load(path)

    weights = dict(AutoModelForCausalLM.from_pretrained(source).named_parameters())
    inputs = torch.randn(64, 256, device="cuda", dtype=torch.float16)
    products = 0
    for name in ticket.mask:
        masked = (weights[name].detach() * ticket.mask[name]).cuda().half()
        if masked.shape[1] != inputs.shape[1]:
            continue
        sparse = to_sparse_semi_structured(masked)
        assert torch.equal(sparse.to_dense(), masked)
        product = torch.nn.functional.linear(inputs, sparse)
        expected = torch.nn.functional.linear(inputs, masked)
        assert torch.allclose(product, expected, rtol=1e-2, atol=1e-2)
        products += 1
    assert products
