"""Remarks: what the numbers of a comparison do not show, in sentences."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from math import isfinite, sqrt

from ..store.parts import TrainingNote
from .comparison import Comparison
from .line import Block
from .offers import RANKED
from .runs import Run
from .statistics import ENOUGH

AS_GOOD = 0.97  # share of the dense figure
DEAR = 1.5  # multiples of T, from which on a figure may be bought by steps
ALIKE = 0.05  # steps that differ by less than this share are equal


def about(comparison: Comparison) -> tuple[str, ...]:
    """Every remark there is to make."""
    makers = (
        _few_seeds,
        _told_from_noise,
        _missing_reference,
        _learning_rate_lines,
        _unequal_steps,
        _test_size,
        _silent_tables,
        _random_as_good,
        _never_at_equal_cost,
        _older_records,
    )

    remarks: list[str] = []
    for make in makers:
        remarks += make(comparison)
    return tuple(remarks)


def left_out(runs: Iterable[Run], damaged: Sequence[str] = ()) -> tuple[str, ...]:
    """What is to be said of runs that cannot be compared, and of files that could not be read."""
    sentences = [f"Left out: {sentence}" for sentence in damaged]
    for run in runs:
        if not isfinite(run.figure):
            sentences.append(
                f"Left out, for its {run.metric} on the test split is {run.figure}: {run.method} on {run.task} at "
                f"{run.sparsity:.0%}, seed {run.seed}. The means are those of the runs that went well."
            )
    return tuple(sentences)


def _few_seeds(comparison: Comparison) -> Iterator[str]:
    few = [line for line in comparison.lines if line.figure.n < ENOUGH]
    if not few:
        return

    single = sum(line.figure.n == 1 for line in few)
    yield (
        f"{len(few)} of {len(comparison.lines)} lines have fewer than {ENOUGH} seeds, {single} of them just one: "
        f"too few to call anything different."
    )


def _told_from_noise(comparison: Comparison) -> Iterator[str]:
    verdicts = Counter(difference.verdict for difference in comparison.differences)
    # pairs of too few seeds were not tested, and are no evidence of noise
    told_apart = verdicts["better"] + verdicts["worse"]
    tested = told_apart + verdicts["within noise"]
    if tested:
        verb = "is" if told_apart == 1 else "are"
        yield (
            f"Of {tested} differences that could be tested, {told_apart or 'none'} {verb} told apart "
            f"from noise at 5 % (paired t-test over seeds, Holm's correction within a task and sparsity)."
        )


def _missing_reference(comparison: Comparison) -> Iterator[str]:
    reference = comparison.reference
    if not reference:
        methods = {line.method for line in comparison.lines if not line.control}
        yield (
            f"There is no run of magnitude to set the others against, so no table has differences; --reference (in "
            f"Python reference=) picks another: {', '.join(sorted(methods))}."
        )
        return

    covered = set()
    for line in comparison.lines:
        if reference in (line.method, line.family):
            covered.add(line.block)

    for task, sparsity in comparison.blocks:
        # `dense` as the reference stands in the table of nothing pruned, and serves all others
        bases = {(task, sparsity), (task, 0.0)}
        if sparsity and not bases & covered:
            yield f"There is no run of {reference} on {task} at {sparsity:.0%}: nothing is set against it there."


def _learning_rate_lines(comparison: Comparison) -> Iterator[str]:
    """Figures under one learning-rate line say nothing of a method under another."""
    lines: dict[str, set[str]] = defaultdict(set)
    for line in comparison.lines:
        for run in line.runs:
            recipe = run.record.recipe
            lines[recipe.task.name].add(_line_of(recipe.training))

    for task, several in sorted(lines.items()):
        if len(several) > 1:
            names = ", ".join(sorted(several))
            yield (
                f"{task} was trained under several learning-rate lines ({names}): its figures under "
                f"one are not to be set against those under another."
            )


def _line_of(training: TrainingNote) -> str:
    """What a learning-rate line is called, with what becomes of its end."""
    if training.tail is None:
        return training.line
    return f"{training.line} and the mean of its last {100 * training.tail:g} %"


def _unequal_steps(comparison: Comparison) -> Iterator[str]:
    """Whoever trains longer is often better for that alone."""
    unequal: dict[Block, tuple[float, float]] = {}
    for task, sparsity in comparison.blocks:
        # a control takes the steps of its ticket
        lines = comparison.of(task, sparsity)
        steps = [line.steps for line in lines if not line.control]
        if not steps:
            continue

        least = min(steps)
        most = max(steps)
        if most > (1 + ALIKE) * least:
            unequal[task, sparsity] = (least, most)

    if not unequal:
        return

    def ratio(block: Block) -> tuple[float, Block]:
        least, most = unequal[block]
        # a ticket that is judged as it was drawn takes no step at all; blocks decide between equals
        return most / max(least, 1e-9), block

    task, sparsity = max(unequal, key=ratio)
    least, most = unequal[task, sparsity]
    yield (
        f"In {len(unequal)} of {len(comparison.blocks)} tables lines differ in total steps by more than 5 %, most "
        f"on {task} at {sparsity:.0%} ({least:.2f} to {most:.2f} T): a better figure there may be bought by steps "
        f"alone. What is best at each budget, and the differences at equal cost, allow for it."
    )


def _test_size(comparison: Comparison) -> Iterator[str]:
    """A figure of one reading of a test split is itself uncertain; seeds do not show that."""
    judged = set()
    for line in comparison.lines:
        rows = line.runs[0].record.examples.test
        if line.metric != "accuracy" or line.task in judged:
            continue

        judged.add(line.task)
        if not rows:
            continue  # older records do not say how many

        # examples are right or wrong, so their share has the variance of a binomial; 1.96 is the normal 95 % quantile
        share = line.figure.mean
        variance = max(share * (1 - share), 0.0)
        margin = 1.96 * sqrt(variance / rows)
        yield (
            f"{line.task} has {rows:,} test examples: one accuracy is known to about {margin:.3f} either "
            f"way, whatever the seeds say."
        )


def _silent_tables(comparison: Comparison) -> Iterator[str]:
    """Tables that are left out of the ranks."""
    for (task, sparsity), why in (comparison.silent or {}).items():
        yield f"{task} at {sparsity:.0%} cannot tell good masks from bad ones, and is left out of the ranks: {why}."


def _random_as_good(comparison: Comparison) -> Iterator[str]:
    """Where cutting at random does as well as not cutting, tickets cannot be told apart."""
    for line in comparison.lines:
        if line.method == "random" and line.recovery and line.recovery.mean >= AS_GOOD:
            recovery = line.recovery.mean
            # a perplexity that is as good is as low
            share = 1 / recovery if line.lower_is_better else recovery
            yield (
                f"On {line.task} at {line.sparsity:.0%} random pruning reaches {share:.0%} of the dense "
                f"{line.metric}: this does not tell good masks from bad ones."
            )


def _never_at_equal_cost(comparison: Comparison) -> Iterator[str]:
    """Tasks where dearer methods were never set against a reference with as much to spend."""
    # without a reference that is said already
    if not comparison.reference:
        return

    compared = {difference.block for difference in comparison.equal}
    highest: dict[str, float] = {}
    for line in comparison.lines:
        if not line.sparsity or line.control or line.block in compared:
            continue
        if line.cost.mean > DEAR:
            highest[line.task] = max(line.cost.mean, highest.get(line.task, 0.0))

    for task, cost in highest.items():
        yield (
            f"On {task} lines cost up to {cost:.1f} T, and no run of {comparison.reference} was given as much "
            f"(budget.as in a sweep): better figures may be bought by steps alone."
        )


def _older_records(comparison: Comparison) -> Iterator[str]:
    untimed = 0
    unranked = 0
    for line in comparison.lines:
        for run in line.runs:
            untimed += not any(run.clock.values())
            unranked += run.record.version < RANKED

    if untimed:
        yield f"{untimed} records are of an older schema and say nothing of wall time by purpose, memory or layers."
    if unranked:
        yield (
            f"{unranked} records are of schemas before {RANKED}, of a bench in which methods had other lines and other "
            f"totals: they stay for what they are, and leave the ranks."
        )
