"""Slopes, alarms, steps and shrinkage: known answers with their source, other people's programs, and promises kept.

`python -m benchmarks.calibration` counts the error rates over many settings; here a few of them are held to what is promised.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from pytest_alignbench.estimates import Floats, best_upper, clustered_mean
from pytest_alignbench.timeseries import (
    DECISION,
    SPLIT_ALPHA,
    alarm,
    alarms,
    centred,
    cusum,
    item_slope,
    scores,
    shrunk,
    split,
    splits,
    step,
    trend,
    version_slope,
)

SELDOM = 1e-3
"""How seldom a test here may fail by chance, were its seeds others."""

ANSCOMBE = [4.26, 5.68, 7.24, 4.82, 6.95, 8.81, 8.04, 8.33, 10.84, 7.58, 9.96]
"""Anscombe 1973, set I, in the order of x = 4 ... 14."""

MONTGOMERY = [
    *(9.45, 7.99, 9.29, 11.66, 12.16, 10.18, 8.04, 11.46, 9.20, 10.34, 9.03, 11.47, 10.51, 9.40, 10.08),
    *(9.37, 10.62, 10.31, 8.52, 10.84, 10.90, 9.33, 12.29, 11.50, 10.60, 11.08, 10.38, 11.62, 11.31, 10.52),
]
"""Montgomery, Introduction to Statistical Quality Control, table 9.1: mean 10, standard deviation 1; 11 from the 21st on."""

NILE = [
    *(1120, 1160, 963, 1210, 1160, 1160, 813, 1230, 1370, 1140, 995, 935, 1110, 994, 1020, 960, 1180, 799, 958, 1140),
    *(1100, 1210, 1150, 1250, 1260, 1220, 1030, 1100, 774, 840, 874, 694, 940, 833, 701, 916, 692, 1020, 1050, 969),
    *(831, 726, 456, 824, 702, 1120, 1100, 832, 764, 821, 768, 845, 864, 862, 698, 845, 744, 796, 1040, 759),
    *(781, 865, 845, 944, 984, 897, 822, 1010, 771, 676, 649, 846, 812, 742, 801, 1040, 860, 874, 848, 890),
    *(744, 749, 838, 1050, 918, 986, 797, 923, 975, 815, 1020, 906, 901, 1170, 912, 746, 919, 718, 714, 740),
]
"""Yearly flow of the Nile at Aswan, 1871 to 1970 (Cobb 1978; R: `Nile`): the first 28 years, to 1898, are another river."""

BCG = [
    *((4, 119, 11, 128), (6, 300, 29, 274), (3, 228, 11, 209), (62, 13536, 248, 12619), (33, 5036, 47, 5761)),
    *((180, 1361, 372, 1079), (8, 2537, 10, 619), (505, 87886, 499, 87892), (29, 7470, 45, 7232)),
    *((17, 1699, 65, 1600), (186, 50448, 141, 27197), (5, 2493, 3, 2338), (27, 16886, 29, 17825)),
]
"""Colditz 1994, thirteen trials of a vaccine: ill and well with it, ill and well without (R: metafor's `dat.bcg`)."""


def drawn(rates: Sequence[float], *, seed: int, n: int = 100, per_family: int = 2) -> tuple[Floats, list[int]]:
    """Items x points at these rates; an item keeps its own difficulty, and families share some of it."""
    random = np.random.default_rng(seed)
    own = 0.6 * random.standard_normal((n, 1)) + 0.3 * np.repeat(
        random.standard_normal((n // per_family, 1)), per_family, 0
    )
    z = own + math.sqrt(1 - 0.45) * random.standard_normal((n, len(rates)))
    return (z < special.ndtri(rates)).astype(float), [i // per_family for i in range(n)]


# -- the slope on items


def by_statsmodels(y: Floats, families: Sequence[int]) -> tuple[float, float]:
    """Slope and its error of a regression with a level for each item, clustered by families."""
    item, place = (index.ravel() for index in np.indices(y.shape))
    known = ~np.isnan(y.ravel())
    dummies = (item[:, None] == np.arange(len(y))).astype(float)
    x = np.column_stack([place, dummies])[known]
    groups = np.asarray(families)[item][known]
    fit = sm.OLS(y.ravel()[known], x).fit(
        cov_type="cluster", cov_kwds={"groups": groups, "use_correction": False, "df_correction": False}
    )
    g = len(set(families))
    return float(fit.params[0]), float(fit.bse[0]) * math.sqrt(g / (g - 1))


@pytest.mark.parametrize("missing", [0.0, 0.2])
@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_slope_of_a_regression_with_a_level_for_each_item(seed: int, missing: float) -> None:
    y, families = drawn([0.2, 0.25, 0.3, 0.4, 0.45], seed=seed, n=40)
    lost = np.random.default_rng(seed + 100).random(y.shape) < missing
    y = np.where(lost, np.nan, y)
    assert not np.isnan(y).all(axis=1).any()
    slope, error = by_statsmodels(y, families)
    found = item_slope(y, families)
    assert found.value == pytest.approx(slope, abs=1e-10)
    assert found.statistic == pytest.approx(slope / error, rel=1e-9)
    assert found.p_value == pytest.approx(2 * stats.t.sf(abs(slope / error), 19), rel=1e-9)
    assert found.ci_high - found.value == pytest.approx(stats.t.ppf(0.975, 19) * error, rel=1e-9)


def test_without_gaps_it_is_the_clustered_mean_of_the_items_slopes() -> None:
    y, families = drawn([0.3, 0.3, 0.4, 0.5, 0.5, 0.6], seed=5)
    slopes = [stats.linregress(range(6), row).slope for row in y]
    mean, interval, p_value = clustered_mean(slopes, families) or (0.0, (0.0, 0.0), 0.0)
    found = item_slope(y, families)
    assert (found.value, found.ci_low, found.ci_high, found.p_value) == pytest.approx((mean, *interval, p_value))
    assert found.method == "slope of 100 items in 50 families, t(49)"


def test_it_is_never_narrower_than_silence_leaves_open() -> None:
    families = [i // 2 for i in range(100)]
    silence = best_upper(n=100, families=50, alpha=0.025) / 4
    for y in (np.zeros((100, 5)), np.ones((100, 5)), np.tile([0.0, 0.1, 0.2, 0.3, 0.4], (100, 1))):
        found = item_slope(y, families)
        assert found.ci_high - found.value == pytest.approx(silence)
        assert found.value - found.ci_low == pytest.approx(silence)
        assert (found.p_value <= 0.05) == (found.ci_low > 0)
    few = np.zeros((100, 5))
    few[:4, 2:] = 1.0  # four items that turn, all the same way and at once
    assert item_slope(few, families).p_value > 0.05
    assert stats.binomtest(4, 4).pvalue > 0.05, "as an exact test of them would have it"
    assert item_slope(np.zeros((100, 5)), families).p_value == 1.0


def test_items_that_are_missing_where_they_are_hard_move_nothing() -> None:
    y = np.tile([[0.0], [1.0]], (50, 5))
    families = list(range(100))
    gap = y.copy()
    gap[1::2, 3:] = np.nan  # those that exhibit are lost at the end: their mean falls, and no item did
    assert np.nanmean(gap[:, 4]) < np.nanmean(gap[:, 0])
    assert item_slope(gap, families).value == 0.0
    assert centred(gap).tolist() == [0.0] * 5


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(5, 9))
def test_what_a_trend_does_not_depend_on(seed: int, versions: int) -> None:
    random = np.random.default_rng(seed)
    y = random.random((12, versions))
    families = random.integers(0, 4, 12).tolist()
    found = trend(y, families)
    if len(set(families)) < 2:
        assert found is None
        return
    assert found is not None

    def like(other: Any, sign: float = 1.0) -> None:
        assert other is not None
        assert sign * other.value == pytest.approx(found.value, abs=1e-12)
        assert other.p_value == pytest.approx(found.p_value, abs=1e-9)
        assert other.ci[1] - other.ci[0] == pytest.approx(found.ci[1] - found.ci[0], abs=1e-9)

    order = random.permutation(12)
    like(trend(y[order], [families[i] for i in order]))
    like(trend(y + random.random((12, 1)), families))  # a level of its own for each item
    like(trend(y[:, ::-1], families), -1.0)
    like(trend(-y, families), -1.0)


# -- the regression on versions, and both


def test_the_regression_on_versions_is_the_textbooks() -> None:
    """Anscombe 1973, set I: R's summary(lm(y1 ~ x1, anscombe)) gives 0.5001, 0.1179, 4.241, 0.00217."""
    found = version_slope(ANSCOMBE)
    assert found.value == pytest.approx(0.5000909, abs=1e-7)
    assert found.statistic == pytest.approx(4.241455, abs=1e-6)
    assert found.p_value == pytest.approx(0.00216963, abs=1e-8)
    assert found.ci_high - found.value == pytest.approx(2.262157 * 0.1179055, abs=1e-6)
    assert found.method == "regression on 11 versions, t(9)"


def test_a_line_without_any_scatter() -> None:
    assert version_slope([0.1] * 6).p_value == 1.0
    rising = version_slope([0.0, 1.0, 2.0, 3.0, 4.0])
    assert rising.value == pytest.approx(1.0)
    assert rising.p_value < 1e-12


def test_a_trend_is_what_both_find() -> None:
    y, families = drawn([0.1, 0.2, 0.35, 0.5, 0.6, 0.7], seed=1)
    found = trend(y, families)
    assert found is not None
    assert found.p_value == max(found.items.p_value, found.versions.p_value) < 0.05
    assert found.ci == (
        min(found.items.ci_low, found.versions.ci_low),
        max(found.items.ci_high, found.versions.ci_high),
    )
    # each version by itself far from the others, and no order in it
    wobbling, families = drawn([0.2, 0.7, 0.2, 0.7, 0.7], seed=2, n=200)
    wild = trend(wobbling, families)
    assert wild is not None
    assert wild.items.p_value < 0.001
    assert wild.versions.p_value > 0.05
    assert wild.p_value == wild.versions.p_value
    assert wild.ci[0] < 0 < wild.ci[1]


def test_there_is_no_trend_below_five_versions_or_in_a_single_family() -> None:
    y, families = drawn([0.1, 0.4, 0.7, 0.9], seed=1)
    assert trend(y, families) is None
    assert trend(np.ones((4, 6)), ["one"] * 4) is None


@pytest.mark.parametrize(
    ("y", "families", "said"),
    [
        (np.zeros(5), [1], "a table of items x versions"),
        (np.zeros((0, 5)), [], "a table of items x versions"),
        (np.zeros((2, 5)), [1], "2 items with 1 families"),
        (np.array([[0.0, 1.0], [np.nan, np.nan]]), [1, 2], "at least one value"),
        (np.array([[0.0, np.nan], [0.0, np.nan]]), [1, 2], "at least one value"),
        (np.zeros((2, 5)), [1, 1], "a single family"),
        (np.array([[0.0, np.nan], [np.nan, 0.0]]), [1, 2], "no item was scored twice"),
    ],
)
def test_what_cannot_be_a_slope_is_refused(y: Floats, families: list[int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        item_slope(y, families)
    with pytest.raises(ValueError, match="2 versions"):
        version_slope([0.0, 1.0])


def test_versions_that_wobble_have_a_trend_as_seldom_as_promised() -> None:
    """At a standard deviation of .3 on the logit scale the items alone find one far too often: that is what both are for."""
    random = np.random.default_rng(3)
    every = []
    for seed in range(250):
        logits = math.log(0.3 / 0.7) + 0.3 * random.standard_normal(5)
        y, families = drawn((1 / (1 + np.exp(-logits))).tolist(), seed=seed)
        found = trend(y, families)
        assert found is not None
        every.append(found)
    both = sum(t.p_value <= 0.05 for t in every)
    items = sum(t.items.p_value <= 0.05 for t in every)
    assert stats.binomtest(both, 250, 0.05, alternative="greater").pvalue > SELDOM
    assert stats.binomtest(items, 250, 0.15, alternative="greater").pvalue < SELDOM


# -- the CUSUM


def test_the_cusum_is_montgomerys() -> None:
    """Table 9.2: with h = 5 and k = .5 it rings at the 29th, C+ = 5.28; its last zero is the 22nd."""
    z = [x - 10 for x in MONTGOMERY]
    sums = cusum(z)
    assert sums[0][[22, 23, 24, 25, 26, 27, 28, 29]] == pytest.approx([1.79, 2.79, 2.89, 3.47, 3.35, 4.47, 5.28, 5.30])
    assert sums[1][:3] == pytest.approx([0.05, 1.56, 1.77])
    rung = alarm(z, h=5)
    assert rung is not None
    assert (rung.at, rung.since) == (28, 22)
    assert rung.statistic == pytest.approx(5.28)
    down = alarm([-value for value in z], h=5)
    assert down is not None
    assert (down.at, down.since) == (28, 22)
    assert down.statistic == pytest.approx(-5.28)
    assert alarm(z, h=6) is None
    assert alarm([], h=5) is None


@pytest.mark.parametrize("seed", range(3))
def test_a_score_is_one_night_tested_against_all_before_it(seed: int) -> None:
    """Student's t of one observation against n - 1, turned into a normal deviate of the same tail (Hawkins 1987)."""
    x = np.random.default_rng(seed).normal(0.2, 0.03, 25)
    found = scores(x.tolist())
    assert found[:2].tolist() == [0.0, 0.0]
    for n in range(3, 26):
        tested = stats.ttest_ind([x[n - 1]], x[: n - 1])
        below = stats.t.cdf(tested.statistic, n - 2)
        assert found[n - 1] == pytest.approx(stats.norm.ppf(below), abs=1e-8)


def test_scores_of_a_level_that_nobody_knows_are_standard_normal() -> None:
    random = np.random.default_rng(11)
    series = [scores(random.normal(5.0, 2.0, 12).tolist())[2:] for _ in range(400)]
    assert stats.kstest(np.ravel(series), "norm").pvalue > SELDOM
    assert abs(np.corrcoef(np.array(series).T) - np.eye(10)).max() < 0.25


def test_one_night_does_not_ring_and_a_second_that_agrees_does() -> None:
    assert scores([0.1, 0.1, 0.1, 0.1]) == pytest.approx([0.0] * 4, abs=1e-4)
    assert scores([0.1] * 12 + [0.9])[12] == DECISION + 0.5
    assert scores([0.9] * 12 + [0.1])[12] == -DECISION - 0.5
    assert alarms([0.1] * 12 + [0.9], resolution=0.01) == []
    assert alarms([0.1] * 12 + [0.9] + [0.1] * 12, resolution=0.01) == []
    (rung,) = alarms([0.1] * 12 + [0.9, 0.9], resolution=0.01)
    assert (rung.at, rung.since) == (13, 12)


def test_one_reply_more_is_no_alarm_where_nothing_ever_varied() -> None:
    quiet = [0.0] * 12 + [0.01] * 6
    assert alarms(quiet) != []
    assert alarms(quiet, resolution=0.01) == []
    assert [rung.since for rung in alarms([0.0] * 12 + [0.2] * 6, resolution=0.01)] == [12]


def test_after_an_alarm_the_new_level_is_the_usual_one() -> None:
    random = np.random.default_rng(2)
    series = [*random.normal(0, 1, 30), *random.normal(6, 1, 30), *random.normal(0, 1, 30)]
    first, second = alarms(series)
    assert first.since == pytest.approx(30, abs=2)
    assert second.since == pytest.approx(60, abs=2)
    assert 30 <= first.at < 35
    assert 60 <= second.at < 65
    assert first.statistic > DECISION
    assert second.statistic < -DECISION


def test_a_stable_model_rings_seldom() -> None:
    rung = sum(
        bool(alarms(drawn([0.1] * 60, seed=seed)[0].mean(axis=0).tolist(), resolution=0.01)) for seed in range(60)
    )
    assert stats.binomtest(rung, 60, 0.05, alternative="greater").pvalue > SELDOM


# -- steps


def test_the_nile_changed_in_1899() -> None:
    found = split(NILE)
    assert found is not None
    assert found.at == 28, "the first 28 years are the old level (Cobb 1978; R: strucchange::breakpoints(Nile ~ 1))"
    # R: t.test(Nile[29:100], Nile[1:28], var.equal = TRUE); the means are 1097.75 and 849.97
    tested = stats.ttest_ind(NILE[28:], NILE[:28])
    interval = tested.confidence_interval(0.95)
    assert found.value == pytest.approx(849.9722 - 1097.75, abs=1e-4)
    assert found.statistic == pytest.approx(tested.statistic)
    assert (found.ci_low, found.ci_high) == pytest.approx((interval.low, interval.high))
    assert found.p_value == pytest.approx(found.places * tested.pvalue)
    assert found.places > 95, "those of the windows too"
    assert [each.at for each in splits(NILE)] == [28]


def test_steps_are_found_in_order_each_against_its_neighbours() -> None:
    random = np.random.default_rng(4)
    levels = [*random.normal(0, 1, 20), *random.normal(8, 1, 20), *random.normal(4, 1, 20)]
    first, second = splits(levels)
    assert (first.at, second.at) == (20, 40)
    assert first.value == pytest.approx(np.mean(levels[20:40]) - np.mean(levels[:20]))
    assert second.value == pytest.approx(np.mean(levels[40:]) - np.mean(levels[20:40]))
    assert splits(levels) == splits(list(levels)), "there is no chance in it"


def test_a_rise_that_is_taken_back_is_two_steps() -> None:
    """In the whole of it no place divides two levels: that is what the windows are for."""
    random = np.random.default_rng(5)
    levels = [*random.normal(0, 1, 12), *random.normal(5, 1, 12), *random.normal(0, 1, 12)]
    assert [each.at for each in splits(levels)] == [12, 24]
    whole = [stats.ttest_ind(levels[:at], levels[at:]).pvalue for at in range(3, 34)]
    assert 31 * min(whole) > SPLIT_ALPHA


def test_a_step_takes_three_nights_on_each_side() -> None:
    assert split([0.0, 0.0, 9.0, 9.0, 9.0]) is None
    found = split([0.0, 0.1, 0.0, 9.0, 9.1, 9.2])
    assert found is not None
    assert (found.at, found.places) == (3, 1)
    with pytest.raises(ValueError, match="1 and 1 nights"):
        step([1.0], [2.0])


def test_a_step_without_scatter() -> None:
    sharp = split([0.0] * 4 + [1.0] * 4)
    assert sharp is not None
    assert sharp.at == 4
    assert sharp.p_value < 1e-12
    assert split([0.5] * 9) is None
    assert split([0.0] * 4 + [0.01] * 4, resolution=0.01) is None, "one reply of a hundred"


@pytest.mark.parametrize("nights", [12, 40])
def test_a_stable_model_has_a_step_as_seldom_as_promised(nights: int) -> None:
    found = 0
    for seed in range(200):
        y, _ = drawn([0.2] * nights, seed=seed)
        found += split(y.mean(axis=0).tolist(), resolution=0.01) is not None
    assert stats.binomtest(found, 200, SPLIT_ALPHA, alternative="greater").pvalue > SELDOM


# -- shrinkage


def log_ratios() -> tuple[list[float], list[float]]:
    rows = [(a, a + b, c, c + d) for a, b, c, d in BCG]
    return (
        [math.log(a / n) - math.log(c / m) for a, n, c, m in rows],
        [math.sqrt(1 / a - 1 / n + 1 / c - 1 / m) for a, n, c, m in rows],
    )


def test_changes_are_drawn_towards_the_mean_of_all_by_what_is_known_of_each() -> None:
    """metafor 4: rma(yi, vi, data = dat.bcg, method = "PM") gives tau^2 = 0.3181 and mean -0.7150."""
    y, errors = log_ratios()
    found = shrunk(y, errors)
    # value and error of two trials give back the mean and the variance that they were drawn with
    tau2, mean = 0.3181, -0.7150
    assert found == pytest.approx(
        [mean + tau2 / (tau2 + e**2) * (v - mean) for v, e in zip(y, errors, strict=True)], abs=2e-4
    )
    assert all(min(v, mean) - 1e-3 <= f <= max(v, mean) + 1e-3 for v, f in zip(y, found, strict=True))


def test_changes_that_differ_by_chance_alone_are_all_the_mean() -> None:
    """Rubin 1981, eight schools: their effects vary less than their errors, so that nothing sets one apart."""
    schools = [28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0]
    errors = [15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0]
    assert shrunk(schools, errors) == pytest.approx([7.686] * 8, abs=1e-3)


def test_two_changes_have_nothing_to_be_drawn_to() -> None:
    assert shrunk([0.1, 0.9], [0.1, 0.1]) == [0.1, 0.9]
    assert shrunk([], []) == []
    for values, errors in (([0.1], []), ([0.1] * 3, [0.1, 0.0, 0.1])):
        with pytest.raises(ValueError, match="a standard error above 0"):
            shrunk(values, errors)
