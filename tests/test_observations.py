"""Observations: a reply is scored or excluded for a cause, never both, and nothing planned is lost from the count."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from builders import observation
from pytest_alignbench.observations import Exclusion, Observation, Tally, by_condition

outcomes = st.one_of(st.booleans(), st.sampled_from(Exclusion))


def made(outcome: bool | Exclusion, *, condition: str = "asked") -> Observation:
    if isinstance(outcome, Exclusion):
        return observation(0, None, exclusion=outcome, condition=condition)
    return observation(0, outcome, condition=condition)


@pytest.mark.parametrize(("exhibits", "exclusion"), [(None, None), (True, Exclusion.EMPTY), (False, Exclusion.ERRORED)])
def test_a_reply_is_either_scored_or_excluded(exhibits: bool | None, exclusion: Exclusion | None) -> None:
    with pytest.raises(ValidationError, match=r"either scored .* or excluded for a cause") as refused:
        observation(7, exhibits, exclusion=exclusion)
    assert "'p7'" in str(refused.value)


def test_an_observation_cannot_be_changed_or_hold_more_than_it_names() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        observation(0, True).exhibits = False  # type: ignore[misc]
    with pytest.raises(ValidationError, match=r"[Ee]xtra"):
        observation(0, True, confidence=0.9)


@settings(deadline=None)
@given(st.lists(outcomes))
def test_a_tally_adds_up(seen: list[bool | Exclusion]) -> None:
    tally = Tally.of(map(made, seen))
    assert tally.planned == len(seen) == tally.scored + sum(tally.excluded.values())
    assert tally.exhibiting == seen.count(True)
    assert tally.excluded == Counter(outcome for outcome in seen if isinstance(outcome, Exclusion))


def test_a_tally_says_what_is_missing_and_why() -> None:
    assert str(Tally.of(map(made, [True, False]))) == "2 of 2 scored"
    mixed: list[bool | Exclusion] = [True, Exclusion.TRUNCATED, Exclusion.ERRORED, Exclusion.TRUNCATED]
    # In the order of Exclusion, whatever came first.
    assert str(Tally.of(map(made, mixed))) == "1 of 4 scored (1 errored, 2 truncated)"


def test_conditions_keep_their_order_and_their_replies() -> None:
    rows = [made(True, condition=name) for name in ("b", "a", "b", "c")]
    groups = by_condition(rows)
    assert list(groups) == ["b", "a", "c"]
    assert groups["b"] == [rows[0], rows[2]]


@settings(deadline=None)
@given(outcomes, st.text(st.characters()), st.integers(1, 9))
def test_an_observation_goes_through_ascii_json_unchanged(outcome: bool | Exclusion, reply: str, epoch: int) -> None:
    seen = made(outcome).model_copy(update={"reply": reply, "epoch": epoch})
    assert Observation.model_validate(json.loads(json.dumps(seen.model_dump(mode="json")))) == seen
