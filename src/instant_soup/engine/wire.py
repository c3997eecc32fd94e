"""Wire: any value as it travels: a short pickle and, beside it, the bytes of its tensors, which are not copied.

What travels is trusted: it goes between processes of one run, never into a file that is kept.
"""

from __future__ import annotations

import io
import mmap
import pickle
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..core.errors import EngineError

_ALIGNED = 64


@dataclass(frozen=True)
class Parcel:
    """A packed value.

    Attributes:
        head: the pickle.
        bodies: the bytes of the tensors in it, in order.
    """

    head: bytes
    bodies: Sequence[Any]

    @property
    def size(self) -> int:
        """In bytes."""
        return len(self.head) + sum(memoryview(body).nbytes for body in self.bodies)

    def open(self) -> Any:
        """The value. Its tensors lie in the bodies where these can be written to, else in copies of them."""
        return pickle.loads(self.head, buffers=[_writable(body) for body in self.bodies])  # noqa: S301 - our own

    def look(self) -> Any:
        """The value with its tensors in the bodies themselves. They must not be written to."""
        return pickle.loads(self.head, buffers=self.bodies)  # noqa: S301 - our own


class Packer(pickle.Pickler):
    """Takes the bytes of tensors out of line; they come from the CPU, as they are stored there."""

    def reducer_override(self, value: Any) -> Any:
        """How to take *value* apart."""
        return taken_apart(value) or NotImplemented


def taken_apart(value: Any) -> tuple[Any, ...] | None:
    """A plain tensor as what makes it again; None for anything else."""
    # a subclass may carry more than its numbers
    if type(value) is not Tensor:
        return None
    if value.layout is not torch.strided or value.is_quantized:
        return None

    solid = value.detach().cpu().contiguous().reshape(-1)
    body = pickle.PickleBuffer(solid.view(torch.uint8).numpy().data)
    return _tensor, (body, solid.dtype, tuple(value.shape))


def pack(value: Any, packer: type[pickle.Pickler] = Packer) -> Parcel:
    """Pack *value*. Raises EngineError where it cannot be sent to another process."""
    file = io.BytesIO()
    bodies: list[pickle.PickleBuffer] = []
    try:
        packer(file, protocol=5, buffer_callback=bodies.append).dump(value)
    except (pickle.PicklingError, AttributeError, TypeError) as reason:
        raise EngineError(
            f"{type(value).__name__} cannot be sent to another process ({reason}); "
            f"use functions of a module in place of lambdas and local ones, or set the engine to 'here'"
        ) from reason

    return Parcel(file.getvalue(), [body.raw() for body in bodies])


def write(parcel: Parcel, path: Path) -> None:
    """Write a parcel for other processes to `read`."""
    sizes = [memoryview(body).nbytes for body in parcel.bodies]
    with path.open("wb") as file:
        pickle.dump((len(parcel.head), sizes), file)

        for part in (parcel.head, *parcel.bodies):
            # whoever maps the file reads tensors where they lie, which has to be aligned
            file.write(bytes(-file.tell() % _ALIGNED))
            file.write(part)


def read(path: Path) -> Parcel:
    """A parcel from a file that is mapped into memory, which processes that read it share."""
    with path.open("rb") as file:
        head_size, body_sizes = pickle.load(file)  # noqa: S301 - our own
        place = file.tell()
        whole = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))

    parts: list[memoryview] = []
    for size in (head_size, *body_sizes):
        place += -place % _ALIGNED
        parts.append(whole[place : place + size])
        place += size

    return Parcel(bytes(parts[0]), parts[1:])


def send(parcel: Parcel, connection: Connection) -> None:
    """Send a parcel to who takes it in by `receive`."""
    sizes = [memoryview(body).nbytes for body in parcel.bodies]
    connection.send_bytes(pickle.dumps((parcel.head, sizes)))

    for body in parcel.bodies:
        if memoryview(body).nbytes:
            connection.send_bytes(body)


def receive(connection: Connection) -> Parcel:
    """Wait for a parcel. Raises EOFError when the other end is gone."""
    head, sizes = pickle.loads(connection.recv_bytes())  # noqa: S301 - our own
    bodies = [bytearray(size) for size in sizes]
    for body in bodies:
        if body:
            connection.recv_bytes_into(body)
    return Parcel(head, bodies)


def _writable(body: Any) -> Any:
    return bytearray(body) if memoryview(body).readonly else body


def _tensor(body: Any, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    if not memoryview(body).nbytes:
        return torch.empty(shape, dtype=dtype)
    with warnings.catch_warnings():
        # of bodies that cannot be written to; `look` says not to
        warnings.simplefilter("ignore", UserWarning)
        return torch.frombuffer(body, dtype=torch.uint8).view(dtype).view(shape)
