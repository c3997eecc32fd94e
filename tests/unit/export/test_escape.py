"""Names from elsewhere are shown on a page and do nothing there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

import instant_soup as soup
from instant_soup.core.task import Base
from instant_soup.core.ticket import Ticket
from instant_soup.export.card import card, ticket_card
from instant_soup.export.escape import code, prose
from instant_soup.export.portable import Portable

READER = MarkdownIt("gfm-like", {"html": True, "linkify": False})
HOSTILE = [
    "<script>alert(1)</script>",
    "![x](https://evil.example/x.png)",
    "[click](javascript:alert(1))",
    "a | b\n| injected | row |",
    "\n# A heading\n---\n",
    "`code` and ``more``",
    "**bold** _slanted_ ~~gone~~",
    "&lt;b&gt; &amp;",
    "https://evil.example and www.evil.example and me@evil.example",
    "\x1b[31mred\x1b[0m \u202egnirts\u2066 \ud800",
    "\u061c alm \u2060\ufeff\u00ad tags \U000e0041\U000e007f private \ue000",
    "a\\",
    "end\r\n\r\n<img src=x onerror=y>",
]


def kinds(text: str) -> set[str]:
    """What a reader of Markdown finds in *text*, but for plain text and code."""
    found: set[str] = set()
    for token in READER.parse(text):
        found |= {token.type} | {child.type for child in token.children or ()}
    return found


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_of_a_name_is_markup_and_all_that_can_be_seen_is_shown(text: str) -> None:
    shown = prose(text)
    assert kinds(shown) <= {
        "paragraph_open",
        "inline",
        "paragraph_close",
        "text",
        "text_special",
    }
    visible = "".join(
        child.content for token in READER.parse(shown) for child in token.children or ()
    )
    assert visible.split() == "".join(c if c.isprintable() else " " for c in text).split()
    for bare in ("https://", "www.e", "me@"):
        assert bare not in shown, "readers make links of these without being asked"


@pytest.mark.parametrize("text", HOSTILE)
def test_a_name_in_a_table_stays_in_its_cell(text: str) -> None:
    table = READER.render(
        f"| name | kept |\n|---|---|\n| {code(text)} | {prose(text)} |\n"
    )
    assert table.count("<tr>") == 2
    assert table.count("<td") == 2
    assert table.count("<code>") == 1
    assert "<script" not in table
    assert "<img" not in table


def hostile_ticket(ticket: Ticket) -> Ticket:
    first, *_ = ticket.mask
    name = "layer\n\n<img src=x>|`.weight"
    mask = soup.Mask(
        soup.Scope({name: ticket.mask.scope.shapes[first]}), {name: ticket.mask[first]}
    )
    base = Base("org/name\nlicense\n---\n<script>", "0" * 64)
    return Ticket(mask, {}, base, method={"name": "<b>", "knob": "[x](y)\n# heading"})


def test_cards_of_hostile_tickets_have_the_shape_of_any_card(
    source: Callable[[str], Portable],
) -> None:
    plain = source("bert")
    hostile = replace(
        plain, ticket=hostile_ticket(plain.ticket), classes=("a|b", "<script>", "c\n# d")
    )
    for page in (card(hostile), ticket_card(hostile.ticket, None, "me/data\ntags: [x]")):
        metadata = ModelCard(page).data.to_dict()
        assert metadata["tags"] == ["lottery-ticket", "pruned", "sparse"]
        assert "base_model" not in metadata, "the hub refuses what is no id"
        assert "license" not in metadata
        body = READER.render(ModelCard(page).text)
        assert body.count("<h1>") == 1
        assert not any(mark in body for mark in ("<script", "<img", "<b>", "<a "))
    assert (
        READER.render(ModelCard(card(hostile)).text).count("<tr>")
        == 1 + 7 + 1 + 1 + 1 + 3
    )


def test_names_of_classes_are_in_the_card_and_in_the_configuration(
    source: Callable[[str], Portable],
) -> None:
    page = card(replace(source("bert"), classes=("awful", "so_so", "good")))
    assert "| 1 | so\\_so |" in page
