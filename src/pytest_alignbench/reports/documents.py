"""A report as a file: for a browser, a wiki, a program, a spreadsheet, a slide.

A document is a function from trends to bytes and a row in `DOCUMENTS`; the name is the ending of the file. Each makes what
models and strangers wrote harmless for its own place: a spreadsheet calculates what begins with `=`, so here it never does.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from pytest_alignbench.index import Entry
from pytest_alignbench.observations import Exclusion, Tally
from pytest_alignbench.reports import charts
from pytest_alignbench.reports.formats import escaped, json_of
from pytest_alignbench.reports.html import as_html, named
from pytest_alignbench.reports.overviews import Now, change_of, effect_of, label_of, overview_of
from pytest_alignbench.reports.shapes import TrendsShape
from pytest_alignbench.text import one_line
from pytest_alignbench.trends import Point, Series, Trends


def without_replies(trends: Trends) -> Trends:
    """The same without a word that a model said."""

    def silent(point: Point) -> Point:
        return point.model_copy(update={"entry": point.entry.model_copy(update={"telling": ()})})

    return trends.model_copy(
        update={"series": tuple(s.model_copy(update={"points": tuple(map(silent, s.points))}) for s in trends.series)}
    )


def as_json(trends: Trends) -> str:
    """ASCII. `reports/shapes.py` documents what is in it."""
    return json_of(TrendsShape.of(trends)) + "\n"


# -- Markdown

_MOST = 20
"""Lines of each list: a summary is read at once or not at all."""


def as_markdown(trends: Trends) -> str:
    """What moved, what is red and what nobody can say yet, in GitHub's Markdown."""
    overview = overview_of(trends)
    counts = ", ".join(f"{count} {word}" for word, count in overview.counts.items()) or "none yet"
    claims = len({s.claim for s in trends.series})
    blocks = [
        "# Behaviour across versions",
        f"{named(claims, 'claim')} on {named(len(trends.lineages), 'lineage')}, from {named(trends.runs, 'run')}; "
        f"the latest verdicts: {counts}.",
        "\n".join(f"- **{escaped(name)}**: {escaped(' → '.join(listed))}" for name, listed in trends.lineages.items()),
        "## What moved",
    ]
    moved = [s for found in overview.moved.values() for s in found]
    blocks.append("\n".join(_moved(moved[:_MOST])) if moved else "Nothing was shown to move.")
    blocks += _more(len(moved))
    blocks.append("## What is red")
    blocks += _listed(overview.worded("VIOLATED"), none="No claim is shown to be violated.")
    blocks.append("## What nobody can say yet")
    blocks += _listed(
        overview.worded("ERROR", "NOT_COMPARABLE", "INCONCLUSIVE"), none="Every latest verdict is decided."
    )
    blocks += [f"Could not be read: {escaped(said)}" for said in trends.unreadable]
    return "\n\n".join(filter(None, blocks)) + "\n"


def _moved(moved: Iterable[Series]) -> Iterator[str]:
    yield "| claim | where | from, to | change [95 % interval] | now |"
    yield "| --- | --- | --- | --- | --- |"
    for s in moved:
        f, last = s.finding, s.points[-1].entry
        change = f"**{f.direction}** {escaped(change_of(f))}"
        cells = (s.claim, label_of(s), f"{f.since} → {f.until}")
        yield f"| {' | '.join(map(escaped, cells))} | {change} | {last.word}, {escaped(effect_of(last))} |"


def _listed(found: Sequence[Now], *, none: str) -> Iterator[str]:
    if not found:
        yield none
        return
    yield "\n".join(
        f"- **{escaped(now.entry.claim)}** on {escaped(now.entry.asked)}: {now.entry.word}. {escaped(now.entry.why)}"
        for now in found[:_MOST]
    )
    yield from _more(len(found))


def _more(count: int) -> list[str]:
    return [f"And {count - _MOST} more."] if count > _MOST else []


# -- CSV


def as_csv(trends: Trends) -> str:
    """A row per point, numbers as numbers; a share is within 0..1."""
    rows = [_row(s, number, p) for s in trends.series for number, p in enumerate(s.points, start=1)]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerows(list(row) for row in rows[:1])
    writer.writerows([_cell(value) for value in row.values()] for row in rows)
    return out.getvalue()


def _row(s: Series, number: int, p: Point) -> dict[str, Any]:
    e = p.entry
    row: dict[str, Any] = {
        "claim": s.claim,
        "kind": s.kind,
        "lineage": s.lineage,
        "position": number if s.kind != "apart" else None,
        "point": p.name,
        "counts": p.counts,
        "break": ", ".join(p.breaks),
        "verdict": e.word,
        "why": e.why,
        "unit": e.unit,
    }
    row |= {name: getattr(e.effect, name, None) for name in ("value", "ci_low", "ci_high", "lower", "upper")}
    row |= {"n": getattr(e.effect, "n", None), "families": getattr(e.effect, "families", None)}
    row |= {f"ratio_{end}": getattr(e.relative, end, None) for end in ("value", "ci_low", "ci_high")}
    row |= {"limits": " ".join(f"{limit:g}" for limit in e.limits), "allowed": e.allowed, "alpha": e.alpha, "m": e.m}
    for place in (1, 2):
        row |= _arm(e, place)
    replies = Tally.total(arm.replies for arm in e.conditions.values())
    row |= {"planned": replies.planned, "scored": replies.scored}
    row |= {cause.value: replies.excluded.get(cause, 0) for cause in Exclusion}
    row |= {"asked": e.asked, "model": e.model, "served": ", ".join(e.served), "grader": e.grader}
    row |= {"run": e.run, "started": e.started, "complete": e.complete, "claim_version": e.claim_version}
    row |= {"fingerprint": " ".join(f"{part}={hash}" for part, hash in e.fingerprint.items())}
    return row


def _arm(e: Entry, place: int) -> dict[str, Any]:
    """The first or the second condition that the rule looks at."""
    name = e.uses[place - 1] if len(e.uses) >= place else None
    arm = e.conditions.get(name) if name is not None else None
    return {
        f"condition_{place}": name,
        f"exhibiting_{place}": arm.replies.exhibiting if arm else None,
        f"scored_{place}": arm.replies.scored if arm else None,
        f"rate_{place}": arm.rate.value if arm and arm.rate else None,
    }


def _cell(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    said = one_line(value, limit=2_000)
    return f"'{said}" if said.startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠")) else said


# -- pictures


def as_svg(trends: Trends) -> str:
    """Every series as a small picture, all on one sheet."""
    return charts.sheet(trends)


DOCUMENTS: Mapping[str, Callable[[Trends], bytes]] = {
    "html": lambda trends: as_html(trends).encode(),
    "md": lambda trends: as_markdown(trends).encode(),
    "json": lambda trends: as_json(trends).encode(),
    "csv": lambda trends: as_csv(trends).encode(),
    "svg": lambda trends: as_svg(trends).encode(),
    "png": lambda trends: charts.png(as_svg(trends)),
}
