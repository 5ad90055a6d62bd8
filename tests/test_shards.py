"""Shards: a suite measured by several sessions is one run, judged once, or says what it lacks to be one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import counted, observed, record
from conftest import Project
from pytest_alignbench import HistoryError, RateAtMost
from pytest_alignbench.baselines import Baselines, savable
from pytest_alignbench.errors import AlignbenchError
from pytest_alignbench.history import History, Record, Run
from pytest_alignbench.index import Index
from pytest_alignbench.shards import Shard

BEHAVING = ("--model", "simulated/behaving")
SUITE = "difference(), rate('t.a'), rate('t.b'), rate('t.c'), rate('t.d')"
CLAIMS = {f"t.{name} @ simulated/behaving" for name in ("difference", "a", "b", "c", "d")}


# -- names


@pytest.mark.parametrize(
    ("share", "group", "environment", "found"),
    [
        (None, None, {}, None),
        (None, None, {"GITHUB_RUN_ID": "7"}, None),
        ("2/3", "pr-7", {}, Shard(2, 3, "pr-7")),
        ("1/1", "A_b-9", {"GITHUB_RUN_ID": "7"}, Shard(1, 1, "A_b-9")),
        ("2/3", None, {"GITHUB_RUN_ID": "7"}, Shard(2, 3, "7")),
        ("2/3", None, {}, Shard(2, 3, "")),
        (None, "nightly", {}, Shard(1, 1, "nightly")),
    ],
)
def test_a_shard_is_named_by_options(
    share: str | None, group: str | None, environment: dict[str, str], found: Shard | None
) -> None:
    assert Shard.asked(share, group, environment) == found


@pytest.mark.parametrize("share", ["0/3", "4/3", "3", "1/", "/3", "1/0", "-1/3", "1/3/5", "1.5/3", "1/1001", "١/٣", ""])
def test_what_is_no_share_is_refused_with_what_is(share: str) -> None:
    with pytest.raises(AlignbenchError, match="1 <= I <= N <= 1000, such as 1/3, 2/3 and 3/3"):
        Shard.asked(share, "g", {})


@pytest.mark.parametrize("group", ["", "a/b", "a.b", "../x", "-x", "latest", "a b", "é", "x" * 65, "\x1b[31m"])
def test_what_is_no_group_is_refused_with_what_is(group: str) -> None:
    with pytest.raises(AlignbenchError, match="give 1 to 64 letters, digits, - and _") as refused:
        Shard.asked("1/2", group, {})
    assert "\x1b" not in str(refused.value)


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", fullmatch=True), st.integers(1, 1000), st.integers(1, 1000))
def test_an_id_tells_its_shard(group: str, number: int, of: int) -> None:
    shard = Shard(number, of, group)
    assert Shard.of_id(shard.run_id("20260131-142530-b7ed3f9a")) == shard
    assert Shard.of_id("20260131-142530-b7ed3f9a") is None


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--alignbench-shard", "3/2", *BEHAVING), "--alignbench-shard 3/2: give I/N"),
        (("--alignbench-shard", "3/2"), "--alignbench-shard 3/2: give I/N"),
        (("--alignbench-shard", "1/2", *BEHAVING), "--alignbench-shard 1/2 needs --alignbench-group NAME"),
        (("--alignbench-shard", "1/2", "--alignbench-group", "a/b", *BEHAVING), "--alignbench-group a/b: give 1 to 64"),
    ],
)
def test_wrong_options_are_one_line_before_anything_is_asked(
    project: Project, args: tuple[str, ...], said: str
) -> None:
    project.monkeypatch.delenv("GITHUB_RUN_ID", raising=False)
    project.suite("rate()")
    for mode in ((), ("-n", "1")):
        result = project.pytest(*args, *mode)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        (line,) = [line for line in result.errlines if line]
        assert line.startswith(f"ERROR: {said}")
    assert not (project.path / ".alignbench").exists()


# -- sessions


def shard(project: Project, share: str, *args: str, group: str = "g") -> pytest.RunResult:
    return project.pytest(*BEHAVING, "--alignbench-shard", share, "--alignbench-group", group, *args)


def test_every_test_is_run_by_one_shard(project: Project) -> None:
    project.suite(SUITE, more="def test_without_claims(): pass")
    models = ("--model", "simulated/effect-0.3")
    seen: list[str] = []
    for number in (1, 2, 3):
        result = shard(project, f"{number}/3", "-v", "--junitxml=out.xml", *models)
        ran = [line.partition("::")[2].split()[0] for line in result.outlines if line.startswith("test_suite.py::")]
        assert result.parseoutcomes()["deselected"] == 11 - len(ran)
        assert len(list(ElementTree.parse(project.path / "out.xml").iter("testcase"))) == len(ran)
        result.stdout.fnmatch_lines(
            [f"alignbench: shard {number} of 3 of group g", "this is shard * alignbench gate g"]
        )
        seen += ran
    assert len(seen) == len(set(seen)) == 11
    assert set(project.asked().values()) == {1}
    merged = project.history.read("g")
    assert merged.complete
    assert {r.key for r in merged.records} == CLAIMS | {k.replace("behaving", "effect-0.3") for k in CLAIMS}
    assert {r.m for r in merged.records} == {10}, "the error of the whole suite is shared out"


def test_selection_comes_first_and_the_size_of_the_suite_before_it(project: Project) -> None:
    project.suite(SUITE)
    for number in (1, 2):
        shard(project, f"{number}/2", "-k", "rate or t.a or t.b", "-q")
    merged = project.history.read("g")
    assert {r.claim for r in merged.records} == {"t.a", "t.b"}
    assert {len(project.history.read(part).records) for part in merged.parts} == {1}
    assert {r.m for r in merged.records} == {5}
    assert merged.complete


@pytest.mark.parametrize("mode", [(), ("-n", "1")])
def test_a_shard_with_nothing_to_do_is_in_order_and_stored(project: Project, mode: tuple[str, ...]) -> None:
    project.suite("rate()")
    idle = shard(project, "2/2", *mode)
    assert idle.ret == pytest.ExitCode.OK
    idle.stdout.fnmatch_lines(["this is shard 2 of 2, which has no claim to measure, of the run: alignbench gate g"])
    assert project.alignbench("gate", "g").exit_code == 2, "there is no record yet"
    shard(project, "1/2", *mode)
    assert project.alignbench("gate", "g").exit_code == 0
    assert project.pytest("-k", "nothing", *BEHAVING).ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_controls_and_plans_are_divided_too_and_need_no_group(project: Project) -> None:
    project.suite(SUITE)
    planned = [project.pytest("--collect-only", "-q", *BEHAVING, "--alignbench-shard", f"{i}/2") for i in (1, 2)]
    calls = [int(line.split()[2]) for result in planned for line in result.outlines if line.startswith("in all")]
    assert sum(calls) == 48 + 4 * 24
    assert min(calls) > 0
    project.suite("difference('t.a'), difference('t.b')")
    controls = project.pytest("--alignbench-controls", "--alignbench-shard", "1/2")
    controls.assert_outcomes(passed=3, deselected=3)
    assert not (project.path / ".alignbench" / "runs").exists()


def test_interrupted_shards_are_incomplete(project: Project) -> None:
    project.settings('[tool.alignbench.simulated.bad]\n"*" = 0.9')
    project.suite("rate('t.a'), rate('t.b')")
    project.pytest("-x", "--model", "simulated/bad", "--alignbench-group", "alone")
    merged = project.history.read("alone")
    assert not merged.complete
    assert merged.notes == ("shard 1 of 1 of group alone is incomplete: no record of t.b @ simulated/bad",)


# -- separate processes into one history, then one gate


def command(*args: str) -> list[str]:
    return [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", *args]


def together(project: Project, *sessions: Iterable[str]) -> list[str]:
    """What pytest sessions print that run at the same time, each in a process of its own; they end with 0 or 1."""
    started = [
        subprocess.Popen(command(*args), cwd=project.path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for args in sessions
    ]
    printed = [process.communicate(timeout=240)[0] for process in started]
    assert all(process.returncode in (0, 1) for process in started), printed
    return printed


def gate(project: Project, *args: str) -> tuple[int, str]:
    alignbench = Path(sys.executable).with_name("alignbench")
    done = subprocess.run(
        [str(alignbench), "gate", *args], cwd=project.path, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout + done.stderr


def test_two_jobs_and_one_gate_decide_as_one_session(project: Project) -> None:
    project.suite(SUITE)
    project.settings('[tool.alignbench.simulated.some]\n"*" = 0.02\n"t.b" = 0.9')
    model = ("--model", "simulated/some")
    project.pytest(*model)
    (alone,) = project.history.runs()
    project.monkeypatch.setenv("GITHUB_RUN_ID", "123456")
    together(
        project,
        (*model, "--alignbench-shard", "1/2"),
        (*model, "--alignbench-shard", "2/2", "-n", "2"),
    )
    assert len(project.history.runs()) == 2
    whole, merged = project.history.read(alone), project.history.read("latest")
    assert merged == project.history.read("123456")
    assert len(merged.parts) == 2
    shown = [
        [r.model_dump(exclude={"logs", "seconds", "observations"}) for r in run.records] for run in (whole, merged)
    ]
    assert shown[0] == shown[1]
    assert [[o.exhibits for o in r.observations] for r in whole.records] == [
        [o.exhibits for o in r.observations] for r in merged.records
    ]
    code, said = gate(project, "123456")
    assert code == 1
    assert "must hold: 1 VIOLATED, 4 HOLDS" in said
    assert said.partition("\n")[2] == gate(project, alone)[1].partition("\n")[2]
    # The run is a run wherever one can be named.
    assert project.alignbench("show", "123456").exit_code == 1
    assert project.alignbench("compare", alone, "123456").exit_code == 0
    assert project.alignbench("baseline", "save", "123456").exit_code == 0
    assert gate(project, alone, "--baseline", "baseline.json", "--margin", "0.4")[0] == 0
    assert gate(project, alone, "--baseline", "123456", "--margin", "0.4")[0] == 0


def test_a_missing_shard_is_named_and_nothing_is_green(project: Project) -> None:
    project.suite(SUITE)
    share = (*BEHAVING, "--alignbench-group", "g", "--alignbench-shard")
    together(project, (*share, "1/3"), (*share, "3/3"))
    code, said = gate(project, "g")
    assert code == 3
    assert "INCONCLUSIVE, exit code 3" in said
    assert "shard 2 of 3 of group g is missing: no record of t." in said
    refused = project.alignbench("baseline", "save", "g")
    assert refused.exit_code == 2
    assert "is incomplete, and no baseline: shard 2 of 3 of group g is missing" in refused.output
    assert shard(project, "2/3").ret == pytest.ExitCode.OK
    assert gate(project, "g")[0] == 0


def test_shards_of_different_suites_are_no_run(project: Project) -> None:
    project.suite("rate('t.a'), rate('t.b'), rate('t.c')")
    shard(project, "1/2")
    project.suite("rate('t.a'), rate('t.b', gate=RateAtMost(0.4)), rate('t.d')")
    shard(project, "2/2")
    code, said = gate(project, "g")
    assert code == 3
    for claim, how in (("t.b", "is not the same"), ("t.c", "only in one"), ("t.d", "only in one")):
        assert f"{claim} @ simulated/behaving ({how})" in said.replace("\n", " ")


# -- merging, from records alone

GATE = RateAtMost(0.5, of="asked")
STAMPS = [f"2026010{day}-000000-aaaa" for day in range(1, 10)]
PLAN = {"t.a @ small": "1/2 x", "t.b @ small": "2/2 x"}


def seen(claim: str, hits: int = 0, **changed: object) -> Record:
    return record(observed(counted(hits, 20)), gate=GATE, claim=claim, **changed)


def part(
    number: int, *records: Record, day: int, of: int = 2, complete: bool = True, suite: dict[str, str] = PLAN
) -> Run:
    return Run(
        id=Shard(number, of, "g").run_id(STAMPS[day]),
        started=f"2026-01-0{day + 1}T00:00:00+00:00",
        finished=f"2026-01-0{day + 1}T01:00:00+00:00",
        complete=complete,
        records=records,
        suite=suite,
        versions={"python": "3.11", "pytest": f"9.{of}"},
    )


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(str(tmp_path / "history"))


def stored(history: History, *runs: Run) -> Run:
    for run in runs:
        history.write(run)
    return history.read("g")


def test_a_group_is_one_run_among_others(history: History) -> None:
    plain = Run(id=STAMPS[2], started="2026-01-03T00:00:00+00:00", records=(seen("t.a"),))
    merged = stored(history, plain, part(2, seen("t.b"), day=1), part(1, seen("t.a"), day=3))
    id = f"{STAMPS[1]}.g"
    assert history.runs() == [id, STAMPS[2]], "oldest first, by when the first shard began"
    assert history.parts("g") == merged.parts == (f"{STAMPS[1]}.2of2.g", f"{STAMPS[3]}.1of2.g")
    assert (merged.id, merged.started[:10], merged.finished[:10]) == (id, "2026-01-02", "2026-01-04")
    assert merged.complete
    assert merged.notes == ()
    assert history.read(id) == history.read(id[:13]) == merged
    assert history.read("latest") == plain
    assert history.parts("latest") == (STAMPS[2],)
    shard = history.read(f"{STAMPS[1]}.2of2.g")
    assert [r.claim for r in shard.records] == ["t.b"], "a shard can be looked at by itself"
    assert [history.names(name) for name in ("g", id, shard.id, STAMPS[2], "h", "", "2026")] == [
        *[True] * 4,
        *[False] * 3,
    ]
    assert history.logs(shard.id) == f"{history.url}/logs/g/{shard.id}"
    assert history.logs(id) == f"{history.url}/logs/g"
    found = Baselines("g", history).find("t.b", merged.records[1].fingerprint)
    assert found is not None
    assert found[0] == id
    assert savable(merged).run == id


def test_what_reports_read_follows_the_shards_as_they_come(history: History) -> None:
    stored(history, part(1, seen("t.a"), day=2))
    assert [(head.records, head.complete) for head in Index(history).heads()] == [(1, False)]
    history.write(part(2, seen("t.b"), day=3))
    assert [(head.records, head.complete) for head in Index(history).heads()] == [(2, True)]
    history.write(part(2, seen("t.b"), day=1))
    assert [(head.run, head.records) for head in Index(history).heads()] == [(f"{STAMPS[1]}.g", 2)]


def test_a_group_whose_name_begins_others_is_meant_alone(history: History) -> None:
    history.write(part(1, seen("t.a"), day=1, of=1))
    other = part(1, seen("t.a"), day=2, of=1).model_copy(update={"id": f"{STAMPS[2]}.1of1.g2"})
    history.write(other)
    assert history.read("g").parts == (f"{STAMPS[1]}.1of1.g",)
    with pytest.raises(HistoryError, match="run '2026' begins 2 runs"):
        history.read("2026")


def test_measured_again_the_first_counts(history: History) -> None:
    """Otherwise a job could be run again until it is green."""
    merged = stored(
        history,
        part(1, seen("t.a", hits=20), day=0),
        part(2, seen("t.b"), day=1),
        part(1, seen("t.a", hits=0), day=2),
    )
    assert sum(o.exhibits is True for o in merged.records[0].observations) == 20
    assert merged.complete
    assert merged.notes == (f"shard 1 of 2 was measured again, by {STAMPS[2]}.1of2.g: what was measured first counts",)


def test_measured_again_what_an_outage_left_out_is_filled(history: History) -> None:
    down = seen("t.a").model_copy(update={"observations": (), "fault": "the provider was down"})
    merged = stored(
        history,
        part(1, down, day=0),
        part(2, seen("t.b"), day=1),
        part(1, down, day=2),
        part(1, seen("t.a", hits=3), day=3),
        part(1, seen("t.a", hits=0), day=4),
    )
    assert merged.records[0].fault is None
    assert sum(o.exhibits is True for o in merged.records[0].observations) == 3
    assert merged.complete
    assert "counts, but for t.a @ small, which had not been measured" in merged.notes[1]


def test_an_interrupted_shard_is_completed_by_the_next(history: History) -> None:
    plan = PLAN | {"t.c @ small": "1/2 x"}
    first = part(1, seen("t.a", hits=5), day=0, complete=False, suite=plan)
    merged = stored(history, first, part(2, seen("t.b"), day=1, suite=plan))
    assert not merged.complete
    assert merged.notes == ("shard 1 of 2 of group g is incomplete: no record of t.c @ small",)
    merged = stored(history, part(1, seen("t.a"), seen("t.c"), day=2, suite=plan))
    assert merged.complete
    assert sum(o.exhibits is True for o in merged.records[0].observations) == 5, "the first counts"


def test_what_was_divided_in_two_ways_is_no_run(history: History) -> None:
    merged = stored(history, part(1, seen("t.a"), day=0), part(1, seen("t.a"), day=1, of=3))
    assert not merged.complete
    assert merged.notes[0].startswith("group g was divided in more than one way, into 2 and 3 shards")
    assert merged.versions == {"python": "3.11", "pytest": "9.2, 9.3"}


def test_a_file_that_holds_another_run_is_refused(history: History) -> None:
    path = Path(history.write(part(1, seen("t.a"), day=0)))
    os.rename(path, path.with_name(f"{STAMPS[0]}.2of2.g.json.gz"))
    with pytest.raises(HistoryError, match=r"cannot be read: it holds run .*\.1of2\.g"):
        history.read("g")
