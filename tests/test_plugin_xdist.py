"""The plugin over several processes: the same observations as in one, each asked for once, none lost."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import Project
from pytest_alignbench.sharing import shares
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
        # This one hands out items without regard to claims, so that two tests of one may fall to two workers.
        ("-n 2 --dist worksteal", ""),
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


def test_wrong_use_is_said(project: Project) -> None:
    project.suite("rate('t.same'), difference('t.same')", more="def test_without_claims(): pass")
    result = project.pytest("-n", "1", "--model", "simulated/behaving")
    result.assert_outcomes(passed=1, errors=2)
    result.stdout.fnmatch_lines(["two claims have the id 't.same'; an id names one claim*"])
    assert not (project.path / ".alignbench").exists()


def test_a_report_lost_between_processes_never_exits_0(project: Project) -> None:
    project.suite("rate('t.first'), rate('t.lost')")
    project.conftest(
        """
        import pytest

        @pytest.hookimpl(wrapper=True, tryfirst=True)
        def pytest_report_to_serializable(config, report):
            data = yield
            if data is not None and "lost" in data.get("nodeid", ""):
                data.pop("alignbench_record", None)
            return data
        """
    )
    result = project.pytest("-n", "1", "--model", "simulated/behaving")
    result.assert_outcomes(passed=2)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["1 claims have no verdict: t.lost @ simulated/behaving"])
    assert list(project.records()) == ["t.first @ simulated/behaving"]


def test_the_claims_of_a_dead_worker_are_measured_by_others(project: Project) -> None:
    project.suite(
        "rate('t.first'), rate('t.second'), rate('t.third'), rate('t.fourth')",
        more="""
        import os, pathlib

        @pytest.fixture(autouse=True)
        def _dies_once(request):
            yield
            if "t.first" in request.node.nodeid and not pathlib.Path("died").exists():
                pathlib.Path("died").touch()
                os._exit(1)
        """,
    )
    result = project.pytest("-n", "2", "--model", "simulated/behaving")
    # xdist fails the item at which the worker died, and starts another worker for the rest of its items.
    result.assert_outcomes(passed=4, failed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert set(project.records()) >= {f"t.{name} @ simulated/behaving" for name in ("second", "third", "fourth")}


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
