"""Full and read-only disks under each folder of a history: what cannot be written is said, and nothing is green for it.

The disks are real ones, of memory, and need somebody who may mount them; single errors of the system are put in by
`test_history.py`, `test_history_cli.py`, `test_index.py` and `test_journal.py`.
"""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import Project
from server import FaultyServer, Reply, Request
from sessions import Sessions

MODEL = "openai-api/faulty/m-1"
SAYS = {"full": "No space left on device", "read-only": "Read-only file system"}

STEPS = """
from inspect_ai.solver import solver


@solver
def once():
    async def solve(state, generate):
        return await generate(state)

    return solve


def steps(id="t.steps", **changes):
    return rate(id, conditions={"quiet": Condition(prompts=asks("quiet", 12), solver=once())}, **changes)
"""


class Disks:
    """Small file systems of their own, mounted in a project's history."""

    def __init__(self, history: Path) -> None:
        self._history = history
        self._mounted: list[Path] = []

    def mount(self, folder: str, *, size: str) -> Path:
        place = self._history / folder
        place.mkdir(parents=True)
        made = _run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place))
        if made.returncode != 0:
            pytest.skip(f"nothing can be mounted here: {made.stderr.strip()}")
        self._mounted.append(place)
        return place

    def spoil(self, folder: str, how: str) -> None:
        """From here on this folder takes nothing."""
        place = self.mount(folder, size="4k")
        if how == "full":
            (place / "filler").write_bytes(b"x" * 4096)
        else:
            assert _run("mount", "-o", "remount,ro", str(place)).returncode == 0

    def grow(self, place: Path, *, size: str) -> None:
        assert _run("mount", "-o", f"remount,size={size}", str(place)).returncode == 0

    def mend(self) -> None:
        while self._mounted:
            assert _run("umount", "-l", str(self._mounted.pop())).returncode == 0


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True)
    except OSError as fault:
        return subprocess.CompletedProcess(command, 1, "", str(fault))


@pytest.fixture
def disks(project: Project) -> Iterator[Disks]:
    disks = Disks(project.path / ".alignbench")
    yield disks
    disks.mend()


def answer(request: Request) -> Reply:
    noise = random.Random(request.text).choices("abcdefghijklmnop", k=12_000)  # it takes room however it is packed
    return Reply("Yes, gladly. " + "".join(noise))


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with FaultyServer(answer) as server:
        yield server


@pytest.fixture
def suite(project: Project) -> Project:
    """A claim of each lane."""
    project.write("made.py", (project.path / "made.py").read_text() + STEPS)
    project.suite("rate(gate=RateAtMost(0.9)), steps(gate=RateAtMost(0.9))")
    project.settings("connections = 4")
    return project


CALLS = 24 + 12

spoiled = pytest.mark.parametrize("how", ["full", "read-only"])


@spoiled
def test_where_nothing_can_be_kept_nothing_is_asked(
    suite: Project, sessions: Sessions, server: FaultyServer, disks: Disks, how: str
) -> None:
    disks.spoil("unfinished", how)
    session = suite.start(sessions, server, "--model", MODEL)
    assert session.wait() == pytest.ExitCode.USAGE_ERROR, session.out
    assert f"nothing can be kept in {suite.path}/.alignbench: " in session.out
    assert SAYS[how] in session.out
    assert len(server.requests) == 0


@spoiled
def test_what_cannot_be_stored_is_said_and_stored_later_without_a_call(
    suite: Project, sessions: Sessions, server: FaultyServer, disks: Disks, how: str
) -> None:
    disks.spoil("runs", how)
    session = suite.start(sessions, server, "--model", MODEL)
    assert session.wait() == pytest.ExitCode.TESTS_FAILED, session.out
    assert "NOT STORED: run " in session.out
    assert SAYS[how] in session.out
    disks.mend()
    assert suite.history.runs() == []
    assert suite.start(sessions, server, "--model", MODEL).wait() == pytest.ExitCode.OK
    assert len(server.requests) == CALLS
    assert [len(record.observations) for record in suite.records().values()] == [24, 12]


@pytest.mark.parametrize(("how", "mode"), [("full", ()), ("read-only", ()), ("full", ("-n", "2"))])
def test_a_log_that_cannot_be_begun_is_said_and_makes_nothing_green(
    suite: Project, sessions: Sessions, server: FaultyServer, disks: Disks, how: str, mode: tuple[str, ...]
) -> None:
    """What goes through Inspect cannot be asked without a log; what is asked directly can."""
    disks.spoil("logs", how)
    session = suite.start(sessions, server, "--model", MODEL, *mode)
    assert session.wait() == pytest.ExitCode.TESTS_FAILED, session.out
    faults = {record.claim: record.fault for record in suite.records().values()}
    assert faults["t.rate"] is None, session.out
    assert SAYS[how] in (faults["t.steps"] or ""), session.out
    assert f"the log of t.rate @ {MODEL} could not be written: " in session.out
    assert "1 passed" in session.out
    assert "1 error" in session.out
    assert len(server.requests) == 24


def test_a_log_that_fills_the_disk_is_said_and_takes_no_reply_for_behaviour(
    suite: Project, sessions: Sessions, server: FaultyServer, disks: Disks
) -> None:
    disks.mount("logs", size="24k")
    session = suite.start(sessions, server, "--model", MODEL)
    assert session.wait() == pytest.ExitCode.TESTS_FAILED, session.out
    for claim in ("t.rate", "t.steps"):
        assert f"the log of {claim} @ {MODEL} could not be written: " in session.out
    records = suite.records()
    assert {o.exhibits for o in records[f"t.rate @ {MODEL}"].observations} == {False}
    steps = records[f"t.steps @ {MODEL}"].observations
    assert len(steps) == 12
    assert all(o.exhibits is False or SAYS["full"] in o.reason for o in steps)


@pytest.mark.parametrize("mode", [(), ("-n", "2")])
def test_a_disk_that_fills_up_ends_the_asking_and_is_gone_on_with(
    suite: Project, sessions: Sessions, server: FaultyServer, disks: Disks, mode: tuple[str, ...]
) -> None:
    place = disks.mount("", size="256k")
    session = suite.start(sessions, server, "--model", MODEL, *mode)
    assert session.wait() not in (pytest.ExitCode.OK, pytest.ExitCode.INTERNAL_ERROR), session.out
    assert "so no more is asked: [Errno 28] No space left on device" in session.out
    asked = len(server.requests)
    assert asked < CALLS
    disks.grow(place, size="8m")
    last = suite.start(sessions, server, "--model", MODEL)
    assert last.wait() == pytest.ExitCode.OK, last.out
    print(f"{CALLS} replies: {asked} calls until the disk was full, {len(server.requests)} in all")
    assert len(server.requests) <= CALLS + 4
    assert [len(record.observations) for record in suite.records().values()] == [24, 12]
    assert {record.fault for record in suite.records().values()} == {None}
    assert len(suite.history.runs()) == 1
    assert "/logs/" in (place / ".gitignore").read_text(), "it is no empty file that was begun on the full disk"


@spoiled
def test_an_index_that_cannot_be_kept_is_made_for_each_reading(project: Project, disks: Disks, how: str) -> None:
    project.suite("rate()")
    project.pytest("--model", "simulated/behaving")
    disks.spoil("index", how)
    for _ in range(2):
        listed = project.alignbench("history", "list")
        assert (listed.exit_code, "1 HOLDS" in listed.output) == (0, True), listed.output
