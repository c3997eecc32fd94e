"""Which device a model is trained on: by choice, or the one that Accelerate would take."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import Mock

import pytest
import torch
from accelerate.state import AcceleratorState, PartialState

import instant_soup as soup
from instant_soup.core.budget import Meter
from instant_soup.core.errors import KnobError, RankError, TrainingError
from instant_soup.runs.environment import environment
from instant_soup.tasks import CourseTask
from instant_soup.training import device
from instant_soup.training.device import accelerator, check_device, devices, kind_of


@contextmanager
def two_more() -> Iterator[None]:
    """A machine with two devices of torch that compute nothing."""
    with pytest.MonkeyPatch.context() as patch:
        kind = Mock(return_value=torch.device("meta"))
        patch.setattr(torch.accelerator, "current_accelerator", kind)
        patch.setattr(torch.accelerator, "device_count", Mock(return_value=2))
        patch.setattr(torch.accelerator, "set_device_index", Mock())
        yield


@pytest.fixture
def another() -> Iterator[None]:
    with two_more():
        yield
    AcceleratorState._reset_state(reset_partial_state=True)


def test_a_device_that_is_not_there_is_refused_with_those_that_are() -> None:
    check_device("auto")
    check_device("cpu")
    with pytest.raises(TrainingError, match=r"'xpu:7'.*expected one of auto, cpu"):
        check_device("xpu:7")


def test_a_device_is_named_as_torch_names_it() -> None:
    assert soup.Regime(device="cuda:1").device == "cuda:1"
    for name in ("gpu", "cuda:", "cuda 1", "CUDA", ""):
        with pytest.raises(
            KnobError, match="as torch names it, such as cuda, cuda:1 or mps"
        ):
            soup.Regime(device=name)


def test_one_process_may_train_on_one_device_after_the_other(another: None) -> None:
    assert devices() == ["cpu", "meta", "meta:0", "meta:1"]
    for name, index in (("meta", None), ("cpu", None), ("meta:1", 1), ("meta:0", 0)):
        chosen = accelerator("float32", name).device
        assert (chosen.type, chosen.index) == (name.split(":")[0], index)

    # what Accelerate would take by itself, which knows of no such device
    assert accelerator("float32").device == PartialState().default_device
    with pytest.raises(
        TrainingError, match="expected one of auto, cpu, meta, meta:0, meta:1"
    ):
        accelerator("float32", "meta:2")


def test_the_environment_that_accelerate_reads_is_left_as_it_was(
    another: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    accelerator("float32", "meta:1")
    assert "ACCELERATE_TORCH_DEVICE" not in device.os.environ
    monkeypatch.setenv("ACCELERATE_TORCH_DEVICE", "meta:1")
    assert accelerator("float32", "cpu").device.type == "cpu"
    assert device.os.environ["ACCELERATE_TORCH_DEVICE"] == "meta:1"
    assert accelerator("float32").device == torch.device("meta:1")


def test_a_learner_stays_on_its_device_when_the_next_asks_for_another(
    mini: CourseTask,
) -> None:
    learner = mini.learner(Meter())
    with two_more():
        accelerator("float32", "meta")

    learner.train(2)
    assert all(tensor.device.type == "cpu" for tensor in learner.view().values())
    AcceleratorState._reset_state(reset_partial_state=True)


def test_ranks_that_are_launched_together_take_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(device, "launched", lambda: True)
    check_device("auto")
    with pytest.raises(RankError, match="each takes a device of its own; leave it out"):
        check_device("cuda:1")


def test_a_record_names_the_kind_of_device_that_was_asked_for(another: None) -> None:
    assert environment("cpu")["device"] == "cpu"
    assert environment("meta:1")["device"] == "meta"
    assert kind_of("auto") == "meta"
