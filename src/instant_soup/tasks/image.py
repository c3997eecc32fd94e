"""Image tasks: a vision benchmark or any labelled images, with CLIP or any image classifier."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from datasets import Dataset
from transformers import CLIPModel, PreTrainedModel, ProcessorMixin
from transformers.image_processing_utils import BaseImageProcessor

from ..core.errors import DataError, UnknownName, unknown
from ..core.kinds import checked_but
from ..data.images import IMAGE_TASKS, MEMORY, ImageExamples, ImageSpec, image_splits
from ..data.labels import renumbered
from ..data.prompts import class_words, sentences
from ..data.source import Data, Splits
from ..models import clip, vision
from ..models.classifier import loss, predict
from ..models.heads import classes_in_order
from ..training.metrics import figures
from ..training.regime import Regime
from ..training.seeds import stream
from .assembly import Encoded, Judging, assemble, warn_of_other_classes, warn_of_seen_rows
from .task import CourseTask


@checked_but("model", "processor", "data")
def image(
    name: str,
    *,
    model: str | Path | PreTrainedModel,
    data: Data | None = None,
    regime: Regime | None = None,
    seed: int = 0,
    limit: int | None = None,
    validation: float = 0.1,
    classes: Sequence[str] = (),
    templates: Sequence[str] = (),
    image_column: str | None = None,
    label_column: str | None = None,
    processor: BaseImageProcessor | ProcessorMixin | None = None,
) -> CourseTask:
    """A task of images.

    Args:
        name: ``"vision/cifar10"`` and the others of `IMAGE_TASKS`, or a name of your own for
            labelled images of your own; then give *data*.
        model: a CLIP, which gets a frozen zero-shot head, or any Hugging Face image classifier, which
            gets a new head where it needs one; a hub id or a local folder. Or a CLIP of open_clip,
            as ``"open_clip:ARCHITECTURE/PRETRAINED"``. Or a CLIPModel, or a model that
            `AutoModelForImageClassification` has loaded; it is copied.
        data: a folder with images as ``train/CLASS/*`` and ``test/CLASS/*``, or as ``CLASS/*``, of which a fifth is
            cut out to test on; or a folder or file of tables, or tables in memory, as for texts; the hub if None.
        regime: how to train; the defaults of `Regime` if None.
        seed: of the run.
        limit: how many training examples to use; all if None.
        validation: share of the training examples that is cut out for selection.
        classes: words for the classes, in the order of their numbers, for CLIP's head; their names in
            the data if empty.
        templates: sentences with a {} for the class, for CLIP's head; the task's own if empty.
        image_column, label_column: names of the columns of a table, where the data does not show them.
        processor: that of a *model* that is loaded already; loaded from where the model came from if None.

    Raises:
        UnknownName: no table lists *name* and there is no *data*.
        DataError: the data or the model cannot be read or does not fit.
    """
    if name not in IMAGE_TASKS and data is None:
        raise UnknownName(
            f"{unknown('task', name, IMAGE_TASKS)}. For a task of your own, give its images: data='path/to/folder'"
        )

    # the data comes before the model, because its classes say how large the head is
    spec = IMAGE_TASKS.get(name, ImageSpec())
    rows = image_splits(
        data,
        spec,
        validation=validation,
        limit=limit,
        image=image_column,
        label=label_column,
    )

    names = rows.train.features["label"].names
    words = class_words(names, classes or spec.words)
    prompts = [sentences(word, templates or spec.templates) for word in words]

    loaded = _loaded(
        model,
        processor,
        prompts=prompts,
        classes=len(names),
        # a stream of its own, so that a new head does not depend on what else is drawn
        seed=stream(seed, "head"),
    )

    warn_of_other_classes(loaded.base, loaded.model, loaded.fresh, names)
    warn_of_seen_rows(loaded.base, loaded.model, names, rows)
    ordered = classes_in_order(loaded.model, names)
    if ordered != tuple(names):
        rows = rows.map(lambda split: renumbered(split, "label", names, ordered))
        word_of = dict(zip(names, words, strict=True))
        words = tuple(word_of[class_name] for class_name in ordered)

    return assemble(
        name,
        loaded,
        _encoded(rows, loaded.processor),
        Judging(predict, loss, figures(spec.metrics)),
        regime=regime,
        seed=seed,
        classes=words,
    )


def _encoded(rows: Splits, processor: BaseImageProcessor) -> Encoded:
    """The splits as pixels, which share one allowance of memory in proportion to their sizes."""
    total = len(rows.train) + len(rows.validation) + len(rows.test)

    def encode(split: Dataset) -> ImageExamples:
        return ImageExamples(split, processor, MEMORY * len(split) // total)

    return Encoded(encode(rows.train), encode(rows.validation), encode(rows.test))


def _loaded(
    model: str | Path | PreTrainedModel,
    processor: BaseImageProcessor | ProcessorMixin | None,
    *,
    prompts: clip.Prompts,
    classes: int,
    seed: int,
) -> vision.ImageModel:
    """The model at its pre-trained weights, whether it is given by name or loaded already."""
    if isinstance(model, CLIPModel):
        return clip.from_loaded(model, processor, prompts=prompts)
    if not isinstance(model, str | Path):
        return vision.from_loaded(model, processor, classes=classes)

    if processor is not None:
        raise DataError(
            f"a processor goes with a model that is loaded already, and model is {str(model)!r}, which brings its own; "
            f"leave processor out"
        )

    name = str(model)
    if clip.is_clip(name):
        return clip.load(name, prompts=prompts)
    return vision.load(name, classes=classes, seed=seed)
