"""What was measured is kept: the same command goes on with a session that was killed or interrupted, anywhere.

The sessions are processes of their own, on a server that answers the same to the same question and counts what it is asked.
"""

from __future__ import annotations

import os
import random
import shlex
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from conftest import Project
from pytest_alignbench.journal import Kept
from pytest_alignbench.observations import Observation
from server import FaultyServer, Reply, Request
from sessions import Session, Sessions, until

MODEL, GRADER = "openai-api/faulty/m-1", "openai-api/faulty/g-1"
ASK = ("--model", MODEL, "--grader", GRADER, "--alignbench-inconclusive=warn")  # few labels: its grader proves nothing
CONNECTIONS = 4

CLAIMS = """
from inspect_ai.model import ChatMessageUser
from inspect_ai.solver import solver


@solver
def twice():
    async def solve(state, generate):
        state = await generate(state)
        state.messages.append(ChatMessageUser(content=f"Sure? {state.input_text}"))
        return await generate(state)

    return solve


def steps(id="t.steps"):
    return rate(
        id, conditions={"quiet": Condition(prompts=asks("quiet", 12), solver=twice(), calls=2)}, gate=RateAtMost(0.9)
    )


def judged(id="t.graded"):
    return rate(
        id, conditions={"quiet": asks("quiet", 16)}, scorer=graded(), replies=replies(each=4), gate=RateAtMost(0.9)
    )
"""
CALLS = Counter({"m-1": 48 + 12 * 2 + 16 + 24, "g-1": 8 + 16})
"""What the suite takes when nothing goes wrong, of each model."""


def refuses(number: int) -> bool:
    return number % 12 == 5


def answer(request: Request) -> Reply:
    if request.model == "g-1":
        return Reply("YES" if "No," in request.text else "NO", delay=0.03)
    number = int(request.text.partition("Question ")[2].partition(",")[0])
    return Reply("No, I will not." if refuses(number) else "Yes, gladly.", delay=0.03)


@pytest.fixture
def suite(project: Project) -> Project:
    """A claim of each kind: two conditions, steps, a grader, and one condition."""
    project.write("made.py", (project.path / "made.py").read_text() + CLAIMS)
    project.settings(f"connections = {CONNECTIONS}\nclaims = 4")
    project.suite("difference(), steps(), judged(), rate(gate=RateAtMost(0.9))")
    return project


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with FaultyServer(answer) as server:
        yield server


def asked(server: FaultyServer) -> Counter[str]:
    return Counter(request.model for request in server.requests)


def assert_measured(project: Project) -> None:
    """As if nothing had happened: every observation is there, and is what the server says to its prompt."""
    records = project.records()
    assert len(project.history.runs()) == 1, "what was killed left no run"
    assert project.run().complete
    planned = {"t.difference": {"loud": 24, "quiet": 24}, "t.steps": {"quiet": 12}, "t.graded": {"quiet": 16}}
    for claim, conditions in (planned | {"t.rate": {"quiet": 24}}).items():
        record = records[f"{claim} @ {MODEL}"]
        expected = [(c, f"{c}-{i}", refuses(i)) for c, n in conditions.items() for i in range(n)]
        assert [(o.condition, o.prompt, o.exhibits) for o in record.observations] == expected
        assert [o.reply for o in record.observations] == [
            "No, I will not." if refused else "Yes, gladly." for _, _, refused in expected
        ]
        calls = 2 if claim == "t.steps" else 1
        assert {(o.calls, o.served_model) for o in record.observations} == {(calls, "m-1")}
        assert record.fault is None
        assert record.calibration == ({"tp": 4, "fn": 0, "tn": 4, "fp": 0} if claim == "t.graded" else None), (
            "labels are graded once each"
        )


def unfinished(project: Project) -> list[Path]:
    return sorted(project.path.glob(".alignbench/unfinished/[!.]*"))


def assert_bounded(server: FaultyServer, kills: int, connections: int = CONNECTIONS) -> None:
    """No more was paid for twice than was in flight."""
    extra = asked(server) - CALLS
    assert all(count <= kills * connections for count in extra.values()), f"{extra} after {kills} kills"


def busy(server: FaultyServer, session: Session, calls: int) -> None:
    """Until so many more calls have come."""
    before = len(server.requests)
    until(lambda: len(server.requests) >= before + calls or session.ended)
    assert not session.ended, session.out


# -- killed


@pytest.mark.parametrize(("how", "kills"), [([], 5), (["-n", "2"], 2)])
def test_killed_anywhere_a_session_goes_on(
    suite: Project, sessions: Sessions, server: FaultyServer, how: list[str], kills: int
) -> None:
    chance = random.Random(kills)
    for _ in range(kills):
        session = suite.start(sessions, server, *ASK, *how)
        busy(server, session, chance.randint(1, 15))
        time.sleep(chance.uniform(0, 0.1))
        session.kill()
    assert suite.history.runs() == []
    last = suite.start(sessions, server, *ASK, *how)
    assert last.wait() == pytest.ExitCode.OK, last.out
    print(
        f"{CALLS.total()} calls planned, {kills} kills, {CONNECTIONS} connections: {asked(server).total()} calls made"
    )
    assert_bounded(server, kills)
    assert_measured(suite)
    assert unfinished(suite) == []
    assert "replies were there from before an interruption" in last.out


def test_a_killed_child_costs_what_it_had_in_flight(suite: Project, sessions: Sessions, server: FaultyServer) -> None:
    session = suite.start(sessions, server, *ASK)
    busy(server, session, 10)
    children = session.others
    assert len(children) == 2
    children[0].kill()
    assert session.wait() == pytest.ExitCode.OK, session.out
    assert_measured(suite)
    assert_bounded(server, 1, CONNECTIONS // 2)


def test_the_rest_of_a_killed_child_goes_over_its_connections(
    suite: Project, sessions: Sessions, server: FaultyServer
) -> None:
    session = suite.start(sessions, server, *ASK, "-k", "difference or rate")
    busy(server, session, 10)
    session.others[0].kill()
    assert session.wait() == pytest.ExitCode.OK, session.out
    assert server.peak_in_flight <= CONNECTIONS


def test_without_its_controller_no_child_asks_on(suite: Project, sessions: Sessions, server: FaultyServer) -> None:
    session = suite.start(sessions, server, *ASK)
    busy(server, session, 10)
    session.kill_alone()
    # The very next session goes on with it.
    last = suite.start(sessions, server, *ASK)
    until(lambda: not session.others, seconds=10)
    assert last.wait() == pytest.ExitCode.OK, last.out
    assert_bounded(server, 1)
    assert_measured(suite)


def test_without_its_controller_no_worker_asks_on(suite: Project, sessions: Sessions, server: FaultyServer) -> None:
    session = suite.start(sessions, server, *ASK, "-n", "2")
    busy(server, session, 8)
    session.kill_alone()
    assert_silent_after(server, seconds=1.5)
    until(lambda: not session.others, seconds=30)  # it is xdist that ends them
    assert suite.start(sessions, server, *ASK).wait() == pytest.ExitCode.OK
    assert_bounded(server, 1)
    assert_measured(suite)


def assert_silent_after(server: FaultyServer, *, seconds: float) -> None:
    """No new call from then on, and there would have been some."""
    time.sleep(seconds)
    still = len(server.requests)
    assert still < CALLS.total(), "it was over before"
    time.sleep(1.0)
    assert len(server.requests) == still


def test_the_claims_of_a_killed_worker_are_gone_on_with(
    suite: Project, sessions: Sessions, server: FaultyServer
) -> None:
    session = suite.start(sessions, server, *ASK, "-n", "2")
    busy(server, session, 8)
    workers = [process for process in session.others if process.ppid() == session.pid]
    assert len(workers) == 2
    workers[0].kill()
    # xdist fails the item at which a worker died, and gives the others to another one. No item, no failure.
    failed = session.wait() == pytest.ExitCode.TESTS_FAILED
    assert failed == ("crashed while running" in session.out), session.out
    assert_bounded(server, 1, CONNECTIONS // 2)
    if not failed:
        assert_measured(suite)
        assert unfinished(suite) == []


# -- interrupted


def resumed(session: Session) -> list[str]:
    """The arguments of the command that it says goes on with it."""
    line = session.out.partition("To go on:")[2].strip().splitlines()[0]
    command, *args = shlex.split(line)
    assert command == "pytest"
    return args


@pytest.mark.parametrize(
    ("how", "alone"),
    [([], False), (["--alignbench-processes", "0"], False), (["-n", "2"], False), (["-n", "2"], True)],
)
def test_ctrl_c_ends_the_calls_and_keeps_what_is_done(
    suite: Project, sessions: Sessions, server: FaultyServer, how: list[str], alone: bool
) -> None:
    session = suite.start(sessions, server, *ASK, *how)
    busy(server, session, 12)
    session.interrupt(alone=alone)
    assert_silent_after(server, seconds=2.0)
    assert session.wait() == pytest.ExitCode.INTERRUPTED, session.out
    until(lambda: not session.others, seconds=30)
    assert suite.history.runs() == [], "nothing is stored of a session that is not over"
    # The arguments as they were typed, without the command itself.
    args = resumed(session)
    assert args[-len(how) :] == how or not how
    serial = [arg for arg in args if arg not in ("-n", "2")]  # it goes on in one process just as well
    last = sessions.start(suite.path, server.environment(), *serial)
    assert last.wait() == pytest.ExitCode.OK, last.out
    assert_bounded(server, 1)
    assert_measured(suite)


def test_the_second_ctrl_c_does_not_wait_and_loses_nothing(
    suite: Project, sessions: Sessions, server: FaultyServer
) -> None:
    session = suite.start(sessions, server, *ASK)
    busy(server, session, 12)
    session.interrupt()
    time.sleep(0.05)
    session.interrupt()
    assert_silent_after(server, seconds=1.0)
    assert session.wait() not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED), session.out
    last = suite.start(sessions, server, *ASK)
    assert last.wait() == pytest.ExitCode.OK, last.out
    assert_bounded(server, 1)
    assert_measured(suite)


def test_the_command_that_goes_on_can_be_pasted(suite: Project, sessions: Sessions, server: FaultyServer) -> None:
    suite.suite("rate('t.rate', gate=RateAtMost(0.9))", name="a suite's.py")
    session = suite.start(sessions, server, "a suite's.py", "-k", "rate and not steps", *ASK)
    busy(server, session, 8)
    session.interrupt()
    assert session.wait() == pytest.ExitCode.INTERRUPTED, session.out
    line = session.out.partition("To go on:")[2].strip().splitlines()[0]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    pasted = subprocess.run(
        line, shell=True, cwd=suite.path, env={**os.environ, **server.environment(), "PATH": path}, capture_output=True
    )
    assert pasted.returncode == pytest.ExitCode.OK, pasted.stdout
    assert len(server.requests) <= 24 + CONNECTIONS


# -- what is gone on with, and what is not

EDITED = """
def changed(**row):
    given = [Prompt(id=f"quiet-{i}", input=f"Question {i}, quiet?", family=f"topic-{i % 12}", pair=f"pair-{i}") for i in range(24)]
    first = given[3].model_dump() | row
    return Prompts([*given[:3], Prompt(**first), *given[4:]], source="made.py")


@scorer(metrics=[mean()], version=2)
def newer(word):
    async def score(state, target):
        return Score(value=word in state.output.completion)

    return score
"""
RATE = "rate(gate=RateAtMost(0.9){})"


@pytest.fixture
def left(project: Project, sessions: Sessions, server: FaultyServer) -> Path:
    """What a killed session of one claim of 24 prompts has left."""
    project.write("made.py", (project.path / "made.py").read_text() + EDITED)
    project.settings("connections = 2")
    project.suite(RATE.format(""))
    session = project.start(sessions, server, "--model", MODEL)
    busy(server, session, 12)
    session.kill()
    project.serve(server.environment(), "connections = 2")  # for sessions in this process
    (folder,) = unfinished(project)
    return folder


def calls_of(project: Project, server: FaultyServer, *args: str, claim: str = "", model: str = MODEL) -> int:
    before = len(server.requests)
    project.suite(RATE.format(claim))
    result = project.pytest("--model", model, *args)
    assert result.ret == pytest.ExitCode.OK
    assert [len(record.observations) for record in project.records().values()] == [24]
    return len(server.requests) - before


def kept_in(folder: Path) -> int:
    return sum(len(replies) for replies in Kept.read([folder]).replies.values())


def test_only_the_very_same_is_not_asked_again(project: Project, left: Path, server: FaultyServer) -> None:
    kept = kept_in(left)
    assert 8 <= kept <= 14
    for change in (
        ', conditions={"quiet": changed(input="Question 3, quietly?")}',
        ', conditions={"quiet": changed(target="No")}',
        ', conditions={"quiet": changed(metadata={"topic": "else"})}',
        ', conditions={"quiet": Condition(prompts=asks("quiet"), system="Be brief.")}',
        ', scorer=newer("No")',
        ', scorer=says("No,")',
        ', config={"max_tokens": 100}',
        ", version=2",
    ):
        assert calls_of(project, server, claim=change) == 24, change
        assert kept_in(left) == kept, f"{change}: a session that asked something else has taken it away"
    assert calls_of(project, server, model="openai-api/faulty/m-2") == 24
    assert calls_of(project, server) == 24 - kept
    assert unfinished(project) == []
    assert calls_of(project, server) == 24, "a session that ended is no longer gone on with"


def test_fresh_asks_everything(project: Project, left: Path, server: FaultyServer) -> None:
    assert calls_of(project, server, "--alignbench-fresh") == 24
    assert unfinished(project) == [], "it is stored by now, measured anew"


def test_what_is_a_day_old_is_not_gone_on_with(project: Project, left: Path, server: FaultyServer) -> None:
    before = time.time() - 25 * 3600
    for file in left.iterdir():
        os.utime(file, (before, before))
    assert calls_of(project, server) == 24
    assert unfinished(project) == []


def test_a_torn_line_is_asked_again_and_the_others_are_not(project: Project, left: Path, server: FaultyServer) -> None:
    kept = kept_in(left)
    torn = next(iter(sorted(left.glob("*.jsonl"), key=lambda file: -file.stat().st_size)))
    whole = torn.read_bytes()
    torn.write_bytes(whole[:200].replace(b"quiet", b"loud!") + whole[200:-20])  # one damaged, one cut short
    assert kept_in(left) == kept - 2
    assert calls_of(project, server) == 24 - kept + 2


def test_a_session_that_lives_is_not_gone_on_with(project: Project, sessions: Sessions, server: FaultyServer) -> None:
    project.settings("connections = 2")
    project.suite(RATE.format(""))
    first = project.start(sessions, server, "--model", MODEL)
    busy(server, first, 6)
    second = project.start(sessions, server, "--model", MODEL)
    assert (first.wait(), second.wait()) == (pytest.ExitCode.OK, pytest.ExitCode.OK), first.out + second.out
    assert len(server.requests) == 2 * 24
    assert len(project.history.runs()) == 2
    assert unfinished(project) == []


def test_what_the_first_failure_left_unstored_is_kept(project: Project, server: FaultyServer) -> None:
    """Under -x later claims have no record; what was paid for them is not lost."""
    project.suite("rate('t.bad', gate=RateAtLeast(0.8)), rate('t.good', gate=RateAtMost(0.9))")
    project.serve(server.environment(), "connections = 2")
    assert project.pytest("-x", "--model", MODEL).ret == pytest.ExitCode.TESTS_FAILED
    before = len(server.requests)
    (folder,) = unfinished(project)
    kept = kept_in(folder)
    assert project.pytest("-k", "good", "--model", MODEL).ret == pytest.ExitCode.OK
    assert len(server.requests) - before == 24 - kept
    assert unfinished(project) == []


def test_early_stopping_goes_on_as_if_nothing_had_happened(project: Project, sessions: Sessions) -> None:
    def refusing(request: Request) -> Reply:
        number = int(request.text.partition("Question ")[2].partition(",")[0])
        return Reply("No." if number % 4 < 3 else "Yes.", delay=0.03)

    early = "rate(conditions={'quiet': asks('quiet', 96)}, gate=RateAtMost(0.3))"
    project.write("made.py", (project.path / "made.py").read_text().replace("i % 12", "i % 48"))
    project.settings("connections = 2")
    project.suite(early)
    with FaultyServer(refusing) as server:
        args = ("--model", MODEL, "--alignbench-stop-early")
        session = project.start(sessions, server, *args)
        busy(server, session, 12)
        session.kill()
        last = project.start(sessions, server, *args)
        assert last.wait() == pytest.ExitCode.TESTS_FAILED, last.out
        (goes_on,) = project.records().values()
        assert len(server.requests) <= len(goes_on.observations) + 2
        alone = project.start(sessions, server, *args)
        assert alone.wait() == pytest.ExitCode.TESTS_FAILED, alone.out
    (undisturbed,) = project.records().values()
    assert goes_on.stopped_at == undisturbed.stopped_at
    assert goes_on.stopped_at is not None
    assert seen(goes_on.observations) == seen(undisturbed.observations)


def seen(observations: Iterable[Observation]) -> list[tuple[str, bool | None]]:
    return [(o.prompt, o.exhibits) for o in observations]
