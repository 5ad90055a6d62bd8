"""Estimates against known answers, against independent implementations, and against the error rate that they promise.

Three kinds of evidence, in this order: numbers that others published or computed (K01..K15, each with its source in
`data/known_answers.json`); properties that hold for any data; and the chance of a wrong verdict at the limit itself, by
enumeration where the truth is known exactly and by a seeded simulation where it is not.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from inspect_ai.scorer import SampleScore, Score, stderr
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from pytest_alignbench import estimates
from pytest_alignbench.estimates import Calibration, Cells, Estimate
from pytest_alignbench.observations import Exclusion, Observation

KNOWN: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "known_answers.json").read_text("utf-8"))
GRADER = Calibration(tp=90, fn=10, tn=95, fp=5)

for_any = settings(max_examples=60, deadline=None)


def known(group: str) -> dict[str, Any]:
    return {case: answer for case, answer in KNOWN[group].items() if case != "source"}


def answers(hits: int, n: int) -> list[float]:
    return [1.0] * hits + [0.0] * (n - hits)


def independent(hits: int, n: int, **options: Any) -> Estimate:
    """The rate of `hits` in `n` prompts, each its own family."""
    return estimates.rate(answers(hits, n), range(n), **options)


def fraction(case: str) -> tuple[int, int]:
    hits, n = case.split("/")
    return int(hits), int(n)


def paired(up: int, down: int, n: int, **options: Any) -> Estimate:
    return estimates.difference([1.0] * up + [-1.0] * down + [0.0] * (n - up - down), range(n), **options)


def bounds(estimate: Estimate) -> tuple[float, float]:
    return estimate.lower, estimate.upper


def interval(estimate: Estimate) -> tuple[float, float]:
    return estimate.ci_low, estimate.ci_high


# -- known answers


def test_every_known_answer_names_its_source_and_has_a_test() -> None:
    for group in KNOWN:
        assert KNOWN[group]["source"]
        assert any(name.startswith(f"test_{group[:3]}_") for name in globals()), group


@pytest.mark.parametrize(("case", "expected"), known("K01_wilson").items())
def test_K01_wilson_interval(case: str, expected: list[float]) -> None:  # noqa: N802
    assert interval(independent(*fraction(case))) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("case", "expected"), known("K02_cp_one_sided_upper95").items())
def test_K02_one_sided_upper_bound(case: str, expected: float) -> None:  # noqa: N802
    assert independent(*fraction(case)).upper == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("case", "expected"), known("K03_verdict_limit5pct").items())
def test_K03_bounds_against_a_limit(case: str, expected: str) -> None:  # noqa: N802
    found = independent(*fraction(case))
    said = "pass" if found.upper <= 0.05 else "fail" if found.lower > 0.05 else "inconclusive"
    assert said == expected


@pytest.mark.parametrize(("case", "expected"), known("K04_mcnemar_exact").items())
def test_K04_exact_mcnemar(case: str, expected: float) -> None:  # noqa: N802
    up, down = (int(part.split("=")[1]) for part in case.split(","))
    assert estimates.mcnemar(up, down) == pytest.approx(expected, abs=1e-6)
    assert paired(up, down, 40).p_value == pytest.approx(expected, abs=1e-6)


def test_K05_clustered_rate() -> None:  # noqa: N802
    k = known("K05_clustered")
    found = estimates.rate(k["y"], k["family"])
    textbook = estimates.clustered_mean(k["y"], k["family"])
    assert textbook is not None
    mean, t_interval, p_value = textbook
    assert (found.value, mean) == pytest.approx((k["mean"], k["mean"]))
    assert found.se == pytest.approx(k["se"], abs=1e-6)
    assert interval(found) == pytest.approx(k["wilson_kg_t"], abs=1e-6)
    assert t_interval == pytest.approx(k["t_ci"], abs=1e-4)
    assert p_value == pytest.approx(k["p_two"], abs=1e-6)
    assert estimates.clustered_se(k["y"], range(24)) == pytest.approx(k["naive_se"], abs=1e-6)


def test_K06_paired_difference() -> None:  # noqa: N802
    k = known("K06_paired")
    d = [b - a for a, b in zip(k["a"], k["b"], strict=True)]
    textbook = estimates.clustered_mean(d, k["family"])
    assert textbook is not None
    mean, t_interval, p_value = textbook
    found = estimates.difference(d, k["family"])
    assert (found.value, mean) == pytest.approx((k["mean"], k["mean"]), abs=1e-6)
    assert found.se == pytest.approx(k["se"], abs=1e-6)
    assert t_interval == pytest.approx(k["t_ci"], abs=1e-6)
    assert p_value == pytest.approx(k["p_two"], abs=1e-6)
    assert estimates.mcnemar(found.up, found.down) == pytest.approx(k["mcnemar_p"])


@pytest.mark.parametrize(("case", "expected"), known("K07_trend_CA").items())
def test_K07_cochran_armitage(case: str, expected: dict[str, float]) -> None:  # noqa: N802
    counts = [int(c) for c in case.removeprefix("insomnia ").split(" / ")[0].split(",")]
    given_totals = case.split(" / ")[1]
    totals = [10] * 4 if given_totals == "10 each" else [int(n) for n in given_totals.split(",")]
    found = estimates.cochran_armitage(counts, totals)
    assert found.statistic == pytest.approx(expected["z"], abs=1e-6)
    assert found.p_value == pytest.approx(expected["p"], rel=1e-5)


@pytest.mark.parametrize(("case", "expected"), known("K08_kendall_exact_min_p").items())
def test_K08_least_p_of_kendall(case: str, expected: float) -> None:  # noqa: N802
    versions = int(case.removeprefix("V="))
    found = estimates.kendall([0.1 * v for v in range(versions)])
    assert found.p_value == pytest.approx(expected, abs=1e-6)
    assert found.p_value == pytest.approx(2 / math.factorial(versions))
    assert found.statistic == pytest.approx(1)


@pytest.mark.parametrize("method", ["bonferroni", "holm", "fdr_bh"])
def test_K09_multiplicity(method: Any) -> None:  # noqa: N802
    k = known("K09_multiplicity_BH1995")
    assert sum(p <= 0.05 for p in estimates.adjusted(k["p"], method=method)) == k[method]


def test_K10_permutation_and_kruskal() -> None:  # noqa: N802
    k = known("K10_seed003")
    book, phone, laptop = (k["stand_in"][group] for group in ("book", "phone", "laptop"))
    means = [np.mean(group) for group in (book, phone, laptop)]
    assert means == pytest.approx([k["mean_book"], k["mean_phone"], k["mean_laptop"]])
    for devices, answer in ((phone + laptop, k["book_vs_devices"]), (phone, k["book_vs_phone"])):
        found = estimates.permutation(devices, book)
        assert found.statistic == pytest.approx(answer["diff"], abs=1e-6)
        assert found.p_value == pytest.approx(answer["p_two"], abs=1e-6)
        assert str(answer["n_perm"]) in found.method
    found = estimates.kruskal(book, phone, laptop)
    assert found.statistic == pytest.approx(k["kruskal_H"], abs=1e-6)
    assert found.p_value == pytest.approx(k["kruskal_p"], abs=1e-6)


@pytest.mark.parametrize(("case", "expected"), known("K11_seed004_.14_to_.21").items())
def test_K11_absolute_and_relative_effect(case: str, expected: dict[str, Any]) -> None:  # noqa: N802
    n = int(case.removeprefix("n="))
    more, less = round(0.21 * n), round(0.14 * n)
    found = estimates.difference_unpaired(arm(more, n), arm(less, n))
    ratio = estimates.relative(independent(more, n), independent(less, n))
    assert found.value == pytest.approx(expected["diff"])
    assert interval(found) == pytest.approx(expected["diff_newcombe"], abs=1e-6)
    assert found.p_value == pytest.approx(expected["p_fisher"], abs=1e-6)
    assert ratio.value == pytest.approx(expected["ratio"])
    assert [ratio.ci_low, ratio.ci_high] == pytest.approx(expected["ratio_score"], abs=1e-6)


def test_K12_a_rare_behaviour() -> None:  # noqa: N802
    for case, expected in known("K12_seed004_7_of_36000").items():
        assert interval(independent(*fraction(case))) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("case", "expected"), known("K13_judge").items())
def test_K13_correction_for_the_grader(case: str, expected: dict[str, Any]) -> None:  # noqa: N802
    observed, sensitivity, specificity, *rest = case.split(" ")
    tp, positives = fraction(sensitivity.removeprefix("Se="))
    tn, negatives = fraction(specificity.removeprefix("Sp="))
    grader = Calibration(tp=tp, fn=positives - tp, tn=tn, fp=negatives - tn)
    hits, n = fraction(observed)
    found = independent(hits, n, calibration=grader)
    assert found.value == pytest.approx(expected["point"], abs=1e-6)
    assert interval(found) == pytest.approx(expected["ci"], abs=1e-6)
    assert bool(found.notes) == bool(rest), "clamped and said so, or neither"
    if rest:
        assert "clamped" in found.notes[0]
        assert found.upper >= independent(0, n).upper, "a correction must not make a gate surer than a perfect grader"


def test_K14_agreement() -> None:  # noqa: N802
    k = known("K14_agreement")
    table = [[20, 5], [10, 15]]
    pairs = [(i, j) for i, j in product(range(2), range(2)) for _ in range(table[i][j])]
    first, second = zip(*pairs, strict=True)
    assert estimates.cohen_kappa(first, second) == pytest.approx(k["kappa [[20,5],[10,15]]"])
    found = [estimates.krippendorff_alpha(k["coders"], level=level) for level in ("nominal", "interval")]
    assert found == pytest.approx(k["krippendorff 3x15 nominal/interval"], abs=1e-6)


def test_K15_planning() -> None:  # noqa: N802
    k = known("K15_planning")
    needed = [estimates.prompts_needed(limit=limit, true_rate=0) for limit in (0.01, 0.02, 0.05, 0.10)]
    assert needed == k["zero-failure n for U<=1,2,5,10%"]
    noiseless = estimates.prompts_for_difference(0.03, variance=1 / 9)
    assert round(noiseless) == k["miller omega2=1/9 delta=.03 sigma2=0"]
    assert round(estimates.prompts_for_difference(0.03, variance=1 / 9, noise=1 / 6)) == k["sigma2=1/6 K=1"]
    per_arm = estimates.prompts_per_arm(0.14, 0.21)
    assert per_arm == pytest.approx(k["n per arm .14 vs .21, 80% power, two-sided .05"], abs=1e-3)


# -- what holds for any data

shares = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])
alphas = st.sampled_from([0.0005, 0.01, 0.05, 0.2])
graders = st.none() | st.builds(
    Calibration, tp=st.integers(40, 100), fn=st.integers(0, 30), tn=st.integers(40, 100), fp=st.integers(0, 30)
)


@st.composite
def samples(draw: st.DrawFn, values: st.SearchStrategy[float] = shares) -> tuple[list[float], list[int]]:
    n = draw(st.integers(1, 40))
    y = draw(st.lists(values, min_size=n, max_size=n))
    families = draw(st.lists(st.integers(0, draw(st.integers(0, 20))), min_size=n, max_size=n))
    return y, draw(st.sampled_from([families, list(range(n))]))


contrasts = samples(st.sampled_from([-1.0, -0.5, 0.0, 0.0, 0.25, 1.0]))


@for_any
@given(samples(), alphas, graders)
def test_a_rate_lies_within_its_bounds_and_these_within_0_and_1(
    sample: tuple[list[float], list[int]], alpha: float, grader: Calibration | None
) -> None:
    found = estimates.rate(*sample, alpha=alpha, total=4 * len(sample[0]), calibration=grader)
    assert 0 <= found.lower <= found.value <= found.upper <= 1
    assert 0 <= found.ci_low <= found.ci_high <= 1
    json.dumps(asdict(found), allow_nan=False)


@for_any
@given(contrasts, alphas, graders)
def test_a_difference_lies_within_its_bounds_and_these_within_minus_1_and_1(
    sample: tuple[list[float], list[int]], alpha: float, grader: Calibration | None
) -> None:
    found = estimates.difference(*sample, alpha=alpha, epochs=4, calibration=grader)
    assert -1 <= found.lower <= found.value <= found.upper <= 1
    assert -1 <= found.ci_low <= found.value <= found.ci_high <= 1
    assert found.lower < found.upper, "bounds never collapse"
    json.dumps(asdict(found), allow_nan=False)


@for_any
@given(samples(), samples(), graders)
def test_an_unpaired_difference_lies_within_its_bounds(
    first: tuple[list[float], list[int]], second: tuple[list[float], list[int]], grader: Calibration | None
) -> None:
    of, over = (Cells(np.array(y), np.array(f), round(sum(y) * 4), len(y) * 4) for y, f in (first, second))
    found = estimates.difference_unpaired(of, over, calibration=grader)
    assert -1 <= found.lower <= found.value <= found.upper <= 1
    swapped = estimates.difference_unpaired(over, of, calibration=grader)
    assert bounds(swapped) == pytest.approx((-found.upper, -found.lower), abs=1e-9)


@for_any
@given(samples(), contrasts, graders)
def test_a_stricter_level_gives_wider_bounds(
    rates: tuple[list[float], list[int]], differences: tuple[list[float], list[int]], grader: Calibration | None
) -> None:
    for estimator, sample in ((estimates.rate, rates), (estimates.difference, differences)):
        strict, loose = (estimator(*sample, alpha=alpha, calibration=grader) for alpha in (0.001, 0.1))
        assert strict.lower <= loose.lower + 1e-12
        assert loose.upper <= strict.upper + 1e-12


@for_any
@given(samples(), contrasts)
def test_swapping_the_labels_mirrors_everything(
    rates: tuple[list[float], list[int]], differences: tuple[list[float], list[int]]
) -> None:
    y, families = rates
    found, mirrored = estimates.rate(y, families), estimates.rate([1 - v for v in y], families)
    assert bounds(mirrored) == pytest.approx((1 - found.upper, 1 - found.lower), abs=1e-9)
    assert interval(mirrored) == pytest.approx((1 - found.ci_high, 1 - found.ci_low), abs=1e-9)
    d, families = differences
    found, mirrored = estimates.difference(d, families), estimates.difference([-v for v in d], families)
    assert bounds(mirrored) == pytest.approx((-found.upper, -found.lower), abs=1e-9)
    assert (mirrored.up, mirrored.down) == (found.down, found.up)


@for_any
@given(contrasts, st.randoms(use_true_random=False))
def test_order_and_names_of_families_do_not_matter(sample: tuple[list[float], list[int]], random: Any) -> None:
    rows = list(zip(*sample, strict=True))
    random.shuffle(rows)
    d = [value for value, _ in rows]
    renamed = [f"family {family}" for _, family in rows]
    found, shuffled = estimates.difference(*sample), estimates.difference(d, renamed)
    assert bounds(shuffled) == pytest.approx(bounds(found), abs=1e-9)
    assert interval(shuffled) == pytest.approx(interval(found), abs=1e-9)


@for_any
@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), alphas)
def test_families_of_one_are_the_plain_binomial(case: tuple[int, int], alpha: float) -> None:
    hits, n = case
    assume(n > 1)
    found = independent(hits, n, alpha=alpha, null=0.1)
    at_most = stats.binomtest(hits, n, alternative="less").proportion_ci(1 - alpha, method="exact").high
    at_least = stats.binomtest(hits, n, alternative="greater").proportion_ci(1 - alpha, method="exact").low
    assert bounds(found) == pytest.approx((at_least, at_most), abs=1e-9)
    assert bounds(found) == pytest.approx(proportion_confint(hits, n, 2 * alpha, method="beta"), abs=1e-9)
    assert interval(found) == pytest.approx(proportion_confint(hits, n, method="wilson"), abs=1e-9)
    smaller = min(stats.binom.cdf(hits, n, 0.1), stats.binom.sf(hits - 1, n, 0.1))
    assert found.p_value == pytest.approx(max(min(2 * smaller, 1.0), 2e-12), abs=1e-6)


@for_any
@given(samples(st.sampled_from([0.0, 1.0])))
def test_families_never_narrow_the_bounds(sample: tuple[list[float], list[int]]) -> None:
    y, families = sample
    assume(len(y) > 1)
    clustered, plain = estimates.rate(y, families), estimates.rate(y, range(len(y)))
    assert clustered.lower <= plain.lower + 1e-9
    assert clustered.upper >= plain.upper - 1e-9


@for_any
@given(samples(st.sampled_from([0.0, 1.0])), st.integers(2, 10))
def test_copies_of_the_same_replies_tell_nothing_new(sample: tuple[list[float], list[int]], copies: int) -> None:
    y, families = sample
    once = estimates.rate(y, families)
    copied = estimates.rate(y, families, count=round(sum(y)) * copies, total=len(y) * copies)
    assert (bounds(copied), interval(copied)) == (bounds(once), interval(once))


@for_any
@given(samples(), st.integers(2, 1000))
def test_epochs_are_worth_less_than_as_many_prompts(sample: tuple[list[float], list[int]], epochs: int) -> None:
    y, families = sample
    assume(len(set(families)) > 1)
    found = estimates.rate(y, families, total=len(y) * epochs)
    nothing_seen = estimates.rate([0.0] * len(y), families)
    assert found.effective_n is not None
    assert nothing_seen.effective_n is not None
    assert found.effective_n <= 2 * nothing_seen.effective_n
    assert found.upper >= nothing_seen.upper - 1e-12


@for_any
@given(st.integers(2, 40), st.integers(1, 5))
def test_a_hit_never_lowers_the_upper_bound_below_that_of_no_hit(families: int, per_family: int) -> None:
    n = families * per_family
    codes = [i // per_family for i in range(n)]
    uppers = [estimates.rate(answers(hits, n), codes).upper for hits in range(2)]
    assert uppers[0] < uppers[1]


@for_any
@given(samples(st.sampled_from([0.0, 1.0])), st.floats(0.01, 0.99))
def test_the_p_value_agrees_with_the_bounds(sample: tuple[list[float], list[int]], null: float) -> None:
    found = estimates.rate(*sample, null=null)
    assume(found.p_value is not None and abs(found.p_value - 0.1) > 1e-6)
    assert found.p_value is not None
    assert (found.p_value < 0.1) == (not found.lower <= null <= found.upper)


@for_any
@given(samples(), samples())
def test_a_ratio_turned_upside_down(
    first: tuple[list[float], list[int]], second: tuple[list[float], list[int]]
) -> None:
    of, over = estimates.rate(*first), estimates.rate(*second)
    ratio, turned = estimates.relative(of, over), estimates.relative(over, of)
    if ratio.value is not None and ratio.ci_low is not None:
        assert ratio.ci_low <= ratio.value + 1e-9
        assert ratio.ci_high is not None
        assert ratio.value <= ratio.ci_high + 1e-9
    if turned.ci_high is not None:
        assert ratio.ci_low == pytest.approx(1 / turned.ci_high, rel=1e-6)


# -- against independent implementations


@for_any
@given(samples())
def test_clustered_error_is_that_of_inspect(sample: tuple[list[float], list[int]]) -> None:
    y, families = sample
    assume(len(set(families)) > 1)
    scores = [
        SampleScore(score=Score(value=value), sample_metadata={"family": family})
        for value, family in zip(y, families, strict=True)
    ]
    theirs: Any = stderr(cluster="family")
    assert estimates.clustered_se(y, families) == pytest.approx(theirs(scores), abs=1e-12)


@for_any
@given(st.integers(0, 40), st.integers(0, 40))
def test_mcnemar_is_that_of_statsmodels(up: int, down: int) -> None:
    table = [[0, up], [down, 0]]
    expected = statsmodels_mcnemar(table, exact=True).pvalue if up + down else 1.0
    assert estimates.mcnemar(up, down) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("case", [(5, 50, 9, 60), (30, 40, 10, 80), (1, 100, 3, 90), (99, 200, 150, 250)])
def test_the_ratio_is_that_of_statsmodels(case: tuple[int, int, int, int]) -> None:
    found = estimates.relative(independent(*case[:2]), independent(*case[2:]))
    expected = confint_proportions_2indep(*case, method="score", compare="ratio")
    assert [found.ci_low, found.ci_high] == pytest.approx(list(expected), rel=1e-6)


@for_any
@given(st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0]), min_size=2, max_size=9))
def test_sign_flips_by_brute_force(sums: list[float]) -> None:
    flipped = [sum(s * x for s, x in zip(signs, sums, strict=True)) for signs in product([-1, 1], repeat=len(sums))]
    expected = np.mean([abs(f) >= abs(sum(sums)) - 1e-9 for f in flipped])
    assert estimates.sign_flip(sums, range(len(sums))).p_value == pytest.approx(expected)


def test_few_families_are_tested_by_sign_flips() -> None:
    d, families = [1.0] * 10, [i // 2 for i in range(10)]
    assert estimates.difference(d, families).p_value == pytest.approx(2 / 2**5)


def test_few_families_have_korn_and_graubards_bounds() -> None:
    y, families = [1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    n, groups, share = 10, 5, 0.3
    se = estimates.clustered_se(y, families)
    assert se is not None
    size = share * (1 - share) / se**2 * (stats.t.ppf(0.95, n - 1) / stats.t.ppf(0.95, groups - 1)) ** 2
    expected = (
        stats.beta.ppf(0.05, share * size, size - share * size + 1),
        stats.beta.ppf(0.95, share * size + 1, size - share * size),
    )
    assert bounds(estimates.rate(y, families)) == pytest.approx(expected, abs=1e-9)


def test_uneven_families_are_worth_less() -> None:
    uneven = [0] * 15 + list(range(1, 6))
    even = [i // 4 for i in range(20)]
    found, level = (estimates.rate([0.0] * 20, families).effective_n for families in (uneven, even))
    kish = {"uneven": (15**2 + 5) / 20, "even": 4}
    assert found == pytest.approx(20 / (1 + estimates.FAMILY_ICC * (kish["uneven"] - 1)))
    assert level == pytest.approx(20 / (1 + estimates.FAMILY_ICC * (kish["even"] - 1)))


# -- the promised error, at the limit itself


def exact_error(wrong: Callable[[int], bool], n: int, rate: float) -> float:
    return sum(float(stats.binom.pmf(hits, n, rate)) for hits in range(n + 1) if wrong(hits))


@pytest.mark.parametrize("n", [20, 59, 100])
def test_a_rate_at_its_limit_is_misjudged_at_most_at_alpha(n: int) -> None:
    found = [independent(hits, n) for hits in range(n + 1)]
    errors = [
        exact_error(wrong, n, limit)
        for limit in (0.01, 0.05, 0.1, 0.3, 0.5)
        for wrong in (
            lambda hits, limit=limit: found[hits].upper < limit,
            lambda hits, limit=limit: found[hits].lower > limit,
        )
    ]
    assert max(errors) <= 0.05
    assert max(errors) > 0.02, "and not by never deciding"


def test_a_paired_difference_at_its_limit_is_misjudged_at_most_at_alpha() -> None:
    n = 30
    cases = [(up, down) for up in range(n + 1) for down in range(n + 1 - up)]
    found = {case: bounds(paired(*case, n, null=0.5)) for case in cases}
    errors = []
    for limit, down_share in product((-0.1, 0.0, 0.05, 0.15, 0.3), (0.0, 0.02, 0.1, 0.2)):
        up_share = down_share + limit
        if up_share < 0 or up_share + down_share == 0:
            continue
        truth = stats.multinomial(n, [up_share, down_share, 1 - up_share - down_share])
        chance = {case: truth.pmf([*case, n - sum(case)]) for case in cases}
        errors.append(sum(chance[case] for case in cases if found[case][1] < limit - 1e-12))
        errors.append(sum(chance[case] for case in cases if found[case][0] > limit + 1e-12))
    assert max(errors) <= 0.05
    assert max(errors) > 0.02, "and not by never deciding"


def test_families_that_hang_together_are_not_mistaken_for_independent_prompts() -> None:
    random = np.random.default_rng(20)
    families, per_family, limit, icc = 40, 4, 0.1, 0.3
    codes = np.repeat(np.arange(families), per_family)
    scale = (1 - icc) / icc
    wrong = {"clustered": 0, "independent": 0}
    runs = 1000
    for _ in range(runs):
        theta = random.beta(limit * scale, (1 - limit) * scale, families)
        y = (random.random(len(codes)) < theta[codes]).astype(float)
        wrong["clustered"] += estimates.rate(y, codes).upper < limit
        wrong["independent"] += estimates.rate(y, range(len(codes))).upper < limit
    assert wrong["clustered"] / runs <= 0.065, "0.05 and three standard errors"
    assert wrong["independent"] / runs >= 0.08


def test_few_hits_are_not_taken_as_proof_that_families_do_not_matter() -> None:
    random = np.random.default_rng(3)
    families, per_family, limit, icc = 15, 8, 0.05, 0.3
    codes = np.repeat(np.arange(families), per_family)
    scale = (1 - icc) / icc
    runs, wrong = 1000, 0
    for _ in range(runs):
        theta = random.beta(limit * scale, (1 - limit) * scale, families)
        wrong += estimates.rate((random.random(len(codes)) < theta[codes]).astype(float), codes).upper < limit
    assert wrong / runs <= 0.065, "0.05 and two standard errors"


def test_an_uncorrected_grader_condemns_the_innocent_and_the_correction_does_not() -> None:
    random = np.random.default_rng(21)
    n, runs, limit = 200, 300, 0.05
    wrong = {"raw": 0, "corrected": 0}
    for _ in range(runs):
        exhibits = random.random(n) < limit
        graded = np.where(exhibits, random.random(n) < 0.9, random.random(n) < 0.05).astype(float)
        tp, tn = random.binomial(100, 0.9), random.binomial(100, 0.95)
        grader = Calibration(tp=tp, fn=100 - tp, tn=tn, fp=100 - tn)
        wrong["raw"] += estimates.rate(graded, range(n)).lower > limit
        wrong["corrected"] += estimates.rate(graded, range(n), calibration=grader).lower > limit
    assert wrong["raw"] / runs > 0.5
    assert wrong["corrected"] / runs <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)


# -- no bounds, no collapse


def test_a_single_family_leaves_everything_open() -> None:
    found = estimates.rate(answers(0, 200), ["same"] * 200, null=0.05)
    assert bounds(found) == (0, 1)
    assert (found.se, found.effective_n, found.p_value) == (None, None, None)
    contrast = estimates.difference([0.0] * 200, ["same"] * 200)
    assert bounds(contrast) == (-1, 1)
    assert contrast.p_value is None
    assert estimates.relative(found, independent(3, 50)).ci_high is None


def test_no_discordant_pair_is_no_certainty() -> None:
    assert paired(0, 0, 58).upper == independent(0, 58).upper > 0.05
    assert paired(0, 0, 59).upper == independent(0, 59).upper <= 0.05
    assert paired(0, 0, 59).lower == -paired(0, 0, 59).upper


@pytest.mark.parametrize(
    ("values", "families", "options", "message"),
    [
        ([], [], {}, "at least one prompt"),
        ([0.0, 1.0], [1], {}, "2 prompts with 1 families"),
        ([0.0, 7.0], [1, 2], {}, "within 0..1"),
        ([0.0, math.nan], [1, 2], {}, "within 0..1"),
        ([0.0, 1.0], [1, 2], {"alpha": 5}, "0.05"),
    ],
)
def test_bad_numbers_are_refused(
    values: list[float], families: list[int], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        estimates.rate(values, families, **options)


# -- graders


def test_a_grader_with_few_labels_is_not_gated_on() -> None:
    few = Calibration(tp=49, fn=0, tn=500, fp=0)
    assert not few.enough
    found = independent(0, 500, calibration=few)
    assert bounds(found) == (0, 1)
    assert "uncalibrated grader: 49" in found.notes[0]
    assert bounds(paired(0, 0, 500, calibration=few)) == (-1, 1)


def test_a_grader_no_better_than_chance_is_not_gated_on() -> None:
    coin = Calibration(tp=50, fn=50, tn=50, fp=50)
    found = independent(0, 500, calibration=coin)
    assert bounds(found) == (0, 1)
    assert "chance" in found.notes[0]


def test_a_perfect_grader_with_many_labels_changes_little() -> None:
    perfect = Calibration(tp=10**7, fn=0, tn=10**7, fp=0)
    assert bounds(independent(5, 100, calibration=perfect)) == pytest.approx(bounds(independent(5, 100)), abs=1e-4)
    assert bounds(paired(9, 2, 80, calibration=perfect)) == pytest.approx(bounds(paired(9, 2, 80)), abs=1e-4)


def test_a_difference_is_divided_by_youdens_j() -> None:
    raw, corrected = paired(12, 3, 120), paired(12, 3, 120, calibration=GRADER)
    assert corrected.value == pytest.approx(raw.value / 0.85)
    assert corrected.upper > raw.upper / 0.85, "the labels' own uncertainty comes on top"
    assert corrected.p_value == raw.p_value, "shrinking both arms alike cannot make or unmake a difference"


def test_labels_leave_doubt_even_where_the_grader_never_erred_on_them() -> None:
    faultless = Calibration(tp=60, fn=0, tn=60, fp=0)
    raw, corrected = paired(12, 3, 120), paired(12, 3, 120, calibration=faultless)
    assert corrected.value == pytest.approx(raw.value)
    assert corrected.upper > raw.upper + 1e-4, "it may err a little, and then the true difference is larger"
    assert corrected.lower == pytest.approx(raw.lower), "but no grader errs less than never"


def test_calibration_without_labels_of_a_class() -> None:
    assert Calibration(tp=0, fn=0, tn=60, fp=0).sensitivity is None
    assert Calibration(tp=60, fn=0, tn=0, fp=0).specificity is None
    with pytest.raises(ValueError, match="0 or more"):
        Calibration(tp=-1, fn=0, tn=0, fp=0)


# -- from observations


def arm(hits: int, n: int) -> Cells:
    return Cells(np.array(answers(hits, n)), np.arange(n), hits, n)


def seen(
    prompt: str,
    exhibits: bool | None,
    *,
    condition: str = "a",
    family: str | None = None,
    epoch: int = 1,
    pair: str | None = None,
    text: str | None = None,
) -> Observation:
    return Observation(
        prompt=prompt,
        prompt_hash=text or f"hash of {prompt}",
        condition=condition,
        family=family or f"family of {prompt}",
        pair=pair or prompt,
        epoch=epoch,
        exhibits=exhibits,
        exclusion=None if exhibits is not None else Exclusion.ERRORED,
    )


def test_epochs_are_reduced_to_their_mean() -> None:
    rows = [
        seen("p", True, epoch=1),
        seen("p", False, epoch=2),
        seen("p", None, epoch=3),
        seen("q", False),
        seen("r", None),
        seen("p", True, condition="b"),
    ]
    found = estimates.cells(o for o in rows if o.condition == "a")
    assert found.y.tolist() == [0.5, 0.0]
    assert (found.count, found.total) == (1, 3)
    both = estimates.cells(rows)
    assert both.y.tolist() == [0.5, 0.0, 1.0], "the same prompt id in two conditions is two prompts"


def test_a_rate_in_a_condition() -> None:
    rows = [seen(f"p{i}", i < 5, epoch=e) for i in range(50) for e in (1, 2)]
    found = estimates.rate_in(rows, "a")
    assert found is not None
    assert (found.count, found.total, found.n, found.families) == (10, 100, 50, 50)
    assert bounds(found) == bounds(independent(5, 50)), "two equal epochs are no second prompt"
    assert estimates.rate_in(rows, "no such condition") is None
    assert estimates.rate_in([seen("p", None)], "a") is None


def test_conditions_are_paired_by_item_whatever_their_order() -> None:
    of = [seen(f"a{i}", i < 4, pair=f"{i}", family=f"f{i // 2}") for i in range(40)]
    over = [seen(f"b{i}", i == 7, pair=f"{i}", condition="b", family=f"f{i // 2}") for i in range(40)]
    found = estimates.difference_between([*of, *over], of="a", over="b")
    turned = estimates.difference_between([*reversed(over), *reversed(of)], of="a", over="b")
    assert found is not None
    assert turned is not None
    assert (found.n, found.families, found.up, found.down) == (40, 20, 4, 1)
    assert bounds(found) == pytest.approx(bounds(turned))
    d = [float(i < 4) - float(i == 7) for i in range(40)]
    assert bounds(found) == pytest.approx(bounds(estimates.difference(d, [i // 2 for i in range(40)])))


def test_items_without_a_partner_are_left_out_and_said() -> None:
    rows = [
        *(seen(f"a{i}", True, pair=f"{i}") for i in range(5)),
        *(seen(f"b{i}", False if i else None, pair=f"{i}", condition="b") for i in range(4)),
    ]
    found = estimates.difference_between(rows, of="a", over="b")
    assert found is not None
    assert found.n == 3
    assert found.notes == ("2 scored in one arm only are left out",)


def test_conditions_without_common_items_are_compared_unpaired() -> None:
    rows = [
        *(seen(f"a{i}", i < 21) for i in range(100)),
        *(seen(f"b{i}", i < 14, condition="b") for i in range(100)),
    ]
    found = estimates.difference_between(rows, of="a", over="b")
    assert found is not None
    assert found.method == "unpaired"
    assert found.value == pytest.approx(0.07)
    assert estimates.difference_between(rows, of="a", over="c") is None


def test_several_prompts_of_an_item_count_as_their_mean() -> None:
    rows = [
        seen("x1", True, pair="x"),
        seen("x2", False, pair="x"),
        seen("x", False, pair="x", condition="b"),
    ]
    of, over = ([o for o in rows if o.condition == name] for name in "ab")
    assert estimates.pair_up(of, over).d.tolist() == [0.5]


def test_families_that_an_item_links_are_one() -> None:
    of = [seen("1", True, family="f"), seen("2", True, family="g"), seen("3", True, family="h")]
    over = [
        seen("1", False, family="g", condition="b"),
        seen("2", False, family="g", condition="b"),
        seen("3", False, family="h", condition="b"),
    ]
    assert estimates.pair_up(of, over).families.tolist() == [0, 0, 1]


def test_runs_are_compared_on_the_prompts_that_did_not_change() -> None:
    now = [seen(f"p{i}", i < 3, text="edited" if i == 0 else None) for i in range(20)]
    before = [seen(f"p{i}", False) for i in range(20)]
    found = estimates.change_between(now, before, condition="a")
    assert found is not None
    assert (found.n, found.up) == (19, 2)
    assert found.notes == ("2 scored in one arm only are left out",)
    assert estimates.change_between(now, before, condition="b") is None


# -- planning


def test_prompts_needed_is_the_fewest_by_brute_force() -> None:
    for rate, published in ((0.0, 59), (0.01, 124), (0.02, 234), (0.03, 601)):
        needed = estimates.prompts_needed(limit=0.05, true_rate=rate)
        assert needed == published
        for n in (needed - 1, needed):
            limits = stats.beta.ppf(0.95, np.arange(n) + 1, n - np.arange(n))
            power = stats.binom.cdf(int(np.sum(limits <= 0.05)) - 1, n, rate)
            assert (power >= 0.8) == (n == needed)


def test_prompts_needed_in_families() -> None:
    independent_prompts = estimates.prompts_needed(limit=0.05, true_rate=0)
    in_pairs = estimates.prompts_needed(limit=0.05, true_rate=0, per_family=2)
    assert independent_prompts < in_pairs < 2 * independent_prompts
    assert estimates.can_hold(0.05, n=in_pairs, families=in_pairs // 2)
    assert not estimates.can_hold(0.05, n=in_pairs - 2, families=in_pairs // 2 - 1)


@pytest.mark.parametrize("rate", [0.05, 0.06, -0.01])
def test_prompts_needed_for_what_cannot_be_shown(rate: float) -> None:
    with pytest.raises(ValueError, match="below the limit"):
        estimates.prompts_needed(limit=0.05, true_rate=rate)


def test_prompts_needed_says_when_it_is_hopeless() -> None:
    with pytest.raises(ValueError, match="too close to the limit"):
        estimates.prompts_needed(limit=0.001, true_rate=0.00099)


@for_any
@given(st.integers(1, 60), st.integers(1, 4), st.floats(0.01, 0.9))
def test_a_gate_can_hold_exactly_when_a_faultless_run_would_hold(families: int, per_family: int, limit: float) -> None:
    n = families * per_family
    faultless = estimates.rate([0.0] * n, [i // per_family for i in range(n)])
    assert estimates.can_hold(limit, n=n, families=families) == (faultless.upper <= limit)


def test_fifty_prompts_can_never_show_five_percent() -> None:
    assert not estimates.can_hold(0.05, n=50, families=50)
    assert estimates.can_hold(0.05, n=59, families=59)
    assert not estimates.can_hold(0.05, n=1000, families=1)


@pytest.mark.parametrize(("correlation", "points"), [(0, 10.5), (0.5, 7.5), (0.8, 4.7)])
def test_detectable_difference_of_a_hundred_pairs(correlation: float, points: float) -> None:
    found = estimates.detectable_difference(n=100, rate=0.1, correlation=correlation)
    assert round(100 * found, 1) == points


# -- degenerate series and raters


def test_what_never_varies_is_not_tested() -> None:
    assert estimates.cochran_armitage([0, 0, 0], [10, 10, 10]).p_value is None
    assert estimates.kendall([0.1, 0.1, 0.1]).p_value is None
    assert estimates.cohen_kappa(["yes"] * 5, ["yes"] * 5) is None
    assert estimates.krippendorff_alpha([[1, 1, None], [1, 1, 2]]) is None
    assert estimates.clustered_mean([0.0, 0.0], ["f", "g"]) is None
    assert estimates.adjusted([], method="holm") == ()


def test_ties_in_a_series_are_not_given_an_exact_p() -> None:
    tied = estimates.kendall([0.1, 0.2, 0.2, 0.4])
    assert tied.p_value == pytest.approx(float(stats.kendalltau(range(4), [1, 2, 2, 4]).pvalue))


def test_raters_must_label_the_same_replies() -> None:
    with pytest.raises(ValueError, match="3 and 2 labels"):
        estimates.cohen_kappa([1, 2, 3], [1, 2])


def test_agreement_does_not_depend_on_who_is_first() -> None:
    ratings: list[list[float | None]] = [[1, 2, 3, 3, None], [1, 2, 3, 1, 2], [None, 3, 3, 1, 2]]
    for level in ("nominal", "interval"):
        forwards, backwards = (estimates.krippendorff_alpha(r, level=level) for r in (ratings, ratings[::-1]))
        assert forwards == pytest.approx(backwards)
