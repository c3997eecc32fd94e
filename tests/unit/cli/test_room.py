"""Where there is no room left to write to, that is one line, whatever was to be written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="this system has no device that is always full"
)
@pytest.mark.parametrize(
    "words", [["--help"], ["methods"], ["methods", "--json"], ["export", "--help"]]
)
def test_a_full_standard_output_is_one_line_and_exit_code_2(words: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "instant_soup", *words]
        done = subprocess.run(
            command,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=120,
        )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        "error: there is no room left to write to ([Errno 28] No space left on device); free some"
    )


def test_a_reader_that_stops_is_no_error_in_words() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "instant_soup", "methods"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.close()
    _, said = process.communicate(timeout=120)
    assert said == ""
