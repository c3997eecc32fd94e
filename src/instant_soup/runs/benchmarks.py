"""Benchmarks: what the weights of a run reach on tasks of lm-eval, beside what they reach on its own test split.

They are no part of a recipe, and so of no key: a run may be judged by more of them whenever somebody asks for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any, Self

from torch import nn

from ..core.errors import DataError, TrainingError, unknown
from ..core.extras import extra
from ..core.weights import Weights
from ..models import decoder
from ..recipes.recipe import Recipe
from ..store import index
from ..store.cell import Cell
from ..store.record import Record
from ..store.record import write as write_record
from ..store.store import Store
from ..training.device import kind_of
from .harness import harness

_WHAT = "judging by benchmarks"
_OWN = (".yaml", ".yml")
"""How the file of a task of one's own ends."""
_NOTED = "lm-eval"
"""What records call the harness, among packages and among the ways in which a run was judged."""


@dataclass(frozen=True)
class Benchmarks:
    """Tasks of lm-eval that are asked for.

    Attributes:
        names: as the harness knows them, or paths to YAML files that describe tasks of one's own.
        version: of the harness.
    """

    names: tuple[str, ...]
    version: str

    @classmethod
    def asked_for(cls, listed: str, recipe: Recipe) -> Self:
        """Those that *listed* names, with commas between them, checked before anything is loaded.

        Raises:
            DataError: the task of *recipe* is none of language, no task is named, there is no such file, or the harness
                cannot read with the model's tokenizer.
            MissingExtra: lm-eval is not installed.
            UnknownName: the harness has no such task.
        """
        if not recipe.task.language:
            raise DataError(
                f"--lm-eval judges language models, and {recipe.task.name!r} is none of their tasks; leave it out"
            )

        names = tuple(dict.fromkeys(name.strip() for name in listed.split(",")))
        if not all(names):
            raise DataError(
                f"--lm-eval is {listed!r}; expected names of tasks with commas between them, such as hellaswag,arc_easy"
            )

        package = extra("lm_eval", "lm-eval", _WHAT)
        _check_names(names)
        _check_tokenizer(recipe.task.model)
        return cls(names, package.__version__)

    def missing_in(self, record: Record) -> Self:
        """Those by which the run of *record* was not judged yet, and tasks of one's own, whose files may change."""
        judged = record.judged.get(_NOTED, {})
        names = [name for name in self.names if name not in judged or name.endswith(_OWN)]
        return replace(self, names=tuple(names))

    def judge(
        self, model: nn.Module, weights: Weights, recipe: Recipe
    ) -> dict[str, float]:
        """What *weights* reach, by task and figure, such as ``"hellaswag/acc"``.

        Args:
            model: of the task of *recipe*; the weights are put into it, and it goes where that is to be worked on.

        Raises:
            DataError: the harness cannot load the data of a task.
            TrainingError: a figure is not finite.
        """
        # not strict: weights are those that were trained, and no buffers
        model.load_state_dict(dict(weights), strict=False)
        model.to(kind_of(recipe.training.device))
        tokenizer = decoder.tokenizer_of(recipe.task.model)

        test = harness(model, tokenizer, self.names)
        for name, figure in test.items():
            if not isfinite(figure):
                raise TrainingError(
                    f"{name} is {figure} by lm-eval; leave this task out, or prune less"
                )
        return test

    def add_to_record(self, recipe: Recipe, store: Store) -> Record:
        """Judge the run of *recipe*, which is done and lies in *store*, and put the figures into its record.

        What it was judged by already is not done again. Raises as `judge` does, and StoreError where the weights of
        the run are damaged or gone.
        """
        cell = store.cell(recipe)
        with cell.hold():
            record = cell.load_record()
            missing = self.missing_in(record)
            if not missing.names:
                return record

            model = decoder.load(recipe.task.model).model
            test = missing.judge(model, cell.load_model(), recipe)
            _write(missing.noted(record, test), cell, store)
            return cell.load_record()

    def noted(self, record: Record, test: Mapping[str, float]) -> Record:
        """*record* with the figures of the harness, its version, and by which of its tasks the run was judged."""
        facts: dict[str, Any] = record.facts()
        versions = dict.fromkeys(self.names, self.version)

        facts["test"] |= test
        facts["made"].setdefault("packages", {})[_NOTED] = self.version
        judged = facts.setdefault("judged", {})
        # each with its version, for others may have been judged by another one
        judged[_NOTED] = judged.get(_NOTED, {}) | versions
        return Record.model_validate(facts)


def _check_names(names: tuple[str, ...]) -> None:
    """Raise DataError or UnknownName where the harness has no such task."""
    own = [name for name in names if name.endswith(_OWN)]
    for name in own:
        if not Path(name).is_file():
            raise DataError(f"no task of lm-eval at {name}; check the path")
    if len(own) == len(names):
        return

    known = extra("lm_eval.tasks", "lm-eval", _WHAT).TaskManager().all_tasks
    for name in names:
        if name not in own and name not in known:
            raise unknown("task of lm-eval", name, known)


def _check_tokenizer(model: str) -> None:
    """Raise DataError where the harness has no token to begin a text with."""
    # that of a GGUF takes as long to load as the weights, and has one of both
    if decoder.is_gguf(model):
        return

    tokenizer = decoder.tokenizer_of(model)
    if tokenizer.bos_token_id is None and tokenizer.eos_token_id is None:
        raise DataError(
            f"the tokenizer of {model!r} has neither a bos_token nor an eos_token, and lm-eval begins every text with "
            f"one; set one of them in its tokenizer_config.json"
        )


def _write(record: Record, cell: Cell, store: Store) -> None:
    write_record(cell.record, record)
    # after the record, or a kill in between would leave the index with figures that are not there
    index.add(store, cell.load_record())
