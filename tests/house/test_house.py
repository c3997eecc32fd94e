"""What the house promises to those who read it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import instant_soup as soup
from instant_soup.recipes.grid import expand
from instant_soup.tasks import CourseTask

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "instant_soup"
SOURCES = sorted(PACKAGE.rglob("*.py"))


def test_every_module_has_its_line_in_architecture_and_every_line_its_module() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    listed = re.findall(r"^- `([a-z_/]+\.py)`: \S", page, flags=re.MULTILINE)
    rooms = re.findall(r"^### (\w+)$", page, flags=re.MULTILINE)

    modules = {
        str(path.relative_to(PACKAGE))
        for path in SOURCES
        if not path.name.startswith("__")
    }
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}

    assert sorted(listed) == sorted(modules)
    assert sorted(rooms) == sorted(folders)


def test_every_public_name_is_documented_and_loads() -> None:
    for name in soup.__all__:
        assert getattr(soup, name) is not None
        if name.istitle() or name.islower():
            assert getattr(soup, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'Soop'"):
        soup.Soop  # noqa: B018 - looking it up is the test


def test_importing_the_package_is_cheap_and_touches_no_network() -> None:
    """Not even torch is imported, and no socket can be opened."""
    script = (
        "import socket, sys\n"
        "socket.socket.connect = socket.create_connection = lambda *a, **k: sys.exit('network!')\n"
        "import instant_soup\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules\n"
        "instant_soup.InstantSoup, instant_soup.tasks, instant_soup.evaluate\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def test_the_demo_recipe_in_the_tree_is_the_one_that_the_demo_runs() -> None:
    from instant_soup.runs.demo import SOUP, recipe

    assert soup.Recipe.read(ROOT / "recipes" / "demo.toml").key == recipe(SOUP, 0.9).key


def test_every_recipe_in_the_tree_reads() -> None:
    benches = [ROOT / "recipes" / "bench", ROOT / "recipes" / "equal-steps"]
    parts = [
        path
        for bench in benches
        for path in (bench / "methods.toml", *(bench / "settings").iterdir())
    ]
    # no recipe: figures that papers print
    parts.append(ROOT / "recipes" / "language" / "published.toml")
    for path in (ROOT / "recipes").rglob("*.toml"):
        if path not in parts:
            wanted = expand(path)
            assert wanted, path
            assert len({one.name for one in wanted}) == len(wanted), path


def test_every_recipe_of_the_paper_can_be_planned_without_loading_and_fits_its_budget(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from instant_soup.runs import stand_in
    from instant_soup.runs.plan import plan
    from instant_soup.runs.sizes import Sizes

    monkeypatch.setattr(stand_in, "_SIDE", 30)
    for path in (ROOT / "recipes" / "paper").rglob("*.toml"):
        for one in expand(path):
            sizes = Sizes.known(one.recipe)
            assert sizes is not None, (path, one.name)
            assert plan(one.recipe, sizes).ratio > 1, (path, one.name)


def test_every_recipe_of_language_models_is_planned_without_a_hub_or_weights(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from instant_soup.runs import stand_in
    from instant_soup.runs.plan import Planner

    def refuse(recipe: soup.Recipe) -> CourseTask:
        raise AssertionError(f"{recipe.label} was loaded")

    monkeypatch.setattr(stand_in, "_SIDE", 32)
    # where the texts that smollm2.toml names are not
    monkeypatch.chdir(tmp_path)
    planner = Planner(refuse, timed=False)
    for path in sorted((ROOT / "recipes" / "language").glob("*.toml")):
        if path.name == "published.toml":
            continue
        for one in expand(path):
            planned = planner.plan(one.recipe)
            assert planned.full.steps == 100, (path, one.name)
            assert any("is not read" in remark for remark in planned.remarks), path


def test_every_committed_record_belongs_to_its_recipe() -> None:
    """A record of an older schema is older than today's keys; what it says is checked all the same."""
    import json

    from instant_soup.recipes.recipe import SCHEMA as RECIPE_SCHEMA
    from instant_soup.store.plain import sealed
    from instant_soup.store.record import SCHEMA

    for path in (ROOT / "results").glob("*/*.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        assert 1 <= record["schema"] <= SCHEMA, path
        if record["schema"] >= RECIPE_SCHEMA:
            assert soup.Recipe.parse(record["recipe"]).key == record["key"], path
        if record["schema"] >= 3:
            assert sealed(record), path
        kept, prunable = record["ticket"]["kept"], record["ticket"]["prunable"]
        assert kept == round((1 - record["recipe"]["sparsity"]) * prunable), path


def test_records_of_transfers_in_the_tree_are_whole() -> None:
    from instant_soup.evidence import transfers

    for record in transfers.transfer_records(ROOT / "results"):
        assert record.source.recipe, record.key
        assert record.ticket.kept == round(
            (1 - record.source.sparsity) * record.ticket.prunable
        )


def test_the_page_of_results_is_made_from_the_records() -> None:
    """`make report` makes it."""
    from instant_soup.evidence.compare import compare
    from instant_soup.evidence.markdown import markdown
    from instant_soup.evidence.runs import collect
    from instant_soup.evidence.transfers import matrices

    runs = collect(ROOT / "results")
    page = markdown(compare(runs), matrices(ROOT / "results", runs))
    assert (ROOT / "docs" / "results.md").read_text(encoding="utf-8") == page
