"""What a reader wants to know first: what moved, what is red, what nobody can say yet.

    Trends ──overview_of──> Overview(moved, now: the latest verdict on each claim and lineage) ──> html, md

Nothing is decided here: a series moved if its finding says so, and it is ranked by the change that was drawn towards
those of all claims, so that a large change of few prompts does not come first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_alignbench.errors import HistoryError
from pytest_alignbench.index import Entry
from pytest_alignbench.text import percent, points
from pytest_alignbench.trends import Finding, Point, Series, Trends

WORDS = ("VIOLATED", "ERROR", "NOT_COMPARABLE", "INCONCLUSIVE", "HOLDS")
"""What asks for attention first."""

KINDS = {
    "trend": "Trends, per version",
    "change": "Changes, after - before",
    "nightly": "Night by night, the level after its last step - before",
}


@dataclass(frozen=True, kw_only=True)
class Now:
    """The latest verdict of a series; of models in no order, that of each."""

    series: Series
    point: Point
    since: str
    """The first of the points up to now with this same verdict, all in a row."""

    @property
    def entry(self) -> Entry:
        return self.point.entry


@dataclass(frozen=True, kw_only=True)
class Overview:
    moved: dict[str, tuple[Series, ...]]
    """Kind of finding -> series that got better or worse, the most moved first."""
    flat: tuple[Series, ...]
    unclear: tuple[Series, ...]
    now: tuple[Now, ...]

    def worded(self, *words: str) -> tuple[Now, ...]:
        return tuple(now for word in words for now in self.now if now.entry.word == word)

    @property
    def counts(self) -> dict[str, int]:
        seen = Counter(now.entry.word for now in self.now)
        return {word: seen[word] for word in WORDS if seen[word]}


def overview_of(trends: Trends) -> Overview:
    ranked = sorted(trends.series, key=rank)
    moved = {
        kind: tuple(s for s in ranked if s.finding.kind == kind and s.finding.direction in ("better", "worse"))
        for kind in KINDS
    }
    return Overview(
        moved={kind: found for kind, found in moved.items() if found},
        flat=tuple(s for s in ranked if s.finding.direction == "flat"),
        unclear=tuple(s for s in ranked if s.finding.kind != "nothing" and s.finding.direction == "unclear"),
        now=tuple(_now(trends.series)),
    )


def narrowed(
    trends: Trends, *, claims: Sequence[str] = (), lineages: Sequence[str] = (), models: Sequence[str] = ()
) -> Trends:
    """Only claims whose id contains one of `claims`, only these lineages, only series that hold one of `models`, as typed or
    by its Inspect name; all where nothing is named.

    Raises HistoryError, with what there is, where that leaves nothing.
    """
    unknown = [name for name in lineages if name not in trends.lineages]
    if unknown:
        known = ", ".join(trends.lineages) or "none; [tool.alignbench.lineages] lists them"
        raise HistoryError(f"no lineage {unknown[0]!r}; there are: {known}")
    series = [s for s in trends.series if not claims or any(text in s.claim for text in claims)]
    series = [s for s in series if not lineages or s.lineage in lineages]
    series = [s for s in series if not models or not _models(s).isdisjoint(models)]
    if not series:
        said = " or ".join(map(repr, claims)) or "any text"
        raise HistoryError(
            f"no claim whose id contains {said} has been measured on {', '.join([*lineages, *models]) or 'any model'}"
        )
    listed = {name: versions for name, versions in trends.lineages.items() if not lineages or name in lineages}
    return trends.model_copy(update={"series": tuple(series), "lineages": listed})


def _models(series: Series) -> set[str]:
    return {name for point in series.points for name in (point.name, point.entry.asked, point.entry.model)}


def rank(series: Series) -> tuple[float, str, str]:
    """Sorts: the most moved first."""
    size = series.shrunk if series.shrunk is not None else 0.0
    return (-abs(size), series.claim, label_of(series))


def claims_of(trends: Trends) -> dict[str, list[Series]]:
    """Claim -> its series, those of lineages first; the claims by their most moved series."""
    ranked = sorted(trends.series, key=rank)
    kinds = ("versions", "nights", "apart")
    return {
        claim: sorted((s for s in ranked if s.claim == claim), key=lambda s: (kinds.index(s.kind), label_of(s)))
        for claim in dict.fromkeys(s.claim for s in ranked)
    }


def _now(all_series: Sequence[Series]) -> list[Now]:
    """Once for each claim and model: a nightly series of a lineage's last version adds nothing to it."""
    found: dict[tuple[str, str], Now] = {}
    for series in sorted(all_series, key=lambda s: (s.kind == "nights", s.claim, label_of(s))):
        latest = series.points if series.kind == "apart" else series.points[-1:]
        for point in latest:
            now = Now(series=series, point=point, since=_since(series) if series.kind != "apart" else point.name)
            found.setdefault((series.claim, point.entry.asked), now)
    return list(found.values())


def _since(series: Series) -> str:
    last = series.points[-1]
    since = last
    for point in reversed(series.points):
        if point.entry.word != last.entry.word:
            break
        since = point
    return since.name


def label_of(series: Series) -> str:
    """How a series is called beside its claim."""
    if series.kind == "versions" and series.lineage is not None:
        return series.lineage
    if series.kind == "nights":
        return f"nights of {series.points[0].entry.asked}"
    return "in no lineage"


# -- numbers, as people read them


def shown(entry: Entry, value: float) -> str:
    return percent(value) if entry.unit == "rate" else points(value)


def effect_of(entry: Entry) -> str:
    """`+3.3 points [-2.1, +8.9]`"""
    if entry.effect is None:
        return "nothing scored"
    e = entry.effect
    low, high = (shown(entry, x).removesuffix(" points").removesuffix(" %") for x in (e.ci_low, e.ci_high))
    return f"{shown(entry, e.value)} [{low}, {high}]"


def change_of(finding: Finding) -> str:
    """`+5.8 points per version [+4.1, +7.5]`"""
    if finding.value is None:
        return "–"
    per = " per version" if finding.kind == "trend" else ""
    if finding.ci_low is None or finding.ci_high is None:
        return f"{points(finding.value)}{per}"
    low, high = (points(x).removesuffix(" points") for x in (finding.ci_low, finding.ci_high))
    return f"{points(finding.value)}{per} [{low}, {high}]"
