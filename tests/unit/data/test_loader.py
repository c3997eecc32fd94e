"""Loader: every sampler of torch is honoured or refused, and no row outside of it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch.utils import data
from torch.utils.data import BatchSampler, DataLoader, Dataset, Sampler, Subset

from instant_soup.core.errors import DataError
from instant_soup.data.loader import LoaderExamples

SIZE = 20


class Rows(Dataset[int]):
    """Numbers, and a list of those that were read."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def __len__(self) -> int:
        return SIZE

    def __getitem__(self, index: int) -> int:
        self.seen.append(index)
        return index


class Custom(Sampler[int]):
    """A sampler of one's own that names some rows."""

    def __init__(self, *passes: list[int]) -> None:
        self._passes, self._number = passes, 0

    def __iter__(self) -> Iterator[int]:
        self._number += 1
        return iter(self._passes[(self._number - 1) % len(self._passes)])


class Endless(Sampler[int]):
    def __iter__(self) -> Iterator[int]:
        while True:
            yield 0


class OwnBatches(BatchSampler):
    """Batches by a rule of one's own."""


def read(loader: DataLoader[Any]) -> list[int]:
    examples = LoaderExamples(loader, "train")
    rows: Any = loader.dataset
    rows.seen.clear()
    values = examples.batch(range(len(examples))).tolist()
    assert rows.seen == values
    return values


Make = Callable[[Rows], DataLoader[Any]]
HONOURED: dict[str, tuple[Make, list[int]]] = {
    "sequential": (lambda rows: DataLoader(rows), list(range(SIZE))),
    "shuffled": (lambda rows: DataLoader(rows, shuffle=True), list(range(SIZE))),
    "SequentialSampler": (
        lambda rows: DataLoader(rows, sampler=data.SequentialSampler(rows)),
        list(range(SIZE)),
    ),
    "RandomSampler": (
        lambda rows: DataLoader(rows, sampler=data.RandomSampler(rows)),
        list(range(SIZE)),
    ),
    "SubsetRandomSampler": (
        lambda rows: DataLoader(rows, sampler=data.SubsetRandomSampler([7, 3, 5])),
        [3, 5, 7],
    ),
    "BatchSampler": (
        lambda rows: DataLoader(
            rows, batch_sampler=BatchSampler(data.SubsetRandomSampler([9, 1]), 2, False)
        ),
        [1, 9],
    ),
    "DistributedSampler alone": (
        lambda rows: DataLoader(
            rows, sampler=data.DistributedSampler(rows, num_replicas=1, rank=0)
        ),
        list(range(SIZE)),
    ),
    "sampler of one's own": (
        lambda rows: DataLoader(rows, sampler=Custom([4, 2, 8])),
        [2, 4, 8],
    ),
    "in another order each time": (
        lambda rows: DataLoader(rows, sampler=Custom([4, 2], [2, 4])),
        [2, 4],
    ),
    "with repeats": (lambda rows: DataLoader(rows, sampler=Custom([4, 2, 4])), [2, 4, 4]),
    "a list for a sampler": (lambda rows: DataLoader(rows, sampler=[6, 0]), [0, 6]),
    "drop_last that drops nothing": (
        lambda rows: DataLoader(rows, 5, shuffle=True, drop_last=True),
        list(range(SIZE)),
    ),
    "drop_last in order": (
        lambda rows: DataLoader(rows, 8, drop_last=True),
        list(range(16)),
    ),
}


@pytest.mark.parametrize("name", HONOURED)
def test_the_rows_that_a_sampler_names_are_read_and_no_others(name: str) -> None:
    make, rows = HONOURED[name]
    assert read(make(Rows())) == rows


REFUSED: dict[str, tuple[Make, str]] = {
    "with replacement": (
        lambda rows: DataLoader(rows, sampler=data.RandomSampler(rows, replacement=True)), "draws with replacement",
    ),
    "a few anew": (
        lambda rows: DataLoader(rows, sampler=data.RandomSampler(rows, num_samples=5)), "draws 5 of 20 rows anew",
    ),
    "weighted": (
        lambda rows: DataLoader(rows, sampler=data.WeightedRandomSampler([1.0] * SIZE, SIZE)), "draws rows by weights",
    ),
    "weighted without replacement": (
        lambda rows: DataLoader(rows, sampler=data.WeightedRandomSampler([1.0] * SIZE, SIZE, replacement=False)),
        "draws rows by weights",
    ),
    "a share of ranks": (
        lambda rows: DataLoader(rows, sampler=data.DistributedSampler(rows, num_replicas=2, rank=1)),
        "is rank 1's share of 2",
    ),
    "others each time": (
        lambda rows: DataLoader(rows, sampler=Custom([1, 2], [1, 3])), "reads other rows in each pass; expected",
    ),
    "drop_last": (
        lambda rows: DataLoader(rows, 8, shuffle=True, drop_last=True), r"drop_last leaves out.*set drop_last=False",
    ),
    "batches of its own": (
        lambda rows: DataLoader(rows, batch_sampler=OwnBatches(range(SIZE), 4, False)), "has a OwnBatches",
    ),
    "a list of batches": (lambda rows: DataLoader(rows, batch_sampler=[[0, 1], [2]]), "has a list, which makes"),
    "no batches": (lambda rows: DataLoader(rows, batch_size=None), "has batch_size=None"),
    "no batches, sampled": (lambda rows: DataLoader(rows, batch_size=None, sampler=[1, 2]), "has batch_size=None"),
    "endless": (lambda rows: DataLoader(rows, sampler=Endless()), "names more than 80 rows of 20"),
    "empty": (lambda rows: DataLoader(rows, sampler=Custom([])), "names no row of its 20"),
    "outside": (lambda rows: DataLoader(rows, sampler=Custom([3, 20])), "names row 20, and its dataset has 20"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_kept_is_refused_in_a_sentence(name: str) -> None:
    make, why = REFUSED[name]
    with pytest.raises(DataError, match=why):
        LoaderExamples(make(Rows()), "train")


def test_every_sampler_of_torch_is_among_those_tried() -> None:
    samplers = {
        name
        for name, kind in vars(data).items()
        if isinstance(kind, type) and issubclass(kind, Sampler)
    }
    assert samplers == {
        "BatchSampler", "DistributedSampler", "RandomSampler", "Sampler", "SequentialSampler", "SubsetRandomSampler",
        "WeightedRandomSampler",
    }  # fmt: skip


def test_looking_at_a_sampler_leaves_random_streams_as_they_were() -> None:
    dice = torch.Generator().manual_seed(1)
    loader: DataLoader[Any] = DataLoader(
        Rows(), sampler=data.SubsetRandomSampler(range(9), generator=dice)
    )
    own, all_of_it = dice.get_state(), torch.random.get_rng_state()
    LoaderExamples(loader, "train")
    assert torch.equal(dice.get_state(), own)
    assert torch.equal(torch.random.get_rng_state(), all_of_it)


def test_a_subset_is_read_by_its_own_numbers() -> None:
    examples = LoaderExamples(DataLoader(Subset(Rows(), [5, 7]), shuffle=True), "train")
    assert examples.batch([0, 1]).tolist() == [5, 7]


@pytest.mark.parametrize("thing", [[1, 2], Rows(), None, "train"])
def test_what_is_no_loader_is_refused(thing: Any) -> None:
    with pytest.raises(
        DataError, match=r"validation is a \w+; expected a torch.utils.data.DataLoader"
    ):
        LoaderExamples(thing, "validation")
