"""CLIP: the tower trains, the zero-shot head does not, and pruned weights stay zero."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoTokenizer, CLIPModel, CLIPVisionConfig, CLIPVisionModel

import instant_soup as soup
from instant_soup.core.errors import DataError, MissingExtra
from instant_soup.core.rounding import rounding_of
from instant_soup.core.task import Base
from instant_soup.models import clip, tiny
from instant_soup.models.classifier import loss, predict
from instant_soup.models.vision import scope_of
from instant_soup.training.course import Course
from instant_soup.training.learner import ModuleLearner
from instant_soup.training.metrics import figures

PROMPTS = [["a red film", "red"], ["a blue film", "blue"], ["green"]]
ONE = torch.tensor(1.0)


@pytest.fixture(scope="module")
def whole(tiny_clip: Path) -> CLIPModel:
    return CLIPModel.from_pretrained(tiny_clip)


@pytest.fixture
def tower() -> nn.Module:
    return tiny.attention_tower()


# the scope


def test_the_scope_of_vit_b_32_is_its_attention_and_mlp_matrices() -> None:
    with torch.device("meta"):
        tower = clip.Tower(
            CLIPVisionModel(CLIPVisionConfig()), nn.Linear(768, 512, bias=False)
        )
        scope = scope_of(
            clip.Classifier(tower, torch.empty(10, 512), torch.tensor(1.0)), "ViT-B/32"
        )
    assert scope.size == 84_934_656 == 12 * (4 * 768 * 768 + 2 * 768 * 3072)
    kinds = {name.partition("layers.")[2].partition(".")[2] for name in scope}
    attention = {f"self_attn.{part}_proj.weight" for part in ("q", "k", "v", "out")}
    assert kinds == attention | {"mlp.fc1.weight", "mlp.fc2.weight"}


def test_a_fused_projection_is_in_scope_whole(tower: nn.Module) -> None:
    scope = scope_of(clip.Classifier(tower, torch.zeros(3, 16), ONE), "open_clip")
    kinds = {name.removeprefix("visual.transformer.resblocks.")[2:] for name in scope}
    assert kinds == {
        "attn.in_proj_weight",
        "attn.out_proj.weight",
        "mlp.c_fc.weight",
        "mlp.c_proj.weight",
    }
    assert scope.size == 2 * (4 * 32 * 32 + 2 * 32 * 64)


@pytest.mark.shared
def test_the_scope_of_the_small_clip(shared: Path) -> None:
    got = clip.load(str(shared / "models" / "mini-clip"), prompts=PROMPTS)
    assert got.scope.size == 4_718_592
    assert got.fresh == frozenset()


# the head


def test_logits_are_those_of_clip_itself(tiny_clip: Path, whole: CLIPModel) -> None:
    got, pixels = (
        clip.load(str(tiny_clip), prompts=[["a red film"], ["b"]]),
        torch.randn(4, 3, 16, 16),
    )
    tokens = AutoTokenizer.from_pretrained(tiny_clip)(
        ["a red film", "b"], padding=True, return_tensors="pt"
    )
    with torch.no_grad():
        wanted = whole(**tokens, pixel_values=pixels).logits_per_image
        torch.testing.assert_close(
            got.model(pixels).logits, wanted, rtol=0, atol=rounding_of(whole, wanted)
        )


def test_a_class_is_the_mean_direction_of_its_sentences(
    tiny_clip: Path, whole: CLIPModel
) -> None:
    head = clip.load(str(tiny_clip), prompts=PROMPTS).model.head
    assert head.shape == (3, 16)
    assert torch.allclose(head.norm(dim=1), torch.ones(3))
    tokenizer, each = AutoTokenizer.from_pretrained(tiny_clip), []
    for sentence in PROMPTS[0]:
        with torch.no_grad():
            found = whole.get_text_features(
                **tokenizer(sentence, return_tensors="pt")
            ).pooler_output[0]
        each.append(found / found.norm())
    wanted = F.normalize(each[0] + each[1], dim=0)
    torch.testing.assert_close(head[0], wanted, rtol=0, atol=rounding_of(whole, wanted))


def test_long_sentences_count_once_however_long_they_are() -> None:
    def embed(sentences: Sequence[str]) -> Tensor:
        return torch.tensor(
            [[100.0, 0.0] if sentence == "long" else [0.0, 1.0] for sentence in sentences]
        )

    assert torch.allclose(
        clip.zero_shot_head(embed, [["long", "short"]]), torch.full((1, 2), 0.5**0.5)
    )


def test_only_the_tower_is_trained_and_the_text_tower_is_gone(
    tiny_clip: Path, whole: CLIPModel
) -> None:
    got = clip.load(str(tiny_clip), prompts=PROMPTS)
    trained = {name for name, p in got.model.named_parameters() if p.requires_grad}
    seen = {
        f"visual.{name}"
        for name, _ in whole.named_parameters()
        if name.startswith(("vision", "visual"))
    }
    assert trained == seen == {name for name, _ in got.model.named_parameters()}
    assert not any("text" in name for name, _ in got.model.named_modules())
    assert set(got.model.state_dict()) == seen
    assert got.fresh == frozenset()
    assert not got.model.head.requires_grad
    assert float(got.model.scale) == pytest.approx(whole.logit_scale.exp().item())


def test_cosines_are_not_rounded_to_bfloat16() -> None:
    head = F.normalize(torch.randn(3, 16), dim=1)
    model, pixels = (
        clip.Classifier(nn.Flatten(), head, torch.tensor(100.0)),
        torch.randn(5, 16),
    )
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(pixels).logits
    assert torch.allclose(logits, 100 * F.normalize(pixels, dim=1) @ head.T, atol=1e-3)


def test_one_checkpoint_has_one_digest_whatever_the_classes(
    tiny_clip: Path, tmp_path: Path
) -> None:
    first, other = (
        clip.load(str(tiny_clip), prompts=prompts).base
        for prompts in (PROMPTS, PROMPTS[:2])
    )
    assert first == other
    assert (
        clip.load(str(tiny.clip(tmp_path, seed=1)), prompts=PROMPTS).base.digest
        != first.digest
    )


# loading


def test_what_is_a_clip_is_read_from_its_configuration(
    tiny_clip: Path, tiny_vit: Path
) -> None:
    assert clip.is_clip(str(tiny_clip))
    assert not clip.is_clip(str(tiny_vit))
    assert clip.is_clip("open_clip:ViT-B-32/openai")
    with pytest.raises(
        DataError,
        match=r"could not load model '/nowhere' \(.*\); give a folder with config\.json",
    ):
        clip.is_clip("/nowhere")


def test_half_a_checkpoint_is_refused(
    tiny_clip: Path, tmp_path: Path, whole: CLIPModel
) -> None:
    for path in tiny_clip.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    tower = {
        name: tensor
        for name, tensor in whole.state_dict().items()
        if not name.startswith("text_model")
    }
    whole.save_pretrained(tmp_path, state_dict=tower)
    with pytest.raises(
        DataError, match=r"lacks text_model\..*, with both towers of CLIP"
    ):
        clip.load(str(tmp_path), prompts=PROMPTS)


def test_a_clip_without_a_tokenizer_or_preprocessor_is_refused(
    tiny_clip: Path, tmp_path: Path
) -> None:
    for path in tiny_clip.iterdir():
        if path.name != "preprocessor_config.json":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(DataError, match=r"holds no preprocessor_config\.json; copy it"):
        clip.load(str(tmp_path), prompts=PROMPTS)


# open_clip


class FakeOpenClip:
    """As much of open_clip as is asked for."""

    def __init__(self, visual: nn.Module, **preprocess: object) -> None:
        self.asked: list[object] = []
        visual.preprocess_cfg = {
            "size": (16, 16), "mean": (0.5, 0.4, 0.3), "std": (0.1, 0.2, 0.3),
            "interpolation": "bicubic", "resize_mode": "shortest",
        } | preprocess  # fmt: skip
        self._visual = visual

    def create_model(self, architecture: str, **how: object) -> SimpleNamespace:
        self.asked.append((architecture, how))
        if architecture != "ViT-B-32":
            raise RuntimeError(
                f"Model config for {architecture!r} not found in built-ins. Available: {'x, ' * 1000}"
            )
        return SimpleNamespace(
            visual=self._visual,
            encode_text=lambda tokens: F.one_hot(tokens, 16).float(),
            logit_scale=nn.Parameter(torch.tensor(2.0)),
        )

    def get_tokenizer(self, architecture: str) -> object:
        self.asked.append(architecture)
        return lambda sentences: torch.tensor([len(sentence) for sentence in sentences])


def test_a_model_of_open_clip_is_loaded_by_architecture_and_weights(
    monkeypatch: pytest.MonkeyPatch, tower: nn.Module
) -> None:
    fake = FakeOpenClip(tower)
    monkeypatch.setitem(sys.modules, "open_clip", fake)
    got = clip.load("open_clip:ViT-B-32/some/where.pt", prompts=[["a", "abc"], ["ab"]])
    how = {"pretrained": "some/where.pt", "precision": "fp32", "require_pretrained": True}
    assert fake.asked == [("ViT-B-32", how), "ViT-B-32"]
    assert got.base.name == "open_clip:ViT-B-32/some/where.pt"
    assert got.scope.size == 2 * (4 * 32 * 32 + 2 * 32 * 64)
    head = torch.zeros(2, 16)
    head[0, 1] = head[0, 3] = 0.5**0.5
    head[1, 2] = 1
    assert torch.allclose(got.model.head, head)
    assert float(got.model.scale) == pytest.approx(torch.tensor(2.0).exp().item())
    pixels = got.processor(
        images=Image.new("RGB", (40, 20), (51, 51, 51)), return_tensors="pt"
    )["pixel_values"]
    assert pixels.shape == (1, 3, 16, 16)
    assert torch.allclose(
        pixels[0, :, 3, 3], torch.tensor([-3.0, -1.0, -1 / 3]), atol=1e-5
    )


def test_open_clip_may_squash_and_may_not_do_what_is_not_known(
    monkeypatch: pytest.MonkeyPatch, tower: nn.Module
) -> None:
    monkeypatch.setitem(
        sys.modules, "open_clip", FakeOpenClip(tower, size=16, resize_mode="squash")
    )
    assert (
        clip.load("open_clip:ViT-B-32/x", prompts=PROMPTS).processor.size["width"] == 16
    )
    monkeypatch.setitem(
        sys.modules, "open_clip", FakeOpenClip(tower, resize_mode="longest")
    )
    with pytest.raises(
        DataError,
        match=r"resizes images by 'longest' to 16 x 16; expected shortest or squash",
    ):
        clip.load("open_clip:ViT-B-32/x", prompts=PROMPTS)


def test_a_missing_open_clip_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(
        MissingExtra,
        match=r"needs open_clip .*; install it with: pip install 'instant-soup\[open-clip\]'",
    ):
        clip.load("open_clip:ViT-B-32/openai", prompts=PROMPTS)


@pytest.mark.parametrize(
    "name",
    ["open_clip:", "open_clip:ViT-B-32", "open_clip:ViT-B-32/", "open_clip:/openai"],
)
def test_half_a_name_of_open_clip_is_refused(name: str) -> None:
    with pytest.raises(
        DataError, match="is incomplete; expected open_clip:ARCHITECTURE/PRETRAINED"
    ):
        clip.load(name, prompts=PROMPTS)


def test_what_open_clip_does_not_know_is_one_short_line(
    monkeypatch: pytest.MonkeyPatch, tower: nn.Module
) -> None:
    monkeypatch.setitem(sys.modules, "open_clip", FakeOpenClip(tower))
    with pytest.raises(
        DataError,
        match=r"could not load model 'open_clip:ViT-Q/x' \(Model config.* \.\.\.\)",
    ) as caught:
        clip.load("open_clip:ViT-Q/x", prompts=PROMPTS)
    assert len(str(caught.value)) < 600


def test_the_real_open_clip_gives_its_own_logits(tmp_path: Path) -> None:
    open_clip = pytest.importorskip(
        "open_clip", reason="open_clip is an extra", exc_type=ImportError
    )
    whole = open_clip.create_model("ViT-B-32", pretrained=None, load_weights=False).eval()
    torch.save(whole.state_dict(), tmp_path / "weights.pt")
    got = clip.load(
        f"open_clip:ViT-B-32/{tmp_path / 'weights.pt'}", prompts=[["a cat"], ["a dog"]]
    )
    assert got.scope.size == 84_934_656
    pixels, tokens = (
        torch.randn(2, 3, 224, 224),
        open_clip.get_tokenizer("ViT-B-32")(["a cat", "a dog"]),
    )
    with torch.no_grad():
        wanted = whole.get_logits(pixels, tokens)[0]
        torch.testing.assert_close(
            got.model.eval()(pixels).logits,
            wanted,
            rtol=0,
            atol=rounding_of(whole, wanted),
        )


# training


class Colours:
    """Noise, a little red, green or blue, as tensors."""

    lengths: Sequence[int] | None = None

    def __init__(self, count: int) -> None:
        dice = torch.Generator().manual_seed(count)
        self.targets = torch.arange(count) % 3
        self._pixels = torch.randn(count, 3, 16, 16, generator=dice)
        self._pixels[torch.arange(count), self.targets] += 1

    def __len__(self) -> int:
        return len(self.targets)

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        return {
            "pixel_values": self._pixels[list(indices)],
            "labels": self.targets[list(indices)],
        }


@pytest.fixture
def learner(tower: nn.Module, quick_regime: soup.Regime) -> ModuleLearner:
    model = clip.Classifier(
        tower, F.normalize(torch.eye(3, 16), dim=1), torch.tensor(10.0)
    )
    scope = scope_of(model, "tower")
    course = Course(
        "colours", model, scope, Base("tower", ""), frozenset(), Colours(96), Colours(33), Colours(36),
        predict, loss, figures(["accuracy"]),
    )  # fmt: skip
    return ModuleLearner(course, quick_regime, soup.Meter())


def test_attention_of_torch_trains_under_a_mask(learner: ModuleLearner) -> None:
    """Where hooks on modules fail: MultiheadAttention never calls its out_proj, and has a fused path."""
    learner.apply_mask(
        soup.prune(
            {name: w.abs() for name, w in learner.view().items()}, learner.mask, 0.6
        )
    )
    before, head = learner.weights(), learner._model.module.head.clone()
    learner.train(6)
    after = learner.view()
    for name in learner.scope:
        dead = learner.mask[name] == 0
        assert dead.any(), name
        assert torch.equal(
            after[name][dead].view(torch.int32),
            torch.zeros(int(dead.sum()), dtype=torch.int32),
        ), name
        assert (after[name] != before[name])[~dead].float().mean() > 0.9, name
    assert torch.equal(learner._model.module.head, head)
    assert learner.mask.kept == round(0.4 * learner.scope.size)


def test_evaluation_sees_the_weights_that_training_sees(learner: ModuleLearner) -> None:
    learner.apply_mask(
        soup.prune(
            {name: w.abs() for name, w in learner.view().items()}, learner.mask, 0.6
        )
    )
    learner.train(6)
    batch, module = Colours(8).batch(range(8)), learner._model.module
    trained = predict(module.train(), batch)[0].detach()
    with torch.inference_mode():
        evaluated = predict(module.eval(), batch)[0]
        torch.testing.assert_close(
            evaluated, trained, rtol=0, atol=rounding_of(module, trained)
        )


def test_a_tower_of_torch_attention_learns(learner: ModuleLearner) -> None:
    before = learner.evaluate()
    learner.train(12)
    assert learner.evaluate() > max(0.8, before)
