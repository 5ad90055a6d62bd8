"""The direct lane: prompts that take one call each, asked of Inspect's model without the machinery of Inspect's samples.

    per model, as many askers as connections:   next open reply ──generate──> scored ──> desk

A sample of Inspect's costs more CPU than the call in it (transcript, events, live log), which bounds a process to some
hundred replies a second. A single-turn prompt needs none of that: it is one `Model.generate`, with Inspect's providers,
retries and limits on an attempt, in an asyncio task of its own, so that its transcript goes when it is done. An Inspect log
of each claim is written when its last reply is there (`transcripts.py`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from inspect_ai.model import GenerateConfig, Model, ModelName, ModelOutput
from inspect_ai.scorer import Score, Target
from inspect_ai.solver import TaskState
from inspect_ai.util import LimitExceededError

from pytest_alignbench.measure.desk import Desk
from pytest_alignbench.measure.experiments import config_of
from pytest_alignbench.measure.jobs import Job
from pytest_alignbench.measure.samples import MARK, messages, metadata
from pytest_alignbench.measure.scoring import observation, play_of, said_by, scored
from pytest_alignbench.measure.subjects import tried
from pytest_alignbench.measure.transcripts import Answered, Transcripts
from pytest_alignbench.models import PLAY, Failed
from pytest_alignbench.observations import Exclusion
from pytest_alignbench.text import one_line


@dataclass
class _Asking:
    """A job under way: its replies that are still to be asked for."""

    job: Job
    config: GenerateConfig
    due: deque[tuple[str, int]]
    in_flight: int = 0
    answered: list[Answered] = field(default_factory=list)

    def next(self) -> tuple[str, int] | None:
        """The next reply that may be asked for now."""
        looks = self.job.looks
        if looks is not None and looks.stopped_at is not None:
            self.due.clear()
        if not self.due or (looks is not None and not looks.may_ask(self.due[0][0])):
            return None
        return self.due.popleft()

    @property
    def over(self) -> bool:
        return not self.due and not self.in_flight


class DirectLane:
    """Asks the direct jobs of a desk until none waits."""

    def __init__(self, desk: Desk, models: Callable[[str], Model], transcripts: Transcripts) -> None:
        self._desk, self._models, self._transcripts = desk, models, transcripts
        self._askings: dict[str, list[_Asking]] = {}
        self._changed = asyncio.Event()
        instrument = desk.instrument
        self._common = GenerateConfig(
            max_connections=instrument.connections,
            max_retries=instrument.attempts - 1,
            attempt_timeout=instrument.attempt_timeout,
        )

    async def run(self) -> None:
        """Returns when no direct job waits any more. Cancelling it ends all calls in flight."""
        while (job := self._desk.next(direct=True)) is not None:
            self._admit(job)
            others = {waiting.experiment.model for waiting in list(self._desk.waiting) if waiting.experiment.direct}
            async with asyncio.TaskGroup() as group:
                for model in {job.experiment.model, *others}:
                    for _ in range(self._desk.instrument.connections):
                        group.create_task(self._ask_all(model))

    def _admit(self, job: Job) -> None:
        experiment = job.experiment
        job.take_kept()
        due = [place for place in job.planned if place not in job.seen]
        if job.looks is not None:
            block = job.looks.block
            due.sort(key=lambda place: block(place[0]))
        asking = _Asking(job, config_of(experiment.claim).merge(self._common), deque(due))
        self._askings.setdefault(experiment.model, []).append(asking)
        self._close(asking)

    async def _ask_all(self, model: str) -> None:
        """One connection: asks for one reply after the other."""
        while True:
            found = self._next(model)
            if found is None:
                if not self._askings.get(model):
                    return
                # Replies in flight may open the next look, or end the last claim.
                self._changed.clear()
                await self._changed.wait()
                continue
            asking, place = found
            asking.in_flight += 1
            try:
                # A task, and with it a context, of its own: Inspect's transcript lives in it, and goes with it.
                await asyncio.create_task(self._ask(asking, *place))
            except Exception as fault:  # of ours: it ends this claim, and no other
                asking.job.troubles.append(one_line(f"{type(fault).__name__}: {fault}", limit=300))
                asking.due.clear()
            finally:
                asking.in_flight -= 1
                self._changed.set()
            self._close(asking)

    def _next(self, model: str) -> tuple[_Asking, tuple[str, int]] | None:
        for asking in list(self._askings.get(model, ())):
            place = asking.next()
            if place is not None:
                return asking, place
            self._close(asking)
        job = self._desk.next(direct=True, model=model)
        if job is None:
            return None
        self._admit(job)
        return self._next(model)

    def _close(self, asking: _Asking) -> None:
        """The job is done when nothing of it is due or in flight."""
        open_here = self._askings.get(asking.job.experiment.model, [])
        if asking.over and asking in open_here:
            open_here.remove(asking)
            if asking.answered:
                asking.job.logs.append(self._transcripts.write(asking.job, asking.config, asking.answered))
            self._desk.finish(asking.job)
            self._changed.set()

    async def _ask(self, asking: _Asking, id: str, epoch: int) -> None:
        job = asking.job
        prompt, condition = job.planned[id, epoch]
        model = self._models(job.experiment.model)
        play = play_of(job.experiment.claim, metadata(condition, prompt)[MARK], epoch)
        PLAY.set(play)
        output, score = await self._answer(job, asking.config, model, id, epoch)
        exhibits, exclusion, reason, label = said_by(score)
        answered = Answered(id, epoch, prompt, condition, output, score)
        usage = output.usage
        asking.answered.append(answered)
        self._desk.saw(
            job,
            id,
            observation(
                metadata(condition, prompt)[MARK],
                epoch=epoch,
                exhibits=exhibits,
                exclusion=exclusion,
                reason=reason,
                label=label,
                output=output,
                served=output.model or str(model),
                input_tokens=usage.input_tokens if usage is not None else 0,
                output_tokens=usage.output_tokens if usage is not None else 0,
                calls=play.calls,
                sample=answered.uuid,
            ),
        )

    async def _answer(
        self, job: Job, config: GenerateConfig, model: Model, id: str, epoch: int
    ) -> tuple[ModelOutput, Score]:
        """What the model said, and what the scorer made of it."""
        claim = job.experiment.claim
        prompt, condition = job.planned[id, epoch]
        asked = messages(prompt)
        given: ModelOutput | Failed = await tried(lambda: model.generate(list(asked), config=config))
        if isinstance(given, Failed):
            return ModelOutput(model=str(model)), Score.unscored(reason=given.exclusion.value, explanation=given.why)
        state = TaskState(
            model=ModelName(model),
            sample_id=id,
            epoch=epoch,
            input=prompt.input if isinstance(prompt.input, str) else list(asked),
            messages=[*asked, *(choice.message for choice in given.choices[:1])],
            target=Target(prompt.target),
            output=given,
            metadata=metadata(condition, prompt),
        )
        try:
            return given, await scored(claim, state, state.target)
        except LimitExceededError as limit:
            why = f"its {limit.type} limit of {limit.limit_str} was reached"
            return given, Score.unscored(reason=Exclusion.LIMIT.value, explanation=why)
