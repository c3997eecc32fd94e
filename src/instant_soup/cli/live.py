"""Live: what a run shows while it runs: loss, sparsity, budget spent and time left, in as much room as there is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ..core.budget import Pulse
from ..core.printable import printable
from ..runs.run import Watch
from .console import cell

Begin = Callable[[str, int, int], Watch]
"""(title, passes expected, passes of T) -> what `run` tells."""
PLAIN_EVERY = 15.0  # seconds between lines where there is no terminal
_TELLS = 5.0  # seconds after which the pace so far says something of what is left
WIDE = 110  # columns from which on there is room for the time that has passed, too


@contextmanager
def live(console: Console, *, quiet: bool = False) -> Iterator[Begin]:
    """Yield a function that begins a line.

    On a terminal the lines are bars; elsewhere they are a line of text now and then.
    """
    if quiet:
        yield _silent
    elif not console.is_terminal:
        yield lambda title, expected, full: _Plain(console, title, expected, full)
    else:
        room = Room.of(console.width)
        with Progress(*room.columns(), console=console, auto_refresh=True) as progress:

            def begin(title: str, expected: int, full: int) -> Watch:
                name = shortened(printable(title), room.title)
                bar = progress.add_task(name, total=expected, state="")
                done = _Total()

                def watch(stage: str, pulse: Pulse) -> None:
                    passes = done.add(stage, pulse)
                    state = fitted(stage, pulse, passes / full, room.state)
                    progress.update(bar, completed=passes, state=state)

                return watch

            yield begin


class Room:
    """How a line of so many columns is shared out: title, bar, state, time left, and time passed where it is wide.

    Attributes:
        title, bar, state: columns for each.
        wide: whether the time that has passed is shown.
    """

    _LEFT = 14  # "left 0:00:00" and a blank on each side
    _PASSED = 8

    def __init__(self, title: int, bar: int, state: int, *, wide: bool) -> None:
        self.title = title
        self.bar = bar
        self.state = state
        self.wide = wide

    @classmethod
    def of(cls, width: int) -> Room:
        """The shares of *width* columns."""
        wide = width >= WIDE
        title = min(28, max(12, width // 5))
        bar = min(24, max(8, width // 6))
        rest = width - title - bar - cls._LEFT - (cls._PASSED if wide else 0) - 3
        return cls(title, bar, max(0, min(60, rest)), wide=wide)

    def columns(self) -> list[ProgressColumn]:
        """The columns of rich, in order."""
        columns: list[ProgressColumn] = [
            TextColumn(f"{{task.description:<{self.title}}}", markup=False),
            BarColumn(self.bar),
            TextColumn(f"{{task.fields[state]:<{self.state}}}", markup=False),
        ]
        if self.wide:
            columns.append(TimeElapsedColumn())
        return [*columns, TextColumn("left"), TimeRemainingColumn()]


def shortened(text: str, most: int) -> str:
    """*text* in at most *most* letters."""
    return text if len(text) <= most else f"{text[: most - 2]}.."


def fitted(stage: str, pulse: Pulse, spent: float, most: int) -> str:
    """How a run stands, in at most *most* letters: what matters least is left out first."""
    parts = [f"{stage}: {pulse.purpose}"]
    if pulse.loss is not None:
        parts.append(f"loss {pulse.loss:.3f}")
    if pulse.sparsity is not None:
        parts.append(f"sparsity {pulse.sparsity:.1%}")
    parts.append(f"spent {spent:.2f} T")

    shorter = [pulse.purpose, *parts[1:]]
    for kept in (
        parts,
        shorter,
        [*shorter[:2], parts[-1]],
        [parts[0], parts[-1]],
        [pulse.purpose, parts[-1]],
        parts[-1:],
    ):
        line = "  ".join(kept)
        if len(line) <= most:
            return line
    return ""


class _Total:
    """Passes over all stages."""

    def __init__(self) -> None:
        self._by_stage: dict[str, int] = {}

    def add(self, stage: str, pulse: Pulse) -> int:
        self._by_stage[stage] = pulse.spent.passes
        return sum(self._by_stage.values())


class _Plain:
    """The same for a log: a line when a stage begins and every so often."""

    def __init__(self, console: Console, title: str, expected: int, full: int) -> None:
        self._console = console
        self._title = title
        self._expected = expected
        self._full = full
        self._total = _Total()
        self._begun = time.monotonic()
        self._told = 0.0
        self._stage = ""

    def __call__(self, stage: str, pulse: Pulse) -> None:
        passes = self._total.add(stage, pulse)
        now = time.monotonic()
        if stage == self._stage and now - self._told < PLAIN_EVERY:
            return

        left = _left(now - self._begun, passes, self._expected)
        state = fitted(stage, pulse, passes / self._full, 200)
        self._console.print(
            cell(f"{self._title}: {state}  {left}", self._console), soft_wrap=True
        )
        self._stage = stage
        self._told = now


def _left(elapsed: float, passes: int, expected: int) -> str:
    """How long it will still take, which the first seconds do not tell: caches are cold and little is done."""
    if elapsed < _TELLS or passes < expected / 100:
        return "? s left"
    return f"about {elapsed * max(0, expected - passes) / passes:.0f} s left"


def _silent(*_: object) -> Watch:
    return lambda *_: None
