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
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from instant_soup.evidence import transfers
from instant_soup.evidence.agreement import agreements
from instant_soup.store.plain import read_json, write_json
from instant_soup.store.record import Run, collect, named, paths, read, seal, sealed
from instant_soup.store.store import Store


def main() -> None:
    """Copy what is new."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path)
    parser.add_argument("results", type=Path)
    options = parser.parse_args()
    runs = collect(options.runs)
    there = {record["key"]: record for record in filter(None, map(read, paths(options.results)))}
    tasks = {run.key: run.task for run in named({**there, **{run.key: run.record for run in runs}}.values())}
    copied = sum(copy(run, tasks[run.key], options.runs, options.results) for run in runs if run.key not in there)
    moved = sum(carry(record, options.results) for record in transfers.records(options.runs))
    pairs = agreements(options.runs, runs)
    known = read_json(path) if (path := options.results / "agreement.json").exists() else {}
    write_json(path, {**known, **read_json(options.runs / "agreement.json")})
    print(f"{copied} of {len(runs)} records and {moved} transfers are new; agreement of {len(pairs)} pairs of tickets")


def copy(run: Run, task: str, runs: Path, results: Path) -> bool:
    """Copy one record; whether it was new."""
    cell = Store(runs).cell_of(run.key)
    record = read_json(cell.record)
    path = results / folder(task) / f"{name(run)}.json"
    if record["schema"] >= 3 and not sealed(record):
        raise SystemExit(f"{cell.folder} is damaged; `instant-soup doctor {runs}` puts it aside")
    return put(path, seal(record) if record["schema"] >= 3 else record)


def carry(record: Mapping[str, Any], results: Path) -> bool:
    """Copy the record of one transfer; whether it was new."""
    if not sealed(record):
        raise SystemExit(f"transfer {record['key'][:16]} is damaged; `instant-soup doctor` puts it aside")
    source, recipe = record["source"], record["recipe"]
    came = source["recipe"]["task"]["name"] if source["recipe"] else source["ticket"][:8]
    way = f"{folder(came)}-to-{folder(recipe['task']['name'])}"
    what = f"{source['method'].get('name', 'ticket')}-{100 * source['sparsity']:.3g}-seed{recipe['seed']}"
    return put(results / "transfers" / f"{way}-{what}.json", dict(record))


def put(path: Path, record: dict[str, Any]) -> bool:
    """Write *record* unless it is there; whether it was not."""
    if path.exists() and (there := read_json(path)["key"]) != record["key"]:
        raise SystemExit(f"{path} holds {there[:16]}, not {record['key'][:16]}; remove one of the two")
    new = not path.exists()
    if new:
        write_json(path, record)
    return new


def folder(task: str) -> str:
    """A task and what sets it apart, as a folder may be called."""
    return slug(task.split("/")[-1])


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
