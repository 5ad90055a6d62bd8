"""Model output is hostile input: the one sanitiser in front of every place where a person reads it.

A reply may hold terminal escapes, bidirectional overrides, NUL bytes, lone surrogates, commands to the CI system that reads
the log, or a hundred megabytes. `visible` turns all that into printable text of bounded length without losing what was
there: each removed character is shown by its code point. HTML and Markdown are escaped where they are written, on top of
this.
"""

from __future__ import annotations

import re
import unicodedata

# Cc: control characters (ESC starts every ANSI and OSC sequence); Cf: format characters, bidi overrides and zero-width
# ones among them; Cs: lone surrogates, which break UTF-8 writers and execnet; Co, Cn: private use and unassigned, which
# fonts show as they like; Zl, Zp: separators that break lines in some sinks and not in others.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_KEPT = frozenset("\n\t")
# Joiners that ordinary emoji and several scripts need.
_JOINERS = frozenset("\u200c\u200d")

# A line of a log is a command if it begins, white space apart, with `::name …::` (GitHub Actions), or if it holds `##[name]`
# (GitHub Actions' older form), `##vso[…]` (Azure Pipelines) or `##teamcity[…]` anywhere.
_COMMAND = re.compile(r"(?<!\S)::(?=[\w.-]+(?: [^\n]*?)?::)|##(?=\w*\[)")


def _shown(character: str) -> str:
    if character in _KEPT or character in _JOINERS or unicodedata.category(character) not in _HIDDEN:
        return character
    return f"\\u{{{ord(character):x}}}"


def visible(text: str, *, limit: int | None = None) -> str:
    """`text` with nothing in it that a terminal, XML or a log viewer would act on.

    `limit`: at most so many characters of the original, with the number left out said at the end.
    """
    cut = text if limit is None else text[:limit]
    shown = cut if cut.isascii() and cut.isprintable() else "".join(map(_shown, cut.replace("\r\n", "\n")))
    shown = _COMMAND.sub(lambda found: f"{found[0][0]}\\u{{{ord(found[0][1]):x}}}", shown)
    return shown if len(cut) == len(text) else f"{shown}… ({len(text) - len(cut):,} more characters)"


def one_line(text: str, *, limit: int = 160) -> str:
    """`visible`, on one line of at most `limit` characters: for tables and lists."""
    folded = visible(" ".join(text[: limit * 4].split()))
    return folded if len(folded) <= limit and len(text) <= limit * 4 else f"{folded[: limit - 1]}…"


def blank(text: str) -> bool:
    """Whether a person would see nothing: only white space, control and format characters."""
    return all(c.isspace() or unicodedata.category(c) in _HIDDEN for c in text)


def wordless(text: str) -> bool:
    """Whether it says nothing: `blank`, or punctuation alone."""
    return all(blank(c) or unicodedata.category(c)[0] == "P" for c in text)


def points(value: float, *, signed: bool = True) -> str:
    """A difference of rates in percentage points: `+5.0 points`."""
    return f"{value * 100:+z.1f} points" if signed else f"{value * 100:z.1f} points"


def percent(value: float) -> str:
    return f"{value * 100:z.1f} %"
