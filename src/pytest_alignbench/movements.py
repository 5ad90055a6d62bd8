"""Movements: what one claim's points say together, as numbers and then as a sentence.

    Stretch (items x points) ──2 to 4 versions──> change of the last from the first, paired on items ─┐
                             ──5 versions, more──> trend: slope on items and regression on versions ──┼──> Movement
                             ──6 nights, more────> steps and the CUSUM's alarm ───────────────────────┘        │
                                                              p-values of all series, adjusted together ──> said

Better and worse are said of what is shown, flat of what is shown to stay within the margin, and all else is unclear: nobody
can say yet. Missing replies widen here as they do in a gate: what is said must hold wherever they may have been.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from pytest_alignbench import estimates, timeseries
from pytest_alignbench.estimates import Calibration, Estimate, Floats, Interval, Relative
from pytest_alignbench.text import percent, points
from pytest_alignbench.timeseries import FEWEST_NIGHTS, FEWEST_VERSIONS

Direction = Literal["better", "worse", "flat", "unclear"]

_Z = 1.959964
"""Half the width of a 95 % interval in standard errors."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Stretch:
    """One claim at points that can be compared, oldest first."""

    names: tuple[str, ...]
    y: Floats
    """(items, points): the value of each item at each point; NaN where it was not scored."""
    families: tuple[str, ...]
    """Of each item."""
    effects: tuple[Estimate, ...]
    """As shown at each point."""
    rate: bool
    """Whether values are rates, within 0..1; else differences, within -1..1."""
    good: Literal["low", "high", "near", "steady"]
    calibration: Calibration | None = None
    nights: bool = False

    @property
    def span(self) -> Interval:
        """Least and largest value of an item."""
        return (0.0, 1.0) if self.rate else (-1.0, 1.0)

    @property
    def complete(self) -> bool:
        return not np.isnan(self.y).any()


@dataclass(frozen=True, kw_only=True)
class Tested:
    """One test: what it is called, its statistic, and its two-sided p-value where it has one."""

    name: str
    statistic: float
    p_value: float | None
    method: str


@dataclass(frozen=True, kw_only=True)
class Movement:
    """What a stretch says, before it is known how many others were looked at."""

    kind: Literal["nothing", "change", "trend", "nightly"]
    since: str = ""
    until: str = ""
    value: float | None = None
    ci: Interval | None = None
    whole: float | None = None
    """`value`, from the first point to the last."""
    p_value: float | None = None
    """Of all that is needed, with missing replies where they speak most against it."""
    alarm: bool = False
    """Of nights: the CUSUM says that it moved, which needs no p-value."""
    flat: bool = False
    relative: Relative | None = None
    tests: tuple[Tested, ...] = ()
    what: str = ""
    """The measured movement in words."""
    doubt: str = ""
    """Why nothing can be said of it, whatever its p-value; or why its p-value is larger than it seems."""
    sure: bool = True
    """Whether anything may be said at all: not with a single family, or an uncalibrated grader."""
    upward: bool = True
    direction: Direction = "unclear"
    """If it is shown: better or worse; unclear where it is a change that is neither."""
    neither: str = ""
    """Why it is neither."""

    @property
    def error(self) -> float | None:
        """The standard error of `whole`, from the interval."""
        if self.ci is None or self.value is None or self.whole is None:
            return None
        times = self.whole / self.value if self.kind == "trend" and self.value else 1.0
        return abs(times) * (self.ci[1] - self.ci[0]) / (2 * _Z)


def movement(stretch: Stretch, *, margin: float, alpha: float = 0.05) -> Movement:
    """What the points of a stretch say together."""
    count = len(stretch.names)
    if count < 2:
        return Movement(
            kind="nothing", since=stretch.names[0] if count else "", until=stretch.names[-1] if count else ""
        )
    enough = FEWEST_NIGHTS if stretch.nights else FEWEST_VERSIONS
    if count < enough or len(set(stretch.families)) < 2:
        found = _change(stretch, margin=margin)
    else:
        found = _nightly(stretch, margin=margin) if stretch.nights else _trend(stretch, margin=margin)
    return _directed(found, stretch)


# -- two points


def _change(stretch: Stretch, *, margin: float) -> Movement:
    first, last = stretch.y[:, 0], stretch.y[:, -1]
    shared = ~(np.isnan(first) | np.isnan(last))
    since, until = stretch.names[0], stretch.names[-1]
    if not shared.any():
        why = f"Nothing to compare: {since} and {until} share no item that was scored at both."
        return Movement(kind="nothing", since=since, until=until, doubt=why)
    d = np.where(shared, last - first, np.nan)
    found = _paired(stretch, d)
    either = ~(np.isnan(first) & np.isnan(last))
    span = stretch.span[1] - stretch.span[0]
    worst = [found]
    if not shared[either].all():
        worst += [_paired(stretch, np.where(either & ~shared, sign * span, d)) for sign in (-1.0, 1.0)]
    p_value = _largest([e.p_value for e in worst], signs=[e.value for e in worst])
    before, after = stretch.effects[0], stretch.effects[-1]
    tested = found.families > 1 and found.p_value is not None
    move = f"from {since} to {until} it went from {_level(stretch, before)} to {_level(stretch, after)}"
    counted = f"on {found.n} items in {found.families} families, those scored at both"
    return Movement(
        kind="change",
        since=since,
        until=until,
        value=found.value,
        ci=(found.ci_low, found.ci_high),
        whole=found.value,
        p_value=p_value,
        flat=_close(stretch, margin) and all(-margin <= e.lower and e.upper <= margin for e in worst),
        relative=_ratio(stretch, before, after),
        tests=(Tested(name="no change", statistic=found.value, p_value=found.p_value, method=found.method),),
        what=f"{move}, {_moved(found.value, (found.ci_low, found.ci_high))}, {counted}",
        doubt=_doubt(stretch, found.p_value, p_value),
        sure=tested and _usable(stretch),
        upward=found.value > 0,
    )


def step_between(y: Floats, families: Sequence[str], *, rate: bool, calibration: Calibration | None) -> Estimate | None:
    """The change from one point to the next, on the items that both scored; None if there are none. Not tested."""
    d = y[:, 1] - y[:, 0]
    shared = ~np.isnan(d)
    if not shared.any():
        return None
    return _difference(d, families, shared, rate=rate, calibration=calibration, null=None)


def _paired(stretch: Stretch, d: Floats) -> Estimate:
    shared = ~np.isnan(d)
    return _difference(d, stretch.families, shared, rate=stretch.rate, calibration=stretch.calibration, null=0.0)


def _difference(
    d: Floats,
    families: Sequence[str],
    shared: np.ndarray[tuple[int, ...], np.dtype[np.bool_]],
    *,
    rate: bool,
    calibration: Calibration | None,
    null: float | None,
) -> Estimate:
    # A difference of differences spans -2..2; half of it is a paired difference, and is bounded as one.
    scale = 1.0 if rate else 2.0
    found = estimates.difference(
        d[shared] / scale,
        [family for family, known in zip(families, shared, strict=True) if known],
        alpha=(1 - estimates.INTERVAL_LEVEL) / 2,
        null=null,
        calibration=calibration,
    )
    return found if rate else estimates.scaled(found, scale)


def _ratio(stretch: Stretch, before: Estimate, after: Estimate) -> Relative | None:
    if not stretch.rate:
        return None
    found = estimates.relative(after, before)
    if stretch.calibration is None:
        return found
    # its interval is that of counted replies, and knows nothing of what the grader's own errors add
    return replace(found, ci_low=None, ci_high=None, method="ratio of corrected rates: no interval")


# -- five versions and more


def _trend(stretch: Stretch, *, margin: float) -> Movement:
    count = len(stretch.names)
    found = [_fit(y, stretch) for y in (stretch.y, *_filled(stretch))]
    trend = found[0]
    ci = trend.ci
    p_value = _largest([t.p_value for t in found], signs=[t.value for t in found])
    levels = timeseries.version_levels(stretch.y)
    kendall = estimates.kendall([round(float(level), 12) for level in levels])
    before, after = stretch.effects[0], stretch.effects[-1]
    move = (
        f"over {count} versions, {stretch.names[0]} to {stretch.names[-1]}, it went from {_level(stretch, before)} to "
        f"{_level(stretch, after)}, {_moved(trend.value, ci, each=' a version')}"
    )
    tests = (
        _tested("slope on items", trend.items),
        _tested("regression on versions", trend.versions),
        Tested(name="Kendall", statistic=kendall.statistic, p_value=kendall.p_value, method=kendall.method),
    )
    doubt = _doubt(stretch, trend.p_value, p_value)
    if not doubt and trend.items.p_value <= 0.05 < trend.versions.p_value:
        doubt = "the items agree on a slope, but versions that wobble as these do would show it as often"
    return Movement(
        kind="trend",
        since=stretch.names[0],
        until=stretch.names[-1],
        value=trend.value,
        ci=ci,
        whole=trend.value * (count - 1),
        p_value=p_value,
        flat=_close(stretch, margin) and all((count - 1) * max(map(abs, t.ci)) <= margin for t in found),
        relative=_ratio(stretch, before, after),
        tests=tests,
        what=(
            f"{move}; both tests are needed: slope on {len(stretch.y)} items {_p(trend.items.p_value)}, "
            f"regression on {count} versions {_p(trend.versions.p_value)}"
        ),
        doubt=doubt,
        sure=_usable(stretch),
        upward=trend.value > 0,
    )


def _fit(y: Floats, stretch: Stretch) -> timeseries.Trend:
    found = timeseries.trend(y, stretch.families)
    assert found is not None  # five versions and two families were asked for before
    return timeseries.Trend(
        items=_unshrunk(found.items, stretch.calibration), versions=_unshrunk(found.versions, stretch.calibration)
    )


def _unshrunk(slope: timeseries.Slope, calibration: Calibration | None) -> timeseries.Slope:
    """A grader's errors shrink every difference by J: the slope over J, J's own error added. The test is the same."""
    value, (low, high) = _over_j(slope.value, (slope.ci_low, slope.ci_high), calibration)
    return replace(slope, value=value, ci_low=low, ci_high=high)


def _over_j(value: float, ci: Interval, calibration: Calibration | None) -> tuple[float, Interval]:
    shrinks = None if calibration is None else estimates.shrinkage(calibration)
    if shrinks is None:
        return value, ci
    j, error = shrinks
    by_j = _Z * error * abs(value) / j
    corrected = value / j
    return corrected, (
        corrected - math.hypot(value - ci[0], by_j) / j,
        corrected + math.hypot(ci[1] - value, by_j) / j,
    )


def _filled(stretch: Stretch) -> Iterator[Floats]:
    """The values with all that is missing where it makes the line fall the most, and where it makes it rise the most."""
    if stretch.complete:
        return
    low, high = stretch.span
    late = np.arange(stretch.y.shape[1]) > (stretch.y.shape[1] - 1) / 2
    for at_end, at_start in ((low, high), (high, low)):
        yield np.where(np.isnan(stretch.y), np.where(late, at_end, at_start), stretch.y)


# -- six nights and more


def _nightly(stretch: Stretch, *, margin: float) -> Movement:
    resolution = 1 / len(stretch.y)
    levels = timeseries.version_levels(stretch.y).tolist()
    count = len(levels)
    steps = timeseries.splits(levels, resolution=resolution)
    rung = timeseries.alarms(levels, resolution=resolution)
    sums = timeseries.cusum(timeseries.scores(levels, resolution=resolution))
    at = steps[-1].at if steps else rung[-1].since if rung else count // 2
    start = 0 if len(steps) < 2 else steps[-2].at
    if not steps and rung and not 0 < at < count:
        at = count // 2
    places = max(1, count - FEWEST_NIGHTS + 1)

    def between(levels: Sequence[float]) -> timeseries.Split:
        found = timeseries.step(levels[start:at], levels[at:], resolution=resolution, places=places)
        value, (low, high) = _over_j(found.value, (found.ci_low, found.ci_high), stretch.calibration)
        return replace(found, value=value, ci_low=low, ci_high=high)

    found = [between(levels), *(between(timeseries.version_levels(y).tolist()) for y in _lost(stretch, at))]
    last = found[0]
    moved = bool(steps or rung)
    p_value = _largest([f.p_value for f in found], signs=[f.value for f in found]) if steps else None
    best = timeseries.split(levels, resolution=resolution, alpha=1.0)
    tests = [
        Tested(
            name="CUSUM",
            statistic=rung[-1].statistic if rung else float(sums.max(initial=0.0)),
            p_value=None,
            method=f"self-starting, k {timeseries.SLACK:g}, alarm above {timeseries.DECISION:g}"
            + (f": rung on {stretch.names[rung[-1].at]}" if rung else ": none"),
        )
    ]
    if best is not None:
        p = last.p_value if steps else best.p_value
        where = stretch.names[at] if steps else stretch.names[best.at]
        t = last.statistic if steps else best.statistic
        method = f"t-test at {where}, times {places} places where it could have been"
        tests.append(Tested(name="step", statistic=t, p_value=p, method=method))
    if not steps and not rung:
        p_value = best.p_value if best is not None else None
    ci = (last.ci_low, last.ci_high)
    return Movement(
        kind="nightly",
        since=stretch.names[0],
        until=stretch.names[-1],
        value=last.value,
        ci=ci,
        whole=last.value,
        p_value=p_value,
        alarm=bool(rung) and not steps,
        flat=not moved and _close(stretch, margin) and all(-margin <= f.ci_low and f.ci_high <= margin for f in found),
        tests=tuple(tests),
        what=_nights_said(stretch, steps, rung, at, last),
        doubt="" if moved else f"no step is clear in {count} nights",
        sure=_usable(stretch),
        upward=last.value > 0,
    )


def _lost(stretch: Stretch, at: int) -> Iterator[Floats]:
    if stretch.complete:
        return
    low, high = stretch.span
    late = np.arange(stretch.y.shape[1]) >= at
    for at_end, at_start in ((low, high), (high, low)):
        yield np.where(np.isnan(stretch.y), np.where(late, at_end, at_start), stretch.y)


def _nights_said(
    stretch: Stretch,
    steps: Sequence[timeseries.Split],
    rung: Sequence[timeseries.Alarm],
    at: int,
    last: timeseries.Split,
) -> str:
    count = len(stretch.names)
    over = f"in {count} nights, {stretch.names[0]} to {stretch.names[-1]},"
    if steps:
        which = "there is a step" if len(steps) == 1 else f"the last of {len(steps)} steps is"
        return f"{over} {which} at {stretch.names[at]}: {_moved(last.value, (last.ci_low, last.ci_high))}"
    if rung:
        return (
            f"{over} the CUSUM rang on {stretch.names[rung[-1].at]}: since {stretch.names[at]} the level is "
            f"{_moved(last.value, (last.ci_low, last.ci_high))}"
        )
    return (
        f"{over} no step; the later half of them is {_moved(last.value, (last.ci_low, last.ci_high))} from the earlier"
    )


# -- what is common to all


def _close(stretch: Stretch, margin: float) -> bool:
    """Whether no point strays by more than the margin from the mean of all: a line may be flat through points that are not."""
    return float(np.abs(timeseries.version_levels(stretch.y)).max()) <= margin


def _directed(found: Movement, stretch: Stretch) -> Movement:
    """Which way it would be, were it shown."""
    if found.whole is None or not found.whole:
        return found
    if stretch.good == "steady":
        return replace(found, direction="worse")
    if stretch.good in ("low", "high"):
        return replace(found, direction="worse" if (found.whole > 0) == (stretch.good == "low") else "better")
    start, end = stretch.effects[0].value, stretch.effects[-1].value
    if start * end < 0:
        return replace(found, neither="it went from one side of 0 to the other, and which is nearer is not shown")
    return replace(found, direction="worse" if abs(end) > abs(start) else "better")


def said(found: Movement, *, adjusted: float | None, of: int, alpha: float, margin: float) -> tuple[Direction, str]:
    """The direction, and all of it as a sentence. `adjusted`: its p-value among those of `of` series."""
    if found.kind == "nothing":
        return "unclear", found.doubt
    if found.flat and found.sure:
        inside = f"whatever moved is within {points(margin, signed=False)}"
        return "flat", f"Flat: {found.what}; {inside}."
    among = f"adjusted for {of} series (Benjamini-Hochberg) {_p(adjusted)}" if adjusted is not None and of > 1 else ""
    shown = found.sure and (found.alarm or (adjusted is not None and adjusted <= alpha))
    if shown:
        end = f"; {among}" if among else ""
        if found.direction == "unclear":
            return "unclear", f"Changed: {found.what}{end}; {found.neither}."
        return found.direction, f"{found.direction.capitalize()}: {found.what}{end}."
    why = found.doubt
    if not why and found.p_value is not None and adjusted is not None and found.p_value <= alpha < adjusted:
        why = f"alone it would count as {found.direction}, but among {of} series as much turns up by chance ({among})"
    return "unclear", f"Nobody can say yet: {found.what}" + (f"; {why}." if why else ".")


def _largest(p_values: Sequence[float | None], *, signs: Sequence[float]) -> float | None:
    """The p-value that holds wherever the missing replies are: 1 if they could turn the sign."""
    known = [p for p in p_values if p is not None]
    if len(known) < len(p_values):
        return None
    return 1.0 if min(signs) < 0 < max(signs) else max(known)


def _doubt(stretch: Stretch, p_value: float | None, widest: float | None) -> str:
    if not _usable(stretch):
        return "the grader is uncalibrated, and nothing rests on it"
    if p_value is None:
        return "a single family tells nothing of how families differ"
    if widest is not None and p_value <= 0.05 < widest:
        missing = int(np.isnan(stretch.y).sum())
        return f"the {missing} values that are missing could change that"
    return ""


def _usable(stretch: Stretch) -> bool:
    return stretch.calibration is None or estimates.shrinkage(stretch.calibration) is not None


def _tested(name: str, slope: timeseries.Slope) -> Tested:
    statistic = slope.statistic if math.isfinite(slope.statistic) else math.copysign(1e6, slope.statistic)
    return Tested(name=name, statistic=statistic, p_value=slope.p_value, method=slope.method)


def _level(stretch: Stretch, effect: Estimate) -> str:
    shown: Callable[[float], str] = percent if stretch.rate else points
    return shown(effect.value)


def _moved(value: float, ci: Interval, *, each: str = "") -> str:
    return f"{points(value)}{each} (95 % interval {points(ci[0])} to {points(ci[1])})"


def _p(p: float | None) -> str:
    if p is None:
        return "p unknown"
    return "p < 0.0001" if p < 0.0001 else f"p = {p:.4f}"
