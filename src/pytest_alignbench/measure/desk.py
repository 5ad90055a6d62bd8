"""The desk: which experiments wait, which are under way, and where each reply goes. The lanes of a run work from it.

It may be used from any thread. A reply is in the journal before anything else is done with it; what could not be kept is not
paid for, so a full disk closes the desk.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_alignbench.journal import Journal, Kept
from pytest_alignbench.measure.experiments import Experiment, Instrument, identity
from pytest_alignbench.measure.jobs import STOPPED, Calibrating, Job
from pytest_alignbench.measure.subjects import Herald, Subject
from pytest_alignbench.models import Memory
from pytest_alignbench.observations import Observation
from pytest_alignbench.text import one_line


class Desk:
    """All jobs of one process's run."""

    def __init__(
        self, experiments: Sequence[Experiment], instrument: Instrument, *, journal: Journal | None, kept: Kept | None
    ) -> None:
        self.instrument = instrument
        self.lock = threading.RLock()
        self.jobs: dict[str, Job] = {}
        self.waiting: deque[Job] = deque()
        self.calibrating: dict[str, Calibrating] = {}
        self._subjects: dict[str, Subject] = {}
        self.closed = False
        """Whether nothing more is asked."""
        self.why = STOPPED
        """Why it was closed, if it is."""
        self.cancel: Callable[[], None] = lambda: None
        """Ends the calls in flight."""
        self.troubles: dict[str, None] = {}
        """What went wrong beside the measuring, in words: logs or journals that could not be written."""
        self._journal = journal
        self.kept = kept or Kept()
        for experiment in experiments:
            self.add(experiment)

    def add(self, experiment: Experiment, *, also: Sequence[Path] = ()) -> bool:
        """Puts the experiment on the desk, if it is not there. `also`: folders of journals that may hold some of it."""
        with self.lock:
            if experiment.key in self.jobs:
                return False
            job = Job.of(experiment, identity(experiment, self.instrument))
            for kept in (self.kept, Kept.read(also, only=job.identity)):
                job.kept.update(kept.replies.get(job.identity, {}))
                job.calls.update(kept.calls.get(job.identity, {}))
            self.jobs[experiment.key] = job
            self.waiting.append(job)
            return True

    def next(self, *, direct: bool, model: str | None = None) -> Job | None:
        """Takes the first waiting job of a lane (and a model)."""
        with self.lock:
            for job in self.waiting:
                if not self.closed and job.experiment.direct is direct and model in (None, job.experiment.model):
                    self.waiting.remove(job)
                    job.begin(self.instrument)
                    return job
        return None

    def waits(self, *, direct: bool) -> bool:
        with self.lock:
            return any(job.experiment.direct is direct for job in self.waiting)

    def subject(self, name: str) -> Subject:
        """The model of this name, for all who ask it."""
        if name not in self._subjects:
            folder = self._journal.folder if self._journal is not None else None
            self._subjects[name] = Subject(name, Herald(folder, name) if folder is not None else None)
        return self._subjects[name]

    def saw(self, job: Job, id: str, observation: Observation) -> None:
        """A reply has been scored or excluded."""
        self._keep(lambda journal: journal.keep(job.identity, id, observation))
        with self.lock:
            job.saw(id, observation.epoch, observation)

    def memory(self, job: Job, place: tuple[str, int]) -> Memory:
        """Of the calls for one reply."""

        def keep(asked: str, answer: Mapping[str, Any]) -> None:
            self._keep(lambda journal: journal.keep_call(job.identity, place, asked, answer))

        return Memory(list(job.calls.get(place, ())), keep)

    def graded(self, calibrating: Calibrating, reply: str, truth: bool, grade: bool) -> None:
        """A labelled reply has got its grade."""
        self._keep(lambda journal: journal.keep_grade(calibrating.key, reply, truth, grade))
        with self.lock:
            calibrating.graded[reply] = (truth, grade)

    def close(self, why: str) -> None:
        """Nothing more is asked from here on; what is in flight is cancelled. From any thread."""
        with self.lock:
            self.why = self.why if self.closed else why
            self.closed = True
        self.cancel()

    def finish(self, job: Job) -> None:
        with self.lock:
            job.finish(closed=self.why if self.closed else None)

    def end(self, why: str) -> None:
        """Nothing more will come: whoever waits must hear of it."""
        with self.lock:
            for job in self.jobs.values():
                if not job.done:
                    job.troubles.append(why)
                    self.finish(job)

    def _keep(self, write: Callable[[Journal], None]) -> None:
        if self._journal is None:
            return
        try:
            write(self._journal)
        except OSError as fault:
            why = f"what is measured cannot be kept, so no more is asked: {one_line(str(fault))}"
            self.troubles[why] = None
            self.close(why)
