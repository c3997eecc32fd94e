"""Toml: files of recipes as plain data, before anyone asks what they mean."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..core.errors import RecipeError
from ..core.filetype import NAMED, file_type
from ..core.places import real

_MOST_BYTES = 5_000_000  # of one file
_MOST_FILES = 100  # that one recipe stands on
_DEEPEST = 20  # tables within tables, lists included
_LARGEST = 2**63 - 1  # of whole numbers

_PATHS = (
    ("task", "model"),
    ("data", "folder"),
    ("data", "test"),
)
"""Fields that may name files."""


def read(path: Path) -> dict[str, Any]:
    """What a file holds, on top of the files that its ``extends`` names, the later on top of the earlier.

    A path in a file is taken from where the file is, if there is something there.

    Raises RecipeError when a file is missing or no TOML, holds what no recipe can, or extends itself.
    """
    return _Reader().read(path, ())


class _Reader:
    """Reads a file and those below it, each of them once."""

    def __init__(self) -> None:
        self._known: dict[Path, dict[str, Any]] = {}

    def read(self, path: Path, below: tuple[Path, ...]) -> dict[str, Any]:
        """The whole of *path*, which the last of *below* extends."""
        # the system would raise a ValueError at the first use of such a path
        if "\0" in str(path):
            raise RecipeError(f"{str(path)!r} is no path; remove the zero character")

        place = real(path)
        if place in below:
            raise RecipeError(
                f"{path} extends itself by way of {below[-1]}; take one of them out"
            )
        if place in self._known:
            return self._known[place]
        if len(self._known) + len(below) >= _MOST_FILES:
            raise RecipeError(
                f"{path}: more than {_MOST_FILES} files extend each other; put some of them together"
            )

        fields = _loaded(path, below)
        bases = fields.pop("extends", [])
        if isinstance(bases, str):
            bases = [bases]
        if not _are_texts(bases):
            raise RecipeError(
                f"{path}: extends is {bases!r}; expected a path, from where this file is, or some"
            )

        extended: dict[str, Any] = {}
        for base in bases:
            inherited = self.read(path.parent / base, (*below, place))
            extended = merged(extended, inherited)
        self._known[place] = merged(extended, fields)
        return self._known[place]


def _are_texts(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def _loaded(path: Path, below: tuple[Path, ...]) -> dict[str, Any]:
    """The fields of one file, which the last of *below* extends."""
    _refuse_odd(path)
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        source = f", which {below[-1]} extends" if below else ""
        raise RecipeError(f"no recipe at {path}{source}; check the path") from None
    except RecursionError:
        raise RecipeError(
            f"{path}: lists stand in each other more than {_DEEPEST} deep; take some of them out"
        ) from None
    except (OSError, ValueError) as error:
        # UnicodeDecodeError, TOMLDecodeError, a number of thousands of digits
        raise RecipeError(
            f"{path} is not TOML ({error}); see recipes/demo.toml for a recipe that is"
        ) from error

    check(fields, str(path))
    _anchor(fields, path.parent)
    return fields


def _refuse_odd(path: Path) -> None:
    """Raise RecipeError for what is no text, would be waited for, or takes too long to read."""
    if path.is_dir():
        raise RecipeError(f"{path} is a folder; give a recipe in it, such as demo.toml")
    if path.exists() and not path.is_file():
        raise RecipeError(
            f"{path} is no regular file; give a recipe, such as recipes/demo.toml"
        )
    if path.is_file():
        kind = file_type(path)
        if kind.kind != "other" or kind.words in NAMED:
            raise RecipeError(
                f"{path} is {kind.words} and no recipe; recipes are TOML: `instant-soup new FILE` writes one"
            )
    if path.is_file() and path.stat().st_size > _MOST_BYTES:
        raise RecipeError(
            f"{path} has more than {_MOST_BYTES:,} bytes, and a recipe has a few hundred"
        )


def check(fields: Mapping[str, Any], source: str) -> None:
    """Raise RecipeError where *fields* hold what no recipe can: endless depth, enormous numbers, zero characters."""
    for place, depth, value in _walk(fields):
        if depth > _DEEPEST:
            raise RecipeError(
                f"{source}: {place[:60]}... is more than {_DEEPEST} tables deep; take some of them out"
            )

        if isinstance(value, str) and "\0" in value:
            raise RecipeError(f"{source}: {place} holds a zero character; remove it")
        if isinstance(value, int) and abs(value) > _LARGEST:
            raise RecipeError(
                f"{source}: {place} is a number of more than 19 digits; expected one below 2**63"
            )


def _walk(fields: Any) -> Iterator[tuple[str, int, Any]]:
    """Every value with its place and its depth, no deeper than one level too deep."""
    # a list of what is left, for calls would nest as deep as the tables
    left: list[tuple[str, int, Any]] = [("", 0, fields)]
    while left:
        place, depth, value = left.pop()
        yield place, depth, value
        if depth > _DEEPEST:
            continue

        if isinstance(value, Mapping):
            for name, inner in value.items():
                inner_place = f"{place}.{name}" if place else str(name)
                left.append((inner_place, depth + 1, inner))
        elif isinstance(value, list):
            left += [(place, depth + 1, inner) for inner in value]


def _anchor(fields: dict[str, Any], folder: Path) -> None:
    """Let paths in *fields* begin at *folder*, where something is there."""
    places = [fields]
    cells = fields.get("cells", {})
    if isinstance(cells, dict):
        places += [cell for cell in cells.values() if isinstance(cell, dict)]
    sweeps = [place.get("sweep") for place in places]
    places += [sweep for sweep in sweeps if isinstance(sweep, dict)]

    for place in places:
        for table, field in _PATHS:
            inner = place.get(table)
            if isinstance(inner, dict) and field in inner:
                inner[field] = _anchored(inner[field], folder)

            # in a sweep a field may also stand under its whole name
            in_full = f"{table}.{field}"
            if in_full in place:
                place[in_full] = _anchored(place[in_full], folder)


def _anchored(value: Any, folder: Path) -> Any:
    """The path *value*, or each of several, from *folder*; as it stands where that leads nowhere or to the same."""
    if isinstance(value, list):
        return [_anchored(item, folder) for item in value]
    if not isinstance(value, str) or value == "packaged" or Path(value).is_absolute():
        return value

    place = folder / value
    try:
        if not place.exists():
            return value
        # the text is part of the key, so it stays as it is written where it leads to the same from here
        if Path(value).exists() and place.samefile(value):
            return value
    except OSError:
        # a name that is too long, or a folder that may not be read
        return value
    return str(real(place))


def cells(fields: dict[str, Any], source: str) -> dict[str, dict[str, Any]]:
    """Take the cells, what each recipe of the file has for its own, out of *fields*. Raises RecipeError."""
    tables = fields.pop("cells", {})
    refusal = f"{source}: 'cells' is no table of tables; write [cells.NAME]"

    if not isinstance(tables, dict):
        raise RecipeError(refusal)
    if not all(isinstance(cell, dict) for cell in tables.values()):
        raise RecipeError(refusal)
    return tables


def merged(fields: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """*fields* with *own* on top, table by table; another method comes with its own knobs only."""
    whole = dict(fields)
    for name, value in own.items():
        below = whole.get(name)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            another = _is_another_method(name, below, value)
            whole[name] = value if another else merged(below, value)
        else:
            whole[name] = value

    return whole


def _is_another_method(
    name: str, below: Mapping[str, Any], value: Mapping[str, Any]
) -> bool:
    """Whether the table *name* is that of the method, and *value* names another one than *below* does."""
    name_below = below.get("name")
    return name == "method" and value.get("name", name_below) != name_below


def change(fields: dict[str, Any], change: str) -> None:
    """Set the field that *change*, such as ``"method.denoisers=8"``, names. Raises RecipeError."""
    path, equals, text = change.partition("=")
    if not equals or not path.strip() or "\n" in change:
        raise RecipeError(
            f"--set {change!r} is not key=value; write for example --set method.denoisers=8"
        )

    *tables, last = [part.strip() for part in path.split(".")]
    if len(tables) > _DEEPEST:
        raise RecipeError(
            f"--set {change[:60]}... is more than {_DEEPEST} tables deep; see `instant-soup plan`"
        )
    whole = fields
    for table in tables:
        fields = fields.setdefault(table, {})
        if not isinstance(fields, dict):
            raise RecipeError(
                f"--set {change!r}: {table!r} is no table; see `instant-soup plan` for the fields"
            )

    fields[last] = _value(text)
    # all of it once more: the change may be too large or nest too deep
    check(whole, f"--set {change[:60]}")


def _value(text: str) -> Any:
    """What stands behind the equals sign: TOML, or a bare word, which is text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        # nobody quotes a word twice, once for TOML and once for the shell
        return text.strip()


def without_none(fields: dict[str, Any]) -> dict[str, Any]:
    """*fields* without those that are None, for TOML has no null."""
    set_fields = {}
    for name, value in fields.items():
        if isinstance(value, dict):
            set_fields[name] = without_none(value)
        elif value is not None:
            set_fields[name] = value
    return set_fields
