"""Every way to draw a ticket, by the name a recipe uses. A new method joins the laws by joining this table."""

from __future__ import annotations

from collections.abc import Mapping

from ..core.table import Table
from . import presets
from .calibration import Calibrated
from .control import CONTROLS, control, shuffled
from .dense import Dense
from .early_bird import EarlyBird
from .gradual import Gradual
from .instant_model_soup import InstantModelSoup
from .instant_soup import InstantSoup
from .lottery import Lottery
from .lottery_pools import LotteryPools
from .method import Method, Variant, describe
from .model_soup import ModelSoup
from .one_shot import OneShot
from .sensitive import Grasp, Snip

METHODS: Mapping[str, Variant] = Table(
    "method",
    {
        "random": Variant(
            OneShot, {"score": "random"}, about="Cut at random, once: the control."
        ),
        "magnitude": Variant(
            OneShot,
            {"score": "magnitude"},
            about="Cut the smallest pre-trained weights, once.",
        ),
        "gradual": Variant(Gradual),
        "early-bird": Variant(EarlyBird),
        "snip": Variant(Snip),
        "grasp": Variant(Grasp),
        "wanda": Variant(
            Calibrated,
            {"score": "wanda"},
            about="Cut once the smallest products of weight and norm of its input.",
        ),
        "ria": Variant(
            Calibrated,
            {"score": "ria"},
            about="Cut once what matters least in its row and column, by inputs too.",
        ),
        "sparsegpt": Variant(
            Calibrated,
            {"score": "sparsegpt", "subsets": 1},
            about="Cut once by optimal brain surgery; what survives makes up for it.",
        ),
        "lth": Variant(
            Lottery,
            {"rewind": 0.0},
            shares=True,
            about="Train to the end, prune a little, start again; and again.",
        ),
        "lth-rewind": Variant(
            Lottery,
            shares=True,
            about="The same as lth, but start again from an early step of training.",
        ),
        "lottery-pools": Variant(LotteryPools),
        "instant-soup": Variant(InstantSoup, presets=presets.INSTANT_SOUP),
        "instant-model-soup": Variant(InstantModelSoup, dense=True),
        "model-soup": Variant(ModelSoup, dense=True),
    },
)

REFERENCES: Mapping[str, Variant] = Table(
    "method", {"dense": Variant(Dense, dense=True, shares=True)}
)
"""What tickets are compared with; it draws none itself."""

__all__ = [
    "CONTROLS", "METHODS", "REFERENCES", "Calibrated", "Dense", "EarlyBird", "Gradual", "Grasp", "InstantModelSoup",
    "InstantSoup", "Lottery", "LotteryPools", "Method", "ModelSoup", "OneShot", "Snip", "Variant", "control",
    "describe", "shuffled",
]  # fmt: skip
