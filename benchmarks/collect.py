"""Copy the records of a store into a folder, one file a run, named for people.

    python benchmarks/collect.py RUNS results

RESULTS/TASK/METHOD-SPARSITY-seedN.json, and RESULTS/transfers/SOURCE-to-TARGET-METHOD-SPARSITY-seedN.json for
what tickets reached on other tasks. What is there of the same run is left as it is; a run of the same name
that is another one is an error. Where the task is there in another setting, the folder's name says what
differs. Agreement between tickets is measured where they are and noted beside the records, for tickets do
not come along.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from instant_soup.core.errors import StoreError
from instant_soup.evidence.agreement import agreements
from instant_soup.evidence.runs import Run, gather, named
from instant_soup.store.plain import read_json, write_json
from instant_soup.store.record import TransferRecord, paths, read, read_run, read_transfer
from instant_soup.store.store import Store


def main() -> None:
    """Copy what is new."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path)
    parser.add_argument("results", type=Path)
    options = parser.parse_args()

    collection = gather(options.runs)
    for sentence in collection.damaged:
        raise SystemExit(f"{options.runs} is damaged: {sentence}")
    runs = list(collection.runs)
    there = {}
    place = {}
    for path in paths(options.results):
        record = read(path)
        if record is not None:
            there[record.key] = record
            place[record.key] = path.parent.name
    tasks = {
        run.key: run.task
        for run in named({**there, **{run.key: run.record for run in runs}}.values())
    }

    # records of a task in one setting stay in one folder, whatever newer ones make of its name
    folders = {tasks[key]: name for key, name in place.items()}
    copied = 0
    for run in runs:
        if run.key not in there:
            task = tasks[run.key]
            if task not in folders:
                folders[task] = free_folder(task, run, set(folders.values()))
            copied += copy(run, options.runs, options.results / folders[task])
    transfers = sorted((options.runs / "transfers").glob("*.json"))
    moved = sum(carry(path, options.results) for path in transfers)

    pairs = agreements(options.runs, runs)
    notes = options.results / "agreement.json"
    known = read_json(notes) if notes.exists() else {}
    write_json(notes, {**known, **read_json(options.runs / "agreement.json")})
    print(
        f"{copied} of {len(runs)} records and {moved} transfers are new; agreement of {len(pairs)} pairs of tickets"
    )


def copy(run: Run, runs: Path, home: Path) -> bool:
    """Copy one record into the folder *home*; whether it was new."""
    source = Store(runs).cell_of(run.key).record
    return put(home / f"{name(run)}.json", source, read_run(source).key)


def carry(source: Path, results: Path) -> bool:
    """Copy the record of one transfer; whether it was new."""
    try:
        record = read_transfer(source)
    except StoreError as reason:
        raise SystemExit(f"a transfer is damaged: {reason}") from None
    return put(results / "transfers" / f"{way(record)}.json", source, record.key)


def way(record: TransferRecord) -> str:
    """From where to where a ticket went, as a file may be called."""
    source = record.source
    recipe = record.recipe
    came = folder(source.task or source.ticket[:8])
    method = source.method.get("name", "ticket")
    return f"{came}-to-{folder(recipe.task.name)}-{method}-{100 * source.sparsity:.3g}-seed{recipe.seed}"


def put(path: Path, source: Path, key: str) -> bool:
    """Copy the record in *source* to *path* unless it is there; whether it was not."""
    if not path.exists():
        write_json(path, read_json(source))
        return True

    there = read_json(path)["key"]
    if there != key:
        raise SystemExit(
            f"{path} holds {there[:16]}, not {key[:16]}; remove one of the two"
        )
    return False


def folder(task: str) -> str:
    """A task and what sets it apart, as a folder may be called."""
    return slug(task.split("/")[-1])


def free_folder(task: str, run: Run, taken: set[str]) -> str:
    """The folder of a *task* that is new; by how it is trained, where another setting of it has the plain name."""
    plain = folder(task)
    if plain not in taken:
        return plain
    training = run.record.recipe.training
    return slug(f"{plain} line {training.line} steps {training.facts().get('steps')}")


def name(run: Run) -> str:
    """Method, control, sparsity and seed, as a file may be called."""
    words = [run.method, *([run.control, "control"] if run.control else [])]
    sparsity = [f"{100 * run.sparsity:g}"] if run.sparsity else []
    return slug(" ".join([*words, *sparsity, f"seed{run.seed}"]))


def slug(text: str) -> str:
    """*text* in letters that any file system takes."""
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-")


if __name__ == "__main__":
    main()
