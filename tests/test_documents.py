"""Blocks of documents that programs write: in their place, and in every place that a program names."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.documents import put

ROOT = Path(__file__).parents[1]


def test_a_block_replaces_what_lay_between_its_marks_and_nothing_else(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    other = "<!-- b: begin -->\nkept\n<!-- b: end -->\n"
    document.write_text(
        f"before\n<!-- a: begin (written by x) -->\nold\n<!-- a: end -->\n{other}after\n", encoding="utf-8"
    )
    put(document, "a", r"new \\1")
    put(document, "a", r"newer \\1")
    text = document.read_text(encoding="utf-8")
    assert text == f"before\n<!-- a: begin (written by x) -->\n\nnewer \\\\1\n\n<!-- a: end -->\n{other}after\n"


def test_no_marks_are_an_error(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text("no marks", encoding="utf-8")
    with pytest.raises(ValueError, match="no place for 'a'"):
        put(document, "a", "new")


@pytest.mark.parametrize(
    ("page", "name"),
    [
        ("performance", "throughput"),
        ("statistics", "calibration"),
        ("statistics", "trends"),
        ("organisms", "at home"),
        ("organisms", "table"),
    ],
)
def test_the_documents_have_their_places(page: str, name: str, tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_bytes((ROOT / "docs" / f"{page}.md").read_bytes())
    put(document, name, "| a table |")
    assert "\n\n| a table |\n\n" in document.read_text(encoding="utf-8")
