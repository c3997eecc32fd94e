"""Escape: turns names from files and recipes into Markdown that shows them and does nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCardData
from jinja2 import Environment, StrictUndefined

_MARKUP = re.compile(r"([\\`*_<>\[\]|&#~@])")
# addresses that readers of Markdown make links of without being asked
_LINK = re.compile(r"(?<=:)//|(?<=www)\.", re.IGNORECASE)


class Ready(str):
    """Markdown that is escaped already, or that is meant as markup."""

    __slots__ = ()


def prose(text: str) -> Ready:
    """*text* on one line, with nothing in it that would be read as markup, HTML or a link."""
    escaped = _MARKUP.sub(r"\\\1", line(text))
    return Ready(_LINK.sub(lambda link: "\\" + link[0], escaped))


def line(text: str) -> Ready:
    """*text* on one line, for a block of code, where nothing is markup."""
    # neither control characters, nor marks that turn the direction of writing, nor halves of surrogate pairs
    seen = [letter if letter.isprintable() else " " for letter in text]
    return Ready(re.sub(" +", " ", "".join(seen)))


def code(text: str) -> Ready:
    """*text* on one line, as code in a cell of a table."""
    flat = line(text).strip().replace("|", r"\|")
    # a run of backticks ends code that began with as many
    runs = [len(run) for run in re.findall(r"`+", flat)]
    longest = max(runs, default=0)
    fence = "`" * (longest + 1)
    # keeps a backtick at an end apart from the fence
    space = " " if longest else ""
    return Ready(f"{fence}{space}{flat}{space}{fence}")


def page(template: Path, metadata: Mapping[str, Any], **facts: Any) -> str:
    """Render the Markdown page of *template*.

    Args:
        metadata: what the hub reads at the top of the page; fields without a value are left out.
        facts: values for the template; text among them is escaped unless it is `Ready`.
    """
    head = {key: value for key, value in metadata.items() if value}
    environment = Environment(
        autoescape=False,  # noqa: S701 - that is for HTML; `_escaped` escapes for Markdown
        finalize=_escaped,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters["code"] = code
    environment.filters["line"] = line
    body = environment.from_string(template.read_text(encoding="utf-8"))
    return body.render(metadata=Ready(ModelCardData(**head).to_yaml() + "\n"), **facts)


def _escaped(value: Any) -> Any:
    if isinstance(value, str) and not isinstance(value, Ready):
        return prose(value)
    return value
