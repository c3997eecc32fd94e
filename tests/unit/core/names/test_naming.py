"""Every name of the tables finds its like under every other; towers are told apart by what their names say."""

from __future__ import annotations

import pytest

from instant_soup.core.names.match import Assembly, inverse, match
from instant_soup.core.names.naming import (
    FUSED,
    OTHERS,
    QUERY_KEY_VALUE,
    is_like,
    pairs,
    places,
)

BERT = {
    f"bert.encoder.layer.{i}.{body}.weight": (8, 8)
    for i in range(2)
    for body in QUERY_KEY_VALUE[0]
}  # the query, key and value of two layers


def named(
    bodies: tuple[str, ...], shape: tuple[int, ...], stack: str = "model.tower"
) -> dict[str, tuple[int, ...]]:
    names = [
        f"{stack}.{i}.{body}.weight".replace("in_proj.", "in_proj_")
        for i in range(2)
        for body in bodies
    ]
    return dict.fromkeys(names, shape)


@pytest.mark.parametrize("row", QUERY_KEY_VALUE, ids=lambda row: row[0])
def test_query_key_and_value_are_found_in_their_order(row: tuple[str, ...]) -> None:
    found = match(named(row, (8, 8)), BERT, {}, None)
    for name, other in zip(named(row, (8, 8)), BERT, strict=True):
        made = found[name]
        assert isinstance(made, Assembly)
        assert made.names == (other,)


@pytest.mark.parametrize("body", FUSED)
def test_one_matrix_is_made_of_three_and_three_of_one(body: str) -> None:
    whole = named((body,), (24, 8))
    found = match(whole, BERT, {}, 2)
    for made in found.values():
        assert isinstance(made, Assembly)
        assert len(made.names) == 3
        assert made.by_head is FUSED[body]
    back = match(BERT, whole, {}, 2)
    turned = inverse(
        {name: made for name, made in back.items() if isinstance(made, Assembly)}
    )
    assert {name: made.pieces for name, made in turned.items()} == {
        name: made.pieces for name, made in found.items() if isinstance(made, Assembly)
    }


@pytest.mark.parametrize("role", OTHERS)
def test_whatever_does_the_same_is_like_it(role: str) -> None:
    first, *others = OTHERS[role]
    for body in others:
        found = match(named((body,), (8, 8)), named((first,), (8, 8)), {}, None)
        assert all(isinstance(made, Assembly) for made in found.values()), body


def test_no_name_has_two_roles() -> None:
    bodies = [
        *(body for row in QUERY_KEY_VALUE for body in row),
        *FUSED,
        *(b for of in OTHERS.values() for b in of),
    ]
    assert len(set(bodies)) == len(bodies)


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        (("a",), ("b",), {"a": "b"}),
        (("bert.encoder.layer",), ("roberta.encoder.layer",), {"bert.encoder.layer": "roberta.encoder.layer"}),
        (("text_model.layers",), ("vision_model.layers",), {}),
        (("visual.blocks", "blocks"), ("vision_model.layers",), {"visual.blocks": "vision_model.layers"}),
        (("visual.b", "b"), ("text_model.l", "vision_model.l"), {"visual.b": "vision_model.l", "b": "text_model.l"}),
        (("a",), ("b", "c"), {}),
        (("a", "c"), ("b", "c"), {"c": "c", "a": "b"}),
        (("e.l", "decoder.l"), ("m.decoder.l", "m.e.l"), {"e.l": "m.e.l", "decoder.l": "m.decoder.l"}),
    ],
)  # fmt: skip
def test_stacks_are_paired_where_it_is_clear(
    ours: tuple[str, ...], theirs: tuple[str, ...], expected: dict[str, str]
) -> None:
    one, other = (
        places({f"{stack}.0.fc1.weight": (2, 2) for stack in of}) for of in (ours, theirs)
    )
    assert pairs(one, other) == expected


@pytest.mark.parametrize(
    ("shapes", "turned"),
    [
        ({"h.0.attn.c_attn.weight": (8, 24), "h.0.attn.c_proj.weight": (8, 8)}, True),
        ({"h.0.attn.c_attn.weight": (24, 8), "h.0.attn.c_proj.weight": (8, 8)}, False),
        ({"h.0.mlp.c_fc.weight": (8, 32), "h.0.mlp.c_proj.weight": (32, 8)}, True),
        ({"h.0.mlp.c_fc.weight": (32, 8), "h.0.mlp.c_proj.weight": (8, 32)}, False),
        ({"h.0.attn.c_proj.weight": (8, 8)}, False),
    ],
)
def test_what_gpt2_keeps_turned_is_told_by_its_shape(
    shapes: dict[str, tuple[int, ...]], turned: bool
) -> None:
    assert {place.turned for place in places(shapes).values()} == {turned}


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("bert.pooler.dense.weight", "pooler.dense.weight", True),
        ("bert.pooler.dense.weight", "roberta.pooler.dense.weight", True),
        ("classifier.dense.weight", "bert.pooler.dense.weight", False),
        ("classifier.dense.weight", "pooler.dense.weight", False),
        ("visual.proj", "proj", True),
    ],
)
def test_outside_of_stacks_only_the_first_step_may_differ(
    one: str, other: str, alike: bool
) -> None:
    assert is_like(one, other) is is_like(other, one) is alike
