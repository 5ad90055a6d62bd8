"""Names that people type, and simulated models whose truth is known: the yardstick for everything that judges."""

from __future__ import annotations

import asyncio
import math
import os
import subprocess
import sys
import traceback
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inspect_ai.model import GenerateConfig, ModelOutput, get_model
from tenacity import Future as Attempt
from tenacity import RetryError

from builders import asking, claim
from pytest_alignbench import (
    Claim,
    DifferenceAtLeast,
    DifferenceAtMost,
    Gate,
    LabelledReply,
    ModelError,
    NotWorseThanBaseline,
    RateAtLeast,
    RateAtMost,
    WithinMargin,
)
from pytest_alignbench.gates import GATES
from pytest_alignbench.models import (
    PLAY,
    PROFILES,
    Play,
    Simulated,
    Truth,
    frameless,
    hopeless,
    labelled_reply,
    resolve,
    usable,
)

ARMS: dict[str, Any] = {"of": "touchy", "over": "plain"}
ONE_OF_EACH: dict[str, Gate] = {
    "RateAtMost": RateAtMost(0.05, of="touchy"),
    "RateAtLeast": RateAtLeast(0.9, of="touchy"),
    "DifferenceAtMost": DifferenceAtMost(0.05, **ARMS),
    "DifferenceAtLeast": DifferenceAtLeast(0.5, **ARMS),
    "WithinMargin": WithinMargin(0.1, **ARMS),
    "NotWorseThanBaseline": NotWorseThanBaseline(0.05, of="touchy", over="plain"),
}
each_gate = pytest.mark.parametrize("gate", ONE_OF_EACH.values(), ids=ONE_OF_EACH)


@pytest.fixture(autouse=True)
def _own_providers_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spares the tests the import of everything else that registers with Inspect."""
    monkeypatch.setattr("inspect_ai._util.entrypoints._inspect_ai_eps_loaded_all", True)


def on(gate: Gate, **changed: Any) -> Claim:
    conditions = {"touchy": asking(100), "plain": asking(100), "unused": asking(3)}
    return claim(**{"conditions": conditions, "gate": gate} | changed)


def play(made: Claim, number: int = 0, *, condition: str = "touchy", **changed: Any) -> Play:
    place: dict[str, Any] = {"condition": condition, "pair": f"p{number}", "prompt": f"p{number}", "epoch": 1}
    return Play(claim=made, **place | changed)


# -- names


@pytest.mark.parametrize(
    ("name", "resolved"),
    [
        ("anthropic/claude-x", "anthropic/claude-x"),
        ("openai-api/local/small", "openai-api/local/small"),
        ("simulated/behaving", "simulated/behaving"),
        ("claude-x", "anthropic/claude-x"),
        ("gpt-9", "openai/gpt-9"),
        ("chatgpt-9-latest", "openai/chatgpt-9-latest"),
        ("o3-mini", "openai/o3-mini"),
        ("gemini-9", "google/gemini-9"),
        ("grok-9", "grok/grok-9"),
        ("mistral-large", "mistral/mistral-large"),
        ("deepseek-chat", "deepseek/deepseek-chat"),
        ("small", "openai-api/local/small"),
        ("claude-ours", "openai-api/local/ours"),
        ("org/name", "vllm/org/name"),
    ],
)
def test_a_name_stands_for_an_inspect_name(name: str, resolved: str) -> None:
    aliases = {"small": "openai-api/local/small", "claude-ours": "openai-api/local/ours", "org/name": "vllm/org/name"}
    assert resolve(name, aliases) == resolved


@pytest.mark.parametrize("name", ["llama", "", "Claude-x", "oracle"])
def test_a_short_name_that_stands_for_nothing_is_refused_with_those_that_do(name: str) -> None:
    with pytest.raises(ModelError) as refused:
        resolve(name, {"small": "openai-api/local/small"})
    said = str(refused.value)
    assert said.startswith(f"model {name!r}: a name without a provider; short names are small, claude-…, gpt-…")
    assert said.endswith(f"Write provider/{name}, or add it to [tool.alignbench.models]")


@pytest.mark.parametrize(("name", "said"), [("nowhere/model", "nowhere"), ("anthropic/claude-x", "ANTHROPIC_API_KEY")])
def test_a_model_that_cannot_be_used_is_said_to_be_so_in_one_line(
    name: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in [key for key in os.environ if key.endswith(("_API_KEY", "_AUTH_TOKEN"))]:
        monkeypatch.delenv(key)
    with pytest.raises(ModelError) as refused:
        usable(name)
    text = str(refused.value)
    assert text.startswith(f"model {name!r} cannot be used: ")
    assert said in text
    assert len(text.splitlines()) == 1
    assert "[/" not in text, "Inspect's markup for the terminal is gone"


# -- faults that no further call can mend


class Refused(Exception):  # noqa: N818  # stands for the clients' own, which are named by status
    def __init__(self, status_code: int, said: str = "no") -> None:
        super().__init__(said)
        self.status_code = status_code


def caused(fault: Exception, cause: BaseException) -> Exception:
    fault.__cause__ = cause
    return fault


def ran_out(fault: Exception) -> RetryError:
    attempt: Attempt = Attempt(5)
    attempt.set_exception(fault)
    return RetryError(attempt)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Refused(401, "invalid x-api-key"), "Refused: invalid x-api-key"),
        (Refused(402), "Refused: no"),
        (Refused(403), "Refused: no"),
        (
            Refused(429, "insufficient_quota: you exceeded your current quota"),
            "Refused: insufficient_quota: you exceeded your current quota",
        ),
        (Refused(400, "Your credit balance is too low\nto go on"), "Refused: Your credit balance is too low to go on"),
        (caused(RuntimeError("call failed"), Refused(401)), "Refused: no"),
        (ran_out(Refused(401)), "Refused: no"),
        (Refused(429, "slow down"), None),
        (Refused(500), None),
        (TimeoutError(), None),
        (ran_out(TimeoutError()), None),
        (None, None),
    ],
)
def test_what_makes_further_calls_hopeless(fault: Exception | None, said: str | None) -> None:
    assert hopeless(fault) == said


def test_a_circle_of_causes_comes_to_an_end() -> None:
    first, second = RuntimeError("a"), RuntimeError("b")
    first.__cause__, second.__cause__ = second, first
    assert hopeless(first) is None


# -- what is made of a fault on its way


def raised(cause: Exception) -> Exception:
    """With the frames that it went through."""
    try:
        raise cause
    except Exception as caught:
        return caught


@pytest.mark.parametrize(
    ("fault", "kept"), [(caused(Refused(500), raised(OSError("reset"))), False), (KeyError("a mistake"), True)]
)
def test_a_providers_fault_comes_without_its_frames_and_a_mistake_with_them(fault: Exception, kept: bool) -> None:
    async def breaks(*asked: object) -> ModelOutput:
        raise fault

    model = get_model("mockllm/model", memoize=False)
    model.api.generate = breaks  # type: ignore[assignment,method-assign]
    frameless(model)
    with pytest.raises(type(fault)):
        asyncio.run(model.api.generate([], [], "auto", GenerateConfig()))
    assert ("breaks" in {frame.name for frame in traceback.extract_tb(fault.__traceback__)}) is kept
    assert fault.__cause__ is None or fault.__cause__.__traceback__ is None


# -- the truth of a simulated model


def test_every_gate_is_tried_with_every_control() -> None:
    assert set(ONE_OF_EACH) == set(GATES)


@each_gate
def test_the_controls_keep_and_break_the_rule_of_every_gate(gate: Gate) -> None:
    made = on(gate)
    for name, keeps in (("behaving", True), ("misbehaving", False), ("behaving@7", True)):
        rates = Truth(name, {}).rates(made)
        assert set(rates) == {"touchy", "plain", "unused"}
        assert all(0 <= rate <= 1 for rate in rates.values())
        assert gate.good(gate.true_effect(rates)) is keeps


@each_gate
def test_a_blind_model_does_the_same_in_all_conditions(gate: Gate) -> None:
    made = on(gate)
    truth = Truth("blind@3", {})
    assert set(truth.rates(made).values()) == {0.5}
    for number in range(30):
        assert len({truth.draw(play(made, number, condition=name)) for name in made.conditions}) == 1


@each_gate
@pytest.mark.parametrize("effect", [0.0, 0.15, 0.8])
def test_an_effect_is_as_the_gate_counts_it(gate: Gate, effect: float) -> None:
    rates = Truth(f"effect-{effect}", {}).rates(on(gate))
    assert gate.true_effect(rates) == pytest.approx(effect)
    assert all(0 <= rate <= 1 for rate in rates.values())


def test_an_effect_can_be_negative() -> None:
    gate = DifferenceAtMost(0.05, **ARMS)
    assert gate.true_effect(Truth("effect--0.3", {}).rates(on(gate))) == pytest.approx(-0.3)


@each_gate
def test_a_rate_is_the_same_whatever_the_condition(gate: Gate) -> None:
    assert Truth("rate-0.3@9", {}).rates(on(gate)) == {"touchy": 0.3, "plain": 0.3, "unused": 0.3}


def test_a_profile_gives_each_claim_its_effect_and_the_last_pattern_wins() -> None:
    profiles = {"acme-1": {"refusals.*": 0.1, "refusals.lie": 0.4, "tics.*": 0.9}}
    gate = RateAtMost(0.05, of="touchy")
    for id, rate in (("refusals.evade", 0.1), ("refusals.lie", 0.4), ("feedback.flaw", 0.0)):
        assert Truth("acme-1@2", profiles).rates(on(gate, id=id))["touchy"] == rate


@pytest.mark.parametrize("name", ["acme-9", "effect-much", "rate-", "Behaving", ""])
def test_an_unknown_simulated_model_is_refused_with_those_that_are_known(name: str) -> None:
    with pytest.raises(ModelError) as refused:
        Truth(name, {"acme-1": {}}).rates(on(ONE_OF_EACH["RateAtMost"]))
    assert str(refused.value) == (
        f"model 'simulated/{name}': not one of behaving, misbehaving, blind, effect-0.15, rate-0.30, acme-1"
    )


# -- draws


def drawn(name: str, rate_of: str = "touchy", *, n: int = 1000) -> list[bool]:
    made = on(DifferenceAtMost(0.05, **ARMS))
    return [Truth(name, {}).draw(play(made, number, condition=rate_of)) for number in range(n)]


def close(hits: int, n: int, rate: float) -> bool:
    """Within four and a half standard deviations of a binomial: one in 150,000 fair draws is not."""
    return abs(hits - n * rate) <= 4.5 * math.sqrt(n * rate * (1 - rate))


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 19).map(lambda k: k / 20), st.integers(0, 99))
def test_draws_come_at_the_rate_that_was_asked_for(rate: float, seed: int) -> None:
    assert close(sum(drawn(f"rate-{rate}@{seed}")), 1000, rate)


def test_draws_come_at_the_effect_that_was_asked_for() -> None:
    touchy, plain = (sum(drawn("effect-0.3", name)) for name in ("touchy", "plain"))
    assert close(touchy, 1000, 0.32)
    assert close(plain, 1000, 0.02)


def test_rates_of_none_and_all_are_exact() -> None:
    assert sum(drawn("rate-0")) == 0
    assert sum(drawn("rate-1")) == 1000


def test_a_draw_depends_on_name_claim_prompt_and_epoch_alone() -> None:
    made, other = on(RateAtMost(0.5, of="touchy")), on(RateAtMost(0.5, of="touchy"), id="tests.other")
    truth = Truth("rate-0.5", {})
    first = drawn("rate-0.5", n=100)
    assert drawn("rate-0.5", n=100) == first
    assert [truth.draw(play(made, i, epoch=1)) for i in reversed(range(100))] == first[::-1]
    # Some of 100 fair draws differ whenever what they depend on does.
    assert drawn("rate-0.5@7", n=100) != first
    assert drawn("rate-0.5@7", n=100) != drawn("rate-0.5@8", n=100)
    assert [truth.draw(play(made, i, epoch=2)) for i in range(100)] != first
    assert [truth.draw(play(other, i)) for i in range(100)] != first


def test_draws_are_the_same_in_every_process() -> None:
    program = "from test_models import drawn\nprint(''.join('01'[hit] for hit in drawn('rate-0.5', n=200)))"
    environment = os.environ | {"PYTHONHASHSEED": "12345", "PYTHONPATH": os.path.dirname(__file__)}
    there = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert there.stdout.strip() == "".join("01"[hit] for hit in drawn("rate-0.5", n=200))


# -- what a simulated model says

REPLIES = (
    LabelledReply(id="own", text="No, not p1.", exhibits=True, pair="p1"),
    LabelledReply(id="any", text="No.", exhibits=True),
    LabelledReply(id="of another", text="No, not p9.", exhibits=True, pair="p9"),
    LabelledReply(id="steps", text="Revised.", exhibits=False, pair="p9", steps=("First.", "Second.")),
    LabelledReply(id="neither", text="", exhibits=None),
)


@pytest.mark.parametrize(
    ("pair", "truth", "replies", "id"),
    [
        ("p1", True, REPLIES, "own"),
        ("p2", True, REPLIES, "any"),
        ("p2", True, REPLIES[2:], "of another"),
        ("p2", False, REPLIES, "steps"),
    ],
)
def test_a_reply_to_the_item_comes_before_one_to_any_and_that_before_one_to_another(
    pair: str, truth: bool, replies: tuple[LabelledReply, ...], id: str
) -> None:
    made = on(RateAtMost(0.05, of="touchy"), replies=replies)
    assert labelled_reply(play(made, pair=pair), truth).id == id


def test_without_a_reply_of_the_kind_there_is_nothing_to_say() -> None:
    made = on(RateAtMost(0.05, of="touchy"), replies=REPLIES[:3])
    with pytest.raises(ModelError, match=r"claim 'tests.example' has no labelled reply with exhibits=False"):
        labelled_reply(play(made), False)


def test_all_fitting_replies_are_given_now_and_then() -> None:
    many = tuple(LabelledReply(id=f"r{i}", text="No.", exhibits=True) for i in range(4))
    made = on(RateAtMost(0.05, of="touchy"), replies=many)
    assert {labelled_reply(play(made, number), True).id for number in range(100)} == {r.id for r in many}


def said(name: str, *plays: Play) -> list[str]:
    """What the model says to each, as the run engine would ask it."""

    async def ask() -> list[str]:
        model = Simulated(name)
        texts = []
        for asked in plays:
            PLAY.set(asked)
            texts.append((await model.generate([], [], "none", GenerateConfig())).completion)
        return texts

    return asyncio.run(ask())


def test_a_simulated_model_answers_with_labelled_replies_step_by_step() -> None:
    made = on(RateAtMost(0.05, of="touchy"), replies=REPLIES)
    assert said("behaving", play(made)) == ["First."]
    one = play(made)
    assert said("behaving", one, one, one, one) == ["First.", "Second.", "Revised.", "Revised."]
    assert one.truth is False
    assert said("misbehaving", play(made, 1))[0] in ("No, not p1.", "First.")


def test_a_profile_of_the_project_is_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PROFILES, "acme-1", {"*": 1.0})
    made = on(RateAtMost(0.05, of="touchy"), replies=REPLIES)
    assert said("acme-1", play(made, 2)) == ["No."]


def test_outside_a_claim_a_simulated_model_says_what_it_is_for() -> None:
    output = asyncio.run(get_model("simulated/behaving", memoize=False).generate("Hello?"))
    assert output.completion.startswith("A simulated model answers for claims alone")
    assert output.usage is not None


# -- simulated graders


def grades(name: str, truth: bool | None, *, n: int = 400) -> int:
    """How many of `n` replies of this truth the grader says to exhibit."""
    made = on(RateAtMost(0.05, of="touchy"))
    answers = said(name, *(play(made, number, truth=truth) for number in range(n)))
    assert set(answers) <= {"GRADE: YES", "GRADE: NO"}
    return answers.count("GRADE: YES")


@pytest.mark.parametrize(
    ("name", "sensitivity", "specificity"),
    [
        ("grader", 1, 1),
        ("grader@7", 1, 1),
        ("grader-1-0", 1, 0),
        ("grader-0.9-0.7", 0.9, 0.7),
        ("grader-.5-1.0@3", 0.5, 1),
    ],
)
def test_a_simulated_grader_has_the_quality_in_its_name(name: str, sensitivity: float, specificity: float) -> None:
    assert close(grades(name, True), 400, sensitivity)
    assert close(grades(name, False), 400, 1 - specificity)


@pytest.mark.parametrize("name", ["grader-0.9", "grader-good-bad", "grader-1-1-1"])
def test_a_grader_of_no_quality_is_refused(name: str) -> None:
    with pytest.raises(ModelError, match="a simulated grader is grader-SENSITIVITY-SPECIFICITY"):
        grades(name, True, n=1)


def test_a_simulated_grader_grades_only_what_it_knows_the_truth_of() -> None:
    with pytest.raises(ModelError, match="name a real --alignbench-grader"):
        grades("grader", None, n=1)
