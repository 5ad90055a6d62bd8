"""A budget is never exceeded: not by retries, not by several processes, not by a session that goes on with a killed one."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inspect_ai.model import (
    ChatMessage,
    ChatMessageUser,
    GenerateConfig,
    ModelCost,
    ModelInfo,
    ModelOutput,
    ModelUsage,
    set_model_info,
)

from conftest import Project
from pytest_alignbench.budgets import Budget, Purse
from pytest_alignbench.errors import AlignbenchError
from pytest_alignbench.models import Bill
from pytest_alignbench.observations import Exclusion
from server import FaultyServer, Reply, Request, fails_first, rate_limited
from sessions import Sessions, until

FORK = multiprocessing.get_context("fork")
MODEL, GRADER = "openai-api/faulty/m-1", "openai-api/faulty/g-1"

# -- what is a budget


@pytest.mark.parametrize(
    ("said", "amount", "unit"),
    [
        ("5USD", 5.0, "dollars"),
        ("2.5usd", 2.5, "dollars"),
        ("0.50 $", 0.5, "dollars"),
        ("2Mtok", 2e6, "tokens"),
        ("1.5mtokens", 1.5e6, "tokens"),
        ("500ktok", 5e5, "tokens"),
        ("1000calls", 1000.0, "calls"),
        ("1,000 calls", 1000.0, "calls"),
        ("1_000_000calls", 1e6, "calls"),
        ("1call", 1.0, "calls"),
        ("0calls", 0.0, "calls"),
    ],
)
def test_a_budget_has_an_amount_and_a_unit(said: str, amount: float, unit: str) -> None:
    assert Budget.of(said) == Budget(amount, unit)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "said", ["", "5", "USD", "-5USD", "5EUR", "2,5USD", "1.000.000calls", "12,34calls", "1e3calls", "5USD 3calls", "infUSD", "٥USD"]
)  # fmt: skip
def test_what_may_be_meant_in_two_ways_or_none_is_refused(said: str) -> None:
    with pytest.raises(AlignbenchError, match=r"write it as 5USD, 2\.5USD, 2Mtok, 500ktok or 1000calls"):
        Budget.of(said)


@given(
    whole=st.integers(0, 10**7),
    cents=st.integers(0, 99),
    scale=st.sampled_from([("", 1), ("k", 1_000), ("K", 1_000), ("M", 1_000_000)]),
    unit=st.sampled_from([("USD", "dollars"), ("$", "dollars"), ("tok", "tokens"), ("calls", "calls")]),
    comma=st.booleans(),
)
def test_every_way_to_write_an_amount_gives_it(
    whole: int, cents: int, scale: tuple[str, int], unit: tuple[str, str], comma: bool
) -> None:
    said = f"{whole:,}.{cents:02}" if comma else f"{whole}.{cents:02}"
    budget = Budget.of(f"{said}{scale[0]}{unit[0]}")
    assert budget.unit == unit[1]
    assert budget.amount == pytest.approx((whole + cents / 100) * scale[1])


# -- one purse, many hands


def _spend(folder: Path, budget: Budget, seed: int, bills: Connection) -> None:
    """Calls of random size, until nothing fits any more; tells each bill before it is settled."""
    purse, chance = Purse(folder, budget, before=20.0), random.Random(seed)
    while True:
        worst = float(chance.randint(1, 12))
        while (taken := purse.reserve(worst)) == "wait":
            time.sleep(0.001)
        if taken == "spent":
            break
        cost = float(chance.randint(0, int(worst)))
        bills.send((os.getpid(), worst, cost))
        time.sleep(chance.uniform(0, 0.002))
        purse.settle(worst, cost)
        bills.send((os.getpid(), 0.0, cost))
    bills.close()


def test_many_processes_never_spend_more_than_there_is(tmp_path: Path) -> None:
    budget = Budget(400.0, "tokens")
    mine, its = zip(*(FORK.Pipe() for _ in range(4)), strict=True)
    hands = [FORK.Process(target=_spend, args=(tmp_path, budget, seed, pipe)) for seed, pipe in enumerate(its)]
    for hand in hands:
        hand.start()
    for pipe in its:
        pipe.close()
    until(lambda: Purse(tmp_path, budget).spent > 60)
    os.kill(hands[0].pid or 0, signal.SIGKILL)  # what it has reserved is nobody's any more, and nobody waits for it
    for hand in hands:
        hand.join(60)
        assert hand.exitcode is not None
    billed, open_at_the_end = 0.0, 0.0
    for pipe in mine:
        left = 0.0
        while True:
            try:
                _, worst, cost = pipe.recv()
            except (EOFError, OSError):
                break
            billed, left = (billed, worst) if worst else (billed + cost, 0.0)
        open_at_the_end += left
    assert billed + open_at_the_end <= budget.amount - 20
    # It was used to the end: what is left would not have paid for the largest call.
    assert Purse(tmp_path, budget, before=20.0).spent > budget.amount - 12
    assert Purse(tmp_path, budget).spent == pytest.approx(billed + open_at_the_end, abs=12)


def test_a_purse_is_one_file_that_a_power_cut_may_tear(tmp_path: Path) -> None:
    purse = Purse(tmp_path, Budget(10, "calls"))
    assert purse.reserve(4) == "taken"
    assert json.loads((tmp_path / "spent-calls.json").read_text())["reserved"] == {str(os.getpid()): 4}
    assert purse.reserve(7) == "wait", "the four may come back"
    assert purse.reserve(11) == "spent"
    purse.settle(4, 4)
    assert purse.reserve(7) == "spent"
    (tmp_path / "spent-calls.json").write_text("")
    assert purse.spent == 0


# -- what a call costs at most, and did


@settings(deadline=None)
@given(text=st.text(max_size=200), limit=st.none() | st.integers(1, 5000))
def test_no_call_can_cost_more_than_was_reserved_for_it(text: str, limit: int | None) -> None:
    """Whatever the tokenizer: a token is a byte at least, and a reply no longer than it may be."""
    bill = Bill.of("openai-api/faulty/m", Budget(1e9, "tokens"))
    asked: list[ChatMessage] = [ChatMessageUser(content=text.encode("utf-8", "replace").decode())]
    worst = bill.worst(asked, [], GenerateConfig(max_tokens=limit))
    longest = ModelUsage(
        input_tokens=len(text.encode("utf-8", "replace")), output_tokens=limit or 16_384, total_tokens=0
    )
    output = ModelOutput.from_content("m", "x")
    output.usage = longest
    assert bill.cost(output, worst) <= worst
    output.usage = None
    assert bill.cost(output, worst) == worst, "nobody said what it took"


def test_dollars_are_reckoned_at_the_dearest_price() -> None:
    price = ModelCost(input=1.0, output=10.0, input_cache_write=2.0, input_cache_read=0.1)
    set_model_info("openai/priced-9", ModelInfo(cost=price))
    bill = Bill.of("openai/priced-9", Budget(5, "dollars"))
    output = ModelOutput.from_content("m", "x")
    output.usage = ModelUsage(
        input_tokens=500_000, input_tokens_cache_read=300_000, input_tokens_cache_write=200_000,
        output_tokens=100_000, total_tokens=1_300_000,
    )  # fmt: skip
    assert bill.cost(output, worst=100.0) == pytest.approx(1.0 * 2 + 0.3 * 10), (
        "thinking is in the total, and is billed"
    )


def test_a_known_models_longest_reply_is_known() -> None:
    assert Bill.of("openai/gpt-5", Budget(1, "tokens")).longest == 128_000
    assert Bill.of("openai-api/faulty/m", Budget(1, "tokens")).longest == 16_384


# -- sessions

CLAIMS = """
from inspect_ai import Task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import match
from inspect_ai.solver import generate, solver


def a_task():
    return Task(dataset=[Sample(input=f"Question {i}, task?", target="Yes") for i in range(24)], solver=generate(), scorer=match("begin"))


@solver
def plainly():
    async def solve(state, generate):
        return await generate(state)

    return solve


KINDS = [
    rate("t.plain"),
    rate("t.solved", conditions={"quiet": Condition(prompts=asks("quiet"), solver=plainly())}),
    rate("t.graded", scorer=graded(), replies=replies(each=4)),
    rate("t.task", conditions={"task": inspect_task(a_task, exhibits=lambda value: value == "I")}, scorer=None, gate=RateAtMost(0.3, of="task")),
]
"""


def obliging(request: Request) -> Reply:
    return Reply("NO" if request.model == "g-1" else "Yes, gladly.", delay=0.01)


def used(server: FaultyServer) -> int:
    """Tokens, as the server counts them for its bill."""
    asked = sum(-(-sum(len(m.text) for m in request.messages) // 4) for request in server.requests)
    return asked + sum(-(-len(obliging(request).text) // 4) for request in server.requests)


@pytest.mark.parametrize(
    ("budget", "calls"), [("0calls", 0), ("30calls", 30), ("60calls", 60), ("110calls", 110), ("128calls", 128)]
)
def test_what_the_budget_does_not_reach_is_inconclusive(project: Project, budget: str, calls: int) -> None:
    """Whatever the kind of claim: never an error, and never green."""
    project.write("made.py", (project.path / "made.py").read_text() + CLAIMS)
    project.suite("*KINDS")
    with FaultyServer(obliging) as server:
        project.serve(server.environment(), "connections = 4")
        result = project.pytest("--model", MODEL, "--grader", GRADER, f"--alignbench-budget={budget}")
        assert len(server.requests) == calls
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    outcomes = result.parseoutcomes()
    assert set(outcomes) <= {"passed", "inconclusive"}, result.stdout.str()
    for record in project.records().values():
        assert record.fault is None
        excluded = {o.exclusion for o in record.observations if o.exhibits is None}
        assert excluded <= {Exclusion.UNMEASURED}
    if calls == 128:  # all that was planned; but its few labels prove nothing about the grader
        assert outcomes == {"passed": 3, "inconclusive": 1}
    else:
        assert outcomes["inconclusive"] >= 2
        unmeasured = [o.reason for r in project.records().values() for o in r.observations if o.exhibits is None]
        assert all("the budget of" in reason or "not asked" in reason for reason in unmeasured)
        result.stdout.fnmatch_lines(
            [
                f"* replies were not asked for: the budget of {calls} calls is spent, *",
                f"spent {calls} calls of {calls} calls",
            ]
        )


@pytest.mark.parametrize("how", [[], ["-n", "2"]])
def test_processes_and_retries_share_one_budget(project: Project, sessions: Sessions, how: list[str]) -> None:
    project.suite("difference(), rate('t.one'), rate('t.two')")
    project.settings("connections = 4")
    failing = fails_first(1, failure=rate_limited(retry_after=0), then=obliging)
    with FaultyServer(failing) as server:
        session = project.start(sessions, server, "--model", MODEL, "--alignbench-budget=70calls", *how)
        assert session.wait() == pytest.ExitCode.TESTS_FAILED, session.out
        assert len(server.requests) == 70, "each retry is a call, and none is left over"
    assert {record.fault for record in project.records().values()} == {None}
    assert "error" not in session.out.rpartition("=====")[0].rpartition("=====")[2]


def test_tokens_are_given_back_to_whoever_can_use_them(project: Project, sessions: Sessions) -> None:
    """A reply may take 200 tokens and takes 8: with twelve calls in flight the budget is all reserved and hardly spent."""
    project.suite("difference(config={'max_tokens': 200}), rate('t.one', config={'max_tokens': 200})")
    project.settings("connections = 12")
    with FaultyServer(obliging) as server:
        session = project.start(sessions, server, "--model", MODEL, "--alignbench-budget=1000tok")
        session.wait()
        assert used(server) <= 1000
        assert len(server.requests) == 72, session.out
        again = project.start(sessions, server, "--model", MODEL, "--alignbench-budget=500tok")
        assert again.wait() == pytest.ExitCode.TESTS_FAILED, again.out
        assert 500 - 300 < used(server) - 72 * 8 <= 500 + 72


def test_a_session_that_goes_on_counts_what_was_spent(project: Project, sessions: Sessions) -> None:
    project.suite("rate('t.one'), rate('t.two'), rate('t.three')")
    project.settings("connections = 4")
    args = ("--model", MODEL, "--alignbench-budget=60calls")
    with FaultyServer(lambda request: Reply("Yes.", delay=0.03)) as server:
        for calls in (15, 30):
            session = project.start(sessions, server, *args)
            until(lambda: len(server.requests) >= calls or session.ended)  # noqa: B023
            session.kill()
        last = project.start(sessions, server, *args)
        assert last.wait() == pytest.ExitCode.TESTS_FAILED, last.out
        # What a killed session had reserved counts as spent, whether or not its calls were made.
        assert 60 - 2 * 4 <= len(server.requests) <= 60
        anew = project.start(sessions, server, *args, "--alignbench-fresh")
        anew.wait()
        assert len(server.requests) <= 60 + 60


def test_dollars_need_prices(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.suite("rate()")
    monkeypatch.setenv("FAULTY_API_KEY", "sk-none")
    monkeypatch.setenv("FAULTY_BASE_URL", "http://127.0.0.1:9/v1")
    refused = project.pytest("--model", "openai-api/faulty/m-1", "--alignbench-budget=1USD")
    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = [line for line in refused.errlines if line]
    assert "has no price" in line
    assert "set_model_cost, or set_model_info" in line
    assert not (project.path / ".alignbench").exists()
    free = project.pytest("--model", "simulated/behaving", "--alignbench-budget=0USD")
    assert free.ret == pytest.ExitCode.OK, "what calls nobody costs nothing"


PRICED = """
from inspect_ai.model import ModelCost, ModelInfo, set_model_info

price = ModelCost(input=1000.0, output=1000.0, input_cache_write=0.0, input_cache_read=0.0)
set_model_info("openai-api/faulty/m-1", ModelInfo(cost=price))
"""


def test_dollars_are_kept_to(project: Project) -> None:
    project.suite("rate(config={'max_tokens': 20})")
    with FaultyServer(obliging) as server:
        project.serve(server.environment(), "connections = 4")
        project.write("conftest.py", (project.path / "conftest.py").read_text() + PRICED)
        result = project.pytest("--model", MODEL, "--alignbench-budget=0.15USD")
        assert result.parseoutcomes() == {"inconclusive": 1}
        assert 0.15 - 0.1 < used(server) / 1000 <= 0.15
        result.stdout.fnmatch_lines(
            [
                "13 replies were not asked for: the budget of $0.15 is spent, or as good as: the next call might take $0.*"
            ]
        )


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        ("100calls", "the budget of 100 calls is enough for what is planned, about 72 calls"),
        ("50calls", "the budget of 50 calls reaches 1 of 2 claims for sure; from t.rate @ openai-api/faulty/m-1 on, what it does not reach will be INCONCLUSIVE"),
        ("1ktok", "the budget of 1,000 tokens reaches 0 of 2 claims for sure; from t.difference @ *"),
    ],
)  # fmt: skip
def test_a_plan_says_how_far_the_budget_reaches(project: Project, budget: str, said: str) -> None:
    project.suite()
    plan = project.pytest("--collect-only", "--model", MODEL, f"--alignbench-budget={budget}")
    plan.stdout.fnmatch_lines([said])
    wrong = project.pytest("--collect-only", "--model", MODEL, "--alignbench-budget=2,5USD")
    assert wrong.ret == pytest.ExitCode.USAGE_ERROR
    assert "budget '2,5USD': write it as" in "".join(wrong.errlines)
