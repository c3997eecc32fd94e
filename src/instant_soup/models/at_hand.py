"""At hand: what is known of a language model without its weights, and without fetching anything."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedTokenizerBase,
)

from ..core.errors import DataError
from ..core.scope import Scope
from . import decoder
from .checks import check_folder
from .classifier import loading


@dataclass(frozen=True)
class Outline:
    """How large a model is.

    Attributes:
        weights: all that it has, those that are shared counted once.
    """

    scope: Scope
    weights: int


def config_at_hand(name: str) -> Any | None:
    """The configuration of the model called *name*, without its weights; None where it would have to be fetched.

    Raises:
        DataError: it is here, and of no causal language model, or not readable.
    """
    place, options = decoder.locate(name)
    if not options:
        check_folder(place)
    try:
        with loading(name, "give a folder with config.json and safetensors"):
            config = AutoConfig.from_pretrained(
                place, local_files_only=True, trust_remote_code=False, **options
            )
    except DataError:
        if options or Path(place).is_dir():
            raise
        return None

    decoder.check_causal(config, name)
    return config


def tokenizer_at_hand(name: str) -> PreTrainedTokenizerBase | None:
    """The tokenizer of the model called *name*; None where it would have to be fetched.

    Raises:
        DataError: it is here, and not readable.
    """
    place, options = decoder.locate(name)
    if options or Path(place).is_dir():
        return decoder.tokenizer_of(name)
    try:
        with loading(name, "put its tokenizer beside it"):
            return AutoTokenizer.from_pretrained(
                place, local_files_only=True, trust_remote_code=False
            )
    except DataError:
        return None


def outline(config: Any) -> Outline:
    """How large a model of *config* is, by a model that has shapes and no weights. Raises DataError."""
    make: Any = AutoModelForCausalLM
    expected = "give a folder with config.json and safetensors"
    with loading(str(config.model_type), expected), torch.device("meta"):
        model = make.from_config(config, dtype=torch.float32, trust_remote_code=False)
    weights = sum(parameter.numel() for parameter in model.parameters())
    return Outline(Scope.of(model), weights)
