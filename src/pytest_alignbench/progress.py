"""How far a measuring session is, and a thread that says so now and then."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """Counts of planned and finished replies and claims, and the seconds since measuring began."""

    planned: int
    done: int
    excluded: int
    claims: int
    claims_done: int
    seconds: float
    kept: int = 0
    """Of the finished replies, those that an earlier session had measured."""

    @classmethod
    def sum(cls, parts: Iterable[Progress]) -> Progress:
        """All processes together."""
        each = list(parts)
        return cls(
            planned=sum(p.planned for p in each),
            done=sum(p.done for p in each),
            excluded=sum(p.excluded for p in each),
            claims=sum(p.claims for p in each),
            claims_done=sum(p.claims_done for p in each),
            seconds=max((p.seconds for p in each), default=0.0),
            kept=sum(p.kept for p in each),
        )

    @property
    def line(self) -> str:
        """`1,240 of 3,000 replies, 12 of 60 claims, 3 excluded, 41 a second, about 43 s left`"""
        parts = [f"{self.done:,} of {self.planned:,} replies", f"{self.claims_done} of {self.claims} claims"]
        if self.excluded:
            parts.append(f"{self.excluded:,} excluded")
        new = self.done - self.kept
        if new > 0 and self.seconds > 0:
            rate = new / self.seconds
            parts.append(f"{rate:,.1f} a second")
            # Start-up is most of the time at first, and no guide to the rest.
            if new >= 0.05 * (self.planned - self.kept):
                parts.append(f"about {_duration((self.planned - self.done) / rate)} left")
        return ", ".join(parts)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class Ticker:
    """Calls `say` every so many seconds, from a daemon thread, until stopped."""

    def __init__(self, say: Callable[[], None], *, every: float) -> None:
        self._say, self._every = say, every
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="alignbench-progress", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopped.wait(self._every):
            self._say()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(1.0)
