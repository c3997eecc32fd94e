"""Progress: a bar for work that is done from Python, on a terminal or in a notebook."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich import get_console
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from ..core.budget import Meter, Pulse
from ..core.kinds import checked
from ..core.printable import fitting, printable
from ..tasks import CourseTask
from .sizes import Sizes


@contextmanager
@checked
def progress(
    task: CourseTask, title: str = "", *, console: Console | None = None
) -> Iterator[Meter]:
    """Yield a meter that shows what is charged to it: purpose, loss, sparsity and how much of T is spent.

    Hand it to `draw` or `evaluate`. The bar is full at T; what costs more goes on counting. Where there is neither a
    terminal nor a notebook, nothing is shown.
    """
    full = Sizes.of(task).full.passes
    columns = (
        # titles are the user's, and brackets in them are no markup of rich
        TextColumn("{task.description}", markup=False),
        BarColumn(24),
        TextColumn("{task.fields[state]}"),
    )
    shown_on = console or get_console()
    name = fitting(printable(title or task.name), shown_on.encoding)
    with Progress(*columns, TimeElapsedColumn(), console=shown_on) as bars:
        bar = bars.add_task(name, total=full, state="")

        def watch(pulse: Pulse) -> None:
            parts = [str(pulse.purpose)]
            if pulse.loss is not None:
                parts.append(f"loss {pulse.loss:.3f}")
            if pulse.sparsity is not None:
                parts.append(f"sparsity {pulse.sparsity:.1%}")
            spent = pulse.spent.passes
            parts.append(f"spent {spent / full:.2f} T")

            # a bar beyond its end would say more than 100 %
            completed = min(spent, full)
            bars.update(bar, completed=completed, state="  ".join(parts))

        yield Meter(watch=watch)
