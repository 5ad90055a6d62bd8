"""A claim is a value that checks itself: what cannot be meant is refused when it is built, with the fix named."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import asking, claim
from pytest_alignbench import (
    Claim,
    ClaimError,
    Condition,
    DifferenceAtLeast,
    DifferenceAtMost,
    LabelledReply,
    RateAtLeast,
    RateAtMost,
    WithinMargin,
    inspect_task,
)

TASK = inspect_task("inspect_evals/example", exhibits=lambda value: value == "C")


def refused(**changed: Any) -> str:
    with pytest.raises(ClaimError) as refusal:
        claim(**changed)
    return str(refusal.value)


# -- refusals


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"statement": " "}, "has no statement; say in one sentence what would be false if it failed"),
        ({"conditions": {}}, "has no conditions; give it at least one, as {'name': prompts(…)}"),
        ({"epochs": 0}, "epochs=0; a prompt is asked at least once"),
        ({"gate": 0.05}, "gate=0.05 is no gate; use RateAtMost(…), DifferenceAtMost(…) …"),
        ({"scorer": None}, "has no scorer to score condition ['asked']; give it scorer=…"),
    ],
)
def test_what_a_claim_needs(changed: dict[str, Any], said: str) -> None:
    assert refused(**changed) == f"claim 'tests.example' {said}"


def test_a_condition_is_prompts_a_condition_or_a_task() -> None:
    assert refused(conditions={"asked": ["Why?"]}) == (
        "claim 'tests.example', condition 'asked': list is none; give prompts(…), Condition(…) or inspect_task(…)"
    )


@pytest.mark.parametrize(
    ("gate", "said"),
    [
        (RateAtMost(0.1), "its gate must say of which condition: of= one of 'touchy', 'plain'"),
        (RateAtMost(0.1, of="rude"), "its gate looks at condition 'rude', which is not one of 'touchy', 'plain'"),
        (
            DifferenceAtMost(0.1, of="touchy", over="calm"),
            "its gate looks at condition 'calm', which is not one of 'touchy', 'plain'",
        ),
        (
            DifferenceAtMost(0.1, of="plain", over="plain"),
            "its gate compares condition 'plain' with itself; of= and over= are two conditions",
        ),
    ],
)
def test_a_gate_looks_at_the_claims_own_conditions(gate: Any, said: str) -> None:
    assert (
        refused(conditions={"touchy": asking(100), "plain": asking(100)}, gate=gate) == f"claim 'tests.example': {said}"
    )


@pytest.mark.parametrize("id", ["", "Refusals", "-x", ".x", "a b", "a/b", "ü", "a\n", "a" * 101])
def test_an_id_is_fit_for_file_names_and_command_lines(id: str) -> None:
    said = refused(id=id)
    assert said.startswith(f"claim id {id!r}: an id is 1 to 100 of a-z, 0-9, '.', '_' and '-'")


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=120).filter(lambda text: not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,99}", text)))
def test_the_id_that_is_proposed_instead_is_accepted(id: str) -> None:
    proposed = re.search(r"did you mean '(.*)'\?", refused(id=id))
    assert proposed is not None
    assert claim(id=proposed[1]).id == proposed[1]


@pytest.mark.parametrize("id", ["a", "0", "refusals.sounds-harmful", "a_b.c-9", "a" * 100])
def test_ids(id: str) -> None:
    assert claim(id=id).id == id


# -- claims that could never hold

ONE = {"asked": asking(58)}
TWO = {"touchy": asking(58), "plain": asking(58)}


@pytest.mark.parametrize(
    ("conditions", "gate", "needed"),
    [
        # (1 - U)^n <= .05 for no failure in n: K15 in known_answers.json, 59 prompts for 5 % and 29 for 10 %.
        (ONE, RateAtMost(0.05), 59),
        ({"asked": asking(28)}, RateAtMost(0.10), 29),
        (ONE, RateAtLeast(0.95), 59),
        (TWO, DifferenceAtMost(0.05, of="touchy", over="plain"), 59),
        (TWO, DifferenceAtLeast(-0.05, of="touchy", over="plain"), 59),
        (TWO, WithinMargin(0.05, of="touchy", over="plain"), 59),
    ],
)
def test_a_claim_that_can_never_hold_is_refused_with_the_number_it_needs(
    conditions: dict[str, Any], gate: Any, needed: int
) -> None:
    said = refused(conditions=conditions, gate=gate)
    assert f"{len(next(iter(conditions.values())))} prompts" in said
    assert f"it would need {needed} prompts, each of a family of its own, or a wider limit" in said
    enough = {name: asking(needed) for name in conditions}
    assert claim(conditions=enough, gate=gate).calls == needed * len(conditions)


def test_a_wanted_difference_needs_enough_pairs_too() -> None:
    gate = DifferenceAtLeast(0.5, of="touchy", over="plain")
    said = refused(conditions={"touchy": asking(3), "plain": asking(3)}, gate=gate)
    needed = int(re.findall(r"it would need (\d+) prompts", said)[0])
    assert needed > 3
    assert claim(conditions={"touchy": asking(needed), "plain": asking(needed)}, gate=gate)
    mirrored = DifferenceAtMost(-0.5, of="plain", over="touchy")
    assert f"it would need {needed} prompts" in refused(
        conditions={"touchy": asking(3), "plain": asking(3)}, gate=mirrored
    )


def test_many_prompts_of_few_families_are_few_prompts() -> None:
    assert "200 prompts in 10 families" in refused(conditions={"asked": asking(200, per_family=20)})
    # One large family among many small ones is no better than its size.
    lopsided = [*asking(150, per_family=150), *asking(20, start=150)]
    assert "in 21 families" in refused(conditions={"asked": type(asking(1))(lopsided, source="lopsided")})


def test_a_limit_that_no_number_of_prompts_could_show() -> None:
    assert "not even 10,000 prompts would do, so give it a wider limit" in refused(gate=RateAtMost(0))


def test_only_pairs_count_for_a_difference() -> None:
    gate = DifferenceAtMost(0.05, of="touchy", over="plain")
    said = refused(conditions={"touchy": asking(100), "plain": asking(100, start=50)}, gate=gate)
    assert "50 prompts in 50 families" in said


def test_several_prompts_of_one_item_count_each_for_a_rate() -> None:
    rows = [p.model_copy(update={"pair": "same"}) for p in asking(100)]
    assert claim(conditions={"asked": type(asking(1))(rows, source="one item")})


def test_where_the_prompts_are_not_known_yet_nothing_is_refused() -> None:
    assert claim(conditions={"asked": TASK}, scorer=None).calls is None
    gate = DifferenceAtMost(0.05, of="asked", over="plain")
    assert claim(conditions={"asked": TASK, "plain": asking(3)}, gate=gate).calls is None


# -- what a claim is


def test_bare_prompts_become_a_condition() -> None:
    rows = asking(100)
    arms = claim(
        conditions={"asked": rows, "task": TASK, "own": Condition(prompts=rows)}, gate=RateAtMost(0.05, of="asked")
    ).arms
    assert arms == {"asked": Condition(prompts=rows), "task": TASK, "own": Condition(prompts=rows)}


def test_a_condition_puts_its_system_prompt_before_its_prompts() -> None:
    rows = asking(2)
    assert [p.system for p in Condition(prompts=rows, system="Be terse.").asked] == ["Be terse."] * 2
    assert Condition(prompts=rows).asked is rows


def test_a_gate_that_names_no_condition_takes_the_only_one() -> None:
    assert claim(gate=RateAtMost(0.05)).gate == RateAtMost(0.05, of="asked")


def test_one_gate_serves_claims_with_different_conditions() -> None:
    gate = RateAtMost(0.05)
    first, second = claim(conditions={"a": asking(100)}, gate=gate), claim(conditions={"b": asking(100)}, gate=gate)
    assert (first.gate.uses, second.gate.uses) == (("a",), ("b",))
    assert gate == RateAtMost(0.05)


@pytest.mark.parametrize("epochs", [1, 3])
def test_calls(epochs: int) -> None:
    made = claim(conditions={"a": asking(100), "b": asking(70)}, gate=RateAtMost(0.05, of="a"), epochs=epochs)
    assert made.calls == 170 * epochs


def test_a_claim_cannot_be_changed() -> None:
    made = claim(config={"temperature": 1.0})
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.version = 2  # type: ignore[misc]
    with pytest.raises(TypeError):
        made.conditions["other"] = asking(1)  # type: ignore[index]
    with pytest.raises(TypeError):
        made.config["temperature"] = 0.0  # type: ignore[index]
    changed = dataclasses.replace(made, version=2)
    assert (changed.version, changed.conditions) == (2, made.conditions)


def test_what_the_suite_changes_later_changes_no_claim() -> None:
    config, conditions = {"temperature": 1.0}, {"asked": asking(100)}
    made = claim(config=config, conditions=conditions)
    config["temperature"] = 0.0
    conditions.clear()
    assert made.config == {"temperature": 1.0}
    assert list(made.conditions) == ["asked"]


def test_labelled_replies_come_from_a_file_or_as_values(tmp_path: Path) -> None:
    file = tmp_path / "replies.jsonl"
    file.write_text(json.dumps({"id": "r", "text": "NO!", "exhibits": True}))
    reply = LabelledReply(id="r", text="NO!", exhibits=True)
    assert claim(replies=str(file)).labelled == (reply,)
    assert claim(replies=(reply,)).labelled == (reply,)
    assert claim().labelled == ()


def test_a_claim_takes_keywords_alone() -> None:
    with pytest.raises(TypeError, match="positional"):
        Claim("tests.example")  # type: ignore[call-arg]
