"""Kills at random moments, with files damaged between: the same files in the end, or a refusal that names the file.

    python benchmarks/kills.py --kills 200 --out results/kills.json
    python benchmarks/kills.py --kind prune --kills 50 --seed 3

Each kind of work is done once undisturbed. Then it is begun again and again, killed, and begun anew in what it left.
Where workers do it, all processes are killed at once, or only the first, or only a worker, which is to be replaced.
After half of the kills a byte of one file that it may go on from is changed, or the file is cut. When it is let
through to its end, its files have to be those of the undisturbed work, to the byte. A command that refuses has to name
the damaged file; what it says is done then, and the work goes on. An export that is there is whole, and not written
again. Nothing half-written is left in a folder whose work went on to its end. Prints a line a kind, and writes the
counts into a file, on top of those that are there; ends with code 1 if anything else came.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any

from attacks import MINI, note_kind, write_data
from instant_soup.cli.main import main as command_line
from instant_soup.core.ticket import Ticket
from instant_soup.models import tiny
from instant_soup.store.store import Store

RECIPE = f"""
sparsity = 0.7
{MINI}[training]
steps = 24
batch = 8
rate = 1e-3
precision = "float32"
[method]
name = "instant-soup"
denoisers = 2
lookahead_steps = 2
compression = 0.25
mask_share = 0.5
carry = "none"
finish = "rewind"
"""
SWEEP = """
[cells.soup]
[cells.lth.method]
name = "lth"
compression = 0.25
[cells.one-shot]
method = {{ name = "magnitude" }}
[cells.pools.method]
name = "lottery-pools"
compression = 0.25
"""
PROCESSES = """
[run]
engine = "processes"
workers = 2
"""

SLOW = (
    "instant_soup.tasks",
    "instant_soup.methods",
    "instant_soup.runs.run",
    "instant_soup.export.export",
)
"""What commands import when they are called."""

REFUSED = (
    2,
    3,
)  # exit codes of a command that says what is wrong, or what failed of a sweep


TRAINED = ("*/ticket.safetensors", "*/model.safetensors")
WEIGHTS = ("*.safetensors",)


@dataclass(frozen=True)
class Kind:
    """One kind of work.

    Attributes:
        command: what is called, without the program's name; ``OUT`` stands for the folder that it works in.
        outcome: what of that folder has to be the same in the end, as patterns.
        share: how many of 200 kills it gets.
        sources: what it may go on from after a kill, as patterns; none where it begins anew.
        goes_on: whether it takes up what lies in its folder; else that is whole, and refused.
        workers: whether processes of its own do it.
    """

    command: tuple[str, ...]
    outcome: tuple[str, ...]
    share: int
    sources: tuple[str, ...] = ()
    goes_on: bool = True
    workers: bool = False


KINDS = {
    "run": Kind(
        ("run", "recipe.toml", "--out", "OUT", "--quiet"),
        TRAINED,
        50,
        ("*/draw/*", "*/train/*", "*/ticket.safetensors", "*/*.json"),
    ),
    "sweep": Kind(
        ("sweep", "sweep.toml", "--out", "OUT", "--quiet"),
        TRAINED,
        40,
        ("shelf/*/*.safetensors", "*/draw/*", "*/train/*", "*/ticket.safetensors", "*/*.json"),
        workers=True,
    ),
    "processes": Kind(
        ("run", "processes.toml", "--out", "OUT", "--quiet"),
        TRAINED,
        30,
        ("*/draw/*", "*/train/*", "*/ticket.safetensors", "*/*.json"),
        workers=True,
    ),
    "prune": Kind(
        ("prune", "large", "--sparsity", "0.5", "-o", "OUT", "--quiet"), WEIGHTS, 50, ("*",)
    ),
    "export": Kind(
        (
            "export", "drawn/ticket.safetensors", "--to", "hf", "--model", "model", "-o", "OUT"
        ),
        WEIGHTS,
        30,
        goes_on=False,
    ),
}  # fmt: skip


@dataclass
class Count:
    """What became of one kind of work."""

    kills: int = 0
    damages: int = 0
    refusals: int = 0
    same: int = 0
    wrong: int = 0

    def add(self, more: Count) -> None:
        """Count what another counted, too."""
        self.kills += more.kills
        self.damages += more.damages
        self.refusals += more.refusals
        self.same += more.same
        self.wrong += more.wrong


def main() -> None:
    """Try every kind as often as asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=200, help="of all kinds together")
    parser.add_argument("--kind", choices=sorted(KINDS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="a JSON file for the counts")
    options = parser.parse_args()
    out = options.out and options.out.resolve()

    dice = random.Random(options.seed)
    # a run keeps its place after every step, so that there is something to damage
    Store.__init__.__defaults__ = (0.0,)
    kinds = [options.kind] if options.kind else sorted(KINDS)
    total = sum(KINDS[name].share for name in kinds)

    all_wrong = 0
    # workers import what they need, as those of the command do, and not this file
    sys.modules["__main__"].__file__ = None
    # imported once, so that kills come while work is done; each is of a process of its own all the same
    for module in SLOW:
        import_module(module)

    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        # this process computes nothing: a fork of one that has may hang
        assert finished(start(prepare, Path("prepare.log"))) == 0, Path(
            "prepare.log"
        ).read_text()
        for name in kinds:
            wanted = round(options.kills * KINDS[name].share / total)
            count = Count()
            for more in tried(KINDS[name], wanted, dice):
                count.add(more)
                if out:
                    note(out, name, more, options.seed)
            all_wrong += count.wrong
            print(
                f"{name:10} {count.kills:4} kills, {count.damages:4} files damaged:"
                f" {count.same} times the same files, {count.refusals} refusals that name the file,"
                f" {count.wrong} of anything else",
                flush=True,
            )
    sys.exit(1 if all_wrong else 0)


def note(out: Path, name: str, more: Count, seed: int) -> None:
    """Write down what became of one kind, on top of what is known."""
    counts = asdict(more)

    def on_top(before: Mapping[str, Any]) -> dict[str, Any]:
        sums = {field: before.get(field, 0) + counts[field] for field in counts}
        return {**sums, "seeds": sorted({*before.get("seeds", ()), seed})}

    note_kind(out, name, counts, on_top)


def prepare() -> None:
    """Write the models, the data, the recipes and a ticket into this folder."""
    tiny.bert(Path("model"))
    tiny.bert(Path("large"), layers=4, width=256)
    write_data(Path("data"), train=96, test=32)

    here = Path.cwd()
    recipe = RECIPE.format(model=here / "model", data=here / "data")
    Path("recipe.toml").write_text(recipe, encoding="utf-8")
    Path("sweep.toml").write_text(recipe + SWEEP.format(), encoding="utf-8")
    Path("processes.toml").write_text(recipe + PROCESSES, encoding="utf-8")
    called("draw", "recipe.toml", "-o", "drawn/ticket.safetensors")
    Ticket.load(Path("drawn/ticket.safetensors"))


def called(*command: str) -> None:
    """Call the command line in this process."""
    sys.argv = ["instant-soup", *command]
    try:
        command_line()
    except SystemExit as end:
        if end.code:
            raise


def tried(kind: Kind, kills: int, dice: random.Random) -> Iterator[Count]:
    """Kill one kind of work so often; what became of it each time that it was let through to its end."""
    done = 0
    undisturbed = Path("undisturbed")
    shutil.rmtree(undisturbed, ignore_errors=True)
    began = time.monotonic()
    work(kind, undisturbed)
    length = time.monotonic() - began
    wanted = digests(undisturbed, kind.outcome)
    assert wanted, "nothing to compare"

    while done < kills:
        count = Count()
        out = Path("killed")
        shutil.rmtree(out, ignore_errors=True)
        for _ in range(dice.randint(1, 6)):
            kill(kind, out, length * dice.uniform(0.05, 0.9), dice, count)
        go_on(kind, out, None, count)
        if differing(digests(out, kind.outcome), wanted):
            mend(kind, out, wanted, count)

        others = differing(digests(out, kind.outcome), wanted)
        if others:
            wrong(count, f"{kind.command[0]}: other files than undisturbed: {others}")
        elif litter(out):
            wrong(count, f"{kind.command[0]}: left {litter(out)}")
        else:
            count.same += 1
        done += count.kills
        yield count


def differing(digests: Mapping[str, str], wanted: Mapping[str, str]) -> list[str]:
    """The files that are not those of the undisturbed work."""
    paths = sorted({*digests, *wanted})
    return [path for path in paths if digests.get(path) != wanted.get(path)]


def mend(kind: Kind, out: Path, wanted: Mapping[str, str], count: Count) -> None:
    """Have `doctor` name what was damaged after its run was done, which no work reads again, and make it anew."""
    others = differing(digests(out, kind.outcome), wanted)
    finished(start(lambda: called("doctor", str(out)), Path("log")))
    text = "".join(Path("log").read_text(encoding="utf-8", errors="replace").split())
    if all(path in text for path in others):
        count.refusals += 1
        go_on(kind, out, None, count)


def kill(kind: Kind, out: Path, after: float, dice: random.Random, count: Count) -> None:
    """Begin the work and kill it after so many seconds; then damage a file, perhaps."""
    child = start(lambda: called(*filled(kind, out)), Path("log"), group=True)
    time.sleep(after)
    if os.waitpid(child, os.WNOHANG)[0]:
        return

    workers = workers_of(child) if kind.workers else []
    whom = dice.choice(("all", "first", "worker")) if workers else "all"
    if whom == "worker":
        os.kill(dice.choice(workers), signal.SIGKILL)
        count.kills += 1
        if finished(child):
            wrong(
                count,
                f"{kind.command[0]}: a killed worker: {Path('log').read_text()[-600:]}",
            )
        return

    if whom == "first":
        os.kill(child, signal.SIGKILL)
    else:
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    count.kills += 1
    files = [path for path in matching(out, kind.sources) if path.stat().st_size]
    if files and dice.random() < 0.5:
        target = dice.choice(files)
        damage(target, dice)
        count.damages += 1
        go_on(kind, out, target, count)


def workers_of(process: int) -> list[int]:
    """The workers that *process* has started."""
    text = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii")
    children = [int(number) for number in text.split()]
    return [child for child in children if b"spawn_main" in command_of(child)]


def command_of(process: int) -> bytes:
    """How *process* was started; nothing where it is gone."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


def go_on(kind: Kind, out: Path, damaged: Path | None, count: Count) -> None:
    """Let the work come to its end. A refusal has to name the *damaged* file; then what it says is done."""
    code = finished(start(lambda: called(*filled(kind, out)), Path("log")))
    text = Path("log").read_text(encoding="utf-8", errors="replace")
    if code == 0:
        return

    # killed between the last rename and its end: what is there is whole, and is not overwritten
    if code in REFUSED and "exists already" in text and not kind.goes_on:
        return

    # a long path is broken over lines
    if code in REFUSED and damaged and damaged.name in "".join(text.split()):
        count.refusals += 1
        if "begin again" in text:
            shutil.rmtree(out)
        elif "instant-soup doctor" in text:
            finished(start(lambda: called("doctor", str(out)), Path("log")))
        else:
            damaged.unlink()
        go_on(kind, out, None, count)
        return

    wrong(count, f"{kind.command[0]}: code {code}, {damaged} was damaged: {text[-600:]}")
    shutil.rmtree(out, ignore_errors=True)
    work(kind, out)


def wrong(count: Count, what: str) -> None:
    """Count and show what must not happen."""
    count.wrong += 1
    print(what, file=sys.stderr, flush=True)


def damage(path: Path, dice: random.Random) -> None:
    """Change one byte of *path*, or cut it."""
    data = bytearray(path.read_bytes())
    place = dice.randrange(len(data))
    if dice.random() < 0.3:
        del data[place:]
    else:
        data[place] ^= 1 << dice.randrange(8)
    path.write_bytes(bytes(data))


def work(kind: Kind, out: Path) -> None:
    """Do it, undisturbed."""
    code = finished(start(lambda: called(*filled(kind, out)), Path("log")))
    assert code == 0, Path("log").read_text(encoding="utf-8", errors="replace")


def filled(kind: Kind, out: Path) -> list[str]:
    """The command with its folder."""
    return [str(out) if part == "OUT" else part for part in kind.command]


def matching(folder: Path, patterns: tuple[str, ...]) -> Iterator[Path]:
    """The regular files in *folder* that fit one of the *patterns*."""
    for pattern in patterns:
        yield from (path for path in sorted(folder.glob(pattern)) if path.is_file())


def digests(folder: Path, patterns: tuple[str, ...]) -> dict[str, str]:
    """SHA-256 of every file that fits, by its place."""
    return {
        str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest()
        for path in matching(folder, patterns)
    }


def litter(folder: Path) -> list[str]:
    """What is half-written in *folder*."""
    return [str(path) for path in folder.rglob(".*")]


def start(task: Callable[[], object], log: Path, *, group: bool = False) -> int:
    """Fork a child that does *task*, what it prints into *log*; the id of its process."""
    child = os.fork()
    if child:
        return child

    if group:
        os.setsid()
    output = os.open(log, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
    os.dup2(output, 1)
    os.dup2(output, 2)
    code = 0
    try:
        task()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException as error:
        print(repr(error), file=sys.stderr)
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def finished(child: int) -> int:
    """Wait for *child*; its exit code."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    main()
