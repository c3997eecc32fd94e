"""A file of lists, cells and sweeps asks for every recipe that it should, once, in a fixed order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from instant_soup.core.errors import RecipeError
from instant_soup.recipes.grid import Wanted, expand
from instant_soup.recipes.recipe import Recipe

BASE = """
[task]
name = "glue/cola"
[method]
name = "instant-soup"
denoisers = 2
"""
Grid = Callable[..., tuple[Wanted, ...]]


@pytest.fixture
def grid(tmp_path: Path) -> Grid:
    def made(
        top: str, rest: str = "", changes: Sequence[str] = (), **chosen: Sequence[str]
    ) -> tuple[Wanted, ...]:
        path = tmp_path / "grid.toml"
        path.write_text(f"{top}\n{BASE}\n{rest}", encoding="utf-8")
        return expand(path, changes, **chosen)

    return made


def fields(**changes: Any) -> Recipe:
    whole = {
        "task": {"name": "glue/cola"},
        "method": {"name": "instant-soup", "denoisers": 2},
        "sparsity": 0.5,
    }
    return Recipe.parse(whole | changes)


def test_a_recipe_without_lists_is_a_grid_of_one(grid: Grid) -> None:
    (one,) = grid("sparsity = 0.5")
    assert one == Wanted("", fields())


def test_a_list_stands_for_each_of_its_values(grid: Grid) -> None:
    found = grid("sparsity = [0.5, 0.7]\nseed = [1, 0]")
    assert [(one.recipe.seed, one.recipe.sparsity) for one in found] == [
        (0, 0.5),
        (0, 0.7),
        (1, 0.5),
        (1, 0.7),
    ]
    assert [one.name for one in found][:2] == [
        "sparsity 0.5, seed 0",
        "sparsity 0.7, seed 0",
    ]
    assert found[3].recipe.key == fields(sparsity=0.7, seed=1).key


@pytest.mark.parametrize(
    "sweep",
    [
        '[sweep]\n"method.denoisers" = [2, 4]',
        "[sweep]\nmethod.denoisers = [2, 4]",
        "[sweep.method]\ndenoisers = [2, 4]",
    ],
)
def test_a_sweep_goes_through_any_field_by_its_path(grid: Grid, sweep: str) -> None:
    found = grid("sparsity = 0.5", sweep)
    assert [one.recipe.method["denoisers"] for one in found] == [2, 4]
    assert (
        found[1].recipe.key == fields(method={"name": "instant-soup", "denoisers": 4}).key
    )


def test_a_knob_that_is_a_list_itself_is_taken_as_it_is_and_a_list_of_lists_as_alternatives(
    grid: Grid,
) -> None:
    (one,) = grid("sparsity = 0.5", "rate = [1.0, 3.0]")
    assert one.recipe.method["protocols"].rate == (1.0, 3.0)
    found = grid("sparsity = 0.5", "rate = [[1.0, 3.0], [2.0, 2.0]]")
    assert [one.recipe.method["protocols"].rate for one in found] == [
        (1.0, 3.0),
        (2.0, 2.0),
    ]
    (one,) = grid("sparsity = 0.5", "[method.protocols]\nrate = [1.0, 3.0]")
    assert one.recipe.method["protocols"].rate == (1.0, 3.0)
    found = grid(
        "sparsity = 0.5",
        '[method.protocols]\nrate = [[1.0, 3.0], [2.0, 2.0]]\nsubsets = ["random", "disjoint"]',
    )
    drawn = [one.recipe.method["protocols"] for one in found]
    assert {(each.rate, each.subsets) for each in drawn} == {
        (rate, subsets)
        for rate in ((1.0, 3.0), (2.0, 2.0))
        for subsets in ("random", "disjoint")
    }


def test_lists_of_a_task_are_its_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    text = 'sparsity = 0.5\nmethod.name = "snip"\n[task]\nname = "mine"\ncolumns = ["a", "b"]\n'
    path.write_text(text, encoding="utf-8")
    (one,) = expand(path)
    assert one.recipe.task.columns == ("a", "b")


def test_methods_are_swept_by_name_or_as_tables(grid: Grid) -> None:
    found = grid(
        "sparsity = 0.5",
        '[sweep]\nmethod = ["snip", { name = "grasp", absolute = true }]',
    )
    assert [one.recipe.method["name"] for one in found] == ["snip", "grasp"]
    assert found[1].recipe.method["absolute"] is True
    assert [one.name for one in found] == ["snip", "grasp"]


def test_methods_in_place_of_the_recipes_own_have_defaults_and_its_own_keeps_its_knobs(
    grid: Grid,
) -> None:
    found = grid("sparsity = 0.5", methods=["dense", "instant-soup", "lth"])
    assert [one.recipe.method["name"] for one in found] == [
        "dense",
        "instant-soup",
        "lth",
    ]
    assert found[1].recipe.key == fields().key
    assert found[2].recipe.method["compression"] == 0.1


# cells


def test_a_cell_stands_on_what_all_share_and_what_it_fixes_is_not_swept(
    grid: Grid,
) -> None:
    found = grid(
        "sparsity = [0.5, 0.7]",
        "[sweep]\nseed = [0, 1]\n[cells.a]\nseed = 3\n[cells.b]\nsparsity = 0.9",
    )
    assert [(one.name.split(",")[0], one.recipe.sparsity, one.recipe.seed) for one in found] == [
        ("b", 0.9, 0), ("b", 0.9, 1), ("a", 0.5, 3), ("a", 0.7, 3),
    ]  # fmt: skip


def test_a_cell_may_sweep_by_itself(grid: Grid) -> None:
    found = grid(
        "sparsity = 0.5",
        "[cells.a]\n[cells.b.sweep]\nseed = [1, 2]\n[cells.c]\nmethod.denoisers = [3, 4]",
    )
    assert [one.name for one in found] == [
        "a",
        "c, denoisers 3",
        "c, denoisers 4",
        "b, seed 1",
        "b, seed 2",
    ]


def test_a_cell_with_another_method_starts_from_its_defaults(grid: Grid) -> None:
    """Knobs of one method mean nothing to another."""
    (one,) = grid("sparsity = 0.5", '[cells.a]\nmethod.name = "lth"')
    assert one.recipe.key == fields(method={"name": "lth"}).key


def test_a_cell_with_the_same_method_keeps_its_knobs(grid: Grid) -> None:
    (one,) = grid(
        "sparsity = 0.5",
        '[cells.a]\nmethod.name = "instant-soup"\nmethod.blend = "union"',
    )
    assert (one.recipe.method["denoisers"], one.recipe.method["blend"]) == (2, "union")


def test_dense_prunes_nothing_and_is_asked_for_once_a_seed(grid: Grid) -> None:
    found = grid(
        "sparsity = [0.5, 0.7]\nseed = [0, 1]",
        '[cells.dense]\nmethod = "dense"\ncontrol = "layers"',
    )
    assert [
        (one.recipe.sparsity, one.recipe.control, one.recipe.seed) for one in found
    ] == [(0, None, 0), (0, None, 1)]


def test_what_is_asked_for_twice_is_run_once_and_all_of_a_seed_before_the_next(
    grid: Grid,
) -> None:
    found = grid(
        "sparsity = 0.5\nseed = [1, 0, 1]",
        "[cells.a]\n[cells.b]\n[cells.c]\nmethod.denoisers = 3",
    )
    assert [(one.name.split(",")[0], one.recipe.seed) for one in found] == [
        ("a", 0),
        ("c", 0),
        ("a", 1),
        ("c", 1),
    ]
    assert len({one.key for one in found}) == len(found)


def test_only_the_cells_that_are_named_are_taken(grid: Grid) -> None:
    assert [
        one.name
        for one in grid("sparsity = 0.5", "[cells.a]\n[cells.b]\nseed = 1", cells=["b"])
    ] == ["b"]


def test_a_change_is_on_top_of_everything_and_may_be_a_list(grid: Grid) -> None:
    rest = "[sweep]\nseed = [0, 1, 2]\n[cells.a]\nsparsity = 0.9"
    assert [one.recipe.seed for one in grid("sparsity = 0.5", rest, ["seed=[4, 5]"])] == [
        4,
        5,
    ]
    assert {
        one.recipe.sparsity for one in grid("sparsity = 0.5", rest, ["sparsity=0.6"])
    } == {0.6}


# equal budgets

LONGER = '[cells.soup]\n[cells.longer]\nmethod.name = "magnitude"\nbudget.as = "soup"'


def test_a_budget_as_another_cells_follows_that_cell_at_the_same_sparsity_and_seed(
    grid: Grid,
) -> None:
    found = grid("sparsity = [0.5, 0.7]\nseed = [0, 1]", LONGER)
    soups = {
        (one.recipe.sparsity, one.recipe.seed): one.recipe
        for one in found
        if one.like is None
    }
    longer = [one for one in found if one.like]
    assert len(longer) == 4
    for one in longer:
        assert one.like is not None
        assert one.like.key == soups[one.recipe.sparsity, one.recipe.seed].key
    known = longer[0].with_budget(1.63)
    assert known.like is None
    assert known.recipe.key == fields(method={"name": "magnitude"}, budget=1.63).key
    assert known.name == longer[0].name


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ('[cells.a]\nbudget.as = "b"\n[cells.c]', "cell a: budget.as: unknown cell 'b'"),
        (
            '[cells.a]\nbudget.like = "a"',
            "expected a number or the table budget.as = CELL",
        ),
        (
            '[cells.a]\nbudget.as = "b"\n[cells.b]\nmethod.denoisers = [2, 3]',
            "not one run for each of these",
        ),
        (
            '[cells.a]\nbudget.as = "b"\n[cells.b]\nbudget.as = "a"',
            "not one run for each of these",
        ),
    ],
)
def test_a_budget_that_follows_nothing_is_refused(
    grid: Grid, rest: str, said: str
) -> None:
    with pytest.raises(RecipeError, match=said):
        grid("sparsity = 0.5", rest)


# files on files


def test_a_file_stands_on_others_the_later_on_top(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "a.toml").write_text(
        f"sparsity = 0.5\nseed = 1\n{BASE}", encoding="utf-8"
    )
    (tmp_path / "parts" / "b.toml").write_text(
        'seed = 2\nextends = "c.toml"\n', encoding="utf-8"
    )
    (tmp_path / "parts" / "c.toml").write_text(
        "seed = 9\nbudget = 2.0\n", encoding="utf-8"
    )
    top = tmp_path / "top.toml"
    top.write_text(
        'extends = ["parts/a.toml", "parts/b.toml"]\nmethod.denoisers = 3\n',
        encoding="utf-8",
    )
    (one,) = expand(top)
    assert (one.recipe.seed, one.recipe.budget, one.recipe.sparsity) == (2, 2.0, 0.5)
    assert one.recipe.method["denoisers"] == 3


@pytest.mark.parametrize(
    ("extends", "said"),
    [
        ('"nowhere.toml"', r"no recipe at .*nowhere\.toml, which .*top\.toml extends"),
        ('"top.toml"', r"top\.toml extends itself"),
        ("3", "extends is 3; expected a path"),
    ],
)
def test_a_file_that_stands_on_nothing_is_refused(
    tmp_path: Path, extends: str, said: str
) -> None:
    path = tmp_path / "top.toml"
    path.write_text(f"extends = {extends}\n", encoding="utf-8")
    with pytest.raises(RecipeError, match=said):
        expand(path)


# what is wrong is said with its place


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ("[sweep]\nseed = 3", r"sweep\.seed is 3; expected a list"),
        ("[sweep]\nseed = []", r"sweep\.seed is \[\]; expected a list"),
        (
            "[sweep]\nsed = [1, 2]",
            r"grid\.toml \(sed 1\): unknown key 'sed'; did you mean 'seed'",
        ),
        (
            "[cells.a]\nseeds = 1",
            r"grid\.toml, cell a: unknown key 'seeds'; did you mean 'seed'",
        ),
        (
            "[cells.a]\nsparsity = [0.5, 1.5]",
            r"cell a \(a, sparsity 1\.5\): sparsity is 1\.5",
        ),
        (
            '[cells.a]\nmethod = "snap"',
            r"cell a: unknown method 'snap'; did you mean 'snip'",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_place(grid: Grid, rest: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        grid("sparsity = 0.5", rest)


def test_a_cell_that_is_not_there_is_met_with_the_nearest(grid: Grid) -> None:
    with pytest.raises(RecipeError, match="unknown cell 'soap'; did you mean 'soup'"):
        grid("sparsity = 0.5", LONGER, cells=["soap"])
    with pytest.raises(RecipeError, match="holds no cells; leave --cell out"):
        grid("sparsity = 0.5", cells=["soup"])


def test_a_sweep_is_no_single_recipe(tmp_path: Path) -> None:
    path = tmp_path / "grid.toml"
    path.write_text(f"sparsity = 0.5\n{BASE}[sweep]\nseed = [0, 1]\n", encoding="utf-8")
    with pytest.raises(
        RecipeError, match="asks for many runs; start them with `instant-soup sweep"
    ):
        Recipe.read(path)
