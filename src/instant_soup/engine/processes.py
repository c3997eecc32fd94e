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
from .crew import Event
from .worker import Make, Warm, place, settle, threads_of_libraries, told


class Processes:
    """Worker processes, each with a pipe to this one; a process that dies is started again."""

    def __init__(self, make: Make, threads: int) -> None:
        packed = wire.pack(make)
        self._threads, self._numbers = threads, count()
        self._processes: dict[int, tuple[SpawnProcess, Connection]] = {}
        self._folder = TemporaryDirectory(prefix="instant-soup-", ignore_cleanup_errors=True)
        self._made = self._filed(packed)

    @property
    def advice(self) -> str:
        return "is there memory enough for so many, and does the script that starts them guard its main part?"

    def start(self, hand: int) -> None:
        context = get_context("spawn")
        mine, theirs = context.Pipe()
        process = context.Process(
            target=_serve, args=(theirs, self._threads, self._made, Path(self._folder.name)), daemon=True
        )
        with threads_of_libraries(self._threads):
            process.start()
        theirs.close()
        self._processes[hand] = process, mine

    def share(self, shared: Any) -> Path:
        return self._filed(wire.pack(shared))

    def forget(self, handle: Path) -> None:
        handle.unlink(missing_ok=True)

    def give(self, hand: int, handle: Path, errand: Any) -> None:
        packed = wire.pack((handle, errand))
        with suppress(OSError):  # it has died: `wait` tells
            wire.send(packed, self._processes[hand][1])

    def wait(self, seconds: float) -> Sequence[Event]:
        hands = {connection: hand for hand, (_, connection) in self._processes.items()}
        return [self._heard(hands[connection], connection) for connection in wait(list(hands), seconds)]  # type: ignore[index, arg-type]

    def _heard(self, hand: int, connection: Connection) -> Event:
        try:
            kind, value = wire.receive(connection).open()
        except (EOFError, OSError):
            return self._replaced(hand, connection)
        return Event(hand, kind, value)

    def _replaced(self, hand: int, connection: Connection) -> Event:
        process, _ = self._processes[hand]
        process.join()
        connection.close()
        self.start(hand)
        return Event(hand, "lost", f"its worker, process {process.pid}, ended with code {process.exitcode}")

    def close(self) -> None:
        for process, _ in self._processes.values():
            process.kill()
        for process, connection in self._processes.values():
            process.join()
            connection.close()
        self._processes = {}
        self._folder.cleanup()

    def _filed(self, packed: wire.Parcel) -> Path:
        path = Path(self._folder.name) / str(next(self._numbers))
        wire.write(packed, path)
        return path


def _serve(connection: Connection, threads: int, made: Path, folder: Path) -> None:
    """A worker's life."""
    settle(threads, forget=folder)
    with suppress(EOFError, OSError):  # the other end is gone, and so is who waits for an answer
        try:
            work: Warm = wire.read(made).open()()
        except Exception as error:
            wire.send(wire.pack(("unable", told(error))), connection)
            return
        wire.send(wire.pack(("ready", place())), connection)
        while True:
            wire.send(_answer(work, *wire.receive(connection).open()), connection)


def _answer(work: Warm, handle: Path, errand: Any) -> wire.Parcel:
    try:
        return wire.pack(("answer", work(wire.read(handle).look(), errand)))
    except Exception as error:
        return wire.pack(("error", told(error)))
