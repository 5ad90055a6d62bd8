"""The run engine: experiments in, observations out, through one Inspect run per process.

    Experiment (claim x model) ──task──> inspect_ai.eval(TaskSource) ──sample──> Observation ──> Measured
                                              in a thread of its own

All experiments of a process share one run, so that Inspect keeps the connections full: a run per claim costs seconds
each. Tasks are admitted while fewer than two samples per connection are outstanding, which feeds a heavy-tailed
provider without holding everything in memory. Results stream: `result` of a claim returns when its last reply is
scored, while later claims are still being asked. Samples are let go as soon as they have become observations; Inspect's
logs keep them for people.

What cannot be scored is set aside, with its cause, before the scorer sees it: see `Exclusion`.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import io
import logging
import sys
import textwrap
import threading
import time
import tokenize
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field
from typing import Any, TypeVar

from inspect_ai import Task, TaskSource, eval, task_with
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.log import EvalLog, EvalSample, transcript
from inspect_ai.model import (
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    GenerateConfig,
    Model,
    ModelOutput,
)
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer
from inspect_ai.solver import Generate, Solver, TaskState, chain, solver
from inspect_ai.util import LimitExceededError, registry_create, registry_info

from pytest_alignbench.claims import Claim, Condition, InspectTask
from pytest_alignbench.data import LabelledReply, Prompt, digest
from pytest_alignbench.errors import ClaimError, MeasurementError
from pytest_alignbench.estimates import Calibration
from pytest_alignbench.gates import Evidence, Outcome
from pytest_alignbench.looks import LOOKS, Looks
from pytest_alignbench.models import PLAY, Play, hopeless, unwrapped
from pytest_alignbench.observations import Exclusion, Observation
from pytest_alignbench.outputs import excluded_by
from pytest_alignbench.progress import Progress
from pytest_alignbench.text import one_line

_KEPT_REPLY = 20_000
"""Characters of a reply that a record keeps; Inspect's log has the rest."""

_MARK = "alignbench"
"""The key in a sample's metadata under which the engine keeps where the sample belongs."""


@dataclass(frozen=True)
class Experiment:
    """One claim on one model. `asked` is the name that the user typed, `model` what it resolved to."""

    claim: Claim
    asked: str
    model: str

    @property
    def key(self) -> str:
        return f"{self.claim.id} @ {self.asked}"


@dataclass(frozen=True, kw_only=True)
class Instrument:
    """How replies are asked for and graded: equal for all experiments of a session.

    `connections`: calls in flight at once to one model from this process. `attempts`: tries of one call, the first
    included. `attempt_timeout`: seconds for one try; it is what ends a call that hangs.
    """

    log_dir: str
    connections: int = 20
    grader: str | None = None
    attempts: int = 5
    attempt_timeout: int = 120
    look_alpha: float | None = None
    """One-sided level of each look, where claims may stop early; None where every planned reply is asked for."""
    m: int = 1
    """The declared number of decisions, for VIOLATED at a look."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one experiment gave. `fault` says why nothing can be concluded, if so."""

    key: str
    observations: tuple[Observation, ...]
    calibration: Calibration | None
    logs: tuple[str, ...]
    seconds: float
    fault: str | None = None
    stopped_at: int | None = None
    """The look at which it was decided early, if it was: the replies planned after it are no part of the design."""

    @property
    def served(self) -> tuple[str, ...]:
        return tuple(sorted({o.served_model for o in self.observations if o.served_model}))


# -- from claims to Inspect


def needs_grader(claim: Claim) -> bool:
    """Whether the claim's scorer asks a model for a grade; scorers say so by `@scorer(..., grader=True)`."""
    if claim.scorer is None:
        return False
    try:
        return bool(registry_info(claim.scorer).metadata.get("grader"))
    except (AttributeError, ValueError) as fault:
        raise ClaimError(
            f"claim {claim.id!r}: its scorer {claim.scorer!r} is not one of Inspect's; "
            "decorate the function that makes it with @scorer(metrics=[mean()]), and call it: scorer=my_scorer()"
        ) from fault


def scorer_of(claim: Claim) -> dict[str, Any]:
    """Name, version and arguments of the claim's scorer: its part of the fingerprint."""
    return {} if claim.scorer is None else _made(claim.scorer)


def _made(thing: Any) -> dict[str, Any]:
    """What a scorer or solver of Inspect's registry is, as a JSON value.

    `@scorer(..., version=2)` says when its meaning changes. Where nobody says it, its source does, without comments and
    layout. Inspect keeps the arguments in an attribute of its own; a test pins that.
    """
    info = registry_info(thing)
    return {
        "name": info.name,
        "version": info.metadata.get("version") or _source(thing),
        "args": _plain(getattr(thing, "__registry_params__", {})),
    }


def _source(thing: Any) -> str | None:
    try:
        tokens = tokenize.generate_tokens(io.StringIO(textwrap.dedent(inspect.getsource(thing))).readline)
        layout = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
        return digest([token.string for token in tokens if token.type not in layout])
    except (OSError, TypeError, tokenize.TokenError):
        return None


def fingerprint(experiment: Experiment, instrument: Instrument) -> dict[str, str]:
    """Part -> hash of all that makes two records of a claim comparable.

    Parts apart, so that a comparison can name what differs; the model under test is no part.
    """
    claim = experiment.claim
    prompts: dict[str, Any] = {}
    solvers: dict[str, Any] = {}
    for name, arm in claim.arms.items():
        if isinstance(arm, Condition):
            prompts[name] = sorted((p.pair, p.hash) for p in arm.asked)
            steps = arm.solver if isinstance(arm.solver, Sequence) else [arm.solver]
            solvers[name] = [_made(step) for step in steps if step is not None]
        else:
            task = arm.task if isinstance(arm.task, str) else f"{arm.task.__module__}.{arm.task.__qualname__}"
            prompts[name] = [task, _plain(arm.args), arm.limit]
            solvers[name] = task
    return {
        "claim version": digest(claim.version),
        "prompts": digest(prompts),
        "solver": digest(solvers),
        "generation config": digest([_plain(claim.config), claim.epochs]),
        "scorer": digest(scorer_of(claim)),
        "grader": digest(instrument.grader if needs_grader(claim) else None),
    }


def _plain(value: Any) -> Any:
    """A JSON value that stands for `value`: objects by their type's name, never by an address."""
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, Iterable):
        return [_plain(v) for v in value]
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _sample_id(condition: str, prompt: str) -> str:
    """Unique in a claim: a slash within the condition's name is no separator."""
    return f"{condition.replace('%', '%25').replace('/', '%2F')}/{prompt}"


def _sample(condition: str, prompt: Prompt) -> Sample:
    turns: str | list[Any] = prompt.input if isinstance(prompt.input, str) else []
    if not isinstance(prompt.input, str) or prompt.system is not None:
        kinds = {"system": ChatMessageSystem, "user": ChatMessageUser, "assistant": ChatMessageAssistant}
        said = (
            [ChatMessageUser(content=prompt.input)]
            if isinstance(prompt.input, str)
            else [kinds[m.role](content=m.content) for m in prompt.input]
        )
        turns = [*([ChatMessageSystem(content=prompt.system)] if prompt.system is not None else []), *said]
    place = {
        "condition": condition,
        "prompt": prompt.id,
        "pair": prompt.pair,
        "family": prompt.family,
        "hash": prompt.hash,
    }
    return Sample(
        id=_sample_id(condition, prompt.id),
        input=turns,
        target=prompt.target,
        metadata={**prompt.metadata, _MARK: place},
    )


# -- one model under test, and whether it can go on


_Answer = TypeVar("_Answer", TaskState, Score)


@dataclass
class _Subject:
    """A model in a run, under test or grading. The first call goes alone: a wrong key or a spent quota is found by one call, not by fifty."""

    name: str
    fatal: str | None = None
    proven: bool = False
    _first: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def call(self, ask: Callable[[], Awaitable[_Answer]]) -> _Answer | str:
        """What came of asking, or what went wrong, in one line."""
        if not self.proven:
            async with self._first:
                if self.fatal is None and not self.proven:
                    answered = await self._try(ask)
                    self.proven = self.fatal is None
                    return answered
        return self.fatal if self.fatal is not None else await self._try(ask)

    async def _try(self, ask: Callable[[], Awaitable[_Answer]]) -> _Answer | str:
        # Told, not raised: Inspect renders a traceback for each raised error, at a fifth of a second of CPU.
        try:
            return await ask()
        except LimitExceededError:
            raise
        except Exception as fault:
            own = _provider_error(fault)
            self.fatal = self.fatal or hopeless(own)
            said = one_line(f"{type(own).__name__}: {own}", limit=300)
            transcript().info({"error": said})
            return said


def _provider_error(fault: BaseException) -> BaseException:
    """The provider's own words: Inspect's wrapper quotes the whole request before them."""
    fault = unwrapped(fault)
    wrapped = isinstance(fault, RuntimeError) and type(fault).__module__.startswith("inspect_ai.")
    return fault.__cause__ if wrapped and fault.__cause__ is not None else fault


# -- solver and scorer of a claim, as Inspect runs them


_FAILED = "alignbench:failed"
"""The key in a sample's metadata under which a failed call leaves its message."""


_Plays = dict[str, Play]
"""Sample -> what a simulated model knows of it: Inspect scores a sample in another context than it solves it in."""


def _ask(experiment: Experiment, subject: _Subject, plays: _Plays) -> Solver:
    solvers = {
        name: chain(arm.solver) if isinstance(arm.solver, Sequence) else arm.solver
        for name, arm in experiment.claim.arms.items()
        if isinstance(arm, Condition) and arm.solver is not None
    }

    @solver(name="ask")
    def ask() -> Solver:
        async def solve(state: TaskState, generate: Generate) -> TaskState:
            place = state.metadata[_MARK]
            plays[state.uuid] = _play(experiment.claim, place, state.epoch)
            PLAY.set(plays[state.uuid])
            own = solvers.get(place["condition"])
            asked: TaskState | str = await subject.call(
                lambda: own(state, generate) if own is not None else generate(state)
            )
            if isinstance(asked, str):
                state.metadata[_FAILED] = asked
                return state
            return asked

        return solve

    return ask()


def _play(claim: Claim, place: Mapping[str, Any], epoch: int) -> Play:
    return Play(claim=claim, condition=place["condition"], pair=place["pair"], prompt=place["prompt"], epoch=epoch)


def _observe(claim: Claim, grading: _Subject, plays: _Plays) -> Scorer:
    """The claim's scorer, asked only about replies that can be scored, and unable to break the run."""

    @scorer(metrics=[mean()], name="exhibits")
    def exhibits() -> Scorer:
        async def score(state: TaskState, target: Target) -> Score:
            PLAY.set(plays.pop(state.uuid, None))
            if _FAILED in state.metadata:
                return Score.unscored(reason=Exclusion.ERRORED.value, explanation=str(state.metadata[_FAILED]))
            unfit = excluded_by(state.output)
            if unfit is not None:
                return Score.unscored(reason=unfit[0].value, explanation=unfit[1])
            given = await grading.call(lambda: claim.scorer(state, target))
            if isinstance(given, str):
                return Score.unscored(reason=Exclusion.GRADER_FAILED.value, explanation=given)
            seen = exhibited(given.value)
            if seen is None:
                said = given.explanation or f"the scorer gave {given.value!r}"
                return Score.unscored(reason=Exclusion.GRADER_FAILED.value, answer=given.answer, explanation=said)
            return Score(value=seen, answer=given.answer, explanation=given.explanation, metadata=given.metadata)

        return score

    return exhibits()


def exhibited(value: Any) -> bool | None:
    """A scorer's value as an answer to "does it exhibit?"; None for anything that is not plainly yes or no."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float) and value in (0, 1):
        return bool(value)
    return {"C": True, "I": False}.get(value) if isinstance(value, str) else None


# -- from Inspect to observations


def _observation(claim: Claim, sample: EvalSample, model: Model) -> Observation:
    place = sample.metadata[_MARK]
    usage = list(sample.model_usage.values())
    exhibits, exclusion, reason, label = _outcome(sample, claim.arms[place["condition"]])
    return Observation(
        prompt=place["prompt"],
        prompt_hash=place["hash"],
        condition=place["condition"],
        family=place["family"],
        pair=place["pair"],
        epoch=sample.epoch,
        exhibits=exhibits,
        exclusion=exclusion,
        reason=_storable(reason),
        label=_storable(label),
        reply=_storable(sample.output.completion[:_KEPT_REPLY]),
        served_model=_storable(sample.output.model or str(model)),
        input_tokens=sum(u.input_tokens for u in usage),
        output_tokens=sum(u.output_tokens for u in usage),
        sample=sample.uuid or "",
    )


def _storable(text: str) -> str:
    """A lone surrogate fits into no UTF-8 file, and JSON readers refuse it: it is kept as its escape."""
    return text.encode("utf-8", "backslashreplace").decode()


def _outcome(sample: EvalSample, arm: Condition | InspectTask) -> tuple[bool | None, Exclusion | None, str, str]:
    if sample.error is not None:
        return None, Exclusion.ERRORED, one_line(sample.error.message, limit=300), ""
    if sample.limit is not None:
        return None, Exclusion.LIMIT, f"its {sample.limit.type} limit of {sample.limit.limit:g} was reached", ""
    scores = sample.scores or {}
    if isinstance(arm, InspectTask):
        unfit = excluded_by(sample.output)
        # An agent may say nothing and act: what its tools did is what such a task scores.
        acted = any(isinstance(m, ChatMessageAssistant) and m.tool_calls for m in sample.messages)
        if unfit is not None and not (acted and unfit[0] is Exclusion.EMPTY):
            return None, *unfit, ""
        chosen = scores.get(arm.scorer) if arm.scorer is not None else next(iter(scores.values()), None)
        if chosen is None:
            return None, Exclusion.GRADER_FAILED, f"the task gave no score {arm.scorer or ''}".strip(), ""
        seen = arm.exhibits(chosen.value)
        if seen is None:
            return None, Exclusion.GRADER_FAILED, f"its score {one_line(str(chosen.value))} says neither", ""
        return seen, None, chosen.explanation or "", chosen.answer or ""
    score = scores.get("exhibits")
    if score is None:
        return None, Exclusion.GRADER_FAILED, "no score", ""
    if isinstance(score.value, bool | int):
        return bool(score.value), None, score.explanation or "", score.answer or ""
    return None, Exclusion(score.reason or Exclusion.GRADER_FAILED), score.explanation or "", score.answer or ""


# -- the run


@dataclass
class _Job:
    """An experiment on its way through the run."""

    experiment: Experiment
    model: Model
    future: Future[Measured] = field(default_factory=Future)
    open_tasks: set[str] = field(default_factory=set)
    planned: dict[tuple[str, int], tuple[Prompt, str]] = field(default_factory=dict)
    """(sample id, epoch) -> prompt and condition, for replies that never came; InspectTasks add theirs when loaded."""
    seen: dict[tuple[str, int], Observation] = field(default_factory=dict)
    logs: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    calibrating: _Calibrating | None = None
    looks: Looks | None = None
    admitted: float = 0.0


@dataclass
class _Calibrating:
    """A grader on its way through the labelled replies: the same scorer, asked about replies whose truth is known."""

    task: str
    jobs: list[_Job] = field(default_factory=list)
    graded: list[tuple[bool, bool]] = field(default_factory=list)
    """(truth, grade) of each labelled reply that got a grade."""
    done: bool = False

    @property
    def result(self) -> Calibration:
        count = self.graded.count
        return Calibration(
            tp=count((True, True)), fn=count((True, False)), tn=count((False, False)), fp=count((False, True))
        )


class Measurement:
    """A session's measuring: `start` once, then `result` per experiment, `stop` at the end.

    The run lives in a daemon thread with an event loop of its own; every method may be called from any other thread.
    """

    def __init__(self, experiments: Sequence[Experiment], instrument: Instrument, models: Mapping[str, Model]) -> None:
        self._instrument = instrument
        self._models = models
        self._subjects: dict[str, _Subject] = {}
        self._jobs: dict[str, _Job] = {}
        self._waiting: deque[_Job] = deque()
        self._calibrating: dict[str, _Calibrating] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main: asyncio.Task[Any] | None = None
        self._more: asyncio.Event | None = None
        self._surroundings = _Surroundings()
        self._closed = False
        self._started = time.monotonic()
        for experiment in experiments:
            self._add(experiment)

    # -- used by the session

    def start(self) -> None:
        """Begins to measure; returns at once."""
        with self._lock:
            if self._waiting and (self._thread is None or not self._thread.is_alive()):
                self._thread = threading.Thread(target=self._run, name="alignbench", daemon=True)
                self._thread.start()

    def require(self, experiment: Experiment) -> None:
        """Adds an experiment that was not planned here: another worker's, or one under a foreign scheduler."""
        with self._lock:
            known = experiment.key in self._jobs
            if not known:
                self._add(experiment)
        if not known:
            if self._loop is not None and self._more is not None:
                self._loop.call_soon_threadsafe(self._more.set)
            self.start()

    def result(self, key: str, *, timeout: float) -> Measured | None:
        """What the experiment gave, or None if it is not there after `timeout` seconds.

        Raises MeasurementError when the run as a whole broke.
        """
        try:
            return self._jobs[key].future.result(timeout)
        except FutureTimeout:
            return None

    def progress(self) -> Progress:
        with self._lock:
            jobs = list(self._jobs.values())
        return Progress(
            planned=sum(max(len(job.planned), len(job.seen)) for job in jobs),
            done=sum(len(job.seen) for job in jobs),
            excluded=sum(o.exhibits is None for job in jobs for o in list(job.seen.values())),
            claims=len(jobs),
            claims_done=sum(job.future.done() for job in jobs),
            seconds=time.monotonic() - self._started,
        )

    def stop(self, *, wait: float = 5.0) -> None:
        """No new call after this; what is in flight is cancelled, what was scored is kept in the logs."""
        self._closed = True
        loop, main, thread = self._loop, self._main, self._thread
        if thread is None or not thread.is_alive():
            return
        if loop is not None and not loop.is_closed():
            idle = all(job.future.done() for job in self._jobs.values())
            if idle and self._more is not None:
                loop.call_soon_threadsafe(self._more.set)
            elif main is not None:
                loop.call_soon_threadsafe(main.cancel)
        thread.join(wait)

    # -- in the run's thread

    def _add(self, experiment: Experiment) -> None:
        job = _Job(experiment=experiment, model=self._models[experiment.model])
        for condition, arm in experiment.claim.arms.items():
            if isinstance(arm, Condition):
                for prompt in arm.asked:
                    for epoch in range(1, experiment.claim.epochs + 1):
                        job.planned[_sample_id(condition, prompt.id), epoch] = (prompt, condition)
        self._jobs[experiment.key] = job
        self._waiting.append(job)

    def _run(self) -> None:
        self._surroundings = _Surroundings()
        # The run makes garbage by the megabyte, and the collector would walk over all of pytest and Inspect each time.
        thresholds = gc.get_threshold()
        gc.freeze()
        gc.set_threshold(10_000, 20, 50)
        broke: BaseException | None = None
        try:
            eval(
                _Source(self),
                model=None,
                display="log",
                log_dir=self._instrument.log_dir,
                log_header_only=True,
                log_realtime=False,
                log_model_api=False,
                score_display=False,
                ctl_server=False,
                fail_on_error=False,
                max_tasks=1_000_000,
                max_samples=1_000_000,
                max_connections=self._instrument.connections,
                max_retries=self._instrument.attempts - 1,
                attempt_timeout=self._instrument.attempt_timeout,
            )
        except BaseException as fault:  # the thread's last word: whatever it was, the waiting items must hear of it
            broke = fault
        finally:
            gc.set_threshold(*thresholds)
            gc.unfreeze()
            self._surroundings.restore()
            said = (
                "the run was stopped" if broke is None or self._closed else one_line(f"{type(broke).__name__}: {broke}")
            )
            for job in self._jobs.values():
                if not job.future.done():
                    job.troubles.append(said)
                    self._finish(job)

    def _admit(self) -> list[Task]:
        """The tasks to start now: as many as keep two samples outstanding per connection."""
        admitted: list[Task] = []
        with self._lock:
            window = 2 * self._instrument.connections * max(1, len(self._subjects))
            while self._waiting and self._outstanding() < window and not self._closed:
                job = self._waiting.popleft()
                job.admitted = time.monotonic()
                try:
                    admitted.extend(self._tasks(job))
                except Exception as fault:
                    job.troubles.append(one_line(f"{type(fault).__name__}: {fault}", limit=300))
                    job.open_tasks.clear()
                    self._finish(job)
        return admitted

    def _outstanding(self) -> int:
        return sum(
            job.looks.open if job.looks is not None else len(job.planned) - len(job.seen)
            for job in self._jobs.values()
            if job.open_tasks
        )

    def _tasks(self, job: _Job) -> list[Task]:
        experiment, claim = job.experiment, job.experiment.claim
        subject = self._subjects.setdefault(experiment.model, _Subject(experiment.model))
        roles = {"grader": self._models[self._instrument.grader]} if self._instrument.grader else None
        config = GenerateConfig(**claim.config)
        plays: _Plays = {}
        tasks = []
        samples = [
            _sample(name, prompt)
            for name, arm in claim.arms.items()
            if isinstance(arm, Condition)
            for prompt in arm.asked
        ]
        if samples:
            job.looks = self._looks(job)
            tasks.append(
                Task(
                    dataset=MemoryDataset(samples),
                    solver=_ask(experiment, subject, plays),
                    scorer=_observe(claim, self._grading(claim), plays),
                    model=job.model,
                    model_roles=roles,
                    config=config,
                    epochs=claim.epochs,
                    early_stopping=job.looks,
                    name=_task_name(experiment),
                    metadata={_MARK: {"key": experiment.key, "claim": claim.id, "statement": claim.statement}},
                )
            )
        for name, arm in claim.arms.items():
            if isinstance(arm, InspectTask):
                tasks.append(self._foreign_task(job, name, arm, roles, subject))
        tasks.extend(self._calibration(job, roles))
        job.open_tasks.update(task.name for task in tasks)
        return tasks

    def _looks(self, job: _Job) -> Looks | None:
        """May this claim stop early? Not with conditions whose samples are another task's, or too few families."""
        claim, alpha = job.experiment.claim, self._instrument.look_alpha
        families = {key: prompt.family for key, (prompt, _) in job.planned.items()}
        if alpha is None or len(set(families.values())) < 2 * LOOKS:
            return None
        if any(isinstance(arm, InspectTask) for arm in claim.arms.values()):
            return None
        m = self._instrument.m

        def decided() -> bool:
            calibration = job.calibrating.result if job.calibrating is not None else None
            evidence = Evidence(observations=list(job.seen.values()), calibration=calibration, alpha=alpha, m=m)
            return claim.gate.judge(evidence).outcome in (Outcome.HOLDS, Outcome.VIOLATED)

        return Looks(families, decided=decided)

    def _grading(self, claim: Claim) -> _Subject:
        """Through whom the claim's scorer is asked: its grader, which can be refused too, or nobody."""
        name = self._instrument.grader if needs_grader(claim) else None
        if name is None:
            return _Subject("", proven=True)
        return self._subjects.setdefault(name, _Subject(name))

    def _calibration(self, job: _Job, roles: Mapping[str, Model] | None) -> list[Task]:
        """The grader's own test, once per grader and scorer; empty if it is under way already or there is no grader."""
        claim = job.experiment.claim
        labelled = [r for r in claim.labelled if r.split == "test" and r.exhibits is not None]
        if roles is None or not labelled or not needs_grader(claim):
            return []
        key = digest([scorer_of(claim), self._instrument.grader, [[r.id, r.text, r.exhibits] for r in labelled]])
        known = self._calibrating.get(key)
        if known is None:
            known = self._calibrating[key] = _Calibrating(f"calibration--{_slug(claim.id)}--{key[:6]}")
        job.calibrating = known
        if known.done:
            return []
        known.jobs.append(job)
        job.open_tasks.add(known.task)
        if len(known.jobs) > 1:
            return []
        plays: _Plays = {}
        return [
            Task(
                dataset=MemoryDataset(_labelled_samples(claim, labelled)),
                solver=_say_labelled(claim, {r.id: r for r in labelled}, plays),
                scorer=_observe(claim, self._grading(claim), plays),
                model=roles["grader"],
                model_roles=roles,
                name=known.task,
                metadata={_MARK: {"calibration": key}},
            )
        ]

    def _foreign_task(
        self, job: _Job, name: str, arm: InspectTask, roles: Mapping[str, Any] | None, subject: _Subject
    ) -> Task:
        """A condition that is somebody else's task: only its name, model and the mark on its samples are ours."""
        given = registry_create("task", arm.task, **arm.args) if isinstance(arm.task, str) else arm.task(**arm.args)
        if not isinstance(given, Task):
            raise ClaimError(f"condition {name!r}: {arm.task!r} gave {type(given).__name__}, not an Inspect task")
        samples = list(given.dataset)[: arm.limit]
        epochs = job.experiment.claim.epochs if job.experiment.claim.epochs > 1 else (given.epochs or 1)
        for number, sample in enumerate(samples, start=1):
            sample.id = sample.id if sample.id is not None else number
            id = str(sample.id)
            family = str((sample.metadata or {}).get(arm.family or "", id))
            asked = sample.input if isinstance(sample.input, str) else [m.text for m in sample.input]
            place = {"condition": name, "prompt": id, "pair": id, "family": family, "hash": digest([asked, None])}
            sample.metadata = {**(sample.metadata or {}), _MARK: place}
            prompt = Prompt(id=id, input=str(asked) or " ", family=family, pair=id)
            for epoch in range(1, epochs + 1):
                job.planned[_sample_id(name, id), epoch] = (prompt, name)
        before = given.setup if given.setup is not None else []
        mine = _before_foreign(job.experiment.claim, subject)
        return task_with(
            given,
            dataset=MemoryDataset(samples),
            setup=[*(before if isinstance(before, Sequence) else [before]), mine],
            model=job.model,
            model_roles={**(given.model_roles or {}), **(roles or {})},
            epochs=job.experiment.claim.epochs if job.experiment.claim.epochs > 1 else given.epochs,
            name=f"{_task_name(job.experiment)}--{_slug(name)}",
            metadata={_MARK: {"key": job.experiment.key, "claim": job.experiment.claim.id}},
        )

    def _sample_done(self, sample: EvalSample, task: Task) -> None:
        place = (task.metadata or {})[_MARK]
        if "calibration" in place:
            score = (sample.scores or {}).get("exhibits")
            if score is not None and isinstance(score.value, bool | int):
                self._calibrating[place["calibration"]].graded.append((sample.metadata["truth"], bool(score.value)))
            return
        job = self._jobs[(task.metadata or {})[_MARK]["key"]]
        observation = _observation(job.experiment.claim, sample, job.model)
        with self._lock:
            id = _sample_id(observation.condition, observation.prompt)
            job.seen[id, observation.epoch] = observation
            if job.looks is not None:
                job.looks.saw(id)

    def _task_done(self, log: EvalLog) -> None:
        place = (log.eval.metadata or {})[_MARK]
        if "calibration" in place:
            with self._lock:
                calibrating = self._calibrating[place["calibration"]]
                calibrating.done = True
                for job in calibrating.jobs:
                    job.open_tasks.discard(calibrating.task)
                    if not job.open_tasks:
                        self._finish(job)
            return
        job = self._jobs[(log.eval.metadata or {})[_MARK]["key"]]
        with self._lock:
            job.logs.append(log.location)
            job.open_tasks.discard(log.eval.task)
            if log.error is not None:
                job.troubles.append(one_line(log.error.message, limit=300))
            elif log.status == "cancelled":
                job.troubles.append("the run was stopped")
            if not job.open_tasks:
                self._finish(job)

    def _finish(self, job: _Job) -> None:
        """Every planned reply becomes an observation; those that never came say why."""
        if job.future.done():
            return
        trouble = job.troubles[0] if job.troubles else "not asked"
        cause = Exclusion.UNMEASURED if self._closed or trouble == "the run was stopped" else Exclusion.ERRORED
        rows = []
        for (id, epoch), (prompt, condition) in job.planned.items():
            seen = job.seen.get((id, epoch))
            if seen is None and job.looks is not None and job.looks.stopped_at is not None:
                continue
            rows.append(seen if seen is not None else _unseen(prompt, condition, epoch, cause, trouble))
        claim = job.experiment.claim
        job.future.set_result(
            Measured(
                key=job.experiment.key,
                observations=tuple(rows),
                calibration=job.calibrating.result if job.calibrating is not None else None,
                logs=tuple(job.logs),
                seconds=time.monotonic() - job.admitted if job.admitted else 0.0,
                fault=_fault(claim, rows, trouble if job.troubles else None),
                stopped_at=job.looks.stopped_at if job.looks is not None else None,
            )
        )


def _labelled_samples(claim: Claim, labelled: Sequence[LabelledReply]) -> list[Sample]:
    """Each labelled reply under the prompt that it answers, so that the grader sees what it sees in earnest."""
    by_pair: dict[str, tuple[str, Prompt]] = {}
    for name in (*claim.gate.uses, *claim.arms):
        arm = claim.arms[name]
        if isinstance(arm, Condition):
            for prompt in arm.asked:
                by_pair.setdefault(prompt.pair, (name, prompt))
    samples = []
    for reply in labelled:
        name, prompt = by_pair.get(reply.pair) or next(iter(by_pair.values()))
        sample = _sample(name, prompt)
        sample.id = reply.id
        sample.metadata = {**(sample.metadata or {}), "truth": reply.exhibits}
        samples.append(sample)
    return samples


def _say_labelled(claim: Claim, labelled: Mapping[str, LabelledReply], plays: _Plays) -> Solver:
    """Puts the labelled reply where a model's would be. Calls nobody."""

    @solver(name="labelled")
    def say() -> Solver:
        async def solve(state: TaskState, generate: Generate) -> TaskState:
            reply = labelled[str(state.sample_id)]
            play = _play(claim, state.metadata[_MARK], state.epoch)
            play.prompt, play.truth = reply.id, reply.exhibits
            plays[state.uuid] = play
            state.output = ModelOutput.from_content(model="labelled", content=reply.text)
            return state

        return solve

    return say()


def _fault(claim: Claim, rows: Sequence[Observation], trouble: str | None) -> str | None:
    """Why the claim cannot be judged at all: a condition that the gate looks at has no scored reply, for faults of ours."""
    for condition in claim.gate.uses:
        here = [o for o in rows if o.condition == condition]
        if any(o.exhibits is not None for o in here):
            continue
        reasons = [
            o.reason for o in here if o.exclusion in (Exclusion.ERRORED, Exclusion.GRADER_FAILED, Exclusion.UNMEASURED)
        ]
        if reasons or trouble:
            first = one_line(reasons[0] if reasons else f"{trouble}", limit=300)  # a scorer's reason may quote a reply
            return f"none of {len(here)} replies in {condition!r} could be scored: {first}"
    return None


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


def _before_foreign(claim: Claim, subject: _Subject) -> Solver:
    @solver(name="before")
    def before() -> Solver:
        async def solve(state: TaskState, generate: Generate) -> TaskState:
            if subject.fatal is not None:
                raise MeasurementError(subject.fatal)
            PLAY.set(_play(claim, state.metadata[_MARK], state.epoch))
            return state

        return solve

    return before()


def _task_name(experiment: Experiment) -> str:
    """Short enough for a file name, whatever the ids are; Inspect names its log after it."""
    return f"{_slug(experiment.claim.id)}--{_slug(experiment.asked)}--{digest(experiment.key)[:6]}"


def _slug(text: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in text)[:60].strip("-.")


class _Surroundings:
    """What Inspect takes over in its process as a command-line program, and a pytest session wants back."""

    def __init__(self) -> None:
        root, own = logging.getLogger(), logging.getLogger("inspect_ai")
        self._hook, self._level, self._own_level = sys.excepthook, root.level, own.level

    def quieten(self) -> None:
        """Its trace of each call would cost time, and show up as "captured log" of whatever test runs meanwhile."""
        logging.getLogger("inspect_ai").setLevel(logging.WARNING)

    def restore(self) -> None:
        root, own = logging.getLogger(), logging.getLogger("inspect_ai")
        sys.excepthook = self._hook
        root.setLevel(self._level)
        own.setLevel(self._own_level)
        own.propagate = True
        for handler in [h for h in root.handlers if type(h).__module__.startswith("inspect_ai.")]:
            root.removeHandler(handler)


class _Source(TaskSource):
    """Inspect's view of a Measurement: what to run first, what to run next, and who hears of results."""

    def __init__(self, measurement: Measurement) -> None:
        self._of = measurement

    def initial_tasks(self) -> list[Task]:
        self._of._surroundings.restore()
        self._of._surroundings.quieten()
        self._of._loop = asyncio.get_running_loop()
        self._of._main = asyncio.current_task()
        self._of._more = asyncio.Event()
        return self._of._admit()

    async def next_tasks(self) -> list[Task] | None:
        """All admitted tasks are done. Waits for more until the session closes the run."""
        while True:
            more = self._of._more
            assert more is not None  # set by initial_tasks
            more.clear()
            tasks = self._of._admit()
            if tasks:
                return tasks
            if self._of._closed:
                return None
            await more.wait()

    async def sample_complete(self, sample: EvalSample, task: Task) -> list[Task] | None:
        self._of._sample_done(sample, task)
        return self._of._admit() or None

    async def task_complete(self, log: EvalLog) -> list[Task] | None:
        self._of._task_done(log)
        return self._of._admit() or None
