"""A call of a model: what stands around each of its attempts, which are tried again, and which never can succeed.

    Asked.generate ──Inspect's retries──> attempt ──around──> around ──> the provider

What a session must see to at each attempt (no key in what comes back, no call that the budget could not pay, what an
interrupted session was told already) wraps the provider's own `generate`: Inspect has no hook that may refuse or replace one.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from inspect_ai.model import ChatMessage, GenerateConfig, Model, ModelCall, ModelOutput, RetryDecision
from inspect_ai.tool import ToolChoice, ToolInfo
from tenacity import RetryCallState, RetryError, wait_exponential_jitter

from pytest_alignbench.budgets import BudgetError
from pytest_alignbench.observations import Exclusion
from pytest_alignbench.redaction import learn, learn_environment, learn_named, learn_url, throughout
from pytest_alignbench.text import one_line

Answered = ModelOutput | tuple[ModelOutput | Exception, ModelCall]
"""What a provider gives back: some tell of an error so, and raise others."""


@dataclass(frozen=True)
class Attempt:
    """One attempt of a call, as the provider is asked it."""

    input: list[ChatMessage]
    tools: list[ToolInfo]
    config: GenerateConfig
    go: Callable[[], Awaitable[Answered]]
    """Makes it; may be left alone."""


def around(model: Model, wrapper: Callable[[Attempt], Awaitable[Answered]]) -> None:
    """From here on `wrapper` stands around each attempt of a call of `model`, and around what stands there already."""
    ask = model.api.generate

    async def generate(
        input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> Answered:
        return await wrapper(Attempt(input, tools, config, lambda: ask(input, tools, tool_choice, config)))

    model.api.generate = generate  # type: ignore[method-assign]


def output_of(answered: Answered) -> ModelOutput | Exception:
    return answered[0] if isinstance(answered, tuple) else answered


class Asked(Model):
    """A model that is asked each time, also where a solver or a task of Inspect's would take replies from Inspect's cache:
    what is measured must be what the model does now, and the cache reads pickles, which are programs."""

    async def generate(self, *args: Any, **options: Any) -> ModelOutput:
        given = list(args)
        if len(given) > 4:
            given[4] = False  # its place among the arguments
        else:
            options["cache"] = False
        return await super().generate(*given, **options)


# -- what is tried again


_BACK_OFF = wait_exponential_jitter(1, max=60, exp_base=3, jitter=1)  # the name of the first one has changed
"""About 1, 3, 9 and 27 seconds: with five attempts, an outage of half a minute is outlasted. Inspect's own begins at 3."""
_LONGEST_WAIT = 120.0
"""Seconds that a provider may ask us to wait."""


def bind_retries(model: Model) -> None:
    """What cannot succeed is not tried again, a broken connection always is, and a provider's Retry-After is kept to."""
    decide = model.api.should_retry

    def should_retry(ex: Exception) -> bool | RetryDecision:
        if isinstance(ex, BudgetError) or hopeless(ex) is not None:
            return False
        decided = decide(ex)
        return RetryDecision.transient() if not decided and _broke_off(ex) else decided

    def wait(state: RetryCallState) -> float:
        fault = state.outcome.exception() if state.outcome is not None else None
        decided = decide(fault) if isinstance(fault, Exception) else None
        asked = decided.retry_after if isinstance(decided, RetryDecision) else None
        # Those that were told the same time must not all come back at that time.
        return min(asked, _LONGEST_WAIT) + random.uniform(0, 0.5) if asked is not None else _BACK_OFF(state)

    model.api.should_retry = should_retry  # type: ignore[method-assign]
    model.api.retry_wait = lambda: wait  # type: ignore[method-assign]


def _broke_off(fault: BaseException | None) -> bool:
    """A connection that was reset or closed, in the words of any HTTP client; some clients pass it on as it is."""
    while fault is not None:
        names = {kind.__name__ for kind in type(fault).__mro__}
        if names & {
            "ConnectionError",
            "TransportError",
            "ClientConnectionError",
            "NetworkError",
            "RemoteProtocolError",
        }:
            return True
        fault = fault.__cause__
    return False


_SPENT = ("insufficient_quota", "exceeded your current quota", "credit balance is too low")


def hopeless(fault: BaseException | None) -> str | None:
    """What is wrong, if a further call could not succeed either: a refused key, no permission, no credit."""
    seen: set[int] = set()
    while fault is not None and id(fault) not in seen:
        seen.add(id(fault))
        fault = unwrapped(fault)
        said = str(fault)
        if getattr(fault, "status_code", None) in (401, 402, 403) or any(word in said for word in _SPENT):
            return one_line(f"{type(fault).__name__}: {said}", limit=300)
        fault = fault.__cause__ or fault.__context__
    return None


def unwrapped(fault: BaseException) -> BaseException:
    """The last attempt's own error, where retries ran out; tenacity's says nothing of it."""
    if isinstance(fault, RetryError):
        return fault.last_attempt.exception() or fault
    return fault


@dataclass(frozen=True)
class Failed:
    """A call that gave nothing: what its reply is excluded for, and what went wrong, in one line."""

    exclusion: Exclusion
    why: str


# -- what stands around each attempt


def guard(model: Model) -> None:
    """From here on nothing that the provider says holds a key value: no reply, no error, and so none of Inspect's logs."""
    learn_environment()  # once more: Inspect has read .env files by now
    learn_named(model.model_args)
    learn(model.api.api_key, "api_key")
    learn_url(model.api.base_url, "base_url")

    async def guarded(attempt: Attempt) -> Answered:
        try:
            answered = await attempt.go()
        except Exception as fault:
            throughout(fault)
            raise
        output, call = answered if isinstance(answered, tuple) else (answered, None)
        # Inspect keeps the request of a call that failed, and of no other.
        throughout([output, call] if isinstance(output, Exception) else output)
        return answered

    around(model, guarded)


def frameless(model: Model) -> None:
    """From here on what a provider refuses or fails to do comes without the frames that it went through.

    Inspect renders the traceback of each try in colours, which takes up to half a second in which no other call moves: in an
    outage, hundreds of times. What is no provider's doing may be somebody's mistake, and keeps its frames.
    """
    passes = model.api.should_retry

    def strip(fault: BaseException | None) -> None:
        if not isinstance(fault, Exception) or (getattr(fault, "status_code", None) is None and not passes(fault)):
            return
        seen: set[int] = set()
        while fault is not None and id(fault) not in seen:
            seen.add(id(fault))
            fault.__traceback__ = None
            fault = fault.__cause__ or fault.__context__

    async def stripped(attempt: Attempt) -> Answered:
        try:
            answered = await attempt.go()
        except Exception as fault:
            strip(fault)
            raise
        output = output_of(answered)
        if isinstance(output, Exception):
            strip(output)
        return answered

    around(model, stripped)
