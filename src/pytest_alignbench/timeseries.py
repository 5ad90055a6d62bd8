"""Versions and nights: whether a level moves over time, by statistics that know how it can seem to. Pure; no I/O.

    versions   items x versions ──slope of each item──> mean by families, t(G - 1) ─┐
                                ──mean of each version──> regression, t(V - 2) ─────┴─ both ──> Trend
    nights     one level a night ──self-starting CUSUM──> alarm
                                 ──best split, t-test──> steps
    series     all their changes ──empirical Bayes──> an order to look at them in; never a decision

Why a trend needs both: that prompts agree on a slope says only that these versions differ in an orderly way. Versions
wobble for reasons of their own, and five that wobble line up often enough: with a standard deviation of .3 on the logit
scale the slope on prompts finds a trend in 28 % of families of versions that have none. The regression on version means
knows that wobble, and does not know the prompts. `docs/statistics.md` has what the two together find.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy  # its parts, and statsmodels, are loaded where they are used: they cost a second
from numpy.typing import ArrayLike, NDArray

from pytest_alignbench.estimates import INTERVAL_LEVEL, Interval, best_upper, clustered_se

Floats = NDArray[np.float64]

FEWEST_VERSIONS = 5
"""For a trend. Four points that rise throughout do so by chance in one of twelve orders."""

_LEAST = 3
"""Nights on each side of a step."""

FEWEST_NIGHTS = 2 * _LEAST
"""For a step."""

DECISION = 8.0
"""h of the CUSUM, in standard deviations of a night."""

SLACK = 0.5
"""k of the CUSUM: shifts of twice this many standard deviations are found the fastest."""

SPLIT_ALPHA = 0.01
"""Two-sided level of a split, over all places where it may be."""


_NOTHING = 1e-12
"""A spread that is a rounding error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slope:
    """Change per version, with its two-sided 95 % interval; `p_value` tests that there is none."""

    value: float
    ci_low: float
    ci_high: float
    statistic: float
    p_value: float
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """What both slopes say: the trend is there only if each of them finds it (Berger 1982, intersection-union).

    So the p-value is the larger of the two, and the interval holds what either holds: it excludes 0 when both do.
    """

    items: Slope
    versions: Slope

    @property
    def value(self) -> float:
        return self.items.value

    @property
    def ci(self) -> Interval:
        return min(self.items.ci_low, self.versions.ci_low), max(self.items.ci_high, self.versions.ci_high)

    @property
    def p_value(self) -> float:
        return max(self.items.p_value, self.versions.p_value)


def trend(y: ArrayLike, families: Sequence[Hashable]) -> Trend | None:
    """The trend of `y`, of shape (items, versions), over versions that are equally far apart; NaN where unscored.

    `families`: of each item. None with fewer than five versions, or in a single family, which has no standard error.

    Raises ValueError for an item without any value, or a version without one.
    """
    values = _checked(y, families)
    if values.shape[1] < FEWEST_VERSIONS or len(set(families)) < 2:
        return None
    return Trend(items=item_slope(values, families), versions=version_slope(centred(values)))


def item_slope(y: ArrayLike, families: Sequence[Hashable]) -> Slope:
    """The slope of each item over versions; their mean, clustered by families, with t of G - 1 degrees of freedom.

    `y`: (items, versions), NaN where unscored. Where all are scored it is the mean of the items' least-squares slopes;
    else items weigh as much as their versions are spread, which is regression with a level for each item. Standard error:
    Liang & Zeger 1986 with G / (G - 1), and at least so much that the interval leaves open what silence on as many items
    would: where few items move, the clustered error pretends to know more.

    Raises ValueError for a single family, an item or a version without any value, or where no item has two.
    """
    values = _checked(y, families)
    n, versions = values.shape
    groups = len(set(families))
    if groups < 2:
        raise ValueError("a single family: nothing tells how families differ, so the slope has no standard error")
    known = ~np.isnan(values)
    place = np.where(known, np.arange(versions, dtype=np.float64), np.nan)
    place = np.where(known, place - np.nanmean(place, axis=1, keepdims=True), 0.0)
    weights = np.sum(place**2, axis=1)
    if not weights.any():
        raise ValueError("no item was scored twice: a slope is of items")
    slopes = np.divide(np.sum(place * np.nan_to_num(values), axis=1), weights, out=np.zeros(n), where=weights > 0)
    mean = float(np.sum(weights * slopes) / np.sum(weights))
    # each item's part of the weighted mean: these have its mean, and the clustered error of regression
    error = clustered_se(mean + weights * (slopes - mean) / weights.mean(), families)
    assert error is not None  # there are two families
    quantile = float(scipy.special.stdtrit(groups - 1, 0.5 + INTERVAL_LEVEL / 2))
    unseen = best_upper(n=n, families=groups, alpha=(1 - INTERVAL_LEVEL) / 2) / (versions - 1)
    error = max(error, unseen / quantile)
    return Slope(
        value=mean,
        ci_low=mean - quantile * error,
        ci_high=mean + quantile * error,
        statistic=mean / error,
        p_value=float(2 * scipy.special.stdtr(groups - 1, -abs(mean) / error)),
        method=f"slope of {n} items in {groups} families, t({groups - 1})",
    )


def centred(y: ArrayLike) -> Floats:
    """The level of each point as far from the mean of all: (items, points) -> (points,).

    An item that was not scored at a point counts at the others as far from its own mean, so that items which are missing
    because they are hard, say, move nothing.
    """
    values = np.asarray(y, dtype=np.float64)
    found: Floats = np.nanmean(values - np.nanmean(values, axis=1, keepdims=True), axis=0)
    return found


def version_slope(levels: Sequence[float] | Floats) -> Slope:
    """Least squares over versions that are equally far apart, with t of V - 2 degrees of freedom: for V of 3 or more."""
    v = len(levels)
    if v < 3:
        raise ValueError(f"{v} versions: a line through fewer than 3 leaves nothing to judge it by")
    fit = scipy.stats.linregress(np.arange(v, dtype=np.float64), np.asarray(levels, dtype=np.float64))
    half = float(scipy.special.stdtrit(v - 2, 0.5 + INTERVAL_LEVEL / 2)) * float(fit.stderr)
    value = float(fit.slope)
    p_value = float(fit.pvalue) if value != 0 else 1.0
    return Slope(
        value=value,
        ci_low=value - half,
        ci_high=value + half,
        statistic=value / max(float(fit.stderr), _NOTHING),
        p_value=p_value,
        method=f"regression on {v} versions, t({v - 2})",
    )


def _checked(y: ArrayLike, families: Sequence[Hashable]) -> Floats:
    values = np.asarray(y, dtype=np.float64)
    if values.ndim != 2 or 0 in values.shape:
        raise ValueError(f"a trend needs a table of items x versions, not an array of shape {values.shape}")
    if len(families) != len(values):
        raise ValueError(f"{len(values)} items with {len(families)} families: each item has one")
    known = ~np.isnan(values)
    if not (known.any(axis=1).all() and known.any(axis=0).all()):
        raise ValueError("every item, and every version, has at least one value")
    return values


# -- nights


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """The CUSUM has left its limits. Places count from 0."""

    at: int
    """The night on which it did."""
    since: int
    """The first night of the rise (or fall) that led there: an estimate of when it changed."""
    statistic: float
    """The sum at the alarm: positive if the level has risen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """A step between two levels."""

    at: int
    """The first night of the new level, from 0."""
    value: float
    """The level after it minus that before, each up to the next step."""
    ci_low: float
    ci_high: float
    statistic: float
    p_value: float
    """Two-sided, times `places`."""
    places: int
    """Where the split could have been."""


def scores(levels: Sequence[float], *, resolution: float = 0.0) -> Floats:
    """How far each night is from all before it, as standard normal deviates: the first two are 0.

    Nobody knows a model's usual level and spread before it has been measured, and estimating both from the first few
    nights would make a chart with a false alarm every other week. Each night is held against all before it instead:
    U_n = probit( F_{n-2}( (x_n - mean) / s sqrt((n-1)/n) ) ) are independent and standard normal while nothing changes.

    `resolution`: s is at least this: what one reply more or less makes. No night counts for more than brings the CUSUM to
    its alarm, so that it takes a second one that agrees. Source: Hawkins 1987, "Self-starting CUSUM charts
    for location and scale"; Hawkins & Olwell 1998, chapter 7.
    """
    x = np.asarray(levels, dtype=np.float64)
    found = np.zeros(len(x))
    most = DECISION + SLACK
    for n in range(3, len(x) + 1):
        before = x[: n - 1]
        off = float(x[n - 1] - before.mean())
        t = abs(off) / max(float(before.std(ddof=1)), resolution, _NOTHING) * math.sqrt((n - 1) / n)
        tail = max(float(scipy.special.stdtr(n - 2, -t)), 1e-300)
        found[n - 1] = math.copysign(min(-float(scipy.special.ndtri(tail)), most), off)
    return found


def cusum(z: Sequence[float] | Floats, *, k: float = SLACK) -> Floats:
    """The sums of the two-sided tabular CUSUM of standardised values, of shape (2, nights): upward, and downward.

    C+ = max(0, C+ + z - k); C- = max(0, C- - z - k). Source: Page 1954; as in Montgomery, Statistical Quality Control, 9.1.
    """
    found = np.zeros((2, len(z)))
    sums = np.zeros(2)
    for at, value in enumerate(z):
        sums = np.maximum(sums + np.array([value - k, -value - k]), 0.0)
        found[:, at] = sums
    return found


def alarm(z: Sequence[float] | Floats, *, h: float = DECISION, k: float = SLACK) -> Alarm | None:
    """The first night on which a sum of the CUSUM of standardised values is above h; None if there is none."""
    sums = cusum(z, k=k)
    over = np.flatnonzero(sums.max(axis=0) > h)
    if not len(over):
        return None
    at, side = int(over[0]), int(np.argmax(sums[:, over[0]]))
    zeros = np.flatnonzero(sums[side, :at] == 0)
    return Alarm(
        at=at, since=int(zeros[-1]) + 1 if len(zeros) else 0, statistic=float(sums[side, at]) * (1 if side == 0 else -1)
    )


def alarms(levels: Sequence[float], *, resolution: float = 0.0) -> list[Alarm]:
    """Every alarm of a series of nightly levels. After each, what it found becomes the new usual: it starts again there."""
    found: list[Alarm] = []
    start = 0
    while True:
        rung = alarm(scores(levels[start:], resolution=resolution))
        if rung is None:
            return found
        found.append(Alarm(at=start + rung.at, since=start + rung.since, statistic=rung.statistic))
        start += rung.since  # at least 2: the first two nights are no distance from anything


def split(levels: Sequence[float], *, resolution: float = 0.0, alpha: float = SPLIT_ALPHA) -> Split | None:
    """The clearest step of a series; None if none is clear enough. The same series gives the same answer.

    Student's t-test at every place with three nights on each side, in the whole series and in windows of it: within the
    whole alone, a rise that is taken back would be no step. The least p-value, two-sided, counts times the number of all
    places (Bonferroni). `resolution`: as for `scores`.

    Source: the t-test that Fleming et al. 2023 ("Hunter", arXiv:2301.03034) put in place of permutations; the windows of
    Kovács et al. 2023 ("Seeded binary segmentation", Biometrika 110:249).
    """
    x = np.asarray(levels, dtype=np.float64)
    windows = [(start, at, end) for start, end in _windows(len(x)) for at in range(start + _LEAST, end - _LEAST + 1)]
    best: Split | None = None
    for start, at, end in windows:
        found = step(x[start:at], x[at:end], resolution=resolution, places=len(windows), offset=start)
        if best is None or (found.p_value, -abs(found.statistic)) < (best.p_value, -abs(best.statistic)):
            best = found
    return best if best is not None and best.p_value <= alpha else None


def _windows(n: int) -> list[tuple[int, int]]:
    """Parts of 0..n, each length some 0.7 times the last, each overlapping the next by half and more."""
    found: dict[tuple[int, int], None] = {}
    length, layer = float(n), 0
    while length >= FEWEST_NIGHTS:
        count = 2 * math.ceil(math.sqrt(2) ** layer) - 1
        shift = (n - length) / (count - 1) if count > 1 else 0.0
        for number in range(count):
            start = number * shift
            found[math.floor(start), min(n, math.ceil(start + length - 1e-9))] = None
        layer += 1
        length = n * math.sqrt(0.5) ** layer
    return list(found)


def splits(levels: Sequence[float], *, resolution: float = 0.0, alpha: float = SPLIT_ALPHA) -> list[Split]:
    """All steps, oldest first: a part is split again while there is a clear place in it (binary segmentation)."""
    places = _places(levels, resolution=resolution, alpha=alpha)
    ends = [0, *places, len(levels)]
    return [
        step(levels[start:at], levels[at:end], resolution=resolution, places=1, offset=start)
        for start, at, end in zip(ends, ends[1:], ends[2:], strict=False)
    ]


def _places(levels: Sequence[float], *, resolution: float, alpha: float, offset: int = 0) -> list[int]:
    found = split(levels, resolution=resolution, alpha=alpha)
    if found is None:
        return []
    at = found.at
    before = _places(levels[:at], resolution=resolution, alpha=alpha, offset=offset)
    after = _places(levels[at:], resolution=resolution, alpha=alpha, offset=offset + at)
    return [*before, offset + at, *after]


def step(
    before: Sequence[float] | Floats,
    after: Sequence[float] | Floats,
    *,
    resolution: float = 0.0,
    places: int = 1,
    offset: int = 0,
) -> Split:
    """The difference of two levels by Student's t, equal variances, for two nights and more in all; `at` from `offset`."""
    sides = [np.asarray(side, dtype=np.float64) for side in (before, after)]
    n, m = map(len, sides)
    df = n + m - 2
    value = float(sides[1].mean() - sides[0].mean())
    if df < 1:
        raise ValueError(f"{n} and {m} nights: their spread takes at least three in all")
    spread = math.sqrt(sum(float(np.sum((side - side.mean()) ** 2)) for side in sides) / df)
    error = max(spread, resolution, _NOTHING) * math.sqrt(1 / n + 1 / m)
    half = float(scipy.special.stdtrit(df, 0.5 + INTERVAL_LEVEL / 2)) * error
    t = value / error
    return Split(
        at=offset + n,
        value=value,
        ci_low=value - half,
        ci_high=value + half,
        statistic=t,
        p_value=min(1.0, places * 2 * float(scipy.special.stdtr(df, -abs(t)))),
        places=places,
    )


# -- many series


def shrunk(values: Sequence[float], errors: Sequence[float]) -> list[float]:
    """Each change drawn towards the mean of all, the more the less sure it is: for the order of a list, never a decision.

    value -> mean + tau^2 / (tau^2 + se^2) (value - mean), where tau^2, the variance of the true changes, is estimated from
    all of them (Paule & Mandel 1982). Fewer than three are left as they are.

    Raises ValueError for a standard error that is not positive. Source: Efron & Morris 1975; Morris 1983.
    """
    if len(values) != len(errors) or any(error <= 0 for error in errors):
        raise ValueError("each change has a standard error above 0")
    if len(values) < 3:
        return list(values)
    y, variance = np.asarray(values, dtype=np.float64), np.asarray(errors, dtype=np.float64) ** 2
    from statsmodels.stats.meta_analysis import combine_effects

    pooled = combine_effects(y, variance, method_re="iterated")
    tau2 = max(float(pooled.tau2), 0.0)
    mean = float(np.sum(y / (tau2 + variance)) / np.sum(1 / (tau2 + variance)))
    return [float(v) for v in mean + tau2 / (tau2 + variance) * (y - mean)]
