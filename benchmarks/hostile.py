"""Odd inputs at random, for as long as it is given: what becomes of them, counted by kind.

    python benchmarks/hostile.py --seconds 60
    python benchmarks/hostile.py --kind records --count 10000 --seed 3 --out results/hostile.json

Each try makes an odd input (`odd_inputs.py`), gives it to a command in this process, and looks at what is left. Six
things must never happen: an answer that calls itself a fault of the program, a command that does not end, a file that
is gone or changed, a file where none was asked for, an escape that reaches the terminal, and a connection. Prints a
line a kind, and each kind of fault once; ends with code 1 if there was any.
"""

from __future__ import annotations

import argparse
import random
import signal
import socket
import sys
import tempfile
import time
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any
from unittest.mock import patch

from typer.main import get_command
from typer.testing import CliRunner

from attacks import note_kind
from instant_soup.cli.main import app
from odd_inputs import KINDS, Make

COMMAND = get_command(app)  # made once: it takes longer than most commands
REMADE = ("index.json", "digests.json", "draw.json", "train.json")
PATIENCE = 300  # seconds that a command may take


@dataclass
class Tally:
    """What became of the inputs of one kind.

    Attributes:
        strays: files that appeared outside of the folder that commands were given.
    """

    inputs: int = 0
    commands: int = 0
    accepted: int = 0
    refused: int = 0
    lost: int = 0
    strays: int = 0
    connections: int = 0
    faults: Counter[str] = field(default_factory=Counter)

    @property
    def clean(self) -> bool:
        """Whether nothing happened that must not."""
        return not (self.lost or self.strays or self.connections or self.faults)

    @property
    def counts(self) -> dict[str, int]:
        """All of it as numbers."""
        return {
            "inputs": self.inputs,
            "commands": self.commands,
            "accepted": self.accepted,
            "refused": self.refused,
            "faults": self.faults.total(),
            "lost": self.lost,
            "strays": self.strays,
            "connections": self.connections,
        }


# tries


def attempt(make: Make, seed: int, tally: Tally) -> None:
    """One odd input, and what its commands make of it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "desk"
        folder.mkdir()
        commands = make(random.Random(seed), folder)
        tally.inputs += 1
        for command in commands:
            before = fingerprints(folder)
            with counted(tally), patience():
                result = invoked(command)

            tally.commands += 1
            tally.accepted += result.exit_code == 0
            tally.refused += result.exit_code in (2, 3)
            gone = lost(before, fingerprints(folder), command[0])
            strays = [path.name for path in Path(name).iterdir() if path != folder]
            tally.lost += gone
            tally.strays += len(strays)

            fault = fault_of(result)
            if gone or strays:
                fault = f"{gone} files lost, strays {strays} {fault}"
            if fault:
                tally.faults[f"{command[0]}: {fault} (seed {seed})"] += 1


def invoked(command: list[str]) -> Any:
    """What comes of one command in this process."""
    # typer would make it anew each time
    with patch("typer.testing._get_command", lambda _: COMMAND):
        return CliRunner().invoke(app, command)


@contextmanager
def patience() -> Iterator[None]:
    """Raise TimeoutError in a command that takes too long."""

    def too_long(*_: Any) -> None:
        raise TimeoutError(f"it took longer than {PATIENCE} s")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def fault_of(result: Any) -> str:
    """What went wrong that must not, in a few words; empty where nothing did."""
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return f"{type(result.exception).__name__}: {str(result.exception)[:120]}"
    if "fault of ours" in result.output or result.exit_code not in (0, 2, 3):
        return " ".join(result.output.split())[:200] or f"exit code {result.exit_code}"

    for letter in set(result.output) - {"\n"}:
        if unicodedata.category(letter) in ("Cc", "Cs"):
            return f"{letter!r} reaches the terminal"
    return ""


def fingerprints(folder: Path) -> dict[str, str]:
    """Every file below *folder* with its digest."""
    files = (
        path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()
    )
    return {
        str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def lost(before: Mapping[str, str], after: Mapping[str, str], command: str) -> int:
    """How many files are gone or changed. `doctor` moves what is damaged into quarantine: there it is not lost.

    What is made again is not lost either, nor where an unfinished run stood, which moves on.
    """
    kept = set(after.values())
    gone = 0
    for path, digest in before.items():
        if Path(path).name in REMADE or Path(path).parent.name in ("draw", "train"):
            continue
        if command == "doctor":
            gone += digest not in kept
        else:
            gone += after.get(path) != digest
    return gone


@contextmanager
def counted(tally: Tally) -> Iterator[None]:
    """Count, and refuse, what would leave this machine."""
    look_up, connect = socket.getaddrinfo, socket.socket.connect

    def refused(*_arguments: Any, **_options: Any) -> Any:
        tally.connections += 1
        raise OSError("no network here")

    socket.getaddrinfo = refused
    socket.socket.connect = refused  # type: ignore[method-assign]
    try:
        yield
    finally:
        socket.getaddrinfo = look_up
        socket.socket.connect = connect  # type: ignore[method-assign]


def tried(
    kind: str, *, seed: int, count: int | None = None, seconds: float | None = None
) -> Tally:
    """Odd inputs of one *kind*: so many, or for so long."""
    tally = Tally()
    began = time.monotonic()
    number = 0
    while (count is None or number < count) and (
        seconds is None or time.monotonic() - began < seconds
    ):
        attempt(KINDS[kind], seed + number, tally)
        number += 1
    return tally


def note(out: Path, kind: str, tally: Tally, seed: int) -> None:
    """Write down what became of one kind, beside what is known of others."""
    note_kind(out, kind, tally.counts, lambda _: {**tally.counts, "seed": seed})


def main() -> None:
    """Try every kind, or one."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kind", choices=KINDS, action="append")
    parser.add_argument(
        "--seconds", type=float, help="in all; a minute if no count is given"
    )
    parser.add_argument("--count", type=int, help="inputs of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="a JSON file for the counts")
    options = parser.parse_args()

    kinds = options.kind or list(KINDS)
    seconds = options.seconds or (None if options.count else 60.0)
    share = None if seconds is None else seconds / len(kinds)
    clean = True
    columns = list(Tally().counts)
    print(f"{'kind':<12}", *(f"{column:>11}" for column in columns))
    for kind in kinds:
        tally = tried(kind, seed=options.seed, count=options.count, seconds=share)
        clean &= tally.clean
        print(
            f"{kind:<12}",
            *(f"{count:>11}" for count in tally.counts.values()),
            flush=True,
        )
        if options.out:
            note(options.out, kind, tally, options.seed)
        for fault, times in tally.faults.most_common(10):
            print(f"    {times} x {fault}")
    sys.exit(not clean)


if __name__ == "__main__":
    main()
