"""The test server, seen through the provider clients that users run: what they make of each answer and each fault.

Half of this file is about the server (does it speak the wire formats?), half is about the clients, because our run
engine rests on how often they ask again. Inspect's retries and the SDK's multiply, and neither is finite by default.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from inspect_ai.model import (
    ChatMessage,
    ChatMessageSystem,
    ChatMessageUser,
    GenerateConfig,
    Model,
    ModelOutput,
    get_model,
)
from tenacity import RetryError, wait_none

from pytest_alignbench.models import bind_retries
from server import (
    HOSTILE_TEXT,
    FaultyServer,
    Message,
    Reply,
    Request,
    Script,
    always,
    answering,
    bad_json,
    cut_short,
    fails_first,
    giant,
    hostile,
    invalid_key,
    lognormal,
    no_choices,
    overloaded,
    overloaded_midway,
    quota_exhausted,
    rate_limited,
)

COMPATIBLE = "openai-api/faulty/m-1"
OPENAI = "openai/gpt-4o"
RESPONSES = "openai/gpt-5"
ANTHROPIC = "anthropic/claude-3-5-m"
ANTHROPIC_STREAMED = "anthropic/claude-sonnet-4-m"
"""Inspect streams this one by itself, because it lets newer models answer at length."""

MODELS = (COMPATIBLE, OPENAI, RESPONSES, ANTHROPIC, ANTHROPIC_STREAMED)
ONE_REQUEST = (COMPATIBLE, OPENAI, ANTHROPIC, ANTHROPIC_STREAMED)
"""The models that cost one request per attempt: `RESPONSES` is asked first whether it can summarise its reasoning."""

SOON = {"retry-after-ms": "1"}
"""Keeps the SDKs from sleeping for seconds between their own retries."""

Connect = Callable[..., Model]


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Connect:
    """A real client for the server, which waits no time between Inspect's retries."""
    monkeypatch.setattr("pytest_alignbench.models.calls._BACK_OFF", wait_none())

    def connect(
        server: FaultyServer,
        name: str,
        *,
        inspect_retries: int | None = 0,
        sdk_retries: int = 0,
        bound: bool = True,
        **settings: Any,
    ) -> Model:
        for variable in ("ANTHROPIC_AUTH_TOKEN", "INSPECT_EVAL_MODEL_BASE_URL"):
            monkeypatch.delenv(variable, raising=False)  # both would win over what follows
        for variable, value in server.environment().items():
            monkeypatch.setenv(variable, value)
        arguments = settings.pop("arguments", {})
        config = GenerateConfig(max_retries=inspect_retries, **settings)
        model = get_model(name, config=config, memoize=False, max_retries=sdk_retries, **arguments)
        if bound:
            bind_retries(model)
        else:
            monkeypatch.setattr(model.api, "retry_wait", wait_none)
        return model

    return connect


def ask(model: Model, *, times: int = 1) -> list[ModelOutput | BaseException]:
    """The outcomes of so many conversations at once."""

    async def together() -> list[ModelOutput | BaseException]:
        questions = [model.generate(f"What is the capital of country {index}?") for index in range(times)]
        return await asyncio.gather(*questions, return_exceptions=True)

    return asyncio.run(together())


def answer(model: Model) -> ModelOutput:
    (outcome,) = ask(model)
    assert isinstance(outcome, ModelOutput), outcome
    return outcome


def failure(model: Model) -> BaseException:
    """The error under Inspect's wrapping, which the run engine has to take off as well."""
    (outcome,) = ask(model)
    assert isinstance(outcome, BaseException), outcome
    return outcome.__cause__ if isinstance(outcome, RetryError) and outcome.__cause__ else outcome


# What the server says, and what the clients understand ---------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_answers_with_usage_and_the_served_model(connect: Connect, name: str) -> None:
    with FaultyServer(always(Reply("Paris", model="m-2", input_tokens=11, output_tokens=7))) as server:
        output = answer(connect(server, name))
    assert (output.completion, output.stop_reason, output.model) == ("Paris", "stop", "m-2")
    assert output.usage is not None
    assert (output.usage.input_tokens, output.usage.output_tokens) == (11, 7)


@pytest.mark.parametrize("name", ONE_REQUEST)
def test_a_provider_that_says_when_to_come_back_is_not_asked_before(connect: Connect, name: str) -> None:
    with FaultyServer(fails_first(1, failure=rate_limited(retry_after=1), then=answering("Paris"))) as server:
        model = connect(server, name, inspect_retries=1)
        asked = time.monotonic()
        assert answer(model).completion == "Paris"
        assert time.monotonic() - asked >= 1.0, "our own back-off would have waited no time at all"
        assert len(server.requests) == 2


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    ("stop", "reason"), [("stop", "stop"), ("length", "max_tokens"), ("content_filter", "content_filter")]
)
def test_stop_reasons_arrive_as_inspects_own(connect: Connect, name: str, stop: str, reason: str) -> None:
    with FaultyServer(always(Reply("Par", stop=stop))) as server:
        output = answer(connect(server, name))
    assert (output.completion, output.stop_reason) == ("Par", reason)


@pytest.mark.parametrize("name", MODELS)
def test_an_empty_answer_is_a_success_to_the_client(connect: Connect, name: str) -> None:
    with FaultyServer(always(Reply(""))) as server:
        output = answer(connect(server, name))
    assert (output.completion, output.stop_reason) == ("", "stop")


@pytest.mark.parametrize(
    ("name", "argument"),
    [(COMPATIBLE, "stream"), (OPENAI, "streaming"), (RESPONSES, "streaming"), (ANTHROPIC, "streaming")],
)
def test_streams_say_the_same_as_plain_answers(connect: Connect, name: str, argument: str) -> None:
    with FaultyServer(always(Reply("Paris", stop="length", model="m-2"))) as server:
        plain = answer(connect(server, name))
        streamed = answer(connect(server, name, arguments={argument: True}))
        assert [server.requests[index].streamed for index in (0, -1)] == [False, True]
    assert (streamed.completion, streamed.stop_reason, streamed.model) == ("Paris", "max_tokens", "m-2")
    assert plain.usage is not None
    assert streamed.usage is not None
    assert streamed.usage.output_tokens == plain.usage.output_tokens
    assert streamed.usage.input_tokens == plain.usage.input_tokens


@pytest.mark.parametrize("name", MODELS)
def test_requests_read_alike_in_every_format(connect: Connect, name: str) -> None:
    with FaultyServer(answering(lambda request: request.text.upper())) as server:
        model = connect(server, name, max_tokens=77)
        turns: list[ChatMessage] = [ChatMessageSystem(content="Be brief."), ChatMessageUser(content="Which capital?")]
        output = asyncio.run(model.generate(turns))
        request = server.requests[-1]
    assert output.completion == "WHICH CAPITAL?"
    assert request.messages == (Message("system", "Be brief."), Message("user", "Which capital?"))
    assert request.api == name.partition("/")[0].removesuffix("-api")
    assert request.model == name.rpartition("/")[2]
    assert request.key == server.environment()["OPENAI_API_KEY"]
    assert 77 in request.body.values()


@pytest.mark.parametrize("name", ONE_REQUEST)
def test_hostile_text_arrives_unchanged(connect: Connect, name: str) -> None:
    with FaultyServer(hostile) as server:
        assert answer(connect(server, name)).completion == HOSTILE_TEXT


def test_hostile_text_travels_as_plain_ascii() -> None:
    with FaultyServer(hostile) as server:
        (body,) = asyncio.run(post(server, ["hello"]))
    assert body.isascii()
    assert rb"\ud800" in body
    assert rb"\u0000" in body


@pytest.mark.parametrize("name", ONE_REQUEST)
def test_a_giant_answer_arrives_whole(connect: Connect, name: str) -> None:
    with FaultyServer(giant(2_000_000)) as server:
        assert len(answer(connect(server, name)).completion) == 2_000_000


# Faults that pass ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("retries", [{"inspect_retries": 2}, {"sdk_retries": 2}], ids=["inspect", "sdk"])
@pytest.mark.parametrize("name", [COMPATIBLE, ANTHROPIC])
@pytest.mark.parametrize(
    "fault", [always(Reply(status=429, headers=SOON)), always(Reply(reset=True))], ids=["429", "reset"]
)
def test_passing_faults_are_ridden_out(connect: Connect, name: str, fault: Script, retries: dict[str, int]) -> None:
    with FaultyServer(fails_first(1, failure=fault, then=answering("Paris"))) as server:
        assert answer(connect(server, name, **retries)).completion == "Paris"
        assert [(request.number, request.attempt) for request in server.requests] == [(1, 0), (2, 1)]


@pytest.mark.parametrize("fault", [overloaded, overloaded_midway])
def test_inspect_rides_out_an_overload_even_in_mid_stream(connect: Connect, fault: Script) -> None:
    with FaultyServer(fails_first(1, failure=fault, then=answering("Paris"))) as server:
        assert answer(connect(server, ANTHROPIC_STREAMED, inspect_retries=1)).completion == "Paris"
        assert len(server.requests) == 2


@pytest.mark.parametrize("name", [OPENAI, ANTHROPIC_STREAMED])
def test_inspect_rides_out_a_reset_in_mid_answer(connect: Connect, name: str) -> None:
    broken = always(Reply("the beginning of an answer", reset=True, after=120))
    with FaultyServer(fails_first(1, failure=broken, then=answering("Paris"))) as server:
        assert answer(connect(server, name, inspect_retries=1)).completion == "Paris"
        assert len(server.requests) == 2


def test_each_conversation_meets_its_own_first_failure(connect: Connect) -> None:
    with FaultyServer(fails_first(1, failure=rate_limited(), then=answering("Paris"))) as server:
        outcomes = ask(connect(server, COMPATIBLE, inspect_retries=1), times=3)
        assert [outcome.completion for outcome in outcomes if isinstance(outcome, ModelOutput)] == ["Paris"] * 3
        assert sorted(request.attempt for request in server.requests) == [0, 0, 0, 1, 1, 1]


def test_the_sdk_waits_as_long_as_it_was_told(connect: Connect) -> None:
    with FaultyServer(fails_first(1, failure=rate_limited(retry_after=1), then=answering("Paris"))) as server:
        model = connect(server, COMPATIBLE, sdk_retries=1)
        begun = time.monotonic()
        answer(model)
        assert time.monotonic() - begun >= 1


# Faults that last, and how many requests they cost -------------------------------------------------------------------


@pytest.mark.parametrize("name", [COMPATIBLE, ANTHROPIC])
@pytest.mark.parametrize(("inspect_retries", "sdk_retries"), [(0, 0), (2, 0), (0, 2), (2, 2)])
def test_retries_of_inspect_and_the_sdk_multiply(
    connect: Connect, name: str, inspect_retries: int, sdk_retries: int
) -> None:
    with FaultyServer(always(Reply(status=500, headers=SOON))) as server:
        error = failure(connect(server, name, inspect_retries=inspect_retries, sdk_retries=sdk_retries))
        assert len(server.requests) == (1 + inspect_retries) * (1 + sdk_retries)
    assert error.__class__.__name__ == "InternalServerError"


def test_without_a_limit_inspect_never_gives_up(connect: Connect) -> None:
    with FaultyServer(always(Reply(status=500))) as server:

        async def until_it_was_asked_often(model: Model) -> None:
            asking = asyncio.create_task(model.generate("What is the capital?"))
            while len(server.requests) <= 10 and not asking.done():
                await asyncio.sleep(0.01)
            assert not asking.done()
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

        asyncio.run(until_it_was_asked_often(connect(server, COMPATIBLE, inspect_retries=None)))
        assert len(server.requests) > 10


@pytest.mark.parametrize("name", ONE_REQUEST)
def test_a_wrong_key_costs_one_request_whatever_the_settings(connect: Connect, name: str) -> None:
    with FaultyServer(invalid_key) as server:
        error = failure(connect(server, name, inspect_retries=2, sdk_retries=2))
        assert len(server.requests) == 1
        assert server.requests[0].key not in str(error)
    assert error.__class__.__name__ == "AuthenticationError"


def test_a_short_key_is_quoted_whole() -> None:
    with FaultyServer(invalid_key) as server:
        (body,) = asyncio.run(post(server, ["hello"], key="sk-short"))
    assert b"sk-short" in body


@pytest.mark.parametrize(("inspect_retries", "sdk_retries"), [(2, 0), (1, 2)])
@pytest.mark.parametrize(
    ("name", "error", "inspect_asks_again", "sdk_asks_again"),
    [
        (COMPATIBLE, "RateLimitError", True, True),
        (OPENAI, "RateLimitError", False, True),
        (ANTHROPIC, "ModelGenerateError", False, False),
        (ANTHROPIC_STREAMED, "ModelGenerateError", False, False),
    ],
)
def test_an_empty_account_looks_like_a_rate_limit_only_at_openai(
    connect: Connect,
    name: str,
    error: str,
    inspect_asks_again: bool,
    sdk_asks_again: bool,
    inspect_retries: int,
    sdk_retries: int,
) -> None:
    with FaultyServer(lambda request: replace(quota_exhausted(request), headers=SOON)) as server:
        model = connect(server, name, inspect_retries=inspect_retries, sdk_retries=sdk_retries, bound=False)
        raised = failure(model)
        attempts = 1 + inspect_retries * inspect_asks_again
        assert len(server.requests) == attempts * (1 + sdk_retries * sdk_asks_again)
    assert raised.__class__.__name__ == error
    if error == "RateLimitError":
        assert getattr(raised, "code", None) == "insufficient_quota"
    else:
        assert raised.__cause__.__class__.__name__ == "BadRequestError"
        assert "credit balance is too low" in str(raised)


@pytest.mark.parametrize("name", [COMPATIBLE, ANTHROPIC, ANTHROPIC_STREAMED])
def test_broken_json_costs_one_request_and_is_no_provider_error(connect: Connect, name: str) -> None:
    with FaultyServer(bad_json) as server:
        error = failure(connect(server, name, inspect_retries=2, sdk_retries=2))
        assert len(server.requests) == 1
    assert error.__class__.__name__ == "JSONDecodeError"


def test_an_answer_without_choices_passes_for_a_success_until_it_is_looked_at(connect: Connect) -> None:
    with FaultyServer(no_choices) as server:
        output = answer(connect(server, COMPATIBLE))
        assert (output.choices, output.completion) == ([], "")
        with pytest.raises(IndexError):
            assert output.stop_reason
        for name in (RESPONSES, ANTHROPIC):
            output = answer(connect(server, name))
            assert (output.completion, output.stop_reason) == ("", "stop")


def test_a_stream_cut_short_passes_for_an_answer(connect: Connect) -> None:
    with FaultyServer(cut_short) as server:
        output = answer(connect(server, ANTHROPIC_STREAMED))
        error = failure(connect(server, ANTHROPIC))
    assert (output.completion, output.stop_reason) == ("Half an ans", "unknown")
    assert error.__class__.__name__ == "JSONDecodeError"


def test_only_the_limit_per_attempt_ends_a_hanging_request(connect: Connect) -> None:
    async def race(limited: Model, timed: Model) -> tuple[BaseException, bool]:
        hanging = asyncio.ensure_future(timed.generate("one"))
        with pytest.raises(RetryError) as caught:
            await limited.generate("two")
        await asyncio.sleep(0.5)  # its limit was over when the other one's second attempt began
        still_running = not hanging.done()
        hanging.cancel()
        return caught.value, still_running

    with FaultyServer(always(Reply(hang=True))) as server:
        limited = connect(server, COMPATIBLE, inspect_retries=1, attempt_timeout=1)
        timed = connect(server, COMPATIBLE, timeout=1)
        error, still_running = asyncio.run(race(limited, timed))
        assert [request.text for request in server.requests].count("two") == 2
    assert still_running
    assert error.__cause__.__class__.__name__ == "AttemptTimeoutError"


def test_silence_in_mid_stream_has_a_limit_of_its_own(connect: Connect) -> None:
    begun = always(Reply("the beginning of an answer", hang=True, after=400))
    with FaultyServer(begun) as server:
        error = failure(connect(server, ANTHROPIC_STREAMED, stream_idle_timeout=1))
    assert error.__class__.__name__ == "StreamIdleTimeoutError"


# The server by itself -------------------------------------------------------------------------------------------------


async def post(
    server: FaultyServer, texts: list[str], *, connections: int = 50, key: str = "k", timeout: float = 30
) -> list[bytes]:
    """The raw bodies of so many questions, asked over so many connections; fails after `timeout` seconds each."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections),
        timeout=aiohttp.ClientTimeout(total=timeout),
        headers={"Authorization": f"Bearer {key}"},
    ) as session:

        async def one(text: str) -> bytes:
            question = {"model": "m-1", "messages": [{"role": "user", "content": text}]}
            async with session.post(f"{server.url}/v1/chat/completions", json=question) as response:
                return await response.read()

        return await asyncio.gather(*(one(text) for text in texts))


def request(*, text: str = "hello", attempt: int = 0, number: int = 1) -> Request:
    return Request(
        format="completions",
        model="m-1",
        messages=(Message("user", text),),
        headers={},
        body={},
        number=number,
        attempt=attempt,
        in_flight=1,
    )


def test_chance_follows_from_the_seed_and_the_conversation_alone() -> None:
    def latency(seed: int, asked: Request) -> float:
        return lognormal(answering("Paris"), median=0.2, seed=seed)(asked).delay

    assert latency(1, request(number=1)) == latency(1, request(number=9))
    others = [latency(2, request()), latency(1, request(text="bye")), latency(1, request(attempt=1))]
    assert len({latency(1, request()), *others}) == 4


def test_lognormal_latency_has_the_median_and_the_spread_that_were_asked_for() -> None:
    script = lognormal(answering("Paris"), median=0.2, sigma=0.5)
    delays = sorted(script(request(text=str(index))).delay for index in range(4000))
    # The q-quantile of a lognormal variable is median * exp(sigma * z_q); 5 % is more than 4 standard errors here.
    assert statistics.median(delays) == pytest.approx(0.2, rel=0.05)
    assert delays[int(0.8413 * 4000)] == pytest.approx(0.2 * 2.718281828**0.5, rel=0.05)


def test_slots_make_later_requests_wait_and_the_peak_counts_them() -> None:
    with FaultyServer(always(Reply(delay=0.05)), slots=2) as server:
        begun = time.monotonic()
        asyncio.run(post(server, [str(index) for index in range(8)]))
        assert time.monotonic() - begun >= 4 * 0.05
        assert server.peak_in_flight == 8
        assert max(request.in_flight for request in server.requests) == 8


def test_requests_of_clients_that_left_are_no_longer_in_flight() -> None:
    with FaultyServer(lambda request: Reply(hang=request.text == "hang")) as server:
        with pytest.raises(TimeoutError):
            asyncio.run(post(server, ["hang"], timeout=0.2))
        for _ in range(100):  # the server learns of it a moment later
            asyncio.run(post(server, ["hello"]))
            if server.requests[-1].in_flight == 1:
                break
            time.sleep(0.02)
        assert server.requests[-1].in_flight == 1


def test_two_thousand_requests_are_served_quickly() -> None:
    with FaultyServer(answering("Paris")) as server:
        begun = time.monotonic()
        asyncio.run(post(server, [str(index) for index in range(2000)], connections=50))
        assert len(server.requests) == 2000
        assert time.monotonic() - begun < 10


def test_a_broken_script_is_reported_where_the_test_can_see_it() -> None:
    def broken(request: Request) -> Reply:
        raise LookupError("no such reply")

    def use_server() -> None:
        with FaultyServer(broken) as server:
            bodies.extend(asyncio.run(post(server, ["hello"])))

    bodies: list[bytes] = []
    with pytest.raises(LookupError, match="no such reply"):
        use_server()
    assert b"script_error" in bodies[0]


def test_a_taken_port_is_an_error() -> None:
    with (
        FaultyServer(answering("Paris")) as server,
        pytest.raises(OSError, match="address already in use"),
        FaultyServer(answering("Paris"), port=int(server.url.rpartition(":")[2])),
    ):
        pass


def test_the_program_prints_its_address_and_its_totals() -> None:
    program = [sys.executable, str(Path(__file__).with_name("server.py")), "--latency", "0.1", "--text", "Rome"]
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", url)
        begun = time.monotonic()
        asyncio.run(ask_program(url))
        assert time.monotonic() - begun >= 0.1
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == "1 requests, at most 1 at once\n"
    assert process.returncode == 0


async def ask_program(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        question = {"model": "m-1", "messages": [{"role": "user", "content": "hello"}]}
        async with session.post(f"{url}/v1/messages", json=question) as response:
            assert (await response.json())["content"][0]["text"] == "Rome"
