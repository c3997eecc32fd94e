"""App: the command line's frame: options that commands share, and what becomes of errors."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..core.errors import RankError, SoupError, StoreError
from ..core.places import check_place
from ..core.ranks.launch import launched
from ..recipes import toml
from .console import complain, err

if TYPE_CHECKING:
    from ..core.ticket import Ticket
    from ..recipes.recipe import Recipe
    from ..tasks import CourseTask


class UsageError(SoupError, ValueError):
    """Options that do not go together."""


CellName = Annotated[
    str | None,
    typer.Option(
        "--cell", metavar="NAME", help="Which recipe, in a file that holds several."
    ),
]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Change a field, as in method.denoisers=8."
    ),
]
Out = Annotated[
    Path,
    typer.Option(
        "--out",
        metavar="DIR",
        help="Where runs are kept; what is there is not run again.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Most = Annotated[
    int | None,
    typer.Option("--most", min=1, help="How many runs RECIPE may ask for; 10,000."),
]
Force = Annotated[
    bool, typer.Option("--force", help="Replace the file if it is there already.")
]
Track = Annotated[
    list[str] | None,
    typer.Option(
        "--track",
        metavar="NAME",
        help="Log to tensorboard, mlflow, wandb or trackio; again for more.",
    ),
]
LmEval = Annotated[
    str | None,
    typer.Option(
        "--lm-eval",
        metavar="TASKS",
        help="Judge a language model by tasks of lm-eval, too, such as hellaswag,arc_easy.",
    ),
]
EngineName = Annotated[
    str | None,
    typer.Option(
        "--engine", metavar="NAME", help="Where the work is done: here, processes or ray."
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        help="How many work side by side; as many as there is room for.",
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        help="Of the Ray cluster; 'local' starts one for the time of the command.",
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="NAME",
        help="What to train on: cpu, cuda, cuda:1, mps; the first GPU that torch sees if not given.",
    ),
]
RUNS = Path("runs")
TOGETHER = ("run", "draw", "evaluate")
"""Commands that ranks, launched together, do together."""
FIRST_DAY = (
    "demo", "new", "tasks", "methods", "plan", "run", "compare", "report", "draw", "evaluate", "export", "sweep",
    "status", "doctor", "ticket", "control", "transfer", "scope", "import", "prune",
)  # fmt: skip
"""Commands in the order in which a newcomer meets them; others come after them."""


def with_run_options(
    changes: list[str] | None,
    engine: str | None,
    workers: int | None,
    address: str | None,
    device: str | None,
) -> list[str]:
    """*changes* to a recipe, with those that the options on where work is done stand for."""
    options = {"engine": engine, "workers": workers, "address": address}
    extended = list(changes or ())
    # after the changes, so that an option has the last word over --set run.workers=2
    for name, value in options.items():
        if value is not None:
            extended.append(f"run.{name}={value}")
    return with_device(extended, device)


def with_device(changes: list[str] | None, device: str | None) -> list[str]:
    """*changes* to a recipe, with the one that ``--device`` stands for."""
    extended = list(changes or ())
    if device is not None:
        extended.append(f"training.device={device}")
    return extended


def check_model(recipe: Path, changes: Iterable[str] | None) -> None:
    """Raise DataError at a misspelt path to the model of *recipe*, before methods are imported to look at its method.

    Models of single cells are seen by `check_models`, once it is known which cells are asked for.
    """
    fields = toml.read(recipe)
    for change in changes or ():
        toml.change(fields, change)

    task = fields.get("task")
    model = task.get("model") if isinstance(task, Mapping) else None
    # a list of models, or what is no name at all, is for whoever reads the recipe
    if isinstance(model, str):
        check_place(model)


def check_models(recipes: Iterable[Recipe]) -> None:
    """Raise DataError at a misspelt path to a model, before the slow imports and before a hub is asked for it."""
    # each once: the cells of a sweep mostly share a model
    for model in dict.fromkeys(recipe.task.model for recipe in recipes):
        check_place(model)


def refuse_replacing(path: Path, *, force: bool) -> None:
    """Raise StoreError where something is at *path*, unless it is a file and *force* allows to replace it."""
    from ..core.files import refuse_irregular

    refuse_irregular(path)
    if path.exists() and not force:
        raise StoreError(
            f"{path} is there already; give another name, or --force to replace it"
        )


def save_ticket(ticket: Ticket, path: Path, *, force: bool) -> None:
    """Write *ticket* to *path*. Raises StoreError where another file is there, unless *force* allows to replace it."""
    # the same ticket once more loses nothing, so a command can be repeated
    if not holds_ticket(path, lambda known: known.digest == ticket.digest):
        refuse_replacing(path, force=force)
    ticket.save(path)


def refuse_stranger(
    path: Path, *, force: bool, expected: Callable[[Ticket], bool] = lambda _: True
) -> None:
    """Before a ticket for *path* is made: raise StoreError where what is there could not be it, and *force* is not set.

    Args:
        expected: whether a ticket may be the one that is made; whoever saves it compares them in full.
    """
    if not holds_ticket(path, expected):
        refuse_replacing(path, force=force)


def holds_ticket(path: Path, expected: Callable[[Ticket], bool]) -> bool:
    """Whether the file at *path* is a ticket, and the *expected* one."""
    from ..core.ticket import Ticket

    # a link is not replaced, wherever it leads
    if path.is_symlink() or not path.is_file():
        return False
    try:
        return expected(Ticket.load(path))
    except SoupError:
        return False


@contextmanager
def resumable() -> Iterator[None]:
    """Say on an interrupt in the block that the same command goes on from here."""
    try:
        yield
    except KeyboardInterrupt:
        err().print("Stopped. The same command goes on from here.")
        raise


def is_full(error: BaseException) -> bool:
    """Whether *error* says that the disk, or what standard output goes to, has no room left."""
    return isinstance(error, OSError) and error.errno in (
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EFBIG,
    )


class Guarded(typer.core.TyperGroup):
    """Turns an error into one line and an exit code: 2 for bad input, 1 for a fault of ours."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except SoupError as error:
            complain(str(error), _rank_note())
            raise typer.Exit(2) from None

        # typer ends the command by these; a broken pipe means that nobody reads on, as with head
        except (typer.Exit, typer.Abort, KeyboardInterrupt, BrokenPipeError):
            raise

        except Exception as error:
            # main says that a disk is full: it may also happen to help, and to output that is not yet written
            if is_full(error):
                raise
            if isinstance(error, OSError) and error.filename is not None:
                # a name that no file can have, no right to it, a loop of links
                fault = f"{error.filename}: {error.strerror}; check the path"
                complain(fault, _rank_note())
                raise typer.Exit(2) from None
            # typer tells wrong options itself, with the usage line
            is_usage = type(error).__module__.startswith(("click", "typer"))
            if is_usage or os.environ.get("INSTANT_SOUP_TRACEBACK"):
                raise

            fault = f"{type(error).__name__}: {error}. This is a fault of ours; INSTANT_SOUP_TRACEBACK=1 shows where"
            complain(fault, _rank_note())
            raise typer.Exit(1) from None

    def list_commands(self, ctx: Any) -> list[str]:
        """Commands in the order of a first day."""

        def place(name: str) -> int:
            return FIRST_DAY.index(name) if name in FIRST_DAY else len(FIRST_DAY)

        return sorted(super().list_commands(ctx), key=place)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command. Raises RankError where ranks would each carry it out, and overwrite each other's files."""
        resolved = super().resolve_command(ctx, args)
        command = resolved[0]
        # groups of commands resolve their own; the outermost decides
        if ctx.parent is None and launched() and command not in TOGETHER:
            raise RankError(
                f"{command!r} is not done by ranks together, only {', '.join(TOGETHER)} are; start it alone"
            )
        return resolved


app = typer.Typer(
    cls=Guarded,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Draw lottery tickets from large pre-trained transformers.",
)


def _print_version(*, requested: bool) -> None:
    if requested:
        typer.echo(f"instant-soup {version('instant-soup')}")
        raise typer.Exit


@app.callback()
def instant_soup(
    show_version: Annotated[
        bool,
        typer.Option(
            "--version",
            is_eager=True,
            callback=lambda requested: _print_version(requested=requested),
            help="Say which.",
        ),
    ] = False,
) -> None:
    """Draw lottery tickets from large pre-trained transformers."""


def is_first_rank() -> bool:
    """Whether this process is the one that prints and writes: the first of its launch, or the only one."""
    return not launched() or os.environ["RANK"] == "0"


def expected_passes(recipe: Recipe, task: CourseTask) -> tuple[int, int]:
    """How many passes a run will take, and how many T has."""
    from ..runs.plan import rehearse
    from ..runs.sizes import Sizes

    sizes = Sizes.of(task)
    draw, train = rehearse(recipe, sizes)
    return draw.spent.passes + train.spent.passes, sizes.full.passes


def _rank_note() -> str:
    return f" (rank {os.environ['RANK']})" if launched() else ""
