"""A misspelt path to a model is told apart from a hub id, and answered at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from instant_soup.core.errors import DataError
from instant_soup.core.places import check_place


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "models" / "bert").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("./modles/bert", "models/bert"),
        ("modles/bert", "models/bert"),
        ("modles/brt", "models/bert"),
        ("models/brt", "models/bert"),
        ("./models/bert2/", "models/bert"),
        ("modles\\bert", None),
        ("a/b/c", None),
        ("no such", None),
        ("~/bert", None),
    ],
)
def test_what_can_only_be_a_path_is_refused_with_what_is_close(
    name: str, meant: str | None
) -> None:
    expected = rf"did you mean {meant}\?" if meant else "check the path"
    with pytest.raises(DataError, match=f"there is no such folder.*{expected}"):
        check_place(name)


def test_an_absolute_path_is_answered_with_the_nearest_one(here: Path) -> None:
    with pytest.raises(DataError, match=r"did you mean .*/models/bert"):
        check_place(str(here / "models" / "bart"))


@pytest.mark.parametrize(
    "name",
    [
        "packaged",
        "google-bert/bert-base-uncased",
        "bert-base-uncased",
        "models/bert",
        "./models/bert",
        "bret",
        "mobile/bert",
        "open_clip:ViT-B-32/openai",
        "./models/model.gguf",
    ],
)
def test_a_hub_id_or_a_folder_that_is_there_is_left_alone(name: str) -> None:
    check_place(name)
