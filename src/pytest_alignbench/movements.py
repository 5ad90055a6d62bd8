"""Movements: what one claim's points say together, as numbers and then as a sentence.

    Stretch (items x points) ──2 to 4 versions──> change of the last from the first, paired on items ─┐
                             ──5 versions, more──> trend: slope on items and regression on versions ──┼──> Movement
                             ──6 nights, more────> steps, and the CUSUM's alarm ──────────────────────┘        │
                                                              p-values of all series, adjusted together ──> said

Better and worse are said of what is shown, flat of what is shown to stay within the margin, and all else is unclear: nobody
can say yet. Missing replies widen here as they do in a gate: what is said must hold wherever they may have been.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

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
    def missing(self) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = np.isnan(self.y)
        return found

    @property
    def usable(self) -> bool:
        """Whether anything may rest on it: not on an uncalibrated grader."""
        return self.calibration is None or estimates.shrinkage(self.calibration) is not None

    def level(self, point: int) -> str:
        value = self.effects[point].value
        return percent(value) if self.rate else points(value)

    def filled(self, late: NDArray[np.bool_]) -> Iterator[Floats]:
        """The values with all that is missing where it lowers the `late` points the most, and where it raises them.

        Nothing where nothing is missing.
        """
        if not self.missing.any():
            return
        low, high = (0.0, 1.0) if self.rate else (-1.0, 1.0)
        for at_end, at_start in ((low, high), (high, low)):
            yield np.where(self.missing, np.where(late, at_end, at_start), self.y)


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
    """From the first point to the last: `value`, or that many times the value of a version."""
    p_value: float | None = None
    """Of all that is needed, with missing replies where they speak most against it. None: not tested by one."""
    alone: bool = False
    """Whether it is shown, were this the only series that anybody looked at."""
    flat: bool = False
    direction: Direction = "unclear"
    """Which way it is, if it is shown; unclear where it is neither better nor worse."""
    relative: Relative | None = None
    tests: tuple[Tested, ...] = ()
    what: str = ""
    """The measured movement in words."""
    evidence: str = ""
    """Its tests in words."""
    doubt: str = ""
    """Why it is not shown by itself, where there is more to say than that it is not; of `nothing`, all there is to say."""

    @property
    def error(self) -> float | None:
        """The standard error of `whole`, from the interval of `value`."""
        if self.ci is None or self.value is None or self.whole is None:
            return None
        times = self.whole / self.value if self.value else 1.0
        return times * (self.ci[1] - self.ci[0]) / (2 * _Z)


def movement(stretch: Stretch, *, margin: float, alpha: float) -> Movement:
    """What the points of a stretch say together, at two-sided `alpha` for the series by itself."""
    count = len(stretch.names)
    if count < 2:
        return Movement(kind="nothing", since=stretch.names[0], until=stretch.names[-1])
    known = np.flatnonzero(~stretch.missing.all(axis=1))
    stretch = replace(stretch, y=stretch.y[known], families=tuple(stretch.families[item] for item in known))
    single = len(set(stretch.families)) < 2
    if single or count < (FEWEST_NIGHTS if stretch.nights else FEWEST_VERSIONS):
        found = _change(stretch, margin=margin, alpha=alpha)
    elif stretch.nights:
        found = _nightly(stretch, margin=margin, alpha=alpha)
    else:
        found = _trend(stretch, margin=margin, alpha=alpha)
    return replace(found, direction=_direction(found, stretch))


def said(found: Movement, *, adjusted: float | None, of: int, alpha: float, margin: float) -> tuple[Direction, str]:
    """The direction, and all of it as a sentence. `adjusted`: its p-value among those of `of` series."""
    if found.kind == "nothing":
        return "unclear", found.doubt
    if found.flat:
        though = f", though it is a change ({_p(found.p_value)})" if found.alone else ""
        return "flat", f"Flat: {found.what}: within the margin of {points(margin, signed=False)}{though}."
    among = f"adjusted for {of} series (Benjamini-Hochberg) {_p(adjusted)}" if adjusted is not None and of > 1 else ""
    shown = found.alone and (adjusted is None or adjusted <= alpha)
    facts = "; ".join(filter(None, (found.what, found.evidence, among if shown else "")))
    if not shown:
        why = found.doubt
        if found.alone:
            as_what = "a change" if found.direction == "unclear" else found.direction
            why = f"alone it would count as {as_what}, but of so many series as much turns up by chance ({among})"
        return "unclear", f"Nobody can say yet: {'; '.join(filter(None, (facts, why)))}."
    if found.direction == "unclear":
        return "unclear", f"Changed, from one side of 0 to the other, and which is nearer to it is not shown: {facts}."
    return found.direction, f"{found.direction.capitalize()}: {facts}."


# -- two points


def _change(stretch: Stretch, *, margin: float, alpha: float) -> Movement:
    since, until = stretch.names[0], stretch.names[-1]
    d = stretch.y[:, -1] - stretch.y[:, 0]
    if np.isnan(d).all():
        why = f"Nothing to compare: {since} and {until} share no item that was scored at both."
        return Movement(kind="nothing", since=since, until=until, doubt=why)
    found = _paired(d, stretch, null=0.0)
    known = ~stretch.missing[:, [0, -1]].all(axis=1)  # an item of which neither end is known is one of other points
    most = 1.0 if stretch.rate else 2.0
    every = [found]
    if np.isnan(d[known]).any():
        every += [_paired(np.where(known & np.isnan(d), sign * most, d), stretch, null=0.0) for sign in (-1.0, 1.0)]
    p_value = _largest([e.p_value for e in every], [e.value for e in every])
    before, after = stretch.effects[0], stretch.effects[-1]
    what = (
        f"from {since} to {until} it went from {stretch.level(0)} to {stretch.level(-1)}, "
        f"{_moved(found.value, (found.lower, found.upper))}, on {found.n} items that both scored"
    )
    return Movement(
        kind="change",
        since=since,
        until=until,
        value=found.value,
        ci=(found.lower, found.upper),  # the ones that its p-value goes by
        whole=found.value,
        p_value=p_value,
        alone=stretch.usable and p_value is not None and p_value <= alpha,
        flat=_close(stretch, margin) and all(-margin <= e.lower and e.upper <= margin for e in every),
        relative=_ratio(stretch, before, after),
        tests=(Tested(name="no change", statistic=found.value, p_value=found.p_value, method=found.method),),
        what=what,
        evidence="" if found.p_value is None else f"that nothing changed: {_p(found.p_value)}",
        doubt=_doubt(stretch, found.p_value, p_value, alpha),
    )


def step_between(stretch: Stretch) -> Estimate | None:
    """The change from the first point to the last, on the items that both scored; None without any. It is not tested."""
    d = stretch.y[:, -1] - stretch.y[:, 0]
    return None if np.isnan(d).all() else _paired(d, stretch, null=None)


def _paired(d: Floats, stretch: Stretch, *, null: float | None) -> Estimate:
    """The mean of paired differences, NaN where there is no pair. Its bounds are those of a two-sided 95 % interval."""
    shared = ~np.isnan(d)
    # A difference of differences spans -2..2; half of it is a paired difference, and is bounded as one.
    scale = 1.0 if stretch.rate else 2.0
    found = estimates.difference(
        d[shared] / scale,
        [family for family, known in zip(stretch.families, shared, strict=True) if known],
        alpha=(1 - estimates.INTERVAL_LEVEL) / 2,
        null=null,
        calibration=stretch.calibration,
    )
    return found if stretch.rate else estimates.scaled(found, scale)


def _ratio(stretch: Stretch, before: Estimate, after: Estimate) -> Relative | None:
    if not stretch.rate:
        return None
    found = estimates.relative(after, before)
    if stretch.calibration is None:
        return found
    # its interval is that of counted replies, and knows nothing of what the grader's own errors add
    return replace(found, ci_low=None, ci_high=None, method="ratio of corrected rates: no interval")


# -- five versions and more


def _trend(stretch: Stretch, *, margin: float, alpha: float) -> Movement:
    count = len(stretch.names)
    late = np.arange(count) > (count - 1) / 2
    every = [_fit(y, stretch) for y in (stretch.y, *stretch.filled(late))]
    found = every[0]
    p_value = _largest([t.p_value for t in every], [t.value for t in every])
    assert p_value is not None  # both slopes have one
    doubt = _doubt(stretch, found.p_value, p_value, alpha)
    if not doubt and found.items.p_value <= alpha < found.versions.p_value:
        doubt = "the items agree on a slope, but versions that wobble as these do would show one as often"
    kendall = estimates.kendall([round(float(level), 12) for level in timeseries.centred(stretch.y)])
    return Movement(
        kind="trend",
        since=stretch.names[0],
        until=stretch.names[-1],
        value=found.value,
        ci=found.ci,
        whole=found.value * (count - 1),
        p_value=p_value,
        alone=stretch.usable and p_value <= alpha,
        flat=stretch.usable
        and _close(stretch, margin)
        and all((count - 1) * max(map(abs, t.ci)) <= margin for t in every),
        relative=_ratio(stretch, stretch.effects[0], stretch.effects[-1]),
        tests=(
            _slope("slope on items", found.items),
            _slope("regression on versions", found.versions),
            Tested(name="Kendall", statistic=kendall.statistic, p_value=kendall.p_value, method=kendall.method),
        ),
        what=(
            f"over {count} versions, {stretch.names[0]} to {stretch.names[-1]}, it went from {stretch.level(0)} to "
            f"{stretch.level(-1)}, {_moved(found.value, found.ci, each=' a version')}"
        ),
        evidence=(
            f"a trend takes both tests: slope on {len(stretch.y)} items {_p(found.items.p_value)}, "
            f"regression on {count} versions {_p(found.versions.p_value)}"
        ),
        doubt=doubt,
    )


def _fit(y: Floats, stretch: Stretch) -> timeseries.Trend:
    found = timeseries.trend(y, stretch.families)
    assert found is not None  # there are five versions and two families
    return timeseries.Trend(
        items=_unshrunk(found.items, stretch.calibration), versions=_unshrunk(found.versions, stretch.calibration)
    )


def _unshrunk(slope: timeseries.Slope, calibration: Calibration | None) -> timeseries.Slope:
    value, (low, high) = _over_j(slope.value, (slope.ci_low, slope.ci_high), calibration)
    return replace(slope, value=value, ci_low=low, ci_high=high)


def _over_j(value: float, ci: Interval, calibration: Calibration | None) -> tuple[float, Interval]:
    """A grader's errors shrink every difference by J: the difference over J, with J's own error added. Its test stays."""
    shrinks = None if calibration is None else estimates.shrinkage(calibration)
    if shrinks is None:
        return value, ci
    j, error = shrinks
    found, more = value / j, _Z * error * abs(value) / j
    return found, (found - math.hypot(value - ci[0], more) / j, found + math.hypot(ci[1] - value, more) / j)


def _slope(name: str, slope: timeseries.Slope) -> Tested:
    return Tested(
        name=name,
        statistic=slope.statistic,
        p_value=slope.p_value,
        method=slope.method,
    )


# -- six nights and more


def _nightly(stretch: Stretch, *, margin: float, alpha: float) -> Movement:
    """The newest step, or the newest alarm where no step is clear yet; without either, the later half and the earlier."""
    count, resolution = len(stretch.names), 1 / len(stretch.y)
    levels = timeseries.centred(stretch.y).tolist()
    steps = timeseries.splits(levels, resolution=resolution)
    rung = timeseries.alarms(levels, resolution=resolution)
    few = FEWEST_NIGHTS // 2
    by_alarm = bool(rung) and (not steps or rung[-1].since > min(count - few, steps[-1].at + few))
    at = rung[-1].since if by_alarm else steps[-1].at if steps else count // 2
    start = max((step.at for step in steps if step.at <= at - few), default=0)
    best = timeseries.split(levels, resolution=resolution, alpha=1.0)
    assert best is not None  # there are six nights
    places = best.places

    def between(values: Sequence[float]) -> timeseries.Split:
        found = timeseries.step(values[start:at], values[at:], resolution=resolution, places=places)
        value, (low, high) = _over_j(found.value, (found.ci_low, found.ci_high), stretch.calibration)
        return replace(found, value=value, ci_low=low, ci_high=high)

    every = [between(timeseries.centred(y).tolist()) for y in (stretch.y, *stretch.filled(np.arange(count) >= at))]
    found = every[0]
    p_value = _largest([f.p_value for f in every], [f.value for f in every]) if steps else best.p_value
    name = stretch.names[at]
    over = f"in {count} nights, {stretch.names[0]} to {stretch.names[-1]},"
    ci = (found.ci_low, found.ci_high)
    if by_alarm:
        what = (
            f"{over} the CUSUM rang on {stretch.names[rung[-1].at]}: since {name} it is {_moved(found.value, ci)} off"
        )
    elif steps:
        which = "there is a step" if len(steps) == 1 else f"the last of {len(steps)} steps is"
        what = f"{over} {which} on {name}, {_moved(found.value, ci)}"
    else:
        what = f"{over} there is no clear step; the later half of them is {_moved(found.value, ci)} from the earlier"
    clear = by_alarm or (bool(steps) and p_value is not None and p_value <= alpha)
    return Movement(
        kind="nightly",
        since=stretch.names[0],
        until=stretch.names[-1],
        value=found.value,
        ci=ci,
        whole=found.value,
        p_value=None if by_alarm else p_value,
        alone=stretch.usable and clear,
        flat=stretch.usable
        and not (steps or rung)
        and _close(stretch, margin)
        and all(-margin <= f.ci_low and f.ci_high <= margin for f in every),
        tests=(_cusum(stretch, levels, rung, resolution), _step(stretch, steps[-1] if steps else best, places)),
        what=what,
        evidence=f"t-test, {places} places looked at: {_p(found.p_value)}" if steps and not by_alarm else "",
        doubt=_doubt(stretch, found.p_value if steps else 1.0, p_value, alpha),
    )


def _cusum(stretch: Stretch, levels: Sequence[float], rung: Sequence[timeseries.Alarm], resolution: float) -> Tested:
    ends = ", ".join(stretch.names[alarm.at] for alarm in rung)
    most = float(timeseries.cusum(timeseries.scores(levels, resolution=resolution)).max())
    return Tested(
        name="CUSUM",
        statistic=rung[-1].statistic if rung else most,
        p_value=None,
        method=(
            f"self-starting, k {timeseries.SLACK:g}, alarm above {timeseries.DECISION:g}: "
            f"{f'on {ends}' if rung else 'none'}"
        ),
    )


def _step(stretch: Stretch, split: timeseries.Split, places: int) -> Tested:
    return Tested(
        name="step",
        statistic=split.statistic,
        p_value=min(1.0, split.p_value * (places if split.places == 1 else 1)),
        method=f"t-test of the nights from {stretch.names[split.at]} on, for {places} places where it could have been",
    )


# -- what is common to all


def _direction(found: Movement, stretch: Stretch) -> Direction:
    if not found.whole:
        return "unclear"
    if stretch.good == "steady":
        return "worse"
    if stretch.good in ("low", "high"):
        return "worse" if (found.whole > 0) == (stretch.good == "low") else "better"
    start, end = stretch.effects[0].value, stretch.effects[-1].value
    if start * end < 0:
        return "unclear"
    return "worse" if abs(end) > abs(start) else "better"


def _close(stretch: Stretch, margin: float) -> bool:
    """Whether no point strays by more than the margin from the mean of all: a line may be flat through points that are not."""
    return float(np.abs(timeseries.centred(stretch.y)).max()) <= margin


def _largest(p_values: Sequence[float | None], values: Sequence[float]) -> float | None:
    """The p-value that holds wherever the missing replies are: 1 if they could turn the sign."""
    known = [p for p in p_values if p is not None]
    if len(known) < len(p_values):
        return None
    return 1.0 if min(values) < 0 < max(values) else max(known)


def _doubt(stretch: Stretch, p_value: float | None, widest: float | None, alpha: float) -> str:
    if not stretch.usable:
        return "its grader is uncalibrated, so nothing rests on it"
    if len(set(stretch.families)) < 2:
        return "a single family of prompts tells nothing of how families differ"
    if p_value is not None and widest is not None and p_value <= alpha < widest:
        count = int(stretch.missing.sum())
        return f"the {count} {'value that is' if count == 1 else 'values that are'} missing could change that"
    return ""


def _moved(value: float, ci: Interval, *, each: str = "") -> str:
    return f"{points(value)}{each} (95 % interval {100 * ci[0]:+z.1f} to {100 * ci[1]:+z.1f})"


def _p(p: float | None) -> str:
    if p is None:
        return "p unknown"
    return "p < 0.0001" if p < 0.0001 else f"p = {p:.4f}"
