"""Language: plain text as windows of tokens, each of the same length, without overlap.

Perplexity is measured as papers on pruning language models do (Sun et al., 2023; Frantar and Alistarh, 2023): the test
split is joined by blank lines, tokenised once, and cut into windows of L tokens. What is left at the end is dropped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from ..core.errors import DataError, unknown
from ..core.places import real
from .corpus import TEST, TRAIN, files_of, texts_in, texts_of
from .known_texts import LANGUAGE_TASKS, known_texts
from .source import Data, origin, read

PROTOCOL = "texts joined by blank lines, tokenised once, windows of L tokens without overlap, exp of the mean loss"


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
    enough = _enough(source, limit, "data.limit")
    train = _windows(_texts(source, TRAIN, seed), tokenizer, window, learned, enough)
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
    enough = _enough(judged_on, windows, "data.windows")
    judged = _windows(texts, tokenizer, window, origin(judged_on, None), enough)[:windows]

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
    name = str(source)
    enough = _enough(name, count, "samples")
    train = _windows(_texts(name, TRAIN), tokenizer, window, name, enough)
    if len(train) < count:
        raise DataError(
            f"{source} has {len(train)} windows of {window} tokens and {count} are asked for; take a longer text, "
            f"or fewer or shorter windows"
        )

    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(train), generator=generator)
    return train[order[:count]]


def _enough(source: Data, count: int | None, setting: str) -> int | None:
    """How many windows of *source* have to be read; None where all of it is.

    Raises DataError where it is too large to be read in full, and *count*, which *setting* sets, is not given.
    """
    spec = LANGUAGE_TASKS.get(source) if isinstance(source, str) else None
    if spec is None or spec.files is None:
        return None
    if count is None:
        raise DataError(
            f"{source} is too large to be read in full; set {setting} to how many windows are to be used"
        )
    return count


def _until(
    texts: Iterator[str], tokenizer: PreTrainedTokenizerBase, tokens: int
) -> Iterator[str]:
    """As many of *texts* as have so many *tokens* between them, and one more."""
    seen = 0
    for text in texts:
        yield text
        if seen >= tokens:
            return
        seen += len(tokenizer(text, verbose=False)["input_ids"])


def _windows(
    texts: Iterator[str],
    tokenizer: PreTrainedTokenizerBase,
    window: int,
    source: str,
    enough: int | None = None,
) -> Tensor:
    """All windows of the joined *texts*, or those of the first texts that have *enough*: int64 [n, window].

    Raises DataError where there is none.
    """
    if enough is not None:
        texts = _until(texts, tokenizer, enough * window)
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


def _texts(source: Data, splits: tuple[str, ...], seed: int = 0) -> Iterator[str]:
    """The texts of the first of *splits* that *source* has; *seed* is that of `known_texts`."""
    if not isinstance(source, str | Path):
        return _texts_in_memory(source, splits)

    source = str(source)
    if source in LANGUAGE_TASKS:
        return known_texts(source, splits, seed)
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
