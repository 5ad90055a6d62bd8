"""What providers, machines and careless data do to whole sessions: the rows of docs/reliability.md that have no place elsewhere.

Real clients, sent to a server that fails as it is told. Sessions that divide their work are processes of their own.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any
from xml.etree import ElementTree

import pytest

from conftest import Project
from pytest_alignbench.history import Record
from pytest_alignbench.observations import Exclusion
from server import (
    FaultyServer,
    Reply,
    Request,
    Script,
    always,
    answering,
    fails_first,
    invalid_key,
    overloaded,
    quota_exhausted,
    rate_limited,
)
from sessions import Sessions

NAMES = ("openai-api/faulty/m-1", "anthropic/claude-3-5-m")
ONE, BOTH = ("--model", NAMES[0]), ("--model", NAMES[0], "--model", NAMES[1])

MORE = """
from inspect_ai import Task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import match
from inspect_ai.solver import generate


def solved(id="t.solved", arm="calm", n=24, solver=generate(), **changed):
    return rate(id, conditions={arm: Condition(prompts=asks(arm, n), solver=solver)}, **changed)


def tasked(id, **options):
    def a_task():
        data = [Sample(id=f"s{i}", input=f"Question {i}, {id}?", target="Yes") for i in range(12)]
        return Task(dataset=data, solver=generate(), scorer=match("begin"), **options)

    task = inspect_task(a_task, exhibits=lambda value: value == "I")
    return rate(id, conditions={"task": task}, scorer=None, gate=RateAtMost(0.5, of="task"))
"""
PRICES = """
from inspect_ai.model import ModelCost, ModelInfo, set_model_info

price = ModelCost(input=1000.0, output=1000.0, input_cache_write=0.0, input_cache_read=0.0)
set_model_info("openai-api/faulty/priced", ModelInfo(cost=price))
"""


@pytest.fixture
def suite(project: Project) -> Project:
    """With claims of both lanes, and tasks of Inspect's."""
    project.write("made.py", (project.path / "made.py").read_text() + MORE)
    return project


def number_of(request: Request) -> int:
    return int(request.text.partition("Question ")[2].partition(",")[0])


def model(request: Request) -> Reply:
    """One that works."""
    return Reply("No, I will not." if number_of(request) % 12 == 5 else "Yes, gladly.")


def seen(records: Iterable[Record]) -> dict[str, list[dict[str, Any]]]:
    """What was observed, without what is drawn anew for each session."""
    hide = {"sample", "calls"}
    return {r.key: [o.model_dump(mode="json", exclude=hide) for o in r.observations] for r in records}


# -- faults that pass, faults that last


def test_faults_that_pass_change_nothing_but_the_count_of_calls(suite: Project) -> None:
    passing: tuple[Script, ...] = (
        rate_limited(retry_after=0),
        overloaded,
        always(Reply(status=500)),
        always(Reply(reset=True)),
        always(Reply("Half an ans", reset=True, after=40)),
    )

    def fails_twice(request: Request) -> Reply:
        return fails_first(2, failure=passing[number_of(request) % len(passing)], then=model)(request)

    suite.suite("rate(), solved()")
    found = []
    for script, attempts in ((model, 1), (fails_twice, 3)):
        with FaultyServer(script) as server:
            suite.serve(server.environment(), f"attempts = {attempts}\nconnections = 100")
            result = suite.pytest(*BOTH)
            found.append((result.ret, result.parseoutcomes(), seen(suite.records().values())))
            # The clients' own retries would make it a multiple.
            assert Counter(r.api for r in server.requests) == {"openai": 48 * attempts, "anthropic": 48 * attempts}
        for record in suite.records().values():
            assert {o.calls for o in record.observations} == {attempts}, "each try is in the record"
    assert found[0] == found[1]


def test_a_provider_that_falls_silent_is_an_error_and_comes_to_an_end(suite: Project) -> None:
    def silent(request: Request) -> Reply:
        return Reply("No, I will not.", hang=True, after=30 * (number_of(request) % 2))

    few = "conditions={'quiet': asks('quiet', 8)}, gate=RateAtMost(0.5)"
    suite.suite(f"rate({few}), solved(n=8, gate=RateAtMost(0.5))")
    with FaultyServer(silent) as server:
        suite.serve(server.environment(), "attempts = 2\nattempt_timeout = 1\nconnections = 100")
        result = suite.pytest(*ONE)
        assert 2 * 8 < len(server.requests) <= 2 * 8 * 2
    assert result.parseoutcomes() == {"errors": 2}
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    for record in suite.records().values():
        assert {o.exclusion for o in record.observations} == {Exclusion.ERRORED}


# -- nothing more to be had


def test_what_is_refused_for_good_takes_two_calls_of_all_processes(suite: Project, sessions: Sessions) -> None:
    suite.suite("difference(), rate(), rate('t.more'), solved()")
    with FaultyServer(quota_exhausted) as server:
        session = suite.start(sessions, server, *ONE)
        assert session.wait() == pytest.ExitCode.TESTS_FAILED, session.out
        assert len(server.requests) <= 2
    assert "4 errors in" in session.out.splitlines()[-1]
    assert " failed" not in session.out.splitlines()[-1]
    (line,) = [line for line in session.out.splitlines() if line.startswith("4 claims could not be measured: ")]
    assert "You exceeded your current quota" in line
    assert all(record.fault is not None for record in suite.records().values())


def test_a_quota_that_ends_in_the_middle_costs_what_was_in_flight(suite: Project, sessions: Sessions) -> None:
    def ends(request: Request) -> Reply:
        return quota_exhausted(request) if request.number > 30 else Reply("Yes, gladly.", delay=0.02)

    suite.suite("difference(), rate(), rate('t.more')")
    suite.settings("connections = 4")
    with FaultyServer(ends) as server:
        session = suite.start(sessions, server, *ONE)
        assert session.wait() == pytest.ExitCode.TESTS_FAILED, session.out
        assert len(server.requests) <= 30 + 4
    assert " failed" not in session.out.splitlines()[-1]
    observations = [o for record in suite.records().values() for o in record.observations]
    assert Counter(o.exclusion for o in observations) == {None: 30, Exclusion.ERRORED: 96 - 30}


# -- limits of Inspect's


def test_a_limit_that_ends_a_sample_is_no_behaviour(suite: Project) -> None:
    """What a limit cut off would be scored as a wrong answer; here four of twelve in each task, that would have been right."""

    def long_winded(request: Request) -> Reply:
        if number_of(request) >= 4:
            return Reply("Yes, gladly.", output_tokens=10)
        return Reply("Well, it depends. Yes.", output_tokens=5000, delay=60 if "t.time" in request.text else 0)

    limits = {"t.token": "token_limit=1000", "t.time": "time_limit=5", "t.cost": "cost_limit=1.0"}
    suite.suite(", ".join(f"tasked({id!r}, {limit})" for id, limit in limits.items()))
    with FaultyServer(long_winded) as server:
        suite.serve(server.environment(), "connections = 100")
        suite.write("conftest.py", (suite.path / "conftest.py").read_text() + PRICES)
        result = suite.pytest("--model", "openai-api/faulty/priced")
    assert set(result.parseoutcomes()) <= {"passed", "inconclusive"}
    for id in limits:
        rows = suite.records()[f"{id} @ openai-api/faulty/priced"].observations
        assert {o.prompt for o in rows if o.exclusion is Exclusion.LIMIT} == {f"s{i}" for i in range(4)}, id
        assert {o.exhibits for o in rows if o.exclusion is None} == {False}, id
        assert {o.reason for o in rows if o.exclusion} <= {
            "its token limit of 1000 was reached",
            "its time limit of 5 was reached",
            "its cost limit of 1 was reached",
        }


# -- one claim that cannot be run


@pytest.mark.parametrize(
    ("options", "says"),
    [("cost_limit=1.0", "has no price"), ("sandbox='nowhere'", "nowhere")],
    ids=["price", "sandbox"],
)
def test_a_claim_that_breaks_inspects_run_takes_no_later_one_with_it(suite: Project, options: str, says: str) -> None:
    unpriced = ("--model", "openai-api/faulty/unpriced")
    suite.suite(f"tasked('t.broken', {options}), rate(gate=RateAtMost(0.5))")
    suite.suite("solved(n=12, gate=RateAtMost(0.5))", name="test_unbroken.py")
    with FaultyServer(model) as server:
        suite.serve(server.environment(), "connections = 1")
        result = suite.pytest(*unpriced)
        assert result.parseoutcomes() == {"errors": 1, "passed": 2}
        result.stdout.fnmatch_lines([f"*t.broken*: not measured: *{says}*"])
        # Inspect's run is usable in this process afterwards.
        assert suite.pytest("-k", "unbroken", *unpriced).ret == pytest.ExitCode.OK


# -- the model behind the name


def test_a_moved_alias_is_stored_and_is_a_break(suite: Project) -> None:
    suite.suite("rate()")
    served = iter([{"m-2026-01"}, {"m-2026-01"}, {"m-2026-01"}, {"m-2026-01", "m-2026-06"}])
    for names in served:
        behind = sorted(names)

        def moved(request: Request, behind: list[str] = behind) -> Reply:
            return Reply("Yes, gladly.", model=behind[number_of(request) % len(behind)])

        with FaultyServer(moved) as server:
            suite.serve(server.environment())
            assert suite.pytest(*ONE).ret == pytest.ExitCode.OK
        (record,) = suite.records().values()
        assert record.served == tuple(behind)
    assert "served by m-2026-01, m-2026-06" in suite.alignbench("show", "--full").output
    (series,) = json.loads(suite.alignbench("trends", "--format", "json").output)["series"]
    assert [point["breaks"] for point in series["points"]] == [[], [], [], ["served model"]]


def test_no_reply_is_taken_from_a_cache(suite: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inspect's is a folder of pickles: a reply in it may be a year old, or a program."""
    cache = suite.path / "cache"
    monkeypatch.setenv("INSPECT_CACHE_DIR", str(cache))
    suite.write("made.py", (suite.path / "made.py").read_text() + "from inspect_ai.model import GenerateConfig\n")
    suite.suite(
        "solved(n=12, solver=generate(cache=True), gate=RateAtMost(0.5)), "
        "tasked('t.task', config=GenerateConfig(cache=True))"
    )
    with FaultyServer(model) as server:
        suite.serve(server.environment())
        for times in (1, 2):
            assert suite.pytest(*ONE).parseoutcomes() == {"passed": 2}
            assert len(server.requests) == times * (12 + 12)
    assert not list(cache.rglob("*"))


# -- many processes


@pytest.mark.parametrize("how", [[], ["-n", "2"], ["-n", "4"]], ids=["serial", "2", "4"])
def test_connections_and_refusals_are_counted_over_all_processes(
    suite: Project, sessions: Sessions, how: list[str]
) -> None:
    def refuses_one(request: Request) -> Reply:
        return invalid_key(request) if request.model == "m-2" else Reply("Yes, gladly.", delay=0.05)

    suite.suite("difference(), rate('t.one'), solved(), rate('t.three')")
    suite.settings("connections = 4")
    with FaultyServer(refuses_one) as server:
        session = suite.start(sessions, server, *ONE, "--model", "openai-api/faulty/m-2", *how)
        assert session.wait() == pytest.ExitCode.TESTS_FAILED, session.out
        asked = Counter(request.model for request in server.requests)
        assert asked["m-1"] == 48 + 3 * 24
        assert asked["m-2"] <= 2
        assert server.peak_in_flight <= 4 + asked["m-2"], "connections are those to one model"
    assert "4 passed, " in session.out.splitlines()[-1]
    assert "4 errors in " in session.out.splitlines()[-1]


# -- names in data

ODD = (
    "../../etc/passwd", "/etc/passwd", "s3://bucket/key", "a" * 5000, "nul \x00", "\x1b[2J\x1b]0;title\x07", "\u202e bidi",
    "{{ 7*7 }}{0}%s", "<script>alert(1)</script>", "::error::pwned", "a\nb", "C:\\x", "=1+1", "|`*_", "%2F/%25", "'\"",
)  # fmt: skip


def test_names_in_data_are_names_and_nothing_else(suite: Project) -> None:
    """Of prompts, families, pairs and conditions: not paths, not templates, not commands."""
    suite.write(
        "made.py",
        (suite.path / "made.py").read_text()
        + f"""
ODD = {ODD!a}


def odd(number, name, solver=None):
    rows = [Prompt(id=id, input=f"Question {{i}}, odd?", family=id, pair=id, metadata={{id: id}}) for i, id in enumerate(ODD)]
    asked = Condition(prompts=Prompts(rows, source=name), solver=solver)
    return rate(f"t.odd-{{number}}", conditions={{name: asked}}, gate=RateAtMost(0.6))
""",
    )
    suite.suite("*(odd(i, name, None if i % 2 else generate()) for i, name in enumerate(ODD[:6]))")
    with FaultyServer(answering("Yes, gladly.")) as server:
        suite.serve(server.environment())
        result = suite.pytest(*ONE, "-rA", "--junitxml=out.xml")
    assert result.parseoutcomes() == {"passed": 6}
    for number, name in enumerate(ODD[:6]):
        rows = suite.records()[f"t.odd-{number} @ {NAMES[0]}"].observations
        assert [(o.condition, o.prompt, o.family, o.pair) for o in rows] == [(name, id, id, id) for id in ODD]
    ElementTree.parse(suite.path / "out.xml")
    shown = [result.stdout.str()]
    for command in (["show", "--full"], ["trends"], ["history", "verify"]):
        done = suite.alignbench(*command)
        assert done.exit_code == 0, (command, done.output)
        shown.append(done.output)
    assert not set("\x1b\x07\x00\u202e\ud800") & set("".join(shown))
    made = [path.name for path in suite.path.rglob("*")]
    assert [name for name in made if len(name) > 200 or "passwd" in name or "bucket" in name] == []
