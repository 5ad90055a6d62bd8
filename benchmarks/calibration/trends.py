"""What is counted of trends: how often there seems to be one, how often one is found, and what watches the nights.

Items keep a difficulty of their own over versions (correlation .45 on the normal scale behind yes and no, of which .09 is
shared by their family), so that versions are compared on items as those of real models are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from benchmarks.calibration.tables import Figure, Section, at_most, mean, per_cent, share
from pytest_alignbench import estimates, timeseries
from pytest_alignbench.movements import Movement, Stretch, movement, said

ALPHA, MARGIN = 0.05, 0.10
ITEM, FAMILY = 0.36, 0.09
"""Variance that an item, and that its family, has in common over versions, of 1."""

Floats = NDArray[np.float64]


def _count(full: int, scale: float) -> int:
    return max(5, round(full * scale))


def drawn(rates: Sequence[float], random: np.random.Generator, *, n: int = 100, per_family: int = 2) -> Floats:
    """(items, versions) of yes and no, each version at its rate."""
    families = np.repeat(random.standard_normal((n // per_family, 1)), per_family, axis=0)
    own = math.sqrt(ITEM) * random.standard_normal((n, 1)) + math.sqrt(FAMILY) * families
    z = own + math.sqrt(1 - ITEM - FAMILY) * random.standard_normal((n, len(rates)))
    return (z < special.ndtri(rates)).astype(np.float64)


def _families(n: int) -> list[str]:
    return [f"f{item // 2}" for item in range(n)]


def _wobbling(rates: Sequence[float], wobble: float, random: np.random.Generator) -> list[float]:
    """Each version off its rate by a draw of its own, on the logit scale."""
    logits = special.logit(np.asarray(rates)) + wobble * random.standard_normal(len(rates))
    return [float(rate) for rate in special.expit(logits)]


def moved(y: Floats, *, nights: bool = False) -> Movement:
    names = tuple(f"v{point}" for point in range(y.shape[1]))
    families = tuple(_families(len(y)))
    effects = tuple(estimates.rate(column, families) for column in (y[:, 0], y[:, -1]))
    ends = (effects[0], *[effects[0]] * (y.shape[1] - 2), effects[1])
    stretch = Stretch(names=names, y=y, families=families, effects=ends, rate=True, good="low", nights=nights)
    return movement(stretch, margin=MARGIN, alpha=ALPHA)


# -- versions


def none(scale: float) -> Section:
    random = np.random.default_rng(30)
    rows = {}
    for wobble in (0.0, 0.3):
        for rate in (0.1, 0.3):
            for versions in (5, 10, 20):
                found = []
                for _ in range(_count(1000, scale)):
                    y = drawn(_wobbling([rate] * versions, wobble, random), random)
                    trend = timeseries.trend(y, _families(len(y)))
                    assert trend is not None
                    found.append(trend)
                steady = "steady versions" if wobble == 0 else f"versions that wobble by {wobble:g}"
                rows[f"{steady}, {per_cent(rate)}: {versions} of them"] = [
                    share(t.items.p_value <= ALPHA for t in found),
                    share(t.versions.p_value <= ALPHA for t in found),
                    share((t.p_value <= ALPHA for t in found), promised=at_most(ALPHA)),
                ]
    return Section(
        title="Trends that are none",
        says=(
            "No version is better or worse than another but by chance: each is off by a draw of its own, with a standard "
            "deviation on the logit scale, or not at all. 100 items in families of 2."
        ),
        columns=("slope on items, alone", "regression on versions, alone", "both: called a trend"),
        rows=rows,
    )


def some(scale: float) -> Section:
    random = np.random.default_rng(31)
    rows = {}
    for versions in (5, 10):
        for slope in (0.02, 0.04, 0.06):
            figures = []
            for wobble in (0.0, 0.3):
                rates = [0.05 + slope * place for place in range(versions)]
                found = [moved(drawn(_wobbling(rates, wobble, random), random)) for _ in range(_count(400, scale))]
                figures.append(share(f.alone and f.value is not None and f.value > 0 for f in found))
            rows[f"{versions} versions, {per_cent(slope)} more in each"] = figures
    return Section(
        title="Trends that are there",
        says="From 5 % in the first version. How often the trend is found by itself, on 100 items in families of 2.",
        columns=("steady versions", "versions that wobble by 0.3"),
        rows=rows,
    )


def flat(scale: float) -> Section:
    random = np.random.default_rng(32)
    rows = {}
    for versions in (2, 5, 10):
        for n in (100, 200, 400):
            figures: list[Figure] = []
            for whole in (0.0, MARGIN):
                rates = [0.1 + whole * place / (versions - 1) for place in range(versions)]
                found = [moved(drawn(rates, random, n=n)) for _ in range(_count(400, scale))]
                promised = at_most(ALPHA) if whole else None
                figures.append(share((f.flat for f in found), promised=promised))
            rows[f"{versions} versions, {n} items"] = figures
    return Section(
        title="Called flat",
        says=(
            f"From 10 % in the first version. Flat is wrong where the true change from the first to the last is the margin "
            f"itself, {per_cent(MARGIN)}."
        ),
        columns=("nothing changed", "changed by the margin"),
        rows=rows,
    )


def many(scale: float) -> Section:
    """Sixty series of a report, of which some move."""
    random = np.random.default_rng(33)
    rows = {}
    for moving in (0, 6, 20):
        false, true, wrong = [], [], []
        for _ in range(_count(40, scale)):
            found = []
            for number in range(60):
                slope = 0.05 if number < moving else 0.0
                found.append(moved(drawn([0.05 + slope * place for place in range(6)], random)))
            ps = estimates.adjusted([f.p_value or 1.0 for f in found], method="fdr_bh")
            shown = [
                said(f, adjusted=p, of=60, alpha=ALPHA, margin=MARGIN)[0] in ("better", "worse")
                for f, p in zip(found, ps, strict=True)
            ]
            true.append(sum(shown[:moving]) / moving if moving else 0.0)
            false.append(float(sum(shown[moving:])))
            wrong.append(sum(shown[moving:]) / max(1, sum(shown)))
        rows[f"{moving} of 60 rise by 5 % a version"] = [mean(true), mean(false), _averaged(wrong)]
    return Section(
        title="Sixty series at once",
        says="Six versions, 100 items in families of 2; better or worse at an adjusted .05.",
        columns=("of those that rise, called worse", "others called better or worse", "share of wrong calls"),
        rows=rows,
    )


def _averaged(shares: Sequence[float]) -> Figure:
    found = mean(shares)
    return Figure(measured=found.measured, interval=found.interval, repeats=found.repeats, promised=at_most(ALPHA))


# -- nights


def run_length(h: float = timeseries.DECISION, k: float = timeseries.SLACK, *, states: int = 400) -> float:
    """Nights until the two-sided CUSUM of standard normal nights rings, on average (Brook & Evans 1972).

    One side is a Markov chain on a fine grid of its sum; both sides ring twice as often.
    """
    width = 2 * h / (2 * states - 1)
    middles = np.arange(states) * width
    upper = stats.norm.cdf(middles[None, :] + width / 2 - middles[:, None] + k)
    lower = stats.norm.cdf(middles[None, :] - width / 2 - middles[:, None] + k)
    lower[:, 0] = 0.0
    length = np.linalg.solve(np.eye(states) - (upper - lower), np.ones(states))
    return float(length[0]) / 2


def quiet(scale: float) -> Section:
    random = np.random.default_rng(34)
    normal = 1 - math.exp(-1000 / run_length())
    rows: dict[str, list[Figure]] = {}
    levels = [random.standard_normal(1000) for _ in range(_count(200, scale))]
    rows["1,000 nights, normal"] = [
        share((bool(timeseries.alarms(each.tolist())) for each in levels), exact=normal),
        share(
            (bool(timeseries.splits(each[:90].tolist())) for each in levels), promised=at_most(timeseries.SPLIT_ALPHA)
        ),
    ]
    for rate in (0.02, 0.1, 0.3):
        for nights in (14, 90):
            series = [drawn([rate] * nights, random).mean(axis=0).tolist() for _ in range(_count(400, scale))]
            rows[f"{nights} nights, {per_cent(rate)} of 100 items"] = [
                share(bool(timeseries.alarms(each, resolution=0.01)) for each in series),
                share(
                    (bool(timeseries.splits(each, resolution=0.01)) for each in series),
                    promised=at_most(timeseries.SPLIT_ALPHA),
                ),
            ]
    return Section(
        title="Nights of a model that does not change",
        says=(
            f"The exact figure is that of a CUSUM with k {timeseries.SLACK:g} and h {timeseries.DECISION:g} that knows the level "
            f"and the spread: it rings every {run_length():,.0f} nights (Brook & Evans 1972). Steps are looked for in the first "
            "90 nights."
        ),
        columns=("the CUSUM rings", "a step is found"),
        rows=rows,
    )


def changed(scale: float) -> Section:
    random = np.random.default_rng(35)
    rows: dict[str, list[Figure]] = {}
    cases: dict[str, Callable[[], list[float]]] = {
        f"by {shift:g} of its standard deviations": lambda shift=shift: (  # type: ignore[misc]
            random.standard_normal(40) + shift * (np.arange(40) >= 20)
        ).tolist()
        for shift in (1, 2, 4)
    }
    for before, after in ((0.02, 0.08), (0.1, 0.2), (0.3, 0.4)):
        cases[f"from {per_cent(before)} to {per_cent(after)} of 100 items"] = lambda before=before, after=after: (  # type: ignore[misc]
            drawn([before] * 20 + [after] * 20, random).mean(axis=0).tolist()
        )
    for name, make in cases.items():
        waits, steps = [], []
        resolution = 0.0 if "standard" in name else 0.01
        for _ in range(_count(400, scale)):
            levels = make()
            rung = [alarm.at - 19 for alarm in timeseries.alarms(levels, resolution=resolution) if alarm.at >= 20]
            waits.append(rung[0] if rung else math.inf)
            steps.append([split.at for split in timeseries.splits(levels, resolution=resolution)])
        rows[name] = [
            share(wait <= 5 for wait in waits),
            share(wait <= 20 for wait in waits),
            share(any(abs(at - 20) <= 1 for at in found) for found in steps),
        ]
    return Section(
        title="Nights of a model that changes after the twentieth",
        says="Whether the CUSUM rings by the fifth and by the twentieth night after it, and whether the steps then date it.",
        columns=("rings within 5 nights", "within 20 nights", "dated to a night, after 20"),
        rows=rows,
    )


SECTIONS: tuple[Callable[[float], Section], ...] = (none, some, flat, many, quiet, changed)
"""Each is given the share of its full number of repeats."""
