"""Prompts: from names of classes to sentences."""

from __future__ import annotations

import pytest

from instant_soup.core.errors import DataError
from instant_soup.data.images import IMAGE_TASKS
from instant_soup.data.prompts import DIGITS, class_words, sentences


def test_names_of_the_data_are_read_as_words() -> None:
    assert class_words(("aquarium_fish", "sea__horse", "dog"), ()) == (
        "aquarium fish",
        "sea horse",
        "dog",
    )


def test_words_that_are_given_go_before_names() -> None:
    assert class_words(("0", "1"), ("none", "one")) == ("none", "one")


def test_too_few_words_are_counted() -> None:
    with pytest.raises(
        DataError,
        match=r"1 class words for 2 classes; give one for each of 0, 1, in this order",
    ):
        class_words(("0", "1"), ("none",))


def test_two_classes_cannot_share_their_words() -> None:
    with pytest.raises(DataError, match=r"two classes have the words 'a b'"):
        class_words(("a_b", "c", "a b"), ())


def test_a_word_is_put_into_every_template_as_it_is() -> None:
    assert sentences("{0} dog", ["a {}.", "{}"]) == ["a {0} dog.", "{0} dog"]


@pytest.mark.parametrize(
    ("template", "places"), [("a dog", 0), ("{} and {}", 2), ("a {0}", 0)]
)
def test_a_template_has_one_place(template: str, places: int) -> None:
    with pytest.raises(
        DataError, match=rf"has {places} places for the class; expected one \{{\}}"
    ):
        sentences("dog", [template])


@pytest.mark.parametrize("name", IMAGE_TASKS)
def test_every_task_has_templates_that_work_and_differ(name: str) -> None:
    templates = IMAGE_TASKS[name].templates
    assert len(set(sentences("dog", templates))) == len(templates) > 1


def test_digits_are_told_apart() -> None:
    assert len(set(DIGITS)) == 10
    assert DIGITS[7] == "number seven"
