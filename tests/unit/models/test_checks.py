"""Complete: what is missing is named, and never filled in by a default."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, ViTForImageClassification

from instant_soup.core.errors import DataError
from instant_soup.data.text import TextExamples, TextSpec
from instant_soup.models import checks, clip, text, vision

from . import zoo

OF_TOKENIZERS = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "vocab.json",
)


def without_tokenizer(folder: Path) -> Path:
    for file in OF_TOKENIZERS:
        (folder / file).unlink(missing_ok=True)
    return folder


def copied(source: Path, folder: Path) -> Path:
    shutil.copytree(source, folder, dirs_exist_ok=True)
    return folder


def changed(path: Path, **changes: Any) -> None:
    """Change fields of a JSON file; None takes one out."""
    fields = json.loads(path.read_text()) | changes
    path.write_text(
        json.dumps({name: value for name, value in fields.items() if value is not None})
    )


# tokenizers


@pytest.mark.parametrize("kind", [kind for kind in zoo.TEXT if kind != "canine"])
def test_a_model_without_its_tokenizer_is_refused(kind: str, tmp_path: Path) -> None:
    """Of most kinds transformers would build a tokenizer that knows no word."""
    folder = without_tokenizer(zoo.text(tmp_path, kind))
    with pytest.raises(DataError, match=r"tokenizer|Tokenizer"):
        text.load(str(folder), labels=3, seed=0)


@pytest.mark.parametrize(
    ("kind", "looked_for"),
    [
        ("bert", r"tokenizer\.json, or vocab\.txt"),
        ("roberta", r"tokenizer\.json, or vocab\.json and merges\.txt"),
        ("gpt2", r"tokenizer\.json, or vocab\.json and merges\.txt"),
        ("t5", r"tokenizer\.json, or spiece\.model"),
        ("deberta-v2", r"tokenizer\.json, or spm\.model"),
        ("mbart", r"tokenizer\.json, or sentencepiece\.bpe\.model"),
    ],
)
def test_the_files_that_were_looked_for_are_named(
    kind: str, looked_for: str, tmp_path: Path
) -> None:
    folder = without_tokenizer(zoo.text(tmp_path, kind))
    with pytest.raises(
        DataError,
        match=rf"holds no tokenizer: expected {looked_for}; copy them from the model",
    ):
        text.load(str(folder), labels=3, seed=0)


def test_half_a_tokenizer_is_refused(tmp_path: Path) -> None:
    """A vocabulary without its merges would read every text letter by letter."""
    folder = without_tokenizer(zoo.text(tmp_path, "gpt2"))
    (folder / "vocab.json").write_text('{"a": 0, "b": 1, "<|endoftext|>": 2}')
    with pytest.raises(DataError, match=r"vocab.* and .*merges"):
        text.load(str(folder), labels=3, seed=0)


def test_a_tokenizer_that_knows_no_word_is_refused_wherever_it_comes_from(
    tmp_path: Path,
) -> None:
    tokenizer = zoo.tokenizer(pad=True, end=True)
    checks.check_tokenizer("some/hub-id", tokenizer)
    empty = type(tokenizer)(
        tokenizer_object=zoo.Tokenizer(
            zoo.models.WordLevel({"<unk>": 0}, unk_token="<unk>")  # noqa: S106
        )
    )
    empty.unk_token = "<unk>"  # noqa: S105
    with pytest.raises(
        DataError,
        match="the tokenizer of model 'some/hub-id' has no word in its vocabulary",
    ):
        checks.check_tokenizer("some/hub-id", empty)


def test_a_tokenizer_that_makes_the_same_of_every_text_is_refused() -> None:
    rows = Dataset.from_dict(
        {"text": [f"слово {i}" for i in range(20)], "label": [0, 1] * 10}
    )
    spec = TextSpec(("text",), ("a", "b"), ())
    with pytest.raises(
        DataError,
        match="makes the same of every text, <unk> <unk>; expected the tokenizer that belongs",
    ):
        TextExamples(rows, spec, zoo.tokenizer(pad=True, end=False), 8)


def test_a_clip_without_its_tokenizer_is_refused(tiny_clip: Path, tmp_path: Path) -> None:
    folder = without_tokenizer(copied(tiny_clip, tmp_path))
    (folder / "merges.txt").unlink(missing_ok=True)
    with pytest.raises(
        DataError,
        match=r"holds no tokenizer: expected tokenizer\.json, or vocab\.json and merges\.txt",
    ):
        clip.load(str(folder), prompts=[["a"], ["b"]])


# image processors


@pytest.mark.parametrize("setting", ["size", "image_mean", "image_std"])
def test_a_processor_that_does_not_say_a_setting_is_refused(
    setting: str, tiny_vit: Path, tmp_path: Path
) -> None:
    """The default would be 224 pixels and a mean of a half, whatever the model was trained on."""
    folder = copied(tiny_vit, tmp_path)
    changed(folder / "preprocessor_config.json", **{setting: None})
    with pytest.raises(
        DataError,
        match=rf"preprocessor_config\.json of model .* does not say {setting}, and do_",
    ):
        vision.load(str(folder), classes=3, seed=0)


def test_a_crop_without_a_size_is_refused(tiny_clip: Path, tmp_path: Path) -> None:
    folder = copied(tiny_clip, tmp_path)
    changed(folder / "preprocessor_config.json", crop_size=None)
    with pytest.raises(
        DataError, match="does not say crop_size, and do_center_crop is on"
    ):
        clip.load(str(folder), prompts=[["a"], ["b"]])


def test_a_setting_that_is_not_used_need_not_be_said(
    tiny_vit: Path, tmp_path: Path
) -> None:
    folder = copied(tiny_vit, tmp_path)
    changed(
        folder / "preprocessor_config.json",
        do_normalize=False,
        image_mean=None,
        image_std=None,
    )
    assert vision.load(str(folder), classes=3, seed=0).processor.do_normalize is False


def test_a_model_without_its_processor_is_refused(tiny_vit: Path, tmp_path: Path) -> None:
    folder = copied(tiny_vit, tmp_path)
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(DataError, match=r"preprocessor_config\.json"):
        vision.load(str(folder), classes=3, seed=0)


def test_a_processor_of_another_size_than_the_model_is_refused(
    tiny_vit: Path, tmp_path: Path
) -> None:
    folder = copied(tiny_vit, tmp_path)
    changed(folder / "preprocessor_config.json", size={"height": 32, "width": 32})
    with pytest.raises(
        DataError, match=r"does not take images of 32 x 32 pixels.*copy the file"
    ):
        vision.load(str(folder), classes=3, seed=0)


# weights


def test_a_head_of_another_size_becomes_a_new_head(tmp_path: Path) -> None:
    """From three classes of MNLI to the two of RTE."""
    folder = zoo.text(tmp_path, "roberta")
    head = {
        name
        for name in load_file(folder / "model.safetensors")
        if name.startswith("classifier.out_proj")
    }
    loaded = text.load(str(folder), labels=2, seed=0)
    assert loaded.fresh == head
    assert loaded.model.classifier.out_proj.weight.shape == (2, 32)
    assert text.load(str(folder), labels=3, seed=0).fresh == set()


@pytest.mark.parametrize("labels", [1, 2, 5])
@pytest.mark.parametrize("kind", ["bert", "gpt2", "t5", "bart", "mixtral", "distilbert"])
def test_a_new_head_is_drawn_from_the_seed(
    kind: str, labels: int, tmp_path: Path
) -> None:
    folder = zoo.text(tmp_path, kind)
    first, again, other = (
        text.load(str(folder), labels=labels, seed=seed) for seed in (0, 0, 1)
    )
    assert first.fresh
    for name in first.fresh:
        values = [
            dict(loaded.model.named_parameters())[name]
            for loaded in (first, again, other)
        ]
        assert torch.equal(values[0], values[1])
        if "bias" not in name:
            assert not torch.equal(values[0], values[2])


@pytest.mark.parametrize(
    "lost",
    [
        "bert.encoder.layer.1.output.dense.weight",
        "bert.embeddings.word_embeddings.weight",
    ],
)
def test_a_checkpoint_without_a_part_of_its_body_is_refused(
    lost: str, tmp_path: Path
) -> None:
    folder = zoo.text(tmp_path, "bert")
    weights = load_file(folder / "model.safetensors")
    del weights[lost]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(DataError, match=rf"lacks {lost} and 0 more of the weights"):
        text.load(str(folder), labels=3, seed=0)


def test_a_checkpoint_without_a_pooler_gets_a_new_one_unless_it_is_to_be_pruned(
    tmp_path: Path,
) -> None:
    folder = zoo.text(tmp_path, "bert")
    weights = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if "pooler" not in name}
    save_file(kept, folder / "model.safetensors", {"format": "pt"})
    assert text.load(str(folder), labels=3, seed=0).fresh == {
        "bert.pooler.dense.weight",
        "bert.pooler.dense.bias",
    }
    with pytest.raises(
        DataError,
        match=r"lacks bert\.pooler\.dense\.weight .*the weights that would be pruned",
    ):
        text.load(str(folder), labels=3, seed=0, pooler=True)


def test_a_configuration_of_other_sizes_is_refused_with_both(tmp_path: Path) -> None:
    folder = zoo.text(tmp_path, "bert")
    changed(folder / "config.json", vocab_size=40)
    with pytest.raises(
        DataError,
        match=r"word_embeddings\.weight of shape \(32, 32\), and its config.json asks for \(40, 32\)",
    ):
        text.load(str(folder), labels=3, seed=0)


def test_a_vision_model_of_other_positions_is_refused(
    tiny_vit: Path, tmp_path: Path
) -> None:
    folder = copied(tiny_vit, tmp_path)
    changed(folder / "config.json", image_size=32)
    with pytest.raises(DataError, match=r"position_embeddings of shape"):
        vision.load(str(folder), classes=3, seed=0)


# files that are something else


def test_a_pointer_of_git_lfs_is_named_for_what_it_is(tmp_path: Path) -> None:
    folder = zoo.text(tmp_path, "bert")
    (folder / "model.safetensors").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n"
    )
    with pytest.raises(
        DataError, match=r"model\.safetensors is a git-LFS pointer of .*git lfs pull"
    ):
        text.load(str(folder), labels=3, seed=0)


@pytest.mark.parametrize(
    "name", ["vocab.txt", "tokenizer.json", "generation_config.json"]
)
def test_a_pipe_in_a_models_folder_is_refused_and_not_waited_for(
    tiny_bert: Path, tmp_path: Path, name: str
) -> None:
    folder = copied(tiny_bert, tmp_path / "model")
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    with pytest.raises(DataError, match=rf"{name} is no regular file"):
        text.load(str(folder), labels=2, seed=0)


@pytest.mark.parametrize("file", ["pytorch_model.bin", "pytorch_model.bin.index.json"])
def test_a_folder_whose_weights_are_a_pickle_is_named_for_what_it_is(
    file: str, tmp_path: Path
) -> None:
    folder = zoo.text(tmp_path, "bert")
    (folder / "model.safetensors").rename(folder / file)
    with pytest.raises(
        DataError, match=rf"holds its weights as {file}, which can run code"
    ):
        text.load(str(folder), labels=3, seed=0)


def test_a_folder_without_a_configuration_and_a_file_are_refused(tmp_path: Path) -> None:
    folder = zoo.text(tmp_path, "bert")
    with pytest.raises(DataError, match="is a file; give the folder that holds it"):
        text.load(str(folder / "model.safetensors"), labels=3, seed=0)
    (folder / "config.json").unlink()
    with pytest.raises(DataError, match=r"holds no config\.json"):
        vision.load(str(folder), classes=3, seed=0)


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_code_that_a_folder_brings_is_never_run_nor_asked_about(
    file: str, tmp_path: Path
) -> None:
    folder = zoo.text(tmp_path, "bert")
    (folder / "evil.py").write_text(
        f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: ...\n"
    )
    code = {
        "AutoConfig": "evil.Evil",
        "AutoModelForSequenceClassification": "evil.Evil",
        "AutoTokenizer": ["evil.Evil", None],
    }
    changed(folder / file, auto_map=code)
    text.load(str(folder), labels=3, seed=0)
    assert not (tmp_path / "ran").exists()
    changed(folder / "config.json", auto_map=code, model_type="evil")
    with pytest.raises(DataError, match="could not load model"):
        text.load(str(folder), labels=3, seed=0)
    assert not (tmp_path / "ran").exists()


# models in memory


def test_a_model_in_memory_needs_a_head_that_fits(tmp_path: Path, tiny_vit: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(zoo.text(tmp_path, "bert"))
    with pytest.raises(
        DataError,
        match=r"has a head for 3 labels, and the data has 2; load it with num_labels=2",
    ):
        text.from_loaded(model, None, labels=2)
    with pytest.raises(
        DataError, match=r"model is a BertModel, which classifies no text"
    ):
        text.from_loaded(model.bert, None, labels=3)
    picture = ViTForImageClassification.from_pretrained(tiny_vit, num_labels=4)
    assert vision.from_loaded(picture, None, classes=4).fresh == {
        "classifier.weight",
        "classifier.bias",
    }
    with pytest.raises(DataError, match="has a head for 4 classes"):
        vision.from_loaded(picture, None, classes=3)
    with pytest.raises(DataError, match="classifies no images"):
        vision.from_loaded(model, None, classes=3)


def test_the_last_checkpoint_of_a_trainer_is_asked_about(tmp_path: Path) -> None:
    for step in (500, 1000, 90):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "config.json").write_text("{}")
    (tmp_path / "logs").mkdir()

    expected = r"holds models: checkpoint-90, checkpoint-500, checkpoint-1000; did you mean .*checkpoint-1000\?"
    with pytest.raises(DataError, match=expected):
        text.load(str(tmp_path), labels=3, seed=0)


def test_a_folder_without_an_image_processor_is_named_with_the_file(
    tiny_vit: Path, tmp_path: Path
) -> None:
    folder = copied(tiny_vit, tmp_path)
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(
        DataError, match=r"holds no preprocessor_config\.json; copy it from the model"
    ):
        vision.load(str(folder), classes=3, seed=0)
