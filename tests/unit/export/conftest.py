"""Miniatures with a ticket in them, ready to be exported: text, images, CLIP, and the packaged BERT."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import instant_soup as soup
from instant_soup.core.prune import prune
from instant_soup.core.task import Base
from instant_soup.core.ticket import Ticket
from instant_soup.export.portable import Portable
from instant_soup.export.source import portable
from instant_soup.models import clip, text, vision

CLASSES = ("red", "green", "blue")


@pytest.fixture(autouse=True)
def _openvino_can_run(request: pytest.FixtureRequest) -> None:
    """Skip what OpenVINO would compute where it cannot: its plugin needs AVX2, and fails or gives no rows without."""
    capability = torch.backends.cpu.get_cpu_capability()
    if "openvino" in request.node.nodeid and capability == "DEFAULT":
        pytest.skip("OpenVINO's plugin for CPUs needs AVX2")


def ticket_of(
    model: nn.Module,
    scope: soup.Scope,
    base: Base,
    fresh: frozenset[str],
    sparsity: float = 0.9,
) -> Ticket:
    """The smallest weights pruned, and the new head that the model happens to have."""
    parameters = dict(model.named_parameters())
    scores = {name: parameters[name].detach().abs() for name in scope}
    head = {name: parameters[name].detach().clone() for name in fresh}
    mask = prune(scores, soup.Mask.dense(scope), sparsity)
    return Ticket(mask, head, base, method={"name": "magnitude", "across": "model"})


@pytest.fixture(scope="session")
def ticket_for() -> Callable[..., Ticket]:
    """A ticket of a text model by name."""

    def draw(name: str | Path, sparsity: float = 0.9, labels: int = 3) -> Ticket:
        loaded = text.load(str(name), labels=labels, seed=1)
        return ticket_of(loaded.model, loaded.scope, loaded.base, loaded.fresh, sparsity)

    return draw


@pytest.fixture(scope="session")
def clip_recipe(tiny_clip: Path, tiny_images: Path) -> soup.Recipe:
    task = {
        "name": "mini images",
        "kind": "images",
        "model": str(tiny_clip),
        "classes": list(CLASSES),
    }
    data = {"folder": str(tiny_images), "validation": 0.25}
    return soup.Recipe.parse(
        {"sparsity": 0.9, "task": task, "data": data, "method": {"name": "magnitude"}}
    )


@pytest.fixture(scope="session")
def source(
    tiny_bert: Path,
    tiny_vit: Path,
    tiny_clip: Path,
    clip_recipe: soup.Recipe,
    ticket_for: Callable[..., Ticket],
) -> Callable[[str], Portable]:
    """A miniature by name, made once: bert, vit, clip or packaged."""
    made: dict[str, Portable] = {}

    def get(kind: str) -> Portable:
        if kind not in made:
            made[kind] = make(kind)
        return made[kind]

    def make(kind: str) -> Portable:
        if kind == "vit":
            seen = vision.load(str(tiny_vit), classes=4, seed=1)
            return portable(
                ticket_of(seen.model, seen.scope, seen.base, seen.fresh), str(tiny_vit)
            )
        if kind == "clip":
            tower = clip.load(str(tiny_clip), prompts=[[name] for name in CLASSES])
            return portable(
                ticket_of(tower.model, tower.scope, tower.base, tower.fresh), clip_recipe
            )
        name = str(tiny_bert) if kind == "bert" else kind
        return portable(ticket_for(name), name)

    return get
