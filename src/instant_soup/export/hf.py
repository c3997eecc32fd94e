"""HF: writes a plain Hugging Face folder with zeros in place.

No key about sparsity is written into config.json: libraries that read such keys expect formats of their own, and vLLM
refuses the checkpoint.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    CLIPVisionModelWithProjection,
    PreTrainedModel,
)

from ..models.classifier import quiet
from ..models.clip import Classifier, Tower
from .card import card
from .compare import Runner, runner_of
from .errors import ExportError
from .portable import Portable
from .skeleton import tower_config

HEAD = "zero_shot_head.safetensors"
_SPARSITY_KEYS = ("sparsity_config", "compression_config", "quantization_config")


def write(portable: Portable, out: Path) -> dict[str, Any]:
    """Fill the folder *out*: config.json, model.safetensors, the processor's files, README.md.

    A CLIP becomes its vision tower with projection; its head goes into ``zero_shot_head.safetensors``: ``head`` float32
    [classes, width], each of length one, and ``scale``.

    Raises:
        ExportError: the model is none of transformers.
    """
    model = _transformers_model(portable)
    with quiet():
        model.save_pretrained(out)
        if portable.processor is not None:
            portable.processor.save_pretrained(out)

    if isinstance(portable.model, Classifier):
        head = {"head": portable.model.head, "scale": portable.model.scale}
        save_file(head, out / HEAD)

    # read and written again, because save_pretrained writes what the base's configuration said of sparsity
    path = out / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    for key in _SPARSITY_KEYS:
        config.pop(key, None)
    # and leaves out two classes of no name, which some architectures then take for three
    if config["architectures"][0].endswith("Classification"):
        labels = model.config.id2label or {}
        config["id2label"] = {str(number): name for number, name in labels.items()}
        config["label2id"] = {name: int(number) for number, name in labels.items()}
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    (out / "README.md").write_text(card(portable), encoding="utf-8")

    return {}


def runner(out: Path) -> Runner:
    """The function that runs the model in the folder *out*, as anyone would who has transformers."""
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    with quiet():
        if (out / HEAD).exists():
            tower: Any = CLIPVisionModelWithProjection.from_pretrained(out)
            return _zero_shot(tower.eval(), load_file(out / HEAD))

        loader = _loader_of(config["architectures"][0])
        model = loader.from_pretrained(out, trust_remote_code=False)
        return runner_of(model.eval())


def _loader_of(architecture: str) -> Any:
    """The class of transformers that loads models of this *architecture*."""
    if architecture.endswith("SequenceClassification"):
        return AutoModelForSequenceClassification
    # LMHeadModel ends the name of GPT-2's class
    if architecture.endswith(("CausalLM", "LMHeadModel")):
        return AutoModelForCausalLM
    return AutoModelForImageClassification


def _zero_shot(tower: Any, head: Mapping[str, Tensor]) -> Runner:
    """The function that runs a vision tower under a zero-shot *head*, in transformers alone."""

    @torch.inference_mode()
    def run(inputs: Mapping[str, Tensor]) -> Tensor:
        images = F.normalize(tower(**inputs).image_embeds, dim=-1)
        return head["scale"] * F.linear(images, head["head"])

    return run


def _transformers_model(portable: Portable) -> PreTrainedModel:
    """The model as a class of transformers. Raises ExportError where it is none."""
    model = portable.model
    if isinstance(model, PreTrainedModel):
        return model

    if isinstance(model, Classifier) and isinstance(model.visual, Tower):
        # without memory of its own: the weights are put in as they are
        with quiet(), torch.device("meta"):
            tower = CLIPVisionModelWithProjection(tower_config(model.visual))
        tower.load_state_dict(model.visual.state_dict(), assign=True)
        return tower

    raise ExportError(
        f"{portable.ticket.base.name!r} is no model of transformers, so no Hugging Face folder can hold it; "
        f"export it to csr, bitmask or onnx"
    )
