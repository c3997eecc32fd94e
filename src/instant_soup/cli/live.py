"""Live: what a run shows while it runs: loss, sparsity, budget spent and time left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ..core.budget import Pulse
from ..runs.run import Watch

Begin = Callable[[str, int, int], Watch]
"""(title, passes expected, passes of T) -> what `run` tells."""
PLAIN_EVERY = 15.0  # seconds between lines where there is no terminal
_TELLS = 5.0  # seconds after which the pace so far says something of what is left


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
        columns = (
            TextColumn("{task.description:<28}"),
            BarColumn(24),
            TextColumn("{task.fields[state]:<52}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console) as progress:

            def begin(title: str, expected: int, full: int) -> Watch:
                bar = progress.add_task(title, total=expected, state="")
                done = _Total()

                def watch(stage: str, pulse: Pulse) -> None:
                    passes = done.add(stage, pulse)
                    progress.update(bar, completed=passes, state=_state(stage, pulse, passes / full))

                return watch

            yield begin


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
        self._console, self._title, self._expected, self._full = console, title, expected, full
        self._total, self._begun, self._told, self._stage = _Total(), time.monotonic(), 0.0, ""

    def __call__(self, stage: str, pulse: Pulse) -> None:
        passes, now = self._total.add(stage, pulse), time.monotonic()
        if stage == self._stage and now - self._told < PLAIN_EVERY:
            return
        state = _state(stage, pulse, passes / self._full)
        left = _left(now - self._begun, passes, self._expected)
        self._console.print(f"{self._title}: {state}{left}", highlight=False, soft_wrap=True)
        self._stage, self._told = stage, now


def _left(elapsed: float, passes: int, expected: int) -> str:
    """How long it will still take, which the first seconds do not tell: caches are cold and little is done."""
    if elapsed < _TELLS or passes < expected / 100:
        return "  ? s left"
    return f"  about {elapsed * max(0, expected - passes) / passes:.0f} s left"


def _state(stage: str, pulse: Pulse, spent: float) -> str:
    loss = f"loss {pulse.loss:.3f}  " if pulse.loss is not None else ""
    sparsity = f"sparsity {pulse.sparsity:.1%}  " if pulse.sparsity is not None else ""
    return f"{stage}: {pulse.purpose}  {loss}{sparsity}spent {spent:.2f} T"


def _silent(*_: object) -> Watch:
    return lambda *_: None
