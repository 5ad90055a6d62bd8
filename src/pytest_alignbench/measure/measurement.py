"""A run in this process: one thread that works through a desk, lane by lane.

Results stream: `result` of a claim returns when its last reply is scored, while later claims are still being asked. The
lanes take turns, so that the connections to a model are never more than the user allowed.
"""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path

from inspect_ai.model import Model, get_model_info

from pytest_alignbench.journal import Journal, Kept
from pytest_alignbench.measure.desk import Desk
from pytest_alignbench.measure.direct import DirectLane
from pytest_alignbench.measure.experiments import Experiment, Instrument, Measured
from pytest_alignbench.measure.inspected import InspectLane, Surroundings
from pytest_alignbench.measure.jobs import STOPPED
from pytest_alignbench.measure.transcripts import Transcripts
from pytest_alignbench.models import frameless, remembering
from pytest_alignbench.progress import Progress
from pytest_alignbench.text import one_line


class Measurement:
    """A session's measuring: `start` once, then `result` per experiment, `stop` at the end.

    `models`: from an Inspect name to its model; each lane asks for its own, since a client belongs to one event loop. The run
    lives in a daemon thread with event loops of its own; every method may be called from any other thread.
    """

    def __init__(
        self,
        experiments: Sequence[Experiment],
        instrument: Instrument,
        models: Callable[[str], Model],
        *,
        journal: Journal | None = None,
        kept: Kept | None = None,
    ) -> None:
        self._desk = Desk(experiments, instrument, journal=journal, kept=kept)
        self._desk.cancel = self._cancel
        self._models = models
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asking: asyncio.Task[None] | None = None
        self._inspected: InspectLane | None = None
        self._started = time.monotonic()

    # -- used by the session

    def start(self) -> None:
        """Begins to measure; returns at once."""
        with self._desk.lock:
            if self._desk.waiting and (self._thread is None or not self._thread.is_alive()):
                self._thread = threading.Thread(target=self._run, name="alignbench", daemon=True)
                self._thread.start()

    def require(self, experiment: Experiment, *, also: Sequence[Path] = ()) -> None:
        """Adds an experiment that was not planned here: another worker's, or one under a foreign scheduler.

        `also`: folders of journals that may hold some of its replies.
        """
        if self._desk.add(experiment, also=also):
            self._wake_up()
            self.start()

    def result(self, key: str, *, timeout: float) -> Measured | None:
        """What the experiment gave, or None if it is not there after `timeout` seconds."""
        try:
            return self._desk.jobs[key].future.result(timeout)
        except FutureTimeout:
            return None

    def when_done(self, key: str, then: Callable[[Measured], None]) -> None:
        """Calls `then` with what the experiment gave, in whatever thread it ends."""
        self._desk.jobs[key].future.add_done_callback(lambda future: then(future.result()))

    def progress(self) -> Progress:
        with self._desk.lock:
            jobs = list(self._desk.jobs.values())
            counts = [job.counts for job in jobs]
            return Progress(
                planned=sum(c.planned for c in counts),
                done=sum(c.done for c in counts),
                kept=sum(c.kept for c in counts),
                excluded=sum(c.excluded for c in counts),
                claims=len(jobs),
                claims_done=sum(job.done for job in jobs),
                seconds=time.monotonic() - self._started,
            )

    def forget(self, key: str) -> None:
        """What the experiment gave is held elsewhere, and need not be held here as well."""
        with self._desk.lock:
            self._desk.jobs[key].forget()

    @property
    def troubles(self) -> tuple[str, ...]:
        """What went wrong beside the measuring."""
        return tuple(self._desk.troubles)

    def halt(self) -> None:
        """No new call after this; what is in flight is cancelled, what was scored is kept. Returns at once."""
        self._desk.close(STOPPED)

    def stop(self, *, wait: float = 10.0) -> None:
        """`halt`, and waits for logs to be written."""
        self.halt()
        if self._thread is not None and self._thread.is_alive():
            self._thread.join(wait)
        self._desk.end(self._desk.why)  # what was never begun

    def _cancel(self) -> None:
        self._wake_up()
        if all(job.done for job in list(self._desk.jobs.values())):
            return
        inspected, loop, asking = self._inspected, self._loop, self._asking
        if inspected is not None and inspected.loop is not None and inspected.task is not None:
            _cancel(inspected.loop, inspected.task)
        if loop is not None and asking is not None:
            _cancel(loop, asking)

    def _wake_up(self) -> None:
        self._wake.set()
        if self._inspected is not None:
            self._inspected.wake()

    # -- in the run's thread

    def _clients(self) -> Callable[[str], Model]:
        """From a name to its model: one for each, for one event loop."""
        made: dict[str, Model] = {}

        def client(name: str) -> Model:
            if name not in made:
                made[name] = model = self._models(name)
                get_model_info(model)  # a call needs it, and reads it from YAML: not when its turn has come
                self._desk.subject(name).guard(model)
                remembering(model)
                frameless(model)
            return made[name]

        return client

    def _run(self) -> None:
        surroundings = Surroundings()
        surroundings.quieten()
        # The run makes garbage by the megabyte, and the collector would walk over all of pytest and Inspect each time.
        thresholds = gc.get_threshold()
        gc.freeze()
        gc.set_threshold(10_000, 20, 50)
        transcripts = Transcripts(self._desk)
        self._loop = loop = asyncio.new_event_loop()
        direct = DirectLane(self._desk, self._clients(), transcripts)
        models = self._clients()
        broke = None
        try:
            while not self._desk.closed:
                self._wake.clear()
                first = next(iter(self._desk.waiting), None)
                if first is None:
                    self._wake.wait()
                elif first.experiment.direct:
                    self._asking = loop.create_task(direct.run())
                    loop.run_until_complete(self._asking)
                else:
                    self._inspected = InspectLane(self._desk, models, surroundings=surroundings)
                    self._inspected.run()
        except BaseException as fault:  # the thread's last word: whatever it was, the waiting items must hear of it
            while isinstance(fault, BaseExceptionGroup):
                fault = fault.exceptions[0]
            if not self._desk.closed:
                broke = one_line(f"{type(fault).__name__}: {fault}")
        finally:
            self._desk.end(broke or self._desk.why)
            transcripts.close()
            gc.set_threshold(*thresholds)
            gc.unfreeze()
            surroundings.restore()


def _cancel(loop: asyncio.AbstractEventLoop, task: asyncio.Task[None]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(task.cancel)
