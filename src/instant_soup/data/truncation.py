"""Truncation: how many texts are longer than what is read of them, known from the one time that they are tokenised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers import Encoding
from transformers import BatchEncoding, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Truncation:
    """What is cut off of the texts of a split.

    Attributes:
        max_length: tokens at which a text is cut off.
        texts: how many there are; both of a pair count as one.
        cut: how many of them are longer.
        longest: tokens of the longest, uncut, those that stand for no text among them.
    """

    max_length: int
    texts: int
    cut: int
    longest: int

    @classmethod
    def of(cls, lengths: Sequence[int], max_length: int) -> Truncation:
        """What is cut off of texts of so many tokens."""
        cut = sum(length > max_length for length in lengths)
        return cls(max_length, len(lengths), cut, max(lengths, default=0))

    @property
    def share(self) -> float:
        """The share of the texts that is cut."""
        return self.cut / self.texts if self.texts else 0.0

    def __str__(self) -> str:
        """In words."""
        if not self.cut:
            return f"no text is longer than {self.max_length} tokens (data.max_length)"
        return (
            f"{self.share:.1%} of the texts to train on are cut at {self.max_length} tokens (data.max_length), the "
            f"longest has {self.longest:,}"
        )


def whole_lengths(
    encoded: BatchEncoding,
    texts: Sequence[Sequence[str]],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
) -> list[int]:
    """How many tokens each text would have if it were not cut at *max_length*.

    Args:
        encoded: *texts* as *tokenizer* has cut them.
        texts: the column of them, or the two columns of pairs.
    """
    if encoded.encodings is not None:
        return [_whole_length(encoding) for encoding in encoded.encodings]

    # tokenizers in pure Python keep nothing of what they cut; what is shorter than the limit was not cut
    lengths = [len(ids) for ids in encoded["input_ids"]]
    for row, length in enumerate(lengths):
        if length >= max_length:
            text = [column[row] for column in texts]
            whole: Any = tokenizer(*text, truncation=False, verbose=False)
            lengths[row] = len(whole["input_ids"])
    return lengths


def _whole_length(encoding: Encoding) -> int:
    """The length of one text, put together from what was kept of it and what was cut off."""
    rest = encoding.overflowing
    if not rest:
        return len(encoding.ids)

    # of a pair each piece of the one comes with each piece of the other, so every piece counts once
    pieces: dict[tuple[int, tuple[int, int]], int] = {}
    for part in (encoding, *rest):
        for sequence in (0, 1):
            places = [
                place for place, of in enumerate(part.sequence_ids) if of == sequence
            ]
            if places:
                pieces[sequence, part.offsets[places[0]]] = len(places)

    special = encoding.sequence_ids.count(None)
    return special + sum(pieces.values())
