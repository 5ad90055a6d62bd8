"""What is counted: one section per question, in it one row per setting, in it one figure per column.

A figure holds what was counted, the 95 % interval of the count, and what theory says: a promise (a bound that must not be
exceeded), or the figure itself, computed without any draw from the distribution of the counts, or both.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from statistics import fmean, stdev

import numpy as np
from scipy import stats

from benchmarks.calibration.short import ALPHA, Found, Replies, Short, Terms
from benchmarks.calibration.suite import CHANGED, MARGIN, PROFILES, SIZE, graded_no, labelled, one, suite, two
from pytest_alignbench import (
    DifferenceAtLeast,
    DifferenceAtMost,
    Gate,
    RateAtLeast,
    RateAtMost,
    WithinMargin,
    estimates,
)
from pytest_alignbench.estimates import Calibration, Estimate
from pytest_alignbench.gates import regression_gate
from pytest_alignbench.models import Simulated

Bounds = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A share of `repeats`, or their mean. `promised`: the least and the most that it may be."""

    measured: float
    interval: Bounds
    repeats: int
    exact: float | None = None
    promised: Bounds | None = None

    @property
    def nominal(self) -> str:
        said = []
        if self.promised is not None:
            low, high = self.promised
            said.append(f"≤ {shown(high)}" if math.isinf(low) else f"≥ {shown(low)}")
        if self.exact is not None:
            said.append(shown(self.exact))
        return ", ".join(said) or "–"

    @property
    def off(self) -> bool:
        """Whether the interval lies wholly outside of what was promised, or away from the exact figure."""
        low, high = self.interval
        least, most = self.promised or (-math.inf, math.inf)
        missed = self.exact is not None and not low - 1e-6 <= self.exact <= high + 1e-6
        return low > most or high < least or missed


def at_most(figure: float) -> Bounds:
    return -math.inf, figure


def at_least(figure: float) -> Bounds:
    return figure, math.inf


@dataclass(frozen=True, kw_only=True)
class Section:
    """A table. `rows`: what the row is about -> a figure per column."""

    title: str
    says: str
    columns: tuple[str, ...] = ("measured",)
    rows: dict[str, list[Figure]]


def shown(figure: float) -> str:
    """Three digits behind the point, or as many as a small figure needs."""
    if 0 < figure < 0.00001:
        return "< 0.00001"
    return f"{figure:.5f}" if 0 < abs(figure) < 0.002 else f"{figure:.3f}"


def per_cent(share: float) -> str:
    return f"{100 * share:g} %"


def share(seen: Iterable[bool], *, exact: float | None = None, promised: Bounds | None = None) -> Figure:
    """How many of `seen` are true, with the exact binomial interval (Clopper & Pearson 1934)."""
    every = list(seen)
    found = stats.binomtest(sum(every), len(every))
    low, high = found.proportion_ci(0.95)
    return Figure(measured=found.statistic, interval=(low, high), repeats=len(every), exact=exact, promised=promised)


def mean(seen: Sequence[float], *, exact: float | None = None) -> Figure:
    """The mean of `seen` with its normal interval."""
    middle, half = fmean(seen), 1.96 * stdev(seen) / math.sqrt(len(seen))
    return Figure(measured=middle, interval=(middle - half, middle + half), repeats=len(seen), exact=exact)


def per_run(runs: Sequence[Sequence[bool]], *, exact: float) -> Figure:
    """How many of a run's claims, on average; of independent claims, so that the interval is a scaled binomial one."""
    claims = len(runs[0])
    each = share(seen for run in runs for seen in run)
    low, high = each.interval
    return replace(
        each,
        measured=claims * each.measured,
        interval=(claims * low, claims * high),
        repeats=len(runs),
        exact=claims * exact,
    )


def _count(full: int, scale: float) -> int:
    return max(5, round(full * scale))


def _red_alone(gate: Gate, found: Found) -> bool:
    """Whether it would be VIOLATED as the only decision. No reply is missing, so that its bounds at alpha decide."""
    return found.effect is not None and gate.violated(found.effect)


def _coverage(effects: Sequence[Estimate], true: float, *, exact: float | None = None) -> Figure:
    return share((e.ci_low <= true <= e.ci_high for e in effects), exact=exact, promised=at_least(0.95))


# -- exact figures, without a draw


def exact_rate(gate: Gate, rate: float, *, n: int, alpha: float, red: bool) -> float:
    """The chance that a rate of n independent prompts is red (or green) at `alpha`; its bounds by scipy, not by us."""
    ends = [stats.binomtest(hits, n).proportion_ci(1 - 2 * alpha) for hits in range(n + 1)]
    upward = gate.good(0.0)
    if red:
        said = [end.low > gate.limit if upward else end.high < gate.limit for end in ends]
    else:
        said = [end.high <= gate.limit if upward else end.low >= gate.limit for end in ends]
    return float(np.sum(stats.binom.pmf(np.arange(n + 1), n, rate), where=said))


def exact_pairs(
    says: Callable[[Estimate], bool], first: float, second: float, *, n: int = 120, alpha: float = ALPHA
) -> float:
    """The chance that `says` is true of the difference of n pairs, their replies drawn independently at two rates."""
    up, down = first * (1 - second), second * (1 - first)
    chance = stats.multinomial(n, [up, down, 1 - up - down]).pmf
    total = 0.0
    for more in _likely(n, up):
        for less in _likely(n, down):
            if more + less <= n and (p := float(chance([more, less, n - more - less]))) > 1e-7:
                total += p * says(_paired(more, less, n, alpha))
    return total


def _likely(n: int, rate: float) -> range:
    law = stats.binom(n, rate)
    return range(int(law.ppf(1e-6)), int(law.isf(1e-6)) + 1) if rate > 0 else range(1)


@cache
def _paired(more: int, less: int, n: int, alpha: float) -> Estimate:
    return estimates.difference([1.0] * more + [-1.0] * less + [0.0] * (n - more - less), range(n), alpha=alpha)


# -- a suite of 100 claims, compared with a baseline

REGRESSION = regression_gate(one("any").gate, margin=MARGIN)
"""What --baseline asks of each claim of the suite."""


def compared(now: str, before: str, repeats: int, *, n: int = 120) -> Iterator[list[Found]]:
    """The suite's verdicts of `now` against `before`, seed by seed."""
    first, *others = suite(n=n)
    like = Short(first)
    shorts = [like, *(Short(claim, like=like) for claim in others)]
    for seed in range(repeats):
        yield [
            short.found(short.draw(f"{now}@{seed}"), Terms(m=SIZE), before=short.draw(f"{before}@{seed}-before"))
            for short in shorts
        ]


def same_twice(scale: float) -> Section:
    rows = {}
    for name in ("w", "frequent"):
        true = PROFILES[name]["*"]
        runs = list(compared(name, name, _count(200, scale)))
        alone = [[_red_alone(REGRESSION, found) for found in run] for run in runs]
        suited = [[found.red for found in run] for run in runs]
        at_alpha, at_share = (
            exact_pairs(REGRESSION.violated, true, true, alpha=level) for level in (ALPHA, ALPHA / SIZE)
        )
        rows[f"true rate {per_cent(true)} both times"] = [
            share((red for run in alone for red in run), exact=at_alpha, promised=at_most(ALPHA)),
            share((red for run in suited for red in run), exact=at_share, promised=at_most(ALPHA / SIZE)),
            share(map(any, suited), exact=1 - (1 - at_share) ** SIZE, promised=at_most(ALPHA)),
            share(map(any, alone), exact=1 - (1 - at_alpha) ** SIZE),
        ]
    return Section(
        title="The same model twice",
        says=(
            f"A/A with `--baseline`: {SIZE} claims of 120 prompts, margin {per_cent(MARGIN)}. Every red is false. The last "
            f"column is what alpha / {SIZE} is for."
        ),
        columns=(
            "a claim is red, alone",
            f"a claim is red, of {SIZE}",
            f"any of {SIZE} is red",
            "any would be, each decided at alpha",
        ),
        rows=rows,
    )


def regression(scale: float) -> Section:
    runs = list(compared("x", "w", _count(200, scale)))
    true = [[found.red for found in run[:CHANGED]] for run in runs]
    false = [[found.red for found in run[CHANGED:]] for run in runs]
    changed = [found for run in runs for found in run[:CHANGED]]
    found_out = exact_pairs(REGRESSION.violated, 0.12, 0.02, alpha=ALPHA / SIZE)
    mistaken = exact_pairs(REGRESSION.violated, 0.02, 0.02, alpha=ALPHA / SIZE)
    rows = {
        f"true reds in a run, of {CHANGED}": per_run(true, exact=found_out),
        f"false reds in a run, of {SIZE - CHANGED}": per_run(false, exact=mistaken),
        "any false red": share(map(any, false), exact=1 - (1 - mistaken) ** (SIZE - CHANGED), promised=at_most(ALPHA)),
        "any true red": share(map(any, true), exact=1 - (1 - found_out) ** CHANGED),
        f"all {CHANGED} red": share(map(all, true), exact=found_out**CHANGED),
        **{
            f"`{claim.id}` red": share((run[i] for run in true), exact=found_out)
            for i, claim in enumerate(suite(CHANGED))
        },
        "a changed claim red, were it alone": share(
            (_red_alone(REGRESSION, found) for found in changed), exact=exact_pairs(REGRESSION.violated, 0.12, 0.02)
        ),
        "a changed claim green": share(
            (found.green for found in changed), exact=exact_pairs(REGRESSION.holds, 0.12, 0.02)
        ),
    }
    return Section(
        title="A worked gate: 10 points worse on 5 of 100 claims",
        says=(
            f"Version w of a simulated model exhibits in 2 % of replies to every claim, version x in 12 % on {CHANGED} of "
            f"{SIZE}, `suite-000` to `suite-004`. x is compared with w on 120 prompts a claim, margin {per_cent(MARGIN)}."
        ),
        rows={what: [figure] for what, figure in rows.items()},
    )


# -- at the limit


def boundary(scale: float) -> Section:
    repeats = _count(4000, scale)
    rows = {}
    for gate, n in (
        (RateAtMost(0.05), 60),
        (RateAtMost(0.05), 120),
        (RateAtMost(0.05), 240),
        (RateAtMost(0.2), 120),
        (RateAtLeast(0.9), 120),
        (DifferenceAtMost(0.05, of="loud", over="quiet"), 120),
        (DifferenceAtMost(0.2, of="loud", over="quiet"), 120),
        (DifferenceAtLeast(0.5, of="loud", over="quiet"), 120),
        (WithinMargin(0.1, of="loud", over="quiet"), 120),
    ):
        paired = len(gate.uses) == 2
        short = Short((two if paired else one)("at-the-limit", gate=gate, n=n))
        found = [short.found(short.draw(f"effect-{gate.limit}@{seed}"), Terms()) for seed in range(repeats)]
        if paired:
            exact = [exact_pairs(says, 0.02 + gate.limit, 0.02, n=n) for says in (gate.violated, gate.holds)]
        else:
            exact = [exact_rate(gate, gate.limit, n=n, alpha=ALPHA, red=red) for red in (True, False)]
        rows[f"{_called(gate)}, {n} items"] = _errors(found, found, exact)
    short = Short(one("at-the-limit"))

    def against_before(now: str) -> list[Found]:
        return [
            short.found(short.draw(f"{now}@{seed}"), Terms(), before=short.draw(f"before@{seed}-before"))
            for seed in range(repeats)
        ]

    same, worse = against_before("before"), against_before("worse-by-the-margin")
    rate = 0.05 + MARGIN
    rows[f"{_called(REGRESSION)}, 120 items: red at 5 % as before, green at {per_cent(rate)}"] = _errors(
        same, worse, [exact_pairs(REGRESSION.violated, 0.05, 0.05), exact_pairs(REGRESSION.holds, rate, 0.05)]
    )
    return Section(
        title="At the limit itself",
        says=(
            "The true effect is exactly what is allowed, the worst case for both errors; one claim alone. A regression "
            "gate has two such places: its red says *worse than before*, its green *not worse by the margin*. In between, "
            f"red is true however small the change: at {per_cent(rate)} after 5 %, exactly the margin, "
            f"{shown(exact_pairs(REGRESSION.violated, rate, 0.05))} are red."
        ),
        columns=("false red", "false green"),
        rows=rows,
    )


def _called(gate: Gate) -> str:
    return f"`{type(gate).__name__}({gate.limit:g})`"


def _errors(at_red: Sequence[Found], at_green: Sequence[Found], exact: Sequence[float] | None = None) -> list[Figure]:
    """Shares of false reds and of false greens."""
    red, green = exact or (None, None)
    return [
        share((found.red for found in at_red), exact=red, promised=at_most(ALPHA)),
        share((found.green for found in at_green), exact=green, promised=at_most(ALPHA)),
    ]


# -- power

SIZES = (60, 120, 240)


def power(scale: float) -> Section:
    repeats, sizes = _count(1000, scale), SIZES if scale >= 1 else SIZES[1:2]
    rows: dict[str, list[Figure]] = {}
    for make, gate in ((one, RateAtMost(0.05)), (two, DifferenceAtMost(0.05, of="loud", over="quiet"))):
        for n in sizes:
            short = Short(make("power", gate=gate, n=n))
            for true in (0.0, 0.01, 0.02, 0.10, 0.15, 0.25):
                red = true > gate.limit
                terms = Terms(m=SIZE if red else 1)
                found = [short.found(short.draw(f"effect-{true}@{seed}"), terms) for seed in range(repeats)]
                for m in (1, SIZE) if red else (1,):
                    said = [f.green if not red else f.red if m == SIZE else _red_alone(gate, f) for f in found]
                    if make is one:
                        exact = exact_rate(gate, true, n=n, alpha=ALPHA / m, red=red)
                    else:
                        says = gate.violated if red else gate.holds
                        exact = exact_pairs(says, 0.02 + true, 0.02, n=n, alpha=ALPHA / m)
                    verdict = f"VIOLATED{f', of {m}' if m > 1 else ', alone'}" if red else "HOLDS"
                    rows.setdefault(f"{_called(gate)}, true {per_cent(true)}: {verdict}", []).append(
                        share(said, exact=exact)
                    )
    return Section(
        title="Power",
        says=(
            "The chance to be told the truth. For a difference the other condition has a rate of 2 %, and partners are "
            "drawn independently: real twins are alike, which helps."
        ),
        columns=tuple(f"{n} items" for n in sizes),
        rows=rows,
    )


# -- families


def families(scale: float) -> Section:
    random = np.random.default_rng(20)
    rows = {}
    for icc in (0.0, 0.1, 0.3):
        for rates, groups, size in (((0.05,), 60, 2), ((0.05,), 40, 4), ((0.2,), 40, 4), ((0.1, 0.05), 60, 2)):
            true = rates[0] - sum(rates[1:])
            n = groups * size
            if len(rates) == 1:
                short, kind = Short(one("families", gate=RateAtMost(0.3), n=n, per_family=size)), "rate"
            else:
                gate = DifferenceAtMost(0.3, of="loud", over="quiet")
                short, kind = Short(two("families", gate=gate, n=n, per_family=size)), "difference"
            drawn = (_clustered(rates, groups, size, icc, random) for _ in range(_count(2000, scale)))
            effects = [found.effect for found in (short.found(replies, Terms()) for replies in drawn) if found.effect]
            rows[f"ICC {icc:g}: {kind} {per_cent(true)}, {groups} families of {size}"] = [
                _coverage(effects, true),
                share((e.upper < true for e in effects), promised=at_most(ALPHA)),
                share((e.lower > true for e in effects), promised=at_most(ALPHA)),
            ]
    return Section(
        title="Coverage, in families",
        says=(
            "Families with rates of their own, from a beta distribution of intraclass correlation ICC. A bound that misses "
            "the truth is a false HOLDS (upper) or a false VIOLATED (lower) of a gate whose limit is there."
        ),
        columns=("the 95 % interval holds the truth", "upper bound below it", "lower bound above it"),
        rows=rows,
    )


def _clustered(rates: Sequence[float], groups: int, size: int, icc: float, random: np.random.Generator) -> Replies:
    """Replies in as many conditions as rates; each family has rates of its own."""
    arms = []
    for rate in rates:
        spread = (1 - icc) / icc if icc else 0.0
        own = random.beta(rate * spread, (1 - rate) * spread, groups) if icc else np.full(groups, rate)
        arms.append(random.random((groups, size)) < own[:, None])
    return np.stack(arms, axis=-1).astype(np.uint8).tobytes()


# -- stopping early


def stopping(scale: float) -> Section:
    rows = {}
    with asyncio.Runner() as runner:
        for gate, n in (
            (RateAtMost(0.05), 120),
            (RateAtMost(0.05), 240),
            (RateAtMost(0.2), 240),
            (DifferenceAtMost(0.05, of="loud", over="quiet"), 120),
        ):
            short = Short((two if len(gate.uses) == 2 else one)("at-the-limit", gate=gate, n=n))
            drawn = [short.draw(f"effect-{gate.limit}@{seed}-early") for seed in range(_count(2000, scale))]
            whole = [short.found(replies, Terms()) for replies in drawn]
            early = [runner.run(short.looked(replies, Terms(look=True)))[0] for replies in drawn]
            rows[f"{_called(gate)}, {n} items"] = [*_errors(whole, whole), *_errors(early, early)]
    return Section(
        title="At the limit, stopping early",
        says="`--alignbench-stop-early`: five looks at .02 each, in whole families, through Inspect's protocol.",
        columns=("false red, without", "false green, without", "false red, with", "false green, with"),
        rows=rows,
    )


MIXED = (0.0, 0.0, 0.0, 0.0, 0.01, 0.01, 0.02, 0.15, 0.25, 0.40)
"""True effects of a mixed suite with limits of 5 %: four claims without a hit, three that are good, three that are not."""


def saving(scale: float) -> Section:
    rows = {}
    with asyncio.Runner() as runner:
        for make, n in ((one, 120), (one, 240), (one, 480), (two, 240)):
            shorts = {true: Short(make("mixed", n=n)) for true in set(MIXED)}
            whole: list[Found] = []
            early: list[Found] = []
            for seed in range(_count(50, scale)):
                for number, true in enumerate(MIXED):
                    replies = shorts[true].draw(f"effect-{true}@{seed}-{number}")
                    whole.append(shorts[true].found(replies, Terms(m=SIZE)))
                    early.append(runner.run(shorts[true].looked(replies, Terms(m=SIZE, look=True)))[0])
            runs = [slice(i, i + len(MIXED)) for i in range(0, len(whole), len(MIXED))]
            saved = [1 - sum(f.asked for f in early[run]) / sum(f.asked for f in whole[run]) for run in runs]
            rows[f"{'rates' if make is one else 'differences'}, {n} items"] = [
                mean(saved),
                share(f.red or f.green for f in whole),
                share(f.red or f.green for f in early),
            ]
    return Section(
        title="What stopping early saves",
        says=(
            f"Suites of ten claims with limits of 5 %, true effects {', '.join(map(per_cent, MIXED))}, of a declared "
            f"{SIZE}: the share of calls saved, and of claims that are decided either way."
        ),
        columns=("calls saved", "decided, without", "decided, with"),
        rows=rows,
    )


# -- a grader that errs

SENSITIVITY, SPECIFICITY, LABELS, GRADED = 0.9, 0.95, 100, 200


def grading(scale: float) -> Section:
    rows = {}
    for true in (0.05, 0.2):
        gate = RateAtMost(true)
        read = true * SENSITIVITY + (1 - true) * (1 - SPECIFICITY)
        short = Short(one(f"graded-{true:g}", gate=gate, n=GRADED, scorer=graded_no(), replies=labelled(LABELS)))
        corrected, raw = [], []
        for seed in range(_count(4000, scale)):
            name = f"grader-{SENSITIVITY}-{SPECIFICITY}@{seed}"
            grader = Simulated(name)
            replies = short.graded(short.draw(f"effect-{true}@{seed}"), grader)
            known = Terms(grader=f"simulated/{name}", calibration=short.calibration(grader))
            corrected.append(short.found(replies, known))
            raw.append(short.found(replies, Terms()))
        errors = [exact_rate(gate, read, n=GRADED, alpha=ALPHA, red=red) for red in (True, False)]
        for kind, found, (bias, coverage, red, green) in (
            ("corrected", corrected, exact_graded(gate, read) if scale >= 1 else (None,) * 4),
            ("not corrected", raw, (read - true, None, *errors)),
        ):
            effects = [f.effect for f in found if f.effect]
            rows[f"true {per_cent(true)}, {kind}"] = [
                mean([e.value - true for e in effects], exact=bias),
                _coverage(effects, true, exact=coverage),
                share((f.red for f in found), exact=red, promised=at_most(ALPHA)),
                share((f.green for f in found), exact=green, promised=at_most(ALPHA)),
            ]
    return Section(
        title="A grader that errs",
        says=(
            f"Sensitivity {SENSITIVITY}, specificity {SPECIFICITY}, known from {LABELS} labelled replies of each kind; "
            f"{GRADED} prompts, and the limit is the true rate. What is not corrected misses its promises, which is what "
            "the correction is for."
        ),
        columns=("bias of the rate", "the 95 % interval holds the truth", "false red", "false green"),
        rows=rows,
    )


def exact_graded(gate: Gate, read: float) -> tuple[float, float, float, float]:
    """Bias, coverage and the chances of red and green of a corrected rate whose truth is the gate's limit.

    `read`: how often the grader says that a reply exhibits. Three binomial counts: hits, and its results on both kinds
    of labelled replies.
    """
    laws = [stats.binom(LABELS, SENSITIVITY), stats.binom(LABELS, SPECIFICITY), stats.binom(GRADED, read)]
    ranges = [range(int(law.ppf(1e-5)), int(law.isf(1e-5)) + 1) for law in laws]
    chances = [dict(zip(counts, law.pmf(counts), strict=True)) for law, counts in zip(laws, ranges, strict=True)]
    sums = np.zeros(4)
    for tp, tn, hits in product(*ranges):
        chance = chances[0][tp] * chances[1][tn] * chances[2][hits]
        if chance > 1e-7:
            known = Calibration(tp=tp, fn=LABELS - tp, tn=tn, fp=LABELS - tn)
            e = estimates.rate([1.0] * hits + [0.0] * (GRADED - hits), range(GRADED), alpha=ALPHA, calibration=known)
            held = e.ci_low <= gate.limit <= e.ci_high
            sums += chance * np.array([e.value - gate.limit, held, gate.violated(e), gate.holds(e)])
    bias, coverage, red, green = map(float, sums)
    return bias, coverage, red, green


SECTIONS: tuple[Callable[[float], Section], ...] = (
    same_twice,
    regression,
    boundary,
    power,
    families,
    stopping,
    saving,
    grading,
)
"""Each is given the share of its full number of repeats."""
