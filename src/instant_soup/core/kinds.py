"""Kinds: arguments of public functions, compared with their annotations, so that a wrong one is answered in a sentence.

What an annotation says in part only, such as a type variable, is not checked.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, wraps
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import (
    Any,
    Literal,
    ParamSpec,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from .errors import KindError, nearest

Arguments = ParamSpec("Arguments")
Outcome = TypeVar("Outcome")
Kind = TypeVar("Kind", bound=type)

_PLAIN = (int, float, str, bool, NoneType)
_LONGEST = 40  # characters of a value that an error shows


def checked(function: Callable[Arguments, Outcome]) -> Callable[Arguments, Outcome]:
    """*function*, which raises KindError where an argument is missing, unknown or of another kind than annotated."""
    return checked_but()(function)


def checked_but(
    *others: str,
) -> Callable[[Callable[Arguments, Outcome]], Callable[Arguments, Outcome]]:
    """`checked`, but for the kinds of the arguments *others*, of which the function has more to say."""

    def decorate(
        function: Callable[Arguments, Outcome],
    ) -> Callable[Arguments, Outcome]:
        signature = inspect.signature(function)
        title = function.__qualname__.removesuffix(".__init__")

        @wraps(function)
        def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Outcome:
            for name in kwargs:
                _check_known(title, name, signature)
            try:
                bound = signature.bind(*args, **kwargs)
            except TypeError as reason:
                raise KindError(
                    f"{title}: {reason}; expected {title}{_outline(signature)}"
                ) from None

            _check_kinds(title, bound.arguments, hints())
            return function(*args, **kwargs)

        @cache
        def hints() -> dict[str, Any]:
            # at the first call, when the names that annotations speak of are there
            read = _annotations(function)
            return {name: read[name] for name in read if name not in others}

        return call

    return decorate


def checked_class(kind: Kind) -> Kind:
    """A class whose constructor and public methods, but those of its parents, are `checked`."""
    return checked_class_but()(kind)


def checked_class_but(*others: str) -> Callable[[Kind], Kind]:
    """`checked_class`, but for the kinds of the arguments *others*, of which the class has more to say."""

    def decorate(kind: Kind) -> Kind:
        for name, member in list(vars(kind).items()):
            if name.startswith("_") and name != "__init__":
                continue

            bare = member.__func__ if isinstance(member, classmethod) else member
            if not inspect.isfunction(bare) or hasattr(bare, "__wrapped__"):
                continue

            wrapped = checked_but(*others)(bare)
            setattr(kind, name, classmethod(wrapped) if bare is not member else wrapped)
        return kind

    return decorate


def checked_knobs(method: Kind) -> Kind:
    """A method, a dataclass, whose plain knobs and whose `draw` are `checked`."""
    make: Any = method.__init__  # type: ignore[misc]
    signature = inspect.signature(make)

    @wraps(make)
    def call(self: Any, *args: Any, **knobs: Any) -> None:
        for name in knobs:
            _check_known(method.__name__, name, signature)
        bound = signature.bind(self, *args, **knobs)
        _check_kinds(method.__name__, bound.arguments, plain())
        make(self, *args, **knobs)

    @cache
    def plain() -> dict[str, Any]:
        return {
            name: hint
            for name, hint in _annotations(make, method).items()
            if all(_is_plain(part) for part in _alternatives(hint))
        }

    method.__init__ = call  # type: ignore[misc]
    method.draw = checked(method.draw)  # type: ignore[attr-defined]
    return method


def _check_known(title: str, name: str, signature: inspect.Signature) -> None:
    """Raise KindError, with the nearest one, where there is no parameter called *name*."""
    takes_any = any(
        part.kind is part.VAR_KEYWORD for part in signature.parameters.values()
    )
    if takes_any or name in signature.parameters:
        return
    names = [known for known in signature.parameters if known != "self"]
    raise KindError(f"{title} has no argument {name!r}; {nearest(name, names)}")


def _check_kinds(
    title: str, arguments: Mapping[str, Any], annotations: Mapping[str, Any]
) -> None:
    for name, value in arguments.items():
        hint = annotations.get(name, Any)
        if _fits(value, hint):
            _check_items(title, name, value, hint)
            continue

        swapped = [
            other
            for other, other_value in arguments.items()
            if other != name
            and _fits(value, annotations.get(other, object()))
            and _fits(other_value, hint)
        ]
        question = f": are {name} and {swapped[0]} swapped?" if swapped else ""
        raise KindError(
            f"{title}: {name} is {_shown(value)}; expected {_words(hint)}{question}"
        )


def _check_items(title: str, name: str, value: Any, hint: Any) -> None:
    """Raise KindError where a plain dict or list holds what *hint* does not say; what may be lazy is not read."""
    items: Iterable[tuple[Any, Any]]
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list | tuple):
        items = enumerate(value)
    else:
        return

    for part in _alternatives(hint):
        origin = get_origin(part)
        family = Mapping if isinstance(value, dict) else Sequence
        if not isinstance(origin, type) or not issubclass(origin, family):
            continue

        expected = get_args(part)[-1] if isinstance(value, dict) else get_args(part)[0]
        for key, item in items:
            if not _fits(item, expected):
                raise KindError(
                    f"{title}: {name}[{key!r}] is {_shown(item)}; expected {_words(expected)}"
                )


def _shown(value: Any) -> str:
    """A value and its kind, briefly."""
    kind = type(value).__name__
    if not isinstance(value, _PLAIN):
        return f"of the kind {kind}"
    text = repr(value)
    short = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
    return short if value is None else f"{short}, of the kind {kind}"


def _outline(signature: inspect.Signature) -> str:
    """The parameters that have to be given, in order."""
    needed = [
        name
        for name, part in signature.parameters.items()
        if part.default is part.empty and part.kind is not part.VAR_KEYWORD
    ]
    return f"({', '.join(name for name in needed if name not in ('self', 'cls'))}, ...)"


# annotations


def _annotations(
    function: Callable[..., Any], owner: type | None = None
) -> dict[str, Any]:
    """The annotations that can be read at run time; those of imports for type checkers only are left out."""
    module = inspect.getmodule(owner or function)
    names = vars(module) if module else {}

    read: dict[str, Any] = {}
    for name, annotation in function.__annotations__.items():
        # one by one, so that a name that is not there at run time hides no other
        alone = type("Alone", (), {"__annotations__": {name: annotation}})
        try:
            read |= get_type_hints(alone, globalns=names)
        except (NameError, AttributeError, TypeError):
            continue
    return read


def _alternatives(hint: Any) -> tuple[Any, ...]:
    """The parts of a union, or *hint* alone."""
    if get_origin(hint) in (Union, UnionType):
        return tuple(part for side in get_args(hint) for part in _alternatives(side))
    return (NoneType,) if hint is None else (hint,)


def _is_plain(hint: Any) -> bool:
    if get_origin(hint) is tuple:
        return all(item is ... or _is_plain(item) for item in get_args(hint))
    return hint in _PLAIN or get_origin(hint) is Literal


def _fits(value: Any, hint: Any) -> bool:
    return any(_is_of(value, part) for part in _alternatives(hint))


def _is_of(value: Any, hint: Any) -> bool:
    """Whether *value* is of the one kind *hint*; True where that is not known."""
    origin = get_origin(hint) or hint

    if origin is Literal:
        return isinstance(value, tuple({type(choice) for choice in get_args(hint)}))
    if origin is float:
        return isinstance(value, Real) and not isinstance(value, bool)
    if origin is int:
        return isinstance(value, Integral)
    if origin is Path:
        return isinstance(value, os.PathLike)
    if origin is Callable or str(origin).endswith("abc.Callable'>"):
        return callable(value)
    if not isinstance(origin, type) or origin in (object, Any):
        return True

    if getattr(origin, "_is_protocol", False):
        members = [name for name in vars(origin) if not name.startswith("_")]
        return all(hasattr(value, name) for name in members)
    if issubclass(origin, Sequence) and origin is not str:
        return isinstance(value, Sequence) and _holds(value, get_args(hint))
    return isinstance(value, origin)


def _holds(value: Sequence[Any], kinds: tuple[Any, ...]) -> bool:
    """Whether a sequence, which text by itself is not, holds strings where it is to hold them."""
    if isinstance(value, str | bytes):
        return False
    return kinds[:1] != (str,) or all(isinstance(item, str) for item in value)


def _words(hint: Any) -> str:
    """A kind as it is called in a sentence."""
    parts = [_word(part) for part in _alternatives(hint)]
    return " or ".join(dict.fromkeys(parts))


def _word(hint: Any) -> str:
    if hint is NoneType:
        return "None"
    if get_origin(hint) is Literal:
        return " or ".join(repr(choice) for choice in get_args(hint))

    origin = get_origin(hint) or hint
    if isinstance(origin, type) and issubclass(origin, Sequence) and origin is not str:
        return (
            "a list" if get_args(hint)[:1] != (str,) else "a list of str, as in ['text']"
        )
    if origin in (Mapping, dict):
        return "a dict"
    names = {
        int: "a whole number",
        float: "a number",
        str: "a str",
        bool: "True or False",
    }
    name = getattr(origin, "__name__", str(origin))
    article = "an" if name[:1] in "AEIOUaeiou" else "a"
    return names.get(origin, f"{article} {name}")
