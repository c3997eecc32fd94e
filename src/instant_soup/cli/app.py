"""App: the command line's frame: options that commands share, and what becomes of errors."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from ..core.errors import RankError, SoupError
from ..core.ranks.launch import launched

if TYPE_CHECKING:
    from ..recipes.recipe import Recipe
    from ..tasks import CourseTask

RecipePath = Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe in TOML.")]
CellName = Annotated[
    str | None, typer.Option("--cell", metavar="NAME", help="Which recipe, in a file that holds several.")
]
Changes = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a field, as in method.denoisers=8.")
]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Where runs are kept; what is there is not run again.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Track = Annotated[
    list[str] | None,
    typer.Option("--track", metavar="NAME", help="Log to tensorboard, mlflow, wandb or trackio; again for more."),
]
EngineName = Annotated[
    str | None, typer.Option("--engine", metavar="NAME", help="Where the work is done: here, processes or ray.")
]
Workers = Annotated[
    int | None, typer.Option("--workers", min=1, help="How many work side by side; as many as there is room for.")
]
Address = Annotated[
    str | None, typer.Option("--address", help="Of the Ray cluster; 'local' starts one for the time of the command.")
]
RUNS = Path("runs")
TOGETHER = ("run", "draw", "evaluate")
"""Commands that ranks, launched together, do together."""


def placed(changes: list[str] | None, engine: str | None, workers: int | None, address: str | None) -> list[str]:
    """*changes* with what the options say of where the work is done."""
    given = {"engine": engine, "workers": workers, "address": address}
    return [*(changes or ()), *(f"run.{name}={value}" for name, value in given.items() if value is not None)]


class Guarded(typer.core.TyperGroup):
    """Turns what goes wrong into one line and an exit code: 2 for bad input, 1 for a fault of ours."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except SoupError as error:
            _complain(str(error))
            raise typer.Exit(2) from None
        except (typer.Exit, typer.Abort, KeyboardInterrupt, BrokenPipeError):  # the last: nobody reads on, as with head
            raise
        except Exception as error:
            if type(error).__module__.startswith(("click", "typer")) or os.environ.get("INSTANT_SOUP_TRACEBACK"):
                raise
            _complain(f"{type(error).__name__}: {error}. This is a fault of ours; INSTANT_SOUP_TRACEBACK=1 shows where")
            raise typer.Exit(1) from None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command, and refuse it to ranks that would do everything once each. Raises RankError."""
        found = super().resolve_command(ctx, args)
        if ctx.parent is None and launched() and found[0] not in TOGETHER:
            raise RankError(
                f"{found[0]!r} is not done by ranks together, only {', '.join(TOGETHER)} are; start it alone"
            )
        return found


app = typer.Typer(
    cls=Guarded,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Draw lottery tickets from large pre-trained transformers.",
)


def first_rank() -> bool:
    """Whether this process is the one that speaks: the first of its launch, or alone."""
    return not launched() or os.environ["RANK"] == "0"


def say(text: str) -> None:
    """One line for people, on standard output."""
    Console().print(text, soft_wrap=True, highlight=False, markup=False)


def expected(recipe: Recipe, task: CourseTask) -> tuple[int, int]:
    """Passes that a run will take, and passes of T."""
    from ..runs.plan import rehearse
    from ..runs.sizes import Sizes

    sizes = Sizes.of(task)
    draw, train = rehearse(recipe, sizes)
    return draw.spent.passes + train.spent.passes, sizes.full.passes


def _complain(text: str) -> None:
    who = f" (rank {os.environ['RANK']})" if launched() else ""
    Console(stderr=True).print(
        f"error{who}: {' '.join(text.split())}", style="red", markup=False, highlight=False, soft_wrap=True
    )
