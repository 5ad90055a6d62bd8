"""Inspect logs of what the direct lane asked, for people: `inspect view` shows them like any other.

In Inspect's JSON format: its archive format compresses each sample by itself, which takes twenty times the CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import uuid4

from inspect_ai.log import (
    EvalConfig,
    EvalDataset,
    EvalLog,
    EvalMetric,
    EvalPlan,
    EvalPlanStep,
    EvalResults,
    EvalSample,
    EvalScore,
    EvalSpec,
    EvalStats,
    write_eval_log,
)
from inspect_ai.model import GenerateConfig, ModelOutput
from inspect_ai.scorer import Score

from pytest_alignbench.data import Prompt
from pytest_alignbench.measure.desk import Desk
from pytest_alignbench.measure.jobs import Job
from pytest_alignbench.measure.samples import MARK, messages, metadata
from pytest_alignbench.redaction import throughout
from pytest_alignbench.text import one_line


@dataclass(frozen=True)
class Answered:
    """One prompt with what was said and how it was scored."""

    id: str
    epoch: int
    prompt: Prompt
    condition: str
    output: ModelOutput
    score: Score
    uuid: str = field(default_factory=lambda: uuid4().hex)
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def sample(self) -> EvalSample:
        asked = messages(self.prompt)
        return EvalSample(
            id=self.id,
            epoch=self.epoch,
            input=self.prompt.input if isinstance(self.prompt.input, str) and not self.prompt.system else asked,
            target=self.prompt.target,
            messages=[*asked, *(choice.message for choice in self.output.choices[:1])],
            output=self.output,
            scores={"exhibits": self.score},
            metadata=metadata(self.condition, self.prompt),
            model_usage={self.output.model: self.output.usage} if self.output.usage is not None else {},
            completed_at=self.at.isoformat(),
            total_time=self.output.time,
            uuid=self.uuid,
        )


class Transcripts:
    """Writes logs in a thread of its own, so that no call waits for a disk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="alignbench-logs")
        self._run = uuid4().hex

    def write(self, job: Job, config: GenerateConfig, answered: Sequence[Answered]) -> str:
        """Where the log of a finished job is going to be."""
        stamp = f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%S+00-00}"
        place = f"{self._desk.instrument.log_dir}/{stamp}_{job.experiment.task_name}_{uuid4().hex[:8]}.json"
        self._writer.submit(self._write, place, job, config, answered)
        return place

    def close(self) -> None:
        """Waits for what is being written."""
        self._writer.shutdown(wait=True)

    def _write(self, place: str, job: Job, config: GenerateConfig, answered: Sequence[Answered]) -> None:
        try:
            write_eval_log(_log(job, config, answered, run=self._run), place)
        except Exception as fault:  # a log is for people: what was measured is in the record, whatever became of it
            self._desk.troubles[f"the log of {job.experiment.key} could not be written: {one_line(str(fault))}"] = None


def _log(job: Job, config: GenerateConfig, answered: Sequence[Answered], *, run: str) -> EvalLog:
    experiment, claim = job.experiment, job.experiment.claim
    rows = sorted(answered, key=lambda row: (row.id, row.epoch))
    scores = [row.score.value for row in rows if isinstance(row.score.value, bool | int)]
    shown = throughout(config.model_copy(deep=True))
    first, last = min(row.at for row in rows), max(row.at for row in rows)
    share = {"mean": EvalMetric(name="mean", value=sum(map(int, scores)) / len(scores))} if scores else {}
    return EvalLog(
        status="success",
        eval=EvalSpec(
            run_id=run,
            created=first.isoformat(),
            task=experiment.task_name,
            task_display_name=claim.id,
            dataset=EvalDataset(name=claim.id, samples=len({row.id for row in rows}), shuffled=False),
            model=experiment.model,
            model_generate_config=shown,
            config=EvalConfig(epochs=claim.epochs),
            metadata={MARK: {"key": experiment.key, "claim": claim.id, "statement": claim.statement}},
        ),
        plan=EvalPlan(steps=[EvalPlanStep(solver="generate", params={}, params_passed={})], config=shown),
        results=EvalResults(
            total_samples=len(rows),
            completed_samples=len(rows),
            scores=[EvalScore(name="exhibits", scorer="exhibits", scored_samples=len(scores), metrics=share)],
        ),
        stats=EvalStats(started_at=first.isoformat(), completed_at=last.isoformat()),
        samples=[row.sample for row in rows],
    )
