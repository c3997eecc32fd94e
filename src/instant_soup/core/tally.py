"""Tally: the exact cut by magnitude, from counts alone, for weights that are never in memory together.

The magnitudes of floating-point numbers are in the order of their bits without the sign: their *keys*. A 16-bit dtype
has few keys, so one reading that counts them says where the cut lies and how many ties it leaves to each parameter.
Wider keys are counted digit by digit of 16 bits, one reading each, every reading within the digits found so far
(radix selection). The cut is the one that `prune` makes; no sample is taken, so that so many readings always do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from .errors import ScopeError

Numbers = np.ndarray[Any, Any]

DIGIT = 16  # bits
_RAW = {torch.float16: "<u2", torch.bfloat16: "<u2", torch.float32: "<u4", torch.float64: "<u8"}
_INF = {torch.float16: 0x7C00, torch.bfloat16: 0x7F80, torch.float32: 0x7F80_0000, torch.float64: 0x7FF0 << 48}
FLOATS = tuple(_RAW)


def width(dtypes: Iterable[torch.dtype]) -> int:
    """How many bits a key has, so that the keys of all *dtypes* are in one order: 16, 32 or 64."""
    kinds = set(dtypes)
    if torch.float64 in kinds:
        return 64
    return 32 if len(kinds) > 1 or torch.float32 in kinds else 16


def raw(data: Numbers, dtype: torch.dtype) -> Numbers:
    """The bytes *data*, uint8 [n * itemsize], as the bits of *dtype*: a view, unsigned [n]."""
    return data.view(_RAW[dtype])


def keys(numbers: Numbers, dtype: torch.dtype, bits: int) -> Numbers:
    """The keys of *numbers*, the `raw` bits of *dtype*: unsigned [n] of *bits* bits, higher for a larger magnitude.

    Raises ScopeError for a NaN.
    """
    own = 8 * numbers.itemsize
    found = numbers & numbers.dtype.type((1 << own - 1) - 1)
    if len(found) and int(found.max()) > _INF[dtype]:
        raise ScopeError("a weight is NaN, which has no magnitude; restore the checkpoint, or leave the parameter out")
    if bits == own:
        return found
    if dtype == torch.bfloat16:  # the upper half of a float32
        found, dtype = found.astype("<u4") << np.uint32(16), torch.float32
    floats = found.view(f"<f{found.itemsize}")
    return floats.astype(f"<f{bits // 8}", copy=False).view(f"<u{bits // 8}")


@dataclass(frozen=True)
class Cut:
    """Where a parameter is cut: kept are the weights above *key*, and the first *ties* of those that equal it.

    Attributes:
        kept: how many weights that is.
    """

    key: int
    ties: int
    kept: int

    def keep(self, found: Numbers, seen: int = 0) -> tuple[Numbers, int]:
        """Which weights of a stretch are kept: bool [n]; and how many ties there were up to its end.

        Args:
            found: their keys, unsigned [n].
            seen: ties before this stretch.
        """
        key = found.dtype.type(self.key)
        ties = int(np.count_nonzero(found == key))
        if seen >= self.ties:
            kept = found > key
        else:
            kept = found >= key
            if seen + ties > self.ties:
                kept[np.flatnonzero(found == key)[self.ties - seen :]] = False
        return kept, seen + ties


@dataclass
class _Group:
    """Parameters that are cut together, *need* weights being left to find among the keys that begin with *prefix*."""

    names: Sequence[str]
    need: int
    prefix: int = 0


class Tally:
    """Counts the keys of groups of parameters until the cut of each is known.

        while not tally.done:
            for name, found in ...:  # every weight once, in chunks, in any order
                tally.add(name, found)
            tally.close()

    Args:
        groups: how many weights are kept of which parameters together. Among equal magnitudes the earlier parameter
            of a group wins, then the earlier index.
        bits: how wide keys are, as `width` says.
    """

    def __init__(self, groups: Mapping[tuple[str, ...], int], bits: int) -> None:
        self._bits = self._left = bits
        self._groups = [_Group(names, need) for names, need in groups.items()]
        self._of = {name: group for group in self._groups for name in group.names}
        self._kept = dict.fromkeys(self._of, 0)
        self._counts: dict[str, Numbers] = {}
        self._tied: dict[str, int] = {}

    @property
    def readings(self) -> int:
        """How many readings it takes in all."""
        return self._bits // DIGIT

    @property
    def done(self) -> bool:
        """Whether the cuts are known."""
        return not self._left

    def add(self, name: str, found: Numbers) -> None:
        """Count the keys *found*, unsigned [n], of the parameter *name*."""
        if self._left < self._bits:
            found = found[found >> found.dtype.type(self._left) == found.dtype.type(self._of[name].prefix)]
        digits = (found >> found.dtype.type(self._left - DIGIT)).astype("<u2", copy=False)
        counted = np.bincount(digits, minlength=1 << DIGIT)
        at = np.flatnonzero(counted)  # few keys occur: this is a hundredth of all counts
        one = np.stack([at, counted[at]])
        self._counts[name] = one if name not in self._counts else _sum(self._counts[name], one)

    def close(self) -> None:
        """End a reading: find the next digit of each cut."""
        for group in self._groups:
            self._settle(group)
        self._counts.clear()
        self._left -= DIGIT

    def cuts(self) -> dict[str, Cut]:
        """The cut of each parameter, once `done`."""
        cuts = {}
        for group in self._groups:
            need = group.need
            for name in group.names:
                ties = min(need, self._tied[name])
                need -= ties
                cuts[name] = Cut(group.prefix, ties, self._kept[name] + ties)
        return cuts

    def _settle(self, group: _Group) -> None:
        counts = [self._counts.get(name, np.zeros((2, 0), np.int64)) for name in group.names]
        whole = np.bincount(
            np.concatenate([at for at, _ in counts]),
            np.concatenate([times for _, times in counts]),
            minlength=1 << DIGIT,
        ).astype(np.int64)  # counted in float64, which is exact up to 2**53
        above = whole.sum() - whole.cumsum()  # how many have a higher digit
        digit = int(np.argmax(above < group.need)) if group.need else (1 << DIGIT) - 1  # above all
        group.need -= int(above[digit])
        group.prefix = group.prefix << DIGIT | digit
        for name, (at, times) in zip(group.names, counts, strict=True):
            self._kept[name] += int(times[at > digit].sum())
            self._tied[name] = int(times[at == digit].sum())


def _sum(one: Numbers, other: Numbers) -> Numbers:
    """Two lists of digits and their counts as one."""
    at, where = np.unique(np.concatenate([one[0], other[0]]), return_inverse=True)
    return np.stack([at, np.bincount(where, np.concatenate([one[1], other[1]])).astype(np.int64)])
