"""Source: a hub id, a local folder of parquet files or a packaged set -> splits.

Of GLUE the benchmark's own validation set is the test split, because GLUE keeps the labels of its
test sets. What selection may look at is cut out of train.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from datasets import Dataset, load_dataset

from ..core.errors import DataError

TRAIN = ("train",)
TEST = ("validation", "validation_matched", "test")


@dataclass(frozen=True)
class Splits:
    """Rows to train on, to choose by, and to report on."""

    train: Dataset
    validation: Dataset
    test: Dataset


def splits(
    folder: str | Path | None,
    hub: tuple[str, str | None] | None,
    *,
    validation: float,
    limit: int | None,
    seed: int = 0,
) -> Splits:
    """Read *folder*, or *hub* (repository, configuration) if there is no folder.

    Args:
        validation: share of the training rows that is cut out for selection.
        limit: how many training rows to use, drawn at random; all if None.
        seed: of these draws; the same for all runs that are to be compared.

    Raises:
        DataError: there is nothing to read, or a split is empty.
    """
    return cut(*read(folder, hub), validation=validation, limit=limit, seed=seed, origin=folder or hub)


def read(
    folder: str | Path | None, hub: tuple[str, str | None] | None, tests: tuple[str, ...] = TEST
) -> tuple[Dataset, Dataset]:
    """The rows to train on and to test on, whole, of *folder*, or of *hub* if there is no folder.

    Args:
        tests: what the test split may be called; the first that is there is taken.

    Raises DataError when there is nothing to read.
    """
    return _local(Path(folder), tests) if folder else _hub(hub, tests)


def cut(
    train: Dataset, test: Dataset, *, validation: float, limit: int | None, seed: int = 0, origin: object
) -> Splits:
    """Cut the validation split out of *train*; as `splits`. *origin* is named where a split is empty."""
    if limit is not None and limit < 2:
        raise DataError(f"limit is {limit}; expected at least 2 examples, one to train and one to choose by")

    if not 0 < validation < 1:
        raise DataError(
            f"validation is {validation}; expected a share of the training rows between 0 and 1, such as 0.1"
        )

    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed)).tolist()[:limit]
    chosen = max(1, round(validation * len(order)))
    if 1 < len(order) <= chosen:
        raise DataError(f"validation is {validation}, which leaves none of {len(order)} rows to train on; lower it")
    whole = Splits(train.select(order[chosen:]), train.select(order[:chosen]), test)

    for name, rows in (("train", whole.train), ("validation", whole.validation), ("test", whole.test)):
        if not len(rows):
            raise DataError(f"the {name} split of {origin} is empty; give it at least one row")

    return whole


def _local(folder: Path, tests: tuple[str, ...]) -> tuple[Dataset, Dataset]:
    if not folder.is_dir():
        raise DataError(f"no folder at {folder}; data must be a folder with train.parquet and {tests[0]}.parquet")
    return _read(folder, TRAIN, tests), _read(folder, tests, tests)


def _read(folder: Path, names: tuple[str, ...], tests: tuple[str, ...]) -> Dataset:
    for name in names:
        if (path := folder / f"{name}.parquet").is_file():
            try:
                return Dataset(pq.read_table(path))
            except (pa.ArrowException, OSError) as reason:
                raise DataError(f"{path} is not a readable parquet file ({reason}); write it again") from reason
    found = ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"
    raise DataError(
        f"{folder} holds no {names[0]}.parquet; found {found}. Expected train.parquet and {tests[0]}.parquet"
    )


def _hub(hub: tuple[str, str | None] | None, tests: tuple[str, ...]) -> tuple[Dataset, Dataset]:
    if hub is None:
        raise DataError(
            f"this task has no home on the hub; set data to a folder with train.parquet and {tests[0]}.parquet"
        )

    try:
        found = load_dataset(*hub)
    except Exception as reason:  # whatever the hub's client raises: offline, not found, gated
        raise DataError(
            f"could not load {'/'.join(filter(None, hub))} from the hub ({reason}); "
            f"set data to a folder with train.parquet and {tests[0]}.parquet"
        ) from reason

    named = [next((found[name] for name in names if name in found), None) for names in (TRAIN, tests)]
    if None in named:
        raise DataError(
            f"{hub[0]} has the splits {', '.join(found)}; expected {TRAIN[0]} and one of {', '.join(tests)}"
        )

    return named[0], named[1]
