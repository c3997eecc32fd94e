"""How the code reads, measured as in other well-kept projects: paragraphs, density, circles of imports.

`pytest tests/house/test_reading.py -s` prints the table.
"""

from __future__ import annotations

import ast
import io
import statistics
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "instant_soup"

# what the best-kept projects of the field reach: 5 to 11 %, 12 to 13 %, 4 to 8, 13 to 17
UNBROKEN_AT_MOST = 0.20  # share of long bodies without a paragraph
TOKENS_AT_MOST = 17  # tokens a line, 90th percentile
LINES_AT_MOST = 350  # of a file
MEDIAN_AT_MOST = 130  # the aim is 100, of lines that are broken at 90 columns

LONG = 12  # lines of a body that should have paragraphs


@dataclass(frozen=True)
class Body:
    """What a function does, from its first statement on, without the docstring."""

    place: str
    lines: tuple[str, ...]

    @property
    def blank(self) -> int:
        return sum(not line.strip() for line in self.lines)


@dataclass(frozen=True)
class Source:
    """One file, measured."""

    room: str
    lines: int
    bodies: tuple[Body, ...]
    tokens: tuple[int, ...]
    comments: int
    comprehensions: int
    conditionals: int


def measured(path: Path) -> Source:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    nodes = list(ast.walk(tree))
    tokens, comments = read_tokens(text)

    return Source(
        room=path.relative_to(PACKAGE).parts[0],
        lines=len(text.splitlines()),
        bodies=tuple(bodies(path, text, nodes)),
        tokens=tokens,
        comments=comments,
        comprehensions=sum(
            isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp)
            for node in nodes
        ),
        conditionals=sum(isinstance(node, ast.IfExp) for node in nodes),
    )


def bodies(path: Path, text: str, nodes: list[ast.AST]) -> Iterator[Body]:
    lines = text.splitlines()
    for node in nodes:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue

        statements = node.body[1:] if ast.get_docstring(node) else node.body
        if statements:
            place = f"{path.relative_to(PACKAGE)}:{node.lineno} {node.name}"
            yield Body(
                place, tuple(lines[statements[0].lineno - 1 : statements[-1].end_lineno])
            )


def read_tokens(text: str) -> tuple[tuple[int, ...], int]:
    """How many tokens each line of code has, and how many comments there are."""
    by_line: dict[int, int] = {}
    comments = 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            comments += 1
        elif token.type in (tokenize.NAME, tokenize.OP, tokenize.NUMBER, tokenize.STRING):
            by_line[token.start[0]] = by_line.get(token.start[0], 0) + 1
    return tuple(by_line.values()), comments


@dataclass(frozen=True)
class Figures:
    """Several files, measured together."""

    unbroken: float
    blank: float
    comments: float
    tokens: float
    comprehensions: float
    conditionals: float

    @classmethod
    def of(cls, sources: list[Source]) -> Figures:
        all_bodies = [body for source in sources for body in source.bodies]
        long = [body for body in all_bodies if len(body.lines) >= LONG]
        lines = sum(source.lines for source in sources)
        in_bodies = sum(len(body.lines) for body in all_bodies)

        return cls(
            unbroken=sum(not body.blank for body in long) / max(1, len(long)),
            blank=sum(body.blank for body in all_bodies) / max(1, in_bodies),
            comments=100 * sum(source.comments for source in sources) / lines,
            tokens=statistics.quantiles(
                [count for source in sources for count in source.tokens], n=10
            )[-1],
            comprehensions=1000
            * sum(source.comprehensions for source in sources)
            / lines,
            conditionals=1000 * sum(source.conditionals for source in sources) / lines,
        )

    def row(self, title: str) -> str:
        return (
            f"{title:14} {self.unbroken:9.0%} {self.blank:7.1%} {self.comments:9.1f} {self.tokens:7.0f}"
            f" {self.comprehensions:15.0f} {self.conditionals:13.0f}"
        )


TITLES = (
    f"{'':14} {'unbroken':>9} {'blank':>7} {'comments':>9} {'tokens':>7}"
    + f" {'comprehensions':>15} {'conditionals':>13}"
)


@pytest.fixture(scope="module")
def sources() -> list[Source]:
    return [measured(path) for path in sorted(PACKAGE.rglob("*.py"))]


def test_long_bodies_have_paragraphs_and_lines_one_thought(sources: list[Source]) -> None:
    whole = Figures.of(sources)
    print(f"\n{TITLES}\n{whole.row('all')}")
    for room in sorted(
        {source.room for source in sources if not source.room.endswith(".py")}
    ):
        print(Figures.of([source for source in sources if source.room == room]).row(room))

    unbroken = [
        f"{body.place} ({len(body.lines)} lines)"
        for source in sources
        for body in source.bodies
        if len(body.lines) >= LONG and not body.blank
    ]
    assert whole.unbroken <= UNBROKEN_AT_MOST, "\n".join(unbroken)
    assert whole.tokens <= TOKENS_AT_MOST


def test_files_are_short() -> None:
    lines = {
        str(path.relative_to(PACKAGE)): len(path.read_text(encoding="utf-8").splitlines())
        for path in PACKAGE.rglob("*.py")
    }
    long = {name for name, count in lines.items() if count > LINES_AT_MOST}

    assert not long, lines
    assert statistics.median(lines.values()) <= MEDIAN_AT_MOST


def imported(path: Path, modules: set[str]) -> set[str]:
    """The modules of ours that a file imports, whenever it does so and be it for types only."""
    name = module_of(path)
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]

    targets = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                targets.add(whole if whole in modules else base)
    return targets - {name}


def module_of(path: Path) -> str:
    name = str(path.relative_to(PACKAGE.parent).with_suffix("")).replace("/", ".")
    return name.removesuffix(".__init__")


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Every set of modules that import each other, found by Tarjan's walk (1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    rings: list[list[str]] = []

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for target in sorted(graph[module]):
            if target not in index:
                visit(target)
                low[module] = min(low[module], low[target])
            elif target in stack:
                low[module] = min(low[module], index[target])

        if low[module] == index[module]:
            start = stack.index(module)
            if len(stack) - start > 1:
                rings.append(sorted(stack[start:]))
            del stack[start:]

    for module in sorted(graph):
        if module not in index:
            visit(module)
    return rings


def test_no_modules_import_each_other_not_even_for_types() -> None:
    modules = {module_of(path): path for path in PACKAGE.rglob("*.py")}
    graph = {name: imported(path, set(modules)) for name, path in modules.items()}
    graph = {
        name: {target for target in targets if target in graph}
        for name, targets in graph.items()
    }
    assert circles(graph) == []
