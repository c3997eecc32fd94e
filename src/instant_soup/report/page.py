"""Page: everything that a folder of runs says, as one HTML file that needs nothing else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from ..core.files import write_text
from ..core.kinds import checked
from ..core.printable import printable
from ..evidence import tables
from ..evidence.agreement import Pair, agreements
from ..evidence.compare import compare
from ..evidence.comparison import Comparison, Offer
from ..evidence.line import Block, Line
from ..evidence.runs import gather
from ..evidence.transfers import Matrix, gather_transfers, matrices_of
from .marks import Look, Looks, assign_looks, symbols
from .recipes import recipes
from .sections import sections

HEADS = ("seeds", "of dense", "cost, T", "difference", "which is", "p")


@dataclass(frozen=True)
class Sheet:
    """The table of one task and sparsity.

    Attributes:
        base: what its lines are set against; empty where there is nothing to set them against.
        rows: each line, the look of its method, and its cells.
        notes: what is to be said of it.
    """

    title: str
    metric: str
    base: str
    rows: tuple[tuple[Line, Look, tuple[str, ...]], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Choice:
    """What to use at one budget, in one cell: a method with its look, its figure, and what is to be known of that."""

    look: Look
    method: str
    figure: str
    facts: str


@dataclass(frozen=True)
class Advice:
    """What to use on one task and sparsity, at each budget; None where nothing costs so little."""

    title: str
    choices: tuple[Choice | None, ...]


@dataclass(frozen=True)
class Written:
    """What a page was made of: how many *runs*, and a sentence for each file that was left out as *damaged*."""

    runs: int
    damaged: tuple[str, ...]


@checked
def report(
    folder: Path,
    output: Path,
    *,
    reference: str | None = None,
    title: str = "",
) -> Written:
    """Write the page of all runs in *folder* to *output*.

    Raises StoreError when there is no record or the page cannot be written, UnknownName for a reference
    that is named and has no runs. Where none is named, it is ``magnitude`` if there are runs of it.
    """
    collection = gather(folder)
    runs = collection.runs
    transfers, unread = gather_transfers(folder)
    damaged = (*collection.damaged, *unread)

    comparison = compare(runs, reference, damaged)
    pairs = agreements(folder, runs)
    title = title or f"Lottery tickets in {folder.resolve().name}"
    page = render(comparison, pairs, title, matrices_of(transfers, runs))
    write_text(output, page)
    return Written(len(runs), damaged)


def render(
    comparison: Comparison,
    pairs: Sequence[Pair],
    title: str,
    transfers: Sequence[Matrix] = (),
) -> str:
    """The page itself."""
    room = files(__package__)
    # escaped everywhere: names of tasks and methods are from files that anybody may have written;
    # strict, so that a name that the template misspells ends in an error and not in a gap
    environment = Environment(
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.from_string((room / "page.html").read_text(encoding="utf-8"))
    looks = assign_looks(_ordered_methods(comparison))
    shown = recipes(comparison, looks)

    page = template.render(
        title=title,
        style=(room / "page.css").read_text(encoding="utf-8"),
        script=(room / "page.js").read_text(encoding="utf-8"),
        symbols=symbols(),
        looks=list(looks.values()),
        families=_families(looks),
        plain=_plain(looks),
        comparison=comparison,
        counts=_counts(comparison),
        budgets=list(map(tables.budget_text, comparison.offers)),
        advice=_advice(comparison, looks),
        offered=tables.OFFERED,
        heads=HEADS,
        sheets=_sheets(comparison, looks),
        sections=sections(comparison, pairs, looks, transfers),
        recipes=shown,
        hidden=len(comparison.lines) - len(shown),
        version=version("instant-soup"),
    )

    # half a surrogate pair is no letter, and cannot be written as UTF-8
    return page.encode("utf-8", "backslashreplace").decode()


def _shown(value: Any) -> Any:
    """*value* with what is not seen written out, unless it is markup of our own; lines stay lines."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return "\n".join(map(printable, value.split("\n")))


def _ordered_methods(comparison: Comparison) -> list[str]:
    """Plain methods before their variants, so that they have the looks that differ most."""
    names = {line.method for line in comparison.lines}
    return sorted(names, key=lambda name: (_variant(name), name))


def _variant(name: str) -> bool:
    # a plain method that was only given more steps is what others are set against
    return name.endswith(")") and not name.endswith("(longer)")


def _plain(looks: Looks) -> set[int]:
    """The numbers of what the page's picker leaves when variants are hidden."""
    return {look.number for look in looks.values() if not _variant(look.name)}


def _families(looks: Looks) -> list[tuple[str, list[Look]]]:
    """The looks of each method and of its variants together, by the method's bare name."""
    families: dict[str, list[Look]] = defaultdict(list)
    for look in sorted(looks.values(), key=lambda look: look.number):
        families[_bare(look.name)].append(look)
    return sorted(families.items())


def _bare(name: str) -> str:
    return name.split(" (")[0]


def _counts(comparison: Comparison) -> Mapping[str, str]:
    """How many there are of what, in words."""
    runs = 0
    methods: set[str] = set()
    seeds: set[int] = set()
    for line in comparison.lines:
        runs += len(line.runs)
        methods.add(line.family)
        seeds.update(run.seed for run in line.runs)

    counts = {
        "run": runs,
        "method": len(methods),
        "task": len(comparison.tasks),
        "seed": len(seeds),
    }

    words = {}
    for name, count in counts.items():
        plural = "" if count == 1 else "s"
        words[f"{name}{plural}"] = f"{count:,}"
    return words


def _advice(comparison: Comparison, looks: Looks) -> list[Advice]:
    """What to use on each task and sparsity with something pruned, and on the mean rank."""
    rows = []
    for task, sparsity in comparison.blocks:
        if sparsity:
            choices = []
            for offer in comparison.offers:
                choices.append(_choice(offer, (task, sparsity), looks))
            title = tables.title(comparison, task, sparsity)
            rows.append(Advice(title, tuple(choices)))

    if any(offer.ranks for offer in comparison.offers):
        leaders = []
        for offer in comparison.offers:
            leaders.append(_best_ranked(offer, looks))
        rows.append(Advice("mean rank", tuple(leaders)))
    return rows


def _choice(offer: Offer, block: Block, looks: Looks) -> Choice | None:
    line = offer.best.get(block)
    if line is None:
        return None
    facts = f"{tables.seeds_text(line)}, {line.cost.mean:.2f} T"
    level = tables.level_text(offer, block)
    if level:
        facts += f"; {level}"
    figure = tables.with_interval(line.figure)
    return Choice(looks[line.method], line.method, figure, facts)


def _best_ranked(offer: Offer, looks: Looks) -> Choice | None:
    ranks = offer.ranks
    if ranks is None:
        return None
    method, *level = offer.leaders
    rank = f"{ranks.ranks[method]:.2f} of {len(ranks.ranks)}"
    facts = f"{ranks.blocks} tables, {tables.cost_range(ranks.costs[method])} T"
    if level:
        facts += f"; level with {', '.join(level)}"
    return Choice(looks[method], method, rank, facts)


def _sheets(comparison: Comparison, looks: Looks) -> list[Sheet]:
    sheets = []
    for task, sparsity in comparison.blocks:
        sheets.append(_sheet(comparison, task, sparsity, looks))
    return sheets


def _sheet(
    comparison: Comparison,
    task: str,
    sparsity: float,
    looks: Looks,
) -> Sheet:
    lines = comparison.of(task, sparsity)
    rows = []
    for line in lines:
        cells = tuple(tables.line_cells(comparison, line))
        rows.append((line, looks[line.method], cells))

    compared = any(comparison.against(line) for line in lines)

    return Sheet(
        title=tables.title(comparison, task, sparsity),
        metric=lines[0].metric,
        base=comparison.base(task, sparsity) if compared else "",
        rows=tuple(rows),
        notes=tuple(tables.notes(comparison, task, sparsity)),
    )
