"""FLOPs, compared with counts made by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from instant_soup.training.flops import ForwardCost


class Rows:
    """Examples of a fixed width."""

    lengths: Sequence[int] | None = None

    def __init__(self, width: int, count: int = 10) -> None:
        self.rows = torch.randn(count, width)

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, indices: Sequence[int]) -> Tensor:
        return self.rows[list(indices)]


class Sequences:
    """Examples of different lengths, padded to the longest of a batch."""

    def __init__(self, lengths: Sequence[int], width: int, *, tell: bool = True) -> None:
        self.sizes, self.width = list(lengths), width
        self.lengths: Sequence[int] | None = self.sizes if tell else None

    def __len__(self) -> int:
        return len(self.sizes)

    def batch(self, indices: Sequence[int]) -> Tensor:
        return torch.zeros(len(indices), max(self.sizes[i] for i in indices), self.width)


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


MLP = 2 * (4 * 8 + 8 * 3)  # a multiply-add is two operations


def cost(model: nn.Module) -> ForwardCost:
    return ForwardCost(model, lambda net, batch: net(batch))


def of(counted: ForwardCost, examples: Any, indices: list[int]) -> int:
    return counted.of(examples.batch(indices), examples, indices)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_a_two_layer_network_costs_two_operations_a_weight_and_example(
    count: int,
) -> None:
    assert of(cost(mlp()), Rows(4), list(range(count))) == count * MLP


def attention(length: int, width: int) -> int:
    projections = 2 * length * width * 3 * width + 2 * length * width * width
    scores_and_sums = 2 * length * length * width + 2 * length * length * width
    return projections + scores_and_sums


class Plain(nn.Module):
    """Attention as transformers compute it."""

    def __init__(self) -> None:
        super().__init__()
        self.fused, self.out = nn.Linear(8, 24), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (
            part.unflatten(-1, (2, 4)).transpose(1, 2)
            for part in self.fused(x).chunk(3, -1)
        )
        return self.out(
            F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(-2)
        )


class Torchs(nn.Module):
    """Attention as torch and open_clip wrap it."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x, x, x, need_weights=False)[0]


@pytest.mark.parametrize("make", [Plain, Torchs])
@pytest.mark.parametrize("length", [1, 5, 16])
def test_attention_is_counted_with_what_grows_with_the_square_of_the_length(
    length: int, make: Callable[[], nn.Module]
) -> None:
    assert of(cost(make()), Sequences([length, length], 8), [0, 1]) == 2 * attention(
        length, 8
    )


@pytest.mark.parametrize("length", [4, 9])
def test_a_whole_bert_costs_what_its_matrices_and_attention_cost(length: int) -> None:
    from transformers import BertConfig, BertForSequenceClassification

    width, wide, layers, labels = 16, 24, 3, 2
    config = BertConfig(
        vocab_size=30,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=wide,
        max_position_embeddings=32,
        num_labels=labels,
    )
    model = BertForSequenceClassification(config)

    class Tokens(Sequences):
        def batch(self, indices: Sequence[int]) -> Any:
            ids = torch.ones(
                len(indices), max(self.sizes[i] for i in indices), dtype=torch.int64
            )
            return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}

    counted = ForwardCost(model, lambda net, batch: net(**batch))
    per_layer = attention(length, width) + 2 * 2 * length * width * wide
    # pooler and head see one token
    wanted = layers * per_layer + 2 * width * width + 2 * width * labels
    assert of(counted, Tokens([length] * 3, width), [0, 1, 2]) == 3 * wanted


def test_padding_is_paid_for() -> None:
    examples = Sequences([3, 10, 5], 4)
    counted = cost(mlp())
    assert of(counted, examples, [0]) == 3 * MLP
    assert of(counted, examples, [0, 1, 2]) == 3 * 10 * MLP
    assert of(counted, examples, [2, 0]) == 2 * 5 * MLP


def test_padding_is_paid_for_where_examples_do_not_tell_their_lengths() -> None:
    """A module task with a collate function that pads."""
    examples = Sequences([3, 10], 4, tell=False)
    assert of(cost(mlp()), examples, [0, 1]) == 2 * 10 * MLP


def test_each_shape_is_counted_once() -> None:
    calls = []
    model = mlp()

    def predict(net: nn.Module, batch: Tensor) -> Tensor:
        calls.append(tuple(batch.shape))
        return net(batch)

    counted, examples = ForwardCost(model, predict), Sequences([3, 3, 6, 3], 4)
    for indices in ([0, 1], [1, 3], [0], [2], [2, 0]):
        of(counted, examples, indices)
    assert calls == [(1, 3, 4), (1, 6, 4)]


def counting(model: nn.Module) -> tuple[ForwardCost, list[int]]:
    """A cost, and the lengths that it has counted so far."""
    calls: list[int] = []

    def predict(net: nn.Module, batch: Tensor) -> Tensor:
        calls.append(batch.shape[1])
        return net(batch)

    return ForwardCost(model, predict), calls


@pytest.mark.parametrize("make", [Plain, Torchs])
def test_four_lengths_are_counted_and_what_lies_between_is_exact(
    make: Callable[[], nn.Module],
) -> None:
    examples = Sequences([5, 2, 17, 9, 30, 7, 3, 29], 8)
    counted, calls = counting(make())
    for index, length in enumerate(examples.sizes):
        assert of(counted, examples, [index]) == attention(length, 8)
    assert calls == [2, 30, 5, 17]


def test_longer_examples_of_another_split_are_counted() -> None:
    examples, longer = Sequences([2, 4, 6, 10], 8), Sequences([7, 12, 11], 8)
    counted, calls = counting(Plain())
    for index in range(4):
        of(counted, examples, [index])
    assert [of(counted, longer, [index]) for index in range(3)] == [
        attention(length, 8) for length in (7, 12, 11)
    ]
    assert calls == [2, 10, 4, 6, 12]


def test_a_cost_that_is_no_parabola_is_counted_at_each_length() -> None:
    class Windows(nn.Module):
        """Pads to whole windows of four, as some attention does."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = mlp()

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(F.pad(x, (0, 0, 0, -x.shape[1] % 4)))

    examples = Sequences([1, 16, 6, 9, 3, 11, 5], 4)
    counted, calls = counting(Windows())
    for index, length in enumerate(examples.sizes):
        assert of(counted, examples, [index]) == -(-length // 4) * 4 * MLP
    assert calls == [1, 16, 6, 9, 3, 11, 5]


def test_counting_leaves_weights_gradients_and_random_numbers_alone() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.BatchNorm1d(4))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    examples, state = Rows(4), torch.get_rng_state()
    of(cost(model), examples, [0, 1])
    assert torch.equal(torch.get_rng_state(), state)
    assert all(
        torch.equal(model.state_dict()[name], tensor) for name, tensor in before.items()
    )
    assert all(parameter.grad is None for parameter in model.parameters())


class Viewed(nn.Module):
    """Hands views of its own parameters to other modules, as DeBERTa does with its relative positions."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.keep = nn.Linear(4, 4), nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        turned = self.keep(self.inner.weight.t())
        return self.inner(x) @ turned + self.keep(self.inner.weight.view(-1)[:4])


def test_a_view_of_a_parameter_does_not_stop_the_count() -> None:
    model = Viewed()
    assert of(cost(model), Rows(4), [0, 1]) == 2 * 2 * (2 * 4 * 4)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_what_torch_cannot_count_is_said_and_does_not_stop_a_run() -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise NotImplementedError("no formula")

    with pytest.warns(UserWarning, match="cannot be counted.*no formula.*given as 0"):
        assert of(cost(Odd()), Rows(4), [0]) == 0
