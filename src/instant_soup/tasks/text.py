"""Text tasks: a GLUE task, the packaged demo or any labelled text, with any sequence classifier."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..core.errors import DataError, UnknownName, unknown
from ..core.kinds import checked_but
from ..data.labels import renumbered, values_of
from ..data.layout import listing
from ..data.polarity import SPEC as POLARITY
from ..data.polarity import polarity
from ..data.source import Data, Splits
from ..data.text import GLUE_TASKS, TextExamples, TextSpec
from ..data.text_splits import benchmark, own_text
from ..data.truncation import Truncation
from ..models import text as models
from ..models.classifier import loss, predict
from ..models.ends import check_ends
from ..models.heads import classes_in_order
from ..training.metrics import METRICS, figures
from ..training.regime import Regime
from ..training.seeds import stream
from .assembly import Encoded, Judging, assemble, warn_of_other_classes, warn_of_seen_rows
from .task import CourseTask

DEMO = "demo/polarity"
FEW = 0.01
"""The share of the texts that may be cut off without a word."""


@checked_but("model", "tokenizer", "data")
def text(
    name: str,
    *,
    model: str | Path | PreTrainedModel = models.PACKAGED,
    data: Data | None = None,
    regime: Regime | None = None,
    seed: int = 0,
    limit: int | None = None,
    validation: float = 0.1,
    max_length: int = 128,
    pooler: bool = False,
    columns: Sequence[str] = (),
    label: str = "label",
    metrics: Sequence[str] = (),
    tokenizer: PreTrainedTokenizerBase | None = None,
) -> CourseTask:
    """A task of text.

    Args:
        name: ``"glue/cola"`` and the other GLUE tasks, ``"demo/polarity"``, or a name of your own
            for labelled text of your own; then give *columns*.
        model: a hub id, a local folder, or ``"packaged"`` for the small BERT that the demo extra brings; or a model
            that `AutoModelForSequenceClassification` has loaded, which is copied.
        data: a folder or file of parquet, CSV, TSV or JSON lines; a pandas DataFrame, a `datasets.Dataset` or a list of
            dictionaries, or several of these by split; the hub if None. Columns are those of GLUE for a GLUE task.
        regime: how to train; the defaults of `Regime` if None.
        seed: of the run.
        limit: how many training examples to use; all if None.
        validation: share of the training examples that is cut out for selection. The data's own
            validation set is the test split.
        max_length: tokens at which a text is cut off, or fewer where the model has no place for so many. Where more
            than one text in a hundred is cut, a warning says so.
        pooler: whether BERT's pooler may be pruned too.
        columns: for a task of your own, the column of texts, or the two columns of pairs.
        label: for a task of your own, the column of classes, in numbers or words, or of scores.
        metrics: for a task of your own, what to report; see `instant_soup.training.metrics.METRICS`.
        tokenizer: that of a *model* that is loaded already; loaded from where the model came from if None.

    Raises:
        UnknownName: no table lists *name* and *columns* is empty, or a metric is unknown.
        DataError: the data or the model cannot be read or does not fit.
    """
    for metric in metrics:
        if metric not in METRICS:
            raise unknown("metric", metric, METRICS)

    if name == DEMO:
        spec = POLARITY
        rows = polarity()
    elif name in GLUE_TASKS:
        spec = GLUE_TASKS[name]
        rows = benchmark(data, spec, validation=validation, limit=limit)
    elif columns:
        rows, spec = own_text(
            data,
            tuple(columns),
            label,
            tuple(metrics),
            validation=validation,
            limit=limit,
        )
        rows, spec = _as_head_counts(rows, spec, model)
    else:
        raise UnknownName(
            f"{unknown('task', name, [*GLUE_TASKS, DEMO])}. For a task of your own, name the columns of its texts: "
            f"columns=('text',)"
        )

    # before the model is loaded, which takes longest
    _check_metrics(spec)
    loaded = _loaded(
        model,
        tokenizer,
        labels=len(spec.labels) or 1,
        # a stream of its own, so that a new head does not depend on what else is drawn
        seed=stream(seed, "head"),
        pooler=pooler,
    )

    warn_of_other_classes(loaded.base, loaded.model, loaded.fresh, spec.labels)
    warn_of_seen_rows(loaded.base, loaded.model, spec.labels, rows)
    ordered = classes_in_order(loaded.model, spec.labels)
    judge = figures(spec.metrics)
    if ordered != spec.labels:
        judge = figures(spec.metrics, [ordered.index(word) for word in spec.labels])
        rows = _renumbered(rows, spec, ordered)
        spec = replace(spec, labels=ordered)

    splits = _encoded(rows, spec, loaded, max_length)
    truncation = splits[0].truncation
    _warn_of_cut_texts(truncation, loaded.positions)
    return assemble(
        name,
        loaded,
        Encoded(*splits),
        Judging(predict, loss, judge),
        regime=regime,
        seed=seed,
        classes=spec.labels,
        remark=str(truncation),
    )


def _as_head_counts(
    rows: Splits, spec: TextSpec, model: str | Path | PreTrainedModel
) -> tuple[Splits, TextSpec]:
    """*rows* and *spec* with all classes of a head that was trained, where the data lacks some of its numbers.

    Rows of classes 0 and 2 alone go with a head that tells three apart: a new head for two would lose what it knows.
    """
    values = values_of(spec.labels)
    if not values or values[0] < 0 or set(values) >= set(range(1, values[-1] + 1)):
        return rows, spec
    if not isinstance(model, str | Path | PreTrainedModel):
        return rows, spec

    outputs = models.outputs_of(model)
    # 2 is what a model has that was never fine-tuned, and too few for numbers with a gap
    if outputs <= values[-1]:
        return rows, spec

    missing = [str(number) for number in range(outputs) if number not in values]
    warnings.warn(
        f"the head of the model tells {outputs} classes apart, and column {spec.label!r} has no row of "
        f"{listing(missing, 5)}; the head is kept, its outputs numbered as the labels are",
        stacklevel=3,
    )
    counted = replace(spec, labels=tuple(map(str, range(outputs))))
    return _renumbered(rows, spec, counted.labels), counted


def _renumbered(rows: Splits, spec: TextSpec, ordered: Sequence[str]) -> Splits:
    """*rows* with their classes numbered as in *ordered*."""

    def renumber(split: Dataset) -> Dataset:
        return renumbered(split, spec.label, spec.labels, ordered)

    return rows.map(renumber)


def _encoded(
    rows: Splits, spec: TextSpec, loaded: models.TextModel, max_length: int
) -> tuple[TextExamples, TextExamples, TextExamples]:
    """The splits to train on, to choose by and to report on as token ids, cut where the model has no more positions."""
    length = min(max_length, loaded.positions or max_length)

    def encode(split: Dataset) -> TextExamples:
        return TextExamples(
            split, spec, loaded.tokenizer, length, one_length=loaded.one_length
        )

    train, validation, test = map(encode, (rows.train, rows.validation, rows.test))
    if loaded.end is not None:
        splits = {"training": train, "validation": validation, "test": test}
        ends = {split: texts.count(loaded.end) for split, texts in splits.items()}
        check_ends(loaded.base.name, loaded.tokenizer, loaded.end, ends)
    return train, validation, test


def _warn_of_cut_texts(truncation: Truncation, positions: int | None) -> None:
    """Warn where more texts than a few are cut off; *positions* is how many tokens the model can read at most."""
    if truncation.share <= FEW:
        return

    remedy = "set data.max_length (in Python max_length=) higher"
    if positions is not None:
        remedy += f", to {min(positions, truncation.longest):,} at most"
        if truncation.max_length >= positions:
            remedy = "the model has no place for more"
    warnings.warn(
        f"{truncation.share:.0%} of the texts to train on are longer than {truncation.max_length} tokens and cut off "
        f"there, and the longest has {truncation.longest:,}: what stands behind is not read; {remedy}",
        stacklevel=3,
    )


def _loaded(
    model: str | Path | PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase | None,
    *,
    labels: int,
    seed: int,
    pooler: bool,
) -> models.TextModel:
    """The model at its pre-trained weights, whether it is given by name or loaded already."""
    if not isinstance(model, str | Path):
        return models.from_loaded(model, tokenizer, labels=labels, pooler=pooler)

    if tokenizer is not None:
        raise DataError(
            f"a tokenizer goes with a model that is loaded already, and model is {str(model)!r}, which brings its own; "
            f"leave tokenizer out"
        )
    return models.load(str(model), labels=labels, seed=seed, pooler=pooler)


def _check_metrics(spec: TextSpec) -> None:
    """Refuse a metric that the labels cannot give, before anything is paid for."""
    if spec.regression:
        kind = "scores"
        fit = "pearson or spearman"
    else:
        kind = "classes"
        fit = "accuracy, f1 or matthews"

    correlations = ("pearson", "spearman")
    for metric in spec.metrics:
        if spec.regression != (metric in correlations):
            raise DataError(
                f"metric {metric!r} does not go with labels that are {kind}; choose {fit}"
            )

        # both are defined here for a positive and a negative class only
        if metric in ("f1", "matthews") and len(spec.labels) != 2:
            raise DataError(
                f"metric {metric!r} is for 2 classes and the data has {len(spec.labels)}; choose accuracy"
            )
