"""Verification: whether every file of a history is what was written.

    runs/ ──checksum, shape, judged──┐
    logs/ ──archive's own checksums──┼──> Fault(file, why)  ──asked for──> quarantine/
    index/ ──against the records─────┘

Nothing is moved unless it is asked for, and nothing is ever mended: a damaged record is not evidence any more.
"""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from pytest_alignbench.errors import HistoryError
from pytest_alignbench.history import History
from pytest_alignbench.index import Index
from pytest_alignbench.text import one_line

if sys.version_info < (3, 14):
    import zipfile_zstd  # noqa: F401  # Inspect's archives are compressed in a way that zipfile does not know by itself


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A file that is not what was written."""

    file: str
    """Below the history's folder."""
    why: str
    moved: str = ""
    """Where it has been set aside."""


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What was looked at, and what was found."""

    runs: int
    logs: int
    faults: tuple[Fault, ...]


def verify(history: History, *, progress: Callable[[int, int], None] | None = None) -> Verified:
    """Reads every file of a history: its runs, the logs that it keeps, and its index. Changes none."""
    sessions, logs = history.sessions(), history.log_files()
    return Verified(
        runs=len(sessions),
        logs=len(logs),
        faults=(*_runs(history, sessions), *_logs(history, logs), *_index(history, progress)),
    )


def set_aside(history: History, found: Verified) -> Verified:
    """Moves what is damaged to the quarantine; what the index holds wrongly is only let go of, since it is made again.

    Raises HistoryError for what cannot be moved.
    """
    index = Index(history)
    moved = []
    for fault in found.faults:
        if fault.file.startswith("index/"):
            index.forget(fault.file.removeprefix("index/").removesuffix(".json.gz"))
            moved.append(replace(fault, moved="made again at the next reading"))
        else:
            moved.append(replace(fault, moved=history.set_aside(fault.file)))
    return replace(found, faults=tuple(moved))


def _runs(history: History, sessions: Sequence[str]) -> Iterator[Fault]:
    for session in sessions:
        try:
            history.read(session)
        except HistoryError as fault:
            said = str(fault).partition("cannot be read: ")[2] or str(fault)
            yield Fault(file=history.file_of(session), why=said)


def _logs(history: History, logs: Sequence[str]) -> Iterator[Fault]:
    for name in logs:
        try:
            with history.open(name) as file:
                if name.endswith(".json"):
                    json.load(file)
                else:
                    with zipfile.ZipFile(file) as archive:
                        broken = archive.testzip()
                    if broken is not None:
                        yield Fault(file=name, why=f"{broken} in it does not match its checksum")
        except Exception as fault:  # what damage raises is for each decompressor to say
            yield Fault(file=name, why=one_line(str(fault) or type(fault).__name__, limit=300))


def _index(history: History, progress: Callable[[int, int], None] | None) -> Iterator[Fault]:
    for run, why in Index(history, progress=progress).faults().items():
        yield Fault(file=f"index/{run}.json.gz", why=why)
