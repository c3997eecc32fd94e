"""Seeds: one stream per purpose, and nothing remembered."""

from __future__ import annotations

import pytest
import torch

from instant_soup.training.seeds import borrowed, stream

PURPOSES = [
    (),
    ("order",),
    ("orders",),
    ("dropout", 0),
    ("dropout", 1),
    ("dropout", 10),
    ("dropout", 1, 0),
    ("look-ahead", 0),
    ("look-ahead dropout", 0),
    (0, "dropout"),
]


def test_a_stream_follows_from_seed_and_purpose_alone() -> None:
    torch.manual_seed(1)
    first = [stream(3, *purpose) for purpose in PURPOSES]
    torch.manual_seed(2)
    assert [stream(3, *purpose) for purpose in reversed(PURPOSES)] == first[::-1]


def test_a_stream_is_the_same_on_every_machine_and_in_every_version() -> None:
    """Frozen: another value is another order of examples and another dropout for every recipe there is."""
    assert stream(0, "order") == 5231958647509549229
    assert stream(0, "dropout", 7) == 8459355141554307173


def test_seeds_and_purposes_never_meet() -> None:
    seeds = [0, 1, 2, 11, 111, 2**40]
    assert len({stream(seed, *purpose) for seed in seeds for purpose in PURPOSES}) == len(
        seeds
    ) * len(PURPOSES)


def test_a_stream_is_a_seed_that_torch_and_python_take() -> None:
    drawn = [stream(seed, "x") for seed in range(2000)]
    assert all(0 <= value < 2**63 for value in drawn)
    assert max(drawn) > 2**62  # the whole range is used
    torch.Generator().manual_seed(max(drawn))


def test_what_is_drawn_while_borrowed_changes_nothing_after() -> None:
    torch.manual_seed(0)
    wanted = torch.rand(3)
    torch.manual_seed(0)
    with borrowed():
        torch.manual_seed(99)
        torch.rand(10)
    assert torch.equal(torch.rand(3), wanted)


def test_the_random_state_comes_back_after_an_error_too() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()

    def fail() -> None:
        with borrowed():
            torch.manual_seed(5)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert torch.equal(torch.get_rng_state(), before)
