"""Key values that this process knows, kept out of everything that it shows or stores.

    OPENAI_API_KEY=sk-proj-Ab12…     "Incorrect API key: sk-proj-Ab12…"   ->   "Incorrect API key: [redacted OPENAI_API_KEY]"

Providers quote a refused key in their errors, tracebacks hold it in their locals, and a model that has seen it repeats it.
What is looked for is the value itself, not what looks like a key: values of environment variables whose names say that they
are secret, credentials within URLs, and what a model's client was given. They are found as they stand and as they travel
(percent-encoded, in base64, escaped for JSON, Python or HTML): whole, cut off but for `_END` characters at either end, or
masked in the middle (`sk-pr***xyz`).

What is once known stays known for the life of the process: a variable that is changed later does not unsay its old value.
"""

from __future__ import annotations

import base64
import html
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

SHORTEST = 8
"""Characters: a shorter value cannot be told from ordinary words."""

_END = 16
"""Characters at either end of a value that give it away: the public beginnings of keys (`sk-ant-api03-`) are shorter."""

_SECRET = re.compile(
    r"(?:^|[^A-Z])(?:KEYS?|CREDENTIALS?|BEARER|AUTHORIZATION|PAT|TOKEN)(?:$|[^A-Z])|(?:APIKEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE)$",
    re.IGNORECASE,
)
_NO_SECRET = re.compile(r"(?:FILE|PATH|DIR|URL|URI|NAME|HOST|ENDPOINT)$", re.IGNORECASE)
"""Such a variable says where a secret is. Credentials within a URL are found by themselves."""

_NO_VALUE = frozenset(
    {"anything", "changeme", "inference", "no-api-key", "no-key-needed", "not-needed", "placeholder", "undefined"}
)
"""What people write where a local server wants a key and does not look at it: words that stand in replies too."""

_MASK = re.compile(r"\*\*\*+|\.\.\.+|…")
_HEAD, _TAIL = 4, 8
"""Characters of a value before a row of stars, or after any mask, that are taken for it without more."""
_BOTH = 6
"""Characters of a value around a mask, both sides together."""
_SEEN = 300
"""Characters around a mask that are looked at."""

_OPEN = ("inspect_ai.", "_pytest.")
"""Modules whose objects `throughout` looks into."""

_Forms = Sequence[tuple[str, str]]
"""(a value in one of its forms, what is shown instead)."""

_values: dict[str, str] = {}
"""Value -> what is shown instead."""
_ends: dict[str, _Forms] = {}
"""First or last characters of a form -> the forms that have them."""
_learnt = False
"""Whether the environment has been looked at."""


def learn(value: str | None, name: str) -> None:
    """From now on this value is not shown; in its place stands its name."""
    value = (value or "").strip()
    if len(value) < SHORTEST or value.lower() in _NO_VALUE or value in _values:
        return
    if value.startswith(("/", "~")) and os.path.exists(os.path.expanduser(value)):
        return  # it says where the secret is
    shown = _values[value] = f"[redacted {name}]"
    for form in _forms(value):
        _ends[form[:_END]] = [*_ends.get(form[:_END], ()), (form, shown)]
    if len(value) > _END:
        _ends[value[-_END:]] = [*_ends.get(value[-_END:], ()), (value, shown)]
    pieces = re.split(r"[\s,;]+", value)
    for piece in pieces if len(pieces) > 1 else ():
        if len(piece) >= _END and not piece.startswith("-----"):
            learn(piece, name)


def learn_url(url: str | None, name: str) -> None:
    """The credentials in a URL, if it has any: `https://user:password@host`, `https://host?api_key=…`."""
    if not url or "://" not in url:
        return
    try:
        parts = urlsplit(url)
        given = [parts.password or parts.username, *(v for k, v in parse_qsl(parts.query) if _SECRET.search(k))]
    except ValueError:  # it is none
        return
    for value in filter(None, given):
        learn(value, name)
        learn(unquote(value), name)


def learn_named(values: Mapping[str, Any]) -> None:
    """Of variables, arguments or headers: the values that are secret by name, and the credentials in those that are URLs."""
    for name, value in values.items():
        if isinstance(value, str):
            if _SECRET.search(name) and not _NO_SECRET.search(name):
                learn(value, name)
            learn_url(value, name)


def learn_environment() -> None:
    """All of the environment, as it is now."""
    global _learnt
    _learnt = True
    # pytest takes a variable away at each test's end, in another thread than the one that measures.
    now = ((name, os.environ.get(name)) for name in list(os.environ))
    learn_named({name: value for name, value in now if value is not None})


def redacted(text: str) -> str:
    """`text` without the values that are known: some microseconds where it has none."""
    if not _learnt:
        learn_environment()
    if len(text) < SHORTEST:
        return text
    found = [end for end in list(_ends) if end in text]
    # A value may be a part of another: the one that reaches furthest goes first.
    for end in sorted(found, key=lambda end: -max(len(form) for form, _ in _ends[end])):
        text = _without(text, end, _ends[end])
    return _unmasked(text) if _values and ("***" in text or "..." in text or "…" in text) else text


def throughout(value: Any, change: Callable[[str], str] = redacted) -> Any:
    """`value` with every text in it changed. Lists, tuples and dicts are made anew; exceptions and the objects of Inspect
    and of pytest are changed where they stand."""
    return _within(value, change, set())


# -- how a value may look


def _forms(value: str) -> Iterable[str]:
    """The value as it stands and as it travels, each form once."""
    escaped = json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1], repr(value)[1:-1]
    quoted = quote(value, safe=""), quote(value), quote_plus(value)
    small = (re.sub(r"%..", lambda code: code[0].lower(), form) for form in quoted)
    raw = value.encode("utf-8", "surrogatepass")
    coded = (_base64(raw, offset, encode) for offset in range(3) for encode in _BASES)
    every = (value, *escaped, *quoted, *small, html.escape(value), html.escape(value, quote=False), *coded)
    return dict.fromkeys(form for form in every if len(form) >= SHORTEST)


_BASES: Sequence[Callable[[bytes], bytes]] = (base64.b64encode, base64.urlsafe_b64encode)


def _base64(raw: bytes, offset: int, encode: Callable[[bytes], bytes]) -> str:
    """The digits that `raw` alone decides, where it begins `offset` bytes after a multiple of three."""
    digits = encode(b"\0" * offset + raw).decode().rstrip("=")
    return digits[(0, 2, 3)[offset] : None if (offset + len(raw)) % 3 == 0 else -1]


# -- where it stands


def _without(text: str, end: str, forms: _Forms) -> str:
    """`text` with each form that has this end replaced, as far as it is there."""
    parts: list[str] = []
    at = 0
    while (found := text.find(end, at)) >= 0:
        reach = [(*_reach(text, at, found, end, form), shown) for form, shown in forms]
        start, stop, shown = max(reach, key=lambda r: r[1] - r[0])
        parts += [text[at:start], shown]
        at = stop
    return "".join([*parts, text[at:]])


def _reach(text: str, least: int, found: int, end: str, form: str) -> tuple[int, int]:
    """From where to where `form` stands around one of its ends, not before `least`."""
    start, stop = found, found + len(end)
    if form.startswith(end):
        for character in form[len(end) :]:
            if not text.startswith(character, stop):
                break
            stop += 1
    if form.endswith(end):
        for character in reversed(form[: -len(end)]):
            if start == least or text[start - 1] != character:
                break
            start -= 1
    return start, stop


def _unmasked(text: str) -> str:
    """`text` without what others left of a value when they masked it."""
    parts: list[str] = []
    at = 0
    for mask in _MASK.finditer(text):
        start, stop = mask.span()
        before, after = text[max(at, start - _SEEN) : start], text[stop : stop + _SEEN]
        for value, shown in list(_values.items()):
            if value[:2] not in before and value[-_TAIL:] not in after:
                continue  # most masks by far are somebody's three dots
            head = next((k for k in range(len(value) - 1, 1, -1) if before.endswith(value[:k])), 0)
            tail = next((k for k in range(len(value) - 1, 0, -1) if after.startswith(value[-k:])), 0)
            if (head >= _HEAD and text[start] == "*") or tail >= _TAIL or (head and head + tail >= _BOTH):
                parts += [text[at : start - head], shown]
                at = stop + tail
                break
    return "".join([*parts, text[at:]])


def _within(value: Any, change: Callable[[str], str], seen: set[int]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {_within(k, change, seen): _within(v, change, seen) for k, v in value.items()}
    if isinstance(value, list | tuple):
        made = [_within(v, change, seen) for v in value]
        return tuple(made) if type(value) is tuple else made
    if id(value) not in seen and (isinstance(value, BaseException) or type(value).__module__.startswith(_OPEN)):
        seen.add(id(value))
        if isinstance(value, BaseException):
            value.args = _within(value.args, change, seen)
            for other in (value.__cause__, value.__context__):
                _within(other, change, seen)
        for name, held in list(getattr(value, "__dict__", {}).items()):
            value.__dict__[name] = _within(held, change, seen)
    return value
