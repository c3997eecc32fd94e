"""Checks: refuses a model's folder that lacks a part, because transformers would fill in a default for it.

An empty vocabulary reads every text as [UNK], a processor without a size resizes to 224 pixels, and weights that a
file lacks are drawn at random. All three would train to the end without a warning.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..core.errors import DataError
from ..core.places import check_place
from ..core.scope import Scope
from ..core.weights import first_not_finite

POINTER = b"version https://git-lfs"
CONFIG = "config.json"
TOKENIZER = "tokenizer.json"
PROCESSOR = "preprocessor_config.json"
PROCESSORS = (PROCESSOR, "processor_config.json")
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
"""The files that a tokenizer can do without, by the names that transformers gives them."""


def check_folder(name: str) -> None:
    """Check the folder *name* before a model is loaded from it; a hub id passes.

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
            f"{_inner_models(folder)}"
        )

    pickled = next((file for file in PICKLES if (folder / file).is_file()), None)
    if pickled and not any(folder.glob("*.safetensors")):
        raise DataError(
            f"{folder} holds its weights as {pickled}, which can run code when it is read and so is not; "
            f"load it with transformers where you trust it, and save it again with save_pretrained"
        )


def _inner_models(folder: Path) -> str:
    """The question whether a model in *folder* was meant, such as the last checkpoint of a Trainer; "" without any."""
    inner = [path.parent for path in folder.glob(f"*/{CONFIG}")]
    if not inner:
        return ""

    # checkpoint-500 comes before checkpoint-1000
    inner.sort(key=lambda path: [len(path.name), path.name])
    names = ", ".join(path.name for path in inner[:10])
    more = ", ..." if len(inner) > 10 else ""
    return f". It holds models: {names}{more}; did you mean {inner[-1]}?"


def _is_pointer(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(POINTER)) == POINTER


def quantisation(config: Any) -> str:
    """The method by which weights are quantised, as *config* states it; "" if they are not quantised.

    Compressed-tensors also describes weights that are sparse and nothing else. These are not quantised.

    Args:
        config: as it stands in config.json.
    """
    if not isinstance(config, Mapping):
        return ""

    # models of several towers state it for one of these
    for section in (config, config.get("text_config"), config.get("vision_config")):
        if not isinstance(section, Mapping):
            continue
        stated = section.get("quantization_config")
        if not isinstance(stated, Mapping):
            continue

        method = stated.get("quant_method")
        is_compressed = method in (None, "compressed-tensors")
        is_sparse_only = is_compressed and not stated.get("config_groups")
        # older files of bitsandbytes and GPTQ name no method
        has_bits = bool(stated.keys() & {"bits", "load_in_4bit", "load_in_8bit"})
        if has_bits or not is_sparse_only:
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
    files = []
    needed = []
    for role, file in type(tokenizer).vocab_files_names.items():
        # some tokenizers list alternatives for one role, which are not checked
        if isinstance(file, str):
            files.append(file)
            if role not in OPTIONAL:
                needed.append(file)

    expected = TOKENIZER
    if needed:
        expected += f", or {' and '.join(needed)}"
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
    """Raise DataError, which says what was *expected*, where *tokenizer* knows special tokens and no words."""
    if _has_no_words(tokenizer):
        raise DataError(
            f"the tokenizer of model {name!r} has no word in its vocabulary: {expected}"
        )


def _has_no_words(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a tokenizer knows nothing but special tokens and spaces."""
    # "▁" is the space of SentencePiece, which stays in a vocabulary without words
    spaces = {"▁", " "}
    words = set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens) - spaces
    return not words


def check_processor_file(name: str) -> None:
    """Raise DataError where *name* is a folder without the file of an image processor; a hub id passes."""
    folder = Path(name)
    if folder.is_dir() and not any((folder / file).is_file() for file in PROCESSORS):
        raise DataError(
            f"{folder} holds no {PROCESSOR}; copy it from the model that it was trained from, or save its image "
            f"processor there with save_pretrained"
        )


def check_processor(
    name: str, stated: Mapping[str, Any], used: Mapping[str, Any]
) -> None:
    """Raise DataError unless every setting of an image processor that is used was stated, and not filled in.

    Args:
        stated: what stands in preprocessor_config.json.
        used: all settings of the processor, defaults included.
    """
    settings_of = {
        "do_resize": ("size",),
        "do_center_crop": ("crop_size",),
        "do_normalize": ("image_mean", "image_std"),
    }

    for step, settings in settings_of.items():
        if not used.get(step):
            continue
        for setting in settings:
            if stated.get(setting) is None:
                raise DataError(
                    f"{PROCESSOR} of model {name!r} does not say {setting}, and {step} is on; "
                    f"add it as the model was trained, or copy the file from the model that it was trained from"
                )


def check_weights(
    name: str, model: PreTrainedModel, scope: Scope, info: Mapping[str, Any]
) -> frozenset[str]:
    """The parameters of *model* that its checkpoint lacks, or has in another size. Only a new head may be among them.

    Args:
        scope: what would be pruned.
        info: as from_pretrained gives it with output_loading_info.

    Raises:
        DataError: something of the pre-trained body is among them, or what is there is not finite.
    """
    check_finite(name, model)
    sizes = {key: shapes for key, *shapes in info["mismatched_keys"]}
    fresh = frozenset(info["missing_keys"]) | sizes.keys()

    lost = missing_of_body(model, scope, fresh)
    if not lost:
        return fresh

    first = lost[0]
    if first in sizes:
        stored, configured = (tuple(shape) for shape in sizes[first])
        raise DataError(
            f"the checkpoint of model {name!r} has {first} of shape {stored}, and its {CONFIG} asks for {configured}; "
            f"restore the {CONFIG} that belongs to the weights"
        )

    group = "the weights of its body"
    if first in scope:
        group = "the weights that would be pruned"
    raise DataError(
        f"the checkpoint of model {name!r} lacks {first} and {len(lost) - 1} more of {group}; expected all but the "
        f"head's: is it of another architecture, or was it saved in part?"
    )


def check_finite(name: str, model: nn.Module) -> None:
    """Raise DataError where a parameter of the pre-trained *model* called *name* holds NaN or infinity.

    What is trained from it would be, too, and the learning rate would be blamed.
    """
    odd = first_not_finite(dict(model.named_parameters()))
    if odd is not None:
        raise DataError(
            f"model {name!r} holds NaN or infinity in {odd}; restore its checkpoint, or take one from before that"
        )


def missing_of_body(
    model: PreTrainedModel, scope: Scope, fresh: Collection[str]
) -> list[str]:
    """The *fresh* parameters of *model* that belong to its body, in the order of the model."""
    body = f"{model.base_model_prefix}."
    names = []
    for name, _ in model.named_parameters():
        # many checkpoints leave the pooler out, because language modelling has no use for it
        in_body = name.startswith(body) and "pooler" not in name
        if name in fresh and (name in scope or in_body):
            names.append(name)
    return names
