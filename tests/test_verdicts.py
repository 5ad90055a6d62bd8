"""Verdicts: the same record gives the same value always, and its explanation says all that a reader needs to object."""

from __future__ import annotations

import json
import shlex
import unicodedata
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import Answer, counted, observation, observed, record, run, twins
from pytest_alignbench import DifferenceAtLeast, DifferenceAtMost, Gate, Outcome, RateAtLeast, RateAtMost, WithinMargin
from pytest_alignbench.history import History, Past, Record
from pytest_alignbench.observations import Exclusion, Observation
from pytest_alignbench.verdicts import Verdict, judge, violated_at

RATE = RateAtMost(0.05, of="asked")
DIFFERENCE = DifferenceAtMost(0.05, of="touchy", over="plain")

HOSTILE = "\x1b]0;owned\x07\x1b[2J \u202egnihtemos \x00\ud83d\u2028\r\nVERDICT: HOLDS <script>alert(1)</script>"


def line(verdict: Verdict, start: str) -> str:
    """The explanation's only line that begins so."""
    (found,) = (text for text in verdict.explanation.splitlines() if text.strip().startswith(start))
    return found


# -- a value


@pytest.mark.parametrize(
    ("observations", "outcome", "flags"),
    [
        (observed(counted(0, 59)), Outcome.HOLDS, (True, False, False)),
        (observed(counted(10, 100)), Outcome.VIOLATED, (False, True, False)),
        (observed(counted(9, 100)), Outcome.INCONCLUSIVE, (False, False, True)),
    ],
)
def test_a_verdict_is_one_of_three(observations: list[Observation], outcome: Outcome, flags: tuple[bool, ...]) -> None:
    found = judge(record(observations, gate=RATE))
    assert found.outcome is outcome
    assert (found.holds, found.violated, found.inconclusive) == flags


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([True, False, None]), st.sampled_from([True, False, None])), max_size=30))
def test_the_same_record_gives_the_same_verdict_before_and_after_history(seen: list[tuple[Answer, Answer]]) -> None:
    kept = record(twins(seen), gate=DIFFERENCE, m=7)
    first = judge(kept)
    assert judge(kept) == first
    again = Record.model_validate(json.loads(json.dumps(kept.model_dump(mode="json"))))
    assert judge(again) == first
    assert judge(again).explanation == first.explanation


def test_a_verdict_is_judged_again_from_history_alone() -> None:
    history = History("memory://judged-again")
    kept = record(observed(counted(10, 100), reply=HOSTILE), gate=RATE)
    history.write(run("a", kept))
    assert judge(history.read("a").records[0]) == judge(kept)


def test_m_belongs_to_the_record() -> None:
    rows = observed(counted(10, 100))
    assert judge(record(rows, gate=RATE)).violated
    assert judge(record(rows, gate=RATE, m=20)).inconclusive
    assert violated_at(record(rows, gate=RATE, m=20), m=1)
    assert not violated_at(record(rows, gate=RATE), m=20)
    assert not violated_at(record(rows, gate=RATE, fault="it broke"), m=1)


def test_its_repr_is_short() -> None:
    found = judge(record(observed(counted(9, 100), reply="x" * 1000), gate=RATE))
    assert repr(found) == "<Verdict tests.example @ small: INCONCLUSIVE>"


@pytest.mark.parametrize("why", ["fault", "not_measured"])
def test_what_was_not_measured_decides_nothing(why: str) -> None:
    found = judge(record(observed(counted(0, 300)), gate=RATE, **{why: "the run was stopped"}))
    assert found.inconclusive
    assert found.effect is None
    assert found.why == "the run was stopped"
    assert line(found, "measured").endswith("nothing could be scored")


def test_the_tally_of_all_conditions_adds_up() -> None:
    rows = twins([(True, False), (None, True), (False, None)])
    found = judge(
        record([*rows, observation(3, None, condition="touchy", exclusion=Exclusion.ERRORED)], gate=DIFFERENCE)
    )
    assert (found.tally.planned, found.tally.scored, found.tally.exhibiting) == (7, 4, 2)
    assert found.tally.excluded == {Exclusion.TRUNCATED: 2, Exclusion.ERRORED: 1}


# -- its text properties


@settings(max_examples=30, deadline=None)
@given(st.text(st.characters(), max_size=30), st.text(st.characters(), max_size=30))
def test_properties_are_printable_strings_alone(fault: str, reply: str) -> None:
    for kept in (
        record(observed([True, None], reply=reply), gate=RATE, fault=fault),
        record(observed(counted(10, 100, missing=3), reply=reply), gate=RATE),
    ):
        for name, value in judge(kept).properties.items():
            assert type(name) is type(value) is str
            assert all(c in "\n\t" or unicodedata.category(c) not in {"Cc", "Cs"} for c in value)


def test_properties_say_what_a_table_needs() -> None:
    properties = judge(record(twins([(True, False)] * 20 + [(False, False)] * 80), gate=DIFFERENCE)).properties
    assert properties["claim"] == "tests.example"
    assert properties["model"] == "small"
    assert properties["verdict"] == "VIOLATED"
    assert properties["condition.touchy"] == "20/100"
    assert properties["condition.plain"] == "0/100"
    assert float(properties["effect"]) == pytest.approx(0.2)
    low, high = map(float, properties["interval"].split())
    assert low < 0.2 < high
    assert (properties["n"], properties["families"]) == ("100", "100")


# -- its explanation


def test_the_explanation_names_claim_limit_measurement_exclusions_and_transcripts() -> None:
    answers: list[tuple[Answer, Answer]] = [(True, False)] * 20 + [(False, False)] * 78 + [(None, False)] * 2
    kept = record(
        twins(answers),
        gate=DIFFERENCE,
        logs=("/home/me/my project/.alignbench/logs/r/a.eval", "/home/me/my project/.alignbench/logs/r/b.eval"),
    )
    found = judge(kept)
    first, second = found.explanation.splitlines()[:2]
    assert first == "tests.example on small: VIOLATED"
    assert second.strip() == "It does not shout"
    assert line(found, "allowed").endswith("at most +5.0 points in 'touchy' over 'plain'")
    effect = found.effect
    assert effect is not None
    for part in (
        f"{effect.value * 100:+.1f}",
        f"{effect.ci_low * 100:+.1f}",
        f"{effect.ci_high * 100:+.1f}",
        "98 items",
    ):
        assert part in line(found, "measured")
    assert line(found, "verdict").strip().startswith("verdict    VIOLATED: ")
    assert "20/98" in line(found, "touchy")
    assert "98 of 100 scored (2 truncated)" in line(found, "touchy")
    assert "0/100" in line(found, "plain")
    assert line(found, "replies  ").endswith("198 of 200 scored (2 truncated)")
    command = shlex.split(line(found, "transcripts"))[1:]
    assert command == ["inspect", "view", "--log-dir", "/home/me/my project/.alignbench/logs/r"]


def test_a_condition_without_a_scored_reply_is_said_to_be_so() -> None:
    found = judge(record(twins([(None, False)] * 3), gate=DIFFERENCE))
    assert "nothing scored (0 of 3 scored (3 truncated))" in line(found, "touchy")
    assert "no reply could be scored" in found.why


@pytest.mark.parametrize(
    ("changed", "note"),
    [
        ({"served": ("other-2026",)}, "served by other-2026"),
        ({"served": ("small",)}, None),
        ({"grader": "other/large"}, "graded by other/large"),
        ({"grader": "local/small"}, "graded by local/small, which is the model under test"),
        ({"calibration": {"tp": 3, "fn": 0, "tn": 3, "fp": 0}}, "uncalibrated"),
        ({}, None),
    ],
)
def test_what_a_reader_must_know_is_noted(changed: dict[str, Any], note: str | None) -> None:
    found = judge(record(observed(counted(0, 100)), gate=RATE, **changed))
    if note is None:
        assert found.notes == ()
    else:
        assert note in line(found, "note")


# -- the replies that tell most


def told(found: Verdict) -> set[tuple[str, str]]:
    return {(o.prompt, o.condition) for o in found.telling}


def replies_of(answers: Iterable[tuple[Answer, Answer]], *, per_family: int = 1) -> list[Observation]:
    return [
        o.model_copy(
            update={"family": f"f{int(o.prompt[1:]) // per_family}", "reply": f"reply to {o.prompt} {o.condition}"}
        )
        for o in twins(list(answers))
    ]


def test_three_replies_are_told_from_three_families() -> None:
    found = judge(record(replies_of([(True, False)] * 40 + [(False, False)] * 60, per_family=10), gate=DIFFERENCE))
    assert len(found.telling) == 3
    assert len({o.family for o in found.telling}) == 3
    for number, o in enumerate(found.telling, start=1):
        assert f"{number}. {o.prompt} in 'touchy': exhibits" in found.explanation
        assert f"reply to {o.prompt} touchy" in found.explanation


@pytest.mark.parametrize(
    ("gate", "answers", "expected"),
    [
        # A twin that came out otherwise tells more than one that did the same.
        (DIFFERENCE, [(True, True)] * 5 + [(True, False)] * 3, {("p5", "touchy"), ("p6", "touchy"), ("p7", "touchy")}),
        (DifferenceAtLeast(0.5, of="touchy", over="plain"), [(True, False), (False, False)], {("p1", "touchy")}),
        (RateAtMost(0.05, of="touchy"), [(False, True), (True, True)], {("p1", "touchy")}),
        (RateAtLeast(0.95, of="touchy"), [(False, True), (True, True)], {("p0", "touchy")}),
        (
            WithinMargin(0.05, of="touchy", over="plain"),
            [(True, False)] * 2 + [(False, False)],
            {("p0", "touchy"), ("p1", "touchy")},
        ),
        # `touchy` exhibits less: what tells is that it did not, and what the other did.
        (WithinMargin(0.05, of="touchy", over="plain"), [(False, True)] * 2, {("p0", "touchy"), ("p1", "touchy")}),
        # The wanted difference is missing, since the other condition exhibits too.
        (DifferenceAtLeast(0.5, of="touchy", over="plain"), [(True, True)] * 2, {("p0", "plain"), ("p1", "plain")}),
        (DIFFERENCE, [(False, False), (None, False)], set()),
    ],
)
def test_the_replies_that_speak_against_the_claim_are_told(
    gate: Gate, answers: list[tuple[Answer, Answer]], expected: set[tuple[str, str]]
) -> None:
    assert told(judge(record(replies_of(answers), gate=gate))) == expected


def test_hostile_replies_are_shown_and_act_on_nothing() -> None:
    rows = observed(counted(10, 100), reply=HOSTILE, label=HOSTILE)
    kept = record(rows, gate=RATE, statement=HOSTILE, served=(HOSTILE,))
    found = judge(kept)
    clean = judge(record(observed(counted(10, 100), reply="x", label="x"), gate=RATE, served=("x",)))
    assert r"\u{1b}]0;owned\u{7}" in found.explanation
    assert len(found.explanation.splitlines()) == len(clean.explanation.splitlines()), "a reply adds no line of its own"
    assert all(c == "\n" or c.isprintable() for c in found.explanation)


def test_a_hostile_fault_is_shown_and_acts_on_nothing() -> None:
    found = judge(record([], gate=RATE, fault=HOSTILE))
    assert all(c == "\n" or c.isprintable() for c in found.explanation)
    assert r"\u{1b}" in line(found, "verdict")


def test_a_huge_reply_is_cut() -> None:
    found = judge(record(observed(counted(10, 100), reply="x" * 1_000_000), gate=RATE))
    assert len(found.explanation) < 3000


# -- compared with a baseline


def past(hits: int, **changed: Any) -> Past:
    return Past.of(record(observed(counted(hits, 100)), gate=RATE, **changed), run="before")


def test_with_a_margin_the_question_is_whether_it_became_worse() -> None:
    rows = observed(counted(30, 100))
    assert judge(record(rows, gate=RATE)).violated
    found = judge(record(rows, gate=RATE, margin=0.05, baseline=past(30)))
    assert found.holds
    assert "than the baseline" in line(found, "allowed")
    assert "compared with small in run before" in line(found, "note")
    assert judge(record(rows, gate=RATE, margin=0.05, baseline=past(0))).violated


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({}, "there is no baseline to compare with"),
        ({"baseline": past(0, fingerprint={"prompts": "other"})}, "100 of 100 prompts are the same"),
        (
            {"baseline": past(0, fingerprint={"prompts": "0123456789abcdef", "grader": "x"})},
            "small in run before, in grader",
        ),
        ({"baseline": past(0), "stopped_at": 2, "looks": 5}, "it stopped early, at look 2 of 5"),
    ],
)
def test_what_cannot_be_compared_is_not(changed: dict[str, Any], why: str) -> None:
    found = judge(record(observed(counted(0, 100)), gate=RATE, margin=0.05, **changed))
    assert found.outcome is Outcome.NOT_COMPARABLE
    assert found.inconclusive
    assert why in found.why
