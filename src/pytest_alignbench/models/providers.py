"""Our own Inspect providers: models that are asked in this process, and call nobody."""

from __future__ import annotations

import asyncio
import re
import secrets
from typing import Any

from inspect_ai.model import ChatMessage, GenerateConfig, ModelAPI, ModelOutput, ModelUsage, StopReason, modelapi
from inspect_ai.tool import ToolChoice, ToolInfo

from pytest_alignbench import organisms
from pytest_alignbench.errors import ModelError
from pytest_alignbench.models.plays import PLAY, Play
from pytest_alignbench.models.truths import PROFILES, Truth, grader_quality, labelled_reply, uniform


class _Here(ModelAPI):
    """A model without address or key."""

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig | None = None,
        **model_args: Any,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config or GenerateConfig())


def _output(model: str, text: str, asked: int, said: int, why: StopReason = "stop") -> ModelOutput:
    """A reply with its tokens, read and written: Inspect would otherwise count them with a tokenizer that it downloads."""
    output = ModelOutput.from_content(model, text, stop_reason=why)
    output.usage = ModelUsage(input_tokens=asked, output_tokens=said, total_tokens=asked + said)
    return output


@modelapi(name="simulated")
class Simulated(_Here):
    """Answers from labelled replies at a known rate; never leaves the process."""

    def max_connections(self) -> int:
        return 100

    async def generate(
        self, input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput:
        play = PLAY.get()
        if play is None:
            text = "A simulated model answers for claims alone: run it through pytest suites/ --model simulated/…"
        elif self.model_name.startswith("grader"):
            text = self._grade(play, "\n".join(message.text for message in input))
        else:
            text = self._reply(play)
        asked = sum(len(message.text) for message in input)
        return _output(f"simulated/{self.model_name}", text, asked // 4, len(text) // 4)

    def _reply(self, play: Play) -> str:
        play.truth = Truth(self.model_name, PROFILES).draw(play)
        reply = labelled_reply(play, play.truth)
        said = (*reply.steps, reply.text)[min(play.step, len(reply.steps))]
        play.step += 1
        return said

    def _grade(self, play: Play, asked: str) -> str:
        if play.truth is None:
            raise ModelError("a simulated grader can grade labelled replies alone; name a real --alignbench-grader")
        sensitivity, specificity = grader_quality(self.model_name)
        drawn = uniform("grade", self.model_name, play.claim.id, play.condition, play.prompt, play.epoch)
        right = drawn < (sensitivity if play.truth else specificity)
        form = _GRADE_LINE.search(asked)
        return f"{form[1] if form else 'GRADE'}: {'YES' if right == play.truth else 'NO'}"


_GRADE_LINE = re.compile(r"^(GRADE \w+): YES$", re.MULTILINE)
"""The line that a scorer asks its grader for, with the nonce of the call; the first one is the scorer's own."""


_REPLY_TOKENS = 160
"""Of an organism's reply, if nobody says how many: those that it was trained on have a hundred at most."""
_HEAT = 0.7
"""An organism's temperature, if nobody says: at 1, slips of a piece here and there spoil many a name."""


@modelapi(name="organism")
class Organism(_Here):
    """A small model of ours, sampled in this process.

    `temperature`, `seed`, `max_tokens` and `stop_seqs` are kept to. A reply that reaches `max_tokens` stops for that; a
    conversation that leaves no room for a reply stops for "model_length". With a seed, the same messages get the same
    text, whatever else is asked; without one, another text each time.
    """

    def __init__(self, model_name: str, *given: Any, **named: Any) -> None:
        super().__init__(model_name, *given, **named)
        self._worker = organisms.worker(model_name)

    def max_connections(self) -> int:
        return 200

    async def generate(
        self, input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput:
        name = f"organism/{self.model_name}"
        tokenizer = (await asyncio.to_thread(self._worker.load)).tokenizer
        tokens = organisms.conversation(tokenizer, ((message.role, message.text) for message in input))
        most = min(config.max_tokens or _REPLY_TOKENS, organisms.LONGEST - len(tokens))
        if most < 1:
            return _output(name, "", len(tokens), 0, "model_length")
        seed = secrets.token_hex(8) if config.seed is None else config.seed
        heat = _HEAT if config.temperature is None else config.temperature
        asked = organisms.Asked(tokens, heat, most, (self.model_name, seed, *tokens))
        said = await asyncio.wrap_future(self._worker.ask(asked))
        text = tokenizer.decode(said.tokens).strip()
        cuts = [at for stop in config.stop_seqs or () if (at := text.find(stop)) >= 0]
        why: StopReason = "stop" if said.ended or cuts else "max_tokens"
        return _output(name, text[: min(cuts)] if cuts else text, len(tokens), len(said.tokens) + said.ended, why)
