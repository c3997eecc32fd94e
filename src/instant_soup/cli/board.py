"""Board: a sweep as a person watches it."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from ..sweeps.status import Row, Standing
from ..sweeps.sweep import State
from . import console, show

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
    """Counts, time left and the runs, what runs first; no more than *most* lines."""
    heads = ["run", "state", "done", "time", "where it stands"]
    shown = console.table(heads, title=counts(standing))
    rows = sorted(standing.rows, key=lambda row: _ORDER.index(row.state))

    for row in rows[:most]:
        time = show.minutes(row.seconds) if row.seconds is not None else ""
        share = f"{row.share:.0%}" if row.state in ("running", "done") else ""
        note = f"{row.note}, on {row.host}" if row.host else row.note
        console.add(
            shown, row.name, row.state, share, time, note, style=_STYLE[row.state]
        )

    if most is not None and len(rows) > most:
        shown.caption = f"and {len(rows) - most} more"
    return shown


def counts(standing: Standing) -> str:
    """The whole in one line."""
    counts = [(standing.counts.get(state), state) for state in reversed(_ORDER)]
    states = ", ".join(f"{count} {state}" for count, state in counts if count)
    left = f"; about {show.minutes(standing.left)} left" if standing.left else ""
    return f"{len(standing.rows)} runs: {states}{left}"


class Log:
    """For a log: a line when a run is done or fails, and the whole with it."""

    def __init__(self, err: Console) -> None:
        self._err = err
        self._known: dict[str, Row] | None = None

    def __call__(self, standing: Standing) -> None:
        """Say what is new."""
        ended = {
            row.name: row for row in standing.rows if row.state in ("done", "failed")
        }
        if self._known is None:
            self._say(counts(standing))
        else:
            for name, row in ended.items():
                if name not in self._known or self._known[name].state != row.state:
                    self._say(f"{row.state}: {name}: {row.note}  ({counts(standing)})")
        self._known = ended

    def _say(self, text: str) -> None:
        self._err.print(console.cell(text, self._err), soft_wrap=True)
