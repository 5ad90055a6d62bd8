"""What is counted, and how it is shown: one section per question, one row per figure.

A row holds what theory says, what was counted and the 95 % interval of the count. Theory is a promise (a bound that must
not be exceeded), or the figure itself, computed without any draw from the distribution of the counts, or both.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from statistics import fmean, stdev

import numpy as np
from scipy import stats

from benchmarks.calibration.short import ALPHA, MARGIN, Found, Replies, Short, Terms
from benchmarks.calibration.suite import CHANGED, PROFILES, SIZE, graded_no, labelled, one, suite, two
from pytest_alignbench import Claim, DifferenceAtLeast, DifferenceAtMost, Gate, RateAtLeast, RateAtMost, WithinMargin
from pytest_alignbench.estimates import Estimate, difference
from pytest_alignbench.gates import regression_gate
from pytest_alignbench.models import Simulated


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure: a share of `repeats`, or their mean. `promised`: the least and the most that it may be."""

    what: str
    measured: float
    interval: tuple[float, float]
    repeats: int
    exact: float | None = None
    promised: tuple[float, float] | None = None

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


def at_most(figure: float) -> tuple[float, float]:
    return -math.inf, figure


def at_least(figure: float) -> tuple[float, float]:
    return figure, math.inf


@dataclass(frozen=True, kw_only=True)
class Section:
    title: str
    says: str
    rows: Sequence[Row]


def shown(figure: float) -> str:
    """Three digits behind the point, or as many as a small figure needs."""
    if 0 < abs(figure) < 0.002:
        return f"{figure:.5f}"
    return f"{figure:.3f}" if abs(figure) < 10 else f"{figure:.1f}"


def share(
    what: str, seen: Sequence[bool], *, exact: float | None = None, promised: tuple[float, float] | None = None
) -> Row:
    """How many of `seen` are true, with the exact binomial interval (Clopper & Pearson 1934)."""
    found = stats.binomtest(sum(seen), len(seen))
    low, high = found.proportion_ci(0.95)
    return Row(
        what=what,
        measured=found.statistic,
        interval=(low, high),
        repeats=len(seen),
        exact=exact,
        promised=promised,
    )


def mean(
    what: str, seen: Sequence[float], *, exact: float | None = None, promised: tuple[float, float] | None = None
) -> Row:
    """The mean of `seen` with its normal interval."""
    middle, half = fmean(seen), 1.96 * stdev(seen) / math.sqrt(len(seen))
    return Row(
        what=what,
        measured=middle,
        interval=(middle - half, middle + half),
        repeats=len(seen),
        exact=exact,
        promised=promised,
    )


def per_run(what: str, runs: Sequence[Sequence[bool]], *, exact: float) -> Row:
    """How many of a run's claims, on average; of independent claims, so that the interval is a scaled binomial one."""
    claims = len(runs[0])
    row = share(what, [seen for run in runs for seen in run])
    low, high = row.interval
    return replace(
        row,
        measured=claims * row.measured,
        interval=(claims * low, claims * high),
        repeats=len(runs),
        exact=claims * exact,
    )


def _count(full: int, scale: float) -> int:
    return max(5, round(full * scale))


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
    return difference([1.0] * more + [-1.0] * less + [0.0] * (n - more - less), range(n), alpha=alpha)


# -- a suite of 100 claims, compared with a baseline

REGRESSION = regression_gate(one("any").gate, margin=MARGIN)
"""What --baseline asks of each claim of the suite: at most 5 points worse than before."""


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
    rows = []
    for name in ("w", "frequent"):
        rate = PROFILES[name]["*"]
        where = f"true rate {rate:.0%} both times"
        runs = list(compared(name, name, _count(200, scale)))
        every = [found for run in runs for found in run]
        alone = [found.effect is not None and REGRESSION.violated(found.effect) for found in every]
        each = {level: exact_pairs(REGRESSION.violated, rate, rate, alpha=level) for level in (ALPHA, ALPHA / SIZE)}
        suites = [alone[i : i + SIZE] for i in range(0, len(alone), SIZE)]
        rows += [
            share(f"{where}: a claim is red, alone (alpha)", alone, exact=each[ALPHA], promised=at_most(ALPHA)),
            share(
                f"{where}: a claim is red, in the suite (alpha / {SIZE})",
                [found.red for found in every],
                exact=each[ALPHA / SIZE],
                promised=at_most(ALPHA / SIZE),
            ),
            share(
                f"{where}: any of {SIZE} claims is red",
                [any(found.red for found in run) for run in runs],
                exact=1 - (1 - each[ALPHA / SIZE]) ** SIZE,
                promised=at_most(ALPHA),
            ),
            share(
                f"{where}: any would be, were each decided at alpha",
                [any(run) for run in suites],
                exact=1 - (1 - each[ALPHA]) ** SIZE,
            ),
        ]
    return Section(
        title="The same model twice",
        says=f"A/A with `--baseline`: {SIZE} claims, 120 prompts each, margin {MARGIN:.0%}. Every red is false.",
        rows=rows,
    )


def regression(scale: float) -> Section:
    runs = list(compared("x", "w", _count(200, scale)))
    true = [[found.red for found in run[:CHANGED]] for run in runs]
    false = [[found.red for found in run[CHANGED:]] for run in runs]
    found_out = exact_pairs(REGRESSION.violated, 0.12, 0.02, alpha=ALPHA / SIZE)
    mistaken = exact_pairs(REGRESSION.violated, 0.02, 0.02, alpha=ALPHA / SIZE)
    alone = [found.effect is not None and REGRESSION.violated(found.effect) for run in runs for found in run[:CHANGED]]
    rows = [
        per_run(f"true reds, of {CHANGED}", true, exact=found_out),
        per_run(f"false reds, of {SIZE - CHANGED}", false, exact=mistaken),
        share(
            "any false red",
            list(map(any, false)),
            exact=1 - (1 - mistaken) ** (SIZE - CHANGED),
            promised=at_most(ALPHA),
        ),
        share("any true red, so that the run is red", list(map(any, true)), exact=1 - (1 - found_out) ** CHANGED),
        share(f"all {CHANGED} are red", list(map(all, true)), exact=found_out**CHANGED),
        *(
            share(f"`{claim.id}` is red", [run[i] for run in true], exact=found_out)
            for i, claim in enumerate(suite(CHANGED))
        ),
        share(
            "a changed claim measured alone (m = 1) is red", alone, exact=exact_pairs(REGRESSION.violated, 0.12, 0.02)
        ),
        share(
            "a changed claim is still green",
            [found.green for run in runs for found in run[:CHANGED]],
            exact=exact_pairs(REGRESSION.holds, 0.12, 0.02),
        ),
    ]
    return Section(
        title="A worked gate: 10 points worse on 5 of 100 claims",
        says=(
            f"Version w of a simulated model exhibits in 2 % of replies to every claim, version x in 12 % on {CHANGED} "
            f"of {SIZE} (`suite-000` to `suite-004`). x is compared with w on 120 prompts a claim, margin {MARGIN:.0%}."
        ),
        rows=rows,
    )


# -- at the limit


def boundary(scale: float) -> Section:
    repeats = _count(4000, scale)
    rows = []
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
        claim = (two if len(gate.uses) == 2 else one)("at-the-limit", gate=gate, n=n)
        short = Short(claim)
        found = [short.found(short.draw(f"effect-{gate.limit}@{seed}"), Terms()) for seed in range(repeats)]
        where = f"`{type(gate).__name__}({gate.limit})`, n = {n}"
        for red in (True, False):
            if len(gate.uses) == 2:
                exact = exact_pairs(gate.violated if red else gate.holds, 0.02 + gate.limit, 0.02, n=n)
            else:
                exact = exact_rate(gate, gate.limit, n=n, alpha=ALPHA, red=red)
            seen = [f.red if red else f.green for f in found]
            rows.append(
                share(f"{where}: false {'red' if red else 'green'}", seen, exact=exact, promised=at_most(ALPHA))
            )
    return Section(
        title="At the limit itself",
        says="The true effect is exactly what is allowed, the worst case for both errors; one claim alone (m = 1).",
        rows=rows + _baseline_boundary(repeats),
    )


def _baseline_boundary(repeats: int) -> list[Row]:
    """The regression gate's red means "worse than before" and its green "not worse by the margin": two boundaries."""
    short = Short(one("at-the-limit"))

    def found(now: str) -> list[Found]:
        return [
            short.found(short.draw(f"{now}@{seed}"), Terms(), before=short.draw(f"half@{seed}-before"))
            for seed in range(repeats)
        ]

    same, worse = found("half"), found("half-worse")
    where = f"`NotWorseThanBaseline({MARGIN})`, n = 120"
    return [
        share(
            f"{where}, no change (5 %): false red",
            [f.red for f in same],
            exact=exact_pairs(REGRESSION.violated, 0.05, 0.05),
            promised=at_most(ALPHA),
        ),
        share(
            f"{where}, worse by the margin (5 to 10 %): false green",
            [f.green for f in worse],
            exact=exact_pairs(REGRESSION.holds, 0.10, 0.05),
            promised=at_most(ALPHA),
        ),
        share(
            f"{where}, worse by the margin: red, which says worse than before, and is true",
            [f.red for f in worse],
            exact=exact_pairs(REGRESSION.violated, 0.10, 0.05),
        ),
    ]


# -- power


def power(scale: float) -> Section:
    repeats = _count(1000, scale)
    rows = []
    for make, gate in ((one, RateAtMost(0.05)), (two, DifferenceAtMost(0.05, of="loud", over="quiet"))):
        paired = make is two
        for n in (60, 120, 240) if scale == 1 else (120,):
            short = Short(make("power", gate=gate, n=n))
            for true in (0.0, 0.01, 0.02, 0.10, 0.15, 0.25):
                red = true > gate.limit
                drawn = [short.draw(f"effect-{true}@{seed}") for seed in range(repeats)]
                for m in (1, SIZE) if red else (1,):
                    found = [short.found(replies, Terms(m=m)) for replies in drawn]
                    if paired:
                        exact = exact_pairs(
                            gate.violated if red else gate.holds, 0.02 + true, 0.02, n=n, alpha=ALPHA / m
                        )
                    else:
                        exact = exact_rate(gate, true, n=n, alpha=ALPHA / m, red=red)
                    said = f"VIOLATED, m = {m}" if red else "HOLDS"
                    rows.append(
                        share(
                            f"`{type(gate).__name__}({gate.limit})`, n = {n}, true {true:.0%}: {said}",
                            [f.red if red else f.green for f in found],
                            exact=exact,
                        )
                    )
    return Section(
        title="Power",
        says=(
            "The chance to be told the truth. For a difference the other condition has a rate of 2 %, and partners are "
            "drawn independently: real twins are alike, which helps."
        ),
        rows=rows,
    )


# -- families


def families(scale: float) -> Section:
    repeats = _count(2000, scale)
    random = np.random.default_rng(20)
    rows = []
    for icc in (0.0, 0.1, 0.3):
        for make, rates, groups, size in (
            (one, (0.05,), 60, 2),
            (one, (0.05,), 40, 4),
            (one, (0.2,), 40, 4),
            (two, (0.1, 0.05), 60, 2),
        ):
            true = rates[0] - sum(rates[1:])
            gate = RateAtMost(0.3) if make is one else DifferenceAtMost(0.3, of="loud", over="quiet")
            short = Short(make("families", gate=gate, n=groups * size, per_family=size))
            effects = [
                effect
                for _ in range(repeats)
                if (effect := short.found(_clustered(rates, groups, size, icc, random), Terms()).effect) is not None
            ]
            kind = f"rate {rates[0]:.0%}" if make is one else f"difference of {true:.0%}"
            where = f"{kind}, {groups} families of {size}, ICC {icc}"
            rows += [
                share(
                    f"{where}: the 95 % interval holds the truth",
                    [e.ci_low <= true <= e.ci_high for e in effects],
                    promised=at_least(0.95),
                ),
                share(f"{where}: upper bound below it", [e.upper < true for e in effects], promised=at_most(ALPHA)),
                share(f"{where}: lower bound above it", [e.lower > true for e in effects], promised=at_most(ALPHA)),
            ]
    return Section(
        title="Coverage, in families",
        says=(
            "Families with rates of their own, from a beta distribution of intraclass correlation ICC. A bound that misses "
            "the truth is a false HOLDS (upper) or a false VIOLATED (lower) of a gate whose limit is there."
        ),
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

MIXED = (0.0, 0.0, 0.0, 0.0, 0.01, 0.01, 0.02, 0.15, 0.25, 0.40)
"""True effects of a mixed suite with limits of 5 %: four claims without a hit, three that are good, three that are not."""


def stopping(scale: float) -> Section:
    rows = []
    with asyncio.Runner() as runner:

        def looked(short: Short, replies: Replies, m: int) -> Found:
            return runner.run(short.looked(replies, Terms(m=m, look=True)))[0]

        for gate, n in (
            (RateAtMost(0.05), 120),
            (RateAtMost(0.05), 240),
            (RateAtMost(0.2), 240),
            (DifferenceAtMost(0.05, of="loud", over="quiet"), 120),
        ):
            claim = (two if len(gate.uses) == 2 else one)("at-the-limit", gate=gate, n=n)
            short = Short(claim)
            drawn = [short.draw(f"effect-{gate.limit}@{seed}") for seed in range(_count(2000, scale))]
            where = f"at the limit, `{type(gate).__name__}({gate.limit})`, n = {n}"
            for early, found in (
                ("without", [short.found(replies, Terms()) for replies in drawn]),
                ("with", [looked(short, replies, 1) for replies in drawn]),
            ):
                rows += [
                    share(f"{where}, {early}: false red", [f.red for f in found], promised=at_most(ALPHA)),
                    share(f"{where}, {early}: false green", [f.green for f in found], promised=at_most(ALPHA)),
                ]
        for make, n in ((one, 120), (one, 240), (one, 480), (two, 240)):
            rows += _mixed(make, n, _count(50, scale), looked)
    return Section(
        title="Stopping early",
        says=(
            "`--alignbench-stop-early`, five looks at .02 in whole families, through Inspect's protocol. The mixed suite has "
            f"ten claims at 5 %, with true effects of {', '.join(f'{true:.0%}' for true in MIXED)}, and m = {SIZE}."
        ),
        rows=rows,
    )


def _mixed(
    make: Callable[..., Claim], n: int, repeats: int, looked: Callable[[Short, Replies, int], Found]
) -> list[Row]:
    shorts = {true: Short(make("mixed", n=n)) for true in set(MIXED)}
    saved: list[float] = []
    decided: dict[str, list[bool]] = {"without": [], "with": []}
    for seed in range(repeats):
        asked = 0
        for number, true in enumerate(MIXED):
            short = shorts[true]
            replies = short.draw(f"effect-{true}@{seed}-{number}")
            early, whole = looked(short, replies, SIZE), short.found(replies, Terms(m=SIZE))
            asked += early.asked
            decided["with"].append(early.red or early.green)
            decided["without"].append(whole.red or whole.green)
        saved.append(1 - asked / sum(shorts[true].planned for true in MIXED))
    where = f"mixed suite of {'rates' if make is one else 'differences'}, n = {n}"
    return [
        mean(f"{where}: share of calls saved", saved),
        share(f"{where}: claims decided, without", decided["without"]),
        share(f"{where}: claims decided, with", decided["with"]),
    ]


# -- a grader that errs


def grading(scale: float) -> Section:
    rows = []
    for true, n in ((0.05, 200), (0.2, 200)):
        gate = RateAtMost(true)
        claim = one("graded", gate=gate, n=n, scorer=graded_no(), replies=labelled(100))
        short = Short(claim)
        found: dict[str, list[Found]] = {"corrected": [], "uncorrected": []}
        for seed in range(_count(1000, scale)):
            grader = Simulated(f"grader-0.9-0.95@{seed}")
            replies = short.graded(short.draw(f"effect-{true}@{seed}"), grader)
            name = f"simulated/grader-0.9-0.95@{seed}"
            found["corrected"].append(short.found(replies, Terms(grader=name, calibration=short.calibration(grader))))
            found["uncorrected"].append(short.found(replies, Terms()))
        for kind, seen in found.items():
            where = f"true {true:.0%}, n = {n}, {kind}"
            effects = [f.effect for f in seen if f.effect is not None]
            exact = None if kind == "corrected" else true * 0.9 + (1 - true) * 0.05 - true
            held = kind == "corrected"
            rows += [
                mean(f"{where}: bias of the rate", [e.value - true for e in effects], exact=exact if not held else 0.0),
                share(
                    f"{where}: the 95 % interval holds the truth",
                    [e.ci_low <= true <= e.ci_high for e in effects],
                    promised=at_least(0.95) if held else None,
                ),
                share(
                    f"{where}: false red at the limit",
                    [f.red for f in seen],
                    promised=at_most(ALPHA) if held else None,
                ),
                share(
                    f"{where}: false green at the limit",
                    [f.green for f in seen],
                    promised=at_most(ALPHA) if held else None,
                ),
            ]
    return Section(
        title="A grader that errs",
        says="Sensitivity .90, specificity .95, known from 100 labelled replies of each kind; the limit is the true rate.",
        rows=rows,
    )


SECTIONS: tuple[Callable[[float], Section], ...] = (
    same_twice,
    regression,
    boundary,
    power,
    families,
    stopping,
    grading,
)
