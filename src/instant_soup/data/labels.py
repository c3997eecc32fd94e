"""Labels: a column of numbers or words -> the classes that it names, or scores.

The classes are read from all rows before any are drawn, so that they do not depend on a limit or a split.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from datasets import ClassLabel, Dataset, Value

from ..core.errors import DataError

MOST = 50_000
"""Classes at the most; a column of more names rows, not classes."""
FEW = 100  # rows from which on a label of its own for each of them is an id
_WHOLE = re.compile(r"-?(0|[1-9]\d*)")
_CODE = re.compile(r"-?0\d+")  # 007 is a name


def typed(values: Sequence[Any], *, scores: bool) -> list[Any]:
    """*values* as numbers, where all of them are numbers written out: whole ones, or any if they may be *scores*."""
    if not values or not all(isinstance(value, str) for value in values):
        return list(values)
    if all(_WHOLE.fullmatch(value) and len(value) < 19 for value in values):
        return [int(value) for value in values]
    if scores and not any(_CODE.match(value) for value in values):
        try:
            return [float(value) for value in values]
        except ValueError:
            pass
    return list(values)


def classes_of(rows: Dataset, label: str, *, scores: bool) -> ClassLabel | None:
    """The classes of the column *label*: named by the data, its words in order, or its numbers.

    Numbers count from 0, or from 1 without a gap.

    Args:
        scores: whether floats are scores, for which None is returned; otherwise they are an error.

    Raises:
        DataError: there is a label that is neither, one class only, or more than `MOST`.
    """
    feature = rows.features[label]
    if isinstance(feature, ClassLabel):
        return _checked(list(feature.names), label, len(rows))

    values = typed(rows[label][:], scores=scores)
    odd = next(
        (
            value
            for value in values
            if not isinstance(value, str | int | float) or value == ""
        ),
        None,
    )
    if odd is not None or None in values:
        raise _odd(label, odd, scores=scores)

    different = set(values)
    if all(isinstance(value, float) for value in values):
        if not scores:
            raise _odd(label, values[0], scores=scores)
        return None
    if all(isinstance(value, str) for value in values):
        return _checked(sorted(different), label, len(rows))
    if all(isinstance(value, int) for value in values):
        return _checked(_numbers(different, label, gaps=scores), label, len(rows))
    kinds = next(value for value in values if type(value) is not type(values[0]))
    raise _odd(label, kinds, scores=scores)


def _numbers(different: set[int], label: str, *, gaps: bool) -> list[str]:
    """The names of classes that are whole numbers."""
    last = max(different, default=-1)
    if last >= MOST:
        raise _too_many(label, f"numbers up to {last:,}")
    if different == set(range(1, last + 1)):
        return [str(number) for number in range(1, last + 1)]

    missing = min(set(range(last + 1)) - different, default=None)
    if missing is not None and not gaps:
        raise DataError(
            f"class {missing} of column {label!r} has no example; number the classes from 0 on"
        )
    return [str(number) for number in range(last + 1)]


def _checked(names: list[str], label: str, rows: int) -> ClassLabel:
    if len(names) < 2:
        raise DataError(
            f"column {label!r} names {len(names)} classes; expected at least 2. Are its labels hidden?"
        )
    if len(names) > MOST or (len(names) == rows and rows >= FEW):
        raise _too_many(label, f"{len(names):,} different values in {rows:,} rows")
    return ClassLabel(names=names)


def _too_many(label: str, found: str) -> DataError:
    return DataError(
        f"column {label!r} holds {found}; expected at most {MOST:,} classes, with examples of each: is it a column of "
        f"ids? Name the column of labels"
    )


def _odd(label: str, value: Any, *, scores: bool) -> DataError:
    expected = "class numbers 0, 1, .., names of classes, or scores as floats"
    if not scores:
        expected = "the number or the name of a class in every row"
    return DataError(f"column {label!r} holds {value!r}; expected {expected}")


def numbers_of(rows: Dataset, label: str, classes: ClassLabel) -> list[int]:
    """The number of each row's class. Raises DataError at a label that is none of *classes*."""
    names = classes.names
    number: dict[Any, int] = {name: i for i, name in enumerate(names)}
    from_one = names == [str(i) for i in range(1, len(names) + 1)] and not isinstance(
        rows.features[label], ClassLabel
    )
    number |= {i + from_one: i for i in range(len(names))}

    labels = rows[label][:]
    wrong = next(
        (i for i, value in enumerate(labels) if value is None or value not in number),
        None,
    )
    if wrong is not None:
        raise DataError(
            f"label {labels[wrong]!r} in row {wrong} is none of the {len(names)} classes of the training rows, "
            f"{', '.join(names[:10])}{', ...' if len(names) > 10 else ''}; correct it or leave it out"
        )
    return [number[value] for value in labels]


def numbered(rows: Dataset, label: str, classes: ClassLabel) -> Dataset:
    """*rows* with the numbers of *classes* in the column *label*. Raises DataError at a label that is none of them."""
    numbers = numbers_of(rows, label, classes)
    return _replaced(rows, label, numbers, classes)


def scored(rows: Dataset, label: str) -> Dataset:
    """*rows* with scores in the column *label*, where these were written out."""
    if rows.features[label].dtype != "string":
        return rows
    values = [float(value) for value in rows[label][:]]
    return _replaced(rows, label, values, Value("float64"))


def are_hidden(rows: Dataset, label: str) -> bool:
    """Whether no row says its label, as in the test sets of benchmarks."""
    if label not in rows.column_names:
        return True
    return all(value in (None, -1, "", "-1") for value in rows[label][:])


def of_benchmark(rows: Dataset, label: str, names: Sequence[str]) -> Dataset:
    """*rows* whose labels are numbers, where they are words, as in the original files of GLUE.

    Args:
        names: of the classes in the order of their numbers; none for scores.
    """
    if label not in rows.column_names or rows.features[label] != Value("string"):
        return rows
    values = typed(rows[label][:], scores=not names)
    if names and all(value in names for value in values):
        values = [list(names).index(value) for value in values]
    if any(isinstance(value, str) for value in values):
        return rows
    return _replaced(rows, label, values, None)


def _replaced(rows: Dataset, label: str, values: list[Any], feature: Any) -> Dataset:
    """*rows* with *values* in the column *label*, which may be the only one: without columns there are no rows."""
    beside = rows.add_column(f"{label} anew", values, feature=feature)
    return beside.remove_columns(label).rename_column(f"{label} anew", label)
