"""Score reader: the scores of some parameters for `prune`, read one parameter at a time, in one common dtype."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from .errors import ScopeError
from .mask import Mask
from .pattern import NAN
from .ranks.ranking import Number
from .score import Scores
from .weights import Elementwise


class ScoreReader:
    """Reads the scores of a group of parameters in order, of each the part that this rank holds.

    Args:
        scores: one tensor a parameter, of any floating or integer dtype; may be computed when asked for.
        mask: which weights live.
        names: the parameters of the group.

    Attributes:
        team: the ranks that hold the model.
        size: how many weights all ranks hold of the group.
    """

    def __init__(self, scores: Scores, mask: Mask, names: Sequence[str]) -> None:
        self.mask = mask
        self.names = names
        self.team = mask.scope.shards.team
        self.size = sum(mask.scope.numel(name) for name in names)

        # a function of single weights is applied to slices, so that no whole tensor of results is ever made
        self._source: Scores = scores
        self._function: Callable[..., Tensor] | None = None
        if isinstance(scores, Elementwise):
            self._source = scores.source
            self._function = scores.function

        # settled by the first sample, which reads every parameter
        self.dtype: torch.dtype | None = None

    def source(self, name: str) -> Tensor:
        """What the scores of one parameter are made from, flat. Raises ScopeError for another shape."""
        source = self._source[name].detach()
        expected = self.mask.scope.here(name)
        if tuple(source.shape) != expected:
            raise ScopeError(
                f"score of {name!r} is {tuple(source.shape)}; expected {expected}"
            )
        return source.reshape(-1)

    def scores(self, source: Tensor, out: Tensor | None = None) -> Tensor:
        """The scores of some weights, in *out* if given. A wider dtype holds narrower values exactly."""
        if out is None:
            dtype = self.dtype or _wide(source.dtype)
            out = torch.empty(len(source), dtype=dtype, device=source.device)

        score = out[: len(source)]
        if source.dtype != score.dtype:
            source = score.copy_(source)
        return source if self._function is None else self._function(source, out=score)

    def sample(self, count: int, low: Number, high: Number) -> Tensor:
        """About *count* scores, evenly spread; of them, those of living weights in [low, high], of all ranks.

        There is always one if any weight scores there. Raises ScopeError where all that lives scores NaN.
        """
        stride = max(1, self.size // count)
        parts = []
        for number, name in enumerate(self.names):
            # the offset moves on so that the columns seen differ from one parameter to the next
            offset = number * (stride // 2 + 1) % stride
            parts.append(self._every(stride, offset, name))

        # one dtype for all parameters, so that scores of two of them compare exactly
        dtype = self.dtype or _common([part.dtype for part in parts])
        self.dtype = dtype

        inside = []
        for part in parts:
            in_range = (part >= low) & (part <= high)
            inside.append(part[in_range].to(dtype))
        own_part = torch.cat(inside)
        sample = self.team.pooled(own_part)
        if not len(sample):
            # too few are left for the stride to meet one: take those of the first parameter that has any
            sample = self.team.pooled(next(self._inside(low, high), own_part))
        if not len(sample):
            # every number is in the first bracket, so all that is left is NaN
            raise ScopeError(NAN)

        return sample

    def _every(self, stride: int, offset: int, name: str) -> Tensor:
        """The scores of one parameter's living weights, every *stride*-th of the whole parameter."""
        source = self.source(name)
        scope = self.mask.scope

        # counted from the whole parameter's start, so that any number of ranks takes the same sample
        first = (offset - scope.shards.start(name, scope.shapes[name])) % stride
        at = torch.arange(min(first, len(source)), len(source), stride)
        scores = self.scores(source[at.to(source.device)]).cpu()

        if self.mask.kept_by_name[name] < scope.numel(name):
            packed = self.mask.packed(name)
            alive = (packed[at >> 3] >> (at & 7)) & 1
            scores = scores[alive.bool()]
        return scores

    def _inside(self, low: Number, high: Number) -> Iterator[Tensor]:
        for name in self.names:
            alive = self.mask[name].view(-1)
            score = self.scores(self.source(name)).cpu()[alive]
            inside = score[(score >= low) & (score <= high)]
            if len(inside):
                yield inside
            del score  # before the next is made, or two would be in memory at a time

    def ties(self, name: str, value: Number) -> Tensor:
        """Where one parameter's living weights score *value*: bool [n] on the CPU."""
        equal = self.scores(self.source(name)) == value
        return equal.cpu() & self.mask[name].view(-1)

    def beside(self, value: Number, toward: float) -> Number:
        """The neighbour of *value* among the numbers of this dtype."""
        if isinstance(value, int):
            return value + (1 if toward > 0 else -1)

        start = torch.tensor(value, dtype=self.dtype)
        goal = torch.tensor(toward, dtype=self.dtype)
        return start.nextafter(goal).item()


def _wide(dtype: torch.dtype) -> torch.dtype:
    """A dtype that holds all values of *dtype* and in which scores are compared."""
    if dtype.is_floating_point:
        return torch.float64 if dtype == torch.float64 else torch.float32
    return torch.int64


def _common(dtypes: Sequence[torch.dtype]) -> torch.dtype:
    if len({dtype.is_floating_point for dtype in dtypes}) > 1:
        raise ScopeError(
            "scores mix integers and floating-point numbers, which do not compare exactly; use one kind"
        )
    return torch.float64 if torch.float64 in dtypes else dtypes[0]
