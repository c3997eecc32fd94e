"""Evidence: commands that show what the runs of a folder say of the methods. Slow imports wait until needed."""

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
    from ..evidence.comparison import Comparison
    from ..evidence.line import Line
    from ..evidence.overview import Overview
    from ..evidence.runs import Run
    from ..evidence.transfers import Matrix

Reference = Annotated[
    str | None,
    typer.Option(
        "--reference",
        metavar="NAME",
        help="What the others are set against; magnitude if not given.",
    ),
]
MANY = 12  # lines in a table from which on only the best variant of each is shown


@app.command()
def compare(
    folder: RecordsPath = RUNS,
    reference: Reference = None,
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
    transfer_records, unread = gather_transfers(folder)
    damaged = (*collection.damaged, *unread)
    for sentence in damaged:
        warn(f"left out: {sentence}")

    runs = list(collection.runs)
    known = sorted({run.task for run in runs})
    for task in tasks or ():
        if task not in known:
            raise UnknownName(f"{unknown('task', task, known)}")

    # before runs are narrowed: a transfer is read beside runs of the task that it came from
    transfers = list(matrices_of(transfer_records, runs))
    if tasks:
        runs = [run for run in runs if run.task in tasks]
        narrowed = [matrix.onto(tasks) for matrix in transfers]
        transfers = [matrix for matrix in narrowed if matrix]

    if published is not None:
        _print_published(published, runs, as_markdown=as_markdown)
        return
    if as_csv:
        console.pour(machines.as_csv(runs))
        return

    comparison = set_against(runs, reference, damaged)
    if as_json:
        console.pour(machines.as_json(comparison, transfers) + "\n")
    elif as_latex:
        console.pour(latex.latex(comparison))
    elif as_markdown:
        console.pour(markdown.markdown(comparison, transfers))
    else:
        _print_comparison(comparison, transfers, costs=costs, variants=variants)


@app.command()
def report(
    folder: RecordsPath = RUNS,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="The page to write.")
    ] = Path("report.html"),
    reference: Reference = None,
    title: Annotated[str, typer.Option("--title", help="Of the page.")] = "",
) -> None:
    """Write what the runs in DIR say as one page with tables, charts and recipes. It needs no network."""
    from ..report.page import report as write

    written = write(folder, output, reference=reference, title=title)
    for sentence in written.damaged:
        warn(f"left out: {sentence}")
    say(f"{output}: {written.runs} runs, {output.stat().st_size / 1e6:.1f} MB")


# for people


def _print_published(path: Path, runs: Sequence[Run], *, as_markdown: bool) -> None:
    """Print the figures of papers that the file at *path* holds, beside those of *runs*."""
    from ..evidence.markdown import pipe_table
    from ..evidence.published import published_rows, read_published

    head, *rows = published_rows(read_published(path), runs)
    if as_markdown:
        typer.echo("\n".join(pipe_table([head, *rows])))
        return

    title = "Published figures beside those of runs here"
    console.out().print(console.table(head, rows, title=title))


def _print_comparison(
    comparison: Comparison, transfers: Sequence[Matrix], *, costs: bool, variants: bool
) -> None:
    """Print all that is known of the methods, from single tables to what to use."""
    from ..evidence import tables
    from ..evidence.overview import overviews
    from ..evidence.transfers import TRANSFERRED, transfer_rows

    out = console.out()
    for task, sparsity in comparison.blocks:
        _print_block(comparison, task, sparsity, costs=costs, variants=variants)
        say()

    for overview in overviews(comparison):
        out.print(_overview(comparison, overview))
        say(tables.overview_note(comparison, overview))
        say()

    for matrix in transfers:
        head, *rows = transfer_rows(matrix)
        title = f"Transfer: {matrix.title}"
        out.print(console.table(head, rows, title=title, figures=True))
        say(TRANSFERRED)
        say(matrix.summary)
        say()

    if comparison.ranks:
        rows = tables.rank_rows(comparison.ranks)
        out.print(console.table(tables.RANKED, rows, title="Ranks", figures=True))
        say(tables.ranks_in_words(comparison.ranks))
        say()

    for remark in comparison.remarks:
        say(f"- {remark}")
    say("- * no other line is better at no more cost")
    say()
    # last, so that it stands above the prompt
    _print_offers(comparison)


def _print_offers(comparison: Comparison) -> None:
    """Print what to use at each budget."""
    from ..evidence import tables

    head, *rows = tables.offer_rows(comparison)
    if not rows:
        return

    out = console.out()
    title = "What to use at your budget"
    if out.width >= console.NARROW:
        out.print(console.table(head, rows, title=title))
    else:
        # names of methods fold to one letter a line in so narrow a table
        say(title, style="italic")
        for name, *cells in rows:
            say(f"{name}:")
            for budget, best in zip(head[1:], cells, strict=True):
                say(f"  {budget}: {best or 'nothing costs so little'}")
    say(tables.OFFERED)


def _print_block(
    comparison: Comparison, task: str, sparsity: float, *, costs: bool, variants: bool
) -> None:
    """Print the methods on one task at one sparsity."""
    from ..evidence import tables

    all_lines = comparison.of(task, sparsity)
    lines = all_lines if variants else _best_of_each(all_lines)
    heads = tables.line_heads(all_lines[0].metric)
    base = comparison.base(task, sparsity)
    if base:
        heads[5] = f"to {base}"
    rows = [tables.line_cells(comparison, line) for line in lines]

    out = console.out()
    if out.width < console.NARROW:
        # columns that follow from the others go
        columns = (0, 1, 4, 5, 6)
        heads = [heads[column] for column in columns]
        rows = [[row[column] for column in columns] for row in rows]

    title = tables.title(comparison, task, sparsity)
    block = console.table(heads, title=title, figures=True)
    for line, row in zip(lines, rows, strict=True):
        console.add(block, *row, style="dim" if line.control else None)
    out.print(block)

    if len(lines) < len(all_lines):
        say(
            f"and {len(all_lines) - len(lines)} more variants and controls; --variants shows them"
        )
    for sentence in tables.notes(comparison, task, sparsity):
        say(sentence)
    if costs:
        out.print(_ledger(lines))


def _ledger(lines: Sequence[Line]) -> Table:
    """What each method cost, by purpose."""
    from ..evidence import tables
    from ..evidence.ledger import bill

    ledger = console.table(["what it cost", *tables.BILLED], figures=True)
    for line in lines:
        style = "dim" if line.control else None
        console.add(ledger, line.title, *tables.bill_cells(bill(line)), style=style)
    return ledger


def _best_of_each(lines: Sequence[Line]) -> Sequence[Line]:
    """The plain and the best variant of each method with their controls, where there are very many lines."""
    if sum(not line.control for line in lines) <= MANY:
        return lines

    from ..evidence.offers import best_of

    families: dict[str, list[Line]] = {}
    for line in lines:
        if not line.control:
            families.setdefault(line.family, []).append(line)

    shown: set[str] = set()
    for family, variants in families.items():
        # by validation, as what to use is chosen
        shown.update(line.method for line in best_of(variants))
        shown.add(family)
    return [line for line in lines if line.method in shown]


def _overview(comparison: Comparison, overview: Overview) -> Table:
    """A task in one table; figures better than the reference are bold."""
    from ..evidence import tables

    def figure(line: Line) -> Text:
        text = cell(tables.with_interval(line.figure))
        if tables.beats_reference(comparison, line):
            text.stylize("bold")
        return text

    rows: list[list[str | Text]] = []
    for name, figures, cost in tables.overview_cells(overview, figure, Text("")):
        rows.append([name, *figures, cost])
    title = f"{overview.task} at a glance"
    return console.table(tables.overview_head(overview), rows, title=title, figures=True)
