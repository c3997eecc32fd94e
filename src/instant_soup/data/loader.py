"""Loader: the examples that a DataLoader would give, by index, so that they can be drawn in an order of our own.

The regime sets the size of batches, and the seed their order. Everything else that a loader asks for is done, or
refused: no row outside of its sampler is ever read, and none is read more or less often than the sampler says.
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

MOST_PASSES = 4  # a sampler may name so many times the rows of its data set


class LoaderExamples:
    """The examples behind a DataLoader, by index.

    Attributes:
        lengths, targets: None, because both are known only once an example is read.
    """

    lengths: Sequence[int] | None = None
    targets: Tensor | None = None

    def __init__(self, loader: DataLoader[Any], split: str) -> None:
        """Read the rows of *loader*.

        Args:
            split: what errors call the loader.

        Raises:
            DataError: it is no DataLoader, its data set is empty or cannot be indexed, or it asks for what is not done
                here: weights, replacement, a share of the rows anew in each pass, batches of its own making.
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
        self._dataset = loader.dataset
        self._collate = loader.collate_fn

    def __len__(self) -> int:
        return len(self._rows)

    def batch(self, indices: Sequence[int]) -> Any:
        """What the loader's collate function makes of these examples."""
        return self._collate([self._dataset[self._rows[i]] for i in indices])


def _rows(loader: DataLoader[Any], split: str, size: int) -> Sequence[Any]:
    """The rows that one pass of *loader* reads, each as often as the pass reads it."""
    sampler = _sampler(loader, split)
    _refuse_random_choice(sampler, split, size)
    drops_last = _drops_last(loader)

    # not isinstance: a subclass may name other rows
    if not drops_last and type(sampler) in (SequentialSampler, RandomSampler):
        return range(size)

    # with drop_last the rows are those of full batches, which only the sampler of batches knows
    source = loader.batch_sampler if drops_last else sampler
    with _random_streams_restored(sampler):
        first = _one_pass(source, drops_last, split, size)
        second = _one_pass(source, drops_last, split, size)

    if Counter(first) != Counter(second):
        remark = ""
        advice = "choose the rows first, with a Subset"
        if drops_last:
            remark = " (drop_last leaves out those that fill no batch)"
            advice = "set drop_last=False"
        raise DataError(
            f"the loader of {split} reads other rows in each pass{remark}; expected one that reads the same rows, in "
            f"any order: {advice}"
        )

    # in order, so that what is drawn depends on the seed alone and not on how the sampler shuffles
    if all(isinstance(row, int) for row in first):
        return sorted(first)
    return first


def _sampler(loader: DataLoader[Any], split: str) -> Sampler[Any]:
    """The sampler of the rows of *loader*. Raises DataError where batches are not made of single rows."""
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


def _refuse_random_choice(sampler: Any, split: str, size: int) -> None:
    """Raise DataError at a sampler whose rows are drawn: by weights, repeatedly, or some of them anew in each pass."""
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


def _one_pass(names: Any, batched: bool, split: str, size: int) -> list[Any]:
    """The rows of one pass through a sampler.

    Args:
        names: the sampler, of rows or, if *batched*, of batches.
        split: what errors call the loader.
        size: of the data set, in rows.

    Raises:
        DataError: the pass does not end, or names a row that is not there.
    """
    rows_named = chain.from_iterable(names) if batched else names
    # one row more than allowed, which tells a sampler without an end from a long one
    most = MOST_PASSES * size
    rows = list(islice(rows_named, most + 1))
    if len(rows) > most:
        raise DataError(
            f"the sampler of {split} names more than {most} rows of {size}; expected an end of each pass"
        )

    # rows need not be numbers: a dataset may be indexed by names
    for row in rows:
        if isinstance(row, int) and not -size <= row < size:
            raise DataError(
                f"the sampler of {split} names row {row}, and its dataset has {size}"
            )
    return rows


@contextmanager
def _random_streams_restored(sampler: Any) -> Iterator[None]:
    """Iterate a *sampler* in the block, and set torch's random stream and its own back to where they were."""
    own = getattr(sampler, "generator", None)
    streams = [own] if isinstance(own, torch.Generator) else []
    states = [stream.get_state() for stream in streams]
    with torch.random.fork_rng(devices=[]):
        yield
    for stream, state in zip(streams, states, strict=True):
        stream.set_state(state)
