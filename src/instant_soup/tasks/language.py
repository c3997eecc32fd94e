"""Language tasks: which token comes next, with any causal language model, judged by perplexity."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..core.errors import DataError, unknown
from ..core.kinds import checked_but
from ..data.known_texts import LANGUAGE_TASKS
from ..data.language import PROTOCOL, language_splits
from ..data.source import Data, origin
from ..models import decoder
from ..training.regime import Regime
from .assembly import Encoded, Judging, assemble
from .task import CourseTask


@checked_but("model", "tokenizer", "data", "test")
def language(
    name: str,
    *,
    model: str | Path | PreTrainedModel = decoder.PACKAGED,
    data: Data | None = None,
    test: Data | None = None,
    window: int | None = None,
    windows: int | None = None,
    regime: Regime | None = None,
    seed: int = 0,
    limit: int | None = None,
    validation: float = 0.1,
    tokenizer: PreTrainedTokenizerBase | None = None,
) -> CourseTask:
    """A task of language.

    Args:
        name: ``"language/wikitext2"`` or ``"language/c4"``, or a name of your own for your own text; then give *data*.
        model: a hub id, a local folder, a GGUF file, or ``"packaged"`` for SmolLM2-135M; or a model that
            `AutoModelForCausalLM` has loaded, which is copied.
        data: the text to learn from and to calibrate on: a folder with train.parquet (column ``text``) or text files,
            a file, or the name of a text of the hub; that of *name* if None. Or rows in memory with a column ``text``:
            a pandas DataFrame, a `datasets.Dataset` or a list of dictionaries, or several of these by split.
        test: the text to be judged on, likewise; that of *name*, or beside *data*, if None.
        window: L, tokens of a window; 2,048 or the model's limit if None.
        windows: how many test windows to be judged on, the first ones; all if None.
        regime: how to train; the defaults of `Regime` if None.
        seed: of the run.
        limit: how many training windows to use; all if None.
        validation: share of the training windows that is cut out for selection.
        tokenizer: that of a *model* that is loaded already; loaded from where the model came from if None.

    Raises:
        UnknownName: no table lists *name* and there is no *data*.
        DataError: the text or the model cannot be read, does not fit, or is too short.
    """
    if name not in LANGUAGE_TASKS and data is None:
        raise unknown("task", name, LANGUAGE_TASKS)

    loaded = _loaded(model, tokenizer)
    length = window_length(window, loaded.model.config)
    splits = language_splits(
        name,
        loaded.tokenizer,
        window=length,
        folder=data,
        test=test,
        validation=validation,
        limit=limit,
        windows=windows,
    )

    judging = Judging(
        decoder.predict,
        decoder.loss,
        decoder.perplexity,
        lower_is_better=True,
        # outputs are losses of tokens: logits over the vocabulary would not fit into memory
        logits=False,
    )

    # perplexities compare only where all of this is alike, so records say it
    facts = {
        "protocol": PROTOCOL,
        "L": length,
        "tokens": len(splits.test) * length,
        "text": _text_name(name, test),
    }
    return assemble(
        name,
        loaded,
        Encoded(splits.train, splits.validation, splits.test),
        judging,
        regime=regime,
        seed=seed,
        facts=facts,
    )


def _loaded(
    model: str | Path | PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None
) -> decoder.LanguageModel:
    """The model at its pre-trained weights, whether it is given by name or loaded already."""
    if not isinstance(model, str | Path):
        return decoder.from_loaded(model, tokenizer)

    if tokenizer is not None:
        raise DataError(
            f"a tokenizer goes with a model that is loaded already, and model is {str(model)!r}, which brings its own; "
            f"leave tokenizer out"
        )
    return decoder.load(str(model))


def _text_name(name: str, test: Data | None) -> str:
    """What records call the text that is judged on."""
    return name if test is None else origin(test, None)


def window_length(window: int | None, config: Any) -> int:
    """L, the tokens of a window. Raises DataError for a length that the model of *config* cannot read."""
    length = window or decoder.usual_window(config)
    most = decoder.positions(config)
    # 2, because a window of one token has no next token to be judged by
    if not 2 <= length <= most:
        raise DataError(
            f"a window has {length:,} tokens, and the model reads 2 to {most:,}; set data.window in between"
        )
    return length
