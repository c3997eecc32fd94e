"""Charts are well-formed, stay inside their box, and say in their table what they draw."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from instant_soup.evidence.agreement import Pair
from instant_soup.evidence.comparison import Comparison, Ranks
from instant_soup.report import soups
from instant_soup.report.agreement import alike
from instant_soup.report.costs import by_purpose
from instant_soup.report.drawing import Chart, beside, stairs
from instant_soup.report.figures import by_cost, by_sparsity
from instant_soup.report.layers import layers
from instant_soup.report.marks import COLOURS, SHAPES, Look, assign_looks
from instant_soup.report.ranking import by_rank
from instant_soup.report.sections import sections
from instant_soup.report.votes import FACTS, votes

TASK = "glue/sst2"


@pytest.fixture(scope="module")
def seen(found: Comparison) -> dict[str, Look]:
    return dict(assign_looks(sorted({line.method for line in found.lines})))


@pytest.fixture(scope="module")
def charts(found: Comparison, pairs: list[Pair], seen: dict[str, Look]) -> list[Chart]:
    return [chart for section in sections(found, pairs, seen) for chart in section.charts]


def tree(chart: Chart) -> ElementTree.Element:
    return ElementTree.fromstring(f"<svg>{chart.content}</svg>")  # noqa: S314 - our own


def tips(chart: Chart) -> list[str]:
    return [
        mark.get("data-tip", "")
        for mark in tree(chart).iter()
        if "mark" in (mark.get("class") or "").split()
    ]


def test_every_kind_of_chart_is_there_with_marks_words_and_a_table(
    charts: list[Chart],
) -> None:
    assert len(charts) > 20
    for chart in charts:
        assert tips(chart), chart.title
        assert all(tips(chart))
        assert chart.title
        assert chart.finding.endswith(".")
        assert chart.caption.endswith(".")
        assert chart.rows
        assert all(len(row) == len(chart.head) for _, row in chart.rows), chart.title


def test_nothing_is_drawn_outside_the_box(charts: list[Chart]) -> None:
    for chart in charts:
        for part in tree(chart).iter():
            for name, most in (
                ("x", chart.width),
                ("x1", chart.width),
                ("x2", chart.width),
                ("y1", chart.height),
            ):
                assert -1 <= float(part.get(name, "0")) <= most + 1, (
                    chart.title,
                    ElementTree.tostring(part),
                )
            if part.tag == "polyline":
                for x, y in (
                    map(float, point.split(","))
                    for point in part.get("points", "").split()
                ):
                    assert -1 <= x <= chart.width + 1
                    assert -1 <= y <= chart.height + 1


def test_names_end_where_the_box_ends(charts: list[Chart]) -> None:
    """A letter is counted with six units, its usual width in this size."""
    for chart in charts:
        for part in tree(chart).iter("text"):
            if part.get("transform"):
                continue
            x, wide = float(part.get("x", "0")), 6 * len(part.text or "")
            left = x - {"middle": wide / 2, "end": wide}.get(
                part.get("text-anchor", ""), 0.0
            )
            assert left >= -2, (chart.title, part.text)
            assert left + wide <= chart.width + 2, (chart.title, part.text)


def test_a_mark_against_sparsity_says_mean_interval_cost_and_seeds(
    found: Comparison, seen: dict[str, Look]
) -> None:
    chart = by_sparsity(TASK, found, seen)
    assert chart
    line = next(line for line in found.of(TASK, 0.5) if line.method == "lth")
    said = next(tip for tip in tips(chart) if tip.startswith("lth at 50%"))
    assert f"{line.figure.mean:.3f} ± {line.figure.half:.3f}" in said
    assert f"{line.cost.mean:.2f} T, 3 seeds" in said
    assert "dense" in str(chart.content)


def test_the_stairs_of_a_cost_chart_pass_through_the_front_only(
    found: Comparison, seen: dict[str, Look]
) -> None:
    chart = by_cost(TASK, 0.5, found, seen)
    assert chart
    front = [line for line in found.of(TASK, 0.5) if line.frontier]
    stair = next(
        part for part in tree(chart).iter("polyline") if part.get("class") == "front"
    )
    assert len(stair.get("points", "").split()) == 2 * len(front) - 1
    assert all(line.title in chart.finding for line in front)


def test_stairs_go_right_before_they_go_up() -> None:
    assert 'points="0.0,9.0 5.0,9.0 5.0,3.0"' in stairs([(0, 9), (5, 3)])


def test_bars_are_as_long_as_the_bill(found: Comparison, seen: dict[str, Look]) -> None:
    chart = by_purpose(TASK, 0.5, found, seen)
    assert chart
    soup = next(row for _, row in chart.rows if row[0] == "instant-soup")
    assert sum(float(cell) for cell in soup[1:5] if cell) == pytest.approx(
        float(soup[5]), abs=0.02
    )
    assert float(soup[6]) == pytest.approx(float(soup[5]) - float(soup[2]), abs=0.011)
    totals = [float(row[5]) for _, row in chart.rows]
    assert totals == sorted(totals)


def test_layers_come_as_parameters_or_as_whole_layers(
    found: Comparison, seen: dict[str, Look]
) -> None:
    fine, coarse = (
        layers(found.of(TASK, 0.5), seen, by_layer=by_layer) for by_layer in (False, True)
    )
    assert fine
    assert coarse
    assert (len(fine.head), len(coarse.head)) == (1 + 72, 1 + 12)
    own = next(line for line in found.of(TASK, 0.5) if line.method == "lth").runs
    first = (
        sum(
            run.layers["bert.encoder.layer.0.attention.self.query.weight"][0] / 589_824
            for run in own
        )
        / 3
    )
    assert next(row for _, row in fine.rows if row[0] == "lth")[1] == f"{first:.1%}"


def test_votes_are_means_over_seeds(found: Comparison, seen: dict[str, Look]) -> None:
    chart = votes(TASK, FACTS[2], found.of(TASK, 0.5), seen)
    assert chart
    assert [row[3] for _, row in chart.rows] == ["2.000%", "1.000%", "0.667%", "0.500%"]
    assert (
        votes(
            TASK, FACTS[2], [line for line in found.lines if line.method == "lth"], seen
        )
        is None
    )


def test_soups_say_what_was_taken_left_out_and_shared(
    found: Comparison, seen: dict[str, Look]
) -> None:
    chosen, barriers = soups.chosen(TASK, found, seen), soups.barriers(TASK, found, seen)
    assert chosen
    assert barriers
    fates = {
        row[0]: [cells[4] for _, cells in chosen.rows if cells[0] == row[0]]
        for _, row in chosen.rows
    }
    assert fates == {
        "model-soup": ["taken", "left out", "share 0.3"],
        "lottery-pools at 50%": ["share 0.5"],
    }
    assert str(chosen.content).count("hollow") == 1
    assert barriers.finding == "1 of 2 barriers are above 0."


def test_agreement_is_a_square_with_and_without_chance(
    pairs: list[Pair], seen: dict[str, Look]
) -> None:
    plain, beyond = (alike(pairs, seen, beyond=beyond) for beyond in (False, True))
    assert plain
    assert beyond
    assert plain.head == ("method", "instant-soup", "lth", "magnitude")
    assert plain.rows[0][1] == ("instant-soup", "", "0.600", "")
    assert beyond.rows[0][1] == ("instant-soup", "", "0.250", "")


def test_bars_of_ranks_join_what_is_not_told_apart(seen: dict[str, Look]) -> None:
    ranks = Ranks(
        {"lth": 1.0, "instant-soup": 2.2, "random": 3.9},
        9,
        0.001,
        1.3,
        {"lth": (4.0, 4.0), "instant-soup": (1.0, 1.5), "random": (1.0, 1.0)},
    )
    drawn = str(by_rank(ranks, seen).content)
    assert drawn.count('class="critical"') == 2  # the measure and one bar
    assert (
        str(by_rank(replace(ranks, p=0.4), seen).content).count('class="critical"') == 2
    )
    ends = re.findall(
        r'class="critical" x="([\d.]+)".*?width="([\d.]+)"',
        str(by_rank(replace(ranks, p=0.4), seen).content),
    )
    # Friedman's test rejects nothing: one bar over all
    assert float(ends[1][1]) > float(ends[0][1])


def test_names_cover_neither_each_other_nor_marks() -> None:
    table = assign_looks([f"method {i}" for i in range(30)])
    marks = [(look, 200.0, 100.0 + i % 3) for i, look in enumerate(table.values())]
    assert 1 <= len(beside(marks)) <= 8


def test_no_two_of_many_methods_look_the_same() -> None:
    table = assign_looks(map(str, range(COLOURS * len(SHAPES))))
    assert len({(look.colour, look.shape) for look in table.values()}) == len(table)


def test_charts_without_data_are_left_out_with_a_reason(found: Comparison) -> None:
    poor = replace(
        found,
        lines=tuple(line for line in found.lines if line.method == "dense"),
        ranks=None,
    )
    made = sections(poor, (), assign_looks(["dense"]))
    assert len(made) == 8
    for section in made:
        assert bool(section.charts) != bool(section.nothing), section.ident
    assert all(section.nothing.endswith(".") for section in made)
