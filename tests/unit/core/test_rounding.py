"""How far rounding alone may take two evaluations apart."""

from __future__ import annotations

import re
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch import nn

from instant_soup.core.rounding import rounding, rounding_of
from instant_soup.models import text, vision


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("terms", [1, 30, 1000, 30_000])
def test_no_order_of_a_sum_passes_the_bound_and_a_term_left_out_does(
    terms: int, dtype: torch.dtype
) -> None:
    dice = torch.Generator().manual_seed(terms)
    numbers = torch.randn(terms, generator=dice).to(dtype)
    exact = float(numbers.double().sum())
    size = max(1.0, float(numbers.double().cumsum(0).abs().max()))

    for order in (
        torch.arange(terms),
        torch.arange(terms).flip(0),
        torch.randperm(terms, generator=dice),
    ):
        total = torch.zeros((), dtype=dtype)
        for number in numbers[order]:
            total += number
        assert abs(float(total) - exact) <= rounding(terms, size, dtype)

    if dtype == torch.float32:
        assert abs(float(numbers.max())) > rounding(terms, size, dtype)


@pytest.mark.parametrize("kind", ["text", "images"])
def test_batches_of_another_shape_pass_and_one_weight_that_moved_does_not(
    kind: str, tiny_bert: Path, tiny_vit: Path
) -> None:
    if kind == "text":
        model: nn.Module = text.load(str(tiny_bert), labels=3, seed=1).model.eval()
        inputs = torch.randint(
            1,
            model.config.vocab_size,
            (6, 12),
            generator=torch.Generator().manual_seed(0),
        )
    else:
        model = vision.load(str(tiny_vit), classes=4, seed=1).model.eval()
        side = model.config.image_size  # type: ignore[union-attr]
        inputs = torch.randn(
            (6, 3, side, side), generator=torch.Generator().manual_seed(0)
        )

    with torch.inference_mode():
        expected = model(inputs).logits
        alone = torch.cat([model(row[None]).logits for row in inputs])
        doubled = (
            deepcopy(model)
            .double()(inputs.double() if kind == "images" else inputs)
            .logits
        )
        bound = rounding_of(model, expected)
        assert float((alone - expected).abs().max()) <= bound
        assert float((doubled - expected).abs().max()) <= bound

        for name, parameter in model.named_parameters():
            # at random weights attention is even, whatever these are
            flat = re.search(r"query|key|[qk]_proj", name)
            if parameter.ndim == 2 and "layer" in name and not flat:
                wrong = deepcopy(model)
                wrong.get_parameter(name).view(-1)[5] += 0.2
                assert float((wrong(inputs).logits - expected).abs().max()) > bound, name


def test_a_smaller_dtype_and_larger_outputs_have_more_room() -> None:
    model, outputs = nn.Linear(64, 8), torch.ones(2, 8)
    assert rounding_of(model, 3 * outputs) == pytest.approx(
        3 * rounding_of(model, outputs)
    )
    assert rounding_of(model, outputs.bfloat16()) == pytest.approx(
        2**16 * rounding_of(model, outputs)
    )
    assert rounding_of(model, outputs / 1000) == rounding_of(model, outputs)
