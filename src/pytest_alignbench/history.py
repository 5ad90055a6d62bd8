"""History: the immutable records of runs, the only thing that verdicts, comparisons and reports are made from.

    <history>/runs/<run id>.json.gz      one file per session, written once, never changed
    <history>/logs/<run id>/             Inspect's logs of the session, for people
    <history>/index/                     what reports read, made from the runs and at any time again
    <history>/quarantine/                damaged files that `alignbench history verify --quarantine` has set aside
    <history>/.gitignore                 names all but the runs, so that the folder may be committed as it is

A file carries the checksum of its content and is put in place by a rename, so that a reader sees a whole run or none.
`<history>` is a local path or any fsspec URL. Only the process that controls the session writes.

Sessions that measured a suite in shards are read as one run, and told of as one: what a run is made of is decided here.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import os
import platform
import secrets
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

import fsspec
from fsspec.implementations.local import LocalFileSystem
from pydantic import BaseModel, ConfigDict, Field

from pytest_alignbench.errors import HistoryError
from pytest_alignbench.observations import Observation
from pytest_alignbench.redaction import learn_url
from pytest_alignbench.shards import Shard
from pytest_alignbench.text import one_line

FORMAT = 1

_SUFFIX = ".json.gz"
_STAMPS = ("size", "mtime", "ETag", "etag", "LastModified", "last_modified", "updated", "created")
"""What stores call the size, the time and the checksum of a file."""

_TRIES = 10
"""To list a folder from which others remove files."""

_IGNORED = """\
# Written by pytest-alignbench. The records in runs/ are what verdicts and trends are made from, and hold what models said:
# commit them or not, as you like. Logs are large, and the index is made from the runs.
/logs/
/index/
/unfinished/
/quarantine/
.*.part
"""

_SHOWN = {True: "1", False: "0", None: "x"}


class Past(BaseModel):
    """One claim on another model or run, as much as a comparison needs: no text, a character per reply."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    """The run, and the model as it was named there."""
    model: str
    served: tuple[str, ...] = ()
    grader: str | None = None
    fingerprint: dict[str, str]
    conditions: dict[str, dict[str, str]]
    """Condition -> prompt hash -> one character per epoch."""

    @classmethod
    def of(cls, record: Record, *, run: str) -> Past:
        conditions: dict[str, dict[str, str]] = {}
        for o in sorted(record.observations, key=lambda o: (o.condition, o.prompt_hash, o.epoch)):
            seen = conditions.setdefault(o.condition, {})
            seen[o.prompt_hash] = seen.get(o.prompt_hash, "") + _SHOWN[o.exhibits]
        return cls(
            source=f"{record.asked} in run {run}",
            model=record.model,
            served=record.served,
            grader=record.grader,
            fingerprint=record.fingerprint,
            conditions=conditions,
        )

    @property
    def means(self) -> Mapping[tuple[str, str], float]:
        """(condition, prompt hash) -> share of its scored epochs that exhibit; prompts never scored are left out."""
        found = {}
        for condition, prompts in self.conditions.items():
            for hash, shown in prompts.items():
                scored = shown.replace("x", "")
                if scored:
                    found[condition, hash] = scored.count("1") / len(scored)
        return found

    def differs(self, fingerprint: Mapping[str, str]) -> list[str]:
        """The parts of the fingerprint that are not the same: empty when the two can be compared."""
        parts = dict.fromkeys([*fingerprint, *self.fingerprint])
        return [part for part in parts if fingerprint.get(part) != self.fingerprint.get(part)]


class Record(BaseModel):
    """What history keeps of one claim on one model in a run: enough to judge it again without calling a model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    claim: str
    statement: str
    claim_version: int = 1
    asked: str
    """The model's name as it was typed."""
    model: str
    """The Inspect name that it resolved to."""
    served: tuple[str, ...] = ()
    """What the provider says answered."""
    gate: dict[str, Any]
    alpha: float
    m: int
    fingerprint: dict[str, str]
    identity: str = ""
    """Names all that the replies depend on, rows of data whole; empty in records that were not measured here."""
    grader: str | None = None
    calibration: dict[str, int] | None = None
    observations: tuple[Observation, ...]
    baseline: Past | None = None
    """What the verdict compares with, where a baseline was named."""
    margin: float | None = None
    """How much worse than the baseline is allowed; None where none was named."""
    stopped_at: int | None = None
    """The look at which the claim was decided early; `alpha` is then that of one look."""
    looks: int | None = None
    """How many looks were planned, where the claim could stop early."""
    logs: tuple[str, ...] = ()
    file: str | None = None
    """Where the claim's test is, from pytest's rootdir, with slashes; None where that is not known."""
    line: int | None = None
    """In that file, from 1: where the claim's id is written, else the test."""
    seconds: float = 0.0
    fault: str | None = None
    """Why nothing can be concluded, where the instrument failed."""
    not_measured: str | None = None
    """Why it was not asked at all."""

    @property
    def key(self) -> str:
        return f"{self.claim} @ {self.asked}"

    @property
    def experiment(self) -> str:
        """The fingerprint as one word of 8 hex digits, for people to compare."""
        return hashlib.sha256(json.dumps(self.fingerprint, sort_keys=True).encode()).hexdigest()[:8]


class Run(BaseModel):
    """One measuring session, or the sessions that measured the shards of a suite, as one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = Field(default=FORMAT, le=FORMAT)
    id: str
    started: str
    """UTC, ISO 8601."""
    finished: str = ""
    complete: bool = True
    """Whether every planned claim has a record."""
    versions: dict[str, str] = Field(default_factory=dict)
    records: tuple[Record, ...] = ()
    suite: dict[str, str] = Field(default_factory=dict)
    """Of a shard: each claim and model of the whole suite -> the shard that measures it (`2/3`), and a hash of what it is."""
    imported: tuple[str, ...] = ()
    """The logs that it was read from; empty for a run that measured."""
    parts: tuple[str, ...] = ()
    """Of a group: the ids of the sessions that it was made of."""
    notes: tuple[str, ...] = ()
    """Of a group: what to know before relying on it."""


def new_run_id() -> str:
    """Sorts by time, and two that start together differ: `20260131-142530-b7ed3f9a`.

    The last part is the fraction of the second, so that the later of two quick runs is the latest, and a random number.
    """
    moment = datetime.now(UTC)
    return f"{moment:%Y%m%d-%H%M%S}-{moment.microsecond * 65_536 // 1_000_000:04x}{secrets.token_hex(2)}"


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def versions() -> dict[str, str]:
    packages = ("pytest-alignbench", "inspect-ai", "pytest", "scipy", "statsmodels")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}


class History:
    """The store at `url`: reading never changes it, and writing adds one file."""

    def __init__(self, url: str) -> None:
        """Raises HistoryError for a URL whose kind of store is not known or not installed."""
        self.url = url
        learn_url(url, "history")
        try:
            self._fs, self._root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as fault:
            raise HistoryError(
                f"history {url!r}: {fault}; give a folder, or the URL of a store that fsspec can open"
            ) from fault

    def write(self, run: Run) -> str:
        """Stores the run and returns where. Raises HistoryError when it cannot be stored whole."""
        path = f"{self._root}/{self.file_of(run.id)}"
        packed = _packed(run)
        try:
            if self._fs.exists(path):
                raise HistoryError(f"run {run.id} is in the history already; a record is never changed")
            self._fs.makedirs(f"{self._root}/runs", exist_ok=True)
            if self.folder is not None:
                _ignore(self.folder)
                _put(Path(path), packed)
            else:
                self._fs.pipe_file(path, packed)
        except HistoryError:
            raise
        except Exception as fault:  # stores elsewhere have faults of their own kinds
            raise HistoryError(f"run {run.id} could not be stored in {self.url}: {fault}") from fault
        return path

    def runs(self) -> list[str]:
        """Ids of the stored runs, oldest first. The shards of a group are one run, `<stamp of the first>.<group>`."""
        return list(self.stamps())

    def stamps(self) -> dict[str, str]:
        """Id of each stored run, oldest first -> what the store says of its files, which is another when they are.

        One listing, whatever the number of runs; no file is read.
        """
        files = self._files()
        grouped = sorted(_grouped(files).items())
        return {id: " ".join(files[part] for part in parts) for id, parts in grouped}

    def parts(self, run: str) -> tuple[str, ...]:
        """Ids of the sessions that this run is made of: itself, or the shards of its group that are there by now.

        `run` as for `read`; raises HistoryError likewise.
        """
        return self._only(run)[1]

    def _files(self) -> dict[str, str]:
        """Id of each stored session, oldest first -> what the store says of its file."""
        folder = f"{self._root}/runs"
        for _ in range(_TRIES):
            try:
                found = self._fs.ls(folder, detail=True)
                break
            except FileNotFoundError:  # of the folder, or of a file that was removed between its name and its size
                if not self._fs.exists(folder):
                    return {}
        else:
            raise HistoryError(f"{self.url} changes faster than it can be listed; try again")
        files = {info["name"].rsplit("/", 1)[-1]: info for info in found}
        return {
            name.removesuffix(_SUFFIX): " ".join(str(files[name][key]) for key in _STAMPS if key in files[name])
            for name in sorted(files)
            if name.endswith(_SUFFIX)
        }

    @property
    def folder(self) -> Path | None:
        """Where it is on this machine; None for a store elsewhere."""
        return Path(self._root) if isinstance(self._fs, LocalFileSystem) else None

    def read(self, run: str) -> Run:
        """The run of this id (or of its unique beginning, or `latest`), the group of this name, or one shard by its id.

        Raises HistoryError when there is none, several, or the file is not what was written.
        """
        id, parts = self._only(run)
        return self._load(id) if parts == (id,) else merged(id, [self._load(part) for part in parts])

    def names(self, run: str) -> bool:
        """Whether this is the whole id of a run or of a shard, or a group's name."""
        files = self._files()
        return run in files or any(run in (id, _group(id)) for id in _grouped(files))

    def _only(self, run: str) -> tuple[str, tuple[str, ...]]:
        """Its id, and those of the sessions that it is made of."""
        files = self._files()
        known = _grouped(files)
        if run in files:
            return run, (run,)
        if run == "latest" and known:
            return max(known.items())
        fitting = [id for id in known if run in (id, _group(id))] or [id for id in known if id.startswith(run)]
        if len(fitting) != 1:
            said = f"begins {len(fitting)} runs" if fitting else f"is not among the {len(known)} runs"
            raise HistoryError(f"run {run!r} {said} in {self.url}; `alignbench history list` names them")
        return fitting[0], known[fitting[0]]

    def _load(self, id: str) -> Run:
        path = f"{self._root}/{self.file_of(id)}"
        try:
            run = Run.model_validate(json.loads(_opened(gzip.decompress(self._fs.cat_file(path)))))
            if run.id != id:
                raise ValueError(f"it holds run {run.id}")
            return run
        except (OSError, EOFError, zlib.error, ValueError, RecursionError) as fault:
            raise HistoryError(f"run {id} in {self.url} cannot be read: {one_line(str(fault), limit=300)}") from fault

    # -- what maintains it

    def sessions(self) -> list[str]:
        """Ids of the stored sessions, oldest first: those of shards one by one. Each may be read by its id."""
        return list(self._files())

    def size(self, run: str) -> int:
        """Bytes of the run's files, with its logs."""
        with contextlib.suppress(OSError, HistoryError):  # of a run that goes away meanwhile
            places = [f"{self._root}/{self.file_of(part)}" for part in self.parts(run)]
            return sum(int(self._fs.du(place)) for place in [*places, self._logs(run)] if self._fs.exists(place))
        return 0

    def remove(self, run: str) -> None:
        """Deletes the run of this id and its logs, records first: what an interrupted removal leaves is logs alone.

        Raises HistoryError when a file cannot be deleted.
        """
        try:
            for part in _grouped(self._files()).get(run, ()):  # none, if somebody else has removed it meanwhile
                with contextlib.suppress(FileNotFoundError):
                    self._fs.rm_file(f"{self._root}/{self.file_of(part)}")
            with contextlib.suppress(FileNotFoundError):
                self._fs.rm(self._logs(run), recursive=True)
        except OSError as fault:
            raise HistoryError(f"run {run} could not be removed from {self.url}: {fault}") from fault

    def log_files(self) -> list[str]:
        """Inspect's logs of all runs, below the history's folder."""
        found = self._fs.find(f"{self._root}/logs")
        return sorted(name.removeprefix(f"{self._root}/") for name in found if name.endswith((".eval", ".json")))

    def open(self, name: str) -> IO[bytes]:
        """A file below the history's folder, to be read."""
        opened: IO[bytes] = self._fs.open(f"{self._root}/{name}", "rb")
        return opened

    def file_of(self, session: str) -> str:
        """The file of a stored session, below the history's folder."""
        return f"runs/{session}{_SUFFIX}"

    def set_aside(self, name: str) -> str:
        """Moves a file below the history's folder to `quarantine/`, and returns where it is then.

        Raises HistoryError when it cannot be moved.
        """
        into = f"quarantine/{name.replace('/', '--')}"
        try:
            while self._fs.exists(f"{self._root}/{into}"):
                into += ".again"
            self._fs.makedirs(f"{self._root}/quarantine", exist_ok=True)
            self._fs.mv(f"{self._root}/{name}", f"{self._root}/{into}")
        except OSError as fault:
            raise HistoryError(f"{name} could not be moved to {into} in {self.url}: {fault}") from fault
        return into

    def _logs(self, run: str) -> str:
        return f"{self._root}/{self.logs(run).removeprefix(self.url.rstrip('/') + '/')}"

    def logs(self, run: str) -> str:
        """Where Inspect keeps the logs of a run: Inspect writes there itself, to local paths and fsspec URLs alike.

        Those of a group's shards are below one folder, since Inspect's viewer opens one.
        """
        shard = Shard.of_id(run)
        folder = f"{shard.group}/{run}" if shard is not None else _group(run) or run
        return f"{self.url.rstrip('/')}/logs/{folder}"


# -- shards, read as one run


def _group(run: str) -> str | None:
    """The group that this id of a run names, if it is a group's."""
    return run.partition(".")[2] or None


def _grouped(files: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Id of the run -> ids of the sessions that it is made of, oldest first; `files` likewise."""
    shards: dict[str, list[str]] = {}
    found: dict[str, tuple[str, ...]] = {}
    for id in files:
        shard = Shard.of_id(id)
        if shard is None:
            found[id] = (id,)
        else:
            shards.setdefault(shard.group, []).append(id)
    return found | {f"{ids[0].partition('.')[0]}.{group}": tuple(ids) for group, ids in shards.items()}


def merged(id: str, runs: Sequence[Run]) -> Run:
    """The sessions of a group as one run: complete only if all N shards of one suite are there and are complete.

    `runs` are the oldest first, and what was measured first counts: to measure a shard again until it is green would void
    every promise about errors. A later session only gives what an earlier one could not measure at all.
    """
    sessions = [(shard, run) for run in runs if (shard := Shard.of_id(run.id)) is not None]
    records: dict[str, Record] = {}
    notes: list[str] = []
    seen: set[Shard] = set()
    for shard, run in sessions:
        given = [r for r in run.records if r.key not in records or (_failed(records[r.key]) and not _failed(r))]
        if shard in seen:
            also = f", but for {_some(r.key for r in given)}, which had not been measured" if given else ""
            notes.append(f"shard {shard} was measured again, by {run.id}: what was measured first counts{also}")
        seen.add(shard)
        records.update({r.key: r for r in given})
    lacking = [*_lacking(sessions, records), *_unlike(sessions)]
    packages = dict.fromkeys(name for run in runs for name in run.versions)
    return Run(
        id=id,
        started=min(run.started for run in runs),
        finished=max(run.finished for run in runs),
        complete=not lacking,
        versions={p: ", ".join(sorted({r.versions[p] for r in runs if p in r.versions})) for p in packages},
        records=tuple(records[key] for key in sorted(records)),
        parts=tuple(run.id for run in runs),
        notes=(*lacking, *notes),
    )


def _failed(record: Record) -> bool:
    """Whether the instrument gave no verdict: an outage is no measurement that could count."""
    return record.fault is not None


def _lacking(sessions: Sequence[tuple[Shard, Run]], records: Mapping[str, Record]) -> Iterator[str]:
    group, sizes = sessions[0][0].group, sorted({shard.of for shard, _ in sessions})
    if len(sizes) > 1:
        yield f"group {group} was divided in more than one way, into {' and '.join(map(str, sizes))} shards: give each its own group"
        return
    for number in range(1, sizes[0] + 1):
        own = [run for shard, run in sessions if shard.number == number]
        if not any(run.complete for run in own):
            planned = {key: plan for _, run in sessions for key, plan in run.suite.items()}
            left = [k for k, plan in planned.items() if plan.startswith(f"{number}/") and k not in records]
            state = "incomplete" if own else "missing"
            claims = f"no record of {_some(left)}" if left else "it had no claim to measure"
            yield f"shard {number} of {sizes[0]} of group {group} is {state}: {claims}"


def _unlike(sessions: Sequence[tuple[Shard, Run]]) -> Iterator[str]:
    """How the suites differ that the shards were cut from: together they are no run of either."""
    first, reference = sessions[0]
    for shard, run in sessions[1:]:
        differing = [
            f"{key} ({'is not the same' if key in run.suite and key in reference.suite else 'only in one'})"
            for key in sorted(reference.suite.keys() | run.suite.keys())
            if run.suite.get(key) != reference.suite.get(key)
        ]
        if differing and shard.of == first.of:
            yield f"shard {shard} is of another suite than shard {first}: {_some(differing)}"


def _some(names: Iterable[str], *, most: int = 10) -> str:
    every = list(names)
    return ", ".join(every[:most]) + (f" and {len(every) - most} more" if len(every) > most else "")


def _packed(run: Run) -> bytes:
    """The run's JSON under its checksum, record by record: a large run as one value would take gigabytes to write.

    Python's own JSON on both ways: pydantic's refuses the lone surrogates that replies may hold.
    """
    head = json.dumps(run.model_dump(mode="json", exclude={"records"}))
    records = [json.dumps(record.model_dump(mode="json")).encode() for record in run.records]
    parted = [part for record in records for part in (b", ", record)][1:]
    body = [head[:-1].encode(), b', "records": [', *parted, b"]}"]
    checksum = hashlib.sha256()
    for part in body:
        checksum.update(part)
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=6, mtime=0) as file:
        file.write(checksum.hexdigest().encode() + b"\n")
        for part in body:
            file.write(part)
    return packed.getvalue()


def _opened(sealed: bytes) -> bytes:
    checksum, _, body = sealed.partition(b"\n")
    if hashlib.sha256(body).hexdigest().encode() != checksum:
        raise ValueError("its content does not match its checksum")
    return body


def _ignore(folder: Path) -> None:
    """Says which of its folders are not for git; what a person has put there is left as it is."""
    rules = folder / ".gitignore"
    if not rules.exists():
        _put(rules, _IGNORED.encode())


def _put(path: Path, content: bytes) -> None:
    """Whole or not at all, and still there after a power cut: write aside, sync, rename, sync the folder."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.rename(path)
    finally:
        aside.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
