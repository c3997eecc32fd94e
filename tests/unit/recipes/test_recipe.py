"""Recipe: TOML in, content key out, and a plain word for everything that is wrong."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from instant_soup.core.errors import RecipeError
from instant_soup.methods import Gradual, InstantSoup
from instant_soup.recipes.grid import expand
from instant_soup.recipes.recipe import DRAWN, DataSettings, Recipe, TaskSettings
from instant_soup.soup.denoiser import Protocols
from instant_soup.training.regime import Regime

PLAIN: dict[str, Any] = {
    "task": {"name": "glue/cola"},
    "method": {"name": "instant-soup"},
    "sparsity": 0.5,
}


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
    "task.model": "other",
    "task.pooler": True,
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
    "training.line": "flat",
    "training.tail": 0.2,
    "training.flat": 0.6,
    "training.clip": 2.0,
    "training.precision": "float32",
    "method.name": "gradual",
}
IMAGES: dict[str, Any] = {"task": {"name": "vision/mnist", "model": "clip"}}
IMAGE_CHANGES: dict[str, Any] = {
    "task.classes": ["zero", "one"],
    "task.templates": ["a {}."],
}
OWN: dict[str, Any] = {"task": {"name": "mine", "columns": ["text"]}}
OWN_CHANGES: dict[str, Any] = {
    "task.kind": "text",
    "task.columns": ["a"],
    "task.label": "other",
    "task.metrics": ["f1"],
}
LANGUAGE: dict[str, Any] = {"task": {"name": "mine", "kind": "language", "model": "gpt"}}
LANGUAGE_CHANGES: dict[str, Any] = {
    "data.test": "elsewhere",
    "data.window": 64,
    "data.windows": 8,
}
KNOBS: dict[str, dict[str, Any]] = {
    "instant-soup": {
        "denoisers": 5,
        "denoised_rounds": 2,
        "denoised_from": "first",
        "lookahead_steps": 31,
        "compression": 0.2,
        "share": "geometric",
        "rounds": 7,
        "mask_share": 0.3,
        "mask_start": 0.1,
        "spacing": "growing",
        "score": "magnitude",
        "progress": "all",
        "inside": True,
        "round_steps": 3,
        "round_epochs": 0.2,
        "blend": "union",
        "own_mask": False,
        "carry": "none",
        "finish": "restart",
        "carry_optimizer": False,
        "lookahead_warmup": 5,
        "settled": 0.01,
        "protocols": {"rate": [1.0, 2.0], "subsets": "disjoint"},
        "across": "layer",
        "pattern": "2:4",
    },
    "gradual": {
        "rounds": 11,
        "mask_share": 0.6,
        "mask_start": 0.1,
        "schedule": "cubic",
        "score": "curved",
        "across": "layer",
        "pattern": "2:4",
    },
    "magnitude": {"across": "layer", "pattern": "2:4"},
    "random": {"across": "layer", "pattern": "2:4"},
    "early-bird": {
        "check": 0.2,
        "queue": 4,
        "epsilon": 0.2,
        "mask_share": 0.6,
        "finish": "continue",
        "score": "curved",
        "across": "layer",
        "pattern": "2:4",
    },
    "snip": {
        "per_class": 11,
        "across": "layer",
        "pattern": "2:4",
        "allow_collapse": True,
    },
    "grasp": {
        "per_class": 11,
        "temperature": 2.0,
        "absolute": True,
        "across": "layer",
        "pattern": "2:4",
        "allow_collapse": True,
    },
    "wanda": {"samples": 64, "across": "layer", "pattern": "2:4", "subsets": 4},
    "ria": {"samples": 64, "across": "row", "pattern": "2:4", "subsets": 4},
    "sparsegpt": {"samples": 64, "across": "layer", "pattern": "2:4"},
    "lth": {
        "compression": 0.2,
        "share": "geometric",
        "rounds": 3,
        "score": "curved",
        "rewind_head": True,
        "across": "layer",
        "pattern": "2:4",
    },
    "lth-rewind": {
        "rewind": 0.1,
        "compression": 0.2,
        "share": "geometric",
        "rounds": 3,
        "score": "curved",
        "rewind_head": True,
        "across": "layer",
        "pattern": "2:4",
    },
    "lottery-pools": {
        "coefficients": [0.5],
        "beyond": 1,
        "rewind": 0.1,
        "compression": 0.2,
        "share": "geometric",
        "rounds": 3,
        "score": "curved",
        "rewind_head": True,
        "across": "layer",
        "pattern": "2:4",
    },
    "instant-model-soup": {
        "ingredients": 5,
        "lookahead_steps": 50,
        "sparsities": [0.2, 0.3],
        "grid": 5,
        "protocols": {"rate": [1.0, 2.0], "subsets": "disjoint"},
        "across": "layer",
        "pattern": "2:4",
    },
    "model-soup": {
        "average": "uniform",
        "ingredients": 3,
        "protocols": {"rate": [1.0, 2.0]},
        "across": "layer",
        "pattern": "2:4",
    },
    "dense": {},
}
# knobs that do not go together: each is changed alone, and no recipe has both
APART = {
    "instant-soup": {"finish", "mask_start", "round_epochs"},
    "lottery-pools": {"pattern"},
}
# what a knob needs beside it
WITH = {"settled": {"carry": "none"}}


def plain(name: str) -> dict[str, Any]:
    return {
        **PLAIN,
        "method": {"name": name},
        "sparsity": 0.0 if name == "dense" else 0.5,
    }


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("random", "ce6217c87fef680f5c68fc14806974d4e696019aefff56e9d6b59cb5e3e65dab"),
        ("magnitude", "9dd1d5d3302e8801aa239f0ed22ea06a16406c8ca3ce91159f1d706859360f00"),
        ("gradual", "a7f45e80b6fee277c2225bb00e9fbd597f0dc1be857d11d90abba09606c6f204"),
        (
            "early-bird",
            "6b9752fa38e5895ebcfcb3d089ebd866e504f7808d2f126cc774466f0c83af5d",
        ),
        ("snip", "ed9ac33e6e17a009625d8d468e8d077a6cbcad395b3b35d28465ecf34d5ca982"),
        ("grasp", "c1836f331cb417b42f0125dce0c9bac71e0e38b196e6d0240c1425453d31d7d8"),
        ("lth", "7740e0be2f7f48722ca2540a52ae85ec01f65a83c1e20aa8c88d5265565ba72d"),
        (
            "lth-rewind",
            "9b066b84ff36b123dc1c692fc442b7ec4a7a491cbf837525eac211b5b8f0059a",
        ),
        (
            "lottery-pools",
            "8fe9ef471dd3c71df06af62df9f52d9874f68926f343ea4f7ac20bf3f8053d99",
        ),
        (
            "instant-soup",
            "17b8c32554974165b27a5120aa6fdc14361b88eaa343a3b56a9af4d65b730469",
        ),
        (
            "instant-model-soup",
            "b48940546a31195f1d1ea1316bbd95fe8c809cf8cdce6874a3efe4d7b65cf05e",
        ),
        (
            "model-soup",
            "4e9365f4f6b0bc4e50badfd5f0c99c81b07a757fffabf6caec00243d2a548bad",
        ),
        ("dense", "a9a2f43661013e231e297322b7c21afd26665e0b389891aed7fc4db690565a00"),
    ],
)
def test_the_key_of_a_recipe_is_frozen(name: str, key: str) -> None:
    """A changed default, a new field or another way to hash makes every earlier run unfindable."""
    assert Recipe.parse(plain(name)).key == key


def test_every_field_there_is_has_a_change_to_try() -> None:
    """A new field must join the table above, and with it the test below."""
    tables = {"task": TaskSettings, "data": DataSettings, "training": Regime}
    there = {
        f"{table}.{name}"
        for table, model in tables.items()
        for name in model.model_fields
    }
    there |= {
        name for name in Recipe.model_fields if name not in (*tables, "method", "run")
    } | {"method.name"}
    # where the work is done, which is in no key
    there -= {"training.device"}
    assert {*CHANGES, *OWN_CHANGES, *IMAGE_CHANGES, *LANGUAGE_CHANGES} == there
    assert {name: set(knobs) for name, knobs in KNOBS.items()} == {
        n: set(v.knobs) for n, v in DRAWN.items()
    }


def test_every_field_changes_the_key() -> None:
    keys = {path: made({path: value}).key for path, value in CHANGES.items()}
    assert len({made().key, *keys.values()}) == 1 + len(CHANGES)


def test_where_the_work_is_done_is_read_and_is_in_no_key_and_no_record() -> None:
    elsewhere = made({"run": {"engine": "ray", "workers": 8, "address": "10.0.0.7:6379"}})
    assert (elsewhere.run.engine, elsewhere.run.workers, elsewhere.run.address) == (
        "ray",
        8,
        "10.0.0.7:6379",
    )
    assert made().run.engine == "here"
    assert (elsewhere.key, elsewhere.task_key) == (made().key, made().task_key)
    assert "run" not in elsewhere.model_dump()

    on_a_gpu = made({"training.device": "cuda:1"})
    assert on_a_gpu.training.device == "cuda:1"
    for name in ("key", "task_key", "cost_key", "setting"):
        assert getattr(on_a_gpu, name) == getattr(made(), name)
    assert on_a_gpu.asked() == made().asked()
    assert on_a_gpu.toml() == made().toml()
    with pytest.raises(
        RecipeError, match=r"training\.device is 'gpu'; expected auto, cpu"
    ):
        made({"training.device": "gpu"})
    with pytest.raises(RecipeError, match="Ray gives each worker its devices"):
        made({"training.device": "cuda:1", "run": {"engine": "ray"}})
    with pytest.raises(
        RecipeError,
        match=r"run\.engine is 'rai'; input should be 'here', 'processes' or 'ray'",
    ):
        made({"run": {"engine": "rai"}})


@pytest.mark.parametrize(
    ("plain_fields", "changes"),
    [(OWN, OWN_CHANGES), (IMAGES, IMAGE_CHANGES), (LANGUAGE, LANGUAGE_CHANGES)],
    ids=["own", "images", "language"],
)
def test_every_field_of_some_examples_alone_changes_the_key(
    plain_fields: dict[str, Any], changes: dict[str, Any]
) -> None:
    keys = {
        made({path: value}, **deepcopy(plain_fields)).key
        for path, value in changes.items()
    }
    assert len({made(**deepcopy(plain_fields)).key, *keys}) == 1 + len(changes)


@pytest.mark.parametrize(
    ("plain_fields", "change", "value", "advice"),
    [
        ({}, "data.test", "my.csv", "train.csv and test.csv in one folder"),
        ({}, "data.window", 64, "max_length says how much of a text is read"),
        ({}, "data.windows", 8, "remove it"),
        (IMAGES, "data.test", "t", "as train/ and test/ in one folder"),
        (IMAGES, "data.max_length", 64, "remove it"),
        (IMAGES, "task.pooler", True, "remove it"),
        (IMAGES, "task.metrics", ["f1"], "remove it"),
        (LANGUAGE, "data.max_length", 64, "window says how many tokens"),
        (LANGUAGE, "task.metrics", ["f1"], "remove it"),
        (LANGUAGE, "task.classes", ["a", "b"], "remove it"),
    ],
)
def test_a_field_that_has_no_effect_on_the_examples_is_refused_and_its_default_is_not(
    plain_fields: dict[str, Any], change: str, value: Any, advice: str
) -> None:
    with pytest.raises(
        RecipeError, match=f"{change} is .*where it has no effect"
    ) as caught:
        made({change: value}, **deepcopy(plain_fields))
    assert advice in str(caught.value)

    spelled_out = made(**deepcopy(plain_fields)).model_dump(mode="json")
    assert Recipe.parse(spelled_out).key == made(**deepcopy(plain_fields)).key


@pytest.mark.parametrize("name", KNOBS)
def test_every_knob_of_a_method_changes_the_key(name: str) -> None:
    def key(**knobs: Any) -> str:
        return Recipe.parse({**plain(name), "method": {"name": name, **knobs}}).key

    needed = {} if name != "instant-soup" else WITH
    assert len(
        {
            key(),
            *(
                key(**{knob: value, **needed.get(knob, {})})
                for knob, value in KNOBS[name].items()
            ),
        }
    ) == 1 + len(KNOBS[name])


@pytest.mark.parametrize("name", KNOBS)
def test_defaults_spelled_out_give_the_same_key(name: str) -> None:
    recipe = Recipe.parse(plain(name))
    assert Recipe.parse(recipe.model_dump(mode="json")).key == recipe.key
    assert recipe.method.keys() == {"name", *DRAWN[name].knobs}


def test_how_a_number_is_written_makes_no_difference() -> None:
    assert (
        made({"budget": 1, "training.epochs": 3, "method.rate": [1, 1]}).key == made().key
    )


def test_ranges_of_protocols_may_be_written_as_knobs_of_the_method_as_they_once_were() -> (
    None
):
    """They are set on top of what a recipe spells out, and beside a preset only they change."""
    nested = made(
        {"method.protocols.rate": [1.0, 2.0], "method.protocols.subset": [0.25, 0.25]}
    )
    flat = made({"method.rate": [1.0, 2.0], "method.subset": [0.25, 0.25]})
    assert flat.key == nested.key != made().key
    assert flat.method["protocols"] == Protocols(rate=(1.0, 2.0), subset=(0.25, 0.25))
    on_top = Recipe.parse(
        {
            **nested.model_dump(mode="json"),
            "method": {**nested.method, "rate": [2.0, 2.0]},
        }
    )
    assert on_top.method["protocols"] == Protocols(rate=(2.0, 2.0), subset=(0.25, 0.25))
    preset = made(
        method={"name": "instant-soup", "preset": "authors-code", "subset": [0.5, 0.5]}
    )
    assert preset.method["protocols"] == Protocols(
        rate=(1.0, 1.0), weight_decay=(0.1, 0.1), subset=(0.5, 0.5)
    )


def test_an_unknown_protocol_is_refused() -> None:
    with pytest.raises(RecipeError, match="unknown protocol 'rat'; did you mean 'rate'"):
        made({"method.protocols.rat": [1.0, 2.0]})


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
    knobs = {
        knob: value
        for knob, value in KNOBS[name].items()
        if knob not in APART.get(name, ())
    }
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
    assert there["method"]["denoisers"] == 2
    assert there["task"]["model"] == "packaged"


def test_a_file_is_read(tmp_path: Path) -> None:
    text = 'sparsity = 0.5\n[task]\nname = "glue/cola"\n[method]\nname = "instant-soup"\n'
    assert Recipe.read(written(tmp_path, text)).key == made().key
    assert Recipe.read(str(tmp_path / "recipe.toml")).key == made().key


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"no recipe at .*gone\.toml; check the path"):
        Recipe.read(tmp_path / "gone.toml")


@pytest.mark.parametrize(
    "content", [b"sparsity = ", b"[task", b"\xff\xfe\x00", b"a = 1\na = 2"], ids=repr
)
def test_a_file_that_is_not_toml_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "recipe.toml").write_bytes(content)
    with pytest.raises(RecipeError, match=r"recipe\.toml is not TOML"):
        Recipe.read(tmp_path / "recipe.toml")


def test_a_folder_is_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="is a folder; give a recipe in it"):
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
        ("method.protocols.rate=[1, 2]", {"method.protocols": {"rate": [1, 2]}}),
    ],
)
def test_a_change_is_set_on_top_of_the_file(
    path: Path, change: str, wanted: dict[str, Any]
) -> None:
    assert Recipe.read(path, [change]).key == made(wanted).key != made().key


def test_several_changes_are_set_in_turn(path: Path) -> None:
    got = Recipe.read(path, ["seed=1", "data.limit=10", "seed=2"])
    assert got.key == made({"seed": 2, "data.limit": 10}).key


@pytest.mark.parametrize("change", ["seed", "", "=5", " = 5"])
def test_a_change_that_is_no_assignment_is_shown_how(path: Path, change: str) -> None:
    with pytest.raises(
        RecipeError,
        match=r"is not key=value; write for example --set method\.denoisers=8",
    ):
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
def test_an_unknown_key_is_met_with_the_nearest_at_every_level(
    field: str, nearest: str
) -> None:
    with pytest.raises(
        RecipeError,
        match=f"unknown .*{field.rpartition('.')[2]}'; did you mean '{nearest}'",
    ):
        made({field: 1})


def test_an_unknown_key_like_no_other_is_met_with_all_of_them() -> None:
    with pytest.raises(
        RecipeError,
        match="unknown key 'zzz'; known: budget, control, data, method, run, seed, sparsity",
    ):
        made({"zzz": 1})


def test_an_unknown_method_is_met_with_the_nearest() -> None:
    with pytest.raises(
        RecipeError, match="unknown method 'instant-soop'; did you mean 'instant-soup'"
    ):
        made({"method.name": "instant-soop"})


def test_a_method_without_a_name_is_met_with_all_of_them() -> None:
    with pytest.raises(
        RecipeError, match=r"known: dense, early-bird, gradual, grasp, .*, snip"
    ):
        made(method={"denoisers": 4})


def test_a_knob_of_another_method_is_unknown_to_this_one() -> None:
    with pytest.raises(RecipeError, match="unknown knob of gradual 'denoisers'"):
        made(method={"name": "gradual", "denoisers": 4})


def test_what_the_name_of_a_method_fixes_is_no_knob() -> None:
    with pytest.raises(RecipeError, match="unknown knob of magnitude 'score'"):
        made(method={"name": "magnitude", "score": "random"})


def test_an_unknown_task_is_met_with_the_nearest_unless_it_has_columns() -> None:
    with pytest.raises(
        RecipeError, match="unknown task 'glue/colla'; did you mean 'glue/cola'"
    ):
        made({"task.name": "glue/colla"})
    assert (
        made({"task.name": "glue/colla", "task.columns": ["text"]}).task.name
        == "glue/colla"
    )


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
        ({"sparsity": 90}, "sparsity is 90; .* such as 0.9 for 90 %"),
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
        ({"method.rate": [1.0, 2.0, 3.0]}, "method.protocols.rate is"),
        ({"method": "instant-soup"}, "method is 'instant-soup'"),
        ({"task": "glue/cola"}, "task is 'glue/cola'"),
    ],
    ids=str,
)
def test_a_value_that_cannot_work_is_named_in_one_line(
    changes: dict[str, Any], said: str
) -> None:
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
    with pytest.raises(
        RecipeError,
        match=r"sparsity is 0\.5; expected 0, because method 'dense' prunes nothing",
    ):
        made({"method.name": "dense"})


@pytest.mark.parametrize("name", [name for name in KNOBS if not DRAWN[name].dense])
def test_a_method_that_prunes_is_told_how_much(name: str) -> None:
    with pytest.raises(
        RecipeError, match="sparsity is 0; expected a share between 0 and 1"
    ):
        made({"method.name": name, "sparsity": 0})


@pytest.mark.parametrize(
    "method",
    [{"name": "gradual"}, {"name": "instant-soup", "finish": "continue"}],
    ids=lambda method: method["name"],
)
def test_a_method_that_trains_inside_the_budget_may_have_a_longer_one_but_not_none(
    method: dict[str, Any],
) -> None:
    assert made(method=method).budget == 1
    assert made({"budget": 1.5}, method=method).budget == 1.5
    language = {"name": "mine", "kind": "language", "model": "decoder"}
    with pytest.raises(RecipeError, match="has something to train; set it above 0"):
        made({"budget": 0, "data.folder": "somewhere"}, method=method, task=language)


def test_the_method_is_made_with_its_knobs() -> None:
    assert made(
        {"method.denoisers": 7, "method.rate": [1, 2]}
    ).make_method() == InstantSoup(denoisers=7, protocols=Protocols(rate=(1.0, 2.0)))
    assert made(method={"name": "gradual", "rounds": 3}).make_method() == Gradual(
        rounds=3
    )


def test_the_label_is_short_and_says_what_it_is() -> None:
    assert made({"seed": 3}).label == "glue/cola instant-soup 50% seed 3"


@pytest.mark.parametrize("name", [name for name in DRAWN if DRAWN[name].dense])
def test_soups_and_the_reference_may_leave_every_weight(name: str) -> None:
    assert made({"sparsity": 0}, method={"name": name}).sparsity == 0


def test_no_more_methods_than_these_have_something_to_do_without_pruning() -> None:
    assert {name for name in DRAWN if DRAWN[name].dense} == {
        "dense",
        "model-soup",
        "instant-model-soup",
    }


# presets


@pytest.mark.parametrize("preset", DRAWN["instant-soup"].presets)
def test_a_preset_is_its_knobs_spelled_out(preset: str) -> None:
    knobs = DRAWN["instant-soup"].presets[preset]
    by_name = made(method={"name": "instant-soup", "preset": preset})
    assert by_name.key == made(method={"name": "instant-soup", **knobs}).key != made().key
    assert "preset" not in by_name.method


def test_knobs_of_ones_own_win_over_the_preset() -> None:
    paper = made(method={"name": "instant-soup", "preset": "paper-bert"})
    ours = made(method={"name": "instant-soup", "preset": "paper-bert", "denoisers": 9})
    assert (paper.method["denoisers"], ours.method["denoisers"]) == (4, 9)
    assert {**ours.method, "denoisers": 4} == paper.method


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (
            {"name": "instant-soup", "preset": "paper-bort"},
            "unknown preset 'paper-bort'; did you mean 'paper-bert'",
        ),
        (
            {"name": "magnitude", "preset": "paper-bert"},
            "unknown preset 'paper-bert'; this method has none: remove it",
        ),
        ({"name": "instant-soup", "preset": ["paper-bert"]}, "unknown preset"),
        ({"name": "instant-soup", "preset": ""}, "unknown preset ''"),
    ],
    ids=str,
)
def test_a_preset_that_is_not_there_is_refused(method: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        made(method=method)


# cells

CELLS = """
sparsity = 0.5
seed = 3
task.name = "glue/cola"
method.name = "instant-soup"
method.denoisers = 2
training.epochs = 2

[cells.first]

[cells.second]
sparsity = 0.7
task.name = "glue/sst2"
method.blend = "union"
"""


def read_all(path: Path, changes: Iterable[str] = ()) -> dict[str, Recipe]:
    return {one.name: one.recipe for one in expand(path, changes)}


def test_a_file_of_cells_holds_a_recipe_each(tmp_path: Path) -> None:
    shared = {"seed": 3, "method.denoisers": 2, "training.epochs": 2}
    own = {"sparsity": 0.7, "task.name": "glue/sst2", "method.blend": "union"}
    found = read_all(written(tmp_path, CELLS))
    assert {name: recipe.key for name, recipe in found.items()} == {
        "first": made(shared).key,
        "second": made(shared | own).key,
    }


@pytest.mark.parametrize("cell", ["first", "second"])
def test_one_cell_is_read_by_its_name(tmp_path: Path, cell: str) -> None:
    path = written(tmp_path, CELLS)
    assert Recipe.read(path, cell=cell).key == read_all(path)[cell].key


def test_a_change_is_set_on_top_of_every_cell(tmp_path: Path) -> None:
    path, changes = written(tmp_path, CELLS), iter(["method.denoisers=9", "sparsity=0.9"])
    found = read_all(path, changes)
    assert [
        (recipe.method["denoisers"], recipe.sparsity) for recipe in found.values()
    ] == [(9, 0.9), (9, 0.9)]
    assert (
        found["second"].key
        == Recipe.read(path, ["method.denoisers=9", "sparsity=0.9"], cell="second").key
    )


def test_a_file_without_cells_holds_one_recipe_without_a_name(tmp_path: Path) -> None:
    found = read_all(written(tmp_path, made().toml()))
    assert [(name, recipe.key) for name, recipe in found.items()] == [("", made().key)]


def test_of_several_recipes_one_has_to_be_chosen(tmp_path: Path) -> None:
    with pytest.raises(
        RecipeError, match=r"holds several recipes; choose one with --cell: first, second"
    ):
        Recipe.read(written(tmp_path, CELLS))


def test_an_unknown_cell_is_met_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(
        RecipeError, match=r"recipe\.toml: unknown cell 'secnd'; did you mean 'second'"
    ):
        Recipe.read(written(tmp_path, CELLS), cell="secnd")


def test_a_cell_of_a_file_that_has_none_is_refused(path: Path) -> None:
    with pytest.raises(RecipeError, match="holds no cells; leave --cell out"):
        Recipe.read(path, cell="first")


@pytest.mark.parametrize(
    "cells",
    ["cells = 3", "cells = ['a']", "cells.first = 1", "[[cells]]\nsparsity = 0.5"],
)
def test_cells_that_are_no_tables_are_refused(tmp_path: Path, cells: str) -> None:
    path = written(tmp_path, f"sparsity = 0.5\n{cells}\n")
    for read in (Recipe.read, read_all):
        with pytest.raises(
            RecipeError, match=r"'cells' is no table of tables; write \[cells\.NAME\]"
        ):
            read(path)


def test_what_is_wrong_in_a_cell_is_said_with_its_name(tmp_path: Path) -> None:
    path = written(tmp_path, CELLS + "training.rat = 1\n")
    with pytest.raises(
        RecipeError,
        match=r"recipe\.toml, cell second: unknown key 'training\.rat'; .* 'rate'",
    ):
        read_all(path)


def test_cells_cannot_be_smuggled_into_a_recipe_that_is_parsed() -> None:
    with pytest.raises(RecipeError, match="unknown key 'cells'"):
        made({"cells": {}})


# controls


@pytest.mark.parametrize("kind", ["layers", "shuffled"])
def test_a_control_is_a_recipe_of_its_own_on_the_same_task(kind: str) -> None:
    control = made({"control": kind})
    assert control.key != made().key
    assert control.task_key == made().task_key
    assert f"({kind} control)" in control.label


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"control": "layer"}, "unknown control 'layer'; did you mean 'layers'"),
        (
            {"control": "layers", "method.name": "dense", "sparsity": 0},
            "control is 'layers' and nothing is pruned",
        ),
        (
            {"control": "layers", "method.name": "model-soup", "sparsity": 0},
            "set a sparsity or remove it",
        ),
        ({"control": 3}, "control is 3"),
    ],
    ids=str,
)
def test_a_control_that_makes_no_sense_is_refused(
    changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(RecipeError, match=said):
        made(changes)


def test_the_control_of_a_method_that_trains_may_have_another_budget() -> None:
    """It is fine-tuned as any other ticket, whatever its parent was."""
    gradual = {"name": "gradual"}
    assert made({"control": "layers", "budget": 2.0}, method=gradual).budget == 2


# images


@pytest.mark.parametrize(
    ("task", "images"),
    [
        ({"name": "vision/mnist", "model": "clip"}, True),
        ({"name": "mine", "kind": "images", "model": "clip"}, True),
        ({"name": "mine", "columns": ["text"]}, False),
        ({"name": "mine", "kind": "text", "columns": ["text"]}, False),
        ({"name": "glue/cola"}, False),
        ({"name": "demo/polarity"}, False),
    ],
    ids=str,
)
def test_the_kind_of_a_task_is_told_by_the_table_or_by_the_recipe(
    task: dict[str, Any], images: bool
) -> None:
    assert made(task=task).task.images is images


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (
            {"name": "vision/mnist"},
            "the packaged model reads text; set task.model to a CLIP or an image classifier",
        ),
        ({"name": "mine", "kind": "images"}, "the packaged model reads text"),
        (
            {"name": "mine", "model": "clip"},
            r"name its columns, .*, or set task\.kind to 'images'",
        ),
        ({"name": "mine", "kind": "text", "model": "bert"}, "unknown task 'mine'"),
        ({"name": "vision/mnits", "model": "clip"}, "did you mean 'vision/mnist'"),
        ({"name": "mine", "kind": "image", "model": "clip"}, "task.kind is 'image'"),
        (
            {"name": "glue/cola", "kind": "images", "model": "clip"},
            r"task\.kind is 'images', and 'glue/cola' is a task of text",
        ),
        (
            {"name": "glue/cola", "metrics": ["f1"]},
            r"task\.metrics is \('f1',\), and 'glue/cola' is a known task, which has its own",
        ),
        (
            {"name": "glue/cola", "classes": ["a", "b"]},
            r"task\.classes is .*, and 'glue/cola' is a task of text",
        ),
        (
            {"name": "mine", "columns": ["text"], "templates": ["a {}"]},
            r"task\.templates is .*, and 'mine' is a task of text",
        ),
    ],
    ids=str,
)
def test_a_task_of_the_wrong_kind_is_refused(task: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        made(task=task)


def test_every_table_refuses_what_it_does_not_know() -> None:
    for model in (Recipe, TaskSettings, DataSettings, Regime):
        assert issubclass(model, BaseModel)
        assert (model.model_config["extra"], model.model_config["frozen"]) == (
            "forbid",
            True,
        )
