"""Figures that prose shows beside the record they are from are those of the record, to the last digit shown."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"\| (?P<figure>\d+(?:\.\d+)?) \| `(?P<record>results/[^`]*\.json)` \|")
PAGES = ("docs/language-models.md",)


@pytest.mark.parametrize("page", PAGES)
def test_a_figure_beside_its_record_is_that_of_the_record(page: str) -> None:
    rows = list(ROW.finditer((ROOT / page).read_text(encoding="utf-8")))
    assert rows, "no row shows a figure and its record"
    for row in rows:
        path = ROOT / row["record"]
        record = json.loads(path.read_text(encoding="utf-8"))
        digits = len(row["figure"].partition(".")[2])
        assert row["figure"] == f"{record['test'][record['metric']]:.{digits}f}", path
