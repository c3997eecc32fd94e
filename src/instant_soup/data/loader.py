"""Loader: the examples that a DataLoader would give, by index, so that they can be drawn in an order of our own.

Batches are as large as the regime says and their order follows the seed. What else a loader asks for is kept, or
refused: no row outside of its sampler is ever read, and none is read more or less often than it says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    WeightedRandomSampler,
)

from ..core.errors import DataError

MOST = 4  # times the size of its data set that a sampler may name rows


class LoaderExamples:
    """The examples behind a DataLoader, by index.

    Attributes:
        lengths, targets: None; both are known only once an example is read.
    """

    lengths: Sequence[int] | None = None
    targets: Tensor | None = None

    def __init__(self, loader: DataLoader[Any], split: str) -> None:
        """Take what *loader* gives.

        Args:
            split: what errors call it.

        Raises:
            DataError: it is no DataLoader, its data set is empty or cannot be indexed, or what it asks for cannot be
                kept: weights, replacement, a share of the rows anew in each pass, batches of its own making.
        """
        if not isinstance(loader, DataLoader):
            raise DataError(
                f"{split} is a {type(loader).__name__}; expected a torch.utils.data.DataLoader"
            )
        if isinstance(loader.dataset, IterableDataset):
            raise DataError(
                f"the {split} dataset has no length or index; give a map-style dataset that can be indexed"
            )
        try:
            size = len(loader.dataset)  # type: ignore[arg-type]
        except TypeError as reason:
            raise DataError(
                f"the {split} dataset has no length; give a map-style dataset that can be indexed"
            ) from reason
        if not size:
            raise DataError(f"the {split} dataset is empty; give it at least one example")

        self._rows = _rows(loader, split, size)
        if not self._rows:
            raise DataError(
                f"the sampler of {split} names no row of its {size}; give it at least one"
            )
        self._dataset, self._collate = loader.dataset, loader.collate_fn

    def __len__(self) -> int:
        return len(self._rows)

    def batch(self, indices: Sequence[int]) -> Any:
        """What the loader's collate function makes of these examples."""
        return self._collate([self._dataset[self._rows[i]] for i in indices])


def _rows(loader: DataLoader[Any], split: str, size: int) -> Sequence[Any]:
    """The rows that one pass of *loader* reads, each as often as it does."""
    sampler = _sampler(loader, split)
    _refuse_chance(sampler, split, size)
    drops = _drops_last(loader)

    if not drops and type(sampler) in (SequentialSampler, RandomSampler):
        return range(size)

    with _untouched(sampler):
        first, second = (
            _passed(loader.batch_sampler if drops else sampler, drops, split, size)
            for _ in range(2)
        )
    if Counter(first) != Counter(second):
        raise DataError(
            f"the loader of {split} reads other rows in each pass"
            f"{' (drop_last leaves out those that fill no batch)' if drops else ''}; expected one that reads the same "
            f"rows, in any order: {'set drop_last=False' if drops else 'choose the rows first, with a Subset'}"
        )
    return sorted(first) if all(isinstance(row, int) for row in first) else first


def _sampler(loader: DataLoader[Any], split: str) -> Sampler[Any]:
    """What names the rows of *loader*."""
    batches = loader.batch_sampler
    if batches is None:
        raise DataError(
            f"the loader of {split} has batch_size=None: its dataset makes the batches; expected a dataset of single "
            f"examples, whose batches can be put together anew"
        )

    if type(batches) is not BatchSampler:
        raise DataError(
            f"the loader of {split} has a {type(batches).__name__}, which makes batches of its own, and batches follow "
            f"the regime and the seed; leave it out, and let the collate function pad what differs in size"
        )

    return batches.sampler  # type: ignore[return-value]


def _refuse_chance(sampler: Any, split: str, size: int) -> None:
    """Raise DataError at samplers that say more than which rows there are."""
    if isinstance(sampler, DistributedSampler) and sampler.num_replicas > 1:
        raise DataError(
            f"the sampler of {split} is rank {sampler.rank}'s share of {sampler.num_replicas}; give the whole, which "
            f"ranks that are launched together share out themselves"
        )

    if isinstance(sampler, WeightedRandomSampler):
        raise DataError(
            f"the sampler of {split} draws rows by weights, which is not done here; weight the loss instead, or repeat "
            f"the rows in the dataset"
        )

    if isinstance(sampler, RandomSampler):
        if sampler.replacement:
            raise DataError(
                f"the sampler of {split} draws with replacement; expected each row once a pass"
            )
        if sampler.num_samples != size:
            raise DataError(
                f"the sampler of {split} draws {sampler.num_samples} of {size} rows anew in each pass; expected the "
                f"same rows in each: choose them first, with a Subset"
            )


def _drops_last(loader: DataLoader[Any]) -> bool:
    batches = loader.batch_sampler
    return isinstance(batches, BatchSampler) and batches.drop_last


def _passed(names: Any, batched: bool, split: str, size: int) -> list[Any]:
    """The rows of one pass through a sampler, or through one of batches."""
    most = MOST * size
    rows = list(islice(chain.from_iterable(names) if batched else names, most + 1))
    if len(rows) > most:
        raise DataError(
            f"the sampler of {split} names more than {most} rows of {size}; expected an end of each pass"
        )

    outside = next(
        (row for row in rows if isinstance(row, int) and not -size <= row < size), None
    )
    if outside is not None:
        raise DataError(
            f"the sampler of {split} names row {outside}, and its dataset has {size}"
        )
    return rows


@contextmanager
def _untouched(sampler: Any) -> Iterator[None]:
    """Let a sampler be gone through without a trace in random streams, its own included."""
    own = getattr(sampler, "generator", None)
    streams = [own] if isinstance(own, torch.Generator) else []
    states = [stream.get_state() for stream in streams]
    with torch.random.fork_rng(devices=[]):
        yield
    for stream, state in zip(streams, states, strict=True):
        stream.set_state(state)
