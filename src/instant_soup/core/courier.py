"""Courier: who carries tickets to the hub and back. Core reaches no hub; who can is named by the package."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from .errors import SoupError


class Courier(Protocol):
    """What carries tickets, as `instant_soup.export.hub` does."""

    def push_to_hub(
        self,
        ticket: Any,
        repo: str,
        *,
        record: Any,
        private: bool | None,
        revision: str | None,
        token: str | None,
    ) -> str:
        """Write *ticket* to a repository and return its address."""

    def pull_from_hub(self, repo: str, *, revision: str | None, token: str | None) -> Any:
        """Read a ticket back from a repository."""


def _nobody() -> Courier:
    raise SoupError(
        "nobody carries tickets to a hub here; import instant_soup, which names one"
    )


_call: Callable[[], Courier] = _nobody


def appoint(call: Callable[[], Courier]) -> None:
    """From now on *call*, which may import slowly, says who carries tickets."""
    global _call
    _call = call


def courier() -> Courier:
    """Who carries tickets. Raises SoupError where nobody was appointed."""
    return _call()
