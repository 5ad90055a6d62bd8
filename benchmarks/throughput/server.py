"""A provider so lean that it is not what a benchmark measures: about 0.1 ms of CPU a call, beside the client's several.

    python benchmarks/throughput/server.py '{"latency": 0.5, "sigma": 0.8, "slots": 50}'

prints its base URL, serves OpenAI's `/v1/chat/completions` until its standard input closes, then prints its `Figures` as
JSON: what it was asked, what it dealt, and what that cost in CPU. HTTP is read and written by hand, for clients that
send their requests one after another on a connection and with their length, as all do.

A prompt carries its number, as in `#000017`. The delay and the fault of each attempt at a prompt follow from the seed,
the number and the attempt alone, so that every way to ask meets the same provider, in whatever order it asks.

It imports nothing but the standard library, to start at once.
"""

from __future__ import annotations

import asyncio
import gc
import json
import math
import random
import re
import socket
import struct
import sys
import time
from collections import Counter, deque
from dataclasses import asdict, dataclass, field
from enum import Enum


@dataclass(frozen=True, kw_only=True)
class Terms:
    """How the provider behaves.

    `latency`: mean seconds of a call. `sigma`: 0 for a fixed latency, else the sigma of its lognormal distribution,
    whose mean stays `latency`. `slots`: calls served at once, later ones wait. The rest are shares of attempts.
    """

    latency: float
    sigma: float = 0.0
    slots: int = 50
    rate_limited: float = 0.0
    """Answered 429 at once, with a Retry-After of one second."""
    errors: float = 0.0
    """Answered 500 after the latency."""
    resets: float = 0.0
    """The connection is reset after the latency."""
    seed: int = 0

    def deal(self, number: int, attempt: int) -> tuple[float, Fault | None]:
        """Seconds until the answer to this attempt (the first is 0) at this prompt, and what is wrong with it."""
        chance = random.Random(f"{self.seed}/{number}/{attempt}")
        fate = chance.random()
        if fate < self.rate_limited:
            return 0.0, Fault.RATE_LIMITED
        # The mean of a lognormal is exp(mu + sigma² / 2).
        mu = math.log(self.latency) - self.sigma**2 / 2 if self.latency > 0 else -math.inf
        delay = chance.lognormvariate(mu, self.sigma) if self.sigma > 0 and self.latency > 0 else self.latency
        if fate < self.rate_limited + self.errors:
            return delay, Fault.ERROR
        if fate < self.rate_limited + self.errors + self.resets:
            return delay, Fault.RESET
        return delay, None


class Fault(Enum):
    RATE_LIMITED = "429"
    ERROR = "500"
    RESET = "reset"


@dataclass(kw_only=True)
class Figures:
    """What a server saw and did. Times are of the machine's monotonic clock, in seconds."""

    calls: int = 0
    answered: int = 0
    """Calls that got what they asked for."""
    prompts: int = 0
    """Different prompts among those."""
    faults: dict[str, int] = field(default_factory=dict)
    strays: int = 0
    """Requests that were no chat completion; answered 404."""
    peak: int = 0
    """The most calls that were open at one time, those that waited for a slot included."""
    dealt: float = 0.0
    """Sum of the delays."""
    first_call: float = 0.0
    last_reply: float = 0.0
    cpu: float = 0.0
    """Seconds of CPU of the server's process since its first call."""

    @property
    def mean_latency(self) -> float:
        return self.dealt / self.calls if self.calls else 0.0


def lower_bound(figures: Figures, connections: int) -> float:
    """Seconds that nobody can beat: the delays that were dealt, perfectly packed on so many connections."""
    return figures.calls * figures.mean_latency / connections


def _response(status: str, document: object, *headers: str) -> bytes:
    body = json.dumps(document).encode()
    head = [f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


_ANSWER = _response(
    "200 OK",
    {
        "id": "chatcmpl-0",
        "object": "chat.completion",
        "created": 0,
        "model": "model",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "It is Paris.", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 14, "completion_tokens": 4, "total_tokens": 18},
    },
)
_ERRORS = {
    Fault.RATE_LIMITED: _response(
        "429 Too Many Requests",
        {"error": {"message": "Rate limit reached", "type": "requests", "code": "rate_limit_exceeded"}},
        "Retry-After: 1",
    ),
    Fault.ERROR: _response(
        "500 Internal Server Error",
        {"error": {"message": "The server had an error", "type": "server_error", "code": None}},
    ),
}
_NOT_FOUND = _response("404 Not Found", {"error": {"message": "no such path", "type": "invalid_request_error"}})

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_CLOSE = re.compile(rb"connection: *close", re.IGNORECASE)
_NUMBER = re.compile(rb"#(\d{6})")


class Provider:
    """Who is asked, over all connections."""

    def __init__(self, terms: Terms) -> None:
        self.figures = Figures()
        self._terms = terms
        self._attempts: Counter[int] = Counter()
        self._answered: set[int] = set()
        self._faults: Counter[str] = Counter()
        self._open = 0
        self._served = 0
        self._waiting: deque[tuple[_Connection, int]] = deque()
        self._cpu_before = 0.0

    def asked(self, connection: _Connection, body: bytes) -> None:
        figures = self.figures
        if not figures.calls:
            figures.first_call, self._cpu_before = time.monotonic(), time.process_time()
        figures.calls += 1
        self._open += 1
        figures.peak = max(figures.peak, self._open)
        found = _NUMBER.search(body)
        number = int(found[1]) if found else -1
        if self._served < self._terms.slots:
            self._serve(connection, number)
        else:
            self._waiting.append((connection, number))

    def _serve(self, connection: _Connection, number: int) -> None:
        self._served += 1
        delay, fault = self._terms.deal(number, self._attempts[number])
        self._attempts[number] += 1
        self.figures.dealt += delay
        asyncio.get_running_loop().call_later(delay, self._answer, connection, number, fault)

    def _answer(self, connection: _Connection, number: int, fault: Fault | None) -> None:
        self._open -= 1
        self._served -= 1
        if fault is None:
            self.figures.answered += 1
            self._answered.add(number)
        else:
            self._faults[fault.value] += 1
        connection.answer(None if fault is Fault.RESET else _ANSWER if fault is None else _ERRORS[fault])
        self.figures.last_reply = time.monotonic()
        if self._waiting:
            self._serve(*self._waiting.popleft())

    def close(self) -> Figures:
        figures = self.figures
        figures.prompts = len(self._answered)
        figures.faults = dict(self._faults)
        figures.cpu = time.process_time() - self._cpu_before if figures.calls else 0.0
        return figures


class _Connection(asyncio.Protocol):
    """One client's connection: requests are cut out of the bytes, answers are written."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._unread = b""
        self._last = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # a TCP connection's always is
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._unread += data
        while True:
            head, ended, rest = self._unread.partition(b"\r\n\r\n")
            if not ended:
                return
            length = _LENGTH.search(head)
            size = int(length[1]) if length else 0
            if len(rest) < size:
                return
            self._unread = rest[size:]
            self._last = _CLOSE.search(head) is not None
            if head.startswith(b"POST /v1/chat/completions "):
                self._provider.asked(self, rest[:size])
            else:
                self._provider.figures.strays += 1
                self.answer(_NOT_FOUND)

    def answer(self, response: bytes | None) -> None:
        """None resets the connection. A client that has gone away is answered in vain."""
        if response is None:
            peer: socket.socket = self._transport.get_extra_info("socket")
            if peer.fileno() != -1:
                # With a linger time of zero, closing sends RST.
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()
            return
        self._transport.write(response)
        if self._last:
            self._transport.close()


async def serve(terms: Terms) -> Figures:
    """Serves on a free port of 127.0.0.1, which it prints, until standard input closes."""
    loop = asyncio.get_running_loop()
    provider = Provider(terms)
    server = await loop.create_server(lambda: _Connection(provider), "127.0.0.1", 0, backlog=1024)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    closed = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(closed), sys.stdin)
    await closed.read()
    return provider.close()


if __name__ == "__main__":
    gc.freeze()
    print(json.dumps(asdict(asyncio.run(serve(Terms(**json.loads(sys.argv[1])))))))
