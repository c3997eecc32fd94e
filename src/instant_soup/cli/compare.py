"""Compare: what the runs of a folder say of the methods. Slow imports wait until they are needed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from .app import RUNS, app, say

if TYPE_CHECKING:
    from ..evidence.compare import Comparison
    from ..evidence.transfers import Matrix

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A folder of runs, or of records copied out of one.")]
Reference = Annotated[str, typer.Option("--reference", metavar="NAME", help="What the others are set against.")]


@app.command()
def compare(
    folder: Folder = RUNS,
    reference: Reference = "magnitude",
    tasks: Annotated[
        list[str] | None, typer.Option("--task", metavar="NAME", help="Only this task; give it again for more.")
    ] = None,
    costs: Annotated[bool, typer.Option("--costs", help="Show what everything cost, by purpose.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print one row a run.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything for machines.")] = False,
    as_latex: Annotated[bool, typer.Option("--latex", help="Print tables for booktabs.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print tables in Markdown.")] = False,
) -> None:
    """Compare the methods whose runs are in DIR: means over seeds with 95 % intervals, differences, ranks, costs.

    Runs nothing. A star marks what no other line beats at no more cost.
    """
    from ..core.errors import StoreError, UnknownName, unknown
    from ..evidence import tables
    from ..evidence.compare import compare as set_against
    from ..evidence.runs import collect
    from ..evidence.transfers import matrices

    if sum((as_csv, as_json, as_latex, as_markdown)) > 1:
        raise StoreError("--csv, --json, --latex and --markdown exclude each other; give one of them")
    runs = collect(folder)
    for task in tasks or ():
        if task not in (known := sorted({run.task for run in runs})):
            raise UnknownName(f"{unknown('task', task, known)}")
    transfers = [moved for one in matrices(folder, runs) if (moved := one.onto(tasks) if tasks else one)]
    runs = [run for run in runs if not tasks or run.task in tasks]
    if as_csv:
        typer.echo(tables.tidy(runs), nl=False)
        return
    found = set_against(runs, reference)
    if as_json:
        typer.echo(tables.as_json(found, transfers))
    elif as_latex:
        typer.echo(tables.latex(found))
    elif as_markdown:
        typer.echo(tables.markdown(found, transfers), nl=False)
    else:
        _show(found, transfers, costs=costs)


def _show(found: Comparison, transfers: Sequence[Matrix], *, costs: bool) -> None:
    from ..evidence import tables
    from ..evidence.ledger import bill
    from ..evidence.overview import overviews

    console = Console() if Console().is_terminal else Console(width=140)
    for task, sparsity in found.blocks:
        lines = found.of(task, sparsity)
        pruned = f"{sparsity:.0%} pruned" if sparsity else "nothing pruned"
        titles = [lines[0].metric if head == "figure" else head for head in tables.HEADS]
        titles[5] = f"to {found.base(task, sparsity)}"
        shown = _table(titles, f"{task}, {pruned}")
        for line in lines:
            shown.add_row(*tables.cells(found, line), style="dim" if line.control else None)
        console.print(shown)
        for sentence in tables.equal(found, task, sparsity):
            say(sentence)
        if costs:
            ledger = _table(["what it cost", *tables.BILLED])
            for line in lines:
                ledger.add_row(line.title, *tables.billed(bill(line)), style="dim" if line.control else None)
            console.print(ledger)
        console.print()
    for whole in overviews(found):
        head, *rows = tables.glanced(found, whole, "[bold]{}[/bold]")
        console.print(_table(head, f"{whole.task} at a glance", rows))
        say(f"{tables.glance(found, whole)}\n")
    for one in transfers:
        head, *rows = tables.moved(one)
        console.print(_table(head, f"Transfer: {one.title}", rows))
        say(tables.TRANSFERRED)
        say(f"{one.said}\n")
    if found.ranks:
        console.print(_table(tables.RANKED, "Ranks", tables.ranked(found.ranks)))
        say(tables.said(found.ranks))
    for remark in found.remarks:
        say(f"- {remark}")
    say("- * no other line is better at no more cost")


def _table(titles: list[str], title: str | None = None, rows: Iterable[Sequence[str]] = ()) -> Table:
    shown = Table(title=title, title_justify="left")
    for i, head in enumerate(titles):
        shown.add_column(head, no_wrap=i == 0, justify="left" if i == 0 or not head else "right")
    for row in rows:
        shown.add_row(*row)
    return shown
