"""Compare: from many runs to what can be said of the methods, and what cannot."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import isfinite

from ..core.errors import UnknownName, unknown
from ..core.kinds import checked
from ..store.record import LOWER_IS_BETTER
from . import remarks
from .comparison import Comparison, Difference, Verdict, paired_by_seed
from .line import Block, Blocks, Line, grouped
from .offers import offers, ranks_over
from .runs import Run
from .silence import silent
from .statistics import ENOUGH, Interval, Paired, holm, interval

USUAL = "magnitude"
"""What methods are set against where nobody says what, and there are runs of it."""
LEVEL = 0.05
ALIKE = 0.05  # costs that differ by less than this share are equal


@checked
def compare(
    runs: Sequence[Run], reference: str | None = None, damaged: Sequence[str] = ()
) -> Comparison:
    """What *runs* say of the methods, each set against *reference* on the same task, sparsity and seed.

    Where none is named, it is ``magnitude``; without runs of that, nothing is set against anything. Where nothing
    is pruned, `dense` is the reference; as the reference of all, it is also that of what is pruned. Runs whose figure
    is not a number are left out, with a remark, and so is what is *damaged*. Raises UnknownName when no run is of a
    reference that is named.
    """
    reference = _checked_reference(reference, runs)

    # one run that diverged would make the mean of its line, and every test against it, no number
    latest = newest(runs)
    lines = _lines_of([run for run in latest if isfinite(run.figure)])
    blocks = grouped(lines)

    # each list is tested block by block: Holm's correction is for what stands in one table
    differences: list[Difference] = []
    controls: list[Difference] = []
    equal: list[Difference] = []
    for block, members in blocks.items():
        base = _base(blocks, block, reference)
        differences += _differences(members, base)
        controls += _controls(members)
        equal += _at_equal_cost(members, base)

    untelling = silent(blocks)
    telling = {}
    for block, members in blocks.items():
        if block not in untelling:
            telling[block] = members

    # remarks are about a comparison, so it is made before them
    comparison = Comparison(
        reference=reference,
        lines=lines,
        differences=tuple(differences),
        ranks=ranks_over(telling),
        remarks=(),
        controls=tuple(controls),
        equal=tuple(equal),
        offers=offers(blocks, telling),
        silent=untelling,
    )
    sentences = (*remarks.left_out(latest, damaged), *remarks.about(comparison))
    return replace(comparison, remarks=sentences)


def _checked_reference(reference: str | None, runs: Sequence[Run]) -> str:
    """The reference to use, empty for none. Raises UnknownName where one is named that no run is of."""
    methods = set()
    families = set()
    for run in runs:
        if not run.control:
            methods.add(run.method)
            families.add(run.family)

    known = methods | families
    if reference is None:
        return USUAL if USUAL in known else ""
    if reference not in known:
        raise UnknownName(
            f"{unknown('reference', reference, methods)}; it is what the others are set against"
        )
    return reference


def newest(runs: Iterable[Run]) -> list[Run]:
    """Of several runs of one line and seed, such as one of an older schema, the last that was made."""
    latest: dict[tuple[str, float, str, str | None, int], Run] = {}
    for run in runs:
        place = (run.task, run.sparsity, run.method, run.control, run.seed)
        # times are in ISO 8601 and UTC, so their texts are in the order of time
        if place not in latest or run.record.made.at > latest[place].record.made.at:
            latest[place] = run
    return list(latest.values())


# lines


def _lines_of(runs: Sequence[Run]) -> tuple[Line, ...]:
    """A line for each task, sparsity, method and control, its *frontier* marked."""
    dense: dict[str, dict[int, float]] = defaultdict(dict)
    members: dict[tuple[str, float, str, str | None], list[Run]] = defaultdict(list)
    for run in runs:
        members[run.task, run.sparsity, run.method, run.control].append(run)
        if run.method == "dense":
            dense[run.task][run.seed] = run.figure

    lines = []
    for seeds in members.values():
        ordered = sorted(seeds, key=lambda run: run.seed)
        task = ordered[0].task
        lines.append(_line(ordered, dense.get(task, {})))
    lines.sort(
        key=lambda line: (line.task, line.sparsity, line.method, line.control or "")
    )

    marked: list[Line] = []
    for block in grouped(lines).values():
        marked += _with_frontier(block)
    return tuple(marked)


def _line(runs: Sequence[Run], dense: Mapping[int, float]) -> Line:
    """*runs* of several seeds as a line. *dense* is what the dense model of the same task reached, by seed."""
    first = runs[0]
    recovery = None if first.method == "dense" else _recovery(runs, dense)

    return Line(
        task=first.task,
        sparsity=first.sparsity,
        method=first.method,
        control=first.control,
        metric=first.metric,
        figure=interval([run.figure for run in runs]),
        cost=interval([run.cost for run in runs]),
        recovery=recovery,
        runs=tuple(runs),
    )


def _recovery(runs: Sequence[Run], dense: Mapping[int, float]) -> Interval | None:
    """The mean share of the dense figure; None without a dense figure to take a share of."""
    # a correlation may be negative, and a share of that says nothing
    if not dense or min(dense.values()) <= 0:
        return None

    # where the dense model was not run with a seed, its mean stands in for that seed
    mean_dense = sum(dense.values()) / len(dense)
    shares = []
    for run in runs:
        share = run.figure / dense.get(run.seed, mean_dense)
        # of a perplexity, twice as much is half as good
        if run.metric in LOWER_IS_BETTER:
            share = 1 / share
        shares.append(share)
    return interval(shares)


def _with_frontier(block: Sequence[Line]) -> Iterable[Line]:
    tickets = [line for line in block if not line.control]
    for line in block:
        # a control says what its ticket is worth; nobody would use it for its cost
        beaten = any(_beats(other, line) for other in tickets)
        yield replace(line, frontier=not beaten and line.control is None)


def _beats(other: Line, line: Line) -> bool:
    """Whether *other* is at least as good at no more cost, and not just the same."""
    better = other.merit > line.merit
    cheaper = other.cost.mean < line.cost.mean
    no_worse = other.merit >= line.merit and other.cost.mean <= line.cost.mean
    return no_worse and (better or cheaper)


# pairs


def _base(blocks: Blocks, block: Block, reference: str) -> Line | None:
    """What the lines of a block are set against."""
    task, sparsity = block
    own = _line_named(blocks[block], reference)
    if own:
        return own

    # `dense` prunes nothing, so as a reference it stands in the task's other table
    unpruned = blocks.get((task, 0.0), ())
    return _line_named(unpruned, reference if sparsity else "dense")


def _line_named(lines: Sequence[Line], reference: str) -> Line | None:
    """The line of the method *reference*; where it has other budgets only, the line whose budget is nearest to T."""
    tickets = [line for line in lines if not line.control]
    for line in tickets:
        if line.method == reference:
            return line

    family = []
    for line in tickets:
        if line.family == reference and line.budget != 1:
            family.append(line)
    return min(family, key=_distance_from_plain, default=None)


def _distance_from_plain(line: Line) -> float:
    return abs(line.budget - 1)


def _differences(block: Sequence[Line], base: Line | None) -> list[Difference]:
    if base is None:
        return []

    pairs = []
    for line in block:
        if line.method != base.method and not line.control:
            pairs.append((line, base))
    return _tested(pairs)


def _controls(block: Sequence[Line]) -> list[Difference]:
    tickets = {line.method: line for line in block if not line.control}

    pairs = []
    for line in block:
        if line.control and line.method in tickets:
            pairs.append((tickets[line.method], line))
    return _tested(pairs)


def _at_equal_cost(block: Sequence[Line], base: Line | None) -> list[Difference]:
    """Each method against the reference with as much to spend, the nearest where several are near."""
    if base is None:
        return []

    longer = []
    for line in block:
        if not line.control and line.knobs == base.knobs and line.budget > 1:
            longer.append(line)
    if not longer:
        return []

    pairs = []
    for line in block:
        if line.control or line.knobs == base.knobs:
            continue
        cost = line.cost.mean
        nearest = _nearest_in_cost(longer, cost)
        if abs(cost - nearest.cost.mean) <= ALIKE * cost:
            pairs.append((line, nearest))
    return _tested(pairs)


def _nearest_in_cost(lines: Sequence[Line], cost: float) -> Line:
    return min(lines, key=lambda line: abs(cost - line.cost.mean))


def _tested(pairs: Sequence[tuple[Line, Line]]) -> list[Difference]:
    """Each pair of lines with its test, adjusted for all of them together."""
    tests: list[tuple[Line, Line, Paired]] = []
    p_values: list[float] = []
    for line, other in pairs:
        test = paired_by_seed(line, other)
        if test is None:
            continue

        tests.append((line, other, test))
        # what could not be tested is no test, and costs the others no power
        if test.p is not None:
            p_values.append(test.p)

    adjusted = iter(holm(p_values))
    differences = []
    for line, other, test in tests:
        p = None if test.p is None else next(adjusted)
        differences.append(_difference(line, other, test, p))
    return differences


def _difference(
    line: Line, other: Line, test: Paired, adjusted: float | None
) -> Difference:
    verdict: Verdict = "within noise"
    if test.difference.n < ENOUGH:
        verdict = "too few seeds"
    # without a spread there is no telling what noise is
    elif adjusted is None:
        verdict = "no spread"
    elif adjusted < LEVEL:
        higher = test.difference.mean > 0
        if higher == line.lower_is_better:
            verdict = "worse"
        else:
            verdict = "better"

    return Difference(
        task=line.task,
        sparsity=line.sparsity,
        method=line.title,
        reference=other.title,
        difference=test.difference,
        p=test.p,
        adjusted=adjusted,
        effect=test.effect,
        verdict=verdict,
    )
