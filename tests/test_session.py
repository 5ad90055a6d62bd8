"""A session: who measures what, what is said before anything is spent, and what processes tell each other."""

from __future__ import annotations

import json
import os
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer
from inspect_ai.solver import TaskState

from builders import asking, claim, observed, record, run
from pytest_alignbench import (
    Claim,
    Condition,
    DifferenceAtLeast,
    DifferenceAtMost,
    LabelledReply,
    ModelError,
    Outcome,
    Prompt,
    Prompts,
    RateAtLeast,
    RateAtMost,
    WithinMargin,
    inspect_task,
)
from pytest_alignbench import session as module
from pytest_alignbench.data import Message
from pytest_alignbench.history import History
from pytest_alignbench.models import CONTROLS
from pytest_alignbench.progress import Progress
from pytest_alignbench.session import Case, Exchange, Options, Session, power
from pytest_alignbench.settings import Settings
from pytest_alignbench.sharing import shares

REPLIES = (LabelledReply(id="a", text="NO!", exhibits=True), LabelledReply(id="b", text="No.", exhibits=False))
TASK = inspect_task("inspect_evals/example", exhibits=lambda value: value == "C")


@scorer(metrics=[mean()])
def shouts() -> Scorer:
    async def score(state: TaskState, target: Target) -> Score:
        return Score(value=state.output.completion.isupper())

    return score


@scorer(metrics=[mean()], grader=True)
def graded() -> Scorer:
    return shouts()


def session(root: Path, options: dict[str, Any] | None = None, *, workers: int = 1, **settings: Any) -> Session:
    return Session(Options(**options or {}), Settings(**settings), root=root, run="20260131-142530-aa", workers=workers)


def case(asked: str | None = "simulated/behaving", **changed: Any) -> Case:
    return Case(claim(**{"scorer": shouts(), "replies": REPLIES} | changed), asked)


# -- shares


def distinct(costs: list[int]) -> list[tuple[str, int]]:
    return [(f"claim-{number} @ small", cost) for number, cost in enumerate(costs)]


@settings(deadline=None)
@given(st.lists(st.integers(0, 1000), max_size=40), st.integers(1, 8))
def test_shares_give_each_case_to_one_worker_in_order(costs: list[int], workers: int) -> None:
    given = shares(distinct(costs), workers)
    assert len(given) == workers
    assert sorted(index for share in given for index in share) == list(range(len(costs)))
    assert all(share == sorted(share) for share in given)
    assert given == shares(tuple(distinct(costs)), workers)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 50), min_size=1, max_size=6), st.integers(1, 3))
def test_no_share_is_larger_than_four_thirds_of_the_best_possible(costs: list[int], workers: int) -> None:
    """Graham 1969: dearest first is within 4/3 - 1/(3 m) of the optimum, here found by trying all."""

    def largest(places: tuple[int, ...]) -> int:
        return max(sum(c for c, place in zip(costs, places, strict=True) if place == w) for w in range(workers))

    best = min(map(largest, product(range(workers), repeat=len(costs))))
    assert (
        max(sum(costs[i] for i in share) for share in shares(distinct(costs), workers))
        <= (4 / 3 - 1 / (3 * workers)) * best
    )


def test_cases_that_cost_nothing_are_spread_too() -> None:
    assert [len(share) for share in shares(distinct([0] * 12), 4)] == [3] * 4


def test_items_of_one_claim_and_model_stay_with_one_worker() -> None:
    """Their claim is measured once, so whoever measures it judges all of them."""
    cases = [("a @ small", 10), ("b @ small", 10), ("a @ small", 10), ("a @ large", 10)]
    given = shares(cases, 3)
    assert sorted(map(len, given)) == [1, 1, 2]
    assert [0, 2] in given


# -- names


def test_models_and_grader_are_as_named(tmp_path: Path) -> None:
    names = {"models": ("small", "claude-x"), "grader": "gpt-9"}
    made = session(tmp_path, names, models={"small": "openai-api/local/small"})
    assert made.models == ("small", "claude-x")
    assert made.resolved("small") == "openai-api/local/small"
    assert made.grader == "openai/gpt-9"
    assert session(tmp_path, grader="claude-y").grader == "anthropic/claude-y"
    assert session(tmp_path, {"grader": "gpt-9"}, grader="claude-y").grader == "openai/gpt-9"
    assert session(tmp_path).grader is None


def test_controls_bring_their_own_models_and_grader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Spares the test the import of everybody else's providers.
    monkeypatch.setattr("inspect_ai._util.entrypoints._inspect_ai_eps_loaded_all", True)
    made = session(tmp_path, {"controls": True})
    assert made.models == CONTROLS
    assert made.grader == "simulated/grader"
    assert made.check_models() == []
    assert (
        session(tmp_path, {"controls": True, "grader": "simulated/grader-0.9-0.9"}).grader == "simulated/grader-0.9-0.9"
    )


def test_each_model_that_cannot_be_used_is_named_in_a_line(tmp_path: Path) -> None:
    troubles = session(tmp_path, {"models": ("simulated/blind", "llama"), "grader": "oracle"}).check_models(
        names_only=True
    )
    assert [trouble.partition(":")[0] for trouble in troubles] == ["model 'llama'", "model 'oracle'"]


# -- where and how


@pytest.mark.parametrize(
    ("option", "setting", "expected"),
    [
        (None, ".alignbench", "{root}/.alignbench"),
        ("mine", ".alignbench", "{root}/mine"),
        (None, "/srv/history", "/srv/history"),
        ("s3://bucket/history", ".alignbench", "s3://bucket/history"),
    ],
)
def test_history_is_below_the_project_unless_said_otherwise(
    tmp_path: Path, option: str | None, setting: str, expected: str
) -> None:
    made = session(tmp_path, {"history": option}, history=setting)
    assert made.history_url == expected.format(root=tmp_path)
    assert made.instrument.log_dir == f"{made.history_url}/logs/20260131-142530-aa"
    assert not (tmp_path / ".alignbench").exists()


@pytest.mark.parametrize(("option", "workers", "each"), [(None, 1, 30), (None, 4, 7), (10, 4, 2), (2, 4, 1)])
def test_workers_share_the_connections(tmp_path: Path, option: int | None, workers: int, each: int) -> None:
    made = session(tmp_path, {"connections": option}, workers=workers, connections=30)
    assert made.instrument.connections == each


def test_the_suites_declared_size_comes_before_what_was_collected(tmp_path: Path) -> None:
    for declared, m in ((None, 12), (100, 100)):
        made = session(tmp_path, claims=declared)
        made.m = 12
        assert made.wait(case(scorer=graded()), seconds=0).m == m  # type: ignore[union-attr]


# -- the plan


def test_a_plan_counts_calls_and_tokens(tmp_path: Path) -> None:
    rows = [Prompt(id=f"p{i}", input="x" * 40, system="y" * 8) for i in range(60)]
    talk = [
        Prompt(id="talk", input=(Message(role="user", content="x" * 12), Message(role="assistant", content="x" * 12)))
    ]
    conditions = {"a": Prompts([*rows, *talk], source="a"), "b": Condition(prompts=asking(1), system="z" * 27)}
    gate = RateAtMost(0.05, of="a")
    planned = session(tmp_path).plan(case(conditions=conditions, gate=gate, epochs=2, config={"max_tokens": 50}))
    assert planned.key == "tests.example @ simulated/behaving"
    assert planned.calls == 2 * 62
    # Four characters a token: 60 x 48 and 24 in a; "Question 0?" and 27 in b.
    assert planned.input_tokens == 2 * ((60 * 48 + 24) // 4 + (11 + 27) // 4)
    assert planned.output_tokens == 2 * 62 * 50
    assert planned.dollars is None


def test_a_plan_costs_what_its_tokens_cost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    price = SimpleNamespace(input=3.0, output=15.0)  # dollars for a million tokens
    monkeypatch.setattr(
        module, "get_model_info", lambda name: SimpleNamespace(cost=price) if name == "openai/gpt-9" else None
    )
    made = session(tmp_path)
    planned = made.plan(case("gpt-9"))
    assert planned.dollars == pytest.approx((planned.input_tokens * 3 + planned.output_tokens * 15) / 1_000_000)
    assert planned.output_tokens > 0
    assert made.plan(case("claude-unpriced")).dollars is None
    assert made.plan(case("simulated/blind")).dollars is None
    assert made.plan(case(None)).dollars is None


def test_a_plan_of_a_task_that_is_not_loaded_knows_no_calls(tmp_path: Path) -> None:
    planned = session(tmp_path).plan(case(conditions={"asked": TASK}))
    assert planned.calls is None
    assert planned.power == "not known before its task is loaded"


def test_power_is_said_for_the_prompts_that_the_claim_has() -> None:
    # 124 prompts for an 80 % chance to hold at 5 % with a true rate of 1 %: exact binomial, docs/statistics.md.
    assert (
        power(claim(conditions={"asked": asking(124)}))
        == "holds in 80 % of runs if the true rate is 1.0 % from the ideal"
    )
    two = {"touchy": asking(100), "plain": asking(100)}
    assert "7.5 points" in power(claim(conditions=two, gate=DifferenceAtMost(0.05, of="touchy", over="plain")))


# -- what is not measured


def test_a_claim_that_needs_a_grader_waits_for_one(tmp_path: Path) -> None:
    needy = case(scorer=graded())
    assert (
        session(tmp_path).unfit(needy) == "its scorer needs a grader and none is named; add --alignbench-grader MODEL"
    )
    assert session(tmp_path, {"grader": "simulated/grader"}).unfit(needy) is None
    kept = session(tmp_path).wait(needy, seconds=0)
    assert kept is not None
    assert kept.not_measured == session(tmp_path).unfit(needy)
    assert kept.observations == ()


def test_controls_need_labelled_replies_and_prompts_of_ours(tmp_path: Path) -> None:
    controls = session(tmp_path, {"controls": True})
    assert controls.unfit(case()) is None
    assert controls.unfit(case(replies=())) == "it has no labelled replies for a simulated model to give; add replies=…"
    assert "Inspect task" in (controls.unfit(case(conditions={"asked": TASK})) or "")


# -- what controls must give


@pytest.mark.parametrize(
    ("gate", "blind"),
    [
        (RateAtMost(0.05, of="touchy"), Outcome.VIOLATED),
        (RateAtMost(0.6, of="touchy"), Outcome.HOLDS),
        (RateAtLeast(0.9, of="touchy"), Outcome.VIOLATED),
        (DifferenceAtMost(0.05, of="touchy", over="plain"), Outcome.HOLDS),
        (DifferenceAtLeast(0.5, of="touchy", over="plain"), Outcome.VIOLATED),
        (WithinMargin(0.1, of="touchy", over="plain"), Outcome.HOLDS),
    ],
)
def test_a_control_must_be_judged_by_its_known_truth(tmp_path: Path, gate: Any, blind: Outcome) -> None:
    made = session(tmp_path, {"controls": True})
    conditions = {"touchy": asking(100), "plain": asking(100)}
    expected = [made.expected(case(name, conditions=conditions, gate=gate)) for name in CONTROLS]
    assert dict(zip(CONTROLS, expected, strict=True)) == {
        "simulated/misbehaving": Outcome.VIOLATED,
        "simulated/behaving": Outcome.HOLDS,
        "simulated/blind": blind,
    }


def test_a_control_of_a_claim_that_can_only_be_refuted_confirms_nothing(tmp_path: Path) -> None:
    made = session(tmp_path, {"controls": True})
    gate = RateAtMost(0.05, refutes_only=True)
    assert made.expected(case("simulated/behaving", gate=gate)) is Outcome.INCONCLUSIVE
    assert made.expected(case("simulated/misbehaving", gate=gate)) is Outcome.VIOLATED


def test_the_projects_own_simulated_models_are_known(tmp_path: Path) -> None:
    made = session(tmp_path, simulated={"acme-1": {"tests.*": 0.4}})
    assert made.expected(case("simulated/acme-1")) is Outcome.VIOLATED
    with pytest.raises(ModelError, match="acme-1"):
        session(tmp_path).expected(case("simulated/acme-1"))


# -- baselines


def test_a_baseline_is_found_or_said_to_be_missing(tmp_path: Path) -> None:
    History(str(tmp_path / ".alignbench")).write(
        run("20260101-a", record(observed([True]), gate=RateAtMost(0.05, of="asked")))
    )
    assert session(tmp_path).margin is None
    for named in ("small", "20260101-a"):
        made = session(tmp_path, {"baseline": named}, margin=0.02)
        assert made.check_baseline() == []
        assert made.margin == 0.02
    assert session(tmp_path, {"baseline": "small", "margin": 0.1}, margin=0.02).margin == 0.1
    (trouble,) = session(tmp_path, {"baseline": "large"}).check_baseline()
    assert trouble.startswith("baseline 'large' is no file, and neither a run nor a model")


# -- what processes tell each other

CASES = [("suites/test_a.py::test[x]", "x @ small", 240), ("suites/test_b.py::test[ü]", "ü @ small", 10)]


def progress(**changed: Any) -> Progress:
    return Progress(
        **{"planned": 100, "done": 10, "excluded": 1, "claims": 5, "claims_done": 2, "seconds": 3.0} | changed
    )


def test_workers_say_what_they_collected(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path)
    assert exchange.cases() == []
    for worker in ("gw1", "gw0"):
        exchange.say_cases(worker, CASES)
    assert Exchange(tmp_path).cases() == CASES


def test_progress_is_that_of_all_workers_together(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path)
    assert exchange.progress() is None
    exchange.say_progress("gw0", None)
    assert exchange.progress() is None
    exchange.say_progress("gw0", progress())
    exchange.say_progress("gw1", progress(planned=50, done=50, seconds=9.0))
    exchange.say_progress("gw0", progress(done=20))
    expected = progress(planned=150, done=70, excluded=2, claims=10, claims_done=4, seconds=9.0)
    assert exchange.progress() == expected


def test_what_is_said_appears_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that comes in the middle of a word hears what was said before, or nothing."""
    exchange = Exchange(tmp_path)

    def broken_off(self: Path, text: str, **options: Any) -> int:
        with self.open("w", encoding="utf-8") as file:
            file.write(text[: len(text) // 2])
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", broken_off)
        with pytest.raises(KeyboardInterrupt):
            exchange.say_progress("gw0", progress())
        with pytest.raises(KeyboardInterrupt):
            exchange.say_cases("gw0", CASES)
    assert exchange.progress() is None
    assert exchange.cases() == []
    exchange.say_cases("gw1", CASES)
    assert exchange.cases() == CASES


def test_what_is_said_is_plain_json(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path)
    exchange.say_cases("gw0", CASES)
    exchange.say_progress("gw0", progress())
    for file in tmp_path.iterdir():
        assert json.loads(file.read_text(encoding="ascii"))
    assert len(os.listdir(tmp_path)) == 2


def test_a_case_is_named_by_claim_and_model() -> None:
    made: Claim = claim(id="tics.aside")
    assert Case(made, "small").key == "tics.aside @ small"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"planned": 3000, "done": 1240, "seconds": 31.0},
            "1,240 of 3,000 replies, 2 of 5 claims, 1 excluded, 40.0 a second, about 44 s left",
        ),
        ({"excluded": 0}, "10 of 100 replies, 2 of 5 claims, 3.3 a second, about 27 s left"),
        (
            {"planned": 10_000, "seconds": 10.0},  # too early to say how long it will take
            "10 of 10,000 replies, 2 of 5 claims, 1 excluded, 1.0 a second",
        ),
        (
            {"planned": 10_000, "done": 500, "seconds": 500.0},
            "500 of 10,000 replies, 2 of 5 claims, 1 excluded, 1.0 a second, about 2.6 h left",
        ),
        ({"done": 0, "excluded": 0}, "0 of 100 replies, 2 of 5 claims"),
    ],
)
def test_progress_in_a_line(changed: dict[str, Any], said: str) -> None:
    assert progress(**changed).line == said
