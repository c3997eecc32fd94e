"""Compare: from many runs to what can be said of the methods, and what cannot."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import isfinite

from ..core.errors import UnknownName, unknown
from ..store.record import LOWER_IS_BETTER
from . import remarks
from .comparison import Block, Comparison, Difference, Line, Verdict, grouped
from .offers import offers, ranks
from .runs import Run
from .silence import silent
from .statistics import ENOUGH, Interval, Paired, holm, interval, paired

LEVEL = 0.05
ALIKE = 0.05  # costs that differ by less than this share are equal


def compare(
    runs: Sequence[Run], reference: str = "magnitude", damaged: Sequence[str] = ()
) -> Comparison:
    """What *runs* say of the methods, each set against *reference* on the same task, sparsity and seed.

    Where nothing is pruned, `dense` is the reference; as the reference of all, it is also that of what is pruned.
    Runs whose figure is not a number are left out, with a remark, and so is what is *damaged*. Raises UnknownName
    when no run is of the reference.
    """
    methods = {run.method for run in runs if not run.control}
    families = {run.family for run in runs if not run.control}
    if reference not in methods | families:
        raise UnknownName(
            f"{unknown('reference', reference, methods)}; it is what the others are set against"
        )

    last = newest(runs)
    lines = _lines([run for run in last if isfinite(run.figure)])
    blocks = grouped(lines)
    bases = {block: _base(blocks, block, reference) for block in blocks}
    differences = [
        pair
        for block, members in blocks.items()
        for pair in _differences(members, bases[block])
    ]
    controls = [pair for members in blocks.values() for pair in _controls(members)]
    equal = [
        pair
        for block, members in blocks.items()
        for pair in _equal(members, bases[block])
    ]

    untelling = silent(blocks)
    telling = {
        block: members for block, members in blocks.items() if block not in untelling
    }
    comparison = Comparison(
        reference,
        lines,
        tuple(differences),
        ranks(telling),
        (),
        tuple(controls),
        tuple(equal),
        offers(blocks, telling),
        untelling,
    )
    return replace(
        comparison, remarks=(*remarks.odd(last, damaged), *remarks.about(comparison))
    )


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

    lines = [
        _line(sorted(line, key=lambda run: run.seed), dense) for line in members.values()
    ]
    lines.sort(
        key=lambda line: (line.task, line.sparsity, line.method, line.control or "")
    )
    return tuple(
        line for block in grouped(lines).values() for line in _with_frontier(block)
    )


def _line(runs: Sequence[Run], dense: Mapping[str, Mapping[int, float]]) -> Line:
    first = runs[0]
    return Line(
        task=first.task,
        sparsity=first.sparsity,
        method=first.method,
        control=first.control,
        metric=first.metric,
        figure=interval([run.figure for run in runs]),
        cost=interval([run.cost for run in runs]),
        recovery=None
        if first.method == "dense"
        else _recovery(runs, dense.get(first.task, {})),
        runs=tuple(runs),
    )


def _recovery(runs: Sequence[Run], dense: Mapping[int, float]) -> Interval | None:
    if not dense or any(figure <= 0 for figure in dense.values()):
        return None  # there is nothing to take a share of
    usual = sum(dense.values()) / len(dense)
    shares = [run.figure / dense.get(run.seed, usual) for run in runs]
    if runs[0].metric in LOWER_IS_BETTER:
        shares = [1 / share for share in shares]
    return interval(shares)


def _with_frontier(block: Sequence[Line]) -> Iterable[Line]:
    tickets = [line for line in block if not line.control]
    for line in block:
        beaten = line.control is not None or any(_beats(other, line) for other in tickets)
        yield replace(line, frontier=not beaten)


def _beats(other: Line, line: Line) -> bool:
    """Whether *other* is at least as good at no more cost, and not just the same."""
    mine = (line.merit, line.cost.mean)
    theirs = (other.merit, other.cost.mean)
    return theirs[0] >= mine[0] and theirs[1] <= mine[1] and theirs != mine


# pairs


def _base(
    blocks: Mapping[Block, Sequence[Line]], block: Block, reference: str
) -> Line | None:
    """What the lines of a block are set against."""
    task, sparsity = block
    unpruned = blocks.get((task, 0.0), ())
    return _named(blocks[block], reference) or _named(
        unpruned, reference if sparsity else "dense"
    )


def _named(lines: Sequence[Line], reference: str) -> Line | None:
    """The line of that name; where only runs of other budgets are there, the one that is nearest to T."""
    tickets = [line for line in lines if not line.control]
    for line in tickets:
        if line.method == reference:
            return line
    family = [line for line in tickets if line.family == reference and line.budget != 1]
    return min(family, key=lambda line: abs(line.budget - 1), default=None)


def _differences(block: Sequence[Line], base: Line | None) -> list[Difference]:
    if base is None:
        return []
    return _tested(
        [
            (line, base)
            for line in block
            if line.method != base.method and not line.control
        ]
    )


def _controls(block: Sequence[Line]) -> list[Difference]:
    tickets = {line.method: line for line in block if not line.control}
    return _tested(
        [
            (tickets[line.method], line)
            for line in block
            if line.control and line.method in tickets
        ]
    )


def _equal(block: Sequence[Line], base: Line | None) -> list[Difference]:
    """Each method against the reference with as much to spend, the nearest where several are near."""
    if base is None:
        return []

    longer = [
        line
        for line in block
        if not line.control and line.knobs == base.knobs and line.budget > 1
    ]
    pairs = []
    for line in block:
        if line.control or line.knobs == base.knobs:
            continue
        near = min(
            longer, key=lambda other: abs(line.cost.mean - other.cost.mean), default=None
        )
        if near and abs(line.cost.mean - near.cost.mean) <= ALIKE * line.cost.mean:
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
            tests.append(
                (
                    line,
                    other,
                    paired(
                        [mine[seed] for seed in seeds], [theirs[seed] for seed in seeds]
                    ),
                )
            )

    adjusted = iter(holm([test.p for _, _, test in tests if test.p is not None]))
    return [
        _judged(*test, next(adjusted) if test[2].p is not None else None)
        for test in tests
    ]


def _judged(line: Line, other: Line, test: Paired, adjusted: float | None) -> Difference:
    verdict: Verdict = "within noise"
    # without a spread there is no telling what noise is
    if test.difference.n < ENOUGH or adjusted is None:
        verdict = "too few seeds"
    elif adjusted < LEVEL:
        higher = test.difference.mean > 0
        verdict = "better" if higher != line.lower_is_better else "worse"

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
