"""One kind of error where a package is not installed."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import instant_soup as soup
from instant_soup.core.errors import MissingExtra
from instant_soup.core.extras import extra, package

ROOT = Path(soup.__file__).parent


def test_a_package_that_is_there_is_given() -> None:
    assert extra("json", "none", "a test").dumps(1) == "1"
    assert package("json", "none", "a test").name == "json"


def test_a_package_that_is_missing_is_named_with_who_needs_it_and_what_installs_it() -> (
    None
):
    sentence = r"format 'x' needs .*no_such_package.*; install it with: pip install 'instant-soup\[x\]'"
    with pytest.raises(MissingExtra, match=sentence):
        extra("no_such_package", "x", "format 'x'")
    with pytest.raises(MissingExtra, match=sentence):
        package("no_such_package", "x", "format 'x'")
    assert issubclass(MissingExtra, soup.SoupError)


def test_a_package_whose_compiled_parts_do_not_fit_is_missing_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half_installed.py").write_text(
        "raise RuntimeError('operator x does not exist\\nand more')"
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with pytest.raises(
        MissingExtra, match=r"needs half_installed \(operator x does not exist\); install"
    ):
        extra("half_installed", "x", "a test")


def test_no_other_file_says_how_an_extra_is_installed() -> None:
    for path in ROOT.rglob("*.py"):
        texts = [node.value for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
                 if isinstance(node, ast.Constant) and isinstance(node.value, str)]  # fmt: skip
        assert path.name == "extras.py" or not any(
            "pip install" in text for text in texts
        ), path
