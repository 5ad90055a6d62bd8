"""A shard: one of N sessions, often on N machines, that measure a suite together, each its own share of the claims.

    --alignbench-shard 2/3 --alignbench-group pr-7   ->   the run's id is  20260131-142530-b7ed3f9a.2of3.pr-7

What belongs together has the group's name, and each id says which share it is of how many: a listing of the history's
folder tells what is there and what is missing. `history.History` reads a group as one run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from pytest_alignbench.errors import AlignbenchError
from pytest_alignbench.text import one_line

_MOST = 1000
_GROUP = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_ID = re.compile(r"(?P<stamp>[^.]+)\.(?P<number>\d+)of(?P<of>\d+)\.(?P<group>[A-Za-z0-9_-]+)")


@dataclass(frozen=True)
class Shard:
    """Share `number` of `of`, counted from 1. `group` is empty where nothing will be stored."""

    number: int
    of: int
    group: str

    @classmethod
    def asked(cls, share: str | None, group: str | None, environment: Mapping[str, str]) -> Shard | None:
        """From `I/N` and the group's name as typed; None if neither was. A group alone is the one shard of one.

        In GitHub Actions a group that is not named is that of the workflow run, so that all its jobs share it.

        Raises AlignbenchError with what is allowed.
        """
        if share is None and group is None:
            return None
        found = re.fullmatch(r"(\d{1,4})/(\d{1,4})", "1/1" if share is None else share, re.ASCII)
        number, of = map(int, found.groups()) if found else (0, 0)
        if not 1 <= number <= of <= _MOST:
            raise AlignbenchError(
                f"--alignbench-shard {one_line(share or '', limit=40)}: give I/N, the share I of N with 1 <= I <= N <= {_MOST}, "
                "such as 1/3, 2/3 and 3/3 in three sessions"
            )
        name = environment.get("GITHUB_RUN_ID", "") if group is None else group
        if group is not None and (not _GROUP.fullmatch(group) or group == "latest"):
            raise AlignbenchError(
                f"--alignbench-group {one_line(group, limit=80)}: give 1 to 64 letters, digits, - and _, the first no - or _; "
                "not `latest`, which names a run already"
            )
        return cls(number, of, name)

    @classmethod
    def of_id(cls, run: str) -> Shard | None:
        """The shard that the run of this id measured, if it was one."""
        found = _ID.fullmatch(run)
        return cls(int(found["number"]), int(found["of"]), found["group"]) if found else None

    def run_id(self, stamp: str) -> str:
        return f"{stamp}.{self.number}of{self.of}.{self.group}"

    def __str__(self) -> str:
        return f"{self.number} of {self.of}"
