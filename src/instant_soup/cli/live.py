"""Live: shows a run while it runs: loss, sparsity, budget spent and time left, in as many columns as there are."""

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
"""From a title, the passes expected and the passes of T to the function that `run` calls as it goes on."""
PLAIN_EVERY = 15.0  # seconds between lines where there is no terminal
# seconds before which the pace says nothing of the time left: caches are cold
_WARM_UP = 5.0
WIDE = 110  # columns from which on there is room for the time that has passed, too


@contextmanager
def live(console: Console, *, quiet: bool = False) -> Iterator[Begin]:
    """Yield a function that begins to show a run.

    On a terminal a run is a bar; elsewhere it is a line of text now and then.
    """
    if quiet:
        yield _silent
    elif not console.is_terminal:
        yield lambda title, expected, full: _LogLine(console, title, expected, full)
    else:
        room = Room.of(console.width)
        with Progress(*room.columns(), console=console, auto_refresh=True) as progress:

            def begin(title: str, expected: int, full: int) -> Watch:
                name = shortened(printable(title), room.title)
                bar = progress.add_task(name, total=expected, state="")
                total = _Passes()

                def watch(stage: str, pulse: Pulse) -> None:
                    passes = total.add(stage, pulse)
                    state = fitted(stage, pulse, passes / full, room.state)
                    progress.update(bar, completed=passes, state=state)

                return watch

            yield begin


class Room:
    """How the columns of a line are divided: title, bar, state, time left, and time passed where there is room.

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
        # bounded below, so that a narrow terminal still tells runs apart; the state shrinks first
        title = min(28, max(12, width // 5))
        bar = min(24, max(8, width // 6))
        times = cls._LEFT + (cls._PASSED if wide else 0)
        gaps = 3
        rest = width - title - bar - times - gaps
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
    """The state of a run in at most *most* letters; what matters least is left out first."""
    parts = [f"{stage}: {pulse.purpose}"]
    if pulse.loss is not None:
        parts.append(f"loss {pulse.loss:.3f}")
    if pulse.sparsity is not None:
        parts.append(f"sparsity {pulse.sparsity:.1%}")
    parts.append(f"spent {spent:.2f} T")

    budget = parts[-1]
    without_stage = [pulse.purpose, *parts[1:]]
    candidates = (
        parts,
        without_stage,
        [*without_stage[:2], budget],
        [parts[0], budget],
        [pulse.purpose, budget],
        [budget],
    )
    for candidate in candidates:
        line = "  ".join(candidate)
        if len(line) <= most:
            return line
    return ""


class _Passes:
    """Adds up the passes of all stages, each of which has a meter of its own."""

    def __init__(self) -> None:
        self._by_stage: dict[str, int] = {}

    def add(self, stage: str, pulse: Pulse) -> int:
        self._by_stage[stage] = pulse.spent.passes
        return sum(self._by_stage.values())


class _LogLine:
    """Prints the state of a run to a log: when a stage begins, and every `PLAIN_EVERY` seconds."""

    def __init__(self, console: Console, title: str, expected: int, full: int) -> None:
        self._console = console
        self._title = title
        self._expected = expected
        self._full = full
        self._total = _Passes()
        self._start = time.monotonic()
        self._last_print = 0.0
        self._stage = ""

    def __call__(self, stage: str, pulse: Pulse) -> None:
        passes = self._total.add(stage, pulse)
        now = time.monotonic()
        if stage == self._stage and now - self._last_print < PLAIN_EVERY:
            return

        left = _left(now - self._start, passes, self._expected)
        state = fitted(stage, pulse, passes / self._full, 200)
        self._console.print(
            cell(f"{self._title}: {state}  {left}", self._console), soft_wrap=True
        )
        self._stage = stage
        self._last_print = now


def _left(elapsed: float, passes: int, expected: int) -> str:
    """The time left, at the pace so far; unknown in the first seconds and before a hundredth is done."""
    if elapsed < _WARM_UP or passes < expected / 100:
        return "? s left"
    return f"about {elapsed * max(0, expected - passes) / passes:.0f} s left"


def _silent(*_: object) -> Watch:
    return lambda *_: None
