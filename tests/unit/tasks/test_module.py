from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import instant_soup as soup
from instant_soup.core.task import Brief, Variation
from instant_soup.soup.denoiser import Protocols
from instant_soup.tasks import CourseTask

Make = Callable[..., CourseTask]


def points(count: int, seed: int) -> DataLoader[Any]:
    inputs = torch.randn(count, 6, generator=torch.Generator().manual_seed(seed))
    return DataLoader(TensorDataset(inputs, (inputs[:, 0] > 0).long()), batch_size=4)


def right(outputs: Tensor, targets: Tensor) -> float:
    return float((outputs.argmax(1) == targets).float().mean())


@pytest.fixture
def make() -> Make:
    def task(model: nn.Module | None = None, **options: Any) -> CourseTask:
        torch.manual_seed(0)
        net = model or nn.Sequential(
            nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2)
        )
        settings: dict[str, Any] = {
            "train": points(64, 0),
            "validation": points(32, 1),
            "test": points(32, 2),
            "loss": F.cross_entropy,
            "metric": right,
            "regime": soup.Regime(steps=20, batch=16, rate=1e-2, precision="float32"),
        }
        return soup.tasks.module("points", net, **{**settings, **options})

    return task


def test_any_module_with_loaders_a_loss_and_a_metric_draws_a_ticket(make: Make) -> None:
    task = make()
    ticket = soup.InstantSoup(
        denoisers=2, lookahead_steps=2, compression=0.3, finish="rewind"
    ).draw(task, 0.5)
    result = soup.evaluate(ticket, task)
    assert ticket.mask.kept == round(0.5 * (6 * 16 + 16 * 2))
    assert result.test["metric"] > 0.8


def test_the_users_model_is_never_changed(make: Make) -> None:
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    task = make(net)
    soup.evaluate(soup.Gradual(rounds=2).draw(task, 0.5), task)
    assert all(
        torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items()
    )


def test_a_look_ahead_gives_batch_norm_statistics_back(make: Make) -> None:
    learner = make().learner(soup.Meter())
    learner.train(2)
    before = learner.weights()
    assert "1.running_mean" in before
    brief = Brief(3, Variation(seed=1))
    (there,) = learner.look_ahead([brief], lambda scout: scout.weights())
    assert not torch.equal(there["1.running_mean"], before["1.running_mean"])
    assert all(
        torch.equal(tensor, before[name]) for name, tensor in learner.weights().items()
    )


def test_a_ticket_carries_the_statistics_that_it_was_trained_with(
    make: Make, tmp_path: Any
) -> None:
    task = make()
    ticket = soup.Gradual(rounds=2).draw(task, 0.5)
    ticket.save(tmp_path / "t.safetensors")
    again = soup.evaluate(soup.Ticket.load(tmp_path / "t.safetensors"), task)
    assert again.test == soup.evaluate(ticket, task).test
    assert torch.equal(again.weights["1.running_var"], ticket.start["1.running_var"])


def test_a_predict_of_ones_own_reads_any_batch(make: Make) -> None:
    def predict(model: nn.Module, batch: Any) -> tuple[Tensor, Tensor]:
        return model(batch[0] * 2), batch[1]

    assert (
        soup.evaluate(soup.OneShot().draw(task := make(predict=predict), 0.5), task).test[
            "metric"
        ]
        > 0.5
    )


def test_label_smoothing_is_refused_where_the_loss_has_no_such_knob(make: Make) -> None:
    with pytest.raises(soup.SoupError, match="label_smoothing"):
        soup.InstantSoup(
            protocols=Protocols(label_smoothing=(0.1, 0.2)), compression=0.5
        ).draw(make(), 0.5)


def test_an_empty_or_unindexed_dataset_is_refused(make: Make) -> None:
    with pytest.raises(soup.SoupError, match="validation dataset is empty"):
        make(validation=DataLoader(TensorDataset(torch.zeros(0, 6), torch.zeros(0))))

    class Endless(IterableDataset[Tensor]):
        def __iter__(self) -> Iterator[Tensor]:
            return iter(())

    with pytest.raises(soup.SoupError, match="train dataset has no length"):
        make(train=DataLoader(Endless()))


def test_a_model_with_nothing_to_prune_is_refused(make: Make) -> None:
    with pytest.raises(soup.SoupError, match="nothing left to prune"):
        make(nn.Embedding(3, 4))


def test_a_last_batch_of_one_does_not_stop_a_model_that_normalises_over_batches(
    make: Make,
) -> None:
    task = make(
        train=points(33, 0),
        regime=soup.Regime(epochs=2, batch=16, rate=1e-2, precision="float32"),
    )
    assert soup.evaluate(soup.OneShot().draw(task, 0.5), task).test["metric"] > 0
