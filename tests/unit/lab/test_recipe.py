"""Recipe: TOML in, content key out, and a plain word for everything that is wrong."""

from __future__ import annotations

import math
import tomllib
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from instant_soup.core.errors import RecipeError
from instant_soup.lab.recipe import DRAWN, DataSettings, Recipe, TaskSettings
from instant_soup.methods import Gradual, InstantSoup
from instant_soup.training.regime import Regime

PLAIN: dict[str, Any] = {"task": {"name": "glue/cola"}, "method": {"name": "instant-soup"}, "sparsity": 0.5}


def made(changes: dict[str, Any] | None = None, **tables: Any) -> Recipe:
    return Recipe.parse(fields(changes, **tables))


def fields(changes: dict[str, Any] | None = None, **tables: Any) -> dict[str, Any]:
    """The plain recipe with dotted *changes*."""
    whole = {**deepcopy(PLAIN), **tables}
    for path, value in (changes or {}).items():
        *parents, last = path.split(".")
        table = whole
        for parent in parents:
            table = table.setdefault(parent, {})
        table[last] = value
    return whole


def written(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


# the key

CHANGES: dict[str, Any] = {
    "sparsity": 0.6,
    "budget": 2.0,
    "seed": 1,
    "control": "layers",
    "task.name": "glue/sst2",
    "task.kind": "text",
    "task.model": "other",
    "task.pooler": True,
    "task.columns": ["a"],
    "task.label": "other",
    "task.metrics": ["f1"],
    "data.folder": "somewhere",
    "data.limit": 100,
    "data.validation": 0.2,
    "data.max_length": 64,
    "training.rate": 1e-3,
    "training.weight_decay": 0.1,
    "training.batch": 16,
    "training.accumulation": 2,
    "training.epochs": 4.0,
    "training.steps": 10,
    "training.warmup": 0.1,
    "training.clip": 2.0,
    "training.precision": "float32",
    "method.name": "gradual",
}
IMAGES: dict[str, Any] = {"task": {"name": "vision/mnist", "model": "clip"}}
IMAGE_CHANGES: dict[str, Any] = {"task.classes": ["zero", "one"], "task.templates": ["a {}."]}
KNOBS: dict[str, dict[str, Any]] = {
    "instant-soup": {
        "denoisers": 5,
        "lookahead_steps": 31,
        "compression": 0.2,
        "share": "geometric",
        "mask_share": 0.3,
        "round_steps": 3,
        "round_epochs": 0.2,
        "blend": "union",
        "own_mask": False,
        "carry": "mean",
        "finish": "restart",
        "carry_optimizer": True,
        "lookahead_warmup": 5,
        "settled": 0.01,
        "rate": [1.0, 2.0],
        "weight_decay": [0.0, 0.2],
        "label_smoothing": [0.0, 0.1],
        "subset": [0.5, 1.0],
        "across": "layer",
    },
    "gradual": {"rounds": 11, "mask_share": 0.6, "schedule": "cubic", "across": "layer"},
    "magnitude": {"across": "layer"},
    "random": {"across": "layer"},
    "early-bird": {
        "check": 0.2,
        "queue": 4,
        "epsilon": 0.2,
        "mask_share": 0.6,
        "finish": "continue",
        "across": "layer",
    },
    "snip": {"per_class": 11, "across": "layer", "allow_collapse": True},
    "grasp": {"per_class": 11, "temperature": 2.0, "absolute": True, "across": "layer", "allow_collapse": True},
    "lth": {"compression": 0.2, "share": "geometric", "rewind_head": True, "across": "layer"},
    "lth-rewind": {"rewind": 0.1, "compression": 0.2, "share": "geometric", "rewind_head": True, "across": "layer"},
    "lottery-pools": {
        "coefficients": [0.5],
        "beyond": 1,
        "rewind": 0.1,
        "compression": 0.2,
        "share": "geometric",
        "rewind_head": True,
        "across": "layer",
    },
    "instant-model-soup": {
        "ingredients": 5,
        "lookahead_steps": 50,
        "sparsities": [0.2, 0.3],
        "grid": 5,
        "rate": [1.0, 2.0],
        "weight_decay": [0.0, 0.2],
        "label_smoothing": [0.0, 0.1],
        "subset": [0.5, 1.0],
        "across": "layer",
    },
    "model-soup": {
        "average": "uniform",
        "ingredients": 3,
        "rate": [1.0, 2.0],
        "weight_decay": [0.0, 0.2],
        "label_smoothing": [0.0, 0.2],
        "subset": [0.5, 1.0],
        "across": "layer",
    },
    "dense": {},
}
# knobs that do not go together: each is changed alone, and no recipe has both
APART = {"instant-soup": {"round_epochs", "settled"}}


def plain(name: str) -> dict[str, Any]:
    return {**PLAIN, "method": {"name": name}, "sparsity": 0.0 if name == "dense" else 0.5}


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("random", "d02866507a393a57dd302e9402da57fddf8f08bec4348c462f142123a2e4aa76"),
        ("magnitude", "921bacdf8caa78ba07ebc690f96c21f560cffd557199ecd1eb43741edeb243b9"),
        ("gradual", "2c43b28c761c9b8d79f9f43e04503f1aaa48aa8c44767daf978464daec33e6dd"),
        ("early-bird", "a10ed0c72fa6d807845e796671a86c8cc4fd1feb96fae8b3fff83fb14f05ccf6"),
        ("snip", "eeff8a319bca0b8291213b3668198b8848cc3f6fbd8fbcbbf7cffb3b90c7dd0a"),
        ("grasp", "cd0baaf942efb042cfea3477db354ea1590ef256d439b5ee2ff9d08d5e4abda4"),
        ("lth", "bd751f0e3fd8f3c54f520be0d409055e2e960853a84d925ad166ec1a9dfb2d8d"),
        ("lth-rewind", "d4ad747d72722cf1ca7aca8f2813580011f147657b6bdbfe528ab5c3f3b9ad86"),
        ("lottery-pools", "54a9556a9e785f1a19099f7216b591ea0aa20e60042ac933ed2c0c82d7a7106a"),
        ("instant-soup", "8ef01e70ae1f214d0d4b3af6099b2507a6c6893d741d9c654015f8a33ff079b3"),
        ("instant-model-soup", "b399a1be3a09961b0e71513dd8d5b4e3841c731a82f0afb5def7664033eeba3a"),
        ("model-soup", "bbae793b7369f3185891cd04363be88f7e5dcc9d8fc7368fa2f6be8a69910b3a"),
        ("dense", "b77a165893e324c7cb2d6d4428b5759f434cd9bc082a96c29bf9d59c462225e5"),
    ],
)
def test_the_key_of_a_recipe_is_frozen(name: str, key: str) -> None:
    """A changed default, a new field or another way to hash makes every earlier run unfindable."""
    assert Recipe.parse(plain(name)).key == key


def test_every_field_there_is_has_a_change_to_try() -> None:
    """A new field must join the table above, and with it the test below."""
    tables = {"task": TaskSettings, "data": DataSettings, "training": Regime}
    there = {f"{table}.{name}" for table, model in tables.items() for name in model.model_fields}
    there |= {name for name in Recipe.model_fields if name not in (*tables, "method")} | {"method.name"}
    assert set(CHANGES) | set(IMAGE_CHANGES) == there
    assert {name: set(knobs) for name, knobs in KNOBS.items()} == {n: set(v.knobs) for n, v in DRAWN.items()}


def test_every_field_changes_the_key() -> None:
    keys = {path: made({path: value}).key for path, value in CHANGES.items()}
    assert len({made().key, *keys.values()}) == 1 + len(CHANGES)


def test_every_field_of_images_changes_the_key() -> None:
    keys = {made({path: value}, **deepcopy(IMAGES)).key for path, value in IMAGE_CHANGES.items()}
    assert len({made(**IMAGES).key, *keys}) == 1 + len(IMAGE_CHANGES)


@pytest.mark.parametrize("name", KNOBS)
def test_every_knob_of_a_method_changes_the_key(name: str) -> None:
    def key(**knobs: Any) -> str:
        return Recipe.parse({**plain(name), "method": {"name": name, **knobs}}).key

    assert len({key(), *(key(**{knob: value}) for knob, value in KNOBS[name].items())}) == 1 + len(KNOBS[name])


@pytest.mark.parametrize("name", KNOBS)
def test_defaults_spelled_out_give_the_same_key(name: str) -> None:
    recipe = Recipe.parse(plain(name))
    assert Recipe.parse(recipe.model_dump(mode="json")).key == recipe.key
    assert recipe.method.keys() == {"name", *DRAWN[name].knobs}


def test_how_a_number_is_written_makes_no_difference() -> None:
    assert made({"budget": 1, "training.epochs": 3, "method.rate": [1, 3]}).key == made().key


def test_the_order_of_fields_makes_no_difference() -> None:
    assert (
        Recipe.parse(dict(reversed(fields({"seed": 3, "data.limit": 9}).items()))).key
        == made({"data.limit": 9, "seed": 3}).key
    )


def test_parsing_leaves_what_it_is_given_alone() -> None:
    given = fields()
    Recipe.parse(given)
    assert given == PLAIN


def test_a_recipe_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        made().seed = 3  # type: ignore[misc]


def test_the_method_of_a_recipe_cannot_be_changed() -> None:
    recipe = made()
    key = recipe.key
    try:
        recipe.method["denoisers"] = 99
    except TypeError:
        return
    assert recipe.key != key


# TOML


@pytest.mark.parametrize("name", KNOBS)
def test_a_recipe_written_as_toml_is_the_same_recipe(tmp_path: Path, name: str) -> None:
    knobs = {knob: value for knob, value in KNOBS[name].items() if knob not in APART.get(name, ())}
    recipe = Recipe.parse({**plain(name), "method": {"name": name, **knobs}, "seed": 7})
    again = Recipe.read(written(tmp_path, recipe.toml()))
    assert again.key == recipe.key
    assert again.model_dump() == recipe.model_dump()


@pytest.mark.parametrize("path", [path for path in CHANGES if path != "method.name"])
def test_no_field_is_lost_in_toml(tmp_path: Path, path: str) -> None:
    recipe = made({path: CHANGES[path]})
    assert Recipe.read(written(tmp_path, recipe.toml())).key == recipe.key


def test_training_without_clipping_is_not_lost_in_toml(tmp_path: Path) -> None:
    recipe = made({"training.clip": 0})
    assert Recipe.read(written(tmp_path, recipe.toml())).key == recipe.key


def test_toml_spells_out_the_defaults() -> None:
    there = tomllib.loads(made().toml())
    assert there["training"]["batch"] == 32
    assert there["method"]["denoisers"] == 4
    assert there["task"]["model"] == "packaged"


def test_a_file_is_read(tmp_path: Path) -> None:
    text = 'sparsity = 0.5\n[task]\nname = "glue/cola"\n[method]\nname = "instant-soup"\n'
    assert Recipe.read(written(tmp_path, text)).key == made().key
    assert Recipe.read(str(tmp_path / "recipe.toml")).key == made().key


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"no recipe at .*gone\.toml; check the path"):
        Recipe.read(tmp_path / "gone.toml")


@pytest.mark.parametrize("content", [b"sparsity = ", b"[task", b"\xff\xfe\x00", b"a = 1\na = 2"], ids=repr)
def test_a_file_that_is_not_toml_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "recipe.toml").write_bytes(content)
    with pytest.raises(RecipeError, match=r"recipe\.toml is not TOML"):
        Recipe.read(tmp_path / "recipe.toml")


def test_a_folder_is_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="directory"):
        Recipe.read(tmp_path)


def test_what_is_wrong_in_a_file_is_said_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"recipe\.toml: 'task' is missing"):
        Recipe.read(written(tmp_path, "sparsity = 0.5"))


# changes on top


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return written(tmp_path, made().toml())


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ("method.denoisers=8", {"method.denoisers": 8}),
        ("method.blend=union", {"method.blend": "union"}),
        ('method.blend = "union"', {"method.blend": "union"}),
        ("method.own_mask=false", {"method.own_mask": False}),
        ("method.rate=[1, 2]", {"method.rate": [1.0, 2.0]}),
        ("data.folder=/a/b=c", {"data.folder": "/a/b=c"}),
        ("data.limit=10", {"data.limit": 10}),
        ("training.rate=1e-3", {"training.rate": 1e-3}),
        ("training.precision=float32", {"training.precision": "float32"}),
        ("sparsity=0.75", {"sparsity": 0.75}),
        ("seed = 3", {"seed": 3}),
        ("task.name=glue/sst2", {"task.name": "glue/sst2"}),
        ('task.columns=["a", "b"]', {"task.columns": ["a", "b"]}),
    ],
)
def test_a_change_is_set_on_top_of_the_file(path: Path, change: str, wanted: dict[str, Any]) -> None:
    assert Recipe.read(path, [change]).key == made(wanted).key != made().key


def test_several_changes_are_set_in_turn(path: Path) -> None:
    got = Recipe.read(path, ["seed=1", "data.limit=10", "seed=2"])
    assert got.key == made({"seed": 2, "data.limit": 10}).key


@pytest.mark.parametrize("change", ["seed", "", "=5", " = 5"])
def test_a_change_that_is_no_assignment_is_shown_how(path: Path, change: str) -> None:
    with pytest.raises(RecipeError, match=r"is not key=value; write for example --set method\.denoisers=8"):
        Recipe.read(path, [change])


@pytest.mark.parametrize("change", ["seed.x=3", "task.name.x=3"])
def test_a_change_below_a_value_is_refused(path: Path, change: str) -> None:
    with pytest.raises(RecipeError, match="is no table"):
        Recipe.read(path, [change])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("method.denoiser=8", "did you mean 'denoisers'"),
        ("sead=1", "did you mean 'seed'"),
        ("trainin.rate=1", "did you mean 'training'"),
        ("seed=many", "seed is 'many'"),
        ("method.=1", "unknown knob"),
    ],
)
def test_a_change_is_checked_like_the_file(path: Path, change: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        Recipe.read(path, [change])


def test_a_change_of_more_than_one_line_is_refused(path: Path) -> None:
    with pytest.raises(RecipeError):
        Recipe.read(path, ["seed=1\nsparsity=0.9"])


# what is wrong


@pytest.mark.parametrize(
    ("field", "nearest"),
    [
        ("sparsty", "sparsity"),
        ("task.modle", "model"),
        ("data.fodler", "folder"),
        ("training.epoch", "epochs"),
        ("method.lookahead_step", "lookahead_steps"),
    ],
)
def test_an_unknown_key_is_met_with_the_nearest_at_every_level(field: str, nearest: str) -> None:
    with pytest.raises(RecipeError, match=f"unknown .*{field.rpartition('.')[2]}'; did you mean '{nearest}'"):
        made({field: 1})


def test_an_unknown_key_like_no_other_is_met_with_all_of_them() -> None:
    with pytest.raises(RecipeError, match="unknown key 'zzz'; known: budget, control, data, method, seed, sparsity"):
        made({"zzz": 1})


def test_an_unknown_method_is_met_with_the_nearest() -> None:
    with pytest.raises(RecipeError, match="unknown method 'instant-soop'; did you mean 'instant-soup'"):
        made({"method.name": "instant-soop"})


def test_a_method_without_a_name_is_met_with_all_of_them() -> None:
    with pytest.raises(RecipeError, match=r"known: dense, early-bird, gradual, grasp, .*, snip"):
        made(method={"denoisers": 4})


def test_a_knob_of_another_method_is_unknown_to_this_one() -> None:
    with pytest.raises(RecipeError, match="unknown knob of gradual 'denoisers'"):
        made(method={"name": "gradual", "denoisers": 4})


def test_what_the_name_of_a_method_fixes_is_no_knob() -> None:
    with pytest.raises(RecipeError, match="unknown knob of magnitude 'score'"):
        made(method={"name": "magnitude", "score": "random"})


def test_an_unknown_task_is_met_with_the_nearest_unless_it_has_columns() -> None:
    with pytest.raises(RecipeError, match="unknown task 'glue/colla'; did you mean 'glue/cola'"):
        made({"task.name": "glue/colla"})
    assert made({"task.name": "glue/colla", "task.columns": ["text"]}).task.name == "glue/colla"


@pytest.mark.parametrize("table", ["task", "method"])
def test_a_missing_table_is_asked_for(table: str) -> None:
    without = fields()
    del without[table]
    with pytest.raises(RecipeError, match=f"'{table}' is missing; add a table"):
        Recipe.parse(without)


def test_a_missing_value_is_asked_for() -> None:
    with pytest.raises(RecipeError, match=r"'task\.name' is missing; set it"):
        made(task={})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed": -1}, "seed is -1"),
        ({"seed": 1.5}, "seed is 1.5"),
        ({"sparsity": "half"}, "sparsity is 'half'"),
        ({"sparsity": 1.0}, "sparsity is 1.0"),
        ({"sparsity": -0.1}, "sparsity is -0.1"),
        ({"sparsity": math.nan}, "sparsity is nan"),
        ({"budget": 0}, "budget is 0"),
        ({"data.limit": 1}, "data.limit is 1"),
        ({"data.validation": 0}, "data.validation is 0"),
        ({"data.max_length": 3}, "data.max_length is 3"),
        ({"training.batch": 0}, "training.batch is 0"),
        ({"training.precision": "float16"}, "training.precision is 'float16'"),
        ({"method.denoisers": "many"}, "method.denoisers is 'many'"),
        ({"method.denoisers": -1}, "denoisers is -1"),
        ({"method.across": "layers"}, "method.across is 'layers'"),
        ({"method.blend": "vote"}, "did you mean 'votes'"),
        ({"method.rate": [3.0, 1.0]}, "rate range is"),
        ({"method.rate": [1.0, 2.0, 3.0]}, "method.rate is"),
        ({"method": "instant-soup"}, "method is 'instant-soup'"),
        ({"task": "glue/cola"}, "task is 'glue/cola'"),
    ],
    ids=str,
)
def test_a_value_that_cannot_work_is_named_in_one_line(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=rf"^recipe: [^\n]*{said}[^\n]*$"):
        made(changes)


@pytest.mark.parametrize("name", [["instant-soup"], {"is": "instant-soup"}], ids=str)
def test_a_method_whose_name_is_no_text_is_refused(name: object) -> None:
    with pytest.raises(RecipeError):
        made({"method.name": name})


@pytest.mark.parametrize("field", ["training.epochs", "training.rate", "budget"])
def test_an_infinite_figure_is_refused(field: str) -> None:
    with pytest.raises(RecipeError, match=field):
        made({field: math.inf})


# sense


def test_dense_prunes_nothing() -> None:
    assert made({"method.name": "dense", "sparsity": 0}).sparsity == 0
    with pytest.raises(RecipeError, match=r"sparsity is 0\.5; expected 0, because method 'dense' prunes nothing"):
        made({"method.name": "dense"})


@pytest.mark.parametrize("name", [name for name in KNOBS if not DRAWN[name].dense])
def test_a_method_that_prunes_is_told_how_much(name: str) -> None:
    with pytest.raises(RecipeError, match="sparsity is 0; expected a share between 0 and 1"):
        made({"method.name": name, "sparsity": 0})


@pytest.mark.parametrize(
    "method", [{"name": "gradual"}, {"name": "instant-soup", "finish": "continue"}], ids=lambda method: method["name"]
)
def test_a_method_that_trains_inside_the_budget_takes_no_other(method: dict[str, Any]) -> None:
    assert made(method=method).budget == 1
    with pytest.raises(RecipeError, match=r"budget is 2 and .* trains its ticket inside T; change training\.epochs"):
        made({"budget": 2}, method=method)


def test_the_method_is_made_with_its_knobs() -> None:
    assert made({"method.denoisers": 7, "method.rate": [1, 2]}).make_method() == InstantSoup(
        denoisers=7, rate=(1.0, 2.0)
    )
    assert made(method={"name": "gradual", "rounds": 3}).make_method() == Gradual(rounds=3)


def test_the_label_is_short_and_says_what_it_is() -> None:
    assert made({"seed": 3}).label == "glue/cola instant-soup 50% seed 3"


def test_every_table_refuses_what_it_does_not_know() -> None:
    for model in (Recipe, TaskSettings, DataSettings, Regime):
        assert issubclass(model, BaseModel)
        assert (model.model_config["extra"], model.model_config["frozen"]) == ("forbid", True)
