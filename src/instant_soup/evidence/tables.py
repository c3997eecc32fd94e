"""Tables: a comparison as CSV, JSON, Markdown and LaTeX."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from ..core.budget import Cost
from .compare import LEVEL, Comparison, Difference, Line, Ranks
from .ledger import PURPOSES, Bill, bill
from .overview import Overview, overviews
from .runs import Run
from .statistics import Interval, alike
from .transfers import Matrix

_SIGNS = {"better": "better", "worse": "worse", "within noise": "noise", "too few seeds": "few seeds"}
_TEX = str.maketrans(
    {char: f"\\{char}" for char in "&%$#_{}"} | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$"}
)


def tidy(runs: Iterable[Run]) -> str:
    """One row a run, as CSV."""
    out = io.StringIO()
    columns = ["task", "sparsity", "method", "control", "seed", "metric", "figure", "validation", "cost_in_T"]
    columns += [
        f"{purpose}_{unit}" for purpose in (*PURPOSES, "test") for unit in ("steps", "examples", "flops", "seconds")
    ]
    columns += ["seconds", "reused_seconds", "memory", "kept", "prunable", "key", "ticket"]
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    for run in runs:
        writer.writerow(_row(run))
    return out.getvalue()


def _row(run: Run) -> dict[str, Any]:
    ticket = run.record.ticket
    row: dict[str, Any] = {
        "task": run.task, "sparsity": run.sparsity, "method": run.method, "control": run.control or "",
        "seed": run.seed, "metric": run.metric, "figure": run.figure, "validation": run.validation,
        "cost_in_T": run.cost, "seconds": run.seconds, "reused_seconds": run.reused_seconds,
        "memory": run.memory or "", "kept": ticket.kept, "prunable": ticket.prunable,
        "key": run.key, "ticket": ticket.digest,
    }  # fmt: skip
    for purpose in (*PURPOSES, "test"):
        work = sum((stage[purpose] for stage in run.bill.values() if purpose in stage), Cost())
        row |= {f"{purpose}_steps": work.steps, f"{purpose}_examples": work.examples, f"{purpose}_flops": work.flops}
        seconds = [stage[purpose] for stage in run.clock.values() if purpose in stage]
        row[f"{purpose}_seconds"] = sum(seconds) if seconds else ""
    return row


def as_json(found: Comparison, transfers: Sequence[Matrix] = ()) -> str:
    """Everything, as JSON."""
    lines = [
        {**{name: value for name, value in vars(line).items() if name not in ("runs", "figure", "cost", "recovery")}}
        | {name: asdict(value) for name in ("figure", "cost", "recovery") if (value := getattr(line, name))}
        | {"figures": line.by_seed, "keys": [run.key for run in line.runs], "bill": asdict(bill(line))}
        for line in found.lines
    ]
    parts = {part: [asdict(one) for one in getattr(found, part)] for part in ("differences", "controls", "equal")}
    whole = {"reference": found.reference, "lines": lines, **parts, "ranks": found.ranks and asdict(found.ranks)}
    moved = [
        {"method": one.method, "sparsity": one.sparsity, "metrics": dict(one.targets), "figures": _figures(one)}
        for one in transfers
    ]
    return json.dumps({**whole, "remarks": found.remarks, "transfers": moved}, indent=2, allow_nan=False)


def _figures(found: Matrix) -> dict[str, dict[str, float]]:
    """Row -> target -> mean figure."""
    return {row: {to: cell.mean for to in found.targets if (cell := found.at(row, to))} for row in found.rows}


def markdown(found: Comparison, transfers: Sequence[Matrix] = (), *, costs: bool = True) -> str:
    """Remarks, ranks, transfers, and a section for each task and sparsity."""
    runs = sum(line.figure.n for line in found.lines)
    parts = [f"# Comparison of {runs} runs", "", *_LEGEND, ""]
    parts += ["## What the numbers do not show", "", *(f"- {remark}" for remark in found.remarks), ""]
    if found.ranks:
        parts += ["## Ranks", "", *_grid([RANKED, *ranked(found.ranks)]), "", said(found.ranks), ""]
    for whole in overviews(found):
        parts += [f"## {whole.task} at a glance", "", *_grid(glanced(found, whole, "**{}**"))]
        parts += ["", glance(found, whole), ""]
    for one in transfers:
        parts += [f"## Transfer: {one.title}", "", TRANSFERRED, "", *_grid(moved(one)), "", one.said, ""]
    for task, sparsity in found.blocks:
        parts += [f"## {task}{f', {sparsity:.0%} pruned' if sparsity else ', nothing pruned'}", ""]
        heads = [found.of(task, sparsity)[0].metric if head == "figure" else head for head in HEADS]
        parts += _grid([heads, *(cells(found, line) for line in found.of(task, sparsity))])
        parts += ["", *(f"- {sentence}" for sentence in equal(found, task, sparsity)), ""]
        if costs:
            rows = [[line.title, *billed(bill(line))] for line in found.of(task, sparsity) if not line.control]
            parts += [*_grid([["what it cost", *BILLED], *rows]), ""]
    return "\n".join(parts).rstrip() + "\n"


_LEGEND = [
    "Figures are on the test split, means over seeds with 95 % intervals; differences are to the same seeds of the",
    "reference, or of its ticket for a control. T is one full fine-tune, look-aheads, scoring and validation counted.",
    "`*` marks what no other line beats at no more cost, `few seeds` what has fewer than three. A control keeps as",
    "many weights of each layer as its ticket, others. `longer` is a method with as many steps as another spent.",
]
HEADS = ["method", "figure", "seeds", "of dense", "cost, T", "difference", "", "p"]
RANKED = ["method", "mean rank", "alike"]
BILLED = [*(f"{purpose}, T" for purpose in PURPOSES), "all, T", "no look-ahead, T", "FLOPs", "seconds", "MiB"]
"""Columns of a bill; ``no look-ahead`` leaves the look-aheads out, as the paper's budgets do."""


def glanced(found: Comparison, whole: Overview, strong: str = "{}") -> list[list[str]]:
    """A task in cells, its head first; *strong* is how that is written which is better than the reference."""
    return _glanced(whole, lambda line: (strong if _ahead(found, line) else "{}").format(shown(line.figure)))


def _glanced(whole: Overview, figure: Callable[[Line], str], nothing: str = "") -> list[list[str]]:
    rows = []
    for method, lines in whole.rows.items():
        figures = [figure(lines[at]) if at in lines else nothing for at in whole.sparsities]
        rows.append([method, *figures, spent(whole, method)])
    return [[f"{whole.metric} at", *(f"{100 * sparsity:.4g}%" for sparsity in whole.sparsities), "cost, T"], *rows]


def glance(found: Comparison, whole: Overview) -> str:
    """What a task in one table is to be read against."""
    lines = [line for row in whole.rows.values() for line in row.values()]
    notes = [f"Dense: {shown(whole.dense.figure)} at {whole.dense.cost.mean:.2f} T."] if whole.dense else []
    if any(line.figure.n == 1 for line in lines):
        notes.append("Without an interval: one seed.")
    if any(_ahead(found, line) for line in lines):
        notes.append(f"Bold: better than {found.reference} beyond noise.")
    return " ".join(notes)


def spent(whole: Overview, method: str) -> str:
    """The cost of a method in T, from its least to its most over the sparsities."""
    least, most = (f"{cost:.2f}" for cost in whole.cost(method))
    return least if least == most else f"{least} to {most}"


def _ahead(found: Comparison, line: Line) -> bool:
    """Whether a line is better than the reference beyond noise; never of a control."""
    against = None if line.control else found.against(line)
    return against is not None and against.verdict == "better"


TRANSFERRED = (
    "A row is the task that the ticket was drawn on, a column the task that it was fine-tuned and judged on, at one T. "
    "In brackets: the task's own ticket, from its ordinary run. Below: what other methods reach on the same seeds."
)


def moved(found: Matrix) -> list[list[str]]:
    """A matrix in cells, its head first."""
    head = ["ticket of", *(f"{target}, {metric}" for target, metric in found.targets.items())]
    rows = []
    for row in found.rows:
        figures = [(target == row, found.at(row, target)) for target in found.targets]
        cells = [(f"[{shown(one)}]" if own else shown(one)) if one else "" for own, one in figures]
        rows.append([found.label(row), *cells])
    return [head, *rows]


def cells(found: Comparison, line: Line) -> list[str]:
    """A line of a table for people; a control is set against its ticket."""
    against = found.against(line)
    recovery = f"{line.recovery.mean:.0%}" if line.recovery else ""
    title = f"↳ {line.control} control" if line.control else line.title + (" *" if line.frontier else "")
    cost = f"{line.cost.mean:.2f}"
    return [
        title,
        shown(line.figure),
        str(line.figure.n),
        recovery,
        cost,
        *verdict(against, control=bool(line.control)),
    ]


def verdict(against: Difference | None, *, control: bool) -> tuple[str, str, str]:
    """A difference, what it amounts to, and its adjusted p. A control is shown as what it is against its ticket."""
    if against is None:
        return "", "", ""
    mean, p = against.difference.mean, against.adjusted
    said = _SIGNS[against.verdict]
    if control:  # there the ticket was set against the control
        mean, said = -mean, {"better": "worse", "worse": "better"}.get(said, said) + " (to its ticket)"
    return f"{mean:+.3f}", said, "" if p is None else f"{p:.3f}"


def shown(found: Interval) -> str:
    """Mean and half the interval."""
    return f"{found.mean:.3f}" + (f" ± {found.half:.3f}" if found.half is not None else "")


def equal(found: Comparison, task: str, sparsity: float) -> list[str]:
    """Sentences on what methods gain over the reference when that has as much to spend."""
    costs = {line.title: line.cost.mean for line in found.of(task, sparsity)}
    return [
        f"At equal cost ({costs[one.method]:.2f} T): {one.method} against {one.reference} "
        f"{one.difference.mean:+.3f} ({one.verdict})"
        for one in found.equal
        if (one.task, one.sparsity) == (task, sparsity)
    ]


def billed(found: Bill) -> list[str]:
    """A bill in cells."""
    shares = [f"{found.items[purpose].share:.2f}" if purpose in found.items else "" for purpose in PURPOSES]
    flops = sum(item.flops for item in found.items.values())
    seconds = f"{found.seconds:.0f}" if found.seconds is not None else ""
    memory = f"{found.memory / 2**20:,.0f}" if found.memory else ""
    return [*shares, f"{found.total:.2f}", f"{found.uncounted:.2f}", f"{flops:.1e}", seconds, memory]


def ranked(found: Ranks) -> list[list[str]]:
    """Mean ranks, best first; those that share a letter are not told apart."""
    groups = alike(found.ranks, found.critical_difference or 0.0) if _rejected(found) else [tuple(found.ranks)]
    letters = {name: "".join(chr(97 + i) if name in of else "·" for i, of in enumerate(groups)) for name in found.ranks}
    return [[name, f"{rank:.2f}", letters[name]] for name, rank in found.ranks.items()]


def said(found: Ranks) -> str:
    """What the ranks are over, and what they tell apart."""
    over = f"Over {found.blocks} pairs of task and sparsity on which all of these were run. Friedman's test that all "
    over += f"are alike: p = {found.p:.2g}"
    if not _rejected(found):
        return f"{over}, so no method is told apart from another."
    critical = found.critical_difference or 0.0
    return f"{over}. Critical difference {critical:.2f} (Nemenyi, 5 %): what shares a letter is closer than that."


def _rejected(found: Ranks) -> bool:
    return found.p is not None and found.p < LEVEL


def _grid(rows: Sequence[Sequence[str]]) -> list[str]:
    head, *body = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return [head, "|" + "---|" * len(rows[0]), *body]


def latex(found: Comparison) -> str:
    """A table for each task, then one for each task and sparsity, for booktabs.

    Bold is what is better than the reference beyond noise.
    """
    parts = [_tex_overview(found, whole) for whole in overviews(found)]
    for task, sparsity in found.blocks:
        rows = [_tex_row(found, line) for line in found.of(task, sparsity)]
        caption = (
            f"{task}, {sparsity:.0%} pruned: {found.of(task, sparsity)[0].metric}, mean and 95% interval over seeds. "
            f"Bold: better than {found.base(task, sparsity)} beyond noise."
        )
        head = rf"method & {_tex(found.of(task, sparsity)[0].metric)} & seeds & \% of dense & cost in $T$"
        parts.append(_tex_table("lrrrr", head, rows, caption))
    return "\n".join(parts)


def _tex_overview(found: Comparison, whole: Overview) -> str:
    (*heads, _), *cells = _glanced(whole, partial(_tex_figure, found), "--")
    rows = [rf"    {' & '.join([_tex(method), *rest])} \\" for method, *rest in cells]
    caption = f"{whole.task}: {whole.metric} by pruned share, mean and 95% interval over seeds. {glance(found, whole)}"
    return _tex_table("l" + "r" * len(heads), " & ".join([*map(_tex, heads), "cost in $T$"]), rows, caption)


def _tex_table(columns: str, head: str, rows: Sequence[str], caption: str) -> str:
    parts = [
        r"\begin{table}", r"  \centering", rf"  \begin{{tabular}}{{{columns}}}", r"    \toprule",
        rf"    {head} \\", r"    \midrule", *rows, r"    \bottomrule", r"  \end{tabular}",
        rf"  \caption{{{_tex(caption)}}}", r"\end{table}", "",
    ]  # fmt: skip
    return "\n".join(parts)


def _tex_row(found: Comparison, line: Line) -> str:
    indent = r"\quad " if line.control else ""
    recovery = f"{100 * line.recovery.mean:.0f}" if line.recovery else "--"
    title = f"{line.control} control" if line.control else line.title
    figure = _tex_figure(found, line)
    return rf"    {indent}{_tex(title)} & {figure} & {line.figure.n} & {recovery} & {line.cost.mean:.2f} \\"


def _tex_figure(found: Comparison, line: Line) -> str:
    half = rf" \pm {line.figure.half:.3f}" if line.figure.half is not None else ""
    bold = r"\boldmath " if _ahead(found, line) else ""
    return f"{bold}${line.figure.mean:.3f}{half}$"


def _tex(text: str) -> str:
    return text.translate(_TEX)
