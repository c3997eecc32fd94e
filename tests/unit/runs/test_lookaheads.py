"""Where look-aheads are done is said once."""

from __future__ import annotations

from typing import Any

import pytest

import instant_soup as soup
from instant_soup.core.errors import RankError
from instant_soup.runs.lookaheads import with_workers
from instant_soup.runs.run import build


def test_ranks_and_workers_do_not_go_together(
    mini_recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = soup.Recipe.parse(mini_recipe)
    task = build(here)
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with with_workers(here, task, build) as same:
        assert same is task
    afar = soup.Recipe.parse(
        {**mini_recipe, "run": {"engine": "processes", "workers": 2}}
    )
    with pytest.raises(
        RankError, match=r"run\.engine is 'processes' and several ranks train the model"
    ):
        with_workers(afar, task, build)


def test_a_method_that_never_looks_ahead_is_left_where_it_is(
    mini_recipe: dict[str, Any],
) -> None:
    plain = soup.Recipe.parse(
        {**mini_recipe, "method": {"name": "magnitude"}, "run": {"engine": "processes"}}
    )
    task = build(plain)
    with with_workers(plain, task, build) as same:
        assert same is task
