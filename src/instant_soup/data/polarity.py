"""Polarity: is a word or phrase good or bad? The packaged demo, real labels without a download.

The labels are the signs of mean human ratings in the lexicon of VADER (Hutto and Gilbert, 2014),
as the package vaderSentiment ships it. Entries of letters, spaces, hyphens and apostrophes count;
emoticons do not.
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
    labels = _read(_lexicon())
    families: dict[str, list[str]] = {}
    for word, family in _families(sorted(labels)).items():
        families.setdefault(family, []).append(word)
    order = sorted(families)
    random.Random(0).shuffle(order)
    rows: dict[str, list[str]] = {name: [] for name in ("test", "validation", "train")}

    for family in order:
        side = next(
            (
                name
                for name, share in SHARES.items()
                if len(rows[name]) < share * len(labels)
            ),
            "train",
        )
        rows[side] += families[family]

    sides = {
        name: Dataset.from_dict(
            {"text": words, "label": [labels[word] for word in words]}
        )
        for name, words in rows.items()
    }

    return Splits(sides["train"], sides["validation"], sides["test"])


def _lexicon() -> Path:
    return package("vaderSentiment", "demo", "demo/polarity") / "vader_lexicon.txt"


def _read(lexicon: Path) -> dict[str, int]:
    """1 for what people rate as good, 0 for bad; what is rated as neither is left out."""
    labels = {}
    for line in lexicon.read_text(encoding="utf-8").splitlines():
        entry, rating, *_ = line.split("\t")
        if _ENTRY.fullmatch(entry) and float(rating):
            labels[entry.lower()] = int(float(rating) > 0)
    return labels


def _families(words: list[str]) -> dict[str, str]:
    """A representative of each word's family: words alike in their first three letters or in their stem.

    That joins more than inflections, on purpose: what is joined in error only keeps similar words
    on one side.
    """
    leader: dict[str, str] = {}

    def find(key: str) -> str:
        leader.setdefault(key, key)
        while leader[key] != key:
            key = leader[key]
        return key

    for word in words:
        plain = _plain(word)
        leader[find(_beginning(plain))] = find(f"={_ENDING.sub('', plain)}")
    return {word: find(_beginning(_plain(word))) for word in words}


def _plain(word: str) -> str:
    """The first word of a phrase, regular, with i for y, as inflections write it."""
    first, *_ = re.split(r"[ '\-]", word)
    return _IRREGULAR.get(first, first).replace("y", "i")


def _beginning(plain: str) -> str:
    return f"{plain[:3]}*"
