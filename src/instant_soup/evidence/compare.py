"""Compare: from many runs to what can be said of the methods, and what cannot."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from math import isfinite
from typing import Literal

from ..core.errors import UnknownName, unknown
from . import remarks
from .runs import Run
from .statistics import ENOUGH, Interval, Paired, critical_difference, friedman, holm, interval, mean_ranks, paired

Verdict = Literal["better", "worse", "within noise", "too few seeds"]
LEVEL = 0.05
ALIKE = 0.05  # costs that differ by less than this share are equal
LONGER = (" (longer)", " (budget=")  # what follows the name of a method that was given more than T


@dataclass(frozen=True)
class Line:
    """What one method (or a control of it) reached on one task at one sparsity, over seeds.

    Attributes:
        metric: the task's first figure.
        figure: it on the test split.
        cost: whole cost in multiples of T.
        recovery: the share of the dense figure that is reached, paired by seed; None where no dense run is there.
        frontier: whether no other line of its task and sparsity is better at no more cost; never of a control.
    """

    task: str
    sparsity: float
    method: str
    control: str | None
    metric: str
    figure: Interval
    cost: Interval
    recovery: Interval | None
    runs: tuple[Run, ...]
    frontier: bool = False

    @property
    def title(self) -> str:
        """Method and control, as a person reads them."""
        return f"{self.method}, {self.control} control" if self.control else self.method

    @property
    def by_seed(self) -> dict[int, float]:
        """The figure of each seed."""
        return {run.seed: run.figure for run in self.runs}


@dataclass(frozen=True)
class Difference:
    """A line against another of its task and sparsity, paired by seed.

    Attributes:
        method, reference: titles of the two lines.
        difference: of the figures; positive where *method* is higher.
        p: of a paired t-test; *adjusted* for all methods of the task and sparsity (Holm).
        effect: standardised mean difference of pairs with Hedges' correction.
    """

    task: str
    sparsity: float
    method: str
    reference: str
    difference: Interval
    p: float | None
    adjusted: float | None
    effect: float | None
    verdict: Verdict


@dataclass(frozen=True)
class Ranks:
    """Average ranks over all tasks and sparsities on which every one of the methods was run; 1 is best.

    Attributes:
        blocks: how many those are.
        p: of Friedman's test that all methods are alike.
        critical_difference: of Nemenyi's test at 5 %; ranks closer than this are not told apart.
    """

    ranks: Mapping[str, float]
    blocks: int
    p: float | None
    critical_difference: float | None


@dataclass(frozen=True)
class Comparison:
    """All that a comparison says.

    Attributes:
        differences: of each method to the *reference*; to `dense` where nothing is pruned.
        controls: of each ticket to its own controls.
        equal: of each method to the reference that was given about as much as it spent in all.
        remarks: sentences about what the numbers do not show.
    """

    reference: str
    lines: tuple[Line, ...]
    differences: tuple[Difference, ...]
    ranks: Ranks | None
    remarks: tuple[str, ...]
    controls: tuple[Difference, ...] = ()
    equal: tuple[Difference, ...] = ()

    def of(self, task: str, sparsity: float) -> tuple[Line, ...]:
        """The lines of one table, best first, controls beneath their ticket."""
        block = [line for line in self.lines if (line.task, line.sparsity) == (task, sparsity)]
        leads = sorted((line for line in block if not line.control), key=lambda line: -line.figure.mean)
        rest = [line for line in block if line.control and line.method not in {lead.method for lead in leads}]
        beneath = {
            lead.method: [line for line in block if line.control and line.method == lead.method] for lead in leads
        }
        return tuple([one for lead in leads for one in (lead, *beneath[lead.method])] + rest)

    @property
    def blocks(self) -> tuple[tuple[str, float], ...]:
        """Every task and sparsity, in order."""
        return tuple(sorted({(line.task, line.sparsity) for line in self.lines}))

    def base(self, task: str, sparsity: float) -> str:
        """What the lines of one table are set against."""
        known = (one.reference for one in self.differences if (one.task, one.sparsity) == (task, sparsity))
        return next(known, self.reference)

    def against(self, line: Line) -> Difference | None:
        """*line* against the reference, or a control against its ticket; None where there is no such pair."""
        for one in self.controls if line.control else self.differences:
            named = one.reference if line.control else one.method
            if (one.task, one.sparsity, named) == (line.task, line.sparsity, line.title):
                return one
        return None


def compare(runs: Sequence[Run], reference: str = "magnitude") -> Comparison:
    """What *runs* say of the methods, each set against *reference* on the same task, sparsity and seed.

    Where nothing is pruned, `dense` is the reference; as the reference of all, it is also that of what is pruned.
    Runs whose figure is not a number are left out, with a remark. Raises UnknownName when no run is of the reference.
    """
    methods = sorted({run.method for run in runs if not run.control})
    if reference not in methods:
        raise UnknownName(f"{unknown('reference', reference, methods)}; it is what the others are set against")
    lines = _lines([run for run in newest(runs) if isfinite(run.figure)])
    blocks = _blocks(lines)
    pairs = {block: _base(blocks, *block, reference) for block in blocks}
    found = Comparison(
        reference,
        lines,
        tuple(one for name, block in blocks.items() for one in _differences(block, pairs[name])),
        _ranks(blocks),
        (),
        tuple(one for block in blocks.values() for one in _controls(block)),
        tuple(one for name, block in blocks.items() for one in _equal(block, pairs[name])),
    )
    return replace(found, remarks=(*remarks.odd(newest(runs)), *remarks.about(found)))


def newest(runs: Iterable[Run]) -> list[Run]:
    """Of several runs of one line and seed, such as one of an older schema, the last that was made."""
    found: dict[tuple[str, float, str, str | None, int], Run] = {}
    for run in runs:
        name = (run.task, run.sparsity, run.method, run.control, run.seed)
        if name not in found or _made(run) > _made(found[name]):
            found[name] = run
    return list(found.values())


def _made(run: Run) -> str:
    return run.record.made.at


def _lines(runs: Sequence[Run]) -> tuple[Line, ...]:
    dense: dict[str, dict[int, float]] = defaultdict(dict)
    grouped: dict[tuple[str, float, str, str | None], list[Run]] = defaultdict(list)
    for run in runs:
        grouped[run.task, run.sparsity, run.method, run.control].append(run)
        if run.method == "dense":
            dense[run.task][run.seed] = run.figure
    lines = []
    for (task, sparsity, method, control), members in grouped.items():
        members = sorted(members, key=lambda run: run.seed)
        figure, cost = interval([run.figure for run in members]), interval([run.cost for run in members])
        recovery = _recovery(members, dense[task]) if method != "dense" else None
        metric = members[0].metric
        lines.append(Line(task, sparsity, method, control, metric, figure, cost, recovery, tuple(members)))
    return tuple(_with_frontier(lines))


def _recovery(runs: Sequence[Run], dense: Mapping[int, float]) -> Interval | None:
    if not dense or any(figure <= 0 for figure in dense.values()):
        return None  # there is nothing to take a share of
    usual = sum(dense.values()) / len(dense)
    return interval([run.figure / dense.get(run.seed, usual) for run in runs])


def _with_frontier(lines: Iterable[Line]) -> Iterable[Line]:
    for block in _blocks(lines).values():
        for line in block:
            beaten = line.control is not None or any(
                other.figure.mean >= line.figure.mean
                and other.cost.mean <= line.cost.mean
                and (other.figure.mean, other.cost.mean) != (line.figure.mean, line.cost.mean)
                for other in block
                if not other.control
            )
            yield replace(line, frontier=not beaten)


def _blocks(lines: Iterable[Line]) -> dict[tuple[str, float], list[Line]]:
    found: dict[tuple[str, float], list[Line]] = defaultdict(list)
    for line in sorted(lines, key=lambda line: (line.task, line.sparsity, line.method, line.control or "")):
        found[line.task, line.sparsity].append(line)
    return dict(found)


def _base(
    blocks: Mapping[tuple[str, float], Sequence[Line]], task: str, sparsity: float, reference: str
) -> Line | None:
    """What the lines of a block are set against."""
    here = {line.method: line for line in blocks[task, sparsity] if not line.control}
    unpruned = {line.method: line for line in blocks.get((task, 0.0), ())}
    return here.get(reference) or unpruned.get(reference if sparsity else "dense")


def _differences(block: Sequence[Line], base: Line | None) -> list[Difference]:
    return _tested([(line, base) for line in block if base and line.method != base.method and not line.control])


def _controls(block: Sequence[Line]) -> list[Difference]:
    tickets = {line.method: line for line in block if not line.control}
    return _tested([(tickets[line.method], line) for line in block if line.control and line.method in tickets])


def _equal(block: Sequence[Line], base: Line | None) -> list[Difference]:
    """Each method against the reference with as much to spend, the nearest where several are near."""
    if base is None:
        return []
    longer = [line for line in block if line.method.startswith(tuple(base.method + more for more in LONGER))]
    pairs = []
    for line in block:
        near = min(longer, key=lambda other: abs(line.cost.mean - other.cost.mean), default=None)
        own = line.control or line.method == base.method or line in longer
        if near and not own and abs(line.cost.mean - near.cost.mean) <= ALIKE * line.cost.mean:
            pairs.append((line, near))
    return _tested(pairs)


def _tested(pairs: Sequence[tuple[Line, Line]]) -> list[Difference]:
    """Each pair of lines with its test, adjusted for all of them together."""
    tests: list[tuple[Line, Line, Paired]] = []
    for line, other in pairs:
        mine, theirs = line.by_seed, other.by_seed
        seeds = sorted(mine.keys() & theirs.keys())
        if seeds:
            tests.append((line, other, paired([mine[seed] for seed in seeds], [theirs[seed] for seed in seeds])))
    adjusted = iter(holm([test.p for _, _, test in tests if test.p is not None]))
    return [_judged(*test, next(adjusted) if test[2].p is not None else None) for test in tests]


def _judged(line: Line, other: Line, test: Paired, adjusted: float | None) -> Difference:
    verdict: Verdict = "within noise"
    if test.difference.n < ENOUGH or adjusted is None:  # without a spread there is no telling what noise is
        verdict = "too few seeds"
    elif adjusted < LEVEL:
        verdict = "better" if test.difference.mean > 0 else "worse"
    names = (line.task, line.sparsity, line.title, other.title)
    return Difference(*names, test.difference, test.p, adjusted, test.effect, verdict)


def _ranks(blocks: Mapping[tuple[str, float], Sequence[Line]]) -> Ranks | None:
    """Ranks over blocks with something pruned; None where fewer than three methods share two of them."""
    tables = [
        {line.method: line.figure.mean for line in block if not line.control}
        for (_, sparsity), block in blocks.items()
        if sparsity
    ]
    methods = _shared([table.keys() for table in tables])
    tables = [table for table in tables if methods <= table.keys()]
    if len(methods) < 3 or len(tables) < 2:
        return None
    figures = {method: [table[method] for table in tables] for method in sorted(methods)}
    critical = critical_difference(len(methods), len(tables))
    return Ranks(mean_ranks(figures), len(tables), friedman(figures), critical)


def _shared(blocks: Sequence[Set[str]]) -> Set[str]:
    """The methods of the largest full table of methods and blocks, so that one small block does not end all ranks."""
    several = {frozenset(one & other) for i, one in enumerate(blocks) for other in blocks[:i]}
    sizes = {methods: len(methods) * sum(methods <= block for block in blocks) for methods in several}
    wide = [methods for methods in several if len(methods) >= 3]
    return max(wide, key=lambda methods: (sizes[methods], sorted(methods)), default=frozenset())
