"""Fine-tuned weights that take the place of a ticket's start."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import instant_soup as soup
from instant_soup.core.errors import StoreError, TicketError
from instant_soup.core.ticket import Ticket
from instant_soup.export.card import card
from instant_soup.export.portable import Portable
from instant_soup.export.source import portable
from instant_soup.store.cell import Cell

Source = Callable[[str], Portable]


@pytest.fixture(scope="module")
def cell(
    tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path, tiny_text: Path
) -> Cell:
    """A run of the miniature: ticket, fine-tuned weights, record."""
    recipe = soup.Recipe.parse(
        {
            "sparsity": 0.7,
            "task": {"name": "mini", "model": str(tiny_bert), "columns": ["sentence"]},
            "data": {"folder": str(tiny_text), "validation": 0.25},
            "method": {"name": "magnitude"},
            "training": {"steps": 4, "batch": 8, "rate": 1e-3, "precision": "float32"},
        }
    )
    store = soup.Store(tmp_path_factory.mktemp("runs"))
    soup.run(recipe, store)
    return store.cell(recipe)


@pytest.fixture
def changed(cell: Cell, tmp_path: Path) -> Callable[..., Path]:
    def write(**changes: Any) -> Path:
        weights: dict[str, Tensor] = {**load_file(cell.model), **changes}
        save_file(
            {name: part for name, part in weights.items() if part is not None},
            tmp_path / "changed.safetensors",
        )
        return tmp_path / "changed.safetensors"

    return write


def test_the_weights_of_a_run_come_with_what_is_known_of_it(
    cell: Cell, tiny_bert: Path
) -> None:
    found = portable(cell.load_ticket(), str(tiny_bert), cell.model)
    assert found.trained
    for name, tensor in cell.load_model().items():
        assert torch.equal(found.tensors[name], tensor)
    assert found.record is not None
    assert f"accuracy {found.record.test['accuracy']:.4f}" in card(found)
    assert "It is fine-tuned." in card(found)


def test_weights_from_elsewhere_have_no_record(
    cell: Cell, changed: Callable[..., Path], tiny_bert: Path
) -> None:
    found = portable(cell.load_ticket(), str(tiny_bert), changed())
    assert found.record is None
    assert "Not known" in card(found)


def test_a_revived_weight_is_named(
    cell: Cell, changed: Callable[..., Path], tiny_bert: Path
) -> None:
    ticket = cell.load_ticket()
    name = next(iter(ticket.mask))
    where = tuple((~ticket.mask[name]).nonzero()[0].tolist())
    broken = load_file(cell.model)[name]
    broken[where] = 0.5
    with pytest.raises(
        TicketError,
        match=r"query\.weight\[\d+, \d+\] of .* is 0\.5, and the ticket prunes it",
    ):
        portable(ticket, str(tiny_bert), changed(**{name: broken}))


def test_weights_of_another_model_are_refused(
    cell: Cell,
    changed: Callable[..., Path],
    tiny_bert: Path,
    ticket_for: Callable[..., Ticket],
    tmp_path: Path,
) -> None:
    ticket = cell.load_ticket()
    with pytest.raises(TicketError, match=r"has no 'classifier\.bias'"):
        portable(ticket, str(tiny_bert), changed(**{"classifier.bias": None}))
    with pytest.raises(TicketError, match="has 'surplus', which the model does not have"):
        portable(ticket, str(tiny_bert), changed(surplus=torch.ones(1)))
    with pytest.raises(
        TicketError, match=r"has shape \(2, 32\) and the model's \(3, 32\)"
    ):
        portable(ticket_for(tiny_bert), str(tiny_bert), cell.model)
    with pytest.raises(StoreError, match="no weights at"):
        portable(ticket, str(tiny_bert), tmp_path / "nowhere.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(cell.model.read_bytes()[:1000])
    with pytest.raises(StoreError, match="not a readable safetensors file"):
        portable(ticket, str(tiny_bert), tmp_path / "cut.safetensors")
