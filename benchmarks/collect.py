"""Copy the records of a store into a folder, one file a run, named for people.

    python benchmarks/collect.py RUNS results

RESULTS/TASK/METHOD-SPARSITY-seedN.json. What is there of the same run is left as it is; a run of the
same name that is another one is an error. Agreement between tickets is measured where they are and
noted beside the records, for tickets do not come along.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from instant_soup.lab.agreement import agreements
from instant_soup.lab.records import Run, collect, seal, sealed
from instant_soup.lab.store import read_json, write_json


def main() -> None:
    """Copy what is new."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path)
    parser.add_argument("results", type=Path)
    options = parser.parse_args()
    runs = collect(options.runs)
    copied = sum(copy(run, options.runs, options.results) for run in runs)
    pairs = agreements(options.runs, runs)
    known = read_json(path) if (path := options.results / "agreement.json").exists() else {}
    write_json(path, {**known, **read_json(options.runs / "agreement.json")})
    print(f"{copied} of {len(runs)} records are new; agreement of {len(pairs)} pairs of tickets")


def copy(run: Run, runs: Path, results: Path) -> bool:
    """Copy one record; whether it was new."""
    record = read_json(runs / run.key[:16] / "record.json")
    path = results / run.task.split("/")[-1].split(" ")[0] / f"{name(run)}.json"
    if path.exists():
        if (there := read_json(path)["key"]) != run.key:
            raise SystemExit(f"{path} holds run {there[:16]}, not {run.key[:16]}; remove one of the two")
        return False
    if record["schema"] >= 3 and not sealed(record):
        raise SystemExit(f"{runs / run.key[:16]} is damaged; `instant-soup doctor {runs}` puts it aside")
    write_json(path, seal(record) if record["schema"] >= 3 else record)
    return True


def name(run: Run) -> str:
    """Method, control, sparsity and seed, as a file may be called."""
    words = [run.method, *([run.control, "control"] if run.control else [])]
    sparsity = [f"{100 * run.sparsity:g}"] if run.sparsity else []
    return re.sub(r"[^a-z0-9.]+", "-", " ".join([*words, *sparsity, f"seed{run.seed}"]).lower()).strip("-")


if __name__ == "__main__":
    main()
