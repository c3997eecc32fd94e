"""The page in a real browser: silent, drawn, usable without a mouse, and free of serious faults of accessibility.

AXE names a file with axe-core, as `npm pack axe-core` brings it; without one that test is skipped.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
AXE = Path(os.environ.get("AXE", "axe.min.js"))
SIZES = [(390, 844), (820, 1180), (1400, 900)]


def _module(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    made = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = made
    spec.loader.exec_module(made)
    return made


chromium = _module(Path(__file__).with_name("browser.py"))
scale = _module(ROOT / "benchmarks" / "report_scale.py")
pytestmark = pytest.mark.skipif(
    chromium.found() is None,
    reason="no Chromium on this machine: apt-get install chromium",
)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with every kind of chart."""
    from instant_soup.core.agreement import Agreement
    from instant_soup.evidence.agreement import Pair
    from instant_soup.evidence.compare import compare
    from instant_soup.evidence.runs import named
    from instant_soup.evidence.statistics import interval
    from instant_soup.evidence.transfers import Matrix
    from instant_soup.report.page import render
    from instant_soup.store.record import Record, upgraded

    made = [
        scale.record(task, sparsity, method, seed)
        for task in ("glue/sst2", "vision/mnist")
        for sparsity in (0.5, 0.7)
        for method in scale.METHODS[:12]
        for seed in (0, 1, 2)
    ]
    soup = scale.record("glue/sst2", 0.0, {"name": "model-soup"}, 0)
    fates = (
        {"taken": True, "barrier": None},
        {"taken": False, "barrier": 0.1},
        {"share": 0.3, "barrier": -0.1},
    )
    soup["ticket"]["notes"] = {
        "ingredients": [{"validation": 0.8, **fate} for fate in fates]
    }
    names = [method["name"] for method in scale.METHODS[:6]]
    alike = Agreement(50, 50, 30, 0.6, 0.4, 0.4, 0.3, 0.2, 0.25, 0.15)
    pairs = [
        Pair("glue/sst2", 0.5, 0, one, other, alike)
        for one in names
        for other in names
        if one < other
    ]
    dense = [scale.record("glue/sst2", 0.0, {"name": "dense"}, seed) for seed in (0, 1)]
    tasks = ("glue/cola", "glue/rte", "glue/sst2 (limit=4000)", "glue/stsb")
    cells = {
        (one, to): interval([0.9 - 0.2 * i, 0.8 - 0.2 * i])
        for i, one in enumerate(tasks)
        for to in tasks
    }
    others = {
        (name, "glue/rte"): interval([0.8]) for name in ("magnitude", "random", "dense")
    }
    moved = Matrix(
        "instant-soup", 0.5, tasks, dict.fromkeys(tasks, "spearman"), cells, others
    )
    path = tmp_path_factory.mktemp("page") / "report.html"
    records = [Record.model_validate(upgraded(facts)) for facts in (*made, soup, *dense)]
    path.write_text(
        render(compare(named(records)), pairs, "Report", [moved]), encoding="utf-8"
    )
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with chromium.browser(tmp_path_factory.mktemp("profile")) as one:
        yield one


def told(browser: Any, method: str) -> list[dict[str, Any]]:
    return [event["params"] for event in browser.events if event.get("method") == method]


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_nothing_is_asked_for_nothing_goes_wrong_and_nothing_is_too_wide(
    browser: Any, page: Path, width: int, height: int
) -> None:
    browser.events.clear()
    browser.open(page, width=width, height=height)
    requests = {
        request["request"]["url"]
        for request in told(browser, "Network.requestWillBeSent")
    }
    assert requests == {page.resolve().as_uri()}
    for trouble in (
        "Runtime.exceptionThrown",
        "Runtime.consoleAPICalled",
        "Log.entryAdded",
    ):
        assert told(browser, trouble) == []
    assert browser.run("document.documentElement.scrollWidth") <= width


def test_every_chart_has_marks_that_can_be_seen(browser: Any, page: Path) -> None:
    browser.open(page)
    marks = browser.run(
        "[...document.querySelectorAll('.chart')].map(chart => [...chart.querySelectorAll('.mark')]"
        ".filter(mark => { const box = mark.getBoundingClientRect(); return box.width > 0 && box.height > 0 }).length)"
    )
    assert len(marks) > 20
    assert all(marks)


def test_no_words_of_a_chart_are_cut_off_or_on_top_of_each_other(
    browser: Any, page: Path
) -> None:
    browser.open(page)
    found = browser.run(
        """[...document.querySelectorAll('.chart')].flatMap(chart => {
          const frame = chart.getBoundingClientRect();
          const words = [...chart.querySelectorAll('text')].map(one => [one.textContent, one.getBoundingClientRect()]);
          const cut = words.filter(([, box]) => box.left < frame.left - 1 || box.right > frame.right + 1
            || box.top < frame.top - 1 || box.bottom > frame.bottom + 1).map(([word]) => `cut: ${word}`);
          const over = words.flatMap(([one, a], i) => words.slice(i + 1).filter(([, b]) =>
            a.left < b.right - 2 && b.left < a.right - 2 && a.top < b.bottom - 4 && b.top < a.bottom - 4)
            .map(([other]) => `${one} on ${other}`));
          return [...cut, ...over].map(fault => `${chart.querySelector('desc').id} ${fault}`);
        })"""
    )
    assert found == []


def test_the_picker_filters_charts_tables_and_recipes(browser: Any, page: Path) -> None:
    browser.open(page)
    box = "[...document.querySelectorAll('.picker label')].find(one => one.innerText.trim() === 'magnitude').control"
    its = f"document.querySelectorAll(`[data-m='${{{box}.value}}']`)"
    seen = f"[...{its}].filter(one => one.getClientRects().length).length"
    height = "document.querySelector('[data-stack]').getBoundingClientRect().height"
    stairs = "document.querySelector('.front').getAttribute('points')"
    before, tall, steps = browser.run(seen), browser.run(height), browser.run(stairs)
    assert before > 10
    browser.run(f"{box}.click()")
    assert browser.run(seen) == 0
    assert "of" in browser.run("document.getElementById('picked').textContent")
    browser.run("document.querySelector('[data-pick=none]').click()")
    assert browser.run(
        "[...document.querySelectorAll('.mark[data-m]')].every(mark => !mark.getClientRects().length)"
    )
    assert browser.run(height) < tall
    assert browser.run(stairs) == ""
    browser.run("document.querySelector('[data-pick=all]').click()")
    assert (browser.run(seen), browser.run(height)) == (before, pytest.approx(tall))
    again = [
        round(float(place)) for place in browser.run(stairs).replace(",", " ").split()
    ]
    assert again == [round(float(place)) for place in steps.replace(",", " ").split()]


def test_marks_can_be_walked_with_arrows_and_say_what_they_are(
    browser: Any, page: Path
) -> None:
    browser.open(page)
    browser.run("document.querySelector('.chart').scrollIntoView({behavior: 'instant'})")
    browser.run("new Promise(done => setTimeout(done, 300))")
    assert (
        browser.run(
            "document.querySelectorAll('.chart')[0].querySelectorAll('[tabindex=\"0\"]').length"
        )
        == 1
    )
    browser.run("document.querySelector('.chart .mark[tabindex=\"0\"]').focus()")
    tip = "document.getElementById('tip').hidden ? '' : document.getElementById('tip').textContent"
    first = browser.run(tip)
    browser.press("ArrowRight")
    second = browser.run(tip)
    assert first
    assert second
    assert first != second
    assert browser.run("document.activeElement.getAttribute('aria-label')") == second
    browser.press("Escape")
    assert browser.run(tip) == ""


def test_pointing_at_a_mark_tells(browser: Any, page: Path) -> None:
    browser.open(page)
    place = json.loads(
        browser.run(
            "(() => { const mark = document.querySelector('.chart .mark use');"
            "mark.scrollIntoView({block: 'center', behavior: 'instant'}); const box = mark.getBoundingClientRect();"
            "return JSON.stringify([box.x + box.width / 2, box.y + box.height / 2]) })()"
        )
    )
    browser.run("new Promise(done => setTimeout(done, 300))")
    browser.point(*place)
    browser.point(place[0] + 0.5, place[1])
    assert " T, " in browser.run("document.getElementById('tip').textContent")
    assert not browser.run("document.getElementById('tip').hidden")


@pytest.mark.skipif(
    not AXE.is_file(),
    reason="no axe-core: `npm pack axe-core`, and name its axe.min.js in AXE",
)
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1400])
def test_axe_finds_nothing_serious(
    browser: Any, page: Path, width: int, dark: bool
) -> None:
    browser.open(page, width=width, dark=dark)
    browser.run(
        "document.querySelectorAll('details').forEach((one, i) => { if (i < 30) one.open = true })"
    )
    browser.run(
        "(async () => { document.documentElement.style.scrollBehavior = 'auto';"
        "for (const chart of document.querySelectorAll('.chart')) { chart.scrollIntoView();"
        "await new Promise(requestAnimationFrame) } scrollTo(0, 0) })()"
    )
    browser.run(AXE.read_text(encoding="utf-8"))
    found = browser.run(
        "axe.run({resultTypes: ['violations']}).then(one => JSON.stringify(one.violations))"
    )
    serious = [
        (
            one["id"],
            one["help"],
            one["nodes"][0]["html"][:200],
            one["nodes"][0]["failureSummary"][:300],
        )
        for one in json.loads(found)
        if one["impact"] in ("serious", "critical")
    ]
    assert serious == []
