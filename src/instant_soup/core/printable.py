"""Printable: text from files and from the world, made safe to show on a terminal, in a table or on a page."""

from __future__ import annotations

import unicodedata

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
