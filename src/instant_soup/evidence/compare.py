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
from .comparison import Block, Blocks, Comparison, Difference, Line, Verdict, grouped
from .offers import offers, ranks
from .runs import Run
from .silence import silent
from .statistics import ENOUGH, Interval, Paired, holm, interval, paired

LEVEL = 0.05
ALIKE = 0.05  # costs that differ by less than this share are equal


@checked
def compare(
    runs: Sequence[Run], reference: str = "magnitude", damaged: Sequence[str] = ()
) -> Comparison:
    """What *runs* say of the methods, each set against *reference* on the same task, sparsity and seed.

    Where nothing is pruned, `dense` is the reference; as the reference of all, it is also that of what is pruned.
    Runs whose figure is not a number are left out, with a remark, and so is what is *damaged*. Raises UnknownName
    when no run is of the reference.
    """
    drawn = [run for run in runs if not run.control]
    methods = {run.method for run in drawn}
    families = {run.family for run in drawn}
    if reference not in methods | families:
        raise UnknownName(
            f"{unknown('reference', reference, methods)}; it is what the others are set against"
        )

    last = newest(runs)
    lines = _lines([run for run in last if isfinite(run.figure)])
    blocks = grouped(lines)

    # each list is tested block by block: Holm's correction is for what stands in one table
    differences: list[Difference] = []
    controls: list[Difference] = []
    equal: list[Difference] = []
    for block, members in blocks.items():
        base = _base(blocks, block, reference)
        differences += _differences(members, base)
        controls += _controls(members)
        equal += _equal(members, base)

    untelling = silent(blocks)
    telling = {
        block: members for block, members in blocks.items() if block not in untelling
    }

    # remarks are about a comparison, so it is there before them
    comparison = Comparison(
        reference=reference,
        lines=lines,
        differences=tuple(differences),
        ranks=ranks(telling),
        remarks=(),
        controls=tuple(controls),
        equal=tuple(equal),
        offers=offers(blocks, telling),
        silent=untelling,
    )
    sentences = (*remarks.odd(last, damaged), *remarks.about(comparison))
    return replace(comparison, remarks=sentences)


def newest(runs: Iterable[Run]) -> list[Run]:
    """Of several runs of one line and seed, such as one of an older schema, the last that was made."""
    last: dict[tuple[str, float, str, str | None, int], Run] = {}
    for run in runs:
        name = (run.task, run.sparsity, run.method, run.control, run.seed)
        if name not in last or run.record.made.at > last[name].record.made.at:
            last[name] = run
    return list(last.values())


# lines


def _lines(runs: Sequence[Run]) -> tuple[Line, ...]:
    dense: dict[str, dict[int, float]] = defaultdict(dict)
    members: dict[tuple[str, float, str, str | None], list[Run]] = defaultdict(list)
    for run in runs:
        members[run.task, run.sparsity, run.method, run.control].append(run)
        if run.method == "dense":
            dense[run.task][run.seed] = run.figure

    lines = []
    for seeds in members.values():
        ordered = sorted(seeds, key=lambda run: run.seed)
        lines.append(_line(ordered, dense.get(ordered[0].task, {})))
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
    if not dense or any(figure <= 0 for figure in dense.values()):
        return None  # there is nothing to take a share of

    # where the dense model was not run with a seed, its mean stands in for that seed
    usual = sum(dense.values()) / len(dense)
    shares = [run.figure / dense.get(run.seed, usual) for run in runs]

    # of a perplexity, twice as much is half as good
    if runs[0].metric in LOWER_IS_BETTER:
        shares = [1 / share for share in shares]
    return interval(shares)


def _with_frontier(block: Sequence[Line]) -> Iterable[Line]:
    tickets = [line for line in block if not line.control]
    for line in block:
        # a control says what its ticket is worth; nobody would use it for its cost
        beaten = line.control is not None or any(_beats(other, line) for other in tickets)
        yield replace(line, frontier=not beaten)


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
    own = _named(blocks[block], reference)
    if own:
        return own

    # `dense` prunes nothing, so as a reference it stands in the task's other table
    unpruned = blocks.get((task, 0.0), ())
    return _named(unpruned, reference if sparsity else "dense")


def _named(lines: Sequence[Line], reference: str) -> Line | None:
    """The line of that name; where there are only runs of other budgets, the one whose budget is nearest to T."""
    tickets = [line for line in lines if not line.control]
    for line in tickets:
        if line.method == reference:
            return line

    family = [line for line in tickets if line.family == reference and line.budget != 1]
    return min(family, key=lambda line: abs(line.budget - 1), default=None)


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


def _equal(block: Sequence[Line], base: Line | None) -> list[Difference]:
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
        near = min(longer, key=lambda other: abs(line.cost.mean - other.cost.mean))
        if abs(line.cost.mean - near.cost.mean) <= ALIKE * line.cost.mean:
            pairs.append((line, near))
    return _tested(pairs)


def _tested(pairs: Sequence[tuple[Line, Line]]) -> list[Difference]:
    """Each pair of lines with its test, adjusted for all of them together."""
    tests: list[tuple[Line, Line, Paired]] = []
    for line, other in pairs:
        mine = line.by_seed
        theirs = other.by_seed
        seeds = sorted(mine.keys() & theirs.keys())
        if seeds:
            test = paired(
                [mine[seed] for seed in seeds], [theirs[seed] for seed in seeds]
            )
            tests.append((line, other, test))

    # what could not be tested is no test, and costs the others no power
    adjusted = iter(holm([test.p for _, _, test in tests if test.p is not None]))
    judged = []
    for line, other, test in tests:
        p = None if test.p is None else next(adjusted)
        judged.append(_judged(line, other, test, p))
    return judged


def _judged(line: Line, other: Line, test: Paired, adjusted: float | None) -> Difference:
    verdict: Verdict = "within noise"
    # without a spread there is no telling what noise is
    if test.difference.n < ENOUGH or adjusted is None:
        verdict = "too few seeds"
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
