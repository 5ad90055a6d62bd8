"""A model within a run, under test or grading, and whether it can go on at all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from inspect_ai.log import transcript
from inspect_ai.model import ModelOutput
from inspect_ai.scorer import Score
from inspect_ai.solver import TaskState
from inspect_ai.util import LimitExceededError

from pytest_alignbench.budgets import BudgetError
from pytest_alignbench.models import hopeless, unwrapped
from pytest_alignbench.observations import Exclusion
from pytest_alignbench.text import one_line

Answer = TypeVar("Answer", TaskState, Score, ModelOutput)


@dataclass(frozen=True)
class Failed:
    """A call that gave nothing: what it is excluded for, and what went wrong, in one line."""

    exclusion: Exclusion
    why: str


_REFUSED_WITHIN = 1.0
"""Seconds: providers look at the key before they do anything else. Whoever takes longer is at work on a reply."""


@dataclass
class Subject:
    """The first call goes ahead of the others: a wrong key or a spent quota is found by one call, not by fifty."""

    name: str
    fatal: Failed | None = None
    _begun: bool = False
    _first: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the first call has come back, or is long enough under way."""

    @classmethod
    def nobody(cls) -> Subject:
        """In place of a grader, where none is asked."""
        subject = cls("", _begun=True)
        subject._first.set()
        return subject

    async def call(self, ask: Callable[[], Awaitable[Answer]]) -> Answer | Failed:
        """What came of asking. Limits of Inspect's and cancellation pass through."""
        if not self._begun:
            self._begun = True
            timer = asyncio.get_running_loop().call_later(_REFUSED_WITHIN, self._first.set)
            try:
                return await self._try(ask)
            finally:
                timer.cancel()
                self._first.set()
        await self._first.wait()
        return self.fatal if self.fatal is not None else await self._try(ask)

    async def _try(self, ask: Callable[[], Awaitable[Answer]]) -> Answer | Failed:
        # Told, not raised: Inspect renders a traceback for each raised error, at a fifth of a second of CPU.
        try:
            return await ask()
        except LimitExceededError:
            raise
        except Exception as fault:
            failed = _failure(fault)
            if failed.exclusion is Exclusion.UNMEASURED or hopeless(provider_error(fault)):
                self.fatal = self.fatal or failed
            transcript().info({"error": failed.why})
            return failed


def _failure(fault: Exception) -> Failed:
    own = provider_error(fault)
    if isinstance(own, BudgetError):
        return Failed(Exclusion.UNMEASURED, str(own))
    return Failed(Exclusion.ERRORED, one_line(f"{type(own).__name__}: {own}", limit=300))


def provider_error(fault: BaseException) -> BaseException:
    """The provider's own words: Inspect's wrapper quotes the whole request before them."""
    fault = unwrapped(fault)
    wrapped = isinstance(fault, RuntimeError) and type(fault).__module__.startswith("inspect_ai.")
    return fault.__cause__ if wrapped and fault.__cause__ is not None else fault
