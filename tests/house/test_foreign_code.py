"""No model folder gets its own code run: whatever may ask for that is told no, at each place where it is called."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "instant_soup"
LOADERS = ("from_pretrained", "from_config")


def loads(tree: ast.AST) -> Iterator[ast.Call]:
    """Calls that may run code of a folder: those of the library's automatic classes, by whatever name."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if node.func.attr not in LOADERS:
            continue
        # a class of the library's own is named as it is, and runs nothing else
        owner = ast.unparse(node.func.value)
        if owner.startswith("Auto") or not owner[:1].isupper():
            yield node


def test_every_automatic_class_is_told_not_to_run_foreign_code() -> None:
    calls = 0
    for path in sorted(SOURCE.rglob("*.py")):
        for call in loads(ast.parse(path.read_text(encoding="utf-8"))):
            calls += 1
            told = {word.arg: ast.unparse(word.value) for word in call.keywords}
            place = f"{path.relative_to(SOURCE)}:{call.lineno}"
            assert told.get("trust_remote_code") == "False", place
    assert calls >= 12
