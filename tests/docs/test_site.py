"""What the site of the documentation is made of. `make docs` builds it and checks every link."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

import instant_soup as soup

ROOT = Path(__file__).parents[2]
PAGES = ROOT / ".ci" / "pages.py"


def test_every_public_name_has_its_place_in_the_reference() -> None:
    pages = "".join(
        path.read_text(encoding="utf-8")
        for path in (ROOT / "docs" / "reference").glob("*.md")
    )
    shown = {
        line.rpartition(".")[2]
        for line in re.findall(r"^::: (\S+)$", pages, re.MULTILINE)
    }
    apart = {"METHODS", "tasks"}  # a table, and a module whose functions are shown
    assert set(soup.__all__) - shown <= apart


def test_pages_that_no_list_names_join_the_section_of_their_folder(
    tmp_path: Path,
) -> None:
    for name in ("index.md", "guide.md", "methods/one.md", "adr/0001-why.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("# A page\n", encoding="utf-8")
    nav = [
        "index.md",
        {"Guides": []},
        {"Methods": ["methods/one.md"]},
        {"Reference": []},
        {"Decisions": []},
    ]
    runpy.run_path(str(PAGES))["on_config"]({"docs_dir": str(tmp_path), "nav": nav})
    assert nav == [
        "index.md",
        {"Guides": ["guide.md"]},
        {"Methods": ["methods/one.md"]},
        {"Reference": []},
        {"Decisions": ["adr/0001-why.md"]},
    ]


def test_a_link_out_of_the_site_becomes_the_name_of_a_file_which_has_to_be_there(
    tmp_path: Path,
) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "recipes").mkdir()
    page, config = (
        SimpleNamespace(file=SimpleNamespace(src_uri="methods/a.md")),
        {"docs_dir": str(tmp_path / "docs")},
    )
    rewrite = runpy.run_path(str(PAGES))["on_page_markdown"]
    assert (
        rewrite("see [recipes](../../recipes).", page, config)
        == "see recipes (`recipes`)."
    )
    assert rewrite("see [b](../b.md#x).", page, config) == "see [b](../b.md#x)."
    with pytest.raises(
        FileNotFoundError, match=r"methods/a\.md links to \.\./\.\./nothing"
    ):
        rewrite("see [this](../../nothing).", page, config)


def test_the_citation_names_this_version_and_licence() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {soup.__version__}\n" in citation
    assert "\nlicense: Apache-2.0\n" in citation
