"""What points say together: which way, how sure, and in which words. No word more than is shown."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import observed
from pytest_alignbench import estimates
from pytest_alignbench.estimates import Calibration, Estimate, Floats, change_between
from pytest_alignbench.movements import Movement, Stretch, movement, said, step_between

ALPHA, MARGIN = 0.05, 0.10


def shares(*counts: int, n: int = 100) -> Floats:
    """Items x points: at each point so many of n exhibit, always the first ones."""
    return np.array([[float(item < count) for count in counts] for item in range(n)])


def stretch(y: Floats, *, per_family: int = 1, **changed: Any) -> Stretch:
    """Points of a rate that is better when it is low. Without more, each item is a family of its own."""
    values = np.asarray(y, dtype=float)
    families = tuple(f"f{item // per_family}" for item in range(len(values)))
    rate = changed.get("rate", True)

    def effect(column: Floats) -> Estimate:
        known = ~np.isnan(column)
        kept = [family for family, here in zip(families, known, strict=True) if here]
        if rate:
            return estimates.rate(column[known], kept, calibration=changed.get("calibration"))
        return estimates.difference(column[known], kept, calibration=changed.get("calibration"))

    given: dict[str, Any] = {
        "names": tuple(f"v{point + 1}" for point in range(values.shape[1])),
        "y": values,
        "families": families,
        "effects": tuple(effect(column) for column in values.T),
        "rate": True,
        "good": "low",
    }
    return Stretch(**given | changed)


def moved(y: Floats, **changed: Any) -> Movement:
    return movement(stretch(y, **changed), margin=MARGIN, alpha=ALPHA)


def told(found: Movement, *, adjusted: float | None = None, of: int = 1) -> tuple[str, str]:
    return said(found, adjusted=found.p_value if adjusted is None else adjusted, of=of, alpha=ALPHA, margin=MARGIN)


# -- a change


def test_the_change_is_the_one_that_comparisons_would_give() -> None:
    """Between two runs on the same prompts: the same value, bounds and p-value as estimates.change_between."""
    before, after = observed([True] * 10 + [False] * 90), observed([False] * 5 + [True] * 30 + [False] * 65)
    known = change_between(after, before, condition="asked", alpha=0.025)
    assert known is not None
    y = np.array([[float(bool(b.exhibits)), float(bool(a.exhibits))] for b, a in zip(before, after, strict=True)])
    found = moved(y)
    assert found.ci is not None
    assert (found.value, found.p_value, *found.ci) == pytest.approx(
        (known.value, known.p_value, known.lower, known.upper)
    )
    assert found.relative is not None
    assert found.relative.value == pytest.approx(3.0)
    assert found.kind == "change"


@pytest.mark.parametrize("points", [2, 3, 4])
def test_below_five_versions_there_is_no_trend_and_no_word_of_one(points: int) -> None:
    found = moved(shares(*([5] * (points - 1)), 60))
    assert (found.kind, found.since, found.until) == ("change", "v1", f"v{points}")
    direction, sentence = told(found)
    assert direction == "worse"
    assert sentence.startswith(
        f"Worse: from v1 to v{points} it went from 5.0 % to 60.0 %, +55.0 points (95 % interval "
    )
    assert "trend" not in sentence


@pytest.mark.parametrize(
    ("good", "counts", "direction"),
    [
        ("low", (5, 60), "worse"),
        ("low", (60, 5), "better"),
        ("high", (5, 60), "better"),
        ("high", (60, 5), "worse"),
        ("steady", (5, 60), "worse"),
        ("steady", (60, 5), "worse"),
    ],
)
def test_which_way_is_better_is_the_gates(good: str, counts: tuple[int, int], direction: str) -> None:
    assert told(moved(shares(*counts), good=good))[0] == direction


def difference(*shown: tuple[int, int], n: int = 100) -> Floats:
    """Items x points of a difference: at each point so many of n exhibit more in the first condition, so many less."""
    return np.array([[1.0 if i < up else -1.0 if i >= n - down else 0.0 for up, down in shown] for i in range(n)])


@pytest.mark.parametrize(
    ("shown", "direction"),
    [
        (((5, 0), (70, 0)), "worse"),
        (((70, 0), (5, 0)), "better"),
        (((0, 5), (0, 70)), "worse"),
        (((0, 70), (0, 5)), "better"),
        (((0, 40), (50, 0)), "unclear"),
    ],
)
def test_where_nearer_to_nothing_is_better(shown: tuple[tuple[int, int], ...], direction: str) -> None:
    found = moved(difference(*shown), rate=False, good="near")
    assert found.alone
    assert told(found)[0] == direction
    if direction == "unclear":
        assert told(found)[1].startswith(
            "Changed, from one side of 0 to the other, and which is nearer to it is not shown"
        )


def test_a_change_of_differences_is_bounded_within_two() -> None:
    found = moved(difference((0, 90), (90, 0)), rate=False)
    assert found.value == pytest.approx(1.8)
    assert found.ci is not None
    assert 1.0 < found.ci[0] < 1.8 < found.ci[1] <= 2.0
    assert found.relative is None, "a difference has no ratio"
    assert "from -90.0 points to +90.0 points, +180.0 points" in found.what


def test_flat_is_shown_to_be_within_the_margin() -> None:
    flat = moved(shares(5, 5))
    assert told(flat)[0] == "flat"
    assert told(flat)[1].endswith("on 100 items that both scored: within the margin of 10.0 points.")
    few = moved(shares(1, 1, n=20))
    assert told(few)[0] == "unclear"
    assert told(few)[1].startswith("Nobody can say yet: from v1 to v2 it went from 5.0 % to 5.0 %")
    sure = moved(shares(20, 40, n=2_000))
    assert sure.alone
    assert told(sure)[0] == "flat"
    assert told(sure)[1].endswith("within the margin of 10.0 points, though it is a change (p < 0.0001).")


@pytest.mark.parametrize("counts", [(5, 40, 5), (5, 40, 5, 5), (*[5] * 9, 40, *[5] * 9)])
def test_a_line_through_points_that_stray_is_not_called_flat(counts: tuple[int, ...]) -> None:
    near = moved(shares(*counts, n=400))
    assert near.flat, "35 of 400 are within the margin of 10 points"
    far = moved(shares(*counts, n=100))
    assert far.value == pytest.approx(0.0)
    assert told(far)[0] == "unclear"


def test_a_single_family_and_an_uncalibrated_grader_say_nothing() -> None:
    single = moved(shares(0, 90), per_family=100)
    assert (single.kind, single.p_value, single.alone) == ("change", None, False)
    assert told(single)[0] == "unclear"
    assert told(single)[1].endswith("a single family of prompts tells nothing of how families differ.")
    assert moved(shares(0, 20, 40, 60, 90), per_family=100).kind == "change"
    for points in (2, 6):
        y = shares(*np.linspace(0, 90, points).astype(int).tolist())
        found = moved(y, calibration=Calibration(tp=20, fn=1, tn=20, fp=1))
        assert told(found)[0] == "unclear"
        assert "its grader is uncalibrated, so nothing rests on it" in told(found)[1]
        assert not found.flat
    assert not moved(shares(*[5] * 6), calibration=Calibration(tp=20, fn=1, tn=20, fp=1)).flat


def test_a_graded_movement_is_larger_by_what_the_grader_hides() -> None:
    calibration = Calibration(tp=90, fn=10, tn=95, fp=5)
    j, error = 0.85, math.sqrt(0.9 * 0.1 / 100 + 0.95 * 0.05 / 100)
    for counts in ((10, 60), (10, 20, 30, 40, 50), (*[10] * 5, *[60] * 5)):
        nights = len(counts) == 10
        raw = moved(shares(*counts), nights=nights)
        found = moved(shares(*counts), nights=nights, calibration=calibration)
        assert raw.value is not None
        assert found.value is not None
        assert found.value == pytest.approx(raw.value / j)
        assert raw.ci is not None
        assert found.ci is not None
        assert found.ci[1] - found.ci[0] > (raw.ci[1] - raw.ci[0]) / j
        assert told(found)[0] == told(raw)[0] == "worse"
        if len(counts) > 2:
            assert found.p_value == raw.p_value
            half = math.hypot(raw.ci[1] - raw.value, 1.96 * error * raw.value / j) / j
            assert found.ci[1] - found.value == pytest.approx(half, rel=1e-4)


def test_points_that_share_no_item_are_not_compared() -> None:
    y = np.full((40, 2), np.nan)
    y[:20, 0], y[20:, 1] = 0.0, 1.0
    found = moved(y)
    assert told(found) == ("unclear", "Nothing to compare: v1 and v2 share no item that was scored at both.")
    assert (found.kind, found.value) == ("nothing", None)
    assert step_between(stretch(y)) is None


def test_a_step_is_the_change_without_its_test() -> None:
    y = shares(5, 30)
    found, whole = step_between(stretch(y)), moved(y)
    assert found is not None
    assert (found.value, (found.lower, found.upper), found.p_value) == (whole.value, whole.ci, None)


# -- a trend


def test_a_trend_takes_five_versions_and_both_tests() -> None:
    found = moved(shares(5, 12, 24, 30, 42), per_family=2)
    assert found.kind == "trend"
    slope, regression, kendall = found.tests
    assert [test.name for test in found.tests] == ["slope on items", "regression on versions", "Kendall"]
    assert kendall.p_value == pytest.approx(2 / 120)
    assert found.p_value == max(slope.p_value or 0, regression.p_value or 0)
    assert found.whole == pytest.approx(4 * (found.value or 0))
    direction, sentence = told(found)
    assert direction == "worse"
    assert sentence.startswith(
        "Worse: over 5 versions, v1 to v5, it went from 5.0 % to 42.0 %, +9.2 points a version (95 % "
    )
    assert re.search(
        r"a trend takes both tests: slope on 100 items p < 0\.0001, regression on 5 versions p = 0\.00", sentence
    )
    assert told(moved(shares(42, 30, 24, 12, 5)))[0] == "better"


def test_versions_that_wobble_are_no_trend_though_the_items_agree() -> None:
    found = moved(shares(10, 50, 15, 45, 55))
    slope, regression, _ = found.tests
    assert slope.p_value is not None
    assert regression.p_value is not None
    assert slope.p_value < 0.001 < 0.05 < regression.p_value == found.p_value
    direction, sentence = told(found)
    assert direction == "unclear"
    assert sentence.endswith(
        "the items agree on a slope, but versions that wobble as these do would show one as often."
    )


def test_a_trend_is_flat_if_all_of_its_versions_together_are_within_the_margin() -> None:
    level = moved(shares(5, 6, 5, 4, 5, n=400))
    assert told(level)[0] == "flat"
    assert level.ci is not None
    assert 4 * max(map(abs, level.ci)) <= MARGIN
    assert not moved(shares(5, 6, 5, 4, 5, n=20)).flat


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 60), min_size=5, max_size=8), st.sampled_from(["low", "high", "steady"]))
def test_what_is_called_better_or_worse_has_an_interval_without_0(counts: list[int], good: str) -> None:
    found = moved(shares(*counts, n=60), per_family=2, good=good)
    direction, _ = told(found)
    assert found.ci is not None
    assert found.alone == (not found.ci[0] <= 0 <= found.ci[1])
    assert (direction in ("better", "worse")) == (found.alone and not found.flat)


# -- what is missing


def lost(y: Floats, points: Sequence[int], items: Sequence[int]) -> Floats:
    found = y.copy()
    found[np.ix_(items, points)] = np.nan
    return found


@pytest.mark.parametrize(("points", "last"), [(2, 1), (5, 4), (8, 7)])
def test_what_is_missing_could_take_it_back(points: int, last: int) -> None:
    """Twenty of a hundred lost where the rate had risen by twelve: had they all been good, it would not have."""
    nights = points == 8
    counts = (8, 20) if points == 2 else (8, 11, 14, 17, 20) if points == 5 else (8, 8, 9, 8, 20, 20, 21, 20)
    y = shares(*counts)
    whole, gaps = moved(y, nights=nights), moved(lost(y, [last], range(70, 100)), nights=nights)
    assert told(whole)[0] == "worse"
    assert whole.p_value is not None
    assert gaps.p_value is not None
    assert gaps.p_value > whole.p_value
    if points < 8:
        assert told(gaps)[0] == "unclear"
        assert told(gaps)[1].endswith("the 30 values that are missing could change that.")


def test_little_that_is_missing_leaves_what_is_plain() -> None:
    for nights, counts in ((False, (2, 60)), (False, (2, 20, 40, 60, 80)), (True, (2, 2, 3, 2, 60, 60, 61, 60))):
        gaps = moved(lost(shares(*counts), [1], [99]), nights=nights)
        assert told(gaps)[0] == "worse", counts
        level = moved(lost(shares(*[5] * len(counts), n=400), [1], [399]), nights=nights)
        assert told(level)[0] == "flat", counts


def test_what_is_missing_could_be_beyond_the_margin() -> None:
    y = shares(5, 5, n=200)
    assert moved(y).flat
    assert not moved(lost(y, [1], range(150, 200))).flat
    items = lost(y, [0, 1], range(100, 200))
    assert moved(items).flat, "items that neither point has are those of others"


# -- nights


NIGHTS = (8, 9, 8, 7, 8, 9, 8, 8, 9, 7)


def test_a_step_is_named_by_its_night() -> None:
    found = moved(shares(*NIGHTS, *(count + 25 for count in NIGHTS)), nights=True)
    assert found.kind == "nightly"
    assert told(found)[0] == "worse"
    assert "in 20 nights, v1 to v20, there is a step on v11, +25.0 points (95 % interval " in told(found)[1]
    assert [test.name for test in found.tests] == ["CUSUM", "step"]
    assert found.tests[0].method.startswith("self-starting, k 0.5, alarm above 8: on v1")
    assert found.tests[1].p_value == pytest.approx(found.p_value)


def test_of_several_steps_the_last_is_the_finding() -> None:
    found = moved(shares(*NIGHTS, *(count + 30 for count in NIGHTS), *NIGHTS), nights=True)
    assert told(found)[0] == "better"
    assert "the last of 2 steps is on v21, -30.0 points" in told(found)[1]
    assert found.value == pytest.approx(-0.3)


def test_an_alarm_is_told_before_a_step_is_clear() -> None:
    found = moved(shares(*NIGHTS, *NIGHTS, 30, 31), nights=True)
    direction, sentence = told(found)
    assert direction == "worse"
    assert "the CUSUM rang on v22: since v21 it is +22.4 points" in sentence
    assert found.p_value is None, "a sum has no p-value, and needs none"
    higher = [count + 30 for count in NIGHTS]
    again = moved(shares(*NIGHTS, *higher, *higher, 70, 71), nights=True)
    assert "the CUSUM rang on v32: since v31" in told(again)[1]
    assert again.value == pytest.approx(0.705 - 0.381, abs=1e-9), "against the level since the step before"


def test_nights_without_a_step() -> None:
    found = moved(shares(*NIGHTS, *NIGHTS), nights=True)
    direction, sentence = told(found)
    assert direction == "flat"
    assert "there is no clear step; the later half of them is +0.0 points" in sentence
    assert found.tests[0].method.endswith(": none")
    few = moved(shares(*(count % 5 for count in NIGHTS), n=8), nights=True)
    assert told(few)[0] == "unclear"
    assert not few.alone


def test_fewer_than_six_nights_are_a_change() -> None:
    found = moved(shares(8, 9, 8, 9, 60), nights=True)
    assert (found.kind, told(found)[0]) == ("change", "worse")


# -- among others


def test_what_is_shown_alone_may_be_chance_among_many() -> None:
    found = moved(shares(5, 16))
    assert found.p_value is not None
    assert found.p_value < 0.05
    assert told(found, of=1)[0] == "worse"
    assert "Benjamini" not in told(found, of=1)[1]
    direction, sentence = told(found, adjusted=0.31, of=60)
    assert direction == "unclear"
    assert sentence.endswith(
        "alone it would count as worse, but of so many series as much turns up by chance "
        "(adjusted for 60 series (Benjamini-Hochberg) p = 0.3100)."
    )
    assert "adjusted for 60 series (Benjamini-Hochberg) p = 0.0200" in told(found, adjusted=0.02, of=60)[1]


def test_an_adjusted_p_value_makes_nothing_of_what_is_not_shown_alone() -> None:
    found = replace(moved(shares(*NIGHTS, *NIGHTS), nights=True), flat=False)
    assert told(found, adjusted=0.0001, of=60)[0] == "unclear"


def test_the_error_of_the_whole_movement_is_the_intervals() -> None:
    found = moved(shares(5, 12, 24, 30, 42))
    assert found.ci is not None
    assert found.error == pytest.approx(4 * (found.ci[1] - found.ci[0]) / (2 * 1.959964))
    assert Movement(kind="nothing").error is None
