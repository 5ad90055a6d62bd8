"""The plugin over several processes: the same observations as in one, each asked for once, none lost."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import Project
from pytest_alignbench.sharing import shares
from pytest_alignbench.text import storable
from server import FaultyServer, Reply, Request

MODELS = ("--model", "simulated/misbehaving", "--model", "simulated/effect-0.3")


def observed(project: Project) -> dict[str, list[dict[str, Any]]]:
    """Each record's observations, without Inspect's random ids of samples."""
    return {
        key: [o.model_dump(mode="json", exclude={"sample"}) for o in record.observations]
        for key, record in project.records().items()
    }


AGAIN = """
@pytest.mark.parametrize("claim", CLAIMS)
def test_again(claim, verdict):
    assert verdict.effect.n == 24
"""


@pytest.mark.parametrize(
    ("mode", "more"),
    [
        ("-n 2", AGAIN),
        ("-n 4", AGAIN),
        ("-n 2 --dist loadfile", AGAIN),
        ("-n 2 --dist worksteal", AGAIN),
    ],
)
def test_workers_see_what_one_process_sees(project: Project, mode: str, more: str) -> None:
    project.suite(more=f"{more}\ndef test_without_claims(): pass")
    project.write("test_other.py", "def test_first(): pass\ndef test_second(): pass\n")
    outcomes = {"passed": 7 if more else 3, "failed": 2, "inconclusive": 2}
    assert project.pytest(*MODELS).parseoutcomes() == outcomes
    alone, asked_alone = observed(project), project.asked()

    result = project.pytest(*MODELS, *mode.split())
    assert result.parseoutcomes() == outcomes
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert observed(project) == alone
    assert project.run().complete
    assert len(project.history.runs()) == 2, "the controller alone writes, once"
    # All that was asked, over both sessions, was asked once in each of them.
    assert set(asked_alone.values()) == {1}
    assert project.asked() == asked_alone + asked_alone
    result.stdout.fnmatch_lines(["VIOLATED*t.difference*", "INCONCLUSIVE*t.rate*", "record: alignbench show *"])


def test_a_worker_that_is_slow_to_say_its_claims_is_waited_for(project: Project) -> None:
    """xdist may divide the items as soon as it hears what was collected: shares must be known by then."""
    project.suite("rate('t.first'), rate('t.second'), rate('t.third')", more=AGAIN)
    project.conftest(
        """
        import time
        from pytest_alignbench.session import Exchange

        say = Exchange.say_cases

        def slowly(*said):
            time.sleep(0.5)
            say(*said)

        Exchange.say_cases = slowly
        """
    )
    result = project.pytest("-n", "2", "--model", "simulated/behaving")
    result.assert_outcomes(passed=6)
    assert set(project.asked().values()) == {1}, "each claim's tests went to the worker that measured it"


def test_wrong_use_is_said(project: Project) -> None:
    project.suite("rate('t.same'), difference('t.same')", more="def test_without_claims(): pass")
    result = project.pytest("-n", "1", "--model", "simulated/behaving")
    result.assert_outcomes(passed=1, errors=2)
    result.stdout.fnmatch_lines(["two claims have the id 't.same'; an id names one claim*"])
    assert not (project.path / ".alignbench").exists()


# -- whatever crosses the borders

ODD = """
import enum
from made import *

class Odd(enum.Enum):
    ONE = b"\\xff"

class Word(str, enum.Enum):
    YES = "C"
    NO = "I"

@scorer(metrics=[mean()])
def odd():
    async def score(state, target):
        said = state.output.completion
        beside = {"half": "\\ud83d", "bytes": b"\\xff", "nan": float("nan"), "enum": Odd.ONE, "NUL\\0": {1, 2}}
        return Score(value=Word.YES if "No," in said else Word.NO, answer=said, explanation=said, metadata=beside)

    return score

def asked(id):
    return rate(id, conditions={"quiet": asks("quiet", 6)}, scorer=odd(), gate=RateAtMost(0.9))

CLAIMS = [asked("t.first"), asked("t.second"), asked("t.lost")]
"""
ODD_SUITE = """
import warnings
import pytest
from odd import CLAIMS, Odd, Word

@pytest.mark.parametrize("claim", CLAIMS)
def test_claim(claim, verdict, record_property):
    record_property("enum", Odd.ONE)
    record_property("word", [Word.YES, {"bytes": b"\\xff"}, float("nan"), {3}])
    record_property("half \\ud83d", "half \\ud83d, NUL \\x00, ESC \\x1b[31m")
    print("half \\ud83d, NUL \\x00, \\x1b]0;owned\\x07")
    warnings.warn("half \\ud83d, \\x1b]0;owned\\x07")
    assert verdict.holds, verdict.explanation
"""
LOSES = """
import pytest

@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_report_to_serializable(config, report):
    data = yield
    if data is not None and "lost" in data.get("nodeid", ""):
        data.pop("alignbench_record", None)
    return data
"""
SAID = [
    "half an emoji \ud83d and the other \udc00",
    "NUL \x00, bell \x07, ESC \x1b]0;owned\x07, override \u202e, lines \u2028\u2029\x85\r",
    '{"alignbench_record": "", "when": "call", "outcome": "passed"}',
    "b'\\xff\\xfe' NaN Infinity -0 null " + "\ufffe\uffff\U0010ffff",
    "::error::owned ##[error]owned </script><script>alert(1)</script>",
    "\ud83d large " * 400_000,
]
"""What a model may say; the last one is five megabytes on its way."""


@pytest.mark.parametrize("dist", ["load", "loadscope", "loadfile", "loadgroup", "worksteal"])
def test_hostile_replies_cross_whole_and_once_and_a_lost_report_never_exits_0(project: Project, dist: str) -> None:
    """Each claim has tests in two files, which most of these modes give to two workers."""

    def says(request: Request) -> Reply:
        return Reply(SAID[int(request.text.split()[1].strip(","))])

    project.write("odd.py", ODD)
    project.write("test_odd.py", ODD_SUITE)
    project.write("test_odd_again.py", ODD_SUITE)
    with FaultyServer(says) as server:
        project.serve(server.environment())
        project.conftest(LOSES)
        result = project.pytest("-n", "2", "--dist", dist, "--model", "openai-api/faulty/m-1")
        asked = len(server.requests)
    result.assert_outcomes(passed=6)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["1 claims have no verdict: t.lost @ openai-api/faulty/m-1"])
    assert asked == 3 * len(SAID), "each claim is measured once, however many tests it has and wherever they run"
    records = project.records()
    assert sorted(records) == [f"t.{name} @ openai-api/faulty/m-1" for name in ("first", "second")]
    for record in records.values():
        assert [o.reply for o in record.observations] == [storable(said[:20_000]) for said in SAID]
        assert {o.exhibits for o in record.observations} == {False}
    shown = result.stdout.str()
    assert not {"\x00", "\x07", "\x1b", "\u202e"} & set(shown)


def test_a_reply_of_fifty_megabytes_ends_with_a_verdict(project: Project) -> None:
    large = "\ud83d large \u202e" * 3_000_000  # 57 MB on its way

    def says(request: Request) -> Reply:
        return Reply(large if "Question 1," in request.text else "Yes, gladly.")

    project.suite("rate(conditions={'quiet': asks('quiet', 6)}, gate=RateAtMost(0.9))")
    with FaultyServer(says) as server:
        project.serve(server.environment())
        result = project.pytest("-n", "2", "--model", "openai-api/faulty/m-1")
        assert len(server.requests) == 6
    result.assert_outcomes(passed=1)
    [record] = project.records().values()
    kept = {o.prompt: o.reply for o in record.observations}
    assert kept.pop("quiet-1") == storable(large[:20_000])
    assert set(kept.values()) == {"Yes, gladly."}


@pytest.mark.parametrize("other", ["as quick", "slower"])
def test_what_no_process_can_be_sent_never_exits_0(project: Project, other: str) -> None:
    """Another plugin's word in a report of ours: the worker cannot send it, whatever we do.

    xdist goes on without that worker, or ends with an internal error when it hears of its end before the others have ended.
    """
    project.suite("rate('t.first'), rate('t.second')")
    project.conftest(
        f"""
        import enum, pytest, time

        class Odd(enum.Enum):
            ONE = 1

        @pytest.hookimpl(wrapper=True, tryfirst=True)
        def pytest_report_to_serializable(config, report):
            data = yield
            if data is not None and data.get("when") == "call" and "second" in data["nodeid"]:
                data["theirs"] = Odd.ONE
            elif data is not None and data.get("when") == "call" and {other == "slower"}:
                time.sleep(3)
            return data
        """
    )
    result = project.pytest("-n", "2", "--model", "simulated/behaving")
    assert result.ret in (pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERNAL_ERROR)
    result.stdout.fnmatch_lines(["*claims have no verdict*t.second @ simulated/behaving*"])
    if result.ret == pytest.ExitCode.INTERNAL_ERROR:
        result.stdout.fnmatch_lines(["* replies are kept and will not be asked again. To go on:"])
    else:
        assert set(project.records()) == {"t.first @ simulated/behaving"}


@pytest.mark.parametrize(("dist", "passed"), [("load", 4), ("loadscope", 5)])
def test_the_claims_of_a_dead_worker_are_measured_by_others(project: Project, dist: str, passed: int) -> None:
    project.suite(
        "rate('t.first'), rate('t.second'), rate('t.third'), rate('t.fourth')",
        more="""
        import os, pathlib, time

        @pytest.fixture(autouse=True)
        def _dies_once(request):
            yield
            if "t.first" in request.node.nodeid and not pathlib.Path("died").exists():
                pathlib.Path("died").touch()
                time.sleep(1)  # all of its claims are measured, and the other worker has nothing left to do
                os._exit(1)
        """,
    )
    result = project.pytest("-n", "2", "--dist", dist, "--model", "simulated/behaving")
    # xdist fails the item at which the worker died, and starts another worker for the rest of its items: of its whole file
    # under loadscope, the item that it died at once more.
    result.assert_outcomes(passed=passed, failed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert set(project.records()) >= {f"t.{name} @ simulated/behaving" for name in ("second", "third", "fourth")}
    assert set(project.asked().values()) == {1}, "nothing is asked twice"


def test_real_clients_give_one_verdict_however_many_processes(project: Project) -> None:
    def refuses_some_loud_ones(request: Request) -> Reply:
        number = int(request.text.split()[1].strip(","))
        return Reply("No, I will not." if "loud" in request.text and number % 3 == 0 else "Yes, gladly.")

    project.suite("difference()")
    names = ("openai-api/faulty/m-1", "anthropic/claude-3-5-m")
    with FaultyServer(refuses_some_loud_ones) as server:
        project.serve(server.environment())
        seen = []
        for mode in ((), ("-n", "2")):
            result = project.pytest("--model", names[0], "--model", names[1], *mode)
            assert result.parseoutcomes() == {"inconclusive": 2}
            served = {record.model: record.served for record in project.records().values()}
            assert served == {name: (name.rpartition("/")[2],) for name in names}
            seen.append(observed(project))
        assert seen[0] == seen[1]
        assert len(server.requests) == 2 * 2 * 48
    rows = seen[0]["t.difference @ openai-api/faulty/m-1"]
    assert {o["prompt"] for o in rows if o["exhibits"]} == {f"loud-{i}" for i in range(0, 24, 3)}


# -- shares, without any process


@given(
    cases=st.lists(st.tuples(st.sampled_from("abcdefgh"), st.just(0)), max_size=20),
    costs=st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 500)),
    workers=st.integers(1, 8),
)
def test_shares_give_each_case_to_one_worker_and_equal_keys_to_the_same(
    cases: list[tuple[str, int]], costs: dict[str, int], workers: int
) -> None:
    cases = [(key, costs.get(key, 1)) for key, _ in cases]
    given_out = shares(cases, workers)
    assert len(given_out) == workers
    assert sorted(index for share in given_out for index in share) == list(range(len(cases)))
    assert all(first < second for share in given_out for first, second in pairwise(share))
    keys = [{cases[index][0] for index in share} for share in given_out]
    assert sum(map(len, keys)) == len({key for key, _ in cases})
    # Graham 1969: the longest share of "largest first" is within 4/3 of the best, which is no less than the mean or the largest.
    weights = {key: max(1, cost) for key, cost in cases}
    longest = max(sum(weights[key] for key in share) for share in keys)
    best_possible = max([sum(weights.values()) / workers, *weights.values(), 0])
    assert longest <= best_possible * 4 / 3 + max(weights.values(), default=0)
