"""Sentences: made-up labelled text about as long as CoLA's, from the packaged lexicon: nothing is downloaded."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from instant_soup.data.polarity import polarity

# a sentence has so many; with the tokenizer of BERT they come to 4 to 40 tokens, 15 on average
WORDS = (2, 9)


def write(folder: Path, train: int, validation: int) -> Path:
    """Fill *folder* with train.parquet and validation.parquet: sentences, and whether most words are good."""
    words, dice = dict(zip(*polarity().train[:].values(), strict=True)), random.Random(0)
    for split, count in (("train", train), ("validation", validation)):
        chosen = [
            dice.choices(sorted(words), k=dice.randint(*WORDS)) for _ in range(count)
        ]
        labels = [
            int(2 * sum(words[word] for word in each) > len(each)) for each in chosen
        ]
        rows = {"sentence": [" ".join(each) for each in chosen], "label": labels}
        pq.write_table(pa.table(rows), folder / f"{split}.parquet")
    return folder
