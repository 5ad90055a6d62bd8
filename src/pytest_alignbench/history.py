"""History: the immutable records of runs, the only thing that verdicts, comparisons and reports are made from.

    <history>/runs/<run id>.json.gz      one file per run, written once, never changed
    <history>/logs/<run id>/             Inspect's logs of the run, for people
    <history>/index/                     what reports read, made from the runs and at any time again
    <history>/.gitignore                 names the last two, so that the folder may be committed as it is

A file carries the checksum of its content and is put in place by a rename, so that a reader sees a whole run or none.
`<history>` is a local path or any fsspec URL. Only the process that controls the session writes.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import platform
import secrets
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem
from pydantic import BaseModel, ConfigDict, Field

from pytest_alignbench.errors import HistoryError
from pytest_alignbench.observations import Observation
from pytest_alignbench.text import one_line

FORMAT = 1

_SUFFIX = ".json.gz"
_STAMPS = ("size", "mtime", "ETag", "etag", "LastModified", "last_modified", "updated", "created")
"""What stores call the size, the time and the checksum of a file."""

_IGNORED = """\
# Written by pytest-alignbench. The records in runs/ are small, and are what verdicts and trends are made from: commit
# them or not, as you like. Logs are large, and the index is made from the runs.
/logs/
/index/
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
    seconds: float = 0.0
    fault: str | None = None
    """Why nothing can be concluded, where the instrument failed."""
    not_measured: str | None = None
    """Why it was not asked at all."""

    @property
    def key(self) -> str:
        return f"{self.claim} @ {self.asked}"


class Run(BaseModel):
    """One measuring session."""

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
        try:
            self._fs, self._root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as fault:
            raise HistoryError(
                f"history {url!r}: {fault}; give a folder, or the URL of a store that fsspec can open"
            ) from fault

    def write(self, run: Run) -> str:
        """Stores the run and returns where. Raises HistoryError when it cannot be stored whole."""
        path = f"{self._root}/runs/{run.id}{_SUFFIX}"
        # Python's own JSON on both ways: pydantic's refuses the lone surrogates that replies may hold.
        body = json.dumps(run.model_dump(mode="json")).encode()
        packed = gzip.compress(_sealed(body), mtime=0)
        try:
            if self._fs.exists(path):
                raise HistoryError(f"run {run.id} is in the history already; a record is never changed")
            self._fs.makedirs(f"{self._root}/runs", exist_ok=True)
            if self.folder is not None:
                _ignore(self.folder)
                _put(Path(path), packed)
            else:
                self._fs.pipe_file(path, packed)
        except OSError as fault:
            raise HistoryError(f"run {run.id} could not be stored in {self.url}: {fault}") from fault
        return path

    def runs(self) -> list[str]:
        """Ids of the stored runs, oldest first."""
        return list(self.stamps())

    def stamps(self) -> dict[str, str]:
        """Id of each stored run, oldest first -> what the store says of its file, which is another when the file is.

        One listing, whatever the number of runs; no file is read.
        """
        try:
            found = self._fs.ls(f"{self._root}/runs", detail=True)
        except FileNotFoundError:
            return {}
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
        """The run of this id (or of its unique beginning, or `latest`).

        Raises HistoryError when there is none, several, or the file is not what was written.
        """
        return self._load(self._only(run))

    def _only(self, run: str) -> str:
        known = self.runs()
        if run == "latest" and known:
            return known[-1]
        fitting = [run] if run in known else [id for id in known if id.startswith(run)]
        if len(fitting) != 1:
            said = f"begins {len(fitting)} runs" if fitting else f"is not among the {len(known)} runs"
            raise HistoryError(f"run {run!r} {said} in {self.url}; `alignbench history list` names them")
        return fitting[0]

    def _load(self, id: str) -> Run:
        path = f"{self._root}/runs/{id}{_SUFFIX}"
        try:
            return Run.model_validate(json.loads(_opened(gzip.decompress(self._fs.cat_file(path)))))
        except (OSError, EOFError, zlib.error, ValueError) as fault:
            raise HistoryError(f"run {id} in {self.url} cannot be read: {one_line(str(fault), limit=300)}") from fault

    def logs(self, run: str) -> str:
        """Where Inspect keeps the logs of a run: Inspect writes there itself, to local paths and fsspec URLs alike."""
        return f"{self.url.rstrip('/')}/logs/{run}"


def _sealed(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def _opened(sealed: bytes) -> bytes:
    checksum, _, body = sealed.partition(b"\n")
    if hashlib.sha256(body).hexdigest().encode() != checksum:
        raise ValueError("its content does not match its checksum")
    return body


def _ignore(folder: Path) -> None:
    """Says which of its folders are not for git; what a person has put there is left as it is."""
    with contextlib.suppress(FileExistsError), (folder / ".gitignore").open("x", encoding="utf-8") as file:
        file.write(_IGNORED)


def _put(path: Path, content: bytes) -> None:
    """Whole or not at all, and still there after a power cut: write aside, sync, rename, sync the folder."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with aside.open("xb") as file:
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
