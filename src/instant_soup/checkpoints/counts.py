"""Counts: the exact cut by magnitude, from counts alone, for weights that are never in memory together.

The magnitudes of floating-point numbers are in the order of their bits without the sign: their *keys*. A 16-bit dtype
has few keys, so one reading that counts them says where the cut lies and how many ties it leaves to each parameter.
Wider keys are counted digit by digit of 16 bits, one reading each, every reading within the digits found so far
(radix selection). The cut is the one that `prune` makes.

Telling a few digits apart by comparisons takes a third of the time of counting all of them. So a sample, if one is
given, says around which digits the cut will be; a cut that turns out to be elsewhere takes one more reading.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..core.errors import ScopeError

Numbers = np.ndarray[Any, Any]

DIGIT = 16  # bits
_MARGIN = 0.004  # share of the weights around the cut of a sample
_FEW = 12  # how many digits are told apart at the most
_RAW = {
    torch.float16: "<u2",
    torch.bfloat16: "<u2",
    torch.float32: "<u4",
    torch.float64: "<u8",
}
_INF = {
    torch.float16: 0x7C00,
    torch.bfloat16: 0x7F80,
    torch.float32: 0x7F80_0000,
    torch.float64: 0x7FF0 << 48,
}
FLOATS = tuple(_RAW)


def width(dtypes: Iterable[torch.dtype]) -> int:
    """How many bits a key has, so that the keys of all *dtypes* are in one order: 16, 32 or 64."""
    kinds = set(dtypes)
    if torch.float64 in kinds:
        return 64
    return 32 if len(kinds) > 1 or torch.float32 in kinds else 16


def raw(data: Numbers, dtype: torch.dtype) -> Numbers:
    """The bytes *data*, uint8 [n * itemsize], as the bits of *dtype*: a view, unsigned [n]."""
    numbers: Numbers = data.view(_RAW[dtype])
    return numbers


def keys(numbers: Numbers, dtype: torch.dtype, bits: int) -> Numbers:
    """The keys of *numbers*, the `raw` bits of *dtype*: unsigned [n] of *bits* bits, higher for a larger magnitude."""
    own = 8 * numbers.itemsize
    magnitudes: Numbers = numbers & numbers.dtype.type((1 << own - 1) - 1)
    if bits == own:
        return magnitudes

    if dtype == torch.bfloat16:  # the upper half of a float32
        magnitudes = magnitudes.astype("<u4") << np.uint32(16)
    floats = magnitudes.view(f"<f{magnitudes.itemsize}")
    with np.errstate(invalid="ignore"):  # a NaN is not refused here
        return floats.astype(f"<f{bits // 8}", copy=False).view(f"<u{bits // 8}")


def refuse_nan(magnitudes: Numbers, dtype: torch.dtype) -> None:
    """Raise ScopeError if one of the keys *magnitudes* is of a NaN. *dtype* is the one that they are ordered as."""
    if len(magnitudes) and int(magnitudes.max()) > _INF[dtype]:
        raise ScopeError(
            "a weight is NaN, which has no magnitude; restore the checkpoint, or leave the parameter out"
        )


@dataclass(frozen=True)
class Cut:
    """Where a parameter is cut: kept are the weights above *key*, and the first *ties* of the *tied* that equal it.

    Attributes:
        kept: how many weights that is.
    """

    key: int
    ties: int
    tied: int
    kept: int

    def keep(self, magnitudes: Numbers, seen: int = 0) -> tuple[Numbers, int]:
        """Which weights of a stretch are kept: bool [n]; and how many ties there were up to its end.

        Args:
            magnitudes: their keys, unsigned [n].
            seen: ties before this stretch.
        """
        key = magnitudes.dtype.type(self.key)
        if self.ties == 0:
            return magnitudes > key, seen
        if self.ties == self.tied:
            return magnitudes >= key, seen

        kept = magnitudes > key
        tied = np.flatnonzero(magnitudes == key)
        kept[tied[: max(0, self.ties - seen)]] = True
        return kept, seen + len(tied)


@dataclass
class _Group:
    """Parameters that are cut together, *need* weights being left to find among the keys that begin with *prefix*.

    *left* bits of the cut are not known yet. *around* are the digits that are told apart, if not all.
    """

    names: Sequence[str]
    need: int
    left: int
    prefix: int = 0
    around: tuple[int, int] | None = None


class Tally:
    """Counts the keys of groups of parameters until the cut of each is known.

        while tally.wanted:
            for name, magnitudes in ...:  # every weight of those wanted once, in chunks, in any order
                tally.add(name, magnitudes)
            tally.close()

    Args:
        groups: how many weights are kept of which parameters together. Among equal magnitudes the earlier parameter
            of a group wins, then the earlier index.
        bits: how wide keys are, as `width` says.
    """

    def __init__(self, groups: Mapping[tuple[str, ...], int], bits: int) -> None:
        self._bits = bits
        self._groups = [_Group(names, need, bits) for names, need in groups.items()]
        self._of = {name: group for group in self._groups for name in group.names}
        self._kept = dict.fromkeys(self._of, 0)
        self._counts: dict[str, Numbers] = {}
        self._tied: dict[str, int] = {}

    @property
    def wanted(self) -> list[str]:
        """The parameters to read next; none when all cuts are known."""
        return [name for name, group in self._of.items() if group.left]

    def add(self, name: str, magnitudes: Numbers) -> None:
        """Count the keys *magnitudes*, unsigned [n], of the parameter *name*.

        Threads may count at the same time, if each parameter is counted by one of them.
        """
        group = self._of[name]
        kind = magnitudes.dtype.type
        if group.left < self._bits:
            magnitudes = magnitudes[magnitudes >> kind(group.left) == kind(group.prefix)]
        digits = magnitudes
        if self._bits != DIGIT:
            digits = (magnitudes >> kind(group.left - DIGIT)).astype("<u2")

        counts = _all(digits) if group.around is None else _around(digits, *group.around)
        before = self._counts.get(name)
        self._counts[name] = counts if before is None else _sum(before, counts)

    def focus(self, sizes: Mapping[str, int]) -> None:
        """Take what was added so far for a sample of parameters of these *sizes*, and begin the first reading."""
        for group in self._groups:
            whole = self._whole(group)
            # the share of higher digits
            above = (whole.sum() - whole.cumsum()) / max(1, whole.sum())
            share = group.need / sum(sizes[name] for name in group.names)
            low = int(np.argmax(above <= share + _MARGIN))
            high = int(np.argmax(above <= share - _MARGIN))
            if share > _MARGIN and high - low < _FEW:
                group.around = low, high
        self._counts.clear()

    def close(self) -> None:
        """End a reading: find the next digit of each cut."""
        for group in self._groups:
            if group.left:
                self._settle(group)
        self._counts.clear()

    def cuts(self) -> dict[str, Cut]:
        """The cut of each parameter, once none is wanted."""
        cuts = {}
        for group in self._groups:
            need = group.need
            for name in group.names:
                tied = self._tied[name]
                ties = min(need, tied)
                need -= ties
                cuts[name] = Cut(group.prefix, ties, tied, self._kept[name] + ties)
        return cuts

    def _settle(self, group: _Group) -> None:
        whole = self._whole(group)
        above = whole.sum() - whole.cumsum()  # how many have a higher digit
        if group.need:
            digit = int(np.argmax(above < group.need))
        else:
            digit = (1 << DIGIT) - 1  # nothing is left to keep, so the cut is above all

        # the sample was wrong about where the cut is: this reading is made again, with all digits
        around = group.around
        group.around = None
        if around and not around[0] <= digit <= around[1]:
            return

        group.need -= int(above[digit])
        group.prefix = group.prefix << DIGIT | digit
        group.left -= DIGIT

        for name in group.names:
            at, times = self._counts[name]
            self._kept[name] += int(times[at > digit].sum())
            self._tied[name] = int(times[at == digit].sum())

    def _whole(self, group: _Group) -> Numbers:
        """How often each digit occurs in a group: int64 [65536]."""
        counts = np.concatenate([self._counts[name] for name in group.names], axis=1)
        # exact below 2**53
        return np.bincount(counts[0], counts[1], minlength=1 << DIGIT).astype(np.int64)


def _all(digits: Numbers) -> Numbers:
    """The digits that occur, and how often: int64 [2, n]."""
    times = np.bincount(digits, minlength=1 << DIGIT)
    at = np.flatnonzero(times)
    return np.stack([at, times[at]])


def _around(digits: Numbers, low: int, high: int) -> Numbers:
    """The same with all digits below *low* taken for the one before it, and all above *high* for the one after it."""
    least = [
        int(np.count_nonzero(digits >= digits.dtype.type(digit)))
        for digit in range(low, high + 2)
    ]
    at = np.arange(low - 1, high + 2)
    times = -np.diff([len(digits), *least, 0])
    return np.stack([at, times])[:, times > 0]


def _sum(first: Numbers, second: Numbers) -> Numbers:
    """Two lists of digits and their counts as one."""
    both = np.concatenate([first, second], axis=1)
    at, where = np.unique(both[0], return_inverse=True)
    return np.stack([at, np.bincount(where, both[1]).astype(np.int64)])
