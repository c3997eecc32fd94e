"""Printable: text from files and from the world, made safe to show on a terminal, in a table or on a page.

What a terminal cannot encode is written in letters that it has: the one place where that is decided.
"""

from __future__ import annotations

import codecs
import unicodedata

FALLBACK = "instant-soup"
"""The name under which streams ask for it: ``errors=FALLBACK``."""

_PLAIN = {
    "↳": "->",
    "→": "->",
    "±": "+/-",
    "…": "...",
    "µ": "u",
    "μ": "u",
    "×": "x",  # noqa: RUF001 - the same
    "·": ".",
    "•": "*",
    "–": "-",  # noqa: RUF001 - the same
    "—": "-",
    "‘": "'",  # noqa: RUF001 - the same
    "’": "'",  # noqa: RUF001 - the same
    "“": '"',
    "”": '"',
    "≤": "<=",
    "≥": ">=",
    "✓": "v",
    "✗": "x",
}
_BARS = "─━═╌╍┄┅┈┉╴╶╸╺"
_POSTS = "│┃║╎╏┆┇┊┋╵╷╹╻"

_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Categories of Unicode that show nothing, move the cursor, turn the line around or cannot be encoded."""


def printable(text: str) -> str:
    r"""*text* on one line, with what is not seen written out: a newline as ``\n``, an escape as ``\x1b``."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_written_out(letter) for letter in text)


def _written_out(letter: str) -> str:
    if unicodedata.category(letter) not in _UNSEEN:
        return letter
    return letter.encode("unicode_escape").decode("ascii")


def fitting(text: str, encoding: str) -> str:
    """*text* in letters that *encoding* has."""
    return text.encode(encoding, FALLBACK).decode(encoding, "replace")


def _plainly(error: UnicodeError) -> tuple[str, int]:
    """What stands for letters that an encoding does not have."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    return "".join(_plain(letter) for letter in letters), error.end


def _plain(letter: str) -> str:
    if letter in _PLAIN:
        return _PLAIN[letter]
    if letter in _BARS:
        return "-"
    if letter in _POSTS:
        return "|"
    if "\u2500" <= letter <= "\u257f":  # corners and crossings of boxes
        return "+"
    if "\u2580" <= letter <= "\u259f":  # blocks, of which bars are filled
        return "#"
    return letter.encode("ascii", "backslashreplace").decode()


codecs.register_error(FALLBACK, _plainly)
