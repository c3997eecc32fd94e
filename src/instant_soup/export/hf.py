"""HF: a plain Hugging Face folder with zeros in place.

No key about sparsity is written into config.json: what reads such keys expects kernels or formats of its own, and vLLM
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
_REFUSED = ("sparsity_config", "compression_config", "quantization_config")


def write(portable: Portable, out: Path) -> dict[str, Any]:
    """Fill the folder *out*: config.json, model.safetensors, the processor's files, README.md.

    A CLIP becomes its vision tower with projection; its head goes into ``zero_shot_head.safetensors``: ``head`` float32
    [classes, width], each of length one, and ``scale``.

    Raises ExportError when transformers has no place for the model.
    """
    model = _plain(portable)
    with quiet():
        model.save_pretrained(out)
        if portable.processor is not None:
            portable.processor.save_pretrained(out)

    if isinstance(portable.model, Classifier):
        head = {"head": portable.model.head, "scale": portable.model.scale}
        save_file(head, out / HEAD)

    # read and written again, for save_pretrained writes what the base's configuration said of sparsity
    path = out / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    kept = {key: value for key, value in config.items() if key not in _REFUSED}
    path.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    (out / "README.md").write_text(card(portable), encoding="utf-8")

    return {}


def runner(out: Path) -> Runner:
    """Run the model in the folder *out* as anyone would who has transformers."""
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    with quiet():
        if (out / HEAD).exists():
            tower: Any = CLIPVisionModelWithProjection.from_pretrained(out)
            return _zero_shot(tower.eval(), load_file(out / HEAD))

        ending = _ending(config["architectures"][0])
        auto: Any = _AUTO.get(ending, AutoModelForImageClassification)
        return runner_of(auto.from_pretrained(out, trust_remote_code=False).eval())


_AUTO: Mapping[str, Any] = {
    "SequenceClassification": AutoModelForSequenceClassification,
    "CausalLM": AutoModelForCausalLM,
    "LMHeadModel": AutoModelForCausalLM,
}


def _ending(architecture: str) -> str:
    return next((ending for ending in _AUTO if architecture.endswith(ending)), "")


def _zero_shot(tower: Any, head: Mapping[str, Tensor]) -> Runner:
    @torch.inference_mode()
    def run(inputs: Mapping[str, Tensor]) -> Tensor:
        images = F.normalize(tower(**inputs).image_embeds, dim=-1)
        return head["scale"] * F.linear(images, head["head"])

    return run


def _plain(portable: Portable) -> PreTrainedModel:
    """The model as transformers has it."""
    model = portable.model
    if isinstance(model, PreTrainedModel):
        return model

    if isinstance(model, Classifier) and isinstance(model.visual, Tower):
        with quiet(), torch.device("meta"):
            tower = CLIPVisionModelWithProjection(tower_config(model.visual))
        tower.load_state_dict(model.visual.state_dict(), assign=True)
        return tower

    raise ExportError(
        f"{portable.ticket.base.name!r} is no model of transformers, so no Hugging Face folder can hold it; "
        f"export it to csr, bitmask or onnx"
    )
