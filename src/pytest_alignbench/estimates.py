"""Observations become estimates: a rate or a difference, never without its bounds. Numbers in, values out; no I/O.

The unit of evidence is the prompt, and prompts of one family stand or fall together::

    replies ──mean over epochs──> y, one number per prompt ──by family──> clustered standard error
                                                                                │
                                  effective size  n_eff = spread / SE^2   (at most n / design effect)
                                                                                │
        value · one-sided bounds at `alpha` (what gates use) · two-sided 95 % interval (what people read)

How the bounds are made, and what was measured before they were chosen (`docs/statistics.md` has the tables):

- A rate has Clopper-Pearson bounds at n_eff effective prompts (Korn & Graubard 1998); for families of one prompt the
  plain ones. Worst one-sided error found at a nominal .05, families correlated up to .3: .048. Clustered Wilson: .12.
- A paired difference is b - c, the shares of prompts that differ one way and the other. Each share has such bounds;
  square-and-add joins them (MOVER, Newcombe 1998, Zou & Donner 2008). Worst error .049 for independent items (exact) and
  .05 within the noise of simulation for families. Tango's score interval: .09. The clustered t interval: .79, for it
  collapses when few prompts differ.
- Intervals for people are Wilson's, clustered in the same way: closer to their nominal coverage on average.

Bounds are finite whatever was seen: no hit, no discordant pair and no variation between families still leave the
uncertainty of n_eff prompts. A single family leaves everything open, so its bounds are the ends of the scale.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from statistics import fmean
from typing import Literal

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from pytest_alignbench.observations import Observation

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]
Interval = tuple[float, float]
BoundsAt = Callable[[float], Interval]

FAMILY_ICC = 0.2
"""The least intraclass correlation that is assumed between the prompts of a family.

Few hits cannot show that prompts hang together: so n_eff is at most n / (1 + FAMILY_ICC (m - 1)) with m in a family."""

EPOCH_ICC = 0.5
"""The least intraclass correlation that is assumed between the epochs of a prompt, once some were seen to differ."""

LABELS_NEEDED = 50
"""Human labels per class below which a grader counts as uncalibrated."""

INTERVAL_LEVEL = 0.95
"""Of the two-sided interval that people read; gates use one-sided bounds at their own alpha."""

FEW_FAMILIES = 12
"""Up to here a difference is tested by all its sign flips (at most 4096) instead of by its bounds."""

_SMALLEST_P = 1e-12
_LARGEST_ALPHA = 0.499


def load() -> None:
    """Loads what the first statistic would load: for processes in which something else is imported meanwhile."""
    import scipy.special  # noqa: F401


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A rate or a difference of rates, with what it rests on. JSON primitives only; nothing is ever NaN."""

    value: float
    lower: float
    """One-sided lower bound at level `alpha`: the truth lies below it in at most a share alpha of experiments."""
    upper: float
    """One-sided upper bound at level `alpha`. With `lower` it makes a two-sided interval of confidence 1 - 2 alpha."""
    ci_low: float
    """Two-sided 95 % interval, for display."""
    ci_high: float
    alpha: float
    n: int
    """Prompts (pairs of prompts for a paired difference)."""
    families: int
    effective_n: float | None
    """Independent prompts that carry the same information; None where a single family leaves it unknown."""
    count: int
    """Replies that exhibit; for a difference, the prompts on which the two arms differ."""
    total: int
    """Replies that were scored; for a paired difference, the pairs; for an unpaired one, the prompts of both arms."""
    up: int = 0
    """Of a difference: prompts that exhibit more in the first arm."""
    down: int = 0
    """Of a difference: prompts that exhibit more in the second arm."""
    se: float | None
    """Clustered standard error; None for a single family. Never gate on it: it is 0 where nothing varied."""
    null: float | None
    """The value that `p_value` tests."""
    p_value: float | None
    """Two-sided, twice the smaller tail; None where nothing is tested or a single family leaves it unknown."""
    method: str
    notes: tuple[str, ...] = ()
    """What a reader must know: a clamped correction, an uncalibrated grader, prompts without a partner."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relative:
    """A ratio of two rates with its two-sided 95 % interval; None where the ratio, or that end of it, is not finite."""

    value: float | None
    ci_low: float | None
    ci_high: float | None
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Significance:
    """A test statistic with its two-sided p-value; `p_value` is None where the data cannot be tested."""

    statistic: float
    p_value: float | None
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """A grader's results on replies that people labelled: the labels' exhibits first, then the grader's."""

    tp: int
    fn: int
    tn: int
    fp: int

    def __post_init__(self) -> None:
        if min(self.tp, self.fn, self.tn, self.fp) < 0:
            raise ValueError(f"{self}: counts of labelled replies are 0 or more")

    @property
    def positives(self) -> int:
        return self.tp + self.fn

    @property
    def negatives(self) -> int:
        return self.tn + self.fp

    @property
    def sensitivity(self) -> float | None:
        """Share of exhibiting replies that the grader calls exhibiting; None without such labels."""
        return self.tp / self.positives if self.positives else None

    @property
    def specificity(self) -> float | None:
        """Share of the other replies that the grader calls so; None without such labels."""
        return self.tn / self.negatives if self.negatives else None

    @property
    def enough(self) -> bool:
        """At least 50 labels in each class."""
        return min(self.positives, self.negatives) >= LABELS_NEEDED


# -- grouping: replies -> one number per prompt, one code per family


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """The scored prompts of one arm: mean over epochs and family, row by row."""

    y: Floats
    families: Codes
    count: int
    total: int

    @property
    def epochs(self) -> float:
        """Scored replies per prompt, on average."""
        return self.total / len(self.y) if len(self.y) else 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Items scored in both arms: first minus second, and family, row by row."""

    d: Floats
    families: Codes
    epochs: float
    unpaired: int
    """Items scored in one arm alone: they say nothing about the difference."""


def cells(observations: Iterable[Observation]) -> Cells:
    """Reduces epochs by their mean, keyed by (condition, prompt). Prompts without a scored reply are left out."""
    scores: dict[tuple[str, str], list[float]] = {}
    family: dict[tuple[str, str], str] = {}
    for o in observations:
        if o.exhibits is not None:
            scores.setdefault((o.condition, o.prompt), []).append(float(o.exhibits))
            family[o.condition, o.prompt] = o.family
    return Cells(
        y=np.array([fmean(replies) for replies in scores.values()], dtype=np.float64),
        families=_codes([family[key] for key in scores]),
        count=int(sum(sum(replies) for replies in scores.values())),
        total=sum(len(replies) for replies in scores.values()),
    )


def pair_up(of: Iterable[Observation], over: Iterable[Observation], *, by: Literal["pair", "prompt"] = "pair") -> Pairs:
    """The differences y_of - y_over of what both arms share.

    `by="pair"` joins two conditions by `Observation.pair`; `by="prompt"` joins two runs or models by the prompt's hash
    within its condition. Several prompts of one pair count as their mean. Where the two arms put an item in different
    families, those families are treated as one.
    """
    arms = [_items(of, by=by), _items(over, by=by)]
    shared = [item for item in arms[0] if item in arms[1]]
    d = [fmean(arms[0][item].means) - fmean(arms[1][item].means) for item in shared]
    replies = sum(arm[item].replies for arm in arms for item in shared)
    prompts = sum(len(arm[item].means) for arm in arms for item in shared)
    return Pairs(
        d=np.array(d, dtype=np.float64),
        families=_joined([arms[0][item].families | arms[1][item].families for item in shared]),
        epochs=replies / prompts if prompts else 1.0,
        unpaired=len(arms[0]) + len(arms[1]) - 2 * len(shared),
    )


def levels(observations: Iterable[Observation], uses: Sequence[str]) -> dict[str, dict[str, float]]:
    """Family -> item -> its value: what an effect is the mean of, item by item, so that runs can be paired on them.

    `uses`: one condition: the items are its prompts by their hash, the value is the share of epochs that exhibit. Two: the
    items are the pairs that both share, the value is the difference, first minus second.
    """
    seen = list(observations)
    by: Literal["pair", "prompt"] = "prompt" if len(uses) == 1 else "pair"
    arms = [_items((o for o in seen if o.condition == name), by=by) for name in uses]
    shared = [item for item in arms[0] if all(item in arm for arm in arms)]
    families = [frozenset[str]().union(*(arm[item].families for arm in arms)) for item in shared]
    names: dict[int, str] = {}
    found: dict[str, dict[str, float]] = {}
    for item, code, within in zip(shared, _joined(families), families, strict=True):
        values = [fmean(arm[item].means) for arm in arms]
        family = names.setdefault(int(code), min(within))
        found.setdefault(family, {})[str(item[1] if isinstance(item, tuple) else item)] = values[0] - sum(values[1:])
    return found


@dataclass(frozen=True, slots=True)
class _Item:
    means: list[float]
    families: frozenset[str]
    replies: int


def _items(observations: Iterable[Observation], *, by: Literal["pair", "prompt"]) -> dict[Hashable, _Item]:
    rows: dict[Hashable, list[Observation]] = {}
    for o in observations:
        if o.exhibits is not None:
            rows.setdefault(o.pair if by == "pair" else (o.condition, o.prompt_hash), []).append(o)
    items: dict[Hashable, _Item] = {}
    for item, seen in rows.items():
        prompts: dict[tuple[str, str], list[float]] = {}
        for o in seen:
            prompts.setdefault((o.condition, o.prompt), []).append(float(bool(o.exhibits)))
        means = [fmean(replies) for replies in prompts.values()]
        items[item] = _Item(means=means, families=frozenset(o.family for o in seen), replies=len(seen))
    return items


def _joined(groups: Sequence[frozenset[str]]) -> Codes:
    """Codes of the connected components: two items share a code when a chain of shared families links them."""
    leader: dict[str, str] = {}

    def find(name: str) -> str:
        while leader.setdefault(name, name) != name:
            name = leader[name]
        return name

    for group in groups:
        first, *others = sorted(group)
        for other in others:
            leader[find(other)] = find(first)
    return _codes([find(min(group)) for group in groups])


def _codes(families: Iterable[Hashable]) -> Codes:
    """0, 1, 2, … in order of first appearance."""
    seen: dict[Hashable, int] = {}
    return np.array([seen.setdefault(family, len(seen)) for family in families], dtype=np.intp)


# -- estimates from numbers


def rate(
    y: ArrayLike,
    families: Sequence[Hashable] | Codes,
    *,
    alpha: float = 0.05,
    count: int | None = None,
    total: int | None = None,
    null: float | None = None,
    calibration: Calibration | None = None,
) -> Estimate:
    """The mean of `y` (one number per prompt, in 0..1) over prompts in `families` (same length).

    `count` of `total` replies: needed only where prompts were asked more than once. `null`: the rate that `p_value`
    tests, by inverting the bounds. `calibration`: corrects for the grader's errors; with fewer than 50 labels in a
    class nothing is corrected and the bounds are 0 and 1, so that no gate can rest on that grader.

    Raises ValueError for no prompts, values outside 0..1, or an alpha outside 0..0.5.
    Source: Clopper & Pearson 1934, Korn & Graubard 1998 (bounds); Wilson 1927 with n_eff and t (interval).
    """
    values = _checked(y, families, low=0.0, alpha=alpha)
    share = float(values.mean())
    sample = _Sample.of(
        values, families, spread=share * (1 - share), epochs=1.0 if total is None else total / len(values)
    )
    finding = _Finding(
        value=share,
        at=lambda level: sample.bounds(share, level),
        interval=sample.wilson(share),
        se=sample.se,
        size=sample.size,
    )
    method = "Clopper-Pearson" if sample.independent else "clustered Clopper-Pearson"
    if calibration is not None:
        finding = _corrected_rate(finding, sample, calibration)
    return _estimate(
        finding,
        alpha=alpha,
        n=sample.n,
        families=sample.groups,
        count=round(float(values.sum())) if count is None else count,
        total=sample.n if total is None else total,
        null=null,
        method=method,
    )


def difference(
    d: ArrayLike,
    families: Sequence[Hashable] | Codes,
    *,
    alpha: float = 0.05,
    epochs: float = 1.0,
    null: float | None = 0.0,
    calibration: Calibration | None = None,
    notes: tuple[str, ...] = (),
) -> Estimate:
    """The mean of paired differences `d` (first arm minus second, in -1..1) over items in `families`.

    `epochs`: replies per prompt and arm, on average. `calibration`: the grader's, the same in both arms.
    `p_value` of no difference: exact McNemar for independent items asked once; all sign flips of whole families where
    these are few; otherwise, and for any other `null`, the inversion of the bounds. None for no test, which costs the most.

    Raises ValueError for no items, values outside -1..1, or an alpha outside 0..0.5.
    Source: square-and-add (Newcombe 1998, Zou & Donner 2008) of the two discordant shares, each bounded as in `rate`,
    with their multinomial correlation.
    """
    values = _checked(d, families, low=-1.0, alpha=alpha)
    value, more, less = (float(x.mean()) for x in (values, np.maximum(values, 0), np.maximum(-values, 0)))
    sample = _Sample.of(values, families, spread=more + less - value**2, epochs=epochs)
    correlation = -math.sqrt(more * less / ((1 - more) * (1 - less))) if more * less > 0 else 0.0

    def joined(bounds: Callable[[float], Interval]) -> Interval:
        if sample.size is None:
            return -1.0, 1.0
        return _square_and_add(more, bounds(more), less, bounds(less), correlation=correlation)

    up, down = int(np.sum(values > 0)), int(np.sum(values < 0))
    exact: float | None = None
    if sample.size is not None and null == 0:
        if sample.independent and not sample.fractional:
            exact = mcnemar(up, down)
        elif sample.groups <= FEW_FAMILIES:
            exact = sign_flip(values, families).p_value
    finding = _Finding(
        value=value,
        at=lambda level: joined(lambda share: sample.bounds(share, level)),
        interval=joined(sample.wilson),
        se=sample.se,
        size=sample.size,
        notes=notes,
    )
    if calibration is not None:
        finding = _corrected_difference(finding, calibration)
    return _estimate(
        finding,
        alpha=alpha,
        n=sample.n,
        families=sample.groups,
        count=up + down,
        total=sample.n,
        up=up,
        down=down,
        null=null,
        exact=exact,
        method="paired" if sample.independent else "paired, clustered",
    )


def scaled(estimate: Estimate, factor: float) -> Estimate:
    """The estimate of `factor` times the same thing, for a quantity that was halved to fit the scale of a difference."""
    return replace(
        estimate,
        value=factor * estimate.value,
        lower=factor * estimate.lower,
        upper=factor * estimate.upper,
        ci_low=factor * estimate.ci_low,
        ci_high=factor * estimate.ci_high,
        se=None if estimate.se is None else factor * estimate.se,
        null=None if estimate.null is None else factor * estimate.null,
    )


def difference_unpaired(
    of: Cells,
    over: Cells,
    *,
    alpha: float = 0.05,
    null: float = 0.0,
    calibration: Calibration | None = None,
) -> Estimate:
    """The rate of one arm minus that of another whose prompts have no partners.

    Families are counted within each arm; what a family shares across the arms is not used, which widens the bounds where
    it makes the arms alike.
    `p_value` of no difference: Fisher's exact test for independent prompts asked once, else the bounds' inversion.
    Each arm brings its own t quantile, so no degrees of freedom need to be pooled.

    Raises ValueError for an arm without prompts, or an alpha outside 0..0.5.
    Source: Newcombe 1998 (method 10), Zou & Donner 2008.
    """
    arms: list[tuple[float, _Sample]] = []
    for arm in (of, over):
        values = _checked(arm.y, arm.families, low=0.0, alpha=alpha)
        share = float(values.mean())
        arms.append((share, _Sample.of(values, arm.families, spread=share * (1 - share), epochs=arm.epochs)))
    (p, first), (q, second) = arms
    known = first.size is not None and second.size is not None
    exact = None
    if known and null == 0 and all(sample.independent and not sample.fractional for _, sample in arms):
        table = np.array([[round(share * sample.n), round((1 - share) * sample.n)] for share, sample in arms])
        exact = float(scipy.stats.fisher_exact(table).pvalue)
    finding = _Finding(
        value=p - q,
        at=lambda level: _square_and_add(p, first.bounds(p, level), q, second.bounds(q, level)),
        interval=_square_and_add(p, first.wilson(p), q, second.wilson(q)),
        se=math.hypot(first.se, second.se) if first.se is not None and second.se is not None else None,
        size=first.size + second.size if first.size is not None and second.size is not None else None,
    )
    if calibration is not None:
        finding = _corrected_difference(finding, calibration)
    return _estimate(
        finding,
        alpha=alpha,
        n=first.n + second.n,
        families=first.groups + second.groups,
        count=of.count + over.count,
        total=of.total + over.total,
        null=null,
        exact=exact,
        method="unpaired" if first.independent and second.independent else "unpaired, clustered",
    )


def relative(of: Estimate, over: Estimate) -> Relative:
    """The ratio of two rates, with the score interval at their effective sizes; for display beside the difference.

    Pairing is not used, so that for paired arms the interval is wider than it could be. Ends that no data bound (a rate
    of 0 below the line, a single family) are None.
    Source: Koopman 1984, Miettinen & Nurminen 1985; statsmodels' closed form of it errs where a rate is 1.
    """
    value = of.value / over.value if over.value > 0 else None
    if of.effective_n is None or over.effective_n is None or (value is None and of.value == 0):
        return Relative(value=value, ci_low=None, ci_high=None, method="ratio: no interval")
    p, n, q, m = of.value, of.effective_n, over.value, over.effective_n
    quantile = max(_quantile(arm.n, arm.families, 0.5 + INTERVAL_LEVEL / 2) for arm in (of, over))

    def score(log_ratio: float) -> float:
        """Standardised distance of the data from the ratio, at the likeliest rates that have it."""
        phi = math.exp(log_ratio)
        a, b, c = (n + m) * phi, n * phi + n * p + m + m * q * phi, n * p + m * q
        below = (b - math.sqrt(max(b * b - 4 * a * c, 0.0))) / (2 * a)
        above = phi * below
        variance = above * (1 - above) / n + phi**2 * below * (1 - below) / m
        # the floor keeps a rounding error from passing for a distance where both rates are 1
        return (p - phi * q) / math.sqrt(max(variance, 1e-24) * (n + m) / max(n + m - 1, 1.0))

    ends, middle = 40.0, math.log(value) if value else -30.0 if value == 0 else 30.0
    return Relative(
        value=value,
        ci_low=math.exp(scipy.optimize.brentq(lambda x: score(x) - quantile, -ends, middle)) if p > 0 else 0.0,
        ci_high=math.exp(scipy.optimize.brentq(lambda x: score(x) + quantile, middle, ends)) if q > 0 else None,
        method="ratio, score interval",
    )


# -- estimates from observations


def rate_in(
    observations: Iterable[Observation],
    condition: str,
    *,
    alpha: float = 0.05,
    null: float | None = None,
    calibration: Calibration | None = None,
) -> Estimate | None:
    """The rate in one condition; None where no reply of it was scored."""
    arm = cells(o for o in observations if o.condition == condition)
    if not arm.total:
        return None
    return rate(arm.y, arm.families, alpha=alpha, count=arm.count, total=arm.total, null=null, calibration=calibration)


def difference_between(
    observations: Iterable[Observation],
    *,
    of: str,
    over: str,
    alpha: float = 0.05,
    null: float = 0.0,
    calibration: Calibration | None = None,
) -> Estimate | None:
    """The rate in condition `of` minus that in `over`, paired by `Observation.pair`; unpaired where they share no pair.

    None where one of them has no scored reply.
    """
    seen = list(observations)
    first, second = ([o for o in seen if o.condition == name] for name in (of, over))
    return _contrast(first, second, by="pair", alpha=alpha, null=null, calibration=calibration)


def change_between(
    observations: Iterable[Observation],
    baseline: Iterable[Observation],
    *,
    condition: str,
    alpha: float = 0.05,
    null: float = 0.0,
    calibration: Calibration | None = None,
) -> Estimate | None:
    """The rate in one condition minus that in the same condition of another run or model, on the prompts they share.

    Paired by the prompt's hash: an edited prompt has no partner. None where no scored prompt is shared.
    """
    arms = [[o for o in run if o.condition == condition] for run in (observations, baseline)]
    pairs = pair_up(*arms, by="prompt")
    return _paired(pairs, alpha=alpha, null=null, calibration=calibration) if len(pairs.d) else None


def _contrast(
    first: Sequence[Observation],
    second: Sequence[Observation],
    *,
    by: Literal["pair", "prompt"],
    alpha: float,
    null: float,
    calibration: Calibration | None,
) -> Estimate | None:
    pairs = pair_up(first, second, by=by)
    if len(pairs.d):
        return _paired(pairs, alpha=alpha, null=null, calibration=calibration)
    arms = [cells(first), cells(second)]
    if not all(arm.total for arm in arms):
        return None
    return difference_unpaired(*arms, alpha=alpha, null=null, calibration=calibration)


def _paired(pairs: Pairs, *, alpha: float, null: float, calibration: Calibration | None) -> Estimate:
    return difference(
        pairs.d,
        pairs.families,
        alpha=alpha,
        epochs=pairs.epochs,
        null=null,
        calibration=calibration,
        notes=(f"{pairs.unpaired} scored in one arm only are left out",) if pairs.unpaired else (),
    )


# -- the machinery of the bounds


@dataclass(frozen=True, slots=True)
class _Sample:
    """How many independent prompts a clustered sample is worth."""

    n: int
    groups: int
    most: float
    """n / design effect at the least correlation assumed: what a sample without a single hit is worth."""
    size: float | None
    """n_eff; None for a single family."""
    se: float | None
    fractional: bool
    """Whether some prompt's epochs differed."""

    @classmethod
    def of(cls, values: Floats, families: Sequence[Hashable] | Codes, *, spread: float, epochs: float) -> _Sample:
        """`spread`: the variance of one independent observation, p (1 - p) for a rate."""
        codes = _codes(families)
        n, sizes = len(values), np.bincount(codes)
        groups = len(sizes)
        # Kish's weighting: a few large families cost more than many of the same mean size
        most = n / (1 + FAMILY_ICC * (float(np.sum(sizes**2)) / n - 1))
        fractional = bool(np.any((values % 1) != 0))
        se = clustered_se(values, codes)
        if se is None:
            return cls(n=n, groups=groups, most=most, size=None, se=None, fractional=fractional)
        ceiling = most * epochs / (1 + EPOCH_ICC * (epochs - 1)) if fractional else most
        if groups == n and not fractional:
            size = float(n)
        else:
            size = min(spread / se**2, ceiling) if se > 0 and spread > 0 else ceiling
        return cls(n=n, groups=groups, most=most, size=size, se=se, fractional=fractional)

    @property
    def independent(self) -> bool:
        return self.groups == self.n

    def bounds(self, share: float, alpha: float) -> Interval:
        """One-sided bounds of a share in 0..1: Clopper-Pearson at n_eff, itself reduced for few families.

        However the epochs agree, a bound is never closer to 0 or 1 than if all prompts had been seen without a hit.
        """
        if self.size is None:
            return 0.0, 1.0
        shrink = (_quantile(self.n, self.n, 1 - alpha, t=True) / _quantile(self.n, self.groups, 1 - alpha, t=True)) ** 2
        lower, upper = _clopper_pearson(share * self.size * shrink, self.size * shrink, alpha)
        unseen = _unseen(self.most * shrink, alpha)
        return min(lower, 1 - unseen), max(upper, unseen)

    def wilson(self, share: float) -> Interval:
        """The two-sided interval for display: Wilson's at n_eff, with t for families."""
        if self.size is None:
            return 0.0, 1.0
        return wilson(share, self.size, quantile=_quantile(self.n, self.groups, 0.5 + INTERVAL_LEVEL / 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Finding:
    value: float
    at: BoundsAt
    interval: Interval
    se: float | None
    size: float | None
    notes: tuple[str, ...] = ()


def _estimate(
    finding: _Finding,
    *,
    alpha: float,
    n: int,
    families: int,
    count: int,
    total: int,
    null: float | None,
    method: str,
    up: int = 0,
    down: int = 0,
    exact: float | None = None,
) -> Estimate:
    lower, upper = finding.at(alpha)
    p_value = exact
    if exact is None and null is not None and finding.size is not None:
        p_value = _inverted(finding.at, null)
    return Estimate(
        value=finding.value,
        lower=lower,
        upper=upper,
        ci_low=finding.interval[0],
        ci_high=finding.interval[1],
        alpha=alpha,
        n=n,
        families=families,
        effective_n=finding.size,
        count=count,
        total=total,
        up=up,
        down=down,
        se=finding.se,
        null=null,
        p_value=p_value,
        method=method if finding.size is not None else "a single family: no bounds",
        notes=finding.notes,
    )


def _checked(values: ArrayLike, families: Sequence[Hashable] | Codes, *, low: float, alpha: float) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or len(array) == 0:
        raise ValueError(f"an estimate needs a list of at least one prompt, not an array of shape {array.shape}")
    if len(families) != len(array):
        raise ValueError(f"{len(array)} prompts with {len(families)} families: each prompt has one")
    if not bool(np.all((array >= low) & (array <= 1))):
        raise ValueError(f"values of prompts are within {low:g}..1, not {array.min():g}..{array.max():g}")
    if not 0 < alpha < 0.5:
        raise ValueError(f"alpha={alpha!r}: a one-sided level is within 0..0.5, usually 0.05")
    return array


def _quantile(n: int, groups: int, level: float, *, t: bool = False) -> float:
    """Normal for independent prompts, Student's t with groups - 1 degrees of freedom for families (or if `t`)."""
    if groups == n and not t:
        return float(scipy.special.ndtri(level))
    return float(scipy.special.stdtrit(groups - 1, level))


def _clopper_pearson(hits: float, size: float, alpha: float) -> Interval:
    """One-sided bounds, each at `alpha`; fractional counts allowed."""
    misses = max(size - hits, 0.0)
    lower = float(scipy.special.betaincinv(hits, misses + 1, alpha)) if hits > 0 else 0.0
    upper = float(scipy.special.betaincinv(hits + 1, misses, 1 - alpha)) if misses > 0 else 1.0
    return lower, upper


def _unseen(size: float, alpha: float) -> float:
    """The upper bound of a rate of which nothing was seen in `size` prompts."""
    return -math.expm1(math.log(alpha) / size)


def _square_and_add(p: float, of: Interval, q: float, over: Interval, *, correlation: float = 0.0) -> Interval:
    """The interval of p - q from those of p and q (MOVER)."""

    def distance(a: float, b: float) -> float:
        return math.sqrt(max(a * a - 2 * correlation * a * b + b * b, 0.0))

    below, above = distance(p - of[0], over[1] - q), distance(of[1] - p, q - over[0])
    return max(p - q - below, -1.0), min(p - q + above, 1.0)


def _inverted(at: BoundsAt, null: float) -> float:
    """Twice the least alpha at which the bounds exclude `null`."""

    def distance(log_alpha: float) -> float:
        lower, upper = at(math.exp(log_alpha))
        return max(lower - null, null - upper)

    least, largest = math.log(_SMALLEST_P), math.log(_LARGEST_ALPHA)
    if distance(largest) <= 0:
        return 1.0
    if distance(least) > 0:
        return 2 * _SMALLEST_P
    return 2 * math.exp(scipy.optimize.brentq(distance, least, largest, xtol=1e-9))


# -- correction for the grader's errors


def _corrected_rate(raw: _Finding, sample: _Sample, calibration: Calibration) -> _Finding:
    """theta = (p + Sp - 1) / (Se + Sp - 1) (Rogan & Gladen 1978), clamped to 0..1 with a note.

    Bounds: the changes of theta as p, Se and Sp each go to their own one-sided bound, squared and added (MOVER for a
    function of three independent parameters). Interval: Lang & Reiczigel 2014 at n_eff, with t for families.
    """
    youden = _youden(calibration)
    if youden is None or raw.size is None:
        return _uncorrected(raw, calibration, scale=(0.0, 1.0))
    se, sp = youden
    value = _rogan_gladen(raw.value, se, sp)

    def at(level: float) -> Interval:
        changes: list[Interval] = []
        (se_low, se_high), (sp_low, sp_high) = _label_bounds(calibration, level)
        for p, s, c in (
            *((p, se, sp) for p in raw.at(level)),
            *((raw.value, s, sp) for s in (se_low, se_high)),
            *((raw.value, se, c) for c in (sp_low, sp_high)),
        ):
            if s + c <= 1:
                return 0.0, 1.0
            change = _rogan_gladen(p, s, c) - value
            changes.append((min(change, 0.0), max(change, 0.0)))
        # of the two ends of each parameter, one lowers theta and the other raises it
        below = math.sqrt(sum(min(a[0], b[0]) ** 2 for a, b in zip(changes[::2], changes[1::2], strict=True)))
        above = math.sqrt(sum(max(a[1], b[1]) ** 2 for a, b in zip(changes[::2], changes[1::2], strict=True)))
        # a correction adds doubt, so it cannot bring a bound closer than a perfect grader's silence would
        nearest = sample.bounds(0.0, level)[1]
        return (
            min(max(value - below, 0.0), 1 - nearest),
            max(min(value + above, 1.0), nearest),
        )

    quantile = _quantile(sample.n, sample.groups, 0.5 + INTERVAL_LEVEL / 2)
    clamped = min(max(value, 0.0), 1.0)
    se_raw = raw.se or 0.0
    error = math.sqrt(
        se_raw**2
        + clamped**2 * se * (1 - se) / calibration.positives
        + (1 - clamped) ** 2 * sp * (1 - sp) / calibration.negatives
    ) / (se + sp - 1)
    size = min(raw.size, clamped * (1 - clamped) / error**2) if error > 0 and 0 < clamped < 1 else raw.size
    return _Finding(
        value=clamped,
        at=at,
        interval=_lang_reiczigel(raw.value, raw.size, calibration, quantile=quantile),
        se=error,
        size=size,
        notes=(*raw.notes, *_clamped(value, low=0.0)),
    )


def _corrected_difference(raw: _Finding, calibration: Calibration) -> _Finding:
    """d / J with J = Se + Sp - 1: the same errors in both arms shrink a difference by Youden's J.

    From p = theta Se + (1 - theta)(1 - Sp) in each arm, p_1 - p_2 = (theta_1 - theta_2) J. Bounds of the quotient of
    two independent estimates by MOVER-R (Donner & Zou 2012), which keeps the skewness of both; interval likewise.
    """
    youden = _youden(calibration)
    if youden is None or raw.size is None:
        return _uncorrected(raw, calibration, scale=(-1.0, 1.0))
    se, sp = youden
    j = se + sp - 1

    def quotient(d: Interval, labels: tuple[Interval, Interval]) -> Interval:
        (se_low, se_high), (sp_low, sp_high) = labels
        low, high = j - math.hypot(se - se_low, sp - sp_low), j + math.hypot(se_high - se, sp_high - sp)
        lower = -_largest_quotient(-raw.value, -d[0], j, (low, high))
        return max(lower, -1.0), min(_largest_quotient(raw.value, d[1], j, (low, high)), 1.0)

    variance = se * (1 - se) / calibration.positives + sp * (1 - sp) / calibration.negatives
    return _Finding(
        value=min(max(raw.value / j, -1.0), 1.0),
        at=lambda level: quotient(raw.at(level), _label_bounds(calibration, level)),
        interval=quotient(raw.interval, _label_bounds(calibration, (1 - INTERVAL_LEVEL) / 2)),
        se=None if raw.se is None else math.sqrt(raw.se**2 + (raw.value / j) ** 2 * variance) / j,
        size=raw.size,
        notes=(*raw.notes, *_clamped(raw.value / j, low=-1.0)),
    )


def _largest_quotient(d: float, upper: float, j: float, bounds: Interval) -> float:
    """The largest q at which the upper MOVER limit of d - q j is still 0; infinite where J may be 0."""
    reach = j - bounds[0] if upper >= 0 else bounds[1] - j
    scale = j * j - reach * reach
    if bounds[0] <= 0 or scale <= 0:
        return math.inf
    return (d * j + math.sqrt(max((d * j) ** 2 - scale * upper * (2 * d - upper), 0.0))) / scale


def _uncorrected(raw: _Finding, calibration: Calibration, *, scale: Interval) -> _Finding:
    if raw.size is None:
        note = "not corrected for the grader: a single family has no bounds"
    elif not calibration.enough:
        note = (
            f"uncalibrated grader: {calibration.positives} exhibiting and {calibration.negatives} other labelled "
            f"replies, {LABELS_NEEDED} of each are needed; not corrected, and no bounds"
        )
    else:
        note = "the grader is no better than chance on the labelled replies; not corrected, and no bounds"
    return _Finding(
        value=raw.value,
        at=lambda level: scale,
        interval=raw.interval,
        se=raw.se,
        size=raw.size,
        notes=(*raw.notes, note),
    )


def _youden(calibration: Calibration) -> tuple[float, float] | None:
    """Sensitivity and specificity of a grader that may be corrected for."""
    se, sp = calibration.sensitivity, calibration.specificity
    if not calibration.enough or se is None or sp is None or se + sp <= 1:
        return None
    return se, sp


def shrinkage(calibration: Calibration) -> tuple[float, float] | None:
    """By how much the grader's errors shrink every difference, J = Se + Sp - 1, and its standard error.

    None where nothing may rest on the grader: fewer than 50 labels in a class, or no better than chance.
    """
    youden = _youden(calibration)
    if youden is None:
        return None
    se, sp = youden
    return se + sp - 1, math.sqrt(se * (1 - se) / calibration.positives + sp * (1 - sp) / calibration.negatives)


def _rogan_gladen(p: float, se: float, sp: float) -> float:
    return (p + sp - 1) / (se + sp - 1)


def _label_bounds(calibration: Calibration, alpha: float) -> tuple[Interval, Interval]:
    return (
        _clopper_pearson(calibration.tp, calibration.positives, alpha),
        _clopper_pearson(calibration.tn, calibration.negatives, alpha),
    )


def _lang_reiczigel(p: float, n: float, calibration: Calibration, *, quantile: float) -> Interval:
    """Rogan-Gladen's interval with Agresti-Coull-like additions (Lang & Reiczigel 2014), clipped to 0..1."""
    z2 = quantile**2
    p = (n * p + z2 / 2) / (n + z2)
    positives, negatives = calibration.positives + 2, calibration.negatives + 2
    se, sp = (calibration.tp + 1) / positives, (calibration.tn + 1) / negatives
    theta = _rogan_gladen(p, se, sp)
    var_se, var_sp = se * (1 - se) / positives, sp * (1 - sp) / negatives
    shift = 2 * z2 * (theta * var_se - (1 - theta) * var_sp)
    variance = p * (1 - p) / (n + z2) + theta**2 * var_se + (1 - theta) ** 2 * var_sp
    half = quantile * math.sqrt(variance) / (se + sp - 1)
    return min(max(theta + shift - half, 0.0), 1.0), min(max(theta + shift + half, 0.0), 1.0)


def _clamped(value: float, *, low: float) -> tuple[str, ...]:
    if low <= value <= 1:
        return ()
    return (
        f"the correction for the grader gave {value:.4f} and was clamped: the grader errs otherwise here than on the "
        "labelled replies",
    )


# -- plain pieces


def wilson(share: float, size: float, *, quantile: float) -> Interval:
    """Wilson's 1927 score interval for `share` of `size` (which may be effective, so fractional)."""
    z2 = quantile**2
    centre = (share + z2 / (2 * size)) / (1 + z2 / size)
    half = quantile * math.sqrt(share * (1 - share) / size + z2 / (4 * size**2)) / (1 + z2 / size)
    return max(centre - half, 0.0), min(centre + half, 1.0)


def clustered_se(values: ArrayLike, families: Sequence[Hashable] | Codes) -> float | None:
    """Standard error of a mean whose values hang together within families; None for a single family.

    sqrt(G/(G-1) sum_g (sum_{i in g} (y_i - ybar))^2) / n: Liang & Zeger 1986 with the small-sample factor. Miller 2024
    recommends it for evaluations; Inspect's `stderr(cluster=...)` is the same number.
    """
    array, codes = np.asarray(values, dtype=np.float64), _codes(families)
    groups = int(codes.max()) + 1
    if groups < 2:
        return None
    sums = np.bincount(codes, weights=array - array.mean())
    return math.sqrt(groups / (groups - 1) * float(np.sum(sums**2))) / len(array)


def clustered_mean(values: ArrayLike, families: Sequence[Hashable] | Codes) -> tuple[float, Interval, float] | None:
    """Mean, 95 % interval and p-value (mean 0) by t with G - 1 degrees of freedom; None where nothing varies.

    The textbook interval, for scores that are no rates. Not for gates: it collapses where few values differ from 0.
    """
    array = np.asarray(values, dtype=np.float64)
    se = clustered_se(array, families)
    if se is None or se == 0:
        return None
    mean, df = float(array.mean()), len(set(families)) - 1
    half = float(scipy.special.stdtrit(df, 0.5 + INTERVAL_LEVEL / 2)) * se
    return mean, (mean - half, mean + half), float(2 * scipy.special.stdtr(df, -abs(mean) / se))


def mcnemar(up: int, down: int) -> float:
    """Exact two-sided p-value that discordant pairs go either way alike (McNemar 1947); 1 without any."""
    return min(1.0, 2 * float(scipy.special.bdtr(min(up, down), up + down, 0.5)))


def sign_flip(d: ArrayLike, families: Sequence[Hashable] | Codes) -> Significance:
    """Tests a mean paired difference of 0 by flipping the signs of whole families; all 2^G flips up to 12 families.

    Beyond that by 4096 random flips from a fixed seed. Its least p-value is 2 / 2^G: six families to reach .05.
    """
    sums = np.bincount(_codes(families), weights=np.asarray(d, dtype=np.float64))
    found = scipy.stats.permutation_test(
        (sums,), np.sum, permutation_type="samples", n_resamples=2**FEW_FAMILIES, rng=np.random.default_rng(0)
    )
    return Significance(statistic=float(sums.sum()), p_value=float(found.pvalue), method="sign flips of families")


def permutation(first: Sequence[float], second: Sequence[float]) -> Significance:
    """Difference in means of two small independent groups against every way to divide them; twice the smaller tail."""
    divisions = math.comb(len(first) + len(second), len(first))
    found = scipy.stats.permutation_test(
        (np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)),
        lambda a, b, axis: np.mean(a, axis=axis) - np.mean(b, axis=axis),
        permutation_type="independent",
        n_resamples=divisions,
        vectorized=True,
    )
    return Significance(
        statistic=float(found.statistic),
        p_value=float(found.pvalue),
        method=f"exact permutation, {divisions} divisions",
    )


def kruskal(*groups: Sequence[float]) -> Significance:
    """Whether several groups differ in rank (Kruskal & Wallis 1952, chi-squared approximation)."""
    found = scipy.stats.kruskal(*groups)
    return Significance(statistic=float(found.statistic), p_value=float(found.pvalue), method="Kruskal-Wallis")


def cochran_armitage(counts: Sequence[float], totals: Sequence[float]) -> Significance:
    """z of a linear trend in proportions over equally spaced versions (Cochran 1954, Armitage 1955; R prop.trend.test).

    For independent prompts: it knows nothing of families, nor of versions that wobble.
    """
    hits, n = np.asarray(counts, dtype=np.float64), np.asarray(totals, dtype=np.float64)
    place, pooled = np.arange(len(n)), float(hits.sum() / n.sum())
    variance = pooled * (1 - pooled) * float(np.sum(n * place**2) - np.sum(n * place) ** 2 / n.sum())
    if variance <= 0:
        return Significance(statistic=0.0, p_value=None, method="Cochran-Armitage")
    z = float(np.sum(place * (hits - n * pooled))) / math.sqrt(variance)
    return Significance(statistic=z, p_value=float(2 * scipy.special.ndtr(-abs(z))), method="Cochran-Armitage")


def kendall(series: Sequence[float]) -> Significance:
    """Whether a short series rises or falls: Kendall's tau with its exact p-value, at best 2 / V! for V versions.

    With ties the exact distribution does not hold; scipy's normal approximation takes its place.
    """
    tied = len(set(series)) < len(series)
    found = scipy.stats.kendalltau(range(len(series)), series, method="asymptotic" if tied else "exact")
    if math.isnan(found.statistic):
        return Significance(statistic=0.0, p_value=None, method="Kendall")
    return Significance(statistic=float(found.statistic), p_value=float(found.pvalue), method="Kendall")


def adjusted(p_values: Sequence[float], *, method: Literal["holm", "fdr_bh", "bonferroni"]) -> tuple[float, ...]:
    """P-values to hold against one alpha for a suite: Holm 1979 for gates, Benjamini & Hochberg 1995 to triage."""
    from statsmodels.stats.multitest import multipletests  # it brings pandas along, and no verdict needs it

    return tuple(float(p) for p in multipletests(p_values, method=method)[1]) if len(p_values) else ()


# -- agreement of graders


def cohen_kappa(first: Sequence[Hashable], second: Sequence[Hashable]) -> float | None:
    """Agreement of two raters beyond chance (Cohen 1960); None where both use one and the same class throughout."""
    if len(first) != len(second) or not first:
        raise ValueError(f"two raters label the same replies: {len(first)} and {len(second)} labels")
    codes = _codes([*first, *second])
    size = int(codes.max()) + 1
    if size == 1:
        return None
    table = np.zeros((size, size))
    np.add.at(table, (codes[: len(first)], codes[len(first) :]), 1)
    from statsmodels.stats.inter_rater import cohens_kappa  # as above

    return float(cohens_kappa(table, return_results=False))


def krippendorff_alpha(
    ratings: Sequence[Sequence[float | None]], *, level: Literal["nominal", "interval"] = "nominal"
) -> float | None:
    """Agreement of any number of raters (rows) on units (columns), None where one did not rate.

    1 - observed / expected disagreement, over the units that at least two rated; None where all ratings are the same or
    no unit has two. Source: Krippendorff 2011, "Computing Krippendorff's alpha-reliability".
    """
    units = [[value for value in unit if value is not None] for unit in zip(*ratings, strict=True)]
    units = [unit for unit in units if len(unit) > 1]
    every = [value for unit in units for value in unit]

    def disagreement(values: Sequence[float]) -> float:
        pairs = combinations(values, 2)
        return 2 * sum(float(a != b) if level == "nominal" else (a - b) ** 2 for a, b in pairs)

    expected = disagreement(every) / (len(every) - 1) if every else 0.0
    return 1 - sum(disagreement(unit) / (len(unit) - 1) for unit in units) / expected if expected > 0 else None


# -- planning


def best_upper(*, n: int, families: int, alpha: float = 0.05) -> float:
    """The upper bound of a rate of which not one hit is seen in `n` prompts, in families of equal size."""
    if families < 2 or n < families:
        return 1.0
    most = n / (1 + FAMILY_ICC * (n / families - 1))
    return _Sample(n=n, groups=families, most=most, size=most, se=0.0, fractional=False).bounds(0.0, alpha)[1]


def can_hold(limit: float, *, n: int, families: int, alpha: float = 0.05) -> bool:
    """Whether a rate can be shown to be at most `limit` with these prompts, if every reply is right.

    For a difference the same, if no two partners differ. `prompts_needed(limit=..., true_rate=0)` says what it takes.
    """
    return best_upper(n=n, families=families, alpha=alpha) <= limit


def prompts_needed(
    *, limit: float, true_rate: float, power: float = 0.8, alpha: float = 0.05, per_family: float = 1.0
) -> int:
    """The fewest prompts for a chance of `power` that the upper bound is at most `limit`, if the rate is `true_rate`.

    Exact for independent prompts (a few larger n may fall a little below `power`: counts are whole). With `per_family`
    prompts in each family, as many as are worth that number.

    Raises ValueError unless 0 <= true_rate < limit < 1, or where it would take more than a million prompts.
    """
    if not 0 <= true_rate < limit < 1:
        raise ValueError(f"true_rate={true_rate!r}, limit={limit!r}: it must be below the limit, both in 0..1")
    hits, n = 0, _fewest(partial(_holds_with, 0, limit=limit, alpha=alpha), start=1)
    while float(scipy.special.bdtr(hits, n, true_rate)) < power:
        hits += 1
        n = _fewest(partial(_holds_with, hits, limit=limit, alpha=alpha), start=n + 1)
    if per_family <= 1:
        return n
    worth = _unseen(n, alpha)
    return _fewest(lambda size: best_upper(n=size, families=int(size / per_family), alpha=alpha) <= worth, start=n)


def _holds_with(hits: int, n: int, *, limit: float, alpha: float) -> bool:
    return _clopper_pearson(hits, n, alpha)[1] <= limit


def _fewest(enough: Callable[[int], bool], *, start: int) -> int:
    """The least n >= start that is enough, for a condition that stays true once it is."""
    low, high = start - 1, start
    while not enough(high):
        low, high = high, high * 2
        if high > 2_000_000:
            raise ValueError("it would take more than a million prompts: the true rate is too close to the limit")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def detectable_difference(*, n: int, rate: float, correlation: float, power: float = 0.8, alpha: float = 0.05) -> float:
    """The least paired difference that `n` items find with `power`, one-sided at `alpha`.

    (z_alpha + z_beta) sqrt(2 p (1-p) (1-rho) / n), with `rate` p in both arms and `correlation` rho of partners.
    Source: the variance of a paired difference, as in Miller 2024.
    """
    z = float(scipy.special.ndtri(1 - alpha) + scipy.special.ndtri(power))
    return z * math.sqrt(2 * rate * (1 - rate) * (1 - correlation) / n)


def prompts_for_difference(
    delta: float, *, variance: float, noise: float = 0.0, epochs: int = 1, power: float = 0.8, alpha: float = 0.05
) -> float:
    """Prompts, not rounded, to find a paired difference `delta` with `power`, two-sided at `alpha`.

    `variance`: of the prompts' true differences (omega squared); `noise`: of one reply about its prompt's mean, in each
    arm (sigma squared). Source: Miller 2024, "Adding Error Bars to Evals", on sample size.
    """
    z = float(scipy.special.ndtri(1 - alpha / 2) + scipy.special.ndtri(power))
    return z**2 * (variance + 2 * noise / epochs) / delta**2


def prompts_per_arm(first: float, second: float, *, power: float = 0.8, alpha: float = 0.05) -> float:
    """Prompts, not rounded, in each of two unpaired arms to tell two rates apart, two-sided at `alpha`.

    Source: Fleiss 1981, normal approximation without continuity correction.
    """
    pooled = (first + second) / 2
    z_alpha, z_beta = float(scipy.special.ndtri(1 - alpha / 2)), float(scipy.special.ndtri(power))
    under_null = z_alpha * math.sqrt(2 * pooled * (1 - pooled))
    under_effect = z_beta * math.sqrt(first * (1 - first) + second * (1 - second))
    return (under_null + under_effect) ** 2 / (first - second) ** 2
