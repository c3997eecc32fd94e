"""What was written once is read forever: a record and a ticket of each schema that was released.

Never change a file of the corpus. A new schema adds its own.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from instant_soup.core.ticket import Ticket
from instant_soup.core.ticket_file import SCHEMA as TICKET_SCHEMA
from instant_soup.evidence.compare import compare
from instant_soup.evidence.ledger import bill
from instant_soup.evidence.runs import collect
from instant_soup.store.record import SCHEMA, read

CORPUS = Path(__file__).parents[2] / "corpus"
EXPECTED: dict[str, dict[str, dict[str, Any]]] = json.loads(
    (CORPUS / "expected.json").read_text(encoding="utf-8")
)


def test_the_corpus_has_every_schema() -> None:
    assert {one["schema"] for one in EXPECTED["records"].values()} == set(
        range(1, SCHEMA + 1)
    )
    assert {f"schema-{i}.safetensors" for i in range(1, TICKET_SCHEMA + 1)} == set(
        EXPECTED["tickets"]
    )
    assert {path.name for path in (CORPUS / "records").iterdir()} == set(
        EXPECTED["records"]
    )


@pytest.mark.parametrize("name", EXPECTED["records"])
def test_a_record_says_what_it_said(name: str) -> None:
    record, expected = read(CORPUS / "records" / name), EXPECTED["records"][name]
    assert record is not None
    assert (record.version, record.key, record.test) == (
        expected["schema"],
        expected["key"],
        expected["test"],
    )
    assert record.cost.multiple_of_T == expected["multiple_of_T"]
    assert record.ticket.digest == expected["ticket"]
    assert bool(record.checksum) == (expected["schema"] >= 3)


def test_records_of_all_schemas_are_compared_together() -> None:
    runs = collect(CORPUS / "records")
    assert {run.key for run in runs} == {
        one["key"] for one in EXPECTED["records"].values()
    }
    found = compare(runs)
    assert sum(line.figure.n for line in found.lines) == len(runs)
    assert all(bill(line).total == pytest.approx(line.cost.mean) for line in found.lines)


@pytest.mark.parametrize("name", EXPECTED["tickets"])
def test_a_ticket_is_what_it_was(name: str) -> None:
    ticket, expected = Ticket.load(CORPUS / "tickets" / name), EXPECTED["tickets"][name]
    assert (ticket.digest, ticket.mask.digest, ticket.mask.kept) == tuple(
        expected.values()
    )
    assert (ticket.base.name, ticket.ready, ticket.method["name"], ticket.cost.steps) == (
        "a model",
        True,
        "gradual",
        10,
    )
    moved = ticket.start["layers.0.weight"]
    assert moved.dtype == torch.bfloat16
    assert torch.equal(moved != 0, ticket.mask["layers.0.weight"])
