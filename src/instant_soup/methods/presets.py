"""Presets: settings of Instant Soup Pruning under one name, each from a source.

`within-t` takes no more steps in all than one fine-tune: twelve cuts on a cubic line over the first half of T, by
curvature, and before the last of them two look-aheads of 40 steps whose mean goes on, paid out of T. It is what the
bench at equal steps runs as the soup; take it with ``training.line = "flat"``.

`paper-clip` and `paper-bert` are Table 1 of the paper (Jaiswal et al., 2023) with its Algorithms 1
and 2 as they stand: rounds of t, 2 t, 3 t .. steps where t sees 10 % of the data, the union of the
masks, the same optimiser and schedule to the end. What the paper leaves open is ours: the union is
trimmed once, in the last round; the protocols vary as by default; for BERT a round prunes a share
of all weights, because no other reading reaches 90 % within the budget.

`authors-code` does what the authors' released script `isp_dynamic.py` does: five look-aheads of
about a tenth of an epoch behind a new warm-up of 500 steps, which they never leave, at the main
line's settings; their union without the main line's own mask; 10 % of the rest a round.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ..soup.denoiser import Protocols

# what this library did by default before look-aheads were paid out of T, on top of which presets stand
_BESIDE_T: Mapping[str, Any] = {
    "denoisers": 4,
    "compression": 0.1,
    "share": "linear",
    "mask_share": 0.2,
    "spacing": "growing",
    "score": "magnitude",
    "blend": "votes",
    "progress": "all",
    "inside": False,
    "finish": "restart",
    "carry_optimizer": False,
    "protocols": Protocols(),
}
_PAPER = {
    **_BESIDE_T,
    "round_epochs": 0.1,
    "blend": "union",
    "own_mask": True,
    "carry": "none",
    "finish": "continue",
}

INSTANT_SOUP: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "within-t": {
            "denoisers": 2,
            "denoised_rounds": 1,
            "denoised_from": "last",
            "rounds": 12,
            "share": "cubic",
            "spacing": "even",
            "mask_share": 0.5,
            "score": "curved",
            "blend": "lookahead",
            "carry": "mean",
            "progress": "row",
            "inside": True,
            "finish": "continue",
            "carry_optimizer": True,
            "lookahead_steps": 40,
            "compression": 0.1,
            "protocols": Protocols(rate=(1.0, 1.0), subset=(0.5, 0.5)),
        },
        "beside-t": _BESIDE_T,
        "paper-clip": {
            **_PAPER,
            "denoisers": 5,
            "lookahead_steps": 50,
            "compression": 0.15,
            "share": "geometric",
        },
        "paper-bert": {
            **_PAPER,
            "denoisers": 4,
            "lookahead_steps": 30,
            "compression": 0.1,
            "share": "linear",
        },
        "authors-code": {
            **_PAPER,
            "round_epochs": 0.075,
            "denoisers": 5,
            "lookahead_steps": 40,
            "lookahead_warmup": 500,
            "compression": 0.1,
            "share": "geometric",
            "own_mask": False,
            "protocols": Protocols(
                rate=(1.0, 1.0), weight_decay=(0.1, 0.1), subset=(1.0, 1.0)
            ),
        },
    }
)
