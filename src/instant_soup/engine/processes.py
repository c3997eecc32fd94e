"""Processes: workers on this machine. What a round shares is one file, which all of them map into memory."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from . import wire
from .child import child
from .worker import Make, Warm, compute, place, portable_error, threads_of_libraries
from .workers import Event


class Processes:
    """Worker processes, each with a pipe to this one; a process that dies is started again.

    Attributes:
        folder: where the files are that workers read; it is gone when all is closed.
    """

    def __init__(self, make: Make, threads: int) -> None:
        packed = wire.pack(make)
        self._threads = threads
        self._numbers = count()
        self._processes: dict[int, tuple[SpawnProcess, Connection]] = {}
        self._temporary = TemporaryDirectory(
            prefix="instant-soup-", ignore_cleanup_errors=True
        )
        self.folder = Path(self._temporary.name)
        self._make_file = self._filed(packed)

    @property
    def advice(self) -> str:
        return "is there memory enough for so many, and does the script that starts them guard its main part?"

    def start(self, hand: int) -> None:
        ours, theirs = get_context("spawn").Pipe()
        process = child(
            _serve, theirs, self._threads, self._make_file, forget=self.folder
        )

        with threads_of_libraries(self._threads):
            process.start()
        # else this process would hold the other end open, and never hear that the worker is gone
        theirs.close()
        self._processes[hand] = (process, ours)

    def share(self, shared: Any) -> Path:
        return self._filed(wire.pack(shared))

    def forget(self, handle: Path) -> None:
        handle.unlink(missing_ok=True)

    def give(self, hand: int, handle: Path, errand: Any) -> None:
        packed = wire.pack((handle, errand))
        _, connection = self._processes[hand]
        # where it has died, `wait` tells
        with suppress(OSError):
            wire.send(packed, connection)

    def wait(self, seconds: float) -> Sequence[Event]:
        hands = {connection: hand for hand, (_, connection) in self._processes.items()}
        heard = wait(list(hands), seconds)
        return [self._event(hands[connection], connection) for connection in heard]  # type: ignore[index, arg-type]

    def _event(self, hand: int, connection: Connection) -> Event:
        try:
            kind, value = wire.receive(connection).open()
        except (EOFError, OSError):
            return self._replace(hand, connection)
        return Event(hand, kind, value)

    def _replace(self, hand: int, connection: Connection) -> Event:
        process, _ = self._processes[hand]
        process.join()
        connection.close()

        self.start(hand)
        why = f"its worker, process {process.pid}, ended with code {process.exitcode}"
        return Event(hand, "lost", why)

    def close(self) -> None:
        # all are killed before any is waited for
        for process, _ in self._processes.values():
            process.kill()
        for process, connection in self._processes.values():
            process.join()
            connection.close()

        self._processes = {}
        self._temporary.cleanup()

    def _filed(self, packed: wire.Parcel) -> Path:
        path = self.folder / str(next(self._numbers))
        wire.write(packed, path)
        return path


def _serve(connection: Connection, threads: int, make: Path) -> None:
    """A worker's life, whose *make* lies in a file."""
    compute(threads)
    # the other end is gone, and so is who waits for an answer
    with suppress(EOFError, OSError):
        try:
            work: Warm = wire.read(make).open()()
        except Exception as error:
            wire.send(wire.pack(("unable", portable_error(error))), connection)
            return

        wire.send(wire.pack(("ready", place())), connection)
        while True:
            handle, errand = wire.receive(connection).open()
            wire.send(_answer(work, handle, errand), connection)


def _answer(work: Warm, handle: Path, errand: Any) -> wire.Parcel:
    try:
        return wire.pack(("answer", work(wire.read(handle).look(), errand)))
    except Exception as error:
        return wire.pack(("error", portable_error(error)))
