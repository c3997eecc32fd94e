"""What the documentation shows is run."""

from __future__ import annotations

import re
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import instant_soup as soup
from instant_soup.checkpoints.block_job import Job
from instant_soup.checkpoints.blocks import prune_blocks
from instant_soup.models import tiny_decoders
from instant_soup.recipes.grid import expand
from instant_soup.tasks import CourseTask, text

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
SHOWN = {
    page: found
    for page in PAGES
    if (found := BLOCK.findall(page.read_text(encoding="utf-8")))
}
# the parts of transformers and torch that tell of their own
pytestmark = pytest.mark.filterwarnings(
    "ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning"
)


@pytest.fixture
def given(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    tiny_bert: Path,
    tiny_text: Path,
    quick_regime: soup.Regime,
) -> dict[str, Any]:
    """The world that pages speak of, in miniature: files at the paths that they name, and names they do not define.

    `soup.tasks.text` loads the miniature whatever model and data a page names.
    """

    def small(
        name: str, *, model: str = "packaged", data: str = "", **options: Any
    ) -> CourseTask:
        settings = {
            **options,
            "model": str(tiny_bert),
            "data": tiny_text,
            "regime": quick_regime,
        }
        return text(name, **{"columns": ("sentence",), **settings})

    # loaded first, or it would take the miniature for the real one, for as long as this process lives
    import_module("instant_soup.runs.run")
    monkeypatch.setattr(soup.tasks, "text", small)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_bert, "path/to/bert")
    shutil.copytree(tiny_text, "path/to/parquet")
    task = small("cola")
    soup.OneShot().draw(task, 0.5).save("cola.safetensors")
    batch = task.course.train.batch([0, 1, 2, 3])

    tiny_decoders.llama(Path("path/to/llm"))
    prune_blocks(
        "path/to/llm",
        "sparse-llm",
        Job(0.5, "magnitude", "row"),
        ticket="llm.safetensors",
    )
    windows = torch.arange(32).view(2, 16) % len(tiny_decoders.LETTERS)

    names = {"__name__": "__main__", "torch": torch, "soup": soup}
    return {**names, "loader": [batch] * 2, "loss_of": loss_of, "batches": [windows] * 2}


def loss_of(model: nn.Module, batch: Any) -> Tensor:
    loss: Tensor = model(**batch).loss
    return loss


@pytest.mark.parametrize("page", SHOWN, ids=[page.name for page in SHOWN])
def test_python_shown_in_the_documentation_runs(
    given: dict[str, Any], page: Path, capsys: Any
) -> None:
    """The blocks of a page one after another: what one defines the next may use."""
    for code in SHOWN[page]:
        exec(compile(code, str(page), "exec"), given)  # noqa: S102 - our own page
    capsys.readouterr()


def test_the_readme_shows_code() -> None:
    assert ROOT / "README.md" in SHOWN


def test_toml_shown_in_the_documentation_is_a_recipe(tmp_path: Path) -> None:
    for page in PAGES:
        for i, block in enumerate(
            re.findall(
                r"^```toml\n(.*?)^```",
                page.read_text(encoding="utf-8"),
                re.MULTILINE | re.DOTALL,
            )
        ):
            path = tmp_path / f"{page.stem}-{i}.toml"
            path.write_text(block, encoding="utf-8")
            assert expand(path)


def test_links_between_pages_lead_somewhere() -> None:
    for page in [
        *PAGES,
        ROOT / "ARCHITECTURE.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "CHANGELOG.md",
    ]:
        for target in re.findall(
            r"\]\((?!https?:|#)([\w./-]+)", page.read_text(encoding="utf-8")
        ):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
