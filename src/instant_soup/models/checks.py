"""Complete: what a model's folder has to hold, because transformers would fill in a default for what is missing.

An empty vocabulary reads every text as [UNK], a processor without a size resizes to 224 pixels, weights that a file
lacks are drawn at random: all three would train to the end without a word.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..core.errors import DataError
from ..core.places import check_place
from ..core.scope import Scope

POINTER = b"version https://git-lfs"
CONFIG, TOKENIZER, PROCESSOR = "config.json", "tokenizer.json", "preprocessor_config.json"
PICKLES = (
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "model.pt",
    "model.pth",
    "tf_model.h5",
)
OPTIONAL = frozenset(
    {"tokenizer_file", "added_tokens_file", "normalizer_file", "tokenizer_config_file"}
)
"""Of a tokenizer's files those that it can do without, by the names that transformers gives them."""


def check_folder(name: str) -> None:
    """Look *name* over before it is loaded, if it is a folder.

    Raises:
        DataError: it is a path and nothing is there; it has no config.json, its weights are a pickle, or a file was
            never fetched from git-LFS.
    """
    check_place(name)
    folder = Path(name)
    if folder.is_file():
        raise DataError(
            f"model {name!r} is a file; give the folder that holds it, with {CONFIG} beside it"
        )
    if not folder.is_dir():
        return

    for path in sorted(folder.iterdir()):
        if path.is_file() and _is_pointer(path):
            raise DataError(
                f"{path} is a git-LFS pointer of {path.stat().st_size} bytes, not the file itself; "
                f"fetch it with: git lfs pull"
            )

    if not (folder / CONFIG).is_file():
        raise DataError(
            f"{folder} holds no {CONFIG}; expected a folder as save_pretrained of transformers writes it"
        )
    pickled = next((file for file in PICKLES if (folder / file).is_file()), None)
    if pickled and not any(folder.glob("*.safetensors")):
        raise DataError(
            f"{folder} holds its weights as {pickled}, which can run code when it is read and so is not; "
            f"load it with transformers where you trust it, and save it again with save_pretrained"
        )


def _is_pointer(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(POINTER)) == POINTER


def quantisation(config: Any) -> str:
    """The method by which a *config*, as it stands in config.json, says that weights are quantised; "" if it does not.

    What compressed-tensors says of zeros alone is none.
    """
    if not isinstance(config, Mapping):
        return ""

    for place in (config, config.get("text_config"), config.get("vision_config")):
        stated = place.get("quantization_config") if isinstance(place, Mapping) else None
        if not isinstance(stated, Mapping):
            continue
        method = stated.get("quant_method")
        only_zeros = method in (None, "compressed-tensors") and not stated.get(
            "config_groups"
        )
        if not only_zeros or stated.keys() & {"bits", "load_in_4bit", "load_in_8bit"}:
            return str(method or "by a method that it does not name")

    return ""


def check_config(name: str, stated: Mapping[str, Any]) -> None:
    """Raise DataError where a model's config.json says that its weights are quantised."""
    method = quantisation(stated)
    if method:
        raise DataError(
            f"model {name!r} is quantised ({method}, says its {CONFIG}), and codes have no magnitude to prune by; give "
            f"the model in 16 or 32 bits that it was made from"
        )


def check_tokenizer(name: str, tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise DataError unless *tokenizer* is the model's own, with the words that it has learned.

    Args:
        name: the folder or hub id that it was loaded from.
    """
    files = {
        part: file
        for part, file in type(tokenizer).vocab_files_names.items()
        if isinstance(file, str)
    }
    needed = [file for part, file in files.items() if part not in OPTIONAL]
    looked_for = " and ".join(needed)
    expected = f"{TOKENIZER}, or {looked_for}" if looked_for else TOKENIZER
    advice = "copy them from the model that it was trained from, or save its tokenizer there with save_pretrained"

    folder = Path(name)
    if folder.is_dir() and files and not (folder / TOKENIZER).is_file():
        missing = [file for file in needed if not (folder / file).is_file()]
        if missing or not needed:
            raise DataError(f"{folder} holds no tokenizer: expected {expected}; {advice}")

    check_vocabulary(name, tokenizer, f"expected {expected}; {advice}")


def check_vocabulary(
    name: str, tokenizer: PreTrainedTokenizerBase, expected: str
) -> None:
    """Raise DataError, which says what was *expected*, where all that *tokenizer* knows are marks."""
    if _has_no_words(tokenizer):
        raise DataError(
            f"the tokenizer of model {name!r} has no word in its vocabulary: {expected}"
        )


def _has_no_words(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether all that a tokenizer can say are marks, whatever it is asked to read."""
    marks = set(tokenizer.all_special_tokens) | {"▁", " "}
    words = set(tokenizer.get_vocab()) - marks
    return not words


def check_processor(
    name: str, stated: Mapping[str, Any], used: Mapping[str, Any]
) -> None:
    """Raise DataError unless the settings of an image processor that matter were stated, and not filled in.

    Args:
        stated: what stands in preprocessor_config.json.
        used: all settings of the processor, defaults included.
    """
    needs = {
        "do_resize": ("size",),
        "do_center_crop": ("crop_size",),
        "do_normalize": ("image_mean", "image_std"),
    }

    for step, settings in needs.items():
        for setting in settings:
            if used.get(step) and stated.get(setting) is None:
                raise DataError(
                    f"{PROCESSOR} of model {name!r} does not say {setting}, and {step} is on; "
                    f"add it as the model was trained, or copy the file from the model that it was trained from"
                )


def check_weights(
    name: str, model: PreTrainedModel, scope: Scope, info: Mapping[str, Any]
) -> frozenset[str]:
    """The parameters of *model* that its checkpoint does not have, or has in another size: a new head, and no more.

    Args:
        scope: what would be pruned.
        info: what transformers says of the loading.

    Raises:
        DataError: something of the pre-trained body is among them.
    """
    sizes = {key: shapes for key, *shapes in info["mismatched_keys"]}
    fresh = frozenset(info["missing_keys"]) | sizes.keys()

    lost = lacking(model, scope, fresh)
    if not lost:
        return fresh
    if lost[0] in sizes:
        theirs, ours = (tuple(shape) for shape in sizes[lost[0]])
        raise DataError(
            f"the checkpoint of model {name!r} has {lost[0]} of shape {theirs}, and its {CONFIG} asks for {ours}; "
            f"restore the {CONFIG} that belongs to the weights"
        )
    what = (
        "the weights that would be pruned"
        if lost[0] in scope
        else "the weights of its body"
    )
    raise DataError(
        f"the checkpoint of model {name!r} lacks {lost[0]} and {len(lost) - 1} more of {what}; expected all but the "
        f"head's: is it of another architecture, or was it saved in part?"
    )


def lacking(model: PreTrainedModel, scope: Scope, fresh: Collection[str]) -> list[str]:
    """What is new of *model* although it belongs to its body: all but heads and poolers, which many leave out."""
    body = f"{model.base_model_prefix}."
    new = [name for name, _ in model.named_parameters() if name in fresh]
    return [
        name
        for name in new
        if name in scope or (name.startswith(body) and "pooler" not in name)
    ]
