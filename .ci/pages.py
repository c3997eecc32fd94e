"""Pages: what MkDocs is told of the documentation. Pages that no list names, and links out of it."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

SECTIONS = {
    "adr": "Decisions",
    "methods": "Methods",
    "reference": "Reference",
    "": "Guides",
}
_LINK = re.compile(r"\[([^\]]+)\]\(((?:\.\./)+[^)#]+)(#[^)]*)?\)")


def on_config(config: Any) -> Any:
    """Put every page into the section of its folder."""
    docs = Path(config["docs_dir"])
    listed = set(_listed(config["nav"]))
    sections = {
        title: pages
        for entry in config["nav"]
        if isinstance(entry, dict)
        for title, pages in entry.items()
    }

    for path in sorted(docs.rglob("*.md")):
        page = path.relative_to(docs).as_posix()
        folder = posixpath.dirname(page)
        if page not in listed and folder in SECTIONS:
            sections[SECTIONS[folder]].append(page)
    return config


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """Name files of the tree that are no pages, in place of a link that leads out of the site."""
    folder = posixpath.dirname(page.file.src_uri)
    tree = Path(config["docs_dir"]).parent

    def named(match: re.Match[str]) -> str:
        words, target, _ = match.groups()
        place = posixpath.normpath(posixpath.join("docs", folder, target))
        if place.startswith("docs/"):
            return match[0]
        if not (tree / place).exists():
            raise FileNotFoundError(
                f"{page.file.src_uri} links to {target}, and there is no {place} in the tree"
            )
        return f"{words} (`{place}`)"

    return _LINK.sub(named, markdown)


def _listed(entries: list[Any]) -> list[str]:
    pages = []
    for entry in entries:
        values = entry.values() if isinstance(entry, dict) else [entry]
        for value in values:
            pages += _listed(value) if isinstance(value, list) else [value]
    return pages
