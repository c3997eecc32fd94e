"""Text: labelled sentences become token ids, or an error that names the row."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, Value
from transformers import AutoTokenizer, BatchEncoding, PreTrainedTokenizerBase

from instant_soup.core.errors import DataError
from instant_soup.data.splitting import splits
from instant_soup.data.text import GLUE_TASKS, TextExamples, TextSpec
from instant_soup.data.text_splits import infer_spec
from instant_soup.data.truncation import whole_lengths

CLASSES = TextSpec(("text",), ("negative", "positive"), ("accuracy",))
SCORES = TextSpec(("text",), (), ("pearson",), label="score")
PAIRS = TextSpec(("first", "second"), ("no", "yes"), ("accuracy",))


@pytest.fixture(scope="module")
def tokenizer(tiny_bert: Path) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(tiny_bert)


def rows(texts: list[Any], labels: list[Any]) -> Dataset:
    return Dataset.from_dict({"text": texts, "label": labels})


def encode(
    tokenizer: PreTrainedTokenizerBase, labels: list[Any], spec: TextSpec = CLASSES
) -> TextExamples:
    return TextExamples(
        Dataset.from_dict({"text": ["good film"] * len(labels), spec.label: labels}),
        spec,
        tokenizer,
        16,
    )


# encoding


def test_sentences_are_wrapped_padded_and_masked(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    examples = TextExamples(
        rows(["good", "a very bad film"], [1, 0]), CLASSES, tokenizer, 16
    )
    batch = examples.batch([1, 0])
    words = [tokenizer.convert_ids_to_tokens(ids) for ids in batch["input_ids"]]
    assert words == [
        ["[CLS]", "a", "very", "bad", "film", "[SEP]"],
        ["[CLS]", "good", "[SEP]", "[PAD]", "[PAD]", "[PAD]"],
    ]
    assert batch["attention_mask"].tolist() == [[1] * 6, [1, 1, 1, 0, 0, 0]]
    assert batch["token_type_ids"].tolist() == [[0] * 6] * 2
    assert batch["labels"].tolist() == [0, 1]
    assert {key: tensor.dtype for key, tensor in batch.items()} == dict.fromkeys(
        batch, torch.int64
    )


def test_targets_are_the_labels_of_all_examples(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    assert encode(tokenizer, [1, 0, 1]).targets.tolist() == [1, 0, 1]
    scores = encode(tokenizer, [0.5, 2.0], SCORES).targets
    assert (scores.dtype, scores.tolist()) == (torch.float32, [0.5, 2.0])


def test_a_batch_is_what_the_tokenizer_itself_would_give(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    texts = ["good", "a very bad film, not good", "", "plot"]
    examples = TextExamples(rows(texts, [0, 1, 0, 1]), CLASSES, tokenizer, 6)
    wanted = tokenizer(
        texts, padding=True, truncation=True, max_length=6, return_tensors="pt"
    )
    batch = examples.batch(range(4))
    assert all(torch.equal(batch[key], wanted[key]) for key in wanted)


def test_pairs_are_told_apart_by_their_type(tokenizer: PreTrainedTokenizerBase) -> None:
    pair = Dataset.from_dict({"second": ["bad plot"], "first": ["good"], "label": [1]})
    batch = TextExamples(pair, PAIRS, tokenizer, 16).batch([0])
    assert tokenizer.convert_ids_to_tokens(batch["input_ids"][0]) == [
        "[CLS]",
        "good",
        "[SEP]",
        "bad",
        "plot",
        "[SEP]",
    ]
    assert batch["token_type_ids"].tolist() == [[0, 0, 0, 1, 1, 1]]


def test_padding_reaches_the_longest_of_the_batch_and_no_further(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    examples = TextExamples(
        rows(["good"] * 2 + ["good " * 9], [0, 1, 0]), CLASSES, tokenizer, 16
    )
    assert examples.batch([0, 1])["input_ids"].shape == (2, 3)
    assert examples.batch([0, 2])["input_ids"].shape == (2, 11)


def test_lengths_count_tokens_and_long_texts_are_cut_off(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    examples = TextExamples(
        rows(["good", "a very bad film", "bad " * 50], [0, 1, 0]), CLASSES, tokenizer, 8
    )
    assert list(examples.lengths) == [3, 6, 8]
    assert len(examples) == 3


def test_an_empty_text_is_a_text(tokenizer: PreTrainedTokenizerBase) -> None:
    assert TextExamples(rows([""], [0]), CLASSES, tokenizer, 8).lengths == [2]


def test_scores_are_floats(tokenizer: PreTrainedTokenizerBase) -> None:
    labels = encode(tokenizer, [0.5, 3.75, -1.0], SCORES).batch([2, 0, 1])["labels"]
    assert labels.dtype == torch.float32
    assert labels.tolist() == [-1.0, 0.5, 3.75]


def test_whole_scores_are_scores_too(tokenizer: PreTrainedTokenizerBase) -> None:
    assert encode(tokenizer, [0, 5], SCORES).batch([0, 1])["labels"].tolist() == [
        0.0,
        5.0,
    ]


@pytest.mark.parametrize("labels", [[0.0, 1.0], [False, True]])
def test_class_numbers_of_another_type_are_class_numbers(
    tokenizer: PreTrainedTokenizerBase, labels: list[Any]
) -> None:
    batch = encode(tokenizer, labels).batch([0, 1])
    assert batch["labels"].dtype == torch.int64
    assert batch["labels"].tolist() == [0, 1]


def test_parquet_files_are_read_through(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    for name in ("train", "validation"):
        pq.write_table(
            pa.table({"text": ["good", "bad plot"] * 5, "label": [1, 0] * 5}),
            tmp_path / f"{name}.parquet",
        )
    test = TextExamples(
        splits(tmp_path, None, validation=0.2, limit=None).test, CLASSES, tokenizer, 16
    )
    assert test.batch([0, 1])["labels"].tolist() == [1, 0]


# what is cut off


@pytest.mark.parametrize("fast", [True, False])
def test_what_is_cut_off_is_known_as_if_it_had_been_tokenised_whole(
    tokenizer: PreTrainedTokenizerBase, fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["good film", "good " * 6, "good " * 7, "bad film plot " * 30, ""]
    whole = [len(tokenizer(text)["input_ids"]) for text in texts]
    if not fast:
        monkeypatch.setattr(BatchEncoding, "encodings", None)

    encoded = tokenizer(texts, truncation=True, max_length=8)
    assert whole_lengths(encoded, [texts], tokenizer, 8) == whole
    truncation = TextExamples(rows(texts, [0] * 5), CLASSES, tokenizer, 8).truncation
    assert (truncation.cut, truncation.longest) == (2, 92)


def test_what_is_cut_off_pairs_counts_each_word_once(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    firsts = ["good film " * 20, "good", "plot " * 9]
    seconds = ["bad plot " * 15, "bad film " * 40, "film"]
    whole = [
        len(tokenizer(*pair)["input_ids"]) for pair in zip(firsts, seconds, strict=True)
    ]
    encoded = tokenizer(firsts, seconds, truncation=True, max_length=12)
    assert whole_lengths(encoded, [firsts, seconds], tokenizer, 12) == whole


def test_texts_that_differ_behind_the_limit_alone_are_told_so(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    texts = ["good film " * 10 + "plot " * i for i in range(20)]
    with pytest.raises(
        DataError, match=r"begin with the same 8 tokens, .* raise data\.max_length .* 41"
    ):
        TextExamples(rows(texts, [0, 1] * 10), CLASSES, tokenizer, 8)


def test_words_that_nobody_knows_are_no_matter_of_the_limit(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    texts = [" ".join(["суп"] * 20 + ["щи"] * i) for i in range(20)]
    with pytest.raises(DataError, match="the tokenizer makes the same of every text"):
        TextExamples(rows(texts, [0, 1] * 10), CLASSES, tokenizer, 8)


# what does not fit


@pytest.mark.parametrize(
    ("asked", "there"), [("sentense", "sentence"), ("text", "texts")]
)
def test_a_wrong_column_of_text_is_met_with_the_nearest(
    tokenizer: PreTrainedTokenizerBase, asked: str, there: str
) -> None:
    given = Dataset.from_dict({there: ["good"], "label": [0], "idx": [0]})
    with pytest.raises(
        DataError, match=f"no column '{asked}' in the data; did you mean '{there}'"
    ):
        TextExamples(given, TextSpec((asked,), ("a", "b"), ("accuracy",)), tokenizer, 16)


def test_a_wrong_column_of_labels_is_met_with_the_nearest(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    with pytest.raises(
        DataError,
        match=r"no column 'lable' in the data; did you mean 'label'.* task\.label in a recipe",
    ):
        TextExamples(
            rows(["good"], [0]),
            TextSpec(("text",), ("a", "b"), (), label="lable"),
            tokenizer,
            16,
        )


def test_all_columns_are_listed_when_none_is_near(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    with pytest.raises(DataError, match="known: label, text"):
        TextExamples(
            rows(["good"], [0]), TextSpec(("zzz",), ("a", "b"), ()), tokenizer, 16
        )


@pytest.mark.parametrize("wrong", [2, -1, 100])
def test_a_label_out_of_range_is_named_with_its_row_and_the_classes(
    tokenizer: PreTrainedTokenizerBase, wrong: int
) -> None:
    with pytest.raises(
        DataError, match=rf"label {wrong} in row 2 .* 0 to 1 \(negative, positive\)"
    ):
        encode(tokenizer, [0, 1, wrong, 0, wrong])


@pytest.mark.parametrize("wrong", [0.5, 1.0000001, math.nan, math.inf])
def test_a_label_that_is_no_whole_number_is_not_rounded(
    tokenizer: PreTrainedTokenizerBase, wrong: float
) -> None:
    with pytest.raises(DataError, match="label"):
        encode(tokenizer, [0.0, wrong])


@pytest.mark.parametrize(
    "labels", [["good", "bad"], ["0", "1"], [0, None], [None, None]], ids=str
)
@pytest.mark.parametrize("spec", [CLASSES, SCORES], ids=["classes", "scores"])
def test_labels_that_are_no_numbers_are_refused(
    tokenizer: PreTrainedTokenizerBase, labels: list[Any], spec: TextSpec
) -> None:
    with pytest.raises(
        DataError, match=f"column '{spec.label}' holds labels that are no numbers"
    ):
        encode(tokenizer, labels, spec)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_is_named_with_its_row(
    tokenizer: PreTrainedTokenizerBase, wrong: float
) -> None:
    with pytest.raises(DataError, match=rf"label {wrong} in row 1 .* a finite score"):
        encode(tokenizer, [0.5, wrong], SCORES)


def test_a_score_too_large_to_train_on_is_refused(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    with pytest.raises(DataError):
        encode(tokenizer, [0.5, 1e300], SCORES)


def test_several_labels_a_row_are_refused(tokenizer: PreTrainedTokenizerBase) -> None:
    with pytest.raises(DataError):
        encode(tokenizer, [[0], [1]])


@pytest.mark.parametrize("bad", [None, 3, ["good"]], ids=repr)
def test_what_is_no_text_is_named_with_its_column(
    tokenizer: PreTrainedTokenizerBase, bad: object
) -> None:
    given = rows(
        [bad, bad] if not isinstance(bad, type(None)) else ["good", None], [0, 1]
    )
    with pytest.raises(
        DataError, match=r"column 'text' holds .*; expected text in every row"
    ):
        TextExamples(given, CLASSES, tokenizer, 16)


def test_a_missing_half_of_a_pair_is_named_with_its_column(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    given = Dataset.from_dict(
        {"first": ["good", "bad"], "second": ["film", None], "label": [0, 1]}
    )
    with pytest.raises(DataError, match="column 'second' holds None"):
        TextExamples(given, PAIRS, tokenizer, 16)


# specs


def test_classes_are_inferred_from_whole_numbers() -> None:
    spec = infer_spec(rows(["x"] * 4, [0, 2, 1, 0]), ("text",), "label", ())
    assert spec == TextSpec(("text",), ("0", "1", "2"), ("accuracy",))
    assert not spec.regression


def test_a_score_is_inferred_from_floats() -> None:
    spec = infer_spec(rows(["x"] * 2, [0.0, 1.0]), ("text",), "label", ())
    assert spec.regression
    assert spec.metrics == ("pearson", "spearman")


def test_names_of_classes_are_taken_from_the_data_where_it_has_them() -> None:
    features = Features(
        {"text": Value("string"), "tag": ClassLabel(names=["ham", "spam"])}
    )
    given = Dataset.from_dict({"text": ["x", "y"], "tag": [1, 1]}, features=features)
    assert infer_spec(given, ("text",), "tag", ()).labels == ("ham", "spam")


def test_names_of_classes_survive_a_parquet_file(tmp_path: Path) -> None:
    features = Features(
        {"text": Value("string"), "label": ClassLabel(names=["ham", "spam"])}
    )
    given = Dataset.from_dict(
        {"text": ["x"] * 4, "label": [1, 0, 1, 0]}, features=features
    )
    for name in ("train", "validation"):
        given.to_parquet(tmp_path / f"{name}.parquet")
    train = splits(tmp_path, None, validation=0.5, limit=None).train
    assert infer_spec(train, ("text",), "label", ()).labels == ("ham", "spam")


def test_columns_label_and_metrics_are_those_asked_for() -> None:
    given = Dataset.from_dict({"a": ["x"], "b": ["y"], "tag": [1]})
    spec = infer_spec(given, ("a", "b"), "tag", ("f1", "accuracy"))
    assert (spec.columns, spec.label, spec.metrics, spec.hub) == (
        ("a", "b"),
        "tag",
        ("f1", "accuracy"),
        None,
    )


@pytest.mark.parametrize("labels", [["good", "bad"], [None, 1]], ids=str)
def test_labels_that_are_neither_classes_nor_scores_are_refused(
    labels: list[Any],
) -> None:
    with pytest.raises(DataError, match="column 'label' holds"):
        infer_spec(rows(["x"] * 2, labels), ("text",), "label", ())


def test_a_wrong_label_column_is_met_with_the_nearest() -> None:
    with pytest.raises(DataError, match="did you mean 'label'"):
        infer_spec(rows(["x"], [0]), ("text",), "labels", ())


@pytest.mark.parametrize("labels", [[1, None], [0.5, None]], ids=str)
def test_the_label_that_is_at_fault_is_the_one_shown(labels: list[Any]) -> None:
    with pytest.raises(DataError, match="holds None"):
        infer_spec(rows(["x"] * 2, labels), ("text",), "label", ())


@pytest.mark.parametrize("labels", [[-1, -1], []], ids=["hidden labels", "no rows"])
def test_labels_that_name_no_class_do_not_turn_into_scores(labels: list[int]) -> None:
    features = Features({"text": Value("string"), "label": Value("int64")})
    given = Dataset.from_dict(
        {"text": ["x"] * len(labels), "label": labels}, features=features
    )
    with pytest.raises(DataError):
        infer_spec(given, ("text",), "label", ())


def test_the_nine_glue_tasks_are_those_of_the_benchmark() -> None:
    """Class numbers as in the hub's nyu-mll/glue; metrics as in the GLUE paper's table."""
    wanted = {
        "cola": (1, 2, "matthews"),
        "sst2": (1, 2, "accuracy"),
        "mrpc": (2, 2, "accuracy"),
        "qqp": (2, 2, "accuracy"),
        "stsb": (2, 0, "pearson"),
        "mnli": (2, 3, "accuracy"),
        "qnli": (2, 2, "accuracy"),
        "rte": (2, 2, "accuracy"),
        "wnli": (2, 2, "accuracy"),
    }
    assert {
        name.removeprefix("glue/"): (len(s.columns), len(s.labels), s.metrics[0])
        for name, s in GLUE_TASKS.items()
    } == wanted
    assert {name for name, spec in GLUE_TASKS.items() if spec.regression} == {"glue/stsb"}
    for name in ("mnli", "qnli", "rte"):
        assert GLUE_TASKS[f"glue/{name}"].labels[0] == "entailment"
    assert GLUE_TASKS["glue/wnli"].labels[1] == "entailment"
    assert GLUE_TASKS["glue/cola"].labels[1] == "acceptable"
    assert all(
        spec.hub == ("nyu-mll/glue", name.removeprefix("glue/"))
        for name, spec in GLUE_TASKS.items()
    )
