"""What the documentation shows is run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import instant_soup as soup
from instant_soup.lab.grid import expand
from instant_soup.tasks import text

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
BLOCKS = [(page, code) for page in PAGES for code in BLOCK.findall(page.read_text(encoding="utf-8"))]


@pytest.fixture
def miniature(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_bert: Path, tiny_text: Path, quick_regime: soup.Regime
) -> None:
    """Lets `soup.tasks.text` load the miniature whatever model and data the page names."""

    def small(name: str, *, model: str = "packaged", data: str = "", **options: Any) -> object:
        settings = {**options, "model": str(tiny_bert), "data": tiny_text, "regime": quick_regime}
        return text(name, **{"columns": ("sentence",), **settings})

    monkeypatch.setattr(soup.tasks, "text", small)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("page", "code"), BLOCKS, ids=[f"{page.name}-{i}" for i, (page, _) in enumerate(BLOCKS)])
def test_python_shown_in_the_documentation_runs(miniature: None, page: Path, code: str, capsys: Any) -> None:
    exec(compile(code, str(page), "exec"), {"__name__": "__main__"})  # noqa: S102 - our own page
    capsys.readouterr()


def test_the_readme_shows_code() -> None:
    assert any(page.name == "README.md" for page, _ in BLOCKS)


def test_toml_shown_in_the_documentation_is_a_recipe(tmp_path: Path) -> None:
    for page in PAGES:
        for i, block in enumerate(
            re.findall(r"^```toml\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
        ):
            path = tmp_path / f"{page.stem}-{i}.toml"
            path.write_text(block, encoding="utf-8")
            assert expand(path)


def test_links_between_pages_lead_somewhere() -> None:
    for page in [*PAGES, ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]:
        for target in re.findall(r"\]\((?!https?:|#)([\w./-]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
