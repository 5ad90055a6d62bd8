"""Measurements in processes of their own: forked children that measure while pytest goes on with its own work.

    parent ──"require", "stop"──> child: a Measurement of its share ──Measured, Progress──> parent

A thread beside pytest would share the interpreter with the tests (a test that computes would stall every call in flight), and
one process cannot make more than a few hundred calls a second. Children inherit claims, scorers and solvers as they are, so
nothing has to be sent but results. A child whose parent is gone ends at once; what a child that died had not finished is
measured in the parent, over the connections that it had, from where its journal ends.

Forking is safe only while no other thread runs, and is done on Linux only: elsewhere the run is a thread.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from inspect_ai.model import Model

from pytest_alignbench.journal import Journal, Kept
from pytest_alignbench.measure.experiments import Experiment, Instrument, Measured
from pytest_alignbench.measure.measurement import Measurement
from pytest_alignbench.progress import Progress
from pytest_alignbench.sharing import divided, shares

_TOLD_EVERY = 0.5
"""Seconds between two words of a child about its progress."""


def forkable() -> bool:
    """Whether a fork of this process, as it is now, is safe: a lock that another thread holds would stay locked for ever."""
    return sys.platform == "linux" and threading.active_count() == 1


class Children:
    """A Measurement in several processes, with the same methods."""

    def __init__(
        self,
        experiments: Sequence[Experiment],
        instrument: Instrument,
        models: Callable[[str], Model],
        *,
        processes: int,
        spare: Sequence[Experiment] = (),
        journal: Path | None = None,
        kept: Kept | None = None,
    ) -> None:
        """`spare`: experiments that may be required later. `journal`: the folder that each child keeps its own journal in."""
        self._models, self._journal, self._kept = models, journal, kept
        processes = max(1, min(processes, len(experiments), instrument.connections))
        divisions = shares([(e.key, e.claim.calls or 100) for e in experiments], processes)
        self._children = [
            _Child(
                number,
                [experiments[index] for index in share],
                replace(instrument, connections=connections),
                spare,
                journal,
            )
            for number, (share, connections) in enumerate(
                zip(divisions, divided(instrument.connections, processes), strict=True)
            )
        ]
        self._futures: dict[str, Future[Measured]] = {e.key: Future() for e in experiments}
        self._rescue: Measurement | None = None
        self._stopped = False
        self._lock = threading.Lock()

    def start(self) -> None:
        """Forks; returns at once."""
        ends: list[Connection] = []
        for child in self._children:
            child.fork(self._models, self._kept, ends)
        for child in self._children:
            threading.Thread(target=self._hear, args=(child,), name="alignbench-child", daemon=True).start()

    def require(self, experiment: Experiment, *, also: Sequence[Path] = ()) -> None:
        """Adds an experiment that was not among those to start with."""
        with self._lock:
            if experiment.key in self._futures:
                return
            self._futures[experiment.key] = Future()
        child = min(self._children, key=lambda child: len(child.keys))
        if child.alive and child.knows(experiment.key):
            child.keys.append(experiment.key)
            child.send(("require", experiment.key))
        else:
            self._take_over([experiment], child)

    def result(self, key: str, *, timeout: float) -> Measured | None:
        """What the experiment gave, or None if it is not there after `timeout` seconds."""
        try:
            return self._futures[key].result(timeout)
        except FutureTimeout:
            return None

    def when_done(self, key: str, then: Callable[[Measured], None]) -> None:
        """Calls `then` with what the experiment gave, in whatever thread it ends."""
        self._futures[key].add_done_callback(lambda future: then(future.result()))

    def progress(self) -> Progress:
        parts = [child.progress for child in self._children if child.progress is not None]
        if self._rescue is not None:
            parts.append(self._rescue.progress())
        return Progress.sum(parts)

    @property
    def troubles(self) -> tuple[str, ...]:
        """What went wrong beside the measuring."""
        own = [child.troubles for child in self._children]
        rescue = self._rescue.troubles if self._rescue is not None else ()
        return tuple(dict.fromkeys([*(said for each in own for said in each), *rescue]))

    def halt(self) -> None:
        """No new call after this; what is in flight is cancelled, what was scored is kept. Returns at once."""
        self._stopped = True
        for child in self._children:
            child.send("stop")
        if self._rescue is not None:
            self._rescue.halt()

    def stop(self, *, wait: float = 10.0) -> None:
        """`halt`, and waits for logs to be written."""
        self.halt()
        if self._rescue is not None:
            self._rescue.stop(wait=wait)
        end = time.monotonic() + wait
        for child in self._children:
            child.join(max(0.1, end - time.monotonic()))

    # -- in the parent's threads

    def _hear(self, child: _Child) -> None:
        for said in child.heard():
            if isinstance(said, Measured):
                self._settle(said)
            elif isinstance(said, Progress):
                child.progress = said
            else:
                child.troubles = said
        left = [e for e in child.every if e.key in child.keys and not self._futures[e.key].done()]
        if left:
            child.progress = None
            self._take_over(left, child)

    def _settle(self, measured: Measured) -> None:
        future = self._futures[measured.key]
        if not future.done():
            future.set_result(measured)

    def _take_over(self, experiments: Sequence[Experiment], child: _Child) -> None:
        """Measures here what a child left undone, from where its journal ends."""
        with self._lock:
            if self._rescue is None:
                journal = Journal(self._journal, "parent") if self._journal is not None else None
                self._rescue = Measurement([], child.instrument, self._models, journal=journal, kept=self._kept)
            rescue = self._rescue
        also = [self._journal] if self._journal is not None else []
        for experiment in experiments:
            rescue.require(experiment, also=also)
            rescue.when_done(experiment.key, self._settle)
        if self._stopped:
            rescue.stop()


class _Child:
    """One process, seen from its parent; and, in `_live`, from itself."""

    def __init__(
        self,
        number: int,
        experiments: Sequence[Experiment],
        instrument: Instrument,
        spare: Sequence[Experiment],
        journal: Path | None,
    ) -> None:
        self.number = number
        self.keys = [e.key for e in experiments]
        self.every = [*experiments, *spare]
        self.progress: Progress | None = None
        self.troubles: tuple[str, ...] = ()
        self.instrument = instrument
        self._own, self._journal = experiments, journal
        self._process: Any = None
        self._end: Connection

    def fork(self, models: Callable[[str], Model], kept: Kept | None, ends: list[Connection]) -> None:
        """`ends`: the parent's ends of all pipes so far; a child that held one would keep its sibling alive."""
        fork = multiprocessing.get_context("fork")
        self._end, its = fork.Pipe()
        ends.append(self._end)
        self._process = fork.Process(target=self._live, args=(its, models, kept, list(ends)), daemon=True)
        self._process.start()
        its.close()

    @property
    def alive(self) -> bool:
        return bool(self._process.is_alive())

    def knows(self, key: str) -> bool:
        return any(e.key == key for e in self.every)

    def send(self, said: object) -> None:
        with suppress(OSError):  # it is gone, and whoever hears it has noticed
            self._end.send(said)

    def heard(self) -> Any:
        while True:
            try:
                yield self._end.recv()
            except (EOFError, OSError):
                return

    def join(self, seconds: float) -> None:
        self._process.join(seconds)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    # -- in the child

    def _live(
        self, pipe: Connection, models: Callable[[str], Model], kept: Kept | None, ends: list[Connection]
    ) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C reaches all processes; the parent decides what it means
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        for end in ends:
            end.close()
        silence = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(silence, stream)
        journal = Journal(self._journal, f"child-{self.number}") if self._journal is not None else None
        measurement = Measurement(self._own, self.instrument, models, journal=journal, kept=kept)
        done: queue.SimpleQueue[Measured | None] = queue.SimpleQueue()
        for key in self.keys:
            measurement.when_done(key, done.put)
        measurement.start()
        threading.Thread(target=self._obey, args=(pipe, measurement, done), daemon=True).start()
        with suppress(OSError):
            self._tell(pipe, measurement, done)
        os._exit(0)

    def _obey(self, pipe: Connection, measurement: Measurement, done: queue.SimpleQueue[Measured | None]) -> None:
        """Until the parent says stop, or is gone."""
        every = {e.key: e for e in self.every}
        while True:
            try:
                said = pipe.recv()
            except (EOFError, OSError):
                os._exit(1)  # nobody hears; the journal has it, and whoever goes on with it may be waiting
            if said == "stop":
                measurement.stop()
                done.put(None)
                return
            measurement.require(every[said[1]])
            measurement.when_done(said[1], done.put)

    def _tell(self, pipe: Connection, measurement: Measurement, done: queue.SimpleQueue[Measured | None]) -> None:
        while True:
            try:
                measured = done.get(timeout=_TOLD_EVERY)
            except queue.Empty:
                pipe.send(measurement.progress())
                continue
            if measured is None:
                pipe.send(measurement.progress())
                pipe.send(measurement.troubles)
                return
            pipe.send(measured)
            measurement.forget(measured.key)
