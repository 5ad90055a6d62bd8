"""The report as one HTML file: it asks the network for nothing, and works without its script.

    Trends ──overview, claims with their charts──> templates/report.html ──jinja2──> one page

What a model or a file says reaches the page through one door: jinja2 escapes every value, after `visible` has shown what
would act on a reader (bidirectional overrides, control characters). Style and script are allowed by their hashes alone,
so that text which slipped through both would still not run.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import groupby
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from pytest_alignbench.estimates import Calibration, Estimate
from pytest_alignbench.history import now
from pytest_alignbench.index import Entry
from pytest_alignbench.observations import Tally
from pytest_alignbench.reports import charts, overviews, pages
from pytest_alignbench.text import percent, points, visible
from pytest_alignbench.trends import Finding, Point, Series, Trends

_MOST = 12
"""Lines of a list of the overview that are not folded."""


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A series with its pictures."""

    number: int
    series: Series
    effect: Markup
    conditions: Markup | None

    @property
    def label(self) -> str:
        return overviews.label_of(self.series)

    @property
    def finding(self) -> Finding:
        return self.series.finding

    @property
    def last(self) -> Point:
        return self.series.points[-1]

    @property
    def arms(self) -> list[str]:
        return charts.arms_of(self.series)

    @property
    def breaks(self) -> list[tuple[int, str, tuple[str, ...]]]:
        return charts.breaks(self.series)

    @property
    def words(self) -> list[str]:
        """The verdicts that a filter finds it by: the latest; of models in no order, each."""
        chosen = self.series.points if self.series.kind == "apart" else self.series.points[-1:]
        return list(dict.fromkeys(p.entry.word for p in chosen))

    @property
    def steps(self) -> bool:
        return any(p.step is not None for p in self.series.points)

    @property
    def same(self) -> Iterator[tuple[str, list[tuple[str, str]]]]:
        """What the points were measured with: of each part its values, and from which point to which they held."""
        entries = [p.entry for p in self.series.points]
        rows: dict[str, list[str]] = {
            "allowed": [e.allowed for e in entries],
            "levels": [f"HOLDS at one-sided alpha {e.alpha:g}, VIOLATED at {e.alpha:g}/{e.m}" for e in entries],
            "power": [e.power for e in entries],
            "model": [e.model for e in entries],
            "served": [", ".join(e.served) or "not said" for e in entries],
            "grader": [_grader(e) for e in entries],
            "baseline": [e.baseline or "" for e in entries],
            "claim version": [str(e.claim_version) for e in entries],
        }
        for part in dict.fromkeys(part for e in entries for part in e.fingerprint):
            rows[f"fingerprint: {part}"] = [e.fingerprint.get(part, "–") for e in entries]
        rows["packages"] = [", ".join(f"{name} {version}" for name, version in e.versions.items()) for e in entries]
        for part, values in rows.items():
            if any(values):
                yield part, list(self._stretches(values))

    def _stretches(self, values: Sequence[str]) -> Iterator[tuple[str, str]]:
        names = [p.name for p in self.series.points]
        for value, run in groupby(range(len(values)), key=values.__getitem__):
            first, *others = list(run)
            yield value, names[first] if not others else f"{names[first]} to {names[others[-1]]}"

    def tally(self, point: Point) -> Tally:
        """Of all conditions together: planned = scored + each exclusion."""
        return Tally.total(arm.replies for arm in point.entry.conditions.values())

    @property
    def telling(self) -> list[Point]:
        """Points with replies to show, the latest first."""
        return [p for p in reversed(self.series.points) if p.entry.telling]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One claim with all its series, those of lineages first."""

    number: int
    name: str
    statement: str
    rank: int
    series: tuple[Drawn, ...]

    @property
    def worst(self) -> int:
        """Sorts: what is red first."""
        return min(overviews.WORDS.index(word) for drawn in self.series for word in drawn.words)


def as_html(trends: Trends, *, written: str | None = None) -> str:
    """The whole page. `written`: when, for a page that is the same twice."""
    overview = overviews.overview_of(trends)
    claims = list(_claims(trends))
    style, script = (_part(f"report.{kind}") for kind in ("css", "js"))
    page = _environment().get_template("report.html")
    return page.render(
        trends=trends,
        overview=overview,
        claims=claims,
        numbers={(c.name, d.label): d.number for c in claims for d in c.series},
        grids=list(_grids(trends)),
        written=written or now(),
        most=_MOST,
        replies=any(p.entry.telling for s in trends.series for p in s.points),
        style=Markup(style),
        script=Markup(script),
        policy=f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; base-uri 'none'; form-action 'none'",
        shapes={word: Markup(charts.mark_of(word)) for word in charts.SHAPES},
        words=[word for word in overviews.WORDS if any(word in d.words for c in claims for d in c.series)],
        labels=list(dict.fromkeys(d.label for c in claims for d in c.series)),
    )


def _claims(trends: Trends) -> Iterator[Claim]:
    number = 0
    for place, (name, mine) in enumerate(overviews.claims_of(trends).items()):
        scale, highest = charts.scale_of(mine), charts.highest_of(mine)
        drawn = []
        for series in mine:
            number += 1
            where = f"{name}, {overviews.label_of(series)}"
            beside = charts.conditions(series, highest=highest)
            drawn.append(
                Drawn(
                    number=number,
                    series=series,
                    effect=_titled(charts.effect(series, scale=scale), f"{where}: effect", series),
                    conditions=_titled(beside, f"{where}: rate per condition", series) if beside else None,
                )
            )
        yield Claim(number=place + 1, name=name, statement=mine[0].statement, rank=place, series=tuple(drawn))


def _titled(svg: str, title: str, series: Series) -> Markup:
    """The picture with what those hear who do not see it."""
    last = series.points[-1]
    torn = "".join(
        f" Break before {series.points[i].name}: {', '.join(parts)}." for i, _, parts in charts.breaks(series)
    )
    said = (
        f"{named(len(series.points), 'point')} with 95 % intervals, from {series.points[0].name} to {last.name}, the last "
        f"{last.entry.word}, {overviews.effect_of(last.entry)}.{torn} The table of numbers below has all of them."
    )
    head, rest = svg.split(">", 1)
    words = Markup("<title>{}</title><desc>{}</desc>").format(visible(title), visible(said))
    return Markup(f'{head} role="img">') + words + Markup(rest)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Every verdict of a lineage: claims down, versions across."""

    name: str
    versions: tuple[str, ...]
    rows: tuple[tuple[Series, dict[str, Point]], ...]


def _grids(trends: Trends) -> Iterator[Grid]:
    for kind in ("versions", "apart"):
        chosen = sorted((s for s in trends.series if s.kind == kind), key=overviews.label_of)
        for name, members in groupby(chosen, key=overviews.label_of):
            mine = sorted(members, key=lambda s: s.claim)
            seen = dict.fromkeys(p.name for s in mine for p in s.points)
            listed = [v for v in trends.lineages.get(name, ()) if v in seen]
            versions = [*listed, *sorted(set(seen) - set(listed))]
            rows = tuple((s, {p.name: p for p in s.points}) for s in mine)
            yield Grid(name=name, versions=tuple(versions), rows=rows)


# -- jinja2


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("pytest_alignbench.reports"),
        autoescape=True,
        finalize=_harmless,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "percent": percent,
        "points": points,
        "effect": overviews.effect_of,
        "change": overviews.change_of,
        "label": overviews.label_of,
        "rate": _rate,
        "step": _step,
        "replies": _replies,
        "ratio": lambda r: pages.ratio(r).replace("x ", "× "),
        "p": pages.p_value,
        "named": named,
        "bar": _bar,
        "dotted": _dotted,
    }
    return made


def _harmless(value: Any) -> Any:
    """What every value goes through before it is escaped; markup is ours alone."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _grader(e: Entry) -> str:
    if e.grader is None:
        return "none"
    if e.calibration is None:
        return e.grader
    labels = Calibration(**e.calibration)
    errs = " and ".join(
        f"{name} {share:.2f}"
        for name, share in (("sensitivity", labels.sensitivity), ("specificity", labels.specificity))
        if share is not None
    )
    return f"{e.grader}, {errs} on {labels.positives + labels.negatives} labelled replies"


def named(count: int, one: str, many: str = "") -> str:
    """`1 claim`, `3 claims`"""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def _dotted(name: str) -> Markup:
    """An id that may go on in the next line after each dot."""
    return Markup(".<wbr>").join(escape(visible(part)) for part in name.split("."))


def _rate(rate: Estimate | None) -> str:
    if rate is None:
        return "nothing scored"
    return (
        f"{percent(rate.value)} [{percent(rate.ci_low).removesuffix(' %')}, {percent(rate.ci_high).removesuffix(' %')}]"
    )


def _step(step: Estimate | None) -> str:
    if step is None:
        return "–"
    low, high = (points(x).removesuffix(" points") for x in (step.ci_low, step.ci_high))
    return f"{points(step.value)} [{low}, {high}]"


def _replies(tally: Tally) -> str:
    """The row that adds up: `240 = 236 + 3 truncated + 1 errored`"""
    return " + ".join(
        [
            f"{tally.planned:,} planned = {tally.scored:,} scored",
            *(f"{n:,} {cause.value}" for cause, n in tally.excluded.items()),
        ]
    )


def _bar(finding: Finding, among: Iterable[Series]) -> dict[str, float]:
    """Where the interval of a change begins, stands and ends, in hundredths of a scale that all `among` fit on."""
    ends = [abs(x) for s in among for x in (s.finding.value, s.finding.ci_low, s.finding.ci_high) if x is not None]
    most = max(ends, default=0.0) or 1.0
    value = finding.value or 0.0
    low = value if finding.ci_low is None else finding.ci_low
    high = value if finding.ci_high is None else finding.ci_high
    return {name: round(50 + 48 * x / most, 2) for name, x in (("low", low), ("at", value), ("high", high))}


def _part(name: str) -> str:
    return files("pytest_alignbench.reports").joinpath("templates", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
