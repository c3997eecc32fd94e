"""Evidence: what the runs of a folder say of the methods, here or as a page. Slow imports wait for their use."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from . import console
from .app import RUNS, UsageError, app
from .console import cell, say, warn
from .paths import RecordsPath

if TYPE_CHECKING:
    from ..evidence.comparison import Comparison, Line
    from ..evidence.overview import Overview
    from ..evidence.runs import Run
    from ..evidence.transfers import Matrix

Reference = Annotated[
    str,
    typer.Option("--reference", metavar="NAME", help="What the others are set against."),
]
MANY = 12  # methods in a table from which on only the best variant of each is shown


@app.command()
def compare(
    folder: RecordsPath = RUNS,
    reference: Reference = "magnitude",
    tasks: Annotated[
        list[str] | None,
        typer.Option(
            "--task", metavar="NAME", help="Only this task; give it again for more."
        ),
    ] = None,
    costs: Annotated[
        bool, typer.Option("--costs", help="Show what everything cost, by purpose.")
    ] = False,
    variants: Annotated[
        bool,
        typer.Option(
            "--variants", help="Show every variant of a method where there are many."
        ),
    ] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print one row a run.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print everything for machines.")
    ] = False,
    as_latex: Annotated[
        bool, typer.Option("--latex", help="Print tables for booktabs.")
    ] = False,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Print tables in Markdown.")
    ] = False,
    published: Annotated[
        Path | None,
        typer.Option(
            "--published",
            metavar="FILE",
            help="Set the figures of papers in FILE beside ours.",
        ),
    ] = None,
) -> None:
    """Say what to use at which budget, and compare the methods whose runs are in DIR.

    Means over seeds with 95 % intervals, differences, ranks, costs. Runs nothing. A star marks what no other line
    beats at no more cost.
    """
    if sum((as_csv, as_json, as_latex, as_markdown)) > 1:
        raise UsageError(
            "--csv, --json, --latex and --markdown exclude each other; give one of them"
        )

    from ..core.errors import UnknownName, unknown
    from ..evidence import latex, machines, markdown
    from ..evidence.compare import compare as set_against
    from ..evidence.runs import gather
    from ..evidence.transfers import gather_transfers, matrices_of

    collection = gather(folder)
    moved, unread = gather_transfers(folder)
    damaged = (*collection.damaged, *unread)
    for sentence in damaged:
        warn(f"left out: {sentence}")

    runs = list(collection.runs)
    known = sorted({run.task for run in runs})
    for task in tasks or ():
        if task not in known:
            raise UnknownName(f"{unknown('task', task, known)}")
    transfers = list(matrices_of(moved, runs))
    if tasks:
        runs = [run for run in runs if run.task in tasks]
        narrowed = [matrix.onto(tasks) for matrix in transfers]
        transfers = [matrix for matrix in narrowed if matrix]

    if published is not None:
        _beside(published, runs, as_markdown=as_markdown)
        return
    if as_csv:
        console.pour(machines.tidy(runs))
        return
    comparison = set_against(runs, reference, damaged)
    if as_json:
        console.pour(machines.as_json(comparison, transfers) + "\n")
    elif as_latex:
        console.pour(latex.latex(comparison))
    elif as_markdown:
        console.pour(markdown.markdown(comparison, transfers))
    else:
        _show(comparison, transfers, costs=costs, variants=variants)


@app.command()
def report(
    folder: RecordsPath = RUNS,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="The page to write.")
    ] = Path("report.html"),
    reference: Reference = "magnitude",
    title: Annotated[str, typer.Option("--title", help="Of the page.")] = "",
) -> None:
    """Write what the runs in DIR say as one page with tables, charts and recipes. It needs no network."""
    from ..report.page import report as write

    written = write(folder, output, reference=reference, title=title)
    for sentence in written.damaged:
        warn(f"left out: {sentence}")
    say(f"{output}: {written.runs} runs, {output.stat().st_size / 1e6:.1f} MB")


# for people


def _beside(path: Path, runs: Sequence[Run], *, as_markdown: bool) -> None:
    """Figures that papers print, and what was reached here."""
    from ..evidence.markdown import grid
    from ..evidence.published import beside, read

    head, *rows = beside(read(path), runs)
    if as_markdown:
        typer.echo("\n".join(grid([head, *rows])))
        return
    console.out().print(
        console.table(head, rows, title="Published figures beside those of runs here")
    )


def _show(
    comparison: Comparison, transfers: Sequence[Matrix], *, costs: bool, variants: bool
) -> None:
    from ..evidence import tables
    from ..evidence.overview import overviews

    out = console.out()
    for task, sparsity in comparison.blocks:
        _block(comparison, task, sparsity, costs=costs, variants=variants)
        say()
    for overview in overviews(comparison):
        out.print(_glance(comparison, overview))
        say(tables.glance(comparison, overview))
        say()
    for matrix in transfers:
        head, *rows = tables.moved(matrix)
        out.print(
            console.table(head, rows, title=f"Transfer: {matrix.title}", figures=True)
        )
        say(tables.TRANSFERRED)
        say(matrix.summary)
        say()
    if comparison.ranks:
        rows = tables.ranked(comparison.ranks)
        out.print(console.table(tables.RANKED, rows, title="Ranks", figures=True))
        say(tables.ranks_in_words(comparison.ranks))
        say()
    for remark in comparison.remarks:
        say(f"- {remark}")
    say("- * no other line is better at no more cost")
    say()
    _offers(comparison)


def _offers(comparison: Comparison) -> None:
    """What to use: last, so that it stands above the prompt."""
    from ..evidence import tables

    head, *rows = tables.offered(comparison)
    if not rows:
        return
    out = console.out()
    if out.width >= console.NARROW:
        out.print(console.table(head, rows, title="What to use at your budget"))
    else:
        say("What to use at your budget", style="italic")
        for name, *cells in rows:
            say(f"{name}:")
            for budget, best in zip(head[1:], cells, strict=True):
                say(f"  {budget}: {best or 'nothing costs so little'}")
    say(tables.OFFERED)


def _block(
    comparison: Comparison, task: str, sparsity: float, *, costs: bool, variants: bool
) -> None:
    from ..evidence import tables
    from ..evidence.ledger import bill

    every = comparison.of(task, sparsity)
    lines = every if variants else _best_of_each(every)
    out = console.out()
    heads = [every[0].metric if head == "figure" else head for head in tables.HEADS]
    heads[5] = f"to {comparison.base(task, sparsity)}"
    rows = [tables.cells(comparison, line) for line in lines]
    if out.width < console.NARROW:  # what can be told from the rest goes
        keep = (0, 1, 4, 5, 6)
        heads = [heads[place] for place in keep]
        rows = [[row[place] for place in keep] for row in rows]

    shown = console.table(
        heads, title=tables.title(comparison, task, sparsity), figures=True
    )
    for line, row in zip(lines, rows, strict=True):
        console.add(shown, *row, style="dim" if line.control else None)
    out.print(shown)
    if len(lines) < len(every):
        say(
            f"and {len(every) - len(lines)} more variants and controls; --variants shows them"
        )
    for sentence in tables.notes(comparison, task, sparsity):
        say(sentence)
    if costs:
        ledger = console.table(["what it cost", *tables.BILLED], figures=True)
        for line in lines:
            console.add(
                ledger,
                line.title,
                *tables.billed(bill(line)),
                style="dim" if line.control else None,
            )
        out.print(ledger)


def _best_of_each(lines: Sequence[Line]) -> Sequence[Line]:
    """The plain and the best variant of each method with their controls, where there are very many lines."""
    if sum(not line.control for line in lines) <= MANY:
        return lines

    kept: set[str] = set()
    seen: set[str] = set()
    for line in lines:
        if line.family not in seen or line.method == line.family:
            kept.add(line.method)
        seen.add(line.family)
    return [line for line in lines if line.method in kept]


def _glance(comparison: Comparison, overview: Overview) -> Table:
    """A task in one table; bold is what is better than the reference."""
    from ..evidence import tables

    def figure(line: Line) -> Text:
        text = cell(tables.shown(line.figure))
        if tables.ahead(comparison, line):
            text.stylize("bold")
        return text

    rows: list[list[str | Text]] = [
        [name, *figures, cost]
        for name, figures, cost in tables.glance_rows(overview, figure, Text(""))
    ]
    title = f"{overview.task} at a glance"
    return console.table(tables.glance_heads(overview), rows, title=title, figures=True)
