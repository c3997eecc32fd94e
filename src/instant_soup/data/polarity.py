"""Polarity: the packaged demo task, which asks whether a word or phrase is good or bad. It needs no download.

The labels are the signs of mean human ratings in the lexicon of VADER (Hutto and Gilbert, 2014), as the package
vaderSentiment ships it. Entries of letters, spaces, hyphens and apostrophes count; emoticons do not.
"""

from __future__ import annotations

import random
import re
from pathlib import Path

from datasets import Dataset

from ..core.extras import package
from .source import Splits
from .text import TextSpec

SPEC = TextSpec(("text",), ("negative", "positive"), ("accuracy",))
SHARES = {"test": 0.18, "validation": 0.11}

_ENTRY = re.compile(r"[A-Za-z][A-Za-z '\-]*")
_ENDING = re.compile(r"(ing|ed|es|er|e|s)$")
# past forms that share neither stem nor beginning with their verb
_IRREGULAR = {
    "won": "win", "wept": "weep", "stole": "steal", "stolen": "steal", "fought": "fight", "broke": "break",
    "broken": "break", "fell": "fall", "sank": "sink", "sunk": "sink", "stank": "stink", "stunk": "stink",
    "shook": "shake", "swore": "swear", "sworn": "swear", "tore": "tear", "torn": "tear", "slain": "slay",
    "slew": "slay", "froze": "freeze", "frozen": "freeze", "chose": "choose", "chosen": "choose", "wore": "wear",
    "worn": "wear", "sought": "seek", "felt": "feel", "bled": "bleed", "dealt": "deal", "stuck": "stick",
    "stung": "sting", "struck": "strike", "better": "good", "best": "good", "woke": "wake", "woken": "wake",
}  # fmt: skip


def polarity() -> Splits:
    """The lexicon, split so that all words of one family are on one side.

    Raises MissingExtra when the package with the lexicon is not installed.
    """
    labels = _read_labels(_lexicon())
    families: dict[str, list[str]] = {}
    for word, family in _families(sorted(labels)).items():
        families.setdefault(family, []).append(word)

    # a word in training tells the label of its inflections, so a family never stands on two sides
    order = sorted(families)
    random.Random(0).shuffle(order)
    words: dict[str, list[str]] = {"test": [], "validation": [], "train": []}
    for family in order:
        words[_open_split(words, len(labels))] += families[family]

    tables = {}
    for split, texts in words.items():
        columns = {"text": texts, "label": [labels[text] for text in texts]}
        tables[split] = Dataset.from_dict(columns)
    return Splits(tables["train"], tables["validation"], tables["test"])


def _open_split(words: dict[str, list[str]], total: int) -> str:
    """The first split that has fewer words than its share of *total*; train, which has no bound, if there is none."""
    for split, share in SHARES.items():
        if len(words[split]) < share * total:
            return split
    return "train"


def _lexicon() -> Path:
    return package("vaderSentiment", "demo", "demo/polarity") / "vader_lexicon.txt"


def _read_labels(lexicon: Path) -> dict[str, int]:
    """The label of each entry: 1 where people rate it as good, 0 as bad. Entries rated as neither are left out."""
    labels = {}
    for line in lexicon.read_text(encoding="utf-8").splitlines():
        entry, rating, *_ = line.split("\t")
        if _ENTRY.fullmatch(entry) and float(rating):
            labels[entry.lower()] = int(float(rating) > 0)
    return labels


def _families(words: list[str]) -> dict[str, str]:
    """The representative of each word's family: of words alike in their first three letters or in their stem.

    That joins more than inflections, on purpose: words that are joined in error only stay on one side.
    """
    # a union-find (Galler and Fischer, 1964) over beginnings and stems
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        parent.setdefault(key, key)
        while parent[key] != key:
            key = parent[key]
        return key

    for word in words:
        regular = _regular(word)
        # "=" keeps a stem apart from a beginning of the same letters
        stem = f"={_ENDING.sub('', regular)}"
        parent[root(_beginning(regular))] = root(stem)
    return {word: root(_beginning(_regular(word))) for word in words}


def _regular(word: str) -> str:
    """The first word of a phrase, in its regular form, with i for y, as inflections write it."""
    first, *_ = re.split(r"[ '\-]", word)
    return _IRREGULAR.get(first, first).replace("y", "i")


def _beginning(regular: str) -> str:
    return f"{regular[:3]}*"
