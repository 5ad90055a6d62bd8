"""Policies: what a gate makes of verdicts, and Holm's step-down held against the tests that it stands for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom
from statsmodels.stats.multitest import multipletests

from builders import counted, observed, record, run
from pytest_alignbench import Gate, NotWorseThanBaseline, Outcome, RateAtMost, WithinMargin
from pytest_alignbench.baselines import Baselines
from pytest_alignbench.errors import AlignbenchError, HistoryError
from pytest_alignbench.history import History, Record, Run
from pytest_alignbench.policies import Decided, Decision, Policy, decide, policy_of
from pytest_alignbench.verdicts import judge

RATE = RateAtMost(0.05, of="asked")
HOLDING, UNDECIDED, VIOLATED = 0, 7, 40
"""Hits of 100, at a limit of 5 %, that are so in a suite of any size that is tested here."""


def seen(hits: int, claim: str = "t.one", *, gate: Gate = RATE, **changed: Any) -> Record:
    return record(observed(counted(hits, 100)), gate=gate, claim=claim, **changed)


def written(folder: Path, text: str) -> Policy:
    file = folder / "policy.toml"
    file.write_text(dedent(text), encoding="utf-8")
    return policy_of(file)


def gate(*records: Record, policy: Mapping[str, Any] | None = None, complete: bool = True) -> Decided:
    stored = run("r1", *records).model_copy(update={"complete": complete})
    return decide(stored, policy=Policy.model_validate(policy or {}), margin=0.05)


def by_claim(decided: Decided) -> dict[str, Decision]:
    return {d.verdict.claim: d for d in decided.decisions}


# -- the file


def test_a_whole_policy(tmp_path: Path) -> None:
    policy = written(
        tmp_path,
        """
        margin = 0.03
        required = ["refusals.*"]

        [margins]
        "tics.*" = 0.10
        "tics.aside" = 0

        [must-hold]
        claims = ["tics.aside"]
        inconclusive = "warn"
        not-comparable = "warn"

        [watch]
        claims = ["tics.*"]
        inconclusive = "pass"
        """,
    )
    assert [policy.tier(c) for c in ("tics.aside", "tics.other", "refusals.x")] == ["must-hold", "watch", "must-hold"]
    assert [policy.own_margin(c) for c in ("tics.aside", "tics.other", "refusals.x")] == [0, 0.1, None]
    assert (policy.margin, policy.must_hold.not_comparable, policy.watch.inconclusive) == (0.03, "warn", "pass")


def test_an_empty_policy_lets_nothing_pass_unsaid(tmp_path: Path) -> None:
    assert written(tmp_path, "") == Policy()
    assert Policy().tier("any") == "must-hold"
    assert Policy().must_hold.inconclusive == Policy().must_hold.not_comparable == "fail"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "margn = 0.1",
            "margn is not a key here; did you mean 'margin'? Allowed: margin, margins, required, must-hold, watch",
        ),
        ("[must_hold]", "must_hold is not a key here; did you mean 'must-hold'?"),
        ("[watch]\nrequired = []", "[watch] required is not a key here; take it out. Allowed: claims, inconclusive"),
        (
            "[must-hold]\nnot_comparable = 'warn'",
            "[must-hold] not_comparable is not a key here; did you mean 'not-comparable'?",
        ),
        ("margin = 5", "margin = 5: Input should be less than 1; did you mean 0.05?"),
        ("margin = '5 %'", "margin = '5 %': Input should be a valid number"),
        ("[margins]\n'a.*' = -0.1", "[margins] a.* = -0.1: Input should be greater than or equal to 0"),
        (
            "[must-hold]\ninconclusive = 'ignore'",
            "[must-hold] inconclusive = 'ignore': Input should be 'fail', 'warn' or 'pass'",
        ),
        ("[watch]\ninconclusive = 'fail'", "what is watched never fails the gate: name those claims under [must-hold]"),
        ("required = 'a'", "required = 'a': Input should be a valid tuple"),
        ("[[watch", "not TOML"),
        ("margin = 0.1\nmargin = 0.2", "not TOML"),
    ],
)
def test_what_is_wrong_is_said_with_the_fix(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(AlignbenchError) as fault:
        written(tmp_path, text)
    assert str(fault.value).startswith(f"policy {tmp_path / 'policy.toml'}: ")
    assert said in str(fault.value)
    assert "\n" not in str(fault.value)


def test_a_policy_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(AlignbenchError, match=r"none\.toml: No such file"):
        policy_of(tmp_path / "none.toml")


# -- tiers, and what undecided means


@pytest.mark.parametrize(
    ("hits", "policy", "consequence", "code"),
    [
        (HOLDING, {}, "pass", 0),
        (VIOLATED, {}, "fail", 1),
        (UNDECIDED, {}, "fail", 3),
        (UNDECIDED, {"must-hold": {"inconclusive": "warn"}}, "warn", 0),
        (UNDECIDED, {"must-hold": {"inconclusive": "pass"}}, "pass", 0),
        (VIOLATED, {"must-hold": {"inconclusive": "pass"}}, "fail", 1),
        (VIOLATED, {"watch": {"claims": ["t.one"]}}, "warn", 0),
        (UNDECIDED, {"watch": {"claims": ["t.*"], "inconclusive": "pass"}}, "pass", 0),
        (VIOLATED, {"watch": {"claims": ["t.*"]}, "must-hold": {"claims": ["t.one"]}}, "fail", 1),
    ],
)
def test_a_verdict_has_the_consequence_of_its_tier(
    hits: int, policy: Mapping[str, Any], consequence: str, code: int
) -> None:
    decided = gate(seen(HOLDING, "safe"), seen(hits, "t.one"), policy=policy)
    assert by_claim(decided)["t.one"].consequence == consequence
    assert decided.exit_code == code


@pytest.mark.parametrize("lenient", [{"inconclusive": "pass"}, {"inconclusive": "pass", "not-comparable": "warn"}])
def test_leniency_is_not_for_outages(lenient: Mapping[str, str]) -> None:
    """A provider that is down must not make a gate green, however lenient the policy is to undecided claims."""
    for down in (seen(0, fault="the provider was down"), record(observed([None] * 100), gate=RATE, claim="t.one")):
        assert gate(seen(HOLDING, "safe"), down, policy={"must-hold": lenient}).exit_code == 3


def test_what_cannot_be_compared_has_a_switch_of_its_own() -> None:
    strange = seen(HOLDING, margin=0.05)  # and no baseline
    assert gate(seen(HOLDING, "safe"), strange, policy={"must-hold": {"inconclusive": "pass"}}).exit_code == 3
    warned = gate(seen(HOLDING, "safe"), strange, policy={"must-hold": {"not-comparable": "warn"}})
    assert by_claim(warned)["t.one"].consequence == "warn"
    assert warned.exit_code == 0


def test_a_gate_that_decides_nothing_is_not_green() -> None:
    watched = gate(seen(HOLDING), policy={"watch": {"claims": ["*"]}})
    assert (watched.outcome, watched.exit_code) == (Outcome.INCONCLUSIVE, 3)
    assert "no claim of this run must hold: there is nothing for the gate to decide" in watched.notes
    incomplete = gate(seen(HOLDING), complete=False)
    assert incomplete.exit_code == 3
    assert any("incomplete" in note for note in incomplete.notes)
    with pytest.raises(HistoryError, match="holds no record"):
        gate()


def test_violated_outranks_undecided() -> None:
    assert gate(seen(UNDECIDED, "a"), seen(VIOLATED, "b"), complete=False).exit_code == 1


# -- required claims


def test_a_required_claim_that_is_missing_fails_by_name() -> None:
    decided = gate(seen(HOLDING, "refusals.a"), policy={"required": ["refusals.*", "tics.aside", "gone.*"]})
    assert decided.missing == ("tics.aside", "gone.*")
    assert (decided.outcome, decided.exit_code) == (Outcome.VIOLATED, 1)


def test_what_the_baseline_has_is_what_a_pattern_requires(tmp_path: Path) -> None:
    history = History(str(tmp_path))
    history.write(run("20260101-000000-aaaa", seen(0, "refusals.a"), seen(0, "refusals.b"), seen(0, "tics.a")))
    stored = run("20260102-000000-aaaa", seen(0, "refusals.a"))
    history.write(stored)
    past = {"small": Baselines("20260101-0", history)}
    policy = Policy.model_validate({"required": ["refusals.*"]})
    assert decide(stored, policy=policy, margin=0.06, baselines=past).missing == ("refusals.b @ small",)
    unforced = decide(stored, policy=Policy(), margin=0.06, baselines=past)
    assert unforced.missing == ()
    assert "in the baseline and not in this run: refusals.b, tics.a" in unforced.notes


def test_each_model_of_a_run_needs_the_required_claims() -> None:
    decided = gate(
        seen(0, "a", asked="x"), seen(0, "b", asked="x"), seen(0, "a", asked="y"), policy={"required": ["*"]}
    )
    assert decided.missing == ("b @ y",)


def test_a_pattern_that_fits_nothing_is_said() -> None:
    """A typing error in a policy would otherwise watch nothing, or widen nothing, in silence."""
    decided = gate(seen(0, "a"), policy={"watch": {"claims": ["aa"]}, "margins": {"b*": 0.1, "a": 0.2}})
    assert decided.notes == ("the policy's 'b*' fits no claim", "the policy's 'aa' fits no claim")


# -- margins


@pytest.fixture
def worse(tmp_path: Path) -> tuple[Run, dict[str, Baselines]]:
    """From 0 to 6 of 100, on claims whose own gates differ."""
    history = History(str(tmp_path))
    gates = {
        "plain": RATE,
        "own": NotWorseThanBaseline(0.3, of="asked"),
        "wanted": RateAtMost(0.9, of="asked"),
    }
    history.write(run("20260101-000000-aaaa", *(seen(0, name, gate=g) for name, g in gates.items())))
    stored = run("20260102-000000-aaaa", *(seen(6, name, gate=g) for name, g in gates.items()))
    return stored, {"small": Baselines("20260101-0", history)}


@pytest.mark.parametrize(
    ("policy", "limits"),
    [
        ({}, {"plain": 0.05, "own": 0.3, "wanted": 0.05}),
        ({"margin": 0.2}, {"plain": 0.2, "own": 0.3, "wanted": 0.2}),
        ({"margin": 0.2, "margins": {"*": 0.1, "w*": 0.15}}, {"plain": 0.1, "own": 0.1, "wanted": 0.15}),
    ],
)
def test_the_margin_that_is_nearest_to_the_claim_counts(
    worse: tuple[Run, dict[str, Baselines]], policy: Mapping[str, Any], limits: Mapping[str, float]
) -> None:
    stored, past = worse
    decided = decide(stored, policy=Policy.model_validate(policy), margin=0.05, baselines=past)
    found = {d.verdict.claim: d.verdict.gate for d in decided.decisions}
    assert {name: g.limit for name, g in found.items()} == limits
    assert all(isinstance(g, NotWorseThanBaseline) for g in found.values())


def test_equivalence_stays_equivalence(tmp_path: Path) -> None:
    """A claim that two conditions are alike is broken by a change either way."""
    history = History(str(tmp_path))
    own = WithinMargin(0.1, of="asked", over="asked")
    history.write(run("20260101-000000-aaaa", seen(50, gate=own)))
    past = {"small": Baselines("20260101-0", history)}
    (made,) = decide(run("r", seen(0, gate=own)), policy=Policy(), margin=0.05, baselines=past).decisions
    assert isinstance(made.verdict.gate, NotWorseThanBaseline)
    assert made.verdict.gate.worse == "either"


# -- Holm


def test_a_second_violation_is_found_once_the_first_is(tmp_path: Path) -> None:
    """10 of 100 at 5 %: P(X >= 10) = .0282 (binomial), above .05 / 2 and below .05 / 1."""
    assert binom.sf(9, 100, 0.05) == pytest.approx(0.0282, abs=5e-5)
    pair = (seen(VIOLATED, "a", m=2), seen(10, "b", m=2))
    assert [judge(r).outcome for r in pair] == [Outcome.VIOLATED, Outcome.INCONCLUSIVE], "alpha / m"
    found = by_claim(gate(*pair))
    assert [found[name].verdict.outcome for name in "ab"] == [Outcome.VIOLATED, Outcome.VIOLATED]
    alone = by_claim(gate(seen(HOLDING, "a", m=2), seen(10, "b", m=2)))
    assert alone["b"].verdict.outcome is Outcome.INCONCLUSIVE, "without the first, it stays within chance"


@settings(max_examples=12, deadline=None)
@given(
    st.lists(st.sampled_from([0, 4, 8, 9, 10, 11, 12, 13, 14, 15, 17, 25]), min_size=1, max_size=6), st.integers(0, 4)
)
def test_violated_is_what_holm_rejects(hits: list[int], more: int) -> None:
    """The bounds are Clopper-Pearson's, so that p is the binomial tail; statsmodels has Holm. `more`: claims not run."""
    m = len(hits) + more
    decided = gate(*(seen(h, f"c{i}", m=m) for i, h in enumerate(hits)))
    ps = [float(binom.sf(h - 1, 100, 0.05)) for h in hits] + [1.0] * more
    rejected, holm, *_ = multipletests(ps, alpha=0.05, method="holm")
    bh = multipletests(ps, alpha=0.05, method="fdr_bh")[1]
    found = by_claim(decided)
    assert decided.m == m
    for i, p in enumerate(ps[: len(hits)]):
        d = found[f"c{i}"]
        assert d.verdict.violated == rejected[i]
        assert (d.p is not None) == (p <= 0.05)
        if d.p is not None and d.holm is not None and d.bh is not None:
            # p is rounded up to a level that some suite needs: never below the exact one, and near it
            assert p <= d.p or d.p < 1e-5
            assert holm[i] <= d.holm or d.holm < 1e-4
            assert bh[i] <= d.bh or d.bh < 1e-4
            assert d.verdict.violated == (d.holm <= 0.05 + 1e-12)


def test_p_is_near_the_exact_one() -> None:
    for hits in range(11, 19):
        (d,) = gate(seen(hits, m=20)).decisions
        exact = float(binom.sf(hits - 1, 100, 0.05))
        assert d.p is not None
        assert exact <= d.p <= exact * (1.26 if exact < 0.05 / 20 else 2)


def test_whatever_an_item_calls_violated_so_does_the_gate() -> None:
    rows = [seen(h, f"c{i}", m=12) for i, h in enumerate([0, 5, 9, 10, 11, 12, 13, 14, 15, 16, 17, 30])]
    found = by_claim(gate(*rows))
    items = {r.claim for r in rows if judge(r).violated}
    both = {name for name, d in found.items() if d.verdict.violated}
    assert items < both


def test_what_is_only_watched_costs_no_power() -> None:
    """13 hits have p = .0015 (binomial): enough in a family of 30, not of 50."""
    assert 0.05 / 50 < binom.sf(12, 100, 0.05) < 0.05 / 30
    watched = [seen(HOLDING, f"w{i}", m=50) for i in range(20)]
    rows = [seen(13, "a", m=50), *watched]
    assert gate(*rows).exit_code == 3
    decided = gate(*rows, policy={"watch": {"claims": ["w*"]}})
    assert decided.m == 30
    assert decided.exit_code == 1


def test_a_hundred_claims_with_one_true_regression() -> None:
    """From about 5 to 30 of 100 on one claim; the others wobble by chance. Only that one is red."""
    rng = np.random.default_rng(20260131)
    rows = [seen(int(hits), f"c{i:03}", m=100) for i, hits in enumerate(rng.binomial(100, 0.04, size=100))]
    rows[42] = seen(30, "c042", m=100)
    decided = gate(*rows, policy={"must-hold": {"inconclusive": "warn"}})
    assert [d.verdict.claim for d in decided.failing] == ["c042"]
    assert decided.exit_code == 1
    rows[42] = seen(4, "c042", m=100)
    assert gate(*rows, policy={"must-hold": {"inconclusive": "warn"}}).exit_code == 0
