"""Trends as a page of text: a line for each series, with its levels as a sparkline, and its sentence below.

    ▁▂▃ ▅▆·     a break between the third and the fourth; a point that carries no number
    _-^ ..      where the terminal has no blocks

A sparkline is drawn on the scale of its claim: from the lowest level of all its series to the highest, the limit and 0
included, so that a flat line at the bottom is near 0 and a steep one is a change that matters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pytest_alignbench.estimates import Interval
from pytest_alignbench.reports.overviews import change_of, effect_of, label_of, rank
from pytest_alignbench.reports.pages import Page, Row
from pytest_alignbench.reports.shapes import TrendsShape
from pytest_alignbench.trends import Point, Series, Trends

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII = "_.-=+*#@"

_DIRECTIONS = ("worse", "better", "unclear", "flat")
"""What asks for attention first."""

_TONES = {"worse": "red", "better": "green", "unclear": "yellow", "flat": ""}


def of_trends(found: Trends, *, blocks: bool = True) -> Page:
    """Every series, what moved first and the most moved of these first of all."""
    ranked = sorted(found.series, key=_order)
    scales = {series.claim: scale(s for s in found.series if s.claim == series.claim) for series in found.series}
    counted = {
        word: sum(s.finding.direction == word for s in ranked if s.finding.value is not None) for word in _DIRECTIONS
    }
    said = ", ".join(f"{count} {word}" for word, count in counted.items() if count) or "nothing that could be compared"
    return Page(
        title=f"trends of {found.history}: {said}",
        heads=("finding", "claim", "where", "levels", "now [95 % interval]", "change"),
        rows=tuple(_row(series, scales[series.claim], blocks=blocks) for series in ranked),
        first=4,
        closing=(
            f"Better and worse are shown at {found.alpha:g}, adjusted for all series of the history; flat is shown to be within "
            f"{100 * found.margin:g} points. Levels: oldest first, a space is a break, a dot carries no number.",
            *found.unreadable,
        ),
        shape=TrendsShape.of(found),
    )


def _order(series: Series) -> tuple[int, int, tuple[float, str, str]]:
    finding = series.finding
    return (finding.kind == "nothing", _DIRECTIONS.index(finding.direction), rank(series))


def _row(series: Series, on: Interval, *, blocks: bool) -> Row:
    finding, last = series.finding, series.points[-1].entry
    known = finding.kind != "nothing"
    below = [finding.sentence]
    below += [f"without a record: {', '.join(series.absent)}"] if series.absent else []
    below += _notes(series.points)
    cells = (
        finding.direction if known else "–",
        series.claim,
        label_of(series) if series.kind != "apart" else series.points[0].name,
        sparkline(series.points, on, blocks=blocks),
        f"{last.word} {effect_of(last)}",
        change_of(finding),
    )
    name = f"{series.claim}, {label_of(series)}"
    return Row(name=name, cells=cells, below=tuple(below), tone=_TONES[finding.direction] if known else "")


def _notes(points: Sequence[Point]) -> list[str]:
    """What to know of points, those together of which it is the same."""
    named: dict[str, list[str]] = {}
    for point in points:
        for note in point.notes:
            named.setdefault(note, []).append(point.name)
    return [f"{', '.join(names)}: {note}" for note, names in named.items()]


def scale(series: Iterable[Series]) -> Interval:
    """From the lowest level of these to the highest, their limits and 0 included."""
    points = [point for s in series for point in s.points]
    levels = [p.entry.effect.value for p in points if p.counts and p.entry.effect is not None]
    limits = [limit for p in points for limit in p.entry.limits]
    return min([0.0, *levels, *limits]), max([0.0, *levels, *limits])


def sparkline(points: Sequence[Point], on: Interval, *, blocks: bool = True) -> str:
    """A character per point: the higher the level, the more of it is filled; a space before a break."""
    marks = BLOCKS if blocks else ASCII
    low, high = on
    drawn = []
    for point in points:
        if point.breaks:
            drawn.append(" ")
        effect = point.entry.effect
        if not point.counts or effect is None:
            drawn.append("·" if blocks else "?")
        else:
            share = (effect.value - low) / (high - low) if high > low else 0.0
            drawn.append(marks[round(share * (len(marks) - 1))])
    return "".join(drawn)
