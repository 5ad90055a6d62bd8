"""Documents of the project that hold what a benchmark prints, between two lines that say so."""

from __future__ import annotations

from pathlib import Path


def put(document: Path, block: str, *, begin: str, end: str) -> None:
    """Puts the block between its marks in the document.

    Raises ValueError where the marks are not there.
    """
    text = document.read_text(encoding="utf-8")
    before, begun, rest = text.partition(begin)
    _, ended, after = rest.partition(end)
    if not (begun and ended):
        raise ValueError(f"{document} has no lines {begin!r} and {end!r} to put tables between")
    document.write_text(f"{before}{begin}\n\n{block}\n\n{end}{after}", encoding="utf-8")
