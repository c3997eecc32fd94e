"""Page: everything that a folder of runs says, as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from ..core.files import write_text
from ..evidence import tables
from ..evidence.agreement import Pair, agreements
from ..evidence.compare import Comparison, Line, compare
from ..evidence.runs import collect
from ..evidence.transfers import Matrix, matrices
from .figures import pruned
from .marks import Look, looks, symbols
from .recipes import recipes
from .sections import sections

HEADS = ("seeds", "of dense", "cost, T", "difference", "which is", "p")


@dataclass(frozen=True)
class Sheet:
    """The table of one task and sparsity.

    Attributes:
        base: what its lines are set against.
        rows: each line, the look of its method, and its cells.
        notes: what is to be said of it.
    """

    title: str
    metric: str
    base: str  # empty where there is nothing to set them against
    rows: tuple[tuple[Line, Look, tuple[str, ...]], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Glance:
    """One task and sparsity in a row: what is best, what the reference reaches, and what the two amount to."""

    title: str
    best: Line
    base: Line | None
    verdict: str


def report(folder: Path, output: Path, *, reference: str = "magnitude", title: str = "") -> int:
    """Write the page of all runs in *folder* to *output*; how many runs those are.

    Raises StoreError when there is no record or the page cannot be written, UnknownName for a reference without runs.
    """
    runs = collect(folder)
    found = compare(runs, reference)
    title = title or f"Lottery tickets in {folder.resolve().name}"
    write_text(output, render(found, agreements(folder, runs), title, matrices(folder, runs)))
    return len(runs)


def render(found: Comparison, pairs: Sequence[Pair], title: str, transfers: Sequence[Matrix] = ()) -> str:
    """The page itself."""
    room = files(__package__)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((room / "page.html").read_text(encoding="utf-8"))
    seen = looks(_methods(found))
    shown = recipes(found, seen)
    return template.render(
        title=title,
        style=(room / "page.css").read_text(encoding="utf-8"),
        script=(room / "page.js").read_text(encoding="utf-8"),
        symbols=symbols(),
        looks=list(seen.values()),
        plain={look.number for look in seen.values() if not _variant(look.name)},
        by_name=seen,
        found=found,
        counts=_counts(found),
        glances=[_glance(found, *block) for block in found.blocks if len(found.of(*block)) > 1],
        heads=HEADS,
        sheets=[_sheet(found, *block, seen) for block in found.blocks],
        sections=sections(found, pairs, seen, transfers),
        recipes=shown,
        hidden=len(found.lines) - len(shown),
        version=version("instant-soup"),
        figure=tables.shown,
    )


def _methods(found: Comparison) -> list[str]:
    """Plain methods before their variants, so that they have the looks that differ most."""
    return sorted({line.method for line in found.lines}, key=lambda name: (_variant(name), name))


def _variant(name: str) -> bool:
    return name.endswith(")") and not name.endswith("(longer)")


def _counts(found: Comparison) -> Mapping[str, str]:
    """How many there are of what, in words."""
    runs = [run for line in found.lines for run in line.runs]
    counts = {
        "run": len(runs),
        "method": len({line.method for line in found.lines}),
        "task": len({line.task for line in found.lines}),
        "seed": len({run.seed for run in runs}),
    }
    return {f"{name}{'s' if count != 1 else ''}": f"{count:,}" for name, count in counts.items()}


def _glance(found: Comparison, task: str, sparsity: float) -> Glance:
    lines = [line for line in found.of(task, sparsity) if not line.control] or list(found.of(task, sparsity))
    base = found.base(task, sparsity)
    its = next((line for line in lines if line.title == base), None)
    against = found.against(lines[0])
    words = f"{against.difference.mean:+.3f}, {against.verdict}" if against else ""
    verdict = "is the reference" if lines[0] is its else words or "not set against anything"
    return Glance(f"{task}, {pruned(sparsity)}", lines[0], its, verdict)


def _sheet(found: Comparison, task: str, sparsity: float, seen: Mapping[str, Look]) -> Sheet:
    lines = found.of(task, sparsity)
    rows = tuple((line, seen[line.method], tuple(tables.cells(found, line))) for line in lines)
    base = found.base(task, sparsity) if any(found.against(line) for line in lines) else ""
    notes = tuple(tables.equal(found, task, sparsity))
    return Sheet(f"{task}, {pruned(sparsity)}", lines[0].metric, base, rows, notes)
