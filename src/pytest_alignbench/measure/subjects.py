"""A model within a run, under test or grading: who asks it first, and whether it can go on at all.

    call ──guard──> the first one ahead of all others ──> refused for good: no other is made

The others wait for an event in this process, and among the processes of a session for a file (`Herald`).
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from inspect_ai.log import transcript
from inspect_ai.model import Model, ModelOutput
from inspect_ai.scorer import Score
from inspect_ai.solver import TaskState
from inspect_ai.util import LimitExceededError

from pytest_alignbench.budgets import BudgetError
from pytest_alignbench.data import digest
from pytest_alignbench.errors import MeasurementError
from pytest_alignbench.models import PLAY, Answered, Attempt, Failed, around, hopeless, output_of, unwrapped
from pytest_alignbench.observations import Exclusion
from pytest_alignbench.text import one_line

Answer = TypeVar("Answer", TaskState, Score, ModelOutput)


class RefusedError(MeasurementError):
    """A call was not made, since the one before it showed that none can succeed."""

    def __init__(self, failed: Failed) -> None:
        super().__init__(failed.why)
        self.failed = failed


_REFUSED_WITHIN = 0.5
"""Seconds: providers look at the key before they do anything else. Whoever takes longer is at work on a reply."""
_APART = 0.005
"""Seconds between two calls that waited for the first: about what a client computes for each. Calls that set out together
come back together where replies take equally long, and then each waits for all the others, again and again."""


class Herald:
    """Tells the processes of a session what came of the first call to a model, by a file in a folder of theirs."""

    def __init__(self, folder: Path, model: str) -> None:
        self._going, self._came = (folder / f"{digest(model)}.{what}" for what in ("asking", "asked"))

    def goes(self) -> bool:
        """Whether this process is the first."""
        with suppress(OSError):
            self._going.touch(exist_ok=False)
            return True
        return False

    def tell(self, failed: Failed | None) -> None:
        """What a budget refuses is for each process to find out: it may pay for another one's calls."""
        refused = failed if failed is not None and failed.exclusion is Exclusion.ERRORED else None
        aside = self._came.with_suffix(f".{os.getpid()}")
        with suppress(OSError):  # then each finds out for itself
            aside.write_text(json.dumps(refused.why if refused is not None else None), encoding="ascii")
            aside.replace(self._came)

    def told(self) -> tuple[bool, Failed | None]:
        """Whether the first call has come back, and why no other needs to be made, if so."""
        try:
            said = json.loads(self._came.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return False, None
        return True, Failed(Exclusion.ERRORED, said) if said is not None else None


@dataclass
class Subject:
    """The first call goes ahead of the others, in this process and in all: a wrong key or a spent quota is found by one
    call, not by fifty."""

    name: str
    herald: Herald | None = None
    fatal: Failed | None = None
    _first: asyncio.Event | None = None
    """Set when the first call has come back, or is long enough under way."""
    _held: int = 0
    """Calls that waited for it."""

    def guard(self, model: Model) -> None:
        """From here on every call of `model` takes its turn, and is not made when it could not succeed."""

        async def in_turn(attempt: Attempt) -> Answered:
            first = await self._turn()
            try:
                if self.fatal is not None:
                    raise RefusedError(self.fatal)
                answered = await attempt.go()
                output = output_of(answered)
                self._hear(output if isinstance(output, Exception) else None)
                return answered
            except Exception as fault:
                self._hear(fault)
                raise
            finally:
                if first is not None:
                    first.set()
                    if self.herald is not None:
                        self.herald.tell(self.fatal)

        around(model, in_turn)

    async def _turn(self) -> asyncio.Event | None:
        """Waits for the first call. Gives the event to set to whoever is to make it."""
        if self._first is not None:
            if not self._first.is_set():
                self._held += 1
                place = self._held
                await self._first.wait()
                await asyncio.sleep(place * _APART)
            return None
        self._first = first = asyncio.Event()
        timer = asyncio.get_running_loop().call_later(_REFUSED_WITHIN, first.set)
        if self.herald is None or self.herald.goes():
            return first
        try:
            while not first.is_set():
                came, self.fatal = self.herald.told()
                if came:
                    break
                await asyncio.sleep(0.01)
        finally:
            timer.cancel()
            first.set()
        return None

    def _hear(self, fault: Exception | None) -> None:
        failed = _failure(fault) if fault is not None else None
        play = PLAY.get()
        if play is not None:
            play.failed = failed
        if fault is None or failed is None:
            return
        if failed.exclusion is Exclusion.UNMEASURED or hopeless(provider_error(fault)):
            self.fatal = self.fatal or failed


async def tried(ask: Callable[[], Awaitable[Answer]]) -> Answer | Failed:
    """What came of asking. Limits of Inspect's and cancellation pass through."""
    # Told, not raised: Inspect renders a traceback for each raised error, at a fifth of a second of CPU.
    try:
        return await ask()
    except LimitExceededError:
        raise
    except Exception as fault:
        failed = _failure(fault)
        transcript().info({"error": failed.why})
        return failed


def _failure(fault: Exception) -> Failed:
    own = provider_error(fault)
    if isinstance(own, RefusedError):
        return own.failed
    if isinstance(own, BudgetError):
        return Failed(Exclusion.UNMEASURED, str(own))
    return Failed(Exclusion.ERRORED, one_line(f"{type(own).__name__}: {own}", limit=300))


def provider_error(fault: BaseException) -> BaseException:
    """The provider's own words: Inspect's wrapper quotes the whole request before them."""
    fault = unwrapped(fault)
    wrapped = isinstance(fault, RuntimeError) and type(fault).__module__.startswith("inspect_ai.")
    return fault.__cause__ if wrapped and fault.__cause__ is not None else fault
