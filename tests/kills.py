"""Processes that are killed while they write, and what they had acknowledged by then.

def write(place, acknowledge):
    while True:
        ...
        acknowledge(name)           # only when it is safely there

names = killed(write, place, after=0.01)
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from contextlib import suppress

FORK = multiprocessing.get_context("fork")

Write = Callable[[str, Callable[[str], None]], None]


def killed(write: Write, place: str, *, after: float) -> list[str]:
    """What a forked process that runs `write` has acknowledged before it is killed, `after` so many seconds from its first."""
    here, there = FORK.Pipe(duplex=False)
    writer = FORK.Process(target=write, args=(place, there.send))
    writer.start()
    there.close()
    assert here.poll(30), "it has written nothing"
    time.sleep(after)
    writer.kill()
    writer.join()
    names: list[str] = []
    with suppress(EOFError):
        while True:
            names.append(here.recv())
    return names


def together(write: Callable[[str, int], None], place: str, *, writers: int) -> None:
    """So many processes that run `write(place, number)` at once, to their end."""
    started = [FORK.Process(target=write, args=(place, number)) for number in range(writers)]
    for writer in started:
        writer.start()
    for writer in started:
        writer.join()
    assert [writer.exitcode for writer in started] == [0] * writers
