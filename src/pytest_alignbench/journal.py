"""What an unfinished session has measured, on disk as it goes, so that nothing is asked and paid for twice.

    <folder>/unfinished/<run id>/about.json        the command, and when it began
    <folder>/unfinished/<run id>/<process>.jsonl   a line per scored reply, written before the next one is asked; where a
                                                   reply takes several calls, a line per call
    <folder>/unfinished/<run id>/lock              held while the session lives

A line that was torn by a kill is passed over. When a session ends in good order its folder goes; when it is killed or
interrupted, the next session that asks the very same thing (`identity`: prompts, model, scorer, settings, all of it) takes
over what is there. So what is in a journal is in no record. Local files only: a journal is for the machine that was
interrupted.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import ValidationError

from pytest_alignbench.observations import Exclusion, Observation

FRESH = timedelta(hours=24)
"""Older than this, a reply is no longer of the same session: providers change what a name stands for."""

_ABOUT, _IGNORING = "about.json", ".gitignore"

_OF_THE_REPLY = (None, Exclusion.TRUNCATED, Exclusion.FILTERED, Exclusion.EMPTY, Exclusion.LIMIT)
"""Exclusions that asking again would not mend. What an outage took is asked again."""

Replies = dict[tuple[str, int], Observation]
"""(sample id, epoch) -> observation."""
Grades = dict[str, tuple[bool, bool]]
"""Labelled reply -> (truth, grade)."""
Call = tuple[str, dict[str, Any]]
"""What was asked, as a hash, and the answer in JSON."""
Calls = dict[tuple[str, int], list[Call]]
"""(sample id, epoch) -> the calls that were answered for it, in order."""


class Journal:
    """One process's own file in the folder of its run."""

    def __init__(self, folder: Path, process: str) -> None:
        self.folder = folder
        self._path = folder / f"{process}.jsonl"
        self._file: int | None = None

    def keep(self, identity: str, sample: str, observation: Observation) -> None:
        self._add({"of": identity, "sample": sample, "reply": observation.model_dump(mode="json")})

    def keep_grade(self, calibration: str, reply: str, truth: bool, grade: bool) -> None:
        self._add({"of": calibration, "labelled": reply, "truth": truth, "grade": grade})

    def keep_call(self, identity: str, place: tuple[str, int], asked: str, answer: Mapping[str, Any]) -> None:
        self._add({"of": identity, "sample": place[0], "epoch": place[1], "asked": asked, "answer": answer})

    def _add(self, row: Mapping[str, Any]) -> None:
        if self._file is None:
            self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        line = _line(row).encode()
        if os.write(self._file, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _line(row: Mapping[str, Any]) -> str:
    body = json.dumps(row)
    # The leading end of line parts it from a line that a full disk cut short.
    return f"\n{zlib.crc32(body.encode()):08x} {body}\n"


@dataclass
class Kept:
    """What journals hold, by identity."""

    replies: dict[str, Replies] = field(default_factory=dict)
    calls: dict[str, Calls] = field(default_factory=dict)
    """Of replies that are not there."""
    grades: dict[str, Grades] = field(default_factory=dict)

    @classmethod
    def read(cls, folders: Iterable[Path], *, only: str | None = None) -> Kept:
        """All that the journals in these folders hold; of one identity, where `only` names it."""
        kept = cls()
        for folder in folders:
            for file in sorted(folder.glob("*.jsonl")):
                for row in _rows(file, only):
                    kept._take(row)
        for identity, calls in kept.calls.items():
            for place in kept.replies.get(identity, {}):
                calls.pop(place, None)
        return kept

    def _take(self, row: Mapping[str, Any]) -> None:
        with suppress(KeyError, TypeError, ValidationError):
            if "reply" in row:
                observation = Observation.model_validate(row["reply"])
                if observation.exclusion in _OF_THE_REPLY:
                    self.replies.setdefault(row["of"], {})[row["sample"], observation.epoch] = observation
            elif "answer" in row:
                calls = self.calls.setdefault(row["of"], {})
                calls.setdefault((row["sample"], row["epoch"]), []).append((row["asked"], row["answer"]))
            else:
                self.grades.setdefault(row["of"], {})[row["labelled"]] = (bool(row["truth"]), bool(row["grade"]))

    @property
    def count(self) -> int:
        return sum(map(len, self.replies.values()))


def _rows(file: Path, only: str | None) -> Iterator[Mapping[str, Any]]:
    with suppress(OSError):
        for line in file.read_bytes().splitlines():
            checksum, _, body = line.partition(b" ")
            if only is not None and only.encode() not in body:
                continue
            if body and checksum == f"{zlib.crc32(body):08x}".encode():  # eight zeros are the checksum of nothing
                yield json.loads(body)


# -- the folders of sessions


class Unfinished:
    """The sessions below `folder` that have not ended; one of them may be this process's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "unfinished"
        self._locks: dict[Path, FileLock] = {}

    def begin(self, run: str, *, command: str) -> Path:
        """The folder of a new session, held until `end` or the end of its last process.

        Raises OSError where nothing can be written.
        """
        own = self.folder / run
        own.mkdir(parents=True)
        (self.folder / _IGNORING).write_text("*\n", encoding="ascii")  # what models said is for nobody's repository
        self._hold(own)
        about = {"command": command, "started": datetime.now(UTC).isoformat(timespec="seconds")}
        (own / _ABOUT).write_text(json.dumps(about), encoding="utf-8")  # last: nobody else looks at it before
        return own

    def left(self) -> list[Path]:
        """The folders of sessions that ended in the middle, oldest first. They are this process's now.

        Those that are too old to be gone on with are taken away.
        """
        found = []
        for folder in sorted(path for path in self.folder.glob("*") if path.is_dir() and path not in self._locks):
            fresh = datetime.now(UTC) - _written(folder) < FRESH
            if (fresh and not (folder / _ABOUT).exists()) or not self._hold(folder):
                continue
            if fresh:
                found.append(folder)
            else:
                self.discard(folder)
        return found

    def discard(self, folder: Path) -> None:
        """All of it was stored, or nobody wants it."""
        shutil.rmtree(folder, ignore_errors=True)
        lock = self._locks.pop(folder, None)
        if lock is not None:
            lock.release()
        with suppress(OSError):  # another session's folder may be in it, or a history beside it
            if {path.name for path in self.folder.iterdir()} == {_IGNORING}:
                (self.folder / _IGNORING).unlink()
            self.folder.rmdir()
            self.folder.parent.rmdir()

    def drop(self, folder: Path, identities: Collection[str]) -> None:
        """Takes out what is stored by now; what is left belongs to another command. Raises OSError where it cannot."""
        for file in sorted(folder.glob("*.jsonl")):
            rows = [row for row in _rows(file, None) if row.get("of") not in identities]
            if any("labelled" not in row for row in rows):
                _rewrite(file, "".join(map(_line, rows)))
            else:
                file.unlink(missing_ok=True)
        if not any(folder.glob("*.jsonl")):
            self.discard(folder)

    def release(self) -> None:
        """Leaves what is there to the next session."""
        for lock in self._locks.values():
            lock.release()
        self._locks.clear()

    def _hold(self, folder: Path) -> bool:
        lock = FileLock(folder / "lock")
        try:
            lock.acquire(timeout=0)
        except (Timeout, OSError):
            return False
        self._locks[folder] = lock
        return True


def _rewrite(file: Path, content: str) -> None:
    written = file.stat().st_mtime
    aside = file.with_suffix(".part")
    try:
        aside.write_text(content, encoding="ascii")
        os.utime(aside, (written, written))  # its replies are as old as they were
        aside.replace(file)
    except OSError:  # on a full disk: in its own place it takes less room than it had
        aside.unlink(missing_ok=True)
        file.write_text(content, encoding="ascii")
        os.utime(file, (written, written))


def _written(folder: Path) -> datetime:
    """When it was last written to."""
    times = [0.0]
    for file in [folder / _ABOUT, *folder.glob("*.jsonl")]:
        with suppress(OSError):
            times.append(file.stat().st_mtime)
    if len(times) == 1:  # it has just been made, or has lost all that was in it
        with suppress(OSError):
            times.append(folder.stat().st_mtime)
    return datetime.fromtimestamp(max(times), UTC)
