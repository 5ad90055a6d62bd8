"""Blocks of a document that a program writes: what lies between `<!-- NAME: begin … -->` and `<!-- NAME: end -->`."""

from __future__ import annotations

import re
from pathlib import Path


def put(document: Path, name: str, block: str) -> None:
    """Writes `block` in the place of what the document has between these marks.

    Raises ValueError where the marks are not there, once each.
    """
    text = document.read_text(encoding="utf-8")
    marks = re.compile(rf"(<!-- {re.escape(name)}: begin\b[^>]*-->\n).*?(<!-- {re.escape(name)}: end -->)", re.DOTALL)
    if len(marks.findall(text)) != 1:
        raise ValueError(f"{document} has no place for {name!r}, or more than one")
    document.write_text(marks.sub(lambda found: f"{found[1]}\n{block}\n\n{found[2]}", text), encoding="utf-8")
