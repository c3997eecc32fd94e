"""Polarity: real labels, and no word family on two sides."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator

import pytest

from instant_soup.core import extras
from instant_soup.core.errors import MissingExtra
from instant_soup.data.polarity import SPEC, polarity
from instant_soup.data.source import Splits

SIDES = ("train", "validation", "test")


@pytest.fixture(scope="module")
def lexicon() -> Splits:
    return polarity()


@pytest.fixture(scope="module")
def labels(lexicon: Splits) -> dict[str, int]:
    return {
        w: label
        for side in SIDES
        for w, label in zip(
            *(getattr(lexicon, side)[c] for c in ("text", "label")), strict=True
        )
    }


@pytest.fixture(scope="module")
def side_of(lexicon: Splits) -> dict[str, str]:
    return {word: side for side in SIDES for word in getattr(lexicon, side)["text"]}


def inflections(word: str) -> Iterator[str]:
    """What English grammar makes of a word, spelled out apart from how the splits are made."""
    for ending in (
        "s",
        "es",
        "ed",
        "d",
        "ing",
        "er",
        "ers",
        "est",
        "ly",
        "ness",
        "ful",
        "less",
        "fully",
        "ment",
    ):
        yield word + ending
    if word.endswith("e"):
        for ending in ("ing", "ings", "ed", "er", "est", "y", "ation"):
            yield word[:-1] + ending
    if word.endswith("y"):
        for ending in ("ies", "ied", "ier", "iest", "ily", "iness"):
            yield word[:-1] + ending
    for ending in ("ed", "ing", "er", "est"):
        yield word + word[-1] + ending


def test_no_inflection_of_a_word_is_on_another_side(side_of: dict[str, str]) -> None:
    """A model could look the answer up otherwise, and the test would measure memory."""
    split = [
        (w, f)
        for w in side_of
        for f in inflections(w)
        if f in side_of and side_of[f] != side_of[w]
    ]
    assert split == []


def test_there_are_inflections_to_split(side_of: dict[str, str]) -> None:
    """So that the test above cannot pass for lack of pairs."""
    assert sum(form in side_of for word in side_of for form in inflections(word)) > 3000


@pytest.mark.parametrize(
    "family",
    [
        ("win", "won", "winner", "winning"),
        ("fight", "fought", "fighting"),
        ("good", "better", "best"),
        ("break", "broke", "broken"),
        ("steal", "stole", "stolen"),
    ],
    ids=lambda family: family[0],
)
def test_irregular_forms_stay_with_their_word(
    side_of: dict[str, str], family: tuple[str, ...]
) -> None:
    there = [side_of[word] for word in family if word in side_of]
    assert len(there) > 1
    assert len(set(there)) == 1


def test_no_word_comes_twice(lexicon: Splits, side_of: dict[str, str]) -> None:
    assert sum(len(getattr(lexicon, side)) for side in SIDES) == len(side_of)


def test_there_is_enough_to_learn_to_choose_by_and_to_report_on(lexicon: Splits) -> None:
    assert len(lexicon.train) > 4500
    assert len(lexicon.validation) > 700
    assert len(lexicon.test) > 1200  # an accuracy is then good to about 1.4 %


@pytest.mark.parametrize("side", SIDES)
def test_both_classes_are_common_on_every_side(lexicon: Splits, side: str) -> None:
    values = getattr(lexicon, side)["label"]
    assert set(values) == {0, 1}
    assert 0.35 < sum(values) / len(values) < 0.65


def test_labels_are_what_people_say(labels: dict[str, int]) -> None:
    good = (
        "good",
        "great",
        "love",
        "happy",
        "excellent",
        "win",
        "joy",
        "beautiful",
        "hope",
        "thanks",
    )
    bad = (
        "bad",
        "terrible",
        "hate",
        "sad",
        "awful",
        "murder",
        "war",
        "ugly",
        "pain",
        "lies",
    )
    assert {word: labels[word] for word in (*good, *bad)} == {
        **dict.fromkeys(good, 1),
        **dict.fromkeys(bad, 0),
    }
    assert SPEC.labels == ("negative", "positive")


def test_entries_are_words_and_not_emoticons(labels: dict[str, int]) -> None:
    assert all(set(word) <= set("abcdefghijklmnopqrstuvwxyz '-") for word in labels)
    assert "fed up" in labels


def test_the_split_is_the_same_each_time_whatever_was_drawn_before() -> None:
    random.seed(1)
    first = polarity()
    random.seed(2)
    second = polarity()
    for side in SIDES:
        assert getattr(first, side).to_dict() == getattr(second, side).to_dict()


def test_the_split_is_the_one_that_records_were_made_with(lexicon: Splits) -> None:
    """Frozen: another split makes every record of the demo incomparable."""
    text = repr([getattr(lexicon, side).to_dict() for side in SIDES])
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "efe783f864a0f231"


def test_a_missing_package_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda _: None)
    with pytest.raises(
        MissingExtra,
        match=r"vaderSentiment; install it with: pip install 'instant-soup\[demo\]'",
    ):
        polarity()
