"""Tables: one comparison as CSV, JSON, Markdown and LaTeX."""

from __future__ import annotations

import csv
import json
import math
import unicodedata
from typing import Any

import pytest

from instant_soup.evidence import latex, tables
from instant_soup.evidence.compare import compare
from instant_soup.evidence.comparison import Comparison, Ranks
from instant_soup.evidence.machines import as_csv, as_json
from instant_soup.evidence.markdown import markdown
from instant_soup.evidence.overview import overviews
from instant_soup.evidence.runs import Run
from instant_soup.report.page import render

from .made_records import named, record


def runs() -> list[Run]:
    made: list[dict[str, Any]] = []
    for seed in range(4):
        up = 0.01 * seed
        made += [
            record("dense", 0.9 + up, seed=seed, sparsity=0.0),
            record("magnitude", 0.7 + up, seed=seed),
            record("magnitude", 0.81 + up, seed=seed, budget=1.6),
            record("instant-soup", 0.8 + 1.1 * up, seed=seed, ahead=0.6),
            record("instant-soup", 0.6 + up**2, seed=seed, ahead=0.6, control="layers"),
            record(
                "random",
                0.7 + (0.001, -0.001)[seed % 2] + up,
                seed=seed,
                knobs={"of_a|b_%": 1},
            ),
        ]
    return named([*made, record("snip", 0.75)])


@pytest.fixture
def found() -> Comparison:
    return compare(runs())


def test_csv_has_one_row_a_run_with_its_bill() -> None:
    rows = list(csv.DictReader(as_csv(runs()).splitlines()))
    assert len(rows) == len(runs())
    (one,) = [
        row
        for row in rows
        if (row["method"], row["control"], row["seed"]) == ("instant-soup", "", "2")
    ]
    assert float(one["figure"]) == pytest.approx(0.822)
    assert (one["task"], one["sparsity"], one["metric"]) == (
        "glue/sst2",
        "0.5",
        "accuracy",
    )
    assert (float(one["cost_in_T"]), one["look-ahead_steps"], one["train_steps"]) == (
        pytest.approx(1.62),
        "60",
        "100",
    )
    assert {row["control"] for row in rows} == {"", "layers"}


def test_json_is_all_of_it_and_strict(found: Comparison) -> None:
    whole = json.loads(
        as_json(found), parse_constant=lambda name: pytest.fail(f"{name} is not JSON")
    )
    assert whole["reference"] == "magnitude"
    assert len(whole["lines"]) == len(found.lines)
    line = next(
        one
        for one in whole["lines"]
        if one["method"] == "instant-soup" and not one["control"]
    )
    assert line["figure"]["n"] == len(line["figures"]) == len(line["keys"]) == 4
    assert line["bill"]["uncounted"] == pytest.approx(1.02)
    assert line["recovery"]["mean"] < 1
    assert len(whole["differences"]) == len(found.differences)
    assert whole["equal"][0]["reference"] == "magnitude (longer)"
    assert whole["controls"][0]["reference"] == "instant-soup, layers control"
    assert whole["remarks"] == list(found.remarks)


def test_markdown_has_a_section_for_each_table_and_whole_rows(found: Comparison) -> None:
    page = markdown(found)
    assert page.index("## glue/sst2, nothing pruned") < page.index(
        "## glue/sst2, 50% pruned"
    )
    assert "| instant-soup | 0.817 ± 0.023 | 4 | 89% | 1.62 | +0.102 | better |" in page
    assert (
        "- At equal cost (1.62 T): instant-soup against magnitude (longer) -0.009 (worse)"
        in page
    )
    widths = (len(tables.HEADS) + 1, len(tables.BILLED) + 2, len(found.offers) + 2)
    for row in (row for row in page.splitlines() if row.startswith("|")):
        assert row.replace("\\|", "").count("|") in widths


def test_a_control_stands_beneath_its_ticket_with_what_it_lacks(
    found: Comparison,
) -> None:
    rows = markdown(found).splitlines()
    (place,) = [
        i
        for i, row in enumerate(rows)
        if row.startswith("| instant-soup |") and "±" in row
    ]
    assert rows[place + 1].startswith("| ↳ layers control | 0.600")
    assert "worse (to its ticket)" in rows[place + 1]


def test_latex_is_balanced_and_escaped_and_bold_only_where_better(
    found: Comparison,
) -> None:
    page = latex.latex(found)
    assert page.count(r"\begin{") == page.count(r"\end{")
    assert page.count("{") == page.count("}")
    for line in page.splitlines():
        assert "%" not in line.replace(r"\%", ""), "would be a comment"
    assert [
        line.split("&")[0].strip() for line in page.splitlines() if "boldmath" in line
    ] == ["instant-soup"]
    assert "Bold: better than magnitude beyond noise" in page


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a_b", r"a\_b"),
        ("50%", r"50\%"),
        ("x^2 & y~", r"x\textasciicircum{}2 \& y\textasciitilde{}"),
    ],
)
def test_what_latex_would_read_is_escaped(text: str, escaped: str) -> None:
    assert latex.escaped(text) == escaped


HOSTILE = "\\\\input{x} [a](http://b) <b> | `c` & _d_ !"


def test_a_hostile_name_is_letters_in_every_format() -> None:
    """A backslash, HTML, links, newlines and formulas take no effect."""
    made = [
        record("magnitude", 0.7, task=f"=cmd|' /C'!A0\n\r{HOSTILE}"),
        record("magnitude", 0.7, task="@SUM(A1)"),
    ]
    comparison = compare(named(made))

    page = latex.latex(comparison)
    assert "\\input" not in page.replace(r"\textbackslash{}", "")
    assert page.count("{") == page.count("}")

    text = markdown(comparison)
    for markup in ("[a](", "<b>", "`c`"):
        assert markup not in text.replace("\\" + markup[0], "")
    assert r"\[a\](http:\//b)" in text
    assert sum(line.startswith("## =cmd") for line in text.splitlines()) == 1

    rows = list(csv.DictReader(as_csv(named(made)).splitlines()))
    assert len(rows) == 2
    assert all(row["task"].startswith("'") for row in rows)
    assert json.loads(as_json(comparison))


@pytest.mark.parametrize(
    "odd", ["a\x1b[2Jb", "a\x9b31m", "a\x00b", "a\u202eb", "a\u2028b", "a\ud800b", "a\tb"]
)
def test_what_is_not_seen_reaches_no_page_not_even_in_a_remark(odd: str) -> None:
    made = []
    for place, line in enumerate(("flat", "linear")):
        facts = record("magnitude", 0.7, task=odd, seed=place)
        facts["recipe"]["training"]["line"] = line
        made.append(facts)
    comparison = compare(named(made))
    assert any("learning-rate lines" in remark for remark in comparison.remarks)

    for text in (
        markdown(comparison),
        latex.latex(comparison),
        render(comparison, (), odd),
    ):
        unseen = {letter for letter in text if unicodedata.category(letter)[0] == "C"}
        assert unseen == {"\n"}
        assert not {"\u2028", "\u202e"} & set(text)
        text.encode()


@pytest.mark.parametrize("link", ["https://a.example", "www.a.example", "~~a~~"])
def test_a_name_is_neither_a_link_nor_struck_through(link: str) -> None:
    text = markdown(compare(named([record("magnitude", 0.7, task=link)])))
    assert link not in text


# a task at a glance


def at_three() -> Comparison:
    made = [
        record(
            name,
            figure - at / 2 + 0.001 * (seed * len(name) % 4),
            seed=seed,
            sparsity=at,
            ahead=ahead,
        )
        for name, figure, ahead in (
            ("magnitude", 0.7, 0.0),
            ("lth", 0.8, 0.0),
            ("instant-soup", 0.75, 0.6),
        )
        for at in (0.5, 0.7, 0.9)
        for seed in range(3)
        if (name, at) != ("lth", 0.7)
    ]
    rest = [
        record("snip", 0.9),
        record("lth", 0.1, sparsity=0.9, control="layers"),
        record("dense", 0.95, sparsity=0),
    ]
    return compare(named([*made, *rest]))


def test_a_task_at_a_glance_has_methods_down_and_sparsities_across() -> None:
    found = at_three()
    (whole,) = overviews(found)
    head, *rows = tables.overview_rows(found, whole, "**{}**")
    assert head == ["accuracy at", "50%", "70%", "90%", "cost, T"]
    assert [row[0] for row in rows] == ["instant-soup", "magnitude", "lth"], (
        "whole rows first, the best ahead"
    )
    assert rows[2][2] == "", "was not run"
    assert rows[2][1].startswith("**0.5"), "is better beyond noise"
    assert not any("*" in cell for cell in rows[1])
    assert [row[-1] for row in rows] == ["1.62", "1.02", "1.02"]
    assert (
        tables.overview_note(found, whole)
        == "Dense: 0.950 at 1.02 T. Bold: better than magnitude beyond noise."
    )
    assert "## glue/sst2 at a glance" in markdown(found)


def test_a_task_at_a_glance_says_where_there_is_one_seed_and_speaks_of_bold_only_where_something_is() -> (
    None
):
    found = compare(
        named(
            [
                record(name, 0.5, sparsity=at)
                for name in ("magnitude", "snip")
                for at in (0.5, 0.7)
            ]
        )
    )
    (whole,) = overviews(found)
    assert tables.overview_note(found, whole) == "Without an interval: one seed."


def test_one_sparsity_is_no_overview(found: Comparison) -> None:
    assert not list(overviews(found))
    assert "at a glance" not in markdown(found)


def test_latex_has_each_task_in_one_table_first() -> None:
    page = latex.latex(at_three())
    first = page.split(r"\end{table}")[0]
    assert r"accuracy at & 50\% & 70\% & 90\% & cost in $T$ \\" in first
    assert r"\begin{tabular}{lrrrr}" in first
    row = next(line for line in first.splitlines() if line.strip().startswith("lth"))
    assert [cell.strip() for cell in row.split("&")][2] == "--"
    assert row.count("boldmath") == 2
    assert "±" not in page
    assert page.count("{") == page.count("}")


# ranks


def test_methods_that_share_a_letter_are_closer_than_the_critical_difference() -> None:
    ranks = Ranks(
        {"a": 1.0, "b": 2.0, "c": 3.0},
        20,
        0.001,
        1.5,
        {"a": (1.0, 1.0), "b": (1.0, 4.0), "c": (1.5, 1.5)},
    )
    assert tables.rank_rows(ranks) == [
        ["a", "1.00", "a·", "1.00"],
        ["b", "2.00", "ab", "1.00 to 4.00"],
        ["c", "3.00", "·b", "1.50"],
    ]
    assert "Critical difference 1.50 (Nemenyi, 5 %)" in tables.ranks_in_words(ranks)


def test_no_method_is_told_apart_where_friedman_finds_nothing() -> None:
    ranks = Ranks(
        {"a": 1.0, "b": 2.0, "c": 3.0}, 20, 0.2, 0.1, dict.fromkeys("abc", (1.0, 1.0))
    )
    assert {letters for _, _, letters, _ in tables.rank_rows(ranks)} == {"a"}
    assert "no method is told apart" in tables.ranks_in_words(ranks)


def test_ten_thousand_runs_are_written_down() -> None:
    made = named(
        record(name, 0.5 + 0.01 * math.sin(seed * task), task=f"task {task}", sparsity=sparsity, seed=seed)
        for name in ("magnitude", "lth", "snip", "grasp", "random")
        for task in range(100) for sparsity in (0.5, 0.7) for seed in range(10)
    )  # fmt: skip
    found = compare(made)
    assert markdown(found).count("\n## ") == 302
    assert as_csv(made).count("\n") == 10_001
    assert json.loads(as_json(found))["lines"]
