"""Figures that prose shows beside the record they are from are those of the record, to the last digit shown."""

from __future__ import annotations

import json
import re
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

from instant_soup.store.plain import read_sealed

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"\| (?P<figure>\d+(?:\.\d+)?) \| `(?P<record>results/[^`]*\.json)` \|")
PAGES = ("docs/language-models.md",)
TRIED = {
    "kills": (
        "{kills} kills at random moments, {damages} files damaged between: {same} times the same files as undisturbed, "
        "{refusals} refusals that name the file, {wrong} of anything else"
    ),
    "hostile": (
        "{inputs} odd inputs: {faults} faults, {lost} files lost, {strays} written where none was asked for, "
        "{connections} connections"
    ),
}
"""How README says what a record of attacks counts."""


def script(name: str) -> ModuleType:
    """The script of benchmarks called *name*, as a module."""
    path = ROOT / "benchmarks" / f"{name}.py"
    spec = spec_from_file_location(name, path)
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    # dataclasses look their module up, and scripts their neighbours
    sys.modules[name] = module
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", PAGES)
def test_a_figure_beside_its_record_is_that_of_the_record(page: str) -> None:
    rows = list(ROW.finditer((ROOT / page).read_text(encoding="utf-8")))
    assert rows, "no row shows a figure and its record"
    for row in rows:
        path = ROOT / row["record"]
        record = json.loads(path.read_text(encoding="utf-8"))
        digits = len(row["figure"].partition(".")[2])
        assert row["figure"] == f"{record['test'][record['metric']]:.{digits}f}", path


def test_what_parts_are_worth_is_what_the_records_say() -> None:
    """The table of ablations on the card of Instant Soup Pruning, made by the script that it names."""
    ablations = script("ablations")
    recipes = sorted((ROOT / "recipes" / "equal-steps").glob("*-ablations.toml"))
    lines = ablations.table(ROOT / "results", recipes)
    assert len(lines) > 10
    card = (ROOT / "docs" / "methods" / "instant-soup.md").read_text(encoding="utf-8")
    assert "\n".join(lines) in card


def test_what_look_aheads_add_is_what_the_records_say() -> None:
    """The table of the decision record on where look-aheads decide, made by the script that it names."""
    recipes = sorted((ROOT / "recipes" / "equal-steps").glob("*-denoising.toml"))
    lines = script("denoising").table(ROOT / "results", recipes)
    assert len(lines) > 10
    page = ROOT / "docs" / "adr" / "0024-where-look-aheads-decide.md"
    assert "\n".join(lines) in page.read_text(encoding="utf-8")


def test_what_methods_reach_at_equal_steps_is_what_the_records_say() -> None:
    """README's table, made by the script that it names."""
    equal_steps = script("equal_steps")
    records = [run.record for run in equal_steps.collect(ROOT / "results")]
    lines = equal_steps.table(records)
    assert len(lines) > 6
    assert "\n".join(lines) in (ROOT / "README.md").read_text(encoding="utf-8")


def test_what_adapters_recover_is_what_was_measured() -> None:
    record = json.loads((ROOT / "results" / "language-lora.json").read_text())
    page = (ROOT / "docs" / "language-models.md").read_text(encoding="utf-8")
    (row,) = record["rows"]
    assert f"on the same fifty batches: {row['test']:.2f} (" in page
    assert (row["ticket"], row["steps"], row["rank"]) == ("wanda", 50, 8)
    assert f"{row['trained']:,} weights instead of" in page
    assert row["validation, merged"] == pytest.approx(row["validation"], rel=1e-6)


def test_what_streamed_pruning_took_is_what_was_measured() -> None:
    record = json.loads((ROOT / "results" / "prune-blocks.json").read_text())
    page = (ROOT / "docs" / "language-models.md").read_text(encoding="utf-8")
    names = {"wanda": "Wanda", "ria": "RIA", "sparsegpt": "SparseGPT"}
    assert {row["score"] for row in record["rows"]} == names.keys()

    for row in record["rows"]:
        sizes = [row[name] / 2**30 for name in ("block", "planned", "peak")]
        cells = " | ".join(f"{size:.2f} GiB" for size in sizes)
        windows = f"{row['samples']} of {row['window']:,} tokens"
        pattern = row["pattern"].replace("unstructured", "50 %")
        width = f"{row['width']:,}"
        if row["experts"]:
            width += f", {row['experts']} experts"
        line = f"| {names[row['score']]}, {pattern} | {width} | {windows} | {cells} |"
        assert line in page
        assert row["peak"] < row["limit"] * 2**30
        # the plan is for what comes on top of Python, and leaves out what libraries take while they work
        unplanned = row["peak"] - row["python"] - row["planned"]
        assert -0.2 * row["planned"] < unplanned < 0.2 * 2**30


@pytest.mark.parametrize("name", TRIED)
def test_readme_says_the_counts_of_the_attacks_that_were_tried(name: str) -> None:
    record = read_sealed(ROOT / "results" / f"{name}.json")
    counts = {name: f"{count:,}" for name, count in record["all"].items()}
    row = f"{TRIED[name].format(**counts)} | `results/{name}.json` |"
    assert row in (ROOT / "README.md").read_text(encoding="utf-8"), row


@pytest.mark.parametrize("name", TRIED)
def test_what_a_record_of_attacks_counts_in_all_is_the_sum_of_its_kinds(
    name: str,
) -> None:
    record = read_sealed(ROOT / "results" / f"{name}.json")
    for count, total in record["all"].items():
        assert total == sum(kind[count] for kind in record["kinds"].values())


def test_what_must_never_happen_never_did() -> None:
    kills = read_sealed(ROOT / "results" / "kills.json")["all"]
    hostile = read_sealed(ROOT / "results" / "hostile.json")["all"]
    never = [hostile[count] for count in ("faults", "lost", "strays", "connections")]
    assert [kills["wrong"], *never] == [0] * 5
