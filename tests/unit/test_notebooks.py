"""What a notebook shows of values: short, and with names as letters."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from rich.console import Console

import instant_soup as soup
from instant_soup.core.task import Base
from instant_soup.evidence.compare import compare
from instant_soup.evidence.runs import collect
from instant_soup.runs.progress import progress
from instant_soup.store.record import read_run
from instant_soup.tasks import CourseTask

CORPUS = Path(__file__).parents[1] / "corpus" / "records"


def values() -> list[object]:
    mask = soup.Mask(
        soup.Scope({"a.<b>": (2, 3)}), {"a.<b>": torch.ones(2, 3, dtype=torch.bool)}
    )
    ticket = soup.Ticket(
        mask,
        {"head": torch.zeros(1000)},
        Base("a <model>", "0" * 64),
        method={"name": "snip", "k": 1},
    )
    result = soup.Result(
        {"accuracy": 0.5}, 0.6, soup.Cost(1, 2, 3, 4), {"w": torch.zeros(1000)}
    )
    record = read_run(CORPUS / "schema-3-lth.json")
    return [
        mask,
        mask.scope,
        ticket,
        result,
        record,
        compare(collect(CORPUS), "magnitude"),
    ]


@pytest.mark.parametrize("value", values(), ids=lambda value: type(value).__name__)
def test_a_value_is_shown_in_a_line_and_as_a_table(value: object) -> None:
    line = repr(value)
    assert line.startswith(f"{type(value).__name__}(")
    assert len(line) < 200
    assert "\n" not in line
    page = value._repr_html_()  # type: ignore[attr-defined]
    assert page.startswith("<table>")
    assert page.count("<tr>") == page.count("</tr>") >= 1
    assert "<b>" not in page
    assert "<model>" not in page


def test_drawing_and_judging_show_how_far_they_are(mini: CourseTask) -> None:
    terminal = Console(width=120, force_terminal=True, file=io.StringIO(), record=True)
    with progress(mini, "drawing", console=terminal) as meter:
        ticket = soup.OneShot().draw(mini, 0.5, meter)
    with progress(mini, "judging", console=terminal) as meter:
        soup.evaluate(ticket, mini, meter=meter)
    text = terminal.export_text()
    assert "drawing" in text
    assert "judging" in text
    assert "spent 1." in text
    assert meter.spent.steps == mini.horizon


def test_evaluate_takes_progress(mini: CourseTask) -> None:
    ticket = soup.OneShot().draw(mini, 0.5)
    assert (
        soup.evaluate(ticket, mini, progress=True).test
        == soup.evaluate(ticket, mini).test
    )
