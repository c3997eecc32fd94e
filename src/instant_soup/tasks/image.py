"""Image tasks: a vision benchmark or any labelled images, with CLIP or any image classifier."""

from __future__ import annotations

from collections.abc import Sequence

from ..core.errors import unknown
from ..data.images import IMAGE_TASKS, MEMORY, ImageExamples, ImageSpec, image_splits
from ..data.prompts import sentences, wording
from ..data.source import Data
from ..models import clip, vision
from ..models.classifier import loss, predict
from ..training.course import Course
from ..training.metrics import figures
from ..training.regime import Regime
from ..training.seeds import stream
from .task import CourseTask


def image(
    name: str,
    *,
    model: str,
    data: Data | None = None,
    regime: Regime | None = None,
    seed: int = 0,
    limit: int | None = None,
    validation: float = 0.1,
    classes: Sequence[str] = (),
    templates: Sequence[str] = (),
    image_column: str | None = None,
    label_column: str | None = None,
) -> CourseTask:
    """A task of images.

    Args:
        name: ``"vision/cifar10"`` and the others of `IMAGE_TASKS`, or a name of your own for
            labelled images of your own; then give *data*.
        model: a CLIP, which gets a frozen zero-shot head, or any Hugging Face image classifier, which
            gets a new head where it needs one; a hub id or a local folder. Or a CLIP of open_clip,
            as ``"open_clip:ARCHITECTURE/PRETRAINED"``.
        data: a folder with train.parquet and test.parquet, or with images as ``train/CLASS/*`` and
            ``test/CLASS/*``, or as ``CLASS/*``, of which a fifth is cut out to test on; the hub if None.
        regime: how to train; the defaults of `Regime` if None.
        seed: of the run.
        limit: how many training examples to use; all if None.
        validation: share of the training examples that is cut out for selection.
        classes: words for the classes, in the order of their numbers, for CLIP's head; their names in
            the data if empty.
        templates: sentences with a {} for the class, for CLIP's head; the task's own if empty.
        image_column, label_column: of parquet files, where they cannot be told.

    Raises:
        UnknownName: no table lists *name* and there is no *data*.
        DataError: the data or the model cannot be read or does not fit.
    """
    if name not in IMAGE_TASKS and data is None:
        raise unknown("task", name, IMAGE_TASKS)
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
    words = wording(names, classes or spec.words)
    prompts = [sentences(word, templates or spec.templates) for word in words]

    if clip.is_clip(model):
        loaded = clip.load(model, prompts=prompts)
    else:
        loaded = vision.load(model, classes=len(names), seed=stream(seed, "head"))

    total = len(rows.train) + len(rows.validation) + len(rows.test)
    train, chosen, test = (
        ImageExamples(part, loaded.processor, MEMORY * len(part) // total)
        for part in (rows.train, rows.validation, rows.test)
    )
    course = Course(
        name=name,
        model=loaded.model,
        scope=loaded.scope,
        base=loaded.base,
        fresh=loaded.fresh,
        train=train,
        validation=chosen,
        test=test,
        predict=predict,
        loss=loss,
        metric=figures(spec.metrics),
        classes=words,
    )

    return CourseTask(course, regime or Regime(), seed)
