"""Model output is hostile input: the one sanitiser in front of every place where a person reads it.

A reply may hold terminal escapes, bidirectional overrides, NUL bytes, lone surrogates, commands to the CI system that reads
the log, or a hundred megabytes. `visible` turns all that into printable text of bounded length without losing what was
there: each removed character is shown by its code point. HTML and Markdown are escaped where they are written, on top of
this. Key values go too (redaction.py).
"""

from __future__ import annotations

import re
import unicodedata

from pytest_alignbench.redaction import redacted

# Cc: control characters (ESC starts every ANSI and OSC sequence); Cf: format characters, bidi overrides and zero-width
# ones among them; Cs: lone surrogates, which break UTF-8 writers and execnet; Co, Cn: private use and unassigned, which
# fonts show as they like; Zl, Zp: separators that break lines in some sinks and not in others.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# Letters and marks by category that show nothing: fillers of Hangul, Khmer's inherent vowels, the empty Braille cell.
_UNSEEN = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
# Joiners that ordinary emoji and several scripts need, between two of their characters.
_JOINERS = frozenset("\u200c\u200d")
_MARKS = 4
"""Combining marks on one character that are shown as such: more are a flood over the lines around."""

_UNPLAIN = re.compile(r"[^\n\t\x20-\x7e]+")
_COLOUR = re.compile(r"(\x1b\[[0-9;]*m)")
_MARGIN = 64
"""Characters past a cut that are looked at, so that a key value is not cut in two and shown by half."""

# A line of a log is a command if it begins, white space apart, with `::name …::` (GitHub Actions), or if it holds `##[name]`
# (GitHub Actions' older form), `##vso[…]` (Azure Pipelines) or `##teamcity[…]` anywhere.
_COMMAND = re.compile(r"(?<!\S)::(?=[\w.-]+(?: [^\n]*?)?::)|##(?=\w*\[)")


def _shown(run: re.Match[str]) -> str:
    """Characters that are not plain ASCII, each as it is or by its code point."""
    made = []
    marks, joinable = 0, False
    for character in run[0]:
        category = unicodedata.category(character)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        hidden = category in _HIDDEN or character in _UNSEEN or marks > _MARKS
        shown = joinable if character in _JOINERS else not hidden
        made.append(character if shown else f"\\u{{{ord(character):x}}}")
        joinable = not hidden
    return "".join(made)


def visible(text: str, *, limit: int | None = None) -> str:
    """`text` with nothing in it that a terminal, XML or a log viewer would act on, and no key value that is known.

    `limit`: at most so many characters of the original, with the number left out said at the end.
    """
    known = redacted(text if limit is None else text[: limit + _MARGIN])
    cut = known[:limit]
    more = len(known) - len(cut) + (0 if limit is None else max(0, len(text) - limit - _MARGIN))
    shown = cut if cut.isascii() and cut.isprintable() else _UNPLAIN.sub(_shown, cut.replace("\r\n", "\n"))
    shown = _commandless(shown)
    return f"{shown}… ({more:,} more characters)" if more else shown


def _commandless(text: str) -> str:
    return _COMMAND.sub(lambda found: f"{found[0][0]}\\u{{{ord(found[0][1]):x}}}", text)


def visible_in_colour(text: str) -> str:
    """`visible`, but for codes that set a colour and do nothing else: pytest puts them into what it compares.

    Where a command to a CI system would come of the parts between colours, there are none.
    """
    shown = "".join(part if _COLOUR.fullmatch(part) else visible(part) for part in _COLOUR.split(text))
    plain = _COLOUR.sub("", shown)
    tamed = _commandless(plain)
    return shown if tamed == plain else tamed


def one_line(text: str, *, limit: int = 160) -> str:
    """`visible`, on one line of at most `limit` characters: for tables and lists."""
    known = redacted(text[: limit * 4 + _MARGIN])
    folded = visible(" ".join(known[: limit * 4].split()))
    return folded if len(folded) <= limit and len(known) <= limit * 4 else f"{folded[: limit - 1]}…"


def storable(text: str) -> str:
    """`text` as records keep it: whole, but for key values; a lone surrogate, which fits into no UTF-8 file, as its escape."""
    return redacted(text).encode("utf-8", "backslashreplace").decode()


def blank(text: str) -> bool:
    """Whether a person would see nothing: only white space, control and format characters."""
    return all(c.isspace() or unicodedata.category(c) in _HIDDEN or c in _UNSEEN for c in set(text))


def wordless(text: str) -> bool:
    """Whether it says nothing: `blank`, or punctuation alone."""
    return all(blank(c) or unicodedata.category(c)[0] == "P" for c in set(text))


def points(value: float, *, signed: bool = True) -> str:
    """A difference of rates in percentage points: `+5.0 points`."""
    return f"{value * 100:+z.1f} points" if signed else f"{value * 100:z.1f} points"


def percent(value: float) -> str:
    return f"{value * 100:z.1f} %"
