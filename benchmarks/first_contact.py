"""The first hour in one run: install, help, a typo, a plan, the first line of progress, the demo.

    python benchmarks/first_contact.py            # with the environment that runs this
    python benchmarks/first_contact.py --install  # a new environment first, as `make demo` makes it; needs an index

Everything is what a person types, timed from the prompt to its return, but for the first line of progress, which is
timed from the prompt to the line. Prints a table, and JSON with --json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "recipes" / "demo.toml"


@dataclass(frozen=True)
class Contact:
    """One thing that a newcomer does: what it is, how long it took, and the line that was seen last."""

    what: str
    seconds: float
    code: int | None
    line: str


def main() -> None:
    """Do all of it and print how long it took."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--install", action="store_true", help="into a new environment, by pip"
    )
    parser.add_argument(
        "--skip-demo", action="store_true", help="all but the demo itself"
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        contacts = meet(Path(folder), install=options.install, demo=not options.skip_demo)
    if options.json:
        print(json.dumps([asdict(contact) for contact in contacts], indent=2))
        return
    for contact in contacts:
        print(f"{contact.what:<24}{contact.seconds:>8.1f} s  {contact.line}")


def meet(place: Path, *, install: bool, demo: bool) -> list[Contact]:
    """All of it, in the order of a first hour, in the empty folder *place*."""
    contacts, python = [], Path(sys.executable)
    if install:
        python = place / "venv" / "bin" / "python"
        contacts.append(timed("install", lambda: _install(place / "venv")))

    command = [str(python), "-m", "instant_soup"]
    contacts.append(typed("--help", [*command, "--help"], place))
    contacts.append(typed("a misspelt command", [*command, "dmeo"], place))
    contacts.append(
        typed(
            "a misspelt field",
            [*command, "plan", str(DEMO), "--set", "method.denoiser=2"],
            place,
        )
    )
    contacts.append(typed("plan", [*command, "plan", str(DEMO)], place))
    contacts.append(
        first_line(
            "first line of progress",
            [*command, "run", str(DEMO), "--out", "first"],
            place,
        )
    )
    if demo:
        contacts.append(typed("demo", [*command, "demo", "--out", "demo"], place))
    return contacts


def typed(what: str, command: Sequence[str], place: Path) -> Contact:
    """A command from its prompt to its return."""
    began = time.perf_counter()
    done = subprocess.run(
        command,
        cwd=place,
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [
        line for line in (done.stdout or done.stderr).splitlines() if line.strip(" ╭╮╰╯─")
    ] or [""]
    errors = [
        line for line in lines if "error" in line.lower() or "no such" in line.lower()
    ]
    shown = lines[0] if what == "--help" else [*lines, *errors][-1]
    return Contact(what, time.perf_counter() - began, done.returncode, shown.strip(" │"))


def first_line(what: str, command: Sequence[str], place: Path) -> Contact:
    """A command from its prompt to the first line that says how far it is; then it is stopped."""
    began, line = time.perf_counter(), ""
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=place, env=_environment(), **pipes) as running:
        assert running.stderr is not None
        for line in running.stderr:
            if "spent" in line:
                break
        seconds = time.perf_counter() - began
        running.kill()
    return Contact(what, seconds, None, line.strip())


def timed(what: str, work: Callable[[], str]) -> Contact:
    """Anything else."""
    began = time.perf_counter()
    line = work()
    return Contact(what, time.perf_counter() - began, 0, line)


def _install(environment: Path) -> str:
    """As `make demo` does."""
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    pip = [
        str(environment / "bin" / "python"),
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--quiet",
        "install",
    ]
    for what in (["torch"], [f"{ROOT}[demo]"]):
        subprocess.run([*pip, "-c", str(ROOT / "constraints.txt"), *what], check=True)
    return str(environment)


def _environment() -> dict[str, str]:
    return {**os.environ, "COLUMNS": "100", "HF_HUB_OFFLINE": "1"}


if __name__ == "__main__":
    main()
