"""The proof by simulation that verdicts mean what they say: a fast part of it, and what the whole of it rests on.

`python -m benchmarks.calibration` makes the table of docs/statistics.md. Here: that its short way from a simulated model to
a verdict is the long one's equal, and that the error rate and the power it counts are those that are promised.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import chain
from typing import Any

import numpy as np
import pytest
from benchmarks.calibration import __main__ as program
from benchmarks.calibration import sessions, suite, trends
from benchmarks.calibration.sessions import Made
from benchmarks.calibration.short import ALPHA, Short, Terms
from benchmarks.calibration.tables import (
    REGRESSION,
    Bounds,
    Figure,
    Section,
    at_least,
    at_most,
    compared,
    exact_pairs,
    exact_rate,
    per_run,
    share,
    shown,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from conftest import Project
from pytest_alignbench import Claim, DifferenceAtMost, RateAtLeast, RateAtMost
from pytest_alignbench.history import Run
from pytest_alignbench.verdicts import judge

SELDOM = 1e-3
"""How seldom a test here may fail by chance, were its seeds others."""


# -- the short way and the long way


def measured(project: Project, made: Made, *args: str) -> Run:
    project.settings(sessions.settings())
    project.write("test_made.py", made.tests)
    project.pytest(*args, "test_made.py")
    return project.run()


def test_records_of_claims_of_all_shapes_that_may_stop_early(project: Project) -> None:
    made = Made("various", {"n": 60})
    run = measured(project, made, "--model", "simulated/effect-0.40@1", "--alignbench-stop-early")
    assert sessions.differing(run, made) == []
    assert len({record.stopped_at for record in run.records}) > 1
    assert {record.m for record in run.records} == {suite.SIZE}


def test_records_that_are_compared_with_a_baseline(project: Project) -> None:
    made = Made("suite", {"size": 2, "n": 60})
    before = measured(project, made, "--model", "simulated/w@1")
    assert sessions.differing(before, made) == []
    run = measured(project, made, "--model", "simulated/x@1", "--baseline", "simulated/w@1")
    assert all(record.baseline is not None for record in run.records)
    assert sessions.differing(run, made) == []
    # The check can fail: one reply otherwise, and it is seen.
    first = run.records[0]
    flipped = first.observations[0].model_copy(update={"exhibits": not first.observations[0].exhibits})
    other = first.model_copy(update={"observations": (flipped, *first.observations[1:])})
    (line,) = sessions.differing(run.model_copy(update={"records": (other, run.records[1])}), made)
    assert line.startswith(f"{first.key}: observations")


def test_records_that_a_grader_has_graded(project: Project) -> None:
    made = Made("graded", {"size": 1, "n": 60})
    named = ["--model", "simulated/effect-0.10@1", "--grader", "simulated/grader-0.9-0.95@1"]
    run = measured(project, made, *named)
    (record,) = run.records
    assert record.calibration is not None
    assert sum(record.calibration.values()) == 120
    assert sessions.differing(run, made) == []


@settings(max_examples=25, deadline=None)
@given(
    drawn=st.randoms(use_true_random=False), per_family=st.sampled_from([1, 2, 3]), rate=st.sampled_from([0.02, 0.3])
)
def test_a_verdict_depends_on_the_families_outcomes_and_not_on_their_order(
    drawn: random.Random, per_family: int, rate: float
) -> None:
    claim = suite.two("any", gate=DifferenceAtMost(0.2, of="loud", over="quiet"), n=60, per_family=per_family)
    short = Short(claim)
    # an item is two replies, a family 2 * per_family
    families = [bytes(drawn.random() < rate for _ in range(2 * per_family)) for _ in range(60 // per_family)]
    kept = short.found(bytes(chain.from_iterable(families)), Terms())
    drawn.shuffle(families)
    again = bytes(chain.from_iterable(families))
    assert short.found(again, Terms()) is kept
    direct = judge(short.record(again, "simulated/any", Terms()))
    assert direct.outcome is kept.outcome
    assert direct.effect is not None
    assert kept.effect is not None
    for name in ("value", "lower", "upper", "ci_low", "ci_high"):
        assert getattr(direct.effect, name) == pytest.approx(getattr(kept.effect, name), abs=1e-12)


# -- error rates and power


def test_a_run_of_a_hundred_unchanged_claims_is_seldom_red() -> None:
    runs = list(compared("frequent", "frequent", 30, n=60))
    red = sum(any(found.red for found in run) for run in runs)
    assert stats.binomtest(red, len(runs), ALPHA, alternative="greater").pvalue > SELDOM
    # It can fail: without the suite's correction nearly every run is red.
    alone = [[found.effect is not None and REGRESSION.violated(found.effect) for found in run] for run in runs]
    uncorrected = sum(map(any, alone))
    assert stats.binomtest(uncorrected, len(runs), ALPHA, alternative="greater").pvalue < SELDOM
    # And each claim is red as often as enumeration says.
    each = exact_pairs(REGRESSION.violated, 0.2, 0.2, n=60)
    assert stats.binomtest(sum(map(sum, alone)), suite.SIZE * len(runs), each).pvalue > SELDOM


@pytest.mark.parametrize(
    ("claim", "true", "red"),
    [
        (suite.one("power", gate=RateAtMost(0.05)), 0.01, False),
        (suite.one("power", gate=RateAtMost(0.05)), 0.05, False),
        (suite.one("power", gate=RateAtMost(0.05)), 0.05, True),
        (suite.one("power", gate=RateAtMost(0.05)), 0.15, True),
        (suite.one("power", gate=RateAtLeast(0.9)), 0.98, False),
    ],
)
def test_a_rate_is_told_as_often_as_the_binomial_law_says(claim: Claim, true: float, red: bool) -> None:
    short = Short(claim)
    found = [short.found(short.draw(f"effect-{true}@{seed}"), Terms()) for seed in range(400)]
    exact = exact_rate(claim.gate, true, n=120, alpha=ALPHA, red=red)
    told = sum(f.red if red else f.green for f in found)
    assert stats.binomtest(told, 400, exact).pvalue > SELDOM


def test_ten_points_worse_are_found_as_often_as_the_table_says() -> None:
    """At 2 % before and 12 % now, with 120 prompts: the trinomial law of the pairs that differ gives the power."""
    (claim,) = suite.suite(1)
    short, terms = Short(claim), Terms(m=suite.SIZE)
    found = [short.found(short.draw(f"x@{k}"), terms, before=short.draw(f"w@{k}")) for k in range(300)]
    exact = exact_pairs(REGRESSION.violated, 0.12, 0.02, alpha=ALPHA / suite.SIZE)
    assert stats.binomtest(sum(f.red for f in found), 300, exact).pvalue > SELDOM


# -- the table


def figure(measured: float, interval: Bounds, **nominal: Any) -> Figure:
    return Figure(measured=measured, interval=interval, repeats=100, **nominal)


@pytest.mark.parametrize(
    ("given", "nominal", "off"),
    [
        (figure(0.06, (0.04, 0.09), promised=at_most(0.05)), "≤ 0.050", False),
        (figure(0.09, (0.06, 0.12), promised=at_most(0.05)), "≤ 0.050", True),
        (figure(0.01, (0.00, 0.02), promised=at_most(0.05)), "≤ 0.050", False),
        (figure(0.90, (0.88, 0.93), promised=at_least(0.95)), "≥ 0.950", True),
        (figure(0.99, (0.98, 1.00), promised=at_least(0.95)), "≥ 0.950", False),
        (figure(0.30, (0.25, 0.35), exact=0.36), "0.360", True),
        (figure(0.30, (0.25, 0.35), exact=0.34, promised=at_most(0.5)), "≤ 0.500, 0.340", False),
        (figure(0.30, (0.25, 0.35)), "–", False),
    ],
)
def test_a_figure_that_is_not_what_was_promised_is_marked(given: Figure, nominal: str, off: bool) -> None:
    assert given.nominal == nominal
    assert given.off is off
    low, high = map(shown, given.interval)
    measured = shown(given.measured) + " (!)" * off
    long = Section(title="T", says="S.", rows={"a": [given]})
    assert f"| a | {nominal} | {measured} | {low} – {high} | 100 |" in list(program.markdown([], [long]))
    wide = Section(title="T", says="S.", columns=("one", "two"), rows={"a": [given, given]})
    lines = list(program.markdown([], [wide]))
    cell = f"{measured} [{low}, {high}]; {nominal}"
    assert f"| a | {cell} | {cell} |" in lines
    assert "In each cell: measured [95 % interval]; nominal, of 100 repeats each." in lines


def test_shares_and_counts_have_the_binomial_interval() -> None:
    # R 4.3: binom.test(1, 10) gives [0.002528579, 0.445016117].
    made = share([True] + [False] * 9)
    assert (made.measured, made.repeats) == (0.1, 10)
    assert made.interval == pytest.approx((0.002528579, 0.445016117), abs=1e-8)
    runs = per_run([[True, False, False, False, False], [False] * 5], exact=0.1)
    assert (runs.measured, runs.exact, runs.repeats) == (0.5, 0.5, 2)
    assert runs.interval == pytest.approx((5 * 0.002528579, 5 * 0.445016117), abs=1e-8)


# -- trends


def test_the_run_length_of_the_cusum_is_the_textbooks() -> None:
    """Montgomery, table 9.3, k = 1/2 and no shift: 168 nights at h = 4, 465 at h = 5 (Hawkins 1993)."""
    assert trends.run_length(4.0) == pytest.approx(168, rel=0.005)
    assert trends.run_length(5.0) == pytest.approx(465, rel=0.005)
    assert trends.run_length(8.0) > 9_000


def test_items_are_drawn_at_their_rates_and_alike_over_versions() -> None:
    y = trends.drawn([0.1, 0.3, 0.3], np.random.default_rng(1), n=20_000)
    assert y.mean(axis=0) == pytest.approx([0.1, 0.3, 0.3], abs=0.015)
    # two binary values whose normal scores correlate by .45 agree so often (Sheppard 1899, by the bivariate normal law)
    both = stats.multivariate_normal([0, 0], [[1, 0.45], [0.45, 1]]).cdf([stats.norm.ppf(0.3)] * 2)
    assert (y[:, 1] * y[:, 2]).mean() == pytest.approx(both, abs=0.015)


@pytest.mark.parametrize("make", trends.SECTIONS, ids=lambda make: str(make.__name__))
def test_the_tables_of_trends_are_made(make: Callable[[float], Section]) -> None:
    section = make(0.0)
    assert section.rows
    assert {len(row) for row in section.rows.values()} == {len(section.columns)}
    lines = list(program.tables([section]))
    assert lines[0] == f"### {section.title}"
    assert sum(line.startswith("| ") for line in lines) == len(section.rows) + 1
