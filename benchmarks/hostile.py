"""Odd inputs at random, for as long as it is given: what becomes of them, counted by kind.

    python benchmarks/hostile.py --seconds 60
    python benchmarks/hostile.py --kind records --count 10000 --seed 3

Each try changes a good input in one to four places, gives it to a command in this process, and looks at what is left.
Three things must never happen: an answer that calls itself a fault of the program, a file beside the input or the
output that is gone or changed, and a connection. Prints a line a kind, and each kind of fault once; ends with code 1 if
there was any.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from instant_soup.cli.main import app

CORPUS = Path(__file__).parents[1] / "tests" / "corpus"
ODD: tuple[Any, ...] = (
    None, True, 0, -1, 10**30, 1e308, float("nan"), float("inf"), "", "x" * 5000, "\x1b[31mred", "a\nb", "\ud800",
    "[/old]", "[bold]", "=1+1", "| a | b |", "\\input{x}", "<img src=x>", "../../x", "*", "\x00", [], {}, [[[]]],
    {"a": {"b": {}}},
)  # fmt: skip
RECIPE = """sparsity = 0.5
seed = 1
[task]
name = "glue/cola"
model = "google-bert/bert-base-uncased"
[method]
name = "instant-soup"
denoisers = 2
[training]
epochs = 3.0
[sweep]
"method.denoisers" = [2, 4]
"""

Make = Callable[[random.Random, Path], list[list[str]]]
"""Writes an odd input into a folder, and gives the commands to try on it."""


@dataclass
class Tally:
    """What became of the inputs of one kind."""

    commands: int = 0
    accepted: int = 0
    refused: int = 0
    lost: int = 0
    connections: int = 0
    faults: Counter[str] = field(default_factory=Counter)

    @property
    def clean(self) -> bool:
        """Whether nothing happened that must not."""
        return not (self.lost or self.connections or self.faults)


# changes


def bytes_changed(data: bytes, dice: random.Random) -> bytes:
    """*data* with a few bytes flipped, put in, taken out, repeated or cut off."""
    changed = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        place = dice.randrange(len(changed) + 1)
        length = dice.choice((1, 2, 8, 64))
        kind = dice.randrange(5)
        if kind == 0 and changed:
            changed[min(place, len(changed) - 1)] ^= 1 << dice.randrange(8)
        elif kind == 1:
            changed[place:place] = dice.randbytes(length)
        elif kind == 2:
            del changed[place : place + length]
        elif kind == 3:
            changed[place:place] = changed[place : place + length] * 3
        else:
            del changed[place:]
    return bytes(changed)


def facts_changed(facts: Any, dice: random.Random) -> Any:
    """Plain data with one of its parts replaced by something odd, taken out, or under another name."""
    if isinstance(facts, dict) and facts and dice.random() < 0.9:
        name = dice.choice(list(facts))
        kind = dice.random()
        if kind < 0.1:
            return {key: value for key, value in facts.items() if key != name}
        if kind < 0.2:
            return {**facts, str(dice.choice(ODD)): facts[name]}
        return {**facts, name: facts_changed(facts[name], dice)}

    if isinstance(facts, list) and facts and dice.random() < 0.8:
        place = dice.randrange(len(facts))
        return [
            facts_changed(value, dice) if index == place else value
            for index, value in enumerate(facts)
        ]

    return dice.choice(ODD)


def written(path: Path, facts: Any) -> None:
    """Plain data as JSON, odd letters and numbers included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(json.dumps(facts).encode("utf-8", "surrogatepass"))


# kinds


def records(dice: random.Random, folder: Path) -> list[list[str]]:
    """A folder of runs of which one record is odd."""
    known = sorted((CORPUS / "records").glob("*.json"))
    good, bad = dice.sample(known, 2)
    runs = folder / "runs"
    for place, path in enumerate((good, bad)):
        (runs / f"{place}").mkdir(parents=True)
        shutil.copy(path, runs / f"{place}" / "record.json")

    odd = runs / "1" / "record.json"
    if dice.random() < 0.3:
        odd.write_bytes(bytes_changed(odd.read_bytes(), dice))
    else:
        facts = json.loads(odd.read_text(encoding="utf-8"))
        for _ in range(dice.randint(1, 3)):
            facts = facts_changed(facts, dice)
        if isinstance(facts, dict) and dice.random() < 0.7:
            facts = resealed(facts)
        written(odd, facts)

    page = str(folder / "page.html")
    choices = [
        ["compare"],
        ["compare", "--csv"],
        ["compare", "--latex"],
        ["compare", "--markdown"],
        ["status"],
    ]
    command = dice.choice(choices)
    return [
        [command[0], str(runs), *command[1:]],
        dice.choice([["doctor", str(runs)], ["report", str(runs), "-o", page]]),
    ]


def resealed(facts: dict[str, Any]) -> dict[str, Any]:
    """Facts with the checksum that they ought to have, so that what is odd in them is read."""
    from instant_soup.store.plain import seal

    try:
        return dict(seal(facts))
    except (ValueError, TypeError):
        return facts


def recipes(dice: random.Random, folder: Path) -> list[list[str]]:
    """A recipe of a benchmark whose sizes are known, with odd bytes or odd values."""
    path = folder / "recipe.toml"
    if dice.random() < 0.5:
        path.write_bytes(bytes_changed(RECIPE.encode(), dice))
        return [["plan", str(path)]]

    path.write_text(RECIPE, encoding="utf-8")
    place = dice.choice(
        (
            "sparsity",
            "seed",
            "task.name",
            "method.denoisers",
            "training.epochs",
            "training.rate",
            "budget",
        )
    )
    value = dice.choice(
        (
            "1e308",
            "inf",
            "nan",
            "-1",
            "9" * 5000,
            "[]",
            "[" * 2000,
            '"[/old]"',
            "'\\u0000'",
            "1e-300",
        )
    )
    return [["plan", str(path), "--set", f"{place}={value}"]]


def checkpoints(dice: random.Random, folder: Path) -> list[list[str]]:
    """A sharded checkpoint whose shards or index are odd."""
    source = folder / "model"
    source.mkdir()
    generator = torch.Generator().manual_seed(dice.randrange(2**31))
    shards = {}
    for number in range(2):
        name = f"model-{number}.safetensors"
        weight = f"encoder.layer.{number}.attention.self.query.weight"
        save_file({weight: torch.randn(8, 8, generator=generator)}, source / name)
        shards[weight] = name
    index: Any = {"metadata": {"total_size": 512}, "weight_map": shards}

    kind = dice.random()
    if kind < 0.4:
        odd = source / dice.choice(list(shards.values()))
        odd.write_bytes(bytes_changed(odd.read_bytes(), dice))
    elif kind < 0.7:
        index = facts_changed(index, dice)
    else:
        index["weight_map"][dice.choice(list(shards))] = str(
            dice.choice(("*", "instant_soup.json", "../x", ".hidden", "a/b"))
        )
    written(source / "model.safetensors.index.json", index)

    out = folder / "out"
    out.mkdir()
    (out / ".kept").write_text("kept", encoding="utf-8")
    return [["prune", str(source), "--sparsity", "0.5", "-o", str(out), "--quiet"]]


def imports(dice: random.Random, folder: Path) -> list[list[str]]:
    """A file of weights with zeros, or a pickle, whose bytes are odd."""
    generator = torch.Generator().manual_seed(dice.randrange(2**31))
    names = [f"encoder.layer.{layer}.attention.self.query.weight" for layer in (0, 1)]
    weights = {name: torch.randn(8, 8, generator=generator) for name in names}
    tensors = {name: weight * (weight.abs() > 0.5) for name, weight in weights.items()}
    path = folder / dice.choice(("weights.safetensors", "weights.pt", "weights"))
    if dice.random() < 0.5:
        save_file(tensors, path)
    else:
        torch.save(tensors, path)
    path.write_bytes(bytes_changed(path.read_bytes(), dice))
    return [
        [
            "import",
            str(path),
            "-o",
            str(folder / "ticket.safetensors"),
            *dice.choice(([], ["--pickle"])),
        ]
    ]


def tickets(dice: random.Random, folder: Path) -> list[list[str]]:
    """A ticket whose bytes are odd."""
    known = sorted((CORPUS / "tickets").glob("*.safetensors"))
    path = folder / "ticket.safetensors"
    path.write_bytes(bytes_changed(dice.choice(known).read_bytes(), dice))
    return [["ticket", dice.choice(("info", "verify")), str(path)]]


KINDS: Mapping[str, Make] = {
    "records": records,
    "recipes": recipes,
    "checkpoints": checkpoints,
    "imports": imports,
    "tickets": tickets,
}


# tries


def attempt(make: Make, seed: int, tally: Tally) -> None:
    """One odd input, and what its commands make of it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        commands = make(random.Random(seed), folder)
        for command in commands:
            before = fingerprints(folder)
            with counted(tally):
                result = CliRunner().invoke(app, command)

            tally.commands += 1
            tally.accepted += result.exit_code == 0
            tally.refused += result.exit_code in (2, 3)
            tally.lost += lost(before, fingerprints(folder), command[0])
            if fault := fault_of(result):
                tally.faults[f"{command[0]}: {fault} (seed {seed})"] += 1


def fault_of(result: Any) -> str:
    """What went wrong that must not, in a few words; empty where nothing did."""
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return f"{type(result.exception).__name__}: {str(result.exception)[:120]}"
    if "fault of ours" in result.output or result.exit_code not in (0, 2, 3):
        return " ".join(result.output.split())[:200] or f"exit code {result.exit_code}"
    return ""


def fingerprints(folder: Path) -> dict[str, str]:
    """Every file below *folder* with its digest."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def lost(before: Mapping[str, str], after: Mapping[str, str], command: str) -> int:
    """How many files are gone or changed. `doctor` moves what is damaged into quarantine: there it is not lost."""
    kept = set(after.values())
    if command == "doctor":
        return sum(digest not in kept for digest in before.values())
    return sum(after.get(path) != digest for path, digest in before.items())


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
    options = parser.parse_args()

    kinds = options.kind or list(KINDS)
    seconds = options.seconds or (None if options.count else 60.0)
    share = None if seconds is None else seconds / len(kinds)
    clean = True
    print(
        f"{'kind':<12} {'commands':>8} {'accepted':>8} {'refused':>8} {'faults':>7} {'lost':>5} {'connections':>11}"
    )
    for kind in kinds:
        tally = tried(kind, seed=options.seed, count=options.count, seconds=share)
        clean &= tally.clean
        print(
            f"{kind:<12} {tally.commands:>8} {tally.accepted:>8} {tally.refused:>8} {tally.faults.total():>7} "
            f"{tally.lost:>5} {tally.connections:>11}",
            flush=True,
        )
        for fault, times in tally.faults.most_common(10):
            print(f"    {times} x {fault}")
    sys.exit(not clean)


if __name__ == "__main__":
    main()
