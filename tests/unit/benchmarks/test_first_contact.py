"""The first hour, measured: what is kept of each command."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "first_contact.py"


def test_a_command_is_timed_and_its_telling_line_is_kept(tmp_path: Path) -> None:
    made = runpy.run_path(str(SCRIPT))
    python = [sys.executable, "-c"]
    plan = made["typed"](
        "plan", [*python, "print('a table'); print('T is 5 steps.')"], tmp_path
    )
    assert (plan.code, plan.line) == (0, "T is 5 steps.")
    assert 0 < plan.seconds < 60

    wrong = made["typed"](
        "a typo",
        [
            *python,
            "import sys; print('error: no such thing', file=sys.stderr); sys.exit(2)",
        ],
        tmp_path,
    )
    assert (wrong.code, wrong.line) == (2, "error: no such thing")


def test_a_run_is_stopped_at_its_first_line_of_progress(tmp_path: Path) -> None:
    made = runpy.run_path(str(SCRIPT))
    program = "import sys, time; print('loading\\n0.01 T spent', file=sys.stderr, flush=True); time.sleep(100)"
    contact = made["first_line"]("progress", [sys.executable, "-c", program], tmp_path)
    assert contact.line == "0.01 T spent"
    assert contact.seconds < 60
