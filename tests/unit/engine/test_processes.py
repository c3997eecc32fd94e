from __future__ import annotations

import operator
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

import instant_soup as soup
import instant_soup.engine as engine
from instant_soup.core.errors import EngineError, MissingExtra, UnknownName
from instant_soup.engine.processes import Processes
from instant_soup.engine.workers import Workers
from instant_soup.soup.denoiser import Protocols
from instant_soup.tasks import CourseTask


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    """Two workers whose work is to divide what is shared by the errand."""
    with Workers(Processes(partial(partial, operator.truediv), 1), 2) as hired:
        yield hired


def names(count: int) -> list[str]:
    return [f"errand {number}" for number in range(count)]


def pids(workers: Workers) -> list[int]:
    return [facts["pid"] for facts in workers.places.values()]


def test_processes_do_the_work_on_what_they_share(workers: Workers) -> None:
    shared = torch.tensor([12.0, 24.0])
    found = list(workers.each(shared, [1, 2, 3, 4], names(4)))
    assert [one.tolist() for one in found] == [
        [12.0, 24.0],
        [6.0, 12.0],
        [4.0, 8.0],
        [3.0, 6.0],
    ]


def test_what_a_round_shared_is_gone_after_it(workers: Workers) -> None:
    folder = workers.backend.folder  # type: ignore[attr-defined]
    before = len(list(folder.iterdir()))
    list(workers.each(torch.ones(3), [1.0], names(1)))
    assert len(list(folder.iterdir())) == before == 1


def test_an_error_there_is_told_here(workers: Workers) -> None:
    with pytest.raises(EngineError, match=r"errand 1 failed 3 times.*ZeroDivisionError"):
        list(workers.each(1, [1, 0], names(2)))
    assert list(workers.each(1, [2], names(1))) == [0.5]


def test_killed_workers_are_replaced_in_the_middle_of_it(workers: Workers) -> None:
    answers = workers.each(12, [1, 2, 3, 4, 6], names(5))
    assert next(answers) == 12
    before = pids(workers)
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    assert list(answers) == [6, 4, 3, 2]
    assert any(pid not in before for pid in pids(workers))


def test_what_cannot_be_sent_is_said_before_anything_is_started() -> None:
    with pytest.raises(EngineError, match="cannot be sent to another process"):
        Processes(lambda: operator.add, 1)


def test_at_the_end_no_process_and_no_file_is_left() -> None:
    with Workers(Processes(partial(partial, operator.add), 1), 1) as hired:
        assert list(hired.each(1, [2], names(1))) == [3]
        (pid,), folder = pids(hired), hired.backend.folder  # type: ignore[attr-defined]
        assert folder.parent == Path(tempfile.gettempdir())
    assert not folder.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize(
    "knobs",
    [
        {"score": "curved", "blend": "bound", "carry": "none", "carry_optimizer": True},
        {"score": "curved", "blend": "extrapolated", "carry": "mean", "progress": "row"},
    ],
    ids=["thrown away", "gone on from"],
)
def test_a_curved_ticket_drawn_by_processes_is_the_one_that_this_process_draws(
    mini: CourseTask, knobs: dict[str, Any]
) -> None:
    method = soup.InstantSoup(
        **{
            "denoisers": 2,
            "lookahead_steps": 2,
            "share": "cubic",
            "rounds": 2,
            "spacing": "even",
            **knobs,
        },
        inside=True,
        finish="continue",
        protocols=Protocols(subsets="disjoint"),
    )
    alone, together = soup.Meter(), soup.Meter()
    with mini.on("processes", workers=2) as shared:
        ticket = method.draw(shared, 0.7, together)
    assert ticket.digest == method.draw(mini, 0.7, alone).digest
    assert together.bill == alone.bill


def test_engines_go_by_name() -> None:
    make = partial(partial, operator.add)
    assert engine.hiring("here", make) is None
    with pytest.raises(UnknownName, match="did you mean 'processes'"):
        engine.hiring("proceses", make)  # type: ignore[arg-type]


def test_without_ray_its_engine_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"pip install 'instant-soup\[ray\]'"):
        engine.hiring("ray", partial(partial, operator.add))


STARTER = """
import time
from instant_soup.engine.child import child
if __name__ == "__main__":
    import slow
    process = child(slow.work)
    process.start()
    print(process.pid, flush=True)
    time.sleep(60)
"""
SLOW = """
import os, time
from multiprocessing import parent_process
if parent_process() is not None and os.environ.get("SLOW"):
    time.sleep(60)
def work():
    pass
"""


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["term", "kill"])
def test_a_worker_that_still_imports_ends_with_its_parent(
    tmp_path: Path, how: signal.Signals
) -> None:
    """What is imported takes many seconds, and who ends a command does not wait for it."""
    source = str(Path(soup.__file__).parents[1])
    (tmp_path / "slow.py").write_text(SLOW, encoding="utf-8")
    # as that of the command line, its main part imports nothing that is slow
    (tmp_path / "starter.py").write_text(STARTER, encoding="utf-8")
    environment = {**os.environ, "SLOW": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([source, str(tmp_path)])
    parent = subprocess.Popen(
        [sys.executable, str(tmp_path / "starter.py")],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    time.sleep(2)
    os.kill(worker, 0)

    parent.send_signal(how)
    parent.wait()
    parent.stdout.close()
    assert ended(worker, within=5.0)


def ended(pid: int, within: float) -> bool:
    """Whether a process is gone, or only waits to be reaped, after so many seconds at most."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
        except OSError:
            return True
        if state.rpartition(") ")[2].startswith("Z"):
            return True
        time.sleep(0.05)
    return False
