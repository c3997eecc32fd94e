"""Text: what labelled text looks like, the nine GLUE tasks among it, and examples that are tokenised once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from ..core.errors import DataError
from ..core.table import Table
from .columns import check_column
from .truncation import Truncation, whole_lengths

GLUE = "nyu-mll/glue"
_DISTINCT_TEXTS = 8  # so many different texts cannot all be the same tokens by chance


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


_SENTENCE = ("sentence",)
_PAIR = ("sentence1", "sentence2")
_ENTAILMENT = ("entailment", "not_entailment")
_ACCURACY_AND_F1 = ("accuracy", "f1")

GLUE_TASKS: Mapping[str, TextSpec] = Table(
    "task",
    {
        "glue/cola": _glue(
            "cola",
            (8551, 1043),
            _SENTENCE,
            ("unacceptable", "acceptable"),
            "matthews",
            "accuracy",
        ),
        "glue/sst2": _glue("sst2", (67349, 872), _SENTENCE, ("negative", "positive")),
        "glue/mrpc": _glue(
            "mrpc",
            (3668, 408),
            _PAIR,
            ("not_equivalent", "equivalent"),
            *_ACCURACY_AND_F1,
        ),
        "glue/qqp": _glue(
            "qqp",
            (363846, 40430),
            ("question1", "question2"),
            ("not_duplicate", "duplicate"),
            *_ACCURACY_AND_F1,
        ),
        "glue/stsb": _glue("stsb", (5749, 1500), _PAIR, (), "pearson", "spearman"),
        "glue/mnli": _glue(
            "mnli",
            (392702, 9815),
            ("premise", "hypothesis"),
            ("entailment", "neutral", "contradiction"),
        ),
        "glue/qnli": _glue("qnli", (104743, 5463), ("question", "sentence"), _ENTAILMENT),
        "glue/rte": _glue("rte", (2490, 277), _PAIR, _ENTAILMENT),
        "glue/wnli": _glue("wnli", (635, 71), _PAIR, ("not_entailment", "entailment")),
    },
)


class TextExamples:
    """Sentences or pairs as token ids, padded only when a batch is put together.

    Attributes:
        targets: the label of each example: int64, or float32 for scores, [n].
        lengths: how many tokens each example has; None where all are padded to one length.
        truncation: what is cut off of the texts.
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
            max_length: tokens at which a text is cut off.
            one_length: pad every text to *max_length*, for models whose output depends on how much is padded.

        Raises:
            DataError: a column is missing, a label does not fit, or *tokenizer* has no pad token.
        """
        if tokenizer.pad_token_id is None:
            raise DataError(
                "the tokenizer has no pad token to fill batches with; set pad_token, such as to eos_token"
            )

        self.targets = _labels(rows, spec)
        texts = [column_of(rows, name) for name in spec.columns]
        for name, column in zip(spec.columns, texts, strict=True):
            _check_texts(name, column)

        # the attention mask is left out: it follows from the lengths, batch by batch
        encoded = tokenizer(*texts, truncation=True, max_length=max_length)
        self._encoded: dict[str, list[list[int]]] = {"input_ids": encoded["input_ids"]}
        if "token_type_ids" in encoded:
            self._encoded["token_type_ids"] = encoded["token_type_ids"]
        whole = whole_lengths(encoded, texts, tokenizer, max_length)
        self.truncation = Truncation.of(whole, max_length)
        _refuse_equal_tokens(
            texts, self._encoded["input_ids"], tokenizer, self.truncation
        )

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

    def count(self, token: int) -> list[int]:
        """How often each text has *token*."""
        return [ids.count(token) for ids in self._encoded["input_ids"]]

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """Put examples together, padded to the longest of them.

        A text without a token becomes one pad token that is attended to, so that no row attends to nothing.

        ``input_ids``, ``attention_mask`` and, where the model wants them, ``token_type_ids``:
        int64 [n, longest]; ``labels``: int64, or float32 for scores, [n].
        """
        sizes = [max(1, self._sizes[i]) for i in indices]
        longest = self._one_length or max(sizes)

        batch = {}
        for key, ids in self._encoded.items():
            pad = self._pad[key]
            batch[key] = torch.tensor(
                [self._padded(ids[i], pad, longest) for i in indices]
            )

        lengths = torch.tensor(sizes)[:, None]
        positions = torch.arange(longest)
        if self._pads_left:
            attended = positions >= longest - lengths
        else:
            attended = positions < lengths
        batch["attention_mask"] = attended.long()
        batch["labels"] = self.targets[list(indices)]
        return batch

    def _padded(self, ids: list[int], pad: int, length: int) -> list[int]:
        filling = [pad] * (length - len(ids))
        return [*filling, *ids] if self._pads_left else [*ids, *filling]


def _check_texts(name: str, values: list[Any]) -> None:
    """Raise DataError unless all *values* of the column *name* are text."""
    for row, value in enumerate(values):
        if not isinstance(value, str):
            raise DataError(
                f"column {name!r} holds {value!r} in row {row}, counted from 0; expected text in every row: fill it "
                f"in, or leave such rows out"
            )


def _refuse_equal_tokens(
    texts: list[list[Any]],
    encoded: list[list[int]],
    tokenizer: PreTrainedTokenizerBase,
    truncation: Truncation,
) -> None:
    """Raise DataError where all *texts* are the same tokens: cut off too early, or of words that nobody knows."""
    distinct_texts = set(zip(*texts, strict=True))
    distinct_ids = {tuple(ids) for ids in encoded}
    if len(distinct_texts) >= _DISTINCT_TEXTS and len(distinct_ids) == 1:
        knows_words = not set(encoded[0]) <= set(tokenizer.all_special_ids)
        if truncation.cut and knows_words:
            raise DataError(
                f"all texts begin with the same {truncation.max_length} tokens, where they are cut off, and differ "
                f"behind them alone; raise data.max_length (in Python max_length=): the longest has "
                f"{truncation.longest:,} tokens"
            )

        tokens = " ".join(tokenizer.convert_ids_to_tokens(encoded[0])) or "nothing"
        raise DataError(
            f"the tokenizer makes the same of every text, {tokens}; expected the tokenizer that belongs to the model, "
            f"with its vocabulary, and texts in a script that it knows"
        )


def column_of(rows: Dataset, name: str) -> list[Any]:
    """The values of a column. Raises DataError where there is no such column."""
    check_column(rows, name)
    return list(rows[name])


def _labels(rows: Dataset, spec: TextSpec) -> Tensor:
    """The labels as numbers: int64 [n], or float32 [n] for scores. Raises DataError where one is out of range."""
    values = column_of(rows, spec.label)
    dtype = torch.float32 if spec.regression else torch.int64
    try:
        labels = torch.tensor(values, dtype=dtype)
        # int64 cuts 1.5 to 1 in silence; beside the exact value that shows
        exact = torch.tensor(values, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError) as reason:
        raise DataError(
            f"column {spec.label!r} holds labels that are no numbers ({reason}); expected {_expected_labels(spec)}"
        ) from reason

    if labels.ndim != 1:
        raise DataError(
            f"column {spec.label!r} holds {values[0]!r}; expected one label a row, {_expected_labels(spec)}"
        )
    if spec.regression:
        wrong = ~labels.isfinite()
    else:
        wrong = (exact != labels) | (labels < 0) | (labels >= len(spec.labels))

    if bool(wrong.any()):
        row = int(wrong.nonzero()[0])
        raise DataError(
            f"label {values[row]!r} in row {row} is out of range; expected {_expected_labels(spec)}"
        )

    return labels


def _expected_labels(spec: TextSpec) -> str:
    """What labels may be, for errors."""
    if spec.regression:
        return "a finite score"
    return f"0 to {len(spec.labels) - 1} ({', '.join(spec.labels)})"
