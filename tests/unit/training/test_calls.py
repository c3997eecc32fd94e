"""Calls: what blocks are called with is in memory once, however many micro-batches there are."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves
from transformers import LlamaForCausalLM

from instant_soup.core.scope import Scope
from instant_soup.models import tiny_decoders
from instant_soup.training.blocks import blocks_of
from instant_soup.training.calls import Arguments
from instant_soup.training.flow import Flow


def test_equal_tensors_are_kept_once_and_others_as_they_are() -> None:
    arguments = Arguments()
    first = arguments.kept((torch.arange(4), {"mask": torch.ones(2), "cache": None}))
    again = arguments.kept((torch.arange(4), {"mask": torch.zeros(2), "cache": None}))
    assert again[0] is first[0]
    assert torch.equal(again[1]["mask"], torch.zeros(2))
    assert again[1]["cache"] is None
    # a view of the same numbers in another dtype is another argument
    assert arguments.kept(torch.arange(4.0)).dtype == torch.float32


def held(model: LlamaForCausalLM, count: int, *, streamed: bool) -> int:
    """How many tensors are held as arguments of blocks after *count* windows."""
    flow = Flow(blocks_of(model, Scope.of(model)), list)
    windows = [{"input_ids": torch.full((1, 8), i % 3)} for i in range(count)]
    if streamed:
        flow.begin(windows, lambda batch: model(**batch, use_cache=False))
    else:
        flow.record(model, windows, lambda batch: model(**batch, use_cache=False))

    calls = [call for of_window in flow._calls for call in of_window.values()]
    assert len(calls) == count * len(flow._blocks)
    tensors = [
        leaf
        for call in calls
        for leaf in tree_leaves((call.args, call.options))
        if isinstance(leaf, Tensor)
    ]
    assert tensors
    return len(set(map(id, tensors)))


def test_more_windows_of_one_length_hold_no_more_arguments(tmp_path: Path) -> None:
    model = LlamaForCausalLM.from_pretrained(tiny_decoders.llama(tmp_path)).eval()
    for streamed in (True, False):
        few = held(model, 2, streamed=streamed)
        assert held(model, 6, streamed=streamed) == few
