"""Models: the names people type, and the simulated models whose truth is known.

Any Inspect name is a model. Short names resolve by prefix (`claude-x` -> `anthropic/claude-x`) or by the project's own
`[tool.alignbench.models]`.

`simulated/…` is an Inspect provider of ours that calls nobody. It knows which claim it is asked for, draws whether this
reply exhibits the behaviour at its true rate, and answers with a labelled reply of that kind:

    simulated/behaving       keeps the claim's rule plainly                  must be judged HOLDS
    simulated/misbehaving    breaks it plainly                               must be judged VIOLATED
    simulated/blind          does the same in all conditions, half the time  must be judged as the rule has it
    simulated/effect-0.15    true effect of 15 points, as the gate counts it
    simulated/rate-0.30      exhibits in 30 % of replies, whatever the condition
    simulated/NAME           a profile of `[tool.alignbench.simulated.NAME]`: claim pattern -> true effect
    simulated/grader-0.9-0.95   a grader of that sensitivity and specificity; `simulated/grader` errs never

`organism/NAME` is a small real model of ours that samples text in this process: see `organisms.py` and docs/organisms.md.

A trailing `@7` seeds another draw. Draws depend on the name, the claim, the prompt and the epoch alone, so that the
same replies come serial, in parallel and on every machine.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
import secrets
import warnings
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from inspect_ai.model import (
    ChatMessage,
    GenerateConfig,
    Model,
    ModelAPI,
    ModelCall,
    ModelOutput,
    ModelUsage,
    RetryDecision,
    StopReason,
    get_model,
    get_model_info,
    modelapi,
)
from inspect_ai.tool import ToolChoice, ToolInfo
from tenacity import RetryCallState, RetryError, wait_exponential_jitter

from pytest_alignbench import organisms
from pytest_alignbench.budgets import Budget, BudgetError, Purse
from pytest_alignbench.claims import Claim
from pytest_alignbench.data import LabelledReply, digest
from pytest_alignbench.errors import ModelError
from pytest_alignbench.names import resolve as resolve  # who asks for a model asks here for its name
from pytest_alignbench.observations import Exclusion
from pytest_alignbench.redaction import learn, learn_environment, learn_named, learn_url, throughout
from pytest_alignbench.text import one_line

CONTROLS = ("simulated/misbehaving", "simulated/behaving", "simulated/blind")

_OWN_RETRIES = ("anthropic", "openai", "openai-api")
"""Providers whose client retries too, and takes `max_retries=0` not to: the two would multiply (3 x 3 calls for one)."""


def usable(name: str) -> Model:
    """The Inspect model of a resolved name, set up so that Inspect's retries are the only ones.

    Raises ModelError, one line, when there is no such provider, no key, or a package is missing.
    """
    provider, _, kind = name.partition("/")
    if provider == "simulated":
        _check_simulated(kind)
    elif provider == "organism":
        organisms.check(kind)
    own: dict[str, Any] = {"max_retries": 0} if provider in _OWN_RETRIES else {}
    try:
        with warnings.catch_warnings():
            # The first look-up imports every package that offers something to Inspect, whoever wrote it.
            warnings.simplefilter("ignore")
            found = get_model(name, memoize=False, **own)
    except Exception as fault:
        said = re.sub(r"\[/?[a-z]+\]", "", str(fault)).removeprefix("ERROR: ")  # Inspect marks them up for the terminal
        raise ModelError(f"model {name!r} cannot be used: {one_line(said, limit=300)}") from fault
    model = Asked(found.api, found.config, found.model_args)
    bind_retries(model)
    if provider != "simulated":
        _guard(model)
    _count_calls(model)
    return model


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


def frameless(model: Model) -> None:
    """From here on what a provider refuses or fails to do comes without the frames that it went through.

    Inspect renders the traceback of each try in colours, which takes up to half a second in which no other call moves: in an
    outage, hundreds of times. What is no provider's doing may be somebody's mistake, and keeps its frames.
    """
    ask, passes = model.api.generate, model.api.should_retry

    def strip(fault: BaseException | None) -> None:
        if not isinstance(fault, Exception) or (getattr(fault, "status_code", None) is None and not passes(fault)):
            return
        seen: set[int] = set()
        while fault is not None and id(fault) not in seen:
            seen.add(id(fault))
            fault.__traceback__ = None
            fault = fault.__cause__ or fault.__context__

    async def generate(
        input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput | tuple[ModelOutput | Exception, ModelCall]:
        try:
            answered = await ask(input, tools, tool_choice, config)
        except Exception as fault:
            strip(fault)
            raise
        if isinstance(answered, tuple) and isinstance(answered[0], Exception):
            strip(answered[0])
        return answered

    model.api.generate = generate  # type: ignore[method-assign]


def _guard(model: Model) -> None:
    """From here on nothing that the provider says holds a key value: no reply, no error, and so none of Inspect's logs."""
    learn_environment()  # once more: Inspect has read .env files by now
    learn_named(model.model_args)
    learn(model.api.api_key, "api_key")
    learn_url(model.api.base_url, "base_url")
    ask = model.api.generate

    async def generate(
        input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput | tuple[ModelOutput | Exception, ModelCall]:
        try:
            answered = await ask(input, tools, tool_choice, config)
        except Exception as fault:
            throughout(fault)
            raise
        output, call = answered if isinstance(answered, tuple) else (answered, None)
        # Inspect keeps the request of a call that failed, and of no other.
        throughout([output, call] if isinstance(output, Exception) else output)
        return answered

    model.api.generate = generate  # type: ignore[method-assign]


def _count_calls(model: Model) -> None:
    """Each attempt of a call is counted where its sample can be told: an observation says how many it took."""
    ask = model.api.generate

    async def generate(
        input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput | tuple[ModelOutput | Exception, ModelCall]:
        play = PLAY.get()
        if play is not None:
            play.calls += 1
        return await ask(input, tools, tool_choice, config)

    model.api.generate = generate  # type: ignore[method-assign]


def meter(model: Model, purse: Purse) -> None:
    """From here on no call of `model`, retries and graders' calls included, is made that the purse could not pay.

    Raises ModelError when the purse holds dollars and nobody told Inspect the model's prices.
    """
    ask = model.api.generate
    bill = Bill.of(str(model), purse.budget)

    async def generate(
        input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput | tuple[ModelOutput | Exception, ModelCall]:
        worst = bill.worst(input, tools, config)
        while (taken := purse.reserve(worst)) != "taken":
            if taken == "spent":
                raise BudgetError(f"the budget of {purse.budget} is spent, or as good as: {bill.least(worst)}")
            await asyncio.sleep(0.05)
        cost = worst
        try:
            answered = await ask(input, tools, tool_choice, config)
            cost = bill.cost(answered[0] if isinstance(answered, tuple) else answered, worst)
            return answered
        except Exception as fault:
            # Refused with a status, it was not billed; a call that broke off may have been.
            cost = bill.refused(worst) if getattr(fault, "status_code", None) is not None else worst
            raise
        finally:
            purse.settle(worst, cost)

    model.api.generate = generate  # type: ignore[method-assign]


_LONGEST_REPLY = 16_384
"""Tokens that a reply is reckoned with at most where neither the claim nor Inspect says how long one may be."""


@dataclass(frozen=True)
class Bill:
    """What calls of one model cost, in a budget's unit."""

    budget: Budget
    input: float
    output: float
    longest: int = _LONGEST_REPLY
    """Tokens of the longest reply that the model gives."""

    @classmethod
    def of(cls, model: str, budget: Budget) -> Bill:
        info = get_model_info(model)
        longest = (info.output_tokens if info is not None else None) or _LONGEST_REPLY
        if budget.unit != "dollars":
            return cls(budget, 1.0, 1.0, longest)
        if model.startswith(("simulated/", "organism/")):
            return cls(budget, 0.0, 0.0)
        price = info.cost if info is not None else None
        if price is None:
            raise ModelError(
                f"model {model!r} has no price, so a budget in dollars could not be kept: tell Inspect its price in "
                "conftest.py (set_model_cost, or set_model_info for a model that Inspect does not know), or give the "
                "budget in calls or tokens"
            )
        dearest = max(price.input, price.input_cache_write, price.input_cache_read)
        return cls(budget, dearest / 1e6, price.output / 1e6, longest)

    def worst(self, input: list[ChatMessage], tools: list[ToolInfo], config: GenerateConfig) -> float:
        """A token is at least a byte of text; each message has a frame of some tokens."""
        if self.budget.unit == "calls":
            return 1.0
        asked = sum(len(message.model_dump_json(include={"content", "tool_calls"}).encode()) + 16 for message in input)
        asked += sum(len(tool.model_dump_json().encode()) for tool in tools)
        reply = (config.max_tokens or self.longest) + (config.reasoning_tokens or 0)
        return asked * self.input + reply * (config.num_choices or 1) * self.output

    def cost(self, answered: ModelOutput | Exception, worst: float) -> float:
        """What an answer was billed. Without a word about usage, the worst."""
        if self.budget.unit == "calls":
            return 1.0
        if isinstance(answered, Exception):
            return 0.0
        usage = answered.usage
        if usage is None:
            return worst
        read = usage.input_tokens + (usage.input_tokens_cache_read or 0) + (usage.input_tokens_cache_write or 0)
        return read * self.input + max(usage.output_tokens, usage.total_tokens - read) * self.output

    def refused(self, worst: float) -> float:
        return 1.0 if self.budget.unit == "calls" else 0.0

    def least(self, worst: float) -> str:
        return f"the next call might take {self.budget.said(worst)}"


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


# -- calls that an interrupted session made


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


def remembering(model: Model) -> None:
    """From here on calls for a reply that has a memory go through it. No cache: another reply is always asked for."""
    ask = model.api.generate

    async def generate(
        input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput | tuple[ModelOutput | Exception, ModelCall]:
        play = PLAY.get()
        memory = play.memory if play is not None else None
        if play is None or memory is None:
            return await ask(input, tools, tool_choice, config)
        said = [message.model_dump(mode="json", include={"role", "content", "tool_calls"}) for message in input]
        asked = digest([str(model), said, [tool.name for tool in tools], config.model_dump(mode="json")])
        known = memory.recall(asked)
        if known is not None:
            play.calls += 1
            return known
        answered = await ask(input, tools, tool_choice, config)
        output = answered[0] if isinstance(answered, tuple) else answered
        if isinstance(output, ModelOutput):
            memory.keep(asked, output.model_dump(mode="json"))
        return answered

    model.api.generate = generate  # type: ignore[method-assign]


# -- simulated models


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


def _uniform(*key: object) -> float:
    """A number in [0, 1) that depends on `key` alone, equal in every process."""
    bits = hashlib.sha256("\x1f".join(map(str, key)).encode()).digest()[:7]
    return int.from_bytes(bits) / 2**56


@dataclass(frozen=True)
class Truth:
    """How often a simulated model exhibits a claim's behaviour in each condition."""

    name: str
    profiles: Mapping[str, Mapping[str, float]]

    def rates(self, claim: Claim) -> Mapping[str, float]:
        """Rate per condition: 0 in a condition that the gate does not look at, unless the name says otherwise."""
        kind = self.name.partition("@")[0]
        names = list(claim.arms)
        if kind == "blind":
            return dict.fromkeys(names, 0.5)
        if kind.startswith("rate-"):
            return dict.fromkeys(names, self.number(kind))
        behaving, misbehaving = claim.gate.extremes
        if kind == "behaving":
            rates = claim.gate.true_rates(behaving)
        elif kind == "misbehaving":
            rates = claim.gate.true_rates(misbehaving)
        elif kind.startswith("effect-"):
            rates = claim.gate.true_rates(self.number(kind), base=0.02)
        elif kind in self.profiles:
            effects = [effect for pattern, effect in self.profiles[kind].items() if fnmatchcase(claim.id, pattern)]
            rates = claim.gate.true_rates(effects[-1] if effects else behaving, base=0.02)
        else:
            raise ModelError(self.unknown(kind))
        return {name: rates.get(name, 0.0) for name in names}

    def draw(self, play: Play) -> bool:
        # A blind model does the same for an item in all conditions: the condition is no part of its draw.
        where = "" if self.name.startswith("blind") else play.condition
        drawn = _uniform("draw", self.name, play.claim.id, where, play.pair, play.epoch)
        return drawn < self.rates(play.claim)[play.condition]

    def number(self, kind: str) -> float:
        """The number in `rate-0.30` or `effect-0.15`."""
        word, _, said = kind.partition("-")
        try:
            number = float(said)
        except ValueError:
            raise ModelError(self.unknown(kind)) from None
        least = 0.0 if word == "rate" else -1.0
        if not least <= number <= 1:
            raise ModelError(f"model 'simulated/{kind}': {word} is within {least:g}..1, as in {word}-0.15")
        return number

    def unknown(self, kind: str) -> str:
        known = ", ".join(["behaving, misbehaving, blind, effect-0.15, rate-0.30", *self.profiles])
        return f"model 'simulated/{kind}': not one of {known}"


def _check_simulated(kind: str) -> None:
    """Raises ModelError for a name under `simulated/` that stands for nothing."""
    if kind.startswith("grader"):
        _grader_quality(kind)
        return
    truth, plain = Truth(kind, PROFILES), kind.partition("@")[0]
    if plain.startswith(("rate-", "effect-")):
        truth.number(plain)
    elif plain not in ("behaving", "misbehaving", "blind", *PROFILES):
        raise ModelError(truth.unknown(plain))


PROFILES: dict[str, Mapping[str, float]] = {}
"""The project's own simulated models, by name; filled from its settings before a run."""


def labelled_reply(play: Play, truth: bool) -> LabelledReply:
    """A labelled reply of the wanted kind: to this very item if there is one, else one that fits any item.

    Raises ModelError when the claim has no reply of that kind.
    """
    kind = [r for r in play.claim.labelled if r.exhibits is truth]
    fitting = [r for r in kind if r.pair == play.pair] or [r for r in kind if not r.pair] or kind
    if not fitting:
        raise ModelError(
            f"claim {play.claim.id!r} has no labelled reply with exhibits={truth} for a simulated model to give"
        )
    return fitting[int(_uniform("reply", play.claim.id, play.pair, play.epoch) * len(fitting))]


@modelapi(name="simulated")
class Simulated(ModelAPI):
    """Answers from labelled replies at a known rate; never leaves the process."""

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig | None = None,
        **model_args: Any,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config or GenerateConfig())
        self._kind = model_name

    def max_connections(self) -> int:
        return 100

    async def generate(
        self, input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput:
        play = PLAY.get()
        if play is None:
            text = "A simulated model answers for claims alone: run it through pytest suites/ --model simulated/…"
        elif self._kind.startswith("grader"):
            text = self._grade(play, "\n".join(message.text for message in input))
        else:
            text = self._reply(play)
        output = ModelOutput.from_content(model=f"simulated/{self._kind}", content=text)
        asked = sum(len(message.text) for message in input)
        # Given here, since Inspect would otherwise count tokens with a tokenizer that it downloads.
        output.usage = ModelUsage(
            input_tokens=asked // 4, output_tokens=len(text) // 4, total_tokens=asked // 4 + len(text) // 4
        )
        return output

    def _reply(self, play: Play) -> str:
        play.truth = Truth(self._kind, PROFILES).draw(play)
        reply = labelled_reply(play, play.truth)
        said = (*reply.steps, reply.text)[min(play.step, len(reply.steps))]
        play.step += 1
        return said

    def _grade(self, play: Play, asked: str) -> str:
        if play.truth is None:
            raise ModelError("a simulated grader can grade labelled replies alone; name a real --alignbench-grader")
        sensitivity, specificity = _grader_quality(self._kind)
        drawn = _uniform("grade", self._kind, play.claim.id, play.condition, play.prompt, play.epoch)
        right = drawn < (sensitivity if play.truth else specificity)
        form = _GRADE_LINE.search(asked)
        return f"{form[1] if form else 'GRADE'}: {'YES' if right == play.truth else 'NO'}"


_GRADE_LINE = re.compile(r"^(GRADE \w+): YES$", re.MULTILINE)
"""The line that a scorer asks its grader for, with the nonce of the call; the first one is the scorer's own."""


def _grader_quality(kind: str) -> tuple[float, float]:
    numbers = kind.partition("@")[0].removeprefix("grader").strip("-").split("-")
    if numbers == [""]:
        return 1.0, 1.0
    try:
        sensitivity, specificity = map(float, numbers)
    except ValueError:
        raise ModelError(f"model 'simulated/{kind}': a simulated grader is grader-SENSITIVITY-SPECIFICITY") from None
    if not (0 <= sensitivity <= 1 and 0 <= specificity <= 1):
        raise ModelError(f"model 'simulated/{kind}': sensitivity and specificity are within 0..1")
    return sensitivity, specificity


# -- organisms


_REPLY_TOKENS = 160
"""Of an organism's reply, if nobody says how many: those that it was trained on have a hundred at most."""
_HEAT = 0.7
"""An organism's temperature, if nobody says: at 1, slips of a piece here and there spoil many a name."""


@modelapi(name="organism")
class Organism(ModelAPI):
    """A small model of ours, sampled in this process.

    `temperature`, `seed`, `max_tokens` and `stop_seqs` are kept to. A reply that reaches `max_tokens` stops for that; a
    conversation that leaves no room for a reply stops for "model_length". With a seed, the same messages get the same
    text, whatever else is asked; without one, another text each time.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig | None = None,
        **model_args: Any,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config or GenerateConfig())
        self._worker = organisms.worker(model_name)

    def max_connections(self) -> int:
        return 200

    async def generate(
        self, input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput:
        tokenizer = (await asyncio.to_thread(self._worker.load)).tokenizer
        tokens = organisms.conversation(tokenizer, ((message.role, message.text) for message in input))
        most = min(config.max_tokens or _REPLY_TOKENS, organisms.LONGEST - len(tokens))
        if most < 1:
            return self._output("", "model_length", len(tokens), 0)
        seed = secrets.token_hex(8) if config.seed is None else config.seed
        heat = _HEAT if config.temperature is None else config.temperature
        asked = organisms.Asked(tokens, heat, most, (self.model_name, seed, *tokens))
        said = await asyncio.wrap_future(self._worker.ask(asked))
        text = tokenizer.decode(said.tokens).strip()
        cuts = [at for stop in config.stop_seqs or () if (at := text.find(stop)) >= 0]
        why: StopReason = "stop" if said.ended or cuts else "max_tokens"
        return self._output(text[: min(cuts)] if cuts else text, why, len(tokens), len(said.tokens) + said.ended)

    def _output(self, text: str, why: StopReason, asked: int, said: int) -> ModelOutput:
        output = ModelOutput.from_content(f"organism/{self.model_name}", text, stop_reason=why)
        output.usage = ModelUsage(input_tokens=asked, output_tokens=said, total_tokens=asked + said)
        return output
