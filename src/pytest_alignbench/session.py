"""A session: from the cases that pytest selected to the records that history keeps. Knows nothing of pytest.

    Case (claim x model name) ──plan──> Planned ──measure──> Measured ──> Record ──judge──> Verdict

Under pytest-xdist every worker collects the same cases and measures its own share of them. The shares are computed
alike everywhere from the cases' costs, so that a worker can start all of its claims at once without being told. What
the processes tell each other goes through a folder of the controller's, as JSON.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from filelock import FileLock, Timeout
from inspect_ai.model import Model, get_model_info

from pytest_alignbench import estimates
from pytest_alignbench.baselines import Baselines
from pytest_alignbench.budgets import Budget, Purse
from pytest_alignbench.claims import Claim, Condition, InspectTask
from pytest_alignbench.data import digest
from pytest_alignbench.errors import HistoryError, ModelError
from pytest_alignbench.gates import Outcome
from pytest_alignbench.history import History, Record
from pytest_alignbench.journal import Journal, Kept, Unfinished
from pytest_alignbench.looks import LOOK_SHARE, LOOKS
from pytest_alignbench.measure import (
    Experiment,
    Instrument,
    Measured,
    Measurement,
    fingerprint,
    identity,
    needs_grader,
)
from pytest_alignbench.measure.children import Children, forkable
from pytest_alignbench.models import CONTROLS, PROFILES, Bill, Truth, meter, resolve, usable
from pytest_alignbench.plans import Planned
from pytest_alignbench.progress import Progress
from pytest_alignbench.redaction import learn_named, redacted
from pytest_alignbench.settings import Settings
from pytest_alignbench.shards import Shard
from pytest_alignbench.sharing import shares

_CHARACTERS_PER_TOKEN = 4
_REPLY_TOKENS = 300
"""Assumed length of a reply where the claim sets no `max_tokens`: for the plan only."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the user asked for on the command line."""

    models: tuple[str, ...] = ()
    grader: str | None = None
    controls: bool = False
    connections: int | None = None
    history: str | None = None
    baseline: str | None = None
    margin: float | None = None
    stop_early: bool = False
    shard: Shard | None = None
    processes: int | None = None
    budget: Budget | None = None


@dataclass(frozen=True)
class Case:
    """One pytest item's work: a claim, and the model's name as typed (None when no model was named)."""

    claim: Claim
    asked: str | None
    file: str | None = None
    """Where the claim is, from pytest's rootdir; `line` counts from 1."""
    line: int | None = None

    @property
    def key(self) -> str:
        return f"{self.claim.id} @ {self.asked}"


class Session:
    """All that the hooks need: names, plan, measuring and records, for one process."""

    def __init__(self, options: Options, settings: Settings, *, root: Path, run: str, workers: int = 1) -> None:
        self.options = options
        self.settings = settings
        self.run = run
        self.root = root
        self._workers = workers
        self._measurement: Measurement | Children | None = None
        self._checked: dict[str, Model] = {}
        self._unfinished: Unfinished | None = None
        self.journal: Path | None = None
        """The folder that this session's journals are in."""
        self.adopted: tuple[Path, ...] = ()
        """Folders of interrupted sessions that this one goes on with."""
        self._replaced: tuple[Path, ...] = ()
        self.exchange: Exchange | None = None
        """In a worker: what it tells the others, and hears of them."""
        self._own: set[str] = set()
        """Keys of the cases that are this process's to measure."""
        self._taken: dict[str, FileLock] = {}
        """Keys of the cases that it took because their items came to it."""
        self.process = "main"
        self.m = 1
        PROFILES.clear()
        PROFILES.update(settings.simulated)

    # -- names

    @property
    def models(self) -> tuple[str, ...]:
        return CONTROLS if self.options.controls else self.options.models

    @property
    def grader(self) -> str | None:
        named = self._named_grader
        return None if named is None else self.resolved(named)

    @property
    def _named_grader(self) -> str | None:
        named = self.options.grader or self.settings.grader
        return "simulated/grader" if named is None and self.options.controls else named

    def resolved(self, name: str) -> str:
        return resolve(name, self.settings.models)

    def check_models(self, *, names_only: bool = False) -> list[str]:
        """One line for each named model that cannot be used; empty when all can. A plan needs no more than names."""
        troubles = []
        for name in [*self.models, *([self._named_grader] if self._named_grader else [])]:
            try:
                resolved = self.resolved(name)
                if not names_only:
                    self._model(resolved)
                if self.options.budget is not None:
                    Bill.of(resolved, self.options.budget)
            except ModelError as fault:
                troubles.append(str(fault))
        return troubles

    def check_baseline(self) -> list[str]:
        """One line if the baseline that was named cannot be used."""
        if self.options.baseline is not None and self.options.stop_early:
            return ["a run that is compared with a baseline asks for every reply: leave out --alignbench-stop-early"]
        try:
            _ = self.baselines
        except HistoryError as fault:
            return [str(fault)]
        return []

    def check_connections(self, workers: int) -> list[str]:
        """One line if so many workers cannot have one connection each."""
        if workers <= self._connections:
            return []
        return [
            f"{self._connections} connections cannot be divided among {workers} workers: start at most "
            f"{self._connections} with -n, or allow more with --alignbench-connections"
        ]

    @property
    def _connections(self) -> int:
        return self.options.connections or self.settings.connections

    def _model(self, resolved: str) -> Model:
        if resolved not in self._checked:
            self._checked[resolved] = usable(resolved)
        return self._checked[resolved]

    @cached_property
    def history_url(self) -> str:
        given = self.options.history or self.settings.history
        return given if "://" in given else str(self.root / given)

    @cached_property
    def baselines(self) -> Baselines | None:
        """Raises HistoryError when what the user named is no baseline."""
        named = self.options.baseline
        return Baselines(named, History(self.history_url)) if named is not None else None

    @property
    def margin(self) -> float | None:
        """How much worse than the baseline is allowed; None without one."""
        if self.options.baseline is None:
            return None
        return self.options.margin if self.options.margin is not None else self.settings.margin

    @cached_property
    def instrument(self) -> Instrument:
        return Instrument(
            log_dir=History(self.history_url).logs(self.run),
            connections=max(1, self._connections // self._workers),
            grader=self.grader,
            attempts=self.settings.attempts,
            attempt_timeout=self.settings.attempt_timeout,
            look_alpha=self.settings.alpha * LOOK_SHARE if self.options.stop_early else None,
            m=self.settings.claims or self.m,
        )

    # -- the plan

    def plan(self, case: Case) -> Planned:
        asked = self.resolved(case.asked) if case.asked is not None else None
        calls, tokens = case.claim.calls, 0
        for arm in case.claim.arms.values():
            if isinstance(arm, Condition):
                asked_for = sum(_length(p.input) + len(p.system or "") for p in arm.asked)
                tokens += asked_for * arm.calls // _CHARACTERS_PER_TOKEN
        reply = int(case.claim.config.get("max_tokens", _REPLY_TOKENS))
        output = (calls or 0) * reply
        return Planned(
            key=case.key,
            calls=calls,
            grader_calls=self._grader_calls(case.claim),
            input_tokens=tokens * case.claim.epochs,
            output_tokens=output,
            dollars=_dollars(asked, tokens * case.claim.epochs, output),
            power=power(case.claim),
        )

    def _grader_calls(self, claim: Claim) -> int | None:
        if not needs_grader(claim) or claim.planned is None:
            return None if claim.planned is None and needs_grader(claim) else 0
        return claim.planned + sum(r.split == "test" and r.exhibits is not None for r in claim.labelled)

    def cost(self, case: Case) -> int:
        return case.claim.calls or 100

    # -- shards

    def divided(self, cases: Sequence[Case]) -> dict[str, int]:
        """Key of each case -> the shard that measures it: the same in every session that selects the same cases."""
        assert self.options.shard is not None
        costs = sorted({case.key: self.cost(case) for case in cases}.items())
        given = enumerate(shares(costs, self.options.shard.of), start=1)
        return {costs[index][0]: number for number, share in given for index in share}

    def suite(self, cases: Sequence[Case]) -> dict[str, str]:
        """What the sessions of a group must agree on: each claim and model, who measures it, and a hash of what it is."""
        assert self.options.shard is not None
        number_of, of = self.divided(cases), self.options.shard.of
        return {case.key: f"{number_of[case.key]}/{of} {self._meant(case)}" for case in cases if case.asked is not None}

    def _meant(self, case: Case) -> str:
        assert case.asked is not None
        experiment = Experiment(claim=case.claim, asked=case.asked, model=self.resolved(case.asked))
        made_of = fingerprint(experiment, self.instrument)
        return digest([experiment.model, case.claim.gate.to_json(), self.instrument.m, self.margin, made_of])

    # -- measuring

    def unfit(self, case: Case) -> str | None:
        """Why this case is not measured, if so."""
        if case.asked is not None and self.resolved(case.asked).startswith("simulated/"):
            if any(isinstance(arm, InspectTask) for arm in case.claim.arms.values()):
                return "a condition is an Inspect task, which no labelled reply can answer for"
            if not case.claim.labelled:
                return "it has no labelled replies for a simulated model to give; add replies=…"
        if needs_grader(case.claim) and self.grader is None:
            return "its scorer needs a grader and none is named; add --alignbench-grader MODEL"
        return None

    def start(self, cases: Sequence[Case], *, spare: Sequence[Case] = ()) -> None:
        """Begins to measure these cases, all in one run. `spare`: cases that may be waited for as well."""
        self._own.update(case.key for case in (*cases, *spare))
        experiments = self._experiments(cases)
        if not experiments:
            return
        kept = Kept.read([*self.adopted, *self._begun])
        if self._processes and forkable():
            self._measurement = Children(
                experiments,
                self.instrument,
                self._metered,
                processes=self._processes,
                spare=self._experiments(spare),
                journal=self.journal,
                kept=kept,
            )
        else:
            self._load(experiments)
            journal = Journal(self.journal, self.process) if self.journal is not None else None
            self._measurement = Measurement(experiments, self.instrument, self._metered, journal=journal, kept=kept)
        self._measurement.start()

    def _load(self, experiments: Sequence[Experiment]) -> None:
        """Imports all that measuring and judging need: two threads that import at once see what is only half there."""
        estimates.load()
        asked = {experiment.model for experiment in experiments}
        for name in asked | ({self.grader} if self.grader is not None else set()):
            with suppress(ModelError):  # the run will say so
                self._model(name)

    def _experiments(self, cases: Sequence[Case]) -> list[Experiment]:
        fit = [case for case in cases if case.asked is not None and self.unfit(case) is None]
        for case in fit:
            learn_named(case.claim.config.get("extra_headers") or {})
        return list({case.key: self._experiment(case) for case in fit}.values())

    @property
    def _processes(self) -> int:
        given = self.options.processes if self.options.processes is not None else self.settings.processes
        return min(given, os.cpu_count() or 1) if self._workers == 1 else 0

    def _metered(self, resolved: str) -> Model:
        model = usable(resolved)
        if self.purse is not None:
            meter(model, self.purse)
        return model

    @cached_property
    def purse(self) -> Purse | None:
        """What the session may spend, where it was given a budget: less what those spent that it goes on with."""
        if self.options.budget is None or self.journal is None:
            return None
        before = sum(Purse(folder, self.options.budget).spent for folder in self.adopted)
        return Purse(self.journal, self.options.budget, before=before)

    def _experiment(self, case: Case) -> Experiment:
        assert case.asked is not None  # cases without a model are never measured
        return Experiment(claim=case.claim, asked=case.asked, model=self.resolved(case.asked))

    def wait(self, case: Case, *, seconds: float) -> Record | None:
        """The case's record, or None if it is not there yet after so many seconds."""
        why = self.unfit(case)
        if why is not None:
            return self._record(case, None, not_measured=why)
        if self.exchange is not None and case.key not in self._own:
            return self._wait_for_whoever_takes(case, self.exchange, seconds)
        self._require(case)
        return self._measured(case, seconds)

    def _measured(self, case: Case, seconds: float) -> Record | None:
        assert self._measurement is not None  # it was required
        measured = self._measurement.result(case.key, timeout=seconds)
        return None if measured is None else self._record(case, measured)

    def _wait_for_whoever_takes(self, case: Case, exchange: Exchange, seconds: float) -> Record | None:
        """An item that came to this worker unplanned: another may have an item of the same claim and model, and they must
        not be measured twice, nor differ. The lock of a worker that died is free again."""
        record = exchange.record(case.key)
        if record is not None:
            return record
        if case.key in self._taken:
            return self._measured(case, seconds)
        lock = FileLock(exchange.place(case.key, "taken"))
        try:
            lock.acquire(timeout=seconds)
        except Timeout:
            return None
        if exchange.record(case.key) is None:  # or it came meanwhile
            self._require(case)
            assert self._measurement is not None
            self._taken[case.key] = lock
            self._measurement.when_done(case.key, lambda measured: exchange.say_record(self._record(case, measured)))
        else:
            lock.release()
        return None

    def _require(self, case: Case) -> None:
        if self._measurement is None:
            self.start([case])
        assert self._measurement is not None  # started just above
        self._measurement.require(self._experiment(case), also=self._begun)

    @property
    def _begun(self) -> list[Path]:
        """Where a worker that died has left what it measured: a case that comes unplanned may be one of its own."""
        return [self.journal] if self.journal is not None else []

    def progress(self) -> Progress | None:
        return self._measurement.progress() if self._measurement is not None else None

    @property
    def troubles(self) -> tuple[str, ...]:
        """What went wrong beside the measuring."""
        return self._measurement.troubles if self._measurement is not None else ()

    def halt(self) -> None:
        """No new call after this. Returns at once."""
        if self._measurement is not None:
            self._measurement.halt()

    def stop(self) -> None:
        if self._measurement is not None:
            self._measurement.stop()

    # -- what is kept in case of an interruption

    def open_journal(self, *, command: str, fresh: bool) -> None:
        """From here on every reply is kept as it comes, and what an interrupted session left is gone on with.

        Raises HistoryError where nothing can be written: better now than when the replies are paid for.
        """
        self._unfinished = Unfinished(self.local_history)
        try:
            self.journal = self._unfinished.begin(self.run, command=command)
        except OSError as fault:
            raise HistoryError(f"nothing can be kept in {self.local_history}: {fault.strerror or fault}") from fault
        left = self._unfinished.left()
        self.adopted = () if fresh else tuple(left)
        self._replaced = tuple(left)

    def join_journal(self, process: str, folder: str, adopted: Sequence[str]) -> None:
        """The same for a worker, by what its controller said."""
        self.process, self.journal, self.adopted = process, Path(folder), tuple(map(Path, adopted))

    @cached_property
    def left(self) -> int:
        """Replies that interrupted sessions left, to whatever was asked."""
        return Kept.read(self.adopted).count

    def close_journal(self, stored: Sequence[Record]) -> tuple[str, ...]:
        """The session has ended in good order: what is in the history now need not be kept. Returns what went wrong."""
        if self._unfinished is None or self.journal is None:
            return ()
        try:
            # What was measured for no record, as of claims after the first failure under -x, is kept too.
            for folder in (*self._replaced, self.journal):
                self._unfinished.drop(folder, {record.identity for record in stored})
        except OSError as fault:
            return (f"what is stored now could not be taken out of {self.local_history}/unfinished: {fault}",)
        finally:
            self._unfinished.release()
        return ()

    def leave_journal(self) -> int:
        """The session was interrupted: the next one goes on from here. Returns the number of replies that it will find."""
        if self._unfinished is None or self.journal is None:
            return 0
        kept = Kept.read([*self.adopted, self.journal]).count
        if not any(self.journal.glob("*.jsonl")) and (self.purse is None or self.purse.spent == 0):
            self._unfinished.discard(self.journal)
        self._unfinished.release()
        return kept

    @property
    def local_history(self) -> Path:
        """Where journals are: in the history, or beside the project where that is not on this machine."""
        url = self.history_url
        return (
            Path(url.removeprefix("file://"))
            if "://" not in url or url.startswith("file://")
            else self.root / ".alignbench"
        )

    def _record(self, case: Case, measured: Measured | None, *, not_measured: str | None = None) -> Record:
        experiment = self._experiment(case)
        claim = case.claim
        made_of = fingerprint(experiment, self.instrument)
        return Record(
            claim=claim.id,
            statement=claim.statement,
            claim_version=claim.version,
            asked=experiment.asked,
            model=experiment.model,
            served=measured.served if measured else (),
            gate=claim.gate.to_json(),
            alpha=self.instrument.look_alpha or self.settings.alpha,
            m=self.instrument.m,
            stopped_at=measured.stopped_at if measured else None,
            looks=LOOKS if self.instrument.look_alpha is not None else None,
            fingerprint=made_of,
            identity=identity(experiment, self.instrument),
            baseline=self.baselines.of(claim.id, made_of) if self.baselines is not None else None,
            margin=self.margin,
            grader=self.grader if needs_grader(claim) else None,
            calibration=asdict(measured.calibration) if measured and measured.calibration else None,
            observations=measured.observations if measured else (),
            logs=tuple(map(redacted, measured.logs)) if measured else (),
            file=case.file,
            line=case.line,
            seconds=round(measured.seconds, 3) if measured else 0.0,
            fault=measured.fault if measured else None,
            not_measured=not_measured or (measured.not_measured if measured else None),
        )

    # -- controls

    def expected(self, case: Case) -> Outcome:
        """The verdict that a control must get, from its known truth."""
        assert case.asked is not None
        truth = Truth(case.asked.removeprefix("simulated/"), PROFILES)
        gate = case.claim.gate
        if not gate.good(gate.true_effect(truth.rates(case.claim))):
            return Outcome.VIOLATED
        return Outcome.INCONCLUSIVE if gate.refutes_only else Outcome.HOLDS


def power(claim: Claim) -> str:
    """What the claim can tell with its prompts, in words: said before anything is spent."""
    arms = {n: a.prompts for n, a in claim.arms.items() if isinstance(a, Condition)}
    return claim.gate.power({name: len(rows) for name, rows in arms.items()})


def _length(asked: str | Sequence[object]) -> int:
    return len(asked) if isinstance(asked, str) else sum(len(getattr(m, "content", "")) for m in asked)


def _dollars(model: str | None, input_tokens: int, output_tokens: int) -> float | None:
    info = get_model_info(model) if model is not None and not model.startswith("simulated/") else None
    price = info.cost if info is not None else None
    if price is None:
        return None
    return (input_tokens * price.input + output_tokens * price.output) / 1_000_000


# -- what processes of a session tell each other


@dataclass(frozen=True)
class Exchange:
    """A folder of the controller's: each worker says there what it collected and how far it is, and takes cases."""

    folder: Path

    def say_cases(self, worker: str, cases: Sequence[tuple[str, str, int]]) -> None:
        """(node id, key, cost) of each selected case, in order."""
        self._write(f"{worker}.cases.json", cases)

    def cases(self) -> list[tuple[str, str, int]]:
        """What the workers collected; they all collect the same."""
        for file in sorted(self.folder.glob("[!.]*.cases.json")):
            return [(str(a), str(b), int(c)) for a, b, c in json.loads(file.read_text(encoding="utf-8"))]
        return []

    def say_suite(self, worker: str, suite: Mapping[str, str]) -> None:
        """Of a shard: see `Session.suite`."""
        self._write(f"{worker}.suite.json", suite)

    def suite(self) -> dict[str, str]:
        """What the workers divided among the shards; they all divide alike."""
        for file in sorted(self.folder.glob("[!.]*.suite.json")):
            return {str(key): str(plan) for key, plan in json.loads(file.read_text(encoding="utf-8")).items()}
        return {}

    def say_progress(self, worker: str, progress: Progress | None) -> None:
        if progress is not None:
            with suppress(OSError):  # a full disk takes no word of it
                self._write(f"{worker}.progress.json", vars(progress))

    def say_troubles(self, worker: str, troubles: Sequence[str]) -> None:
        if troubles:
            with suppress(OSError):
                self._write(f"{worker}.troubles.json", list(troubles))

    @property
    def troubles(self) -> tuple[str, ...]:
        files = sorted(self.folder.glob("[!.]*.troubles.json"))
        return tuple(str(said) for file in files for said in json.loads(file.read_text(encoding="utf-8")))

    def place(self, key: str, what: str) -> Path:
        """The file of a case."""
        return self.folder / f"{digest(key)}.{what}"

    def say_record(self, record: Record) -> None:
        """Of a case that several workers may wait for. Where it cannot be said, they go on from the journal later."""
        with suppress(OSError):
            self._write(self.place(record.key, "record.json").name, record.model_dump(mode="json"))

    def record(self, key: str) -> Record | None:
        try:
            return Record.model_validate(json.loads(self.place(key, "record.json").read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None

    def end(self) -> None:
        """The controller wants no more."""
        with suppress(OSError):
            (self.folder / "over").touch()

    @property
    def over(self) -> bool:
        """Whether the controller wants no more, or has left: it takes the folder with it."""
        return not self.folder.exists() or (self.folder / "over").exists()

    def progress(self) -> Progress | None:
        """All workers together."""
        files = list(self.folder.glob("[!.]*.progress.json"))
        if not files:
            return None
        return Progress.sum(Progress(**json.loads(file.read_text(encoding="utf-8"))) for file in files)

    def _write(self, name: str, value: object) -> None:
        aside = self.folder / f".{name}"
        with suppress(FileNotFoundError):  # the controller has left, and nobody listens
            aside.write_text(json.dumps(value), encoding="utf-8")
            aside.rename(self.folder / name)
