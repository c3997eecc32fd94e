"""LaTeX: a comparison as tables for booktabs, and what LaTeX would read in names escaped."""

from __future__ import annotations

from collections.abc import Sequence

from ..core.printable import printable
from . import tables
from .comparison import Comparison
from .line import Line
from .overview import Overview, overviews

# a pipe or an angle bracket is another letter in LaTeX's usual font encoding, so they are spelled out as well
_ESCAPED = str.maketrans(
    {letter: f"\\{letter}" for letter in "&%$#_{}"}
    | {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        '"': r"\textquotedbl{}",
        "±": r"$\pm$",
        "↳": r"$\hookrightarrow$",
    }
)


def latex(comparison: Comparison) -> str:
    """A table for each task, then one for each task and sparsity, for booktabs.

    Bold is what is better than the reference beyond noise.
    """
    parts = [_overview_table(comparison, overview) for overview in overviews(comparison)]
    for task, sparsity in comparison.blocks:
        lines = comparison.of(task, sparsity)
        metric = lines[0].metric
        base = comparison.base(task, sparsity)

        caption = f"{task}, {tables.percentage(sparsity)} pruned: {metric}, mean and 95% interval over seeds."
        if base:
            caption += f" Bold: better than {base} beyond noise."
        silent = comparison.why_silent(task, sparsity)
        # a table in a paper stands without the remarks, so its caption says it
        if silent:
            caption += f" This table cannot tell good masks from bad ones: {silent}."

        head = rf"method & {escaped(metric)} & seeds & \% of dense & cost in $T$"
        rows = [_line_row(comparison, line) for line in lines]
        parts.append(_table("lrrrr", head, rows, caption))

    return "\n".join(parts)


def _overview_table(comparison: Comparison, overview: Overview) -> str:
    def figure(line: Line) -> str:
        return _figure_cell(comparison, line)

    rows = []
    for method, figures, cost in tables.overview_cells(overview, figure, "--"):
        rows.append(_row([escaped(method), *figures, cost]))

    # the last head is the cost in T, and T is a formula in LaTeX
    *heads, _ = tables.overview_head(overview)
    head = " & ".join([*map(escaped, heads), "cost in $T$"])
    glance = tables.overview_note(comparison, overview)
    caption = f"{overview.task}: {overview.metric} by pruned share, mean and 95% interval over seeds. {glance}"
    return _table("l" + "r" * len(heads), head, rows, caption)


def _table(columns: str, head: str, rows: Sequence[str], caption: str) -> str:
    parts = [
        r"\begin{table}",
        r"  \centering",
        rf"  \begin{{tabular}}{{{columns}}}",
        r"    \toprule",
        rf"    {head} \\",
        r"    \midrule",
        *rows,
        r"    \bottomrule",
        r"  \end{tabular}",
        rf"  \caption{{{escaped(caption)}}}",
        r"\end{table}",
        "",
    ]

    return "\n".join(parts)


def _line_row(comparison: Comparison, line: Line) -> str:
    if line.control:
        title = rf"\quad {escaped(f'{line.control} control')}"
    else:
        title = escaped(line.title)

    cells = [
        title,
        _figure_cell(comparison, line),
        str(line.figure.n),
        f"{100 * line.recovery.mean:.0f}" if line.recovery else "--",
        f"{line.cost.mean:.2f}",
    ]
    return _row(cells)


def _row(cells: Sequence[str]) -> str:
    """One row of a table."""
    return rf"    {' & '.join(cells)} \\"


def _figure_cell(comparison: Comparison, line: Line) -> str:
    half = ""
    if line.figure.half is not None:
        half = rf" \pm {line.figure.half:.3f}"

    # \textbf does not reach into a formula
    bold = r"\boldmath " if tables.beats_reference(comparison, line) else ""
    return f"{bold}${line.figure.mean:.3f}{half}$"


def escaped(text: str) -> str:
    """*text* on one line, with nothing left in it that LaTeX would read as more than letters."""
    return printable(text).translate(_ESCAPED)
