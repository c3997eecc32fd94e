"""What ranks do to find out that a training broken off goes on, whoever takes it up."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from training import points

import instant_soup as soup
from instant_soup.core.budget import Meter, Pulse
from instant_soup.core.prune import prune
from instant_soup.core.score import magnitude
from instant_soup.store.bookmark import FolderBookmark
from instant_soup.store.store import Store
from instant_soup.training import ranks

Outcome = tuple[dict[str, Tensor], dict[str, Tensor], Any]


class Broken(Exception):
    """The end of a process, as far as its files can tell."""


def trained(folder: Path, *, cut: bool = False, breaks: int = 0) -> Outcome | None:
    """Two rounds of training and pruning, by FSDP2 if *cut*; broken off after so many steps."""
    os.environ |= {"ACCELERATE_USE_FSDP": str(cut).lower(), "FSDP_VERSION": "2"}
    steps = []

    bookmark = FolderBookmark(folder, every=1e9, team=ranks.team())

    def watch(pulse: Pulse) -> None:
        steps.append(pulse)
        if len(steps) == breaks - 1:
            # the place is saved in the middle of a leg once, just before it breaks
            bookmark._every = 0.0
        if len(steps) == breaks:
            raise Broken

    learner = replace(points(), bookmark=bookmark).learner(meter := Meter(watch=watch))
    try:
        for target in learner.rounds((0.3, 0.6)):
            learner.train(5)
            mask = prune(magnitude(learner), learner.mask, target)
            learner.set_aside([mask])
            learner.apply_mask(mask)
        learner.train(6)
    except Broken:
        return None
    whole, kept = learner.whole(), learner.aside[-1].whole()
    assert learner.aside[-1] == learner.mask
    return dict(whole), dict(kept.items()) if kept else {}, meter.bill


def broken_and_resumed(folder: Path) -> Outcome | None:
    """By FSDP2, broken off in the second round and taken up by the same ranks; then left broken again, and by DDP."""
    team = ranks.team()
    for place, cut in (("cut", True), ("whole", False)):
        assert trained(folder / place, cut=cut, breaks=8) is None
        team.told(None)
    assert trained(folder / "again", cut=True, breaks=8) is None
    team.told(None)
    return trained(folder / "again", cut=True)


def taken_up(folders: list[tuple[Path, bool]]) -> list[Outcome | None]:
    """What comes of trainings that others broke off, each by FSDP2 or not."""
    return [trained(folder, cut=cut) for folder, cut in folders]


def whole_run(recipe: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The record of a recipe, undisturbed."""
    os.environ.pop("ACCELERATE_USE_FSDP", None)
    torch.set_num_threads(1)
    return soup.run(soup.Recipe.parse(recipe), Store(folder)).facts()
