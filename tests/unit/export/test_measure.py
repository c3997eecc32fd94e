"""What a sparse model gains, and where it gains nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from instant_soup.export.export import Exported, export_model
from instant_soup.export.formats import FORMATS
from instant_soup.export.measure import Latency, Measured, measure, without_zeros
from instant_soup.export.portable import Portable
from instant_soup.export.sizes import Sizes, bound, sizes
from instant_soup.export.timing import Pace

Source = Callable[[str], Portable]


def test_the_bound_is_the_masks_entropy_plus_survivors_plus_all_else(
    source: Source,
) -> None:
    found = source("bert")
    expected = 0.0
    for name, tensor in found.tensors.items():
        if name not in found.ticket.mask:
            expected += 4 * tensor.numel()
            continue
        p = found.ticket.mask.kept_by_name[name] / tensor.numel()
        expected += (
            tensor.numel() * (-(p * math.log2(p)) - (1 - p) * math.log2(1 - p)) / 8
            + 4 * p * tensor.numel()
        )
    assert bound(found) == pytest.approx(expected)


def test_sizes_are_of_whole_files(source: Source, tmp_path: Path) -> None:
    found = source("bert")
    sizes_of = sizes(found, {"hf": 5})
    assert sizes_of.formats["hf"] == 5
    for name in ("bitmask", "csr"):
        FORMATS[name].write(found, tmp_path / name)
        assert sizes_of.formats[name] == (tmp_path / name).stat().st_size
    assert sizes_of.dense == sum(tensor.nbytes for tensor in found.tensors.values())
    assert sizes_of.bound == math.ceil(bound(found)) < sizes_of.dense
    assert sizes_of.zipped < sizes_of.dense


@pytest.mark.parametrize(
    ("kind", "shapes"),
    [("bert", [(1, 16), (1, 62), (32, 16), (32, 62)]), ("vit", [(1, 1), (32, 1)])],
)
def test_everything_is_measured_here(
    source: Source, kind: str, shapes: list[tuple[int, int]], tmp_path: Path
) -> None:
    found = source(kind)
    done = export_model(found, "csr", tmp_path / "out")
    measured = measure(found, done, turns=8)
    assert [(one.batch, one.length) for one in measured.latencies] == shapes
    assert {one.tokens for one in measured.picked} == (
        # four patches and one token for all of them
        {16, 62, 512, 1984} if kind == "bert" else {5, 160}
    )
    assert measured.sizes.formats["csr"] == done.size
    assert len(list(measured.sentences())) == len(shapes)
    for one in measured.latencies:
        assert one.paces["dense"].ratio == 1
        assert (
            0
            < one.paces["sparse"].low
            <= one.paces["sparse"].ratio
            <= one.paces["sparse"].high
        )


@pytest.mark.parametrize("to", ["onnx", "openvino"])
def test_a_runtime_is_measured_beside_the_dense_model_in_the_same_runtime(
    source: Source, to: str, tmp_path: Path
) -> None:
    found = source("vit")
    done = export_model(found, to, tmp_path / f"out{FORMATS[to].suffix}")
    measured = measure(found, done, turns=8)
    for latency in measured.latencies:
        assert list(latency.paces) == ["dense", "sparse", f"dense {to}", to]
        assert latency.paces[f"dense {to}"].ratio == latency.paces["dense"].ratio == 1
    about = [sentence for sentence in measured.sentences() if f" {to} takes " in sentence]
    assert len(about) == len(measured.latencies)
    assert all(
        f"of the time of dense {to}" in sentence and "dense in torch)" in sentence
        for sentence in about
    )
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["out"] * len(
        list(tmp_path.iterdir())
    )


def test_the_dense_twin_differs_where_the_ticket_prunes_and_nowhere_else(
    source: Source,
) -> None:
    found = source("bert")
    before = {name: tensor.clone() for name, tensor in found.tensors.items()}
    twin = without_zeros(found)
    for name, tensor in twin.tensors.items():
        assert torch.equal(found.tensors[name], before[name])
        if name not in found.ticket.mask:
            assert torch.equal(tensor, before[name])
            continue
        kept = found.ticket.mask[name]
        assert torch.equal(tensor[kept], before[name][kept])
        assert bool((tensor[~kept] != 0).all())
        assert float(tensor.std()) == pytest.approx(
            float(before[name][kept].std()), rel=0.2
        )


def test_no_gain_is_said_plainly() -> None:
    dense, faster, slower = (
        Pace(0.01, 1.0, 1.0, 1.0),
        Pace(0.005, 0.5, 0.4, 0.6),
        Pace(0.011, 1.1, 0.9, 1.2),
    )
    level = Pace(0.005, 1.0, 0.98, 1.02)
    latencies = (
        Latency(1, 16, {"dense": dense, "sparse": faster}),
        Latency(
            32, 1, {"dense": dense, "sparse": slower, "dense onnx": faster, "onnx": level}
        ),
    )
    said = list(Measured(2, Sizes(0, 0, {}, 0), (), latencies).sentences())
    assert said == [
        "Gain: at batch 1 and 16 tokens, sparse takes 0.50 of the time, 0.40 to 0.60 (10.0 ms dense, 5.0 ms sparse)",
        "No gain: at batch 32, sparse takes 1.10 of the time, 0.90 to 1.20 (10.0 ms dense, 11.0 ms sparse)",
        "No gain: at batch 32, onnx takes 1.00 of the time of dense onnx, 0.98 to 1.02 "
        "(5.0 ms dense onnx, 5.0 ms onnx; 10.0 ms dense in torch)",
    ]
    assert Exported("csr", Path("out"), 1, None, {}).difference is None
