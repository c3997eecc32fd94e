"""Known texts: texts that tasks know by name, from the hub or from Python itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from datasets import Dataset, load_dataset

from ..core.errors import DataError
from ..core.table import Table
from .corpus import TEST, TRAIN

JUDGED_TOPICS = 4  # every fourth topic of the packaged text is judged on


@dataclass(frozen=True)
class LanguageSpec:
    """A text of the hub.

    Attributes:
        hub: repository and configuration; None for the text that comes with Python.
        files: those files of the repository that are read, by split, where it is too large to be read in full.
        metrics: figures to report.
        sizes: never known, because the number of windows depends on the tokenizer.
    """

    hub: tuple[str, str | None] | None
    files: Mapping[str, str] | None = None
    metrics: tuple[str, ...] = ("perplexity",)
    sizes: None = None


# the first shards alone, as papers on pruning language models use them: all of C4 is hundreds of gigabytes
_C4 = {
    "train": "en/c4-train.00000-of-01024.json.gz",
    "validation": "en/c4-validation.00000-of-00008.json.gz",
}

PACKAGED = "demo/language"
"""English that every Python brings: the help on its own language, 79 topics and 465,000 letters in Python 3.11."""

LANGUAGE_TASKS: Mapping[str, LanguageSpec] = Table(
    "task",
    {
        PACKAGED: LanguageSpec(None),
        "language/wikitext2": LanguageSpec(("Salesforce/wikitext", "wikitext-2-raw-v1")),
        "language/c4": LanguageSpec(("allenai/c4", None), _C4),
    },
)


def known_texts(name: str, splits: tuple[str, ...], seed: int) -> Iterator[str]:
    """The texts of the first of *splits* that the text called *name* has.

    Args:
        name: a key of `LANGUAGE_TASKS`.
        seed: of the order in which the documents of a text too large to be read in full come, to learn from.

    Raises:
        DataError: it cannot be had.
    """
    spec = LANGUAGE_TASKS[name]
    if spec.hub is None:
        return _topics(splits)
    return _from_hub(spec, splits, seed)


def _topics(splits: tuple[str, ...]) -> Iterator[str]:
    """The packaged text: every fourth topic is judged on, the others are learned from."""
    try:
        topics: dict[str, str] = import_module("pydoc_data.topics").topics
    except ImportError as reason:
        raise DataError(
            f"{PACKAGED} is the text of pydoc_data, which this Python lacks ({reason}); give text of your own"
        ) from reason

    for position, name in enumerate(sorted(topics)):
        is_judged = position % JUDGED_TOPICS == 0
        if is_judged == (splits == TEST):
            yield topics[name]


def _from_hub(spec: LanguageSpec, splits: tuple[str, ...], seed: int) -> Iterator[str]:
    repository, configuration = spec.hub or ("", None)
    options: dict[str, Any] = {"data_files": dict(spec.files)} if spec.files else {}
    try:
        table = load_dataset(repository, configuration, **options)
        split = next(name for name in splits if name in table)
    # the hub's client raises many kinds: offline, not found, gated
    except Exception as reason:
        raise DataError(
            f"could not load {repository} from the hub ({reason}); set data.folder, and data.test, to folders with "
            f"parquet files that have a column 'text'"
        ) from reason

    rows: Dataset = table[split]
    if spec.files and splits == TRAIN:
        rows = rows.shuffle(seed=seed)
    yield from rows["text"]
