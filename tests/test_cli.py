"""The commands that read history: what they say, and the exit codes that a script can rely on."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from builders import counted, observed, record, run
from pytest_alignbench import Outcome, RateAtMost
from pytest_alignbench.cli import main
from pytest_alignbench.history import History, Record
from pytest_alignbench.verdicts import judge

GATE = RateAtMost(0.1, of="asked")
RECORDS = {
    Outcome.HOLDS: record(observed(counted(hits=0, n=100)), gate=GATE, claim="t.holds"),
    Outcome.VIOLATED: record(observed(counted(hits=40, n=100)), gate=GATE, claim="t.violated"),
    Outcome.INCONCLUSIVE: record(observed(counted(hits=10, n=100, missing=5)), gate=GATE, claim="t.unsure"),
}
EARLY, LATE = "20260131-142530-aaaa", "20260131-142530-bbbb"


def alignbench(*args: str) -> Result:
    return CliRunner().invoke(main, args)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> History:
    """The history of the project that the commands run in."""
    (tmp_path / "pyproject.toml").write_text("[tool.alignbench]\n")
    monkeypatch.chdir(tmp_path)
    return History(str(tmp_path / ".alignbench"))


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ([Outcome.HOLDS], 0),
        ([Outcome.HOLDS, Outcome.INCONCLUSIVE], 3),
        ([Outcome.HOLDS, Outcome.INCONCLUSIVE, Outcome.VIOLATED], 1),
    ],
)
def test_show_judges_again_and_exits_by_the_worst_verdict(store: History, outcomes: list[Outcome], code: int) -> None:
    chosen = [RECORDS[outcome] for outcome in outcomes]
    assert [judge(each).outcome for each in chosen] == outcomes
    store.write(run(EARLY, *chosen))
    shown = alignbench("show")
    assert shown.exit_code == code
    for each, outcome in zip(chosen, outcomes, strict=True):
        [line] = [line for line in shown.output.splitlines() if each.claim in line and outcome.value in line]
        assert line.split()[:2] == [outcome.value, each.claim]
    # One claim alone decides for itself.
    alone = alignbench("show", "--claim", "holds", "--full")
    assert alone.exit_code == 0
    assert judge(RECORDS[Outcome.HOLDS]).explanation in alone.output
    assert "t.violated" not in alone.output


def test_nothing_measured_is_no_pass(store: History) -> None:
    unmeasured: dict[str, Record] = {
        "not_measured": record([], gate=GATE, not_measured="no grader"),
        "fault": record(observed(counted(hits=0, n=0, missing=100)), gate=GATE, fault="none could be scored"),
    }
    for number, (name, made) in enumerate(unmeasured.items()):
        store.write(run(f"2026020{number}-000000-aaaa", made))
        shown = alignbench("show", "latest", "--full")
        assert shown.exit_code == 3
        assert str(getattr(made, name)) in shown.output


def test_a_run_is_named_by_its_id_its_beginning_or_latest(store: History) -> None:
    store.write(run(EARLY, RECORDS[Outcome.VIOLATED]))
    store.write(run(LATE, RECORDS[Outcome.HOLDS]).model_copy(update={"complete": False}))
    assert [alignbench("show", name).exit_code for name in ("latest", LATE, EARLY, "20260131-142530-a")] == [0, 0, 1, 1]
    assert "incomplete" in alignbench("show", "latest").output
    _, _, *listed = alignbench("history", "list").output.splitlines()
    assert [line.split()[0] for line in listed] == [EARLY, LATE]
    assert [line.endswith("incomplete") for line in listed] == [False, True]
    assert all(" small " in line for line in listed)


def test_the_history_is_found_from_any_folder_of_the_project_or_where_it_is_said(
    store: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write(run(EARLY, RECORDS[Outcome.HOLDS]))
    inner = tmp_path / "suites" / "deep"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    assert alignbench("show").exit_code == 0
    elsewhere = tmp_path / "elsewhere"
    History(str(elsewhere)).write(run(LATE, RECORDS[Outcome.VIOLATED]))
    assert alignbench("show", "--history", str(elsewhere)).exit_code == 1
    (tmp_path / "pyproject.toml").write_text('[tool.alignbench]\nhistory = "elsewhere"\n')
    assert alignbench("show").exit_code == 1


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("show", "2027"), "run '2027' is not among the 2 runs"),
        (("show", "2026"), "run '2026' begins 2 runs"),
        (("logs", "2027"), "run '2027' is not among the 2 runs"),
        (("show", "--claim", "nosuch"), "holds no claim whose id contains 'nosuch'"),
        (("show", "--format", "nosuch"), "'nosuch' is not one of"),
        (("nosuch",), "No such command"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(store: History, args: tuple[str, ...], said: str) -> None:
    store.write(run(EARLY, RECORDS[Outcome.HOLDS]))
    store.write(run(LATE, RECORDS[Outcome.HOLDS]))
    done = alignbench(*args)
    assert done.exit_code == 2
    assert said in done.output
    assert "Traceback" not in done.output


def test_an_empty_history_holds_no_latest_run(store: History) -> None:
    done = alignbench("show")
    assert done.exit_code == 2
    assert "run 'latest' is not among the 0 runs" in done.output
    assert alignbench("history", "list").output == "history .alignbench: 0 runs\n"


def test_a_file_that_is_not_what_was_written_is_refused(store: History, tmp_path: Path) -> None:
    path = Path(store.write(run(EARLY, RECORDS[Outcome.HOLDS])))
    whole = path.read_bytes()
    for broken in (whole[:-20], b"", bytes([*whole[:40], whole[40] ^ 1, *whole[41:]])):
        path.write_bytes(broken)
        done = alignbench("show")
        assert done.exit_code == 2
        assert done.output.count("\n") == 1
        assert f"run {EARLY}" in done.output
        assert "cannot be read" in done.output


def test_wrong_settings_are_one_line(store: History, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.alignbench]\nconections = 3\n")
    done = alignbench("history", "list")
    assert done.exit_code == 2
    assert done.output.count("\n") == 1
    assert "conections" in done.output


def test_json_is_for_programs(store: History) -> None:
    store.write(run(EARLY, *RECORDS.values()))
    done = alignbench("show", "--format", "json")
    assert done.exit_code == 1
    assert json.loads(done.output)["run"] == EARLY


def test_hostile_text_of_a_record_does_not_reach_the_terminal(store: History) -> None:
    hostile = "\x1b[2J\x1b]0;title\x07 \u202e\ud800\x00 <b>No</b>"
    rows = observed(counted(hits=40, n=100), reply=hostile.replace("\ud800", ""), label=hostile.replace("\ud800", ""))
    store.write(run(EARLY, record(rows, gate=GATE, served=("\x1b[1m",))))
    for form in ("text", "markdown", "json"):
        shown = alignbench("show", "--full", "--format", form).output
        assert not set("\x1b\x07\u202e\x00") & set(shown), form


def test_logs_opens_inspects_viewer_on_the_logs_of_the_run(store: History, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write(run(EARLY, RECORDS[Outcome.HOLDS]))
    called: list[list[str]] = []

    def call(command: list[str]) -> int:
        called.append(command)
        return 7

    monkeypatch.setattr(subprocess, "call", call)
    assert alignbench("logs").exit_code == 7
    assert called == [[sys.executable, "-m", "inspect_ai", "view", "--log-dir", store.logs(EARLY)]]


def test_the_command_is_installed() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("alignbench")), "--version"], capture_output=True, text=True, check=True
    )
    assert version("pytest-alignbench") in done.stdout
    # Reading history calls no model, so it needs no Inspect.
    code = "import sys, pytest_alignbench.cli; sys.exit('inspect_ai' in sys.modules or 'scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
