"""Ray: workers are actors of a cluster. What a round shares is put into the object store and goes to each node once.

Ray places the actors, starts them again when they or their nodes die, and moves what they need. An errand whose actor
dies is given to another one rather than tried again by the same: that one may have no place to come back to.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import ray
from ray.cloudpickle import CloudPickler
from ray.exceptions import ActorDiedError, RayError, RayTaskError

from ..core.errors import EngineError
from ..core.telemetry import switch_off
from . import wire
from .worker import Make, Warm, compute, place, portable_error
from .workers import Event

Packed = tuple[bytes, list[Any]]
"""A parcel as Ray stores it: the arrays in the list are shared by all processes of a node."""
_SMALL = 50_000  # bytes that an actor may be made of without the object store
# seconds after which an actor that is being started anew is asked again whether it is there
_AGAIN = 0.5


class Actors:
    """One actor per worker. Each takes as many CPUs as it has threads, and a GPU where the cluster has any."""

    def __init__(self, make: Make, threads: int, address: str) -> None:
        self._ours = connect(address)
        self._threads = threads
        self._gpus = gpus()
        self._actors: dict[int, Any] = {}
        self._awaited: dict[Any, int] = {}
        self._coming: set[int] = set()
        self._away: dict[int, float] = {}
        self.room = self._room()
        self._make = _kept(_packed(make))

    def _room(self) -> int:
        try:
            return room(self._threads, self._gpus)
        except EngineError:
            self.close()
            raise

    @property
    def advice(self) -> str:
        return f"is there a node left with {self._threads} CPUs{' and a GPU' * self._gpus} free? See `ray status`"

    def start(self, hand: int) -> None:
        needs = {"num_cpus": self._threads, "num_gpus": self._gpus}
        actor = ray.remote(_Worker).options(**needs, max_restarts=-1)
        self._actors[hand] = actor.remote(self._make, self._threads)
        self._await_ready(hand)

    def _await_ready(self, hand: int) -> None:
        """Hear of it when Ray has started the actor, be it anew."""
        self._coming.add(hand)
        self._awaited[self._actors[hand].ready.remote()] = hand

    def share(self, shared: Any) -> Any:
        return ray.put(_packed(shared))

    def forget(self, handle: Any) -> None:
        # the store lets go of what nobody refers to
        del handle

    def give(self, hand: int, handle: Any, errand: Any) -> None:
        self._awaited[self._actors[hand].carry_out.remote(handle, _packed(errand))] = hand

    def wait(self, seconds: float) -> Sequence[Event]:
        now = time.monotonic()
        to_ask = [hand for hand, since in self._away.items() if now - since > _AGAIN]
        for hand in to_ask:
            del self._away[hand]
            self._await_ready(hand)

        if not self._awaited:
            time.sleep(_AGAIN)
            return []

        over, _ = ray.wait(list(self._awaited), timeout=min(seconds, _AGAIN))
        events = []
        for reference in over:
            event = self._event(self._awaited.pop(reference), reference)
            if event is not None:
                events.append(event)
        return events

    def _event(self, hand: int, reference: Any) -> Event | None:
        """What the actor of this number has answered; None where it is merely being started again."""
        coming = hand in self._coming
        self._coming.discard(hand)

        try:
            kind, value = _opened(ray.get(reference))
        except RayTaskError as error:
            why = str(error).strip().splitlines()[-1]
            return Event(hand, "unable" if coming else "error", why)
        except ActorDiedError as error:
            # for good: its node could not even make it
            self.start(hand)
            return Event(hand, "lost", _reason(error))
        except RayError as error:
            self._away[hand] = time.monotonic()
            return None if coming else Event(hand, "lost", _reason(error))

        return Event(hand, kind, value)

    def close(self) -> None:
        for actor in self._actors.values():
            ray.kill(actor)
        self._actors = {}
        self._awaited = {}
        if self._ours:
            ray.shutdown()


class _Worker:
    """What runs in an actor's process. Ray makes it again, from the same arguments, when it starts the actor anew."""

    def __init__(self, make: Packed | list[Any], threads: int) -> None:
        compute(threads)
        self._make = make
        self._work: Warm | None = None

    def ready(self) -> Packed:
        """Get warm."""
        try:
            self._warm()
        except Exception as error:
            return _packed(("unable", portable_error(error)))
        return _packed(("ready", place()))

    def carry_out(self, shared: Packed, errand: Packed) -> Packed:
        """Do one errand."""
        try:
            work = self._warm()
            return _packed(("answer", work(wire.Parcel(*shared).look(), _opened(errand))))
        except Exception as error:
            return _packed(("error", portable_error(error)))

    def _warm(self) -> Warm:
        if self._work is None:
            make = ray.get(self._make[0]) if isinstance(self._make, list) else self._make
            self._work = _opened(make)()
        return self._work


def connect(address: str) -> bool:
    """Join the cluster at *address*, unless this process is part of one; whether a connection was made.

    Raises EngineError when there is none.
    """
    if ray.is_initialized():
        return False

    # a cluster that is started here reports to nobody
    switch_off()
    options: dict[str, Any] = {"include_dashboard": False} if address == "local" else {}

    try:
        ray.init(
            address=address, log_to_driver=False, logging_level=logging.ERROR, **options
        )
    except (ConnectionError, RuntimeError, ValueError, RayError) as reason:
        raise EngineError(
            f"no Ray cluster answers at {address!r} ({str(reason).splitlines()[0]}); start one with "
            f"`ray start --head`, give the address 'local' to start one on this machine for this run, or, where a "
            f"cluster asks for a token, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN as on its nodes"
        ) from reason

    return True


def gpus() -> int:
    """How many GPUs a worker takes: one where the cluster has any."""
    return int(ray.cluster_resources().get("GPU", 0) > 0)


def room(cpus: int, gpus: int) -> int:
    """How many workers of this size the cluster's nodes hold. Raises EngineError when it is none."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    workers = 0
    for node in nodes:
        places = node.get("CPU", 0) // cpus
        if gpus:
            places = min(places, node.get("GPU", 0) // gpus)
        workers += int(places)

    if not workers:
        most = max((int(node.get("CPU", 0)) for node in nodes), default=0)
        raise EngineError(
            f"a worker computes with {cpus} threads{' and a GPU' * gpus}, and the largest of {len(nodes)} nodes has "
            f"{most} CPUs; set OMP_NUM_THREADS to {max(1, most)} or fewer"
        )
    return workers


class _Packer(CloudPickler):
    """Takes along what is defined in the script itself too, which no worker can import."""

    def reducer_override(self, value: Any) -> Any:
        return wire.taken_apart(value) or super().reducer_override(value)  # type: ignore[no-untyped-call]


def _packed(value: Any) -> Packed:
    packed = wire.pack(value, _Packer)
    return packed.head, [np.frombuffer(body, dtype=np.uint8) for body in packed.bodies]


def _kept(packed: Packed) -> Packed | list[Any]:
    """What is large goes into the object store; in a list, so that a reference stays one."""
    _, bodies = packed
    if sum(body.nbytes for body in bodies) > _SMALL:
        return [ray.put(packed)]
    return packed


def _opened(packed: Packed) -> Any:
    return wire.Parcel(*packed).open()


def _reason(error: RayError) -> str:
    return f"its actor is gone: {str(error).strip().splitlines()[0]}"
