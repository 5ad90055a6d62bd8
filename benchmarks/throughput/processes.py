"""What a command costs, seen from outside: seconds, CPU and memory of its whole tree of processes."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

_EVERY = 0.2
"""Seconds between two looks at the tree's memory, at least."""
_SHARE = 0.02
"""Of one core, for looking: to sum up what processes share takes long where they are large, and they stand still meanwhile."""
_KEPT_LINES = 60


@dataclass(frozen=True, kw_only=True)
class Cost:
    """`started`: monotonic seconds. `cpu`: user and system seconds of the process and of all that it started.
    `memory`: bytes, the largest sum over the tree, pages that processes share counted once. `line`: seconds until the
    first line with the mark, if there was one. `output`: the end of what it printed. `busy`: CPU seconds of the whole
    machine meanwhile, where it tells: more than its own and the server's means that somebody disturbed the measurement.
    """

    started: float
    wall: float
    cpu: float
    memory: int
    line: float | None
    code: int
    output: str
    busy: float


def cost(command: Sequence[str], *, folder: Path, env: Mapping[str, str], limit: float, mark: str = "") -> Cost:
    """Runs the command to its end, or kills all of it after `limit` seconds (its code is then negative)."""
    busy, started = _busy(), time.monotonic()
    process = subprocess.Popen(
        command, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors="replace", start_new_session=True,
    )  # fmt: skip
    seen = _Output(process, mark)
    ended: list[tuple[float, int, float]] = []

    def wait() -> None:
        # `wait4` alone gives the CPU of children that have ended, and the time at which the process did.
        _, status, used = os.wait4(process.pid, 0)
        ended.append((time.monotonic(), status, used.ru_utime + used.ru_stime))

    waiter = threading.Thread(target=wait)
    waiter.start()
    memory, cpu = 0, 0.0
    try:
        while waiter.is_alive():
            looked = time.monotonic()
            now_memory, now_cpu = _tree(process.pid)
            memory, cpu = max(memory, now_memory), max(cpu, now_cpu)
            now = time.monotonic()
            if now - started > limit:
                os.killpg(process.pid, signal.SIGKILL)
            waiter.join(min(max(_EVERY, (now - looked) / _SHARE), limit))
    except BaseException:
        # Ctrl-C reaches this process only: the command has a group of its own.
        os.killpg(process.pid, signal.SIGKILL)
        raise
    at, status, used = ended[0]
    busy = _busy() - busy
    process.returncode = os.waitstatus_to_exitcode(status)
    seen.join(5)  # what outlives the command may hold its output open
    return Cost(
        started=started,
        wall=at - started,
        # A child that its parent did not wait for is missing from what `wait4` gives.
        cpu=max(used, cpu),
        memory=memory,
        line=None if seen.marked is None else seen.marked - started,
        code=process.returncode,
        output="".join(seen.lines),
        busy=busy,
    )


def _busy() -> float:
    """CPU seconds that the machine has spent on anything."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0))


def _tree(pid: int) -> tuple[int, float]:
    """Bytes and CPU seconds of the processes that are alive, and CPU of the children that they have waited for."""
    memory, cpu = 0, 0.0
    try:
        root = psutil.Process(pid)
        tree = [root, *root.children(recursive=True)]
    except psutil.Error:
        return 0, 0.0
    for process in tree:
        try:
            # Forked processes share most of their pages: proportional size where the system knows it.
            used = process.memory_full_info()
            memory += getattr(used, "pss", used.uss)
            times = process.cpu_times()
            cpu += times.user + times.system + getattr(times, "children_user", 0) + getattr(times, "children_system", 0)
        except psutil.Error:
            continue
    return memory, cpu


class _Output(threading.Thread):
    """Reads what a process prints, so that it never waits for a reader."""

    def __init__(self, process: subprocess.Popen[str], mark: str) -> None:
        super().__init__(daemon=True)
        self._process = process
        self._mark = mark
        self.marked: float | None = None
        self.lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self.start()

    def run(self) -> None:
        assert self._process.stdout is not None  # a pipe was asked for
        for line in self._process.stdout:
            if self.marked is None and self._mark and self._mark in line:
                self.marked = time.monotonic()
            self.lines.append(line)
