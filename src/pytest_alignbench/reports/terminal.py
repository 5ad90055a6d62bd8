"""The summary at the end of a session, and the plan before one, as lines for a terminal or a CI log."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import replace

from pytest_alignbench.plans import Planned
from pytest_alignbench.reports.pages import VERDICT_HEADS, Row, bare, counted, of_plan, verdict_rows
from pytest_alignbench.text import one_line, visible
from pytest_alignbench.verdicts import Verdict


def table(verdicts: Sequence[Verdict], *, width: int, controls: bool = False) -> Iterator[tuple[str, str]]:
    """(line, colour) pairs: what is red first, each verdict with its effect, interval, counts and exclusions.

    Controls have no colours: a misbehaving model is meant to be red.
    """
    rows = verdict_rows(verdicts)
    if controls:
        rows = [replace(row, tone="", below=()) for row in rows]
    yield from rendered(VERDICT_HEADS, rows, width=width)
    if not controls:
        yield from ((said, "") for said in counted(verdicts))


def rendered(heads: Sequence[str], rows: Sequence[Row], *, width: int, first: int = 3) -> Iterator[tuple[str, str]]:
    """(line, colour) pairs of a table; where a row would be too wide, the cells after the `first` are on lines below."""
    cells = [[one_line(cell) for cell in row.cells] for row in rows]
    widths = [max(len(row[i]) for row in [heads, *cells]) for i in range(len(heads))]
    wide = sum(widths) + 2 * (len(widths) - 1) <= width
    if wide and rows:
        yield _line(heads, widths), "bold"
    for shown, row in zip(cells, rows, strict=True):
        if wide:
            yield _line(shown, widths), row.tone
        else:
            yield _line(shown[:first], widths[:first]), row.tone
            rest = zip(heads[first:], shown[first:], strict=True)
            said = "; ".join(f"{head} {cell}" for head, cell in rest if cell)
            yield from ((f"    {line}", "") for line in wrapped(said, width - 4))
        yield from ((f"    {line}", "") for said in row.below for line in wrapped(said, width - 4))


def wrapped(said: str, width: int) -> list[str]:
    """A sentence in lines of at most `width`, and never so narrow that it could not be read."""
    lines = textwrap.wrap(one_line(said, limit=1000), max(width, 60), break_on_hyphens=False)
    return [visible(line) for line in lines]  # a break may have put to a line's start what is a command there


def grid(verdicts: Sequence[Verdict]) -> Iterator[tuple[str, str]]:
    """Claims down, models across: how each claim came out on each, for a session with several models."""
    models = sorted({v.model for v in verdicts}, key=_natural)
    found = {(v.claim, v.model): v for v in verdicts}
    heads = ("claim", *(one_line(m.removeprefix("simulated/"), limit=30) for m in models))
    rows = [(claim, *(_cell(found.get((claim, m))) for m in models)) for claim in sorted({v.claim for v in verdicts})]
    widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
    yield _line(heads, widths), "bold"
    for row in rows:
        yield _line(row, widths), ""


def _cell(v: Verdict | None) -> str:
    if v is None:
        return "–"
    effect = "" if v.effect is None else f" {bare(v.gate.shown(v.effect.value))}"
    return f"{v.word}{effect}"


def _natural(name: str) -> list[tuple[int, str]]:
    """`v2` before `v10`."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def plan_table(plans: Sequence[Planned], *, width: int) -> Iterator[str]:
    """What would be asked: calls, tokens, cost where prices are known, and what each claim could tell."""
    page = of_plan(plans)
    yield from (line for line, _ in rendered(page.heads, page.rows, width=width, first=page.first))
    yield from page.closing


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(w) for cell, w in zip(cells, widths, strict=True)).rstrip()
