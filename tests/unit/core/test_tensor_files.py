"""Tensors and what is known of them come back from a file as they went in."""

from __future__ import annotations

from pathlib import Path

import torch

from instant_soup.core.errors import TicketError
from instant_soup.core.tensor_files import read_tensors, write_tensors


def test_tensors_that_share_memory_are_written_each_in_bytes_of_its_own(
    tmp_path: Path,
) -> None:
    """A model with tied embeddings has one tensor under two names."""
    table = torch.arange(6.0).view(2, 3)
    tied = {"embedding": table, "head": table, "row": table[1]}
    write_tensors(tmp_path / "tied.safetensors", tied, {})

    tensors, _ = read_tensors(tmp_path / "tied.safetensors", TicketError, "ticket")
    assert tensors.keys() == tied.keys()
    for name, tensor in tied.items():
        assert torch.equal(tensors[name], tensor), name
