"""Source: a hub id, a folder or file of tables, or rows in memory -> splits.

Of GLUE the benchmark's own validation set is the test split, because GLUE keeps the labels of its
test sets. What selection may look at is cut out of train, unless data of one's own brings all three.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd
import pyarrow as pa
import torch
from datasets import ClassLabel, Dataset, concatenate_datasets, load_dataset

from ..core.errors import DataError
from .layout import NAMES, SUFFIXES, content, files_by_split, split_of
from .tables import from_arrow, from_rows, kind_of, read_table

TRAIN = ("train",)
TEST = ("validation", "validation_matched", "test")
SHARE = 0.2  # of a table without splits that is kept to test on

Data: TypeAlias = (
    str | Path | Dataset | pd.DataFrame | Mapping[str, Any] | Sequence[Mapping[str, Any]]
)
"""A folder or file of tables; or a table in memory, or several by split."""


@dataclass(frozen=True)
class Splits:
    """Rows to train on, to choose by, and to report on."""

    train: Dataset
    validation: Dataset
    test: Dataset


@dataclass(frozen=True)
class Tables:
    """What there is before anything is cut out; *train* is all of it where *test* is None."""

    train: Dataset
    validation: Dataset | None = None
    test: Dataset | None = None


def splits(
    data: Data | None,
    hub: tuple[str, str | None] | None,
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
    if tables.test is None:
        tables = halved(tables.train, None, origin(data, hub))
    return cut(
        tables, validation=validation, limit=limit, seed=seed, origin=origin(data, hub)
    )


def origin(data: Data | None, hub: tuple[str, str | None] | None) -> str:
    """What errors call the source of rows."""
    if data is None:
        return "/".join(filter(None, hub or ()))
    return (
        str(data)
        if isinstance(data, str | Path)
        else f"the {type(data).__name__} in memory"
    )


def read(
    data: Data | None,
    hub: tuple[str, str | None] | None,
    tests: tuple[str, ...] = TEST,
    *,
    wanted: Collection[str] | None = None,
    all_three: bool = False,
) -> Tables:
    """The tables of *data*, or of *hub* if there is none, whole.

    Args:
        tests: what the test split may be called; the first that is there is taken.
        wanted: the columns that are needed; all that can be read if None. Only the training split has to have all.
        all_three: whether a validation set beside a test set is one to choose by.

    Raises:
        DataError: there is nothing to read, or it is not clear what.
    """
    if data is None:
        train, test = _hub(hub, tests)
        return Tables(train, test=test)
    if not isinstance(data, str | Path):
        return _in_memory(data, tests, wanted, all_three=all_three)

    path = Path(data)
    if path.is_file():
        if kind_of(path) is None:
            raise DataError(
                f"{path} is no table; expected a file of one of {SUFFIXES}, or a folder of them"
            )
        return Tables(read_table(path, wanted))
    if not path.is_dir():
        raise DataError(
            f"no folder at {path}; data must be a folder with train.parquet and {tests[0]}.parquet, or a file of one "
            f"of {SUFFIXES}"
        )
    return _folder(path, tests, wanted, all_three=all_three)


def _folder(
    folder: Path,
    tests: tuple[str, ...],
    wanted: Collection[str] | None,
    *,
    all_three: bool,
) -> Tables:
    files = files_by_split(folder)
    if "" in files:
        return Tables(_table(files[""], wanted))

    roles = _roles(files, tests, all_three=all_three)
    lacking = (
        "train" if "train" not in roles else tests[0] if "test" not in roles else None
    )
    if lacking:
        raise DataError(
            f"{folder} holds no {lacking}.parquet; found {content(folder)}. Expected train.parquet and "
            f"{tests[0]}.parquet, or the same in CSV, TSV or JSON lines. Of one file, given by its path, a fifth is "
            f"kept to test on"
        )
    return Tables(
        **{
            role: _table(paths, wanted, whole=role == "train")
            for role, paths in roles.items()
        }
    )


def _roles(
    named: Mapping[str, Any], tests: tuple[str, ...], *, all_three: bool
) -> dict[str, Any]:
    """What is trained on, chosen by and tested on, of splits by name."""
    roles: dict[str, Any] = {"train": named["train"]} if "train" in named else {}
    if all_three and {"train", "validation", "test"} <= named.keys():
        return roles | {"validation": named["validation"], "test": named["test"]}
    test = next((named[name] for name in tests if name in named), None)
    return roles if test is None else roles | {"test": test}


def _table(
    paths: Sequence[Path], wanted: Collection[str] | None, *, whole: bool = True
) -> Dataset:
    """One table of the rows of several files."""
    parts = [read_table(path, wanted, whole=whole) for path in paths]
    if len(parts) == 1:
        return parts[0]
    try:
        return concatenate_datasets(parts)
    except (ValueError, pa.ArrowException) as reason:
        raise DataError(
            f"{paths[0]} and the files beside it have other columns ({reason}); make them alike"
        ) from reason


# in memory


def _in_memory(
    data: Any, tests: tuple[str, ...], wanted: Collection[str] | None, *, all_three: bool
) -> Tables:
    if isinstance(data, Mapping):
        named = {
            split_of(str(name)) or str(name): _one(table, str(name), wanted)
            for name, table in data.items()
        }
        roles = _roles(named, tests, all_three=all_three)
        if "train" in roles and len(roles) > 1:
            return Tables(**roles)
        names = ", ".join(repr(name) for name in data) or "nothing"
        others = ", ".join((*NAMES["test"], *NAMES["validation"]))
        raise DataError(
            f"data is a mapping with {names}; expected 'train' and one of {others}, each a table, or a table by itself"
        )

    return Tables(_one(data, "data", wanted))


def _one(table: Any, name: str, wanted: Collection[str] | None) -> Dataset:
    """The rows of a table in memory, called *name*."""
    whole = split_of(name) in (None, "train")
    where = (
        f"the {type(table).__name__} called {name}"
        if name != "data"
        else f"the {type(table).__name__} in memory"
    )

    if isinstance(table, Dataset):
        flat = table.flatten_indices() if table._indices is not None else table
        return from_arrow(flat.data.table, where, wanted, whole=whole)

    if isinstance(table, pd.DataFrame):
        return from_rows(table.to_dict("records"), where, wanted, whole=whole)
    if (
        isinstance(table, Sequence)
        and not isinstance(table, str)
        and all(isinstance(row, Mapping) for row in table)
    ):
        return from_rows(table, where, wanted, whole=whole)
    raise DataError(
        f"{name} is a {type(table).__name__}; expected a path, a pandas DataFrame, a datasets.Dataset or a list of "
        f"dictionaries, one a row"
    )


# cutting


def halved(rows: Dataset, label: str | None, origin: str) -> Tables:
    """A fifth of *rows* to test on, by a fixed seed; of each class a fifth, where *label* is a column of classes.

    A class of one row stays in training. Raises DataError where there is but one row.
    """
    if len(rows) < 2:
        raise DataError(
            f"{origin} holds {len(rows)} rows; expected two, one to train and one to test on"
        )
    dice = torch.Generator().manual_seed(0)
    order = torch.randperm(len(rows), generator=dice).tolist()

    groups: dict[Any, list[int]] = {}
    by_class = label is not None and isinstance(rows.features[label], ClassLabel)
    labels = rows[label][:] if by_class else [None] * len(rows)
    for index in order:
        groups.setdefault(labels[index], []).append(index)

    held = [
        group[: max(1, round(SHARE * len(group)))]
        for group in groups.values()
        if len(group) > 1
    ]
    test = sorted(index for group in held for index in group) or order[:1]
    train = sorted(set(order) - set(test))
    return Tables(rows.select(train), test=rows.select(test))


def cut(
    tables: Tables, *, validation: float, limit: int | None, seed: int = 0, origin: str
) -> Splits:
    """Cut the validation split out of train, unless there is one; as `splits`. *origin* is named in errors."""
    if limit is not None and limit < 2:
        raise DataError(
            f"limit is {limit}; expected at least 2 examples, one to train and one to choose by"
        )
    if not 0 < validation < 1:
        raise DataError(
            f"validation is {validation}; expected a share of the training rows between 0 and 1, such as 0.1"
        )

    train = tables.train
    order = torch.randperm(
        len(train), generator=torch.Generator().manual_seed(seed)
    ).tolist()[:limit]
    if tables.validation is not None:
        chosen = 0
        selection = tables.validation
    else:
        chosen = max(1, round(validation * len(order)))
        if 1 < len(order) <= chosen:
            raise DataError(
                f"validation is {validation}, which leaves none of {len(order)} rows to train on; lower it"
            )
        selection = train.select(order[:chosen])

    test = tables.test if tables.test is not None else train.select([])
    whole = Splits(train.select(order[chosen:]), selection, test)
    for name, rows in (
        ("train", whole.train),
        ("validation", whole.validation),
        ("test", whole.test),
    ):
        if not len(rows):
            raise DataError(
                f"the {name} split of {origin} is empty; give it at least one row"
            )
    return whole


# the hub


def _hub(
    hub: tuple[str, str | None] | None, tests: tuple[str, ...]
) -> tuple[Dataset, Dataset]:
    if hub is None:
        raise DataError(
            f"this task has no home on the hub; set data to a folder with train.parquet and {tests[0]}.parquet"
        )
    try:
        loaded = load_dataset(*hub)
    except (
        Exception
    ) as reason:  # whatever the hub's client raises: offline, not found, gated
        raise DataError(
            f"could not load {'/'.join(filter(None, hub))} from the hub ({reason}); "
            f"set data to a folder with train.parquet and {tests[0]}.parquet"
        ) from reason

    train = next((loaded[name] for name in TRAIN if name in loaded), None)
    test = next((loaded[name] for name in tests if name in loaded), None)
    if train is None or test is None:
        raise DataError(
            f"{hub[0]} has the splits {', '.join(loaded)}; expected {TRAIN[0]} and one of {', '.join(tests)}"
        )
    return train, test
