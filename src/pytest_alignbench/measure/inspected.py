"""The lane through Inspect's own samples: claims with solvers, graders, or tasks of Inspect's as conditions.

    desk ──next──> Task ──> inspect_ai.eval(TaskSource) ──sample_complete──> Observation ──> desk

All such claims of a process share one run, so that Inspect keeps the connections full: a run per claim costs seconds each.
Tasks are admitted while fewer than two samples per connection are outstanding, which feeds a heavy-tailed provider without
holding everything in memory. Samples are let go as soon as they have become observations; Inspect's logs keep them for
people.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from inspect_ai import Task, TaskSource, eval, task_with
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.log import EvalLog, EvalSample
from inspect_ai.model import Model, ModelOutput, get_model_info
from inspect_ai.solver import Generate, Solver, TaskState, chain, solver
from inspect_ai.util import EarlyStop, registry_create

from pytest_alignbench.claims import Claim, Condition, InspectTask
from pytest_alignbench.data import LabelledReply, Prompt, digest
from pytest_alignbench.errors import ClaimError
from pytest_alignbench.looks import Looks
from pytest_alignbench.measure.desk import Desk
from pytest_alignbench.measure.experiments import Instrument, config_of, needs_grader, scorer_of, slug
from pytest_alignbench.measure.jobs import STOPPED, Calibrating, Job
from pytest_alignbench.measure.samples import MARK, inspect_sample, sample_id
from pytest_alignbench.measure.scoring import CALLS, FAILED, Plays, inspect_scorer, observation_of_sample, play_of
from pytest_alignbench.measure.subjects import tried
from pytest_alignbench.models import PLAY, Failed
from pytest_alignbench.text import one_line


class InspectLane(TaskSource):
    """Inspect's view of a desk: what to run first, what to run next, and who hears of results."""

    def __init__(self, desk: Desk, models: Callable[[str], Model], *, surroundings: Surroundings) -> None:
        self._desk, self._models, self._surroundings = desk, models, surroundings
        self._foreign: Plays = {}
        self._asked: set[str] = set()
        """Names of the models that this run asks."""
        self.loop: asyncio.AbstractEventLoop | None = None
        self.task: asyncio.Task[Any] | None = None
        self._more: asyncio.Event | None = None
        self._first: list[Task] = []

    def run(self) -> None:
        """Measures until no job of this lane waits, and one of the other does or the desk is closed."""
        instrument = self._desk.instrument
        self._first = self._admit()
        if not self._first:
            return
        try:
            logs = self._eval(instrument)
        except Exception as fault:
            self._give_up(one_line(f"{type(fault).__name__}: {fault}", limit=300))
        else:
            for log in logs if not self._desk.closed else ():
                self._task_lost(log)
            if not self._desk.closed:
                self._give_up("Inspect ended without a word of it")

    def _eval(self, instrument: Instrument) -> list[EvalLog]:
        return eval(
            self,
            model=None,
            display="log",
            log_dir=instrument.log_dir,
            log_header_only=True,
            log_realtime=False,
            log_model_api=False,
            score_display=False,
            ctl_server=False,
            fail_on_error=False,
            max_tasks=1_000_000,
            max_samples=1_000_000,
            max_connections=instrument.connections,
            max_retries=instrument.attempts - 1,
            attempt_timeout=instrument.attempt_timeout,
        )

    def wake(self) -> None:
        """From any thread: there is more to do, or nothing ever will be."""
        loop, more = self.loop, self._more
        if loop is not None and more is not None and not loop.is_closed():
            loop.call_soon_threadsafe(more.set)

    # -- Inspect's protocol

    def initial_tasks(self) -> list[Task]:
        self._surroundings.restore()
        self._surroundings.quieten()
        self.loop = asyncio.get_running_loop()
        self.task = asyncio.current_task()
        self._more = asyncio.Event()
        if self._desk.closed and self.task is not None:
            self.task.cancel()  # it was closed while Inspect was starting, when there was nothing to cancel yet
        return self._first

    async def next_tasks(self) -> list[Task] | None:
        """All admitted tasks are done. Waits for more, so that claims that come one by one share a run too."""
        while True:
            more = self._more
            assert more is not None  # set by initial_tasks
            more.clear()
            if self._desk.closed or any(self._open()):
                return None  # what is still open ended without a word: its log says why, when this run is over
            tasks = self._admit()
            if tasks:
                return tasks
            if self._desk.closed or self._desk.waits(direct=True):
                return None
            await more.wait()

    async def sample_complete(self, sample: EvalSample, task: Task) -> list[Task] | None:
        self._sample_done(sample, task)
        return self._admit() or None

    async def task_complete(self, log: EvalLog) -> list[Task] | None:
        self._task_done(log)
        return self._admit() or None

    # -- from jobs to tasks

    def _admit(self) -> list[Task]:
        """The tasks to start now: as many as keep two samples outstanding per connection."""
        admitted: list[Task] = []
        desk = self._desk
        while self._outstanding() < 2 * desk.instrument.connections * max(1, len(self._asked)):
            job = desk.next(direct=False)
            if job is None:
                break
            try:
                admitted.extend(self._tasks(job))
            except Exception as fault:
                job.troubles.append(one_line(f"{type(fault).__name__}: {fault}", limit=300))
                job.open_tasks.clear()
            if not job.open_tasks:
                desk.finish(job)
        return admitted

    def _outstanding(self) -> int:
        with self._desk.lock:
            return sum(job.outstanding for job in self._desk.jobs.values() if job.open_tasks)

    def _tasks(self, job: Job) -> list[Task]:
        experiment, claim = job.experiment, job.experiment.claim
        grader = self._desk.instrument.grader
        self._asked.add(experiment.model)
        if grader is not None and needs_grader(claim):
            self._asked.add(grader)
        roles = {"grader": self._models(grader)} if grader else None
        plays: Plays = {}
        tasks = self._calibration(job, roles)
        job.take_kept()
        samples = [
            inspect_sample(name, prompt)
            for name, arm in claim.arms.items()
            if isinstance(arm, Condition)
            for prompt in arm.asked
            if any((sample_id(name, prompt.id), epoch) not in job.seen for epoch in range(1, claim.epochs + 1))
        ]
        if samples:
            tasks.append(
                Task(
                    dataset=MemoryDataset(samples),
                    solver=_ask(self._desk, job, plays),
                    scorer=inspect_scorer(claim, plays),
                    model=self._models(experiment.model),
                    model_roles=roles,
                    config=config_of(claim),
                    epochs=claim.epochs,
                    early_stopping=_Schedule(job),
                    name=experiment.task_name,
                    metadata={MARK: {"key": experiment.key, "claim": claim.id, "statement": claim.statement}},
                )
            )
        for name, arm in claim.arms.items():
            if isinstance(arm, InspectTask):
                tasks.extend(self._foreign_task(job, name, arm, roles))
        job.open_tasks.update(task.name for task in tasks)
        return tasks

    def _calibration(self, job: Job, roles: Mapping[str, Model] | None) -> list[Task]:
        """The grader's own test, once per grader and scorer; empty if it is under way already or there is no grader."""
        desk, claim = self._desk, job.experiment.claim
        labelled = [r for r in claim.labelled if r.split == "test" and r.exhibits is not None]
        grader = desk.instrument.grader
        if roles is None or not labelled or not needs_grader(claim):
            return []
        key = digest([scorer_of(claim), grader, [[r.id, r.text, r.exhibits] for r in labelled]])
        known = desk.calibrating.get(key)
        if known is None:
            known = desk.calibrating[key] = Calibrating(key, f"calibration--{slug(claim.id)}--{key[:6]}")
            known.graded.update(desk.kept.grades.get(key, {}))
        job.calibrating = known
        due = [reply for reply in labelled if reply.id not in known.graded]
        known.done = known.done or not due
        if known.done:
            return []
        known.jobs.append(job)
        job.open_tasks.add(known.task)
        if len(known.jobs) > 1:
            return []
        plays: Plays = {}
        return [
            Task(
                dataset=MemoryDataset(_labelled_samples(claim, due)),
                solver=_say_labelled(claim, {r.id: r for r in due}, plays),
                scorer=inspect_scorer(claim, plays),
                model=roles["grader"],
                model_roles=roles,
                name=known.task,
                metadata={MARK: {"calibration": key}},
            )
        ]

    def _foreign_task(self, job: Job, name: str, arm: InspectTask, roles: Mapping[str, Any] | None) -> list[Task]:
        """A condition that is somebody else's task: only its name, model and the mark on its samples are ours."""
        given = registry_create("task", arm.task, **arm.args) if isinstance(arm.task, str) else arm.task(**arm.args)
        if not isinstance(given, Task):
            raise ClaimError(f"condition {name!r}: {arm.task!r} gave {type(given).__name__}, not an Inspect task")
        if given.cost_limit is not None:
            _check_prices(name, [job.experiment.model, *([grader] if (grader := self._desk.instrument.grader) else [])])
        every = list(given.dataset)[: arm.limit]
        epochs = job.experiment.claim.epochs if job.experiment.claim.epochs > 1 else (given.epochs or 1)
        samples = []
        for number, sample in enumerate(every, start=1):
            sample.id = sample.id if sample.id is not None else number
            id = str(sample.id)
            family = str((sample.metadata or {}).get(arm.family or "", id))
            asked = sample.input if isinstance(sample.input, str) else [m.text for m in sample.input]
            place = {"condition": name, "prompt": id, "pair": id, "family": family, "hash": digest([asked, None])}
            sample.metadata = {**(sample.metadata or {}), MARK: place}
            prompt = Prompt(id=id, input=str(asked) or " ", family=family, pair=id)
            places = [(sample_id(name, id), epoch) for epoch in range(1, epochs + 1)]
            job.planned.update(dict.fromkeys(places, (prompt, name)))
            if all(here in job.kept for here in places):  # else asked whole: its epochs are Inspect's to count
                job.seen.update((here, job.kept[here]) for here in places)
            else:
                samples.append(sample)
        if not samples:
            return []
        before = given.setup if given.setup is not None else []
        mine = _before_foreign(self._desk, job, self._foreign)
        with_mark = task_with(
            given,
            dataset=MemoryDataset(samples),
            setup=[*(before if isinstance(before, Sequence) else [before]), mine],
            model=self._models(job.experiment.model),
            model_roles={**(given.model_roles or {}), **(roles or {})},
            epochs=job.experiment.claim.epochs if job.experiment.claim.epochs > 1 else given.epochs,
            name=f"{job.experiment.task_name}--{slug(name)}",
            metadata={MARK: {"key": job.experiment.key, "claim": job.experiment.claim.id}},
        )
        return [with_mark]

    # -- from results to the desk

    def _sample_done(self, sample: EvalSample, task: Task) -> None:
        place = (task.metadata or {})[MARK]
        if "calibration" in place:
            score = (sample.scores or {}).get("exhibits")
            if score is not None and isinstance(score.value, bool | int):
                calibrating = self._desk.calibrating[place["calibration"]]
                self._desk.graded(calibrating, str(sample.id), sample.metadata["truth"], bool(score.value))
            return
        job = self._desk.jobs[place["key"]]
        play = self._foreign.pop(sample.uuid or "", None)
        failed = play.failed if play is not None else None
        seen = observation_of_sample(job.experiment.claim, sample, self._models(job.experiment.model), failed)
        self._desk.saw(job, sample_id(seen.condition, seen.prompt), seen)

    def _task_done(self, log: EvalLog) -> None:
        place = (log.eval.metadata or {})[MARK]
        desk = self._desk
        with desk.lock:
            if "calibration" in place:
                calibrating = desk.calibrating[place["calibration"]]
                calibrating.done = True
                ended = calibrating.jobs
            else:
                job = desk.jobs[place["key"]]
                job.logs.append(log.location)
                if log.error is not None:
                    job.troubles.append(one_line(log.error.message, limit=300))
                elif log.status == "cancelled":
                    job.troubles.append(STOPPED)
                ended = [job]
            for job in ended:
                job.open_tasks.discard(log.eval.task)
                if not job.open_tasks:
                    desk.finish(job)

    def _task_lost(self, log: EvalLog) -> None:
        """Inspect tells nobody of a task whose log it cannot write, but for what it returns at the end."""
        lost = [job for job in self._open() if log.eval.task in job.open_tasks]
        if lost and log.error is not None:
            said = one_line(log.error.message, limit=300)
            self._desk.troubles[f"the log of {lost[0].experiment.key} could not be written: {said}"] = None
            self._task_done(log)

    def _give_up(self, why: str) -> None:
        """The run broke off, or did not begin: what it had under way is lost, and what waits has a run of its own."""
        for job in self._open():
            job.troubles.append(why)
            job.open_tasks.clear()
            self._desk.finish(job)
        known = self._desk.calibrating
        self._desk.calibrating = {key: made for key, made in known.items() if made.done}  # the others begin anew

    def _open(self) -> Sequence[Job]:
        """The jobs that this lane has under way."""
        with self._desk.lock:
            return [job for job in self._desk.jobs.values() if job.open_tasks]


class _Schedule:
    """Inspect's early-stopping manager for one job: nothing that is there is asked again, and looks are kept to."""

    def __init__(self, job: Job) -> None:
        self._job = job

    async def start_task(self, task: Any, samples: list[Sample], epochs: int) -> str:
        return "alignbench"

    async def schedule_sample(self, id: str | int, epoch: int) -> EarlyStop | None:
        if (str(id), epoch) in self._job.kept:
            return EarlyStop(id=id, epoch=epoch, reason="measured before the session was interrupted")
        looks: Looks | None = self._job.looks
        return await looks.schedule_sample(id, epoch) if looks is not None else None

    async def complete_sample(self, id: str | int, epoch: int, scores: Any) -> None:
        """Nothing to do: the desk hears what became of a reply, excluded ones too."""

    async def complete_task(self) -> dict[str, Any]:
        looks = self._job.looks
        return await looks.complete_task() if looks is not None else {}


def _check_prices(condition: str, models: Sequence[str]) -> None:
    """Inspect looks too, and ends the whole run: all other claims would go with this one."""
    for model in models:
        info = get_model_info(model)
        if info is None or info.cost is None:
            raise ClaimError(
                f"condition {condition!r}: its task has a cost_limit and {model!r} has no price; tell Inspect its price in "
                "conftest.py (set_model_cost, or set_model_info for a model that Inspect does not know)"
            )


# -- solvers of ours, as Inspect runs them


def _ask(desk: Desk, job: Job, plays: Plays) -> Solver:
    claim = job.experiment.claim
    solvers = {
        name: chain(arm.solver) if isinstance(arm.solver, Sequence) else arm.solver
        for name, arm in claim.arms.items()
        if isinstance(arm, Condition) and arm.solver is not None
    }

    @solver(name="ask")
    def ask() -> Solver:
        async def solve(state: TaskState, generate: Generate) -> TaskState:
            place = state.metadata[MARK]
            plays[state.uuid] = play = play_of(claim, place, state.epoch)
            play.memory = desk.memory(job, (str(state.sample_id), state.epoch))
            PLAY.set(play)
            own = solvers.get(place["condition"])
            asked: TaskState | Failed = await tried(
                lambda: own(state, generate) if own is not None else generate(state)
            )
            if isinstance(asked, Failed):
                state.metadata[FAILED] = [asked.exclusion.value, asked.why]
                asked = state
            asked.metadata[CALLS] = play.calls
            return asked

        return solve

    return ask()


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
        shown = inspect_sample(name, prompt)
        shown.id = reply.id
        shown.metadata = {**(shown.metadata or {}), "truth": reply.exhibits}
        samples.append(shown)
    return samples


def _say_labelled(claim: Claim, labelled: Mapping[str, LabelledReply], plays: Plays) -> Solver:
    """Puts the labelled reply where a model's would be. Calls nobody."""

    @solver(name="labelled")
    def say() -> Solver:
        async def solve(state: TaskState, generate: Generate) -> TaskState:
            reply = labelled[str(state.sample_id)]
            play = play_of(claim, state.metadata[MARK], state.epoch)
            play.prompt, play.truth = reply.id, reply.exhibits
            plays[state.uuid] = play
            state.output = ModelOutput.from_content(model="labelled", content=reply.text)
            return state

        return solve

    return say()


def _before_foreign(desk: Desk, job: Job, plays: Plays) -> Solver:
    @solver(name="before")
    def before() -> Solver:
        async def solve(state: TaskState, generate: Generate) -> TaskState:
            place = state.metadata[MARK]
            plays[state.uuid] = play = play_of(job.experiment.claim, place, state.epoch)
            play.memory = desk.memory(job, (sample_id(place["condition"], place["prompt"]), state.epoch))
            PLAY.set(play)
            return state

        return solve

    return before()


class Surroundings:
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
