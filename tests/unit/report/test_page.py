"""The page needs nothing else, escapes everything, and holds what it promises."""

from __future__ import annotations

import re
import tomllib
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from instant_soup.cli.main import app
from instant_soup.core.errors import StoreError, UnknownName
from instant_soup.evidence.agreement import Pair
from instant_soup.evidence.comparison import Comparison
from instant_soup.report import recipes
from instant_soup.report.page import render, report

VOID = {"meta", "input", "br", "link", "path", "use", "line", "rect", "polyline"}


@pytest.fixture(scope="module")
def page(found: Comparison, pairs: list[Pair]) -> str:
    return render(found, pairs, "A <title> & more")


class Checker(HTMLParser):
    """Whether every element is closed, and which ids there are."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.idents: list[str] = []
        self.wanted: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self._note(attrs)

    def handle_startendtag(self, _: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note(attrs)

    def _note(self, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id":
                self.idents.append(value or "")
            if name in ("aria-labelledby", "aria-describedby"):
                self.wanted += (value or "").split()
            if name in ("href", "src", "srcset", "data", "action"):
                self.links.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def test_the_page_is_well_formed_and_refers_to_nothing_but_itself(page: str) -> None:
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    assert len(checker.idents) == len(set(checker.idents))
    assert set(checker.wanted) <= set(checker.idents)
    assert all(link.startswith("#") for link in checker.links)
    assert {link[1:] for link in checker.links} <= set(checker.idents)
    assert not re.search(r"https?://|@import|url\(|fetch\(|XMLHttpRequest", page)


def test_titles_and_names_are_escaped(page: str) -> None:
    assert "<h1>A &lt;title&gt; &amp; more</h1>" in page
    assert "own <b>" not in page
    assert "own &lt;b&gt;&amp;task" in page


def test_every_chart_is_a_figure_with_title_description_caption_and_table(
    page: str,
) -> None:
    figures = re.findall(r"<figure.*?</figure>", page, re.DOTALL)
    assert len(figures) > 20
    for figure in figures:
        for part in (
            'role="img"',
            "<title",
            "<desc",
            "<figcaption",
            "<details",
            "<caption",
            'scope="col"',
            'scope="row"',
        ):
            assert part in figure
        assert 'class="mark' in figure


def test_recipes_parse_and_name_their_key(page: str, found: Comparison) -> None:
    texts = [
        unescape(text) for text in re.findall(r"<pre[^>]*>(.*?)</pre>", page, re.DOTALL)
    ]
    assert len(texts) == len(found.lines)
    assert all(
        {"task", "method", "sparsity"} <= tomllib.loads(text).keys() for text in texts
    )
    assert all(line.runs[0].key in page for line in found.lines)


def test_many_recipes_are_cut_and_the_page_says_so(
    found: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipes, "MOST_LINES", 5)
    page = render(found, (), "t")
    assert page.count('<details class="recipe"') == 5
    assert f"{len(found.lines) - 5} more lines are left out" in page
    assert "The tickets are not in this folder" in page


def test_the_command_writes_the_page_in_one_piece(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "page.html"
    done = CliRunner().invoke(
        app,
        [
            "report",
            str(folder),
            "-o",
            str(output),
            "--title",
            "Mine",
            "--reference",
            "lth",
        ],
    )
    assert done.exit_code == 0, done.output
    assert "53 runs" in done.output
    text = output.read_text(encoding="utf-8")
    assert "<h1>Mine</h1>" in text
    assert "against lth" in text
    assert [path.name for path in tmp_path.iterdir() if path != folder] == ["page.html"]


def test_a_page_of_runs_without_the_usual_reference_is_written_and_says_so(
    folder: Path, tmp_path: Path
) -> None:
    for path in folder.rglob("*.json"):
        if '"magnitude"' in path.read_text():
            path.unlink()
    report(folder, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "no run of magnitude to set the others against" in page
    with pytest.raises(UnknownName, match="unknown reference 'magnitude'"):
        report(folder, tmp_path / "page.html", reference="magnitude")


def test_errors_name_what_is_wrong(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no folder at"):
        report(tmp_path / "nowhere", tmp_path / "page.html")
    with pytest.raises(UnknownName, match="lht"):
        report(folder, tmp_path / "page.html", reference="lht")
    assert not (tmp_path / "page.html").exists()


def test_a_page_of_very_many_tasks_draws_the_first_and_says_so(
    found: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Drawn in full, a page of hundreds of tasks takes minutes to make and to open."""
    monkeypatch.setattr("instant_soup.report.sections.CHARTED", 1)
    drawn = render(found, (), "t")
    assert f"The first 1 of {len(found.tasks)} tasks." in drawn
    for task in found.tasks:
        assert (
            f"{task}, 50% pruned".replace("<", "&lt;")
            .replace(">", "&gt;")
            .replace("&task", "&amp;task")
            in drawn
        )


def test_the_first_screen_says_what_to_use(page: str) -> None:
    first = page[: page.index('<section id="sparsity"')]
    for words in (
        "What should I use at my budget?",
        "up to 1 T",
        "up to 1.5 T",
        "any cost",
        " seeds, ",
    ):
        assert words in first
