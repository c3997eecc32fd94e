"""Text splits: reads a benchmark of text, or labelled text that no table lists, and cuts it."""

from __future__ import annotations

import warnings

from datasets import ClassLabel, Dataset

from ..core.errors import DataError
from .columns import check_column
from .labels import (
    MOST_CLASSES,
    are_whole,
    classes_of,
    with_class_numbers,
    with_numeric_labels,
    with_scores,
)
from .source import Data, Splits, Tables, origin, read, split_name
from .splitting import cut, labelled_splits, splits
from .text import TextSpec, column_of


def own_text(
    data: Data | None,
    columns: tuple[str, ...],
    label: str,
    metrics: tuple[str, ...],
    *,
    validation: float,
    limit: int | None,
) -> tuple[Splits, TextSpec]:
    """Read labelled text that no table lists, and infer its spec.

    Classes are read from all training rows. Where *data* brings a validation set beside a test set whose labels are
    not hidden, selection looks at that one; data without splits keeps a fifth of each class to test on.

    Args:
        columns: of texts: one, or the two of pairs.
        label: the column of classes, as numbers or words, or of scores.
        metrics: what to report; those that fit the labels if empty.
        validation, limit: as of `splits`.

    Raises:
        DataError: there is nothing to read, a column is missing, or labels are neither classes nor scores.
    """
    source = origin(data, None)
    tables = read(data, None, wanted=(*columns, label), all_three=True)
    splits = labelled_splits(tables, label)
    for rows in splits.values():
        check_column(rows, label)
        _warn_of_empty_texts(rows, columns, source)

    # of train alone: a class that only the other splits have could not be learned
    classes = classes_of(tables.train, label, scores=True, origin=source)
    for role, rows in splits.items():
        if classes is None:
            splits[role] = with_scores(rows, label)
        else:
            named = split_name(role, source, among=len(splits))
            splits[role] = with_class_numbers(rows, label, classes, named)

    if classes is None and not metrics and are_whole(splits["train"], label):
        warnings.warn(
            f"column {label!r} of {source} holds floats, so they are scores to predict; if they number classes, write "
            f"them as whole numbers or as words",
            stacklevel=2,
        )

    tables = Tables(**splits, test_is_cut=tables.test_is_cut)
    cut_splits = cut(
        tables, label=label, validation=validation, limit=limit, origin=source
    )
    return cut_splits, infer_spec(cut_splits.train, columns, label, metrics)


def _warn_of_empty_texts(rows: Dataset, columns: tuple[str, ...], source: str) -> None:
    """Warn where texts are empty: files of comma-separated values know no missing value."""
    for column in columns:
        if column not in rows.column_names:
            continue
        texts = rows[column][:]
        empty = [
            row
            for row, text in enumerate(texts)
            if text is not None and not str(text).strip()
        ]
        if empty:
            warnings.warn(
                f"column {column!r} of {source} is empty in {len(empty):,} of {len(texts):,} rows, first in row "
                f"{empty[0]}, counted from 0; they are learned from all the same: leave them out",
                stacklevel=3,
            )


def benchmark(
    data: Data | None, spec: TextSpec, *, validation: float, limit: int | None
) -> Splits:
    """The splits of a benchmark, from *data*, or from the hub if *data* is None. Raises DataError."""
    rows = splits(data, spec.hub, validation=validation, limit=limit)
    return Splits(
        with_numeric_labels(rows.train, spec.label, spec.labels),
        with_numeric_labels(rows.validation, spec.label, spec.labels),
        with_numeric_labels(rows.test, spec.label, spec.labels),
    )


def infer_spec(
    rows: Dataset, columns: tuple[str, ...], label: str, metrics: tuple[str, ...]
) -> TextSpec:
    """The spec of labelled text that no table lists: floats are scores, other labels are classes.

    Raises:
        DataError: there is no label, or labels are neither classes nor scores.
    """
    values = column_of(rows, label)
    if not values:
        raise DataError(
            f"column {label!r} holds no label to tell classes from scores; give at least one row"
        )
    feature = rows.features[label]

    if isinstance(feature, ClassLabel):
        labels = tuple(feature.names)
    elif all(isinstance(value, float) for value in values):
        labels = ()
    elif all(isinstance(value, int) for value in values):
        if max(values) >= MOST_CLASSES:
            raise DataError(
                f"column {label!r} holds {max(values):,}; expected at most {MOST_CLASSES:,} classes, from 0 on"
            )
        labels = tuple(str(number) for number in range(max(values) + 1))
    else:
        # the first one that differs in kind from the first row
        kind = int if isinstance(values[0], int) else float
        odd = next(value for value in values if not isinstance(value, kind))
        raise DataError(
            f"column {label!r} holds {odd!r}; expected class numbers 0, 1, .. or scores as floats"
        )

    if not isinstance(values[0], float) and len(labels) < 2:
        raise DataError(
            f"column {label!r} names {len(labels)} classes; expected at least 2. Are its labels hidden?"
        )

    if not metrics:
        metrics = ("accuracy",) if labels else ("pearson", "spearman")
    return TextSpec(columns, labels, metrics, label=label)
