"""Pytest sessions that are processes of their own: to be killed, interrupted, and started again.

    sessions = Sessions()                          a nursery: a process that has imported all that a session does
    session = sessions.start(folder, environment, "--model", name)
    session.kill()                                 SIGKILL to its whole process group, children and workers too
    assert session.wait() == -signal.SIGKILL

A session starts in three seconds when it imports Inspect, and in a tenth when it is forked from a process that has. The
nursery has no other threads, and its children have a process group, an environment and a folder of their own, so that they
behave like `pytest …` typed at a prompt. Their workers under xdist are started anew, as always.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

PATIENCE = 120.0
"""Seconds: for a session to do what it must, on a machine that does much else. Nothing waits so long that works."""


def until(what: Callable[[], object], *, seconds: float = PATIENCE) -> None:
    """Waits for it to be true."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, f"not within {seconds:g} s"
        time.sleep(0.005)


class Sessions:
    """The nursery, seen from a test."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__))], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._say({})  # it answers when it has imported everything

    def start(self, folder: Path, environment: Mapping[str, str], *args: str, limits: Any = None) -> Session:
        """`pytest ARGS` in `folder`. `limits`: resource -> soft limit."""
        out = folder / f"out-{time.monotonic_ns()}"
        out.touch()
        asked = {"args": args, "folder": str(folder), "environment": dict(environment), "out": str(out)}
        return Session(self._say({"start": {**asked, "limits": limits or {}}}), out, self)

    def ended(self, pid: int) -> int | None:
        """Exit code of a session, negative for a signal; None while it runs."""
        code: int | None = self._say({"ended": pid})
        return code

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def _say(self, asked: Mapping[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(asked), file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())


@dataclass
class Session:
    """One `pytest …`, and all processes that it has started."""

    pid: int
    _out: Path
    _sessions: Sessions
    code: int | None = None

    @property
    def out(self) -> str:
        """All that it has printed so far, on either stream."""
        return self._out.read_text(encoding="utf-8", errors="replace")

    @property
    def ended(self) -> bool:
        if self.code is None:
            self.code = self._sessions.ended(self.pid)
        return self.code is not None

    def wait(self) -> int:
        """Its exit code."""
        until(lambda: self.ended)
        assert self.code is not None
        return self.code

    @property
    def others(self) -> list[psutil.Process]:
        """The other processes of its group that live: forked children, or workers."""
        found = []
        for process in psutil.process_iter():
            try:
                mine = os.getpgid(process.pid) == self.pid and process.pid != self.pid
                if mine and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (ProcessLookupError, psutil.Error):
                continue
        return found

    def kill(self) -> None:
        """All of it, at once."""
        os.killpg(self.pid, signal.SIGKILL)
        self.wait()
        until(lambda: not self.others)

    def kill_alone(self) -> None:
        """Only the process that was started, not those that it has started."""
        os.kill(self.pid, signal.SIGKILL)
        self.wait()

    def interrupt(self, *, alone: bool = False) -> None:
        """What a terminal does at Ctrl-C: to all processes of the group, or `alone` to the one that was started."""
        (os.kill if alone else os.killpg)(self.pid, signal.SIGINT)


# -- the nursery itself


def _nurse() -> None:
    children: dict[int, int] = {}
    answers = sys.stdout
    sys.stdout = sys.stderr
    for line in sys.stdin:
        asked = json.loads(line)
        answer: int | None = None
        if "start" in asked:
            answer = os.fork()
            if answer == 0:
                _become_a_session(**asked["start"])
        elif "ended" in asked:
            pid = asked["ended"]
            if pid not in children:
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    children[pid] = os.waitstatus_to_exitcode(status)
            answer = children.get(pid)
        print(json.dumps(answer), file=answers, flush=True)


def _become_a_session(
    *, args: list[str], folder: str, environment: dict[str, str], out: str, limits: dict[str, int]
) -> None:
    import resource

    import pytest

    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what was started in the background inherits none
    os.chdir(folder)
    os.environ.update(environment, PWD=folder)
    sys.stdout = sys.__stdout__
    for stream, place in ((0, os.devnull), (1, out), (2, out)):
        os.dup2(os.open(place, os.O_RDWR | os.O_APPEND), stream)
    for name, soft in limits.items():
        kind = getattr(resource, name)
        resource.setrlimit(kind, (soft, resource.getrlimit(kind)[1]))
    sys.argv = ["pytest", *args]
    sys.path[0] = str(Path(sys.executable).parent)
    code = 1
    try:
        code = int(pytest.main(args))
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except KeyboardInterrupt:
        code = 130
    finally:
        _leave(code)


def _leave(code: int) -> None:
    """As the interpreter would: what is registered for its end, then out; but no further than this."""
    import atexit

    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _warm() -> None:
    """Imports what a session imports, so that none of them has to."""
    import anthropic  # noqa: F401
    import httpx  # noqa: F401
    import inspect_ai._util.entrypoints
    import openai  # noqa: F401
    import scipy.stats  # noqa: F401
    import xdist.scheduler  # noqa: F401
    from inspect_ai import Task, eval
    from inspect_ai.model import get_model

    import pytest_alignbench.reports.terminal
    import pytest_alignbench.session  # noqa: F401

    inspect_ai._util.entrypoints._inspect_ai_eps_loaded_all = True
    with tempfile.TemporaryDirectory() as folder:
        eval(Task(), model=get_model("mockllm/model"), display="none", log_dir=folder, limit=0)


if __name__ == "__main__":
    _warm()
    _nurse()
