"""Source: loads the model that is exported, from a ticket and the name of its model or a recipe."""

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
    """Load the *model* of *ticket* and apply the ticket, so that the model can be exported.

    Args:
        model: the name of a classifier of text or images, whose number of classes is that of the ticket's head; or a
            recipe, which a CLIP needs for its zero-shot head.
        weights: fine-tuned weights; by default those that the ticket starts from.

    Raises:
        TicketError: the ticket belongs to another model, or the weights to another ticket.
        DataError: there is no such model.
        ExportError: the model is of a kind that cannot be exported.
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
    """The model called *name* with *ticket* in it. Raises ExportError for kinds that cannot be exported by name."""
    # names of open_clip are no places that transformers could read
    config = None if name.startswith(clip.OPEN_CLIP) else _config(name)
    if config is None or config.model_type == "clip":
        raise ExportError(
            f"model {name!r} is a CLIP, whose head is made from the words for the classes; give the recipe instead"
        )

    if decoder.is_language_model(config):
        return _language(ticket, name)

    if type(config) in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING:
        labels = _class_count(AutoModelForSequenceClassification, config, ticket)
        texts = text.load(name, labels=labels, seed=0)
        source = _put_in(ticket, texts.model, texts.tokenizer, None, texts.fresh)
        classes = _names_in_config(texts.model.config)
        return replace(source, positions=texts.positions, classes=classes)

    if type(config) in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING:
        count = _class_count(AutoModelForImageClassification, config, ticket)
        images = vision.load(name, classes=count, seed=0)
        shape = _image_shape(images.processor)
        source = _put_in(ticket, images.model, images.processor, shape, images.fresh)
        return replace(source, classes=_names_in_config(images.model.config))

    raise ExportError(
        f"model {name!r} is a {config.model_type}; expected a classifier of text or images, or a decoder"
    )


def _from_recipe(ticket: Ticket, recipe: Recipe) -> Portable:
    """The model of *recipe* with *ticket* in it."""
    name = recipe.task.model
    if recipe.task.language:
        return _language(ticket, name)

    is_clip = recipe.task.images and clip.is_clip(name)
    if not is_clip:
        return _with_class_names(_from_name(ticket, name), _class_names(recipe))

    # the head is made from the words of the classes, which are in the data
    course = build(recipe).course
    processor = None if name.startswith(clip.OPEN_CLIP) else vision.processor(name)
    shape = tuple(course.train.batch([0])["pixel_values"].shape[1:])
    source = _put_in(ticket, course.model, processor, shape, ())
    return replace(source, classes=recipe.task.classes or course.classes)


def _class_names(recipe: Recipe) -> tuple[str, ...]:
    """The names of the task's classes, in the order of their numbers; empty where they are not known."""
    spec = TASKS.get(recipe.task.name)
    if isinstance(spec, TextSpec):
        return spec.labels
    if recipe.task.classes:
        return recipe.task.classes

    try:
        return build(recipe).course.classes
    # the data is elsewhere, and the model can be exported without it
    except SoupError:
        return ()


def _with_class_names(source: Portable, names: tuple[str, ...]) -> Portable:
    """*source* with *names* for its classes, in its configuration, too; unchanged where it has more or fewer."""
    count = source.config.num_labels
    # a single class is a score to regress, which has no name
    if len(names) != count or count < 2:
        return source

    source.config.id2label = dict(enumerate(names))
    source.config.label2id = {label: number for number, label in enumerate(names)}
    return replace(source, classes=names)


def _names_in_config(config: Any) -> tuple[str, ...]:
    """The names of the classes in the model's own configuration; empty where it merely numbers them."""
    numbers = range(config.num_labels)
    known = config.id2label or {}
    names = tuple(str(known.get(number, "")) for number in numbers)
    # the default of transformers
    defaults = tuple(f"LABEL_{number}" for number in numbers)
    if names == defaults or len(names) < 2:
        return ()
    return names


def _language(ticket: Ticket, name: str) -> Portable:
    """The language model called *name* with *ticket* in it."""
    loaded = decoder.load(name)
    return _put_in(ticket, loaded.model, loaded.tokenizer, None, ())


def _put_in(
    ticket: Ticket, model: nn.Module, processor: Any, shape: Any, fresh: Iterable[str]
) -> Portable:
    """Apply *ticket* to *model*. Raises TicketError where neither of them has trained values of a *fresh* parameter."""
    missing = sorted(set(fresh) - set(ticket.start))
    if missing:
        raise TicketError(
            f"the checkpoint of {ticket.base.name!r} has no {missing[0]}, and neither has the ticket; "
            f"draw it again on the task that it is for"
        )
    ticket.apply(model)
    return Portable(model, ticket, processor, shape, ticket.ready)


def _config(name: str) -> Any:
    path = text.packaged() if name == text.PACKAGED else name
    with loading(name, _EXPECTED):
        return AutoConfig.from_pretrained(path, trust_remote_code=False)


def _class_count(auto: Any, config: Any, ticket: Ticket) -> int:
    """How many classes the head in *ticket* has; as many as the model's own head where the ticket has none."""
    for name in _head_names(auto, config):
        if name in ticket.start:
            return len(ticket.start[name])
    return int(config.num_labels)


def _head_names(auto: Any, config: Any) -> list[str]:
    """The parameters whose shape changes with the number of classes: architectures name their heads in many ways."""
    for_two = _shapes(auto, config, 2)
    for_three = _shapes(auto, config, 3)
    return [name for name, shape in for_two.items() if shape != for_three[name]]


def _shapes(auto: Any, config: Any, classes: int) -> dict[str, torch.Size]:
    """The shapes of the parameters of a model with a head for so many *classes*."""
    changed = deepcopy(config)
    changed.num_labels = classes
    # without memory for weights
    with torch.device("meta"):
        model = auto.from_config(changed, trust_remote_code=False)
    return {name: parameter.shape for name, parameter in model.named_parameters()}


def _image_shape(processor: BaseImageProcessor) -> tuple[int, ...]:
    """The shape of an image that *processor* has resized and cropped."""
    blank = Image.new("RGB", (256, 256))
    pixels = processor(blank, return_tensors="pt")["pixel_values"]
    return tuple(pixels.shape[1:])
