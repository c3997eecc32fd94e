"""Language: plain text as windows of tokens, each of the same length, without overlap.

Perplexity is measured as papers on pruning language models do (Sun et al., 2023; Frantar and Alistarh, 2023): the test
split is joined by blank lines, tokenised once, and cut into windows of L tokens. What is left at the end is dropped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from datasets import load_dataset
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from ..core.errors import DataError, unknown
from ..core.places import real
from ..core.table import Table
from .corpus import TEST, TRAIN, files_of, texts_in, texts_of
from .source import Data, origin, read

PROTOCOL = "texts joined by blank lines, tokenised once, windows of L tokens without overlap, exp of the mean loss"
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


class Windows:
    """Windows of tokens, int64 [n, L].

    Attributes:
        lengths: L for each window.
        targets: None: there are no classes.
    """

    targets: Tensor | None = None

    def __init__(self, tokens: Tensor) -> None:
        self.tokens = tokens
        self.lengths: Sequence[int] = [tokens.shape[1]] * len(tokens)

    def __len__(self) -> int:
        return len(self.tokens)

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """These windows: ``input_ids``, int64 [n, L]."""
        return {"input_ids": self.tokens[list(indices)]}


@dataclass(frozen=True)
class LanguageSplits:
    """Windows to train and calibrate on, to choose by, and to report on."""

    train: Windows
    validation: Windows
    test: Windows


def language_splits(
    name: str,
    tokenizer: PreTrainedTokenizerBase,
    *,
    window: int,
    folder: Data | None = None,
    test: Data | None = None,
    validation: float = 0.1,
    limit: int | None = None,
    windows: int | None = None,
    seed: int = 0,
) -> LanguageSplits:
    """Read and cut the texts of a task.

    Args:
        name: the name of the task, which is that of a text of the hub where *folder* is None.
        window: L, tokens of a window.
        folder: the text to learn from: a folder or a file, the name of a text of the hub, or rows in memory.
        test: the text to be judged on, likewise; that of *folder*, or of *name*, if None.
        validation: share of the training windows that is cut out for selection.
        limit: how many training windows to use, drawn at random; all if None.
        windows: how many test windows to use, the first ones; all if None.
        seed: of these draws.

    Raises:
        DataError: there is nothing to read, a text is shorter than a window, or than two to learn from, or one file
            would be learned from and judged on.
    """
    source: Data = name if folder is None else folder
    learned = origin(source, None)
    train = _windows(_texts(source, TRAIN), tokenizer, window, learned)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(train), generator=generator)[:limit]

    held_out = max(1, round(validation * len(order)))
    if len(order) <= held_out:
        raise DataError(
            f"the text of {learned} has {len(order)} windows of {window} tokens, of which {held_out} are cut out for "
            f"selection, and none is left to learn from; take a longer text, or lower data.window"
        )

    judged_on = _judged_on(name, folder, test)
    texts = _texts(judged_on, TEST)
    # the first windows and not random ones: their number alone then says which they are
    judged = _windows(texts, tokenizer, window, origin(judged_on, None))[:windows]

    return LanguageSplits(
        train=Windows(train[order[held_out:]]),
        validation=Windows(train[order[:held_out]]),
        test=Windows(judged),
    )


def _judged_on(name: str, folder: Data | None, test: Data | None) -> Data:
    """What is judged on. Raises DataError where it would be learned from, too."""
    if test is not None and not isinstance(test, str | Path):
        # a table by itself is what it is called here
        return test if isinstance(test, Mapping) else {"train": [], "test": test}
    if folder is not None and not isinstance(folder, str | Path):
        if test is not None:
            return test
        return name if name in LANGUAGE_TASKS else folder

    _refuse_same_files(learned_files(name, folder), judged_files(name, folder, test))
    return sources(name, folder, test)[1]


def learned_files(name: str, folder: str | Path | None) -> list[Path]:
    """The files that `language_splits` reads to learn from; none for texts of the hub.

    Raises:
        DataError: there is nothing to read.
    """
    source, _ = sources(name, folder, None)
    return _files(source, TRAIN)


def judged_files(
    name: str, folder: str | Path | None, test: str | Path | None
) -> list[Path]:
    """The files that `language_splits` reads to judge on; none for texts of the hub.

    Raises:
        DataError: there is nothing to read.
    """
    _, source = sources(name, folder, test)
    return _files(source, TEST)


def sources(
    name: str, folder: str | Path | None, test: str | Path | None
) -> tuple[str, str]:
    """Where the text to learn from is, and that to be judged on: paths, or names of texts of the hub."""
    source = str(folder or name)
    if test:
        return source, str(test)
    # a known task is judged on its own test text, whatever is learned from: figures stay comparable
    return source, name if name in LANGUAGE_TASKS else source


def _refuse_same_files(train: Sequence[Path], test: Sequence[Path]) -> None:
    """Raise DataError where a file would be learned from and judged on."""
    learned = {real(path) for path in train}
    for path in test:
        if real(path) in learned:
            raise DataError(
                f"{path} would be learned from and judged on, and no figure would mean anything; "
                f"set data.test to another text"
            )


def _files(source: str, splits: tuple[str, ...]) -> list[Path]:
    if source in LANGUAGE_TASKS:
        return []
    return files_of(_existing(source, splits), splits)


def window_count(
    source: str,
    splits: tuple[str, ...],
    tokenizer: PreTrainedTokenizerBase,
    window: int,
) -> int:
    """How many windows the text of the first of *splits* that *source* has is cut into. Raises DataError."""
    return len(_windows(_texts(source, splits), tokenizer, window, source))


def calibration_windows(
    source: str | Path, tokenizer: PreTrainedTokenizerBase, window: int, count: int
) -> Tensor:
    """*count* windows of the training text of *source*, drawn at random by a fixed seed: int64 [count, window].

    Raises:
        DataError: there is nothing to read, or the text has fewer windows.
    """
    train = _windows(_texts(str(source), TRAIN), tokenizer, window, str(source))
    if len(train) < count:
        raise DataError(
            f"{source} has {len(train)} windows of {window} tokens and {count} are asked for; take a longer text, "
            f"or fewer or shorter windows"
        )

    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(train), generator=generator)
    return train[order[:count]]


def _windows(
    texts: Iterator[str], tokenizer: PreTrainedTokenizerBase, window: int, source: str
) -> Tensor:
    """All windows of the joined *texts*: int64 [n, window]. Raises DataError where there is none."""
    joined = "\n\n".join(texts)
    ids = torch.empty(0, dtype=torch.int64)
    # tokenizers make float tensors, or none, of an empty text
    if joined.strip():
        # not verbose: it warns that the text is longer than the model reads, and it is cut below
        encoded = tokenizer(joined, return_tensors="pt", verbose=False)
        ids = encoded["input_ids"][0].long()

    count = len(ids) // window
    if not count:
        raise DataError(
            f"the text of {source} has {len(ids)} tokens, fewer than a window of {window}; "
            f"take a longer text, or set data.window lower"
        )

    return ids[: count * window].view(count, window)


def _texts(source: Data, splits: tuple[str, ...]) -> Iterator[str]:
    """The texts of the first of *splits* that *source* has."""
    if not isinstance(source, str | Path):
        return _texts_in_memory(source, splits)

    source = str(source)
    if source in LANGUAGE_TASKS:
        spec = LANGUAGE_TASKS[source]
        if spec.hub is None:
            return _topics(splits)
        repository, configuration = spec.hub
        return _from_hub(repository, configuration, spec.files, splits)

    return texts_of(_files(source, splits))


def _texts_in_memory(data: Data, splits: tuple[str, ...]) -> Iterator[str]:
    tables = read(data, None, TEST)
    rows = tables.train if splits == TRAIN else tables.test
    name = origin(data, None)
    if rows is None:
        raise DataError(
            f"{name} is one table, which is learned from, and there is nothing to judge on; set test, or give both as "
            f"{{'train': ..., 'test': ...}}"
        )
    return texts_in(rows, name)


def _existing(source: str, splits: tuple[str, ...]) -> Path:
    """The file or folder at *source*. Raises DataError where there is none."""
    path = Path(source)
    if not (path.is_file() or path.is_dir()):
        raise DataError(
            f"no text at {source}; give a folder with {splits[0]}.parquet or text files, a file, or a text of the hub: "
            f"{unknown('text', source, LANGUAGE_TASKS)}"
        )
    return path


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


def _from_hub(
    repository: str,
    configuration: str | None,
    files: Mapping[str, str] | None,
    splits: tuple[str, ...],
) -> Iterator[str]:
    options: dict[str, Any] = {"data_files": dict(files)} if files else {}
    try:
        table = load_dataset(repository, configuration, **options)
        split = next(name for name in splits if name in table)
    # the hub's client raises many kinds: offline, not found, gated
    except Exception as reason:
        raise DataError(
            f"could not load {repository} from the hub ({reason}); set data.folder, and data.test, to folders with "
            f"parquet files that have a column 'text'"
        ) from reason

    yield from table[split]["text"]
