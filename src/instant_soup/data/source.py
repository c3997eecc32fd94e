"""Source: reads a hub id, a folder or file of tables, or rows in memory, as tables by split."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd
import pyarrow as pa
from datasets import Dataset, concatenate_datasets, load_dataset

from ..core.errors import DataError
from ..core.places import close_path
from .layout import (
    NAMES_OF_TESTS,
    SPLIT_NAMES,
    SUFFIXES,
    content,
    files_by_split,
    is_lesser,
    is_mismatched,
    listing,
    split_of,
)
from .tables import from_arrow, from_rows, kind_of, read_table

TRAIN = ("train",)
TEST = ("validation", "validation_matched", "test")

Data: TypeAlias = (
    str | Path | Dataset | pd.DataFrame | Mapping[str, Any] | Sequence[Mapping[str, Any]]
)
"""A folder or file of tables; or one table in memory, or a mapping of tables by split."""

HubName: TypeAlias = tuple[str, str | None]
"""A repository of the hub, and the configuration of it that is meant."""


@dataclass(frozen=True)
class Splits:
    """Rows to train on, to choose by, and to report on.

    Attributes:
        test_is_cut: whether the data brought no rows to report on, so that some of its training rows were kept for it.
    """

    train: Dataset
    validation: Dataset
    test: Dataset
    test_is_cut: bool = False

    def map(self, change: Callable[[Dataset], Dataset]) -> Splits:
        """The same splits, each of them changed alike."""
        return replace(
            self,
            train=change(self.train),
            validation=change(self.validation),
            test=change(self.test),
        )


@dataclass(frozen=True)
class Tables:
    """The tables as they were read, before anything is cut out; *train* holds all rows where *test* is None.

    Attributes:
        test_is_cut: as of `Splits`.
    """

    train: Dataset
    validation: Dataset | None = None
    test: Dataset | None = None
    test_is_cut: bool = False


def origin(data: Data | None, hub: HubName | None) -> str:
    """What errors call the source of rows."""
    if data is None:
        return _hub_name(hub or ("", None))
    if isinstance(data, str | Path):
        return str(data)
    return f"the {type(data).__name__} in memory"


def split_name(role: str, source: str, *, among: int) -> str:
    """What errors call the split *role* of *source*, which is *among* so many: a table without splits is all of it."""
    return f"the {role} split of {source}" if among > 1 else source


def _hub_name(hub: HubName) -> str:
    repository, configuration = hub
    return f"{repository}/{configuration}" if configuration else repository


def read(
    data: Data | None,
    hub: HubName | None,
    tests: tuple[str, ...] = TEST,
    *,
    wanted: Collection[str] | None = None,
    all_three: bool = False,
) -> Tables:
    """Read all rows of *data*, or of *hub* if there is none.

    Args:
        tests: what the test split may be called; the first name that the data has is used.
        wanted: the columns that are needed; all that can be read if None. Only the training split has to have all.
        all_three: whether a validation set beside a test set is the split to choose by.

    Raises:
        DataError: there is nothing to read, or it is not clear what.
    """
    if data is None:
        train, test = _from_hub(hub, tests)
        return Tables(train, test=test)

    if not isinstance(data, str | Path):
        return _from_memory(data, tests, wanted, all_three=all_three)

    path = Path(data)
    if path.is_file():
        if kind_of(path) is None:
            raise DataError(
                f"{path} is no table; expected a file of one of {SUFFIXES}, or a folder of them"
            )
        return Tables(read_table(path, wanted))
    if not path.is_dir():
        close = close_path(path)
        question = f"; did you mean {close}?" if close else ""
        raise DataError(
            f"no folder at {path}; data must be a folder with train.parquet and {tests[0]}.parquet, or a file of one "
            f"of {SUFFIXES}{question}"
        )
    return _from_folder(path, tests, wanted, all_three=all_three)


def _from_folder(
    folder: Path,
    tests: tuple[str, ...],
    wanted: Collection[str] | None,
    *,
    all_three: bool,
) -> Tables:
    files = files_by_split(folder)
    if "" in files:
        return Tables(_read_joined(files[""], wanted))

    roles = _by_role(files, tests, all_three=all_three)
    lacking = ""
    if "train" not in roles:
        lacking = "train"
    elif "test" not in roles:
        lacking = tests[0]
    if lacking:
        raise DataError(
            f"{folder} holds no {lacking}.parquet; found {content(folder)}. Expected train.parquet and "
            f"{tests[0]}.parquet, or the same in CSV, TSV or JSON lines; rows to test on may be called "
            f"{', '.join(NAMES_OF_TESTS)}. Of one file, given by its path, a fifth is kept to test on"
        )

    tables = {}
    for role, paths in roles.items():
        # a test set may lack its labels: then the validation set is tested on
        tables[role] = _read_joined(paths, wanted, require_all=role == "train")
    return Tables(**tables)


def _by_role(
    splits: Mapping[str, Any], tests: tuple[str, ...], *, all_three: bool
) -> dict[str, Any]:
    """Which of *splits*, files or tables by name, are trained on, chosen by and tested on."""
    if all_three and {"train", "validation", "test"} <= splits.keys():
        return {role: splits[role] for role in ("train", "validation", "test")}

    roles: dict[str, Any] = {}
    if "train" in splits:
        roles["train"] = splits["train"]
    for name in tests:
        if name in splits:
            roles["test"] = splits[name]
            break
    return roles


def _read_joined(
    paths: Sequence[Path], wanted: Collection[str] | None, *, require_all: bool = True
) -> Dataset:
    """Read the rows of several files as one table."""
    tables = [read_table(path, wanted, require_all=require_all) for path in paths]
    if len(tables) == 1:
        return tables[0]

    try:
        return concatenate_datasets(tables)
    except (ValueError, pa.ArrowException) as reason:
        raise DataError(
            f"{paths[0]} and the files beside it have other columns ({reason}); make them alike"
        ) from reason


# in memory


def _from_memory(
    data: Any, tests: tuple[str, ...], wanted: Collection[str] | None, *, all_three: bool
) -> Tables:
    if not isinstance(data, Mapping):
        return Tables(_convert(data, "data", wanted))

    names_by_split = _names_by_split([str(name) for name in data])
    splits = {}
    for name, table in data.items():
        split = split_of(str(name)) or str(name)
        if names_by_split.get(split) == str(name):
            splits[split] = _convert(table, str(name), wanted)

    roles = _by_role(splits, tests, all_three=all_three)
    if "train" in roles and len(roles) > 1:
        return Tables(**roles)

    names = ", ".join(repr(name) for name in data) or "nothing"
    others = ", ".join(NAMES_OF_TESTS)
    raise DataError(
        f"data is a mapping with {names}; expected 'train' and one of {others}, each a table, or a table by itself"
    )


def _names_by_split(names: Sequence[str]) -> dict[str, str]:
    """Which of *names* each split goes by; what is no split goes by its own. Raises DataError where two are one."""
    chosen: dict[str, str] = {}
    skipped = []
    counted = [name for name in names if not is_mismatched(name)]
    # lesser names last, because they give way
    for name in sorted(counted, key=is_lesser):
        split = split_of(name) or name
        if split not in chosen:
            chosen[split] = name
        elif is_lesser(name) and not is_lesser(chosen[split]):
            skipped.append(repr(name))
        else:
            raise DataError(
                f"data is a mapping with {chosen[split]!r} and {name!r}, which could both be {split}; leave one out"
            )

    skipped += [repr(name) for name in names if split_of(name) is None]
    if skipped and "train" in chosen:
        warnings.warn(
            f"of no split, and passed over in the mapping: {listing(skipped, 5)}; expected {', '.join(SPLIT_NAMES)}",
            stacklevel=5,
        )
    return chosen


def _convert(table: Any, name: str, wanted: Collection[str] | None) -> Dataset:
    """The rows of a table in memory, called *name*."""
    require_all = split_of(name) in (None, "train")
    kind = type(table).__name__
    origin = f"the {kind} in memory" if name == "data" else f"the {kind} called {name}"

    if isinstance(table, Dataset):
        # a shuffled or selected Dataset is an index over its table, which Arrow does not see
        flat = table.flatten_indices() if table._indices is not None else table
        return from_arrow(flat.data.table, origin, wanted, require_all=require_all)

    if isinstance(table, pd.DataFrame):
        # pandas fills gaps with a float, in columns of text too
        gaps_as_none = table.astype(object).where(table.notna(), None)
        records = gaps_as_none.to_dict("records")
        return from_rows(records, origin, wanted, require_all=require_all)

    is_list = isinstance(table, Sequence) and not isinstance(table, str)
    if is_list and all(isinstance(row, Mapping) for row in table):
        return from_rows(table, origin, wanted, require_all=require_all)

    raise DataError(
        f"{name} is a {type(table).__name__}; expected a path, a pandas DataFrame, a datasets.Dataset or a list of "
        f"dictionaries, one a row"
    )


# the hub


def _from_hub(hub: HubName | None, tests: tuple[str, ...]) -> tuple[Dataset, Dataset]:
    if hub is None:
        raise DataError(
            f"this task has no home on the hub; set data to a folder with train.parquet and {tests[0]}.parquet"
        )
    try:
        loaded = load_dataset(*hub)
    # the hub's client raises many kinds: offline, not found, gated
    except Exception as reason:
        raise DataError(
            f"could not load {_hub_name(hub)} from the hub ({reason}); "
            f"set data to a folder with train.parquet and {tests[0]}.parquet"
        ) from reason

    train = next((loaded[name] for name in TRAIN if name in loaded), None)
    test = next((loaded[name] for name in tests if name in loaded), None)
    if train is None or test is None:
        raise DataError(
            f"{hub[0]} has the splits {', '.join(loaded)}; expected {TRAIN[0]} and one of {', '.join(tests)}"
        )
    return train, test
