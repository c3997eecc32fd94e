"""Splitting: cuts tables into rows to train on, to choose by, and to report on.

GLUE keeps the labels of its test sets to itself, so its validation sets are the test splits here. The rows that
selection may look at are cut out of train, unless data of one's own brings all three splits.
"""

from __future__ import annotations

from typing import Any

import torch
from datasets import ClassLabel, Dataset

from ..core.errors import DataError
from .labels import are_hidden
from .source import Data, HubName, Splits, Tables, origin, read

TEST_SHARE = 0.2  # of a table without splits that is kept to test on


def splits(
    data: Data | None,
    hub: HubName | None,
    *,
    validation: float,
    limit: int | None,
    seed: int = 0,
) -> Splits:
    """Read *data*, or *hub* (repository, configuration) if there is none.

    Args:
        validation: share of the training rows that is cut out for selection.
        limit: how many training rows to use, drawn at random; all if None.
        seed: of these draws; the same for all runs that are to be compared.

    Raises:
        DataError: there is nothing to read, or a split is empty.
    """
    tables = read(data, hub)
    source = origin(data, hub)
    return cut(tables, validation=validation, limit=limit, seed=seed, origin=source)


def labelled_splits(tables: Tables, label: str) -> dict[str, Dataset]:
    """The splits of *tables* by role, without a test split that hides its labels.

    Where the test split hides them, the validation split is tested on, and selection gets rows of train.

    Args:
        label: the column of labels.
    """
    splits = {"train": tables.train}
    if tables.validation is not None:
        splits["validation"] = tables.validation
    if tables.test is not None:
        splits["test"] = tables.test

    if len(splits) == 3 and are_hidden(splits["test"], label):
        splits["test"] = splits.pop("validation")
    return splits


def split_off_test(rows: Dataset, label: str | None, origin: str) -> Tables:
    """A fifth of *rows* to test on, drawn by a fixed seed, and the rest to train on.

    Where *label* is a column of classes, a fifth of each class is drawn. A class of one row stays in training.

    Raises:
        DataError: there is but one row; *origin* is named.
    """
    if len(rows) < 2:
        raise DataError(
            f"{origin} holds {len(rows)} rows; expected two, one to train and one to test on"
        )

    # a seed of its own, not the run's: all runs on this data are judged on the same rows
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(rows), generator=generator).tolist()

    by_class = label is not None and isinstance(rows.features[label], ClassLabel)
    labels = rows[label][:] if by_class else [None] * len(rows)
    groups: dict[Any, list[int]] = {}
    for index in order:
        groups.setdefault(labels[index], []).append(index)

    test: list[int] = []
    for group in groups.values():
        if len(group) > 1:
            test += group[: max(1, round(TEST_SHARE * len(group)))]
    # where every class has a single row, there still has to be something to test on
    test = sorted(test) or order[:1]
    train = sorted(set(order) - set(test))
    return Tables(rows.select(train), test=rows.select(test), test_is_cut=True)


def cut(
    tables: Tables,
    *,
    label: str | None = None,
    validation: float,
    limit: int | None,
    seed: int = 0,
    origin: str,
) -> Splits:
    """Cut the test split out of train, unless there is one, and then the validation split, unless there is one.

    Args:
        label: the column whose classes the test split gets an even share of, if any.
        validation, limit, seed: as of `splits`.
        origin: what errors call the source of rows.

    Raises:
        DataError: an argument is out of range, or a split is empty.
    """
    if tables.test is None:
        tested = split_off_test(tables.train, label, origin)
        return cut(tested, validation=validation, limit=limit, seed=seed, origin=origin)

    if limit is not None and limit < 2:
        raise DataError(
            f"limit is {limit}; expected at least 2 examples, one to train and one to choose by"
        )
    if not 0 < validation < 1:
        raise DataError(
            f"validation is {validation}; expected a share of the training rows between 0 and 1, such as 0.1"
        )

    # the limit counts rows to choose by, too: it bounds what is read of train
    rows = tables.train
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(rows), generator=generator).tolist()
    order = order[:limit]

    if tables.validation is not None:
        held_out = 0
        selection = tables.validation
    else:
        held_out = max(1, round(validation * len(order)))
        if 1 < len(order) <= held_out:
            raise DataError(
                f"validation is {validation}, which leaves none of {len(order)} rows to train on; lower it"
            )
        selection = rows.select(order[:held_out])

    train = rows.select(order[held_out:])
    test = tables.test
    for name, split in (("train", train), ("validation", selection), ("test", test)):
        if not len(split):
            raise DataError(
                f"the {name} split of {origin} is empty; give it at least one row"
            )
    return Splits(train, selection, test, tables.test_is_cut)
