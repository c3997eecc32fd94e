"""Labels: reads a column of numbers or words as the classes that it names, or as scores.

The classes are read from all rows before any are drawn, so that they do not depend on a limit or a split.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from typing import Any

from datasets import ClassLabel, Dataset, Value

from ..core.errors import DataError

MOST_CLASSES = 50_000
"""A column of more names names rows, not classes."""
ID_ROWS = 100  # rows from which on a label that differs in each of them is an id
_INTEGER = re.compile(r"-?(0|[1-9]\d*)")
_LEADING_ZERO = re.compile(r"-?0\d+")  # 007 is a name
_INT64_DIGITS = 19  # integers with so many digits need not fit into int64


def parse_numbers(values: Sequence[Any], *, scores: bool) -> list[Any]:
    """*values* as numbers, where all of them are numbers written out; otherwise as they are.

    Args:
        scores: whether fractions are numbers, too, and not only integers.
    """
    unchanged = list(values)
    if not values or not all(isinstance(value, str) for value in values):
        return unchanged

    if all(_INTEGER.fullmatch(value) and len(value) < _INT64_DIGITS for value in values):
        return [int(value) for value in values]

    if scores and not any(_LEADING_ZERO.match(value) for value in values):
        try:
            return [float(value) for value in values]
        except ValueError:
            return unchanged
    return unchanged


def classes_of(
    rows: Dataset, label: str, *, scores: bool, origin: str
) -> ClassLabel | None:
    """The classes of the column *label*: those that the data names, its words in order, or its numbers in order.

    Args:
        scores: whether floats are scores, for which None is returned. Otherwise they are an error, and numbers have to
            count from 0 or from 1 without a gap.
        origin: what errors call the source of *rows*.

    Raises:
        DataError: a label is missing or neither, there is one class only, or there are more than `MOST_CLASSES`.
    """
    feature = rows.features[label]
    if isinstance(feature, ClassLabel):
        return _class_label(list(feature.names), label, len(rows))

    _refuse_missing(rows[label][:], label, origin, scores=scores)
    values = parse_numbers(rows[label][:], scores=scores)
    for value in values:
        if not isinstance(value, str | int | float):
            raise _not_a_label(label, value, scores=scores)

    distinct = set(values)
    if all(isinstance(value, float) for value in values):
        if not scores:
            raise _not_a_label(label, values[0], scores=scores)
        return None
    if all(isinstance(value, str) for value in values):
        return _class_label(sorted(distinct), label, len(rows))
    if all(isinstance(value, int) for value in values):
        if scores:
            _warn_of_hidden(distinct, label, origin)
        names = _names_of_numbers(distinct, label, gaps=scores)
        return _class_label(names, label, len(rows))

    # kinds are mixed: name the first that differs from the first row
    odd = next(value for value in values if type(value) is not type(values[0]))
    raise _not_a_label(label, odd, scores=scores)


def _names_of_numbers(numbers: set[int], label: str, *, gaps: bool) -> list[str]:
    """The names of classes that are integers: the *numbers* that are there, from the least on.

    Args:
        gaps: whether they may be any; otherwise they count from 0 or from 1, and none may be left out.
    """
    # an id is recognised by its size, before every one of them becomes a class
    last = max(numbers, default=-1)
    first = min(numbers, default=0)
    if last >= MOST_CLASSES:
        raise _too_many_classes(label, f"numbers up to {last:,}")
    if first <= -MOST_CLASSES:
        raise _too_many_classes(label, f"numbers down to {first:,}")

    if gaps:
        # bool is a kind of int, and no name
        return [str(int(number)) for number in sorted(numbers)]
    if first < 0 and 0 not in numbers:
        raise DataError(
            f"column {label!r} holds class {first}; number the classes from 0 on, or name them in words"
        )

    # a number below 0 is refused later, with its row
    start = 0 if 0 in numbers else 1
    missing = min(set(range(start, last + 1)) - numbers, default=None)
    if missing is not None:
        raise DataError(
            f"class {missing} of column {label!r} has no example; number the classes from 0 on"
        )
    return [str(number) for number in range(start, last + 1)]


def _warn_of_hidden(numbers: set[int], label: str, origin: str) -> None:
    """Warn where -1 stands beside classes that count from 0, as where a benchmark hides a label."""
    others = numbers - {-1}
    if -1 in numbers and len(others) > 1 and others == set(range(len(others))):
        warnings.warn(
            f"column {label!r} of {origin} holds -1 beside 0 to {len(others) - 1}, and it is taken for a class like "
            f"the others; if it marks rows whose label is not known, leave them out",
            stacklevel=4,
        )


def _class_label(names: list[str], label: str, rows: int) -> ClassLabel:
    """The classes called *names*. Raises DataError where they are too few, or so many that they are ids."""
    if len(names) < 2:
        raise DataError(
            f"column {label!r} names {len(names)} classes; expected at least 2. Are its labels hidden?"
        )

    are_ids = len(names) == rows and rows >= ID_ROWS
    if len(names) > MOST_CLASSES or are_ids:
        raise _too_many_classes(
            label, f"{len(names):,} different values in {rows:,} rows"
        )
    return ClassLabel(names=names)


def _too_many_classes(label: str, content: str) -> DataError:
    return DataError(
        f"column {label!r} holds {content}; expected at most {MOST_CLASSES:,} classes, with examples of each: is it a "
        f"column of ids? Name the column of labels"
    )


def _refuse_missing(
    values: Sequence[Any], label: str, origin: str, *, scores: bool
) -> None:
    """Raise DataError, with the first row of them, where *values* of the column *label* are missing."""
    missing = [row for row, value in enumerate(values) if value is None or value == ""]
    if not missing:
        return

    more = f" and {len(missing) - 1:,} more" if len(missing) > 1 else ""
    error = _not_a_label(label, values[missing[0]], scores=scores)
    raise DataError(
        f"{error}: fill in row {missing[0]}{more} of {origin}, counted from 0, or leave them out"
    )


def _not_a_label(label: str, value: Any, *, scores: bool) -> DataError:
    expected = "class numbers 0, 1, .., names of classes, or scores as floats"
    if not scores:
        expected = "the number or the name of a class in every row"
    return DataError(f"column {label!r} holds {value!r}; expected {expected}")


def numbers_of(rows: Dataset, label: str, classes: ClassLabel, origin: str) -> list[int]:
    """The number of each row's class, from 0 on. Raises DataError at a label that is none of *classes*.

    Args:
        origin: what errors call the source of *rows*.
    """
    names = classes.names
    number_of: dict[Any, int] = {name: number for number, name in enumerate(names)}

    # Labels may be numbers, too. A ClassLabel counts from 0, whatever its names are; plain numbers are names where
    # the classes were named by numbers.
    values = None
    if not isinstance(rows.features[label], ClassLabel):
        values = values_of(names)
    numbered = range(len(names)) if values is None else values
    number_of |= {value: number for number, value in enumerate(numbered)}

    labels = rows[label][:]
    numbers = []
    for row, value in enumerate(labels):
        if value is None or value not in number_of:
            # the training rows may hold it, where it hides a label
            whose = "" if value in (-1, "-1") else " of the training rows"
            raise DataError(
                f"label {value!r} in row {row} is none of the {len(names)} classes{whose}, "
                f"{', '.join(names[:10])}{', ...' if len(names) > 10 else ''}; correct it or leave it out "
                f"(in {origin}, counted from 0)"
            )
        numbers.append(number_of[value])
    return numbers


def values_of(names: Sequence[str]) -> list[int] | None:
    """The numbers that classes were named by, from the least on; None where their *names* are others."""
    if not all(_INTEGER.fullmatch(name) for name in names):
        return None
    values = [int(name) for name in names]
    return values if values == sorted(set(values)) else None


def with_class_numbers(
    rows: Dataset, label: str, classes: ClassLabel, origin: str
) -> Dataset:
    """*rows* with the numbers of *classes* in the column *label*; as `numbers_of` otherwise."""
    return _with_labels(rows, label, numbers_of(rows, label, classes, origin), classes)


def with_scores(rows: Dataset, label: str) -> Dataset:
    """*rows* with scores in the column *label*, as float64 where they were written out."""
    if rows.features[label].dtype != "string":
        return rows
    scores = [float(value) for value in rows[label][:]]
    return _with_labels(rows, label, scores, Value("float64"))


def are_whole(rows: Dataset, label: str) -> bool:
    """Whether all scores in the column *label* are whole numbers, as those of classes are."""
    return all(float(value).is_integer() for value in rows[label][:])


def are_hidden(rows: Dataset, label: str) -> bool:
    """Whether no row states its label, as in the test sets of benchmarks."""
    if label not in rows.column_names:
        return True
    # the hub writes -1 where a benchmark keeps its labels to itself
    return all(value in (None, -1, "", "-1") for value in rows[label][:])


def with_numeric_labels(rows: Dataset, label: str, names: Sequence[str]) -> Dataset:
    """*rows* whose labels are numbers, where they are words, as in the original files of GLUE.

    Args:
        names: of the classes in the order of their numbers; empty for scores.
    """
    if label not in rows.column_names or rows.features[label] != Value("string"):
        return rows

    values = parse_numbers(rows[label][:], scores=not names)
    if names and all(value in names for value in values):
        values = [list(names).index(value) for value in values]

    # words that are no classes are left for the check of labels, which names the row
    if any(isinstance(value, str) for value in values):
        return rows
    return _with_labels(rows, label, values, None)


def renumbered(
    rows: Dataset, label: str, before: Sequence[str], after: Sequence[str]
) -> Dataset:
    """*rows* whose labels count the classes *after*, where they counted them in the order of *before*.

    What is no number of a class is left for the check of labels, which names the row.
    """
    values = rows[label][:]
    if not all(isinstance(value, int) for value in values):
        return rows

    number_of = {number: after.index(name) for number, name in enumerate(before)}
    numbers = [number_of.get(value, value) for value in values]
    named = isinstance(rows.features[label], ClassLabel)
    return _with_labels(
        rows, label, numbers, ClassLabel(names=list(after)) if named else None
    )


def _with_labels(rows: Dataset, label: str, values: list[Any], feature: Any) -> Dataset:
    """*rows* with *values* in the column *label*."""
    # added before the old column goes: a Dataset without columns has no rows either
    interim = f"{label} anew"
    extended = rows.add_column(interim, values, feature=feature)
    return extended.remove_columns(label).rename_column(interim, label)
