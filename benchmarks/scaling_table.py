"""What workers make of a draw, read off the cost model for models that are not here: docs/scaling.md's table.

    python benchmarks/scaling_table.py

Nothing is run. Assumed are devices of 80 GB and 312 TFLOP/s, of which a training step gets 40 %, 6 FLOPs a weight and
token, 2 bytes a weight on the way and 10 Gbit/s between nodes. A worker is one device for the two small models, and as
many as hold weights, gradients, moments and a look-ahead's copy, 16 bytes a weight, for the two large ones. A round is
N look-aheads of 30 steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from instant_soup.runs.scaling import Load, forecast
from instant_soup.runs.stand_in import Round

SPEED, DEVICE = 0.4 * 312e12, 80e9
STEPS, WORKERS = 30, (1, 4, 16, 100, 1000)


@dataclass(frozen=True)
class Model:
    """A model in training: its weights, those in scope, tokens in a batch."""

    name: str
    weights: float
    scope: float
    tokens: int

    @property
    def devices(self) -> int:
        """That one worker takes."""
        return ceil(16 * self.weights / DEVICE)

    def load(self, looks: int, returned: float) -> Load:
        """One round."""
        step = 6 * self.weights * self.tokens / SPEED / self.devices
        return Load(
            [Round((STEPS,) * looks, returned, carried=False)],
            round(2 * self.weights),
            round(self.scope),
            step,
        )


MODELS = (
    Model("ViT-B/32", 88e6, 85e6, 128 * 50),
    Model("BERT-large", 335e6, 302e6, 32 * 128),
    Model("7 B", 6.7e9, 6.5e9, 32 * 2048),
    Model("70 B", 69e9, 68e9, 32 * 2048),
)


def main() -> None:
    """Print the table, in Markdown."""
    print(
        "| model | devices a worker | memory each | N | blend | "
        + " | ".join(f"{n:,} worker{'s' * (n > 1)}" for n in WORKERS)
        + " | sent | back |"
    )
    print("|---|---|---|---|---|" + "---|" * (len(WORKERS) + 2))
    for model in MODELS:
        for looks in (16, 1000):
            for blend, returned in (("votes", 1 / 8), ("mean", 1 / 8 + 4)):
                found = [
                    forecast(model.load(looks, returned), workers) for workers in WORKERS
                ]
                times = " | ".join(said(one.seconds) for one in found)
                moved = f"{size(found[-1].out)} | {size(found[-1].back)}"
                each = f"{model.devices} | {size(16 * model.weights / model.devices)}"
                print(
                    f"| {model.name} | {each} | {looks:,} | {blend} | {times} | {moved} |"
                )


def said(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def size(count: float) -> str:
    """Bytes as a person says them."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} PB"


if __name__ == "__main__":
    main()
