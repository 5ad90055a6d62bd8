"""Trends: one claim across the versions of a model family, and across the nights of one model.

    entries of the index ──by claim and lineage──> points ──breaks──> Series ──since the last break──> Finding (a sentence,
                                                                                              its interval, its tests)

A point never stands alone. Points are joined while the experiment is the same; where prompts, scorer, grader, solver or,
between nights of one model, the served model changed there is a break, and nothing is computed across it.

Of the runs of a version, the latest stands for it that was measured to its end, and of these the latest that is the same
experiment as the version after it. Versions are never put in an order that the settings do not list.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from pytest_alignbench import timeseries
from pytest_alignbench.estimates import Calibration, Estimate, Floats, Relative, adjusted
from pytest_alignbench.index import Entry, Index
from pytest_alignbench.movements import Movement, Stretch, movement, said, step_between
from pytest_alignbench.observations import Exclusion
from pytest_alignbench.settings import Settings

FEWEST_RUNS = 3
"""Of one model, for a series of nights."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Point(_Value):
    """One version (or one night) of a series."""

    name: str
    """The model as it was typed; of a nightly series, the day."""
    entry: Entry
    breaks: tuple[str, ...] = ()
    """What is not as at the point before ("prompts", "scorer", "grader", "served model"…): the two are not joined."""
    counts: bool = True
    """Whether its number goes into the finding: not if it could not be measured, or stopped early."""
    step: Estimate | None = None
    """The change from the counted point before, paired on items; None at a break. Without a p-value: steps are not tested."""
    notes: tuple[str, ...] = ()
    """What to know of it: which of several runs it is, why it does not count."""


class Test(_Value):
    """One test of a finding."""

    __test__ = False  # pytest would take it for a test class

    name: str
    statistic: float
    p_value: float | None
    method: str


class Finding(_Value):
    """What the points of a series say together, since its last break."""

    kind: Literal["nothing", "change", "trend", "nightly"]
    """Nothing below two comparable points; a change below five versions, a trend from five; nightly for one model."""
    direction: Literal["better", "worse", "flat", "unclear"]
    """Flat: shown to be within the margin. Unclear: nobody can say yet."""
    value: float | None
    """Of a change, after - before; of a trend, per version; of a nightly series, the level after the last split - before."""
    ci_low: float | None
    ci_high: float | None
    """95 % interval of `value`."""
    relative: Relative | None
    """Of a change of a rate: after / before, with its 95 % interval."""
    since: str
    """Name of the first point that is compared."""
    until: str
    p_value: float | None = None
    """Of all that the finding requires: two-sided, that nothing changed."""
    adjusted: float | None = None
    """`p_value` by Benjamini and Hochberg, over all series that have one. Better and worse are said by this."""
    tests: tuple[Test, ...]
    sentence: str
    """All of it in plain words."""


class Series(_Value):
    """One claim on one lineage, on one unlisted model, or on one model over many runs."""

    claim: str
    statement: str
    lineage: str | None
    """None for models that no lineage lists: never put in an order."""
    kind: Literal["versions", "nights", "apart"]
    """Versions of a lineage in its order; runs of one model in time; unlisted models, side by side and never joined."""
    points: tuple[Point, ...]
    finding: Finding
    absent: tuple[str, ...] = ()
    """Versions that the lineage lists and that have no record of the claim."""
    shrunk: float | None = None
    """The change, drawn towards those of all claims: for ranking alone."""


class Trends(_Value):
    """All that a report shows."""

    history: str
    lineages: dict[str, tuple[str, ...]]
    series: tuple[Series, ...]
    alpha: float
    margin: float
    runs: int
    unreadable: tuple[str, ...] = ()
    """Runs whose files could not be read, with the reason."""


def trends(index: Index, settings: Settings) -> Trends:
    """The series of all claims of a history, on the lineages, short names, alpha and margin of the settings.

    P-values are adjusted over all of them, so that a claim's finding is the same whichever part of them is looked at.
    """
    rows = sorted(index.entries(), key=lambda entry: (entry.started, entry.run))
    drafts = list(_drafts(rows, settings))
    moved = [_moved(draft, settings) for draft in drafts]
    tested = [found.p_value for found in moved if found.p_value is not None]
    ps = iter(adjusted(tested, method="fdr_bh"))
    by = [None if found.p_value is None else next(ps) for found in moved]
    ranks = _ranks(moved)
    return Trends(
        history=index.history.url,
        lineages={name: tuple(versions) for name, versions in settings.lineages.items()},
        series=tuple(
            draft.model_copy(update={"finding": _finding(draft, found, p, len(tested), settings), "shrunk": rank})
            for draft, found, p, rank in zip(drafts, moved, by, ranks, strict=True)
        ),
        alpha=settings.alpha,
        margin=settings.margin,
        runs=len(index.heads()),
        unreadable=index.unreadable,
    )


# -- which points there are


_UNSAID = Finding(
    kind="nothing",
    direction="unclear",
    value=None,
    ci_low=None,
    ci_high=None,
    relative=None,
    since="",
    until="",
    tests=(),
    sentence="",
)


def _drafts(rows: Sequence[Entry], settings: Settings) -> Iterator[Series]:
    """Every series with its points, and as yet without a finding: claim by claim, lineages first, then nights."""
    claims: dict[str, list[Entry]] = {}
    for entry in rows:
        claims.setdefault(entry.claim, []).append(entry)
    for claim in sorted(claims):
        lineage_of: dict[str, str] = {}
        for lineage, versions in settings.lineages.items():
            found = [(name, [e for e in claims[claim] if e.of_model(name, settings.models)]) for name in versions]
            lineage_of |= {entry.model: lineage for _, of_version in found for entry in of_version}
            if any(of_version for _, of_version in found):
                yield _versions(claim, lineage, found)
        models: dict[str, list[Entry]] = {}
        for entry in claims[claim]:
            models.setdefault(entry.model, []).append(entry)
        for model in sorted(models):
            if sum(map(_counts, models[model])) >= FEWEST_RUNS:
                yield _nights(claim, lineage_of.get(model), models[model])
            elif model not in lineage_of:
                yield _apart(claim, models[model])


def _counts(entry: Entry) -> bool:
    return not _why_not(entry)


def _why_not(entry: Entry) -> str:
    """Why an entry's number is no measure of the model, if so.

    A verdict of NOT_COMPARABLE is none: it is about the baseline, and the level was measured all the same.
    """
    if entry.effect is None:
        return f"not measured: {entry.why}"
    if entry.stopped_at is not None:
        return f"stopped early, at look {entry.stopped_at}: what it shows then is no measure of the model"
    if not entry.items:
        return "its two conditions share no item"
    return ""


def _whole(entry: Entry) -> bool:
    """Whether every planned reply was asked for."""
    return not any(arm.replies.excluded.get(Exclusion.UNMEASURED) for arm in entry.conditions.values())


def _versions(claim: str, lineage: str, found: Sequence[tuple[str, Sequence[Entry]]]) -> Series:
    """The entry that stands for each version is chosen from the newest backwards."""
    chosen: list[tuple[str, Entry, tuple[str, ...]]] = []
    after: Entry | None = None
    for name, entries in reversed(found):
        if entries:
            entry, notes = _standing(entries, after)
            chosen.append((name, entry, notes))
            after = entry if _counts(entry) else after
    chosen.reverse()
    return _series(claim, lineage, "versions", chosen, absent=[name for name, entries in found if not entries])


def _standing(entries: Sequence[Entry], after: Entry | None) -> tuple[Entry, tuple[str, ...]]:
    """Of a version's entries, oldest first, the one that stands for it, and what to know of that."""
    counted = [entry for entry in entries if _counts(entry)]
    whole = [entry for entry in counted if _whole(entry)] or counted or list(entries)
    alike = [entry for entry in whole if after is not None and not _differing(entry, after)]
    entry = (alike or whole)[-1]
    if len(entries) == 1:
        return entry, ()
    if entry is entries[-1]:
        return entry, (f"the latest of {len(entries)} runs",)
    later = entries[-1]
    why = _why_not(later) or (
        "not all of it was asked" if not _whole(later) else "another experiment than the next version's"
    )
    return entry, (f"run {entry.run} of {len(entries)} runs; the latest, {later.run}, does not stand for it: {why}",)


def _nights(claim: str, lineage: str | None, entries: Sequence[Entry]) -> Series:
    """One model over its runs, oldest first; each is named by its day, and by the time where a day has several."""
    days = [entry.started[:10] for entry in entries]
    times = [f"{entry.started[:10]} {entry.started[11:16]}" for entry in entries]
    names = [day if days.count(day) == 1 else time for day, time in zip(days, times, strict=True)]
    return _series(claim, lineage, "nights", [(name, e, ()) for name, e in zip(names, entries, strict=True)])


def _apart(claim: str, entries: Sequence[Entry]) -> Series:
    entry, notes = _standing(entries, None)
    return _series(claim, None, "apart", [(entry.asked, entry, notes)])


def _series(
    claim: str,
    lineage: str | None,
    kind: Literal["versions", "nights", "apart"],
    chosen: Sequence[tuple[str, Entry, tuple[str, ...]]],
    *,
    absent: Sequence[str] = (),
) -> Series:
    points: list[Point] = []
    y, families = _table([entry for _, entry, _ in chosen])
    before: int | None = None
    for place, (name, entry, notes) in enumerate(chosen):
        why = _why_not(entry)
        breaks: tuple[str, ...] = ()
        step: Estimate | None = None
        if not why:
            if before is not None:
                breaks = tuple(_differing(entry, chosen[before][1], served=kind == "nights"))
                if not breaks:
                    pair = [points[before], Point(name=name, entry=entry)]
                    step = step_between(_stretch(pair, y[:, [before, place]], families, kind))
            before = place
        known = why or ("" if _whole(entry) else "some of its replies were never asked for")
        said = (*filter(None, [known]), *notes)
        points.append(Point(name=name, entry=entry, breaks=breaks, counts=not why, step=step, notes=said))
    return Series(
        claim=claim,
        statement=chosen[-1][1].statement,
        lineage=lineage,
        kind=kind,
        points=tuple(points),
        finding=_UNSAID,
        absent=tuple(absent),
    )


def _stretch(points: Sequence[Point], y: Floats, families: tuple[str, ...], kind: str) -> Stretch:
    """Points that can be compared; scale and grader are those of the newest."""
    newest = points[-1].entry
    return Stretch(
        names=tuple(point.name for point in points),
        y=y,
        families=families,
        effects=tuple(point.entry.effect for point in points if point.entry.effect is not None),
        rate=newest.unit == "rate",
        good=newest.good,
        calibration=None if newest.calibration is None else Calibration(**newest.calibration),
        nights=kind == "nights",
    )


def _differing(entry: Entry, before: Entry, *, served: bool = False) -> list[str]:
    """What makes the two another experiment; with `served`, also another model behind the same name."""
    parts = dict.fromkeys([*entry.fingerprint, *before.fingerprint])
    found = [part for part in parts if entry.fingerprint.get(part) != before.fingerprint.get(part)]
    if (entry.unit, entry.uses) != (before.unit, before.uses):
        found.append("rule")
    if (entry.calibration is None) != (before.calibration is None):
        found.append("calibration")
    if not found and _strangers(entry, before):
        found.append("items")
    if served and entry.served and before.served and entry.served != before.served:
        found.append("served model")
    return found


def _strangers(entry: Entry, before: Entry) -> bool:
    """Whether most items of the one are none of the other's: a task of Inspect's may bring other data under its name."""
    own, theirs = ({item for items in e.items.values() for item in items} for e in (entry, before))
    return 2 * len(own & theirs) < min(len(own), len(theirs))


# -- what they say together


def _since_last_break(series: Series) -> Sequence[Point]:
    counted = [point for point in series.points if point.counts]
    start = max((place for place, point in enumerate(counted) if point.breaks), default=0)
    return counted[start:]


def _moved(series: Series, settings: Settings) -> Movement:
    points = _since_last_break(series)
    if len(points) < 2:
        return Movement(kind="nothing", doubt=_alone(series, points))
    y, families = _table([point.entry for point in points])
    stretch = _stretch(points, y, families, series.kind)
    return movement(stretch, margin=settings.margin, alpha=settings.alpha)


def _alone(series: Series, points: Sequence[Point]) -> str:
    """Why nothing is compared."""
    counted = [point for point in series.points if point.counts]
    if not counted:
        return "Nothing to compare: nothing of it was measured."
    if len(counted) > len(points):
        return f"Nothing to compare yet: {', '.join(points[0].breaks)} changed at {points[0].name}, and nothing came after."
    if series.kind == "apart":
        return f"Nothing to compare: no lineage lists {counted[0].name}, and it has fewer than {FEWEST_RUNS} runs."
    return f"Nothing to compare yet: {counted[0].name} is the only one that was measured."


def _table(entries: Sequence[Entry]) -> tuple[Floats, tuple[str, ...]]:
    """The items of several entries: (items, entries), NaN where there is none, and the family of each item."""
    family_of: dict[str, str] = {}
    for entry in entries:
        for family, items in entry.items.items():
            family_of.update(dict.fromkeys(items, family))
    place = {item: number for number, item in enumerate(family_of)}
    y = np.full((len(place), len(entries)), np.nan)
    for column, entry in enumerate(entries):
        for items in entry.items.values():
            for item, value in items.items():
                y[place[item], column] = value
    return y, tuple(family_of.values())


def _finding(series: Series, found: Movement, p: float | None, of: int, settings: Settings) -> Finding:
    direction, sentence = said(found, adjusted=p, of=of, alpha=settings.alpha, margin=settings.margin)
    return Finding(
        kind=found.kind,
        direction=direction,
        value=found.value,
        ci_low=None if found.ci is None else found.ci[0],
        ci_high=None if found.ci is None else found.ci[1],
        relative=found.relative,
        since=found.since,
        until=found.until,
        p_value=found.p_value,
        adjusted=p,
        tests=tuple(Test(name=t.name, statistic=t.statistic, p_value=t.p_value, method=t.method) for t in found.tests),
        sentence=sentence,
    )


def _ranks(moved: Sequence[Movement]) -> Iterable[float | None]:
    """The change of each series from its first point to its last, shrunk; None where there is none."""
    known = [m for m in moved if m.whole is not None and m.error]
    drawn = iter(timeseries.shrunk([m.whole or 0.0 for m in known], [m.error or 0.0 for m in known]))
    return [next(drawn) if m.whole is not None and m.error else None for m in moved]
