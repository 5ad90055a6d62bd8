"""Gates: the rule on an estimate, judged at known answers, under missing replies, and as mirror images of each other."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from scipy import stats

from builders import Answer, counted, observation, observed, twins
from pytest_alignbench import (
    ClaimError,
    DifferenceAtLeast,
    DifferenceAtMost,
    Gate,
    NotWorseThanBaseline,
    Outcome,
    RateAtLeast,
    RateAtMost,
    WithinMargin,
)
from pytest_alignbench.gates import GATES, Evidence, Judgement, regression_gate
from pytest_alignbench.observations import Exclusion, Observation

KNOWN: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "known_answers.json").read_text("utf-8"))
VERDICT_AT_5_PERCENT = {case: word for case, word in KNOWN["K03_verdict_limit5pct"].items() if case != "source"}
OUTCOME = {"pass": Outcome.HOLDS, "fail": Outcome.VIOLATED, "inconclusive": Outcome.INCONCLUSIVE}

RATE_AT_MOST_5 = RateAtMost(0.05, of="asked")
ARMS: dict[str, Any] = {"of": "touchy", "over": "plain"}

for_any = settings(max_examples=40, deadline=None)

limits = st.floats(0, 0.95)
signed_limits = st.floats(-0.95, 0.95)
GATES_OF_ANY_LIMIT: dict[str, st.SearchStrategy[Gate]] = {
    "RateAtMost": st.builds(RateAtMost, limits, of=st.just("touchy"), refutes_only=st.booleans()),
    "RateAtLeast": st.builds(RateAtLeast, st.floats(0.05, 1), of=st.just("touchy"), refutes_only=st.booleans()),
    "DifferenceAtMost": st.builds(
        lambda x, r: DifferenceAtMost(x, **ARMS, refutes_only=r), signed_limits, st.booleans()
    ),
    "DifferenceAtLeast": st.builds(
        lambda x, r: DifferenceAtLeast(x, **ARMS, refutes_only=r), signed_limits, st.booleans()
    ),
    "WithinMargin": st.builds(lambda x, r: WithinMargin(x, **ARMS, refutes_only=r), limits, st.booleans()),
    "NotWorseThanBaseline": st.builds(
        lambda x, over, worse: NotWorseThanBaseline(x, of="touchy", over=over, worse=worse),
        limits,
        st.sampled_from(["", "plain"]),
        st.sampled_from(["higher", "lower", "either"]),
    ),
}
any_gate = st.one_of(*GATES_OF_ANY_LIMIT.values())
answers = st.lists(st.sampled_from([True, False, None]), min_size=1, max_size=40)


def judged(gate: Gate, observations: Sequence[Observation], **evidence: Any) -> Judgement:
    return gate.judge(Evidence(observations=observations, **evidence))


def outcome(gate: Gate, observations: Sequence[Observation], **evidence: Any) -> Outcome:
    return judged(gate, observations, **evidence).outcome


def against(answer: Answer) -> Answer:
    return None if answer is None else not answer


# -- what a gate is


def test_every_gate_is_tested_here() -> None:
    assert set(GATES_OF_ANY_LIMIT) == set(GATES)


@for_any
@given(any_gate)
def test_a_gate_goes_through_json_unchanged(gate: Gate) -> None:
    assert Gate.from_json(json.loads(json.dumps(gate.to_json()))) == gate


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"kind": "RateAbove", "limit": 0.1}, f"gate 'RateAbove' is not one of {', '.join(GATES)}"),
        ({"limit": 0.1}, "gate None is not one of"),
        ({"kind": "RateAtMost", "limit": 0.1, "colour": "red"}, "gate 'RateAtMost': "),
        ({"kind": "DifferenceAtMost", "limit": 0.1}, "gate 'DifferenceAtMost': "),
        ({"kind": "RateAtMost", "limit": 5}, 'gate "RateAtMost(5)": a rate is within 0..1'),
    ],
)
def test_a_gate_of_unknown_make_is_refused(spec: dict[str, Any], said: str) -> None:
    with pytest.raises(ClaimError) as refused:
        Gate.from_json(spec)
    assert str(refused.value).startswith(said)


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: RateAtMost(7), 'gate "RateAtMost(7)": a rate is within 0..1; did you mean 0.07?'),
        (lambda: RateAtLeast(95), 'gate "RateAtLeast(95)": a rate is within 0..1; did you mean 0.95?'),
        (lambda: RateAtMost(-0.1), 'gate "RateAtMost(-0.1)": a rate is within 0..1'),
        (lambda: RateAtMost(500), 'gate "RateAtMost(500)": a rate is within 0..1'),
        (lambda: RateAtMost(float("nan")), 'gate "RateAtMost(nan)": a rate is within 0..1'),
        (lambda: RateAtMost(True), 'gate "RateAtMost(True)": a rate is within 0..1'),
        (lambda: RateAtMost("5 %"), "gate \"RateAtMost('5 %')\": a rate is within 0..1"),  # type: ignore[arg-type]
        (
            lambda: DifferenceAtMost(5, **ARMS),
            'gate "DifferenceAtMost(5)": a difference of rates is within -1..1; did you mean 0.05?',
        ),
        (lambda: DifferenceAtLeast(-2, **ARMS), 'gate "DifferenceAtLeast(-2)": a difference of rates is within -1..1'),
        (lambda: WithinMargin(-0.1, **ARMS), 'gate "WithinMargin(-0.1)": a margin is within 0..1'),
        (
            lambda: NotWorseThanBaseline(3, of="touchy"),
            'gate "NotWorseThanBaseline(3)": a margin is within 0..1; did you mean 0.03?',
        ),
    ],
)
def test_a_limit_off_the_scale_is_refused_with_what_may_be_meant(build: Callable[[], Gate], said: str) -> None:
    with pytest.raises(ClaimError) as refused:
        build()
    assert str(refused.value) == said


@for_any
@given(any_gate)
def test_the_rule_in_words_names_its_conditions(gate: Gate) -> None:
    for name in gate.uses:
        assert repr(name) in gate.allowed
    assert "%" in gate.rule or "points" in gate.rule


# -- known answers


@pytest.mark.parametrize(("case", "word"), VERDICT_AT_5_PERCENT.items())
def test_k03_verdicts_at_a_limit_of_five_percent(case: str, word: str) -> None:
    hits, n = map(int, case.split("/"))
    assert outcome(RATE_AT_MOST_5, observed(counted(hits, n))) is OUTCOME[word]
    mirrored = observed([not answer for answer in counted(hits, n)])
    assert outcome(RateAtLeast(0.95, of="asked"), mirrored) is OUTCOME[word]


@for_any
@given(st.integers(0, 120), st.integers(0, 120), st.integers(1, 200))
@example(10, 90, 1)
@example(10, 90, 20)
def test_holds_at_alpha_and_violated_at_alpha_over_m(hits: int, others: int, m: int) -> None:
    n = hits + others
    assume(n > 1)
    # Clopper & Pearson's bounds as quantiles of the beta distribution (scipy).
    upper = stats.beta.ppf(0.95, hits + 1, others) if others else 1.0
    lower = stats.beta.ppf(0.05 / m, hits, others + 1) if hits else 0.0
    expected = Outcome.HOLDS if upper <= 0.05 else Outcome.VIOLATED if lower > 0.05 else Outcome.INCONCLUSIVE
    assert outcome(RATE_AT_MOST_5, observed(counted(hits, n)), m=m) is expected


def test_what_a_single_claim_would_call_violated_is_said_to_be_so() -> None:
    found = judged(RATE_AT_MOST_5, observed(counted(10, 100)), m=20)
    assert found.outcome is Outcome.INCONCLUSIVE
    assert "would be beyond the limit for a single claim, but not at 0.05/20, which a suite of 20 needs" in found.why


def test_no_reply_and_no_variation_are_no_certainty() -> None:
    assert outcome(RATE_AT_MOST_5, []) is Outcome.INCONCLUSIVE
    assert outcome(RATE_AT_MOST_5, observed([False])) is Outcome.INCONCLUSIVE
    one_family = observed([False] * 500, family="all of one kind")
    assert outcome(RATE_AT_MOST_5, one_family) is Outcome.INCONCLUSIVE


def test_other_conditions_do_not_count() -> None:
    rows = observed(counted(0, 59)) + observed(counted(50, 50, missing=50), condition="other")
    assert outcome(RATE_AT_MOST_5, rows) is Outcome.HOLDS


# -- missing replies


@pytest.mark.parametrize(
    ("answers", "expected", "why"),
    [
        (counted(0, 59), Outcome.HOLDS, "is within the limit"),
        # 1/60 and 0/59 + 1: the upper bound of 1 in 60 is .0766 (R: binom.test(1, 60, alternative = "less")).
        (
            counted(0, 59, missing=1),
            Outcome.INCONCLUSIVE,
            "is within the limit, but the 1 missing reply could change that",
        ),
        (counted(10, 100), Outcome.VIOLATED, "is beyond the limit"),
        # 10 in 130 has a lower bound of .0424 (R: binom.test(10, 130, alternative = "greater")).
        (counted(10, 100, missing=30), Outcome.INCONCLUSIVE, "is beyond the limit, but the 30 missing replies could"),
        (counted(5, 100, missing=2), Outcome.INCONCLUSIVE, "lies on both sides of the limit: more prompts would tell"),
        (counted(0, 0, missing=100), Outcome.INCONCLUSIVE, "no reply could be scored in 'asked'"),
    ],
)
def test_a_missing_reply_may_have_been_either(answers: list[Answer], expected: Outcome, why: str) -> None:
    found = judged(RATE_AT_MOST_5, observed(answers))
    assert found.outcome is expected
    assert why in found.why


def test_enough_replies_outweigh_a_few_missing_ones() -> None:
    assert outcome(RATE_AT_MOST_5, observed(counted(0, 300, missing=5))) is Outcome.HOLDS
    assert outcome(RATE_AT_MOST_5, observed(counted(60, 100, missing=30))) is Outcome.VIOLATED


@for_any
@given(answers, st.floats(0.02, 0.98), st.randoms(use_true_random=False))
def test_no_completion_of_what_is_missing_overturns_a_verdict_on_a_rate(
    seen: list[Answer], limit: float, chance: Any
) -> None:
    """For independent prompts. (Families that differ among themselves widen bounds by more than a count can tell.)"""
    completed = [chance.random() < 0.5 if answer is None else answer for answer in seen]
    for gate in (RateAtMost(limit, of="asked"), RateAtLeast(limit, of="asked")):
        first = outcome(gate, observed(seen))
        if first is not Outcome.INCONCLUSIVE:
            assert outcome(gate, observed(completed)) is first


def test_missing_replies_on_either_side_of_a_margin_can_have_met_in_it() -> None:
    """All that was seen is beyond the margin, and so are both extremes of what was not: but not what lies between."""
    rows = twins([(True, False)] * 30 + [(None, None)] * 1000)
    assert outcome(WithinMargin(0.1, **ARMS), rows[:30] + rows[1030:1060]) is Outcome.VIOLATED
    assert outcome(WithinMargin(0.1, **ARMS), rows) is Outcome.INCONCLUSIVE


@pytest.mark.parametrize("cause", Exclusion)
def test_no_cause_of_exclusion_is_an_answer(cause: Exclusion) -> None:
    rows = [*observed([False] * 59), observation(59, None, exclusion=cause)]
    assert outcome(RATE_AT_MOST_5, rows) is Outcome.INCONCLUSIVE


@pytest.mark.parametrize(
    ("lost", "at_most", "at_least"),
    [
        # The missing twin of a reply that does not exhibit can take the difference one way only.
        ((None, False), Outcome.INCONCLUSIVE, Outcome.HOLDS),
        ((False, None), Outcome.HOLDS, Outcome.INCONCLUSIVE),
        ((None, None), Outcome.INCONCLUSIVE, Outcome.INCONCLUSIVE),
    ],
)
def test_missing_replies_widen_a_difference_on_the_side_that_they_can_move_it(
    lost: tuple[Answer, Answer], at_most: Outcome, at_least: Outcome
) -> None:
    whole, rows = twins([(False, False)] * 100), twins([(False, False)] * 95 + [lost] * 5)
    for gate, expected in ((DifferenceAtMost(0.05, **ARMS), at_most), (DifferenceAtLeast(-0.05, **ARMS), at_least)):
        assert outcome(gate, whole) is Outcome.HOLDS
        assert outcome(gate, rows) is expected


# -- what refutes only


def test_a_claim_that_can_only_be_refuted_is_never_confirmed() -> None:
    gate = RateAtMost(0.05, of="asked", refutes_only=True)
    found = judged(gate, observed(counted(0, 300)))
    assert found.outcome is Outcome.INCONCLUSIVE
    assert "can only be refuted" in found.why
    assert outcome(gate, observed(counted(60, 100))) is Outcome.VIOLATED
    assert outcome(gate, observed(counted(5, 100))) is Outcome.INCONCLUSIVE


# -- mirror images and monotonicity

RANK = {Outcome.VIOLATED: 0, Outcome.INCONCLUSIVE: 1, Outcome.HOLDS: 2}
pairs = st.lists(
    st.tuples(st.sampled_from([True, False, None]), st.sampled_from([True, False, None])), min_size=1, max_size=40
)
steps = st.integers(-38, 38).map(lambda k: k / 40 + 0.0025)
"""Limits that no bound hits exactly, so that a mirror image rounds to the same side."""


@for_any
@given(answers, st.integers(0, 39).map(lambda k: k / 40 + 0.0025), st.integers(1, 50))
def test_at_most_is_the_mirror_of_at_least(seen: list[Answer], limit: float, m: int) -> None:
    at_most = judged(RateAtMost(limit, of="asked"), observed(seen), m=m)
    at_least = judged(RateAtLeast(1 - limit, of="asked"), observed(map(against, seen)), m=m)
    assert at_most.outcome is at_least.outcome


@for_any
@given(pairs, steps, st.integers(1, 50))
def test_a_difference_is_the_mirror_of_the_difference_the_other_way(
    seen: list[tuple[Answer, Answer]], limit: float, m: int
) -> None:
    at_most = judged(DifferenceAtMost(limit, of="touchy", over="plain"), twins(seen), m=m)
    at_least = judged(DifferenceAtLeast(-limit, of="plain", over="touchy"), twins(seen), m=m)
    assert at_most.outcome is at_least.outcome
    if at_most.effect is not None and at_least.effect is not None:
        assert at_most.effect.value == pytest.approx(-at_least.effect.value)
        assert at_most.effect.upper == pytest.approx(-at_least.effect.lower)


@for_any
@given(pairs, st.floats(0, 0.9), st.floats(0, 0.1))
def test_a_wider_limit_never_makes_a_verdict_worse(
    seen: list[tuple[Answer, Answer]], limit: float, more: float
) -> None:
    for narrow, wide in (
        (DifferenceAtMost(limit, **ARMS), DifferenceAtMost(limit + more, **ARMS)),
        (DifferenceAtLeast(-limit, **ARMS), DifferenceAtLeast(-limit - more, **ARMS)),
        (WithinMargin(limit, **ARMS), WithinMargin(limit + more, **ARMS)),
        (RateAtMost(limit, of="touchy"), RateAtMost(limit + more, of="touchy")),
        (RateAtLeast(1 - limit, of="touchy"), RateAtLeast(1 - limit - more, of="touchy")),
    ):
        assert RANK[outcome(wide, twins(seen))] >= RANK[outcome(narrow, twins(seen))]


@for_any
@given(answers, st.floats(0.02, 0.98), st.data())
def test_one_exhibiting_reply_more_never_makes_at_most_better(
    seen: list[Answer], limit: float, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(seen) - 1))
    assume(seen[place] is False)
    worse = [*seen[:place], True, *seen[place + 1 :]]
    gate = RateAtMost(limit, of="asked")
    assert RANK[outcome(gate, observed(worse))] <= RANK[outcome(gate, observed(seen))]


@for_any
@given(pairs, any_gate, st.integers(1, 20), st.integers(2, 20))
def test_a_larger_suite_is_never_quicker_to_say_violated(
    seen: list[tuple[Answer, Answer]], gate: Gate, m: int, factor: int
) -> None:
    small, large = outcome(gate, twins(seen), m=m), outcome(gate, twins(seen), m=m * factor)
    assert large is small or (small, large) == (Outcome.VIOLATED, Outcome.INCONCLUSIVE)


@for_any
@given(pairs, any_gate, st.permutations(range(20)))
def test_the_order_of_replies_does_not_matter(
    seen: list[tuple[Answer, Answer]], gate: Gate, order: Sequence[int]
) -> None:
    rows = twins(seen)
    shuffled = [rows[i] for i in order if i < len(rows)] + rows[20:]
    assert outcome(gate, shuffled) is outcome(gate, rows)


# -- differences


def test_paired_items_are_compared_with_their_partners() -> None:
    """The same rates: told apart by pairing where twins differ, and not where the items differ."""
    agreeing = twins([(True, True)] * 50 + [(False, False)] * 50)
    found = judged(WithinMargin(0.06, **ARMS), agreeing)
    assert found.outcome is Outcome.HOLDS
    assert found.effect is not None
    assert (found.effect.value, found.effect.n) == (0.0, 100)
    unpaired = observed(counted(50, 100), condition="touchy") + [
        o.model_copy(update={"pair": f"other {o.pair}"}) for o in observed(counted(50, 100), condition="plain")
    ]
    assert outcome(WithinMargin(0.06, **ARMS), unpaired) is Outcome.INCONCLUSIVE


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([(True, False)] * 40 + [(False, False)] * 60, Outcome.VIOLATED),
        ([(False, True)] * 40 + [(False, False)] * 60, Outcome.VIOLATED),
        ([(False, False)] * 100, Outcome.HOLDS),
        ([(True, False)] * 5 + [(False, False)] * 95, Outcome.INCONCLUSIVE),
    ],
)
def test_a_margin_looks_both_ways(answers: list[tuple[Answer, Answer]], expected: Outcome) -> None:
    assert outcome(WithinMargin(0.05, **ARMS), twins(answers)) is expected


def test_a_difference_needs_both_conditions() -> None:
    found = judged(DifferenceAtMost(0.05, **ARMS), observed([False] * 100, condition="touchy"))
    assert found.outcome is Outcome.INCONCLUSIVE
    assert found.effect is None
    assert found.why == "no reply could be scored in 'touchy', 'plain'"


# -- change from a baseline


def past(answers: Sequence[Answer], *, condition: str = "asked") -> dict[tuple[str, str], float]:
    return {
        (o.condition, o.prompt_hash): float(o.exhibits)
        for o in observed(answers, condition=condition)
        if o.exhibits is not None
    }


NOT_WORSE = NotWorseThanBaseline(0.05, of="asked")


def test_without_a_baseline_nothing_is_comparable() -> None:
    found = judged(NOT_WORSE, observed([False] * 100))
    assert (found.outcome, found.why) == (Outcome.NOT_COMPARABLE, "there is no baseline to compare with")


def test_a_baseline_of_other_prompts_is_not_comparable() -> None:
    found = judged(NOT_WORSE, observed([False] * 100), baseline={("asked", "another hash"): 0.0})
    assert (found.outcome, found.why) == (Outcome.NOT_COMPARABLE, "the baseline shares no prompt with this run")


@pytest.mark.parametrize(
    ("worse", "before", "now", "expected"),
    [
        ("higher", 10, 10, Outcome.HOLDS),
        ("higher", 0, 30, Outcome.VIOLATED),
        ("higher", 30, 0, Outcome.HOLDS),
        ("higher", 0, 3, Outcome.INCONCLUSIVE),
        ("lower", 100, 70, Outcome.VIOLATED),
        ("lower", 70, 100, Outcome.HOLDS),
        ("either", 10, 10, Outcome.HOLDS),
        ("either", 0, 30, Outcome.VIOLATED),
        ("either", 30, 0, Outcome.VIOLATED),
    ],
)
def test_what_is_worse_than_the_baseline(worse: Any, before: int, now: int, expected: Outcome) -> None:
    gate = NotWorseThanBaseline(0.05, of="asked", worse=worse)
    assert outcome(gate, observed(counted(now, 100)), baseline=past(counted(before, 100))) is expected


def test_a_change_that_is_the_same_in_both_conditions_is_no_change_of_the_difference() -> None:
    gate = NotWorseThanBaseline(0.15, of="touchy", over="plain")
    before = past([False] * 100, condition="touchy") | past([False] * 100, condition="plain")
    assert outcome(gate, twins([(True, True)] * 40 + [(False, False)] * 60), baseline=before) is Outcome.HOLDS
    only_one = judged(gate, twins([(True, False)] * 60 + [(False, False)] * 40), baseline=before)
    assert only_one.outcome is Outcome.VIOLATED
    assert only_one.effect is not None
    assert only_one.effect.value == pytest.approx(0.6)


def test_new_prompts_are_left_out_and_said_to_be() -> None:
    found = judged(NOT_WORSE, observed([False] * 100 + [True] * 20), baseline=past([False] * 100))
    assert found.outcome is Outcome.HOLDS
    assert found.effect is not None
    assert found.effect.notes == ("20 items without a partner in the baseline",)


@pytest.mark.parametrize(
    ("own", "uses", "worse"),
    [
        (RateAtMost(0.05, of="touchy"), ("touchy",), "higher"),
        (RateAtLeast(0.95, of="touchy"), ("touchy",), "lower"),
        (DifferenceAtMost(0.05, **ARMS), ("touchy", "plain"), "higher"),
        (DifferenceAtLeast(0.5, **ARMS), ("touchy", "plain"), "lower"),
        (WithinMargin(0.05, **ARMS), ("touchy", "plain"), "either"),
    ],
)
def test_each_gate_has_its_regression_gate(own: Gate, uses: tuple[str, ...], worse: str) -> None:
    gate = regression_gate(own, margin=0.03)
    assert (gate.limit, gate.uses, gate.worse) == (0.03, uses, worse)
    assert regression_gate(gate, margin=0.2) is gate


# -- what simulated models are built from


@for_any
@given(any_gate)
def test_the_extremes_are_plainly_good_and_plainly_bad(gate: Gate) -> None:
    good, bad = gate.extremes
    assert gate.good(good)
    assert not gate.good(bad)
    for effect in (good, bad):
        rates = gate.true_rates(effect)
        assert set(rates) == set(gate.uses)
        assert all(0 <= rate <= 1 for rate in rates.values())
        assert gate.true_effect(rates) == pytest.approx(effect)


@for_any
@given(any_gate, st.floats(0, 0.9), st.floats(0, 0.1))
def test_rates_have_the_effect_that_was_asked_for(gate: Gate, effect: float, base: float) -> None:
    rates = gate.true_rates(effect, base=base)
    assert all(-1e-9 <= rate <= 1 + 1e-9 for rate in rates.values())
    assert gate.true_effect(rates) == pytest.approx(effect)


@for_any
@given(any_gate)
def test_what_raises_the_effect_raises_it(gate: Gate) -> None:
    """One more exhibiting reply in a condition moves the effect the way that the gate says."""
    level = {(name, f"hash of p{i}"): 0.5 for name in ("touchy", "plain") for i in range(4)}
    before = [(True, True), (False, False), (True, False), (False, True)]

    def effect(rows: Sequence[Observation]) -> float:
        found = gate.effect(Evidence(observations=rows, baseline=level), alpha=0.05)
        assert found is not None
        return found.value

    for name in gate.uses:
        more = [o.model_copy(update={"exhibits": True}) if o.condition == name else o for o in twins(before)]
        assert (effect(more) > effect(twins(before))) == gate.raises(name)


# -- power


@pytest.mark.parametrize(
    ("n", "rate"),
    # Fewest prompts for an 80 % chance to hold at a limit of 5 %: exact binomial, as in docs/statistics.md.
    [(59, "0.0 %"), (123, "0.5 %"), (124, "1.0 %"), (233, "1.0 %"), (234, "2.0 %"), (600, "2.0 %"), (601, "3.0 %")],
)
def test_the_true_rate_that_so_many_prompts_can_show(n: int, rate: str) -> None:
    for gate in (RateAtMost(0.05, of="asked"), RateAtLeast(0.95, of="asked")):
        assert gate.power({"asked": n}) == f"holds in 80 % of runs if the true rate is {rate} from the ideal"


def test_power_of_a_difference() -> None:
    # 7.5 points for n = 100, p = 10 %, rho = .5 one-sided: (z_a + z_b) sqrt(2 p (1 - p) (1 - rho) / n), Miller 2024.
    assert "7.5 points" in DifferenceAtMost(0.05, **ARMS).power({"touchy": 100, "plain": 100})
    assert "7.5 points" in NotWorseThanBaseline(0.05, of="touchy").power({"touchy": 100})


@pytest.mark.parametrize("limit", [0.0501, 1.0, 0.0])
def test_power_near_and_at_the_ends_of_the_scale_is_quickly_said(limit: float) -> None:
    assert RateAtMost(limit, of="asked").power({"asked": 400})


@for_any
@given(any_gate)
def test_power_of_prompts_that_are_not_known_yet(gate: Gate) -> None:
    assert gate.power({}).startswith("not known before its task")
