"""Board: shows a sweep while it runs, as a table on a terminal and as lines in a log."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from ..sweeps.status import Row, Standing
from ..sweeps.sweep import State
from . import console, show

# what needs attention stands on top, because a terminal shows the first rows only
_ORDER: tuple[State, ...] = ("running", "failed", "begun", "waits", "to do", "done")
_STYLE: dict[State, str] = {
    "running": "bold",
    "failed": "red",
    "done": "dim",
    "to do": "",
    "begun": "",
    "waits": "",
}


def table(standing: Standing, most: int | None = None) -> Table:
    """The counts, the time left, and the runs in order of their states: *most* of them at most, all if None."""
    heads = ["run", "state", "done", "time", "where it stands"]
    lines = console.table(heads, title=summary(standing))
    rows = sorted(standing.rows, key=lambda row: _ORDER.index(row.state))

    for row in rows[:most]:
        time = show.minutes(row.seconds) if row.seconds is not None else ""
        share = f"{row.share:.0%}" if row.state in ("running", "done") else ""
        note = f"{row.note}, on {row.host}" if row.host else row.note
        style = _STYLE[row.state]
        console.add(lines, row.name, row.state, share, time, note, style=style)

    if most is not None and len(rows) > most:
        lines.caption = f"and {len(rows) - most} more"
    return lines


def summary(standing: Standing) -> str:
    """How many runs are in each state, and the time left, in one line."""
    states = []
    for state in reversed(_ORDER):
        count = standing.counts.get(state)
        if count:
            states.append(f"{count} {state}")

    left = f"; about {show.minutes(standing.left)} left" if standing.left else ""
    return f"{len(standing.rows)} runs: {', '.join(states)}{left}"


class Log:
    """Prints a line for each run that is done or fails, with a summary of the sweep."""

    def __init__(self, err: Console) -> None:
        self._err = err
        self._ended: dict[str, Row] | None = None

    def __call__(self, standing: Standing) -> None:
        """Print what has changed since the last call; the summary alone at the first."""
        ended = {
            row.name: row for row in standing.rows if row.state in ("done", "failed")
        }
        if self._ended is None:
            self._print(summary(standing))
        else:
            for name, row in ended.items():
                before = self._ended.get(name)
                # a run that failed may be tried again by another process, and end otherwise
                if before is None or before.state != row.state:
                    self._print(f"{row.state}: {name}: {row.note}  ({summary(standing)})")
        self._ended = ended

    def _print(self, text: str) -> None:
        # soft wrapping leaves a log's lines whole, so that grep finds them
        self._err.print(console.cell(text, self._err), soft_wrap=True)
