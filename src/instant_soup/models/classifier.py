"""Classifier: how classifiers of text and of images are loaded, predict and are trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from inspect import signature
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import modeling_gguf_pytorch_utils
from transformers.utils import logging

from ..core.errors import DataError, SoupError


@contextmanager
def loading(name: str, expected: str, seed: int = 0) -> Iterator[None]:
    """Load the model *name* in the block, in silence, with a new head drawn from *seed*.

    Args:
        expected: what the error says was expected.

    Raises:
        DataError: there is no such model, or something in its folder is no file.
    """
    _refuse_irregular(name)
    # the random stream of the caller goes on as if nothing had been drawn
    with quiet(), torch.random.fork_rng():
        torch.manual_seed(seed)
        try:
            yield
        except SoupError:
            # some are ValueErrors, and say already what is wrong
            raise
        except Exception as reason:
            # of files that are not as they should be, libraries raise what they like
            first, *_ = str(reason).strip().splitlines() or [type(reason).__name__]
            # transformers may list every model that there is, in hundreds of lines
            why = shorten(first, 300, placeholder=" ...")
            raise DataError(
                f"could not load model {name!r} ({why}); {expected}"
            ) from reason


def _refuse_irregular(name: str) -> None:
    """Raise DataError where the folder *name* holds a pipe or a device, on which libraries would wait for ever."""
    folder = Path(name)
    if not folder.is_dir():
        return

    for path in sorted(folder.iterdir()):
        if path.exists() and not path.is_file() and not path.is_dir():
            raise DataError(f"{path} is no regular file; restore the file or remove it")


def loss(outputs: Tensor, labels: Tensor, label_smoothing: float) -> Tensor:
    """Cross-entropy of the classes; the mean squared error where the labels are scores.

    Args:
        outputs: logits [n, classes], or scores [n, 1].
        labels: int64 [n], or floats [n] for scores.
    """
    if labels.is_floating_point():
        return F.mse_loss(outputs.squeeze(1), labels)
    return F.cross_entropy(outputs, labels, label_smoothing=label_smoothing)


def predict(model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Logits float32 [n, classes], or scores [n, 1]; and the labels [n]."""
    # given labels, transformers would compute a loss of its own
    inputs: dict[str, Any] = {
        key: tensor for key, tensor in batch.items() if key != "labels"
    }
    # decoders keep keys and values for a next token, which no classifier asks for
    if "use_cache" in signature(model.forward).parameters:
        inputs["use_cache"] = False
    return model(**inputs).logits.float(), batch["labels"]


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers silent in the block, about newly initialised parameters above all: a new head is intended."""
    level = logging.get_verbosity()
    had_bars = logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    # reading GGUF draws a bar of its own, whatever transformers is told of bars
    gguf: Any = modeling_gguf_pytorch_utils
    gguf_bar = gguf.tqdm
    gguf.tqdm = partial(gguf_bar, disable=True)

    try:
        yield
    finally:
        gguf.tqdm = gguf_bar
        logging.set_verbosity(level)
        if had_bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
