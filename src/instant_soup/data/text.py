"""Text: the nine GLUE tasks and any labelled text, tokenised once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from datasets import ClassLabel, Dataset
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from ..core.errors import DataError, nearest
from ..core.table import Table
from .labels import MOST, are_hidden, classes_of, numbered, of_benchmark, scored
from .source import Data, Splits, Tables, cut, halved, origin, read, splits

GLUE = "nyu-mll/glue"
_ENOUGH = 8  # different texts that cannot all be the same tokens by chance


@dataclass(frozen=True)
class TextSpec:
    """What a labelled text data set looks like.

    Attributes:
        columns: the one column of sentences, or the two of pairs.
        labels: names of the classes in the order of their numbers; empty for a score to regress.
        metrics: figures to report; selection goes by the first.
        hub: repository and configuration on the hub.
        label: the column of labels: class numbers, or scores.
        sizes: rows of the whole data set to train on and to test on, where they are known.
    """

    columns: tuple[str, ...]
    labels: tuple[str, ...]
    metrics: tuple[str, ...]
    hub: tuple[str, str | None] | None = None
    label: str = "label"
    sizes: tuple[int, int] | None = None

    @property
    def regression(self) -> bool:
        """Whether the label is a score."""
        return not self.labels


def _glue(
    name: str,
    sizes: tuple[int, int],
    columns: tuple[str, ...],
    labels: tuple[str, ...],
    *metrics: str,
) -> TextSpec:
    return TextSpec(columns, labels, metrics or ("accuracy",), (GLUE, name), sizes=sizes)


_ONE, _PAIR = ("sentence",), ("sentence1", "sentence2")
_FOLLOWS = ("entailment", "not_entailment")
_TWO_FIGURES = ("accuracy", "f1")

GLUE_TASKS: Mapping[str, TextSpec] = Table(
    "task",
    {
        "glue/cola": _glue(
            "cola",
            (8551, 1043),
            _ONE,
            ("unacceptable", "acceptable"),
            "matthews",
            "accuracy",
        ),
        "glue/sst2": _glue("sst2", (67349, 872), _ONE, ("negative", "positive")),
        "glue/mrpc": _glue(
            "mrpc", (3668, 408), _PAIR, ("not_equivalent", "equivalent"), *_TWO_FIGURES
        ),
        "glue/qqp": _glue(
            "qqp",
            (363846, 40430),
            ("question1", "question2"),
            ("not_duplicate", "duplicate"),
            *_TWO_FIGURES,
        ),
        "glue/stsb": _glue("stsb", (5749, 1500), _PAIR, (), "pearson", "spearman"),
        "glue/mnli": _glue(
            "mnli",
            (392702, 9815),
            ("premise", "hypothesis"),
            ("entailment", "neutral", "contradiction"),
        ),
        "glue/qnli": _glue("qnli", (104743, 5463), ("question", "sentence"), _FOLLOWS),
        "glue/rte": _glue("rte", (2490, 277), _PAIR, _FOLLOWS),
        "glue/wnli": _glue("wnli", (635, 71), _PAIR, ("not_entailment", "entailment")),
    },
)


class TextExamples:
    """Sentences or pairs as token ids, padded only when a batch is put together.

    Attributes:
        targets: the label of each example: int64, or float32 for scores, [n].
        lengths: how many tokens each example has; None where all are padded to one length.
    """

    def __init__(
        self,
        rows: Dataset,
        spec: TextSpec,
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
        *,
        one_length: bool = False,
    ) -> None:
        """Tokenise *rows*.

        Args:
            tokenizer: with the pad token and the side of padding that the model wants.
            one_length: pad every text to *max_length*, for models whose answer depends on how much is padded.

        Raises:
            DataError: a column is missing, a label does not fit, or *tokenizer* has no pad token.
        """
        if tokenizer.pad_token_id is None:
            raise DataError(
                "the tokenizer has no pad token to fill batches with; set pad_token, such as to eos_token"
            )

        self.targets = _labels(rows, spec)
        texts = [_column(rows, name) for name in spec.columns]
        for name, column in zip(spec.columns, texts, strict=True):
            wrong = next((value for value in column if not isinstance(value, str)), "")
            if wrong != "":
                raise DataError(
                    f"column {name!r} holds {wrong!r}; expected text in every row"
                )

        encoded = tokenizer(*texts, truncation=True, max_length=max_length)
        self._encoded: dict[str, list[list[int]]] = {
            key: encoded[key] for key in ("input_ids", "token_type_ids") if key in encoded
        }
        _refuse_sameness(texts, self._encoded["input_ids"], tokenizer)
        self._pad = {
            "input_ids": tokenizer.pad_token_id,
            "token_type_ids": tokenizer.pad_token_type_id,
        }
        self._pads_left = tokenizer.padding_side == "left"
        self._sizes = [len(ids) for ids in self._encoded["input_ids"]]
        self._one_length = max_length if one_length else None
        self.lengths: Sequence[int] | None = None if one_length else self._sizes

    def __len__(self) -> int:
        return len(self._sizes)

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """Put examples together, padded to the longest of them; a text without a token is one pad token.

        ``input_ids``, ``attention_mask`` and, where the model wants them, ``token_type_ids``:
        int64 [n, longest]; ``labels``: int64, or float32 for scores, [n].
        """
        longest = self._one_length or max(1, *(self._sizes[i] for i in indices))
        batch = {
            key: torch.tensor(
                [self._padded(ids[i], self._pad[key], longest) for i in indices]
            )
            for key, ids in self._encoded.items()
        }

        lengths = torch.tensor([max(1, self._sizes[i]) for i in indices])[:, None]
        places = torch.arange(longest)
        attended = places >= longest - lengths if self._pads_left else places < lengths
        batch["attention_mask"] = attended.long()
        batch["labels"] = self.targets[list(indices)]
        return batch

    def _padded(self, ids: list[int], pad: int, length: int) -> list[int]:
        filling = [pad] * (length - len(ids))
        return [*filling, *ids] if self._pads_left else [*ids, *filling]


def _refuse_sameness(
    texts: list[list[Any]], encoded: list[list[int]], tokenizer: PreTrainedTokenizerBase
) -> None:
    """Raise DataError where *tokenizer* makes the same of all *texts*, whose words it does not know."""
    different = set(zip(*texts, strict=True))
    if len(different) >= _ENOUGH and len({tuple(ids) for ids in encoded}) == 1:
        tokens = " ".join(tokenizer.convert_ids_to_tokens(encoded[0])) or "nothing"
        raise DataError(
            f"the tokenizer makes the same of every text, {tokens}; expected the tokenizer that belongs to the model, "
            f"with its vocabulary, and texts in a script that it knows"
        )


def own_text(
    data: Data | None,
    columns: tuple[str, ...],
    label: str,
    metrics: tuple[str, ...],
    *,
    validation: float,
    limit: int | None,
) -> tuple[Splits, TextSpec]:
    """Labelled text that no table lists, and what it looks like.

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
    tables = read(data, None, wanted=(*columns, label), all_three=True)
    parts = {"train": tables.train, "validation": tables.validation, "test": tables.test}
    if (
        tables.test is not None
        and tables.validation is not None
        and are_hidden(tables.test, label)
    ):
        parts = {"train": tables.train, "test": tables.validation}
    present = {name: rows for name, rows in parts.items() if rows is not None}
    for rows in present.values():
        _column(rows, label)

    classes = classes_of(tables.train, label, scores=True)
    if classes is None:
        present = {name: scored(rows, label) for name, rows in present.items()}
    else:
        present = {name: numbered(rows, label, classes) for name, rows in present.items()}

    whole = Tables(**present)
    where = origin(data, None)
    if whole.test is None:
        whole = halved(whole.train, label, where)
    rows = cut(whole, validation=validation, limit=limit, origin=where)
    return rows, infer_spec(rows.train, columns, label, metrics)


def benchmark(
    data: Data | None, spec: TextSpec, *, validation: float, limit: int | None
) -> Splits:
    """The splits of a benchmark, from *data* or from the hub if it is None. Raises DataError."""
    rows = splits(data, spec.hub, validation=validation, limit=limit)
    parts = (
        of_benchmark(part, spec.label, spec.labels)
        for part in (rows.train, rows.validation, rows.test)
    )
    return Splits(*parts)


def infer_spec(
    rows: Dataset, columns: tuple[str, ...], label: str, metrics: tuple[str, ...]
) -> TextSpec:
    """The spec of labelled text that no table lists: classes from the labels, a score if they are floats."""
    if not (values := _column(rows, label)):
        raise DataError(
            f"column {label!r} holds no label to tell classes from scores; give at least one row"
        )
    feature = rows.features[label]

    if isinstance(feature, ClassLabel):
        labels = tuple(feature.names)
    elif all(isinstance(value, float) for value in values):
        labels = ()
    elif all(isinstance(value, int) for value in values):
        if max(values) >= MOST:
            raise DataError(
                f"column {label!r} holds {max(values):,}; expected at most {MOST:,} classes, from 0 on"
            )
        labels = tuple(str(number) for number in range(max(values) + 1))
    else:
        kind = int if isinstance(values[0], int) else float
        bad = next(value for value in values if not isinstance(value, kind))
        raise DataError(
            f"column {label!r} holds {bad!r}; expected class numbers 0, 1, .. or scores as floats"
        )

    if not isinstance(values[0], float) and len(labels) < 2:
        raise DataError(
            f"column {label!r} names {len(labels)} classes; expected at least 2. Are its labels hidden?"
        )
    return TextSpec(
        columns,
        labels,
        metrics or (("accuracy",) if labels else ("pearson", "spearman")),
        label=label,
    )


def _column(rows: Dataset, name: str) -> list[Any]:
    if name not in rows.column_names:
        raise DataError(
            f"no column {name!r} in the data; {nearest(name, rows.column_names)}"
        )
    return list(rows[name])


def _labels(rows: Dataset, spec: TextSpec) -> Tensor:
    values = _column(rows, spec.label)
    try:
        labels = torch.tensor(
            values, dtype=torch.float32 if spec.regression else torch.int64
        )
        exact = torch.tensor(values, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError) as reason:
        raise DataError(
            f"column {spec.label!r} holds labels that are no numbers ({reason}); expected {_range(spec)}"
        ) from reason

    if labels.ndim != 1:
        raise DataError(
            f"column {spec.label!r} holds {values[0]!r}; expected one label a row, {_range(spec)}"
        )
    wrong = (
        ~labels.isfinite()
        if spec.regression
        else (exact != labels) | (labels < 0) | (labels >= len(spec.labels))
    )

    if bool(wrong.any()):
        row = int(wrong.nonzero()[0])
        raise DataError(
            f"label {values[row]!r} in row {row} is out of range; expected {_range(spec)}"
        )

    return labels


def _range(spec: TextSpec) -> str:
    if spec.regression:
        return "a finite score"
    return f"0 to {len(spec.labels) - 1} ({', '.join(spec.labels)})"
