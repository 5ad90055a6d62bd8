"""An experiment on its way through a run: what is due, what is there, and how it ends."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import NamedTuple

from pytest_alignbench.claims import Claim, Condition, InspectTask
from pytest_alignbench.data import Prompt
from pytest_alignbench.estimates import Calibration
from pytest_alignbench.gates import Evidence, Outcome
from pytest_alignbench.journal import Calls, Grades, Replies
from pytest_alignbench.looks import LOOKS, Looks
from pytest_alignbench.measure.experiments import Experiment, Instrument, Measured
from pytest_alignbench.measure.samples import sample_id
from pytest_alignbench.observations import Exclusion, Observation
from pytest_alignbench.text import one_line

STOPPED = "the run was stopped"


@dataclass
class Calibrating:
    """A grader on its way through the labelled replies: the same scorer, asked about replies whose truth is known."""

    key: str
    task: str
    jobs: list[Job] = field(default_factory=list)
    graded: Grades = field(default_factory=dict)
    """Labelled reply -> (truth, grade), of each that got a grade."""
    done: bool = False

    @property
    def result(self) -> Calibration:
        count = list(self.graded.values()).count
        return Calibration(
            tp=count((True, True)), fn=count((True, False)), tn=count((False, False)), fp=count((False, True))
        )


class Counts(NamedTuple):
    """Replies of a job."""

    planned: int
    done: int
    kept: int
    excluded: int


@dataclass
class Job:
    """One experiment of a run."""

    experiment: Experiment
    identity: str
    future: Future[Measured] = field(default_factory=Future)
    open_tasks: set[str] = field(default_factory=set)
    planned: dict[tuple[str, int], tuple[Prompt, str]] = field(default_factory=dict)
    """(sample id, epoch) -> prompt and condition, for replies that never came; InspectTasks add theirs when loaded."""
    seen: Replies = field(default_factory=dict)
    kept: Replies = field(default_factory=dict)
    """What an earlier session or a dead worker had measured of it: not asked again."""
    calls: Calls = field(default_factory=dict)
    """The calls that it got an answer to, of replies that it did not finish."""
    logs: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    calibrating: Calibrating | None = None
    looks: Looks | None = None
    admitted: float = 0.0
    forgotten: Counts | None = None

    @classmethod
    def of(cls, experiment: Experiment, identity: str) -> Job:
        job = cls(experiment=experiment, identity=identity)
        for condition, arm in experiment.claim.arms.items():
            if isinstance(arm, Condition):
                for prompt in arm.asked:
                    for epoch in range(1, experiment.claim.epochs + 1):
                        job.planned[sample_id(condition, prompt.id), epoch] = (prompt, condition)
        return job

    @property
    def done(self) -> bool:
        return self.future.done()

    @property
    def counts(self) -> Counts:
        if self.forgotten is not None:
            return self.forgotten
        excluded = sum(o.exhibits is None for o in self.seen.values())
        return Counts(max(len(self.planned), len(self.seen)), len(self.seen), len(self.kept), excluded)

    def forget(self) -> None:
        """Somebody else has what came of it: all but the counts goes, the claim's data too where nobody else holds it."""
        self.forgotten = self.counts
        self.planned, self.seen, self.kept, self.calls = {}, {}, {}, {}
        self.future = Future()
        self.future.cancel()

    @property
    def outstanding(self) -> int:
        """Replies that may be asked for now and are not there yet."""
        return self.looks.open if self.looks is not None else len(self.planned) - len(self.seen)

    def begin(self, instrument: Instrument) -> None:
        """It is admitted."""
        self.admitted = time.monotonic()
        self.looks = self._looks(instrument)

    def take_kept(self) -> None:
        """What is there already comes first, in the order in which it was looked at."""
        looks = self.looks
        order = sorted(self.kept, key=lambda place: looks.block(place[0])) if looks is not None else self.kept
        for place in order:
            if place in self.planned:
                self.saw(*place, self.kept[place])

    def saw(self, id: str, epoch: int, observation: Observation) -> None:
        new = (id, epoch) not in self.seen
        self.seen[id, epoch] = observation
        if self.looks is not None and new:
            self.looks.saw(id)

    def _looks(self, instrument: Instrument) -> Looks | None:
        """May this claim stop early? Not with conditions whose samples are another task's, or too few families."""
        claim, alpha = self.experiment.claim, instrument.look_alpha
        families = {key: prompt.family for key, (prompt, _) in self.planned.items()}
        if alpha is None or len(set(families.values())) < 2 * LOOKS:
            return None
        if any(isinstance(arm, InspectTask) for arm in claim.arms.values()):
            return None

        def decided() -> bool:
            if self.calibrating is not None and not self.calibrating.done:
                return False  # nothing is known of the grader's errors yet
            calibration = self.calibrating.result if self.calibrating is not None else None
            rows = list(self.seen.values())
            evidence = Evidence(observations=rows, calibration=calibration, alpha=alpha, m=instrument.m)
            return claim.gate.judge(evidence).outcome in (Outcome.HOLDS, Outcome.VIOLATED)

        return Looks(families, decided=decided)

    def finish(self, *, closed: str | None) -> None:
        """Every planned reply becomes an observation; those that never came say why. `closed`: why no more is asked."""
        if self.future.done():
            return
        trouble = self.troubles[0] if self.troubles else closed or "not asked"
        cause = Exclusion.UNMEASURED if closed or trouble == STOPPED else Exclusion.ERRORED
        rows = []
        for (id, epoch), (prompt, condition) in self.planned.items():
            seen = self.seen.get((id, epoch)) or self.kept.get((id, epoch))
            if seen is None and self.looks is not None and self.looks.stopped_at is not None:
                continue
            rows.append(seen if seen is not None else _unseen(prompt, condition, epoch, cause, trouble))
        fault = _fault(self.experiment.claim, rows, trouble if self.troubles else None)
        self.future.set_result(
            Measured(
                key=self.experiment.key,
                observations=tuple(rows),
                calibration=self.calibrating.result if self.calibrating is not None else None,
                logs=tuple(self.logs),
                seconds=time.monotonic() - self.admitted if self.admitted else 0.0,
                fault=fault,
                not_measured=None if fault or self.troubles else _unfunded(self.experiment.claim, rows),
                stopped_at=self.looks.stopped_at if self.looks is not None else None,
            )
        )


def _fault(claim: Claim, rows: Sequence[Observation], trouble: str | None) -> str | None:
    """Why the claim cannot be judged at all: a condition that the gate looks at has no scored reply, for faults of ours."""
    for condition, here in _unscored(claim, rows):
        reasons = [o.reason for o in here if o.exclusion in (Exclusion.ERRORED, Exclusion.GRADER_FAILED)]
        if reasons or trouble:
            first = one_line(reasons[0] if reasons else f"{trouble}", limit=300)  # a scorer's reason may quote a reply
            return f"none of {len(here)} replies in {condition!r} could be scored: {first}"
    return None


def _unfunded(claim: Claim, rows: Sequence[Observation]) -> str | None:
    """What kept a condition that the gate looks at from being asked at all, where it is no fault: the budget."""
    for _, here in _unscored(claim, rows):
        for o in here:
            if o.exclusion is Exclusion.UNMEASURED:
                return o.reason
    return None


def _unscored(claim: Claim, rows: Sequence[Observation]) -> Iterator[tuple[str, list[Observation]]]:
    for condition in claim.gate.uses:
        here = [o for o in rows if o.condition == condition]
        if all(o.exhibits is None for o in here):
            yield condition, here


def _unseen(prompt: Prompt, condition: str, epoch: int, cause: Exclusion, why: str) -> Observation:
    return Observation(
        prompt=prompt.id,
        prompt_hash=prompt.hash,
        condition=condition,
        family=prompt.family,
        pair=prompt.pair,
        epoch=epoch,
        exhibits=None,
        exclusion=cause,
        reason=why,
    )
