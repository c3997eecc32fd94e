"""The cut of several ranks is, to the bit, the cut of one that holds all scores."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from cutting import everything
from together import together

from instant_soup.core.mask import Mask
from instant_soup.core.prune import prune
from instant_soup.core.scope import Scope


@pytest.mark.parametrize("size", [2, 4])
def test_ranks_cut_as_one_does(size: int, tmp_path: Path) -> None:
    found = together(size, everything, tmp_path)
    assert found == found[:1] * size
    done, (digest, sweeps), _ = found[0]
    assert done == 2 * (4 * 5 + 4)
    assert sweeps == 1
    dice = torch.Generator().manual_seed(1)
    scope = Scope({"up": (700, 401), "down": (401, 600)})
    scores = {
        name: torch.randn(shape, generator=dice).abs()
        for name, shape in scope.shapes.items()
    }
    assert digest == prune(scores, Mask.dense(scope), 0.7).digest
