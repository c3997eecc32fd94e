"""Block job: how a language model is pruned block by block, checked before anything is read.

`blocks.py` carries such a job out, and `outline.py` says what it will take.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ..core.budget import Cost
from ..core.errors import DataError, KnobError
from ..core.pattern import UNSTRUCTURED, Pattern, check_pattern
from ..core.prune import Across, survivors
from ..core.scope import Scope
from ..methods.calibration import SCORES, USUAL, Calibrated, Cutter
from ..methods.method import describe
from ..models import decoder
from ..training.device import devices
from ..training.inputs import PASSES


@dataclass(frozen=True)
class Job:
    """How a checkpoint is pruned block by block.

    Attributes:
        score: ``"wanda"``, ``"ria"``, ``"sparsegpt"`` or ``"magnitude"``.
        across: the same share of each ``"layer"`` or ``"row"``; as the authors of the score do if None.
        pattern: ``"unstructured"``, or ``"N:M"``.
        calibrate: the text to calibrate on; not needed for magnitudes.
        samples, window: how many windows of how many tokens; the model's limit or 2,048 if None.
        batch: windows that go through a block at a time.
        device: where blocks are worked on, as torch names it, or ``"auto"``. What is kept is the same on each but for
            rounding, so a job may go on elsewhere.
    """

    sparsity: float
    score: str = "wanda"
    across: Across | None = None
    pattern: str = UNSTRUCTURED
    calibrate: str | None = None
    samples: int = 128
    window: int | None = None
    batch: int = 1
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.calibrated:
            self._as_method()  # it refuses knobs that make no sense
            if self.calibrate is None:
                raise KnobError(
                    f"{self.score} needs text to calibrate on; give a folder with --calibrate"
                )
        elif self.score != "magnitude":
            raise KnobError(
                f"score is {self.score!r}; expected one of magnitude, {', '.join(SCORES)}"
            )

        if self.across == "model":
            raise KnobError(
                "across is 'model', and this cuts block by block; set it to 'layer' or 'row'"
            )

        if self.batch < 1:
            raise KnobError(
                f"batch is {self.batch}; expected 1 or more windows at a time"
            )

        check_pattern(self.pattern, self.sparsity)
        if self.device not in ("auto", *devices()):
            raise KnobError(
                f"device is {self.device!r}, and torch sees no such device here; expected one of auto, "
                f"{', '.join(devices())}"
            )

    @property
    def asked(self) -> dict[str, Any]:
        """What comes of the job depends on: every field but the device."""
        fields = asdict(self)
        del fields["device"]
        return fields

    @property
    def described(self) -> dict[str, Any]:
        """Name and knobs, as a ticket records them."""
        if self.calibrated:
            return describe(self._as_method())
        return {"name": self.score, "across": self.cutter.across, "pattern": self.pattern}

    @property
    def charged(self) -> Cost:
        """What drawing the ticket costs, as a learner is charged for the same."""
        if self.calibrated:
            return Cost(0, self.samples, PASSES * self.samples)
        return Cost()

    @property
    def cutter(self) -> Cutter:
        """What cuts one matrix."""
        across = self.across or USUAL.get(self.score, "layer")
        return Cutter(self.score, across, Pattern.named(self.pattern))

    @property
    def calibrated(self) -> bool:
        """Whether text goes through the model at all; magnitudes ask for none."""
        return self.score in SCORES

    def check(self, scope: Scope) -> None:
        """Raises SparsityError or ScopeError where *scope* cannot be cut to this sparsity or in this pattern."""
        survivors(self.sparsity, scope.size)

        pattern = Pattern.named(self.pattern)
        if pattern is not None:
            pattern.check(scope)

    def window_of(self, config: Any) -> int:
        """How many tokens a window has for the model of *config*. Raises DataError where the model cannot read them."""
        longest = decoder.positions(config)
        window = self.window or min(decoder.WINDOW_LIMIT, longest)
        if not 2 <= window <= longest:
            raise DataError(
                f"a window has {window:,} tokens, and the model reads 2 to {longest:,}; set --window in between"
            )
        return window

    def _as_method(self) -> Calibrated:
        """The method that draws the same ticket in memory."""
        return Calibrated(self.score, self.samples, self.across, self.pattern)
