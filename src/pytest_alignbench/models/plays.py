"""The play: the sample at hand, known wherever a model is asked for it, and what was answered for it already."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from inspect_ai.model import Model, ModelOutput

from pytest_alignbench.claims import Claim
from pytest_alignbench.data import digest
from pytest_alignbench.models.calls import Answered, Attempt, Failed, around, output_of


@dataclass
class Memory:
    """The calls for one reply: what was answered before an interruption is not asked again, at the very same place.

    `keep`: takes what was asked, as a hash, and its answer in JSON.
    """

    known: list[tuple[str, dict[str, Any]]]
    keep: Callable[[str, Mapping[str, Any]], None]

    def recall(self, asked: str) -> ModelOutput | None:
        """The next answer to this; each is given once, since a solver may ask the same several times."""
        for number, (known, answer) in enumerate(self.known):
            if known == asked:
                del self.known[number]
                return ModelOutput.model_validate(answer)
        return None


@dataclass
class Play:
    """What a simulated model may know of the sample that is being measured. Set by the run engine for each sample."""

    claim: Claim
    condition: str
    pair: str
    prompt: str
    epoch: int
    truth: bool | None = None
    """Whether the reply at hand exhibits the behaviour: drawn by the model, read by the simulated grader."""
    step: int = 0
    calls: int = 0
    """Requests made for it so far, retries and a grader's among them."""
    memory: Memory | None = None
    failed: Failed | None = None
    """What the last call came to, if it failed."""


PLAY: ContextVar[Play | None] = ContextVar("alignbench_play", default=None)


def count_calls(model: Model) -> None:
    """Each attempt of a call is counted where its sample can be told: an observation says how many it took."""

    async def counted(attempt: Attempt) -> Answered:
        play = PLAY.get()
        if play is not None:
            play.calls += 1
        return await attempt.go()

    around(model, counted)


def remembering(model: Model) -> None:
    """From here on calls for a reply that has a memory go through it. No cache: another reply is always asked for."""

    async def remembered(attempt: Attempt) -> Answered:
        play = PLAY.get()
        memory = play.memory if play is not None else None
        if play is None or memory is None:
            return await attempt.go()
        said = [message.model_dump(mode="json", include={"role", "content", "tool_calls"}) for message in attempt.input]
        tools = [tool.name for tool in attempt.tools]
        asked = digest([str(model), said, tools, attempt.config.model_dump(mode="json")])
        known = memory.recall(asked)
        if known is not None:
            play.calls += 1
            return known
        answered = await attempt.go()
        output = output_of(answered)
        if isinstance(output, ModelOutput):
            memory.keep(asked, output.model_dump(mode="json"))
        return answered

    around(model, remembered)
