"""What an unfinished session has measured, on disk as it goes, so that nothing is asked and paid for twice.

    <folder>/unfinished/<run id>/about.json        the command, and when it began
    <folder>/unfinished/<run id>/<process>.jsonl   a line per scored reply, written before the next one is asked
    <folder>/unfinished/<run id>/lock              held while the session lives

A line that was torn by a kill is passed over. When a session ends in good order its folder goes; when it is killed or
interrupted, the next session that asks the very same thing (`identity`: prompts, model, scorer, settings, all of it) takes
over what is there. Local files only: a journal is for the machine that was interrupted.
"""

from __future__ import annotations

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

_OF_THE_REPLY = (None, Exclusion.TRUNCATED, Exclusion.FILTERED, Exclusion.EMPTY, Exclusion.LIMIT)
"""Exclusions that asking again would not mend. What an outage took is asked again."""

Replies = dict[tuple[str, int], Observation]
"""(sample id, epoch) -> observation."""
Grades = dict[str, tuple[bool, bool]]
"""Labelled reply -> (truth, grade)."""


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

    def _add(self, row: Mapping[str, Any]) -> None:
        if self._file is None:
            self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.write(self._file, _line(row).encode())


def _line(row: Mapping[str, Any]) -> str:
    body = json.dumps(row)
    # The leading end of line parts it from a line that a full disk cut short.
    return f"\n{zlib.crc32(body.encode()):08x} {body}\n"


@dataclass
class Kept:
    """What journals hold, by identity."""

    replies: dict[str, Replies] = field(default_factory=dict)
    grades: dict[str, Grades] = field(default_factory=dict)

    @classmethod
    def read(cls, folders: Iterable[Path], *, only: str | None = None) -> Kept:
        """All that the journals in these folders hold; of one identity, where `only` names it."""
        kept = cls()
        for folder in folders:
            for file in sorted(folder.glob("*.jsonl")):
                for row in _rows(file, only):
                    kept._take(row)
        return kept

    def _take(self, row: Mapping[str, Any]) -> None:
        with suppress(KeyError, TypeError, ValidationError):
            if "reply" in row:
                observation = Observation.model_validate(row["reply"])
                if observation.exclusion in _OF_THE_REPLY:
                    self.replies.setdefault(row["of"], {})[row["sample"], observation.epoch] = observation
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
            if checksum == f"{zlib.crc32(body):08x}".encode():
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
        if not self._hold(own):
            raise OSError(f"{own} is another session's")
        about = {"command": command, "started": datetime.now(UTC).isoformat(timespec="seconds")}
        (own / "about.json").write_text(json.dumps(about), encoding="utf-8")
        return own

    def left(self) -> list[Path]:
        """The folders of sessions that ended in the middle, oldest first. They are this process's now."""
        folders = sorted(path for path in self.folder.glob("*") if path.is_dir() and path not in self._locks)
        return [folder for folder in folders if self._hold(folder)]

    def fresh(self, folder: Path) -> bool:
        """Whether it was written to lately enough to be gone on with."""
        last = max((file.stat().st_mtime for file in folder.glob("*.jsonl")), default=0.0)
        return datetime.now(UTC) - datetime.fromtimestamp(last, UTC) < FRESH

    def discard(self, folder: Path) -> None:
        """All of it was stored, or nobody wants it."""
        shutil.rmtree(folder, ignore_errors=True)
        lock = self._locks.pop(folder, None)
        if lock is not None:
            lock.release()
        with suppress(OSError):  # another session's folder may be in it, or a history beside it
            self.folder.rmdir()
            self.folder.parent.rmdir()

    def drop(self, folder: Path, identities: Collection[str]) -> None:
        """Takes out what is stored by now; what is left belongs to another command."""
        for file in sorted(folder.glob("*.jsonl")):
            rows = [row for row in _rows(file, None) if row.get("of") not in identities]
            if any("reply" in row for row in rows):
                text = "".join(map(_line, rows))
                aside = file.with_suffix(".part")
                aside.write_text(text, encoding="ascii")
                aside.replace(file)
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


def about(folder: Path) -> Mapping[str, str]:
    """The command and the start of the session of this folder, as far as they can be read."""
    try:
        said = json.loads((folder / "about.json").read_text(encoding="utf-8"))
        return {key: str(value) for key, value in said.items()}
    except (OSError, ValueError, AttributeError):
        return {}
