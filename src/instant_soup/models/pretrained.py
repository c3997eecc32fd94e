"""Pretrained: loads the model that a ticket belongs to by its name alone, whatever kind it is."""

from __future__ import annotations

from transformers import AutoConfig
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES,
)

from . import clip, decoder, text, vision
from .classifier import loading


def load(
    name: str, *, pooler: bool = False
) -> text.TextModel | vision.ImageModel | decoder.LanguageModel:
    """Load *name* as tasks do: ``"packaged"``, a folder or a hub id of a text, image or language model, or a CLIP.

    Its head is new, and its scope is that of the tasks.

    Args:
        pooler: whether a text model's pooler is in scope.

    Raises:
        DataError: there is no such model.
    """
    if name == text.PACKAGED:
        return text.load(name, labels=2, seed=0, pooler=pooler)
    if clip.is_clip(name):
        # any prompt will do: the head is no part of a ticket
        return clip.load(name, prompts=[["a photo"]])

    with loading(name, vision.EXPECTED):
        config = AutoConfig.from_pretrained(name, trust_remote_code=False)
    # asked first, because types such as llama are classifiers of text as well
    if decoder.is_language_model(config):
        return decoder.load(name)
    if config.model_type in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES:
        return vision.load(name, classes=2, seed=0)
    return text.load(name, labels=2, seed=0, pooler=pooler)
