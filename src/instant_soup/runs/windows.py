"""Windows: how large a language task is, told without its weights: by configuration, tokenizer and text.

What would have to be fetched first is not fetched. Then the recipe's own numbers count, at most, and a remark says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import DataError
from ..data.corpus import TEST, TRAIN
from ..data.known_texts import LANGUAGE_TASKS
from ..data.language import sources, window_count
from ..models import at_hand, decoder
from ..recipes.recipe import Recipe
from ..tasks.language import window_length
from ..training.sample import TENTHS
from .sizes import Sizes, split_sizes

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def language_sizes(recipe: Recipe) -> Sizes:
    """The sizes of a language task, without loading its model.

    Raises:
        DataError: the model is no causal language model, its limit is lower than the windows, the text is too short,
            or neither the text nor data.limit is there to tell how many windows are learned from.
    """
    reading = _Reading(recipe)
    data = recipe.data
    source, test_source = sources(recipe.task.name, data.folder, data.test)

    rows = reading.count(source, TRAIN)
    if rows is None and data.limit is None:
        raise DataError(
            f"how many windows {source} has is not known before it is read, and plan fetches nothing; set data.limit, "
            f"or data.folder to text that is here"
        )
    if rows is None:
        reading.remarks.append(
            f"{source} is not read: as many windows are learned from as data.limit says, {data.limit:,}"
        )
    train, validation = split_sizes(rows or int(data.limit or 0), data)
    if train < 1:
        raise DataError(
            f"the text of {source} leaves no window to learn from once {validation} are cut out for selection; "
            f"take a longer text, or lower data.window"
        )

    judged = reading.count(test_source, TEST)
    if judged is None and data.windows is None:
        reading.remarks.append(
            f"{test_source} is not read: how many windows are judged on is not known, and they are left out"
        )
    elif judged is None:
        reading.remarks.append(
            f"{test_source} is not read: as many windows are judged on as data.windows says, {data.windows:,}"
        )
    known = [count for count in (judged, data.windows) if count is not None]

    return Sizes(
        name=recipe.task.name,
        horizon=recipe.training.horizon(train),
        batch=recipe.training.batch,
        train=train,
        validation=validation,
        test=min(known, default=0),
        groups=TENTHS,
        remarks=tuple(reading.remarks),
    )


@dataclass
class _Reading:
    """What is known of a recipe's model and texts; each is looked at when it is first needed."""

    recipe: Recipe
    remarks: list[str] = field(default_factory=list)
    _tokenizer: PreTrainedTokenizerBase | None = None

    def __post_init__(self) -> None:
        name = self.recipe.task.model
        window = self.recipe.data.window
        # GGUF keeps its configuration beside the weights, and reading it takes longer than all else
        needs_config = window is None or not decoder.is_gguf(name)
        self._config = at_hand.config_at_hand(name) if needs_config else None
        self._window = window
        if self._config is None:
            return

        self._window = window_length(window, self._config)
        outline = at_hand.outline(self._config)
        self.remarks.append(
            f"The model has {outline.weights:,} weights, {outline.scope.size:,} of them prunable"
        )

    def count(self, source: str, splits: tuple[str, ...]) -> int | None:
        """How many windows the text at *source* has; None where not all that tells it is here."""
        is_hub = source in LANGUAGE_TASKS and LANGUAGE_TASKS[source].hub is not None
        is_here = source in LANGUAGE_TASKS or Path(source).exists()
        if is_hub or not is_here or self._window is None:
            return None

        if self._tokenizer is None:
            self._tokenizer = at_hand.tokenizer_at_hand(self.recipe.task.model)
        if self._tokenizer is None:
            return None
        return window_count(source, splits, self._tokenizer, self._window)
