"""Source: from a ticket and the name of its model, or a recipe, to the model that is exported."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
)
from transformers.image_processing_utils import BaseImageProcessor
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
)

from ..core.errors import SoupError, TicketError
from ..core.ticket import Ticket
from ..data.text import TextSpec
from ..models import clip, decoder, text, vision
from ..models.classifier import loading
from ..recipes.recipe import Recipe
from ..runs.run import build
from ..tasks import TASKS
from .errors import ExportError
from .portable import Portable
from .tuned import take_over

_EXPECTED = f"give a folder with config.json and model.safetensors, a hub id that can be reached, or {text.PACKAGED!r}"


def portable(
    ticket: Ticket, model: str | Recipe, weights: Path | None = None
) -> Portable:
    """The *model* of *ticket* with the ticket in it, ready to be exported.

    Args:
        model: the name of a classifier of text or images, whose number of classes is that of the ticket's head; or a
            recipe, which says everything, and which a CLIP needs for its zero-shot head.
        weights: fine-tuned weights; by default those that the ticket starts from.

    Raises:
        TicketError: the ticket belongs to another model, or the weights to another ticket.
        DataError: there is no such model.
        ExportError: the model is none that can be exported.
    """
    if isinstance(model, str):
        source = _from_name(ticket, model)
    else:
        source = _from_recipe(ticket, model)

    module = source.model.eval().requires_grad_(False)
    if weights is None:
        return source

    record = take_over(module, weights, ticket)
    return replace(source, trained=True, record=record)


def _from_name(ticket: Ticket, name: str) -> Portable:
    config = None if name.startswith(clip.OPEN_CLIP) else _config(name)
    if config is None or config.model_type == "clip":
        raise ExportError(
            f"model {name!r} is a CLIP, whose head is made from the words for the classes; give the recipe instead"
        )

    if decoder.is_language_model(config):
        return _language(ticket, name)
    if type(config) in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING:
        labels = _classes(AutoModelForSequenceClassification, config, ticket)
        words = text.load(name, labels=labels, seed=0)
        source = _applied(ticket, words.model, words.tokenizer, None, words.fresh)
        classes = _own_names(words.model.config)
        return replace(source, positions=words.positions, classes=classes)

    if type(config) in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING:
        count = _classes(AutoModelForImageClassification, config, ticket)
        images = vision.load(name, classes=count, seed=0)
        shape = _seen(images.processor)
        source = _applied(ticket, images.model, images.processor, shape, images.fresh)
        return replace(source, classes=_own_names(images.model.config))

    raise ExportError(
        f"model {name!r} is a {config.model_type}; expected a classifier of text or images, or a decoder"
    )


def _from_recipe(ticket: Ticket, recipe: Recipe) -> Portable:
    name = recipe.task.model
    if recipe.task.language:
        return _language(ticket, name)

    if not (recipe.task.images and clip.is_clip(name)):
        return _called(_from_name(ticket, name), _class_names(recipe))

    course = build(recipe).course
    processor = None if name.startswith(clip.OPEN_CLIP) else vision.processor(name)
    shape = tuple(course.train.batch([0])["pixel_values"].shape[1:])
    source = _applied(ticket, course.model, processor, shape, ())
    return replace(source, classes=recipe.task.classes or course.classes)


def _class_names(recipe: Recipe) -> tuple[str, ...]:
    """What the classes of the task are called, in the order of their numbers; nothing where that is not known."""
    spec = TASKS.get(recipe.task.name)
    if isinstance(spec, TextSpec):
        return spec.labels
    if recipe.task.classes:
        return recipe.task.classes

    try:
        return build(recipe).course.classes
    except SoupError:
        return ()  # the data is elsewhere, and the model can be exported without it


def _called(source: Portable, names: tuple[str, ...]) -> Portable:
    """*source* with *names* for its classes, in its configuration too, if it has as many."""
    if not len(names) == source.config.num_labels > 1:
        return source
    source.config.id2label = dict(enumerate(names))
    source.config.label2id = {label: number for number, label in enumerate(names)}
    return replace(source, classes=names)


def _own_names(config: Any) -> tuple[str, ...]:
    """What the model's own configuration calls its classes; nothing where it merely numbers them."""
    names = tuple(
        str(config.id2label.get(number, "")) for number in range(config.num_labels)
    )
    numbered = all(name == f"LABEL_{number}" for number, name in enumerate(names))
    return () if numbered or len(names) < 2 else names


def _language(ticket: Ticket, name: str) -> Portable:
    loaded = decoder.load(name)
    return _applied(ticket, loaded.model, loaded.tokenizer, None, ())


def _applied(
    ticket: Ticket, model: nn.Module, processor: Any, shape: Any, fresh: Iterable[str]
) -> Portable:
    lacking = sorted(set(fresh) - set(ticket.start))
    if lacking:
        raise TicketError(
            f"the checkpoint of {ticket.base.name!r} has no {lacking[0]}, and neither has the ticket; "
            f"draw it again on the task that it is for"
        )
    ticket.apply(model)
    return Portable(model, ticket, processor, shape, ticket.ready)


def _config(name: str) -> Any:
    path = text.packaged() if name == text.PACKAGED else name
    with loading(name, _EXPECTED):
        return AutoConfig.from_pretrained(path, trust_remote_code=False)


def _classes(auto: Any, config: Any, ticket: Ticket) -> int:
    """How many classes the head in *ticket* tells apart; as many as the model's own where it has none."""
    for name, changes in _heads(auto, config).items():
        if changes and name in ticket.start:
            return len(ticket.start[name])
    return int(config.num_labels)


def _heads(auto: Any, config: Any) -> dict[str, bool]:
    """The parameters of the model, and whether their shape changes with the number of classes."""
    of_two = _shapes(auto, config, 2)
    of_three = _shapes(auto, config, 3)
    return {name: shape != of_three[name] for name, shape in of_two.items()}


def _shapes(auto: Any, config: Any, classes: int) -> dict[str, torch.Size]:
    changed = deepcopy(config)
    changed.num_labels = classes
    with torch.device("meta"):
        model = auto.from_config(changed, trust_remote_code=False)
        return {name: parameter.shape for name, parameter in model.named_parameters()}


def _seen(processor: BaseImageProcessor) -> tuple[int, ...]:
    """The shape of an image when *processor* is done with it."""
    pixels = processor(Image.new("RGB", (256, 256)), return_tensors="pt")["pixel_values"]
    return tuple(pixels.shape[1:])
